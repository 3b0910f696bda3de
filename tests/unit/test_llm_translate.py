"""Numbered lines, and choosing by number."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.engines.llm import selection, translate
from gs_video_report.engines.llm.answer import Answer
from gs_video_report.engines.llm.prompts import language_name, same_language
from gs_video_report.report.model import Section, Segment, SummaryPoint
from gs_video_report.templates.loader import load_template

LINES = [Segment(n, n + 1.0, f"this is the sentence number {n}") for n in range(1, 201)]


@given(st.lists(st.integers(1, 200), unique=True), st.integers(50, 3000))
@settings(max_examples=60)
def test_missing_lines_are_planned_once_each(done: list[int], limit: int) -> None:
    batches = translate.plan_missing(LINES, dict.fromkeys(done, "x"), limit)
    planned = [n for batch in batches for n, _ in batch.lines]
    assert planned == [n for n in range(1, 201) if n not in done]
    assert all(batch.answer_tokens <= limit or len(batch.lines) == 1 for batch in batches)
    assert all(len(batch.lines) <= translate.MAX_LINES for batch in batches)


def test_batches_carry_what_was_said_before() -> None:
    batches = translate.plan(LINES, 500)
    first = batches[1].lines[0][0]
    assert batches[0].before == ()
    assert batches[1].before == tuple(LINES[n].text for n in range(first - 4, first - 1))


def test_lines_without_words_are_not_sent() -> None:
    (batch,) = translate.plan([Segment(0, 1, " "), Segment(1, 2, "a b")], 500)
    assert batch.lines == ((2, "a b"),)


BATCH = translate.Batch(((1, "one two three four five"), (2, "deux"), (3, "drei")))


@pytest.mark.parametrize(
    "text",
    [
        '{"lines": [{"n": 1, "text": "A"}, {"n": 2, "text": "B"}, {"n": 3, "text": "C"}]}',
        '[{"n": "1", "text": "A"}, {"n": 2, "text": " B "}, {"n": 3, "text": "C"}]',
        '{"1": "A", "2": "B", "3": "C"}',
        "```json\n" + '{"lines": {"1": "A", "2": "B", "3": "C"}}' + "\n```",
        "Sure:\n1: A\n2: B\n3: C\n",
        "[1] A\n[2] B\n[3] C",
    ],
)
def test_forms_in_which_models_number_lines(text: str) -> None:
    if text.startswith("[1]"):
        text = text.replace("]", "]:")
    assert translate.parse(text, BATCH) == {1: "A", 2: "B", 3: "C"}


def test_numbers_nobody_asked_for_and_second_answers_do_not_count() -> None:
    lines = [{"n": 2, "text": "B"}, {"n": 9, "text": "X"}, {"n": 2, "text": "other"}, {"n": "?"}]
    assert translate.parse(json.dumps({"lines": lines}), BATCH) == {2: "B"}


def test_sentence_that_came_back_untouched_is_not_translated() -> None:
    lines = [{"n": 1, "text": "One two three four five"}, {"n": 2, "text": "deux"}]
    assert translate.parse(json.dumps({"lines": lines}), BATCH) == {2: "deux"}


@given(st.text(max_size=60))
@settings(max_examples=100)
def test_any_answer_is_read(text: str) -> None:
    assert set(translate.parse(text, BATCH)) <= {1, 2, 3}


def test_translations_go_to_their_lines_and_nothing_else_changes() -> None:
    made = translate.apply(LINES[:3], {2: "二"})
    assert [s.translation for s in made] == [None, "二", None]
    assert [s.text for s in made] == [s.text for s in LINES[:3]]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("zh", "zh", True), ("yue", "zh", True), ("zh-TW", "zh", True), ("en", "zh", False),
     ("", "zh", False), ("", "", False)],
)  # fmt: skip
def test_languages_that_need_no_translation(one: str, other: str, same: bool) -> None:
    assert same_language(one, other) is same


def test_language_names() -> None:
    assert language_name("zh") == "Simplified Chinese"
    assert language_name("de-AT") == "German"
    assert language_name("eo") == "eo"


# --- choosing ----------------------------------------------------------------------------------

LONG = Answer(
    summary=tuple(SummaryPoint(f"s{n}") for n in range(20)),
    key_terms=tuple(f"t{n}" for n in range(30)),
    sections=(
        Section("findings", "F", items=tuple(SummaryPoint(f"f{n}") for n in range(13))),
        Section("questions", "Q", items=(SummaryPoint("q"),)),
    ),
)


def test_only_lists_that_are_too_long_are_thinned_out() -> None:
    found = selection.choices(LONG, load_template("summary_report"))
    assert [c.key for c in found] == ["summary", "key_terms", "section:findings"]
    assert selection.choices(Answer(), load_template("summary_report")) == ()


def test_chosen_statements_stay_as_they_are() -> None:
    found = selection.choices(LONG, load_template("summary_report"))
    text = json.dumps({"lists": [
        {"key": "summary", "keep": [3, 1, 3, 99, "2", True]},
        {"key": "section:findings", "keep": []},
        {"key": "other", "keep": [1]},
    ]})  # fmt: skip
    kept = selection.parse(text, found)
    assert kept == {"summary": (0, 2)}
    thin = selection.apply(LONG, kept)
    assert [p.text for p in thin.summary] == ["s0", "s2"]
    assert thin.key_terms == LONG.key_terms
    assert thin.sections == LONG.sections


@pytest.mark.parametrize("text", ["", "none of them", '{"lists": 5}', '{"keep": [1]}'])
def test_unreadable_choice_keeps_everything(text: str) -> None:
    found = selection.choices(LONG, load_template("summary_report"))
    assert selection.apply(LONG, selection.parse(text, found)) == LONG


def test_lists_are_bundled_within_the_room() -> None:
    found = selection.choices(LONG, load_template("summary_report"))
    total = sum(c.tokens for c in found)
    assert len(selection.bundles(found, total)) == 1
    assert len(selection.bundles(found, total - 1)) == 2
    assert selection.bundles(found, 10) == ()
