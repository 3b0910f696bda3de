"""Join the answers for the parts of a long recording, and an answer with its continuation.

True here: a line is left out only when its double is kept (see seams). Everything else stays, in
order of time: a line too many can be read over, a lost one not.
Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gs_video_report.engines.llm.answer import Answer, ChapterMark, unique
from gs_video_report.engines.llm.seams import join_segments, plain
from gs_video_report.report.model import Section, SummaryPoint

SEAM_S = 30.0
"""Times may lie so far outside of what a part was asked for."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time range that a part was asked for, in seconds of the whole recording."""

    start_s: float
    end_s: float


def merge_answers(parts: Sequence[Answer], windows: Sequence[Window] | None = None) -> Answer:
    """One answer of all parts, in their order.

    Args:
        windows: what each part covers; times that a model counted from the beginning of its
            part are moved to where they belong. None: times are taken as they are.
    """
    if windows is not None:
        parts = [align(part, window) for part, window in zip(parts, windows, strict=True)]
    if not parts:
        return Answer()
    merged = parts[0]
    for part in parts[1:]:
        merged = _join(merged, part)
    return merged


def continue_answer(first: Answer, more: Answer) -> Answer:
    """A truncated answer and the one that goes on from its last line.

    Lists that the first had begun are completed; what it had finished stays as it is.
    """
    return replace(_join(first, more), complete=more.complete)


def align(part: Answer, window: Window) -> Answer:
    """Move the times of a part that were counted from its own beginning.

    They were when they leave the window, and fit it once its start is added.
    """
    times = _times(part)
    length = window.end_s - window.start_s
    if not times or window.start_s <= 0 or length <= 0:
        return part
    as_given = sum(window.start_s - SEAM_S <= t <= window.end_s + SEAM_S for t in times)
    as_relative = sum(t <= length + SEAM_S for t in times)
    if as_relative <= as_given or as_given * 2 > len(times):
        return part
    return _shifted(part, window.start_s)


def _times(part: Answer) -> list[float]:
    times = [s.start_s for s in part.segments] + [c.start_s for c in part.chapters]
    points = [*part.summary, *(p for section in part.sections for p in section.items)]
    return times + [p.t_s for p in points if p.t_s is not None]


def _shifted(part: Answer, by: float) -> Answer:
    def point(p: SummaryPoint) -> SummaryPoint:
        return p if p.t_s is None else replace(p, t_s=round(p.t_s + by, 3))

    return replace(
        part,
        segments=tuple(
            replace(s, start_s=round(s.start_s + by, 3), end_s=round(s.end_s + by, 3))
            for s in part.segments
        ),
        chapters=tuple(replace(c, start_s=round(c.start_s + by, 3)) for c in part.chapters),
        summary=tuple(point(p) for p in part.summary),
        sections=tuple(replace(s, items=tuple(point(p) for p in s.items)) for s in part.sections),
    )


def _join(first: Answer, second: Answer) -> Answer:
    return Answer(
        language=first.language or second.language,
        segments=join_segments(first.segments, second.segments),
        chapters=_join_chapters(first.chapters, second.chapters),
        summary=join_points(first.summary, second.summary),
        key_terms=unique([*first.key_terms, *second.key_terms]),
        sections=_join_sections(first.sections, second.sections),
        problems=first.problems + second.problems,
        complete=first.complete and second.complete,
    )


# --- the rest ----------------------------------------------------------------------------------


def _join_chapters(
    first: Sequence[ChapterMark], second: Sequence[ChapterMark]
) -> tuple[ChapterMark, ...]:
    """A chapter that goes on over the seam is one chapter."""
    marks = list(first)
    for mark in second:
        last = marks[-1] if marks else None
        if last is None or plain(last.title) != plain(mark.title):
            marks.append(mark)
        elif len(mark.summary) > len(last.summary):
            marks[-1] = replace(last, summary=mark.summary)
    return tuple(sorted(marks, key=lambda m: m.start_s))


def join_points(
    first: Sequence[SummaryPoint], second: Sequence[SummaryPoint]
) -> tuple[SummaryPoint, ...]:
    """Both lists, each statement once."""
    known: dict[str, SummaryPoint] = {}
    for point in [*first, *second]:
        known.setdefault(plain(point.text), point)
    return tuple(known.values())


def _join_sections(first: Sequence[Section], second: Sequence[Section]) -> tuple[Section, ...]:
    joined = {section.key: section for section in first}
    for section in second:
        known = joined.get(section.key)
        if known is None:
            joined[section.key] = section
        else:
            items = join_points(known.items, section.items)
            paragraphs = known.paragraphs + section.paragraphs
            joined[section.key] = replace(known, items=items, paragraphs=paragraphs)
    return tuple(joined.values())
