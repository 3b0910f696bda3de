"""Speech recognition by the server: the speech chunks as WAV uploads, one durable step each.

True here: silence is never sent (the local plan of speech chunks decides), no chunk is longer
than half a minute, and a server that gives no times still gives a transcript whose times are
right to the chunk. Times inside such a chunk are spread by length of text and are no word times.
Never: keeps audio in memory beyond one chunk per request in flight.
Raises: what `ChatClient` raises.
"""

from __future__ import annotations

import asyncio
import io
import re
import wave
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.bounded import bounded
from gs_video_report.engines.hearing.first_hearing import plan_chunks
from gs_video_report.engines.hearing.sound import (
    SAMPLE_RATE,
    audio_notices,
    pcm_path,
    samples,
)
from gs_video_report.engines.hearing.source import words_or_sound
from gs_video_report.engines.hearing.transcript import Transcript
from gs_video_report.engines.llm.prices import ModelPrice, today
from gs_video_report.engines.llm.quota import Need, Spent, send_within
from gs_video_report.engines.openai.client import ChatClient
from gs_video_report.engines.steps import digest
from gs_video_report.report.model import Notice, Segment

STEP_VERSION = 1
WIDTH = 4
"""Uploads of one task in flight."""
_NAMES = {
    "english": "en", "chinese": "zh", "mandarin": "zh", "cantonese": "yue", "japanese": "ja",
    "korean": "ko", "german": "de", "french": "fr", "spanish": "es", "italian": "it",
    "portuguese": "pt", "russian": "ru", "arabic": "ar", "hindi": "hi", "dutch": "nl",
    "polish": "pl", "turkish": "tr", "vietnamese": "vi", "thai": "th", "indonesian": "id",
    "ukrainian": "uk", "czech": "cs", "swedish": "sv",
}  # fmt: skip
_WORDS = re.compile(
    r"\s*(?:[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\S+?(?=[\u3040-\u9fff]|\s|$))"
)


async def transcript(
    ctx: TaskContext,
    found: dict[str, Any],
    client: ChatClient,
    bucket: str,
    price: ModelPrice | None,
) -> tuple[Transcript, list[dict[str, Any]]]:
    """Subtitles if wanted and there, else the speech as the server hears it; and the usages."""
    known = await words_or_sound(ctx, found)
    if isinstance(known, Transcript):
        return known, []
    return await _heard(ctx, _Hearing(ctx, known, client, bucket, price), known, found)


async def _heard(
    ctx: TaskContext, hearing: _Hearing, track: dict[str, Any], found: dict[str, Any]
) -> tuple[Transcript, list[dict[str, Any]]]:
    pcm = pcm_path(ctx, track["track_index"])
    plan, speech = await plan_chunks(ctx, track, pcm)
    chunks = await hearing.all(plan, pcm)
    notices = audio_notices(track, found)
    segments = tuple(s for chunk in chunks for s in _segments(chunk))
    usages = [chunk["usage"] for chunk in chunks]
    model = hearing.model
    if not segments:
        notices.append(Notice("no_speech", "No speech was found in the sound of this recording."))
        return Transcript(notices=notices, speech=speech), usages
    notices.append(
        Notice("remote_speech", f"The speech was recognised by {model} at {hearing.host}.")
    )
    language = hearing.wanted or _language(chunks, segments)
    made = Transcript(segments, language, None, "speech", model, notices, speech)
    return made, usages


