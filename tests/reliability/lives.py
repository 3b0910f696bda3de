"""Lives of a small queue under the shim, and what must hold after each of them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from gs_video_report.batch.checkpoint.files import inspect
from tests.reliability.queue_life import TASKS
from tests.reliability.scene import ROOT
from tests.reliability.shim import Faults


class Lives:
    """Runs lives of a queue below `root`, each with a stroke of its own."""

    def __init__(self, folder: Path, trace: Path | None = None) -> None:
        self.root = folder / "queues"
        self.root.mkdir()
        self.faults = Faults(folder, self.root, trace)
        self.logs = (self.root if trace else folder) / "logs"
        self.logs.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.queue_life"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**_clean(), **self.faults.environment()},
        )  # fmt: skip
        assert self._answer() == "ready"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def live(self, name: str) -> int:
        """One life of the queue `name`; its exit code, or minus the signal."""
        assert self.process.stdin is not None
        (self.root / name).mkdir(exist_ok=True)
        self.process.stdin.write(f"{self.root / name} {self.logs / name}\n")
        self.process.stdin.flush()
        return int(self._answer())

    def changes(self) -> int:
        """Changes of files in a life that nothing disturbs."""
        self.faults.calm()
        assert self.live("calm") == 0
        return self.faults.count

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
        self.faults.close()


def _clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("GSVR_")}


def promised(log: Path) -> list[list[str]]:
    """The promises of a log, as words."""
    return parse(log.read_text()) if log.exists() else []


def parse(text: str) -> list[list[str]]:
    """The promises in the text of a log; lines of errors are none."""
    return [line.split() for line in text.splitlines() if not line.startswith("#")]


def held(database: Path, said: list[list[str]]) -> list[str]:
    """Promises that the file does not hold, and damage. SQLite's own view, after a kill."""
    if not said:
        return []
    with closing(sqlite3.connect(database)) as db:
        problems = [t for (t,) in db.execute("PRAGMA integrity_check") if t != "ok"]
        rows = dict(db.execute("SELECT seq, status FROM tasks"))
        steps = {name for (name,) in db.execute("SELECT fingerprint FROM steps")}
        tried = set(
            db.execute("SELECT seq, attempts.attempt FROM tasks JOIN attempts USING(task_id)")
        )
        batches = list(db.execute("SELECT 1 FROM batches"))
    for word, *about in said:
        seq = int(about[0]) if about else 0
        kept = {
            "batch": lambda: bool(batches),
            "added": lambda: len(rows) == TASKS,
            "claim": lambda: (seq, int(about[1])) in tried,  # noqa: B023  (called at once)
            "step": lambda: f"content-{seq}" in steps,  # noqa: B023
            "retry": lambda: rows[seq] in {"retrying", "running", "completed", "pending"},  # noqa: B023
            "done": lambda: rows[seq] == "completed",  # noqa: B023
        }.get(word, lambda: True)
        if not kept():
            problems.append(f"promised and gone: {word} {about}")
    return problems


def whole(lives: Lives, name: str) -> list[str]:
    """What is wrong once the last life has ended."""
    folder, log = lives.root / name, lives.logs / name
    said = promised(log)
    problems = held(folder / "q.db", said)
    done = [about[0] for word, *about in said if word == "done"]
    problems += [f"task {seq} was finished twice" for seq in set(done) if done.count(seq) > 1]
    with closing(sqlite3.connect(folder / "q.db")) as db:
        completed = db.execute("SELECT count(*) FROM events WHERE kind='task.completed'").fetchone()
        journaled = db.execute("SELECT count(*) FROM events WHERE kind='step'").fetchone()
    if completed != (TASKS,) or journaled != (TASKS,):
        problems.append(f"{completed} completions, {journaled} steps")
    problems += [f"{p.name}: left behind" for p in folder.rglob("*.tmp")]
    problems += [
        f"{p.name}: {inspect(p).problem}" for p in folder.rglob("*.ckpt") if not inspect(p).readable
    ]
    return problems
