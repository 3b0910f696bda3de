"""From a model's text to parts of a report."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.engines.llm.answer import (
    AnswerError,
    ChapterMark,
    chapters,
    key_terms,
    parse_answer,
    parse_time,
)
from gs_video_report.report.model import Segment, Slide, SummaryPoint
from gs_video_report.templates.loader import load_template

LESSON = load_template("comprehensive_lesson")
ZH = load_template("chinese_transcript")


def answer(**parts: Any) -> str:
    empty = {"language": "en", "summary": [], "chapters": [], "key_terms": [], "sections": []}
    return json.dumps(empty | parts)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:02:03", 3723.0), ("02:03", 123.0), ("[0:01:02.5]", 62.5), ("at 0:05", 5.0),
        ("62", 62.0), ("62s", 62.0), (7, 7.0), (7.25, 7.25), ("0:00:05,250", 5.25),
        ("soon", None), ("", None), (None, None), (-1, None), (float("inf"), None), (True, None),
    ],
)  # fmt: skip
def test_times_are_read_in_the_forms_models_use(text: Any, seconds: float | None) -> None:
    assert parse_time(text) == seconds


def test_statements_keep_time_and_quote() -> None:
    found = parse_answer(answer(summary=[{"text": "A", "at": "0:01:00", "quote": "so a"}]), LESSON)
    assert found.summary == (SummaryPoint("A", 60.0, "so a"),)
    assert found.complete


def test_sections_come_in_the_order_and_with_the_titles_of_the_template() -> None:
    point = {"text": "x", "at": "0:00", "quote": "q"}
    given_ = [
        {"key": "exercises", "items": [point]},
        {"key": "objectives", "items": [point]},
        {"key": "Exercises", "items": [point | {"text": "y"}]},
        {"key": "poems", "items": [point]},
    ]
    found = parse_answer(answer(sections=given_), LESSON)
    assert [(s.key, s.title, len(s.items)) for s in found.sections] == [
        ("objectives", "Learning objectives", 1),
        ("exercises", "Exercises", 2),
    ]
    assert found.problems


def test_lines_of_a_transcript_are_all_kept_and_get_sensible_times() -> None:
    lines = [
        {"start": "0:00:00", "end": "0:00:04", "text": "one", "translation": "一"},
        {"start": "?", "end": "?", "text": "two"},
        {"start": "0:00:10", "end": "0:00:02", "text": "three", "speaker": "Ann"},
        {"start": "0:00:20", "end": "", "text": "four"},
    ]
    found = parse_answer(answer(segments=lines), ZH)
    assert [(s.start_s, s.end_s, s.text) for s in found.segments] == [
        (0.0, 4.0, "one"), (4.0, 10.0, "two"), (10.0, 20.0, "three"), (20.0, 25.0, "four"),
    ]  # fmt: skip
    assert found.segments[0].translation == "一"
    assert found.segments[2].speaker == "Ann"


def test_key_terms_are_told_once() -> None:
    found = parse_answer(answer(key_terms=["Leaf", "leaf", " root ", "", 5]), LESSON)
    assert found.key_terms == ("Leaf", "root", "5")


@pytest.mark.parametrize("text", ["", "  \n", "I cannot do that.", "[]", '{"weather": "fine"}'])
def test_text_without_anything_usable_is_an_error(text: str) -> None:
    with pytest.raises(AnswerError):
        parse_answer(text, LESSON)


def test_empty_lists_are_an_answer() -> None:
    assert parse_answer(answer(), LESSON).is_empty


def test_cut_answer_says_that_it_is_not_complete() -> None:
    text = answer(summary=[{"text": "A", "at": "0:01", "quote": "q"}])
    assert not parse_answer(text[: text.index("chapters")], LESSON).complete


def test_endless_text_is_bounded() -> None:
    point = {"text": "very " * 100_000, "at": "0:01", "quote": "q"}
    found = parse_answer(answer(summary=[point]), LESSON)
    assert len(found.summary[0].text) == 20_000


@given(
    st.lists(st.tuples(st.floats(0, 4000), st.text(min_size=1, max_size=3)), max_size=12),
    st.floats(1, 3600),
)
@settings(max_examples=150)
def test_chapters_follow_each_other_without_gaps(
    marks: list[tuple[float, str]], duration_s: float
) -> None:
    made = chapters([ChapterMark(t, title) for t, title in marks], duration_s)
    assert bool(made) == any(start < duration_s for start, _ in marks)
    if made:
        assert made[0].start_s == 0.0
        assert made[-1].end_s == round(duration_s, 3)
        assert all(a.end_s == b.start_s for a, b in itertools.pairwise(made))
        assert all(c.end_s - c.start_s > 0.9 for c in made)


def test_key_terms_know_where_they_occur() -> None:
    segments = [Segment(0, 5, "The leaf and the LEAF"), Segment(5, 9, "a root", translation="根")]
    slides = [Slide(2, 9, "", 1, 1, text="leaf")]
    made = key_terms(("Leaf", "根", "sun"), segments, slides)
    assert [(k.term, k.count, k.first_s) for k in made] == [
        ("Leaf", 3, 0), ("根", 1, 5), ("sun", 0, None),
    ]  # fmt: skip
    assert made[0].score > made[1].score > made[2].score
