"""What happens in the pool, told to the picture, the screen and the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from gs_video_report.batch.attempt.outage import Outage
from gs_video_report.batch.data_models import TaskResult, VideoTask
from gs_video_report.batch.progress.snapshot import display_name
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.batch.run.teller import RunTeller
from gs_video_report.batch.run.trace import RunTrace
from gs_video_report.errors import GsvrError, LimitReached
from gs_video_report.terminal.network import back_text, lost_text
from gs_video_report.terminal.printer import Printer, TaskLine
from gs_video_report.terminal.styles import plural


@dataclass(slots=True)
class RunListener:
    """The `PoolListener` of a run; also hears of stages and lengths."""

    monitor: ProgressMonitor
    teller: RunTeller
    tries: int
    """How often a task is tried at most."""
    on_ended: Callable[[], None]
    """Called when a task has ended for good."""

    def stage(self, task_id: int, stage: str, done: float, total: float) -> None:
        """A task is at `done` of `total` of `stage`; total 0 = unknown."""
        self.monitor.stage(task_id, stage, done, total)
        if self.trace is not None:
            self.trace.stage(task_id, stage)

    def length(self, task_id: int, media_s: float) -> None:
        """The recording of a task in flight turned out to be `media_s` seconds long."""
        self.monitor.media_known(task_id, media_s)

    def task_started(self, task: VideoTask, slot: int) -> None:
        """See `PoolListener`."""
        if self.trace is not None:
            self.trace.claimed(task)
        self.monitor.task_started(task, f"w{slot}")

    def task_finished(self, task: VideoTask, result: TaskResult, seconds: float) -> None:
        """See `PoolListener`."""
        self._left(task)
        self.monitor.task_finished(task, result)
        self.on_ended()
        done, total = self._place()
        self.printer.task_done(TaskLine.of_result(task, result, seconds, done=done, total=total))

    def task_skipped(self, task: VideoTask, result: TaskResult) -> None:
        """See `PoolListener`."""
        self._left(task)
        self.monitor.task_skipped(task)
        done, total = self._place()
        line = TaskLine.of_result(task, result, 0.0, done=done, total=total)
        self.printer.task_done(replace(line, state="skipped"))

    def task_failed(self, task: VideoTask, error: GsvrError, seconds: float) -> None:
        """See `PoolListener`. A report from before stays, and that is told, too."""
        self._left(task)
        has_report = task.result is not None
        if has_report:
            self.monitor.report_kept(task)
        else:
            self.monitor.task_finished(task, error)
        self.on_ended()
        done, total = self._place()
        line = TaskLine.of_error(task, error, seconds, done=done, total=total, tries=self.tries)
        self.printer.task_failed(replace(line, extra={"report_kept": True} if has_report else {}))
        if has_report:
            self.teller.report_kept(display_name(task))

    def task_retrying(self, task: VideoTask, error: GsvrError, delay_s: float) -> None:
        """See `PoolListener`."""
        self._left(task)
        self.monitor.retrying(task, error, delay_s)
        self.printer.task_retry(
            TaskLine.of_error(task, error, None, tries=self.tries, delay_s=delay_s)
        )

    def task_released(self, task: VideoTask) -> None:
        """See `PoolListener`."""
        self._left(task)
        self.monitor.task_released(task)

    def service_lost(self, outage: Outage, seconds: float) -> None:
        """See `OutageListener`."""
        self.teller.tell(lost_text(outage, seconds, datetime.now().astimezone()))

    def service_back(self, outage: Outage, seconds: float) -> None:
        """See `OutageListener`."""
        self.teller.tell(back_text(outage, seconds))

    def limit_reached(self, error: LimitReached, finishing: int) -> None:
        """See `PoolListener`."""
        videos = plural(finishing, "video")
        whose = "its answer is" if finishing == 1 else "their answers are"
        self.teller.tell(
            f"{error.message}: no more requests are sent; {videos} may still be finished, as "
            f"{whose} there or under way"
        )

    def _left(self, task: VideoTask) -> None:
        if self.trace is not None:
            self.trace.left(task)

    @property
    def printer(self) -> Printer:
        """The screen."""
        return self.teller.printer

    @property
    def trace(self) -> RunTrace | None:
        """The log."""
        return self.teller.trace

    def _place(self) -> tuple[int, int]:
        counts = self.monitor.snapshot().counts
        return counts.completed + counts.skipped, counts.total
