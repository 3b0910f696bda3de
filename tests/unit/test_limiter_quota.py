"""Quotas that are known, unknown, or changed in mid-run, against a provider that counts them."""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.limiter.discovery import BACK_OFF, MIN_EVIDENCE, Quota
from gs_video_report.batch.limiter.models import BucketConfig
from gs_video_report.batch.limiter.token_bucket import WINDOW_S
from tests.unit.test_api_limiter import FakeTime

VIDEOS = 200
WORKERS = 16
MINUTE_S = 60.0


class TooMany(Exception):
    """HTTP 429 with a RetryInfo, and perhaps the quota that is spent."""

    def __init__(self, retry_after_s: float | None, quota: dict[str, float]) -> None:
        super().__init__(f"retry in {retry_after_s} s")
        self.retry_after_s, self.quota = retry_after_s, quota


@dataclass
class Provider:
    """Counts what it accepted in the last minute; refused requests do not count."""

    time: FakeTime
    requests: float
    tokens: float
    tells: bool = True
    """Whether a refusal says when to come back."""
    aligned: bool = False
    """Counts minutes of the clock instead."""
    hints: str = ""
    """`refusals`: a refusal names its quota (quotaValue); `answers`: all tell both (headers)."""
    accepted: list[tuple[float, int]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    _window: deque[tuple[float, int]] = field(default_factory=deque)

    def arrive(self, tokens: int) -> None:
        now = self.time.now
        start = now - now % MINUTE_S if self.aligned else now - MINUTE_S
        while self._window and self._window[0][0] <= start:
            self._window.popleft()
        if not self._fits(self._window, tokens):
            self.refused.append(now)
            wait_s = self._retry_after_s(start, tokens) if self.tells else None
            raise TooMany(wait_s, self._told(self._spent_quota(self._window, tokens)))
        self._window.append((now, tokens))
        self.accepted.append((now, tokens))

    @property
    def headers(self) -> dict[str, float]:
        """Of an answer."""
        return self._told({"requests": self.requests, "tokens": self.tokens}, "answers")

    def _told(self, quotas: dict[str, float], *ways: str) -> dict[str, float]:
        both = {"requests": self.requests, "tokens": self.tokens}
        if self.hints == "answers":
            return both
        return quotas if self.hints == "refusals" and not ways else {}

    def _spent_quota(self, window: deque[tuple[float, int]], tokens: int) -> dict[str, float]:
        if len(window) + 1 > self.requests:
            return {"requests": self.requests}
        return {"tokens": self.tokens}

    def _fits(self, window: deque[tuple[float, int]], tokens: int) -> bool:
        used = sum(amount for _, amount in window)
        return len(window) + 1 <= self.requests and used + tokens <= self.tokens

    def _retry_after_s(self, start: float, tokens: int) -> float:
        if self.aligned:
            return start + MINUTE_S - self.time.now
        left = deque(self._window)
        while left:
            at, _ = left.popleft()
            if self._fits(left, tokens):
                return at + MINUTE_S - self.time.now
        return MINUTE_S

    def used_share(self, start: float, end: float) -> float:
        """Of the quota that was the tighter one."""
        minutes = (end - start) / MINUTE_S
        amounts = [amount for at, amount in self.accepted if start <= at < end]
        return max(len(amounts) / (self.requests * minutes), sum(amounts) / (self.tokens * minutes))

    def refused_between(self, start: float, end: float) -> int:
        return sum(start <= at < end for at in self.refused)


class Run:
    """Workers that take videos off a list; each video is some calls, each repeated if refused."""

    def __init__(self, provider: Provider, config: BucketConfig | None, calls: int, seed: int):
        self.time, self.provider = provider.time, provider
        buckets = {} if config is None else {"b": config}
        self.limiter = ApiLimiter(
            buckets, self.time.clock, self.time.sleep, wall_clock=self.time.wall
        )
        self.random = random.Random(seed)
        self.videos = [
            [self.random.randint(2_000, 10_000) for _ in range(calls)] for _ in range(VIDEOS)
        ]
        self.workers = [asyncio.ensure_future(self._work()) for _ in range(WORKERS)]

    async def _work(self) -> None:
        while self.videos:
            for tokens in self.videos.pop():
                while not await self._call(tokens):
                    pass

    async def _call(self, tokens: int) -> bool:
        try:
            async with self.limiter.reserve("b", tokens=round(tokens * 1.05)) as reservation:
                await self.time.sleep(self.random.uniform(0.05, 0.5))
                self.provider.arrive(tokens)
                await self.time.sleep(self.random.uniform(1, 10))
                reservation.settle(tokens_in=tokens)
        except TooMany as refusal:
            self.limiter.penalize("b", refusal.retry_after_s)
            self.limiter.hint("b", **refusal.quota)
            return False
        self.limiter.hint("b", **self.provider.headers)
        return True

    async def until_done(self) -> None:
        while not all(worker.done() for worker in self.workers):
            await self.time.advance(MINUTE_S)
        await asyncio.gather(*self.workers)

    @property
    def end(self) -> float:
        """The last minute has few videos left to work on."""
        return self.provider.accepted[-1][0] - MINUTE_S

    @property
    def refused_share(self) -> float:
        refused = len(self.provider.refused)
        return refused / (refused + len(self.provider.accepted))


# --- the whole limiter ---------------------------------------------------------------------------

SIZES = [
    pytest.param(60, 10**9, id="requests"),
    pytest.param(150, 500_000, id="tokens"),
    pytest.param(60, 360_000, id="both"),
    pytest.param(20, 10**9, id="few"),
]
SEEDS = [1, pytest.param(2, marks=pytest.mark.slow)]
"""One history of each size by default, a second one with the slow tests."""
CALLS = 5
"""Per video: a long one in parts."""
CHANGE_S = 400.0


async def played(
    provider: Provider, *, known: bool, halved_at: float | None = None, seed: int = 1
) -> Run:
    config = BucketConfig(
        requests_per_minute=provider.requests if known else None,
        tokens_per_minute=provider.tokens if known else None,
        count_output_tokens=False,
    )
    run = Run(provider, config, CALLS, seed)
    if halved_at is not None:
        await provider.time.advance(halved_at)
        provider.requests /= 2
        provider.tokens /= 2
    await run.until_done()
    assert len(provider.accepted) == VIDEOS * CALLS
    return run


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("requests", "tokens"), SIZES)
async def test_known_quota_is_used_and_never_refused(
    requests: float, tokens: float, seed: int
) -> None:
    provider = Provider(FakeTime(), requests, tokens)
    run = await played(provider, known=True, seed=seed)
    assert provider.refused == []
    assert provider.used_share(MINUTE_S, run.end) >= 0.97


