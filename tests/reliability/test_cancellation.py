"""Awaits of the asynchronous core cancelled at random moments: nothing stays held, nothing is half.

Three storms, on a real database: callers of the queue and its group commit, whole worker pools, and
requests that wait for quota and money. The short form cancels a few hundred times; the long one
10,000 times in each.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.data_models import (
    NewTask,
    TaskResult,
    TaskStatus,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.limiter.models import BucketConfig
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.spending import Spending
from gs_video_report.batch.run.limits import SharedPurse, UsageLedger
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.worker_pool import TaskControl, WorkerPool
from gs_video_report.errors import LeaseLost
from tests.support.queue import BATCH, batch

SIZES = [
    300,
    pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
]
CANCELLED_PARTS = ("gsvr-task", "gsvr-keeper")
DONE = TaskResult(media_s=1.0, engine="local")


class Nobody:
    """A listener that does not listen."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@asynccontextmanager
async def queue_in(folder: Path, tasks: int) -> AsyncIterator[TaskQueue]:
    async with await Database.open(folder / "q.db") as db:
        queue = TaskQueue(db)
        await queue.create_batch(batch())
        new = (NewTask(VideoInput(f"/v/{n}.mp4"), "t", task_key=str(n)) for n in range(tasks))
        await queue.add_tasks(BATCH, list(new))
        yield queue


async def some_turns(chance: random.Random, most: int = 12) -> None:
    """Let others run a few times; now and then for as long as a commit takes."""
    for _ in range(chance.randrange(most)):
        await asyncio.sleep(0)
    if chance.random() < 0.3:
        await asyncio.sleep(chance.random() * 0.004)


