"""Cut a transcript that is too long for a model into parts that are not.

True here: every line is in exactly one part, in order; parts are of nearly equal size and end,
where there is a choice, at the longest pause. `context` repeats the last lines of the part
before, so that a sentence over the seam is understood; it is marked as not to be reported.
Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gs_video_report.engines.llm.tokens import estimate_tokens
from gs_video_report.report.model import Segment, Slide
from gs_video_report.report.timefmt import clock_long

CONTEXT_LINES = 4
CONTEXT_SHARE = 0.1
"""Of a part's tokens, at most, for the repeated lines."""
CHOICE_SHARE = 0.2
"""Last share of a part in which the end may be moved to a pause."""
TOKENS_PER_TIME = 8
"""Of `[1:02:03] ` and the end of the line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the transcript as a model sees it."""

    start_s: float
    end_s: float
    text: str

    @property
    def tokens(self) -> int:
        """With its time."""
        return estimate_tokens(self.text) + TOKENS_PER_TIME


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the recording for one request."""

    number: int
    """From 1."""
    start_s: float
    """0 for the first part; parts follow each other without gaps."""
    end_s: float
    lines: tuple[Line, ...]
    context: tuple[Line, ...] = ()
    """Lines of the part before, for understanding only."""

    def holds(self, t_s: float) -> bool:
        """Whether something at `t_s` belongs to this part."""
        return self.start_s <= t_s < self.end_s


def transcript_lines(segments: Sequence[Segment], max_tokens: int) -> list[Line]:
    """Lines of the transcript; one that alone is longer than `max_tokens` is cut by characters."""
    lines: list[Line] = []
    for segment in segments:
        line = Line(segment.start_s, segment.end_s, " ".join(segment.text.split()))
        if line.text:
            lines.extend(_pieces(line, max_tokens))
    return lines


def _pieces(line: Line, max_tokens: int) -> list[Line]:
    if line.tokens <= max_tokens:
        return [line]
    room = max(1, max_tokens - TOKENS_PER_TIME)
    count = math.ceil(estimate_tokens(line.text) / room)
    while True:
        size = math.ceil(len(line.text) / count)
        texts = [line.text[i : i + size] for i in range(0, len(line.text), size)]
        if size == 1 or max(map(estimate_tokens, texts)) <= room:
            break
        count += 1
    step = (line.end_s - line.start_s) / len(texts)
    starts = [round(line.start_s + n * step, 3) for n in range(len(texts))]
    ends = [*starts[1:], line.end_s]
    return [Line(*piece) for piece in zip(starts, ends, texts, strict=True)]


def split_parts(lines: Sequence[Line], max_tokens: int, duration_s: float) -> tuple[Part, ...]:
    """Parts of at most `max_tokens` each, context included; one part when everything fits.

    Args:
        lines: from `transcript_lines` with the same `max_tokens`, or less.
        duration_s: where the last part ends.
    """
    if sum(line.tokens for line in lines) <= max_tokens:
        return (Part(1, 0.0, _end(lines, duration_s), tuple(lines)),)
    room = max(1, math.floor(max_tokens * (1 - CONTEXT_SHARE)))
    cuts = _cuts(lines, room)
    parts = []
    for number, (first, last) in enumerate(zip([0, *cuts], [*cuts, len(lines)], strict=True), 1):
        start = lines[first].start_s if first else 0.0
        end = lines[last].start_s if last < len(lines) else _end(lines, duration_s)
        context = _context(lines[:first], max_tokens - room)
        parts.append(Part(number, start, max(start, end), tuple(lines[first:last]), context))
    return tuple(parts)


def _end(lines: Sequence[Line], duration_s: float) -> float:
    return max([duration_s, *(line.end_s for line in lines[-1:])])


def _cuts(lines: Sequence[Line], room: int) -> list[int]:
    """Indexes at which a new part begins."""
    total = sum(line.tokens for line in lines)
    target = min(room, math.ceil(total / math.ceil(total / room)) + room // 20)
    cuts: list[int] = []
    begin = size = 0
    for index, line in enumerate(lines):
        if size + line.tokens > target and index > begin:
            begin = _best_cut(lines, begin, index, size)
            cuts.append(begin)
            size = sum(item.tokens for item in lines[begin:index])
        size += line.tokens
    return cuts


def _best_cut(lines: Sequence[Line], begin: int, index: int, size: int) -> int:
    """The longest pause among the last lines before `index`; the latest of equal ones."""
    best, longest = index, _pause(lines, index)
    spare = size * CHOICE_SHARE
    for candidate in range(index - 1, begin, -1):
        spare -= lines[candidate].tokens
        if spare < 0:
            break
        if _pause(lines, candidate) > longest:
            best, longest = candidate, _pause(lines, candidate)
    return best


def _pause(lines: Sequence[Line], index: int) -> float:
    return lines[index].start_s - lines[index - 1].end_s


def _context(before: Sequence[Line], max_tokens: int) -> tuple[Line, ...]:
    kept: list[Line] = []
    for line in reversed(before[-CONTEXT_LINES:]):
        max_tokens -= line.tokens
        if max_tokens < 0:
            break
        kept.append(line)
    return tuple(reversed(kept))


# --- as text -----------------------------------------------------------------------------------


def format_lines(lines: Sequence[Line]) -> str:
    """`[0:00:05] text`, one line each."""
    return "\n".join(f"[{clock_long(line.start_s)}] {line.text}" for line in lines)


def format_part(part: Part) -> str:
    """The transcript of a part, its context first and marked."""
    if not part.context:
        return format_lines(part.lines)
    return (
        "(end of the part before, for understanding only; do not report it)\n"
        f"{format_lines(part.context)}\n(this part)\n{format_lines(part.lines)}"
    )


def format_slides(slides: Sequence[Slide], max_tokens: int) -> str:
    """`[0:01:10] text / text`, one line per slide that shows text; repeated texts once.

    What exceeds `max_tokens` is taken from the longest texts first, so that every slide is named.
    """
    texts: dict[str, float] = {}
    for slide in slides:
        text = " / ".join(line.strip() for line in slide.text.splitlines() if line.strip())
        if text:
            texts.setdefault(text, slide.t_s)
    limit = _limit([estimate_tokens(t) + TOKENS_PER_TIME for t in texts], max_tokens)
    lines = [f"[{clock_long(t)}] {_shortened(text, limit)}" for text, t in texts.items()]
    kept: list[str] = []
    for line in lines:
        max_tokens -= estimate_tokens(line)
        if max_tokens < 0:
            break
        kept.append(line)
    return "\n".join(kept)


def _limit(sizes: list[int], total: int) -> int:
    """The size to which the longest must be cut so that all fit into `total`."""
    rest, left = total, len(sizes)
    for size in sorted(sizes):
        if size * left > rest:
            return max(0, rest // left)
        rest -= size
        left -= 1
    return max(sizes, default=0)


def _shortened(text: str, max_tokens: int) -> str:
    room = max_tokens - TOKENS_PER_TIME
    if estimate_tokens(text) <= room:
        return text
    share = max(0, room - 1) / max(1, estimate_tokens(text))
    return text[: math.floor(len(text) * share)].rstrip() + "…"
