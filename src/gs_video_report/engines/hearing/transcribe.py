"""The stage `transcribe`: the words of a recording, from its subtitles or from its sound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.hearing import second_hearing
from gs_video_report.engines.hearing.first_hearing import (
    language_of,
    plan_chunks,
    segments_of,
    texts_of,
)
from gs_video_report.engines.hearing.sound import audio_notices, pcm_path, samples
from gs_video_report.engines.hearing.source import words_or_sound
from gs_video_report.engines.hearing.transcript import Transcript
from gs_video_report.report.model import Notice, Segment


async def transcript(ctx: TaskContext, found: dict[str, Any], model: dict[str, Any]) -> Transcript:
    """Existing subtitles if wanted and there, else speech recognition with `model`."""
    known = await words_or_sound(ctx, found)
    if isinstance(known, Transcript):
        return known
    return await _from_speech(ctx, found, known, model)


async def _from_speech(
    ctx: TaskContext, found: dict[str, Any], track: dict[str, Any], model: dict[str, Any]
) -> Transcript:
    notices = audio_notices(track, found)
    ctx.progress("transcribe", 0, 0)
    pcm = pcm_path(ctx, track["track_index"])
    plan, speech = await plan_chunks(ctx, track, pcm)
    if not plan:
        notices.append(
            Notice("no_speech", "No speech was found in the sound of this recording.", "info")
        )
        return Transcript(notices=notices, speech=speech)
    heard: list[dict[str, Any]] = []
    language, probability = await language_of(ctx, track, pcm, plan, model, heard)

    async def path() -> str:
        return await samples(ctx, track, pcm)

    first = await texts_of(ctx, track, pcm, plan, model, (language, probability), heard)
    hearing = second_hearing.Hearing(plan, speech, model, language, probability, first)
    texts, heard_again = await second_hearing.apply(ctx, hearing, path)
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
