"""The one way in which a task changes its state, inside a transaction.

Truth: `TASK_TRANSITIONS`; the SQL repeats the expected old state in its WHERE clause and
returns the rows that changed. No row changed is an answer, not a success.
Writes: `tasks`, and one event per changed task. Everything here runs inside `Database.write`.
Never: commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from gs_video_report.batch.data_models import (
    AttemptOutcome,
    TaskResult,
    TaskStatus,
    check_task_transition,
)
from gs_video_report.batch.sql import query, query_of_rows
from gs_video_report.batch.store.clock import Clock, iso
from gs_video_report.batch.store.rows import json_text

_ROWS_AT_ONCE = 64


def move(
    connection: sqlite3.Connection,
    statement: str,
    parameters: Mapping[str, Any] | Sequence[Any],
    *,
    old: Iterable[TaskStatus],
    new: TaskStatus,
    at: str,
    data: Mapping[str, Any] | None = None,
    rows: int | None = None,
) -> list[sqlite3.Row]:
    """Run the named statement that moves tasks from one of `old` to `new`; leave events.

    Args:
        statement: name of an UPDATE ... RETURNING task_id, batch_id, attempt, ...
        at: ISO-8601 UTC for the events.
        data: facts for the events, beside the attempt.
        rows: how many rows of values the parameters hold, for a statement of rows.

    Returns:
        The rows that changed, in no order. Empty means nothing was as expected.
    """
    for state in old:
        check_task_transition(state, new)
    text = query(statement) if rows is None else query_of_rows(statement, rows)
    moved = connection.execute(text, parameters).fetchall()
    extra, kind = dict(data or {}), f"task.{new}"
    add_events(
        connection,
        [
            (at, row["batch_id"], row["task_id"], kind, _event_data(row["attempt"], extra))
            for row in moved
        ],
    )
    return moved


def _event_data(attempt: int, extra: dict[str, Any]) -> str:
    return json_text({"attempt": attempt, **extra}) if extra else f'{{"attempt":{attempt}}}'


def add_events(
    connection: sqlite3.Connection,
    events: Iterable[tuple[str, str | None, int | None, str, str]],
) -> None:
    """Insert (at, batch_id, task_id, kind, data JSON) rows."""
    insert_rows(connection, "insert_event", list(events))


def insert_rows(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]
) -> None:
    """Run the named INSERT ... VALUES for all rows, in order, with few statements.

    Half the time of `executemany`. The sizes are powers of two, so that the connection's cache of
    prepared statements holds them all.
    """
    start = 0
    while start < len(rows):
        count = min(_ROWS_AT_ONCE, 1 << ((len(rows) - start).bit_length() - 1))
        values = list(chain.from_iterable(rows[start : start + count]))
        connection.execute(query_of_rows(statement, count), values)
        start += count


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
    end_attempts(connection, [(task_id, attempt, result, media_s)], outcome, clock, error=error)


def end_attempts(
    connection: sqlite3.Connection,
    ended: Iterable[tuple[int, int, TaskResult | None, float | None]],
    outcome: AttemptOutcome,
    clock: Clock,
    *,
    error: str | None = None,
) -> None:
    """Close several rows of `attempts`: (task id, attempt, result, length in seconds)."""
    now, boot_ms, word = iso(clock.wall_ms()), clock.boot_ms(), outcome.value
    rows = [
        (now, word, error, result.engine if result else None, media_s, boot_ms, boot_ms,
         task_id, attempt)
        for task_id, attempt, result, media_s in ended
    ]  # fmt: skip
    connection.executemany(query("end_attempt"), rows)
