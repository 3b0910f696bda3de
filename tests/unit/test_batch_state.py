"""What `status` and `cancel` make of the rows: who lives, what waits, what ends."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.commands import batch_state, cancel_task
from gs_video_report.batch.data_models import BatchOptions, BatchRow, BatchStatus, TaskStatus
from gs_video_report.batch.processor import BatchProcessor
from gs_video_report.batch.run.record import RunRecord
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import GsvrError, UsageError
from tests.support.queue import BATCH, FakeClock, batch, open_queue


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    made = await open_queue(tmp_path, FakeClock(), 3)
    await made.set_batch_status(BATCH, BatchStatus.RUNNING)
    yield made
    await made.db.close()


async def test_tasks_of_a_process_that_died_wait_for_the_next_run(queue: TaskQueue) -> None:
    """An interrupted batch told of running videos, with their stages."""
    with ProcessLock(queue.db.path, "host-1-aaaa") as lock:
        await queue.claim(BATCH, lock.worker_id(1), 2, 60.0)
        alive = await batch_state(queue, BATCH)
        assert (alive.word, alive.counts.running, alive.counts.pending) == ("running", 2, 1)
    dead = await batch_state(queue, BATCH)
    assert (dead.word, dead.counts.running, dead.counts.pending) == ("interrupted", 0, 3)


async def test_a_batch_runs_while_a_process_waits_for_a_retry_though_the_last_claimer_died(
    queue: TaskQueue,
) -> None:
    with ProcessLock(queue.db.path, "host-1-aaaa") as waiting:
        record = RunRecord(queue, BATCH, waiting.process_id)
        await record.started(engine="local", parallel=1, processes=1)
        with ProcessLock(queue.db.path, "host-2-bbbb") as other:
            (taken,) = await queue.claim(BATCH, other.worker_id(1), 1, 60.0)
        await queue.recover(BATCH)
        assert (await queue.get_task(taken.task_id)).status is TaskStatus.PENDING
        assert (await batch_state(queue, BATCH)).word == "running"
    assert (await batch_state(queue, BATCH)).word == "interrupted"


async def test_one_task_is_cancelled_by_its_name_and_only_once(queue: TaskQueue) -> None:
    """`cancel REF:2` said that no batch is called so."""
    state = await cancel_task(queue, f"{BATCH}:2")
    assert (state.counts.cancelled, state.counts.pending) == (1, 2)
    assert (await queue.get_task(f"{BATCH}:2")).status is TaskStatus.CANCELLED
    with pytest.raises(UsageError, match=f"task {BATCH}:2 is cancelled, so there is nothing"):
        await cancel_task(queue, f"{BATCH}:2")
    with ProcessLock(queue.db.path, "host-1-aaaa") as lock:
        (running,) = await queue.claim(BATCH, lock.worker_id(1), 1, 60.0)
        await cancel_task(queue, running.ref)
        assert (await queue.heartbeat([lock.worker_id(1)], 60.0)).cancel == {running.task_id}


class Silent:
    """A printer."""

    lost = False

    def __getattr__(self, name: str) -> object:
        return lambda *args, **kwargs: None


async def not_to_begin(queue: TaskQueue, folder: Path) -> BatchProcessor:
    """The first run of the new batch bb22cc33, whose output folder cannot be made."""
    (folder / "out").write_text("in the way")
    options = BatchOptions(output_dir=str(folder / "out"), cache_dir=str(folder / "cache"))
    row = await queue.create_batch(batch("bb22cc33", options=options))
    return BatchProcessor(queue.db, row, Silent())  # type: ignore[arg-type]


async def test_a_batch_whose_first_run_could_not_begin_has_failed_and_says_why(
    queue: TaskQueue, tmp_path: Path
) -> None:
    """It stayed "initializing" for good, and a watcher waited for it."""
    processor = await not_to_begin(queue, tmp_path)
    with pytest.raises(GsvrError, match="cannot be written") as raised:
        await processor.run()
    stored = await queue.get_batch("bb22cc33")
    assert (stored.status, stored.status_reason) == (BatchStatus.FAILED, raised.value.message)


async def test_a_first_run_that_cannot_begin_leaves_the_batch_to_the_one_that_began(
    queue: TaskQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch became "failed" under the other one, which then waited for ever."""
    write = TaskQueue.set_batch_status

    async def late(self: TaskQueue, batch_id: str, new: BatchStatus, **more: Any) -> BatchRow:
        """The other process begins just before this one writes."""
        await write(self, batch_id, BatchStatus.RUNNING)
        return await write(self, batch_id, new, **more)

    processor = await not_to_begin(queue, tmp_path)
    monkeypatch.setattr(TaskQueue, "set_batch_status", late)
    with pytest.raises(GsvrError, match="cannot be written"):
        await processor.run()
    assert (await queue.get_batch("bb22cc33")).status is BatchStatus.RUNNING


async def test_a_run_that_cannot_begin_says_why_though_the_database_is_busy_too(
    queue: TaskQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reason was replaced by "another program keeps the database locked"."""
    processor = await not_to_begin(queue, tmp_path)
    with closing(sqlite3.connect(queue.db.path, isolation_level=None)) as other:

        def busy_from_now_on(*_: Any) -> None:
            other.execute("BEGIN IMMEDIATE")

        monkeypatch.setattr("gs_video_report.batch.processor.LOCK_PATIENCE_S", 0.05)
        monkeypatch.setattr("gs_video_report.batch.processor.load_template", busy_from_now_on)
        with pytest.raises(GsvrError, match="cannot be written"):
            await processor.run()
        assert other.in_transaction
    assert (await queue.get_batch("bb22cc33")).status is BatchStatus.INITIALIZING
