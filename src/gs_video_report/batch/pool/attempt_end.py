"""How one attempt of a task ends: one verb of the queue, then one word to the listener.

Truth: the queue. Whether a failed attempt is repeated is decided by `retry.decide`, whether its
wait is free by the service line, whether a crash is one too many by `blame`.
Never: stops the pool, prints.
Raises: LeaseLost, when the task belongs to another process by now; nothing was told then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gs_video_report.batch.attempt.service_line import ServiceLine
from gs_video_report.batch.data_models import POISON_LIMIT, TaskError, TaskResult, VideoTask
from gs_video_report.batch.pool.in_flight import Attempt
from gs_video_report.batch.pool.listener import PoolListener
from gs_video_report.batch.queue import retry
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import ComputeCrashed, GsvrError, PoisonTaskError


@dataclass(slots=True)
class AttemptEnd:
    """Ends the attempts of one pool."""

    queue: TaskQueue
    listener: PoolListener
    line: ServiceLine
    max_retries: int
    rand: Callable[[], float]
    monotonic: Callable[[], float]

    async def completed(
        self, attempt: Attempt, result: TaskResult, next_lease_s: float | None
    ) -> list[VideoTask]:
        """The report is written; returns the next task of the worker, if there is one.

        Args:
            next_lease_s: lease of the next task, whose claim shares the commit; None: no next one.
        """
        following: list[VideoTask] = []
        if next_lease_s is not None:
            following = await self.queue.complete_and_claim(attempt.task, result, next_lease_s)
        else:
            await self.queue.complete(attempt.task, result)
        self.line.finished()
        self.listener.task_finished(attempt.task, result, self._seconds(attempt))
        return following

    async def skipped(self, attempt: Attempt, why: str, result: TaskResult) -> None:
        """The report was there already."""
        await self.queue.skip(attempt.task, why, result)
        self.listener.task_skipped(attempt.task, result)

    async def given_back(self, task: VideoTask) -> None:
        """Unfinished, and no fault of its own."""
        await self.queue.release(task)
        self.listener.task_released(task)

    async def cancelled(self, task: VideoTask) -> None:
        """Unfinished, and not wanted any more."""
        await self.queue.cancelled(task)
        self.listener.task_released(task)

    async def failed(self, attempt: Attempt, error: GsvrError) -> None:
        """With an error: the task waits for a service, is tried again, or has failed."""
        task = attempt.task
        if isinstance(error, ComputeCrashed):
            error = blame(error, (a["error"] for a in await self.queue.attempts(task.task_id)))
        stored = TaskError(error.code, error.message, error.hint, error.stage, error.data)
        wait_s = self.line.free_wait_s(task.task_id, error)
        if wait_s is not None:
            await self.queue.retry_later(task, stored, wait_s, counts=False)
            self.listener.task_released(task)
            return
        decision = retry.decide(error, task.failures, self.max_retries, self.rand())
        if isinstance(decision, retry.Wait):
            await self.queue.retry_later(task, stored, decision.seconds)
            self.listener.task_retrying(task, error, decision.seconds)
        else:
            await self.queue.fail(task, stored)
            self.listener.task_failed(task, error, self._seconds(attempt))

    def _seconds(self, attempt: Attempt) -> float:
        return self.monotonic() - attempt.control.started


def blame(error: ComputeCrashed, before: Iterable[Mapping[str, Any] | None]) -> GsvrError:
    """The error itself, or poison when the task has ended its process too often. Pure.

    Args:
        before: the stored errors of its earlier attempts; None for those without one.
    """
    crashes = 1 + sum(e.get("code") == ComputeCrashed.code for e in before if e)
    if crashes < POISON_LIMIT:
        return error
    return PoisonTaskError(
        f"{error.message}, {crashes} times", stage=error.stage, crashes=crashes, **error.data
    )
