"""Drain one batch with N async workers: claim, run, end; stop gracefully or at once.

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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gs_video_report.batch.attempt.control import TaskControl, TaskRunner
from gs_video_report.batch.attempt.errors import guarded
from gs_video_report.batch.attempt.outage import DEFAULT_LIMIT_S, FIRST_WAIT_S, OutageWatch
from gs_video_report.batch.attempt.service_line import ServiceLine
from gs_video_report.batch.data_models import BatchStatus, TaskResult, VideoTask
from gs_video_report.batch.pool.attempt_end import AttemptEnd
from gs_video_report.batch.pool.in_flight import Attempt, AttemptsInFlight
from gs_video_report.batch.pool.listener import PoolListener
from gs_video_report.batch.pool.outcome import PoolOutcome, StopReason
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import (
    FatalError,
    GsvrError,
    LeaseLost,
    LimitReached,
    StepCancelled,
)

LEASE_S = 60.0
"""Seconds a claim lasts without a heartbeat; the lock of a dead process frees its tasks sooner."""
HEARTBEAT_S = 2.0
"""Seconds between heartbeats; also how soon pause and cancel are noticed."""
IDLE_POLL_S = 0.5
"""Seconds between looks at the queue while another process holds the last tasks."""


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
    _attempts: AttemptsInFlight = field(default_factory=AttemptsInFlight)
    _workers: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing more is claimed."""
    _halting: asyncio.Event = field(default_factory=asyncio.Event)
    """Tasks are to start no further step."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _outcome: PoolOutcome | None = None
    _grace: asyncio.Task[None] | None = None
    _line: ServiceLine = field(init=False)
    _end: AttemptEnd = field(init=False)

    def __post_init__(self) -> None:
        self._line = ServiceLine(
            self.listener,
            self._wake.set,
            self.monotonic,
            self.rand,
            self.outage_limit_s,
            OutageWatch(self.outage_wait_s),
        )
        self._end = AttemptEnd(
            self.queue, self.listener, self._line, self.max_retries, self.rand, self.monotonic
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
            await self._wind_up(keeper)
        return self._outcome or PoolOutcome(StopReason.DRAINED)

    def stop(self, grace_s: float, reason: StopReason = StopReason.STOPPED) -> None:
        """Claim nothing more; steps in flight may finish for `grace_s` seconds. Idempotent."""
        self._begin_stop(PoolOutcome(reason))
        if self._grace is None:
            self._grace = asyncio.create_task(self._after_grace(grace_s), name="gsvr-grace")

    def stop_now(self) -> None:
        """Cancel what runs; finished steps stay journaled."""
        self._stop_at_once(PoolOutcome(StopReason.STOPPED))

    def resize(self, parallel: int) -> None:
        """Change the number of workers: more start at once, fewer leave between tasks."""
        self.parallel = max(1, parallel)
        if not self._stopping.is_set() and self._workers:
            self._spawn()
        self._wake.set()

    @property
    def busy(self) -> int:
        """Tasks that this process works on now."""
        return len(self._attempts)

    @property
    def held_by_quota(self) -> frozenset[int]:
        """Ids of the tasks in flight that wait for quota, with no request under way."""
        waiting = (a for a in self._attempts if a.control.quota_waits and not a.control.asking)
        return frozenset(attempt.task.task_id for attempt in waiting)

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
                tasks = await self._run_one(tasks[0], slot)
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

    async def _run_one(self, task: VideoTask, slot: int) -> list[VideoTask]:
        """Work on the task to its end; returns the next one, if it was claimed with that."""
        control = TaskControl(self._halting, self.monotonic(), line=self._line)
        attempt = Attempt(task, control, slot)
        self._attempts.add(attempt)
        if self._stopping.is_set():  # the claim came back after the stop began
            return await self._settle(attempt, StepCancelled("stopped"))
        self.listener.task_started(task, slot)
        control.handle = asyncio.create_task(
            guarded(self.runner, task, control), name=f"gsvr-task-{task.ref}"
        )
        outcome: TaskResult | GsvrError
        try:
            outcome = await control.handle
        except GsvrError as error:
            outcome = error
        except asyncio.CancelledError:
            outcome = control.outcome or StepCancelled("stopped")
        # The final write is shielded: a cancelled worker still hands its task back.
        return await asyncio.shield(self._settle(attempt, outcome))

    async def _settle(self, attempt: Attempt, outcome: TaskResult | GsvrError) -> list[VideoTask]:
        try:
            if not isinstance(outcome, GsvrError):
                return await self._settle_result(attempt, outcome)
            await self._settle_error(attempt, outcome)
        except LeaseLost:
            self.listener.task_released(attempt.task)
        finally:
            self._attempts.remove(attempt)
        return []

    async def _settle_result(self, attempt: Attempt, result: TaskResult) -> list[VideoTask]:
        if attempt.control.skipped is not None:
            await self._end.skipped(attempt, attempt.control.skipped, result)
            return []
        takes_next = self._goes_on(attempt.slot) and not self._line.is_down()
        return await self._end.completed(attempt, result, self.lease_s if takes_next else None)

    async def _settle_error(self, attempt: Attempt, error: GsvrError) -> None:
        task = attempt.task
        if isinstance(error, LeaseLost):
            raise error
        if isinstance(error, StepCancelled):
            is_unwanted = bool(error.data.get("cancelled"))
            await (self._end.cancelled(task) if is_unwanted else self._end.given_back(task))
        elif isinstance(error, LimitReached):  # stop first: an idle worker would claim it again
            await self._close_purse(error, task.task_id)
            await self._end.given_back(task)
        elif isinstance(error, FatalError):
            self._stop_at_once(PoolOutcome(StopReason.FATAL, error))
            await self._end.given_back(task)
        else:
            await self._end.failed(attempt, error)

    # --- the keeper -----------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await self._beat()
            self._attempts.stop_overdue(self.monotonic(), self.timeout_s)
            overdue = self._line.overdue(bool(self.busy))
            if overdue is not None:
                self._stop_at_once(PoolOutcome(StopReason.LIMIT, overdue))
            await self.queue.recover(self.batch_id)
            await asyncio.sleep(self.heartbeat_s)

    async def _beat(self) -> None:
        workers = [f"{self.process_id}/w{slot}" for slot in self._workers]
        answer = await self.queue.heartbeat(workers, self.lease_s, batch_id=self.batch_id)
        for task_id in answer.lost:
            self._attempts.cancel(task_id, LeaseLost("another process took the task over"))
        for task_id in answer.cancel:
            self._attempts.cancel(task_id, StepCancelled("cancelled on request", cancelled=True))
        if answer.batch_status in (BatchStatus.PAUSED, BatchStatus.FAILED):  # nothing to claim
            self.stop(5.0, StopReason.PAUSED)
        elif answer.batch_status == BatchStatus.CANCELLED:
            self.stop(0.0, StopReason.CANCELLED)

    # --- stopping -------------------------------------------------------------------------------

    def _begin_stop(self, outcome: PoolOutcome) -> None:
        self._claim_no_more(outcome)
        self._halting.set()

    def _claim_no_more(self, outcome: PoolOutcome) -> None:
        if self._outcome is None:
            self._outcome = outcome
        self._stopping.set()
        self._wake.set()

    def _stop_at_once(self, outcome: PoolOutcome) -> None:
        self._begin_stop(outcome)
        self._attempts.stop_all()

    async def _close_purse(self, error: LimitReached, refused: int) -> None:
        """No more requests; what is paid for already may become reports."""
        is_first = self._outcome is None
        self._claim_no_more(PoolOutcome(StopReason.LIMIT, error))  # before anything is waited for
        owed = await self.queue.tasks_owed(self.batch_id)
        finishing = self._attempts.close_purse(refused, owed)
        if is_first and finishing:
            self.listener.limit_reached(error, finishing)

    async def _after_grace(self, grace_s: float) -> None:
        await asyncio.sleep(grace_s)
        self._attempts.stop_all()

    async def _wind_up(self, keeper: asyncio.Task[None]) -> None:
        self._stop_at_once(PoolOutcome(StopReason.STOPPED if self._workers else StopReason.DRAINED))
        side = [keeper] + ([self._grace] if self._grace else [])
        try:
            await _ended(self._workers.values())
        finally:
            for task in side:
                task.cancel()
            await asyncio.gather(*side, return_exceptions=True)


async def _ended(workers: Iterable[asyncio.Task[None]]) -> None:
    """Wait for workers that are to stop, also when the waiting itself is cancelled.

    They would leave with it, and the tasks they hold would stay claimed.
    """
    ending = asyncio.gather(*workers, return_exceptions=True)
    cancelled: asyncio.CancelledError | None = None
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
