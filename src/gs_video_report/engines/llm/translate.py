"""Translate the lines of a transcript in numbered batches, so that no line is lost or doubled.

True here: a translation belongs to the number it was given for; numbers nobody asked for are
ignored, the first of two answers for one number stays, and what is missing is known by number
and asked for again. The line itself is never touched.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gs_video_report.engines.llm.json_text import read_json
from gs_video_report.engines.llm.tokens import estimate_tokens
from gs_video_report.report.model import Segment

MAX_LINES = 60
BEFORE_LINES = 3
TOKENS_PER_NUMBER = 12
"""Of the number and the JSON around a line."""
GROWTH = 2.0
"""Tokens of a translation per token of the original, at most."""
_NUMBERED = re.compile(r"^\s*\[?(\d{1,6})\]?\s*[:.)|\t]\s*(.+)$", re.MULTILINE)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["lines"],
    "properties": {
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["n", "text"],
                "properties": {"n": {"type": "integer"}, "text": {"type": "string"}},
            },
        }
    },
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines for one request; numbers are places in the transcript, from 1."""

    lines: tuple[tuple[int, str], ...]
    before: tuple[str, ...] = ()
    """What was said just before, for understanding."""

    @property
    def answer_tokens(self) -> int:
        """Room that the translation needs."""
        return sum(_answer_tokens(text) for _, text in self.lines)


def plan(segments: Sequence[Segment], max_answer_tokens: int) -> tuple[Batch, ...]:
    """Batches whose translations fit into `max_answer_tokens`; a single longer line goes alone."""
    lines = [(n, text) for n, s in enumerate(segments, 1) if (text := " ".join(s.text.split()))]
    return tuple(_batches(lines, lines, max_answer_tokens))


def plan_missing(
    segments: Sequence[Segment], done: Mapping[int, str], max_answer_tokens: int
) -> tuple[Batch, ...]:
    """Batches of the lines that have no translation yet, with what was said before them."""
    lines = [(n, text) for n, s in enumerate(segments, 1) if (text := " ".join(s.text.split()))]
    missing = [(n, text) for n, text in lines if n not in done]
    return tuple(_batches(missing, lines, max_answer_tokens))


def _batches(
    wanted: list[tuple[int, str]], everything: list[tuple[int, str]], limit: int
) -> Iterable[Batch]:
    place = {number: index for index, (number, _) in enumerate(everything)}
    current: list[tuple[int, str]] = []
    size = 0
    for number, text in wanted:
        tokens = _answer_tokens(text)
        if current and (size + tokens > limit or len(current) == MAX_LINES):
            yield _batch(current, everything, place)
            current, size = [], 0
        current.append((number, text))
        size += tokens
    if current:
        yield _batch(current, everything, place)


def _batch(
    lines: list[tuple[int, str]], everything: list[tuple[int, str]], place: dict[int, int]
) -> Batch:
    first = place[lines[0][0]]
    before = tuple(text for _, text in everything[max(0, first - BEFORE_LINES) : first])
    return Batch(tuple(lines), before)


def _answer_tokens(text: str) -> int:
    return round(estimate_tokens(text) * GROWTH) + TOKENS_PER_NUMBER


def parse(text: str, batch: Batch) -> dict[int, str]:
    """Number -> translation, only of numbers in the batch; empty when nothing can be read.

    A line that came back word for word in the original, though it is a sentence, was not
    translated and does not count.
    """
    wanted = dict(batch.lines)
    found: dict[int, str] = {}
    for number, translation in _pairs(text):
        clean = " ".join(translation.split())
        if number in wanted and clean and not _untouched(wanted[number], clean):
            found.setdefault(number, clean)
    return found


def _untouched(original: str, translation: str) -> bool:
    words = re.findall(r"\w+", original)
    return original.casefold() == translation.casefold() and len(words) > 4


def _pairs(text: str) -> Iterable[tuple[int, str]]:
    try:
        value = read_json(text).value
    except ValueError:
        return [(int(m[1]), m[2]) for m in _NUMBERED.finditer(text)]
    items = value.get("lines", value) if isinstance(value, dict) else value
    if isinstance(items, dict):  # {"1": "...", "2": "..."}
        items = [{"n": key, "text": line} for key, line in items.items()]
    return [pair for item in items if (pair := _pair(item)) is not None]


def _pair(item: Any) -> tuple[int, str] | None:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return None
    try:
        return int(item["n"]), item["text"]
    except (KeyError, TypeError, ValueError):
        return None


def apply(segments: Sequence[Segment], translations: Mapping[int, str]) -> tuple[Segment, ...]:
    """The same lines with their translations; None where there is none."""
    return tuple(
        replace(segment, translation=translations.get(number))
        for number, segment in enumerate(segments, 1)
    )