class _Hearing:
    """The uploads of one recording."""

    def __init__(
        self,
        ctx: TaskContext,
        track: dict[str, Any],
        client: ChatClient,
        bucket: str,
        price: ModelPrice | None,
    ) -> None:
        wanted = str(ctx.options.get("language", "auto"))
        self.wanted = "" if wanted == "auto" else wanted
        self.model = client.options.transcribe_model
        self.host = client.options.host
        self._ctx, self._track, self._client = ctx, track, client
        self._bucket, self._price = bucket, price

    async def all(self, plan: Sequence[tuple[int, int]], pcm: Path) -> list[dict[str, Any]]:
        """One dict per chunk, in order; progress in seconds of sound."""
        total = sum(end - start for start, end in plan) / SAMPLE_RATE
        done = 0.0
        self._ctx.progress("transcribe", 0, total)

        async def one(part: int, start: int, end: int) -> dict[str, Any]:
            nonlocal done
            text = await self._step(part, start, end, pcm, digest(list(plan)))
            done += (end - start) / SAMPLE_RATE
            self._ctx.progress("transcribe", done, total)
            return text

        work = (one(part, start, end) for part, (start, end) in enumerate(plan))
        return await bounded(work, limit=WIDTH)

    async def _step(self, part: int, start: int, end: int, pcm: Path, plan: str) -> dict[str, Any]:
        seconds = (end - start) / SAMPLE_RATE
        params = {
            "v": STEP_VERSION,
            "base_url": self._client.options.base_url,
            "model": self.model,
            "language": self.wanted,
            "plan": plan,
        }

        async def send() -> tuple[dict[str, Any], Spent]:
            path = await samples(self._ctx, self._track, pcm)
            sound = await asyncio.to_thread(wav_bytes, path, start, end)
            value = await self._client.transcribe(
                sound, f"part-{part}.wav", self.wanted, seconds, self._price, today()
            )
            value["start_s"], value["end_s"] = start / SAMPLE_RATE, end / SAMPLE_RATE
            usage = value["usage"]
            return value, Spent(usage["tokens_in"], usage["tokens_out"], usage["usd"])

        async def run() -> dict[str, Any]:
            usd = 0.0 if self._price is None else seconds * self._rate()
            told = partial(self._client.hint, self.model)
            return await send_within(self._ctx, self._bucket, Need(0, usd), send, told)

        value: dict[str, Any] = await self._ctx.step("hear", run, part=part, params=params)
        return value

    def _rate(self) -> float:
        return 0.0 if self._price is None else self._price.rates(today()).per_second


def wav_bytes(pcm_path: str, start: int, end: int) -> bytes:
    """Samples [start, end) of raw s16le 16 kHz mono as a WAV file."""
    with Path(pcm_path).open("rb") as file:
        file.seek(start * 2)
        samples = file.read((end - start) * 2)
    out = io.BytesIO()
    with wave.open(out, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(SAMPLE_RATE)
        target.writeframes(samples)
    return out.getvalue()


def _segments(chunk: dict[str, Any]) -> list[Segment]:
    """Absolute lines of one chunk; from its own times, else cut into sentences."""
    start, end = float(chunk["start_s"]), float(chunk["end_s"])
    timed = [s for s in chunk["segments"] if str(s["text"]).strip()]
    if timed:
        return [
            Segment(
                round(min(start + s["start"], end), 3),
                round(min(start + max(s["end"], s["start"]), end), 3),
                str(s["text"]).strip(),
                confidence=s.get("avg_logprob"),
            )
            for s in timed
        ]
    return spread(str(chunk["text"]).strip(), start, end)


def spread(text: str, start_s: float, end_s: float) -> list[Segment]:
    """Sentences of `text` over a time range, each as long as its share of the letters."""
    from gs_video_report.media.speech.sentences import SpokenWord, group_words

    words = _WORDS.findall(text)
    rest = text[sum(map(len, words)) :].strip()
    words += [rest] if rest else []
    total = sum(map(len, words))
    if not total:
        return []
    step = (end_s - start_s) / total
    timed, at = [], start_s
    for word in words:
        timed.append(SpokenWord(at, at + len(word) * step, word))
        at += len(word) * step
    return [
        Segment(
            round(group[0].start_s, 3),
            round(group[-1].end_s, 3),
            "".join(word.text for word in group).strip(),
        )
        for group in group_words(timed)
    ]


def _language(chunks: Sequence[dict[str, Any]], segments: Sequence[Segment]) -> str:
    """What most chunks were said to be in; a guess from the words when the server does not say."""
    from collections import Counter

    from gs_video_report.text.language import guess_language

    named = Counter(_code(c["language"]) for c in chunks if c["text"].strip())
    del named[""]
    if named:
        return named.most_common(1)[0][0]
    return guess_language(" ".join(s.text for s in segments[:200]))


def _code(name: str) -> str:
    """`english` or `en-US` -> `en`; empty for anything else."""
    word = name.strip().lower()
    if word in _NAMES:
        return _NAMES[word]
    base = word.replace("_", "-").partition("-")[0]
    return base if re.fullmatch(r"[a-z]{2,3}", base) else ""
