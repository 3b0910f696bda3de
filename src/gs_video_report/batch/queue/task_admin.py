"""Moves of tasks that no worker makes: recover, cancel, requeue, restore.

Truth: the `tasks` table. Bulk moves commit every few hundred tasks, so that they never hold the
write lock for long; interrupted, they can be repeated.
Writes: through `task_moves.move()`.
Raises: NotFoundError, UsageError, and what `Database` raises.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from gs_video_report.batch.data_models import (
    TASK_ENDED,
    BatchRow,
    TaskResult,
    TaskStatus,
    Usage,
    VideoTask,
)
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.batch_store import insert_batch
from gs_video_report.batch.queue.recovery import Orphan, find_orphans, poison_error
from gs_video_report.batch.queue.task_moves import add_events, end_attempt, move
from gs_video_report.batch.queue.task_reads import TaskReads
from gs_video_report.batch.sql import query
from gs_video_report.batch.store import process_lock
from gs_video_report.batch.store.clock import Clock
from gs_video_report.batch.store.rows import error_to_json, json_text, result_to_json
from gs_video_report.errors import LeaseLost, UsageError

MOVES_PER_COMMIT = 500
REQUEUABLE = TASK_ENDED | {TaskStatus.RETRYING}
OPEN_UNCLAIMED = (TaskStatus.PENDING, TaskStatus.RETRYING)
KEPT = "the report made before stays"
"""Why a task is completed that did not get the new report it waited for."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Task ids that had lost their owner."""

    returned: list[int]
    """Pending again (or cancelled, where that had been asked for), or completed with the report
    that they had before."""
    poisoned: list[int]
    """Failed: they ended their worker process too often."""


class _Page(Protocol):
    def __call__(self, connection: sqlite3.Connection, after: int) -> list[sqlite3.Row]: ...


