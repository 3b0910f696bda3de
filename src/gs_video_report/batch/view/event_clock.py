"""The clock of a watcher: that of the events while they are replayed, the real one afterwards."""

from __future__ import annotations

import time


class EventClock:
    """Seconds since 1970: first those of the events that are replayed, then real ones."""

    def __init__(self) -> None:
        self._replayed: float | None = 0.0
        self._offset = time.time() - time.monotonic()

    def replay(self, at_s: float) -> None:
        """It is `at_s` now; never goes back."""
        self._replayed = max(self._replayed or 0.0, at_s)

    def go_live(self) -> None:
        """From now on time passes by itself."""
        self._replayed = None

    def __call__(self) -> float:
        if self._replayed is not None:
            return self._replayed
        return time.monotonic() + self._offset
