"""Which stretches of a recording are asked for, what an answer about one is worth, and the whole.

True here: stretches overlap by `OVERLAP_S`, so that a sentence at a seam is whole in one of them;
lines that two answers both hold are joined by `llm.merge`, which keeps a line unless its double
stays. A cut answer is gone on with from its last line, which is asked for once more.
Times that a model counted from the start of its stretch are moved, and only when the answer
itself shows it: they begin before the stretch and fit it once they are moved.
Pure. Never: raises for what a model wrote.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gs_video_report.engines.gemini.client import Reply
from gs_video_report.engines.gemini.options import (
    DEFAULT_CONTEXT_TOKENS,
    MIN_SEGMENT_S,
    GeminiOptions,
)
from gs_video_report.engines.llm.answer import DEFAULT_SCHEMA, Answer, AnswerError, parse_answer
from gs_video_report.report.model import Segment, SummaryPoint
from gs_video_report.templates.loader import Template

OVERLAP_S = 10.0
"""Longer than most sentences."""
MIN_HALF_S = 15.0
"""A stretch whose answer did not get to its first line is not cut smaller than this."""
EARLY_S = 15.0
"""How far a model's times may lie outside of what it was given."""
CONTEXT_SHARE = 0.8
"""Of the model's context that recording and prompt may fill."""
OUT_TOKENS_PER_S = 12.0
"""Answer tokens of a second of fast speech, with its times and a translation."""
OUT_TOKENS_FIXED = 4_000
"""Summary, chapters, sections."""
BLOCKING = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR",
     "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"}
)  # fmt: skip
"""Finish reasons that mean: the service will not answer this."""
DONE, CUT, BLOCKED, UNUSABLE = "done", "cut", "blocked", "unusable"
LINES_SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["start", "end", "text"],
        "properties": {
            "start": {"type": "string", "description": "H:MM:SS from the start of the recording"},
            "end": {"type": "string", "description": "H:MM:SS from the start of the recording"},
            "speaker": {"type": "string"},
            "text": {"type": "string", "description": "what is said, in the spoken language"},
        },
    },
}


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the recording, seconds."""

    start_s: float
    end_s: float
    number: int = 1
    """From 1."""
    of: int = 1
    whole: bool = False
    """True: the whole recording, no offsets are needed (or its length is not known)."""

    @property
    def length_s(self) -> float:
        """Seconds."""
        return self.end_s - self.start_s

    def rest(self, start_s: float) -> Window:
        """From the second of `start_s` to the same end; at least a second is passed over."""
        start_s = min(max(start_s, self.start_s + 1.0), self.end_s - 1.0)
        return replace(self, start_s=max(0.0, float(math.floor(start_s))), whole=False)

    def halves(self) -> tuple[Window, Window] | None:
        """Two overlapping halves; None when it is too short for that."""
        if self.length_s < 2 * MIN_HALF_S:
            return None
        middle = math.floor(self.start_s + self.length_s / 2)
        return (
            replace(self, end_s=float(middle), whole=False),
            replace(self, start_s=middle - OVERLAP_S / 2, whole=False),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer is worth."""

    kind: str
    """DONE, CUT, BLOCKED or UNUSABLE."""
    answer: Answer
    """With times of the whole recording; empty for UNUSABLE."""
    reason: str = ""


def segment_length_s(options: GeminiOptions, context_tokens: int | None = None) -> float:
    """The longest stretch that fits the model's context, at most `options.segment_s`."""
    room = (context_tokens or DEFAULT_CONTEXT_TOKENS) * CONTEXT_SHARE
    return max(MIN_SEGMENT_S, min(options.segment_s, math.floor(room / options.tokens_per_s)))


def plan_windows(duration_s: float, longest_s: float) -> tuple[Window, ...]:
    """Equal stretches of at most `longest_s` that overlap; one for a recording that is short.

    They begin at whole seconds, as the times that a model writes.
    """
    if duration_s <= longest_s:
        return (Window(0.0, duration_s, whole=True),)
    count = math.ceil((duration_s - OVERLAP_S) / (longest_s - OVERLAP_S - 1.0))
    step = (duration_s - OVERLAP_S) / count
    starts = [float(math.floor(n * step)) for n in range(count)]
    ends = [start + OVERLAP_S for start in starts[1:]] + [duration_s]
    return tuple(
        Window(start, end, n, count)
        for n, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
    )


def answer_tokens(window_s: float) -> int:
    """Tokens that an answer about so many seconds will hardly pass."""
    return math.ceil(max(0.0, window_s) * OUT_TOKENS_PER_S) + OUT_TOKENS_FIXED


def video_schema(template: Template) -> dict[str, Any]:
    """The template's schema; without one, the usual parts and the transcript."""
    if template.response_schema is not None:
        return template.response_schema
    properties = {"segments": LINES_SCHEMA, **DEFAULT_SCHEMA["properties"]}
    return {**DEFAULT_SCHEMA, "properties": properties}


def judge(reply: Reply, template: Template, window: Window) -> Verdict:
    """Read a reply about `window`."""
    try:
        answer = parse_answer(reply.text, template, video_schema(template))
    except AnswerError as error:
        answer, problem = Answer(complete=False), str(error)
    else:
        answer, problem = placed(answer, window), ""
    if reply.block or reply.finish in BLOCKING:
        return Verdict(BLOCKED, answer, reply.block or reply.finish)
    if reply.finish == "MAX_TOKENS" or (not problem and not answer.complete):
        return Verdict(CUT, answer, "MAX_TOKENS")
    if problem:
        return Verdict(UNUSABLE, answer, problem)
    return Verdict(DONE, answer)


def placed(answer: Answer, window: Window) -> Answer:
    """The answer with times of the whole recording."""
    times = [s.start_s for s in answer.segments] or [c.start_s for c in answer.chapters]
    early = sum(t < window.start_s - EARLY_S for t in times)
    fitting = sum(t <= window.length_s + EARLY_S for t in times)
    return _moved(answer, window.start_s) if early and fitting == len(times) else answer


def _moved(answer: Answer, by: float) -> Answer:
    def point(p: SummaryPoint) -> SummaryPoint:
        return p if p.t_s is None else replace(p, t_s=round(p.t_s + by, 3))

    return replace(
        answer,
        segments=tuple(
            replace(s, start_s=round(s.start_s + by, 3), end_s=round(s.end_s + by, 3))
            for s in answer.segments
        ),
        chapters=tuple(replace(c, start_s=round(c.start_s + by, 3)) for c in answer.chapters),
        summary=tuple(point(p) for p in answer.summary),
        sections=tuple(replace(s, items=tuple(point(p) for p in s.items)) for s in answer.sections),
    )


def goes_on_at(answer: Answer, window: Window) -> float | None:
    """Where a cut answer should be gone on with: at its last line. None: it has no line."""
    inside = [s.start_s for s in answer.segments if s.start_s < window.end_s]
    return max(inside) if inside else None


def finish_lines(lines: Sequence[Segment], duration_s: float) -> tuple[Segment, ...]:
    """Lines within the recording, in order, none running into the next; no text is dropped.

    Args:
        duration_s: 0 = not known.
    """
    ordered = sorted(lines, key=lambda s: (s.start_s, s.end_s))
    made = []
    for number, line in enumerate(ordered):
        start, end = line.start_s, line.end_s
        if duration_s > 0:
            start, end = min(start, duration_s), min(end, duration_s)
        following = ordered[number + 1].start_s if number + 1 < len(ordered) else math.inf
        if start < following < end:
            end = following
        made.append(replace(line, start_s=round(start, 3), end_s=round(max(start, end), 3)))
    return tuple(made)
