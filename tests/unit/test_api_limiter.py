"""The limiter on a clock of its own: order, bounds, nothing lost on cancel, days, cost, ledger."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.limiter.bucket import MAX_PENALTY_S
from gs_video_report.batch.limiter.models import (
    BucketConfig,
    UsageEntry,
    UsageTotals,
    day_start,
    next_day_start,
)
from gs_video_report.batch.limiter.reservation import Reservation
from gs_video_report.errors import LimitReached, QueueBusy, RetryableError
from tests.support.purse import MemoryPurse

NOON = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)  # noon in California


class FakeTime:
    """A clock that moves only when everybody waits; sleepers wake in the order of their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self.began = NOON
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def clock(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return self.began + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        wake = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), wake))
        await wake

    async def settle(self) -> None:
        """Let every task run until it waits."""
        for _ in range(30):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Move on, stopping at every sleeper."""
        end = self.now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, wake = heapq.heappop(self._sleepers)
            self.now = max(self.now, at)
            if not wake.done():
                wake.set_result(None)
                await self.settle()
        self.now = end
        await self.settle()


class MemoryLedger:
    """A ledger whose rows outlive the limiter; `broken` makes storing fail."""

    def __init__(self) -> None:
        self.rows: list[UsageEntry] = []
        self.broken = False
        self.gate: asyncio.Event | None = None

    async def record(self, entry: UsageEntry) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise QueueBusy("the database is locked")
        self.rows.append(entry)

    async def usage_since(
        self, bucket: str, since: datetime, *, count_output_tokens: bool
    ) -> UsageTotals:
        rows = [row for row in self.rows if row.bucket == bucket and row.at >= since]
        return UsageTotals(
            sum(row.requests for row in rows),
            sum(row.tokens_in + count_output_tokens * row.tokens_out for row in rows),
            sum(row.usd for row in rows),
        )


def limiter_of(time: FakeTime, config: BucketConfig | None = None, **options: Any) -> ApiLimiter:
    buckets = {} if config is None else {"b": config}
    return ApiLimiter(buckets, time.clock, time.sleep, wall_clock=time.wall, **options)


class Users:
    """Tasks that reserve and note when they were granted."""

    def __init__(self, time: FakeTime, limiter: ApiLimiter) -> None:
        self.time = time
        self.limiter = limiter
        self.granted: list[tuple[str, float]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.leave: dict[str, asyncio.Event] = {}

    def add(self, name: str, *, hold: bool = False, **wanted: Any) -> None:
        self.leave[name] = asyncio.Event()
        if not hold:
            self.leave[name].set()
        self.tasks[name] = asyncio.ensure_future(self._use(name, wanted))

    async def _use(self, name: str, wanted: dict[str, Any]) -> None:
        async with self.limiter.reserve("b", **wanted):
            self.granted.append((name, self.time.now))
            await self.leave[name].wait()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.granted]


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


# --- rates and order -----------------------------------------------------------------------------


async def test_unknown_bucket_has_no_limits() -> None:
    time = FakeTime()
    users = Users(time, limiter_of(time))
    for number in range(100):
        users.add(str(number), tokens=10**9)
    await time.settle()
    assert len(users.granted) == 100


async def test_requests_are_paced_in_order_of_arrival() -> None:
    time = FakeTime()
    users = Users(time, limiter_of(time, BucketConfig(requests_per_minute=6, requests_burst=2)))
    for name in "abcde":
        users.add(name)
    await time.advance(30)
    assert users.granted == [("a", 0), ("b", 0), ("c", 10), ("d", 20), ("e", 30)]


async def test_small_request_does_not_overtake_a_large_one() -> None:
    time = FakeTime()
    users = Users(time, limiter_of(time, BucketConfig(tokens_per_minute=60, tokens_burst=60)))
    users.add("first", tokens=60)
    users.add("large", tokens=50)
    users.add("small", tokens=1)
    await time.advance(49)
    assert users.names == ["first"]
    await time.advance(60)
    assert users.names == ["first", "large", "small"]


async def test_cancelled_waiter_passes_its_turn_on_at_once() -> None:
    time = FakeTime()
    users = Users(time, limiter_of(time, BucketConfig(tokens_per_minute=600, tokens_burst=60)))
    users.add("first", tokens=60)
    users.add("large", tokens=60)
    users.add("small", tokens=1)
    await time.advance(1)
    users.tasks["large"].cancel()
    await time.settle()
    assert users.granted[-1] == ("small", 1.0)


async def test_in_flight_limit_is_kept_and_freed_by_errors_too() -> None:
    time = FakeTime()
    users = Users(time, limiter_of(time, BucketConfig(max_in_flight=2)))
    for name in "abcd":
        users.add(name, hold=True)
    await time.settle()
    assert users.names == ["a", "b"]
    users.tasks["a"].cancel()
    await time.settle()
    assert users.names == ["a", "b", "c"]
    users.leave["b"].set()
    await time.settle()
    assert users.names == ["a", "b", "c", "d"]


async def test_estimate_is_corrected_by_what_was_used() -> None:
    time = FakeTime()
    limiter = limiter_of(time, BucketConfig(tokens_per_minute=60, tokens_burst=60))
    async with limiter.reserve("b", tokens=60) as reservation:
        reservation.settle(tokens_in=8, tokens_out=2)
    assert limiter.snapshot().buckets[0].tokens_level == pytest.approx(50)


async def test_output_tokens_count_only_where_the_provider_counts_them() -> None:
    time = FakeTime()
    limiter = limiter_of(
        time, BucketConfig(tokens_per_minute=60, tokens_burst=60, count_output_tokens=False)
    )
    async with limiter.reserve("b", tokens=60) as reservation:
        reservation.settle(tokens_in=10, tokens_out=40)
    assert limiter.snapshot().buckets[0].tokens_level == pytest.approx(50)


async def test_request_that_was_never_sent_costs_nothing() -> None:
    time, ledger = FakeTime(), MemoryLedger()
    config = BucketConfig(requests_per_minute=1, requests_per_day=1)
    limiter = limiter_of(time, config, ledger=ledger)
    async with limiter.reserve("b", usd=1.0) as reservation:
        reservation.cancel()
    async with limiter.reserve("b"):
        pass
    assert time.now == 0
    assert [row.requests for row in ledger.rows] == [1]
    assert limiter.snapshot().spent_usd == 0


async def test_failed_request_counts_as_sent_but_not_as_paid() -> None:
    time, ledger = FakeTime(), MemoryLedger()
    limiter = limiter_of(time, BucketConfig(tokens_per_minute=60, tokens_burst=60), ledger=ledger)

    async def fail() -> None:
        async with limiter.reserve("b", tokens=30, usd=1.0):
            raise ConnectionError

    with pytest.raises(ConnectionError):
        await fail()
    assert ledger.rows == [UsageEntry("b", NOON, 1, 0, 0, 0.0)]
    assert limiter.snapshot().buckets[0].tokens_level == pytest.approx(30)
    assert limiter.snapshot().spent_usd == 0


async def test_settling_twice_or_too_early_is_a_fault_of_the_program() -> None:
    limiter = limiter_of(FakeTime())
    reservation = limiter.reserve("b")
    with pytest.raises(RuntimeError, match="not granted"):
        reservation.settle()
    async with reservation:
        reservation.settle()
        with pytest.raises(RuntimeError, match="already"):
            reservation.cancel()


# --- at once or not at all -----------------------------------------------------------------------


async def test_nowait_grants_or_says_how_long_it_would_take() -> None:
    time = FakeTime()
    limiter = limiter_of(time, BucketConfig(requests_per_minute=6, requests_burst=1))
    async with limiter.reserve_nowait("b"):
        pass
    with pytest.raises(RetryableError) as caught:
        limiter.reserve_nowait("b")
    assert caught.value.retry_after_s == 10.0


async def test_nowait_does_not_overtake_waiters() -> None:
    time = FakeTime()
    limiter = limiter_of(time, BucketConfig(max_in_flight=1))
    users = Users(time, limiter)
    users.add("holder", hold=True)
    users.add("waiter", hold=True)
    await time.settle()
    users.leave["holder"].set()
    with pytest.raises(RetryableError):
        limiter.reserve_nowait("b")
    await time.settle()
    assert users.names == ["holder", "waiter"]
    users.leave["waiter"].set()
    await time.settle()


# --- refusals ------------------------------------------------------------------------------------


async def test_refusal_pauses_and_halves_the_rate() -> None:
    time = FakeTime()
    limiter = limiter_of(time, BucketConfig(requests_per_minute=60, requests_burst=1))
    limiter.penalize("b", 40.0)
    users = Users(time, limiter)
    for name in "abc":
        users.add(name)
    await time.advance(60)
    assert users.granted == [("a", 40), ("b", 42), ("c", 44)]


async def test_refusals_of_one_moment_halve_the_rate_once() -> None:
    time = FakeTime()
    limiter = limiter_of(time, BucketConfig(requests_per_minute=60))
    for _ in range(8):
        limiter.penalize("b", 3.0)
    assert limiter.snapshot().buckets[0].factor == 0.5
    await time.advance(3)
    limiter.penalize("b")
    assert limiter.snapshot().buckets[0].factor == 0.25
    for _ in range(20):
        await time.advance(200)
        limiter.penalize("b")
    assert limiter.snapshot().buckets[0].factor == 0.1


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (9223372036854775807.0, MAX_PENALTY_S),
        (math.inf, MAX_PENALTY_S),
        (math.nan, 5.0),
        (-3.0, 5.0),
        (None, 5.0),
        (0.0, 0.0),
        (39.844676573, 39.844676573),
    ],
)
async def test_absurd_pauses_are_not_kept(asked: float | None, kept: float) -> None:
    limiter = limiter_of(FakeTime())
    limiter.penalize("b", asked)
    assert limiter.snapshot().buckets[0].blocked_s == pytest.approx(kept)


async def test_success_restores_the_rate_step_by_step() -> None:
    time = FakeTime()
    limiter = limiter_of(time, BucketConfig(requests_per_minute=6000))
    limiter.penalize("b", 1.0)
    factors = []
    for _ in range(8):
        await time.advance(10)
        for _ in range(5):
            async with limiter.reserve("b"):
                pass
        factors.append(limiter.snapshot().buckets[0].factor)
    assert factors == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.0])


async def test_request_sent_before_the_refusal_does_not_restore_the_rate() -> None:
    time = FakeTime()
    limiter = limiter_of(time, BucketConfig(requests_per_minute=60))
    async with limiter.reserve("b") as old:
        limiter.penalize("b", 1.0)
        await time.advance(30)
        old.settle()
    assert limiter.snapshot().buckets[0].factor == 0.5


# --- days and money ------------------------------------------------------------------------------


async def test_daily_limit_says_when_it_can_go_on() -> None:
    time = FakeTime()
    limiter = limiter_of(time, BucketConfig(requests_per_day=2))
    for _ in range(2):
        async with limiter.reserve("b"):
            pass
    with pytest.raises(LimitReached) as caught:
        async with limiter.reserve("b"):
            pass
    assert caught.value.message == "b: the daily limit of 2 requests is spent"
    assert caught.value.resume_at == "2026-03-03T08:00:00Z"
    await time.advance(12 * 3600)
    async with limiter.reserve("b"):
        pass


async def test_daily_usage_survives_a_restart_and_counts_other_processes() -> None:
    time, ledger = FakeTime(), MemoryLedger()
    config = BucketConfig(requests_per_day=3)
    async with limiter_of(time, config, ledger=ledger).reserve("b"):
        pass
    again = limiter_of(time, config, ledger=ledger)
    async with again.reserve("b"):
        pass
    ledger.rows.append(UsageEntry("b", time.wall(), 1, 0, 0, 0.0))
    await time.advance(61)
    with pytest.raises(LimitReached):
        async with again.reserve("b"):
            pass


async def test_yesterdays_usage_does_not_count() -> None:
    time, ledger = FakeTime(), MemoryLedger()
    ledger.rows.append(UsageEntry("b", NOON - timedelta(hours=13), 5, 0, 0, 0.0))
    limiter = limiter_of(time, BucketConfig(requests_per_day=1), ledger=ledger)
    async with limiter.reserve("b"):
        pass
    assert len(ledger.rows) == 2


async def test_last_request_of_the_day_goes_to_the_next_if_it_was_not_sent() -> None:
    time = FakeTime()
    limiter = limiter_of(time, BucketConfig(requests_per_day=1))
    users = Users(time, limiter)
    async with limiter.reserve("b") as first:
        users.add("next")
        await time.settle()
        assert users.names == []
        first.cancel()
    await time.settle()
    assert users.names == ["next"]


async def test_quota_that_the_provider_calls_spent_stays_so_until_its_midnight() -> None:
    time = FakeTime()
    limiter = limiter_of(time)
    limiter.exhaust("b")
    with pytest.raises(LimitReached) as caught:
        limiter.reserve_nowait("b")
    assert caught.value.resume_at == "2026-03-03T08:00:00Z"
    await time.advance(12 * 3600)
    async with limiter.reserve("b"):
        pass


async def test_cost_limit_counts_all_buckets_and_earlier_runs() -> None:
    money = MemoryPurse(1.0, spent_usd=0.5)
    limiter = limiter_of(FakeTime(), ledger=money, purse=money)
    async with limiter.reserve("b", usd=0.3):
        pass
    with pytest.raises(LimitReached, match="cost limit"):
        async with limiter.reserve("other", usd=0.3):
            pass
    await limiter.flush()
    assert (money.spent_usd, money.holds) == (pytest.approx(0.8), {})


async def test_cost_in_flight_is_waited_for_and_not_exceeded() -> None:
    time, money = FakeTime(), MemoryPurse(1.0)
    limiter = limiter_of(time, ledger=money, purse=money)
    users = Users(time, limiter)
    async with limiter.reserve("other", usd=0.8) as first:
        users.add("next", usd=0.5)
        await time.settle()
        assert users.names == []
        first.settle(usd=0.1)
    await time.settle()
    assert users.names == ["next"]


async def test_money_of_a_request_that_was_given_up_is_given_back() -> None:
    """Cancelled while waiting, cancelled after the grant, and never settled: no hold is left."""
    time, money = FakeTime(), MemoryPurse(1.0)
    limiter = limiter_of(time, BucketConfig(max_in_flight=1), ledger=money, purse=money)
    users = Users(time, limiter)
    users.add("holder", hold=True, usd=0.4)
    users.add("waiter", hold=True, usd=0.4)
    await time.settle()
    for name in ("waiter", "holder"):
        users.tasks[name].cancel()
        await time.settle()
    async with limiter.reserve("b", usd=0.9) as reservation:
        reservation.cancel()
    await limiter.flush()
    assert money.holds == {}
    assert money.spent_usd == 0.0


@pytest.mark.parametrize(
    ("now", "start", "following"),
    [
        ("2026-03-02T20:00", "2026-03-02T08:00", "2026-03-03T08:00"),
        ("2026-03-08T20:00", "2026-03-08T08:00", "2026-03-09T07:00"),  # the day of 23 hours
        ("2026-11-01T20:00", "2026-11-01T07:00", "2026-11-02T08:00"),  # the day of 25 hours
        ("2026-07-01T06:59", "2026-06-30T07:00", "2026-07-01T07:00"),
        ("2026-07-01T07:00", "2026-07-01T07:00", "2026-07-02T07:00"),
    ],
)
def test_day_begins_at_the_providers_midnight(now: str, start: str, following: str) -> None:
    def utc(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert day_start(utc(now), "America/Los_Angeles") == utc(start)
    assert next_day_start(utc(now), "America/Los_Angeles") == utc(following)


def test_machine_without_time_zones_still_has_days() -> None:
    assert day_start(NOON, "Nowhere/Atlantis") == NOON.replace(hour=0)


# --- the ledger ----------------------------------------------------------------------------------


async def test_row_that_cannot_be_stored_does_not_cost_the_reply() -> None:
    time, ledger = FakeTime(), MemoryLedger()
    ledger.broken = True
    limiter = limiter_of(time, BucketConfig(requests_per_day=2), ledger=ledger)
    async with limiter.reserve("b", usd=0.25):
        reply = "paid for"
    assert reply == "paid for"
    assert limiter.snapshot().unrecorded == 1
    await limiter.load("b")
    assert limiter.snapshot().buckets[0].day == UsageTotals(1, 0, 0.25)
    with pytest.raises(QueueBusy):
        await limiter.flush()
    ledger.broken = False
    await limiter.flush()
    assert [row.usd for row in ledger.rows] == [0.25]
    assert limiter.snapshot().unrecorded == 0


async def test_row_is_stored_even_if_the_caller_is_cancelled_meanwhile() -> None:
    time, ledger = FakeTime(), MemoryLedger()
    ledger.gate = asyncio.Event()
    limiter = limiter_of(time, ledger=ledger)
    users = Users(time, limiter)
    users.add("a", usd=0.5)
    await time.settle()
    users.tasks["a"].cancel()
    await time.settle()
    assert users.tasks["a"].cancelled()
    ledger.gate.set()
    await time.settle()
    assert [row.usd for row in ledger.rows] == [0.5]


def test_limits_that_forbid_everything_are_refused() -> None:
    for name in ("requests_per_minute", "tokens_per_minute", "max_in_flight"):
        with pytest.raises(ValueError, match=f"{name} must be above 0, not 0"):
            BucketConfig(**{name: 0})


async def test_limits_cannot_change_under_way() -> None:
    limiter = limiter_of(FakeTime(), BucketConfig(max_in_flight=1))
    limiter.configure("b", BucketConfig(max_in_flight=1))
    with pytest.raises(ValueError, match="set already"):
        limiter.configure("b", BucketConfig(max_in_flight=2))


# --- any history ---------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 50)),
        st.tuples(st.just("leave"), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.floats(0.1, 20)),
        st.tuples(st.just("refuse"), st.floats(0, 10)),
    ),
    min_size=1,
    max_size=50,
)


@settings(max_examples=60, deadline=None)
@given(ACTIONS)
def test_no_window_exceeds_its_bound_and_no_cancel_loses_quota(
    actions: list[tuple[str, Any]],
) -> None:
    """Reserve, cancel, leave, wait and refuse in any order.

    Then: granted tokens keep the bound; nobody is forgotten; the order of arrival holds; and
    after a quiet minute everything is as full and as free as at the start.
    """
    run(_any_history(actions))


async def _any_history(actions: list[tuple[str, Any]]) -> None:
    time = FakeTime()
    burst, per_minute = 30.0, 60.0
    limiter = limiter_of(
        time,
        BucketConfig(tokens_per_minute=per_minute, tokens_burst=burst, max_in_flight=3),
    )
    users = Users(time, limiter)
    sizes: dict[str, int] = {}
    for kind, value in actions:
        if kind == "add":
            name = str(len(sizes))
            sizes[name] = value
            users.add(name, hold=True, tokens=value)
        elif kind == "wait":
            await time.advance(value)
        elif kind == "refuse":
            limiter.penalize("b", value)
        elif sizes:
            name = str(value % len(sizes))
            if kind == "cancel":
                users.tasks[name].cancel()
            else:
                users.leave[name].set()
        if value and kind != "wait" and int(value) % 3:
            await time.settle()
        assert limiter.snapshot().buckets[0].in_flight <= 3

    for event in users.leave.values():
        event.set()
    await time.advance(4000)
    await asyncio.gather(*users.tasks.values(), return_exceptions=True)

    uses = [(at, sizes[name]) for name, at in users.granted]
    for (start, _), (end, _) in itertools.product(uses, uses):
        if start <= end:
            used = sum(amount for at, amount in uses if start <= at <= end)
            assert used <= burst + per_minute / 60 * (end - start) + 1e-6
    assert [int(name) for name in users.names] == sorted(int(name) for name in users.names)
    for name, task in users.tasks.items():
        assert name in users.names or task.cancelled()
    state = limiter.snapshot().buckets[0]
    assert (state.in_flight, state.waiting) == (0, 0)
    assert state.tokens_level == pytest.approx(burst)


async def test_cancel_in_the_moment_of_the_grant_gives_the_slot_back() -> None:
    for turns in range(12):
        time = FakeTime()
        limiter = limiter_of(time, BucketConfig(max_in_flight=1))
        users = Users(time, limiter)
        users.add("holder", hold=True)
        users.add("victim", hold=True)
        users.add("next")
        await time.settle()
        users.leave["holder"].set()
        for _ in range(turns):
            await asyncio.sleep(0)
        users.tasks["victim"].cancel()
        await time.settle()
        assert users.names[-1] == "next"
        assert limiter.snapshot().buckets[0].in_flight == 0


def test_reservation_is_what_engines_expect() -> None:
    made: Callable[..., Reservation] = ApiLimiter().reserve
    assert hasattr(made("x", tokens=1), "__aenter__")
