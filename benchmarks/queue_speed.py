"""gsvr's queue beside other queues on SQLite and the least SQLite can be asked, in the same run.

    python -m benchmarks.queue_speed [--rounds 3] [--jobs 4000] [--sizes 1000,100000,1000000]
                               [--only gsvr,floor] [--scenes quiet,busy,...] [--json FILE]

Needs the extra `bench`. Each measurement is a process of its own on a copy of a prepared file; in
each round all contestants have their turn in each scene, in an order that moves on from round to
round, and the medians are printed with their ratio to the floor of the same scene. The disk's own
speed stands beside them: the median of 4 KiB written over and over, each followed by fdatasync.
Scenes:

- `enqueue`, `enqueue-N`: one job per call, durable when the call returns, while N jobs wait;
- `drain`, `drain-N`: take a job, finish it, while N jobs wait;
- `processes`: drained by four processes on one file;
- `normal`: drained at synchronous=NORMAL, which may lose the last jobs at a power cut;
- `busy`: drained beside two processes that never stop computing.

`gsvr` has 16 tasks in flight (1 and 64 too: `gsvr/1`, `gsvr/64`), through the calls of its worker
pool; `gsvr-pool` is the pool itself. The others work one by one, as their interfaces have it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.queue_contestants import CONTESTANTS, Order

FLOOR = "floor"
DEFAULT = ("floor", "gsvr", "gsvr/1", "gsvr/64", "gsvr-pool", "huey", "litequeue", "persist-queue")
IN_FLIGHT = 16
PROCESSES = 4
BURNERS = 2
CHILD_LIMIT_S = 1800.0
SYNC_BYTES = 4096
SYNCS = 300


@dataclass(frozen=True)
class Scene:
    """One set of circumstances."""

    name: str
    what: str = "drain"
    waiting: int = 1000
    level: str = "FULL"
    processes: int = 1
    burners: int = 0


def scenes(sizes: list[int]) -> list[Scene]:
    """All scenes, the first size being the base of those that vary something else."""
    base, *larger = sizes
    return [
        Scene("enqueue", "enqueue", base),
        *[Scene(f"enqueue-{n}", "enqueue", n) for n in larger],
        Scene("drain", waiting=base),
        *[Scene(f"drain-{n}", waiting=n) for n in larger],
        Scene("processes", waiting=base, processes=PROCESSES),
        Scene("normal", waiting=base, level="NORMAL"),
        Scene("busy", waiting=base, burners=BURNERS),
    ]


class Bench:
    """Runs measurements; keeps prepared files, one for each queue and number of waiting jobs."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder = folder
        self.jobs = jobs

    def rate(self, who: str, scene: Scene) -> float:
        """Jobs per second."""
        name, _, in_flight = who.partition("/")
        order = Order(
            name, scene.what, str(self.folder / "run"), self.jobs // scene.processes, scene.level,
            int(in_flight or IN_FLIGHT),
        )  # fmt: skip
        # A drain must not run dry: what it takes is there beside what waits.
        prepared = self._prepared(name, scene.waiting + self.jobs * (scene.what == "drain"))
        shutil.rmtree(order.folder, ignore_errors=True)
        shutil.copytree(prepared, order.folder)
        os.sync()
        burners = [_burner() for _ in range(scene.burners)]
        try:
            answers = _run([order] * scene.processes)
        finally:
            for burner in burners:
                burner.terminate()
                burner.join()
        return sum(a["jobs"] for a in answers) / max(a["seconds"] for a in answers)

    def _prepared(self, name: str, waiting: int) -> Path:
        kind = "gsvr" if name.startswith("gsvr") else name
        place = self.folder / f"{kind}-{waiting}"
        if not place.exists():
            place.mkdir()
            level = "FULL" if kind == "gsvr" else "OFF"  # others fill one by one
            _run([Order(kind, "fill", str(place), waiting, level)])
        return place


def sync_us(folder: Path) -> float:
    """Median of writing 4 KiB and fdatasync on the disk of `folder`, µs."""
    found = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        place = file.fileno()
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.pwrite(place, os.urandom(SYNC_BYTES), 0)
            os.fdatasync(place)
            found.append(time.perf_counter() - began)
    return statistics.median(found) * 1e6


