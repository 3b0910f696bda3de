"""Drain one batch with N async workers: claim, run, finish; stop gracefully or at once.

Truth: the queue. The pool holds the claims of this process in flight and nothing else.
Knows: no SQL, no engine by name; a `TaskRunner` does the work of one task.
Side tasks: one keeper renews all leases with one statement and notices lost ones, pause and
cancel; it also returns the tasks of dead processes. If the keeper dies, the pool stops.
Never: prints. What happens is told to a `PoolListener`.

Stopping: `stop()` lets steps in flight finish for `grace_s`, then cancels; `stop_now()` cancels
at once. A limit (quota, money) stops the claiming and every further request; tasks that have
their answers may finish what they do on this machine, the others are cancelled.
In any case every claimed task is finished or released before `run()` returns.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from gs_video_report.batch import retry
from gs_video_report.batch.data_models import (
    POISON_LIMIT,
    BatchStatus,
    TaskError,
    TaskResult,
    TaskStatus,
    VideoTask,
)
from gs_video_report.batch.outage import DEFAULT_LIMIT_S, FIRST_WAIT_S, OutageWatch
from gs_video_report.batch.service_line import Line, OpenLine, OutageListener, ServiceLine
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import (
    ComputeCrashed,
    ComputeTimeout,
    FatalError,
    GsvrError,
    LeaseLost,
    LimitReached,
    PermanentError,
    PoisonTaskError,
    StepCancelled,
)

LEASE_S = 60.0
"""Seconds a claim lasts without a heartbeat; the lock of a dead process frees its tasks sooner."""
HEARTBEAT_S = 2.0
"""Seconds between heartbeats; also how soon pause and cancel are noticed."""
IDLE_POLL_S = 0.5
"""Seconds between looks at the queue while another process holds the last tasks."""


class StopReason(StrEnum):
    """Why `WorkerPool.run` returned."""

    DRAINED = "drained"
    STOPPED = "stopped"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    LIMIT = "limit"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class PoolOutcome:
    """How the drain ended. `error` is set for LIMIT and FATAL."""

    reason: StopReason
    error: GsvrError | None = None


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A snapshot for monitors and tests."""

    workers: int
    busy: int
    finished: int
    failed: int
    retried: int
    released: int


@dataclass(slots=True)
class TaskControl:
    """What the pool tells a running task, and what the task tells the pool."""

    stopping: asyncio.Event
    """Set on a graceful stop: start no further step."""
    started: float
    """Monotonic seconds at the claim."""
    _idle_s: float = 0.0
    _waiting_since: float | None = None
    _opened: int = 0
    _calls_running: int = 0
    outcome: GsvrError | None = None
    """Why the pool cancelled the task, if it did."""
    handle: asyncio.Task[TaskResult] | None = None
    skipped: str | None = None
    """Set by the runner when the output was already there: the reason."""
    line: Line = field(default_factory=OpenLine)
    has_answers: bool = False
    """Paid answers are there."""
    asking: int = 0
    """Paid requests that are under way now."""
    quota_waits: int = 0
    """Requests that wait for quota now."""
    no_more_requests: bool = False
    """Set by the pool when a limit was reached: the next request ends the attempt."""

    @property
    def may_finish(self) -> bool:
        """Whether the task may need no more requests, as far as can be seen."""
        return (self.has_answers or self.asking > 0) and not self.quota_waits

    def asks(self) -> None:
        """Before a request. Raises: StepCancelled when there are to be no more."""
        if self.no_more_requests:
            raise StepCancelled("stopped before the next request: a limit was reached")

    def call(self, now: float, *, opened: int = 0, running: int = 0) -> None:
        """Count calls to compute and to providers: asked for (`opened`), and under way.

        While there are calls and none of them is under way, the task only waits.
        """
        self._opened += opened
        self._calls_running += running
        self.waiting(now, self._opened > 0 and self._calls_running == 0)

    def waiting(self, now: float, is_waiting: bool) -> None:
        """Tell that the task has work that waits for a compute process or for quota."""
        if is_waiting and self._waiting_since is None:
            self._waiting_since = now
        elif not is_waiting and self._waiting_since is not None:
            self._idle_s += now - self._waiting_since
            self._waiting_since = None

    def active_s(self, now: float) -> float:
        """Seconds of this attempt, waiting left out."""
        waited = self._idle_s + (now - self._waiting_since if self._waiting_since else 0.0)
        return now - self.started - waited


