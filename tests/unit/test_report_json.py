"""The canonical JSON: strict, described by the shipped schema, and the same bytes each time."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from gs_video_report.report.json_out import SCHEMA_PATH, read_json, to_json
from gs_video_report.report.model import SCHEMA_VERSION, Segment
from tests.support.reports import friendly, hostile, silent

SCHEMA = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def problems(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """The parts of JSON Schema 2020-12 that the shipped schema uses; any other is an error."""
    if "$ref" in schema:
        return problems(value, SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[1]], where)
    known = {"$schema", "$defs", "title", "description", "type", "const", "enum", "minimum"}
    known |= {"properties", "required", "items", "additionalProperties"}
    assert set(schema) <= known
    found = []
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(
        isinstance(value, _TYPES[n]) and not (n != "boolean" and value is True) for n in names
    ):
        found.append(f"{where}: not {names}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: not {schema['const']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: not in {schema['enum']}")
    if isinstance(value, dict):
        known_keys = schema.get("properties", {})
        found += [f"{where}: no {k}" for k in schema.get("required", []) if k not in value]
        extra = schema.get("additionalProperties", True)
        for key, item in value.items():
            if key in known_keys:
                found += problems(item, known_keys[key], f"{where}.{key}")
            elif extra is False:
                found.append(f"{where}: unknown {key}")
            elif isinstance(extra, dict):
                found += problems(item, extra, f"{where}.{key}")
    if isinstance(value, list):
        for i, item in enumerate(value):
            found += problems(item, schema.get("items", {}), f"{where}[{i}]")
    return found


@pytest.mark.parametrize("report", [friendly(), hostile(), silent()], ids=["good", "bad", "empty"])
def test_reports_fulfil_the_shipped_schema_and_come_back_equal(report: Any) -> None:
    data = to_json(report)
    assert problems(json.loads(data), SCHEMA) == []
    assert data.endswith(b"}\n")
    if "\x00" not in report.media.title:
        assert read_json(data) == report


def test_the_schema_refuses_what_is_not_a_report() -> None:
    value = json.loads(to_json(friendly()))
    value["segments"][0]["start_s"] = "0:00"
    value["extra"] = 1
    del value["media"]["title"]
    value["notices"][0]["severity"] = "loud"
    assert problems(value, SCHEMA) == [
        "$.media: no title",
        "$.segments[0].start_s: not ['number']",
        "$.notices[0].severity: not in ['info', 'warning']",
        "$: unknown extra",
    ]


def test_schema_and_model_have_the_same_fields() -> None:
    value = json.loads(to_json(friendly()))
    assert sorted(SCHEMA["properties"]) == sorted(value)
    assert SCHEMA["properties"]["schema_version"] == {"const": SCHEMA_VERSION}
    for name, key in (("MediaInfo", "media"), ("Provenance", "provenance")):
        assert list(SCHEMA["$defs"][name]["properties"]) == list(value[key])
    for name, key in (("Segment", "segments"), ("Slide", "slides"), ("Notice", "notices")):
        assert list(SCHEMA["$defs"][name]["properties"]) == list(value[key][0])


def test_only_the_run_differs_between_two_runs() -> None:
    first = friendly()
    second = replace(first, provenance=replace(first.provenance, run={}))
    a, b = json.loads(to_json(first)), json.loads(to_json(second))
    assert a.pop("provenance") != b.pop("provenance")
    assert a == b


def test_text_stays_readable_and_numbers_strict() -> None:
    odd = Segment(0.1 + 0.2, 1.0, "查找 \ud800", confidence=math.nan)
    data = to_json(replace(silent(), segments=(odd,)))
    assert "查找 ?" in data.decode("utf-8")
    segment = json.loads(data, parse_constant=lambda c: pytest.fail(c))["segments"][0]
    assert (segment["start_s"], segment["confidence"]) == (0.3, None)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"schema_version": 99}', b"\xff"])
def test_other_content_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        read_json(data)
