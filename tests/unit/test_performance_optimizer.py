"""The pool shrinks before memory runs out, recovers afterwards, and says why."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.batch.performance_optimizer import (
    FIRST_GROW_S,
    GROW_PAUSE_S,
    SHRINK_PAUSE_S,
    Change,
    MemorySample,
    MemoryTuner,
    TuningState,
    apply,
    decide,
    default_processes,
    first_processes,
    measure,
    need_bytes,
)
from gs_video_report.compute.base import ComputeStatistics

GB = 10**9


def sample(
    at_s: float, available: float, *, total: float = 16 * GB, peak: int = GB
) -> MemorySample:
    return MemorySample(at_s, int(available), int(total), peak)


@pytest.mark.parametrize(
    ("cores", "available", "expected"),
    [(8, 64 * GB, 8), (8, 5 * GB, 4), (2, 23 * GB, 2), (4, GB // 2, 1), (1, 0, 1)],
)
def test_default_is_one_process_per_core_as_far_as_memory_goes(
    cores: int, available: int, expected: int
) -> None:
    assert default_processes(cores, available) == expected


def test_short_memory_takes_one_step_down_and_says_why() -> None:
    change = decide(sample(100, 1 * GB), TuningState(4, 4))
    assert change == Change(100, 4, 3, "only 1.0 of 16.0 GB of memory is free")


def test_enough_memory_changes_nothing() -> None:
    assert decide(sample(100, 3 * GB), TuningState(4, 4)) is None


def test_each_step_waits_for_the_effect_of_the_last() -> None:
    state = TuningState(4, 4, changed_at_s=100)
    assert decide(sample(100 + SHRINK_PAUSE_S - 1, 1 * GB), state) is None
    assert decide(sample(100 + SHRINK_PAUSE_S, 1 * GB), state) is not None


def test_pool_grows_only_if_one_more_process_leaves_room() -> None:
    state = TuningState(2, 4, changed_at_s=0, shrunk=True)
    assert decide(sample(GROW_PAUSE_S - 1, 15 * GB), state) is None
    assert decide(sample(GROW_PAUSE_S, 5 * GB), state) is None
    assert decide(sample(GROW_PAUSE_S, 6 * GB), state) is not None
    assert decide(sample(GROW_PAUSE_S, 6 * GB, peak=3 * GB), state) is None


def test_a_process_that_would_stand_idle_is_not_started() -> None:
    state = TuningState(2, 4, changed_at_s=0)
    busy = sample(FIRST_GROW_S, 15 * GB)
    assert decide(busy, state) == Change(
        FIRST_GROW_S, 2, 3, "15.0 of 16.0 GB of memory is free, one more needs 1.2 GB"
    )
    assert decide(replace(busy, waiting=0), state) is None


def test_before_any_process_worked_a_cautious_guess_counts() -> None:
    assert need_bytes(sample(0, GB, peak=0)) == 1_200_000_000
    assert need_bytes(sample(0, GB, peak=400_000_000)) == 500_000_000


async def test_a_cautious_start_grows_to_the_cores_once_the_need_is_seen() -> None:
    """Of 3 GB, the guess of 1.2 GB allows two; the processes need 0.4, and four cores are there."""
    now, seen = [0.0], []
    machine = Machine(processes=2)

    def small(_: ComputeStatistics) -> MemorySample:
        now[0] += 5
        used = machine.processes * 0.4 * GB
        return sample(now[0], 3 * GB - used, total=3 * GB, peak=int(0.4 * GB))

    tuner = MemoryTuner(machine, max_processes=4, sample=small, on_change=seen.append)
    for _ in range(20):
        await tuner.step()
    assert [(change.at_s, change.new) for change in seen] == [(20, 3), (35, 4)]


def test_a_limit_of_the_user_is_the_memory_there_is() -> None:
    statistics = ComputeStatistics(2, 0, 3, 0, 0, 0, 400_000_000, 300_000_000)
    measured = measure(statistics, 900_000_000)
    assert measured.total_bytes == 900_000_000
    assert 0 <= measured.available_bytes < 500_000_000
    assert measured.waiting == 3
    assert first_processes(600_000_000) == 1


@given(
    st.lists(st.integers(0, 16), min_size=1, max_size=200),
    st.integers(1, 8),
)
def test_bound_is_never_left(series: list[int], most: int) -> None:
    state = TuningState(most, most)
    for number, free in enumerate(series):
        change = decide(sample(number * 30.0, free * GB), state)
        if change is not None:
            assert abs(change.new - change.old) == 1
            state = apply(state, change)
        assert 1 <= state.processes <= most


@dataclass
class Machine:
    """Sixteen GB: four processes that need 3 GB each at work, beside another program.

    Memory of a process comes and goes within 10 s, as models load and calls end.
    """

    processes: int = 4
    asked: list[int] = field(default_factory=list)
    others: float = 1.0 * GB
    used: float = 0.0
    lowest: float = 16.0 * GB
    now: float = 0.0

    async def resize(self, processes: int) -> None:
        self.processes = processes
        self.asked.append(processes)

    def statistics(self) -> ComputeStatistics:
        return ComputeStatistics(self.processes, 0, 0, 0, 0, 0, 0, 3 * GB)

    async def sleep(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1
            self.used += (self.processes * 3 * GB - self.used) / 10
            self.lowest = min(self.lowest, self.available)

    @property
    def available(self) -> float:
        return 16 * GB - self.others - self.used

    def sample(self, _: ComputeStatistics) -> MemorySample:
        return sample(self.now, self.available, peak=3 * GB)


async def advance(machine: Machine, tuner: MemoryTuner, seconds: int) -> None:
    for _ in range(seconds // 5):
        await machine.sleep(5)
        await tuner.step()


async def test_simulated_machine_never_runs_out_and_recovers() -> None:
    """Another program grows by 7 GB over two minutes, stays for two, and ends.

    With four processes all the way this machine would lack 4 GB.
    """
    machine, seen = Machine(), []
    tuner = MemoryTuner(machine, sample=machine.sample, sleep=machine.sleep, on_change=seen.append)
    await advance(machine, tuner, 60)
    assert machine.asked == []
    for _ in range(24):
        machine.others += 7 * GB / 24
        await advance(machine, tuner, 5)
    await advance(machine, tuner, 120)
    assert machine.processes < 4
    assert machine.lowest > 0
    machine.others = 1 * GB
    await advance(machine, tuner, 400)
    assert machine.processes == 3  # a fourth would leave less than a quarter free
    assert [change.new for change in seen] == machine.asked
    assert tuner.log == seen


async def test_runner_acts_on_its_samples_until_cancelled() -> None:
    machine = Machine(others=14 * GB)
    resized = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await machine.sleep(seconds)
        await asyncio.sleep(0)

    tuner = MemoryTuner(
        machine, sample=machine.sample, sleep=sleep, on_change=lambda _: resized.set()
    )
    task = asyncio.ensure_future(tuner.run())
    await asyncio.wait_for(resized.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert machine.asked[0] == 3


def test_measured_sample_is_of_this_machine() -> None:
    measured = measure(ComputeStatistics(0, 0, 0, 0, 0, 0, 0, 123))
    assert 0 < measured.available_bytes <= measured.total_bytes
    assert measured.process_peak_bytes == 123
