"""Fitting a value to a schema: spelling is mended, content never invented."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.engines.llm import schema as schemas
from gs_video_report.templates.loader import list_templates

POINT = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string"}, "n": {"type": "integer"}},
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["points"],
    "properties": {
        "points": {"type": "array", "items": POINT},
        "kind": {"type": "string", "enum": ["talk", "lesson"]},
        "note": {"type": ["string", "null"]},
    },
}


def test_fitting_value_stays_as_it_is() -> None:
    value = {"points": [{"text": "a", "n": 1}], "kind": "talk"}
    assert schemas.conform(value, SCHEMA) == (value, [])


@pytest.mark.parametrize(
    ("given_", "fitted"),
    [
        ({"points": {"text": "one"}}, {"points": [{"text": "one"}]}),
        ({"points": [{"text": 5}]}, {"points": [{"text": "5"}]}),
        ({"points": [{"text": "a", "n": "7"}]}, {"points": [{"text": "a", "n": 7}]}),
        ({"points": [], "kind": " TALK"}, {"points": [], "kind": "talk"}),
        ({"points": [], "extra": 1}, {"points": []}),
    ],
)
def test_spelling_is_mended(given_: dict[str, Any], fitted: dict[str, Any]) -> None:
    assert schemas.conform(given_, SCHEMA) == (fitted, [])


def test_items_without_a_required_part_are_left_out_and_told() -> None:
    fitted, problems = schemas.conform({"points": [{"n": 1}, {"text": "b"}, "c"]}, SCHEMA)
    assert fitted == {"points": [{"text": "b"}]}
    assert problems == [
        "answer.points[0]: text is missing",
        "answer.points[2]: 'c' is not an object",
    ]


def test_missing_list_is_told_and_not_invented() -> None:
    assert schemas.conform({}, SCHEMA) == ({}, ["answer: points is missing"])


def test_word_that_is_no_choice_is_left_out() -> None:
    fitted, problems = schemas.conform({"points": [], "kind": "opera"}, SCHEMA)
    assert fitted == {"points": []}
    assert problems == ["answer.kind: 'opera' is none of talk, lesson"]


@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["points", "text", "n", "kind", "note"]), inner),
    max_leaves=12,
))  # fmt: skip
@settings(max_examples=200)
def test_fitting_twice_changes_nothing(value: Any) -> None:
    once, _ = schemas.conform(value, SCHEMA)
    twice, problems = schemas.conform(once, SCHEMA)
    assert twice == once
    assert set(problems) <= {"answer: points is missing"}


def test_without_takes_a_property_out_everywhere() -> None:
    assert schemas.without(SCHEMA, "points")["required"] == []
    assert not schemas.asks_for(schemas.without(SCHEMA, "points"), "points")
    assert schemas.asks_for(SCHEMA, "points"), "the original is not changed"


def test_words_that_services_refuse_are_taken_out_at_every_depth() -> None:
    odd = {"type": "object", "oops": None, "properties": {
        "a": {"type": "array", "items": {"type": "string", "in the spoken language": None}},
    }}  # fmt: skip
    assert schemas.clean(odd) == {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}}},
    }


def test_properties_may_be_named_like_words_of_the_schema() -> None:
    odd = {"type": "object", "properties": {"items": {"type": "string"}, "type": {"type": "null"}}}
    assert schemas.clean(odd) == odd


def test_schemas_of_shipped_templates_ask_for_what_a_report_holds() -> None:
    parts = {"language", "segments", "summary", "chapters", "key_terms", "sections"}
    seen = [t.response_schema for t in list_templates() if t.response_schema]
    assert len(seen) >= 3
    assert all(set(schemas.clean(s)["properties"]) <= parts for s in seen)
