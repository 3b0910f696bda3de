"""Events of a batch as sentences, for everybody who tells its story: watch, show, summary. Pure.

True here: an event that is told while the batch works is told in the same words afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from gs_video_report.terminal.styles import clean, clock, money, plural, prose_span
from gs_video_report.terminal.times import when

TOLD_CHANGES = 3
"""Changes of concurrency that the summary lists; the rest are counted."""


def tuning_text(data: Mapping[str, Any]) -> str:
    """`compute processes 2 -> 1: only 0.9 of 8.0 GB of memory is free`."""
    return f"compute processes {data.get('old')} -> {data.get('new')}: {data.get('reason', '')}"


def event_text(kind: str, data: Mapping[str, Any]) -> str:
    """The sentence for an event of the batch as a whole; empty for those nobody needs to hear."""
    if kind == "tuning":
        return tuning_text(data)
    if kind == "network":
        return _network_text(data)
    if kind == "money.doubt":
        most = money(float(data.get("usd", 0.0)))
        return f"a request got no answer; it may have cost up to {most}, and counts as spent"
    if kind == "note":
        return str(data.get("text", ""))
    if kind in ("batch.paused", "batch.cancelled"):
        reason = str(data.get("reason") or "")
        return f"{kind.removeprefix('batch.')}{': ' + reason if reason else ''}"
    return ""


def _network_text(data: Mapping[str, Any]) -> str:
    service, seconds = str(data.get("service", "the service")), float(data.get("seconds", 0.0))
    if data.get("what") == "back":
        return f"{service} answers again after {prose_span(seconds)}"
    reason = str(data.get("reason") or "")
    return f"waiting for the network: {service} cannot be reached{': ' + reason if reason else ''}"


def story_line(at: str, kind: str, data: Mapping[str, Any], now: datetime) -> str:
    """One line of `gsvr batch show BATCH`: when, what, and the sentence or the facts."""
    text = event_text(kind, data) or _facts(kind, data)
    return f"    {when(at, now, seconds=True):<16} {kind:<16} {clean(text)}".rstrip()


def _facts(kind: str, data: Mapping[str, Any]) -> str:
    if kind == "run.started":
        parallel = plural(int(data.get("parallel", 0)), "video")
        helpers = plural(int(data.get("processes", 0)), "compute worker")
        return f"{data.get('engine', '')}, {parallel} in flight, {helpers}"
    if kind == "run.ended":
        took = clock(float(data.get("elapsed_s", 0.0)))
        message = str(data.get("message") or "")
        return f"exit code {data.get('exit_code')} after {took}{': ' + message if message else ''}"
    return " ".join(f"{key}={value}" for key, value in data.items() if value not in (None, ""))


def tuning_lines(changes: Sequence[tuple[str, Mapping[str, Any]]], now: datetime) -> list[str]:
    """The changes of concurrency of a run, for its summary; empty without any.

    Args:
        changes: (time as ISO-8601, data of the event), oldest first.
    """
    if not changes:
        return []
    shown = changes[-TOLD_CHANGES:]
    hidden = len(changes) - len(shown)
    lines = [f"{when(at, now, seconds=True)}  {clean(tuning_text(data))}" for at, data in shown]
    if hidden:
        lines.insert(0, f"{plural(hidden, 'change')} before these")
    return [f"{'Tuning   ' if i == 0 else ' ' * 9}{line}" for i, line in enumerate(lines)]
