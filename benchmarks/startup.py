"""What every start costs: `gsvr --help` beside the packages it shows itself with, and a dry run.

    python benchmarks/startup.py [--rounds 15] [--files 100000] [--folder DIR]

1. `gsvr --help` and `python -c "import typer, rich"`, a process each, in turn; the order changes
   from round to round. Medians of wall and processor time (of the process and its children), and
   the median of the rounds' ratios.
2. `gsvr batch process --dry-run` over `--files` files of a few bytes (0 leaves it out): seconds
   from start to end, processor seconds, and the largest resident memory. Once.

Both with a configuration of their own and compiled modules, as after an installation: one start
of each goes before the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scale import make_files

GSVR = [sys.executable, "-m", "gs_video_report"]
STARTS = {
    "gsvr --help": [*GSVR, "--help"],
    "import typer, rich": [sys.executable, "-c", "import typer, rich"],
}


@dataclass(frozen=True)
class Run:
    """One process, from its start to its end."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def run(command: list[str], home: Path) -> Run:
    """Run to the end. Raises: SystemExit when it fails."""
    private = {f"XDG_{kind}_HOME": str(home) for kind in ("CONFIG", "STATE", "CACHE")}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, cwd=home, env={**os.environ, **private}
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if child.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {child.returncode}: {said.read()}")
    seconds = time.perf_counter() - began
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def starts(rounds: int, home: Path) -> dict[str, list[Run]]:
    """All runs of both, one of each per round."""
    found: dict[str, list[Run]] = {name: [] for name in STARTS}
    for command in STARTS.values():
        run(command, home)
    for number in range(rounds):
        turn = number % len(STARTS)
        for name in [*list(STARTS)[turn:], *list(STARTS)[:turn]]:
            found[name].append(run(STARTS[name], home))
    return found


def show(found: dict[str, list[Run]]) -> None:
    """Medians, and the ratios of the first to the second."""
    for name, runs in found.items():
        wall = statistics.median(r.wall_s for r in runs)
        cpu = statistics.median(r.cpu_s for r in runs)
        print(f"{name:20} wall {wall:.3f} s, processor {cpu:.3f} s, median of {len(runs)}")
    pairs = list(zip(*found.values(), strict=True))
    wall = statistics.median(a.wall_s / b.wall_s for a, b in pairs)
    cpu = statistics.median(a.cpu_s / b.cpu_s for a, b in pairs)
    print(f"{'ratio':20} wall {wall:.2f}, processor {cpu:.2f}")


def dry_run(files: int, home: Path, folder: Path) -> Run:
    """`--dry-run` over so many files that are new to it."""
    recordings = folder / "recordings"
    make_files(recordings, files)
    database = str(folder / "tasks.db")
    return run(
        [*GSVR, "batch", "process", "-d", str(recordings), "--dry-run", "--db", database], home
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        folder = Path(place).resolve()
        home = folder / "home"
        home.mkdir()
        show(starts(given.rounds, home))
        if given.files:
            made = dry_run(given.files, home, folder)
            print(
                f"dry run of {given.files:,} files: {made.wall_s:.1f} s, processor "
                f"{made.cpu_s:.1f} s, at most {made.peak_mb:.0f} MB"
            )
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
