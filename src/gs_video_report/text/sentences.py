"""Turn timed segments into sentences with times.

Works on three kinds of text: punctuated speech (sentences run across segments), captions, and
speech recognition without punctuation (pauses, commas and length decide). Nothing is lost: the
sentences hold all words of the segments, in order; only white space changes.
Pure. Times are seconds.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from gs_video_report.report.model import Segment
from gs_video_report.text.data import languages_of, section
from gs_video_report.text.tokens import is_cjk, length_in_words

LONG_PAUSE_S = 2.0
"""A silence that ends a sentence in any text."""
PAUSE_S = 0.7
"""A silence that ends a sentence where punctuation is missing."""
_MIN_WORDS = 8.0
"""Shorter pieces of unpunctuated speech are joined with what follows."""
_GOOD_WORDS = 20.0
_MAX_WORDS = 40.0
"""Longer runs without a full stop are divided at the best place."""
_MAX_PUNCTUATED_WORDS = 90.0
"""The same for runs that end with a full stop: long sentences exist."""
_COMMA_BONUS = 0.25
_SEGMENT_BONUS = 0.2

_ENDERS = ".!?。！？…؟।。．!?"
_CLOSERS = "\"'”’」』）)]》»"
_TERMINAL = re.compile(rf"[{re.escape(_ENDERS)}]+[{re.escape(_CLOSERS)}]*")
_PAUSE_MARK = re.compile(r"[,;:](?=\s)|[，、；：،؛]")
_ABBREVIATIONS = frozenset(
    word
    for lang in languages_of("words.txt", "abbreviation")
    for line in section("words.txt", "abbreviation", lang)
    for word in line.split()
)
_LAST_WORD = re.compile(r"([^\s(\[\"'“„«]+)\.$")
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A stretch of speech that can be quoted."""

    text: str
    """Words as they are in the segments, white space reduced to single spaces."""
    start_s: float
    end_s: float
    speaker: str | None = None
    complete: bool = True
    """False when length, not punctuation or a pause, decided where it begins or ends."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A clause: what stands between two marks of any kind."""

    text: str
    start_s: float
    end_s: float
    speaker: str | None
    terminal: bool
    comma: bool
    last_of_segment: bool


def split_sentences(segments: Sequence[Segment]) -> tuple[Sentence, ...]:
    """Sentences of a transcript, in time order.

    Ends of sentences are: terminal punctuation (not abbreviations, decimals, initials), a change
    of speaker, a silence of 2 s; inside runs without a full stop also silences of 0.7 s and, for
    runs above 40 words, the best of pause, comma and segment end. Empty segments are skipped.
    """
    ordered = sorted((s for s in segments if s.text.strip()), key=lambda s: s.start_s)
    pieces = [piece for segment in ordered for piece in _pieces(segment)]
    sentences: list[Sentence] = []
    for run in _runs(pieces):
        sentences.extend(_divide(run))
    return tuple(sentences)


# --- segments to clauses -----------------------------------------------------------------------


def _pieces(segment: Segment) -> Iterator[_Piece]:
    text = _SPACES.sub(" ", segment.text).strip()
    clock = _Clock(segment, text)
    cuts = _with_breaks(text, _cuts(text), clock.pauses())
    begin = 0
    for cut, terminal in cuts:
        part = text[begin:cut].strip()
        if part:
            yield _Piece(
                part,
                clock.at(begin),
                clock.at(cut, end=True),
                segment.speaker,
                terminal,
                comma=bool(_PAUSE_MARK.fullmatch(part[-1] + " ") or part[-1] in ",;:，、；："),
                last_of_segment=cut == len(text),
            )
        begin = cut


def _cuts(text: str) -> list[tuple[int, bool]]:
    found: dict[int, bool] = {m.end(): False for m in _PAUSE_MARK.finditer(text)}
    for match in _TERMINAL.finditer(text):
        if _ends_sentence(text, match.start(), match.end()):
            found[match.end()] = True
    found.setdefault(len(text), False)
    return sorted(found.items())


def _with_breaks(
    text: str, cuts: list[tuple[int, bool]], pauses: Sequence[int]
) -> list[tuple[int, bool]]:
    """Adds cuts at pauses between words, and inside stretches that are too long to be a clause."""
    found = dict.fromkeys(pauses, False) | dict(cuts)
    begin = 0
    for cut in sorted(found):
        if length_in_words(text[begin:cut]) > _MAX_WORDS:
            found |= dict.fromkeys(_even_cuts(text, begin, cut), False) | {cut: found[cut]}
        begin = cut
    return sorted(found.items())


def _even_cuts(text: str, begin: int, end: int) -> Iterator[int]:
    """Positions between words, about one every `_GOOD_WORDS` words."""
    parts = math.ceil(length_in_words(text[begin:end]) / _GOOD_WORDS)
    step = (end - begin) / parts
    for i in range(1, parts):
        wanted = begin + round(i * step)
        space = text.rfind(" ", begin + round((i - 1) * step) + 1, wanted + 1)
        if space > begin:
            yield space
        elif is_cjk(text[wanted - 1 : wanted]):
            yield wanted


