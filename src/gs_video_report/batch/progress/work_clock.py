"""A clock that goes as fast as one video gets on, whatever the number of compute processes.

Pure: readings of a monotonic clock are passed in. Method: processor sharing. `workers` videos in
work share `processes` compute processes evenly, so in a second each gets `processes / workers` of
one, and never more than a whole one. What a video costs, counted by this clock, stays the same when
the numbers change in the middle of a run, and so does the estimate that is made of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class WorkClock:
    """Seconds of work that a video in flight could get, since the beginning."""

    workers: int
    """Videos in work at a time, at least 1."""
    _since: float
    """Reading of the monotonic clock at the last change."""
    processes: int | None = None
    """Compute processes that serve them; None where those do not matter."""
    _before: float = 0.0
    """Reading of this clock at the last change."""

    @property
    def slowness(self) -> float:
        """Seconds that pass per second of work; 1 or more."""
        if self.processes is None:
            return 1.0
        return max(1.0, self.workers / max(1, self.processes))

    def at(self, now: float) -> float:
        """The reading at `now`."""
        return self._before + (now - self._since) / self.slowness

    def change(self, now: float, workers: int, processes: int | None) -> None:
        """From `now` on so many videos are in work on so many processes."""
        self._before, self._since = self.at(now), now
        self.workers, self.processes = max(1, workers), processes
