"""Who goes next when several wait and two quotas are tight."""

from __future__ import annotations

from gs_video_report.batch.limiter.bucket import Bucket, Claim
from gs_video_report.batch.limiter.line import MAX_OVERTAKEN, Line, Ticket
from gs_video_report.batch.limiter.models import BucketConfig, UsageEntry
from tests.unit.test_api_limiter import NOON


def ticket(tokens: int) -> Ticket:
    return Ticket(Claim("b", 1, tokens, 0.0))


def test_waiters_that_fit_equally_go_in_order_of_arrival() -> None:
    line = Line([ticket(5), ticket(1)])
    assert line.leader(lambda claim: 0.0) is line.tickets[0]


def test_nobody_waits_for_an_empty_line() -> None:
    assert Line().leader(lambda claim: 0.0) is None


def test_nobody_is_overtaken_for_ever() -> None:
    large = ticket(1000)
    line = Line([large])
    for passed in range(MAX_OVERTAKEN + 1):
        small = ticket(1)
        line.tickets.append(small)
        leader = line.leader(lambda claim: float(claim.tokens))
        if passed == MAX_OVERTAKEN:
            assert leader is large
            return
        assert leader is small
        line.granted(small)
        line.tickets.remove(small)
    raise AssertionError("unreachable")


def test_large_request_is_better_while_requests_are_scarce() -> None:
    bucket = Bucket("b", BucketConfig(requests_per_minute=10, tokens_per_minute=1000), 0.0)
    for _ in range(2):
        bucket.grant(Claim("b", 1, 0, 0.0), 0.0, NOON)
    small, large = Claim("b", 1, 1, 0.0), Claim("b", 1, 200, 0.0)
    assert bucket.rank(large, 0.0) < bucket.rank(small, 0.0)


def test_order_decides_where_one_quota_only_is_known() -> None:
    bucket = Bucket("b", BucketConfig(tokens_per_minute=1000), 0.0)
    assert bucket.rank(Claim("b", 1, 1, 0.0), 0.0) == bucket.rank(Claim("b", 1, 900, 0.0), 0.0)


def test_quota_that_took_as_much_before_is_not_blamed() -> None:
    """Found from refusals of unlike requests: a limit that was only suspected is given up."""
    bucket = Bucket("b", BucketConfig(count_output_tokens=False), 0.0)

    def send(at: float, tokens: int, *, refused: bool = False) -> None:
        claim = Claim("b", 1, tokens, 0.0)
        bucket.grant(claim, at, NOON)
        used = UsageEntry("b", NOON, 1, tokens, 0, 0.0)
        bucket.settle(claim, used, tokens, at, NOON, failed=refused)
        if refused:
            bucket.penalize(None, at)

    for second in range(20):
        send(float(second), 1000)
    send(20.0, 1000, refused=True)
    assert bucket.snapshot(0, 20.0).tokens_level is not None
    for second in range(100, 120):
        send(float(second), 1000)
    send(120.0, 0, refused=True)
    state = bucket.snapshot(0, 120.0)
    assert state.tokens_level is None
    assert state.requests_level is not None
