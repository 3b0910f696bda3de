"""What a pool tells those who watch it.

All calls come from the event loop and must not block.
"""

from __future__ import annotations

from typing import Protocol

from gs_video_report.batch.attempt.service_line import OutageListener
from gs_video_report.batch.data_models import TaskResult, VideoTask
from gs_video_report.errors import GsvrError, LimitReached


class PoolListener(OutageListener, Protocol):
    """The life of tasks in this process; `seconds` are those since the claim."""

    def task_started(self, task: VideoTask, slot: int) -> None:
        """A worker took it."""

    def task_finished(self, task: VideoTask, result: TaskResult, seconds: float) -> None:
        """Its report is on disk, and the queue knows."""

    def task_skipped(self, task: VideoTask, result: TaskResult) -> None:
        """Its report was there already."""

    def task_failed(self, task: VideoTask, error: GsvrError, seconds: float) -> None:
        """It failed for good."""

    def task_retrying(self, task: VideoTask, error: GsvrError, delay_s: float) -> None:
        """The attempt failed, and the next one comes in `delay_s` seconds."""

    def task_released(self, task: VideoTask) -> None:
        """It is out of this process's hands, unfinished; no try was lost."""

    def limit_reached(self, error: LimitReached, finishing: int) -> None:
        """No more requests are sent; so many tasks go on with the answers they have."""
