"""Follow a batch from another process: the same picture, made from the database alone.

Truth: the tables `events` and `tasks`, read through a read-only connection in short statements.
True here: the events of the run that goes on are played through the same `ProgressMonitor` that the
working process uses, with the times of the events as its clock; so speed and time left are those
of the run, not of the watcher. A watcher that ends changes nothing.
Never: writes, holds a transaction open, keeps more than the tasks in flight in memory.
Raises: NotFoundError, UsageError, and what `Database` raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchResult,
    BatchRow,
    BatchStatus,
    TaskStatus,
    VideoTask,
)
from gs_video_report.batch.limiter.quota_wait import wait_of_facts
from gs_video_report.batch.progress.snapshot import Snapshot
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.batch.queue import event_reads as reads
from gs_video_report.batch.queue.doubt import doubt_of
from gs_video_report.batch.queue.event_reads import Event, Run
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.view.crews import Crews
from gs_video_report.batch.view.event_clock import EventClock
from gs_video_report.batch.view.run_memory import memory_of_runs
from gs_video_report.errors import ExitCode
from gs_video_report.terminal.failures import FailureGroup
from gs_video_report.terminal.notices import event_text
from gs_video_report.terminal.printer import Printer, TaskLine
from gs_video_report.terminal.summary import KeptWork

POLL_S = 0.5
"""Seconds between looks at the database."""
TICK_S = 0.25
RESOURCES_S = 2.0
REPLAYED = 20_000
"""Events of the run that are played at the start, at most; the picture needs the latest only."""
PLANNING_S = 30.0
"""So long a batch that nobody works on yet is taken for one that is being planned."""


@dataclass(slots=True)
class Watcher:
    """One look at one batch, until it ends. Single use.

    Args:
        queue: on a database opened for reading only.
        row: the batch.
        printer: where the picture goes.
        tail: see `BatchResult.command_tail`.
        failures: makes the groups of failures for the summary.
    """

    queue: TaskQueue
    row: BatchRow
    printer: Printer
    failures: Callable[[TaskQueue, str], Awaitable[Sequence[FailureGroup]]]
    tail: str = ""
    poll_s: float = POLL_S
    tick_s: float = TICK_S
    _clock: EventClock = field(default_factory=EventClock)
    _runs: list[Event] = field(default_factory=list)
    """Starts and ends of runs."""
    _started: dict[int, float] = field(default_factory=dict)
    """Task in flight -> seconds of its start."""
    _changes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _crews: Crews = field(default_factory=Crews)
    _last_id: int = 0
    _measured_s: float = float("-inf")
    _quitting: signal.Signals | None = None

    async def run(self) -> int:
        """Show the batch until it ends; returns its exit code (130, 143 when told to leave)."""
        with self._leaving():
            monitor = await self._attach()
            while not await self._is_over(monitor):
                await self._show_for(self.poll_s, monitor)
                if self._quitting is not None:
                    return self._leave()
                if self.printer.lost:  # `| head` has had enough
                    return int(ExitCode.OK)
            return await self._end(monitor)

    # --- the beginning --------------------------------------------------------------------------

    async def _attach(self) -> ProgressMonitor:
        db, batch_id = self.queue.db, self.row.batch_id
        found = await reads.runs(db, batch_id)
        for run in found:
            self._runs += [run.started] + ([run.ended] if run.ended else [])
        newest = await reads.newest_event_id(db, batch_id)
        going = reads.living(db, found)
        first = going[0].started if going else None
        self._last_id = newest if first is None else max(first.event_id, newest - REPLAYED)
        self._clock.replay(first.at_s if first else time.time())
        monitor = await self._monitor(going)
        await self._follow(monitor, told=False)
        self._clock.go_live()
        await self._refresh(monitor)
        for length in await reads.waiting_lengths(db, batch_id):
            monitor.expect((length,))
        self.printer.started(self._picture(monitor))
        return monitor

    async def _monitor(self, going: list[Run]) -> ProgressMonitor:
        counts = await self.queue.counts(self.row.batch_id)
        monitor = ProgressMonitor(
            self.row, counts, self.row.options.parallel, self._clock, ref=self.row.batch_id
        )
        for run in going:
            self._crews.began(run)
        self._crews.tell(monitor)
        return monitor

    # --- following ------------------------------------------------------------------------------

    async def _show_for(self, seconds: float, monitor: ProgressMonitor) -> None:
        """Draw for a while, then look at the database again."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self._quitting is None:
            self.printer.tick(self._picture(monitor))
            await asyncio.sleep(min(self.tick_s, seconds))
        await self._follow(monitor)
        await self._refresh(monitor)

    async def _follow(self, monitor: ProgressMonitor, *, told: bool = True) -> None:
        """Take in all events that are new; with `told`, say what ended."""
        db, batch_id = self.queue.db, self.row.batch_id
        while True:
            events = await reads.events_after(db, batch_id, self._last_id)
            if not events:
                return
            self._last_id = events[-1].event_id
            moved = [e.task_id for e in events if e.task_id and e.kind.startswith("task.")]
            tasks = await reads.tasks_by_id(db, moved)
            for event in events:
                self._clock_at(event, told)
                self._take(event, tasks.get(event.task_id or 0), monitor, told)

    def _clock_at(self, event: Event, told: bool) -> None:
        if not told:
            self._clock.replay(event.at_s)

    def _take(
        self, event: Event, task: VideoTask | None, monitor: ProgressMonitor, told: bool
    ) -> None:
        if event.kind in (reads.RUN_STARTED, reads.RUN_ENDED):
            self._runs.append(event)
        if event.kind == "limiter":
            monitor.quota(wait_of_facts(event.data))
        if event.kind == "tuning":
            self._changes.append((event.at, event.data))
            self._crews.changed(event.data)
            self._crews.tell(monitor)
        text = event_text(event.kind, event.data) if event.task_id is None else ""
        if text and told:
            self.printer.note(text)
        if task is not None and event.kind.startswith("task."):
            self._task_event(event, task, monitor, told)

    def _task_event(
        self, event: Event, task: VideoTask, monitor: ProgressMonitor, told: bool
    ) -> None:
        kind = event.kind.removeprefix("task.")
        if kind == TaskStatus.RUNNING:
            self._started[task.task_id] = event.at_s
            monitor.task_started(task, task.worker_id or "")
            return
        began = self._started.pop(task.task_id, None)
        took_s = 0.0 if began is None else max(0.0, event.at_s - began)
        _leave(kind, task, monitor)
        if told:
            self._tell(kind, task, took_s, monitor)

    def _tell(self, kind: str, task: VideoTask, took_s: float, monitor: ProgressMonitor) -> None:
        counts = monitor.snapshot().counts
        place = {"done": counts.completed + counts.skipped, "total": counts.total}
        tries = self.row.options.max_retries + 1
        if kind in (TaskStatus.COMPLETED, TaskStatus.SKIPPED) and task.result is not None:
            line = TaskLine.of_result(task, task.result, took_s, **place)
            self.printer.task_done(replace(line, state=kind))
        elif kind == TaskStatus.FAILED and task.error is not None:
            line = TaskLine.of_error(task, task.error, took_s, tries=tries, **place)
            self.printer.task_failed(replace(line, attempt=task.failures))
        elif kind == TaskStatus.RETRYING and task.error is not None:
            delay_s = _seconds_until(task.next_attempt_at, self._clock())
            line = TaskLine.of_error(task, task.error, None, tries=tries, delay_s=delay_s)
            self.printer.task_retry(replace(line, attempt=max(1, task.failures)))

    async def _refresh(self, monitor: ProgressMonitor) -> None:
        """Counts, state, stages: what events do not carry."""
        db, batch_id = self.queue.db, self.row.batch_id
        row = await self.queue.get_batch(batch_id)
        self._note_state(row, monitor)
        monitor.counts(await self.queue.counts(batch_id))
        for task in await reads.running_tasks(db, batch_id):
            if task.task_id not in self._started:  # begun before the events that were played
                self._started[task.task_id] = self._clock()
                monitor.task_started(task, task.worker_id or "")
            if task.media_s is not None:
                monitor.media_known(task.task_id, task.media_s)
            if task.stage:
                part = await reads.stage_fraction(db, task)
                monitor.stage(task.task_id, task.stage, part or 0.0, 0.0 if part is None else 1.0)
        if time.monotonic() - self._measured_s >= RESOURCES_S:
            self._measured_s = time.monotonic()
            monitor.resources(psutil.cpu_percent(), self._memory_bytes())

    def _note_state(self, row: BatchRow, monitor: ProgressMonitor) -> None:
        self.row = row
        if row.status is BatchStatus.PAUSED:
            monitor.paused(row.status_reason, row.resume_at)
        else:
            monitor.state(row.status)

    def _memory_bytes(self) -> int:
        """Resident memory of the working processes and their helpers; 0 where unknown."""
        return memory_of_runs(reads.living(self.queue.db, reads.runs_of(self._runs)))

    def _picture(self, monitor: ProgressMonitor) -> Snapshot:
        return replace(monitor.snapshot(), watched=True)

    # --- the end --------------------------------------------------------------------------------

    async def _is_over(self, monitor: ProgressMonitor) -> bool:
        """Nobody works on the batch (any more)."""
        found = reads.runs_of(self._runs)
        if reads.living(self.queue.db, found):
            return False
        await self._follow(monitor)  # the end may have been written since
        await self._refresh(monitor)
        found = reads.runs_of(self._runs)
        if self.row.status is BatchStatus.INITIALIZING and not found:
            return monitor.snapshot().elapsed_s > PLANNING_S
        return not reads.living(self.queue.db, found)

    async def _end(self, monitor: ProgressMonitor) -> int:
        counts = await self.queue.counts(self.row.batch_id)
        last = reads.runs_of(self._runs)[-1:]
        ended = last[0].ended if last else None
        data = ended.data if ended else {}
        code = exit_code(self.row.status, counts, last[0] if last else None)
        doubt = await doubt_of(self.queue.db, self.row.batch_id)
        result = BatchResult(
            batch_id=self.row.batch_id,
            status=self.row.status,
            counts=counts,
            exit_code=code,
            elapsed_s=float(data.get("elapsed_s", monitor.snapshot().elapsed_s)),
            resume_at=self.row.resume_at,
            report_index=data.get("report_index"),
            error_report=data.get("error_report"),
            command_tail=self.tail,
            tuning=tuple(self._changes),
            usd_in_doubt=doubt.counted,
            usd_held=doubt.held,
            hint=str(data.get("hint") or ""),
            remarks=tuple(map(str, data.get("remarks") or ())),
        )
        self.printer.tick(self._picture(monitor))
        await self._summary(result, died=bool(last) and ended is None, data=data)
        return code

    async def _summary(self, result: BatchResult, *, died: bool, data: dict[str, object]) -> None:
        batch_id, counts = result.batch_id, result.counts
        message = "the process that worked on it is gone" if died else str(data.get("message", ""))
        kept = KeptWork(*await self.queue.kept_steps(batch_id)) if counts.open else None
        groups = await self.failures(self.queue, batch_id)
        reports = [str(data["summary"])] if data.get("summary") else []
        self.printer.finished(result, groups, reports, kept=kept, message=message)

    # --- leaving --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _leaving(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the watching, not the batch."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}
        for number in numbers:
            loop.add_signal_handler(number, self._quit, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
                if before[number] is not None:
                    signal.signal(number, before[number])

    def _quit(self, number: signal.Signals) -> None:
        self._quitting = number

    def _leave(self) -> int:
        self.printer.close()
        self.printer.interrupted("Watching ended; the batch goes on.")
        terminated = self._quitting == signal.SIGTERM
        return int(ExitCode.SIGTERM if terminated else ExitCode.SIGINT)


def _leave(kind: str, task: VideoTask, monitor: ProgressMonitor) -> None:
    """Tell the monitor how a task in flight was left."""
    if kind == TaskStatus.COMPLETED:
        monitor.task_finished(task, task.result)
    elif kind == TaskStatus.FAILED:
        monitor.task_finished(task, task.error)
    elif kind == TaskStatus.CANCELLED:
        monitor.task_finished(task, None)
    elif kind == TaskStatus.SKIPPED:
        monitor.task_skipped(task)
    elif kind == TaskStatus.RETRYING and task.error is not None:
        monitor.retrying(task, task.error, 0.0)
    else:
        monitor.task_released(task)


def exit_code(status: BatchStatus, counts: BatchCounts, last: Run | None) -> int:
    """The exit code of the batch: that of its last run, or 1 when its process died. Pure.

    Args:
        last: the newest run; None for a batch that was never run, or by an older version.
    """
    if last is not None:
        return int(last.ended.data.get("exit_code", 1)) if last.ended else int(ExitCode.FAILED)
    if status is BatchStatus.COMPLETED:
        return int(ExitCode.PARTIAL if counts.failed else ExitCode.OK)
    if status is BatchStatus.CANCELLED:
        return int(ExitCode.PARTIAL)
    return int(ExitCode.PAUSED if status is BatchStatus.PAUSED else ExitCode.FAILED)


def _seconds_until(moment: str | None, now_s: float) -> float:
    from gs_video_report.batch.store.clock import parse_iso

    return 0.0 if moment is None else max(0.0, parse_iso(moment) / 1000 - now_s)
