"""A network that goes away and comes back: real queue, real pool, real SDK, servers on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.attempt.control import TaskControl, TaskRunner
from gs_video_report.batch.attempt.outage import ENGINE, Outage
from gs_video_report.batch.attempt.task_runner import BatchTaskRunner
from gs_video_report.batch.data_models import (
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
from gs_video_report.batch.pool.outcome import PoolOutcome, StopReason
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.worker_pool import WorkerPool
from gs_video_report.cache import ArtifactStore
from gs_video_report.engines import jobs
from gs_video_report.engines.base import Engine
from gs_video_report.errors import (
    DownloadError,
    GsvrError,
    LimitReached,
    NetworkOutage,
    Unreachable,
)
from gs_video_report.templates.loader import load_template
from tests.support.gemini import make_engine, probe_of

BATCH = "ab12cd34"


@dataclass
class Told:
    """A listener that remembers, and wakes who waits for something."""

    finished: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    retried: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    back: list[str] = field(default_factory=list)
    limits: list[tuple[str, int]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def task_started(self, task: VideoTask, slot: int) -> None: ...
    def task_skipped(self, task: VideoTask, result: TaskResult) -> None: ...

    def task_finished(self, task: VideoTask, result: TaskResult, seconds: float) -> None:
        self._note(self.finished, task.seq)

    def task_failed(self, task: VideoTask, error: GsvrError, seconds: float) -> None:
        self._note(self.failed, task.seq)

    def task_retrying(self, task: VideoTask, error: GsvrError, delay_s: float) -> None:
        self._note(self.retried, task.seq)

    def task_released(self, task: VideoTask) -> None:
        self._note(self.released, task.seq)

    def service_lost(self, outage: Outage, seconds: float) -> None:
        self._note(self.lost, outage.label)

    def service_back(self, outage: Outage, seconds: float) -> None:
        self._note(self.back, outage.label)

    def limit_reached(self, error: LimitReached, finishing: int) -> None:
        self._note(self.limits, (error.message, finishing))

    def _note(self, where: list[Any], what: Any) -> None:
        where.append(what)
        self.changed.set()

    async def until(self, condition: Callable[[Told], object]) -> None:
        while not condition(self):
            self.changed.clear()
            await self.changed.wait()


@dataclass
class Bench:
    """One batch in a real database."""

    db: Database
    queue: TaskQueue
    lock: ProcessLock
    told: Told = field(default_factory=Told)

    def pool(self, run: TaskRunner, **settings: Any) -> WorkerPool:
        return WorkerPool(
            queue=self.queue, batch_id=BATCH, runner=run, listener=self.told,
            process_id=self.lock.process_id, heartbeat_s=0.02, rand=lambda: 0.0,
            outage_wait_s=0.05, **settings,
        )  # fmt: skip

    async def tasks(self) -> list[VideoTask]:
        return [t async for t in self.queue.iter_tasks(BATCH)]


@asynccontextmanager
async def bench(folder: Path, sources: list[str]) -> AsyncIterator[Bench]:
    db = await Database.open(folder / "tasks.db")
    queue = TaskQueue(db)
    await queue.create_batch(
        BatchRow(BATCH, "lectures", "key", BatchStatus.INITIALIZING, BatchOptions(), {})
    )
    videos = [VideoInput(source, relative_path=Path(source).name) for source in sources]
    await queue.add_tasks(
        BATCH, [NewTask(video, "summary_report", task_key=video.source) for video in videos]
    )
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    try:
        with ProcessLock(db.path) as lock:
            yield Bench(db, queue, lock)
    finally:
        await db.close()


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path, [f"/v/{n}.mp4" for n in range(1, 9)]) as ready:
        yield ready


# --- the pool ----------------------------------------------------------------------------------


async def test_an_outage_longer_than_all_tries_costs_no_task_a_try(made: Bench) -> None:
    """Without the watch each task would fail at its first failure."""
    is_up, calls, at_once, most = False, 0, 0, 0

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        nonlocal is_up, calls, at_once, most
        calls += 1
        if not is_up:
            at_once += 1
            if made.told.lost:
                most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            is_up = calls >= 8
            raise Unreachable("refused", service="the service", certain=True)
        control.line.answered(ENGINE)
        return TaskResult()

    outcome = await made.pool(run, parallel=4, max_retries=0).run()
    assert outcome.reason is StopReason.DRAINED
    assert {t.status for t in await made.tasks()} == {TaskStatus.COMPLETED}
    assert {t.failures for t in await made.tasks()} == {0}
    assert (made.told.lost, made.told.back) == (["the service"], ["the service"])
    assert (made.told.failed, made.told.retried) == ([], [])
    assert most == 1, "one probe at a time"


async def test_after_the_limit_the_batch_pauses_with_every_task_unharmed(made: Bench) -> None:
    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        raise Unreachable("no route", service="the service", certain=True)

    outcome = await made.pool(run, parallel=3, max_retries=0, outage_limit_s=0.4).run()
    assert outcome.reason is StopReason.LIMIT
    assert isinstance(outcome.error, NetworkOutage)
    assert outcome.error.message == "the service could not be reached for 1 min (no route)"
    assert {t.failures for t in await made.tasks()} == {0}
    assert {t.status for t in await made.tasks()} <= {TaskStatus.PENDING, TaskStatus.RETRYING}


async def test_a_task_in_work_goes_on_while_the_service_is_down(made: Bench) -> None:
    """The first task needs no service; it is not stopped by the failures of the others."""
    is_up = asyncio.Event()

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 1:
            await is_up.wait()
            return TaskResult()
        if not is_up.is_set():
            raise Unreachable("refused", service="the service", certain=True)
        control.line.answered(ENGINE)
        return TaskResult()

    drained = asyncio.create_task(made.pool(run, parallel=3, max_retries=0).run())
    await made.told.until(lambda told: told.lost)
    is_up.set()
    assert (await drained).reason is StopReason.DRAINED
    assert sorted(made.told.finished) == list(range(1, 9))


async def test_one_broken_host_fails_after_its_normal_tries_and_stops_nobody(
    tmp_path: Path,
) -> None:
    good = [f"https://good.org/{n}.mp4" for n in range(6)]
    bad = [f"https://bad.org/{n}.mp4" for n in range(2)]

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        host = task.video.source.split("/")[2]
        control.line.enter(host)
        if host == "bad.org":
            raise DownloadError("refused", host=host, unreachable=True)
        control.line.answered(host)
        return TaskResult()

    async with bench(tmp_path, good + bad) as made:
        outcome = await made.pool(run, parallel=2, max_retries=2).run()
        tasks = await made.tasks()
    assert outcome.reason is StopReason.DRAINED
    assert [t.status for t in tasks] == [TaskStatus.COMPLETED] * 6 + [TaskStatus.FAILED] * 2
    assert [t.failures for t in tasks[6:]] == [3, 3]
    assert made.told.lost == []


async def test_downloads_wait_for_the_network_while_files_go_on(tmp_path: Path) -> None:
    is_up = False
    sources = [f"https://h{n}.org/x.mp4" for n in range(4)] + [f"/v/{n}.mp4" for n in range(4)]

    async def run(task: VideoTask, control: TaskControl) -> TaskResult:
        nonlocal is_up
        if not task.video.source.startswith("https"):
            return TaskResult()
        host = task.video.source.split("/")[2]
        is_probe = control.line.enter(host)
        if not is_up:
            is_up = len(made.told.finished) == 4 and bool(made.told.lost)
            raise DownloadError("no route", host=host, unreachable=True)
        control.line.answered(host)
        if is_probe:
            control.line.leave(host)
        return TaskResult()

    async with bench(tmp_path, sources) as made:
        outcome = await made.pool(run, parallel=2, max_retries=1).run()
        tasks = await made.tasks()
    assert outcome.reason is StopReason.DRAINED
    assert sorted(made.told.finished[:4]) == [5, 6, 7, 8], "files do not wait for the network"
    assert {(t.status, t.failures) for t in tasks} == {(TaskStatus.COMPLETED, 0)}
    assert (made.told.lost, made.told.back) == (["the internet"], ["the internet"])


# --- the real engine ---------------------------------------------------------------------------


class Inline:
    """Runs what compute processes do in threads; the probe is pretended."""

    async def run(self, fn: Callable[..., Any], *args: Any, **_: Any) -> Any:
        return probe_of(60.0) if fn is jobs.probe else await asyncio.to_thread(fn, *args)


def runner(engine: Engine, queue: TaskQueue, db: Database, folder: Path) -> BatchTaskRunner:
    options = BatchOptions(
        output_dir=str(folder / "out"), cache_dir=str(folder / "cache"), formats=("json",)
    )
    return BatchTaskRunner(
        engine=engine, options=options, template_of=load_template, queue=queue,
        journal=StepJournal(db), compute=Inline(), limiter=ApiLimiter(),  # type: ignore[arg-type]
        cache=ArtifactStore(folder / "cache"), on_stage=lambda *_: None,
    )  # fmt: skip


async def test_the_gemini_service_cut_and_brought_back_finishes_every_task_once(
    tmp_path: Path,
) -> None:
    pytest.importorskip("google.genai")
    from tests.fakes.gemini import FakeGemini

    files = [tmp_path / f"{n}.mp4" for n in range(8)]
    for file in files:
        file.write_bytes(file.name.encode() * 500)
    first = FakeGemini(latency_s=0.02)
    port = int(first.url.rpartition(":")[2])
    async with bench(tmp_path, [str(f) for f in files]) as made:
        run = runner(make_engine(first.url), made.queue, made.db, tmp_path)
        pool = made.pool(run, parallel=3, max_retries=1)
        with first:
            drained = asyncio.create_task(pool.run())
            await made.told.until(lambda told: len(told.finished) >= 2)
        await made.told.until(lambda told: told.lost and len(told.released) >= 5)
        with FakeGemini(port) as second:
            outcome: PoolOutcome = await drained
        tasks = await made.tasks()
    assert outcome.reason is StopReason.DRAINED
    assert {(t.status, t.failures) for t in tasks} == {(TaskStatus.COMPLETED, 0)}
    assert (made.told.lost, made.told.back) == (["the Gemini service"],) * 2
    answers = first.count("generate", ok=True) + second.count("generate", ok=True)
    assert 8 <= answers <= 8 + 3, "at most the answers that were on their way are paid twice"


def test_the_sentences_for_people_say_since_when() -> None:
    from datetime import UTC, datetime

    from gs_video_report.terminal.network import back_text, lost_text

    outage = Outage(ENGINE, "the Gemini service", time.monotonic(), "connection refused")
    now = datetime(2026, 5, 1, 14, 3, 10, tzinfo=UTC)
    assert lost_text(outage, 70.0, now) == (
        "the Gemini service cannot be reached since 14:02:00; waiting for it, no video loses a "
        "try (connection refused)"
    )
    assert back_text(outage, 190.0) == "the Gemini service answers again after 3m; going on"
