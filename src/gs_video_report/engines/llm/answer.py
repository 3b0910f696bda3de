"""Turn what a model wrote into parts of a report.

True here: an answer is data from outside: it is read tolerantly, fitted to the schema that was
asked for, and bounded; times that make no sense are mended from their neighbours or left out,
texts are never made up. `complete` says whether the model had finished.
Pure. Raises: AnswerError when there is nothing to read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gs_video_report.engines.llm import schema as schemas
from gs_video_report.engines.llm.json_text import read_json
from gs_video_report.report.model import Chapter, KeyTerm, Section, Segment, Slide, SummaryPoint
from gs_video_report.report.timefmt import parse_clock
from gs_video_report.templates.loader import Template

MAX_TEXT_CHARS = 20_000
"""Of one text in an answer; a model that repeats itself without end is cut here."""
MIN_CHAPTER_S = 1.0
_LINE_S = 5.0
"""Length given to a last line without an end."""
_CLOCK = re.compile(r"\d{1,3}(?::\d{1,2}){1,2}(?:[.,]\d{1,3})?|\d+(?:[.,]\d+)?")
_STATEMENT = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "text": {"type": "string"},
        "at": {"type": "string", "description": "H:MM:SS"},
        "quote": {"type": "string", "description": "exact words from speech or slide"},
    },
}
DEFAULT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["summary", "chapters", "key_terms"],
    "properties": {
        "language": {"type": "string", "description": "ISO 639-1 code of the spoken language"},
        "summary": {"type": "array", "items": _STATEMENT},
        "chapters": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["start", "title"],
                "properties": {
                    "start": {"type": "string", "description": "H:MM:SS"},
                    "title": {"type": "string"},
                    "summary": {"type": "string"},
                },
            },
        },
        "key_terms": {"type": "array", "items": {"type": "string"}},
        "sections": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["key", "items"],
                "properties": {
                    "key": {"type": "string"},
                    "items": {"type": "array", "items": _STATEMENT},
                },
            },
        },
    },
}
"""Asked for when a template brings no schema of its own."""


class AnswerError(ValueError):
    """The text holds nothing that could be used; the message says why, in words for people."""


@dataclass(frozen=True, slots=True)
class ChapterMark:
    """Where a chapter begins; where it ends follows from the next one."""

    start_s: float
    title: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The parts of one answer, or of several merged ones. Empty parts were not given."""

    language: str = ""
    segments: tuple[Segment, ...] = ()
    """In order of time."""
    chapters: tuple[ChapterMark, ...] = ()
    summary: tuple[SummaryPoint, ...] = ()
    key_terms: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    """In the order of the template, its titles."""
    problems: tuple[str, ...] = ()
    """What did not fit the schema, in words for logs."""
    complete: bool = True
    """False when the text ended in the middle."""

    @property
    def is_empty(self) -> bool:
        """True when there is nothing in it for a report."""
        parts = (self.segments, self.chapters, self.summary, self.key_terms, self.sections)
        return not any(parts)


def schema_of(template: Template) -> dict[str, Any]:
    """The schema to ask for: the template's own, or the default one."""
    return schemas.clean(template.response_schema or DEFAULT_SCHEMA)


def parse_answer(text: str, template: Template, schema: dict[str, Any] | None = None) -> Answer:
    """Read one answer.

    Args:
        text: what the model wrote, fences, remarks and thoughts included.
        schema: what was asked for; None = `schema_of(template)`.

    Raises: AnswerError for an empty text, for one without JSON, and when nothing fits.
    """
    if not text.strip():
        raise AnswerError("the model's answer is empty")
    try:
        found = read_json(text)
    except ValueError as error:
        raise AnswerError("the model did not answer in the form asked for (no JSON)") from error
    schema = schema or schema_of(template)
    value, problems = schemas.conform(_wrapped(found.value), schema)
    answer = _answer(value, template, tuple(problems), found.complete)
    if answer.is_empty and found.complete and not _may_be_empty(value, schema):
        raise AnswerError("nothing in the model's answer fits the form asked for")
    return answer


def _wrapped(value: Any) -> Any:
    """A bare list is the transcript; one object in a list is the answer."""
    if not isinstance(value, list):
        return value
    return value[0] if len(value) == 1 and isinstance(value[0], dict) else {"segments": value}