class TaskAdmin(TaskReads):
    """What `TaskQueue` does on behalf of people and at start-up."""

    def __init__(self, db: Database, *, clock: Clock | None = None) -> None:
        super().__init__(db, clock=clock)
        self._held: dict[int, tuple[str, int]] = {}
        """Claims of this object in flight: task id -> (worker id, attempt)."""

    # --- recovery -------------------------------------------------------------------------------

    async def recover(self, batch_id: str | None = None) -> Recovered:
        """Take back running tasks whose owner is gone; call at start-up and every few seconds.

        A task goes back to `pending`, or fails as poison once it ended its worker process
        `PROCESS_DEATH_LIMIT` times without finishing a step in between. Immediate after a SIGKILL:
        the kernel has freed the process lock. Cheap when there is nothing to do: one read.

        Args:
            batch_id: only this batch (full id); None means all.
        """
        rows = await self.db.read(query("running_leases"), {"batch_id": batch_id})
        orphans = self._orphans(rows)
        if not orphans:
            if batch_id is None:  # at start-up, also tidy up
                process_lock.remove_dead(self.db.path)
            return Recovered([], [])

        def work(connection: sqlite3.Connection) -> list[tuple[Orphan, str]]:
            return [
                (orphan, state)
                for orphan in orphans
                for state in self._take_back(connection, orphan)
            ]

        moved = await self.db.write(work)
        process_lock.remove_dead(self.db.path)
        poisoned = [orphan.task_id for orphan, state in moved if state == TaskStatus.FAILED]
        returned = [orphan.task_id for orphan, state in moved if state != TaskStatus.FAILED]
        return Recovered(returned, poisoned)

    def _orphans(self, rows: list[sqlite3.Row]) -> list[Orphan]:
        processes = {process_lock.process_of(row["worker_id"]) for row in rows}
        dead = {p for p in processes if not process_lock.is_alive(self.db.path, p)}
        return find_orphans(
            [dict(row) for row in rows],
            dead=dead,
            boot_id=self.clock.boot_id,
            boot_ms=self.clock.boot_ms(),
            own=self._held,
        )

    def _take_back(self, connection: sqlite3.Connection, orphan: Orphan) -> list[str]:
        now, new = self._now(), orphan.becomes
        error = poison_error(orphan.kills + 1) if orphan.is_poison else None
        text = error_to_json(error) if error else None
        values = {
            "task_id": orphan.task_id,
            "attempt": orphan.attempt,
            "lease_until_ms": orphan.lease_until_ms,
            "new": new.value,
            "finished_at": now if new in TASK_ENDED else None,
            "error": text,
            "error_code": error.code if error else None,
        }
        old, data = [TaskStatus.RUNNING], {"reason": orphan.cause.value}
        rows = move(connection, "recover", values, old=old, new=new, at=now, data=data)
        for row in rows:
            end_attempt(
                connection, row["task_id"], row["attempt"], orphan.outcome, self.clock,
                error=text,
            )  # fmt: skip
        return [row["status"] for row in rows]

    # --- cancelling -----------------------------------------------------------------------------

    async def replace_result(self, task: VideoTask, result: TaskResult) -> None:
        """Store what an ended task's files are now; its state stays as it is.

        Raises: LeaseLost when the task has not ended, or has run again since it was read.
        """
        values = {
            "result": result_to_json(result),
            "task_id": task.task_id,
            "attempt": task.attempt,
        }
        rows = await self.db.write(lambda c: c.execute(query("replace_result"), values).fetchall())
        if not rows:
            raise LeaseLost(f"task {task.ref} has run again in the meantime")

    async def pages_are_older(self, batch_id: str) -> bool:
        """Reports of the batch (full id) were written anew, and its pages not yet."""
        return bool(await self.db.read(query("pages_are_older"), (batch_id,)))

    async def pages_written(self, batch_id: str) -> None:
        """The pages of the batch (full id) show its reports as they are now."""
        if await self.pages_are_older(batch_id):
            await self.db.write(lambda c: c.execute(query("pages_written"), (batch_id,)))

    async def request_cancel(self, target: str | VideoTask) -> int:
        """Ask the workers of running tasks to stop; they learn of it at their next heartbeat.

        Args:
            target: a batch id (full), a task reference `batch:seq`, or a task. A single task
                that is not running yet is cancelled at once.

        Returns:
            How many running tasks were asked, plus one if a waiting task was cancelled.
        """
        if isinstance(target, str) and ":" not in target:
            return await self._ask(target, None)
        task = target if isinstance(target, VideoTask) else await self.get_task(target)
        cancelled = await self._cancel_open(task.batch_id, task.task_id)
        return cancelled + await self._ask(task.batch_id, task.task_id)

    async def _ask(self, batch_id: str, task_id: int | None) -> int:
        def work(connection: sqlite3.Connection) -> int:
            values = {"batch_id": batch_id, "task_id": task_id}
            rows = connection.execute(query("request_cancel"), values).fetchall()
            now = self._now()
            add_events(
                connection, ((now, batch_id, row["task_id"], "task.cancel", "{}") for row in rows)
            )
            return len(rows)

        return await self.db.write(work)

    async def cancel_pending(self, batch_id: str) -> int:
        """Cancel all tasks of the batch (full id) that wait; returns how many."""
        return await self._cancel_open(batch_id, None)

    async def _cancel_open(self, batch_id: str, task_id: int | None) -> int:
        ended = await self._page_through(self._cancel_page(batch_id, task_id, has_report=False))
        kept = await self._page_through(self._cancel_page(batch_id, task_id, has_report=True))
        return ended + kept

    def _cancel_page(self, batch_id: str, task_id: int | None, *, has_report: bool) -> _Page:
        """With a report from before, the task is completed with that."""
        new = TaskStatus.COMPLETED if has_report else TaskStatus.CANCELLED
        data = {"reason": KEPT} if has_report else None

        def page(connection: sqlite3.Connection, after: int) -> list[sqlite3.Row]:
            now = self._now()
            values = {
                "batch_id": batch_id, "task_id": task_id, "now": now, "after": after,
                "limit": MOVES_PER_COMMIT, "new": new.value, "has_report": int(has_report),
            }  # fmt: skip
            return move(
                connection, "cancel_open", values, old=OPEN_UNCLAIMED, new=new, at=now, data=data
            )

        return page

    # --- back to pending ------------------------------------------------------------------------

    async def requeue(
        self,
        batch_id: str,
        *,
        statuses: Collection[TaskStatus],
        task_ids: Collection[int] | None = None,
        reason: str,
        keep_result: bool = False,
    ) -> int:
        """Move ended (or retrying) tasks back to `pending`, failures and kills reset.

        Results and errors are cleared; attempts, steps and events stay. The batch's own state
        is left alone.

        Args:
            batch_id: full id.
            statuses: which states to take; running and pending are refused.
            task_ids: only these; None means all, an empty collection none.
            reason: kept with the events.
            keep_result: a report stays the task's until the new one is there, and for good when
                none is made.

        Returns:
            How many tasks were moved.

        Raises:
            UsageError: a state that cannot be requeued.
        """
        wrong = sorted(set(statuses) - REQUEUABLE)
        if wrong:
            raise UsageError(f"{', '.join(wrong)} tasks cannot be put back into the queue")
        ids = None if task_ids is None else json.dumps(sorted(task_ids))
        moved = 0
        for old in sorted(statuses):
            page = self._requeue_page(batch_id, old, ids, reason, keep_result)
            moved += await self._page_through(page)
        return moved

    def _requeue_page(
        self, batch_id: str, old: TaskStatus, ids: str | None, reason: str, keep_result: bool
    ) -> _Page:
        def page(connection: sqlite3.Connection, after: int) -> list[sqlite3.Row]:
            values = {
                "batch_id": batch_id, "old": old.value, "ids": ids, "after": after,
                "limit": MOVES_PER_COMMIT, "keep_result": int(keep_result),
            }  # fmt: skip
            data = {"from": old.value, "reason": reason}
            return move(
                connection, "requeue", values, old=[old], new=TaskStatus.PENDING, at=self._now(),
                data=data,
            )  # fmt: skip

        return page

    async def _page_through(self, page: _Page) -> int:
        """Run a bulk move page by page, each in its own transaction; returns how many moved."""
        moved, after = 0, 0
        while True:
            rows = await self.db.write(partial(page, after=after))
            moved += len(rows)
            if len(rows) < MOVES_PER_COMMIT:
                return moved
            after = max(row["seq"] for row in rows)

    # --- restoring ------------------------------------------------------------------------------

    async def import_batch(
        self,
        batch: BatchRow,
        tasks: Iterable[Mapping[str, Any]],
        usage: Iterable[Mapping[str, Any]],
        *,
        spent: Usage,
        reason: str,
    ) -> BatchRow:
        """Insert a whole batch from a checkpoint, in one transaction, streaming.

        Args:
            tasks: rows of `tasks` without task_id and lease, nothing `running` among them. They
                are drawn in another thread.
            usage: rows of the ledger; those that are there already are left out.
            spent: sums over the results of the batch.
            reason: kept with the event.

        Raises:
            UsageError: a batch of this id is already in the database.
            whatever the iterables raise; then nothing was inserted.
        """

        def work(connection: sqlite3.Connection) -> None:
            insert_batch(connection, batch)
            for row in tasks:
                connection.execute(_insert_of(tuple(row)), dict(row))
            for row in usage:
                connection.execute(query("restore_usage"), {**row, "task_id": None})
            sums = (spent.requests, spent.tokens_in, spent.tokens_out, spent.usd, batch.batch_id)
            connection.execute(query("add_batch_usage"), sums)
            # rows that came with a checkpoint of another batch were there before this one was
            connection.execute(query("sum_ledger"), {"batch_id": batch.batch_id})
            data = json_text({"reason": reason})
            add_events(connection, [(self._now(), batch.batch_id, None, "batch.restored", data)])

        await self.db.write(work)
        return await self.get_batch(batch.batch_id)


def _insert_of(columns: tuple[str, ...]) -> str:
    if not all(name.isidentifier() for name in columns):
        raise ValueError(f"not column names: {columns}")
    names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO tasks({names}) VALUES({values})"  # identifiers, checked above
