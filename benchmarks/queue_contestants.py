"""The queues that `benchmarks/queue_speed.py` compares, each in a process of its own.

    python -m benchmarks.queue_contestants '{"who": "huey", "what": "drain", ...}'

Truth: what the working connection answers to `PRAGMA synchronous` is read back, so that nobody is
faster by promising less. A drain takes a job and marks it done (huey has no such mark: it deletes
the job when it is taken); the job itself does nothing. All payloads are the same.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).parents[1]))

LEVELS = {"NORMAL": 1, "FULL": 2, "OFF": 0}
LIMIT_S = 4.0
"""A measurement ends after this time; the rate is of what was done until then."""
BATCH = "7f3a0011"
LEASE_S = 60.0


@dataclass(frozen=True)
class Order:
    """What a child process is to do."""

    who: str
    what: str
    """`fill`, `enqueue` or `drain`."""
    folder: str
    jobs: int
    level: str = "FULL"
    in_flight: int = 1


def payload(number: int) -> str:
    """About 120 bytes: path, size and time of a recording."""
    return json.dumps(
        {"source": f"/lectures/{number % 97:02}/recording-{number:07}.mp4",
         "size_bytes": 81_000_000 + number, "mtime_ns": 1_763_809_200_000_000_000 + number}
    )  # fmt: skip


class Contestant(ABC):
    """One queue; made anew in each process."""

    name: ClassVar[str]

    def __init__(self, order: Order) -> None:
        self.order = order
        self.folder = Path(order.folder)

    @abstractmethod
    def open(self, level: str) -> int:
        """Open or make the queue; returns the `PRAGMA synchronous` that is in force."""

    @abstractmethod
    def put(self, number: int) -> None:
        """Enqueue one job, durably."""

    @abstractmethod
    def take_and_finish(self) -> bool:
        """One job; False when there is none."""

    def close(self) -> None:  # noqa: B027
        """Let go of the file."""

    def fill(self) -> None:
        """Put `jobs` jobs into the queue."""
        for number in range(self.order.jobs):
            self.put(number)

    def run(self, ready: Callable[[int], None]) -> tuple[int, float]:
        """Do the order; returns jobs and seconds."""
        ready(self.open(self.order.level))
        if self.order.what == "fill":
            return self._timed(lambda _: True, self.fill)
        if self.order.what == "enqueue":
            return self._timed(self._put_one)
        return self._timed(lambda _: self.take_and_finish())

    def _put_one(self, number: int) -> bool:
        self.put(10_000_000 + number)
        return True

    def _timed(
        self, one: Callable[[int], bool], whole: Callable[[], None] | None = None
    ) -> tuple[int, float]:
        began, done = time.perf_counter(), 0
        if whole is not None:
            whole()
            return self.order.jobs, time.perf_counter() - began
        while done < self.order.jobs and time.perf_counter() - began < LIMIT_S and one(done):
            done += 1
        return done, time.perf_counter() - began


class Floor(Contestant):
    """The least that SQLite can be asked: a small row, two commits for a job, one thread."""

    name = "floor"
    _CLAIM = (
        "UPDATE job SET state = 1 WHERE id = (SELECT id FROM job WHERE state = 0 "
        "ORDER BY priority, id LIMIT 1) RETURNING id, payload"
    )

    def open(self, level: str) -> int:
        self.db = sqlite3.connect(self.folder / "floor.db", isolation_level=None, timeout=30)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute(f"PRAGMA synchronous={level}")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS job(id INTEGER PRIMARY KEY, state INTEGER NOT NULL "
            "DEFAULT 0, priority INTEGER NOT NULL DEFAULT 50, payload TEXT NOT NULL)"
        )
        self.db.execute("CREATE INDEX IF NOT EXISTS ready ON job(priority, id) WHERE state = 0")
        return int(self.db.execute("PRAGMA synchronous").fetchone()[0])

    def put(self, number: int) -> None:
        self.db.execute("INSERT INTO job(payload) VALUES(?)", (payload(number),))

    def fill(self) -> None:
        self.db.execute("BEGIN")
        super().fill()
        self.db.execute("COMMIT")

    def take_and_finish(self) -> bool:
        rows = self.db.execute(self._CLAIM).fetchall()
        if rows:
            json.loads(rows[0][1])
            self.db.execute("UPDATE job SET state = 2 WHERE id = ?", (rows[0][0],))
        return bool(rows)

    def close(self) -> None:
        self.db.close()


class Huey(Contestant):
    """huey's SqliteHuey at the level of its storage, which is what its consumer calls."""

    name = "huey"

    def open(self, level: str) -> int:
        from huey.storage import SqliteStorage

        self.storage = SqliteStorage(filename=str(self.folder / "huey.db"), timeout=30)
        self.storage.conn.execute(f"PRAGMA synchronous={level}")
        return int(self.storage.conn.execute("PRAGMA synchronous").fetchone()[0])

    def put(self, number: int) -> None:
        self.storage.enqueue(payload(number).encode())

    def take_and_finish(self) -> bool:
        data = self.storage.dequeue()
        if data is not None:
            json.loads(bytes(data))
        return data is not None

    def close(self) -> None:
        self.storage.close()


