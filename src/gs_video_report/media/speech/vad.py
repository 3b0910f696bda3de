"""Plan which stretches of a recording are transcribed, and where to cut them.

Truth: one speech probability per 32 ms from the Silero model that ships with faster-whisper, run
over the whole file with its state carried on, so that memory is flat and there are no borders at
which something could be lost. Everything after the model is a pure function of the probabilities.
Never: cuts inside speech, unless one stretch is longer than `VadParams.max_chunk_s`.
Sources: the hysteresis is that of Silero VAD (snakers4/silero-vad, MIT) as adapted by
faster-whisper 1.2.1.
Raises: DependencyMissing without the local extra; FileMissingError, FileUnreadableError.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_video_report.errors import DependencyMissing, from_os_error
from gs_video_report.media.audio import SAMPLE_BYTES, SAMPLE_RATE
from gs_video_report.media.container import display_name
from gs_video_report.progress import report

if TYPE_CHECKING:
    import numpy as np

WINDOW = 512
"""Samples per probability (32 ms), fixed by the model."""

_CONTEXT = 64  # samples of the window before, which the model wants in front of each window
_BLOCK_WINDOWS = 1_024  # about 33 s per call of the model
_SHORT_PAUSE_SAMPLES = SAMPLE_RATE * 98 // 1000  # a pause where an over-long stretch may be cut
_LOOK_BACK_WINDOWS = 125  # 4 s
_HYSTERESIS = 0.15
_REPORT_S = 0.5


@dataclass(frozen=True, slots=True)
class VadParams:
    """Settings of the plan; part of the key under which a plan is stored."""

    threshold: float = 0.3
    """Probability from which a window counts as speech."""
    min_silence_ms: int = 160
    pad_ms: int = 400
    """Kept on both sides of speech, less where two stretches are closer than twice this."""
    max_chunk_s: float = 25.0
    """No chunk is longer. Whisper hears 30 s at once."""
    merge_gap_s: float = 1.0
    """Stretches closer than this (after padding) share a chunk: context helps, and every chunk
    costs as much as 30 s. (Speech that Whisper then leaves out is found again: `dropouts`.)"""
    min_chunk_s: float = 3.0
    """A chunk shorter than this takes in its neighbour across a longer gap ..."""
    max_merge_gap_s: float = 2.0
    """... but never across one longer than this."""
    weak_threshold: float = 0.1
    """Doubtful sound from this probability on, next to a chunk, is taken into it: it costs
    nothing, because Whisper always hears 30 s, and saves words under music and noise."""
    weak_gap_s: float = 1.5
    """Doubtful windows may lie this far apart."""
    weak_reach_s: float = 4.0
    """At most this much is taken in, on each side."""


_CERTAIN = VadParams(threshold=0.5, pad_ms=0)
_BLIP_S = 0.25


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch to transcribe: samples [start, end) of the 16 kHz PCM file."""

    index: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SpeechPlan:
    """What is to be transcribed, and where in it a voice is heard for certain."""

    chunks: tuple[Chunk, ...] = ()
    """Disjoint and in order; empty when nothing is said."""
    speech: tuple[tuple[float, float], ...] = ()
    """[start_s, end_s) in order, without margins: narrower than the chunks, which take in
    doubtful sound. Text is expected here."""


def plan_speech(pcm_path: str, params: VadParams | None = None) -> SpeechPlan:
    """Find speech in a raw s16le 16 kHz mono file and cut it into chunks.

    The same file gives the same plan. Progress: seconds of recording.
    """
    params = params or VadParams()
    total = pcm_samples(pcm_path)
    if total == 0:
        return SpeechPlan()
    probabilities = speech_probabilities(pcm_path)
    merged = merge_spans(speech_spans(probabilities, total, params), params)
    widened = widen_chunks(merged, probabilities, total, params)
    chunks = tuple(Chunk(index, start, end) for index, (start, end) in enumerate(widened))
    return SpeechPlan(chunks, certain_speech(probabilities, total))


def pcm_samples(pcm_path: str) -> int:
    """Length of a PCM file in samples. Raises: FileMissingError, FileUnreadableError."""
    try:
        return Path(pcm_path).stat().st_size // SAMPLE_BYTES
    except OSError as error:
        raise from_os_error(error, display_name(pcm_path)) from error


# --- the pure part -----------------------------------------------------------------------------


