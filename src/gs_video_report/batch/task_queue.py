"""The queue: everything the batch does with tasks, and here adding, claiming, renewing.

Truth: the `tasks` table. Two processes may share the file; memory holds only which claims of
this object are in flight, to tell which of them were lost. `TaskQueue` is put together of
`batch_store` (batches), `task_reads` (looking), `task_admin` (recover, cancel, requeue),
`task_leave` (complete, fail, retry, release, skip) and this module.
Writes: every change of a task's state goes through `task_moves.move()`, fenced by the expected
old state and, for running tasks, by worker id and attempt number.
Never: decodes media, calls an engine, prints, sleeps.
Raises: LeaseLost, NotFoundError, UsageError, ValueError, and what `Database` raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from gs_video_report.batch.clock import Clock, iso
from gs_video_report.batch.data_models import BatchStatus, NewTask, TaskStatus, VideoTask
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.process_lock import is_held_here, process_of
from gs_video_report.batch.rows import (
    json_text,
    readable,
    task_from_row,
    task_key,
    video_to_json,
)
from gs_video_report.batch.sql import query
from gs_video_report.batch.task_admin import Recovered
from gs_video_report.batch.task_leave import TaskLeave
from gs_video_report.batch.task_moves import add_events, move
from gs_video_report.errors import NotFoundError

__all__ = ["Heartbeat", "Recovered", "TaskQueue"]

CHUNK = 500


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat found."""

    lost: frozenset[int]
    """Task ids claimed here that are ours no more: stop that work."""
    cancel: frozenset[int]
    """Task ids whose cancellation was asked for."""
    batch_status: BatchStatus | None
    """State of the batch that was asked about; None when none was, or it is gone."""


