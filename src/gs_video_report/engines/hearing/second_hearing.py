"""Give doubtful chunks of a transcript a second hearing, and keep what was decided there.

Truth: the journal's `relisten` steps. A decision counts in every later run of the same content
with the same model, plan and language: another template, a repaired report, another batch. Only a
run with `ctx.hear_again` makes new ones, and each chunk gets at most one. Which chunks are in
doubt follows from the first hearing alone, so a second run finds all of them decided.
Never: touches chunks that are not in doubt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.bounded import bounded
from gs_video_report.engines.hearing.first_hearing import segments_of
from gs_video_report.engines.hearing.sound import SAMPLE_RATE
from gs_video_report.engines.steps import STEP_VERSIONS, compute, digest, width
from gs_video_report.report import quality_speech
from gs_video_report.report.model import Segment

STEP = "relisten"


@dataclass(frozen=True, slots=True)
class Hearing:
    """The first hearing of a recording."""

    plan: Sequence[tuple[int, int]]
    """Chunks as (start, end) in samples."""
    speech: tuple[tuple[float, float], ...]
    """Where a voice is heard, seconds."""
    model: dict[str, Any]
    language: str
    probability: float | None
    """Of the language; None when it was given."""
    texts: Sequence[dict[str, Any]]
    """`ChunkText` as journaled, one per chunk."""

    @property
    def params(self) -> dict[str, Any]:
        """Key of the decisions."""
        return {
            "v": STEP_VERSIONS[STEP],
            "params": jobs.relisten_params(),
            "asr": jobs.speech_params()["asr"],
            "model": self.model["sha256"],
            "plan": digest(list(self.plan)),
            "language": self.language,
        }


async def apply(
    ctx: TaskContext, hearing: Hearing, pcm_path: Callable[[], Awaitable[str]]
) -> tuple[list[dict[str, Any]], tuple[dict[str, Any], ...]]:
    """The texts with every better one in its place, and what was heard again (`told`).

    Args:
        pcm_path: gives the path of the samples, decoding them again if they are gone.
    """
    params = hearing.params
    decided = await ctx.known(STEP, params) if ctx.known is not None else {}
    if ctx.hear_again:
        decided = decided | await _decide(ctx, hearing, params, pcm_path, set(decided))
    texts = list(hearing.texts)
    for part, value in decided.items():
        texts[part] = value["kept"] or texts[part]
    entries = [told(*hearing.plan[part], value) for part, value in sorted(decided.items())]
    return texts, tuple(_joined(entries))


def doubtful_parts(hearing: Hearing) -> list[int]:
    """Indices of the chunks in which anything is in doubt. Pure."""
    spans = doubtful_spans(hearing)
    rate = SAMPLE_RATE
    return [
        part
        for part, (start, end) in enumerate(hearing.plan)
        if any(a < end / rate and start / rate < b for a, b in spans)
    ]


def doubtful_spans(hearing: Hearing) -> quality_speech.Spans:
    """Stretches of the first hearing that triage would point at, in seconds. Pure."""
    segments = list(segments_of(hearing.texts))
    return spans_in_doubt(segments, hearing.speech, hearing.language)


def spans_in_doubt(
    segments: Sequence[Segment], speech: quality_speech.Spans, language: str
) -> quality_speech.Spans:
    """Stretches of any transcript that triage would point at, in seconds. Pure."""
    return quality_speech.merged(
        [
            *((loop.start_s, loop.end_s) for loop in quality_speech.loops(segments)),
            *quality_speech.missing_text(segments, speech),
            *quality_speech.text_without_speech(segments, speech),
            *quality_speech.unsure(segments),
            *((a, b) for a, b, _ in quality_speech.language_flips(segments, language)),
        ]
    )


def told(start: int, end: int, value: dict[str, Any]) -> dict[str, Any]:
    """What a report says about a stretch that was heard again.

    Keys: start_s, end_s; tried: how many other texts (0: only the language was looked at);
    replaced; way (see `media.relisten`); languages that were heard in it;
    before and after: logprob, missed_s, cost of the first text and of the one that is kept.
    """
    attempts = value["attempts"]
    kept = next(a for a in attempts if a["way"] == value["way"])
    return {
        "start_s": round(start / SAMPLE_RATE, 3),
        "end_s": round(end / SAMPLE_RATE, 3),
        "tried": len(attempts) - 1,
        "replaced": value["kept"] is not None,
        "way": value["way"],
        "languages": sorted({code for a in attempts for code in a["languages"]}),
        "before": _figures(attempts[0]),
        "after": _figures(kept),
    }


def _joined(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring stretches of which only the language was looked at become one."""
    out: list[dict[str, Any]] = []
    for entry in entries:
        alike = out and all(
            e["tried"] == 0 and e["languages"] == entry["languages"] for e in (out[-1], entry)
        )
        if alike:
            out[-1] = {**out[-1], "end_s": entry["end_s"]}
        else:
            out.append(entry)
    return out


def _figures(attempt: dict[str, Any]) -> dict[str, float]:
    found = attempt["measure"]
    return {
        "logprob": found["logprob"],
        "missed_s": found["missed_s"],
        "cost": attempt["cost"],
    }


async def _decide(
    ctx: TaskContext,
    hearing: Hearing,
    params: dict[str, Any],
    pcm_path: Callable[[], Awaitable[str]],
    decided: set[int],
) -> dict[int, Any]:
    """Hear the doubtful chunks that have no decision yet; with a doubtful language, all."""
    doubtful = set(doubtful_parts(hearing))
    is_guess = hearing.probability is not None and (
        hearing.probability < quality_speech.SURE_LANGUAGE
    )
    wanted = range(len(hearing.plan)) if is_guess else sorted(doubtful)
    parts = [part for part in wanted if part not in decided]
    if not parts:
        return {}
    model_dir, language = hearing.model["path"], hearing.language
    done = 0

    async def one(part: int) -> dict[str, Any]:
        nonlocal done
        start, end = hearing.plan[part]

        async def run() -> Any:
            path, present = await pcm_path(), hearing.texts[part]
            only_language = part not in doubtful
            return await compute(
                ctx,
                jobs.relisten_chunk,
                model_dir,
                path,
                start,
                end,
                language,
                present,
                only_language,
            )

        value: dict[str, Any] = await ctx.step(STEP, run, part=part, params=params)
        done += 1
        ctx.progress("transcribe", done, len(parts))
        return value

    await pcm_path()  # once, before several chunks want it
    values = await bounded((one(part) for part in parts), limit=width(ctx))
    return dict(zip(parts, values, strict=True))
