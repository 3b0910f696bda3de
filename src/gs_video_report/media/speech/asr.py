"""Turn chunks of speech into text with a local Whisper model, the same way every time.

Truth: the same samples, model, versions and processor give the same text. Speech that the model
left out is found by its missing words, and the chunk is cut there and asked for again.
Throughput comes from several processes with one thread each.
Never: downloads, follows text of earlier chunks (a mistake cannot spread), reports text that the
model itself doubts is speech.
Raises: DependencyMissing, ModelMissing, FileMissingError, FileUnreadableError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gs_video_report.errors import from_os_error
from gs_video_report.media.audio import SAMPLE_RATE
from gs_video_report.media.container import display_name
from gs_video_report.media.speech import dropouts
from gs_video_report.media.speech.doubt import is_doubtful
from gs_video_report.media.speech.encoder import SHORT_S, room_of
from gs_video_report.media.speech.sentences import SpokenWord, group_words, join_words
from gs_video_report.media.speech.vad import WINDOW, Chunk, probabilities_of
from gs_video_report.media.speech.whisper import (
    HEARD_S,
    AsrParams,
    Heard,
    cpu_hash,
    language_odds,
    load_model,
    recognise,
)
from gs_video_report.progress import report

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

__all__ = [
    "AsrParams",
    "ChunkText",
    "HeardPart",
    "SpeechSegment",
    "detect_language",
    "engine_fingerprint",
    "hear",
    "load_samples",
    "make_text",
    "transcribe_chunk",
]

_LANGUAGE_SPOTS = 5
_SURE = 0.9
_MAX_CUTS = 3
_WORTH_S = 0.6  # a cut is kept when it gives words to this much more speech


@dataclass(frozen=True, slots=True)
class SpeechSegment:
    """A sentence or a part of one; times in seconds from the start of the recording."""

    start_s: float
    end_s: float
    text: str
    avg_logprob: float
    """Of the window it was heard in."""
    words: tuple[SpokenWord, ...]


@dataclass(frozen=True, slots=True)
class ChunkText:
    """What was understood in one chunk."""

    text: str
    """Empty when the chunk holds no speech after all."""
    segments: tuple[SpeechSegment, ...]
    avg_logprob: float
    """Mean log-probability of the tokens, <= 0; below -1 is poor. Of the worst part."""
    no_speech_prob: float
    compression_ratio: float
    retries: int
    """How often it was asked again: the text repeated itself, or left speech out."""
    dropped: str = ""
    """Text that was judged to be an invention of the model, for logs."""


@dataclass(frozen=True, slots=True)
class HeardPart:
    """A piece of a chunk and what was heard in it; `at_s` counts from the start of the chunk."""

    at_s: float
    heard: Heard
    missed_s: float
    language: str = ""
    """Empty: that of the recording."""


def transcribe_chunk(
    model_dir: str,
    pcm_path: str,
    start: int,
    end: int,
    language: str,
    params: AsrParams | None = None,
    *,
    alone: bool = False,
    guessed: bool = False,
) -> ChunkText:
    """Recognise samples [start, end) of a raw s16le 16 kHz mono file.

    Args:
        model_dir: folder of a CTranslate2 Whisper model (`SpeechModel.path`).
        language: ISO 639-1 code. English-only models ignore it.
        alone: nothing else is said in the recording. Short clips are then heard with more room.
        guessed: the language was told from parts of the recording; this one may be in another.

    Returns:
        Text and sentence-like segments inside the chunk, in order.
    """
    params = params or AsrParams()
    if alone:
        params = replace(params, room_s=room_of((end - start) / SAMPLE_RATE))
    report(0.0, (end - start) / SAMPLE_RATE)
    samples = load_samples(pcm_path, start, end)
    spoken = _own_language(model_dir, samples, language, params) if guessed else language
    parts = hear(model_dir, samples, spoken, params, _MAX_CUTS)
    if spoken != language:
        parts = [replace(part, language=spoken) for part in parts]
    report((end - start) / SAMPLE_RATE, (end - start) / SAMPLE_RATE)
    return make_text(parts, start, end, language)


def make_text(parts: Sequence[HeardPart], start: int, end: int, language: str) -> ChunkText:
    """The text of samples [start, end) from what was heard in its parts (at least one).

    Parts that the model itself doubts are speech are left out. `language` is that of the parts
    that do not name their own.
    """
    begin_s, end_s = start / SAMPLE_RATE, end / SAMPLE_RATE
    believed = [
        part for part in parts if not is_doubtful(part.heard.evidence(part.language or language))
    ]
    dropped = [part.heard.text for part in parts if part not in believed]
    segments = [s for part in believed for s in _segments(part, begin_s, end_s)]
    measured = [part.heard for part in believed or parts]
    return ChunkText(
        text=" ".join(part.heard.text for part in believed),
        segments=tuple(segments),
        avg_logprob=round(min(heard.avg_logprob for heard in measured), 4),
        no_speech_prob=round(max(heard.no_speech_prob for heard in measured), 4),
        compression_ratio=round(max(heard.compression_ratio for heard in measured), 3),
        retries=sum(part.heard.retries for part in parts) + len(parts) - 1,
        dropped=" ".join(dropped),
    )


def _own_language(model_dir: str, samples: Samples, language: str, params: AsrParams) -> str:
    """What the chunk is spoken in. Short chunks are taken to be like the rest: too little is
    heard to be sure. Costs next to nothing, as the encoder's output serves for the text, too."""
    if len(samples) < SHORT_S * SAMPLE_RATE or not load_model(model_dir).model.is_multilingual:
        return language
    code, probability = language_odds(model_dir, samples)[0]
    return code if probability >= params.other_language else language


