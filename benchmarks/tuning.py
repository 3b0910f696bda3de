"""Does the tuning of compute processes help? The same batch with 1, 2, 4 fixed ones, and tuned.

    python benchmarks/tuning.py FOLDER [--rounds 3] [--limit 1.3GB] [--workers 1,2,4]

FOLDER holds recordings. Contestants: `compute_processes` fixed at each number, `auto` (a cautious
start, more as the need is seen, fewer while memory is short), and `start` (what `auto` begins with,
and nothing after it). All run `gsvr batch process --no-slides` cold, in turn, and the order changes
from round to round; medians and ratios to `auto` are printed.

With `--limit`, every contestant knows the limit (`memory_limit`), and it is enforced: whenever the
memory of a run (its own and its children's, shared pages counted once: PSS) is above the limit, the
largest child is killed, as the kernel's memory killer would. The kills, and the videos that failed
by them, stand in the table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from gs_video_report.batch.performance_optimizer import first_processes
from gs_video_report.config_values import parse_size
from gs_video_report.media.speech.asr_models import resolve_model

LOOK_S = 0.2
"""Seconds between two looks at the memory of a run."""


@dataclass
class Run:
    """One contestant's figures of one round."""

    wall_s: float
    peak_mb: float
    kills: int
    done: int
    failed: int
    changes: list[str]


@dataclass
class Contestant:
    """Name and the number of processes it is held to; None is tuned."""

    name: str
    processes: int | None
    runs: list[Run] = field(default_factory=list)


def members(process: psutil.Process) -> list[tuple[int, psutil.Process]]:
    """(bytes, process) of the run's own process first, then of all its children."""
    found = []
    with suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                found.append((int(one.memory_full_info().pss), one))
    return found


def watch(process: subprocess.Popen[bytes], limit: int | None) -> tuple[int, int]:
    """Until the run ends: (largest memory seen, children killed for being above the limit)."""
    root, peak, kills = psutil.Process(process.pid), 0, 0
    while process.poll() is None:
        found = members(root)
        used = sum(size for size, _ in found)
        peak = max(peak, used)
        if limit is not None and used > limit and len(found) > 1:
            _, largest = max(found[1:], key=lambda entry: entry[0])
            with suppress(psutil.Error):
                largest.kill()
                kills += 1
        time.sleep(LOOK_S)
    return peak, kills


def run(contestant: Contestant, root: Path, inputs: Path, model: str, limit: int | None) -> Run:
    """One cold run."""
    work = Path(tempfile.mkdtemp(dir=root))
    tuned = contestant.processes is None
    settings = {
        "GSVR_COMPUTE_PROCESSES": str(contestant.processes or 0),
        "GSVR_TUNING": str(tuned).lower(),
    }
    if limit is not None:
        settings["GSVR_MEMORY_LIMIT"] = str(limit)
    command = [
        *(sys.executable, "-m", "gs_video_report", "batch", "process", "-d", str(inputs)),
        *("-o", str(work / "out"), "--db", str(work / "tasks.db"), "--json", "--no-slides"),
        *("--cache-dir", str(root / "cache"), "--asr-model", model, "--subtitles", "ignore"),
    ]
    began = time.monotonic()
    with (work / "lines").open("wb") as lines:
        process = subprocess.Popen(
            command, stdout=lines, stderr=subprocess.DEVNULL, env=os.environ | settings
        )
        peak, kills = watch(process, limit)
    wall_s = time.monotonic() - began
    summary = json.loads((work / "lines").read_text("utf-8").splitlines()[-1])
    changes = [f"{change['old']}->{change['new']}" for change in summary["tuning"]]
    shutil.rmtree(work)
    done, failed = summary["completed"], summary["failed"]
    return Run(wall_s, peak / 1e6, kills, done, failed, changes)


def contest(options: argparse.Namespace, root: Path, limit: int | None) -> list[Contestant]:
    """All contestants, `rounds` times, in turn."""
    contestants = [Contestant(f"{n} fixed", n) for n in options.workers]
    contestants.append(Contestant("start", first_processes(limit)))
    contestants.append(Contestant("auto", None))
    model = resolve_model("auto", root / "cache").path
    for number in range(options.rounds):
        turn = number % len(contestants)
        for contestant in contestants[turn:] + contestants[:turn]:
            contestant.runs.append(run(contestant, root, options.folder, model, limit))
            print(f"  round {number + 1} {contestant.name}: {contestant.runs[-1]}", flush=True)
    return contestants


def show(contestants: list[Contestant], limit: int | None) -> None:
    """Medians, and ratios to `auto` round by round."""
    cores = len(os.sched_getaffinity(0))
    print(f"\n{cores} cores, {'no limit' if limit is None else f'limit {limit / 1e9:.2f} GB'}")
    print(f"{'':8} {'processes':>9} {'wall s':>7} {'x auto':>7} {'peak MB':>8} {'kills':>6} "
          f"{'failed':>7}  changes")  # fmt: skip
    auto = contestants[-1]
    for c in contestants:
        ratio = statistics.median(
            a.wall_s / b.wall_s for a, b in zip(c.runs, auto.runs, strict=True)
        )
        wall = statistics.median(r.wall_s for r in c.runs)
        peak = max(r.peak_mb for r in c.runs)
        kills, failed = sum(r.kills for r in c.runs), sum(r.failed for r in c.runs)
        changes = "; ".join(" ".join(r.changes) or "-" for r in c.runs)
        name = "tuned" if c.processes is None else str(c.processes)
        print(f"{c.name:8} {name:>9} {wall:7.1f} {ratio:7.2f} {peak:8.0f} {kills:6} {failed:7}  "
              f"{changes}", flush=True)  # fmt: skip


def main() -> None:
    """Run without a limit, then with it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=parse_size, default=None, help="such as 1.3GB")
    parser.add_argument("--only-limit", action="store_true", help="leave out the free runs")
    parser.add_argument(
        "--workers", type=lambda t: [int(n) for n in t.split(",")], default=[1, 2, 4]
    )
    options = parser.parse_args()
    limits = [None] if options.limit is None else [None, options.limit]
    for limit in limits[1:] if options.only_limit else limits:
        with tempfile.TemporaryDirectory() as folder:
            show(contest(options, Path(folder), limit), limit)


if __name__ == "__main__":
    main()
