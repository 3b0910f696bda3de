"""The time left hears of a change of the number of processes, and stays right after it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from gs_video_report.batch.data_models import BatchCounts, TaskResult, VideoTask
from gs_video_report.batch.progress.work_clock import WorkClock
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.batch.queue.event_reads import Event, Run
from gs_video_report.batch.view.crews import Crews
from tests.support.terminal_play import VirtualClock, make_batch, make_task

STEP_S = 1.0
PER_MEDIA_S = 0.1
"""Seconds of a compute process per second of recording."""


def test_the_clock_of_work_slows_with_the_share_of_a_video() -> None:
    clock = WorkClock(4, 100.0)
    assert clock.at(110.0) == 10.0
    clock.change(110.0, 4, 2)
    assert (clock.slowness, clock.at(130.0)) == (2.0, 20.0)
    clock.change(130.0, 4, 8)
    assert (clock.slowness, clock.at(131.0)) == (1.0, 21.0)


@dataclass
class Shop:
    """Videos that share compute processes evenly, second by second."""

    count: int
    workers: int
    processes: int
    clock: VirtualClock = field(default_factory=VirtualClock)
    left: dict[int, float] = field(default_factory=dict)
    """Number of a video in work -> seconds of a process that it needs still."""

    def __post_init__(self) -> None:
        draw = random.Random(7)
        self.waiting = [make_task(n, media_s=draw.uniform(300, 900)) for n in range(self.count)]
        self.tasks: dict[int, VideoTask] = {task.task_id: task for task in self.waiting}
        counts = BatchCounts(pending=self.count)
        self.monitor = ProgressMonitor(make_batch(), counts, self.workers, self.clock)
        self.monitor.expect(task.media_s for task in self.waiting)
        self.monitor.crew(self.workers, self.processes)

    def resize(self, workers: int, processes: int) -> None:
        self.workers, self.processes = workers, processes
        self.monitor.crew(workers, processes)

    def step(self) -> None:
        while len(self.left) < self.workers and self.waiting:
            task = self.waiting.pop(0)
            self.left[task.task_id] = (task.media_s or 0.0) * PER_MEDIA_S
            self.monitor.task_started(task, "w")
        self.clock.now_s += STEP_S
        for number in list(self.left):
            self.left[number] -= STEP_S * min(1.0, self.processes / len(self.left))
            if self.left[number] <= 0:
                del self.left[number]
                task = self.tasks[number]
                self.monitor.task_finished(task, TaskResult(media_s=task.media_s or 0.0))

    def work_until(self, finished: int) -> None:
        while self.count - len(self.waiting) - len(self.left) < finished:
            self.step()

    def told_s(self) -> float:
        eta = self.monitor.snapshot().eta
        assert eta is not None
        return eta.mid_s

    def takes_s(self) -> float:
        """Runs to the end."""
        began = self.clock()
        while self.left or self.waiting:
            self.step()
        return self.clock() - began


@pytest.mark.parametrize(
    ("before", "after"),
    [((4, 2), (2, 1)), ((2, 1), (4, 2)), ((4, 4), (4, 2)), ((8, 4), (2, 1)), ((3, 1), (3, 3))],
)
def test_the_time_left_is_right_at_once_after_a_change(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    """It went on with the cost of a video as it was before until 64 others were finished."""
    shop = Shop(60, *before)
    shop.work_until(20)
    shop.resize(*after)
    told = shop.told_s()
    assert told == pytest.approx(shop.takes_s(), rel=0.12)


def test_the_time_left_stays_right_while_costs_from_before_and_after_are_mixed() -> None:
    shop = Shop(60, 4, 2)
    shop.work_until(20)
    shop.resize(2, 1)
    shop.work_until(30)
    told = shop.told_s()
    assert told == pytest.approx(shop.takes_s(), rel=0.12)


def run(process: str, **facts: object) -> Run:
    return Run(process, Event(1, 0.0, "", None, "run.started", dict(facts)))


def test_a_watcher_hears_of_the_crews_of_all_runs() -> None:
    monitor = ProgressMonitor(make_batch(), BatchCounts(pending=9), 7, VirtualClock())
    crews = Crews()
    crews.tell(monitor)
    assert monitor.snapshot().parallel == 7  # nobody works on it
    crews.began(run("a", engine="local", parallel=4, processes=2))
    crews.began(run("b", engine="local", parallel=2, processes=2))
    crews.changed({"process": "a", "old": 2, "new": 1, "parallel": 2})
    crews.changed({"process": "b", "old": 2, "new": 1})  # of a run with remote work
    crews.changed({"process": "c", "old": 2, "new": 1, "parallel": 2})  # of one that ended
    crews.tell(monitor)
    assert monitor.snapshot().parallel == 4
