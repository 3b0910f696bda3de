"""Kill real `gsvr` processes at random moments, resume, and compare with an undisturbed run.

By hand, with any folder of recordings:

    python -m tests.crash.storm --input examples --kills 30 --seed 7

The oracle (`check`): every task has exactly one completion, every step was journaled exactly
once, the outputs equal those of an undisturbed run apart from run-time fields, no temporary file
and no running task is left, the database is sound.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

SLOWEST_RUN_S = 600.0


@dataclass
class Scene:
    """One database, one output folder, one cache."""

    root: Path
    inputs: Path
    extra: tuple[str, ...] = ()

    @property
    def output(self) -> Path:
        return self.root / "out"

    @property
    def database(self) -> Path:
        return self.root / "tasks.db"

    def command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "gs_video_report",
            "batch",
            "process",
            "--input-dir",
            str(self.inputs),
            "--output",
            str(self.output),
            "--db",
            str(self.database),
            "--cache-dir",
            str(self.root / "cache"),
            "--progress",
            "none",
            *self.extra,
        ]

    def start(self) -> subprocess.Popen[bytes]:
        log = (self.root / "log.txt").open("ab")
        with log:
            return subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
            )

    def finish(self) -> int:
        """Run to the end, undisturbed; the exit code."""
        return self.start().wait(timeout=SLOWEST_RUN_S)


def kill_at_random(scene: Scene, rand: random.Random, longest_s: float) -> bool:
    """Start, SIGKILL the whole process group after a random time. False: it had ended before."""
    process = scene.start()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=rand.uniform(0.05, longest_s))
        return False
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def storm(scene: Scene, kills: int, seed: int, longest_s: float) -> int:
    """Kill and restart; returns how many kills hit a run that was under way.

    The longest life is stretched while nothing gets done, so that a slow machine gets on, too.
    """
    rand = random.Random(seed)
    hit = 0
    for _ in range(kills):
        if not kill_at_random(scene, rand, longest_s):
            break
        hit += 1
    return hit


def check(scene: Scene, reference: Scene) -> list[str]:
    """What is wrong after the storm; empty means: as if nothing had happened."""
    problems = database_problems(scene.database)
    mine, theirs = outputs(scene.output), outputs(reference.output)
    for name in sorted(mine.keys() ^ theirs.keys()):
        problems.append(f"{name}: only {'after' if name in mine else 'without'} the kills")
    for name in sorted(mine.keys() & theirs.keys()):
        if mine[name] != theirs[name]:
            problems.append(f"{name}: differs")
    problems += [f"{p}: left behind" for p in scene.output.rglob(".gsvr-*")]
    return problems


def database_problems(path: Path) -> list[str]:
    """Completions, journal and integrity, read from the tables themselves."""
    problems = []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        states = dict(db.execute("SELECT status, count(*) FROM tasks GROUP BY status"))
        if set(states) - {"completed", "failed"}:
            problems.append(f"unfinished tasks: {states}")
        rows = db.execute(
            "SELECT task_id, count(*) FROM events WHERE kind = 'task.completed' "
            "GROUP BY task_id HAVING count(*) <> 1"
        ).fetchall()
        problems += [f"task {task_id} completed {n} times" for task_id, n in rows]
        steps = db.execute("SELECT count(*) FROM steps").fetchone()[0]
        events = db.execute("SELECT count(*) FROM events WHERE kind = 'step'").fetchone()[0]
        if steps != events:
            problems.append(f"{steps} steps in the journal, {events} times a step was journaled")
        if steps == 0:
            problems.append("no step was journaled at all")
        sound = db.execute("PRAGMA integrity_check").fetchone()[0]
        if sound != "ok":
            problems.append(f"integrity: {sound}")
    return problems


def outputs(root: Path) -> dict[str, bytes]:
    """Every output file without its run-time fields, by relative name."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.name.startswith(".gsvr-"):
            name = path.relative_to(root).as_posix()
            if "/" in name:  # batch pages at the top carry the batch's id and times
                found[name] = without_run(path, root)
    return found


_BATCH_NAME = re.compile(rb"\b[0-9a-f]{8}\b")


def without_run(path: Path, root: Path) -> bytes:
    """The content with everything that may differ between two runs taken out."""
    data = path.read_bytes().replace(str(root.parent).encode(), b"ROOT")
    if path.suffix == ".json":
        value = json.loads(data)
        value.get("provenance", {}).pop("run", None)
        return json.dumps(value, sort_keys=True).encode()
    if path.suffix == ".md":
        return re.sub(rb"(?m)^created: .*$", b"", data)
    if path.suffix == ".html":
        data = re.sub(rb"<time data-run[^>]*>.*?</time>", b"", data, flags=re.S)
        return re.sub(rb'"run":\s*\{[^{}]*(\{[^{}]*\})?[^{}]*\}', b"", data)
    return data


def main() -> None:
    """The long form, by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, help="longest life, s [a quarter of a run]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reference = Scene(Path(folder) / "reference", options.input.resolve())
        scene = Scene(Path(folder) / "storm", options.input.resolve())
        reference.root.mkdir()
        scene.root.mkdir()
        began = time.monotonic()
        first = reference.finish()
        longest = time.monotonic() - began
        life = options.longest or max(1.5, longest / 4)
        hit = storm(scene, options.kills, options.seed, life)
        last = scene.finish()
        problems = check(scene, reference)
    print(f"undisturbed: exit {first} in {longest:.1f} s; {hit} kills hit; last run: exit {last}")
    print("\n".join(problems) or "nothing lost, nothing redone, outputs identical")
    sys.exit(1 if problems or first != last else 0)


if __name__ == "__main__":
    main()
