"""As many compute processes as memory carries: fewer while it is short, more when it is not.

Truth: measured memory only; nothing is guessed about throughput, since a process per core is what
is fastest wherever memory allows it (benchmarks/tuning.py). A run begins with what a cautious guess
allows; once the processes have shown what they need, more are started up to the number of cores.
`decide()` is pure; `MemoryTuner` samples with psutil every few seconds and resizes the backend.
True here: one step at a time, and a pause after each, so that its effect is measured before the
next; a smaller pool never kills a running call, it shrinks as calls end; every change carries
its reason.
Never: goes above the number of processes the user or the machine allows, or below one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from gs_video_report.compute import machine
from gs_video_report.compute.base import ComputeStatistics
from gs_video_report.compute.machine import default_processes

__all__ = [
    "Change",
    "MemorySample",
    "MemoryTuner",
    "TuningState",
    "decide",
    "default_processes",
    "first_processes",
    "need_bytes",
]

LOW_FRACTION = 0.12
"""Below this share of free memory the pool shrinks."""
HIGH_FRACTION = 0.25
"""The pool grows only if this much would still be free with one more process."""
SHRINK_PAUSE_S = 15.0
GROW_PAUSE_S = 60.0
"""After a step down: whatever took the memory may come back."""
FIRST_GROW_S = 15.0
"""After the start and after a step up: so long the processes may show what they need."""
PEAK_MARGIN = 1.25
"""A further process may need this much more than the largest one did so far."""
SAMPLE_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class MemorySample:
    """One measurement."""

    at_s: float
    """Seconds of a clock that does not go back."""
    available_bytes: int
    total_bytes: int
    process_peak_bytes: int
    """Largest resident memory seen of a single compute process; 0 before the first one worked."""
    waiting: int = 1
    """Calls that have no process yet; without any, one more process would stand idle."""


@dataclass(frozen=True, slots=True)
class TuningState:
    """What the tuner remembers."""

    processes: int
    """The bound now."""
    max_processes: int
    """The bound it never exceeds."""
    changed_at_s: float = float("-inf")
    """Last change; for the first step up, the beginning."""
    shrunk: bool = False
    """The last change was a step down."""


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the tuning log."""

    at_s: float
    old: int
    new: int
    reason: str
    """One plain sentence with the numbers behind it."""


def decide(sample: MemorySample, state: TuningState) -> Change | None:
    """One step down, one step up, or nothing. Pure."""
    waited = sample.at_s - state.changed_at_s
    if _is_short(sample):
        if state.processes > 1 and waited >= SHRINK_PAUSE_S:
            return _change(sample, state, -1, f"only {_words(sample)} of memory is free")
        return None
    pause = GROW_PAUSE_S if state.shrunk else FIRST_GROW_S
    if state.processes < state.max_processes and waited >= pause and sample.waiting:
        need = need_bytes(sample)
        if sample.available_bytes - need > HIGH_FRACTION * sample.total_bytes:
            reason = f"{_words(sample)} of memory is free, one more needs {need / 1e9:.1f} GB"
            return _change(sample, state, +1, reason)
    return None


def need_bytes(sample: MemorySample) -> int:
    """What one more process may need: what they showed, else the cautious guess."""
    if not sample.process_peak_bytes:
        return machine.PROCESS_BYTES
    return int(sample.process_peak_bytes * PEAK_MARGIN)


def first_processes(limit_bytes: int | None = None) -> int:
    """With how many a run begins on this machine: by cores, and by memory on a cautious guess."""
    return default_processes(machine.cores(), _room(0, limit_bytes)[0])


def apply(state: TuningState, change: Change) -> TuningState:
    """The state after a change."""
    shrunk = change.new < change.old
    return replace(state, processes=change.new, changed_at_s=change.at_s, shrunk=shrunk)


class Resizable(Protocol):
    """What the tuner needs of a compute backend."""

    @property
    def processes(self) -> int:
        """The upper bound now."""
        ...

    async def resize(self, processes: int) -> None:
        """Change it."""

    def statistics(self) -> ComputeStatistics:
        """A snapshot."""
        ...


class MemoryTuner:
    """Samples and resizes until cancelled.

    Args:
        backend: its bound at the start is where the tuning begins.
        max_processes: the largest bound it is ever given; None = that of the start.
        limit_bytes: memory that the run may use in all; None = what the machine has.
        on_change: called in the event loop with every change; must not block.
        interval_s: seconds between samples.
        sample: measures; a test passes its own series.
        sleep: as asyncio.sleep.
    """

    def __init__(
        self,
        backend: Resizable,
        *,
        max_processes: int | None = None,
        limit_bytes: int | None = None,
        on_change: Callable[[Change], None] | None = None,
        interval_s: float = SAMPLE_INTERVAL_S,
        sample: Callable[[ComputeStatistics], MemorySample] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self._on_change = on_change
        self._interval_s = interval_s
        self._sample = sample or (lambda statistics: measure(statistics, limit_bytes))
        self._sleep = sleep
        most = max(backend.processes, max_processes or 0)
        self._state = TuningState(backend.processes, most)
        self._begun = False
        self.log: list[Change] = []
        """The last changes, oldest first, at most LOG_LENGTH."""

    async def run(self) -> None:
        """Tune until cancelled."""
        while True:
            await self._sleep(self._interval_s)
            await self.step()

    async def step(self) -> Change | None:
        """Measure once and act on it."""
        sample = self._sample(self._backend.statistics())
        change = decide(sample, self._since_begin(sample))
        if change is not None:
            await self._backend.resize(change.new)
            self._state = apply(self._state, change)
            self.log = [*self.log, change][-LOG_LENGTH:]
            if self._on_change is not None:
                self._on_change(change)
        return change

    def _since_begin(self, sample: MemorySample) -> TuningState:
        """The state; before the first change a step down is free, a step up waits."""
        if not self._begun:
            self._begun, self._began_s = True, sample.at_s
        if self._state.changed_at_s > float("-inf") or _is_short(sample):
            return self._state
        return replace(self._state, changed_at_s=self._began_s)


LOG_LENGTH = 100


def measure(statistics: ComputeStatistics, limit_bytes: int | None = None) -> MemorySample:
    """The machine (or container) now; with a limit, what is left of it."""
    available, total = _room(statistics.rss_bytes, limit_bytes)
    return MemorySample(
        at_s=time.monotonic(),
        available_bytes=available,
        total_bytes=total,
        process_peak_bytes=statistics.peak_rss_bytes,
        waiting=statistics.waiting,
    )


def _room(helpers_bytes: int, limit_bytes: int | None) -> tuple[int, int]:
    """(available, total) bytes for a run whose compute processes use `helpers_bytes`."""
    available, total = machine.memory_available_bytes(), machine.memory_total_bytes()
    if limit_bytes is None:
        return available, total
    mine = machine.process_memory(os.getpid()) or (0, 0)
    left = limit_bytes - mine[0] - helpers_bytes
    return max(0, min(available, left)), min(total, limit_bytes)


def _is_short(sample: MemorySample) -> bool:
    return sample.available_bytes / max(1, sample.total_bytes) < LOW_FRACTION


def _change(sample: MemorySample, state: TuningState, step: int, reason: str) -> Change:
    return Change(sample.at_s, state.processes, state.processes + step, reason)


def _words(sample: MemorySample) -> str:
    free, total = sample.available_bytes / 1e9, sample.total_bytes / 1e9
    return f"{free:.1f} of {total:.1f} GB"
