"""How fast one run works: what it measured of the videos it finished, pauses left out.

Pure: readings of a monotonic clock are passed in. Memory: the last `RECENT` videos.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

RECENT = 64
"""Finished videos that the cost per recording second and the speed are measured on."""
SPEED_WINDOW_S = 1800.0
"""The speed is measured over at most this many seconds of work."""


@dataclass(slots=True)
class RunSpeed:
    """What this process measured since it began."""

    began: float
    done: int = 0
    """Videos finished."""
    media_s: float = 0.0
    """Their length."""
    costs: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    """(length, seconds of work) of the videos finished lately."""
    _ends: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=RECENT))
    """(active time of the end, length) of the same videos."""
    _paused_at: float | None = None
    _paused_s: float = 0.0

    def finished(self, now: float, media_s: float, work_s: float) -> None:
        """A video of `media_s` seconds was finished after `work_s` seconds of the work clock."""
        self.done += 1
        self.media_s += media_s
        self._ends.append((self.active_s(now), media_s))
        self.costs.append((media_s, work_s))

    @property
    def is_paused(self) -> bool:
        """The batch stands still."""
        return self._paused_at is not None

    def pause(self, now: float) -> None:
        """It stands still from now on, if it did not already."""
        if self._paused_at is None:
            self._paused_at = now

    def go_on(self, now: float) -> None:
        """It works again."""
        if self._paused_at is not None:
            self._paused_s += now - self._paused_at
        self._paused_at = None

    def active_s(self, now: float) -> float:
        """Seconds of this run in which the batch was not paused."""
        paused = self._paused_s
        if self._paused_at is not None:
            paused += now - self._paused_at
        return now - self.began - paused

    def realtime(self, now: float) -> float | None:
        """Recording seconds per second of work, lately; None before a video was finished."""
        if not self._ends:
            return None
        active = self.active_s(now)
        horizon = active - SPEED_WINDOW_S
        start, recent = 0.0, 0.0
        for index, (end, media_s) in enumerate(self._ends):
            if end < horizon or (index == 0 and len(self._ends) == RECENT):
                start = end
            else:
                recent += media_s
        window = active - start
        return recent / window if window > 0 and recent > 0 else None
