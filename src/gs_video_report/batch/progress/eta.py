"""How long a batch still takes. Pure arithmetic on lengths and measured times.

Method: list scheduling (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969): give the
remaining videos, in turn, to the worker that is free first. A video costs its length times the
measured seconds of work per second of recording; work in flight is credited with the work done
already. Work is counted by `work_clock`, so that a change of the number of processes is heard. The
order of the remaining videos is not kept, so the end is averaged over a few fixed shuffles. The
range uses factors found in simulation (true time / estimate, p10 to p90 for 60 and 12 videos),
because resampling the finished videos promises far more than it keeps.
Memory: remaining lengths are a histogram of at most `_BINS` bins, whatever their number.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

MIN_FINISHED = 3
"""Nothing is estimated before so many videos were finished."""
ROUGH_BELOW = 20
"""Batches with fewer videos get one rough figure instead of a range."""
LOW, HIGH = 0.85, 1.30
"""True time / estimate for larger batches: between p10 and p90 of 60-video runs."""
ROUGH_LOW, ROUGH_HIGH = 0.65, 1.90
"""The same for small batches."""
OVERDUE_LEFT = 0.15
"""Work that took longer than expected is taken to need this part of its expected cost still."""

UNKNOWN_ROUGH = 0.5

_BINS = 96
_BIN_RATIO = 1.16
"""Upper over lower edge of a bin; 96 bins from 1 s reach beyond 400 hours."""
_EXPLICIT = 240
"""So many videos are scheduled one by one at the end; what is before them is shared out evenly."""
_SHUFFLES_ITEMS = 480
"""Shuffles are averaged until about this many placements were made, at most 8 times."""


@dataclass(frozen=True, slots=True)
class EtaRange:
    """Time left, in seconds."""

    low_s: float
    mid_s: float
    high_s: float
    rough: bool
    """True for small batches: show one figure and say that it is rough."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """One video being worked on."""

    elapsed_s: float
    """Of work, as all other costs."""
    media_s: float | None
    """None: length not known yet."""


class LengthBins:
    """A bounded multiset of lengths in seconds; each bin keeps count and sum."""

    __slots__ = ("_counts", "_sums", "unknown")

    def __init__(self) -> None:
        self._counts = [0] * _BINS
        self._sums = [0.0] * _BINS
        self.unknown = 0
        """Videos whose length is not known."""

    @property
    def known(self) -> int:
        """Videos with a length."""
        return sum(self._counts)

    @property
    def total_s(self) -> float:
        """Sum of the known lengths."""
        return math.fsum(self._sums)

    @property
    def mean_s(self) -> float | None:
        """Mean of the known lengths; None without any."""
        return self.total_s / self.known if self.known else None

    def add(self, media_s: float | None) -> None:
        """Add one video."""
        if media_s is None:
            self.unknown += 1
            return
        index = _bin(media_s)
        self._counts[index] += 1
        self._sums[index] += media_s

    def remove(self, media_s: float | None) -> bool:
        """Take one video out; one that was added without a length is taken from the unknown.

        Removing what was never added does nothing. Returns True if its length was among the
        known ones.
        """
        index = None if media_s is None else _bin(media_s)
        if media_s is None or index is None or not self._counts[index]:
            self.unknown = max(0, self.unknown - 1)
            return False
        self._counts[index] -= 1
        left = max(0.0, self._sums[index] - media_s)
        self._sums[index] = left if self._counts[index] else 0.0
        return True

    def spread(self, count: int) -> list[float]:
        """`count` lengths, ascending, in the proportions of the bins. Empty without any known."""
        known = self.known
        if not known or count <= 0:
            return []
        picked: list[float] = []
        seen = 0
        for n, total in zip(self._counts, self._sums, strict=True):
            seen += n
            wanted = int(seen * count / known + 0.5) - len(picked)
            if n and wanted > 0:
                picked.extend([total / n] * wanted)
        return picked


def _bin(media_s: float) -> int:
    if media_s <= 1.0:
        return 0
    return min(_BINS - 1, int(math.log(media_s) / math.log(_BIN_RATIO)) + 1)


def cost_rate(finished: Sequence[tuple[float, float]]) -> float | None:
    """Seconds of work per second of recording, from (length, seconds of work) pairs.

    None with fewer than `MIN_FINISHED` pairs, or when they hold no recording at all.
    """
    media_s = math.fsum(media for media, _ in finished)
    if len(finished) < MIN_FINISHED or media_s <= 0:
        return None
    return math.fsum(took for _, took in finished) / media_s


def makespan(busy_s: Sequence[float], costs_s: Sequence[float], workers: int) -> float:
    """When the last worker is done, if `costs_s` go in turn to whoever is free first.

    Args:
        busy_s: seconds until each busy worker is free; of more than `workers`, those that are
            free first leave.
        costs_s: work waiting, in the order in which it is taken.
        workers: at least 1.
    """
    free = [*heapq.nlargest(workers, busy_s), *[0.0] * (workers - len(busy_s))]
    heapq.heapify(free)
    for cost in costs_s:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


def remaining_work(flight: Sequence[InFlight], rate: float, typical_s: float) -> list[float]:
    """Seconds of work left for each video in flight; `typical_s` stands in for unknown lengths."""
    left = []
    for item in flight:
        expected = rate * (typical_s if item.media_s is None else item.media_s)
        left.append(max(expected - item.elapsed_s, OVERDUE_LEFT * expected))
    return left


def waiting_lengths(waiting: LengthBins, seen: LengthBins, count: int) -> tuple[list[float], float]:
    """Lengths of `count` waiting videos: a sample to schedule, and the factor it stands for.

    `waiting` says what is known of them; missing lengths are drawn from `seen`. The sample has
    at most `_EXPLICIT` items; `count / len(sample)` is returned with it.
    """
    known = min(waiting.known, count)
    source = seen if seen.known else waiting
    scale = min(1.0, _EXPLICIT / count) if count else 1.0
    first = round(known * scale)
    sample = waiting.spread(first) + source.spread(round(count * scale) - first)
    return sample, (count / len(sample) if sample else 1.0)


def time_left_s(
    flight: Sequence[InFlight],
    waiting: LengthBins,
    seen: LengthBins,
    count: int,
    workers: int,
    rate: float,
) -> float:
    """Seconds until everything is done.

    Args:
        flight: what the workers have in hand.
        waiting: lengths of the videos that wait, as far as known.
        seen: every length met so far, to stand in for the unknown ones.
        count: number of videos that wait (`waiting` may know of fewer or more).
        workers: videos worked on at a time, at least 1.
        rate: from `cost_rate`.
    """
    sample, factor = waiting_lengths(waiting, seen, count)
    typical = seen.mean_s or waiting.mean_s or 0.0
    busy = remaining_work(flight, rate, typical)
    costs = [rate * length for length in sample]
    bulk = sum(costs) * (factor - 1.0) / max(1, workers)
    rounds = max(1, min(8, _SHUFFLES_ITEMS // max(1, len(costs))))
    draw = random.Random(17)  # noqa: S311  fixed: the figure must not jump between two looks
    ends = []
    for _ in range(rounds):
        draw.shuffle(costs)
        ends.append(makespan(busy, costs, workers))
    return bulk + sum(ends) / rounds


def as_range(mid_s: float, videos: int, unknown_share: float = 0.0) -> EtaRange:
    """The range that goes with an estimate for a batch of `videos`.

    `unknown_share` (0 to 1) of the waiting videos have no known length; above a half the
    estimate is rough, however large the batch.
    """
    rough = videos < ROUGH_BELOW or unknown_share > UNKNOWN_ROUGH
    low, high = (ROUGH_LOW, ROUGH_HIGH) if rough else (LOW, HIGH)
    return EtaRange(mid_s * low, mid_s, mid_s * high, rough)
