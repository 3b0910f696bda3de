"""Check what a model says about a recording: is the quote there, and when is it said or shown?

True here: a quote is proved when its letters and digits occur in this order in the transcript or
on one slide; case, width, punctuation, line breaks, spaces and traditional forms of Chinese
characters do not matter, words do. Words of spaced scripts match as whole words. A quote that is
found elsewhere than claimed is proved and gets the time at which it occurs.
A quote with an ellipsis is proved when all its pieces occur close together. One or two words that
occur somewhere prove nothing: a quote has a least length, its pieces together.
Pure.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gs_video_report.report.model import Section, Segment, Slide, SummaryPoint

TOLERANCE_S = 15.0
"""A claimed time this near to where the quote occurs stays as the model gave it."""
MIN_LETTERS = 5
"""Shorter pieces occur everywhere and are not looked for (Chinese and Japanese: `MIN_WIDE`)."""
MIN_WIDE = 2
MIN_WEIGHT = 6.0
"""Of a whole quote: three words, or six Chinese, Japanese or Korean characters."""
WORD_WEIGHT = 2.0
UNSPACED_WEIGHT = 0.5
"""Of one letter in a script without spaces between words (Thai, Lao, Khmer, Burmese)."""
PIECES_WITHIN_S = 120.0
MAX_QUOTE_CHARS = 1000
MAX_HITS = 2000
_ELLIPSIS = re.compile(r"\.{3,}|…+|〔…〕|\[\s*\.\.\.\s*\]|⋯+")
_SYLLABLE = re.compile(r"[\uac00-\ud7a3]")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
_WIDE = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class _Text:
    """A searchable text: letters only, with the place where each piece of source began."""

    letters: str
    edges: frozenset[int]
    """Positions in `letters` at which a word begins or ends."""
    offsets: tuple[int, ...]
    """Where each source piece begins in `letters`, ascending."""
    times: tuple[tuple[float, float], ...]
    """(start, end) of each piece, seconds."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What was said and shown, ready for look-ups. Made by `sources()`."""

    texts: tuple[_Text, ...]

    def find(self, quote: str) -> list[tuple[float, float]]:
        """Times (start, end) at which `quote` occurs, at most `MAX_HITS`; empty: nowhere."""
        needle, _ = _letters(quote[:MAX_QUOTE_CHARS])
        if not _is_evidence(needle):
            return []
        found: list[tuple[float, float]] = []
        for text in self.texts:
            found.extend(_occurrences(text, needle))
        return found[:MAX_HITS]


@dataclass(frozen=True, slots=True)
class ProofCount:
    """How many statements were checked, and how it went."""

    total: int = 0
    proved: int = 0


def sources(segments: Sequence[Segment], slides: Sequence[Slide] = ()) -> Sources:
    """Prepare transcript and slide texts. A quote may run over several lines of the transcript,
    but not from one slide into the next."""
    spoken = _join([(s.start_s, s.end_s, s.text) for s in segments])
    shown = [_join([(s.t_s, s.end_s, f"{s.title}\n{s.text}")]) for s in slides if s.text or s.title]
    bare = [_join([(s.t_s, s.end_s, s.text)]) for s in slides if s.text and s.title]
    return Sources((spoken, *shown, *bare))


def check_points(points: Iterable[SummaryPoint], known: Sources) -> tuple[SummaryPoint, ...]:
    """The statements with `proved` True or False, and with times at which they can be heard.

    A statement without a quote, or with one that proves nothing, is not proved.
    """
    return tuple(_check(point, known) for point in points)


def check_sections(sections: Iterable[Section], known: Sources) -> tuple[Section, ...]:
    """The same for the items of template-defined parts."""
    return tuple(replace(s, items=check_points(s.items, known)) for s in sections)


def count_proofs(*lists: Iterable[SummaryPoint]) -> ProofCount:
    """Over several lists; statements that were not checked do not count."""
    checked = [p for points in lists for p in points if p.proved is not None]
    return ProofCount(len(checked), sum(p.proved is True for p in checked))


