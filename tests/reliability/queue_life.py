"""The whole life of a small queue, again and again, in forks of one warm process under the shim.

    python -m tests.reliability.queue_life        then one line per life on stdin: FOLDER LOG

FOLDER exists. A life opens `FOLDER/q.db`, makes the batch if it is not there, adds six tasks, takes
back what a dead life held, writes a checkpoint, and works until nothing is left: claim, journal a
step, complete; the third task fails once and is tried again. What the queue promised is appended to
LOG before the next call. The answer is one line: how the life ended, as `os.waitpid` says it. Exit
codes: 0, or one of `ENDS` for an error of ours, or 99 for any other.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from pathlib import Path

from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.data_models import NewTask, TaskError, TaskResult, VideoInput, VideoTask
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import GsvrError, NotFoundError
from tests.support.queue import BATCH, batch

TASKS = 6
FAILS_ONCE = 3
"""Number of the task that is tried a second time."""
ENDS = {
    "DiskFullError": 20,
    "DatabaseError": 21,
    "OutputNotWritable": 22,
    "DatabaseReadOnly": 23,
    "QueueBusy": 24,
}
UNEXPECTED = 99
PASSING = TaskError("E_RETRY", "the server did not answer", "try again", "compose", {})


class Log:
    """Promises, one line each, by a single write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def say(self, word: str, task: VideoTask | None = None) -> None:
        """Append one promise."""
        about = f" {task.seq} {task.attempt}" if task else ""
        os.write(self._file, f"{word}{about}\n".encode())


def new_tasks() -> list[NewTask]:
    return [NewTask(VideoInput(f"/videos/{n}.mp4", size_bytes=n), "t") for n in range(1, TASKS + 1)]


async def live(folder: Path, log: Log) -> None:
    """One life; returns when every task is completed."""
    async with await Database.open(folder / "q.db") as db:
        queue, journal = TaskQueue(db), StepJournal(db)
        try:
            await queue.get_batch(BATCH)
        except NotFoundError:
            await queue.create_batch(batch())
        log.say("batch")
        await queue.add_tasks(BATCH, new_tasks(), 3)
        log.say("added")
        with ProcessLock(db.path) as lock:
            await queue.recover()
            checkpoints = CheckpointManager(queue, folder / "checkpoints")
            await checkpoints.write(BATCH, "start")
            log.say("checkpoint")
            while (await queue.counts(BATCH)).open:
                for task in await queue.claim(BATCH, lock.worker_id(1), 2, 3600):
                    await work(queue, journal, task, log)
    log.say("closed")


async def work(queue: TaskQueue, journal: StepJournal, task: VideoTask, log: Log) -> None:
    """What becomes of one claim."""
    log.say("claim", task)
    if task.seq == FAILS_ONCE and task.failures == 0:
        await queue.retry_later(task, PASSING, 0.0)
        log.say("retry", task)
        return
    value = {"by": task.attempt}
    fence = {"task_id": task.task_id, "attempt": task.attempt}
    await journal.put(f"content-{task.seq}", "probe", 0, None, value, seconds=0.1, **fence)  # type: ignore[arg-type]
    log.say("step", task)
    await queue.complete(task, TaskResult(media_s=1.0, engine="local"))
    log.say("done", task)


def one(folder: Path, log: Path) -> int:
    """Run a life in this process; its exit code."""
    try:
        asyncio.run(live(folder, Log(log)))
    except GsvrError as error:
        with log.open("a") as file:
            file.write(f"# {type(error).__name__}: {error.message}\n")
        return ENDS.get(type(error).__name__, UNEXPECTED)
    except BaseException:
        with log.open("a") as file:
            file.write("# " + traceback.format_exc().replace("\n", "\n# ") + "\n")
        return UNEXPECTED
    return 0


def serve() -> None:
    """Fork a life for each line."""
    print("ready", flush=True)
    for line in sys.stdin:
        folder, log = (Path(part) for part in line.split())
        child = os.fork()
        if child == 0:
            os._exit(one(folder, log))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
