"""Make `batch_tasks.db.example`: a small, real database to look at with any SQLite browser.

    python scripts/make_example_db.py [TARGET]

Every row is written by the code that writes real batches: one batch with a completed, a failed,
a retrying and a waiting task, their attempts, steps and events. Times are those of the making.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from gs_video_report import __version__
from gs_video_report.batch.data_models import (
    BatchOptions,
    BatchRow,
    BatchStatus,
    NewTask,
    OutputFile,
    TaskError,
    TaskResult,
    VideoInput,
)
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue

BATCH = "7f3a91c2"
NAMES = ["week01/intro.mp4", "week01/lab.mkv", "week02/broken.mp4", "week02/guest.mp4"]


async def fill(path: Path) -> None:
    """Write the example batch into a new database at `path`."""
    database = await Database.open(path)
    lock = ProcessLock(path, "classroom-4211-1f9c")
    lock.acquire()
    try:
        await _fill(TaskQueue(database), StepJournal(database), lock)
    finally:
        await database.close()
        lock.close()


async def _fill(queue: TaskQueue, journal: StepJournal, lock: ProcessLock) -> None:
    options = BatchOptions(engine="local", output_dir="/home/teacher/batch_output")
    spec = {"kind": "dir", "path": "/home/teacher/lectures", "recursive": True}
    await queue.create_batch(
        BatchRow(
            BATCH,
            "lectures",
            "example",
            BatchStatus.INITIALIZING,
            options,
            spec,
            tool_version=__version__,
        )
    )
    await queue.add_tasks(BATCH, [_task(name) for name in NAMES])
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    done, retried, failed = await queue.claim(BATCH, f"{lock.process_id}/w1", 3, 60)
    fingerprint = "5f" * 32
    await queue.set_media(done, fingerprint, 754.2)
    await journal.put(
        fingerprint,
        "transcribe",
        0,
        {"language": "en", "v": 1},
        {"text": "Welcome to the course."},
        seconds=1.4,
        task_id=done.task_id,
        attempt=done.attempt,
    )
    outputs = (OutputFile("chinese_transcript/week01/intro.json", "json", 18_204, "ab" * 32),)
    await queue.complete(
        done,
        TaskResult(
            outputs, 754.2, "local", "en", stage_s={"transcribe": 61.8}, fingerprint=fingerprint
        ),
    )
    timeout = TaskError("E_TIMEOUT", "not finished after 1800 seconds", "raise --timeout")
    await queue.retry_later(retried, timeout, 120.0)
    broken = TaskError("E_NO_MEDIA", "week02/broken.mp4: no media in the file", "copy it again")
    await queue.fail(failed, broken)


def _task(name: str) -> NewTask:
    video = VideoInput(f"/home/teacher/lectures/{name}", relative_path=name, size_bytes=1)
    return NewTask(video, "chinese_transcript", task_key=name)


def main() -> None:
    """Make the file in a private folder, then put it in place (no side files are left)."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "batch_tasks.db.example")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "example.db"
        asyncio.run(fill(made))
        target.write_bytes(made.read_bytes())


if __name__ == "__main__":
    main()
