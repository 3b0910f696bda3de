"""Power cuts, played through from a trace of an unmodified program.

A trace (faults.c) holds every change to files in order, with its data and its syncs. `Disk` replays
it up to a cut. What was synced is there: the bytes of a file after a sync of the file, names in a
folder after a sync of the folder. Of the rest a random part is: bytes are lost, kept, or torn at
sectors of 512; of the changes of names in a folder a random number, in their order. That is
stricter than ext4 (where syncing a new file also keeps its name). A disk that is not `honest`
ignores syncs: with it the same checks must fail.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gs_video_report.batch.data_models import TaskResult
from gs_video_report.batch.mend.outputs import verify_outputs
from tests.reliability import oracle
from tests.reliability.lives import Lives, held, parse
from tests.reliability.scene import CHEAP, Scene, fake_model, small_library
from tests.reliability.shim import Faults, Kind

MAGIC = 0x47535652
SECTOR = 512
_HEAD = struct.Struct("<IIIIIIQQ")


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a trace."""

    kind: Kind
    inode: int
    offset: int
    """Of a write; the new size for TRUNCATE."""
    path: str
    other: str
    """Target of RENAME and LINK."""
    data: bytes
    is_folder: bool
    """SYNC of a folder."""


def read_trace(path: Path) -> list[Change]:
    """All events in order."""
    raw, at, found = path.read_bytes(), 0, []
    while at < len(raw):
        magic, kind, length, other, size, mode, inode, offset = _HEAD.unpack_from(raw, at)
        if magic != MAGIC:
            raise ValueError(f"{path}: not a trace at byte {at}")
        at += _HEAD.size
        parts = (raw[at : at + length], raw[at + length : at + length + other])
        at += length + other
        data = raw[at : at + size]
        at += size
        names = [part.decode("utf-8", "surrogateescape") for part in parts]
        found.append(Change(Kind(kind), inode, offset, *names, data, bool(mode & 0o40000)))
    return found