def speech_spans(
    probabilities: Sequence[float], total: int, params: VadParams
) -> list[tuple[int, int]]:
    """Padded stretches of speech as [start, end) samples, disjoint and in order.

    Args:
        probabilities: one per `WINDOW` samples, in order.
        total: length of the recording in samples; nothing reaches beyond it.
    """
    raw = [(start, min(end, total)) for start, end in _triggered(probabilities, total, params)]
    raw = [(start, end) for start, end in raw if end > start]
    return _padded(raw, total, SAMPLE_RATE * params.pad_ms // 1000)


def certain_speech(probabilities: Sequence[float], total: int) -> tuple[tuple[float, float], ...]:
    """Stretches in which there is more likely a voice than not, [start_s, end_s) in order.

    Without the widening and the margins of a plan; blips under a quarter of a second are left out.
    """
    found = [
        (round(start / SAMPLE_RATE, 3), round(min(end, total) / SAMPLE_RATE, 3))
        for start, end in _triggered(probabilities, total, _CERTAIN)
    ]
    return tuple((start, end) for start, end in found if end - start >= _BLIP_S)


def merge_spans(spans: Sequence[tuple[int, int]], params: VadParams) -> list[tuple[int, int]]:
    """Join neighbours into chunks of at most `max_chunk_s`; longer spans stay as they are.

    Two neighbours share a chunk when the pause between them is short, or when the chunk so far
    is too short to be understood alone.
    """
    longest = round(params.max_chunk_s * SAMPLE_RATE)
    chunks: list[tuple[int, int]] = []
    for start, end in spans:
        if chunks and _belongs(chunks[-1], start, params) and end - chunks[-1][0] <= longest:
            chunks[-1] = (chunks[-1][0], end)
        else:
            chunks.append((start, end))
    return chunks


def widen_chunks(
    chunks: Sequence[tuple[int, int]],
    probabilities: Sequence[float],
    total: int,
    params: VadParams,
) -> list[tuple[int, int]]:
    """Let chunks grow over doubtful sound beside them, never into each other or over the limit."""
    longest = round(params.max_chunk_s * SAMPLE_RATE)
    widened: list[tuple[int, int]] = []
    for index, (start, end) in enumerate(chunks):
        floor = widened[-1][1] if widened else 0
        ceiling = chunks[index + 1][0] if index + 1 < len(chunks) else total
        first = max(_reach(probabilities, start, -1, params), floor, end - longest)
        last = min(_reach(probabilities, end, 1, params), ceiling, min(first, start) + longest)
        widened.append((min(first, start), max(last, end)))
    return widened


def _reach(probabilities: Sequence[float], border: int, step: int, params: VadParams) -> int:
    """How far doubtful sound goes on from `border`, in samples; `border` if there is none."""
    at = border // WINDOW
    gap = round(params.weak_gap_s * SAMPLE_RATE / WINDOW)
    found = border
    misses = 0
    for index in range(at, at + step * round(params.weak_reach_s * SAMPLE_RATE / WINDOW), step):
        if not 0 <= index < len(probabilities) or misses > gap:
            break
        misses += 1
        if probabilities[index] >= params.weak_threshold:
            misses = 0
            found = (index if step < 0 else index + 1) * WINDOW
    return min(found, border) if step < 0 else max(found, border)


def _belongs(chunk: tuple[int, int], start: int, params: VadParams) -> bool:
    gap_s = (start - chunk[1]) / SAMPLE_RATE
    short = (chunk[1] - chunk[0]) / SAMPLE_RATE < params.min_chunk_s
    return gap_s < params.merge_gap_s or (short and gap_s < params.max_merge_gap_s)


def _triggered(
    probabilities: Sequence[float], total: int, params: VadParams
) -> Iterator[tuple[int, int]]:
    """Silero's state machine: on at `threshold`, off after enough windows well below it."""
    off_below = max(params.threshold - _HYSTERESIS, 0.01)
    min_silence = SAMPLE_RATE * params.min_silence_ms / 1000
    pad = SAMPLE_RATE * params.pad_ms / 1000
    longest = SAMPLE_RATE * params.max_chunk_s - WINDOW - 2 * pad
    start: int | None = None
    silence = 0  # where the present pause began; 0 means there is none
    cut = resume = 0  # the last pause in which an over-long stretch may be cut, and its end
    for index, probability in enumerate(probabilities):
        at = index * WINDOW
        if probability >= params.threshold:
            if silence:
                silence = 0
                if resume < cut:
                    resume = at
            if start is None:
                start = at
                continue
        if start is None:
            continue
        if at - start > longest:
            if cut:
                yield start, cut
                start = None if resume < cut else resume
            else:
                quietest = _quietest(probabilities, start // WINDOW, index) * WINDOW
                yield start, quietest
                start = quietest
            cut = resume = silence = 0
            if start is None:
                continue
        if probability < off_below:
            silence = silence or at
            if at - silence > _SHORT_PAUSE_SAMPLES:
                cut = silence
            if at - silence >= min_silence:
                yield start, silence
                start, silence, cut, resume = None, 0, 0, 0
    if start is not None and start < total:
        yield start, total


def _quietest(probabilities: Sequence[float], first: int, index: int) -> int:
    """The least speech-like of the windows just before `index`: speech without any pause has to
    be cut somewhere, and this hurts least. (The original cuts at `index` itself.)"""
    earliest = max(first, index - _LOOK_BACK_WINDOWS)
    return min(range(index, earliest, -1), key=lambda i: probabilities[i])


def _padded(spans: list[tuple[int, int]], total: int, pad: int) -> list[tuple[int, int]]:
    padded: list[tuple[int, int]] = []
    for index, (start, end) in enumerate(spans):
        before = start - spans[index - 1][1] if index else 2 * start
        after = spans[index + 1][0] - end if index + 1 < len(spans) else 2 * (total - end)
        padded.append((start - min(pad, before - before // 2), end + min(pad, after // 2)))
    return [(max(0, start), min(total, end)) for start, end in padded]


# --- the model ---------------------------------------------------------------------------------


def speech_probabilities(pcm_path: str) -> list[float]:
    """One speech probability (0..1) per `WINDOW` samples of the file; the last window is padded."""
    total_s = pcm_samples(pcm_path) / SAMPLE_RATE
    model = _SileroStream()
    found: list[float] = []
    told = time.monotonic()
    for block in _blocks(pcm_path):
        found.extend(model.run(block))
        if time.monotonic() - told > _REPORT_S:
            told = time.monotonic()
            report(len(found) * WINDOW / SAMPLE_RATE, total_s)
    return found


def probabilities_of(samples: np.ndarray[Any, np.dtype[np.float32]]) -> list[float]:
    """As `speech_probabilities()`, for at most a minute of samples (-1..1) in memory."""
    import numpy as np

    return _SileroStream().run(np.pad(samples, (0, -len(samples) % WINDOW)))


def _blocks(pcm_path: str) -> Iterator[np.ndarray[Any, np.dtype[np.float32]]]:
    import numpy as np

    size = _BLOCK_WINDOWS * WINDOW
    with Path(pcm_path).open("rb") as file:
        while data := file.read(size * SAMPLE_BYTES):
            usable = len(data) - len(data) % SAMPLE_BYTES
            samples = np.frombuffer(data[:usable], dtype="<i2").astype(np.float32) / 32768.0
            yield np.pad(samples, (0, -len(samples) % WINDOW))


class _SileroStream:
    """The model with its memory: blocks of any length give what one long run would give."""

    def __init__(self) -> None:
        import numpy as np

        self._session = _vad_session()
        self._h = np.zeros((1, 1, 128), dtype=np.float32)
        self._c = np.zeros((1, 1, 128), dtype=np.float32)
        self._tail = np.zeros((1, _CONTEXT), dtype=np.float32)

    def run(self, block: np.ndarray[Any, np.dtype[np.float32]]) -> list[float]:
        import numpy as np

        windows = block.reshape(-1, WINDOW)
        before = np.concatenate([self._tail, windows[:-1, -_CONTEXT:]])
        inputs = {"input": np.concatenate([before, windows], 1), "h": self._h, "c": self._c}
        output, self._h, self._c = self._session.run(None, inputs)
        self._tail = windows[-1:, -_CONTEXT:]
        return [float(value) for value in np.asarray(output).reshape(-1)]


@lru_cache(maxsize=1)
def _vad_session() -> Any:
    try:
        from faster_whisper.vad import get_vad_model
    except ImportError as error:
        raise DependencyMissing(
            "speech detection needs faster-whisper, which is not installed",
            hint="pip install 'gs-video-report[local]'",
        ) from error
    return get_vad_model().session
