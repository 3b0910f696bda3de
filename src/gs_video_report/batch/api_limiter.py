"""Hold requests back so that a provider's quotas and the user's cost limit are kept.

Truth: rates live in this process; what a day and a batch have spent lives in the ledger.
True here: waiters of a bucket go in order of arrival; quota is taken in the step in which the
waiter returns, so a cancelled waiter takes nothing; no refusal shrinks the rate twice; a reply
that was paid for is never lost because its ledger row could not be stored.
Never: sends requests, retries, prints; sleeps by itself (clock and sleep are passed in).
Raises: LimitReached (daily quota or cost limit), RetryableError (`reserve_nowait` only).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType

from gs_video_report.batch.limiter_models import (
    BucketConfig,
    BucketSnapshot,
    Ledger,
    LimiterSnapshot,
    UsageEntry,
    UsageTotals,
    day_start,
    next_day_start,
)
from gs_video_report.batch.token_bucket import Meter, MeterHold
from gs_video_report.errors import GsvrError, LimitReached, RetryableError

MIN_FACTOR = 0.1
DECREASE = 0.5
RECOVERY_STEP = 0.1
RECOVERY_INTERVAL_S = 10.0
DEFAULT_PENALTY_S = 5.0
MAX_PENALTY_S = 120.0
"""A server has been seen to ask for 9.2e18 seconds."""
LEDGER_REFRESH_S = 60.0
"""How soon the spending of other processes is noticed."""


def utc_now() -> datetime:
    """The time of day, aware."""
    return datetime.now(UTC)


class Reservation:
    """Quota for `requests` requests; made by `ApiLimiter.reserve`. An async context manager.

    Leaving the body without `settle()` counts the estimate as used: the other side may have
    counted it too. After an error only the requests go into the ledger, no tokens, no cost.
    """

    def __init__(
        self, limiter: ApiLimiter, bucket: str, requests: int, tokens: int, usd: float
    ) -> None:
        self.bucket = bucket
        self.requests = requests
        self.tokens = tokens
        self.usd = usd
        self.granted_at: float | None = None
        self.started_at: datetime | None = None
        self.used: UsageEntry | None = None
        self.request_hold: MeterHold | None = None
        self.token_hold: MeterHold | None = None
        self._limiter = limiter

    def settle(
        self,
        *,
        tokens_in: int | None = None,
        tokens_out: int = 0,
        usd: float | None = None,
    ) -> None:
        """Say what was really used; also tells that the provider accepted the request.

        Args:
            tokens_in, usd: None = as estimated.

        Raises: RuntimeError when called twice or before the quota was granted.
        """
        self._limiter._settle(
            self,
            requests=self.requests,
            tokens_in=self.tokens if tokens_in is None else tokens_in,
            tokens_out=tokens_out,
            usd=self.usd if usd is None else usd,
            accepted=True,
        )

    def cancel(self) -> None:
        """Give everything back: no request was sent. Raises: RuntimeError, as `settle()`."""
        self._limiter._settle(self, 0, 0, 0, 0.0, accepted=False)

    async def __aenter__(self) -> Reservation:
        if self.granted_at is None:
            await self._limiter._wait(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.used is None and error is None:
            self._limiter._settle(self, self.requests, self.tokens, 0, self.usd, accepted=True)
        elif self.used is None:
            self._limiter._settle(self, self.requests, 0, 0, 0.0, accepted=False, refund=False)
        await self._limiter._close(self)


class _Ticket:
    """One waiter; `changed` ends its pause early."""

    def __init__(self) -> None:
        self.changed: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.changed is not None and not self.changed.done():
            self.changed.set_result(None)


class _Bucket:
    """State of one bucket."""

    def __init__(self, name: str, config: BucketConfig, now: float) -> None:
        self.name = name
        self.config = config
        self.requests = _meter(config.requests_per_minute, config.requests_burst, now)
        self.tokens = _meter(config.tokens_per_minute, config.tokens_burst, now)
        self.queue: deque[_Ticket] = deque()
        self.in_flight: set[Reservation] = set()
        self.factor = 1.0
        self.penalized_at = -math.inf
        self.raised_at = -math.inf
        self.blocked_until = -math.inf
        self.exhausted_until: datetime | None = None
        self.day: datetime | None = None
        """Midnight from which `spent` counts."""
        self.spent = UsageTotals()
        self.loaded_at = -math.inf

    def slots(self) -> float:
        """Requests that may be in flight now."""
        limit = self.config.max_in_flight
        return math.inf if limit is None else max(1, math.floor(limit * self.factor))

    def set_factor(self, factor: float, now: float) -> None:
        self.factor = factor
        for meter in (self.requests, self.tokens):
            if meter is not None:
                meter.set_factor(factor, now)

    def counted(self, tokens_in: int, tokens_out: int) -> int:
        """Tokens as this provider's quota counts them."""
        return tokens_in + (tokens_out if self.config.count_output_tokens else 0)


