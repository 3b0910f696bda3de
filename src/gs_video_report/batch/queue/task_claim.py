"""Claiming tasks, alone or together with the end of the one before, and renewing the leases.

Truth: the `tasks` table. Claims of several workers that wait at the same time are one look at the
index and one UPDATE; they run in one write transaction, so no task goes to two workers.
Writes: through `task_moves.move()`; a claim leaves an event and an open row in `attempts`.
Raises: LeaseLost, ValueError, and what `Database` raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, NamedTuple

from gs_video_report.batch.data_models import BatchStatus, TaskResult, TaskStatus, VideoTask
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.retry import FAR_MS
from gs_video_report.batch.queue.task_leave import Completion, TaskLeave, completion
from gs_video_report.batch.queue.task_moves import insert_rows, move
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.clock import Clock, iso
from gs_video_report.batch.store.process_lock import is_held_here, process_of
from gs_video_report.batch.store.rows import json_text, task_from_columns
from gs_video_report.errors import LeaseLost

_WAITING = (TaskStatus.PENDING, TaskStatus.RETRYING)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat found."""

    lost: frozenset[int]
    """Task ids claimed here that are ours no more: stop that work."""
    cancel: frozenset[int]
    """Task ids whose cancellation was asked for."""
    batch_status: BatchStatus | None
    """State of the batch that was asked about; None when none was, or it is gone."""


class _Wish(NamedTuple):
    """What one caller of `claim()` wants."""

    batch_id: str
    lease_s: float
    worker_id: str
    limit: int


class _Claimed:
    """What one caller has claimed: rows, and the tasks that are made of them."""

    __slots__ = ("_tasks", "rows")

    def __init__(self, rows: Sequence[sqlite3.Row] = ()) -> None:
        self.rows = rows
        self._tasks: list[VideoTask] | None = None

    @property
    def tasks(self) -> list[VideoTask]:
        """Made once; where it can be, while the claim is on its way to the disk."""
        if self._tasks is None:
            self._tasks = [task_from_columns(row) for row in self.rows]
        return self._tasks

    def make_tasks(self) -> None:
        """See `group_commit`: `meanwhile`."""
        _ = self.tasks


_Turn = tuple[LeaseLost | None, _Claimed]
"""How a task was left, and what was claimed after it."""