async def test_few_large_requests_use_what_fits() -> None:
    """A minute takes 20 requests, each up to 8 % of its tokens: what is left is often too little.

    Not the 0.97 of the others. 60 of 61 seconds (the margin for slow requests) leave 0.984 at
    most; the rest is what no waiter fits into. A larger burst and more overtaking get nearer, at
    the price of fairness and of a steady pace, and not to 0.97: four times the overtaking 0.962,
    twice the burst as well 0.967, the whole minute at once 0.966.
    """
    provider = Provider(FakeTime(), 20, 120_000)
    run = await played(provider, known=True)
    assert provider.refused == []
    assert provider.used_share(MINUTE_S, run.end) >= 0.95


FOUND = [
    pytest.param(60, 10**9, 0.97, id="requests"),
    pytest.param(150, 500_000, 0.97, id="tokens"),
    pytest.param(60, 360_000, 0.95, id="both"),
    pytest.param(20, 10**9, 0.965, id="few"),
    pytest.param(20, 120_000, 0.91, id="few-both"),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize(("requests", "tokens", "used"), FOUND)
async def test_unknown_quota_is_found_and_held(
    requests: float, tokens: float, used: float, tells: bool, seed: int
) -> None:
    """Each quota that is there costs refusals to find; two tell less about each other."""
    provider = Provider(FakeTime(), requests, tokens, tells=tells)
    run = await played(provider, known=False, seed=seed)
    assert 0 < run.refused_share < 0.02
    assert provider.used_share(MINUTE_S, run.end) >= used


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("requests", "tokens"), SIZES)
async def test_unknown_quota_of_whole_clock_minutes_is_found_and_held(
    requests: float, tokens: float, seed: int
) -> None:
    """Across its edge such a minute takes more than its quota, so that the wrong one of two may
    be blamed; then a part of the right one lies idle for a while."""
    provider = Provider(FakeTime(), requests, tokens, aligned=True)
    run = await played(provider, known=False, seed=seed)
    assert 0 < run.refused_share < 0.02
    assert provider.used_share(MINUTE_S, run.end) >= 0.88


