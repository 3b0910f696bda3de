"""The state of one provider's quotas: rates, day, refusals. Times are arguments.

True here: several refusals of one moment shrink the rate once (multiplicative decrease); success
restores it in small steps (additive increase: Chiu and Jain 1989). A refusal in the midst of use
is a lesson about the quota (`limiter.discovery`) and the found limit is held; any other slows
everything for a while. Daily sums restart at the provider's midnight.
Never: waits, talks to the ledger, knows of other buckets.
Raises: LimitReached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gs_video_report.batch.limiter.discovery import PROBE_S, Quota, Use
from gs_video_report.batch.limiter.models import (
    BucketConfig,
    BucketSnapshot,
    UsageEntry,
    UsageTotals,
    day_start,
    next_day_start,
)
from gs_video_report.batch.limiter.token_bucket import MINUTE_S
from gs_video_report.errors import LimitReached

MIN_FACTOR = 0.1
DECREASE = 0.5
RECOVERY_STEP = 0.1
RECOVERY_INTERVAL_S = 10.0
DEFAULT_PENALTY_S = 5.0
MAX_PENALTY_S = 120.0
"""A server has been seen to ask for 9.2e18 seconds."""


class Claim:
    """What one caller wants, holds and finally used."""

    def __init__(self, bucket: str, requests: int, tokens: int, usd: float) -> None:
        self.bucket = bucket
        self.requests = requests
        self.tokens = tokens
        self.usd = usd
        self.granted_at: float | None = None
        self.started_at: datetime | None = None
        self.used: UsageEntry | None = None
        self.hold = ""
        """Name of the money that is set aside; empty = none is."""
        self.request_use: Use | None = None
        self.token_use: Use | None = None


class Bucket:
    """State of one bucket, full at `now`."""

    def __init__(self, name: str, config: BucketConfig, now: float) -> None:
        self.name = name
        self.config = config
        self.in_flight: set[Claim] = set()
        self.spent = UsageTotals()
        """Since `day`; settled claims only."""
        self.day: datetime | None = None
        self.loaded_at = -math.inf
        """When `spent` was last read from the ledger."""
        self.exhausted_until: datetime | None = None
        self._requests = Quota(config.requests_per_minute, config.requests_burst, now)
        self._tokens = Quota(config.tokens_per_minute, config.tokens_burst, now)
        self._blamed: list[Quota] = []
        """By the last refusal."""
        self._failed: Claim | None = None
        """The last one, until a refusal is told: it is the one that was refused."""
        self._factor = 1.0
        self._penalized_at = -math.inf
        self._raised_at = -math.inf
        self._blocked_until = -math.inf

    @property
    def has_daily_limit(self) -> bool:
        """Whether the day's sums matter."""
        config = self.config
        return config.requests_per_day is not None or config.tokens_per_day is not None

    def delay_s(self, claim: Claim, now: float, wall: datetime) -> float:
        """Seconds until the claim may be granted; inf = until something in flight ends.

        Raises: LimitReached with `resume_at` when the day's quota is spent.
        """
        self._check_exhausted(wall)
        if self._waits_for_day(claim, wall) or len(self.in_flight) >= self._slots():
            return math.inf
        return max(
            0.0,
            self._blocked_until - now,
            self._requests.delay_s(claim.requests, now),
            self._tokens.delay_s(claim.tokens, now),
        )

    def lack(self, claim: Claim, now: float) -> tuple[str, float]:
        """What `claim` waits for longest (see `BucketSnapshot.lacks`) and how many seconds.

        inf = until something in flight ends. ("", 0) when it may go.
        """
        if len(self.in_flight) >= self._slots():
            return "slots", math.inf
        waits = {
            "tokens": self._tokens.delay_s(claim.tokens, now),
            "requests": self._requests.delay_s(claim.requests, now),
            "pause": self._blocked_until - now,
        }
        what = max(waits, key=lambda name: waits[name])
        if waits[what] > 0:
            return what, waits[what]
        return ("day", math.inf) if self.has_daily_limit and self.in_flight else ("", 0.0)

    def rank(self, claim: Claim, now: float) -> float:
        """How well a claim uses what both quotas have left, the smaller the better.

        Seconds until it may go, in minutes, plus the difference between the shares of the two
        minutes that are used then. 0 with fewer than two quotas: arrival decides.
        """
        if not (self._requests.is_limited and self._tokens.is_limited):
            return 0.0
        delay_s = max(
            self._requests.delay_s(claim.requests, now), self._tokens.delay_s(claim.tokens, now)
        )
        requests = self._requests.used_share(claim.requests, now)
        return delay_s / MINUTE_S + abs(requests - self._tokens.used_share(claim.tokens, now))

    def grant(self, claim: Claim, now: float, wall: datetime) -> None:
        """Take the quota."""
        claim.granted_at, claim.started_at = now, wall
        self.in_flight.add(claim)
        claim.request_use = self._requests.take(claim.requests, now)
        claim.token_use = self._tokens.take(claim.tokens, now)

    def settle(
        self,
        claim: Claim,
        used: UsageEntry,
        rate_tokens: int,
        now: float,
        wall: datetime,
        *,
        failed: bool = False,
    ) -> None:
        """Replace the estimates by what was used.

        Args:
            rate_tokens: what counts against the quota per minute.
            failed: an error, perhaps a refusal; `penalize()` follows if it was one.
        """
        claim.used = used
        if failed:
            self._failed = claim
        if claim.request_use is not None and claim.token_use is not None:
            self._requests.settle(claim.request_use, used.requests, now, taken=not failed)
            self._tokens.settle(claim.token_use, rate_tokens, now, taken=not failed)
        self.roll_day(wall)
        if self.day is not None and used.at >= self.day:
            self.spent = self.with_rows(self.spent, [used])

    def penalize(self, retry_after_s: float | None, now: float) -> None:
        """A refusal: pause, and lower the rate unless that was just done."""
        claim, self._failed = self._failed, None
        sent_at = now if claim is None or claim.granted_at is None else claim.granted_at
        if now < self._blocked_until or sent_at <= self._penalized_at:
            for quota in self._blamed:
                quota.learn_more(now)
        else:
            self._lower(claim, retry_after_s, now)
        self._blocked_until = max(self._blocked_until, now + _penalty_s(retry_after_s))

    def hint(self, requests: float | None, tokens: float | None, now: float) -> None:
        """What the provider says of its quotas per minute; None = nothing."""
        for quota, per_minute in ((self._requests, requests), (self._tokens, tokens)):
            if per_minute is not None:
                quota.hint(per_minute, now)

    def _lower(self, claim: Claim | None, retry_after_s: float | None, now: float) -> None:
        """The limits in use fall; with none in use, the whole rate is halved for a while."""
        quotas = (self._requests, self._tokens)
        suspects = [quota for quota in quotas if quota.is_suspect(self._factor, now)]
        convicted = self._convicted(claim, suspects, now)
        self._blamed = (
            convicted or [quota for quota in suspects if quota.was_raised(now)] or suspects
        )
        for quota in self._blamed:
            quota.learn(retry_after_s, self._factor, now)
        factor = 1.0 if self._blamed else max(MIN_FACTOR, self._factor * DECREASE)
        self._set_factor(factor, now)
        self._penalized_at = self._raised_at = now

    def _convicted(self, claim: Claim | None, suspects: list[Quota], now: float) -> list[Quota]:
        """The quota that a refusal is due to, when all others took as much before; else none.

        A limit that was set on mere suspicion ends when the other quota is convicted.
        """
        if claim is None:
            return []
        wanted = ((self._requests, claim.requests), (self._tokens, claim.tokens))
        left = [q for q, amount in wanted if q in suspects and not q.is_cleared(amount, now)]
        if len(left) != 1:
            return []
        left[0].is_convicted = True
        for quota, _ in wanted:
            if not quota.is_convicted and quota.is_limited:
                quota.release(now)
        return left

    @property
    def lessons(self) -> tuple[float, float]:
        """Differs whenever something was learned."""
        return self._requests.changed_at, self._tokens.changed_at

    def learned(self) -> dict[str, Any]:
        """What refusals have taught, as JSON values."""
        found = {"requests": self._requests.learned(), "tokens": self._tokens.learned()}
        return {name: what for name, what in found.items() if what is not None}

    def recall(self, learned: Mapping[str, Any], age_s: float, now: float) -> None:
        """Start from what was learned `age_s` ago."""
        for name, quota in (("requests", self._requests), ("tokens", self._tokens)):
            if name in learned:
                quota.recall(learned[name], age_s, now)

    def succeed(self, claim: Claim, now: float) -> None:
        """An accepted request that began after the last refusal raises the rate a step."""
        began = -math.inf if claim.granted_at is None else claim.granted_at
        if began <= self._penalized_at:
            return
        due = now >= max(self._raised_at, self._blocked_until) + RECOVERY_INTERVAL_S
        if self._factor < 1.0 and due:
            self._set_factor(min(1.0, self._factor + RECOVERY_STEP), now)
            self._raised_at = now
        self._probe(now)

    def _probe(self, now: float) -> None:
        """Try for more of one quota at a time, so that a refusal tells which one it is about."""
        quotas = sorted((self._requests, self._tokens), key=lambda quota: quota.changed_at)
        if now >= quotas[-1].changed_at + PROBE_S and not quotas[0].probe(now):
            quotas[-1].probe(now)

    def roll_day(self, wall: datetime) -> None:
        """Start new sums when the provider's midnight has passed."""
        today = day_start(wall, self.config.day_zone)
        if self.day is None or today > self.day:
            self.day, self.spent, self.loaded_at = today, UsageTotals(), -math.inf

    def counted(self, tokens_in: int, tokens_out: int) -> int:
        """Tokens as this provider's quota counts them."""
        return tokens_in + (tokens_out if self.config.count_output_tokens else 0)

    def with_rows(self, totals: UsageTotals, rows: Iterable[UsageEntry]) -> UsageTotals:
        """`totals` plus rows."""
        for row in rows:
            totals = UsageTotals(
                totals.requests + row.requests,
                totals.tokens + self.counted(row.tokens_in, row.tokens_out),
                totals.usd + row.usd,
            )
        return totals

    def snapshot(self, waiting: int, now: float, first: Claim | None = None) -> BucketSnapshot:
        """All numbers at this moment; `first` is the request that goes next."""
        lacks, next_s = self.lack(first, now) if first is not None else ("", math.inf)
        return BucketSnapshot(
            name=self.name,
            in_flight=len(self.in_flight),
            waiting=waiting,
            factor=self._factor * min(self._requests.share, self._tokens.share),
            blocked_s=max(0.0, self._blocked_until - now),
            requests_level=self._requests.level(now),
            tokens_level=self._tokens.level(now),
            day=self.spent,
            exhausted_until=self.exhausted_until,
            lacks=lacks,
            next_s=None if math.isinf(next_s) else next_s,
        )

    def _slots(self) -> float:
        limit = self.config.max_in_flight
        return math.inf if limit is None else max(1, math.floor(limit * self._factor))

    def _set_factor(self, factor: float, now: float) -> None:
        self._factor = factor
        self._requests.set_factor(factor, now)
        self._tokens.set_factor(factor, now)

    def _check_exhausted(self, wall: datetime) -> None:
        until = self.exhausted_until
        if until is None:
            return
        if wall < until:
            raise _day_spent(f"{self.name}: the provider says the quota is spent", until)
        self.exhausted_until = None

    def _waits_for_day(self, claim: Claim, wall: datetime) -> bool:
        """True while something in flight may turn out cheaper. Raises: LimitReached."""
        if not self.has_daily_limit:
            return False
        self.roll_day(wall)
        open_claims = [held for held in self.in_flight if held.used is None]
        requests, tokens = self.config.requests_per_day, self.config.tokens_per_day
        held_requests = sum(held.requests for held in open_claims)
        held_tokens = sum(held.tokens for held in open_claims)
        self._check_day(self.spent.requests + claim.requests, requests, "requests", wall)
        self._check_day(self.spent.tokens + claim.tokens, tokens, "tokens", wall)
        return _exceeds(self.spent.requests + held_requests + claim.requests, requests) or _exceeds(
            self.spent.tokens + held_tokens + claim.tokens, tokens
        )

    def _check_day(self, wanted: int, limit: int | None, unit: str, wall: datetime) -> None:
        if _exceeds(wanted, limit):
            message = f"{self.name}: the daily limit of {limit} {unit} is spent"
            raise _day_spent(message, next_day_start(wall, self.config.day_zone))


def _exceeds(amount: int, limit: int | None) -> bool:
    return limit is not None and amount > limit


def _penalty_s(retry_after_s: float | None) -> float:
    if retry_after_s is None or math.isnan(retry_after_s) or retry_after_s < 0:
        return DEFAULT_PENALTY_S
    return min(retry_after_s, MAX_PENALTY_S)


def _day_spent(message: str, resume_at: datetime) -> LimitReached:
    text = resume_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown = f"{resume_at.astimezone():%Y-%m-%d %H:%M}"
    return LimitReached(message, hint=f"resume the batch after {shown}", resume_at=text)
