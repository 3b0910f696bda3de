"""Speech recognition of a recording: where voices are, which language, the text of each chunk.

Truth: the journal's steps `vad`, `language` and `transcribe`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.bounded import bounded
from gs_video_report.engines.hearing.sound import SAMPLE_RATE, samples
from gs_video_report.engines.steps import STEP_VERSIONS, compute, digest, width
from gs_video_report.report.model import Segment, Word


async def plan_chunks(
    ctx: TaskContext, track: dict[str, Any], pcm: Path
) -> tuple[list[tuple[int, int]], tuple[tuple[float, float], ...]]:
    """Chunks in samples, and where a voice is heard in seconds."""

    async def run() -> Any:
        return await compute(
            ctx, jobs.plan_speech, await samples(ctx, track, pcm), stage="transcribe"
        )

    vad_params = {
        "v": STEP_VERSIONS["vad"],
        "pcm": track["sha256"],
        "params": jobs.speech_params()["vad"],
    }
    plan = await ctx.step("vad", run, params=vad_params)
    chunks = [(int(a), int(b)) for a, b in plan["chunks"]]
    return chunks, tuple((float(a), float(b)) for a, b in plan["speech"])


async def language_of(
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
        path = await samples(ctx, track, pcm)
        if len(plan) > 1:
            return await compute(ctx, jobs.detect_language, model["path"], path, plan)
        found = await compute(ctx, jobs.hear_only_chunk, model["path"], path, *plan[0])
        heard.append(found[2])
        return found[:2]

    params = {"v": STEP_VERSIONS["language"], "model": model["sha256"], "plan": digest(plan)}
    language, probability = await ctx.step("language", run, params=params)
    return str(language), round(float(probability), 4)


async def texts_of(
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
            path = await samples(ctx, track, pcm)
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
