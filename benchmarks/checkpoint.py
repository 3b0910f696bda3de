"""What a checkpoint of a large batch costs: writing it, reading it back into an empty database.

    python -m benchmarks.checkpoint [--tasks 100000] [--rounds 3] [--folder DIR]

A database is filled (in a process of its own) with one batch, of which half the tasks are
finished. Then, through the program's own calls: a checkpoint is written, read, verified, and
restored into an empty database. Medians of wall and processor seconds (all threads), the size of
the file, and the largest memory of the process that does it.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.queue_contestants import BATCH, LEASE_S, Gsvr, Order, a_result

CALLERS = 64
MB = 1_000_000
Cost = tuple[float, float]


class HalfDone(Gsvr):
    """Fills a file and finishes every second task."""

    async def _drain(self) -> Any:
        await self._fill()
        share = self.order.jobs // 2 // CALLERS
        await asyncio.gather(*(self._finish(slot, share) for slot in range(CALLERS)))
        return self.order.jobs, 0.0

    async def _finish(self, slot: int, share: int) -> None:
        tasks = await self.queue.claim(BATCH, self.lock.worker_id(slot), 1, LEASE_S)
        for _ in range(share - 1):
            tasks = await self.queue.complete_and_claim(tasks[0], a_result(), LEASE_S)
        await self.queue.complete(tasks[0], a_result())


def prepare(folder: str, tasks: int) -> None:
    """The database, in a process of its own."""
    order = Order("gsvr", "drain", folder, tasks, "OFF")
    HalfDone(order).run(lambda _: None)


async def timed(work: Awaitable[Any]) -> tuple[Any, Cost]:
    """Its answer; wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = await work
    return found, (time.perf_counter() - wall, time.process_time() - cpu)


async def one_round(folder: Path, number: int) -> tuple[Cost, Cost, int]:
    """Costs of writing and of restoring; bytes of the file."""
    from gs_video_report.batch.checkpoint_manager import CheckpointManager
    from gs_video_report.batch.persistence import Database
    from gs_video_report.batch.task_queue import TaskQueue

    async with await Database.open(folder / "gsvr.db") as database:
        manager = CheckpointManager(TaskQueue(database), folder / "checkpoints")
        info, written = await timed(manager.write(BATCH, "interval"))

    async def restore(queue: TaskQueue) -> None:
        checkpoint = await asyncio.to_thread(manager.load, info.path)
        await manager.restore(checkpoint, queue)

    async with await Database.open(folder / f"restored-{number}.db") as database:
        _, restored = await timed(restore(TaskQueue(database)))
    return written, restored, info.path.stat().st_size


def show(name: str, costs: list[Cost]) -> None:
    """Medians."""
    wall, cpu = (statistics.median(column) for column in zip(*costs, strict=True))
    print(f"{name:8} {wall:.2f} s, processor {cpu:.2f} s, median of {len(costs)}")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        folder = Path(place)
        child = multiprocessing.get_context("spawn").Process(
            target=prepare, args=(place, given.tasks)
        )
        child.start()
        child.join()
        if child.exitcode != 0:
            raise SystemExit(f"the database could not be filled: {child.exitcode}")
        rounds = [asyncio.run(one_round(folder, number)) for number in range(given.rounds)]
    show("write", [written for written, _, _ in rounds])
    show("restore", [restored for _, restored, _ in rounds])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    print(f"{given.tasks:,} tasks: file {rounds[0][2] / MB:.1f} MB, memory at most {peak:.0f} MB")
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
