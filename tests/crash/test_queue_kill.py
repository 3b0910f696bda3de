"""SIGKILL of real processes at random moments: nothing lost, nothing finished twice.

The oracle is a log of what the queue promised to its workers. After the storm: every task is
completed; none was finished by two attempts; every promised step is in the journal; a task was
run again only if one of its processes was killed; the file is sound.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import psutil
import pytest

from gs_video_report.batch.data_models import TaskResult, TaskStatus
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.clock import SystemClock
from gs_video_report.batch.store.process_lock import ProcessLock, workers_dir
from gs_video_report.batch.task_queue import TaskQueue
from tests.crash import queue_worker
from tests.support.queue import BATCH, open_queue

ROOT = Path(__file__).parents[2]


def start(db: Path, log: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.queue_worker", str(db), str(log), *more],
        cwd=ROOT, stderr=subprocess.PIPE,
    )  # fmt: skip


def read_log(log: Path) -> list[tuple[str, int, int, int]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [(w, int(t), int(a), int(p)) for w, t, a, p in (line.split() for line in lines)]


def size_of(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


async def prepare(folder: Path, count: int) -> Path:
    queue = await open_queue(folder, SystemClock(), count)  # type: ignore[arg-type]
    await queue.db.close()
    return folder / "gsvr.db"


def storm(db: Path, log: Path, *, processes: int, kills: int, seed: int) -> list[int]:
    """Keep `processes` running and kill one at a random moment, `kills` times; returns the pids."""
    chance, killed = random.Random(seed), []
    children = [start(db, log) for _ in range(processes)]
    for _ in range(kills):
        aim = size_of(log) + chance.randrange(1, 1500)
        while size_of(log) < aim and any(c.poll() is None for c in children):
            time.sleep(0.0005)  # the moment is found by watching the log, not by the clock
        victim = chance.choice(children)
        if victim.poll() is None:
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
            killed.append(victim.pid)
            children.remove(victim)
            children.append(start(db, log))
    for child in children:
        assert child.communicate()[1] == b""
        assert child.returncode == 0
    return killed


async def check(db_path: Path, log: Path, killed: list[int], count: int) -> None:
    said = read_log(log)
    async with await Database.open(db_path) as db:
        queue, journal = TaskQueue(db), StepJournal(db)
        assert await db.problems() == []
        done = [t async for t in queue.iter_tasks(BATCH)]
        assert {t.task_id for t in done if t.status is TaskStatus.COMPLETED} == set(
            range(1, count + 1)
        )
        finished = Counter(task for word, task, _, _ in said if word == "done")
        assert max(finished.values()) == 1
        for word, task, attempt, _ in said:
            if word == "done":
                assert (await queue.get_task(task)).attempt == attempt
            if word == "step":
                assert await journal.get(f"content-{task}", "transcribe", 0) is not None
        owners = defaultdict(set)
        for word, task, _, pid in said:
            if word == "claim":
                owners[task].add(pid)
        for task, pids in owners.items():
            assert len(pids - set(killed)) <= 1, f"task {task} ran twice without a kill"
        assert all(t.kills <= len(killed) for t in done)
    assert not workers_dir(db_path).exists() or not list(workers_dir(db_path).iterdir())


@pytest.mark.timeout(100)
def test_random_sigkills_lose_nothing_and_finish_nothing_twice(tmp_path: Path) -> None:
    count = 500
    db, log = asyncio.run(prepare(tmp_path, count)), tmp_path / "log.txt"
    killed = storm(db, log, processes=2, kills=6, seed=11)
    asyncio.run(check(db, log, killed, count))
    assert len(killed) >= 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_long_storm_of_sigkills_loses_nothing(tmp_path: Path) -> None:
    count = 12_000
    db, log = asyncio.run(prepare(tmp_path, count)), tmp_path / "log.txt"
    killed = storm(db, log, processes=4, kills=100, seed=5)
    asyncio.run(check(db, log, killed, count))
    assert len(killed) >= 60


async def stopped_child(tmp_path: Path) -> tuple[subprocess.Popen[bytes], Path, Path]:
    """A process that stands still right after its first claim, of two tasks, for an hour."""
    db_path, log = await prepare(tmp_path, 6), tmp_path / "log.txt"
    child = start(db_path, log, queue_worker.STOP)
    while not read_log(log) or psutil.Process(child.pid).status() != psutil.STATUS_STOPPED:
        assert child.poll() is None
        await asyncio.sleep(0.002)
    return child, db_path, log


async def test_tasks_of_a_killed_process_are_claimable_at_the_next_poll(tmp_path: Path) -> None:
    """The lease is an hour; the lock of the dead process is free at once."""
    child, db_path, _ = await stopped_child(tmp_path)
    async with await Database.open(db_path) as db:
        queue = TaskQueue(db)
        assert (await queue.recover()).returned == []
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert (await queue.recover()).returned == [1, 2]
        with ProcessLock(db_path) as lock:
            again = await queue.claim(BATCH, lock.worker_id(1), 2, 60)
            assert [(t.task_id, t.attempt) for t in again] == [(1, 2), (2, 2)]


async def test_zombie_that_was_stopped_past_its_lease_is_refused(tmp_path: Path) -> None:
    """SIGSTOP, another process takes over, SIGCONT: the old worker changes nothing."""
    child, db_path, log = await stopped_child(tmp_path)
    try:
        async with await Database.open(db_path) as db:
            queue = TaskQueue(db)
            lapse = "UPDATE tasks SET lease_until_ms = 1 WHERE status = 'running'"
            await db.write(lambda c: c.execute(lapse).rowcount)
            assert (await queue.recover()).returned == [1, 2]
            with ProcessLock(db_path) as lock:
                taken = await queue.claim(BATCH, lock.worker_id(1), 2, 60)
                os.kill(child.pid, signal.SIGCONT)
                while [w for w, _, _, _ in read_log(log)].count("lost") < 2:
                    assert child.poll() is None
                    await asyncio.sleep(0.002)
                for task in taken:
                    assert (await queue.get_task(task.task_id)) == task
                    await queue.complete(task, TaskResult())
            assert child.wait(30) == 0
            assert (await queue.counts(BATCH)).completed == 6
    finally:
        child.kill()
        child.communicate()
