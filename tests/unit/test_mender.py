"""A fault of ours in one report neither ends the repair of the others nor its other ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.data_models import (
    BatchOptions,
    BatchRow,
    BatchStatus,
    NewTask,
    OutputFile,
    TaskResult,
    TaskStatus,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.mend import rewrite
from gs_video_report.batch.mend.repair import Mender
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.engines.local import LocalEngine

BATCH = "ab12cd34"
MADE = OutputFile("json", "talk.json", 1, "0" * 64)


class Compute:
    """A compute process in which the work on a report from its JSON fails without a class."""

    async def run(self, *args: Any, **more: Any) -> Any:
        raise KeyError("segments")


class Runner:
    """Makes the second report anew, and meets a fault with the first."""

    def __init__(self, **parts: Any) -> None:
        """Nothing of it is needed."""

    async def __call__(self, task: VideoTask, control: TaskControl) -> TaskResult:
        if task.seq == 1:
            raise ExceptionGroup("unhandled errors in a TaskGroup", [ZeroDivisionError("by zero")])
        return TaskResult(outputs=(MADE,))


class Ready(LocalEngine):
    """The local engine without its model."""

    async def prepare(self, compute: Any) -> None:
        """No speech is heard."""


async def finished(queue: TaskQueue, worker: str) -> list[VideoTask]:
    videos = [NewTask(VideoInput(f"/v/{n}.mp4"), "transcript", task_key=str(n)) for n in (1, 2)]
    await queue.add_tasks(BATCH, videos)
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    result = TaskResult(outputs=(MADE,), engine="local", fingerprint="f" * 64)
    for task in await queue.claim(BATCH, worker, 2, 60.0):
        await queue.complete(task, result)
    return [task async for task in queue.iter_tasks(BATCH, {TaskStatus.COMPLETED})]


async def test_a_fault_in_one_report_leaves_the_others_to_be_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the whole repair, with a group of exceptions."""
    monkeypatch.setattr(rewrite, "BatchTaskRunner", Runner)
    options = BatchOptions(output_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    row = BatchRow(BATCH, "talks", "key", BatchStatus.INITIALIZING, options, {})
    database = await Database.open(tmp_path / "tasks.db")
    try:
        queue = TaskQueue(database)
        await queue.create_batch(row)
        with ProcessLock(database.path) as lock:
            tasks = await finished(queue, lock.worker_id(1))
            store = ArtifactStore(tmp_path / "cache")
            mender = Mender(queue, row, cast(Any, Compute()), store, lambda name: Ready())
            found = await mender.mend_all(tasks)
    finally:
        await database.close()
    assert found.mended == [tasks[1].ref]
    [(ref, error)] = found.left
    assert ref == tasks[0].ref
    assert "unexpected ZeroDivisionError: by zero" in error.message
