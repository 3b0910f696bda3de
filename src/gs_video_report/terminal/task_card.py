"""One task with everything that is known about it, as text and as JSON. Pure.

Times of day are shown in the zone of `now`; JSON keeps UTC as stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from gs_video_report.batch.data_models import TaskError, VideoTask
from gs_video_report.batch.progress.snapshot import display_name
from gs_video_report.terminal.failures import with_ref
from gs_video_report.terminal.styles import UNKNOWN, clean, clock, cut_end, money, size
from gs_video_report.terminal.times import when


def task_show(
    task: VideoTask,
    attempts: Sequence[Mapping[str, Any]] = (),
    events: Sequence[Mapping[str, Any]] = (),
    *,
    now: datetime,
    tries: int = 0,
    usd: float = 0.0,
) -> list[str]:
    """`gsvr batch show REF:N`: one task with stages, attempts, outputs, error and events.

    Args:
        task: the row.
        attempts: rows of `attempts` (attempt, started_at, seconds, outcome, error), first first.
        events: rows of `events` (at, kind, data), oldest first.
        now: aware; its zone is the one times are shown in.
        tries: tries allowed in all; 0 leaves it out.
        usd: what the task spent.
    """
    seconds = sum(float(row.get("seconds") or 0.0) for row in attempts)
    spent = [clock(seconds) if attempts else "", money(usd) if usd else ""]
    spent_text = ", ".join(part for part in spent if part)
    head = f"{task.ref} {clean(display_name(task))}   {task.status}"
    if task.attempt:
        head += f"   attempt {task.attempt}" + (f" of {tries}" if tries else "")
    lines = [head + (f"   {spent_text} spent" if spent_text else "")]
    lines += _task_facts(task, now)
    lines += _error_lines(task.error, task.batch_id)
    if task.result is not None and task.result.outputs:
        lines.append("  outputs")
        lines += [
            f"    {output.kind:<9} {clean(output.path)}  {size(output.size_bytes)}"
            for output in task.result.outputs
            if output.kind != "asset"
        ]
    if attempts:
        lines.append("  attempts")
        lines += [_attempt_line(row, now) for row in attempts]
    if events:
        lines.append("  events")
        lines += [_event_line(row, now) for row in events]
    return lines


def _task_facts(task: VideoTask, now: datetime) -> list[str]:
    facts = [
        ("source", clean(task.video.source)),
        ("length", clock(task.media_s) if task.media_s is not None else ""),
        ("template", clean(task.template)),
        ("stages", _stages_text(task)),
        ("language", task.result.language if task.result else ""),
        ("next try", when(task.next_attempt_at, now) if task.next_attempt_at else ""),
    ]
    lines = [f"  {label:<9} {text}" for label, text in facts if text]
    warnings = task.result.warnings if task.result else ()
    return lines + [f"  {'note':<9} {clean(text)}" for text in warnings]


def _stages_text(task: VideoTask) -> str:
    if task.result is None or not task.result.stage_s:
        return task.stage or ""
    return ", ".join(f"{name} {seconds:.1f}s" for name, seconds in task.result.stage_s.items())


def _error_lines(error: TaskError | None, ref: str) -> list[str]:
    if error is None:
        return []
    stage = f" (stage {error.stage})" if error.stage else ""
    lines = [f"  {'error':<9} {clean(error.message)}{stage}  {error.code}"]
    hint = with_ref(error.hint, ref)
    return lines + [f"  {'next':<9} {clean(part)}" for part in hint.splitlines() if part]


def _attempt_line(row: Mapping[str, Any], now: datetime) -> str:
    took = clock(row["seconds"]) if row.get("seconds") is not None else UNKNOWN
    text = f"    {row.get('attempt', ''):>3}  {when(row.get('started_at'), now):<14} {took:>8}"
    text += f"  {row.get('outcome') or 'running'}"
    error = row.get("error")
    if isinstance(error, Mapping) and error.get("message"):
        text += f": {clean(str(error['message']))}"
    return text


def _event_line(row: Mapping[str, Any], now: datetime) -> str:
    data = row.get("data") or {}
    facts = " ".join(f"{key}={cut_end(clean(str(value)), 60)}" for key, value in data.items())
    return (
        f"    {when(row.get('at'), now, seconds=True):<16} {row.get('kind', '')} {facts}".rstrip()
    )


def task_show_json(
    task: VideoTask,
    attempts: Sequence[Mapping[str, Any]] = (),
    events: Sequence[Mapping[str, Any]] = (),
    *,
    usd: float = 0.0,
) -> dict[str, Any]:
    """The same as JSON-able data."""
    value = {
        "v": 1,
        "type": "task",
        "task": task.ref,
        "name": display_name(task),
        "usd": usd,
        "row": asdict(task),
        "attempts": [dict(row) for row in attempts],
        "events": [dict(row) for row in events],
    }
    plain: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return plain
