"""The pipeline stages that engines share: probe, audio, transcribe, slides, read.

Each function takes the context, goes through `ctx.step` for everything expensive, reports
progress, and returns plain values. A stage that cannot work on this recording returns what there
is plus notices; only a recording in which nothing can be read raises.
Never: writes outputs, knows the queue.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.errors import GsvrError, PermanentError, StepCancelled
from gs_video_report.report.model import (
    Chapter,
    KeyTerm,
    Notice,
    Segment,
    Slide,
    SummaryPoint,
    Word,
)

SAMPLE_RATE = 16_000
"""Samples per second of the decoded audio."""

STEP_VERSIONS = {
    "probe": 1,
    "audio": 1,
    "vad": 2,
    "language": 1,
    "transcribe": 1,
    "relisten": 1,
    "subtitles": 1,
    "slides": 2,
    "read": 1,
}
"""Raised when a step's result changes meaning, so that old journal entries are not used."""


@dataclass(slots=True)
class Transcript:
    """What was said, and where the words come from."""

    segments: tuple[Segment, ...] = ()
    language: str = ""
    probability: float | None = None
    source: str = "none"
    """`speech`, `sidecar:<name>`, `embedded:<n>`, `none`."""
    model: str = ""
    notices: list[Notice] = field(default_factory=list)
    speech: tuple[tuple[float, float], ...] | None = None
    """See `VideoReport.speech`."""
    heard_again: tuple[dict[str, Any], ...] = ()
    """Stretches that were heard a second time; see `second_hearing.told`."""


async def compute(ctx: TaskContext, fn: Any, *args: Any, stage: str = "") -> Any:
    """Run `fn` out of process under the task's limits, reporting progress as `stage`."""
    return await ctx.compute.run(
        fn,
        *args,
        timeout_s=ctx.step_timeout_s,
        stall_timeout_s=ctx.stall_timeout_s,
        priority=ctx.priority,
        on_progress=(lambda done, total: ctx.progress(stage, done, total)) if stage else None,
    )


async def probe(ctx: TaskContext) -> dict[str, Any]:
    """Container, streams, length. Raises what `media.probe` raises."""
    ctx.progress("probe", 0, 1)
    found: dict[str, Any] = await ctx.step(
        "probe",
        lambda: compute(ctx, jobs.probe, ctx.media.source),
        params={"v": STEP_VERSIONS["probe"]},
    )
    if ctx.report_media is not None:
        await ctx.report_media(ctx.fingerprint, float(found["duration_s"]))
    ctx.progress("probe", 1, 1)
    return found


def probe_notices(found: dict[str, Any]) -> list[Notice]:
    """What the container tells that a reader should know."""
    notices = []
    if not found["audio"]:
        notices.append(
            Notice(
                "no_audio",
                "The recording has no audio track, so there is no transcript.",
                "warning",
            )
        )
    if found["video"] is None:
        notices.append(Notice("no_video", "The recording has no pictures, so there are no slides."))
    if len(found["audio"]) > 1:
        notices.append(
            Notice(
                "several_audio_tracks",
                f"The recording has {len(found['audio'])} audio tracks; "
                "the transcript is of the default one.",
            )
        )
    return notices


# --- audio and speech --------------------------------------------------------------------------


async def transcript(ctx: TaskContext, found: dict[str, Any], model: dict[str, Any]) -> Transcript:
    """Existing subtitles if wanted and there, else speech recognition with `model`."""
    if ctx.options.get("subtitles", "prefer") == "prefer":
        known = await _from_subtitles(ctx, found)
        if known is not None:
            return known
    if not found["audio"]:
        return Transcript()
    return await _from_speech(ctx, found, model)


