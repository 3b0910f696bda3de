"""A retry cut off while it writes: the report made before stays, and is made whole again."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.task_runner import BatchTaskRunner
from gs_video_report.batch.data_models import (
    BatchOptions,
    BatchRow,
    BatchStatus,
    NewTask,
    TaskStatus,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.mend.outputs import verify_outputs
from gs_video_report.batch.mend.repair import Mender
from gs_video_report.batch.mend.verify import cut_off
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.report.publish import publish
from gs_video_report.templates.loader import load_template
from tests.support.fetching import SAMPLE, LookingEngine

BATCH = "ab12cd34"


class Here:
    """Work in this process; with `cuts`, who asked for the writing never hears that it is done."""

    cuts = False

    async def run(self, fn: Callable[..., Any], *args: Any, **_: Any) -> Any:
        made = fn(*args)
        if self.cuts and fn is publish:
            raise asyncio.CancelledError
        return made


async def attempt(
    queue: TaskQueue, options: BatchOptions, compute: Here, worker_id: str
) -> VideoTask:
    """Claim the task and do its work; it stays running."""
    (task,) = await queue.claim(BATCH, worker_id, 1, 60.0)
    runner = BatchTaskRunner(
        engine=LookingEngine(), options=options, template_of=load_template, queue=queue,
        journal=StepJournal(queue.db), compute=cast(Any, compute), limiter=ApiLimiter(),
        cache=ArtifactStore(Path(options.cache_dir)), on_stage=lambda *told: None,
    )  # fmt: skip
    control = TaskControl(asyncio.Event(), time.monotonic())
    try:
        await queue.complete(task, await runner(task, control))
    except asyncio.CancelledError:
        await queue.cancelled(task)
    return await queue.get_task(task.ref)


async def test_cancelled_in_the_middle_of_writing_the_kept_report_is_known_and_mended(
    tmp_path: Path,
) -> None:
    """Pins: the task was completed with the old hashes, nothing told that its files are others,
    and a repair did not take the new JSON, which is whole."""
    talk = shutil.copy(SAMPLE, tmp_path / "talk.mp4")
    out = tmp_path / "out"
    options = BatchOptions(
        output_dir=str(out), cache_dir=str(tmp_path / "cache"), formats=("md", "json")
    )
    row = BatchRow(BATCH, "talks", "key", BatchStatus.INITIALIZING, options, {})
    compute = Here()
    async with await Database.open(tmp_path / "tasks.db") as database:
        queue = TaskQueue(database)
        await queue.create_batch(row)
        await queue.add_tasks(BATCH, [NewTask(VideoInput(str(talk)), "transcript", task_key="1")])
        await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
        with ProcessLock(database.path) as lock:
            first = await attempt(queue, options, compute, lock.worker_id(1))
            assert await cut_off(queue, BATCH) == []
            await queue.requeue(
                BATCH, statuses=[TaskStatus.COMPLETED], reason="retry", keep_result=True
            )
            compute.cuts = True
            kept = await attempt(queue, options, compute, lock.worker_id(1))
        assert first.result is not None
        assert kept.result is not None
        assert (kept.status, kept.result.outputs) == (TaskStatus.COMPLETED, first.result.outputs)
        assert verify_outputs(kept.result, out), "the new report tells of its own attempt"
        found = await cut_off(queue, BATCH)
        assert [task.ref for task in found] == [first.ref]
        compute.cuts = False
        store = ArtifactStore(tmp_path / "cache")
        mender = Mender(queue, row, cast(Any, compute), store, lambda name: LookingEngine())
        assert (await mender.mend_all(found)).mended == [first.ref]
        mended = (await queue.get_task(first.ref)).result
        assert mended is not None
        assert verify_outputs(mended, out) == []
        assert await cut_off(queue, BATCH) == []