def _may_be_empty(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    """A recording without any content rightly gives empty lists."""
    return all(name in value for name in schema.get("required", ()))


def _answer(
    value: dict[str, Any], template: Template, problems: tuple[str, ...], complete: bool
) -> Answer:
    return Answer(
        language=_language(value.get("language")),
        segments=_segments(value.get("segments")),
        chapters=_marks(value.get("chapters")),
        summary=_points(value.get("summary")),
        key_terms=_terms(value.get("key_terms")),
        sections=_sections(value.get("sections"), template),
        problems=problems,
        complete=complete,
    )


def parse_time(value: Any) -> float | None:
    """Seconds of `1:02:03`, `[02:03]`, `62.5`, `62s` or a number; None when it is no time."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return round(float(value), 3) if math.isfinite(value) and value >= 0 else None
    found = _CLOCK.search(str(value))
    return None if found is None else parse_clock(found[0])


def _text(value: Any) -> str:
    """One line of plain text; lists of models that like lists are joined."""
    if isinstance(value, list):
        value = " ".join(map(str, value))
    text = "" if value is None else str(value)
    return " ".join(text.replace("\0", "").split())[:MAX_TEXT_CHARS]


def _items(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _language(value: Any) -> str:
    code = _text(value).lower().replace("_", "-")
    return code.partition("-")[0] if re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]+)*", code) else ""


def _segments(value: Any) -> tuple[Segment, ...]:
    lines = [item for item in _items(value) if _text(item.get("text"))]
    starts = [parse_time(item.get("start", item.get("at"))) for item in lines]
    found: list[Segment] = []
    for index, item in enumerate(lines):
        start = starts[index]
        if start is None:
            start = found[-1].end_s if found else 0.0
        following = next((s for s in starts[index + 1 :] if s is not None and s > start), None)
        found.append(_segment(item, start, following))
    return tuple(sorted(found, key=lambda s: s.start_s))


def _segment(item: dict[str, Any], start: float, following: float | None) -> Segment:
    end = parse_time(item.get("end"))
    if end is None or end <= start:
        end = following if following is not None else start + _LINE_S
    return Segment(
        start_s=start,
        end_s=end,
        text=_text(item["text"]),
        speaker=_text(item.get("speaker")) or None,
        translation=_text(item.get("translation")) or None,
    )


def _marks(value: Any) -> tuple[ChapterMark, ...]:
    found = []
    for item in _items(value):
        start, title = parse_time(item.get("start", item.get("at"))), _text(item.get("title"))
        if start is not None and title:
            found.append(ChapterMark(start, title, _text(item.get("summary"))))
    return tuple(sorted(found, key=lambda mark: mark.start_s))


def _points(value: Any) -> tuple[SummaryPoint, ...]:
    if not isinstance(value, list):
        value = [value] if value else []
    points = (_point(item) for item in value)
    return tuple(point for point in points if point.text)


def _point(item: Any) -> SummaryPoint:
    if not isinstance(item, dict):
        return SummaryPoint(_text(item))
    return SummaryPoint(
        text=_text(item.get("text")),
        t_s=parse_time(item.get("at", item.get("start"))),
        quote=_text(item.get("quote")),
    )


def _terms(value: Any) -> tuple[str, ...]:
    terms = value if isinstance(value, list) else str(value or "").split(",")
    names = (_text(t.get("term") if isinstance(t, dict) else t)[:200] for t in terms)
    return unique(name for name in names if name)


def _sections(value: Any, template: Template) -> tuple[Section, ...]:
    """Those the template has, in its order; a section given twice is joined."""
    items: dict[str, list[SummaryPoint]] = {}
    for entry in _items(value):
        items.setdefault(_text(entry.get("key")), []).extend(_points(entry.get("items")))
    return tuple(
        Section(spec.key, spec.title, items=tuple(items[spec.key]))
        for spec in template.sections
        if items.get(spec.key)
    )


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """Without repetitions, whatever their case; the first spelling stays."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(text.casefold(), text)
    return tuple(first.values())


# --- parts of the report -----------------------------------------------------------------------


def chapters(marks: Sequence[ChapterMark], duration_s: float) -> tuple[Chapter, ...]:
    """Chapters that follow each other without gaps from 0 to the end; none for no marks.

    Marks beyond the end, and those that would make a chapter shorter than a second, are left out.
    """
    kept: list[ChapterMark] = []
    inside = [m for m in marks if m.start_s < duration_s or duration_s <= 0]
    for mark in sorted(inside, key=lambda m: m.start_s):
        start = mark.start_s if kept else 0.0
        if kept and start - kept[-1].start_s < MIN_CHAPTER_S:
            continue
        if not kept or start < duration_s - MIN_CHAPTER_S:
            kept.append(replace(mark, start_s=start))
    ends = [*(mark.start_s for mark in kept[1:]), duration_s][: len(kept)]
    return tuple(
        Chapter(round(mark.start_s, 3), round(max(end, mark.start_s), 3), mark.title, mark.summary)
        for mark, end in zip(kept, ends, strict=True)
    )


def key_terms(
    terms: Sequence[str], segments: Sequence[Segment], slides: Sequence[Slide] = ()
) -> tuple[KeyTerm, ...]:
    """Terms with how often and where they first occur; the model's order gives the score.

    A term that occurs nowhere (a translated one, for example) has count 0 and no time.
    """
    texts = [(s.start_s, f"{s.text}\n{s.translation or ''}".casefold()) for s in segments]
    texts += [(s.t_s, s.text.casefold()) for s in slides]
    found = []
    for rank, term in enumerate(terms):
        name = term.casefold()
        hits = [(t, text.count(name)) for t, text in texts if name in text]
        score = round(1.0 - rank / len(terms), 4)
        first = min((t for t, _ in hits), default=None)
        found.append(KeyTerm(term, score, sum(n for _, n in hits), first))
    return tuple(found)
