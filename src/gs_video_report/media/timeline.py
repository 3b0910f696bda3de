"""Where decoded sound belongs on the time line of its container.

Pure arithmetic on samples; no decoder, no file. Positions count samples from the container's
start time. A packet that is missing or bad leaves a hole (silence) and never shifts what follows;
a wrong time stamp costs at most its own place, and silence is never laid beyond `limit`.
Never: raises for odd time stamps.
"""

from __future__ import annotations

TOLERANCE_S = 0.1
"""Differences up to this are rounding of time stamps; the sound is simply continued."""
_LONGEST_GAP_S = 4 * 3600
_LONGEST_UNDECLARED_GAP_S = 600
_REMEMBERED_CLOCKS = 8


class Timeline:
    """Chooses a position for each run of samples and remembers what has been covered."""

    def __init__(self, rate: int, limit: int | None) -> None:
        """`limit`: position in samples beyond which no silence is laid (declared length plus a
        margin); None when the container declares no length: then single gaps are shorter."""
        self._tolerance = round(TOLERANCE_S * rate)
        self._limit = limit
        longest_s = _LONGEST_UNDECLARED_GAP_S if limit is None else _LONGEST_GAP_S
        self._longest_gap = longest_s * rate
        self._base = 0
        self._old_bases: list[int] = []
        self.position = 0
        """Where the next samples go if they have no time stamp of their own."""
        self.covered: list[list[int]] = []
        """Disjoint [start, end) runs that hold decoded sound, in order."""

    def continues(self, stamp: int | None, lost: int = 0) -> bool:
        """True when samples stamped `stamp` simply follow what was written last."""
        if stamp is None:
            return lost == 0
        return abs(stamp + self._base - self.position) <= self._tolerance

    def seek(self, stamp: int | None, lost: int = 0) -> int:
        """Move to where the samples stamped `stamp` belong; returns the position.

        Args:
            stamp: position by the container, None when it has no time stamp.
            lost: samples known to be lost just before; used only when there is no stamp.
        """
        if stamp is None:
            if self._may_jump_to(self.position + lost):
                self.position += lost
            return self.position
        if self.continues(stamp) or self._returns_to_old_clock(stamp):
            return self.position
        target = stamp + self._base
        if target > self.position and self._may_jump_to(target):
            self.position = target
        elif 0 <= target < self.position and not self._is_covered(target):
            self.position = target  # an earlier jump was wrong: go back into its hole
        else:
            self._continue_from(stamp)
        return self.position

    def advance(self, samples: int) -> None:
        """Tell that `samples` were written at the present position."""
        if samples > 0:
            self._cover(self.position, self.position + samples)
            self.position += samples

    @property
    def end(self) -> int:
        """Position after the last covered sample."""
        return self.covered[-1][1] if self.covered else 0

    @property
    def sounding(self) -> int:
        """Samples that were decoded, holes not counted."""
        return sum(end - start for start, end in self.covered)

    def holes(self) -> tuple[tuple[int, int], ...]:
        """Runs of silence between decoded sound; the lead-in before the first sound is none."""
        pairs = zip(self.covered, self.covered[1:], strict=False)
        return tuple((before[1], after[0]) for before, after in pairs)

    def _continue_from(self, stamp: int) -> None:
        """The clock was restarted (or one stamp is wrong): what follows is appended."""
        self._old_bases = [self._base, *self._old_bases][:_REMEMBERED_CLOCKS]
        self._base = self.position - stamp

    def _returns_to_old_clock(self, stamp: int) -> bool:
        for base in self._old_bases:
            if abs(stamp + base - self.position) <= self._tolerance:
                self._base = base
                return True
        return False

    def _may_jump_to(self, target: int) -> bool:
        if self._limit is not None and target > self._limit:
            return False
        return target - self.position <= self._longest_gap

    def _is_covered(self, target: int) -> bool:
        return any(start <= target < end for start, end in reversed(self.covered))

    def _cover(self, start: int, end: int) -> None:
        runs = self.covered
        if runs and start >= runs[-1][0]:
            if start <= runs[-1][1]:
                runs[-1][1] = max(runs[-1][1], end)
            else:
                runs.append([start, end])
            return
        runs.append([start, end])
        runs.sort()
        merged: list[list[int]] = []
        for run in runs:
            if merged and run[0] <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], run[1])
            else:
                merged.append(run)
        self.covered = merged
