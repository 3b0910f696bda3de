"""Strike real `gsvr` processes at chosen changes of their files, resume, and ask the oracle.

One to three processes share a database. A stroke falls on the n-th write, sync, rename, ... of the
whole process tree, so moments between two system calls are hit as surely as long computations;
the same seed chooses the same strokes. Kinds: SIGKILL of a coordinator, SIGKILL of whichever
process has the event (a compute process in mid-write), SIGTERM, SIGSTOP for a moment, and SIGSTOP
until the lease has lapsed and others have finished the work.
"""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability import oracle
from tests.reliability.scene import SLOWEST_RUN_S, Scene, end
from tests.reliability.shim import SELF, Fate, Faults

KINDS = {"kill": 8, "child": 1, "term": 1, "stop": 1, "lapse": 1}
"""Kind of stroke -> weight."""
CHILD_KILLS = 2
"""Per scene: a third crash of a compute process on one file is poison, by design."""
SLOWEST_STROKE_S = 180.0
POLL_S = 0.002
GOOD_EXITS = {0, 3}
TERM_EXITS = GOOD_EXITS | {143, -signal.SIGTERM}
"""Minus the signal: it came before Python had begun to run the program."""


@dataclass
class Tally:
    """What a storm did and found."""

    strokes: Counter[str] = field(default_factory=Counter)
    scenes: int = 0
    runs: int = 0
    problems: list[str] = field(default_factory=list)
    slowest_stop_s: float = 0.0
    """Longest time from SIGTERM to the end of the process."""

    @property
    def kills(self) -> int:
        """Strokes that ended a process without a word."""
        return self.strokes["kill"] + self.strokes["child"]

    def text(self) -> str:
        """One paragraph for people."""
        each = ", ".join(f"{n} {kind}" for kind, n in sorted(self.strokes.items()))
        good = "nothing lost, nothing done twice, reports identical"
        return (
            f"{self.strokes.total()} strokes ({each}) on {self.runs} processes in {self.scenes} "
            f"batches; slowest stop {self.slowest_stop_s:.1f} s\n"
        ) + ("\n".join(self.problems) or good)


@dataclass
class Storm:
    """A storm over copies of one scene, compared with `reference`, which has run undisturbed."""

    folder: Path
    reference: Scene
    rand: random.Random
    processes: int = 3
    """At most so many at once."""
    spread: int = 800
    """A stroke falls within so many events."""
    kinds: dict[str, int] = field(default_factory=lambda: dict(KINDS))
    tally: Tally = field(default_factory=Tally)
    tell: Callable[[str], None] = print

    def run(self, strokes: int) -> Tally:
        """Strike until `strokes` have hit; each batch that ends is judged."""
        while self.tally.strokes.total() < strokes and len(self.tally.problems) < 20:
            self._batch(strokes)
        return self.tally

    def _batch(self, strokes: int) -> None:
        root = self.folder / f"batch{self.tally.scenes}"
        scene = Scene(root, self.reference.inputs, self.reference.extra)
        self.tally.scenes += 1
        with Faults(self.folder, root) as faults:
            scene.faults = faults
            _OneBatch(self, scene, faults).run(strokes)
        found = [f"{root.name}: {p}" for p in oracle.check(scene, self.reference)]
        self.tally.problems += found
        for problem in found:
            self.tell(problem)
        self.tell(f"{self.tally.strokes.total()} strokes, {len(self.tally.problems)} problems")
        if not any(p.startswith(f"{root.name}:") for p in self.tally.problems):
            shutil.rmtree(root)


