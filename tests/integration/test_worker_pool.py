"""WorkerPool on a real queue: isolation, retries, time limits, stopping, fencing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.attempt.calls import MeteredLimiter
from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.outage import Outage
from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchOptions,
    BatchRow,
    BatchStatus,
    NewTask,
    TaskResult,
    TaskStatus,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.pool.outcome import StopReason
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.worker_pool import WorkerPool
from gs_video_report.errors import (
    ComputeCrashed,
    DiskFullError,
    GsvrError,
    LimitReached,
    NoMediaError,
    Refused,
    RetryableError,
    StepCancelled,
)

BATCH = "ab12cd34"
Run = Callable[[VideoTask, TaskControl], Awaitable[TaskResult]]


@dataclass
class Recorder:
    """A listener that remembers."""

    finished: list[int] = field(default_factory=list)
    failed: list[tuple[int, str]] = field(default_factory=list)
    retried: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)

    def task_started(self, task: VideoTask, slot: int) -> None: ...

    def task_finished(self, task: VideoTask, result: TaskResult, seconds: float) -> None:
        self.finished.append(task.seq)

    def task_skipped(self, task: VideoTask, result: TaskResult) -> None:
        self.skipped.append(task.seq)

    def task_failed(self, task: VideoTask, error: GsvrError, seconds: float) -> None:
        self.failed.append((task.seq, error.code))

    def task_retrying(self, task: VideoTask, error: GsvrError, delay_s: float) -> None:
        self.retried.append(task.seq)

    def task_released(self, task: VideoTask) -> None:
        self.released.append(task.seq)

    def service_lost(self, outage: Outage, seconds: float) -> None:
        self.lost.append(outage.label)

    def service_back(self, outage: Outage, seconds: float) -> None:
        self.back.append(outage.label)

    def limit_reached(self, error: LimitReached, finishing: int) -> None:
        self.limits.append(finishing)


@dataclass
class Bench:
    """A batch in a real database, and pools on it."""

    db: Database
    queue: TaskQueue
    lock: ProcessLock
    listener: Recorder = field(default_factory=Recorder)

    def pool(self, run: Run, **settings: object) -> WorkerPool:
        return WorkerPool(
            queue=self.queue,
            batch_id=BATCH,
            runner=run,
            listener=self.listener,
            process_id=self.lock.process_id,
            heartbeat_s=0.02,
            rand=lambda: 0.0,
            **settings,  # type: ignore[arg-type]
        )

    async def statuses(self) -> dict[int, TaskStatus]:
        return {t.seq: t.status async for t in self.queue.iter_tasks(BATCH)}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    db = await Database.open(tmp_path / "tasks.db")
    queue = TaskQueue(db)
    await queue.create_batch(
        BatchRow(BATCH, "lectures", "key", BatchStatus.INITIALIZING, BatchOptions(), {})
    )
    await queue.add_tasks(
        BATCH, [NewTask(VideoInput(f"/v/{n}.mp4"), "t", task_key=str(n)) for n in range(1, 7)]
    )
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    lock = ProcessLock(db.path)
    lock.acquire()
    yield Bench(db, queue, lock)
    await db.close()
    lock.close()


async def good(task: VideoTask, control: TaskControl) -> TaskResult:
    return TaskResult(media_s=1.0)


async def test_every_task_is_completed_exactly_once(bench: Bench) -> None:
    outcome = await bench.pool(good, parallel=3).run()
    assert outcome.reason is StopReason.DRAINED
    assert sorted(bench.listener.finished) == [1, 2, 3, 4, 5, 6]
    assert set((await bench.statuses()).values()) == {TaskStatus.COMPLETED}


async def test_never_more_tasks_in_flight_than_asked_for(bench: Bench) -> None:
    now, most = 0, 0

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(20):
            await asyncio.sleep(0)
        now -= 1
        return TaskResult()

    await bench.pool(run, parallel=2).run()
    assert most == 2


async def test_one_bad_file_fails_alone(bench: Bench) -> None:
    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 3:
            raise NoMediaError("3.mp4: not a video")
        return TaskResult()

    outcome = await bench.pool(run).run()
    assert outcome.reason is StopReason.DRAINED
    assert bench.listener.failed == [(3, "E_NO_MEDIA")]
    assert len(bench.listener.finished) == 5


async def test_a_programming_error_fails_its_task_and_names_the_type(bench: Bench) -> None:
    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 1:
            raise KeyError("surprise")
        return TaskResult()

    await bench.pool(run).run()
    task = await bench.queue.get_task(f"{BATCH}:1")
    assert task.status is TaskStatus.FAILED
    assert task.error is not None
    assert "KeyError" in task.error.message


async def test_an_error_inside_a_task_group_is_still_ours(bench: Bench) -> None:
    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        async with asyncio.TaskGroup() as group:
            group.create_task(_raise(NoMediaError("inside")))
        return TaskResult()

    await bench.pool(run).run()
    assert {code for _, code in bench.listener.failed} == {"E_NO_MEDIA"}


async def _raise(error: Exception) -> None:
    raise error


async def test_retryable_errors_are_tried_again_until_the_limit(bench: Bench) -> None:
    tries: dict[int, int] = {}

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        tries[task.seq] = tries.get(task.seq, 0) + 1
        if task.seq == 1 and tries[1] < 3:
            raise RetryableError("busy", retry_after_s=0)
        if task.seq == 2:
            raise RetryableError("always busy", retry_after_s=0)
        return TaskResult()

    await bench.pool(run, max_retries=2).run()
    assert tries[1] == 3
    assert tries[2] == 3
    statuses = await bench.statuses()
    assert statuses[1] is TaskStatus.COMPLETED
    assert statuses[2] is TaskStatus.FAILED


async def test_a_file_that_crashes_its_process_three_times_is_poison(bench: Bench) -> None:
    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 4:
            raise ComputeCrashed("the decoder died of signal 11 (SIGSEGV)", retry_after_s=0)
        return TaskResult()

    await bench.pool(run, max_retries=10).run()
    task = await bench.queue.get_task(f"{BATCH}:4")
    assert task.attempt == 3
    assert task.error is not None
    assert task.error.code == "E_POISON"
    assert "SIGSEGV" in task.error.message
    assert len(bench.listener.finished) == 5


async def test_a_task_over_its_time_is_cancelled_and_tried_again(bench: Bench) -> None:
    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 1 and task.attempt == 1:
            await asyncio.Event().wait()
        return TaskResult()

    await bench.pool(run, timeout_s=0.5).run()
    task = await bench.queue.get_task(f"{BATCH}:1")
    assert task.status is TaskStatus.COMPLETED
    assert task.attempt == 2
    attempts = await bench.queue.attempts(task.task_id)
    assert "0.5 s" in str(attempts[0]["error"])


async def test_waiting_for_a_process_does_not_count_as_working_time(bench: Bench) -> None:
    control = TaskControl(asyncio.Event(), started=100.0)
    control.waiting(101.0, True)
    assert control.active_s(150.0) == pytest.approx(1.0)
    control.waiting(150.0, False)
    assert control.active_s(152.0) == pytest.approx(3.0)


async def test_graceful_stop_lets_steps_finish_and_gives_tasks_back(bench: Bench) -> None:
    begun = asyncio.Event()

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        begun.set()
        await control.stopping.wait()
        raise StepCancelled("stopped before the next step")

    pool = bench.pool(run, parallel=2)
    running = asyncio.create_task(pool.run())
    await begun.wait()
    pool.stop(grace_s=30)
    outcome = await running
    assert outcome.reason is StopReason.STOPPED
    statuses = await bench.statuses()
    assert set(statuses.values()) == {TaskStatus.PENDING}
    task = await bench.queue.get_task(f"{BATCH}:1")
    assert task.failures == 0


async def test_after_the_grace_time_tasks_are_cancelled(bench: Bench) -> None:
    begun = asyncio.Event()
    cancelled: list[int] = []

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(task.seq)
            raise
        raise AssertionError

    pool = bench.pool(run, parallel=1)
    running = asyncio.create_task(pool.run())
    await begun.wait()
    pool.stop(grace_s=0.01)
    await running
    assert cancelled == [1]
    assert (await bench.statuses())[1] is TaskStatus.PENDING


async def test_stop_now_wins_over_a_long_grace(bench: Bench) -> None:
    begun = asyncio.Event()

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    pool = bench.pool(run, parallel=2)
    running = asyncio.create_task(pool.run())
    await begun.wait()
    pool.stop(grace_s=3600)
    pool.stop_now()
    assert (await running).reason is StopReason.STOPPED
    assert TaskStatus.RUNNING not in (await bench.statuses()).values()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DiskFullError("/out: no space left"), StopReason.FATAL),
        (LimitReached("quota", resume_at="2030-01-01T00:00:00Z"), StopReason.LIMIT),
    ],
)
async def test_fatal_errors_and_limits_stop_the_batch_and_keep_the_tasks(
    bench: Bench, error: GsvrError, reason: StopReason
) -> None:
    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 2:
            raise error
        await asyncio.Event().wait()
        raise AssertionError

    outcome = await bench.pool(run, parallel=3).run()
    assert outcome.reason is reason
    assert outcome.error is error
    assert set((await bench.statuses()).values()) == {TaskStatus.PENDING}


async def test_videos_that_have_their_answers_are_finished_after_a_limit(bench: Bench) -> None:
    """They were cancelled and ended as "0 done", with everything paid."""
    asked, composing = asyncio.Event(), asyncio.Event()

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        steps = MeteredLimiter(ApiLimiter(), control)
        if task.seq == 3:
            await asyncio.wait_for(asked.wait(), 5)
            raise LimitReached("quota")
        async with steps.reserve("b", tokens=10):
            pass
        asked.set()
        while not control.no_more_requests:
            await asyncio.sleep(0)
        composing.set()
        if task.seq == 2:  # needs one more
            async with steps.reserve("b", tokens=10):
                raise AssertionError
        assert not control.stopping.is_set()
        return TaskResult(media_s=1.0)

    outcome = await bench.pool(run, parallel=3).run()
    assert outcome.reason is StopReason.LIMIT
    assert composing.is_set()
    assert bench.listener.limits == [2]
    assert {seq for seq, s in (await bench.statuses()).items() if s is TaskStatus.COMPLETED} == {1}
    assert set((await bench.statuses()).values()) == {TaskStatus.COMPLETED, TaskStatus.PENDING}


async def test_videos_that_were_refused_are_not_told_as_having_answers(bench: Bench) -> None:
    """Two refused videos were told as "2 videos have their answers"."""
    refused = asyncio.Event()

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 2:
            with suppress(Refused):
                async with MeteredLimiter(ApiLimiter(), control).reserve("b", tokens=10):
                    raise Refused("too often")
            refused.set()
            await asyncio.Event().wait()
        await asyncio.wait_for(refused.wait(), 5)
        async with MeteredLimiter(ApiLimiter(), control).reserve("b", tokens=10):
            raise LimitReached("the day's quota is spent")

    outcome = await bench.pool(run, parallel=2).run()
    assert outcome.reason is StopReason.LIMIT
    assert bench.listener.limits == []
    assert set((await bench.statuses()).values()) == {TaskStatus.PENDING}


async def test_a_stop_ends_also_what_a_limit_left_to_finish(bench: Bench) -> None:
    asked = asyncio.Event()

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 2:
            await asyncio.wait_for(asked.wait(), 5)
            raise LimitReached("quota")
        async with MeteredLimiter(ApiLimiter(), control).reserve("b", tokens=10):
            asked.set()
        while not control.no_more_requests:
            await asyncio.sleep(0)
        pool.stop(0.0)
        await asyncio.Event().wait()
        raise AssertionError

    pool = bench.pool(run, parallel=2)
    outcome = await pool.run()
    assert outcome.reason is StopReason.LIMIT
    assert set((await bench.statuses()).values()) == {TaskStatus.PENDING}


@pytest.mark.parametrize("error", [LimitReached("quota"), DiskFullError("no space")])
async def test_a_task_that_met_the_end_of_the_run_is_not_claimed_again_by_an_idle_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: GsvrError
) -> None:
    """It was released before the claiming stopped; the second attempt heard of no stop."""
    begun: list[int] = []

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        begun.append(task.seq)
        if task.seq == 1 and begun.count(1) == 1:
            await asyncio.wait_for(drained.wait(), 5)
            raise error
        return TaskResult(media_s=1.0)

    async def after_the_idle_worker() -> None:
        """Gives it all the time it needs, to claim or to leave."""
        async with asyncio.timeout(5):
            while begun.count(1) == 1 and len(pool._workers) == 2:
                await asyncio.sleep(0)

    drained = asyncio.Event()
    owed, release, counts = bench.queue.tasks_owed, bench.queue.release, bench.queue.counts

    async def slow_owed(batch_id: str) -> set[int]:
        await after_the_idle_worker()
        return await owed(batch_id)

    async def slow_release(task: VideoTask) -> None:
        await release(task)
        await after_the_idle_worker()

    async def noting(batch_id: str) -> BatchCounts:
        found = await counts(batch_id)
        if found.open == 1:  # the other worker has nothing to do but to look for work
            drained.set()
        return found

    monkeypatch.setattr(bench.queue, "tasks_owed", slow_owed)
    monkeypatch.setattr(bench.queue, "release", slow_release)
    monkeypatch.setattr(bench.queue, "counts", noting)
    pool = bench.pool(run, parallel=2)
    outcome = await asyncio.wait_for(pool.run(), 10)
    assert outcome.error is error
    assert begun.count(1) == 1
    assert (await bench.statuses())[1] is TaskStatus.PENDING


@pytest.mark.parametrize("status", [BatchStatus.PAUSED, BatchStatus.FAILED])
async def test_a_state_in_which_nothing_can_be_claimed_stops_the_pool(
    bench: Bench, status: BatchStatus
) -> None:
    """A failed batch was waited for without end: its tasks are open, and nobody may take them."""
    begun = asyncio.Event()

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        begun.set()
        await control.stopping.wait()
        raise StepCancelled("stopped")

    running = asyncio.create_task(bench.pool(run, parallel=1).run())
    await begun.wait()
    await bench.queue.set_batch_status(BATCH, status)
    assert (await asyncio.wait_for(running, 10)).reason is StopReason.PAUSED
    assert set((await bench.statuses()).values()) == {TaskStatus.PENDING}


async def test_cancelling_one_task_leaves_the_others(bench: Bench) -> None:
    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 1:
            await bench.queue.request_cancel(task)
            await asyncio.Event().wait()
        return TaskResult()

    await bench.pool(run, parallel=2).run()
    statuses = await bench.statuses()
    assert statuses.pop(1) is TaskStatus.CANCELLED
    assert set(statuses.values()) == {TaskStatus.COMPLETED}


async def test_two_pools_on_one_batch_share_the_work(bench: Bench) -> None:
    other = await Database.open(bench.db.path)
    lock = ProcessLock(other.path)
    lock.acquire()
    second = Bench(other, TaskQueue(other), lock)
    try:
        await asyncio.gather(
            bench.pool(good, parallel=2).run(), second.pool(good, parallel=2).run()
        )
    finally:
        await other.close()
        lock.close()
    done = bench.listener.finished + second.listener.finished
    assert sorted(done) == [1, 2, 3, 4, 5, 6]


async def test_resize_while_running(bench: Bench) -> None:
    gate = asyncio.Event()
    seen: set[int] = set()

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        seen.add(task.seq)
        if len(seen) == 4:
            gate.set()
        await gate.wait()
        return TaskResult()

    pool = bench.pool(run, parallel=1)
    running = asyncio.create_task(pool.run())
    while not seen:
        await asyncio.sleep(0)
    pool.resize(4)
    await running
    assert len(bench.listener.finished) == 6


async def test_a_finished_report_found_on_disk_is_skipped(bench: Bench) -> None:
    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        control.skipped = "the report is there"
        return TaskResult(media_s=2.0)

    await bench.pool(run).run()
    assert set((await bench.statuses()).values()) == {TaskStatus.SKIPPED}
    assert len(bench.listener.skipped) == 6