@dataclass
class _File:
    safe: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data); data None cuts the file to that size."""


@dataclass
class Disk:
    """What a disk has taken of the changes so far."""

    honest: bool = True
    files: dict[int, _File] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    """Path -> inode; 0 is a folder."""
    moves: dict[str, list[Change]] = field(default_factory=dict)
    """Folder -> changes of its names that wait for a sync."""
    made: set[str] = field(default_factory=set)
    """Folders that the trace has made; others were there before."""

    def apply(self, change: Change) -> None:
        """Take one change."""
        file = self.files.setdefault(change.inode, _File())
        if change.kind is Kind.WRITE:
            file.waiting.append((change.offset, change.data))
        elif change.kind is Kind.TRUNCATE:
            file.waiting.append((change.offset, None))
        elif change.kind is Kind.SYNC:
            if self.honest and change.is_folder:
                self._settle_names(self.moves.pop(change.path, []))
            elif self.honest:
                _settle(file)
        else:
            if change.kind is Kind.MKDIR:
                self.made.add(change.path)
            elif change.kind is Kind.CREATE:
                self.files[change.inode] = _File()
            folder = str(PurePosixPath(change.other or change.path).parent)
            self.moves.setdefault(folder, []).append(change)

    def _settle_names(self, changes: list[Change]) -> None:
        for change in changes:
            if change.kind in (Kind.CREATE, Kind.MKDIR):
                self.names[change.path] = 0 if change.kind is Kind.MKDIR else change.inode
            elif change.kind in (Kind.UNLINK, Kind.RMDIR):
                self.names.pop(change.path, None)
            else:
                if change.kind is Kind.RENAME:
                    self.names.pop(change.path, None)
                self.names[change.other] = change.inode

    def cut(self, rand: random.Random) -> None:
        """The power goes: a random part of what waits is kept."""
        for changes in self.moves.values():
            self._settle_names(changes[: rand.randint(0, len(changes))])
        self.moves.clear()
        for file in self.files.values():
            _lose(file, rand)

    def write_out(self, root: Path, to: Path) -> None:
        """Build the files below `root` as they are now in `to`, which is emptied."""
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        for name, inode in sorted(self.names.items()):
            if not name.startswith(f"{root}/") or not self._reachable(name):
                continue
            target = to / name[len(str(root)) + 1 :]
            if inode == 0:
                target.mkdir(parents=True, exist_ok=True)
            elif not target.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.files[inode].safe)

    def _reachable(self, name: str) -> bool:
        """Whether every folder above was there before, or is there."""
        above = (str(folder) for folder in PurePosixPath(name).parents)
        return all(folder in self.names for folder in above if folder in self.made)


def _settle(file: _File) -> None:
    for offset, data in file.waiting:
        _put(file.safe, offset, data)
    file.waiting.clear()


def _put(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _lose(file: _File, rand: random.Random) -> None:
    how = rand.choice(("all", "none", "some", "torn"))
    for offset, data in file.waiting:
        if how == "none" or (how != "all" and rand.random() < 0.5):
            continue
        if how == "torn" and data is not None:
            for at, part in _sectors(offset, data):
                if rand.random() < 0.5:
                    _put(file.safe, at, part)
        else:
            _put(file.safe, offset, data)
    file.waiting.clear()


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """`data` in parts that end at multiples of 512 of the file."""
    at = offset
    while at < offset + len(data):
        end = min((at // SECTOR + 1) * SECTOR, offset + len(data))
        yield at, data[at - offset : end - offset]
        at = end


def disk_at(changes: list[Change], cut: int, rand: random.Random, *, honest: bool = True) -> Disk:
    """The disk after a power cut behind `cut` changes."""
    disk = Disk(honest)
    for change in changes[:cut]:
        disk.apply(change)
    disk.cut(rand)
    return disk


# --- the queue ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class QueueTrace:
    """A life of a queue, its place, and where its log of promises is."""

    changes: list[Change]
    root: Path
    log: Path


def queue_trace(folder: Path) -> QueueTrace:
    """Record one undisturbed life of a queue."""
    lives = Lives(folder, folder / "trace")
    lives.faults.calm()
    assert lives.live("q") == 0
    found = QueueTrace(read_trace(folder / "trace"), lives.root, lives.logs / "q")
    lives.close()
    return found


def queue_cuts(
    trace: QueueTrace, cuts: int, rand: random.Random, *, honest: bool = True
) -> list[str]:
    """What is lost or damaged after each of `cuts` power cuts; empty means nothing, ever."""
    problems = []
    for _ in range(cuts):
        cut = rand.randint(1, len(trace.changes))
        said = b"".join(c.data for c in trace.changes[:cut] if c.path == str(trace.log))
        place = trace.root.with_name("cut")
        disk_at(trace.changes, cut, rand, honest=honest).write_out(trace.root, place)
        try:
            found = held(place / "q" / "q.db", parse(said.decode()))
        except (sqlite3.Error, OSError) as error:
            found = [repr(error)]
        problems += [f"cut behind change {cut}: {p}" for p in found]
    return problems


# --- whole runs --------------------------------------------------------------------------------


def run_trace(folder: Path, scene: Scene) -> list[Change]:
    """Record an undisturbed run of `scene`; its files are then as the run left them."""
    with Faults(folder, scene.root, folder / "run.trace") as faults:
        scene.faults = faults
        code = scene.finish()
        scene.faults = None
    assert code in (0, 3), scene.said()
    return read_trace(folder / "run.trace")


def run_cuts(
    changes: list[Change],
    scene: Scene,
    cuts: int,
    rand: random.Random,
    *,
    honest: bool = True,
    resume_every: int = 0,
) -> list[str]:
    """What is wrong after each cut: damage, half a file, a completed task without its files.

    Args:
        scene: the finished scene of the trace; after a cut its place holds what the cut left.
        resume_every: after so many cuts one is also gone on from, and judged; 0 never.
    """
    problems, finished = [], scene.root.with_name("finished")
    if not finished.exists():
        shutil.copytree(scene.root, finished)
    reference = Scene(finished, scene.inputs, scene.extra)
    whole = {p.relative_to(finished): p.read_bytes() for p in _results(finished)}
    for number in range(1, cuts + 1):
        cut = rand.randint(1, len(changes))
        disk_at(changes, cut, rand, honest=honest).write_out(scene.root, scene.root)
        try:
            found = _after_cut(scene, whole)
        except (sqlite3.Error, OSError) as error:
            found = [repr(error)]
        if resume_every and number % resume_every == 0 and not found:
            code = scene.finish()
            found = [] if code in (0, 3) else [f"exit code {code}: {scene.said()[-500:]}"]
            # The removal of a work folder is not synced: one may be back, and is swept after a day.
            judged = oracle.check(scene, reference)
            found += [p for p in judged if not p.startswith("cache/work/")]
        problems += [f"cut behind change {cut}: {p}" for p in found]
    return problems


def _results(root: Path) -> list[Path]:
    """Files that are written once and then stay as they are."""
    reports = (p for p in (root / "out").glob("*/**/*") if not p.name.startswith(".gsvr-"))
    found = [*reports, *root.glob("cache/objects/*/*"), *root.glob("checkpoints/*.ckpt")]
    return [p for p in found if p.is_file()]


def _after_cut(scene: Scene, whole: dict[Path, bytes]) -> list[str]:
    problems = [
        f"{path.relative_to(scene.root)} is not what was written"
        for path in _results(scene.root)
        if whole.get(path.relative_to(scene.root)) != path.read_bytes()
    ]
    if not scene.database.exists() or not oracle.rows(
        scene.database, "SELECT 1 FROM sqlite_master WHERE name = 'tasks'"
    ):
        return problems
    problems += [t for (t,) in oracle.rows(scene.database, "PRAGMA integrity_check") if t != "ok"]
    results = oracle.rows(scene.database, "SELECT result FROM tasks WHERE status = 'completed'")
    for (result,) in results:
        problems += verify_outputs(TaskResult.from_json(result), scene.output)
    return problems


def long_form(folder: Path, cuts: int, seed: int) -> tuple[str, bool]:
    """`cuts` power cuts of a queue and as many of a whole run; (what to tell, anything wrong)."""
    rand = random.Random(seed)
    trace = queue_trace(folder)
    queue = queue_cuts(trace, cuts, rand)
    lying = queue_cuts(trace, max(20, cuts // 20), rand, honest=False)
    flags = (*CHEAP, "--asr-model", str(fake_model(folder / "model")))
    scene = Scene(folder / "scene", small_library(folder / "in"), flags)
    changes = run_trace(folder, scene)
    runs = run_cuts(changes, scene, cuts, rand, resume_every=50)
    told = [
        f"{cuts} power cuts of a queue ({len(trace.changes)} changes): {len(queue)} problems",
        f"{cuts} power cuts of a run ({len(changes)} changes): {len(runs)} problems",
        f"the same queue on a disk that ignores syncs: {len(lying)} problems",
        *queue[:20], *runs[:20],
    ]  # fmt: skip
    return "\n".join(told), bool(queue or runs or not lying)