class ApiLimiter:
    """Quotas of all providers of one process. One event loop.

    Args:
        buckets: limits by bucket name, such as `gemini/flash/key1`. A name that is not here
            has no limits, but a pause the provider asks for is kept.
        clock: seconds, never going back.
        sleep: as asyncio.sleep, on that clock.
        wall_clock: aware UTC time, for days and `resume_at`.
        ledger: where daily usage survives; None = daily quotas count from now.
        cost_limit_usd: of the batch, over all buckets; None = none.
        spent_usd: what the batch has spent before.
    """

    def __init__(
        self,
        buckets: Mapping[str, BucketConfig] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ledger: Ledger | None = None,
        *,
        wall_clock: Callable[[], datetime] = utc_now,
        cost_limit_usd: float | None = None,
        spent_usd: float = 0.0,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._wall_clock = wall_clock
        self._ledger = ledger
        self._cost_limit = cost_limit_usd
        self._spent_usd = spent_usd
        self._buckets: dict[str, _Bucket] = {}
        self._unrecorded: deque[UsageEntry] = deque()
        self._recording = asyncio.Lock()
        self._records: set[asyncio.Task[None]] = set()
        for name, config in (buckets or {}).items():
            self.configure(name, config)

    def configure(self, bucket: str, config: BucketConfig) -> None:
        """Set the limits of a bucket before its first use. Raises: ValueError afterwards."""
        known = self._buckets.get(bucket)
        if known is not None and known.config != config:
            raise ValueError(f"the limits of {bucket} are set already")
        self._buckets.setdefault(bucket, _Bucket(bucket, config, self._clock()))

    def reserve(
        self, bucket: str, *, requests: int = 1, tokens: int = 0, usd: float = 0.0
    ) -> Reservation:
        """`async with limiter.reserve(...) as r:` waits for quota, in order of arrival.

        Args:
            tokens, usd: estimates; `r.settle()` corrects them.

        Raises (on entering): LimitReached with `resume_at` for a daily quota, without it for
            the cost limit. Cancellation: takes nothing and lets the next one go.
        """
        return Reservation(self, bucket, requests, tokens, usd)

    def reserve_nowait(
        self, bucket: str, *, requests: int = 1, tokens: int = 0, usd: float = 0.0
    ) -> Reservation:
        """Like `reserve`, granted at once or not at all; use it with `async with`, too.

        Daily usage is taken as it was loaded last (`load()`).

        Raises: RetryableError with `retry_after_s` if it would have to wait; LimitReached.
        """
        reservation = Reservation(self, bucket, requests, tokens, usd)
        state = self._bucket(bucket)
        delay = math.inf if state.queue else self._delay_s(state, reservation)
        if delay > 0:
            known = None if math.isinf(delay) else round(delay, 3)
            raise RetryableError(f"{bucket}: no quota at the moment", retry_after_s=known)
        self._take(state, reservation)
        return reservation

    def penalize(self, bucket: str, retry_after_s: float | None = None) -> None:
        """The provider refused for rate: pause, and halve the rate unless that was just done.

        Args:
            retry_after_s: what it asked for, kept up to MAX_PENALTY_S; None or nonsense = 5 s.
        """
        state, now = self._bucket(bucket), self._clock()
        if now >= state.blocked_until:  # several refusals of one moment are one signal
            state.set_factor(max(MIN_FACTOR, state.factor * DECREASE), now)
            state.penalized_at = state.raised_at = now
        state.blocked_until = max(state.blocked_until, now + _penalty_s(retry_after_s))

    def exhaust(self, bucket: str, resume_at: datetime | None = None) -> None:
        """The provider says that the day's quota is spent: LimitReached until `resume_at`.

        Args:
            resume_at: aware; None = the provider's next midnight.
        """
        state = self._bucket(bucket)
        state.exhausted_until = resume_at or next_day_start(
            self._wall_clock(), state.config.day_zone
        )
        self._wake_all()

    async def load(self, bucket: str) -> None:
        """Read the day's usage of a bucket from the ledger. Raises: what the ledger raises."""
        await self._refresh(self._bucket(bucket))

    async def flush(self) -> None:
        """Wait until every ledger row is stored. Raises: what the ledger raises."""
        while self._records:
            await asyncio.wait(set(self._records))
        await self._store_rows()

    def snapshot(self) -> LimiterSnapshot:
        """All numbers at this moment."""
        now = self._clock()
        return LimiterSnapshot(
            buckets=tuple(_snapshot(state, now) for state in self._buckets.values()),
            spent_usd=self._spent_usd,
            reserved_usd=self._reserved_usd(),
            unrecorded=len(self._unrecorded),
        )

    # --- waiting ----------------------------------------------------------------------------

    async def _wait(self, reservation: Reservation) -> None:
        state = self._bucket(reservation.bucket)
        ticket = _Ticket()
        state.queue.append(ticket)
        try:
            while True:
                delay = math.inf
                if state.queue[0] is ticket:
                    await self._refresh_if_due(state)
                    delay = self._delay_s(state, reservation)
                if delay <= 0:
                    self._take(state, reservation)
                    return
                await self._pause(ticket, delay)
        finally:
            state.queue.remove(ticket)
            _wake_head(state)

    async def _pause(self, ticket: _Ticket, delay: float) -> None:
        """Until `delay` has passed, or something changed that may let the ticket go earlier."""
        ticket.changed = asyncio.get_running_loop().create_future()
        if math.isinf(delay):
            await ticket.changed
            return
        sleeper = asyncio.ensure_future(self._sleep(delay))
        try:
            await asyncio.wait({sleeper, ticket.changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()

    def _delay_s(self, state: _Bucket, reservation: Reservation) -> float:
        """Seconds to wait; inf = until something in flight ends. Raises: LimitReached."""
        now = self._clock()
        self._check_exhausted(state)
        if self._must_wait_for_day(state, reservation) or self._must_wait_for_cost(reservation):
            return math.inf
        if len(state.in_flight) >= state.slots():
            return math.inf
        delays = [state.blocked_until - now]
        if state.requests is not None:
            delays.append(state.requests.delay_s(reservation.requests, now))
        if state.tokens is not None:
            delays.append(state.tokens.delay_s(reservation.tokens, now))
        return max(delays)

    def _check_exhausted(self, state: _Bucket) -> None:
        until = state.exhausted_until
        if until is None:
            return
        if self._wall_clock() < until:
            raise _day_spent(f"{state.name}: the provider says the quota is spent", until)
        state.exhausted_until = None

    def _must_wait_for_day(self, state: _Bucket, reservation: Reservation) -> bool:
        """True while something in flight may turn out cheaper. Raises: LimitReached."""
        self._roll_day(state)
        config, spent = state.config, state.spent
        waits = False
        for limit, used, held, wanted, unit in (
            (
                config.requests_per_day,
                spent.requests,
                sum(held.requests for held in state.in_flight if held.used is None),
                reservation.requests,
                "requests",
            ),
            (
                config.tokens_per_day,
                spent.tokens,
                sum(held.tokens for held in state.in_flight if held.used is None),
                reservation.tokens,
                "tokens",
            ),
        ):
            if limit is None:
                continue
            if used + wanted > limit:
                resume_at = next_day_start(self._wall_clock(), config.day_zone)
                message = f"{state.name}: the daily limit of {limit} {unit} is spent"
                raise _day_spent(message, resume_at)
            waits = waits or used + held + wanted > limit
        return waits

    def _must_wait_for_cost(self, reservation: Reservation) -> bool:
        limit = self._cost_limit
        if limit is None:
            return False
        if self._spent_usd >= limit or self._spent_usd + reservation.usd > limit:
            raise LimitReached(
                f"the cost limit of ${limit:.2f} is reached (${self._spent_usd:.2f} spent)",
                hint="raise the cost limit, then resume the batch",
                limit_usd=limit,
                spent_usd=round(self._spent_usd, 6),
            )
        return self._spent_usd + self._reserved_usd() + reservation.usd > limit

    def _take(self, state: _Bucket, reservation: Reservation) -> None:
        now = self._clock()
        reservation.granted_at = now
        reservation.started_at = self._wall_clock()
        state.in_flight.add(reservation)
        if state.requests is not None:
            reservation.request_hold = state.requests.take(reservation.requests, now)
        if state.tokens is not None:
            reservation.token_hold = state.tokens.take(reservation.tokens, now)

    # --- settling ---------------------------------------------------------------------------

    def _settle(
        self,
        reservation: Reservation,
        requests: int,
        tokens_in: int,
        tokens_out: int,
        usd: float,
        *,
        accepted: bool,
        refund: bool = True,
    ) -> None:
        if reservation.granted_at is None or reservation.started_at is None:
            raise RuntimeError("the reservation was not granted yet")
        if reservation.used is not None:
            raise RuntimeError("the reservation was settled already")
        state, now = self._bucket(reservation.bucket), self._clock()
        reservation.used = UsageEntry(
            reservation.bucket, reservation.started_at, requests, tokens_in, tokens_out, usd
        )
        tokens = state.counted(tokens_in, tokens_out)
        if state.requests is not None and reservation.request_hold is not None:
            state.requests.settle(reservation.request_hold, requests, now)
        if state.tokens is not None and reservation.token_hold is not None:
            held = reservation.token_hold
            state.tokens.settle(held, tokens if refund else held.amount, now)
        self._add_spent(state, reservation.used, tokens)
        if accepted:
            self._recover(state, reservation.granted_at, now)
        self._wake_all()

    def _add_spent(self, state: _Bucket, used: UsageEntry, tokens: int) -> None:
        self._roll_day(state)
        self._spent_usd += used.usd
        if state.day is not None and used.at >= state.day:
            state.spent = UsageTotals(
                state.spent.requests + used.requests,
                state.spent.tokens + tokens,
                state.spent.usd + used.usd,
            )

    def _recover(self, state: _Bucket, granted_at: float, now: float) -> None:
        """Additive increase, for requests that began after the last refusal."""
        due = now >= state.raised_at + RECOVERY_INTERVAL_S
        if state.factor < 1.0 and granted_at > state.penalized_at and due:
            state.set_factor(min(1.0, state.factor + RECOVERY_STEP), now)
            state.raised_at = now

    async def _close(self, reservation: Reservation) -> None:
        """End a reservation; its ledger row is stored even if the caller is cancelled now."""
        self._bucket(reservation.bucket).in_flight.discard(reservation)
        self._wake_all()
        used = reservation.used
        if self._ledger is None or used is None or not (used.requests or used.tokens_in):
            return
        self._unrecorded.append(used)
        task = asyncio.ensure_future(self._store_rows_later())
        self._records.add(task)
        task.add_done_callback(self._records.discard)
        await asyncio.shield(task)

    async def _store_rows_later(self) -> None:
        try:
            await self._store_rows()
        except GsvrError:
            return  # kept in `_unrecorded`: the reply is worth more than its row

    async def _store_rows(self) -> None:
        async with self._recording:
            while self._unrecorded and self._ledger is not None:
                await self._ledger.record(self._unrecorded[0])
                self._unrecorded.popleft()

    # --- the day ----------------------------------------------------------------------------

    def _roll_day(self, state: _Bucket) -> None:
        today = day_start(self._wall_clock(), state.config.day_zone)
        if state.day is None or today > state.day:
            state.day, state.spent, state.loaded_at = today, UsageTotals(), -math.inf

    async def _refresh_if_due(self, state: _Bucket) -> None:
        config = state.config
        if config.requests_per_day is None and config.tokens_per_day is None:
            return
        self._roll_day(state)
        if self._clock() - state.loaded_at >= LEDGER_REFRESH_S:
            await self._refresh(state)

    async def _refresh(self, state: _Bucket) -> None:
        """Take the ledger's sums; rows that are not stored yet come on top."""
        if self._ledger is None:
            return
        self._roll_day(state)
        since = state.day or self._wall_clock()
        async with self._recording:
            totals = await self._ledger.usage_since(
                state.name, since, count_output_tokens=state.config.count_output_tokens
            )
            state.spent = self._with_unstored(state, totals, since)
            state.loaded_at = self._clock()

    def _with_unstored(self, state: _Bucket, totals: UsageTotals, since: datetime) -> UsageTotals:
        settled = [held.used for held in state.in_flight if held.used is not None]
        rows = [*self._unrecorded, *settled]
        mine = [row for row in rows if row.bucket == state.name and row.at >= since]
        return UsageTotals(
            totals.requests + sum(row.requests for row in mine),
            totals.tokens + sum(state.counted(row.tokens_in, row.tokens_out) for row in mine),
            totals.usd + sum(row.usd for row in mine),
        )

    # --- helpers ----------------------------------------------------------------------------

    def _bucket(self, name: str) -> _Bucket:
        if name not in self._buckets:
            self._buckets[name] = _Bucket(name, BucketConfig(), self._clock())
        return self._buckets[name]

    def _reserved_usd(self) -> float:
        held = (one for state in self._buckets.values() for one in state.in_flight)
        return sum(one.usd for one in held if one.used is None)

    def _wake_all(self) -> None:
        """The cost limit spans buckets, so what ends in one may let another go."""
        for state in self._buckets.values():
            _wake_head(state)


def _meter(per_minute: float | None, burst: float | None, now: float) -> Meter | None:
    return None if per_minute is None else Meter(per_minute, burst, now)


def _wake_head(state: _Bucket) -> None:
    if state.queue:
        state.queue[0].wake()


def _penalty_s(retry_after_s: float | None) -> float:
    if retry_after_s is None or math.isnan(retry_after_s) or retry_after_s < 0:
        return DEFAULT_PENALTY_S
    return min(retry_after_s, MAX_PENALTY_S)


def _day_spent(message: str, resume_at: datetime) -> LimitReached:
    text = resume_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return LimitReached(message, hint=f"resume the batch after {text}", resume_at=text)


def _snapshot(state: _Bucket, now: float) -> BucketSnapshot:
    return BucketSnapshot(
        name=state.name,
        in_flight=len(state.in_flight),
        waiting=len(state.queue),
        factor=state.factor,
        blocked_s=max(0.0, state.blocked_until - now),
        requests_level=None if state.requests is None else state.requests.level(now),
        tokens_level=None if state.tokens is None else state.tokens.level(now),
        day=state.spent,
        exhausted_until=state.exhausted_until,
    )
