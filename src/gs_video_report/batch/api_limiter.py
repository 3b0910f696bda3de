"""Hold requests back so that a provider's quotas and the user's cost limit are kept.

Truth: rates live in this process, lessons about them in the memory as well; what a day and a batch
have spent lives in the ledger.
True here: waiters of a bucket go in order of arrival, or as two tight quotas are used best
(`limiter.line`); quota is taken in the very step in which the waiter returns, so a cancelled
waiter has taken nothing; a reply that was paid for is never lost because its ledger row could not
be stored (the row is kept and stored later).
Never: sends requests, retries, prints; sleeps by itself (clock and sleep are passed in).
Raises: LimitReached (daily quota or cost limit), RetryableError (`reserve_nowait` only).
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from gs_video_report.batch.limiter.bookkeeper import Bookkeeper
from gs_video_report.batch.limiter.bucket import Bucket, Claim
from gs_video_report.batch.limiter.lessons import Lessons
from gs_video_report.batch.limiter.line import Line, Ticket
from gs_video_report.batch.limiter.models import (
    BucketConfig,
    Ledger,
    LimiterSnapshot,
    Memory,
    Purse,
    UsageEntry,
    next_day_start,
)
from gs_video_report.batch.limiter.reservation import Reservation
from gs_video_report.errors import LimitReached, RetryableError

LEDGER_REFRESH_S = 60.0
"""How soon the spending of other processes is noticed."""
PURSE_POLL_S = 0.5
"""How soon it is noticed that a request of another process cost less than it might have."""


def utc_now() -> datetime:
    """The time of day, aware."""
    return datetime.now(UTC)


class ApiLimiter:
    """Quotas of all providers of one process. One event loop.

    Args:
        buckets: limits by bucket name, such as `gemini/flash/key1`. A name that is not here
            has no limits until the provider refuses; then a limit is found and held, and a
            pause that it asks for is kept.
        clock: seconds, never going back.
        sleep: as asyncio.sleep, on that clock.
        ledger: where daily usage survives; None = daily quotas count from now.
        wall_clock: aware UTC time, for days and `resume_at`.
        memory: where learned quotas survive; None = they are learned anew.
        purse: the money shared with other processes; None = there is no limit on it.
    """

    def __init__(
        self,
        buckets: Mapping[str, BucketConfig] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        ledger: Ledger | None = None,
        *,
        wall_clock: Callable[[], datetime] = utc_now,
        memory: Memory | None = None,
        purse: Purse | None = None,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._ledger = ledger
        self._wall_clock = wall_clock
        self._purse = purse
        self._spent_usd = 0.0
        self._buckets: dict[str, Bucket] = {}
        self._lines: dict[str, Line] = {}
        self._books = Bookkeeper(ledger, self._wake_all)
        self._lessons = Lessons(memory, clock, wall_clock, self._books.beside)
        for name, config in (buckets or {}).items():
            self.configure(name, config)

    def configure(self, bucket: str, config: BucketConfig) -> None:
        """Set the limits of a bucket before its first use. Raises: ValueError to change them."""
        known = self._buckets.get(bucket)
        if known is not None and known.config != config:
            raise ValueError(f"the limits of {bucket} are set already")
        if known is None:
            self._buckets[bucket] = Bucket(bucket, config, self._clock())
            self._lines[bucket] = Line()

    def reserve(
        self,
        bucket: str,
        *,
        requests: int = 1,
        tokens: int = 0,
        usd: float = 0.0,
        name: str = "",
        owed: bool = False,
    ) -> Reservation:
        """`async with limiter.reserve(...) as r:` waits for quota, in order of arrival.

        Args:
            tokens, usd: estimates; `r.settle()` corrects them.
            name, owed: see `Reservation`; no name = what is asked for ends with the request.

        Raises (on entering): LimitReached, with `resume_at` unless only the user can end it; what
            ledger and purse raise. Cancellation: takes nothing, and the next
            in line goes on.
        """
        return Reservation(self, bucket, requests, tokens, usd, name, owed)

    def reserve_nowait(
        self, bucket: str, *, requests: int = 1, tokens: int = 0, usd: float = 0.0
    ) -> Reservation:
        """Like `reserve`, granted at once or not at all; use it with `async with`, too.

        The day's usage is taken as it was read last (`load()`); money is not set aside.

        Raises: RetryableError with `retry_after_s` if it would have to wait; LimitReached.
        """
        reservation = Reservation(self, bucket, requests, tokens, usd)
        delay = math.inf if self._line(bucket) else self._delay_s(reservation)
        if delay > 0:
            known = None if math.isinf(delay) else round(delay, 3)
            raise RetryableError(f"{bucket}: no quota at the moment", retry_after_s=known)
        self._bucket(bucket).grant(reservation, self._clock(), self._wall_clock())
        return reservation

    def penalize(self, bucket: str, retry_after_s: float | None = None) -> None:
        """The provider refused for rate: pause, and lower the rate unless that was just done.

        Call it after leaving the reservation whose request was refused.

        Args:
            retry_after_s: what it asked for, kept up to two minutes; None or nonsense = 5 s.
        """
        self._bucket(bucket).penalize(retry_after_s, self._clock())
        self._lessons.remember(self._bucket(bucket))

    def hint(
        self, bucket: str, *, requests: float | None = None, tokens: float | None = None
    ) -> None:
        """The provider says what it takes per minute; see `limiter.discovery`.

        After a refusal call it after `penalize()`: what is said counts for more than a guess.

        Args:
            requests, tokens: None = nothing was said; nonsense is not believed.
        """
        state = self._bucket(bucket)
        state.hint(requests, tokens, self._clock())
        self._lessons.remember(state)
        self._wake(state)

    def exhaust(self, bucket: str, resume_at: datetime | None = None) -> None:
        """The provider says that the day's quota is spent: LimitReached until `resume_at`.

        Args:
            resume_at: aware; None = the provider's next midnight.
        """
        state = self._bucket(bucket)
        midnight = next_day_start(self._wall_clock(), state.config.day_zone)
        state.exhausted_until = resume_at or midnight
        self._wake_all()

    async def load(self, bucket: str) -> None:
        """Read the day's usage of a bucket from the ledger. Raises: what the ledger raises."""
        await self._refresh(self._bucket(bucket))

    async def flush(self) -> None:
        """Wait until every ledger row is stored. Raises: what the ledger raises."""
        await self._books.flush()

    def snapshot(self) -> LimiterSnapshot:
        """All numbers at this moment."""
        now = self._clock()
        return LimiterSnapshot(
            buckets=tuple(
                state.snapshot(len(self._lines[name]), now, self._first(state))
                for name, state in self._buckets.items()
            ),
            spent_usd=self._spent_usd,
            reserved_usd=self._reserved_usd(),
            unrecorded=len(self._books.waiting),
        )

    # --- what a reservation calls ---------------------------------------------------------------

    async def wait(self, reservation: Reservation) -> None:
        """See `reservation.Limiter`."""
        state, ticket = self._bucket(reservation.bucket), Ticket(reservation)
        line = self._line(reservation.bucket)
        line.tickets.append(ticket)
        try:
            while True:
                delay = math.inf
                await self._lessons.recall(state)
                await self._refresh_if_due(state)
                if self._leads(state, ticket):
                    delay = self._delay_s(reservation)
                purse = self._purse
                if delay <= 0 and purse is not None and _lacks_money(reservation):
                    if await self._set_aside(purse, reservation):
                        continue  # others may have gone meanwhile
                    delay = PURSE_POLL_S
                if delay <= 0:
                    reservation.hold = reservation.hold or reservation.name  # of an earlier run
                    line.granted(ticket)
                    state.grant(reservation, self._clock(), self._wall_clock())
                    return
                await self._pause(ticket, delay)
        finally:
            line.tickets.remove(ticket)
            if reservation.granted_at is None:
                self._give_money_back(reservation)
            self._wake(state)

    def settle(
        self, reservation: Reservation, used: UsageEntry, rate_tokens: int | None = None
    ) -> None:
        """See `reservation.Limiter`."""
        state = self._bucket(reservation.bucket)
        failed = rate_tokens is not None
        if rate_tokens is None:
            rate_tokens = state.counted(used.tokens_in, used.tokens_out)
        state.settle(
            reservation, used, rate_tokens, self._clock(), self._wall_clock(), failed=failed
        )
        self._spent_usd += used.usd
        self._wake_all()

    def succeed(self, reservation: Reservation) -> None:
        """See `reservation.Limiter`."""
        state = self._bucket(reservation.bucket)
        state.succeed(reservation, self._clock())
        self._lessons.remember(state)

    async def close(self, reservation: Reservation) -> None:
        """See `reservation.Limiter`."""
        self._bucket(reservation.bucket).in_flight.discard(reservation)
        self._wake_all()
        used = reservation.used
        if self._ledger is not None and used is not None and (used.requests or used.hold):
            await asyncio.shield(self._books.record(used))

    # --- waiting --------------------------------------------------------------------------------

    async def _set_aside(self, purse: Purse, reservation: Reservation) -> bool:
        """Money for a request, in a name that is known before: a cancelled caller drops it."""
        name = reservation.name
        if name:
            reservation.keep_hold(await purse.is_held(name))
        reservation.hold = name or uuid.uuid4().hex
        try:
            if not await purse.take(reservation.hold, reservation.usd, owed=reservation.owed):
                reservation.hold = ""
        except LimitReached:
            reservation.hold = ""
            raise
        return bool(reservation.hold)

    def _give_money_back(self, reservation: Reservation) -> None:
        if reservation.hold:
            now = self._wall_clock()
            entry = UsageEntry(reservation.bucket, now, 0, 0, 0, 0.0, reservation.hold)
            self._books.record(replace(entry, leaves_hold=reservation.keeps_hold))

    def _leads(self, state: Bucket, ticket: Ticket) -> bool:
        """Whether it is this one's turn; else the one whose turn it is wakes."""
        leader = self._leader(state)
        if leader is not ticket and leader is not None:
            leader.wake()
        return leader is ticket

    def _leader(self, state: Bucket) -> Ticket | None:
        now = self._clock()
        return self._lines[state.name].leader(lambda claim: state.rank(claim, now))

    def _first(self, state: Bucket) -> Claim | None:
        leader = self._leader(state)
        return None if leader is None else leader.claim

    def _wake(self, state: Bucket) -> None:
        leader = self._leader(state)
        if leader is not None:
            leader.wake()

    async def _pause(self, ticket: Ticket, delay: float) -> None:
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

    def _delay_s(self, reservation: Reservation) -> float:
        """Seconds to wait; inf = until something in flight ends. Raises: LimitReached."""
        state = self._bucket(reservation.bucket)
        return state.delay_s(reservation, self._clock(), self._wall_clock())

    # --- the day --------------------------------------------------------------------------------

    async def _refresh_if_due(self, state: Bucket) -> None:
        if state.has_daily_limit:
            state.roll_day(self._wall_clock())
            if self._clock() - state.loaded_at >= LEDGER_REFRESH_S:
                await self._refresh(state)

    async def _refresh(self, state: Bucket) -> None:
        """Take the ledger's sums; rows that are not stored yet come on top."""
        if self._ledger is None:
            return
        state.roll_day(self._wall_clock())
        since = state.day or self._wall_clock()
        async with self._books.recording:
            totals = await self._ledger.usage_since(
                state.name, since, count_output_tokens=state.config.count_output_tokens
            )
            settled = [held.used for held in state.in_flight if held.used is not None]
            rows = (row for row in [*self._books.waiting, *settled] if row.bucket == state.name)
            state.spent = state.with_rows(totals, (row for row in rows if row.at >= since))
            state.loaded_at = self._clock()

    # --- helpers --------------------------------------------------------------------------------

    def _bucket(self, name: str) -> Bucket:
        if name not in self._buckets:
            self.configure(name, BucketConfig())
        return self._buckets[name]

    def _line(self, name: str) -> Line:
        self._bucket(name)
        return self._lines[name]

    def _reserved_usd(self) -> float:
        held = (one for state in self._buckets.values() for one in state.in_flight)
        return sum(one.usd for one in held if one.used is None)

    def _wake_all(self) -> None:
        """Money spans buckets, so what ends in one may let another go."""
        for state in self._buckets.values():
            self._wake(state)


def _lacks_money(reservation: Reservation) -> bool:
    return reservation.usd > 0 and not reservation.hold
