"""What a job costs gsvr's queue in processor time, while few or very many wait.

    python -m benchmarks.queue_cost [--sizes 1000,100000,1000000] [--jobs 2000] [--rounds 7]
                                    [--callers 16] [--folder /dev/shm]

The database lies in memory (a file on tmpfs), so that no disk is waited for and what is left is
work; processor time is that of all threads of the process. Of each size one file is filled; in
each round every size has its turn, and the order moves on. A turn adds `--jobs` one by one, adds
as many 500 at a time, and takes and finishes as many again: a size is what waits at the start and
the end of a turn; within it, up to twice `--jobs` more do. Jobs go through the calls of the worker
pool, with attempts and events, `--callers` at once.

Printed: medians in µs for each job, and the ratio of each size to the smallest (the median of the
rounds' ratios): a queue whose costs do not depend on what waits has 1.0 everywhere.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.queue_contestants import BATCH, LEASE_S, Gsvr, Order, a_result

AT_ONCE = 500
"""Jobs of one commit when a folder is enqueued."""
MEMORY = Path("/dev/shm")
COLUMNS = ("add one", "add 500 at once, each", "finish one and claim the next")


class Worked(Gsvr):
    """gsvr's queue on a file that keeps its number of waiting jobs."""

    def __init__(self, folder: Path, waiting: int, jobs: int, callers: int) -> None:
        super().__init__(Order("gsvr", "turn", str(folder), jobs, in_flight=callers))
        self.waiting = waiting
        self.numbers = itertools.count(int(time.time() * 1000) * 100)

    async def _run(self, ready: Callable[[int], None]) -> Any:
        """Fill a new file; a turn on one that is there. Returns µs for each column."""
        from gs_video_report.batch.persistence import Database
        from gs_video_report.batch.store.process_lock import ProcessLock
        from gs_video_report.batch.task_queue import TaskQueue

        path = self.folder / "gsvr.db"
        fresh = not path.exists()
        async with await Database.open(path, busy_timeout_s=30) as database:
            self.queue = TaskQueue(database)
            with ProcessLock(path) as self.lock:
                return await (self._fill_up() if fresh else self._turn())

    async def _fill_up(self) -> list[float]:
        turn, self.order = self.order, Order("gsvr", "fill", str(self.folder), self.waiting)
        await self._fill()
        self.order = turn
        return []

    async def _turn(self) -> list[float]:
        jobs, callers = self.order.jobs, self.order.in_flight
        singly = await cost(self._each(self._add_one), jobs // callers * callers)
        together = await cost(self._add_many, jobs)
        added = jobs // callers * callers + jobs
        return [singly, together, await cost(self._each(self._finish), added // callers * callers)]

    def _each(self, work: Callable[[int, int], Awaitable[None]]) -> Callable[[int], Awaitable[Any]]:
        """All callers at once, each with its share."""

        async def all_callers(jobs: int) -> None:
            callers = self.order.in_flight
            await asyncio.gather(*(work(slot, jobs // callers) for slot in range(callers)))

        return all_callers

    async def _add_one(self, slot: int, share: int) -> None:
        for _ in range(share):
            await self.queue.add_tasks(BATCH, [self._task(next(self.numbers))])

    async def _add_many(self, jobs: int) -> None:
        for first in range(0, jobs, AT_ONCE):
            count = min(AT_ONCE, jobs - first)
            await self.queue.add_tasks(
                BATCH, [self._task(next(self.numbers)) for _ in range(count)]
            )

    async def _finish(self, slot: int, share: int) -> None:
        tasks = await self.queue.claim(BATCH, self.lock.worker_id(slot), 1, LEASE_S)
        for _ in range(share - 1):
            tasks = await self.queue.complete_and_claim(tasks[0], a_result(), LEASE_S)
        await self.queue.complete(tasks[0], a_result())


async def cost(work: Callable[[int], Awaitable[Any]], jobs: int) -> float:
    """Processor time of `work(jobs)` for each job, µs."""
    gc.collect()
    began = time.process_time()
    await work(jobs)
    return (time.process_time() - began) / jobs * 1e6


def measure(folder: Path, given: argparse.Namespace) -> dict[int, list[list[float]]]:
    """Size -> rounds -> µs of each column."""
    sizes = [int(size) for size in given.sizes.split(",")]
    made = {}
    for size in sizes:
        place = folder / str(size)
        place.mkdir()
        made[size] = Worked(place, size, given.jobs, given.callers)
        began = time.monotonic()
        made[size].run(lambda _: None)
        print(f"filled {size:,} in {time.monotonic() - began:.0f} s", flush=True)
    found: dict[int, list[list[float]]] = {size: [] for size in sizes}
    for number in range(given.rounds):
        turn = number % len(sizes)
        for size in [*sizes[turn:], *sizes[:turn]]:
            costs: Any = made[size].run(lambda _: None)
            found[size].append(costs)
            said = ", ".join(f"{c:.0f}" for c in costs)
            print(f"round {number + 1}  {size:>9,}  {said} µs", flush=True)
    return found


def table(found: dict[int, list[list[float]]]) -> str:
    """Medians, and their ratio to the first size."""
    lines = ["| waiting | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    first = next(iter(found.values()))
    for size, rounds in found.items():
        cells = []
        for column in range(len(COLUMNS)):
            middle = statistics.median(costs[column] for costs in rounds)
            pairs = zip(rounds, first, strict=True)
            ratio = statistics.median(costs[column] / base[column] for costs, base in pairs)
            cells.append(f"{middle:.0f} µs ({ratio:.2f})")
        lines.append(f"| {size:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,100000,1000000")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--folder", type=Path, default=MEMORY if MEMORY.is_dir() else None)
    given = parser.parse_args()
    if given.jobs < given.callers:
        parser.error("--jobs is at least the number of callers")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        found = measure(Path(folder), given)
    print("\n" + table(found))
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