async def _from_subtitles(ctx: TaskContext, found: dict[str, Any]) -> Transcript | None:
    from gs_video_report.media.subtitles import read as subtitles

    wanted = str(ctx.options.get("language", "auto"))
    sidecars = await asyncio.to_thread(subtitles.find_sidecars, ctx.media.path)
    choice = subtitles.choose(sidecars, found["subtitles"], "" if wanted == "auto" else wanted)
    if choice is None:
        return None
    if choice.kind == "sidecar":
        digest = hashlib.sha256(await asyncio.to_thread(Path(choice.path).read_bytes)).hexdigest()
    else:
        digest = f"stream {choice.index}"
    path = choice.path if choice.kind == "sidecar" else ctx.media.source
    try:
        parsed = await ctx.step(
            "subtitles",
            lambda: compute(ctx, jobs.read_subtitles, str(path), choice.kind, choice.index),
            params={"v": STEP_VERSIONS["subtitles"], "kind": choice.kind, "sha256": digest},
        )
    except PermanentError:
        return None  # an unusable subtitle file is no reason to lose the speech
    if not parsed["cues"]:
        return None
    return _subtitle_transcript(choice, parsed)


def _subtitle_transcript(choice: Any, parsed: dict[str, Any]) -> Transcript:
    from gs_video_report.text.language import guess_language

    segments = tuple(
        Segment(c["start_s"], c["end_s"], c["text"], c.get("speaker")) for c in parsed["cues"]
    )
    language = choice.language or guess_language(" ".join(s.text for s in segments[:200]))
    if choice.kind == "sidecar":
        name = Path(choice.path).name
        source, words = f"sidecar:{name}", f"the subtitle file {name}"
    else:
        source, words = f"embedded:{choice.index}", "the subtitles inside the recording"
    notice = Notice(
        "subtitles_used", f"The transcript is taken from {words}, not from speech recognition."
    )
    return Transcript(segments, language, None, source, "", [notice])


async def _from_speech(
    ctx: TaskContext, found: dict[str, Any], model: dict[str, Any]
) -> Transcript:
    try:
        track = await audio(ctx)
    except PermanentError as error:
        if found["video"] is None:
            raise
        message = f"The sound could not be decoded ({error.message}), so there is no transcript."
        return Transcript(notices=[Notice("damaged_audio", message, "warning")])
    notices = audio_notices(track, found)
    ctx.progress("transcribe", 0, 0)
    pcm = _pcm_path(ctx, track["track_index"])
    plan, speech = await _plan(ctx, track, pcm)
    if not plan:
        notices.append(
            Notice("no_speech", "No speech was found in the sound of this recording.", "info")
        )
        return Transcript(notices=notices, speech=speech)
    heard: list[dict[str, Any]] = []
    language, probability = await _language(ctx, track, pcm, plan, model, heard)
    from gs_video_report.engines.hearing import second_hearing

    async def pcm_path() -> str:
        return await _samples(ctx, track, pcm)

    first = await _chunks(ctx, track, pcm, plan, model, (language, probability), heard)
    hearing = second_hearing.Hearing(plan, speech, model, language, probability, first)
    texts, heard_again = await second_hearing.apply(ctx, hearing, pcm_path)
    segments = tuple(segments_of(texts))
    if not segments:
        notices.append(
            Notice("no_speech", "No understandable speech was found in this recording.", "info")
        )
        return Transcript(
            notices=notices,
            source="speech",
            model=model["name"],
            speech=speech,
            heard_again=heard_again,
        )
    notices.extend(_speech_notices(segments, language, probability))
    return Transcript(
        segments,
        language,
        probability,
        "speech",
        model["name"],
        notices,
        speech,
        heard_again,
    )


async def audio(ctx: TaskContext) -> dict[str, Any]:
    """Facts about the decoded audio; the samples are made when a later step needs them."""
    ctx.progress("audio", 0, 0)
    facts: dict[str, Any] = await ctx.step(
        "audio", lambda: _extract(ctx), params={"v": STEP_VERSIONS["audio"]}
    )
    ctx.progress("audio", 1, 1)
    return facts


