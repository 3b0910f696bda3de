"""One quota per minute, told or found out: what goes, what was taken, what a refusal teaches.

True here: a refusal lowers the limit to what the provider demonstrably takes, to no less than
half of what it was (multiplicative decrease); a limit that is used to the full and held is
raised by small steps (additive increase); each refusal that shows no change of the quota
doubles the time to the next step, so that refusals stay rare. A told limit is never exceeded.
What a provider says of its quota (`hint`) is held from then on, in both directions, but never above
what the user told; each number counts once, and not when more than that was seen to be taken.
Never: waits, reads a clock, knows of the other quota of its bucket.

Sources: additive increase and multiplicative decrease, Chiu and Jain 1989 ("Analysis of the
increase and decrease algorithms for congestion avoidance in computer networks"). How far to
fall: a provider that counts the last minute, or the minute of its clock, and asks to come back
in r seconds, says that what it took in the last 60 - r seconds is nearly all it takes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gs_video_report.batch.limiter.token_bucket import MINUTE_S, WINDOW_S, Meter, MeterHold

DECREASE = 0.5
STEP = 0.05
"""Of the limit that a refusal left, at each raise."""
BACK_OFF = 0.97
"""Share of a refused limit that is kept at most."""
MIN_SHARE = 0.1
"""Share of a told limit that is kept at least."""
BLAMED = 0.5
"""Share of a limit that must be in use for a refusal to be blamed on it."""
BUSY = 0.9
"""Share of a limit that must be in use before more is tried."""
SAME = 0.8
"""Share of a limit; while so much is still taken, the limit was a little high, not changed."""
PROBE_S = 60.0
MAX_PROBE_S = 960.0
MIN_EVIDENCE = 5
"""Requests taken within a minute, before a refusal says anything about an untold limit."""
REMEMBERED_S = 2 * MINUTE_S
FRESH_S = 3600.0
"""What was learned longer ago is tried to be raised as soon as it is used to the full."""
HINT_PROBE_S = 240.0
"""Before more than a provider says is tried for the first time."""
MAX_HINT = 1e9
REFUTED = 2.5
"""A provider that took so many times what it says in a minute does not say the truth. Twice is no
lie: a quota that fills up again while it is used takes up to that in its first minute."""
FORGOTTEN_S = 86_400.0
"""What was learned longer ago is no longer believed."""


@dataclass(slots=True, eq=False)
class Use:
    """What one request took."""

    at: float
    amount: float
    taken: bool = True
    """By the provider, as far as is known; False after an error."""
    hold: MeterHold | None = None


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What was known at a refusal; requests refused a little later complete it."""

    at: float
    before: float
    """When the refusal before this one was; inf = never."""
    half: float
    """Of the limit that the refusal before this one met, if it is less than `limit`."""
    back_off_s: float
    limit: float
    """Until then; inf = none."""
    good: float
    """What held before the raise that the refusal may be due to; 0 = there was none."""
    is_told: bool = False
    """The provider said what it takes: requests refused a little later tell no more."""


