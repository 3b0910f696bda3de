"""Find speech that the recogniser passed over in silence, and where to cut to get it back.

When several speakers share a window, Whisper sometimes leaves out whole sentences, without any
sign in its scores. The times of the words give it away: there is speech where no word is.
Pure; times are seconds from the start of the chunk.
"""

from __future__ import annotations

from collections.abc import Sequence

from gs_video_report.media.audio import SAMPLE_RATE
from gs_video_report.media.speech.sentences import SpokenWord
from gs_video_report.media.speech.vad import WINDOW

WINDOW_S = WINDOW / SAMPLE_RATE
MISSED_S = 1.4
"""Speech without words from this length on is taken for a dropout."""
SHORTEST_PART_S = 1.0

_SPEECH = 0.5
_WORD_MARGIN_S = 0.25
_LONGEST_WORD_S = 1.2  # alignment stretches a word over what was left out beside it
_NEAR_S = 1.5
_SMOOTHING = 3
_PAUSE_WINDOWS = 10


def could_be_missing(words: Sequence[SpokenWord], seconds: float) -> bool:
    """A quick look, without speech detection: is any stretch without words long enough?"""
    return _longest(_free([True] * round(seconds / WINDOW_S), words)) is not None


def missed_speech(
    words: Sequence[SpokenWord], probabilities: Sequence[float]
) -> tuple[int, int] | None:
    """The longest stretch [start, end) of windows with speech and without words; None if all
    speech has words."""
    return _longest(_free([value >= _SPEECH for value in probabilities], words))


def missed_s(words: Sequence[SpokenWord], probabilities: Sequence[float]) -> float:
    """Seconds of speech without words in all."""
    return sum(_free([value >= _SPEECH for value in probabilities], words)) * WINDOW_S


def cut_window(missed: tuple[int, int], probabilities: Sequence[float]) -> int | None:
    """The window at which to cut: the quietest near the inner border of the missed stretch.

    Returns: None when no cut leaves both parts long enough to be understood.
    """
    count = len(probabilities)
    shortest = round(SHORTEST_PART_S / WINDOW_S)
    near = round(_NEAR_S / WINDOW_S)
    border = missed[1] if missed[0] < count - missed[1] else missed[0]
    first, last = max(shortest, border - near), min(count - shortest, border + near)
    if first >= last:
        return None

    def loudness(index: int) -> tuple[float, int]:
        around = probabilities[max(0, index - _SMOOTHING) : index + _SMOOTHING + 1]
        return round(sum(around) / len(around), 3), abs(index - border)

    return min(range(first, last), key=loudness)


def _free(speech: list[bool], words: Sequence[SpokenWord]) -> list[bool]:
    """Windows with speech that no word covers."""
    free = list(speech)
    for word in words:
        end_s = min(word.end_s, word.start_s + _LONGEST_WORD_S) + _WORD_MARGIN_S
        first = max(0, int((word.start_s - _WORD_MARGIN_S) / WINDOW_S))
        for index in range(first, min(len(free), int(end_s / WINDOW_S) + 1)):
            free[index] = False
    return free


def _longest(free: list[bool]) -> tuple[int, int] | None:
    """The longest run, in which pauses of up to a third of a second do not count."""
    best: tuple[int, int] | None = None
    start = last = -100
    total = 0
    most = 0
    for index, is_free in enumerate(free):
        if not is_free:
            continue
        if index - last > _PAUSE_WINDOWS:
            start, total = index, 0
        last = index
        total += 1
        if total > most:
            most, best = total, (start, index + 1)
    return best if most * WINDOW_S >= MISSED_S else None