class TaskQueue(TaskLeave):
    """The queue of one database. Only one per process is needed; several do no harm."""

    def __init__(self, db: Database, *, clock: Clock | None = None) -> None:
        super().__init__(db, clock=clock)
        self._given_back: set[asyncio.Task[None]] = set()

    # --- adding ---------------------------------------------------------------------------------

    async def add_tasks(
        self,
        batch_id: str,
        tasks: Iterable[NewTask] | AsyncIterable[NewTask],
        chunk: int = CHUNK,
        *,
        on_changed: Callable[[int], None] | None = None,
    ) -> int:
        """Append tasks to the batch (full id), `chunk` per transaction; memory stays flat.

        Idempotent: a task whose key the batch already has is not added, so that an interrupted
        call can be repeated. `seq` goes on without gaps.

        Args:
            on_changed: with it, a task that has ended while its file has another size or
                modification time now waits again; called with how many of a chunk do.

        Returns:
            How many were added.

        Raises:
            NotFoundError: no such batch.
        """
        added = 0
        async for part in _chunks(tasks, chunk):
            rows = [_new_row(task) for task in part]
            added += await self.db.write(partial(self._add, batch_id=batch_id, rows=rows))
            if on_changed is not None:
                renew = partial(self._renew_changed, batch_id=batch_id, tasks=part)
                on_changed(await self.db.write(renew))
        return added

    def _add(
        self, connection: sqlite3.Connection, batch_id: str, rows: list[tuple[Any, ...]]
    ) -> int:
        if connection.execute(query("batch"), (batch_id,)).fetchone() is None:
            raise NotFoundError(f"no batch is called {batch_id!r}")
        first = seq = connection.execute(query("last_seq"), (batch_id,)).fetchone()[0]
        now, insert = self._now(), query("insert_task")
        for row in rows:
            seq += connection.execute(insert, (batch_id, seq + 1, *row, now)).rowcount
        if seq > first:
            data = json_text({"first_seq": first + 1, "last_seq": seq})
            add_events(connection, [(now, batch_id, None, "tasks.added", data)])
        return int(seq - first)

    def _renew_changed(
        self, connection: sqlite3.Connection, batch_id: str, tasks: list[NewTask]
    ) -> int:
        changed: dict[TaskStatus, list[int]] = {}
        for task in tasks:
            seen = {
                "batch_id": batch_id,
                "task_key": task_key(task),
                "size_bytes": task.video.size_bytes,
                "mtime_ns": task.video.mtime_ns,
            }
            for row in connection.execute(query("changed_source"), seen).fetchall():
                changed.setdefault(TaskStatus(row["status"]), []).append(row["task_id"])
                values = (video_to_json(task.video), row["task_id"])
                connection.execute(query("set_video"), values)
        renewed = (self._renew(connection, batch_id, old, ids) for old, ids in changed.items())
        return sum(renewed)

    def _renew(
        self, connection: sqlite3.Connection, batch_id: str, old: TaskStatus, ids: list[int]
    ) -> int:
        values = {
            "batch_id": batch_id, "old": old.value, "ids": json.dumps(ids), "after": 0,
            "limit": len(ids),
        }  # fmt: skip
        data = {"from": old.value, "reason": "the file has changed"}
        new, now = TaskStatus.PENDING, self._now()
        return len(move(connection, "requeue", values, old=[old], new=new, at=now, data=data))

    # --- claiming -------------------------------------------------------------------------------

    async def claim(
        self, batch_id: str, worker_id: str, limit: int, lease_s: float
    ) -> list[VideoTask]:
        """Lease up to `limit` due tasks to `worker_id`, most urgent first.

        Due means `pending`, or `retrying` whose `next_attempt_at` has passed. Lower `priority`
        wins, then creation order (of the 100 retries that are longest due; a claim must not walk
        all of them). One SQL statement: no task goes to two workers. A batch that is paused or
        ended gives nothing.

        Args:
            batch_id: full id.
            worker_id: `<process id>/<slot>`; this process must hold the `ProcessLock` of
                that process id, or others would take its tasks for orphans.
            limit: 1 or more. Fewer tasks, or none, is normal; the call never waits for work.
            lease_s: seconds until the lease lapses unless `heartbeat()` renews it.

        Returns:
            Tasks in state `running`, `attempt` already raised by one.

        Raises:
            ValueError: the process lock is not held.

        Cancellation: safe; a claim that could not be delivered is given back by itself.
        """
        if not is_held_here(process_of(worker_id)):
            raise ValueError(f"{worker_id}: this process does not hold the ProcessLock of it")

        def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            return self._claim(connection, batch_id, worker_id, limit, lease_s)

        claiming = asyncio.ensure_future(self.db.write(work))
        try:
            rows = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            claiming.add_done_callback(self._give_back)
            raise
        tasks = [task_from_row(row) for row in rows]
        for task in tasks:
            self._held[task.task_id] = (worker_id, task.attempt)
        return sorted(tasks, key=lambda task: (task.priority, task.task_id))

    def _claim(
        self,
        connection: sqlite3.Connection,
        batch_id: str,
        worker_id: str,
        limit: int,
        lease_s: float,
    ) -> list[sqlite3.Row]:
        lease = self._lease(lease_s)
        values = {**lease, "batch_id": batch_id, "worker_id": worker_id, "limit": limit}
        old, now = (TaskStatus.PENDING, TaskStatus.RETRYING), lease["now"]
        rows = move(connection, "claim", values, old=old, new=TaskStatus.RUNNING, at=now)
        boot_ms = self.clock.boot_ms()
        connection.executemany(
            query("start_attempt"),
            [(row["task_id"], row["attempt"], worker_id, now, boot_ms) for row in rows],
        )
        return rows

    def _lease(self, lease_s: float) -> dict[str, Any]:
        lease_ms, wall_ms = round(lease_s * 1000), self.clock.wall_ms()
        return {
            "now": iso(wall_ms),
            "lease_until_ms": self.clock.boot_ms() + lease_ms,
            "lease_expires_at": iso(wall_ms + lease_ms),
            "boot_id": self.clock.boot_id,
        }

    def _give_back(self, claiming: asyncio.Task[list[sqlite3.Row]]) -> None:
        """Release what a cancelled caller of `claim()` will never hear of."""
        if claiming.cancelled() or claiming.exception() is not None:
            return
        for row in claiming.result():
            giving = asyncio.ensure_future(self._release_quietly(task_from_row(row)))
            self._given_back.add(giving)
            giving.add_done_callback(self._given_back.discard)

    async def _release_quietly(self, task: VideoTask) -> None:
        # If the database is closing, the process lock frees the task a moment later.
        with contextlib.suppress(Exception):
            await self.release(task)

    async def heartbeat(
        self, worker_ids: Collection[str], lease_s: float, *, batch_id: str | None = None
    ) -> Heartbeat:
        """Renew all leases of these workers with one statement, and hear what has changed.

        Args:
            worker_ids: the workers of this process; empty is fine.
            lease_s: seconds from now; keep it at least ten times the heartbeat interval.
            batch_id: the batch whose state to report (full id).
        """
        lease = self._lease(lease_s)
        values = {**lease, "workers": json.dumps(sorted(worker_ids))}

        def work(connection: sqlite3.Connection) -> tuple[list[sqlite3.Row], str | None]:
            rows = connection.execute(query("heartbeat"), values).fetchall()
            batch = connection.execute(query("batch"), (batch_id,)).fetchone()
            return rows, None if batch is None else batch["status"]

        claimed_before = dict(self._held)
        rows, status = await self.db.write(work)
        renewed = {(row["task_id"], row["attempt"]) for row in rows}
        workers = set(worker_ids)
        lost = {
            task_id
            for task_id, (worker_id, attempt) in claimed_before.items()
            if worker_id in workers
            and (task_id, attempt) not in renewed
            and self._held.get(task_id) == (worker_id, attempt)
        }
        return Heartbeat(
            lost=frozenset(lost),
            cancel=frozenset(row["task_id"] for row in rows if row["cancel_requested"]),
            batch_status=None if status is None else BatchStatus(status),
        )


def _new_row(task: NewTask) -> tuple[Any, ...]:
    video = task.video
    source = readable(video.source)
    return (task.priority, source, task.template, task_key(task), video_to_json(video))


async def _chunks(
    items: Iterable[NewTask] | AsyncIterable[NewTask], size: int
) -> AsyncIterator[list[NewTask]]:
    if isinstance(items, Iterable):
        iterator = iter(items)
        while part := list(islice(iterator, size)):
            yield part
        return
    part = []
    async for item in items:
        part.append(item)
        if len(part) >= size:
            yield part
            part = []
    if part:
        yield part