def _run(orders: list[Order]) -> list[dict[str, Any]]:
    """Start a process for each order, let all begin at once, and hear their answers."""
    children = [_start(order) for order in orders]
    for child in children:
        if _line(child) != "ready":
            raise SystemExit(f"a contestant failed: {child.args}")
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    return [_answer(child) for child in children]


def _start(order: Order) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.queue_contestants", json.dumps(asdict(order))]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[1], text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip


def _line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _answer(child: subprocess.Popen[str]) -> dict[str, Any]:
    line = _line(child)
    if child.wait(CHILD_LIMIT_S) != 0 or not line:
        raise SystemExit(f"a contestant failed: {child.args}")
    found: dict[str, Any] = json.loads(line)
    return found


def _burner() -> multiprocessing.Process:
    process = multiprocessing.Process(target=_burn, daemon=True)
    process.start()
    return process


def _burn() -> None:
    while True:
        pass


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Medians and their ratio to the floor, a row for each contestant, a column for each scene."""
    names = list(found)
    contestants = list(dict.fromkeys(who for rates in found.values() for who in rates))
    lines = ["| jobs/s (times the floor) | " + " | ".join(names) + " |"]
    lines.append("|---" * (len(names) + 1) + "|")
    for who in contestants:
        cells = [_cell(found[scene], who) for scene in names]
        lines.append(f"| {who} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rates: dict[str, list[float]], who: str) -> str:
    if not rates.get(who):
        return "-"
    middle = statistics.median(rates[who])
    # Ratios within a round: a noisy neighbour hits both.
    pairs = zip(rates[who], rates.get(FLOOR, []), strict=False)
    ratios = [rate / floor for rate, floor in pairs if floor]
    ratio = f" ({statistics.median(ratios):.2f})" if ratios and who != FLOOR else ""
    return f"{middle:,.0f}{ratio}"


def measure(bench: Bench, chosen: list[Scene], contestants: list[str], rounds: int) -> Any:
    """All rates: scene -> contestant -> one per round."""
    found: dict[str, dict[str, list[float]]] = {
        scene.name: {who: [] for who in contestants} for scene in chosen
    }
    for number in range(rounds):
        turn = number % len(contestants)
        for scene in chosen:
            for who in contestants[turn:] + contestants[:turn]:
                rate = bench.rate(who, scene)
                found[scene.name][who].append(rate)
                print(f"round {number + 1}  {scene.name:16} {who:14} {rate:10,.0f}", flush=True)
    return found


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=4000)
    parser.add_argument("--sizes", default="1000,100000,1000000")
    parser.add_argument("--only", default=",".join(DEFAULT))
    parser.add_argument("--scenes", default="")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    contestants = given.only.split(",")
    unknown = [who for who in contestants if who.partition("/")[0] not in CONTESTANTS]
    if unknown:
        parser.error(f"unknown contestants: {', '.join(unknown)}")
    sizes = [int(size) for size in given.sizes.split(",")]
    wanted = set(given.scenes.split(",")) if given.scenes else None
    chosen = [s for s in scenes(sizes) if wanted is None or s.name in wanted]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        bench = Bench(Path(folder), given.jobs)
        syncs = [sync_us(Path(folder))]
        found = measure(bench, chosen, contestants, given.rounds)
        syncs.append(sync_us(Path(folder)))
    print("\n" + table(found))
    print(f"\nfdatasync of 4 KiB: {syncs[0]:.0f} µs before, {syncs[1]:.0f} µs after (medians)")
    print(f"{time.monotonic() - began:.0f} s; load at the end {os.getloadavg()[0]:.1f}")
    if given.json:
        facts = {
            "jobs": given.jobs,
            "sync_us": syncs,
            "scenes": [asdict(s) for s in chosen],
            "rates": found,
        }
        given.json.write_text(json.dumps(facts, indent=1), "utf-8")


if __name__ == "__main__":
    main()
