"""The canonical output: the report as JSON. Every other format is a pure function of it.

Truth: fields and their order are those of `report/model.py`; `schema.json` beside this file
describes them (a test holds the two equal). Never localised. The same report gives the same bytes;
what differs between two runs of the same work is in `provenance.run`.
Raises: ValueError from `read_json` for a newer schema or other content.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from gs_video_report.report.model import VideoReport

SCHEMA_PATH = Path(__file__).with_name("schema.json")

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What reading a file raises that is JSON, but not a report: damaged, or edited by hand. Values of
another type may be met only when they are used."""


def to_json(report: VideoReport) -> bytes:
    """UTF-8, indented by one space, `schema_version` first, one line feed at the end."""
    value = report.to_dict()
    ordered = {"schema_version": value.pop("schema_version"), **value}
    text = json.dumps(_clean(ordered), ensure_ascii=False, indent=1, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def read_json(data: bytes) -> VideoReport:
    """Inverse of `to_json`. Raises: ValueError when it is not such a report."""
    try:
        value = json.loads(data)
        return VideoReport.from_dict(value)
    except MALFORMED as error:
        raise ValueError("not a report of this program") from error


def _clean(value: Any) -> Any:
    """Values that strict JSON can hold: no NaN, no half of a surrogate pair."""
    if isinstance(value, dict):
        return {_clean(str(k)): _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return value
