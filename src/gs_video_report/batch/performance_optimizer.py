"""Fewer compute processes while memory is short, more again when it is not.

Truth: measured memory only; nothing is guessed about throughput. `decide()` is pure; `MemoryTuner`
samples with psutil every few seconds and calls `backend.resize()`.
True here: one step at a time, and a pause after each, so that its effect is measured before the
next; a smaller pool never kills a running call, it shrinks as calls end; every change carries
its reason.
Never: goes above the number of processes the user or the machine allows, or below one.
"""

from __future__ import annotations

import asyncio
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
]

LOW_FRACTION = 0.12
"""Below this share of free memory the pool shrinks."""
HIGH_FRACTION = 0.25
"""The pool grows only if this much would still be free with one more process."""
SHRINK_PAUSE_S = 15.0
GROW_PAUSE_S = 60.0
SAMPLE_INTERVAL_S = 5.0


@dataclass(frozen=True, slots=True)
class MemorySample:
    """One measurement."""

    at_s: float
    """Seconds of a clock that does not go back."""
    available_bytes: int
    total_bytes: int
    process_peak_bytes: int
    """Largest resident memory seen of a single compute process."""


@dataclass(frozen=True, slots=True)
class TuningState:
    """What the tuner remembers."""

    processes: int
    """The bound now."""
    max_processes: int
    """The bound it never exceeds."""
    changed_at_s: float = float("-inf")


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
    free = sample.available_bytes / max(1, sample.total_bytes)
    if free < LOW_FRACTION:
        if state.processes > 1 and waited >= SHRINK_PAUSE_S:
            return _change(sample, state, -1, f"only {_words(sample)} of memory is free")
        return None
    if state.processes < state.max_processes and waited >= GROW_PAUSE_S:
        need = max(sample.process_peak_bytes, machine.PROCESS_BYTES)
        if sample.available_bytes - need > HIGH_FRACTION * sample.total_bytes:
            return _change(sample, state, +1, f"{_words(sample)} of memory is free again")
    return None


def apply(state: TuningState, change: Change) -> TuningState:
    """The state after a change."""
    return replace(state, processes=change.new, changed_at_s=change.at_s)


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
        backend: its bound at the start is the largest it is ever given.
        on_change: called in the event loop with every change; must not block.
        interval_s: seconds between samples.
        sample: measures; a test passes its own series.
        sleep: as asyncio.sleep.
    """

    def __init__(
        self,
        backend: Resizable,
        *,
        on_change: Callable[[Change], None] | None = None,
        interval_s: float = SAMPLE_INTERVAL_S,
        sample: Callable[[ComputeStatistics], MemorySample] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self._on_change = on_change
        self._interval_s = interval_s
        self._sample = sample or measure
        self._sleep = sleep
        self._state = TuningState(backend.processes, backend.processes)
        self.log: list[Change] = []
        """The last changes, oldest first, at most LOG_LENGTH."""

    async def run(self) -> None:
        """Tune until cancelled."""
        while True:
            await self._sleep(self._interval_s)
            await self.step()

    async def step(self) -> Change | None:
        """Measure once and act on it."""
        change = decide(self._sample(self._backend.statistics()), self._state)
        if change is not None:
            await self._backend.resize(change.new)
            self._state = apply(self._state, change)
            self.log = [*self.log, change][-LOG_LENGTH:]
            if self._on_change is not None:
                self._on_change(change)
        return change


LOG_LENGTH = 100


def measure(statistics: ComputeStatistics) -> MemorySample:
    """The machine (or container) now."""
    return MemorySample(
        at_s=time.monotonic(),
        available_bytes=machine.memory_available_bytes(),
        total_bytes=machine.memory_total_bytes(),
        process_peak_bytes=statistics.peak_rss_bytes,
    )


def _change(sample: MemorySample, state: TuningState, step: int, reason: str) -> Change:
    return Change(sample.at_s, state.processes, state.processes + step, reason)


def _words(sample: MemorySample) -> str:
    free, total = sample.available_bytes / 1e9, sample.total_bytes / 1e9
    return f"{free:.1f} of {total:.1f} GB"