async def _extract(ctx: TaskContext) -> dict[str, Any]:
    await asyncio.to_thread(ctx.work_dir.mkdir, parents=True, exist_ok=True)
    target = ctx.work_dir / "audio.tmp.pcm"
    facts: dict[str, Any] = await compute(
        ctx, jobs.extract_audio, ctx.media.source, str(target), None, stage="audio"
    )
    target.replace(_pcm_path(ctx, facts["track_index"]))
    return facts


def _pcm_path(ctx: TaskContext, track: int) -> Path:
    return ctx.work_dir / f"audio-{track}.pcm"


_decoding: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
"""Samples that several chunks want at once are decoded by the first; two would write one file."""


async def _samples(ctx: TaskContext, track: dict[str, Any], pcm: Path) -> str:
    """Path of the samples, decoded again if the cache lost them."""
    lock = _decoding.setdefault(pcm, asyncio.Lock())
    async with lock:
        try:
            size = (await asyncio.to_thread(pcm.stat)).st_size
        except FileNotFoundError:
            size = -1
        if size != track["samples"] * 2:
            await _extract(ctx)
    return str(pcm)


def audio_notices(track: dict[str, Any], found: dict[str, Any]) -> list[Notice]:
    """Damage and truncation, told with numbers."""
    notices = []
    if track["truncated"]:
        notices.append(
            Notice(
                "truncated",
                f"The recording is cut short: {track['decoded_s']:.0f} of "
                f"{track['declared_s']:.0f} seconds of sound are there.",
                "warning",
                start_s=round(float(track["decoded_s"]), 3),
                end_s=round(float(track["declared_s"]), 3),
            )
        )
    missing = sum(end - start for start, end in track["gaps"])
    if track["bad_packets"] or missing > 0.5:
        notices.append(
            Notice(
                "damaged_audio",
                f"The sound is damaged: {track['bad_packets']} packets could not be decoded, "
                f"{missing:.1f} seconds are missing and were taken as silence.",
                "warning",
                start_s=track["gaps"][0][0] if track["gaps"] else None,
                end_s=track["gaps"][-1][1] if track["gaps"] else None,
            )
        )
    return notices


async def _plan(
    ctx: TaskContext, track: dict[str, Any], pcm: Path
) -> tuple[list[tuple[int, int]], tuple[tuple[float, float], ...]]:
    """Chunks in samples, and where a voice is heard in seconds."""

    async def run() -> Any:
        return await compute(
            ctx, jobs.plan_speech, await _samples(ctx, track, pcm), stage="transcribe"
        )

    vad_params = {
        "v": STEP_VERSIONS["vad"],
        "pcm": track["sha256"],
        "params": jobs.speech_params()["vad"],
    }
    plan = await ctx.step("vad", run, params=vad_params)
    chunks = [(int(a), int(b)) for a, b in plan["chunks"]]
    return chunks, tuple((float(a), float(b)) for a, b in plan["speech"])


async def _language(
    ctx: TaskContext,
    track: dict[str, Any],
    pcm: Path,
    plan: list[tuple[int, int]],
    model: dict[str, Any],
    heard: list[dict[str, Any]],
) -> tuple[str, float | None]:
    """Language and its probability, None when it is known. The text of an only chunk, heard by the
    way, goes to `heard`."""
    wanted = str(ctx.options.get("language", "auto"))
    if wanted != "auto":
        return wanted, None
    if not model["multilingual"]:
        return "en", None

    async def run() -> Any:
        path = await _samples(ctx, track, pcm)
        if len(plan) > 1:
            return await compute(ctx, jobs.detect_language, model["path"], path, plan)
        found = await compute(ctx, jobs.hear_only_chunk, model["path"], path, *plan[0])
        heard.append(found[2])
        return found[:2]

    params = {"v": STEP_VERSIONS["language"], "model": model["sha256"], "plan": digest(plan)}
    language, probability = await ctx.step("language", run, params=params)
    return str(language), round(float(probability), 4)


