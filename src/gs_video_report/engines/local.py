"""The local engine: speech recognition, slides, OCR and extractive analysis, without any network.

Truth: every expensive step is journaled by `ctx.step`; what is composed here is cheap and pure.
Never: sends anything anywhere, invents text that nobody said or showed.
Raises: DependencyMissing, ModelMissing (check_ready); PermanentError when nothing can be decoded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from gs_video_report import __version__
from gs_video_report.compute.again import again
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines import jobs, memory_need
from gs_video_report.engines.base import EngineCapabilities, Estimate, TaskContext
from gs_video_report.engines.compose import compose
from gs_video_report.engines.hearing.transcribe import transcript
from gs_video_report.engines.hearing.transcript import Transcript
from gs_video_report.engines.pictures import slides_of
from gs_video_report.engines.probe import probe, probe_notices
from gs_video_report.errors import CorruptMediaError, DependencyMissing
from gs_video_report.report.model import (
    MediaInfo,
    Notice,
    Provenance,
    VideoReport,
)
from gs_video_report.templates.loader import Template

SPEED_ASR = 12.0
"""Media seconds per CPU second of speech recognition (base, int8, beam 5), measured."""
SPEED_SLIDES = 60.0
"""Media seconds per CPU second of the slide search at 720p."""
SECONDS_PER_SLIDE = 0.7
"""CPU seconds to read one slide."""
SLIDES_PER_HOUR = 40.0
"""Typical of lectures; only used for estimates."""
PER_VIDEO_S = 0.5
"""CPU seconds that even the shortest video costs: fingerprint, probe, pages."""

_PACKAGES = {
    "faster_whisper": "faster-whisper",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "rapidocr": "rapidocr",
}


class LocalEngine:
    """See the module's header. `asr_model` and `cache_root` are those of BatchOptions."""

    capabilities = EngineCapabilities(
        name="local",
        accepts=frozenset({"file"}),
        needs_network=False,
        needs_key=False,
        translates=False,
    )

    def __init__(self, *, asr_model: str = "auto", cache_root: str = "") -> None:
        self._asr_model = asr_model
        self._cache_root = cache_root
        self._model: dict[str, Any] = {}

    @property
    def buckets(self) -> tuple[str, ...]:
        """No remote calls, no buckets."""
        return ()

    async def prepare(self, compute: ComputeBackend) -> None:
        """Raise DependencyMissing or ModelMissing, with the way out, before anything starts."""
        missing = [pip for name, pip in _PACKAGES.items() if importlib.util.find_spec(name) is None]
        if missing:
            raise DependencyMissing(
                f"the local engine needs packages that are not installed: {', '.join(missing)}",
                hint="pip install 'gs-video-report[local]'",
            )
        self._model = await again(
            lambda: compute.run(jobs.resolve_model, self._asr_model, self._cache_root)
        )

    @property
    def model(self) -> Mapping[str, Any]:
        """The speech model, as `jobs.resolve_model` gives it; empty before `prepare()`."""
        return self._model

    @property
    def model_name(self) -> str:
        """Of the speech model; empty before `prepare()`."""
        return str(self._model.get("name", ""))

    def process_bytes(self, *, ocr: bool) -> int:
        """See `engines.base.Needing`."""
        model = Path(str(self._model.get("path", "")), "model.bin")
        size = model.stat().st_size if model.is_file() else 0
        return memory_need.process_bytes(size, ocr=ocr)

    def estimate(self, duration_s: float, template: Template) -> Estimate:
        """CPU seconds of one core for `duration_s` seconds of recording."""
        slides = duration_s / 3600 * SLIDES_PER_HOUR
        seconds = (
            PER_VIDEO_S
            + duration_s / SPEED_ASR
            + duration_s / SPEED_SLIDES
            + slides * SECONDS_PER_SLIDE
        )
        return Estimate(seconds=seconds)

    async def analyze(self, ctx: TaskContext) -> VideoReport:
        """Probe, transcribe, find and read slides, compose."""
        found = await probe(ctx)
        spoken = await transcript(ctx, found, self._model)
        slides, picture_notices = await slides_of(ctx, found, spoken.language)
        if not spoken.segments and not slides and found["video"] is None and not found["audio"]:
            raise CorruptMediaError("nothing in the file can be decoded", stage="compose")
        notices = [
            *_template_notices(ctx.template, spoken.language),
            *probe_notices(found),
            *spoken.notices,
            *picture_notices,
        ]
        ctx.progress("compose", 0, 1)
        analysis = await compose(ctx, found, spoken, slides)
        ctx.progress("compose", 1, 1)
        return VideoReport(
            media=media_info(ctx, found),
            provenance=self._provenance(ctx, spoken),
            language=spoken.language,
            language_probability=spoken.probability,
            segments=spoken.segments,
            slides=slides,
            notices=tuple(notices),
            speech=spoken.speech,
            **analysis,
        )

    def _provenance(self, ctx: TaskContext, spoken: Transcript) -> Provenance:
        keys = ("language", "asr_model", "subtitles", "slides", "ocr")
        repeated = {"heard_again": list(spoken.heard_again)} if spoken.heard_again else {}
        return Provenance(
            engine="local",
            engine_version=__version__,
            asr_model=spoken.model,
            template=ctx.template.name,
            template_version=str(ctx.template.version),
            tool_version=__version__,
            transcript_source=spoken.source,
            parameters={k: ctx.options.get(k) for k in keys} | repeated,
        )


def media_info(ctx: TaskContext, found: dict[str, Any]) -> MediaInfo:
    """Facts about the recording, from the probe and the input list."""
    video, audio = found["video"] or {}, found["audio"][0] if found["audio"] else {}
    name = PurePath(ctx.media.display_name).name
    title = str(found["tags"].get("title") or "").strip() or PurePath(name).stem
    return MediaInfo(
        title=ctx.media.metadata.get("title") or title,
        file_name=name,
        source=ctx.media.source,
        duration_s=round(float(found["duration_s"]), 3),
        size_bytes=int(found["size_bytes"]),
        container=found["container"],
        video_codec=video.get("codec", ""),
        audio_codec=audio.get("codec", ""),
        width=int(video.get("width", 0)),
        height=int(video.get("height", 0)),
        fps=round(float(video.get("fps") or 0.0), 3),
        audio_tracks=len(found["audio"]),
        sha256=ctx.fingerprint,
        metadata={**dict(ctx.media.metadata)},
    )


def _template_notices(template: Template, language: str) -> list[Notice]:
    """What the template asks for and only a language model can do."""
    undone = [
        what
        for what in template.needs_llm
        if not (what.lower().startswith("translation") and language == template.language)
    ]
    if not undone:
        return []
    return [
        Notice(
            "not_done",
            f"Not done by the local engine: {', '.join(undone)}. "
            "The transcript is in the spoken language. "
            "To get these parts, process the recording with --engine gemini or --engine openai.",
            "warning",
        )
    ]