class LiteQueue(Contestant):
    """litequeue: put, pop, done."""

    name = "litequeue"

    def open(self, level: str) -> int:
        from litequeue import LiteQueue as Queue

        self.queue: Any = Queue(str(self.folder / "litequeue.db"))
        self.queue.conn.execute("PRAGMA busy_timeout=30000")
        self.queue.conn.execute(f"PRAGMA synchronous={level}")
        return int(self.queue.conn.execute("PRAGMA synchronous").fetchone()[0])

    def put(self, number: int) -> None:
        self.queue.put(payload(number))

    def take_and_finish(self) -> bool:
        message = self.queue.pop()
        if message is not None:
            json.loads(message.data)
            self.queue.done(message.message_id)
        return message is not None

    def close(self) -> None:
        self.queue.close()


class PersistQueue(Contestant):
    """persist-queue's SQLiteAckQueue: put, get, ack."""

    name = "persist-queue"

    def open(self, level: str) -> int:
        from persistqueue import SQLiteAckQueue

        self.queue: Any = SQLiteAckQueue(str(self.folder), auto_commit=True, timeout=30)
        self.queue._getter.execute(f"PRAGMA synchronous={level}")
        return int(self.queue._putter.execute("PRAGMA synchronous").fetchone()[0])

    def put(self, number: int) -> None:
        self.queue.put(payload(number))

    def take_and_finish(self) -> bool:
        from persistqueue.exceptions import Empty

        try:
            item = self.queue.get(block=False, raw=True)
        except Empty:
            return False
        json.loads(item["data"])
        self.queue.ack(id=item["pqid"])
        return True

    def close(self) -> None:
        self.queue.close()