@pytest.mark.parametrize("hints", ["refusals", "answers"])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("requests", "tokens"), SIZES)
async def test_quota_that_the_provider_tells_is_used_like_a_known_one(
    requests: float, tokens: float, aligned: bool, hints: str
) -> None:
    provider = Provider(FakeTime(), requests, tokens, aligned=aligned, hints=hints)
    run = await played(provider, known=False)
    assert 0 < run.refused_share < 0.01
    assert provider.used_share(MINUTE_S, run.end) >= 0.97


HALVED = [
    pytest.param({}, id="plain"),
    pytest.param({"tells": False}, id="silent", marks=pytest.mark.slow),
    pytest.param({"aligned": True}, id="aligned", marks=pytest.mark.slow),
]
TIGHT_BOTH = [{"tells": False}, {"aligned": True}]
"""Ways of refusing that one size, the hardest, meets by default; all sizes in the slow tests."""


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("how", HALVED)
@pytest.mark.parametrize(("requests", "tokens"), SIZES)
async def test_halved_quota_is_settled_within_a_minute(
    requests: float, tokens: float, how: dict[str, bool], known: bool
) -> None:
    await halved_and_settled(Provider(FakeTime(), requests, tokens, **how), known)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("how", TIGHT_BOTH)
async def test_two_halved_quotas_are_settled_within_a_minute(
    how: dict[str, bool], known: bool
) -> None:
    await halved_and_settled(Provider(FakeTime(), 60, 360_000, **how), known)


async def halved_and_settled(provider: Provider, known: bool) -> None:
    """What was in flight at the change is refused; later steps up may each cost one refusal."""
    run = await played(provider, known=known, halved_at=CHANGE_S)
    settled = CHANGE_S + MINUTE_S
    assert 1 <= provider.refused_between(CHANGE_S, settled) <= WORKERS
    late = [use for use in provider.accepted if use[0] >= settled]
    assert provider.refused_between(settled, run.end) <= 0.02 * len(late)
    assert run.refused_share < 0.02
    assert provider.used_share(settled, run.end) >= 0.85


# --- what the provider says ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [0.0, -60.0, math.nan, math.inf, 1e12, 0.5, float(10**300)], ids=str
)
def test_number_that_can_be_no_quota_is_not_believed(said: float) -> None:
    for told in (None, 60.0):
        quota = Quota(told, None, 0.0)
        quota.hint(said, 1.0)
        assert quota.limit == (told or math.inf)
        assert quota.learned() is None


def test_provider_may_say_less_than_the_user_told_but_not_more() -> None:
    quota = Quota(60.0, None, 0.0)
    quota.hint(600.0, 1.0)
    assert quota.limit == 60.0
    quota.hint(40.0, 2.0)
    assert quota.limit == 40.0
    quota.hint(600.0, 3.0)
    assert quota.limit == 60.0
    quota.hint(1.0, 4.0)
    assert quota.limit == 6.0, "what the user told is not given up for a word"


def test_quota_that_was_passed_by_far_was_not_said_truly() -> None:
    """Before and after it was said; what the user told holds again then, or nothing does."""
    seen = Quota(None, None, 0.0)
    used_steadily(seen, 0.0, 50)
    seen.hint(10.0, 51.0)
    assert seen.limit == math.inf
    late = Quota(None, None, 0.0)
    flying = [late.take(1, 0.1 * n) for n in range(16)]
    late.hint(2.0, 2.0)
    assert late.limit == 2.0
    for use in flying:
        late.settle(use, 1, 3.0, taken=True)
    assert late.limit == math.inf
    late.hint(2.0, 4.0)
    assert late.limit == math.inf


