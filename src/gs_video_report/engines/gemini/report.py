"""Make the report of one recording from what the model said and what was found here.

True here: every statement is checked against transcript and slide texts; lines lie within the
recording; the same answer gives the same report.
Never: asks a model, fails for missing slides.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from gs_video_report import __version__
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.gemini import segments as seg
from gs_video_report.engines.gemini.parts import Reading
from gs_video_report.engines.llm import answer as answers
from gs_video_report.engines.llm import citations
from gs_video_report.engines.llm.answer import Answer
from gs_video_report.engines.pictures import slides_of
from gs_video_report.errors import DependencyMissing, PermanentError
from gs_video_report.report.model import (
    MediaInfo,
    Notice,
    Provenance,
    Segment,
    Slide,
    VideoReport,
)

_SLIDE_PACKAGES = ("numpy", "av")
_OCR_PACKAGES = ("rapidocr", "onnxruntime")


def build(
    ctx: TaskContext,
    media: MediaInfo,
    answer: Answer,
    reading: Reading,
    slides: tuple[Slide, ...],
    notices: Sequence[Notice] = (),
) -> VideoReport:
    """The report of one recording; pure.

    Args:
        media: `duration_s` 0 = not known.
        notices: what the stages before had to say.
    """
    segments = seg.finish_lines(answer.segments, media.duration_s)
    end_s = media.duration_s or (segments[-1].end_s if segments else 0.0)
    summary, sections = answer.summary, answer.sections
    if segments or any(s.text for s in slides):
        known = citations.sources(segments, slides)
        summary = citations.check_points(summary, known)
        sections = citations.check_sections(sections, known)
    proofs = citations.count_proofs(summary, *(s.items for s in sections))
    return VideoReport(
        media=replace(media, duration_s=round(end_s, 3)),
        provenance=_provenance(ctx, reading),
        language=answer.language or given_language(ctx),
        segments=segments,
        slides=slides,
        chapters=answers.chapters(answer.chapters, end_s),
        summary=summary,
        key_terms=answers.key_terms(answer.key_terms, segments, slides),
        sections=sections,
        notices=_once([*notices, *reading.notices, *_notices(reading, segments, proofs)]),
    )


def _notices(
    reading: Reading, segments: Sequence[Segment], proofs: citations.ProofCount
) -> list[Notice]:
    model = reading.options.model
    made = [Notice("by_model", f"Transcript and statements were written by the model {model}.")]
    if not segments:
        made.append(Notice("no_speech", "The model found no speech in this recording."))
    if proofs.proved < proofs.total:
        missing = proofs.total - proofs.proved
        message = (
            f"{missing} of {proofs.total} statements give no quote that occurs in the "
            "transcript or on a slide; they are marked."
        )
        made.append(Notice("unproved", message, "warning"))
    if reading.price is None:
        message = f"The price of the model {model} is not known, so no cost is given."
        made.append(Notice("no_price", message))
    return made


def _provenance(ctx: TaskContext, reading: Reading) -> Provenance:
    options = reading.options
    return Provenance(
        engine="gemini",
        engine_version=__version__,
        llm_model=", ".join(sorted(reading.totals.models)) or options.model,
        template=ctx.template.name,
        template_version=str(ctx.template.version),
        tool_version=__version__,
        transcript_source="engine",
        parameters={
            "language": ctx.options.get("language"),
            "segment_s": options.segment_s,
            **options.result_params(),
        },
        usage=reading.totals.to_dict(),
    )


async def find_slides(
    ctx: TaskContext, found: dict[str, Any] | None, language: str
) -> tuple[tuple[Slide, ...], list[Notice]]:
    """Found on this machine when that is wanted and possible; never a reason to fail."""
    if found is None or found["video"] is None or not ctx.options.get("slides", True):
        return (), []
    packages = _SLIDE_PACKAGES + (_OCR_PACKAGES if ctx.options.get("ocr", True) else ())
    if not all(importlib.util.find_spec(name) for name in packages):
        message = "There are no slides: the packages that find them are not installed."
        return (), [Notice("no_slides", message)]
    try:
        return await slides_of(ctx, found, language)
    except (PermanentError, DependencyMissing) as error:
        message = f"There are no slides: {error.message}."
        return (), [Notice("no_slides", message, "warning")]


def given_language(ctx: TaskContext) -> str:
    """What the user said; empty for `auto`."""
    language = str(ctx.options.get("language", "auto"))
    return "" if language == "auto" else language


def remote_media(ctx: TaskContext) -> MediaInfo:
    """What is known of a recording that is not a file here."""
    given = dict(ctx.media.metadata)
    name = PurePath(ctx.media.display_name).name
    try:
        duration_s = max(0.0, float(given.get("duration_s") or 0.0))
    except ValueError:
        duration_s = 0.0
    return MediaInfo(
        title=given.get("title") or name,
        file_name=name,
        source=ctx.media.source,
        duration_s=duration_s,
        size_bytes=0,
        sha256=ctx.fingerprint,
        metadata=given,
    )


def _once(notices: Sequence[Notice]) -> tuple[Notice, ...]:
    return tuple(dict.fromkeys(notices))