@dataclass
class _OneBatch:
    storm: Storm
    scene: Scene
    faults: Faults
    alive: list[subprocess.Popen[bytes]] = field(default_factory=list)
    child_kills: int = 0
    unseen: int = 0
    """Strokes of kind `child` whose victim was not seen to be a coordinator (yet)."""
    ended: bool = False

    def run(self, strokes: int) -> None:
        """Strike until the batch is done or the strokes are spent; then let it finish."""
        tally = self.storm.tally
        try:
            while not self.ended and tally.strokes.total() < strokes:
                self._top_up()
                self._stroke()
            self.faults.calm()
            for process in self.alive:
                process.wait(timeout=SLOWEST_RUN_S)
            self._reap(None)
            code = self.scene.finish()
            if code not in GOOD_EXITS:
                self._problem(f"the last run ended with {code}: {self.scene.said()[-800:]}")
        finally:
            for process in self.alive:
                end(process)

    def _top_up(self) -> None:
        wanted = self.storm.rand.randint(1, self.storm.processes)
        while len(self.alive) < wanted:
            self.alive.append(self.scene.start())
            self.storm.tally.runs += 1

    def _stroke(self) -> None:
        rand = self.storm.rand
        kind = rand.choices(list(self.storm.kinds), list(self.storm.kinds.values()))[0]
        if kind == "child" and self.child_kills >= CHILD_KILLS:
            kind = "kill"
        if kind == "lapse" and len(self.alive) == 1:
            kind = "stop"
        victim = rand.choice(self.alive)
        number = {"term": signal.SIGTERM, "stop": signal.SIGSTOP, "lapse": signal.SIGSTOP}
        target = SELF if kind == "child" else victim.pid
        before, seen = oracle.journaled(self.scene.database), self.scene.jobs_run()
        self.faults.strike(
            rand.randint(1, self.storm.spread),
            Fate.SIGNAL,
            number.get(kind, signal.SIGKILL),
            victim=target,
        )
        struck = self._await_stroke(victim)
        if struck:
            self.storm.tally.strokes[kind] += 1
            self.child_kills += kind == "child"
            self.unseen += kind == "child"
            self._after(kind, victim)
        # not before: a process that was stopped as it opened or closed the database keeps it
        for problem in oracle.run_again(self.scene, before, seen):
            self._problem(problem)
        self._reap(victim if struck and kind == "kill" else None)

    def _await_stroke(self, victim: subprocess.Popen[bytes]) -> bool:
        """True once the stroke fell; False when the process ended before."""
        give_up = time.monotonic() + SLOWEST_STROKE_S
        while self.faults.struck == 0 and victim.poll() is None:
            if time.monotonic() > give_up:
                self._problem(f"nothing happened for {SLOWEST_STROKE_S:g} s")
                end(victim)
                return False
            time.sleep(POLL_S)
        return self.faults.struck > 0

    def _after(self, kind: str, victim: subprocess.Popen[bytes]) -> None:
        if kind == "kill":
            victim.wait(timeout=30)
        elif kind == "term":
            began = time.monotonic()
            code = victim.wait(timeout=SLOWEST_RUN_S)
            took = time.monotonic() - began
            self.storm.tally.slowest_stop_s = max(self.storm.tally.slowest_stop_s, took)
            self._expect(code, TERM_EXITS)
            self.alive.remove(victim)
        elif kind == "stop":
            time.sleep(self.storm.rand.random() * 0.5)
            victim.send_signal(signal.SIGCONT)
        elif kind == "lapse":
            self._let_lapse(victim)

    def _let_lapse(self, victim: subprocess.Popen[bytes]) -> None:
        """The stopped process loses its leases; the others take its tasks; then it wakes up."""
        self.faults.calm()
        mine = f"%-{victim.pid}-%"
        if not lapse_leases(self.scene.database, mine):  # it was stopped while it wrote
            victim.send_signal(signal.SIGCONT)
            return
        others = [p for p in self.alive if p is not victim]
        give_up = time.monotonic() + 15
        while time.monotonic() < give_up and any(p.poll() is None for p in others):
            held = "SELECT 1 FROM tasks WHERE status = 'running' AND worker_id LIKE '" + mine + "'"
            if not oracle.rows(self.scene.database, held):
                break
            time.sleep(0.02)
        victim.send_signal(signal.SIGCONT)

    def _reap(self, killed: subprocess.Popen[bytes] | None) -> None:
        """Forget processes that ended; one that ended well has finished the batch."""
        for process in list(self.alive):
            code = process.poll()
            if code is None:
                continue
            self.alive.remove(process)
            if process is killed and code == -signal.SIGKILL:
                continue
            if code == -signal.SIGKILL and self.unseen:
                self.unseen -= 1
                continue
            self._expect(code, GOOD_EXITS)
            self.ended = self.ended or code in GOOD_EXITS

    def _expect(self, code: int, wanted: set[int]) -> None:
        if code not in wanted:
            self._problem(f"exit code {code}: {self.scene.said()[-800:]}")

    def _problem(self, text: str) -> None:
        self.storm.tally.problems.append(f"{self.scene.root.name}: {text}")
        self.storm.tell(text)


def lapse_leases(database: Path, worker: str) -> bool:
    """Let the leases of workers that match the LIKE pattern lapse now; False: it is locked."""
    statement = "UPDATE tasks SET lease_until_ms = 1 WHERE status = 'running' AND worker_id LIKE ?"
    with closing(sqlite3.connect(database, timeout=0.5, isolation_level=None)) as db:
        try:
            db.execute(statement, (worker,))
        except sqlite3.OperationalError:
            return False
    return True
