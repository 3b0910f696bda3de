"""A process for the kill test of the gemini engine: claims tasks, analyses them, finishes them.

Arguments: folder of the database and the recordings, address of the fake service.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from gs_video_report.batch.data_models import TaskResult, Usage, VideoTask
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from tests.support.gemini import Bench, Recording, make_engine
from tests.support.queue import BATCH

DURATION_S = 900.0
OPTIONS = {"segment_s": 400.0}
SLOTS = 4


async def one(on: Bench, queue: TaskQueue, task: VideoTask) -> None:
    talk = Recording(Path(task.video.source), DURATION_S)
    report = await on.analyze(talk, task_row=task)
    usage = report.provenance.usage
    spent = Usage(
        int(usage["requests"]), int(usage["tokens_in"]), int(usage["tokens_out"]), usage["usd"]
    )
    await queue.complete(task, TaskResult(media_s=DURATION_S, engine="gemini", usage=spent))


async def slot(on: Bench, queue: TaskQueue, worker: str) -> None:
    while True:
        tasks = await queue.claim(BATCH, worker, 1, 3600)
        for task in tasks:
            await one(on, queue, task)
        if not tasks:
            await queue.recover()
            if (await queue.counts(BATCH)).open == 0:
                return
            await asyncio.sleep(0.01)


async def main(folder: Path, url: str) -> None:
    async with await Database.open(folder / "gsvr.db") as db:
        with ProcessLock(folder / "gsvr.db") as lock:
            queue = TaskQueue(db)
            await queue.recover()
            on = Bench(folder, url, db, make_engine(url, **OPTIONS))
            await asyncio.gather(*[slot(on, queue, lock.worker_id(n)) for n in range(SLOTS)])


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
