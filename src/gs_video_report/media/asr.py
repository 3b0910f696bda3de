"""Turn chunks of speech into text with a local Whisper model, the same way every time.

Truth: no randomness. Temperature is always 0; a chunk that loops is tried again with firmer
settings, in a fixed order. The same samples, model, versions and processor give the same text.
One thread per call: throughput comes from several processes. The model stays loaded in its process.
Never: downloads, follows text of earlier chunks (a mistake cannot spread), reports text that the
model itself doubts is speech.
Sources: SYSTRAN/faster-whisper 1.2.1; the compression test for loops and the no-speech rule are
those of openai/whisper (`transcribe.py`), here without random fallbacks.
Raises: DependencyMissing, ModelMissing, FileMissingError, FileUnreadableError.
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_video_report.errors import DependencyMissing, ModelMissing, from_os_error
from gs_video_report.media.audio import SAMPLE_RATE
from gs_video_report.media.container import display_name
from gs_video_report.media.doubt import Evidence, is_doubtful
from gs_video_report.media.sentences import (
    SpokenWord,
    group_words,
    join_words,
    spread_words,
)
from gs_video_report.media.vad import Chunk
from gs_video_report.progress import report

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

PROMPTS = {"zh": "以下是普通话的句子。"}
"""Language -> text that the model takes as said before. Chinese: gives Simplified characters."""

_FIRM: tuple[dict[str, Any], ...] = (
    {},
    {"no_repeat_ngram_size": 4},
    {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2},
)
_HEARD_S = 30  # what Whisper hears at once
_LANGUAGE_SPOTS = 5
_SURE = 0.9


@dataclass(frozen=True, slots=True)
class AsrParams:
    """Settings of recognition; part of the key under which texts are stored."""

    beam_size: int = 5
    word_times: bool = True
    """False: times of words are spread over the chunk by length; saves about a tenth of the CPU."""
    loop_ratio: float = 2.4
    """Text that shrinks more than this when compressed repeats itself."""


@dataclass(frozen=True, slots=True)
class SpeechSegment:
    """A sentence or a part of one; times in seconds from the start of the recording."""

    start_s: float
    end_s: float
    text: str
    avg_logprob: float
    """Of the chunk it belongs to."""
    words: tuple[SpokenWord, ...]


@dataclass(frozen=True, slots=True)
class ChunkText:
    """What was understood in one chunk."""

    text: str
    """Empty when the chunk holds no speech after all."""
    segments: tuple[SpeechSegment, ...]
    avg_logprob: float
    """Mean log-probability of the tokens, <= 0; below -1 is poor."""
    no_speech_prob: float
    compression_ratio: float
    retries: int
    """How often the chunk was tried again because the text repeated itself."""
    dropped: str = ""
    """Text that was judged to be an invention of the model, for logs."""


def transcribe_chunk(
    model_dir: str,
    pcm_path: str,
    start: int,
    end: int,
    language: str,
    params: AsrParams | None = None,
) -> ChunkText:
    """Recognise samples [start, end) of a raw s16le 16 kHz mono file.

    Args:
        model_dir: folder of a CTranslate2 Whisper model (`SpeechModel.path`).
        language: ISO 639-1 code. English-only models ignore it.

    Returns:
        Text and sentence-like segments inside the chunk, in order.
    """
    params = params or AsrParams()
    report(0.0, (end - start) / SAMPLE_RATE)
    samples = _samples(pcm_path, start, end)
    begin_s, end_s = start / SAMPLE_RATE, end / SAMPLE_RATE
    heard, retries = _recognise(_model(model_dir), samples, language, params)
    report(end_s - begin_s, end_s - begin_s)
    if is_doubtful(heard.evidence(PROMPTS.get(language, ""))):
        return heard.as_text("", (), retries, dropped=heard.text)
    words = heard.words or spread_words(heard.text, 0.0, end_s - begin_s)
    return heard.as_text(heard.text, _segments(words, begin_s, end_s, heard), retries)


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
    model = _model(model_dir)
    if not spans:
        return "", 0.0
    if not model.model.is_multilingual:
        return "en", 1.0
    weights: dict[str, float] = {}
    heard = 0.0
    for count, span in enumerate(_spots(spans), start=1):
        samples = _samples(pcm_path, *span)
        _, _, probabilities = model.detect_language(samples)
        for code, probability in probabilities:
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
    return "; ".join([*found, "int8", f"cpu {_cpu_hash()}"])


# --- inside ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Heard:
    """One answer of the model; word times are relative to the chunk."""

    text: str
    words: list[SpokenWord]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float

    def evidence(self, prompt: str) -> Evidence:
        return Evidence(self.text, self.avg_logprob, self.no_speech_prob, prompt)

    def as_text(
        self, text: str, segments: tuple[SpeechSegment, ...], retries: int, dropped: str = ""
    ) -> ChunkText:
        return ChunkText(
            text=text,
            segments=segments,
            avg_logprob=round(self.avg_logprob, 4),
            no_speech_prob=round(self.no_speech_prob, 4),
            compression_ratio=round(self.compression_ratio, 3),
            retries=retries,
            dropped=dropped,
        )


def _recognise(
    model: Any, samples: Samples, language: str, params: AsrParams
) -> tuple[_Heard, int]:
    """Climb the ladder of firmer settings until the text does not loop."""
    tries: list[_Heard] = []
    for firm in _FIRM:
        tries.append(_ask(model, samples, language, params, firm))
        if tries[-1].compression_ratio <= params.loop_ratio:
            return tries[-1], len(tries) - 1
    return min(tries, key=lambda heard: heard.compression_ratio), len(tries) - 1


def _ask(
    model: Any, samples: Samples, language: str, params: AsrParams, firm: dict[str, Any]
) -> _Heard:
    segments, _ = model.transcribe(
        samples,
        language=language if model.model.is_multilingual else "en",
        beam_size=params.beam_size,
        temperature=0.0,
        without_timestamps=True,
        word_timestamps=params.word_times,
        condition_on_previous_text=False,
        vad_filter=False,
        no_speech_threshold=None,
        log_prob_threshold=None,
        compression_ratio_threshold=None,
        initial_prompt=PROMPTS.get(language),
        **firm,
    )
    # Without time stamps the first segment is the whole window. Asking for more would make
    # faster-whisper listen again to the silence after the last word, and invent text for it.
    found = list(islice(segments, 1))
    words = [
        SpokenWord(float(word.start), float(word.end), word.word)
        for segment in found
        for word in segment.words or ()
    ]
    return _Heard(
        text="".join(segment.text for segment in found).strip(),
        words=words,
        avg_logprob=min((float(s.avg_logprob) for s in found), default=0.0),
        no_speech_prob=max((float(s.no_speech_prob) for s in found), default=1.0),
        compression_ratio=max((float(s.compression_ratio) for s in found), default=0.0),
    )


def _segments(
    words: Iterable[SpokenWord], begin_s: float, end_s: float, heard: _Heard
) -> tuple[SpeechSegment, ...]:
    """Sentences with absolute times that stay inside the chunk and never run backwards."""
    placed: list[SpokenWord] = []
    at = begin_s
    for word in words:
        start = min(max(begin_s + word.start_s, at), end_s)
        at = min(max(begin_s + word.end_s, start), end_s)
        placed.append(SpokenWord(round(start, 3), round(at, 3), word.text))
    return tuple(
        SpeechSegment(
            group[0].start_s,
            group[-1].end_s,
            join_words(group),
            round(heard.avg_logprob, 4),
            tuple(group),
        )
        for group in group_words(placed)
        if join_words(group)
    )


def _samples(pcm_path: str, start: int, end: int) -> Samples:
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
            if later - start > _HEARD_S * SAMPLE_RATE:
                break
            end = later
        spots.append((start, min(end, start + _HEARD_S * SAMPLE_RATE)))
    return spots


@lru_cache(maxsize=1)
def _model(model_dir: str) -> Any:
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise DependencyMissing(
            "speech recognition needs faster-whisper, which is not installed",
            hint="pip install 'gs-video-report[local]'",
        ) from error
    for name in ("model.bin", "tokenizer.json"):  # without the latter it would be downloaded
        if not (Path(model_dir) / name).is_file():
            raise ModelMissing(f"{model_dir}: not a speech model folder, {name} is missing")
    began = time.monotonic()
    model = WhisperModel(model_dir, device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)
    report(0.0, time.monotonic() - began)
    return model


@lru_cache(maxsize=1)
def _cpu_hash() -> str:
    """Eight digits that stand for the processor's instruction sets."""
    flags = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        named = [line for line in lines if line.startswith(("flags", "Features"))]
        flags += " ".join(sorted(named[0].split(":", 1)[1].split())) if named else ""
    except OSError:
        flags += platform.processor()
    return hashlib.sha256(flags.encode()).hexdigest()[:8]
