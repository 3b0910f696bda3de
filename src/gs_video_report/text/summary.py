"""Choose the sentences that sum up a recording, and quote them word for word.

Extractive: LexRank centrality (Erkan and Radev 2004) times cues of position, length, slide
overlap and wording (Edmundson 1969), then maximal marginal relevance against repetition
(Carbonell and Goldstein 1998) with every part of the recording given its share. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gs_video_report.report.model import Chapter, SummaryPoint
from gs_video_report.text import phrasing
from gs_video_report.text.document import Document, Vector, centrality, cosine
from gs_video_report.text.tokens import WEAK_WEIGHT, Token, length_in_words

FEWEST, MOST = 3, 12
_IDEAL_WORDS = 19.0
_LENGTH_SPREAD = 12.0
_SHORTEST, _LONGEST = 5.0, 48.0
_LEAST_CONTENT = 2.5
"""Sum of word weights below which a sentence says nothing by itself."""
_SAME = 0.6
"""Sentences more alike than this are one point."""
_LEAST_CONTENT_BY_SCRIPT = {"ja": 1.0, "th": 2.0}
"""The same where verbs are not told from grammar."""
_INCOMPLETE, _BROKEN_OFF = 0.3, 0.15
_PARTICLES_END_SENTENCES = frozenset({"zh", "ja", "ko", "th"})
_RELEVANCE = 0.7
_REPEATED_PART = 0.72
"""Factor for each point a part of the recording already has beyond its share."""
_LINE_CHARS = 220
_MIN_SLIDE_CHARS = 4


def points_for(duration_s: float) -> int:
    """How many points a recording of this length deserves: 3 for a minute, 12 from an hour on."""
    return max(FEWEST, min(MOST, round(2.2 + 1.25 * math.sqrt(max(duration_s, 0.0) / 60))))


def rate_sentences(document: Document) -> list[float]:
    """How well each sentence would stand in a summary; 0 means not at all."""
    central = centrality(document.vectors)
    shown = _slide_words(document)
    return [_rate(document, i, central[i], shown) for i in range(len(document.sentences))]


def summarize(
    document: Document, ratings: Sequence[float], chapters: Sequence[Chapter]
) -> tuple[SummaryPoint, ...]:
    """3 to 12 points in time order, fewer when there is less to say; empty without words.

    `text` is the quote made readable (`phrasing.clean`), `quote` the words of the transcript.
    Without speech the titles of the slides are the points.
    """
    chosen = _choose(document, ratings, chapters, points_for(document.duration_s))
    if chosen:
        return tuple(_point(document, i) for i in sorted(chosen))
    return _from_slides(document)


def best_line(document: Document, ratings: Sequence[float], indices: Sequence[int]) -> str:
    """The sentence that best stands for some sentences, cleaned; "" if none is fit.

    Sentences that resemble the part as a whole win; at most 220 characters where possible.
    """
    part = centrality([document.vectors[i] for i in indices])
    scored = [
        (ratings[i] * (0.5 + local) * _fits_line(document, i), -i)
        for i, local in zip(indices, part, strict=True)
        if ratings[i] > 0
    ]
    if not scored:
        return ""
    _, minus = max(scored)
    return phrasing.clean(document.sentences[-minus].text, document.language)


def _fits_line(document: Document, i: int) -> float:
    return 1.0 if len(document.sentences[i].text) <= _LINE_CHARS else 0.4


def _point(document: Document, i: int) -> SummaryPoint:
    sentence = document.sentences[i]
    text = phrasing.clean(sentence.text, document.language)
    return SummaryPoint(text, round(sentence.start_s, 3), sentence.text)


# --- rating ------------------------------------------------------------------------------------


def _slide_words(document: Document) -> frozenset[str]:
    lines = [line for s in document.slides for line in (s.title, *s.new_lines)]
    return frozenset(
        token.key
        for line in lines
        for token in document.tokenizer.tokens(line)
        if token.weight > WEAK_WEIGHT
    )


def _rate(document: Document, i: int, central: float, shown: frozenset[str]) -> float:
    sentence, words = document.sentences[i], document.tokens[i]
    text = phrasing.clean(sentence.text, document.language)
    length = length_in_words(text)
    content = sum(t.weight for t in words if t.weight >= WEAK_WEIGHT)
    least = _LEAST_CONTENT_BY_SCRIPT.get(document.language, _LEAST_CONTENT)
    if content < least or length < _SHORTEST:
        return 0.0
    rating = central * _length_factor(length) * _wording_factor(text, document.language)
    strong = [t for t in words if t.weight > WEAK_WEIGHT]
    if shown and strong:
        rating *= 1 + 0.5 * sum(t.key in shown for t in strong) / len(strong)
    rating *= 1 + 0.3 * min(len(strong) / max(length, 1.0), 0.6)
    if not sentence.complete:
        rating *= _INCOMPLETE
    if _breaks_off(sentence.text, words, document.language):
        rating *= _BROKEN_OFF
    if phrasing.is_dangling(sentence.text):
        rating *= 0.5
    return rating * _position_factor(sentence.start_s, document.duration_s)


def _breaks_off(text: str, words: Sequence[Token], language: str) -> bool:
    """Without a full stop a last word that only carries grammar means: cut in the middle."""
    ends_open = words[-1].weight == 0.0 and language not in _PARTICLES_END_SENTENCES
    return ends_open and not phrasing.has_terminal(text)


def _length_factor(length: float) -> float:
    factor = math.exp(-(((length - _IDEAL_WORDS) / _LENGTH_SPREAD) ** 2) / 2)
    return max(factor, 0.25) if length <= _LONGEST else factor * 0.5


def _wording_factor(text: str, language: str) -> float:
    factor = 1.0
    if phrasing.is_small_talk(text, language):
        factor *= 0.05
    if phrasing.is_question(text):
        factor *= 0.25
    if phrasing.is_pointer(text, language):
        factor *= 0.55
    if phrasing.is_personal(text, language):
        factor *= 0.75
    if phrasing.is_outline(text, language):
        factor *= 0.6
    if phrasing.has_signal(text, language):
        factor *= 1.3
    return factor


def _position_factor(start_s: float, duration_s: float) -> float:
    """Openings and closings of talks carry more than their middle (Edmundson 1969)."""
    share = start_s / duration_s if duration_s > 0 else 0.5
    return 1.1 if share < 0.08 or share > 0.92 else 1.0


# --- choosing ----------------------------------------------------------------------------------


def _choose(
    document: Document, ratings: Sequence[float], chapters: Sequence[Chapter], wanted: int
) -> list[int]:
    fit = [i for i, r in enumerate(ratings) if r > 0]
    wanted = min(wanted, max(FEWEST, math.ceil(len(document.sentences) / 3)))
    part_of = [_part(document.sentences[i].start_s, chapters) for i in range(len(ratings))]
    share = _shares(document, chapters, wanted)
    best = max((ratings[i] for i in fit), default=1.0)
    worth = {i: ratings[i] / best for i in fit}
    nearest = dict.fromkeys(fit, 0.0)
    chosen: list[int] = []
    while len(chosen) < wanted and worth:
        taken = [part_of[i] for i in chosen]
        scores = {
            i: (_RELEVANCE * w - (1 - _RELEVANCE) * nearest[i])
            * _REPEATED_PART ** max(taken.count(part_of[i]) - share.get(part_of[i], 1) + 1, 0)
            for i, w in worth.items()
            if w > 0.02
        }
        if not scores:
            break
        pick = max(scores, key=lambda i: (scores[i], -i))
        chosen.append(pick)
        del worth[pick]
        _forget_similar(document.vectors, pick, worth, nearest)
    return chosen


def _forget_similar(
    vectors: Sequence[Vector], pick: int, worth: dict[int, float], nearest: dict[int, float]
) -> None:
    for i in list(worth):
        alike = cosine(vectors[i], vectors[pick])
        nearest[i] = max(nearest[i], alike)
        if alike > _SAME:
            del worth[i]


def _part(t_s: float, chapters: Sequence[Chapter]) -> int:
    for n, chapter in enumerate(chapters):
        if t_s < chapter.end_s:
            return n
    return max(len(chapters) - 1, 0)


def _shares(document: Document, chapters: Sequence[Chapter], wanted: int) -> dict[int, int]:
    """How many points each part gets before it has to give way, at least one."""
    total = max(document.duration_s, 1e-9)
    return {
        n: max(1, round(wanted * (c.end_s - c.start_s) / total)) for n, c in enumerate(chapters)
    }


def _from_slides(document: Document) -> tuple[SummaryPoint, ...]:
    seen: set[str] = set()
    points: list[SummaryPoint] = []
    for slide in document.slides:
        line = slide.title or next(iter(slide.new_lines), "")
        if len(line) < _MIN_SLIDE_CHARS or line.casefold() in seen:
            continue
        seen.add(line.casefold())
        points.append(SummaryPoint(line, round(slide.t_s, 3), line))
    wanted = points_for(document.duration_s)
    step = max(len(points) / wanted, 1.0)
    return tuple(points[int(k * step)] for k in range(min(wanted, len(points))))
