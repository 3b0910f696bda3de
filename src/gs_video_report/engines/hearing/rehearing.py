"""Hear doubtful stretches of a report that a remote engine wrote again, on this machine.

Truth: the journal's `rehear` steps, under the text they are about: a report that is made again from
the answers in the journal gets the same better text (`apply`), and so does every other report with
these words. What may replace a text is decided as in `media.relisten`; a model that tells no
certainty of its words counts as sure as the recogniser usually is (`rehearing_lines`).
True here: what is heard and what is replaced are the same whole lines: nothing that was said beside
them is lost or doubled. What depends on replaced words is looked at again: statements are proved
anew, and key terms counted anew. Chapters and statements themselves stay as the model wrote them.
Never: sends anything, writes a report, hears a stretch a third time.
Raises: as the stages; PermanentError where no voice is heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.bounded import bounded
from gs_video_report.engines.hearing import second_hearing
from gs_video_report.engines.hearing.first_hearing import plan_chunks
from gs_video_report.engines.hearing.rehearing_lines import (
    SLACK_S,
    lies_in,
    replaced,
    stretches,
    text_of,
)
from gs_video_report.engines.hearing.sound import SAMPLE_RATE, audio, pcm_path, samples
from gs_video_report.engines.llm import answer as answers
from gs_video_report.engines.llm import citations
from gs_video_report.engines.probe import probe
from gs_video_report.engines.steps import compute, digest, width
from gs_video_report.errors import PermanentError
from gs_video_report.report import quality_speech
from gs_video_report.report.model import KeyTerm, Notice, VideoReport

STEP, STEP_VERSION = "rehear", 2
MAX_ROUNDS = 8
"""A text that was replaced may be in doubt again, elsewhere."""
NOTICE = "heard_again_here"
LOST = "translations_lost"
"""Parameter of the provenance: lines with a translation that were replaced."""


async def apply(ctx: TaskContext, report: VideoReport) -> VideoReport:
    """`report` with all better texts that were found for its words before; runs nothing."""
    known = ctx.known
    if known is None:
        return report
    for _ in range(MAX_ROUNDS):
        decided = await known(STEP, _params(report))
        if not decided:
            break
        before, report = report, patched(report, decided)
        if report.segments == before.segments:
            break
    return report


async def decide(ctx: TaskContext, report: VideoReport, model: Mapping[str, Any]) -> VideoReport:
    """Hear what is in doubt in `report` again; the report with every better text in its place.

    Args:
        model: the speech model, as `jobs.resolve_model` gives it.
    """
    await probe(ctx)
    track = await audio(ctx)
    pcm = pcm_path(ctx, track["track_index"])
    chunks, speech = await plan_chunks(ctx, track, pcm)
    plan = stretches(chunks, report.segments, _places(report))
    doubtful = doubtful_parts(report, plan, speech)
    guess = report.language_probability
    is_guess = guess is not None and guess < quality_speech.SURE_LANGUAGE
    parts = list(range(len(plan))) if is_guess and not _heard_again(report) else doubtful
    if not parts:
        raise PermanentError(
            "no voice is heard on this machine in the stretches that are in doubt",
            hint="look at them: gsvr batch quality names their times",
        )
    params, language = _params(report), _language(ctx, report, model)
    await samples(ctx, track, pcm)  # once, before several chunks want it
    done = 0

    async def one(part: int) -> dict[str, Any]:
        nonlocal done
        start, end = plan[part]

        async def run() -> Any:
            path = await samples(ctx, track, pcm)
            present = text_of(report.segments, start, end)
            where = (
                str(model["path"]),
                path,
                start,
                end,
                language,
                present,
                part not in doubtful,
                True,
            )
            heard = await compute(ctx, jobs.relisten_chunk, *where)
            return {"start": start, "end": end, "model": model["name"], **heard}

        value: dict[str, Any] = await ctx.step(STEP, run, part=part, params=params)
        done += 1
        ctx.progress("transcribe", done, len(parts))
        return value

    values = await bounded((one(part) for part in parts), limit=width(ctx))
    return patched(report, dict(zip(parts, values, strict=True)))


def doubtful_parts(
    report: VideoReport,
    plan: Sequence[tuple[int, int]],
    speech: tuple[tuple[float, float], ...],
) -> list[int]:
    """Indices of the stretches of `plan` (samples) in doubt that were not heard again yet. Pure.

    Args:
        speech: where a voice is heard, seconds.
    """
    spans = second_hearing.spans_in_doubt(report.segments, speech, report.language)
    heard = _places(report)
    rate = SAMPLE_RATE

    def touches(part: tuple[int, int], places: Sequence[tuple[float, float]], more: float) -> bool:
        return any(a + more < part[1] / rate and part[0] / rate + more < b for a, b in places)

    return [
        n
        for n, part in enumerate(plan)
        if touches(part, spans, 0.0) and not touches(part, heard, SLACK_S)
    ]


# --- the report that follows ---------------------------------------------------------------------


def patched(report: VideoReport, decided: Mapping[int, Mapping[str, Any]]) -> VideoReport:
    """`report` with what was decided about it; pure.

    Args:
        decided: values of the `rehear` steps.
    """
    values = sorted(decided.values(), key=lambda value: int(value["start"]))
    segments, translated = replaced(report.segments, values)
    told = [_told_of(report, value) for value in values]
    made = report.provenance
    heard: dict[str, Any] = {"heard_again": [*_heard_again(report), *told]}
    lost = translated + int(made.parameters.get(LOST, 0))
    if lost:
        heard[LOST] = lost
    report = replace(report, provenance=replace(made, parameters={**made.parameters, **heard}))
    if segments == report.segments:
        return report
    return _proved(replace(report, segments=segments), str(values[0]["model"]))


def _told_of(report: VideoReport, value: Mapping[str, Any]) -> dict[str, Any]:
    """As `second_hearing.told`; `assumed` marks that nobody told how sure the first words were."""
    start, end = int(value["start"]), int(value["end"])
    entry = second_hearing.told(start, end, dict(value))
    lines = [s for s in report.segments if lies_in(s, start, end)]
    assumed = any(line.confidence is None for line in lines)
    return {**entry, "assumed": True} if assumed else entry


def _proved(report: VideoReport, model: str) -> VideoReport:
    """Statements and key terms looked at again, with the new words."""
    known = citations.sources(report.segments, report.slides)
    summary = citations.check_points(report.summary, known)
    sections = citations.check_sections(report.sections, known)
    proofs = citations.count_proofs(summary, *(s.items for s in sections))
    notices = [n for n in report.notices if n.code not in ("unproved", NOTICE)]
    notices.append(Notice(NOTICE, _told(report, model)))
    if proofs.proved < proofs.total:
        missing = proofs.total - proofs.proved
        message = (
            f"{missing} of {proofs.total} statements give no quote that occurs in the "
            "transcript or on a slide; they are marked."
        )
        notices.append(Notice("unproved", message, "warning"))
    return replace(
        report,
        summary=summary,
        sections=sections,
        key_terms=_counted(report),
        notices=tuple(notices),
    )


def _told(report: VideoReport, model: str) -> str:
    """What the notice says, of all hearings so far."""
    number = sum(bool(one["replaced"]) for one in _heard_again(report))
    places = "1 stretch was" if number == 1 else f"{number} stretches were"
    text = (
        f"In the transcript {places} heard again and replaced on this machine, with the speech "
        f"model {model}; chapters and statements are those of the first text"
    )
    lost = int(report.provenance.parameters.get(LOST, 0))
    lines = "of 1 line that was" if lost == 1 else f"of {lost} lines that were"
    return f"{text}; the translation {lines} replaced is lost." if lost else f"{text}."


def _counted(report: VideoReport) -> tuple[KeyTerm, ...]:
    names = [one.term for one in report.key_terms]
    found = answers.key_terms(names, report.segments, report.slides)
    pairs = zip(report.key_terms, found, strict=True)
    return tuple(replace(new, score=old.score) for old, new in pairs)


def _heard_again(report: VideoReport) -> list[dict[str, Any]]:
    return list(report.provenance.parameters.get("heard_again") or ())


def _places(report: VideoReport) -> list[tuple[float, float]]:
    """Stretches that were heard again, seconds."""
    return [(one["start_s"], one["end_s"]) for one in _heard_again(report)]


def _params(report: VideoReport) -> dict[str, Any]:
    """Key of the decisions: the words they are about, whoever wrote them."""
    words = [[round(s.start_s, 2), round(s.end_s, 2), s.text] for s in report.segments]
    return {"v": STEP_VERSION, "params": jobs.relisten_params(), "text": digest(words)}


def _language(ctx: TaskContext, report: VideoReport, model: Mapping[str, Any]) -> str:
    """What the recogniser is told; the report's own language, or the one that was asked for."""
    wanted = str(ctx.options.get("language", "auto"))
    if not model["multilingual"]:
        return "en"
    return report.language or ("en" if wanted == "auto" else wanted)
