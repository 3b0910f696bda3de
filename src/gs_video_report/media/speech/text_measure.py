"""Measure an answer of the speech recogniser without knowing the truth, and choose between answers.

Pure. Four figures: how likely the model finds its own words, how much speech has no words, how
much of the text goes in circles, how many words stand where nothing is said. Each alone can be
fooled (a loop is likely, a short text too); an answer has to be good in all.
Times are seconds from the start of the chunk.
Sources: log-probability and repetition are the tests of openai/whisper; missed speech is that of
`media.dropouts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gs_video_report.media.speech import dropouts
from gs_video_report.media.speech.sentences import SpokenWord
from gs_video_report.text.loops import find_loops, units_of

_SPEECH = 0.5
_NEAR_S = 0.6
_LEAST_SPEECH_S = 1.0
_NOTHING = -1.5
"""What no words at all are worth. Low, since words that are lost are worse than words too many:
even where nothing seems to be said, only doubtful words (below -0.6) give way to none."""
_MISSED_COST, _LOOP_COST, _INVENTED_COST = 2.0, 2.0, 1.0


@dataclass(frozen=True, slots=True)
class Measure:
    """The figures of one answer."""

    logprob: float
    """Mean log-probability of its tokens, <= 0."""
    missed_s: float
    """Speech without words, seconds."""
    missed_share: float
    """The same as a part of all speech, 0 to 1."""
    loop_share: float
    """Part of the text that only repeats what stands before it, 0 to 1."""
    invented_share: float
    """Part of the words that stand where nothing is said, 0 to 1."""

    @property
    def cost(self) -> float:
        """0 is perfect; 0.1 is as much as words that are a tenth less likely."""
        doubts = _MISSED_COST * self.missed_share + _LOOP_COST * self.loop_share
        return round(doubts + _INVENTED_COST * self.invented_share - self.logprob, 4)


def measure(
    words: Sequence[SpokenWord],
    passages: Sequence[tuple[str, float]],
    probabilities: Sequence[float],
) -> Measure:
    """Measure an answer.

    Args:
        words: with their times.
        passages: (text, mean log-probability) of each part.
        probabilities: of speech, one per window of `media.vad`.
    """
    letters = sum(len(text) for text, _ in passages)
    logprob = sum(len(text) * value for text, value in passages) / letters if letters else _NOTHING
    missed_s = dropouts.missed_s(words, probabilities)
    speech_s = sum(p >= _SPEECH for p in probabilities) * dropouts.WINDOW_S
    return Measure(
        logprob=round(logprob, 4),
        missed_s=round(missed_s, 3),
        missed_share=round(missed_s / max(speech_s, _LEAST_SPEECH_S), 4),
        loop_share=round(loop_share(" ".join(text for text, _ in passages)), 4),
        invented_share=round(_invented(words, probabilities), 4),
    )


def choose(measures: Sequence[Measure], better_by: float) -> int:
    """Index of the answer to keep: 0, the present one, unless another costs less by `better_by`."""
    best = min(range(len(measures)), key=lambda i: (measures[i].cost, i))
    return best if measures[0].cost - measures[best].cost >= better_by else 0


def loop_share(text: str) -> float:
    """Part of the words (or characters) that repeat, the first time not counted."""
    units = list(units_of(text, 0.0, 1.0))
    again = sum(loop.last - loop.first - loop.period for loop in find_loops(units))
    return again / len(units) if units else 0.0


def _invented(words: Sequence[SpokenWord], probabilities: Sequence[float]) -> float:
    """Part of the words that have no speech near them."""

    def is_far(word: SpokenWord) -> bool:
        first = max(0, int((word.start_s - _NEAR_S) / dropouts.WINDOW_S))
        last = int((word.end_s + _NEAR_S) / dropouts.WINDOW_S) + 1
        return all(p < _SPEECH for p in probabilities[first:last])

    return sum(map(is_far, words)) / len(words) if words else 0.0
