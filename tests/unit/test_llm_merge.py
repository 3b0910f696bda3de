"""Joining parts: no line lost, none doubled."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.engines.llm.answer import Answer, ChapterMark
from gs_video_report.engines.llm.merge import (
    Window,
    align,
    continue_answer,
    merge_answers,
)
from gs_video_report.engines.llm.seams import join_segments, same_words
from gs_video_report.report.model import Section, Segment, SummaryPoint
from tests.support.llm import sentences

LINES = tuple(Segment(a, b, text) for a, b, text in sentences(60))


def texts(lines: tuple[Segment, ...]) -> list[str]:
    return [line.text for line in lines]


@given(st.integers(1, 59), st.integers(0, 30))
@settings(max_examples=60)
def test_lines_repeated_at_the_seam_are_kept_once(cut: int, overlap: int) -> None:
    joined = join_segments(LINES[:cut], LINES[max(0, cut - overlap) :])
    assert joined == LINES


@given(st.integers(5, 55), st.floats(-2, 2), st.integers(1, 5))
@settings(max_examples=60)
def test_doubles_whose_times_differ_a_little_are_seen(cut: int, shift: float, overlap: int) -> None:
    again = [replace(s, start_s=max(0.0, s.start_s + shift)) for s in LINES[cut - overlap :]]
    assert sorted(texts(join_segments(LINES[:cut], again))) == sorted(texts(LINES))


def test_line_cut_at_the_seam_becomes_the_whole_line() -> None:
    first = [
        Segment(0, 3, "Plants turn light"),
    ]
    second = [Segment(0.5, 5, "Plants turn light into sugar.", translation="植物")]
    (line,) = join_segments(first, second)
    assert line.text == "Plants turn light into sugar."
    assert line.translation == "植物"
    assert line.start_s == 0


def test_refrain_that_is_sung_again_later_stays() -> None:
    first = [Segment(0, 4, "We shall overcome some day.")]
    second = [Segment(60, 64, "We shall overcome some day.")]
    assert len(join_segments(first, second)) == 2


def test_two_equal_lines_in_a_row_are_not_swallowed_by_one() -> None:
    first = [Segment(10, 11, "Exactly right."), Segment(12, 13, "Exactly right.")]
    second = [Segment(12, 13, "Exactly right."), Segment(14, 15, "Exactly right.")]
    assert len(join_segments(first, second)) >= 3


def test_lines_that_differ_in_a_number_both_stay() -> None:
    """The first wrong version took the second for a misspelling of the first and dropped it."""
    first = [Segment(10, 14, "Now we add 3 to the left side.")]
    second = [Segment(13, 17, "Now we add 5 to the left side.")]
    assert texts(join_segments(first, second)) == [first[0].text, second[0].text]


def test_parts_that_do_not_overlap_lose_nothing_to_each_other() -> None:
    first = [Segment(10, 14, "And once more from here."), Segment(14, 16, "Good.")]
    second = [Segment(16, 18, "Good."), Segment(18, 22, "And once more from here.")]
    assert join_segments(first, second) == (*first, *second)


def test_lines_nearly_alike_far_from_the_seam_stay() -> None:
    first = [Segment(n * 10.0, n * 10.0 + 9, f"This is step {'abcdefgh'[n]}.") for n in range(6)]
    second = [Segment(n * 10.0, n * 10.0 + 9, f"This is step {'abcdefgh'[n]}.") for n in (5, 6, 7)]
    assert texts(join_segments(first, second)) == [f"This is step {c}." for c in "abcdefgh"]


def test_short_words_are_the_same_only_when_equal() -> None:
    assert not same_words("Yes.", "Yes, and the leaf.")
    assert same_words("Yes.", "yes")
    assert not same_words("", "a")


def test_times_counted_from_the_beginning_of_a_part_are_moved() -> None:
    part = Answer(
        segments=(Segment(5, 9, "a"), Segment(60, 64, "b")),
        chapters=(ChapterMark(0, "c"),),
        summary=(SummaryPoint("d", 30.0),),
        sections=(Section("k", "K", items=(SummaryPoint("e", 90.0),)),),
    )
    moved = align(part, Window(600, 720))
    assert [s.start_s for s in moved.segments] == [605, 660]
    assert moved.chapters[0].start_s == 600
    assert moved.summary[0].t_s == 630
    assert moved.sections[0].items[0].t_s == 690
    assert align(moved, Window(600, 720)) == moved


def test_times_of_the_first_part_are_never_moved() -> None:
    part = Answer(segments=(Segment(5, 9, "a"),))
    assert align(part, Window(0, 100)) is part


def test_parts_merge_in_order_and_statements_stay_unique() -> None:
    one = Answer(
        language="en",
        chapters=(ChapterMark(0, "Start"), ChapterMark(50, "Leaves")),
        summary=(SummaryPoint("A", 1.0), SummaryPoint("B", 2.0)),
        key_terms=("leaf", "root"),
        sections=(Section("k", "K", items=(SummaryPoint("x"),)),),
    )
    two = Answer(
        chapters=(ChapterMark(100, "leaves", "more of them"), ChapterMark(150, "End")),
        summary=(SummaryPoint("b!", 101.0), SummaryPoint("C", 102.0)),
        key_terms=("Leaf", "seed"),
        sections=(
            Section("k", "K", items=(SummaryPoint("y"),)),
            Section("m", "M", items=(SummaryPoint("z"),)),
        ),
        complete=False,
    )
    merged = merge_answers([one, two], [Window(0, 100), Window(100, 200)])
    assert [c.title for c in merged.chapters] == ["Start", "Leaves", "End"]
    assert merged.chapters[1].summary == "more of them"
    assert [p.text for p in merged.summary] == ["A", "B", "C"]
    assert merged.key_terms == ("leaf", "root", "seed")
    assert [(s.key, len(s.items)) for s in merged.sections] == [("k", 2), ("m", 1)]
    assert not merged.complete
    assert merged.language == "en"


def test_continuation_that_ended_makes_the_answer_complete() -> None:
    first = Answer(summary=(SummaryPoint("A"),), complete=False)
    assert continue_answer(first, Answer(summary=(SummaryPoint("B"),))).complete


def test_nothing_merges_to_nothing() -> None:
    assert merge_answers([]).is_empty
