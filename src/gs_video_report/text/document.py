"""One recording as sentences with weighted word vectors: what all analyses share.

Pure. Vectors are TF-IDF over sentences (Sparck Jones 1972), length 1, function words left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gs_video_report.report.model import Segment, Slide
from gs_video_report.text.sentences import Sentence, split_sentences
from gs_video_report.text.tokens import Token, Tokenizer

Vector = Mapping[str, float]

_DAMPING = 0.85
_ROUNDS = 30
_CLOSE_ENOUGH = 1e-5
_BOILERPLATE_SLIDES = 4
_BOILERPLATE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class SlideText:
    """What a slide says, without lines that most slides repeat."""

    t_s: float
    end_s: float
    title: str
    """Empty when unknown, or when it is the same on most slides."""
    new_lines: tuple[str, ...]
    """Lines not on the slide before (a build repeats its lines)."""
    kind: str


@dataclass(frozen=True, slots=True)
class Document:
    """Sentences of a recording, their words and vectors, and its slides."""

    language: str
    tokenizer: Tokenizer
    sentences: tuple[Sentence, ...]
    tokens: tuple[tuple[Token, ...], ...]
    """Words of each sentence."""
    vectors: tuple[Vector, ...]
    """One per sentence; empty for a sentence without content words."""
    slides: tuple[SlideText, ...]
    duration_s: float


def build_document(
    segments: Sequence[Segment], slides: Sequence[Slide], language: str, duration_s: float
) -> Document:
    """Split, cut into words, weigh. A duration of 0 is taken from the last segment or slide."""
    sentences = split_sentences(segments)
    texts = [s.text for s in sentences]
    tokenizer = Tokenizer.for_texts(language, [*texts, *(s.text for s in slides)])
    tokens = tuple(tuple(tokenizer.tokens(text)) for text in texts)
    ends = [s.end_s for s in segments] + [s.end_s for s in slides]
    return Document(
        tokenizer.language,
        tokenizer,
        sentences,
        tokens,
        tuple(_vectors(tokens)),
        clean_slides(slides),
        round(float(duration_s if duration_s > 0 else max(ends, default=0.0)), 3),
    )


def _vectors(tokens: Sequence[Sequence[Token]]) -> Iterable[Vector]:
    bags = [_bag(words) for words in tokens]
    spread: Counter[str] = Counter(key for bag in bags for key in bag)
    total = len(bags)
    for bag in bags:
        raw = {key: w * math.log(1 + total / spread[key]) for key, w in bag.items()}
        yield unit(raw)


def _bag(words: Iterable[Token]) -> dict[str, float]:
    bag: dict[str, float] = {}
    for token in words:
        if token.weight > 0:
            bag[token.key] = bag.get(token.key, 0.0) + token.weight
    return bag


def unit(vector: Vector) -> Vector:
    """The vector scaled to length 1; empty stays empty."""
    norm = math.sqrt(sum(v * v for v in vector.values()))
    return {key: v / norm for key, v in vector.items()} if norm else {}


def cosine(a: Vector, b: Vector) -> float:
    """Similarity of two vectors of length 1, 0..1."""
    if len(a) > len(b):
        a, b = b, a
    return sum(v * b[key] for key, v in a.items() if key in b)


def centrality(vectors: Sequence[Vector]) -> list[float]:
    """How much each sentence resembles the others: continuous LexRank (Erkan and Radev 2004).

    The similarity matrix is never built: multiplying by it is two passes over the words, so a
    round costs time linear in the text. Result: scores with mean 1; 0 for empty vectors.
    """
    n = len(vectors)
    if n == 0:
        return []
    degrees = [max(d - 1.0, 0.0) for d in _times_similarity(vectors, [1.0] * n)]
    scores = [1.0] * n
    for _ in range(_ROUNDS):
        shares = [s / d if d > 0 else 0.0 for s, d in zip(scores, degrees, strict=True)]
        spread = _times_similarity(vectors, shares)
        new = [
            (1 - _DAMPING) + _DAMPING * (sp - sh) if vec else 0.0
            for sp, sh, vec in zip(spread, shares, vectors, strict=True)
        ]
        moved = sum(abs(a - b) for a, b in zip(new, scores, strict=True))
        scores = new
        if moved < _CLOSE_ENOUGH * n:
            break
    return scores


def _times_similarity(vectors: Sequence[Vector], x: Sequence[float]) -> list[float]:
    """X (X^T x): the product of the similarity matrix with `x`, self-similarity included."""
    by_word: dict[str, float] = {}
    for vector, value in zip(vectors, x, strict=True):
        if value:
            for key, v in vector.items():
                by_word[key] = by_word.get(key, 0.0) + v * value
    return [sum(v * by_word.get(key, 0.0) for key, v in vector.items()) for vector in vectors]


# --- slides ------------------------------------------------------------------------------------

_SPACES = re.compile(r"\s+")


def clean_slides(slides: Sequence[Slide]) -> tuple[SlideText, ...]:
    """Slides in time order with repeated headers and footers removed.

    A line (or title) on more than half of at least 4 slides is the frame of the deck, not its
    content.
    """
    ordered = sorted(slides, key=lambda s: s.t_s)
    rows = [[_tidy(line) for line in s.text.splitlines() if _tidy(line)] for s in ordered]
    frame = _frame(rows)
    out: list[SlideText] = []
    before: set[str] = set()
    for slide, lines in zip(ordered, rows, strict=True):
        title = _tidy(slide.title)
        kept = [line for line in lines if line.casefold() not in frame]
        new = tuple(line for line in kept if line.casefold() not in before)
        if kept:
            before = {line.casefold() for line in kept}
        shown = "" if title.casefold() in frame else title
        out.append(SlideText(slide.t_s, slide.end_s, shown, new, slide.kind))
    return tuple(out)


def _frame(rows: Sequence[Sequence[str]]) -> set[str]:
    filled = [row for row in rows if row]
    if len(filled) < _BOILERPLATE_SLIDES:
        return set()
    counts = Counter(line.casefold() for row in filled for line in set(row))
    return {line for line, n in counts.items() if n > _BOILERPLATE_SHARE * len(filled)}


def _tidy(line: str) -> str:
    return _SPACES.sub(" ", line).strip(" \t•·-–—*►▪●○")
