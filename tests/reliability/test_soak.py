"""A batch of many tiny tasks through the real program, with people who pause, cancel and retry it.

The engine does nothing (`benchmarks/scale.py`); all else is the program. Watched from outside: the
WAL, memory and open files of the process, the size of the database, and what is left in folders.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from benchmarks.scale import make_files

from gs_video_report.batch.store.process_lock import workers_dir
from tests.reliability.scene import ROOT

MB = 1_000_000
TASKS = 2000
ROUNDS = 3
SHARE = 50
"""Tasks completed between two interruptions."""
LARGEST_WAL_MB = 20.0
GROWTH_MB = 40.0
"""Of memory, from the first tenth of the tasks to the last."""
BYTES_PER_TASK = 12_000
"""Of the database, with one step, an attempt or two and the events of each."""


@dataclass
class Watch:
    """What was seen of the processes."""

    wal_mb: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


@dataclass
class Place:
    """A folder with a batch that the program works on."""

    root: Path
    watch: Watch = field(default_factory=Watch)

    @property
    def database(self) -> Path:
        return self.root / "batch_tasks.db"

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        words = (*words, "--db", str(self.database))
        with (self.root / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.scale", "--gsvr", *words],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def gsvr(self, *words: str) -> int:
        return self.start(*words).wait(120)

    def ask(self, query: str) -> list[tuple[int | str, ...]]:
        if not self.database.exists():
            return []
        opened = sqlite3.connect(f"file:{self.database}?mode=rw", uri=True, timeout=10)
        with closing(opened) as db, suppress(sqlite3.OperationalError):  # tables are being made
            return db.execute(query).fetchall()
        return []

    def completed(self) -> int:
        rows = self.ask("SELECT completed FROM batches")
        return int(rows[0][0]) if rows else 0

    def until(self, process: subprocess.Popen[bytes], more: int) -> None:
        """Watch the process until so many more tasks are completed, or it has ended."""
        completed = self.completed() + more
        seen = psutil.Process(process.pid)
        wal = self.database.with_name(self.database.name + "-wal")
        give_up = time.monotonic() + 300
        while process.poll() is None and self.completed() < completed:
            assert time.monotonic() < give_up, (self.root / "log.txt").read_text()[-1500:]
            with suppress(psutil.Error, OSError):
                self.watch.memory_mb.append(seen.memory_info().rss / MB)
                self.watch.descriptors.append(seen.num_fds())
                self.watch.wal_mb = max(self.watch.wal_mb, wal.stat().st_size / MB)
            time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_batch_that_people_pause_cancel_and_retry_again_and_again_leaks_nothing(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path)
    make_files(tmp_path / "in", TASKS)
    first = (
        "batch", "process", "-d", str(tmp_path / "in"), "-o", str(tmp_path / "out"),
        "--engine", "local", "--formats", "json", "--parallel", "8", "--progress", "none",
        "--cache-dir", str(tmp_path / "cache"),
    )  # fmt: skip
    process = place.start(*first)
    for _ in range(ROUNDS):
        place.until(process, SHARE)
        assert place.gsvr("batch", "pause", "latest") == 0
        assert process.wait(60) == 4
        process = place.start("batch", "resume", "latest", "--progress", "none")
        place.until(process, SHARE)
        assert place.gsvr("batch", "cancel", "latest", "--yes") == 0
        assert process.wait(60) == 3
        assert place.ask("SELECT count(*) FROM tasks WHERE status = 'running'") == [(0,)]
        process = place.start("batch", "retry", "latest", "--progress", "none")
    place.until(process, TASKS)
    assert process.wait(120) == 0, (tmp_path / "log.txt").read_text()[-1500:]

    assert place.completed() == TASKS
    assert place.ask(
        "SELECT count(*), count(DISTINCT task_id) FROM events WHERE kind = 'task.completed'"
    ) == [(TASKS, TASKS)]
    assert place.ask("SELECT count(*) FROM attempts WHERE outcome IS NULL") == [(0,)]
    nothing_has_grown(place)
    nothing_is_left(place)


def nothing_has_grown(place: Place) -> None:
    watch = place.watch
    tenth = max(1, len(watch.memory_mb) // 10)
    assert len(watch.memory_mb) > 20
    early, late = watch.memory_mb[tenth : 2 * tenth], watch.memory_mb[-tenth:]
    assert max(late) - max(early) < GROWTH_MB
    assert max(watch.descriptors) < 100
    assert watch.wal_mb < LARGEST_WAL_MB
    assert place.database.stat().st_size / TASKS < BYTES_PER_TASK


def nothing_is_left(place: Place) -> None:
    root = place.root
    names = {p.name for p in root.iterdir()}
    assert names == {"in", "out", "cache", "checkpoints", "log.txt", place.database.name}
    assert not workers_dir(place.database).exists()
    assert not list((root / "out").rglob(".gsvr-*"))
    assert not list((root / "cache").glob("work/*"))
    assert len(list((root / "out").rglob("lecture-*.json"))) == TASKS
    assert len(list((root / "checkpoints").glob("*.ckpt"))) <= 10
    mine = str(place.database)
    running = [p.pid for p in psutil.process_iter(["cmdline"]) if mine in (p.info["cmdline"] or [])]
    assert running == []