class Gsvr(Contestant):
    """gsvr's own queue: the whole row with attempts and events, through aiosqlite."""

    name = "gsvr"

    def open(self, level: str) -> int:
        raise NotImplementedError("runs in an event loop: see run()")

    put = take_and_finish = open  # type: ignore[assignment]

    def run(self, ready: Callable[[int], None]) -> tuple[int, float]:
        return asyncio.run(self._run(ready))

    async def _run(self, ready: Callable[[int], None]) -> tuple[int, float]:
        from gs_video_report.batch.persistence import Database
        from gs_video_report.batch.store.process_lock import ProcessLock
        from gs_video_report.batch.task_queue import TaskQueue

        path = self.folder / "gsvr.db"
        async with await Database.open(path, busy_timeout_s=30) as database:
            connection = database._writer
            assert connection is not None
            await connection.execute(f"PRAGMA synchronous={self.order.level}")
            found = list(await connection.execute_fetchall("PRAGMA synchronous"))
            self.queue = TaskQueue(database)
            with ProcessLock(path) as self.lock:
                await asyncio.to_thread(ready, int(found[0][0]))
                return await getattr(self, f"_{self.order.what}")()

    def _task(self, number: int) -> Any:
        from gs_video_report.batch.data_models import NewTask, VideoInput

        video = VideoInput(**json.loads(payload(number)))
        return NewTask(video, "lecture")

    async def _fill(self) -> tuple[int, float]:
        from gs_video_report.batch.data_models import BatchOptions, BatchRow, BatchStatus

        began = time.perf_counter()
        await self.queue.create_batch(
            BatchRow(BATCH, "lectures", "key", BatchStatus.RUNNING, BatchOptions(), {})
        )
        jobs = self.order.jobs
        await self.queue.add_tasks(BATCH, (self._task(n) for n in range(jobs)))
        return jobs, time.perf_counter() - began

    async def _enqueue(self) -> tuple[int, float]:
        return await self._in_flight(self._puts)

    async def _puts(self, slot: int, share: int, until: float) -> int:
        done = 0
        first = 10_000_000 + slot * self.order.jobs
        while done < share and time.perf_counter() < until:
            await self.queue.add_tasks(BATCH, [self._task(first + done)])
            done += 1
        return done

    async def _drain(self) -> tuple[int, float]:
        return await self._in_flight(self._turns)

    async def _turns(self, slot: int, share: int, until: float) -> int:
        """What a worker of the pool does around each video."""
        tasks = await self.queue.claim(BATCH, self.lock.worker_id(slot), 1, LEASE_S)
        done, result = 0, a_result()
        while tasks and done < share - 1 and time.perf_counter() < until:
            tasks = await self.queue.complete_and_claim(tasks[0], result, LEASE_S)
            done += 1
        for task in tasks:
            await self.queue.complete(task, result)
            done += 1
        return done

    async def _in_flight(self, work: Callable[[int, int, float], Any]) -> tuple[int, float]:
        began, clients = time.perf_counter(), self.order.in_flight
        share, until = self.order.jobs // clients, began + LIMIT_S
        done = await asyncio.gather(*(work(slot, share, until) for slot in range(clients)))
        return sum(done), time.perf_counter() - began


class GsvrPool(Gsvr):
    """The same through gsvr's `WorkerPool`: with heartbeats, listener, and a task for each job."""

    name = "gsvr-pool"

    async def _drain(self) -> tuple[int, float]:
        from gs_video_report.batch.worker_pool import WorkerPool

        done, result, began = 0, a_result(), time.perf_counter()

        async def runner(task: Any, control: Any) -> Any:
            nonlocal done
            done += 1
            if done >= self.order.jobs or time.perf_counter() - began > LIMIT_S:
                pool.stop(LIMIT_S)
            return result

        pool = WorkerPool(
            self.queue, BATCH, runner, Silent(), self.lock.process_id, self.order.in_flight
        )
        await pool.run()
        return done, time.perf_counter() - began


class Silent:
    """A listener that hears nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def a_result() -> Any:
    """What a finished recording leaves behind, with one output."""
    from gs_video_report.batch.data_models import OutputFile, TaskResult

    output = OutputFile("lecture/recording.md", "markdown", 12_345, "ab" * 32)
    return TaskResult(outputs=(output,), media_s=3600.0, engine="local", language="en")


CONTESTANTS = {c.name: c for c in (Floor, Gsvr, GsvrPool, Huey, LiteQueue, PersistQueue)}


def main() -> None:
    """Do one order; `ready` goes out first, then the order to begin is waited for."""
    order = Order(**json.loads(sys.argv[1]))
    found = [-1]

    def ready(level: int) -> None:
        found[0] = level
        print("ready", flush=True)
        sys.stdin.readline()

    contestant = CONTESTANTS[order.who](order)
    jobs, seconds = contestant.run(ready)
    if found[0] != LEVELS[order.level]:
        raise SystemExit(f"{order.who}: synchronous is {found[0]}, not {order.level}")
    print(json.dumps({"jobs": jobs, "seconds": seconds}), flush=True)
    contestant.close()


if __name__ == "__main__":
    main()
