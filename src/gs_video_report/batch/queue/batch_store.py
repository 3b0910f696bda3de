"""Batches: create, find, change state and options.

Truth: the `batches` table; its counters are kept by triggers of the schema.
Writes: status only along `BATCH_TRANSITIONS`, guarded by the old state in the WHERE clause.
Raises: NotFoundError, UsageError, and what `Database` raises.
"""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, replace
from typing import Any

from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchOptions,
    BatchRow,
    BatchStatus,
    check_batch_transition,
)
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.task_moves import add_events
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.clock import Clock, SystemClock, iso
from gs_video_report.batch.store.rows import (
    batch_from_row,
    batch_to_row,
    counts_from_row,
    json_text,
    key_text,
    readable,
)
from gs_video_report.errors import NotFoundError, UsageError

LATEST = "latest"
MIN_PREFIX = 2
"""Shortest prefix of a batch id that names a batch."""
_ENDED = frozenset({BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.CANCELLED})


class BatchStore:
    """What `TaskQueue` does with batches."""

    def __init__(self, db: Database, *, clock: Clock | None = None) -> None:
        self.db = db
        self.clock: Clock = clock or SystemClock()

    def _now(self) -> str:
        return iso(self.clock.wall_ms())

    async def create_batch(self, batch: BatchRow, *, or_same: bool = False) -> BatchRow:
        """Insert the batch and return it; an empty `created_at` is filled in.

        Args:
            or_same: return the batch that `find_batch` would find instead, if there is one, so
                that two programs started with the same command make one batch.

        Raises:
            UsageError: a batch of this id is already there.
        """
        row = replace(batch, created_at=batch.created_at or self._now())

        def work(connection: sqlite3.Connection) -> BatchRow:
            values = (key_text(row.batch_key),)
            same = connection.execute(query("batch_by_key"), values).fetchone() if or_same else None
            if same is not None:
                return batch_from_row(same)
            insert_batch(connection, row)
            _batch_event(connection, self._now(), row, "batch.created", {})
            return row

        return await self.db.write(work)

    async def get_batch(self, ref: str) -> BatchRow:
        """The batch named by its id, a unique prefix of 2 or more characters, or `latest`.

        Raises:
            NotFoundError: there is none.
            UsageError: the prefix fits several batches, or is too short.
        """
        return batch_from_row(await self._batch_row(ref))

    async def find_batch(self, batch_key: str) -> BatchRow | None:
        """The newest batch of this key that was not cancelled; None when there is none."""
        rows = await self.db.read(query("batch_by_key"), (key_text(batch_key),))
        return batch_from_row(rows[0]) if rows else None

    async def list_batches(self, limit: int = 50) -> list[tuple[BatchRow, BatchCounts]]:
        """The newest batches first."""
        rows = await self.db.read(query("newest_batches"), (limit,))
        return [(batch_from_row(row), counts_from_row(row)) for row in rows]

    async def counts(self, batch_id: str) -> BatchCounts:
        """Tasks per state and sums: one row is read, whatever the size of the batch.

        Raises:
            NotFoundError: no such batch (full id).
        """
        return counts_from_row(await self.batch_columns(batch_id))

    async def batch_columns(self, batch_id: str) -> dict[str, Any]:
        """The row of the batch (full id) as it is in the file, counters included.

        Raises:
            NotFoundError: no such batch.
        """
        rows = await self.db.read(query("batch"), (batch_id,))
        if not rows:
            raise _no_batch(batch_id)
        return dict(rows[0])

    async def set_batch_status(
        self,
        batch_id: str,
        new: BatchStatus,
        *,
        reason: str = "",
        resume_at: str | None = None,
        only_from: BatchStatus | None = None,
    ) -> BatchRow:
        """Move the batch to `new`. Setting the same status again is fine and renews the reason.

        Args:
            reason: one plain sentence, shown by `status`.
            resume_at: ISO-8601 UTC, only for `paused`.
            only_from: leave a batch that is in another state as it is; None: from any state.

        Returns:
            The row as it is then, moved or not.

        Raises:
            UsageError: the transition table forbids it (the state in the file counts).
            NotFoundError: no such batch (full id).
        """

        def work(connection: sqlite3.Connection) -> BatchRow:
            old = _fetch_batch(connection, batch_id)
            if only_from not in (None, old.status):
                return old
            if old.status is not new:
                check_batch_transition(old.status, new)
            return self._set_status(connection, old, new, reason, resume_at)

        return await self.db.write(work)

    def _set_status(
        self,
        connection: sqlite3.Connection,
        old: BatchRow,
        new: BatchStatus,
        reason: str,
        resume_at: str | None,
    ) -> BatchRow:
        now = self._now()
        values = {
            "batch_id": old.batch_id,
            "old": old.status.value,
            "new": new.value,
            "reason": readable(reason),
            "resume_at": resume_at if new is BatchStatus.PAUSED else None,
            "started_at": old.started_at or (now if new is BatchStatus.RUNNING else None),
            "finished_at": (old.finished_at if old.status is new else now)
            if new in _ENDED
            else None,
        }
        changed = connection.execute(query("set_batch_status"), values).fetchall()
        if old.status is not new:
            data = {"from": old.status.value, "reason": values["reason"], "resume_at": resume_at}
            _batch_event(connection, now, old, f"batch.{new}", data)
        return batch_from_row(changed[0])

    async def update_batch_options(self, batch_id: str, options: BatchOptions) -> BatchRow:
        """Replace the frozen options (a flag that differs on resume).

        Raises:
            NotFoundError: no such batch (full id).
        """
        text = json_text(asdict(options))

        def work(connection: sqlite3.Connection) -> BatchRow:
            old = _fetch_batch(connection, batch_id)
            if old.options == options:
                return old
            changes = _differences(asdict(old.options), asdict(options))
            values = {"batch_id": batch_id, "options": text}
            row = connection.execute(query("set_batch_options"), values).fetchall()[0]
            _batch_event(connection, self._now(), old, "batch.options", changes)
            return batch_from_row(row)

        return await self.db.write(work)

    async def _batch_row(self, ref: str) -> sqlite3.Row:
        if ref == LATEST:
            rows = await self.db.read(query("latest_batch"))
            if not rows:
                raise NotFoundError("there is no batch in this database yet")
            return rows[0]
        exact = await self.db.read(query("batch"), (readable(ref),))
        return exact[0] if exact else await self._by_prefix(readable(ref))

    async def _by_prefix(self, prefix: str) -> sqlite3.Row:
        if len(prefix) < MIN_PREFIX:
            raise UsageError(f"{prefix!r}: give at least {MIN_PREFIX} characters of the batch id")
        rows = await self.db.read(query("batches_by_prefix"), {"prefix": prefix.lower()})
        if not rows:
            raise _no_batch(prefix)
        if len(rows) > 1:
            fits = ", ".join(row["batch_id"] for row in rows[:5])
            raise UsageError(
                f"{prefix!r} fits several batches: {fits}", hint="give more characters of the id"
            )
        return rows[0]


def insert_batch(connection: sqlite3.Connection, batch: BatchRow) -> None:
    """Insert one row. Raises: UsageError when its id is taken."""
    if connection.execute(query("batch"), (batch.batch_id,)).fetchone():
        raise UsageError(f"batch {batch.batch_id} is already in this database")
    connection.execute(query("insert_batch"), batch_to_row(batch))


def _fetch_batch(connection: sqlite3.Connection, batch_id: str) -> BatchRow:
    row = connection.execute(query("batch"), (batch_id,)).fetchone()
    if row is None:
        raise _no_batch(batch_id)
    return batch_from_row(row)


def _no_batch(ref: str) -> NotFoundError:
    return NotFoundError(f"no batch is called {ref!r}")


def _batch_event(
    connection: sqlite3.Connection, at: str, batch: BatchRow, kind: str, data: dict[str, Any]
) -> None:
    add_events(connection, [(at, batch.batch_id, None, kind, json_text(data))])


def _differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return {key: [old[key], value] for key, value in new.items() if old[key] != value}
