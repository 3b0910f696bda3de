"""Events in, snapshot out: what a batch is doing and how long it still takes.

Workers count, a ticker draws: every event is a plain, cheap call from the event loop, and
`snapshot()` computes the picture when somebody wants to see it.
Truth: the database. The counts kept here only bridge the time between two `counts()` calls.
Memory: grows with the videos in flight, not with the videos of the batch.
Clock: any monotonic seconds, passed in; times of day never enter.
Never: does I/O, draws, raises on events that come late or twice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchRow,
    BatchStatus,
    TaskError,
    TaskResult,
    VideoTask,
)
from gs_video_report.batch.limiter.quota_wait import QuotaWait, WaitWatch
from gs_video_report.batch.progress.eta import (
    OVERDUE_LEFT,
    EtaRange,
    InFlight,
    LengthBins,
    as_range,
    cost_rate,
    time_left_s,
)
from gs_video_report.batch.progress.snapshot import (
    FailureLine,
    MediaProgress,
    Snapshot,
    WorkerLine,
    display_name,
    progress_file,
)
from gs_video_report.batch.progress.speed import RunSpeed
from gs_video_report.batch.progress.work_clock import WorkClock
from gs_video_report.errors import GsvrError

__all__ = ["ProgressMonitor", "Snapshot", "WorkerLine", "progress_file"]

KEPT_FAILURES = 2


@dataclass(slots=True)
class _Flight:
    slot: int
    ref: str
    name: str
    media_s: float | None
    started: float
    began: float
    """Reading of the work clock."""
    tries: str
    stage: str = ""
    fraction: float | None = None
    held_by: str = ""
    """The quota that it waits for, in a word or two."""


class ProgressMonitor:
    """Aggregates the events of one run of a batch.

    Args:
        batch: its row; id, name, state and the number of tries are taken from it.
        counts: tasks per state at the start of this run.
        parallel: videos worked on at a time, at least 1.
        clock: monotonic seconds.
        ref: how commands name the batch; empty means its full id.
    """

    def __init__(
        self,
        batch: BatchRow,
        counts: BatchCounts,
        parallel: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        ref: str = "",
    ) -> None:
        self._batch = batch
        self._ref = ref or batch.batch_id
        self._counts = counts
        self._clock = clock
        self._work = WorkClock(max(1, parallel), clock())
        self._flights: dict[int, _Flight] = {}
        self._waiting = LengthBins()
        self._seen = LengthBins()
        self._run = RunSpeed(clock())
        self._failures: deque[FailureLine] = deque(maxlen=KEPT_FAILURES)
        self._state = batch.status
        self._reason = ""
        self._resume_at: str | None = None
        self._stopping = False
        self._cpu: float | None = None
        self._memory: int | None = None
        self._quota = WaitWatch()

    # --- what is known before and beside the events ---------------------------------------------

    def expect(self, lengths: Iterable[float | None]) -> None:
        """Tell the lengths in seconds of the videos that wait (None: not known yet).

        Optional, once, at the start of a run; without it all waiting videos count as unknown
        and the time left is rougher.
        """
        for media_s in lengths:
            self._waiting.add(media_s)
            if media_s is not None:
                self._seen.add(media_s)

    def counts(self, counts: BatchCounts) -> None:
        """Replace the counts by what the database says; other processes may work on it too."""
        self._counts = counts

    def resources(self, cpu_percent: float, memory_bytes: int) -> None:
        """Load of the machine (0 to 100) and resident bytes of this run, for the footer."""
        self._cpu, self._memory = cpu_percent, memory_bytes

    def crew(self, workers: int, processes: int | None) -> None:
        """From now on `workers` videos are in work at a time, served by `processes` compute
        processes; None where the work is not theirs."""
        self._work.change(self._clock(), workers, processes)

    # --- events ---------------------------------------------------------------------------------

    def task_started(self, task: VideoTask, worker_id: str) -> None:
        """`worker_id` took `task`."""
        if task.task_id not in self._flights:
            self._move(-1, "retrying" if task.failures and self._counts.retrying else "pending")
            self._move(+1, "running")
            expected = self._waiting.remove(task.media_s)
            if task.media_s is not None and not expected:
                self._seen.add(task.media_s)
        total, now = self._batch.options.max_retries + 1, self._clock()
        self._flights[task.task_id] = _Flight(
            slot=self._free_slot(),
            ref=task.ref,
            name=display_name(task),
            media_s=task.media_s,
            started=now,
            began=self._work.at(now),
            tries=f"try {task.failures + 1} of {total}" if task.failures else "",
        )

    def stage(self, task_id: int, stage: str, done: float, total: float) -> None:
        """The task is at `done` of `total` of `stage`; total 0 means unknown."""
        flight = self._flights.get(task_id)
        if flight is None:
            return
        flight.stage = str(stage)
        flight.fraction = max(0.0, min(1.0, done / total)) if total > 0 else None

    def quota(self, wait: QuotaWait | None, held: Collection[int] = ()) -> str:
        """What requests wait for now, and the ids of the tasks that are held back by it.

        Returns: a sentence when a standstill is to be told.
        """
        now = self._clock()
        self._quota.look(wait, now)
        shown = self._quota.shown(now)
        for task_id, flight in self._flights.items():
            flight.held_by = shown.short if shown is not None and task_id in held else ""
        return self._quota.news(now)

    def media_known(self, task_id: int, media_s: float) -> None:
        """The length in seconds of a task was learned; of one in flight, as often as you like."""
        flight = self._flights.get(task_id)
        if flight is None:
            self._waiting.remove(None)
            self._waiting.add(media_s)
        elif flight.media_s is None:
            flight.media_s = media_s
        else:
            return
        self._seen.add(media_s)

    def retrying(self, task: VideoTask, error: GsvrError | TaskError, delay_s: float) -> None:
        """The attempt failed and will be repeated after `delay_s`."""
        del error, delay_s
        self._leave(task, "retrying")

    def task_released(self, task: VideoTask) -> None:
        """The task went back unfinished (graceful stop, lease lost)."""
        self._leave(task, "pending")

    def task_skipped(self, task: VideoTask) -> None:
        """The task turned out to be done already: its report exists and matches."""
        flight = self._flights.pop(task.task_id, None)
        if flight is None:
            return
        self._move(-1, "running")
        self._move(+1, "skipped")
        done_s = self._counts.media_s_done + (flight.media_s or task.media_s or 0.0)
        self._counts = replace(self._counts, media_s_done=done_s)

    def report_kept(self, task: VideoTask) -> None:
        """The attempt failed, and the report that the task had before stays."""
        if self._flights.pop(task.task_id, None) is None:
            return
        self._move(-1, "running")
        self._move(+1, "completed")
        media_s = task.result.media_s if task.result else 0.0
        self._counts = replace(self._counts, media_s_done=self._counts.media_s_done + media_s)

    def task_finished(
        self, task: VideoTask, outcome: TaskResult | GsvrError | TaskError | None
    ) -> None:
        """The task ended: a result, the error it failed with, or None for cancelled."""
        flight = self._flights.pop(task.task_id, None)
        if flight is None:
            return  # late or twice: the database has counted it
        self._move(-1, "running")
        if isinstance(outcome, TaskResult):
            self._completed(outcome, flight)
        elif outcome is None:
            self._move(+1, "cancelled")
        else:
            self._move(+1, "failed")
            self._failures.append(
                FailureLine(task.ref, display_name(task), outcome.code, outcome.message)
            )

    def paused(self, reason: str, resume_at: str | None = None) -> None:
        """The batch pauses; the time it stands still counts neither as work nor in the ETA."""
        self._run.pause(self._clock())
        self._state, self._reason, self._resume_at = BatchStatus.PAUSED, reason, resume_at

    def resumed(self) -> None:
        """The batch goes on."""
        self._run.go_on(self._clock())
        self._state, self._reason, self._resume_at = BatchStatus.RUNNING, "", None

    def stopping(self) -> None:
        """A graceful stop began."""
        self._stopping = True

    def state(self, status: BatchStatus) -> None:
        """The batch changed to `status`."""
        if self._state is BatchStatus.PAUSED and status is BatchStatus.RUNNING:
            self.resumed()
        self._state = status

    # --- the picture ----------------------------------------------------------------------------

    def snapshot(self, now: float | None = None) -> Snapshot:
        """The batch at `now` (a reading of the clock; None reads it). Changes nothing."""
        at = self._clock() if now is None else now
        rate = cost_rate(self._run.costs)
        media = self._media()
        fraction = self._fraction(at, media, rate)
        return Snapshot(
            batch_id=self._batch.batch_id,
            ref=self._ref,
            name=self._batch.name,
            state=self._state,
            reason=self._reason,
            resume_at=self._resume_at,
            stopping=self._stopping,
            counts=self._counts,
            media=media,
            fraction=fraction,
            elapsed_s=max(0.0, at - self._run.began),
            parallel=self._work.workers,
            workers=tuple(self._lines(at)),
            failures=tuple(self._failures),
            usd=self._counts.usd,
            usd_expected=self._expected_usd(fraction, rate),
            realtime=self._run.realtime(at),
            run_done=self._run.done,
            run_media_s=self._run.media_s,
            eta=self._eta(at, rate),
            quota_wait=self._quota.shown(at),
            cpu_percent=self._cpu,
            memory_bytes=self._memory,
        )

    def _lines(self, now: float) -> list[WorkerLine]:
        lines = [
            WorkerLine(
                slot=flight.slot,
                ref=flight.ref,
                name=flight.name,
                stage=flight.stage,
                fraction=None if flight.held_by else flight.fraction,
                elapsed_s=max(0.0, now - flight.started),
                note=flight.held_by or flight.tries,
            )
            for flight in self._flights.values()
        ]
        return sorted(lines, key=lambda line: line.slot)

    def _eta(self, now: float, rate: float | None) -> EtaRange | None:
        counts = self._counts
        if rate is None or not counts.open or self._run.is_paused or self._stopping:
            return None
        elsewhere = max(0, counts.running - len(self._flights))
        waiting = counts.pending + counts.retrying
        typical = self._typical_s()
        worked = self._work.at(now)
        flight = [InFlight(worked - f.began, f.media_s) for f in self._flights.values()]
        flight += [InFlight(rate * typical / 2, None)] * elsewhere
        workers = self._work.workers + elsewhere
        left = time_left_s(flight, self._waiting, self._seen, waiting, workers, rate)
        unknown = max(0, waiting - self._waiting.known)
        share = unknown / waiting if waiting else 0.0
        return as_range(left * self._work.slowness, counts.total, share)

    def _media(self) -> MediaProgress:
        counts = self._counts
        lengths = [f.media_s for f in self._flights.values()]
        waiting = max(0, counts.open - len(lengths))
        known_share = min(1.0, waiting / self._waiting.known) if self._waiting.known else 0.0
        unknown = lengths.count(None) + max(0, waiting - self._waiting.known)
        left = sum(length for length in lengths if length is not None)
        left += self._waiting.total_s * known_share + unknown * self._typical_s()
        return MediaProgress(counts.media_s_done, counts.media_s_done + left, unknown)

    def _typical_s(self) -> float:
        mean = self._seen.mean_s
        if mean is not None:
            return mean
        done = self._counts.completed + self._counts.skipped
        return self._counts.media_s_done / done if done else 0.0

    def _fraction(self, now: float, media: MediaProgress, rate: float | None) -> float:
        counts = self._counts
        if not counts.open:
            return 1.0
        if media.total_s <= 0:
            return counts.ended / counts.total
        credit = 0.0
        if rate is not None:
            credit = sum(self._credit_s(f, now, rate) for f in self._flights.values())
        return min(1.0, (media.done_s + credit) / media.total_s)

    def _credit_s(self, flight: _Flight, now: float, rate: float) -> float:
        """Recording seconds that the work so far is worth."""
        length = self._typical_s() if flight.media_s is None else flight.media_s
        return min((self._work.at(now) - flight.began) / rate, (1.0 - OVERDUE_LEFT) * length)

    def _expected_usd(self, fraction: float, rate: float | None) -> float | None:
        if rate is None or self._counts.usd <= 0 or fraction < 0.05 or not self._counts.open:
            return None
        return self._counts.usd / fraction

    # --- changes --------------------------------------------------------------------------------

    def _completed(self, result: TaskResult, flight: _Flight) -> None:
        now = self._clock()
        self._move(+1, "completed")
        done_s = self._counts.media_s_done + result.media_s
        self._counts = replace(self._counts, media_s_done=done_s)
        if flight.media_s is None:
            self._seen.add(result.media_s)
        self._run.finished(now, result.media_s, max(0.0, self._work.at(now) - flight.began))

    def _leave(self, task: VideoTask, to: str) -> None:
        flight = self._flights.pop(task.task_id, None)
        if flight is None:
            return
        self._move(-1, "running")
        self._move(+1, to)
        self._waiting.add(flight.media_s)

    def _move(self, step: int, state: str) -> None:
        value = max(0, getattr(self._counts, state) + step)
        self._counts = replace(self._counts, **{state: value})

    def _free_slot(self) -> int:
        taken = {flight.slot for flight in self._flights.values()}
        return next(slot for slot in range(1, len(taken) + 2) if slot not in taken)