def test_quota_that_does_not_hold_one_request_was_not_said_truly() -> None:
    """A request would have waited for days until ten tokens a minute had paid for it."""
    quota = Quota(None, None, 0.0)
    quota.settle(quota.take(60_000, 0.0), 0, 1.0, taken=False)
    quota.hint(10.0, 1.0)
    assert quota.limit == math.inf


def test_what_refusals_teach_counts_more_than_a_number_that_is_said_again() -> None:
    quota = Quota(None, None, 0.0)
    quota.hint(60.0, 0.0)
    used_steadily(quota, 0.0, 60)
    quota.learn(30.0, 1.0, 60.0)
    fallen = quota.limit
    assert fallen < 60.0
    quota.hint(60.0, 61.0)
    assert quota.limit == fallen
    quota.hint(45.0, 62.0)
    assert quota.limit == 45.0, "another number is news"


# --- one quota -----------------------------------------------------------------------------------


def used_steadily(quota: Quota, start: float, seconds: int) -> None:
    """One request a second, all taken."""
    for second in range(seconds):
        now = start + second
        quota.settle(quota.take(1, now), 1, now, taken=True)


def test_refusal_after_few_requests_teaches_nothing_about_an_unknown_quota() -> None:
    quota = Quota(None, None, 0.0)
    used_steadily(quota, 0.0, MIN_EVIDENCE - 1)
    assert not quota.is_suspect(1.0, 10.0)
    used_steadily(quota, 10.0, 1)
    assert quota.is_suspect(1.0, 11.0)


def test_pause_that_a_provider_asks_for_tells_how_much_it_takes() -> None:
    """Halved under way: the last 30 s fill the new minute, says a provider that asks for 30 s."""
    quota = Quota(60, None, 0.0)
    used_steadily(quota, 0.0, 120)
    quota.learn(30.0, 1.0, 120.0)
    assert quota.limit == pytest.approx(30, abs=1)


@pytest.mark.parametrize("asked", [None, 9.2e18, math.inf, math.nan, -1.0, 60.0])
def test_absurd_pause_tells_nothing(asked: float | None) -> None:
    quota = Quota(60, None, 0.0)
    used_steadily(quota, 0.0, 120)
    quota.learn(asked, 1.0, 120.0)
    assert quota.limit == pytest.approx(BACK_OFF * 60)


def test_quota_falls_to_half_if_nothing_is_taken_after_a_small_fall() -> None:
    quota = Quota(60, None, 0.0)
    used_steadily(quota, 0.0, 120)
    quota.learn(None, 1.0, 120.0)
    quota.learn(None, 1.0, 125.0)
    assert quota.limit == pytest.approx(30)


def test_requests_that_were_refused_with_the_first_do_not_count_as_taken() -> None:
    quota = Quota(None, None, 0.0)
    used_steadily(quota, 0.0, 30)
    late = [quota.take(1, 30.0) for _ in range(4)]
    for use in late:
        quota.settle(use, 1, 31.0, taken=False)
        if use is late[0]:
            quota.learn(None, 1.0, 31.0)
            assert quota.limit == 33
        else:
            quota.learn_more(31.0)
    assert quota.limit == 30


def test_limit_rises_only_in_full_use_and_never_above_what_was_told() -> None:
    quota = Quota(60, None, 0.0)
    used_steadily(quota, 0.0, 120)
    quota.learn(None, 1.0, 120.0)
    assert not quota.probe(200.0)
    assert quota.limit == pytest.approx(BACK_OFF * 60)
    used_steadily(quota, 200.0, 60)
    assert quota.probe(259.0)
    assert quota.limit == 60
    used_steadily(quota, 260.0, 60)
    assert not quota.probe(399.0)


def test_unknown_quota_starts_with_what_is_left_of_the_minute() -> None:
    quota = Quota(None, None, 0.0)
    assert quota.level(0.0) is None
    used_steadily(quota, 0.0, 20)
    quota.learn(None, 1.0, 20.0)
    assert quota.limit == 20
    assert quota.delay_s(1, 20.0) == pytest.approx(WINDOW_S - 20.0)
