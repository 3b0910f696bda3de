"""How a running task is left: completed, failed, retried, released, cancelled, skipped.

Truth: the `tasks` table, fenced by worker id and attempt: a worker that lost its lease changes
nothing and gets `LeaseLost`. Repeating a call whose answer got lost is harmless.
Writes: in one transaction the task, its attempt, the event and the batch's usage.
Raises: LeaseLost, and what `Database` raises.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import Any

from gs_video_report.batch.data_models import (
    FILES,
    TASK_ENDED,
    AttemptOutcome,
    TaskError,
    TaskResult,
    TaskStatus,
    Usage,
    VideoTask,
)
from gs_video_report.batch.queue.task_admin import KEPT, TaskAdmin
from gs_video_report.batch.queue.task_moves import end_attempt, end_attempts, move
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.clock import iso
from gs_video_report.batch.store.rows import error_to_json, result_to_json
from gs_video_report.errors import LeaseLost

_RUNNING = (TaskStatus.RUNNING,)
_NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class _Leave:
    """How a running task is left."""

    new: TaskStatus
    outcome: AttemptOutcome
    error: TaskError | None = None
    result: TaskResult | None = None
    delay_s: float = 0.0
    counts: bool = False
    reason: str = ""
    kept: TaskResult | None = None
    """The report that the task had before; set when it ends with that."""

    @property
    def again(self) -> bool:
        """The task is to run again, unless its cancellation was asked for."""
        return self.new in (TaskStatus.PENDING, TaskStatus.RETRYING)

    def columns(self) -> dict[str, Any]:
        """What does not depend on the time; made before the transaction, which must be short."""
        kept = {**_of_result(self.kept), "result": None}  # the row knows what became of its files
        return {
            **(_of_result(self.result) if self.result else kept),
            "counted": int(self.counts),
            "keep_error": self.error is None and self.result is None,
            "error": error_to_json(self.error) if self.error else None,
            "error_code": self.error.code if self.error else None,
        }

    def for_task(self, task: VideoTask) -> _Leave:
        """A task that would end without a report, and has one from before, ends with that."""
        if task.result is None or self.new not in (TaskStatus.FAILED, TaskStatus.CANCELLED):
            return self
        return replace(self, new=TaskStatus.COMPLETED, reason=KEPT, kept=task.result)

    def event(self) -> dict[str, str]:
        """Facts for the event."""
        facts = {"code": self.error.code if self.error else "", "reason": self.reason}
        return {key: text for key, text in facts.items() if text}


Completion = tuple[VideoTask, TaskResult, str]
"""A task, its result, and that as JSON."""


def completion(task: VideoTask, result: TaskResult) -> Completion:
    """What `TaskLeave._complete_many` takes; the JSON is made outside the transaction."""
    return task, result, result_to_json(result)


class TaskLeave(TaskAdmin):
    """What `TaskQueue` does when a worker is through with a task."""

    # --- leaving a running task -----------------------------------------------------------------

    async def complete(self, task: VideoTask, result: TaskResult) -> None:
        """Mark the task done, once its outputs are on the disk. Repeating the call is harmless.

        Raises:
            LeaseLost: the task is not this worker's any more; discard the result.
        """
        try:
            await self.db.delivered(self.db.submit(completion(task, result), self._complete_many))
        finally:
            self._let_go(task)

    def _complete_many(
        self, connection: sqlite3.Connection, wishes: list[Completion]
    ) -> list[LeaseLost | None]:
        """One statement for all of them; see `group_commit.Many`."""
        now = self._now()
        values: list[Any] = []
        for task, result, text in wishes:
            values += (
                task.task_id, task.worker_id, task.attempt, text, result.media_s or None,
                result.fingerprint or None, now,
            )  # fmt: skip
        rows = move(
            connection, "complete", values, old=_RUNNING, new=TaskStatus.COMPLETED, at=now,
            rows=len(wishes),
        )  # fmt: skip
        lengths = {(row[0], row[2]): row[3] for row in rows}
        done = {(t.task_id, t.attempt): (t, r) for t, r, _ in wishes}
        ended = [(*key, done[key][1], media_s) for key, media_s in lengths.items()]
        end_attempts(connection, ended, AttemptOutcome.COMPLETED, self.clock)
        for key in lengths:
            _add_usage(connection, *done[key])
        return [
            None if (task.task_id, task.attempt) in lengths
            else self._repeated_or_lost(connection, task, result)
            for task, result, _ in wishes
        ]  # fmt: skip

    def _repeated_or_lost(
        self, connection: sqlite3.Connection, task: VideoTask, result: TaskResult
    ) -> LeaseLost | None:
        how = _Leave(TaskStatus.COMPLETED, AttemptOutcome.COMPLETED, result=result)
        return None if self._left_so_before(connection, task, how) else _lost(task)

    async def fail(self, task: VideoTask, error: TaskError) -> None:
        """End the task with `error`; one that has a report from before is completed with that,
        and keeps the error beside it. Raises: LeaseLost."""
        await self._leave(
            task, _Leave(TaskStatus.FAILED, AttemptOutcome.FAILED, error=error, counts=True)
        )

    async def retry_later(
        self, task: VideoTask, error: TaskError, delay_s: float, *, counts: bool = True
    ) -> None:
        """Try the task again once `delay_s` seconds have passed; a restart keeps the wait.

        A task whose cancellation was asked for is cancelled instead.

        Args:
            counts: False does not raise `failures` (waiting for a quota).

        Raises:
            LeaseLost: as in `complete()`.
        """
        how = _Leave(
            TaskStatus.RETRYING, AttemptOutcome.RETRYING, error, delay_s=delay_s, counts=counts
        )
        await self._leave(task, how)

    async def release(self, task: VideoTask) -> None:
        """Hand the task back unfinished (graceful stop): pending, or cancelled if asked for.

        Raises:
            LeaseLost: as in `complete()`.
        """
        await self._leave(task, _Leave(TaskStatus.PENDING, AttemptOutcome.RELEASED))

    async def cancelled(self, task: VideoTask) -> None:
        """The worker has stopped a task that was to be cancelled. Raises: LeaseLost."""
        await self._leave(task, _Leave(TaskStatus.CANCELLED, AttemptOutcome.CANCELLED))

    async def skip(
        self, task: VideoTask | int, reason: str, result: TaskResult | None = None
    ) -> None:
        """The output is already there and fits.

        Args:
            task: a claimed task, fenced as in `complete()`; or the id of a pending one.
            reason: one plain clause, kept with the event.

        Raises:
            LeaseLost: the task is not in the expected state any more.
        """
        if isinstance(task, VideoTask) and task.status is TaskStatus.RUNNING:
            how = _Leave(TaskStatus.SKIPPED, AttemptOutcome.SKIPPED, result=result, reason=reason)
            await self._leave(task, how)
        else:
            task_id = task if isinstance(task, int) else task.task_id
            await self.db.write(lambda c: self._skip_pending(c, task_id, reason, result))

    def _skip_pending(
        self, connection: sqlite3.Connection, task_id: int, reason: str, result: TaskResult | None
    ) -> None:
        now = self._now()
        values = {"task_id": task_id, "now": now, **_of_result(result)}
        old, new = [TaskStatus.PENDING], TaskStatus.SKIPPED
        if not move(connection, "skip_pending", values, old=old, new=new, at=now,
                    data={"reason": reason}):  # fmt: skip
            raise LeaseLost(f"task {task_id} is not pending any more")

    async def _leave(self, task: VideoTask, how: _Leave) -> None:
        how = how.for_task(task)
        columns = {**_fence(task), **how.columns()}
        try:
            await self.db.write(lambda c: self._leave_now(c, task, how, columns))
        finally:
            self._let_go(task)

    def _let_go(self, task: VideoTask) -> None:
        if self._held.get(task.task_id) == (task.worker_id, task.attempt):
            del self._held[task.task_id]

    def _leave_now(
        self, connection: sqlite3.Connection, task: VideoTask, how: _Leave, columns: dict[str, Any]
    ) -> None:
        rows = self._move_out(connection, how, columns)
        if not rows and how.again:
            # Cancellation was asked for meanwhile: the task must not run again.
            how = replace(how, new=TaskStatus.CANCELLED, outcome=AttemptOutcome.CANCELLED)
            how = how.for_task(task)
            columns = {**columns, **how.columns()}
            rows = self._move_out(connection, how, columns)
        if not rows:
            if self._left_so_before(connection, task, how):
                return
            raise _lost(task)
        end_attempt(
            connection, task.task_id, task.attempt, how.outcome, self.clock,
            error=columns["error"], result=how.result, media_s=rows[0]["media_s"],
        )  # fmt: skip
        if how.result is not None:
            _add_usage(connection, task, how.result)

    def _move_out(
        self, connection: sqlite3.Connection, how: _Leave, columns: dict[str, Any]
    ) -> list[sqlite3.Row]:
        wall_ms = self.clock.wall_ms()
        now = iso(wall_ms)
        due = iso(wall_ms + round(max(how.delay_s, 0.0) * 1000))
        values = {
            **columns,
            "new": how.new.value,
            "next_attempt_at": due if how.new is TaskStatus.RETRYING else None,
            "finished_at": now if how.new in TASK_ENDED else None,
            "even_if_cancelled": int(not how.again),
        }
        return move(
            connection, "leave", values, old=_RUNNING, new=how.new, at=now, data=how.event()
        )

    def _left_so_before(self, connection: sqlite3.Connection, task: VideoTask, how: _Leave) -> bool:
        """True when this very attempt was ended in this way: the answer got lost, not the write."""
        values = {**_fence(task), "new": how.new.value, "outcome": how.outcome.value}
        return connection.execute(query("ended_so"), values).fetchone() is not None

    # --- facts about a running task -------------------------------------------------------------

    async def set_media(self, task: VideoTask, fingerprint: str, media_s: float | None) -> None:
        """Store what probing learned: SHA-256 of the content, seconds. Raises: LeaseLost."""
        await self._set(task, "set_media", (fingerprint, media_s))

    async def rewrite_report(self, task: VideoTask) -> None:
        """Store that the files of the report that the task has from before are written anew from
        now on; a task that ends with that report keeps the mark, for `verify`. Raises: LeaseLost.
        """
        await self._set(task, "rewrite_report", (FILES,))

    async def set_stage(self, task: VideoTask, stage: str) -> None:
        """Store the stage for people to see; leaves no event. Raises: LeaseLost."""
        await self._set(task, "set_stage", (stage,))

    async def _set(self, task: VideoTask, statement: str, values: tuple[Any, ...]) -> None:
        fence = (task.task_id, task.worker_id, task.attempt)
        changed = await self.db.write(
            lambda c: c.execute(query(statement), values + fence).rowcount
        )
        if not changed:
            raise _lost(task)


def _lost(task: VideoTask) -> LeaseLost:
    return LeaseLost(f"{task.ref}: another process has taken the task over")


def _add_usage(connection: sqlite3.Connection, task: VideoTask, result: TaskResult) -> None:
    usage = result.usage
    if usage != _NOTHING:
        sums = (usage.requests, usage.tokens_in, usage.tokens_out, usage.usd, task.batch_id)
        connection.execute(query("add_batch_usage"), sums)


def _fence(task: VideoTask) -> dict[str, Any]:
    return {"task_id": task.task_id, "worker_id": task.worker_id, "attempt": task.attempt}


def _of_result(result: TaskResult | None) -> dict[str, Any]:
    """Columns that a result fills; a length or fingerprint of 0 or "" means unknown."""
    return {
        "result": None if result is None else result_to_json(result),
        "media_s": (result.media_s or None) if result else None,
        "fingerprint": (result.fingerprint or None) if result else None,
    }
