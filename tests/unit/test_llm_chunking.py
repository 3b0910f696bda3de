"""Cutting transcripts: every line in one part, no part too long."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.engines.llm.chunking import (
    Line,
    format_part,
    format_slides,
    split_parts,
    transcript_lines,
)
from gs_video_report.engines.llm.tokens import estimate_tokens
from gs_video_report.report.model import Segment, Slide

WORDS = st.lists(
    st.tuples(st.integers(1, 60), st.floats(0, 8), st.sampled_from("aé光")), min_size=1, max_size=60
)


def segments_of(shape: list[tuple[int, float, str]]) -> list[Segment]:
    made, at = [], 0.0
    for size, pause, letter in shape:
        made.append(Segment(at, at + 2, letter * size * 3))
        at += 2 + pause
    return made


@given(WORDS, st.integers(60, 400))
@settings(max_examples=150)
def test_every_line_is_in_one_part_and_no_part_is_too_long(
    shape: list[tuple[int, float, str]], limit: int
) -> None:
    segments = segments_of(shape)
    lines = transcript_lines(segments, limit // 2)
    parts = split_parts(lines, limit, segments[-1].end_s)
    assert [line for part in parts for line in part.lines] == lines
    assert "".join(line.text for line in lines) == "".join(s.text for s in segments)
    for part in parts:
        assert sum(line.tokens for line in (*part.lines, *part.context)) <= limit
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert parts[0].start_s == 0.0
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(parts))
    assert all(part.lines for part in parts)


def test_short_transcript_is_one_part() -> None:
    (part,) = split_parts([Line(0, 1, "hello")], 100, 60.0)
    assert (part.start_s, part.end_s, part.context) == (0.0, 60.0, ())


def test_nothing_said_is_one_empty_part() -> None:
    (part,) = split_parts([], 100, 60.0)
    assert part.lines == ()


def test_cut_prefers_the_longest_pause() -> None:
    lines = [Line(n * 2.0, n * 2.0 + 1.9, "word " * 8) for n in range(20)]
    late = [line if n < 9 else Line(line.start_s + 30, line.end_s + 30, line.text)
            for n, line in enumerate(lines)]  # fmt: skip
    total = sum(line.tokens for line in lines)
    parts = split_parts(late, round(total / 2 * 1.2), 80.0)
    assert len(parts[0].lines) == 9


def test_context_repeats_the_end_of_the_part_before_and_is_marked() -> None:
    lines = [Line(n * 5.0, n * 5.0 + 4, f"line number {n}") for n in range(40)]
    first, second, *_ = split_parts(lines, 200, 200.0)
    assert second.context == first.lines[-len(second.context) :]
    text = format_part(second)
    head, _, body = text.partition("(this part)")
    assert second.context[-1].text in head
    assert second.lines[0].text in body
    assert second.context[-1].text not in body


def test_slides_are_all_named_when_room_is_short() -> None:
    texts = [f"Title {n}\n" + "text " * 300 * (n % 2) for n in range(6)]
    slides = [Slide(n * 60.0, n * 60.0 + 60, "", 1, 1, text=text) for n, text in enumerate(texts)]
    text = format_slides(slides, 400)
    assert estimate_tokens(text) <= 400
    assert [f"[0:0{n}:00] Title {n}" in text for n in range(6)] == [True] * 6
    assert "…" in text


def test_repeated_slides_are_told_once() -> None:
    slides = [Slide(t, t + 1, "", 1, 1, text="Same\nthing") for t in (1.0, 5.0)]
    assert format_slides(slides, 100) == "[0:00:01] Same / thing"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0, 0),
        ("The quick brown fox jumps over the lazy dog.", 9, 16),
        ("植物把阳光变成糖，这是光合作用。", 12, 20),
        ("Растения превращают свет в сахар.", 8, 20),
    ],
)
def test_token_estimates_are_on_the_high_side_but_near(text: str, low: int, high: int) -> None:
    """Bounds: what byte-pair vocabularies of 2024 to 2026 make of these texts, and 1.7 times it."""
    assert low <= estimate_tokens(text) <= high
