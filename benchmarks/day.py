"""A day's worth of operations on one database: its size, its WAL, and the process that does it.

    python -m benchmarks.day [--hours 8] [--tasks 10000] [--steps 20] [--folder DIR] [--json FILE]

What a process of gsvr asks of its database in eight hours, with 16 videos in flight and on a clock
that is moved, not waited for: every second the counts and what a second terminal (`gsvr batch
watch`) reads; every two seconds the heartbeat of all leases and the look for dead processes; every
minute where the quotas stand, and a checkpoint; 10,000 videos, so 20,000 changes of state besides
retries, each with 20 journaled steps and its attempt; one video in fifty fails once and is tried
again. All goes through the queue, the journal and the checkpoints of the program, durably
(`synchronous=FULL`); engines, decoders and reports are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.queue import FakeClock

from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.data_models import (
    BatchOptions,
    BatchRow,
    BatchStatus,
    NewTask,
    OutputFile,
    TaskError,
    TaskResult,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.event_reads import events_after, newest_event_id
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.worker_pool import HEARTBEAT_S, LEASE_S

MB = 1_000_000
HOUR_S = 3600
IN_FLIGHT = 16
FAILS_ONCE = 50
"""One video in so many."""
BATCH = "0da70001"
LATER = TaskError("E_TIMEOUT", "the step took longer than allowed", "raise --timeout", "read", {})
STEP_VALUE = {
    "text": "what was said in half a minute of a lecture, word for word. " * 8,
    "segments": [[n * 2.0, n * 2.0 + 1.9, 0.93] for n in range(14)],
}
"""As large as the text of a chunk with some of its times."""


@dataclass
class Hour:
    """Where things stand at the end of an hour of the day."""

    done: int
    database_mb: float
    wal_mb: float
    memory_mb: float
    descriptors: int


@dataclass
class Figures:
    """What was measured."""

    hours: list[Hour] = field(default_factory=list)
    moves: int = 0
    """Changes of state of tasks."""
    steps: int = 0
    heartbeats: int = 0
    checkpoints: int = 0
    watched_events: int = 0
    wal_peak_mb: float = 0.0
    database_mb: float = 0.0
    """After closing."""
    bytes_per_task: float = 0.0
    """The same, for a finished task with its steps, attempt and events."""
    left_behind: list[str] = field(default_factory=list)
    """Files beside database and checkpoints after closing."""
    wall_s: float = 0.0
    cpu_s: float = 0.0


@dataclass
class Slot:
    """A video in flight."""

    task: VideoTask
    steps_left: int
    next_at: float


class Day:
    """One process's day."""

    def __init__(self, folder: Path, hours: float, tasks: int, steps: int) -> None:
        self.folder, self.tasks, self.steps = folder, tasks, steps
        self.seconds = round(hours * HOUR_S)
        self.pace_s = self.seconds * IN_FLIGHT / tasks / (steps + 1) * 0.93
        """Between two steps of a video; a little faster than needed, as the end must be reached."""
        self.clock = FakeClock()
        self.path = folder / "batch_tasks.db"
        self.figures = Figures()
        self.slots: dict[int, Slot] = {}

    async def run(self) -> Figures:
        """Live the day."""
        began, cpu = time.monotonic(), time.process_time()
        async with await Database.open(self.path) as database:
            self.queue = TaskQueue(database, clock=self.clock)
            self.journal = StepJournal(database, clock=self.clock)
            self.checkpoints = CheckpointManager(self.queue, self.folder / "checkpoints")
            await self._begin()
            with ProcessLock(self.path) as self.lock:
                self.seen = await newest_event_id(database, BATCH)
                for second in range(1, self.seconds + 1):
                    await self._second(second)
            self.figures.moves = int(
                (await database.read("SELECT count(*) AS n FROM events WHERE kind LIKE 'task.%'"))[
                    0
                ]["n"]
            )
            counts = await self.queue.counts(BATCH)
        self.figures.database_mb = self.path.stat().st_size / MB
        self.figures.bytes_per_task = self.path.stat().st_size / max(1, counts.completed)
        known = {self.path.name, "checkpoints"}
        self.figures.left_behind = sorted(
            p.name for p in self.folder.iterdir() if p.name not in known
        )
        self.figures.wall_s = time.monotonic() - began
        self.figures.cpu_s = time.process_time() - cpu
        return self.figures

    async def _begin(self) -> None:
        row = BatchRow(BATCH, "day", "key", BatchStatus.INITIALIZING, BatchOptions(), {})
        await self.queue.create_batch(row)
        await self.queue.add_tasks(
            BATCH,
            [
                NewTask(VideoInput(f"/lectures/{n:06}.mp4", size_bytes=n), "t", task_key=str(n))
                for n in range(self.tasks)
            ],
        )
        await self.queue.set_batch_status(BATCH, BatchStatus.RUNNING)

    async def _second(self, second: int) -> None:
        self.clock.pass_s(1.0)
        await asyncio.gather(self._work(second), self._beside(second), self._watch())
        if second % HOUR_S == 0:
            await self._note_hour()

    # --- the work -------------------------------------------------------------------------------

    async def _work(self, second: int) -> None:
        due = [number for number, slot in self.slots.items() if slot.next_at <= second]
        free = [number for number in range(IN_FLIGHT) if number not in self.slots]
        await asyncio.gather(
            *(self._go_on(number, second) for number in due),
            *(self._claim(number, second) for number in free),
        )

    async def _claim(self, number: int, second: int) -> None:
        found = await self.queue.claim(BATCH, self.lock.worker_id(number + 1), 1, LEASE_S)
        for task in found:
            self.slots[number] = Slot(task, self.steps, second + self.pace_s)

    async def _go_on(self, number: int, second: int) -> None:
        slot = self.slots[number]
        slot.next_at += self.pace_s
        task = slot.task
        if slot.steps_left:
            part = self.steps - slot.steps_left
            slot.steps_left -= 1
            await self.journal.put(
                f"{task.seq:064x}", "transcribe", part, {"v": 1}, STEP_VALUE, seconds=2.0,
                task_id=task.task_id, attempt=task.attempt,
            )  # fmt: skip
            self.figures.steps += 1
            return
        del self.slots[number]
        if task.seq % FAILS_ONCE == 0 and task.failures == 0:
            await self.queue.retry_later(task, LATER, 30.0)
            return
        following = await self.queue.complete_and_claim(task, _result(task), LEASE_S)
        for one in following:
            self.slots[number] = Slot(one, self.steps, second + self.pace_s)

    # --- beside it ------------------------------------------------------------------------------

    async def _beside(self, second: int) -> None:
        if second % int(HEARTBEAT_S) == 0:
            workers = [self.lock.worker_id(number + 1) for number in range(IN_FLIGHT)]
            beat = await self.queue.heartbeat(workers, LEASE_S, batch_id=BATCH)
            if beat.lost:
                raise SystemExit(f"leases were lost: {sorted(beat.lost)}")
            await self.queue.recover(BATCH)
            self.figures.heartbeats += 1
        await self.queue.counts(BATCH)
        if second % 60 == 0:
            await self.queue.add_event(
                BATCH, "limiter", {"buckets": [{"name": "b", "used": second}]}
            )
            await self.checkpoints.write(BATCH, "interval")
            self.figures.checkpoints += 1

    async def _watch(self) -> None:
        events = await events_after(self.queue.db, BATCH, self.seen)
        self.figures.watched_events += len(events)
        self.seen = events[-1].event_id if events else self.seen
        self.figures.wal_peak_mb = max(self.figures.wal_peak_mb, _size_mb(self._wal))

    @property
    def _wal(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    async def _note_hour(self) -> None:
        process = psutil.Process()
        hour = Hour(
            done=(await self.queue.counts(BATCH)).completed,
            database_mb=round(_size_mb(self.path), 1),
            wal_mb=round(_size_mb(self._wal), 1),
            memory_mb=round(process.memory_info().rss / MB, 1),
            descriptors=process.num_fds(),
        )
        self.figures.hours.append(hour)
        print(
            f"hour {len(self.figures.hours)}: {hour.done:,} videos done, database "
            f"{hour.database_mb} MB, WAL {hour.wal_mb} MB, memory {hour.memory_mb} MB, "
            f"{hour.descriptors} open files",
            flush=True,
        )


def _result(task: VideoTask) -> TaskResult:
    name = f"summary/{task.seq:06}"
    files = tuple(
        OutputFile(f"{name}.{kind}", kind, 12_345, "0" * 64)
        for kind in ("json", "md", "html", "srt", "vtt")
    )
    return TaskResult(outputs=files, media_s=600.0, engine="local", fingerprint=f"{task.seq:064x}")


def _size_mb(path: Path) -> float:
    try:
        return path.stat().st_size / MB
    except OSError:
        return 0.0


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=20, help="journaled steps of a video")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        day = Day(Path(folder).resolve(), given.hours, given.tasks, given.steps)
        figures = asyncio.run(day.run())
    told: dict[str, Any] = asdict(figures)
    for name, value in told.items():
        if name != "hours":
            print(f"{name:16} {value if not isinstance(value, float) else round(value, 2)}")
    if given.json:
        given.json.write_text(json.dumps(told, indent=1), "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
