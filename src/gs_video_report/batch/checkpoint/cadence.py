"""When the next checkpoint of a running batch is due: arithmetic, no clock, no files.

The database is the truth and survives kills; a checkpoint is the portable copy for the day on which
the database is lost. So checkpoints follow the work, but may only cost a small share of the time:
at 100,000 tasks one takes more than a second, and one after every 25 videos would take the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

TASKS = 25
"""A checkpoint is taken after this many finished tasks ..."""
TASKS_SHARE = 0.01
"""... or after this share of all tasks of the batch, if that is more."""
COST_SHARE = 0.02
"""Checkpoints take at most this share of the time: the next one waits longer after a dear one."""


@dataclass(slots=True)
class Cadence:
    """Decides for one run of a batch.

    Args:
        interval_s: seconds between checkpoints, whatever has finished.
    """

    interval_s: float
    _last: float = float("-inf")
    _cost_s: float = 0.0
    _finished: int = 0

    def finished(self, tasks: int = 1) -> None:
        """So many tasks have ended since the last call."""
        self._finished += tasks

    def due(self, now: float, total: int) -> str | None:
        """The reason to take a checkpoint now: `interval`, `tasks`, or None. Take it, then.

        Args:
            now: monotonic seconds.
            total: tasks of the batch.
        """
        since = now - self._last
        if since < self._cost_s / COST_SHARE:
            return None
        reason = None
        if since >= self.interval_s:
            reason = "interval"
        elif self._finished >= max(TASKS, total * TASKS_SHARE):
            reason = "tasks"
        if reason is not None:
            self._finished = 0
        return reason

    def taken(self, began: float, ended: float) -> None:
        """A checkpoint was taken between these monotonic seconds."""
        self._last, self._cost_s = ended, ended - began
