"""One batch of very many recordings through the real program: enqueue, resume, memory, WAL, size.

    python -m benchmarks.scale [--tasks 100000] [--parallel 16] [--resume-only]
                               [--folder DIR] [--json FILE]

The recordings are files of a few bytes and the engine does nothing but journal one step; all else
is the program itself, started as `gsvr batch process` and `gsvr batch resume`: input scan, queue,
worker pool, compute processes for fingerprints and reports (JSON only), checkpoints, final pages.

1. `gsvr batch process` finds and enqueues the files; it is killed (SIGKILL) at its first claim.
2. `gsvr batch resume`: seconds from the start of the process to its first claimed task.
3. It drains the batch; once a second its memory and the size of the WAL are looked at.
   (`--resume-only` leaves this out.)

Each recording costs a file and a report with its fsyncs, so a drain takes minutes, not seconds; the
queue by itself is measured by `benchmarks/queue_speed.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

MB = 1_000_000
FILES_PER_FOLDER = 1000
SAMPLE_S = 1.0
POLL_S = 0.01
GIVE_UP_S = 4 * 3600.0


@dataclass
class Figures:
    """What was measured."""

    tasks: int
    enqueue_s: float = 0.0
    """From the start of the program to its first claim, all files found and enqueued."""
    first_claim_s: float = 0.0
    """From the start of `resume` to its first claim."""
    drain_s: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    """Of the coordinating process, at each tenth of the batch."""
    memory_peak_mb: float = 0.0
    wal_peak_mb: float = 0.0
    database_mb: float = 0.0
    checkpoints: int = 0
    exit_code: int = -1


# --- the child: gsvr with an engine that does nothing ----------------------------------------


class NothingEngine:
    """Journals one step and reports an empty recording of an hour."""

    def __init__(self) -> None:
        from gs_video_report.engines.base import EngineCapabilities

        self.capabilities = EngineCapabilities("local", frozenset({"file"}), False, False, False)
        self.buckets: tuple[str, ...] = ()

    async def prepare(self, compute: Any) -> None:
        """Nothing to make ready."""

    def estimate(self, duration_s: float, template: Any) -> Any:
        """Nothing is needed."""
        from gs_video_report.engines.base import Estimate

        return Estimate(0.0)

    async def analyze(self, ctx: Any) -> Any:
        """One journaled step, then the report."""
        from gs_video_report.report.model import MediaInfo, Provenance, VideoReport

        async def probe() -> dict[str, float]:
            return {"duration_s": 3600.0}

        found = await ctx.step("probe", probe)
        name = ctx.media.path.name
        media = MediaInfo(
            name, name, ctx.media.source, found["duration_s"], 20, sha256=ctx.fingerprint
        )
        return VideoReport(media, Provenance("local", template=ctx.template.name), "en")


def run_gsvr(arguments: list[str]) -> None:
    """The program, with `NothingEngine` for every engine."""
    from gs_video_report.engines import registry

    registry.make = lambda *_, **__: NothingEngine()  # type: ignore[assignment]
    sys.argv = ["gsvr", *arguments]
    from gs_video_report.__main__ import main as gsvr

    gsvr()


# --- the parent ------------------------------------------------------------------------------


def make_files(folder: Path, count: int) -> None:
    """`count` files that differ in a few bytes."""
    for number in range(count):
        place = folder / f"course-{number // FILES_PER_FOLDER:04}"
        if number % FILES_PER_FOLDER == 0:
            place.mkdir(parents=True)
        (place / f"lecture-{number:07}.mp4").write_text(f"recording {number}")


class Program:
    """A running `gsvr`, seen from outside."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.database = folder / "batch_tasks.db"
        self.before = self._last_event()
        self.began = time.monotonic()
        with (folder / "gsvr.log").open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.scale", "--gsvr", *arguments],
                cwd=Path(__file__).parents[1], stdout=log, stderr=log,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
        self.process = psutil.Process(self.child.pid)

    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.began

    def wait_for(self, what: Callable[[], bool], every_s: float = POLL_S) -> float:
        """Until it is so; the seconds since the start. Raises: SystemExit when it ended instead."""
        while not what():
            if self.child.poll() is not None or self.seconds() > GIVE_UP_S:
                raise SystemExit(f"gsvr ended with {self.child.returncode}; see gsvr.log")
            time.sleep(every_s)
        return self.seconds()

    def has_claimed(self) -> bool:
        """A task was claimed since the start."""
        query = "SELECT 1 FROM events WHERE event_id > ? AND kind = 'task.running' LIMIT 1"
        return bool(self._ask(query, (self.before,)))

    def ended(self) -> int:
        """Tasks that have ended."""
        rows = self._ask("SELECT completed + failed + skipped FROM batches")
        return int(rows[0][0]) if rows else 0

    def sample(self) -> tuple[float, float]:
        """Resident memory of the process, size of the WAL; MB. 0 when it is gone."""
        try:
            memory = self.process.memory_info().rss / MB
        except psutil.Error:
            memory = 0.0
        wal = self.database.with_name(self.database.name + "-wal")
        try:
            return memory, wal.stat().st_size / MB
        except OSError:
            return memory, 0.0

    def _last_event(self) -> int:
        rows = self._ask("SELECT coalesce(max(event_id), 0) FROM events")
        return int(rows[0][0]) if rows else 0

    def _ask(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        if not self.database.exists():
            return []
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(query, values).fetchall()
        except sqlite3.OperationalError:  # the tables are being made
            return []
        finally:
            connection.close()


def measure(folder: Path, tasks: int, parallel: int, drain: bool) -> Figures:
    """All figures; see the module's header."""
    figures = Figures(tasks)
    recordings = folder / "recordings"
    make_files(recordings, tasks)
    common = ["--db", str(folder / "batch_tasks.db")]
    first = Program(
        folder,
        ["batch", "process", "-d", str(recordings), "-o", str(folder / "reports"), "--engine",
         "local", "--formats", "json", "--parallel", str(parallel), *common],
    )  # fmt: skip
    figures.enqueue_s = first.wait_for(first.has_claimed)
    first.child.kill()
    first.child.wait()
    _say(f"enqueued in {figures.enqueue_s:.1f} s and killed")
    second = Program(folder, ["batch", "resume", "latest", *common])
    figures.first_claim_s = second.wait_for(second.has_claimed)
    _say(f"resumed: first claim after {figures.first_claim_s:.2f} s")
    if not drain:
        second.child.kill()
        second.child.wait()
        return figures
    _watch(second, figures)
    figures.drain_s = second.seconds()
    figures.exit_code = second.child.wait()
    figures.database_mb = second.database.stat().st_size / MB
    figures.checkpoints = len(list((folder / "checkpoints").glob("*.ckpt")))
    return figures


def _watch(program: Program, figures: Figures) -> None:
    """Until the program ends; a line for each tenth of the batch."""
    recent: list[float] = []
    while program.child.poll() is None:
        memory, wal = program.sample()
        recent.append(memory)
        figures.memory_peak_mb = max(figures.memory_peak_mb, memory)
        figures.wal_peak_mb = max(figures.wal_peak_mb, wal)
        done = program.ended()
        if done >= figures.tasks * (len(figures.memory_mb) + 1) / 10:
            figures.memory_mb.append(round(statistics.median(recent), 1))
            recent.clear()
            rate = done / program.seconds()
            _say(f"{done:,} done, {rate:,.0f}/s, {memory:.0f} MB, WAL {wal:.1f} MB")
        time.sleep(SAMPLE_S)


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    """Parse, measure, print."""
    if sys.argv[1:2] == ["--gsvr"]:
        run_gsvr(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--parallel", type=int, default=16)
    parser.add_argument("--resume-only", action="store_true")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        figures = measure(
            Path(folder).resolve(), given.tasks, given.parallel, not given.resume_only
        )
    for name, value in asdict(figures).items():
        _say(f"{name:16} {value if not isinstance(value, float) else round(value, 2)}")
    if given.json:
        given.json.write_text(json.dumps(asdict(figures), indent=1), "utf-8")


if __name__ == "__main__":
    main()
