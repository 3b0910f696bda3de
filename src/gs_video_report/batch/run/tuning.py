"""The number of compute processes follows the memory while a batch runs, and the pool follows it.

Every change is told and kept as an event. With fewer compute processes, more videos in flight than
those can serve only hold decoded sound on the disk; so the pool shrinks and grows with them when
the work is local, and the time left hears of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gs_video_report.batch.performance_optimizer import Change, MemoryTuner
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.batch.run.parts import RunParts
from gs_video_report.batch.run.record import RunRecord
from gs_video_report.batch.worker_pool import WorkerPool
from gs_video_report.compute import machine
from gs_video_report.terminal.notices import tuning_text
from gs_video_report.terminal.printer import Printer


@dataclass(slots=True)
class TuningLog:
    """What a change of concurrency leads to in one pool."""

    record: RunRecord
    pool: WorkerPool
    parallel: int
    """Videos in flight that the user asked for."""
    printer: Printer
    monitor: ProgressMonitor
    follow: bool
    """The pool follows: the work is local."""

    def begin(self, processes: int) -> None:
        """The pool begins, and so many compute processes are there."""
        self.monitor.crew(self.parallel, processes if self.follow else None)

    def changed(self, change: Change) -> None:
        """Tell and keep the change, and let the pool follow."""
        data = {"old": change.old, "new": change.new, "reason": change.reason}
        if self.follow:
            workers = min(self.parallel, 2 * change.new)
            self.pool.resize(workers)
            self.monitor.crew(workers, change.new)
            data |= {"parallel": workers, "process": self.record.process_id}
        self.printer.note(tuning_text(data))
        self.record.keep("tuning", data)


async def tune(parts: RunParts, on_change: Callable[[Change], None]) -> None:
    """Follow the memory until cancelled, between one process and what the user or cores allow."""
    tuner = MemoryTuner(
        parts.compute,
        max_processes=parts.row.options.compute_processes or machine.cores(),
        limit_bytes=parts.settings.memory_limit_bytes,
        on_change=on_change,
    )
    await tuner.run()
