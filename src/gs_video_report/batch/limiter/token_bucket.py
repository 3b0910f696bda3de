"""Arithmetic of rate limits: a token bucket, a sliding window, and both together.

Pure: the time is an argument (seconds of any clock that does not go back).

Bounds, for a bucket of `capacity` refilled at `rate`: no window of w seconds sees more than
`max(capacity, largest single take) + rate * w`, counting what was really used, at the time it
was taken. For the sliding window: no window of `period_s` sees more than `limit`, unless a
single take is larger than the limit. A `Meter` keeps both bounds.

Sources: token bucket, Turner 1986 ("New directions in communications"). Giving back the unused
part of an estimate: the corrected level is what it had been with the smaller take, that is, the
credit minus what would have overflowed since (a path reflected at its upper edge, Skorokhod 1961).
Without this, late credits would let two full buckets into one moment.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

TOLERANCE = 1e-9
MINUTE_S = 60.0
WINDOW_S = 61.0
"""A minute, and a second for requests that travel slower than the ones after them."""
BURST_FRACTION = 0.25


@dataclass(slots=True, eq=False)
class Hold:
    """What one caller took, until it says what it used."""

    amount: float
    taken_at: float
    high: float
    """Highest level of the bucket since then."""


@dataclass(slots=True)
class TokenBucket:
    """Starts full at `updated_at`."""

    capacity: float
    rate: float
    """Per second."""
    updated_at: float
    level: float = -1.0
    """Negative while a take larger than the bucket is paid off."""
    _holds: list[Hold] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.level = self.capacity

    def level_at(self, now: float) -> float:
        """What is in it now."""
        self._refill(now)
        return self.level

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 = now. More than the capacity needs it full."""
        self._refill(now)
        lacking = min(amount, self.capacity) - self.level
        if lacking <= TOLERANCE:
            return 0.0
        return lacking / self.rate if self.rate > 0 else float("inf")

    def take(self, amount: float, now: float) -> Hold:
        """Take without asking; the level may become negative."""
        self._refill(now)
        self._note_high()
        self.level -= amount
        hold = Hold(amount, now, self.level)
        self._holds.append(hold)
        return hold

    def settle(self, hold: Hold, used: float, now: float) -> None:
        """Replace the taken amount by the used one; a hold counts once."""
        self._refill(now)
        self._note_high()
        self._holds.remove(hold)
        unused = hold.amount - used
        if unused <= 0:
            self.level += unused
            return
        self.level += max(0.0, min(unused, self.capacity - hold.high))
        for other in self._holds:  # their past is higher now; by how much at most, suffices
            other.high = min(self.capacity, other.high + unused)

    def adopt(self, amount: float, taken_at: float) -> Hold:
        """A take that the level never knew of; what it used less comes in, up to the brim."""
        hold = Hold(amount, taken_at, self.level)
        self._holds.append(hold)
        return hold

    def set_rate(self, rate: float, now: float) -> None:
        """Refill at `rate` per second from now on."""
        self._refill(now)
        self.rate = rate

    def _refill(self, now: float) -> None:
        if now > self.updated_at:
            self.level = min(self.capacity, self.level + (now - self.updated_at) * self.rate)
            self.updated_at = now

    def _note_high(self) -> None:
        for hold in self._holds:
            hold.high = max(hold.high, self.level)


@dataclass(slots=True, eq=False)
class _Entry:
    at: float
    amount: float
    forgotten: bool = False


@dataclass(slots=True)
class SlidingWindow:
    """Remembers every take of the last `period_s` seconds."""

    limit: float
    period_s: float
    _entries: deque[_Entry] = field(default_factory=deque)
    _sum: float = 0.0

    def used(self, now: float) -> float:
        """What was taken in the last `period_s` seconds."""
        while self._entries and self._entries[0].at + self.period_s <= now:
            entry = self._entries.popleft()
            entry.forgotten = True
            self._sum -= entry.amount
        if not self._entries:
            self._sum = 0.0  # no rounding error is carried on
        return self._sum

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` fits; an amount above the limit waits for an empty window."""
        excess = self.used(now) + min(amount, self.limit) - self.limit
        if excess <= TOLERANCE:
            return 0.0
        for entry in self._entries:
            excess -= entry.amount
            if excess <= TOLERANCE:
                return max(0.0, entry.at + self.period_s - now)
        return self.period_s

    def take(self, amount: float, now: float) -> _Entry:
        """Note a take."""
        entry = _Entry(now, amount)
        self._entries.append(entry)
        self._sum += amount
        return entry

    def settle(self, entry: _Entry, used: float) -> None:
        """Replace the taken amount by the used one, at the time it was taken."""
        if not entry.forgotten:
            self._sum += used - entry.amount
        entry.amount = used


@dataclass(slots=True, eq=False)
class MeterHold:
    """A take from both halves of a meter."""

    hold: Hold
    entry: _Entry

    @property
    def amount(self) -> float:
        """What was taken."""
        return self.hold.amount


class Meter:
    """A quota per minute: paced by a bucket, and never above the quota within a minute.

    Args:
        per_minute: the quota, above 0.
        burst: what may go at once; None = a quarter of the quota, at least 1.
        now: the time at which it is full.
    """

    def __init__(self, per_minute: float, burst: float | None, now: float) -> None:
        if per_minute <= 0:
            raise ValueError(f"a quota per minute must be above 0, not {per_minute}")
        self.per_minute = per_minute
        wanted = max(1.0, per_minute * BURST_FRACTION) if burst is None else burst
        self.bucket = TokenBucket(min(wanted, max(per_minute, 1.0)), per_minute / MINUTE_S, now)
        self.window = SlidingWindow(max(per_minute, 1.0), WINDOW_S)
        self._factor = 1.0

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 = now."""
        return max(self.bucket.delay_s(amount, now), self.window.delay_s(amount, now))

    def take(self, amount: float, now: float) -> MeterHold:
        """Take without asking."""
        return MeterHold(self.bucket.take(amount, now), self.window.take(amount, now))

    def settle(self, held: MeterHold, used: float, now: float) -> None:
        """Replace the taken amount by the used one."""
        self.bucket.settle(held.hold, used, now)
        self.window.settle(held.entry, used)

    def level(self, now: float) -> float:
        """What could be taken at once now; 0 while a large take is paid off."""
        room = self.window.limit - self.window.used(now)
        return max(0.0, min(self.bucket.level_at(now), room))

    def set_factor(self, factor: float, now: float) -> None:
        """Refill at this share of the quota."""
        self._factor = factor
        self.bucket.set_rate(factor * self.per_minute / MINUTE_S, now)

    def set_limit(self, per_minute: float, now: float) -> None:
        """Another quota from now on; what may go at once remains, and so does what has gone."""
        self.per_minute = per_minute
        self.window.limit = max(per_minute, 1.0, self.bucket.capacity)
        self.set_factor(self._factor, now)

    def adopt(self, amount: float, taken_at: float) -> MeterHold:
        """Note a take from before this meter was there; call in the order of times."""
        return MeterHold(self.bucket.adopt(amount, taken_at), self.window.take(amount, taken_at))