TaskRunner = Callable[[VideoTask, TaskControl], Awaitable[TaskResult]]


class PoolListener(OutageListener, Protocol):
    """What the pool tells, from the event loop; must not block."""

    def task_started(self, task: VideoTask, slot: int) -> None: ...
    def task_finished(self, task: VideoTask, result: TaskResult, seconds: float) -> None: ...
    def task_skipped(self, task: VideoTask, result: TaskResult) -> None: ...
    def task_failed(self, task: VideoTask, error: GsvrError, seconds: float) -> None: ...
    def task_retrying(self, task: VideoTask, error: GsvrError, delay_s: float) -> None: ...
    def task_released(self, task: VideoTask) -> None: ...
    def limit_reached(self, error: LimitReached, finishing: int) -> None:
        """No more requests are sent; so many tasks go on with the answers they have."""


@dataclass(slots=True)
class _Tally:
    finished: int = 0
    failed: int = 0
    retried: int = 0
    released: int = 0


@dataclass(slots=True)
class _Running:
    task: VideoTask
    control: TaskControl
    worker_id: str
    slot: int


@dataclass(slots=True)
class WorkerPool:
    """One process's workers on one batch. Single use: `run()` once."""

    queue: TaskQueue
    batch_id: str
    runner: TaskRunner
    listener: PoolListener
    process_id: str
    """The id of this process's lock; worker ids are `<process_id>/w<slot>`."""
    parallel: int = 4
    max_retries: int = 3
    timeout_s: float = 1800.0
    outage_limit_s: float = DEFAULT_LIMIT_S
    """The batch is paused when a service has been away for so long."""
    outage_wait_s: float = FIRST_WAIT_S
    """Before a service that went away is tried for the first time."""
    lease_s: float = LEASE_S
    heartbeat_s: float = HEARTBEAT_S
    rand: Callable[[], float] = random.random
    monotonic: Callable[[], float] = time.monotonic
    _running: dict[int, _Running] = field(default_factory=dict)
    _workers: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _tally: _Tally = field(default_factory=_Tally)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing more is claimed."""
    _halting: asyncio.Event = field(default_factory=asyncio.Event)
    """Tasks are to start no further step."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _outcome: PoolOutcome | None = None
    _grace: asyncio.Task[None] | None = None
    _line: ServiceLine = field(init=False)

    def __post_init__(self) -> None:
        self._line = ServiceLine(
            self.listener,
            self._wake.set,
            self.monotonic,
            self.rand,
            self.outage_limit_s,
            OutageWatch(self.outage_wait_s),
        )

    async def run(self) -> PoolOutcome:
        """Drain the batch; returns when nothing is left to do or a stop was asked for.

        Raises: what the queue raises when the database itself fails; tasks in flight are then
        left to their leases.
        """
        keeper = asyncio.create_task(self._keep(), name="gsvr-keeper")
        try:
            self._spawn()
            while self._workers:
                watched = {keeper, *self._workers.values()}
                done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                if keeper in done:
                    keeper.result()
                for slot, worker in list(self._workers.items()):
                    if worker in done:
                        del self._workers[slot]
                        worker.result()
        finally:
            await self._end(keeper)
        return self._outcome or PoolOutcome(StopReason.DRAINED)

    def stop(self, grace_s: float, reason: StopReason = StopReason.STOPPED) -> None:
        """Claim nothing more; steps in flight may finish for `grace_s` seconds. Idempotent."""
        self._begin_stop(PoolOutcome(reason))
        if self._grace is None:
            self._grace = asyncio.create_task(self._after_grace(grace_s), name="gsvr-grace")

    def stop_now(self) -> None:
        """Cancel what runs; finished steps stay journaled."""
        self._begin_stop(PoolOutcome(StopReason.STOPPED))
        self._cancel_all(StepCancelled("stopped"))

    def resize(self, parallel: int) -> None:
        """Change the number of workers: more start at once, fewer leave between tasks."""
        self.parallel = max(1, parallel)
        if not self._stopping.is_set() and self._workers:
            self._spawn()
        self._wake.set()

    def statistics(self) -> PoolStatistics:
        """A consistent snapshot."""
        tally = self._tally
        return PoolStatistics(
            workers=len(self._workers),
            busy=len(self._running),
            finished=tally.finished,
            failed=tally.failed,
            retried=tally.retried,
            released=tally.released,
        )

    # --- workers --------------------------------------------------------------------------------

    def _spawn(self) -> None:
        for slot in range(1, self.parallel + 1):
            if slot not in self._workers:
                self._workers[slot] = asyncio.create_task(
                    self._work(slot), name=f"gsvr-worker-{slot}"
                )

    async def _work(self, slot: int) -> None:
        worker_id = f"{self.process_id}/w{slot}"
        tasks: list[VideoTask] = []
        while tasks or self._goes_on(slot):
            if not tasks:
                if not self._line.may_claim(slot):
                    await self._doze(IDLE_POLL_S)
                    continue
                tasks = await self.queue.claim(self.batch_id, worker_id, 1, self.lease_s)
            worked = bool(tasks)
            if worked:
                tasks = await self._run_one(tasks[0], slot, worker_id)
            self._line.end_probe(slot)
            if not worked and not await self._wait_for_work():
                return
            if worked:
                self._wake.set()

    def _goes_on(self, slot: int) -> bool:
        return not self._stopping.is_set() and slot <= self.parallel

    async def _wait_for_work(self) -> bool:
        """True when it is worth claiming again; False when the batch is drained.

        Who has nothing to do looks for tasks of dead processes, sooner than the keeper does.
        """
        await self.queue.recover(self.batch_id)
        counts = await self.queue.counts(self.batch_id)
        if counts.open == 0:
            return False
        due = await self.queue.next_due_s(self.batch_id)
        await self._doze(IDLE_POLL_S if due is None else min(max(due, 0.02), IDLE_POLL_S))
        return True

    async def _doze(self, seconds: float) -> None:
        """Until something happens, at most so long."""
        self._wake.clear()
        if not self._stopping.is_set():
            await _wait(self._wake, seconds)

    async def _run_one(self, task: VideoTask, slot: int, worker_id: str) -> list[VideoTask]:
        """Work on the task to its end; returns the next one, if it was claimed with that."""
        control = TaskControl(self._halting, self.monotonic(), line=self._line)
        entry = _Running(task, control, worker_id, slot)
        self._running[task.task_id] = entry
        if self._stopping.is_set():  # the claim came back after the stop began
            return await self._settle(entry, StepCancelled("stopped"))
        self.listener.task_started(task, slot)
        control.handle = asyncio.create_task(
            self._call(task, control), name=f"gsvr-task-{task.ref}"
        )
        outcome: TaskResult | GsvrError
        try:
            outcome = await control.handle
        except GsvrError as error:
            outcome = error
        except asyncio.CancelledError:
            outcome = control.outcome or StepCancelled("stopped")
        # The final write is shielded: a cancelled worker still hands its task back.
        return await asyncio.shield(self._settle(entry, outcome))

    async def _call(self, task: VideoTask, control: TaskControl) -> TaskResult:
        try:
            return await self.runner(task, control)
        except GsvrError:
            raise
        except BaseExceptionGroup as group:
            error = _first(group)
            if isinstance(error, GsvrError | asyncio.CancelledError):
                raise error from group
            raise _unexpected(error) from group
        except Exception as error:
            raise _unexpected(error) from error

    # --- the end of a task ----------------------------------------------------------------------

    async def _settle(self, entry: _Running, outcome: TaskResult | GsvrError) -> list[VideoTask]:
        try:
            if not isinstance(outcome, GsvrError):
                return await self._settle_result(entry, outcome)
            await self._settle_error(entry, outcome)
        except LeaseLost:
            self.listener.task_released(entry.task)
        finally:
            self._running.pop(entry.task.task_id, None)
        return []

    async def _settle_result(self, entry: _Running, result: TaskResult) -> list[VideoTask]:
        if entry.control.skipped is not None:
            await self.queue.skip(entry.task, entry.control.skipped, result)
            self.listener.task_skipped(entry.task, result)
            return []
        following: list[VideoTask] = []
        if self._goes_on(entry.slot) and not self._line.is_down():
            # One commit for the end of this task and the claim of the next one.
            following = await self.queue.complete_and_claim(entry.task, result, self.lease_s)
        else:
            await self.queue.complete(entry.task, result)
        self._tally.finished += 1
        self._line.finished()
        seconds = self.monotonic() - entry.control.started
        self.listener.task_finished(entry.task, result, seconds)
        return following

    async def _settle_error(self, entry: _Running, error: GsvrError) -> None:
        task = entry.task
        if isinstance(error, LeaseLost):
            self.listener.task_released(task)
        elif isinstance(error, StepCancelled):
            await self._give_back(task, cancelled=bool(error.data.get("cancelled")))
        elif isinstance(error, FatalError | LimitReached):
            await self._give_back(task, cancelled=False)
            if isinstance(error, LimitReached):
                owed = await self.queue.tasks_owed(self.batch_id)
                self._close_purse(error, task.task_id, owed)
            else:
                self._begin_stop(PoolOutcome(StopReason.FATAL, error))
                self._cancel_all(StepCancelled("stopped"))
        else:
            await self._fail_or_retry(entry, error)

    async def _give_back(self, task: VideoTask, *, cancelled: bool) -> None:
        if cancelled:
            await self.queue.cancelled(task)
        else:
            await self.queue.release(task)
        self._tally.released += 1
        self.listener.task_released(task)

    async def _fail_or_retry(self, entry: _Running, error: GsvrError) -> None:
        task = entry.task
        if isinstance(error, ComputeCrashed):
            error = await self._blame(task, error)
        stored = TaskError(error.code, error.message, error.hint, error.stage, error.data)
        wait_s = self._line.free_wait_s(task.task_id, error)
        if wait_s is not None:
            await self.queue.retry_later(task, stored, wait_s, counts=False)
            self._tally.released += 1
            self.listener.task_released(task)
            return
        decision = retry.decide(error, task.failures, self.max_retries, self.rand())
        if isinstance(decision, retry.Wait):
            await self.queue.retry_later(task, stored, decision.seconds)
            self._tally.retried += 1
            self.listener.task_retrying(task, error, decision.seconds)
        else:
            await self.queue.fail(task, stored)
            self._tally.failed += 1
            seconds = self.monotonic() - entry.control.started
            self.listener.task_failed(task, error, seconds)

    async def _blame(self, task: VideoTask, error: ComputeCrashed) -> GsvrError:
        """The error itself, or poison when the task has ended its process too often."""
        before = [a["error"] for a in await self.queue.attempts(task.task_id) if a["error"]]
        crashes = 1 + sum(e.get("code") == ComputeCrashed.code for e in before)
        if crashes < POISON_LIMIT:
            return error
        return PoisonTaskError(
            f"{error.message}, {crashes} times", stage=error.stage, crashes=crashes, **error.data
        )

    # --- the keeper -----------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await self._beat()
            self._enforce_time()
            overdue = self._line.overdue(bool(self._running))
            if overdue is not None:
                self._begin_stop(PoolOutcome(StopReason.LIMIT, overdue))
                self._cancel_all(StepCancelled("stopped"))
            await self.queue.recover(self.batch_id)
            await asyncio.sleep(self.heartbeat_s)

    async def _beat(self) -> None:
        workers = [f"{self.process_id}/w{slot}" for slot in self._workers]
        answer = await self.queue.heartbeat(workers, self.lease_s, batch_id=self.batch_id)
        for task_id in answer.lost:
            self._cancel(task_id, LeaseLost("another process took the task over"))
        for task_id in answer.cancel:
            self._cancel(task_id, StepCancelled("cancelled on request", cancelled=True))
        if answer.batch_status == BatchStatus.PAUSED:
            self.stop(5.0, StopReason.PAUSED)
        elif answer.batch_status == BatchStatus.CANCELLED:
            self.stop(0.0, StopReason.CANCELLED)

    def _enforce_time(self) -> None:
        now = self.monotonic()
        for entry in list(self._running.values()):
            if entry.control.active_s(now) > self.timeout_s:
                message = f"not finished after {self.timeout_s:g} s"
                self._cancel(entry.task.task_id, ComputeTimeout(message))

    def _cancel(self, task_id: int, why: GsvrError) -> None:
        entry = self._running.get(task_id)
        if entry is None or entry.control.handle is None or entry.control.outcome is not None:
            return
        entry.control.outcome = why
        entry.control.handle.cancel()

    def _cancel_all(self, why: GsvrError) -> None:
        for task_id in list(self._running):
            self._cancel(task_id, why)

    # --- stopping -------------------------------------------------------------------------------

    def _begin_stop(self, outcome: PoolOutcome) -> None:
        self._claim_no_more(outcome)
        self._halting.set()

    def _claim_no_more(self, outcome: PoolOutcome) -> None:
        if self._outcome is None:
            self._outcome = outcome
        self._stopping.set()
        self._wake.set()

    def _close_purse(self, error: LimitReached, refused: int, owed: set[int]) -> None:
        """No more requests; what is paid for already may become reports.

        Args:
            refused: id of the task that met the limit, which has ended.
            owed: ids of tasks whose answers were ordered before and may have to be paid.
        """
        is_first = self._outcome is None
        self._claim_no_more(PoolOutcome(StopReason.LIMIT, error))
        finishing = 0
        others = [one for one in self._running.values() if one.task.task_id != refused]
        for entry in others:
            entry.control.no_more_requests = True
            may_finish = entry.control.may_finish or entry.task.task_id in owed
            if entry.control.outcome is None and may_finish:
                finishing += 1
            else:
                self._cancel(entry.task.task_id, StepCancelled("stopped"))
        if is_first and finishing:
            self.listener.limit_reached(error, finishing)

    async def _after_grace(self, grace_s: float) -> None:
        await asyncio.sleep(grace_s)
        self._cancel_all(StepCancelled("stopped"))

    async def _end(self, keeper: asyncio.Task[None]) -> None:
        self._begin_stop(
            PoolOutcome(StopReason.STOPPED) if self._workers else PoolOutcome(StopReason.DRAINED)
        )
        side = [keeper] + ([self._grace] if self._grace else [])
        self._cancel_all(StepCancelled("stopped"))
        await asyncio.gather(*self._workers.values(), return_exceptions=True)
        for task in side:
            task.cancel()
        await asyncio.gather(*side, return_exceptions=True)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The leaf that decides: a fault of ours, else a real error, else a stop."""
    leaves: list[BaseException] = []
    queue: list[BaseException] = [group]
    while queue:
        error = queue.pop(0)
        if isinstance(error, BaseExceptionGroup):
            queue.extend(error.exceptions)
        else:
            leaves.append(error)
    return min(leaves, key=lambda e: (isinstance(e, StepCancelled), not isinstance(e, GsvrError)))


def _unexpected(error: BaseException) -> GsvrError:
    """A programming error met in one task: that task fails, with the type named."""
    return PermanentError(
        f"unexpected {type(error).__name__}: {error}",
        hint="this is a fault in gsvr; please report it with the output of --verbose",
    )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


__all__ = [
    "PoolListener",
    "PoolOutcome",
    "PoolStatistics",
    "StopReason",
    "TaskControl",
    "TaskRunner",
    "TaskStatus",
    "WorkerPool",
]