def detect_language(
    model_dir: str, pcm_path: str, chunks: Sequence[Chunk | Sequence[int]]
) -> tuple[str, float]:
    """Decide which language a recording is in.

    Listens at up to five places spread over the speech and weighs the answers by how much was
    heard, so that an introduction in another language does not decide.

    Args:
        chunks: the plan, as `Chunk`s or as (start, end) samples.

    Returns:
        (ISO 639-1 code, mean probability); ("", 0.0) when there is no speech.
    """
    spans = [_span(chunk) for chunk in chunks]
    model = load_model(model_dir)
    if not spans:
        return "", 0.0
    if not model.model.is_multilingual:
        return "en", 1.0
    weights: dict[str, float] = {}
    heard = 0.0
    for count, span in enumerate(_spots(spans), start=1):
        samples = load_samples(pcm_path, *span)
        for code, probability in language_odds(model_dir, samples):
            weights[code] = weights.get(code, 0.0) + probability * len(samples)
        heard += len(samples)
        report(float(count), float(_LANGUAGE_SPOTS))
        if count >= 3 and max(weights.values()) > _SURE * heard:
            break
    best = max(sorted(weights), key=lambda code: weights[code])
    return best, round(weights[best] / heard, 4)


def engine_fingerprint() -> str:
    """What besides model and parameters decides the text: versions, number format, processor.

    CTranslate2 picks its integer kernels by processor, so results may differ between machines.
    """
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for package in ("faster-whisper", "ctranslate2"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} missing")
    return "; ".join([*found, "int8", f"cpu {cpu_hash()}"])


# --- inside ---------------------------------------------------------------------------------


def hear(
    model_dir: str, samples: Samples, language: str, params: AsrParams, cuts: int
) -> list[HeardPart]:
    """Recognise; where speech has no words, cut there and recognise both sides by themselves.

    `cuts` bounds how often; the parts come in order.
    """
    heard = recognise(model_dir, samples, language, params)
    seconds = len(samples) / SAMPLE_RATE
    if not params.word_times or not dropouts.could_be_missing(heard.words, seconds):
        return [HeardPart(0.0, heard, 0.0)]
    probabilities = probabilities_of(samples)
    whole = HeardPart(0.0, heard, dropouts.missed_s(heard.words, probabilities))
    missed = dropouts.missed_speech(heard.words, probabilities)
    window = None if missed is None or cuts == 0 else dropouts.cut_window(missed, probabilities)
    if window is None:
        return [whole]
    cut = window * WINDOW
    before = hear(model_dir, samples[:cut], language, params, cuts - 1)
    after = hear(model_dir, samples[cut:], language, params, cuts - 1)
    parts = before + [replace(part, at_s=part.at_s + cut / SAMPLE_RATE) for part in after]
    still_missed_s = sum(part.missed_s for part in parts)
    return parts if still_missed_s + _WORTH_S <= whole.missed_s else [whole]


def _segments(part: HeardPart, begin_s: float, end_s: float) -> list[SpeechSegment]:
    """Sentences with absolute times that stay inside the chunk and never run backwards."""
    placed: list[SpokenWord] = []
    at = begin_s + part.at_s
    for word in part.heard.words:
        start = min(max(begin_s + part.at_s + word.start_s, at), end_s)
        at = min(max(begin_s + part.at_s + word.end_s, start), end_s)
        placed.append(SpokenWord(round(start, 3), round(at, 3), word.text))
    logprob = round(part.heard.avg_logprob, 4)
    groups = [(group, join_words(group)) for group in group_words(placed)]
    return [
        SpeechSegment(group[0].start_s, group[-1].end_s, text, logprob, tuple(group))
        for group, text in groups
        if text
    ]


def load_samples(pcm_path: str, start: int, end: int) -> Samples:
    """Samples [start, end) of a raw s16le file, as -1..1; empty for an empty file.

    Raises: FileMissingError, FileUnreadableError.
    """
    import numpy as np

    try:
        pcm = np.memmap(pcm_path, dtype="<i2", mode="r")
    except OSError as error:
        raise from_os_error(error, display_name(pcm_path)) from error
    except ValueError:  # an empty file cannot be mapped
        return np.zeros(0, dtype=np.float32)
    return pcm[start:end].astype(np.float32) / np.float32(32768.0)


def _span(chunk: Chunk | Sequence[int]) -> tuple[int, int]:
    if isinstance(chunk, Chunk):
        return chunk.start, chunk.end
    start, end = chunk[-2:]
    return int(start), int(end)


def _spots(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Up to five places, middle first: each starts at a chunk and goes on for up to 30 s."""
    count = min(_LANGUAGE_SPOTS, len(spans))
    picked = sorted({round(i * (len(spans) - 1) / max(1, count - 1)) for i in range(count)})
    middle = len(picked) // 2
    order = sorted(
        range(len(picked)), key=lambda i: (i != middle, i not in (0, len(picked) - 1), i)
    )
    spots = []
    for index in (picked[i] for i in order):
        start, end = spans[index]
        for _, later in spans[index + 1 :]:
            if later - start > HEARD_S * SAMPLE_RATE:
                break
            end = later
        spots.append((start, min(end, start + HEARD_S * SAMPLE_RATE)))
    return spots