def _ends_sentence(text: str, start: int, end: int) -> bool:
    mark = text[start]
    if mark in "。！？।؟。！？":
        return True
    following = text[end : end + 2]
    if following and not following[0].isspace() and not is_cjk(following[0]):
        return False  # 3.14, example.com, "...and"
    next_letter = following.strip()[:1]
    if mark == "." and end - start == 1:
        word = _LAST_WORD.search(text[: start + 1])
        if word and _is_abbreviation(word.group(1)):
            return False
        if next_letter.islower():
            return False
    return not (mark in ".…" and end - start > 1 and next_letter.islower())


def _is_abbreviation(word: str) -> bool:
    single_initial = len(word) == 1 and word.isalpha() and word.isupper() and word != "I"
    return single_initial or word.lower() in _ABBREVIATIONS


class _Clock:
    """Time of a character position inside a segment, by word times or proportion."""

    def __init__(self, segment: Segment, text: str) -> None:
        self._start, self._end = segment.start_s, max(segment.end_s, segment.start_s)
        self._dense = [0]
        for char in text:
            self._dense.append(self._dense[-1] + (not char.isspace()))
        self._words = segment.words
        self._ends: list[int] = []
        total = 0
        for word in segment.words:
            total += sum(not c.isspace() for c in word.text)
            self._ends.append(total)

    def pauses(self) -> list[int]:
        """Character positions of silences between words, ascending; none without word times."""
        silent = [
            total
            for total, a, b in zip(self._ends, self._words, self._words[1:], strict=False)
            if b.start_s - a.end_s >= PAUSE_S and self._ends[-1] == self._dense[-1]
        ]
        return [bisect_left(self._dense, total) for total in silent]

    def at(self, position: int, *, end: bool = False) -> float:
        total = self._dense[-1] or 1
        share = self._dense[position] / total
        if self._words and self._ends[-1] > 0:
            wanted = share * self._ends[-1]
            index = bisect_left(self._ends, wanted if end else wanted + 0.5)
            word = self._words[min(index, len(self._words) - 1)]
            return round(word.end_s if end else word.start_s, 3)
        return round(self._start + share * (self._end - self._start), 3)


# --- clauses to sentences ----------------------------------------------------------------------


def _runs(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Groups of clauses up to terminal punctuation, a new speaker or a long silence."""
    run: list[_Piece] = []
    for piece in pieces:
        if run and (piece.speaker != run[-1].speaker or _gap(run[-1], piece) >= LONG_PAUSE_S):
            yield run
            run = []
        run.append(piece)
        if piece.terminal:
            yield run
            run = []
    if run:
        yield run


def _gap(before: _Piece, after: _Piece) -> float:
    return after.start_s - before.end_s


def _divide(run: list[_Piece]) -> Iterator[Sentence]:
    """One sentence, or several when the run is too long to be one."""
    lengths = [max(length_in_words(p.text), 0.5) for p in run]
    longest = _MAX_PUNCTUATED_WORDS if run[-1].terminal else _MAX_WORDS
    if (len(run) == 1 or sum(lengths) <= longest) and not _paused(run):
        yield _sentence(run, complete=True)
        return
    begin = 0
    opened = True
    while begin < len(run):
        end, natural = _best_end(run, lengths, begin)
        yield _sentence(run[begin:end], complete=opened and natural)
        begin, opened = end, natural


def _paused(run: Sequence[_Piece]) -> bool:
    """True when a run without a full stop holds a pause worth a sentence end."""
    if run[-1].terminal:
        return False
    return any(_gap(a, b) >= PAUSE_S for a, b in pairwise(run))


def _best_end(run: Sequence[_Piece], lengths: Sequence[float], begin: int) -> tuple[int, bool]:
    """Where the sentence that starts at `begin` ends, and whether that looks natural."""
    if sum(lengths[begin:]) <= _MAX_WORDS and (run[-1].terminal or not _paused(run[begin:])):
        return len(run), True
    best, best_score, natural = begin + 1, float("-inf"), False
    total = 0.0
    for i in range(begin, len(run)):
        total += lengths[i]
        if i > begin and total > _MAX_WORDS:
            break
        gap = _gap(run[i], run[i + 1]) if i + 1 < len(run) else LONG_PAUSE_S
        if gap >= PAUSE_S and total >= _MIN_WORDS:
            return i + 1, True
        score = (
            min(max(gap, 0.0), LONG_PAUSE_S)
            + _COMMA_BONUS * run[i].comma
            + _SEGMENT_BONUS * run[i].last_of_segment
            - abs(total - _GOOD_WORDS) / _GOOD_WORDS * 0.5
        )
        if total >= _MIN_WORDS and score > best_score:
            best, best_score = i + 1, score
            natural = i + 1 == len(run) or (run[i].last_of_segment and not run[i].comma)
    if best_score == float("-inf"):
        best = min(begin + 1, len(run))
        while best < len(run) and sum(lengths[begin:best]) < _MIN_WORDS:
            best += 1
    return best, natural


def _sentence(run: Sequence[_Piece], *, complete: bool) -> Sentence:
    text = run[0].text
    for before, piece in pairwise(run):
        text += _joiner(before.text, piece.text) + piece.text
    end = max(p.end_s for p in run)
    return Sentence(text, run[0].start_s, max(end, run[0].start_s), run[0].speaker, complete)


def _joiner(left: str, right: str) -> str:
    """Nothing after CJK punctuation and inside mixed text, else one space."""
    if left[-1] in "，、；：。！？…」』）》" and not left[-1].isspace():
        return ""
    if left[-1] == "…" or right[0] in "，、；：。！？」』）》":
        return ""
    return " "
