"""Which stretches of a report with lines of its own may be heard again without losing a word.

True here: a stretch has whole lines only. The chunks of the speech plan and the lines of a remote
engine have different borders, so each line, with the lines that it overlaps, goes to the one chunk
that has the most of it, and the chunk is widened or narrowed to that; what was heard again before
stays one piece. Stretches do not overlap, and a line lies wholly in one of them or in none.
Services give the times of lines roughly: lines that overlap by up to `SLACK_S` are taken for two.
Pure; times are seconds, stretches [start, end) in samples.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gs_video_report.engines.hearing.first_hearing import segments_of
from gs_video_report.engines.hearing.sound import SAMPLE_RATE
from gs_video_report.report.model import Segment

SLACK_S = 0.2
ASSUMED_LOGPROB = -0.35
"""Of words whose writer tells no certainty: what the recogniser's own good passages have."""
_LONGEST_WORD = 12
"""Longer ones are text without spaces, which is cut into letters."""
_ROUNDING_S = 1.5 / SAMPLE_RATE

_Span = tuple[float, float]


def stretches(
    plan: Sequence[tuple[int, int]],
    segments: Sequence[Segment],
    heard: Iterable[_Span] = (),
) -> list[tuple[int, int]]:
    """The chunks of `plan` (in order, without overlaps) moved to the borders of lines.

    A chunk that lies wholly in a line of its neighbour is left out.

    Args:
        heard: stretches that were heard again before.
    """
    rate = SAMPLE_RATE
    bounds = [[start / rate, end / rate] for start, end in plan]
    starts, ends = [a for a, _ in bounds], [b for _, b in bounds]
    chunks = list(zip(starts, ends, strict=True))
    for a, b in _blocks([*((s.start_s, s.end_s) for s in segments), *heard]):
        touched = range(bisect_right(ends, a), bisect_left(starts, b))
        if not touched:
            continue
        shares = {n: min(b, chunks[n][1]) - max(a, chunks[n][0]) for n in touched}
        owner = max(touched, key=lambda n: shares[n])
        for n in touched:
            if n < owner:
                bounds[n][1] = min(bounds[n][1], a)
            elif n > owner:
                bounds[n][0] = max(bounds[n][0], b)
        bounds[owner] = [min(bounds[owner][0], a), max(bounds[owner][1], b)]
    found = [(max(0, round(a * rate)), round(b * rate)) for a, b in bounds]
    return [(start, end) for start, end in found if start < end]


def _blocks(spans: Iterable[_Span]) -> Iterator[_Span]:
    """What must not be cut, in order: spans joined with all that they overlap."""
    joined: list[tuple[_Span, _Span]] = []  # (core, whole)
    for whole in sorted(spans, key=_core):
        core = _core(whole)
        if joined and core[0] < joined[-1][0][1]:
            before, before_whole = joined.pop()
            core = (min(before[0], core[0]), max(before[1], core[1]))
            whole = (min(before_whole[0], whole[0]), max(before_whole[1], whole[1]))
        joined.append((core, whole))
    at = 0.0
    for n, (core, (start, end)) in enumerate(joined):
        if n + 1 < len(joined) and joined[n + 1][1][0] < end:
            end = (core[1] + joined[n + 1][0][0]) / 2
        yield max(at, start), max(at, end)
        at = max(at, end)


def _core(span: _Span) -> _Span:
    """The span without the seconds that may belong to its neighbours."""
    slack = min(SLACK_S, max(0.0, span[1] - span[0])) / 2
    return span[0] + slack, span[1] - slack


def lies_in(segment: Segment, start: int, end: int) -> bool:
    """Whether the whole line is in samples [start, end)."""
    start_s, end_s = start / SAMPLE_RATE, end / SAMPLE_RATE
    first, last = _core((segment.start_s, segment.end_s))
    is_whole = start_s - _ROUNDING_S <= first and last <= end_s + _ROUNDING_S
    return is_whole and start_s <= (first + last) / 2 < end_s


# --- the present text, and what takes its place --------------------------------------------------


def text_of(segments: Sequence[Segment], start: int, end: int) -> dict[str, Any]:
    """The lines in samples [start, end) as the recogniser would tell them."""
    start_s, end_s = start / SAMPLE_RATE, end / SAMPLE_RATE
    told: list[dict[str, Any]] = []
    for segment in segments:
        words = list(_words(segment)) if lies_in(segment, start, end) else []
        if not words:
            continue
        logprob = ASSUMED_LOGPROB if segment.confidence is None else segment.confidence
        told.append({
            "start_s": max(start_s, words[0][0]),
            "end_s": min(end_s, words[-1][1]),
            "text": "".join(word[2] for word in words).strip(),
            "avg_logprob": logprob,
            "words": [
                {"start_s": max(start_s, a), "end_s": min(end_s, b), "text": text}
                for a, b, text in words
            ],
        })  # fmt: skip
    return {"text": " ".join(one["text"] for one in told), "segments": told}


def _words(segment: Segment) -> Iterator[tuple[float, float, str]]:
    """(start_s, end_s, text) of each; without times of their own they share it evenly."""
    if segment.words:
        yield from ((w.start_s, w.end_s, w.text) for w in segment.words)
        return
    words = [f" {word}" for word in segment.text.split()]
    if any(len(word) > _LONGEST_WORD for word in words) and not segment.text.isascii():
        words = list(segment.text)
    each = (segment.end_s - segment.start_s) / max(1, len(words))
    for n, word in enumerate(words):
        at = segment.start_s + n * each
        yield at, at + each, word


def replaced(
    segments: Sequence[Segment], values: Iterable[Mapping[str, Any]]
) -> tuple[tuple[Segment, ...], int]:
    """The lines with every better text in the place of those that lie in its stretch.

    New lines keep the speaker when those that go had one and the same.

    Args:
        values: of the `rehear` steps.

    Returns:
        The lines, and how many of those that went had a translation.
    """
    gone: set[int] = set()
    new: list[Segment] = []
    for value in values:
        if value["kept"] is None:
            continue
        inside = {n for n, s in enumerate(segments) if lies_in(s, value["start"], value["end"])}
        speakers = {segments[n].speaker for n in inside}
        speaker = speakers.pop() if len(speakers) == 1 else None
        new += [replace(line, speaker=speaker) for line in segments_of([value["kept"]])]
        gone |= inside
    left = [s for n, s in enumerate(segments) if n not in gone]
    translated = sum(segments[n].translation is not None for n in gone)
    return tuple(sorted([*left, *new], key=lambda s: s.start_s)), translated
