"""Doubtful stretches of a transcript: loops, speech without text, text without speech, flips.

Pure functions of segments and of the stretches in which speech was heard. Times are seconds from
the start of the recording; what is returned is in order and does not overlap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gs_video_report.report.model import Segment
from gs_video_report.text.loops import Unit, find_loops, quoted, units_of

Spans = tuple[tuple[float, float], ...]

MISSED_S = 1.4
"""Speech without a word from this length on counts (as `media.dropouts` has it)."""
INVENTED_S = 1.5
"""A shorter text without speech is a matter of where the borders were drawn."""
LOW_LOGPROB = -0.6
"""Mean log-probability of the tokens below which a passage is doubtful."""
SURE_LANGUAGE = 0.8
"""Probability of the guessed language below which parts may be in another one."""
_LONGEST_WORD_S = 1.2  # alignment stretches a word over what was left out beside it
_MARGIN_S = 0.25
_NEAR_SPEECH_S = 0.6
_HEARD_SHARE = 0.2  # of a passage, has to lie in speech
_JOIN_S = 0.35  # pauses inside one stretch of missed speech
_FLIP_UNITS = 14  # words (or characters of wide scripts) that a guess of the language needs
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_SAME = {"yue": "zh", "nn": "no", "nb": "no"}


@dataclass(frozen=True, slots=True)
class SpokenLoop:
    """A part of the transcript that repeats itself."""

    start_s: float
    end_s: float
    repeats: float
    text: str
    """What is repeated."""


def loops(segments: Sequence[Segment]) -> list[SpokenLoop]:
    """Repetitions, also over the borders of segments."""
    units = [unit for segment in segments for unit in _units(segment)]
    return [
        SpokenLoop(
            round(units[loop.first].start_s, 3),
            round(units[loop.last - 1].end_s, 3),
            round(loop.repeats, 1),
            quoted(units, loop),
        )
        for loop in find_loops(units)
    ]


def missing_text(segments: Sequence[Segment], speech: Spans) -> Spans:
    """Stretches of speech that no word covers, at least `MISSED_S` long without their pauses."""
    left = subtract(speech, merged(_covered(segments)))
    found = []
    for run in _close_together(left, _JOIN_S):
        if total_s(run) >= MISSED_S:
            found.append((round(run[0][0], 3), round(run[-1][1], 3)))
    return tuple(found)


def text_without_speech(segments: Sequence[Segment], speech: Spans) -> Spans:
    """Passages that lie (nearly) outside of all speech."""
    near = merged((a - _NEAR_SPEECH_S, b + _NEAR_SPEECH_S) for a, b in speech)
    spans = [(s.start_s, s.end_s) for s in segments if s.text.strip()]
    found = []
    for span in spans:
        seconds = span[1] - span[0]
        outside = total_s(subtract((span,), near))
        if seconds >= INVENTED_S and outside >= (1 - _HEARD_SHARE) * seconds:
            found.append(span)
    return merged(found)


def unsure(segments: Sequence[Segment]) -> Spans:
    """Passages whose words the recogniser itself found unlikely."""
    return merged(
        (s.start_s, s.end_s)
        for s in segments
        if s.confidence is not None and s.confidence < LOW_LOGPROB
    )


def language_flips(segments: Sequence[Segment], language: str) -> list[tuple[float, float, str]]:
    """Stretches whose text looks like another language: (start_s, end_s, ISO 639-1 code).

    Empty when the recording's language is unknown. Latin-script languages are only told apart
    when the recording's own is one whose function words are known.
    """
    from gs_video_report.text.language import guess_language
    from gs_video_report.text.stopwords import languages

    main = _SAME.get(language, language)
    if not main:
        return []
    own = main in languages()
    found: list[tuple[float, float, str]] = []
    for start_s, end_s, text in _stretches(segments):
        guess = guess_language(text)
        if not guess or guess == main or (not own and _is_latin(text)):
            continue
        if found and found[-1][2] == guess and found[-1][1] == start_s:
            found[-1] = (found[-1][0], end_s, guess)
        else:
            found.append((start_s, end_s, guess))
    return found


# --- spans --------------------------------------------------------------------------------------


def total_s(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds in all; `spans` do not overlap."""
    return sum(end - start for start, end in spans)


def merged(spans: Iterable[tuple[float, float]]) -> Spans:
    """In order, with overlapping and touching ones joined; empty ones are left out."""
    out: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if end <= start:
            continue
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return tuple(out)


def subtract(spans: Spans, holes: Spans) -> Spans:
    """What is left of `spans` without `holes`; both in order and without overlaps."""
    left: list[tuple[float, float]] = []
    first = 0
    for start, end in spans:
        at = start
        while first < len(holes) and holes[first][1] <= start:
            first += 1
        for hole_start, hole_end in holes[first:]:
            if hole_start >= end:
                break
            if hole_start > at:
                left.append((at, hole_start))
            at = max(at, hole_end)
        if at < end:
            left.append((at, end))
    return tuple(left)


def _close_together(spans: Spans, gap_s: float) -> Iterator[Spans]:
    run: list[tuple[float, float]] = []
    for span in spans:
        if run and span[0] - run[-1][1] > gap_s:
            yield tuple(run)
            run = []
        run.append(span)
    if run:
        yield tuple(run)


# --- inside -------------------------------------------------------------------------------------


def _units(segment: Segment) -> Iterator[Unit]:
    if not segment.words:
        yield from units_of(segment.text, segment.start_s, segment.end_s)
    for word in segment.words:
        yield from units_of(word.text, word.start_s, word.end_s)


def _covered(segments: Sequence[Segment]) -> Iterator[tuple[float, float]]:
    """Time that has text: each word with a margin, or the whole segment without word times."""
    for segment in segments:
        if not segment.text.strip():
            continue
        if not segment.words:
            yield segment.start_s - _MARGIN_S, segment.end_s + _MARGIN_S
        for word in segment.words:
            end_s = min(word.end_s, word.start_s + _LONGEST_WORD_S)
            yield word.start_s - _MARGIN_S, end_s + _MARGIN_S


def _stretches(segments: Sequence[Segment]) -> Iterator[tuple[float, float, str]]:
    """Neighbouring segments together, each stretch with enough text for a guess.

    What is left at the end is too short and joins nothing.
    """
    start_s, size = 0.0, 0
    texts: list[str] = []
    for segment in segments:
        text = segment.text
        if not texts:
            start_s = segment.start_s
        texts.append(text)
        size += len(text.split()) + len(_WIDE.findall(text))
        if size >= _FLIP_UNITS:
            yield start_s, segment.end_s, " ".join(texts)
            texts, size = [], 0


def _is_latin(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return sum(c < "\u0250" for c in letters) * 2 > len(letters)
