"""Reading the JSON of models: whole, wrapped, cut, slightly wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.engines.llm.json_text import read_json

TEXT = st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXT, VALUES, min_size=1, max_size=4)


@given(OBJECTS, st.booleans())
@settings(max_examples=150)
def test_sound_json_is_read_as_the_standard_reads_it(value: dict[str, Any], ascii_: bool) -> None:
    found = read_json(json.dumps(value, ensure_ascii=ascii_))
    assert found.value == value
    assert found.complete
    assert not found.repaired


@given(OBJECTS, st.data())
@settings(max_examples=200)
def test_cut_json_gives_a_part_of_the_whole_and_says_so(
    value: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(value, ensure_ascii=False)
    cut = data.draw(st.integers(1, len(text) - 1))
    try:
        found = read_json(text[:cut])
    except ValueError:
        return  # nothing was complete yet
    if isinstance(found.value, dict) and set(found.value) <= set(value):
        assert not found.complete
        assert _is_part(found.value, value)


def _is_part(part: Any, whole: Any) -> bool:
    """Nothing in `part` that is not in `whole` at the same place, in the same order."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(k in whole and _is_part(v, whole[k]) for k, v in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(_is_part, part, whole))
    return bool(part == whole)


@given(st.text(alphabet='{}[]",:\\ntrue1 \n`', max_size=60))
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read_json(text)
    except ValueError:
        return
    assert isinstance(found.value, (dict, list))


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"a": [1]}\n```',
        '```\n{"a": [1]}\n```\nHope this helps!',
        'Here is [the] answer {as asked}:\n{"a": [1]}',
        '<think>{"a": [2]} or not</think>{"a": [1]}',
        '\ufeff{"a": [1]}',
        '{"a": [1],}',
        '{"a": [1,]}',
        "{a: [1]}",
        'prefix {"a": [1]} suffix {"b": 2}',
    ],
)
def test_wrapping_and_small_mistakes_do_not_matter(text: str) -> None:
    found = read_json(text)
    assert found.value == {"a": [1]}
    assert found.complete


def test_quote_marks_inside_a_sentence_do_not_end_it() -> None:
    found = read_json('{"a": "he said "stop, now" and left", "b": "x"}')
    assert found.value == {"a": 'he said "stop, now" and left', "b": "x"}
    assert found.repaired


def test_raw_line_breaks_in_texts_are_kept() -> None:
    assert read_json('{"a": "one\ntwo"}').value == {"a": "one\ntwo"}


def test_half_an_item_is_left_out_and_finished_ones_stay() -> None:
    text = '{"lines": [{"n": 1, "t": "one"}, {"n": 2, "t": "tw'
    assert read_json(text).value == {"lines": [{"n": 1, "t": "one"}]}


def test_finished_items_of_a_cut_inner_list_stay() -> None:
    text = '{"sections": [{"key": "a", "items": [{"t": 1}, {"t": 2}, {"t'
    assert read_json(text).value == {"sections": [{"key": "a", "items": [{"t": 1}, {"t": 2}]}]}


@pytest.mark.parametrize(
    "text", ["", "no", "[1, 2]", "{}", "see [1] and [2]", '"text"', "{" * 5000]
)
def test_text_without_an_answer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        read_json(text)


def test_deep_nesting_ends_in_a_refusal() -> None:
    with pytest.raises(ValueError, match="no JSON"):
        read_json('{"a": ' * 3000 + "x")
