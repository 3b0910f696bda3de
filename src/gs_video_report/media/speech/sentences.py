"""Cut a run of timed words into sentence-like segments, in any script.

Pure. Words keep their order and none is lost: joining the segments gives back the words.
Breaks come, in this order: after the end of a sentence (Latin, CJK, Arabic and Devanagari marks;
not after `Mr.` or inside `3.5`), at long pauses, and in stretches that grow too long after the
last clause mark, else before the longest pause, else anywhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SENTENCE_MARKS = frozenset(".!?…。！？｡؟।॥")
CLAUSE_MARKS = frozenset(",;:，、；：،؛—–")
CLOSING_MARKS = "\"'”’»)]}」』）】》"
_ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "e.g", "i.e", "no", "fig",
    "eq", "approx", "dept", "vol", "pp", "cf", "al", "bzw", "usw", "z.b", "d.h", "nr", "hr", "fr",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word with its time in seconds from the start of the recording.

    `text` keeps the space in front of it, if the script has one: joining texts gives the line.
    """

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a segment may grow before it is cut inside a sentence."""

    pause_s: float = 1.2
    """A pause from which a new segment starts even without a mark."""
    max_s: float = 12.0
    max_width: int = 180
    """Columns; characters of CJK scripts count twice."""


def group_words(
    words: Sequence[SpokenWord], limits: Limits | None = None
) -> list[list[SpokenWord]]:
    """Words in sentence-like groups; empty for no words."""
    limits = limits or Limits()
    groups: list[list[SpokenWord]] = []
    current: list[SpokenWord] = []
    for index, word in enumerate(words):
        current.append(word)
        following = words[index + 1] if index + 1 < len(words) else None
        if following is None or _breaks(word, following, limits):
            groups.extend(_shorten(current, limits))
            current = []
    return groups


def join_words(words: Iterable[SpokenWord]) -> str:
    """The text of a group, without outer spaces."""
    return "".join(word.text for word in words).strip()


def spread_words(text: str, start_s: float, end_s: float) -> list[SpokenWord]:
    """Give the words of `text` times in proportion to their length; for text without times."""
    pieces = _pieces(text)
    total = sum(len(piece) for piece in pieces)
    found: list[SpokenWord] = []
    done = 0
    for piece in pieces:
        begin = start_s + (end_s - start_s) * done / total
        done += len(piece)
        end = start_s + (end_s - start_s) * done / total
        found.append(SpokenWord(round(begin, 3), round(end, 3), piece))
    return found


def is_wide(character: str) -> bool:
    """True for characters that are written without spaces and count as two columns."""
    return unicodedata.east_asian_width(character) in ("W", "F")


def width(text: str) -> int:
    """Columns of `text`."""
    return sum(2 if is_wide(character) else 1 for character in text)


def _pieces(text: str) -> list[str]:
    """Words with the space before them; each wide character is a piece of its own."""
    pieces: list[str] = []
    gap = ""
    for character in text:
        if character.isspace():
            gap += character
        elif pieces and not gap and _clings(character, pieces[-1][-1]):
            pieces[-1] += character
        else:
            pieces.append(gap + character)
            gap = ""
    return pieces


def _clings(character: str, before: str) -> bool:
    """True when `character` belongs to the word of the character before it."""
    if character in SENTENCE_MARKS or character in CLAUSE_MARKS or character in CLOSING_MARKS:
        return True
    return not is_wide(character) and not is_wide(before)


def _breaks(word: SpokenWord, following: SpokenWord, limits: Limits) -> bool:
    if following.start_s - word.end_s >= limits.pause_s:
        return True
    return ends_sentence(word.text, following.text)


def ends_sentence(text: str, following: str) -> bool:
    """True when a sentence ends between these two words."""
    bare = text.strip().rstrip(CLOSING_MARKS)
    if not bare or bare[-1] not in SENTENCE_MARKS:
        return False
    if bare[-1] != ".":
        return True
    if bare[:-1].lower() in _ABBREVIATIONS or (len(bare) == 2 and bare[0].isupper()):
        return False
    after = following.lstrip("\"'“‘«([{ ")
    glued = not following.startswith((" ", "\u00a0")) and following[:1].isalnum()
    return not (glued and not is_wide(following[0])) and not after[:1].islower()


def _shorten(group: list[SpokenWord], limits: Limits) -> list[list[SpokenWord]]:
    if len(group) < 2 or not _is_long(group, limits):
        return [group]
    at = _best_cut(group)
    return [*_shorten(group[:at], limits), *_shorten(group[at:], limits)]


def _is_long(group: list[SpokenWord], limits: Limits) -> bool:
    lasts_s = group[-1].end_s - group[0].start_s
    return lasts_s > limits.max_s or width(join_words(group)) > limits.max_width


def _best_cut(group: list[SpokenWord]) -> int:
    """Index of the first word of the second half: near the middle, after a mark or a pause."""
    middle = len(group) / 2

    def merit(at: int) -> float:
        marked = group[at - 1].text.strip()[-1:] in CLAUSE_MARKS
        pause_s = max(0.0, group[at].start_s - group[at - 1].end_s)
        return (1.0 if marked else 0.0) + min(pause_s, 1.0) - abs(at - middle) / middle

    return max(range(1, len(group)), key=merit)
