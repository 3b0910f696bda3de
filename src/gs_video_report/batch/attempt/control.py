"""What the pool and one running attempt of a task tell each other.

Truth: this process's memory, for as long as the attempt lasts. The attempt tells when it only
waits and which paid answers it has; the pool tells to stop. One event loop, no I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from gs_video_report.batch.attempt.service_line import Line, OpenLine
from gs_video_report.batch.data_models import TaskResult, VideoTask
from gs_video_report.errors import GsvrError, StepCancelled


@dataclass(slots=True)
class TaskControl:
    """What the pool tells a running task, and what the task tells the pool."""

    stopping: asyncio.Event
    """Set on a graceful stop: start no further step."""
    started: float
    """Monotonic seconds at the claim."""
    _idle_s: float = 0.0
    _waiting_since: float | None = None
    _opened: int = 0
    _calls_running: int = 0
    outcome: GsvrError | None = None
    """Why the pool cancelled the task, if it did."""
    handle: asyncio.Task[TaskResult] | None = None
    skipped: str | None = None
    """Set by the runner when the output was already there: the reason."""
    line: Line = field(default_factory=OpenLine)
    has_answers: bool = False
    """Paid answers are there."""
    asking: int = 0
    """Paid requests that are under way now."""
    quota_waits: int = 0
    """Requests that wait for quota now."""
    no_more_requests: bool = False
    """Set by the pool when a limit was reached: the next request ends the attempt."""

    @property
    def may_finish(self) -> bool:
        """Whether the task may need no more requests, as far as can be seen."""
        return (self.has_answers or self.asking > 0) and not self.quota_waits

    def asks(self) -> None:
        """Before a request. Raises: StepCancelled when there are to be no more."""
        if self.no_more_requests:
            raise StepCancelled("stopped before the next request: a limit was reached")

    def call(self, now: float, *, opened: int = 0, running: int = 0) -> None:
        """Count calls to compute and to providers: asked for (`opened`), and under way.

        While there are calls and none of them is under way, the task only waits.
        """
        self._opened += opened
        self._calls_running += running
        self.waiting(now, self._opened > 0 and self._calls_running == 0)

    def waiting(self, now: float, is_waiting: bool) -> None:
        """Tell that the task has work that waits for a compute process or for quota."""
        if is_waiting and self._waiting_since is None:
            self._waiting_since = now
        elif not is_waiting and self._waiting_since is not None:
            self._idle_s += now - self._waiting_since
            self._waiting_since = None

    def active_s(self, now: float) -> float:
        """Seconds of this attempt, waiting left out."""
        waiting_s = 0.0 if self._waiting_since is None else now - self._waiting_since
        return now - self.started - self._idle_s - waiting_s


TaskRunner = Callable[[VideoTask, TaskControl], Awaitable[TaskResult]]
"""Does the work of one attempt. Raises: the classes of errors.py."""
