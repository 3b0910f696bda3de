"""The one way in which a task changes its state, inside a transaction.

Truth: `TASK_TRANSITIONS`; the SQL repeats the expected old state in its WHERE clause and
returns the rows that changed. No row changed is an answer, not a success.
Writes: `tasks`, and one event per changed task. Everything here runs inside `Database.write`.
Never: commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from gs_video_report.batch.clock import Clock, iso
from gs_video_report.batch.data_models import (
    AttemptOutcome,
    TaskResult,
    TaskStatus,
    check_task_transition,
)
from gs_video_report.batch.rows import json_text
from gs_video_report.batch.sql import query


def move(
    connection: sqlite3.Connection,
    statement: str,
    parameters: Mapping[str, Any],
    *,
    old: Iterable[TaskStatus],
    new: TaskStatus,
    at: str,
    data: Mapping[str, Any] | None = None,
) -> list[sqlite3.Row]:
    """Run the named statement that moves tasks from one of `old` to `new`; leave events.

    Args:
        statement: name of an UPDATE ... RETURNING task_id, batch_id, attempt, ...
        at: ISO-8601 UTC for the events.
        data: facts for the events, beside the attempt.

    Returns:
        The rows that changed, in no order. Empty means nothing was as expected.
    """
    for state in old:
        check_task_transition(state, new)
    rows = connection.execute(query(statement), parameters).fetchall()
    extra, kind = dict(data or {}), f"task.{new}"
    add_events(
        connection,
        [
            (at, row["batch_id"], row["task_id"], kind, _event_data(row["attempt"], extra))
            for row in rows
        ],
    )
    return rows


def _event_data(attempt: int, extra: dict[str, Any]) -> str:
    return json_text({"attempt": attempt, **extra}) if extra else f'{{"attempt":{attempt}}}'


def add_events(
    connection: sqlite3.Connection,
    events: Iterable[tuple[str, str | None, int | None, str, str]],
) -> None:
    """Insert (at, batch_id, task_id, kind, data JSON) rows."""
    connection.executemany(query("insert_event"), events)


def end_attempt(
    connection: sqlite3.Connection,
    task_id: int,
    attempt: int,
    outcome: AttemptOutcome,
    clock: Clock,
    *,
    error: str | None = None,
    result: TaskResult | None = None,
    media_s: float | None = None,
) -> None:
    """Close the row of `attempts`; how long it took is measured on the boot clock."""
    connection.execute(
        query("end_attempt"),
        {
            "task_id": task_id,
            "attempt": attempt,
            "outcome": outcome.value,
            "now": iso(clock.wall_ms()),
            "boot_ms": clock.boot_ms(),
            "error": error,
            "engine": result.engine if result else None,
            "media_s": media_s,
        },
    )