class Quota:
    """Requests, or tokens, per minute.

    Args:
        per_minute: as told; None = unknown, nothing is held back before the first refusal.
        burst: what may go at once; None = a quarter, at least 1.
    """

    def __init__(self, per_minute: float | None, burst: float | None, now: float) -> None:
        self.told = per_minute
        self.limit = math.inf if per_minute is None else per_minute
        self._meter = None if per_minute is None else Meter(per_minute, burst, now)
        self._uses: deque[Use] = deque()
        self._lesson: _Lesson | None = None
        self._step = 0.0
        self._probe_s = PROBE_S
        self.changed_at = -math.inf
        self._good = 0.0
        self._proven = 0.0
        self._hinted = 0.0
        self._largest = 0.0
        self.is_convicted = per_minute is not None

    @property
    def share(self) -> float:
        """Of the told limit that is in use; 1 where none was told."""
        return 1.0 if self.told is None else self.limit / self.told

    @property
    def is_limited(self) -> bool:
        """Whether anything is held back."""
        return self._meter is not None

    def used_share(self, more: float, now: float) -> float:
        """Of the minute's limit, with `more` taken; 0 = not limited."""
        if self._meter is None:
            return 0.0
        return (self._meter.window.used(now) + more) / self._meter.window.limit

    def delay_s(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0 = now."""
        return 0.0 if self._meter is None else self._meter.delay_s(amount, now)

    def level(self, now: float) -> float | None:
        """What could be taken at once now; None = not limited."""
        return None if self._meter is None else self._meter.level(now)

    def take(self, amount: float, now: float) -> Use:
        """Take without asking."""
        use = Use(now, amount)
        self._largest = max(self._largest, amount)
        if self._meter is not None:
            use.hold = self._meter.take(amount, now)
        self._uses.append(use)
        while self._uses[0].at < now - REMEMBERED_S:
            self._uses.popleft()
        return use

    def settle(self, use: Use, used: float, now: float, *, taken: bool) -> None:
        """Replace the estimate by what was used.

        Args:
            taken: False = the request failed; it counts, but teaches nothing.
        """
        use.amount, use.taken = used, taken
        if taken:
            self._proven = max(self._proven, self._sum(use.at - MINUTE_S, use.at))
            if 0 < REFUTED * self._hinted < self._proven and self.limit <= self._hinted:
                self.release(now)
        if self._meter is not None and use.hold is not None:
            self._meter.settle(use.hold, used, now)

    def set_factor(self, factor: float, now: float) -> None:
        """Refill at this share of the limit."""
        if self._meter is not None:
            self._meter.set_factor(factor, now)

    # --- learning -------------------------------------------------------------------------------

    def is_suspect(self, factor: float, now: float) -> bool:
        """Whether a refusal may be due to this quota, in use at `factor` of its limit."""
        if math.isinf(self.limit):
            return len(self._taken(now - MINUTE_S, now)) >= MIN_EVIDENCE
        return self._sum(now - MINUTE_S, now) >= BLAMED * factor * self.limit

    def is_cleared(self, amount: float, now: float) -> bool:
        """Whether a refused request cannot be due to this quota: as much was taken before.

        Args:
            amount: of the request.
        """
        return self._sum(now - MINUTE_S, now) + amount <= self._proven

    def release(self, now: float) -> None:
        """The other quota was the cause all along: back to what was told, or to no limit."""
        self._lesson, self._good, self._probe_s = None, 0.0, PROBE_S
        if self.told is not None:
            self._set_limit(self.told, now)
        else:
            self.limit, self._meter, self.changed_at = math.inf, None, now

    def hint(self, per_minute: float, now: float) -> None:
        """The provider says how much it takes: that is the limit from now on, if it can be true.

        Args:
            per_minute: any number; what can be no quota is not believed, nor that one request
                is more than a minute's.
        """
        if per_minute == self._hinted or not 1 <= per_minute <= MAX_HINT:
            return
        if REFUTED * per_minute < self._proven or per_minute < self._largest:
            return
        self._hinted = per_minute
        least, most = MIN_SHARE * (self.told or 0.0), self.told or math.inf
        limit = min(max(per_minute, least), most)
        self.is_convicted = True
        if limit == self.limit:
            return
        self._lesson = _Lesson(now, math.inf, limit, 0.0, limit, 0.0, is_told=True)
        self._good, self._step = 0.0, max(1.0, STEP * limit)
        self._set_limit(limit, now)
        self._probe_s = HINT_PROBE_S

    def learned(self) -> dict[str, Any] | None:
        """What refusals have taught, as JSON values for `recall`; None = nothing."""
        if self._lesson is None or math.isinf(self.limit):
            return None
        return {
            "limit": round(self.limit, 3),
            "told": self.told,
            "probe_s": self._probe_s,
            "convicted": self.is_convicted,
        }

    def recall(self, learned: Mapping[str, Any], age_s: float, now: float) -> None:
        """Start from what was learned `age_s` ago; not from what is too old, or was told anew."""
        if not 0 <= age_s < FORGOTTEN_S or learned["told"] != self.told:
            return
        limit = min(float(learned["limit"]), self.told or math.inf)
        self._lesson = _Lesson(now - age_s, math.inf, limit, 0.0, limit, 0.0)
        self._step = max(1.0, STEP * limit)
        self._probe_s = float(learned["probe_s"]) if age_s < FRESH_S else PROBE_S
        self.is_convicted = bool(learned["convicted"])
        self._set_limit(limit, now)
        self.changed_at = now - age_s

    def learn(self, retry_after_s: float | None, factor: float, now: float) -> None:
        """A refusal: fall.

        Args:
            retry_after_s: what the provider asked for; a minute or more tells nothing.
            factor: share of the limit that was in use.
        """
        back_off_s = 0.0 if retry_after_s is None else retry_after_s
        last, limit = self._lesson, self.limit * factor
        lesson = self._lesson = _Lesson(
            at=now,
            before=math.inf if last is None else last.at,
            half=limit if last is None else min(limit, DECREASE * last.limit),
            back_off_s=back_off_s if 0 <= back_off_s < MINUTE_S else 0.0,
            limit=limit,
            good=self._good if self.was_raised(now) else 0.0,
        )
        self._good = 0.0
        self._fall(lesson, now)
        is_change = self.limit < SAME * limit
        self._probe_s = PROBE_S if is_change else min(2 * self._probe_s, MAX_PROBE_S)

    def learn_more(self, now: float) -> None:
        """Another request of the same moment was refused: less had been taken than it seemed."""
        if self._lesson is not None and not self._lesson.is_told:
            self._fall(self._lesson, now)

    def was_raised(self, now: float) -> bool:
        """Whether a refusal is likely to be due to the last raise."""
        return self._good > 0 and now - self.changed_at <= REMEMBERED_S

    def probe(self, now: float) -> bool:
        """A request was taken: raise the limit a step if it is due and in full use.

        Returns: whether it was raised.
        """
        if self._lesson is None or now < self.changed_at + self._probe_s or self.limit == self.told:
            return False
        if self._sum(now - MINUTE_S, now) < BUSY * self.limit:
            return False
        self._good = self.limit
        self._set_limit(min(self.limit + self._step, self.told or math.inf), now)
        return True

    def _fall(self, lesson: _Lesson, now: float) -> None:
        limit = max(self._estimate(lesson), 1.0, MIN_SHARE * (self.told or 0.0))
        self._step = max(1.0, STEP * limit)
        self._proven = min(self._proven, limit)
        self._set_limit(min(limit, self.told or math.inf), now)

    def _estimate(self, lesson: _Lesson) -> float:
        """The limit as far as a refusal tells it."""
        most = min(self._sum(lesson.at - MINUTE_S, lesson.at), BACK_OFF * lesson.limit)
        if lesson.before < lesson.at and not self._taken(lesson.before, lesson.at):
            most = min(most, lesson.half)  # not one taken since the last fall: it was too small
        recent = self._sum(lesson.at - WINDOW_S + lesson.back_off_s, lesson.at)
        found = min(most, max(recent, DECREASE * most))
        if lesson.good > 0 and found >= SAME * lesson.good:
            return min(lesson.good, BACK_OFF * lesson.limit)
        return found

    def _set_limit(self, limit: float, now: float) -> None:
        self.limit, self.changed_at = limit, now
        if self._meter is None:
            self._meter = Meter(limit, None, now)
            self._meter.bucket.level = 0.0
            for use in self._taken(now - WINDOW_S, now):
                use.hold = self._meter.adopt(use.amount, use.at)
        self._meter.set_limit(limit, now)

    def _taken(self, after: float, until: float) -> list[Use]:
        return [use for use in self._uses if use.taken and after < use.at <= until and use.amount]

    def _sum(self, after: float, until: float) -> float:
        return sum(use.amount for use in self._taken(after, until))