def _check(point: SummaryPoint, known: Sources) -> SummaryPoint:
    hits = _hits(point.quote, known)
    if not hits:
        return replace(point, proved=False)
    if point.t_s is None:
        return replace(point, t_s=hits[0][0], proved=True)
    claimed = point.t_s
    start, end = min(hits, key=lambda hit: _distance(claimed, hit))
    if _distance(claimed, (start, end)) <= TOLERANCE_S:
        return replace(point, proved=True)
    return replace(point, t_s=start, proved=True)


def _hits(quote: str, known: Sources) -> list[tuple[float, float]]:
    pieces = [p for p in _ELLIPSIS.split(quote) if _letters(p)[0]]
    if not pieces:
        return []
    found = [known.find(piece) for piece in pieces]
    if len(pieces) > 1 and not all(found):
        # A short piece beside long ones ("so ... the sum of all squares") proves nothing by
        # itself and need not be found.
        found = [f for f, p in zip(found, pieces, strict=True) if _is_evidence(_letters(p)[0])]
        pieces = [p for p in pieces if _is_evidence(_letters(p)[0])]
        if not found or not all(found):
            return []
    if sum(map(weight, pieces)) < MIN_WEIGHT:
        return []
    first = found[0]
    return [hit for hit in first if all(_near(hit, others) for others in found[1:])]


def weight(quote: str) -> float:
    """How much a quote says by its length: words and characters, see `MIN_WEIGHT`."""
    total = 0.0
    kept = (c if c in "'’" or unicodedata.category(c)[0] in "LNM" else " " for c in quote)
    for word in "".join(kept).split():
        single = len(_WIDE.findall(word)) + len(_SYLLABLE.findall(word))
        joined = len(_UNSPACED.findall(word))
        total += single + UNSPACED_WEIGHT * joined
        if single + joined < len(word):
            total += WORD_WEIGHT
    return total


def _near(hit: tuple[float, float], others: list[tuple[float, float]]) -> bool:
    return any(-1.0 <= other[0] - hit[0] <= PIECES_WITHIN_S for other in others)


def _distance(t: float, span: tuple[float, float]) -> float:
    return max(span[0] - t, t - span[1], 0.0)


# --- letters -----------------------------------------------------------------------------------


def _join(pieces: Sequence[tuple[float, float, str]]) -> _Text:
    parts: list[str] = []
    edges: set[int] = {0}
    offsets: list[int] = []
    size = 0
    for _, _, text in pieces:
        letters, inner = _letters(text)
        offsets.append(size)
        edges.update(size + edge for edge in inner)
        parts.append(letters)
        size += len(letters)
    times = tuple((start, end) for start, end, _ in pieces)
    return _Text("".join(parts), frozenset(edges), tuple(offsets), times)


def _letters(text: str) -> tuple[str, frozenset[int]]:
    """Letters and digits in one case, width and Chinese script; and where words begin and end.

    Positions count in the result. Between wide characters every position is an edge.
    """
    from gs_video_report.text.unspaced import simplify

    folded = simplify(unicodedata.normalize("NFKC", text).casefold())
    out: list[str] = []
    edges = {0}
    joined = False
    for char in folded:
        if unicodedata.category(char)[0] not in "LNM":
            joined = char in "'’"  # it's = its: models drop the mark
            if not joined:
                edges.add(len(out))
            continue
        if _WIDE.match(char):
            edges.update((len(out), len(out) + 1))
        out.append(char)
    edges.add(len(out))
    return "".join(out), frozenset(edges)


def _is_evidence(letters: str) -> bool:
    wide = len(_WIDE.findall(letters))
    return wide >= MIN_WIDE or len(letters) - wide >= MIN_LETTERS


def _occurrences(text: _Text, needle: str) -> Iterator[tuple[float, float]]:
    at = text.letters.find(needle)
    hits = 0
    while at >= 0 and hits < MAX_HITS:
        end = at + len(needle)
        if at in text.edges and end in text.edges:
            hits += 1
            first = bisect_right(text.offsets, at) - 1
            last = bisect_right(text.offsets, end - 1) - 1
            yield text.times[first][0], text.times[last][1]
        at = text.letters.find(needle, at + 1)