def nothing_is_held(path: Path) -> None:
    """Another program gets the write lock at once, and the file is sound."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def completions(path: Path) -> Counter[int]:
    """Completions by task."""
    with closing(sqlite3.connect(path)) as db:
        return Counter(
            task_id
            for (task_id,) in db.execute("SELECT task_id FROM events WHERE kind = 'task.completed'")
        )


def open_ends(path: Path) -> int:
    """Tasks that are running, and attempts without an end."""
    with closing(sqlite3.connect(path)) as db:
        running = db.execute("SELECT count(*) FROM tasks WHERE status = 'running'").fetchone()[0]
        return int(
            running
            + db.execute("SELECT count(*) FROM attempts WHERE outcome IS NULL").fetchone()[0]
        )


# --- the queue and its group commit ------------------------------------------------------------


async def hand_back(queue: TaskQueue) -> None:
    """As a worker does with a task whose work was cancelled."""
    for task_id, (_, attempt) in list(queue._held.items()):
        with suppress(LeaseLost):
            await queue.release(await the_task(queue, task_id, attempt))


async def the_task(queue: TaskQueue, task_id: int, attempt: int) -> VideoTask:
    found = [t async for t in queue.iter_tasks(BATCH, {TaskStatus.RUNNING}) if t.task_id == task_id]
    if not found or found[0].attempt != attempt:
        raise LeaseLost("it has ended meanwhile")
    return found[0]


async def one_caller(queue: TaskQueue, journal: StepJournal, worker: str) -> None:
    """Claim, journal, complete or hand back: what a worker asks of the queue."""
    for task in await queue.claim(BATCH, worker, 1, 3600.0):
        await journal.put(
            f"content-{task.seq}", "probe", 0, None, {"by": task.attempt}, seconds=0.1,
            task_id=task.task_id, attempt=task.attempt,
        )  # fmt: skip
        with suppress(LeaseLost):  # it was handed back while this waited to begin
            await asyncio.shield(queue.complete(task, DONE))


@pytest.mark.parametrize("cancels", SIZES)
async def test_cancelled_callers_of_the_queue_lose_no_task_and_complete_none_twice(
    fast: Path, cancels: int
) -> None:
    """A claim whose caller went away is given back; what was begun is whole, or not at all."""
    chance, cancelled = random.Random(cancels), 0
    async with queue_in(fast, cancels // 2) as queue:
        journal = StepJournal(queue.db)
        with ProcessLock(queue.db.path) as lock:
            while cancelled < cancels:
                callers = [
                    asyncio.create_task(one_caller(queue, journal, lock.worker_id(n)))
                    for n in range(16)
                ]
                await some_turns(chance)
                for caller in chance.sample(callers, 12):
                    cancelled += caller.cancel()
                await asyncio.gather(*callers, return_exceptions=True)
                await hand_back(queue)
                await until_nothing_runs(queue)
                if not (await queue.counts(BATCH)).open:
                    await queue.add_tasks(BATCH, fresh_tasks(cancelled))
            nothing_is_held(queue.db.path)
        await queue.recover()
        with ProcessLock(queue.db.path) as lock:
            while (await queue.counts(BATCH)).open:
                await one_caller(queue, journal, lock.worker_id(1))
        counts = await queue.counts(BATCH)
    assert counts.completed == counts.total
    done = completions(fast / "q.db")
    assert len(done) == counts.total
    assert set(done.values()) == {1}
    assert open_ends(fast / "q.db") == 0


def fresh_tasks(start: int) -> list[NewTask]:
    return [
        NewTask(VideoInput(f"/more/{start}-{n}.mp4"), "t", task_key=f"more-{start}-{n}")
        for n in range(200)
    ]


async def until_nothing_runs(queue: TaskQueue) -> None:
    """Claims that came too late are given back beside the work."""
    give_up = asyncio.get_running_loop().time() + 20
    while (await queue.counts(BATCH)).running:
        assert asyncio.get_running_loop().time() < give_up, "a task has an owner that is gone"


# --- whole pools -------------------------------------------------------------------------------


@pytest.mark.parametrize("cancels", SIZES)
async def test_pools_cancelled_at_any_await_hand_every_task_back(fast: Path, cancels: int) -> None:
    """Cancelled are the pool itself, its keeper, and the work on single tasks."""
    chance, cancelled = random.Random(cancels + 1), 0
    async with queue_in(fast, max(200, cancels // 4)) as queue:
        journal = StepJournal(queue.db)

        async def work(task: VideoTask, control: TaskControl) -> TaskResult:
            await some_turns(chance)
            await journal.put(f"c{task.seq}", "probe", 0, None, {}, seconds=0.1)
            await some_turns(chance)
            return DONE

        with ProcessLock(queue.db.path) as lock:

            def pool() -> WorkerPool:
                return WorkerPool(
                    queue=queue, batch_id=BATCH, runner=work, listener=Nobody(),
                    process_id=lock.process_id, parallel=8, heartbeat_s=0.01,
                    rand=lambda: 0.0, max_retries=20,
                )  # fmt: skip

            while cancelled < cancels:
                before = asyncio.all_tasks()
                run = asyncio.create_task(pool().run(), name="gsvr-run")
                for _ in range(chance.randrange(1, 20)):
                    await some_turns(chance)
                    parts = [
                        one
                        for one in asyncio.all_tasks() - before
                        if one.get_name().startswith(CANCELLED_PARTS) and not one.done()
                    ]
                    if parts:
                        cancelled += chance.choice(parts).cancel()
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)
                await asyncio.gather(*(asyncio.all_tasks() - before), return_exceptions=True)
                await until_nothing_runs(queue)
                if not (await queue.counts(BATCH)).open:
                    await queue.add_tasks(BATCH, fresh_tasks(cancelled))
            nothing_is_held(queue.db.path)
            await pool().run()
        counts = await queue.counts(BATCH)
    assert (counts.open, counts.failed) == (0, 0)
    done = completions(fast / "q.db")
    assert len(done) == counts.completed == counts.total
    assert set(done.values()) == {1}
    assert open_ends(fast / "q.db") == 0


# --- quota and money ---------------------------------------------------------------------------


@pytest.mark.parametrize("cancels", SIZES)
async def test_cancelled_requests_give_their_place_and_their_money_back(
    fast: Path, cancels: int
) -> None:
    """Most requests wait: for one of three places, and for the money that others have set aside."""
    chance, cancelled, answered = random.Random(cancels + 2), 0, 0
    limit_usd, price_usd = 1000.0, 300.0  # three in flight use it up
    async with queue_in(fast, 1) as queue:
        spending = Spending(queue.db, BATCH, "nobody")
        limiter = ApiLimiter(
            {"b": BucketConfig(max_in_flight=3)},
            ledger=UsageLedger(queue, BATCH),
            purse=SharedPurse(spending, limit_usd, None),
        )

        async def ask() -> None:
            nonlocal answered
            async with limiter.reserve("b", tokens=10, usd=price_usd) as reservation:
                await some_turns(chance)
                reservation.settle(usd=0.001)
                answered += 1

        while cancelled < cancels:
            asking = [asyncio.create_task(ask()) for _ in range(16)]
            for _ in range(4):
                await some_turns(chance)
                for one in chance.sample(asking, 3):
                    cancelled += one.cancel()
            assert limiter.snapshot().buckets[0].in_flight <= 3
            await asyncio.gather(*asking, return_exceptions=True)
        state = limiter.snapshot().buckets[0]
        assert (state.in_flight, state.waiting) == (0, 0)
        await limiter.flush()
        assert await spending.in_doubt(datetime.now(UTC)) == no_money()
        nothing_is_held(queue.db.path)
    assert answered > cancels / 20
    with closing(sqlite3.connect(fast / "q.db")) as db:
        assert db.execute("SELECT count(*) FROM holds").fetchone() == (0,)
        charged = db.execute("SELECT count(*), sum(usd) FROM usage WHERE usd > 0").fetchone()
    assert charged == (answered, pytest.approx(0.001 * answered))


def no_money() -> Any:
    from gs_video_report.batch.queue.spending import Standing, Sums

    return Standing(Sums(0.0, 0), Sums(0.0, 0))
