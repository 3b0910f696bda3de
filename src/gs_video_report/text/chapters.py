"""Divide a recording into chapters: contiguous, ascending, from 0 to its end.

Order of trust: chapters of the container; slide titles and lexical cohesion of speech
(TextTiling, Hearst 1997: blocks of sentences are compared, deep valleys of similarity are
boundaries); slides alone when nobody speaks. Pure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from gs_video_report.report.model import Chapter
from gs_video_report.text import phrasing
from gs_video_report.text.document import Document, SlideText, Vector
from gs_video_report.text.titles import chapter_titles, slide_title

_SHORTEST_S = 12.0
_SLIDE_NEAR_S = 6.0
_SLIDE_BONUS, _TITLE_BONUS, _TOPIC_BONUS, _PAUSE_BONUS = 0.4, 1.5, 1.5, 0.8
_LONG_PAUSE_S = 2.5
_MOST_PER_TARGET, _MOST_EXTRA = 1.5, 4
_LIBERAL_CUT = 0.5
"""A valley counts when it is this many standard deviations above the mean depth."""
_TWO_PARTS_S = 45.0
_ANNOUNCED_S = 15.0
_TOO_LONG = 2.2
"""A part longer than this many targets is divided at its best place."""


def target_count(duration_s: float) -> int:
    """Chapters a recording of this length usually has: 1 for a minute, 11 for an hour."""
    return max(1, round(1.45 * math.sqrt(max(duration_s, 0.0) / 60)))


def shortest_s(duration_s: float) -> float:
    """No chapter of a recording of this length is shorter."""
    return max(_SHORTEST_S, 0.3 * duration_s / target_count(duration_s))


def from_container(marks: Iterable[Any], duration_s: float) -> tuple[Chapter, ...]:
    """Chapters of the file itself, made contiguous; empty when they are of no use.

    Each mark is `(start_s, end_s, title)`, or has `start_s` and `title` as attributes or keys.
    Marks outside the recording or at the same time as another are dropped; untitled ones are
    numbered. A single untitled mark is of no use.
    """
    rows: dict[float, str] = {}
    for mark in marks:
        start, title = _mark(mark)
        if isinstance(start, int | float) and 0 <= start < duration_s:
            rows.setdefault(round(float(start), 3), title)
    if len(rows) < 2 and not any(rows.values()):
        return ()
    starts = sorted(rows)
    titles = [rows[s] or str(n) for n, s in enumerate(starts, 1)]
    edges = [0.0, *starts[1:], duration_s]
    return tuple(Chapter(a, b, t) for (a, b), t in zip(pairwise(edges), titles, strict=True))


def _mark(mark: Any) -> tuple[Any, str]:
    """(start, title) of a mark in any of its forms."""
    if isinstance(mark, tuple | list):
        start, _, title = mark
    elif isinstance(mark, dict):
        start, title = mark.get("start_s"), mark.get("title")
    else:
        start, title = mark.start_s, mark.title
    return start, " ".join(str(title or "").split())


def divide(document: Document) -> tuple[Chapter, ...]:
    """Chapters from speech and slides, from slides alone, or none when there is neither."""
    if document.duration_s <= 0:
        return ()
    if any(document.vectors):
        starts = _speech_boundaries(document)
    else:
        starts = _slide_boundaries(document)
        if not starts:
            return ()
    edges = [0.0, *(s for s in starts if s > 0), document.duration_s]
    titles = chapter_titles(document, edges)
    return tuple(
        Chapter(round(a, 3), round(b, 3), title)
        for (a, b), title in zip(pairwise(edges), titles, strict=True)
    )


# --- speech ------------------------------------------------------------------------------------


def _speech_boundaries(document: Document) -> list[float]:
    duration = document.duration_s
    target = target_count(duration)
    scores = _boundary_scores(document, duration / target)
    if not scores:
        return []
    values = list(scores.values())
    threshold = statistics.fmean(values) + _LIBERAL_CUT * statistics.pstdev(values)
    most = max(_most(target), 2 if duration >= _TWO_PARTS_S else 1) - 1
    chosen = _pick(scores, duration, most, threshold)
    return _fill_long_parts(scores, duration, chosen, most, duration / target * _TOO_LONG)


def _most(target: int) -> int:
    return min(math.ceil(_MOST_PER_TARGET * target), target + _MOST_EXTRA)


def _pick(scores: dict[float, float], duration: float, most: int, threshold: float) -> list[float]:
    gap = shortest_s(duration)
    chosen: list[float] = []
    for at in sorted(scores, key=lambda t: (-scores[t], t)):
        if len(chosen) >= most or scores[at] < threshold:
            break
        if all(abs(at - other) >= gap for other in (0.0, duration, *chosen)):
            chosen.append(at)
    return sorted(chosen)


def _fill_long_parts(
    scores: dict[float, float], duration: float, chosen: list[float], most: int, too_long: float
) -> list[float]:
    gap = shortest_s(duration)
    while len(chosen) < most:
        edges = [0.0, *chosen, duration]
        begin, end = max(pairwise(edges), key=lambda p: p[1] - p[0])
        inside = [t for t in scores if begin + gap <= t <= end - gap]
        if end - begin <= too_long or not inside:
            break
        chosen = sorted([*chosen, max(inside, key=lambda t: (scores[t], -t))])
    return chosen


def _boundary_scores(document: Document, part_s: float) -> dict[float, float]:
    """Score of each sentence start as a chapter start, in standard deviations of depth."""
    sentences = document.sentences
    if len(sentences) < 2:
        return {}
    depths = _depths(_similarities(document, part_s * 0.5))
    spread = statistics.pstdev(depths) or 1.0
    mean = statistics.fmean(depths)
    changes = _slide_changes(document.slides)
    scores: dict[float, float] = {}
    for i in range(1, len(sentences)):
        score = (depths[i - 1] - mean) / spread
        score += _TOPIC_BONUS * phrasing.opens_topic(sentences[i].text, document.language)
        pause = sentences[i].start_s - sentences[i - 1].end_s
        score += _PAUSE_BONUS * min(max(pause, 0.0) / _LONG_PAUSE_S, 1.0)
        score -= _TOPIC_BONUS * (not sentences[i].complete or not sentences[i - 1].complete)
        before = scores.get(sentences[i].start_s, float("-inf"))
        scores[sentences[i].start_s] = max(score, before)
    _lift_openings(document, scores)
    _add_slides(scores, changes)
    return scores


def _lift_openings(document: Document, scores: dict[float, float]) -> None:
    """A sentence that announces a topic is its start, even if the words change just after it."""
    for sentence, following in pairwise(document.sentences[1:]):
        near = following.start_s - sentence.start_s <= _ANNOUNCED_S
        if near and phrasing.opens_topic(sentence.text, document.language):
            here, there = scores[sentence.start_s], scores[following.start_s]
            scores[sentence.start_s] = max(here, there + _TOPIC_BONUS / 2)


def _add_slides(scores: dict[float, float], changes: Sequence[tuple[float, float]]) -> None:
    """Give each slide change to the sentence start nearest to it."""
    for at, bonus in changes:
        near = min(scores, key=lambda t: (abs(t - at), t))
        if abs(near - at) <= _SLIDE_NEAR_S:
            scores[near] += bonus


def _slide_changes(slides: Sequence[SlideText]) -> list[tuple[float, float]]:
    changes: list[tuple[float, float]] = []
    title = ""
    for slide in slides:
        if slide.kind != "slide":
            continue
        new = slide_title(slide)
        if new and new.casefold() != title.casefold():
            changes.append((slide.t_s, _TITLE_BONUS))
            title = new
        elif slide.new_lines:
            changes.append((slide.t_s, _SLIDE_BONUS))
    return changes


def _similarities(document: Document, block_s: float) -> list[float]:
    """Cosine of the blocks before and after each gap between sentences."""
    vectors, sentences = document.vectors, document.sentences
    n = len(vectors)
    left, right = _Block(), _Block()
    low, high = 0, 1
    left.add(vectors[0])
    out: list[float] = []
    for gap in range(1, n):
        here = sentences[gap].start_s
        high = max(high, gap)
        while high < n and (sentences[high].start_s < here + block_s or high < gap + 2):
            right.add(vectors[high])
            high += 1
        while low < gap - 2 and sentences[low].start_s < here - block_s:
            left.remove(vectors[low])
            low += 1
        out.append(left.cosine(right))
        left.add(vectors[gap])
        right.remove(vectors[gap])
    return out


class _Block:
    """Sum of sentence vectors that follows a sliding window; squared length kept along."""

    def __init__(self) -> None:
        self._sum: dict[str, float] = {}

    def add(self, vector: Vector) -> None:
        for key, value in vector.items():
            self._sum[key] = self._sum.get(key, 0.0) + value

    def remove(self, vector: Vector) -> None:
        for key, value in vector.items():
            left = self._sum[key] - value
            if left > 1e-9:
                self._sum[key] = left
            else:
                del self._sum[key]

    def cosine(self, other: _Block) -> float:
        a, b = self._sum, other._sum
        if len(a) > len(b):
            a, b = b, a
        dot = sum(v * b[key] for key, v in a.items() if key in b)
        norm = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
        return dot / norm if norm else 0.0


def _depths(similarities: Sequence[float]) -> list[float]:
    """Depth of each valley against the peaks on both sides, after smoothing over 3 gaps."""
    n = len(similarities)
    smooth = [statistics.fmean(similarities[max(i - 1, 0) : i + 2]) for i in range(n)]
    left, right = _climb(smooth), _climb(smooth[::-1])[::-1]
    return [left[i] + right[i] - 2 * smooth[i] for i in range(n)]


def _climb(values: Sequence[float]) -> list[float]:
    """For each place the height reached by walking left uphill."""
    peaks: list[float] = []
    for i, value in enumerate(values):
        rising = i > 0 and values[i - 1] >= value
        peaks.append(peaks[i - 1] if rising else value)
    return peaks


# --- slides alone ------------------------------------------------------------------------------


def _slide_boundaries(document: Document) -> list[float]:
    """Starts of slides with a new title, at sensible distances; empty when no slide has text."""
    gap, chosen = shortest_s(document.duration_s), list[float]()
    changes = [(s.t_s, slide_title(s)) for s in document.slides if slide_title(s)]
    title = ""
    for at, new in changes:
        if new.casefold() == title.casefold():
            continue
        title = new
        if not chosen:
            chosen.append(0.0)
        elif at - chosen[-1] >= gap and document.duration_s - at >= gap:
            chosen.append(at)
    return chosen
