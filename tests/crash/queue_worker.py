"""A worker process for the kill test of the queue: claims, journals a step, finishes, for ever.

Every promise the queue gave is appended to a log before the next call, one line each, by a
single `write` (which a SIGKILL cannot tear): `claim`, `step`, `done` with task and attempt.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from gs_video_report.batch.data_models import TaskResult, VideoTask
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import LeaseLost

BATCH = "7f3a0011"
SLOTS = 4
STOP = "stop-after-claim"
"""Third argument: a single slot, and the process stops itself (SIGSTOP) after its first claim."""


def say(log: int, word: str, task: VideoTask) -> None:
    os.write(log, f"{word} {task.task_id} {task.attempt} {os.getpid()}\n".encode())


async def one(queue: TaskQueue, journal: StepJournal, task: VideoTask, log: int) -> None:
    say(log, "claim", task)
    if STOP in sys.argv:
        sys.argv.remove(STOP)
        os.kill(os.getpid(), signal.SIGSTOP)
    await journal.put(
        f"content-{task.task_id}", "transcribe", 0, None, task.attempt, seconds=0.1,
        task_id=task.task_id, attempt=task.attempt,
    )  # fmt: skip
    say(log, "step", task)
    await queue.complete(task, TaskResult(media_s=1.0, engine="local"))
    say(log, "done", task)


async def slot(queue: TaskQueue, journal: StepJournal, worker: str, log: int) -> None:
    while True:
        tasks = await queue.claim(BATCH, worker, 2, 3600)
        for task in tasks:
            try:
                await one(queue, journal, task, log)
            except LeaseLost:
                say(log, "lost", task)
        if not tasks:
            await queue.recover()
            if (await queue.counts(BATCH)).open == 0:
                return
            await asyncio.sleep(0.005)


async def main(path: Path, log: int) -> None:
    async with await Database.open(path) as db:
        with ProcessLock(path) as lock:
            queue, journal = TaskQueue(db), StepJournal(db)
            await queue.recover()
            slots = 1 if STOP in sys.argv else SLOTS
            await asyncio.gather(
                *[slot(queue, journal, lock.worker_id(n), log) for n in range(slots)]
            )


if __name__ == "__main__":
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    asyncio.run(main(Path(sys.argv[1]), os.open(sys.argv[2], flags, 0o644)))