class TaskClaim(TaskLeave):
    """What `TaskQueue` does to hand out tasks."""

    def __init__(self, db: Database, *, clock: Clock | None = None) -> None:
        super().__init__(db, clock=clock)
        self._given_back: set[asyncio.Task[None]] = set()

    async def claim(
        self, batch_id: str, worker_id: str, limit: int, lease_s: float
    ) -> list[VideoTask]:
        """Lease up to `limit` due tasks to `worker_id`, most urgent first.

        Due means `pending`, or `retrying` whose `next_attempt_at` has passed. Lower `priority`
        wins, then creation order (of the 100 retries that are longest due; a claim must not walk
        all of them). One transaction: no task goes to two workers. A batch that is paused or
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
        _check_lock(worker_id)
        wish = _Wish(batch_id, lease_s, worker_id, limit)
        claiming = self.db.submit(wish, self._claim_many, self._give_back, _Claimed.make_tasks)
        try:
            return self._taken(await self.db.delivered(claiming))
        except asyncio.CancelledError:
            self._give_back(_unheard(claiming))
            raise

    async def complete_and_claim(
        self, task: VideoTask, result: TaskResult, lease_s: float
    ) -> list[VideoTask]:
        """`complete()`, and `claim()` of one more task for the same worker, in one commit.

        Returns:
            The next task; empty when none is due.

        Raises:
            LeaseLost: as in `complete()`. A task that was claimed is given back.
            ValueError: the process lock is not held; nothing was done.

        Cancellation: as in `claim()`; the completion may be carried out.
        """
        worker_id = task.worker_id or ""
        _check_lock(worker_id)
        wish = (completion(task, result), _Wish(task.batch_id, lease_s, worker_id, 1))
        turning = self.db.submit(wish, self._turn_many, self._give_turn_back, _make_next)
        try:
            lost, claimed = await self.db.delivered(turning)
        except asyncio.CancelledError:
            self._give_turn_back(_unheard(turning))
            raise
        finally:
            self._let_go(task)
        if lost is not None:
            self._give_back(claimed)
            raise lost
        return self._taken(claimed)

    def _turn_many(
        self, connection: sqlite3.Connection, wishes: list[tuple[Completion, _Wish]]
    ) -> list[_Turn]:
        """See `group_commit.Many`."""
        ended = self._complete_many(connection, [done for done, _ in wishes])
        return list(zip(ended, self._claim_many(connection, [w for _, w in wishes]), strict=True))

    def _taken(self, claimed: _Claimed) -> list[VideoTask]:
        for task in claimed.tasks:
            self._held[task.task_id] = (task.worker_id or "", task.attempt)
        return claimed.tasks

    def _claim_many(self, connection: sqlite3.Connection, wishes: list[_Wish]) -> list[_Claimed]:
        """See `group_commit.Many`."""
        return [
            rows
            for (batch_id, lease_s), same in groupby(wishes, lambda wish: wish[:2])
            for rows in self._claim(connection, batch_id, lease_s, list(same))
        ]

    def _claim(
        self, connection: sqlite3.Connection, batch_id: str, lease_s: float, wishes: list[_Wish]
    ) -> Iterator[_Claimed]:
        """The rows for each wish, in order; the first wish gets the most urgent ones."""
        values = {
            **self._lease(lease_s), "batch_id": batch_id, "limit": sum(w.limit for w in wishes),
        }  # fmt: skip
        due = iter([row[0] for row in connection.execute(query("claimable"), values).fetchall()])
        shares = [(wish, list(islice(due, wish.limit))) for wish in wishes]
        owners = {str(task_id): wish.worker_id for wish, ids in shares for task_id in ids}
        rows = self._claim_rows(connection, values, owners) if owners else {}
        return (_Claimed([rows[task_id] for task_id in ids]) for _, ids in shares)

    def _claim_rows(
        self, connection: sqlite3.Connection, values: dict[str, Any], owners: dict[str, str]
    ) -> dict[int, sqlite3.Row]:
        values["claims"], now = json_text(owners), values["now"]
        new = TaskStatus.RUNNING
        rows = move(connection, "claim", values, old=_WAITING, new=new, at=now)
        boot_ms = self.clock.boot_ms()
        insert_rows(
            connection,
            "start_attempt",
            [(row["task_id"], row["attempt"], row["worker_id"], now, boot_ms) for row in rows],
        )
        return {row["task_id"]: row for row in rows}

    def _lease(self, lease_s: float) -> dict[str, Any]:
        lease_ms, wall_ms = round(lease_s * 1000), self.clock.wall_ms()
        return {
            "now": iso(wall_ms),
            "beyond": iso(wall_ms + FAR_MS),
            "lease_until_ms": self.clock.boot_ms() + lease_ms,
            "lease_expires_at": iso(wall_ms + lease_ms),
            "boot_id": self.clock.boot_id,
        }

    def _give_turn_back(self, turn: _Turn | None) -> None:
        self._give_back(None if turn is None else turn[1])

    def _give_back(self, claimed: _Claimed | None) -> None:
        """Release what a cancelled caller of `claim()` will never hear of."""
        for task in () if claimed is None else claimed.tasks:
            giving = asyncio.ensure_future(self._release_quietly(task))
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


def _unheard(answer: asyncio.Future[Any]) -> Any:
    """The answer of an operation whose caller was cancelled in the very moment it came; else None.

    Where the caller was cancelled before, the group commit tells (`undelivered`).
    """
    came = answer.done() and not answer.cancelled() and answer.exception() is None
    return answer.result() if came else None


def _make_next(turn: _Turn) -> None:
    """See `group_commit`: `meanwhile`."""
    turn[1].make_tasks()


def _check_lock(worker_id: str) -> None:
    if not is_held_here(process_of(worker_id)):
        raise ValueError(f"{worker_id}: this process does not hold the ProcessLock of it")
