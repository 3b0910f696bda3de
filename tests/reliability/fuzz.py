"""Mutated files, one after the other: recordings, subtitles, lists. What became of each.

Truth: `Outcome.problems` is empty when every file was understood or refused with a reason and a
hint, in time, within the memory limit, and without a process, file or descriptor left over.
Two ways: `decode_all` calls what the engine calls in compute processes (cheap, thousands of
files); `rich.py` runs whole batches with speech, slides and OCR.
Never: touches the network.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gs_video_report.batch.data_models import InputProblem
from gs_video_report.batch.input_parser import InputSpec, scan
from gs_video_report.compute.process_pool import ProcessBackend
from gs_video_report.engines import jobs
from gs_video_report.errors import ComputeFailed, GsvrError
from tests.reliability.mutate import mutated

LONGEST_CALL_S = 30.0
"""A call on a two-second recording that takes longer hangs. (The machine may be busy.)"""
MEMORY_LIMIT_BYTES = 1_000_000_000
SUBTITLES = {".srt", ".vtt", ".ass", ".ssa"}
LISTS = {".txt", ".csv", ".tsv", ".xlsx"}
FATAL = {"E_TIMEOUT", "E_STALLED", "E_COMPUTE_CRASHED"}
"""Codes of calls that hung, or took their process along. No damage may do that."""
KILLED = FATAL | {"E_OUT_OF_MEMORY"}
"""Codes of calls whose process may have been killed. Memory is claimed by some headers before the
library looks whether the file is that long (the tags of a WAV file); the limit ends that."""
SPARE_DESCRIPTORS = 10
"""What a process may open after its first calls and keep: libraries that come later."""


@dataclass
class Outcome:
    """What became of the files."""

    met: Counter[str] = field(default_factory=Counter)
    """Code of an error, or `ok`, -> how often."""
    problems: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    """(seconds, name) of the file that took longest."""
    peak_bytes: int = 0
    files: int = 0

    def add(self, other: Outcome) -> None:
        """Count what became of other files, too."""
        self.met += other.met
        self.problems += other.problems
        self.slowest = max(self.slowest, other.slowest)
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        self.files += other.files

    def text(self) -> str:
        """For people."""
        told = ", ".join(f"{code} {n}" for code, n in self.met.most_common())
        head = f"{self.files} files: {told}; slowest {self.slowest[0]:.1f} s ({self.slowest[1]})"
        head += f"; {self.peak_bytes / 1e6:.0f} MB at most" if self.peak_bytes else ""
        return "\n".join([head, *(f"PROBLEM {p}" for p in self.problems)])


async def decode_all(
    originals: list[Path],
    numbers: Iterable[int],
    place: Path,
    *,
    processes: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Read mutations `numbers` of `originals` as the program does."""
    outcome = Outcome()
    waiting = iter(numbers)
    async with ProcessBackend(processes, memory_limit_bytes=MEMORY_LIMIT_BYTES) as backend:
        lanes = [
            _lane(backend, originals, waiting, place / f"lane{n}", outcome, tell)
            for n in range(processes)
        ]
        await asyncio.gather(*lanes)
        used = backend.statistics()
        outcome.peak_bytes = used.peak_rss_bytes
        outcome.problems += _descriptors_left()
    deaths = sum(outcome.met[code] for code in KILLED)
    if used.started - used.recycled > processes + deaths:
        outcome.problems.append(f"{used.started} processes were started for {deaths} deaths")
    return outcome


async def read_all(paths: list[Path], place: Path) -> dict[str, list[str]]:
    """Name -> codes of the errors with which reading the file as it is ended."""
    outcome = Outcome()
    (place / "pictures").mkdir(parents=True)
    async with ProcessBackend(1) as backend:
        return {path.name: await _read(backend, path, place, outcome) for path in paths}


async def _lane(
    backend: ProcessBackend,
    originals: list[Path],
    numbers: Iterator[int],
    place: Path,
    outcome: Outcome,
    tell: Callable[[str], None],
) -> None:
    """One file after the other in a folder of its own, which must be empty afterwards."""
    (place / "pictures").mkdir(parents=True)
    for number in numbers:
        name, content = mutated(originals, number)
        path = place / name
        path.write_bytes(content)
        began = time.monotonic()
        codes = await _read(backend, path, place, outcome)
        outcome.slowest = max(outcome.slowest, (time.monotonic() - began, name))
        outcome.met.update(codes or ["ok"])
        outcome.files += 1
        if FATAL & set(codes):
            outcome.problems.append(f"{name}: {codes}")
        path.unlink()
        if outcome.files % 500 == 0:
            tell(outcome.text())
    left = sum(1 for _ in place.glob("*.tmp"))
    if left > sum(outcome.met[code] for code in KILLED):  # a killed call leaves one; see files.py
        outcome.problems.append(f"{left} temporary files were left behind")


async def _read(backend: ProcessBackend, path: Path, place: Path, outcome: Outcome) -> list[str]:
    """Codes of the errors with which reading it ended; what is made goes to `place`."""
    if path.suffix in LISTS:
        return await asyncio.to_thread(_read_list, path, outcome)
    codes: list[str] = []

    async def call(function: Callable[..., Any], *arguments: Any) -> Any:
        run = backend.run(function, *arguments, timeout_s=LONGEST_CALL_S)
        value, error = await _ended(run)
        if error is not None:
            codes.append(error.code)
            outcome.problems += _unexplained(path.name, error)
        return value

    if path.suffix in SUBTITLES:
        await call(jobs.read_subtitles, str(path), "sidecar", -1)
        return codes
    found = await call(jobs.probe, str(path))
    if found is None:
        return codes
    pictures = str(place / "pictures")
    if found["audio"]:
        await call(jobs.extract_audio, str(path), str(place / "pcm"), None)
    if found["video"]:
        await call(jobs.find_slides, str(path), pictures, str(place / "cache"))
    for track in found["subtitles"]:
        await call(jobs.read_subtitles, str(path), "embedded", track["index"])
    return codes


async def _ended(call: Awaitable[Any]) -> tuple[Any, GsvrError | None]:
    """(value, None) or (None, the error with which the call ended)."""
    try:
        return await call, None
    except GsvrError as error:
        return None, error


def _unexplained(name: str, error: GsvrError) -> list[str]:
    """What is wrong with the error as an answer to a person."""
    if isinstance(error, ComputeFailed):
        return [f"{name}: {error.message} {error.data}"]
    if not error.message or not error.hint:
        return [f"{name}: {error.code} explains nothing: {error.message!r} {error.hint!r}"]
    return []


def _read_list(path: Path, outcome: Outcome) -> list[str]:
    """Read a list as `gsvr batch process` does; the codes of what was wrong."""
    codes = []
    try:
        for item in scan(InputSpec("list", str(path))):
            if isinstance(item, InputProblem):
                codes.append("row")
                if not item.reason:
                    outcome.problems.append(f"{path.name}: {item} has no reason")
    except GsvrError as error:
        outcome.problems += _unexplained(path.name, error)
        return [error.code]
    except Exception as error:
        outcome.problems.append(f"{path.name}: {type(error).__name__}: {error}")
        return [type(error).__name__]
    return codes[:1]


def _descriptors_left() -> list[str]:
    """Compute processes that hold more open files than a fresh one would."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            files = [f.path for f in process.open_files() if not f.path.endswith((".so", ".pyc"))]
        except psutil.Error:
            continue
        if len(files) > SPARE_DESCRIPTORS:
            found.append(f"process {process.pid} holds {len(files)} files: {files[:3]}")
    return found
