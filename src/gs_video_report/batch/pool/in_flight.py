"""The attempts that this process works on now, and how they are cancelled.

Truth: the claims of this process in flight, nothing else. A cancelled attempt carries the reason
in its control; the first reason counts.
Never: touches the queue, waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.data_models import VideoTask
from gs_video_report.errors import ComputeTimeout, GsvrError, StepCancelled


@dataclass(slots=True)
class Attempt:
    """One claimed task in the hands of one worker."""

    task: VideoTask
    control: TaskControl
    slot: int

    def cancel(self, why: GsvrError) -> None:
        """End it with `why`, unless it is ending already or has not begun."""
        if self.control.handle is None or self.control.outcome is not None:
            return
        self.control.outcome = why
        self.control.handle.cancel()


@dataclass(slots=True)
class AttemptsInFlight:
    """See the module's header."""

    _by_task: dict[int, Attempt] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._by_task)

    def __iter__(self) -> Iterator[Attempt]:
        """A copy: attempts may end meanwhile."""
        return iter(list(self._by_task.values()))

    def add(self, attempt: Attempt) -> None:
        """It was claimed."""
        self._by_task[attempt.task.task_id] = attempt

    def remove(self, attempt: Attempt) -> None:
        """It has ended; a later attempt of the same task stays."""
        if self._by_task.get(attempt.task.task_id) is attempt:
            del self._by_task[attempt.task.task_id]

    def cancel(self, task_id: int, why: GsvrError) -> None:
        """Cancel one; a task that is not in flight is none of ours any more."""
        attempt = self._by_task.get(task_id)
        if attempt is not None:
            attempt.cancel(why)

    def stop_all(self) -> None:
        """Cancel all; they go back to the queue unfinished."""
        for attempt in self:
            attempt.cancel(StepCancelled("stopped"))

    def stop_overdue(self, now: float, timeout_s: float) -> None:
        """Cancel those that have worked for longer than `timeout_s`, waiting left out."""
        for attempt in self:
            if attempt.control.active_s(now) > timeout_s:
                attempt.cancel(ComputeTimeout(f"not finished after {timeout_s:g} s"))

    def close_purse(self, refused: int, owed: set[int]) -> int:
        """No more requests; what is paid for already may become reports, the rest is cancelled.

        Args:
            refused: id of the task that met the limit, which has ended.
            owed: ids of tasks whose answers were ordered before and may have to be paid.

        Returns:
            How many go on.
        """
        finishing = 0
        for attempt in self:
            task_id, control = attempt.task.task_id, attempt.control
            if task_id == refused:
                continue
            control.no_more_requests = True
            if control.outcome is None and (control.may_finish or task_id in owed):
                finishing += 1
            else:
                attempt.cancel(StepCancelled("stopped"))
        return finishing
