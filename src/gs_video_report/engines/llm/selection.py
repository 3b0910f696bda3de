"""Choose, with a model's help, what of the parts of a long recording stays in the whole report.

True here: the model only names numbers, so nothing is rewritten and every statement keeps its
time, quote and proof. A list it does not answer for, or answers with nothing for, stays whole.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gs_video_report.engines.llm.answer import Answer
from gs_video_report.engines.llm.json_text import read_json
from gs_video_report.engines.llm.tokens import estimate_tokens
from gs_video_report.templates.loader import Template

MAX_SUMMARY = 8
"""Longer merged summaries are sent to be thinned out."""
MAX_TERMS = 15
MAX_ITEMS = 12
"""The same per section."""
ANSWER_TOKENS = 1000
_TOKENS_PER_NUMBER = 5
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["lists"],
    "properties": {
        "lists": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["key", "keep"],
                "properties": {
                    "key": {"type": "string"},
                    "keep": {"type": "array", "items": {"type": "integer"}},
                },
            },
        }
    },
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One list that is too long."""

    key: str
    """`summary`, `key_terms`, or `section:KEY`."""
    description: str
    texts: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """Of all its statements with their numbers."""
        texts = sum(estimate_tokens(text) + _TOKENS_PER_NUMBER for text in self.texts)
        return texts + estimate_tokens(self.description) + 20


def choices(merged: Answer, template: Template) -> tuple[Choice, ...]:
    """The lists of a merged answer that are longer than a report should have."""
    wanted = {spec.key: spec.instruction for spec in template.sections}
    found = [
        Choice(
            "summary",
            "the three to eight statements that tell what the whole recording says",
            tuple(point.text for point in merged.summary),
        )
    ] * (len(merged.summary) > MAX_SUMMARY)
    if len(merged.key_terms) > MAX_TERMS:
        words = "the five to fifteen terms that characterise the whole recording"
        found.append(Choice("key_terms", words, merged.key_terms))
    for section in merged.sections:
        if len(section.items) > MAX_ITEMS:
            texts = tuple(point.text for point in section.items)
            instruction = " ".join(wanted.get(section.key, section.title).split())
            found.append(Choice(f"section:{section.key}", instruction, texts))
    return tuple(found)


def bundles(found: Sequence[Choice], max_tokens: int) -> tuple[tuple[Choice, ...], ...]:
    """Lists grouped into requests of at most `max_tokens`; a longer list is left out (it stays)."""
    grouped: list[list[Choice]] = []
    room = 0
    for choice in found:
        if choice.tokens > max_tokens:
            continue
        if not grouped or choice.tokens > room:
            grouped.append([])
            room = max_tokens
        grouped[-1].append(choice)
        room -= choice.tokens
    return tuple(tuple(group) for group in grouped)


def parse(text: str, group: Sequence[Choice]) -> dict[str, tuple[int, ...]]:
    """Key -> places (from 0, ascending) that stay; lists without a usable answer are absent."""
    try:
        value = read_json(text).value
    except ValueError:
        return {}
    lists = value.get("lists") if isinstance(value, dict) else value
    sizes = {choice.key: len(choice.texts) for choice in group}
    found: dict[str, tuple[int, ...]] = {}
    for item in lists if isinstance(lists, list) else ():
        key = str(item.get("key", "")) if isinstance(item, dict) else ""
        places = _places(item.get("keep"), sizes[key]) if key in sizes else ()
        if places:
            found.setdefault(key, places)
    return found


def _places(value: Any, size: int) -> tuple[int, ...]:
    numbers = value if isinstance(value, list) else []
    whole = {n for n in numbers if isinstance(n, int) and not isinstance(n, bool)}
    return tuple(sorted(n - 1 for n in whole if 1 <= n <= size))


def apply(merged: Answer, kept: Mapping[str, Sequence[int]]) -> Answer:
    """The merged answer with the chosen statements only."""

    def pick(key: str, items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(items[n] for n in kept[key]) if key in kept else items

    return replace(
        merged,
        summary=pick("summary", merged.summary),
        key_terms=pick("key_terms", merged.key_terms),
        sections=tuple(
            replace(s, items=pick(f"section:{s.key}", s.items)) for s in merged.sections
        ),
    )
