"""`gsvr batch metrics` for people: a card of figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gs_video_report.terminal.styles import (
    UNKNOWN,
    clean,
    clock,
    money,
    number,
    percent,
    plural,
    prose_span,
    size,
    span,
    wrap,
)

_INDENT = 13
_LEAST_ROOM = 40


def metrics_lines(value: Mapping[str, Any], columns: int = 0) -> list[str]:
    """The lines for the JSON form of a measurement (`batch.metrics.metrics_json`).

    `columns`: lists are folded at this width; 0 leaves them whole.
    """
    lines = [f"Batch {value['batch']} {clean(value['name'])}   {value['state']}"]
    for label, text in _rows(value):
        room = max(_LEAST_ROOM, columns - _INDENT)
        rows = wrap(text, room) if columns and ", " in text else [text]
        if text:
            labels = [label, *[""] * (len(rows) - 1)]
            lines += [f"  {head:<10} {row}" for head, row in zip(labels, rows, strict=True)]
    return lines


def _rows(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("videos", _counts(value["tasks"])), ("media", _media(value))]
    rows += [("attempts" if i == 0 else "", text) for i, text in enumerate(_attempts(value))]
    rows.append(("wait", _spread(value["queue_wait"])))
    rows += [("steps" if i == 0 else "", text) for i, text in enumerate(_steps(value))]
    rows += [("requests" if i == 0 else "", text) for i, text in enumerate(_api(value))]
    rows += [("quotas" if i == 0 else "", text) for i, text in enumerate(_buckets(value))]
    return [*rows, ("tuning", _tuning(value["tuning"])), ("memory", _memory(value["memory"])),
            ("disk", _disk(value["disk"])), ("events", _counts(value["events"]))]  # fmt: skip


def _counts(values: Mapping[str, int]) -> str:
    return ", ".join(f"{number(count)} {clean(name)}" for name, count in values.items() if count)


def _media(value: Mapping[str, Any]) -> str:
    done, total = value["media_s_done"], value["media_s_total"]
    return f"{span(done)} of {span(total)} known ({percent(done / total)})" if total else ""


def _spread(spread: Mapping[str, Any]) -> str:
    if not spread["count"]:
        return ""
    mean = spread["seconds"] / spread["count"]
    return f"{clock(mean)} on average, {clock(spread['longest_s'])} at most"


def _attempts(value: Mapping[str, Any]) -> list[str]:
    return [
        f"{outcome:<10} {number(spread['count']):>6}   "
        f"{UNKNOWN if outcome == 'running' else _spread(spread)}"
        for outcome, spread in value["attempts"].items()
    ]


def _steps(value: Mapping[str, Any]) -> list[str]:
    cells = max([10, *(len(clean(name)) for name in value["steps"])])
    return [
        f"{clean(name):<{cells}} {number(int(facts['count'])):>6}   {prose_span(facts['seconds'])}"
        for name, facts in value["steps"].items()
    ]


def _api(value: Mapping[str, Any]) -> list[str]:
    return [
        f"{clean(use['provider'])} {clean(use['model'])}: {plural(use['requests'], 'request')}, "
        f"{number(use['tokens_in'])} tokens sent, {number(use['tokens_out'])} received, "
        f"{money(use['usd'])}"
        for use in value["api"]
    ]


def _buckets(value: Mapping[str, Any]) -> list[str]:
    return [
        f"{clean(bucket['bucket'])}: {bucket['in_flight']} under way, {bucket['waiting']} waiting"
        f"{_lacking(bucket)}, {percent(bucket['factor'])} of the rate"
        for bucket in value["limiter"].get("buckets", [])
    ]


def _lacking(bucket: Mapping[str, Any]) -> str:
    known = {"tokens", "requests"}
    lacks = bucket.get("lacks")
    return f" for {lacks} per minute" if bucket["waiting"] and lacks in known else ""


def _tuning(tuning: Mapping[str, Any]) -> str:
    if not tuning:
        return ""
    return f"{plural(tuning['processes'], 'compute worker')}, {plural(tuning['changes'], 'change')}"


def _memory(memory: Mapping[str, int]) -> str:
    used = f", {size(memory['processes_bytes'])} used by this batch"
    text = f"{size(memory['available_bytes'])} of {size(memory['total_bytes'])} available"
    return text + (used if memory["processes_bytes"] else "")


def _disk(disk: Mapping[str, int]) -> str:
    parts = [f"database {size(disk['database_bytes'])}"]
    if disk["wal_bytes"]:
        parts.append(f"its log {size(disk['wal_bytes'])}")
    if "output_free_bytes" in disk:
        parts.append(f"{size(disk['output_free_bytes'])} free for reports")
    return ", ".join(parts)