async def _chunks(
    ctx: TaskContext,
    track: dict[str, Any],
    pcm: Path,
    plan: list[tuple[int, int]],
    model: dict[str, Any],
    guess: tuple[str, float | None],
    heard: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Texts of all chunks, in order; what is in `heard` already is taken from there."""
    language, guessed = guess[0], guess[1] is not None
    params = {
        "v": STEP_VERSIONS["transcribe"],
        "params": jobs.speech_params()["asr"],
        "model": model["sha256"],
        "plan": digest(plan),
        "language": language,
        "guessed": guessed,
    }
    total = float(sum(end - start for start, end in plan)) / SAMPLE_RATE
    done = 0.0

    async def one(part: int, start: int, end: int) -> dict[str, Any]:
        nonlocal done

        async def run() -> Any:
            if heard:
                return heard.pop()
            path = await _samples(ctx, track, pcm)
            where = (model["path"], path, start, end, language, len(plan) == 1, guessed)
            return await compute(ctx, jobs.transcribe_chunk, *where)

        text: dict[str, Any] = await ctx.step("transcribe", run, part=part, params=params)
        done += (end - start) / SAMPLE_RATE
        ctx.progress("transcribe", done, total)
        return text

    ctx.progress("transcribe", 0, total)
    return await bounded(
        (one(part, start, end) for part, (start, end) in enumerate(plan)), limit=width(ctx)
    )


def segments_of(texts: Iterable[dict[str, Any]]) -> Iterable[Segment]:
    """Passages of journaled chunk texts, in order."""
    for text in texts:
        for s in text["segments"]:
            words = tuple(Word(w["start_s"], w["end_s"], w["text"]) for w in s.get("words", ()))
            yield Segment(
                s["start_s"], s["end_s"], s["text"], words=words, confidence=s.get("avg_logprob")
            )


LOW_LOGPROB = -1.0
"""Mean token log-probability under which Whisper itself calls a segment failed
(`log_prob_threshold` of the reference implementation)."""


def _speech_notices(
    segments: Sequence[Segment], language: str, probability: float | None
) -> Iterable[Notice]:
    if language in ("zh", "yue"):
        yield Notice(
            "homophones",
            "Speech recognition of Chinese with this model mixes up words that sound alike; "
            "check names and terms.",
        )
    if probability is not None and probability < 0.5:
        yield Notice(
            "language_uncertain",
            f"The spoken language was guessed as {language} with little certainty "
            f"({probability:.0%}); give it with --language.",
            "warning",
        )
    weak = [s for s in segments if s.confidence is not None and s.confidence < LOW_LOGPROB]
    if len(weak) * 5 > len(segments):
        yield Notice(
            "low_confidence",
            f"The speech is hard to understand: {len(weak)} of {len(segments)} passages are "
            "uncertain.",
            "warning",
        )


# --- pictures ----------------------------------------------------------------------------------


async def slides(
    ctx: TaskContext, found: dict[str, Any], language: str
) -> tuple[tuple[Slide, ...], list[Notice]]:
    """Key frames with their text. No video, or slides switched off: nothing."""
    if found["video"] is None or not ctx.options.get("slides", True):
        return (), []
    try:
        pictures = await _find(ctx)
    except PermanentError as error:
        if not found["audio"]:
            raise
        message = f"The pictures could not be decoded ({error.message}), so there are no slides."
        return (), [Notice("damaged_video", message, "warning")]
    notices = [Notice("damaged_video", str(p), "warning") for p in pictures["problems"]]
    texts = await read(ctx, pictures["slides"], language)
    made = tuple(
        Slide(
            t_s=s["t_s"],
            end_s=s["end_s"],
            image="",
            width=s["width"],
            height=s["height"],
            text=text["text"],
            title=text["title"],
            kind=s["kind"],
            image_sha256=s["key"],
            unread_lines=text.get("unread_lines"),
        )
        for s, text in zip(pictures["slides"], texts, strict=True)
    )
    return made, notices


async def _find(ctx: TaskContext) -> dict[str, Any]:
    ctx.progress("slides", 0, 0)
    out = ctx.work_dir / "slides"

    async def run() -> Any:
        out.mkdir(parents=True, exist_ok=True)
        return await compute(
            ctx, jobs.find_slides, ctx.media.source, str(out), str(ctx.cache.root), stage="slides"
        )

    pictures: dict[str, Any] = await ctx.step(
        "slides",
        run,
        params={"v": STEP_VERSIONS["slides"]},
        artifacts=lambda value: [s["key"] for s in value["slides"]],
    )
    ctx.progress("slides", 1, 1)
    return pictures


async def read(
    ctx: TaskContext, pictures: Sequence[dict[str, Any]], language: str
) -> list[dict[str, Any]]:
    """OCR of each slide image; empty texts when OCR is switched off."""
    if not ctx.options.get("ocr", True):
        return [{"text": "", "title": ""} for _ in pictures]
    done = 0

    async def one(slide: dict[str, Any]) -> dict[str, Any]:
        nonlocal done

        async def run() -> Any:
            return await compute(ctx, jobs.read_slide, str(ctx.cache.path(slide["key"])), language)

        params = {"v": STEP_VERSIONS["read"], "image": slide["key"], "language": language}
        text: dict[str, Any] = await ctx.step("read", run, params=params)
        done += 1
        ctx.progress("read", done, len(pictures))
        return text

    ctx.progress("read", 0, len(pictures))
    return await bounded((one(slide) for slide in pictures), limit=width(ctx))


# --- small helpers -----------------------------------------------------------------------------


def digest(value: Any) -> str:
    """Short SHA-256 of the canonical JSON of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def width(ctx: TaskContext) -> int:
    """Calls of one task in flight: enough to keep every process busy, few enough to stop soon."""
    return max(2, ctx.compute.statistics().processes + 1)


async def bounded(work: Iterable[Awaitable[Any]], *, limit: int) -> list[Any]:
    """Await all of `work`, at most `limit` at a time, results in order.

    The first error stops the start of further items, waits for those in flight to be journaled
    (unless cancelled), and is raised. A graceful stop wins over other errors.
    """
    results: dict[int, Any] = {}
    errors: list[BaseException] = []
    items = enumerate(work)

    async def drain() -> None:
        for index, item in items:
            if errors:
                _close(item)
                continue
            try:
                results[index] = await item
            except GsvrError as error:
                errors.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(drain())
    if errors:
        raise next((e for e in errors if isinstance(e, StepCancelled)), errors[0])
    return [results[i] for i in sorted(results)]


def _close(item: Awaitable[Any]) -> None:
    close = getattr(item, "close", None)
    if close is not None:
        close()


async def compose(
    ctx: TaskContext, found: dict[str, Any], spoken: Transcript, slides: tuple[Slide, ...]
) -> dict[str, Any]:
    """Chapters, summary and key terms, extracted from what was said and shown.

    Returns: keyword arguments for `VideoReport`.
    """
    payload = {
        "segments": [(s.start_s, s.end_s, s.text) for s in spoken.segments],
        "slides": [(s.t_s, s.end_s, s.title, s.text, s.kind) for s in slides],
        "language": spoken.language,
        "duration_s": float(found["duration_s"]),
        "chapters": found["chapters"],
    }
    value = await compute(ctx, jobs.compose, payload, stage="compose")
    return {
        "chapters": tuple(Chapter(**c) for c in value["chapters"]),
        "summary": tuple(SummaryPoint(**p) for p in value["summary"]),
        "key_terms": tuple(KeyTerm(**k) for k in value["key_terms"]),
    }
