"""When failures are an outage, who may try again, and what never counts as one. Pure."""

from __future__ import annotations

import pytest

from gs_video_report.batch.attempt.outage import (
    ENGINE,
    INTERNET,
    LONGEST_WAIT_S,
    OPEN_AFTER,
    OutageWatch,
    Sign,
    sign_of,
)
from gs_video_report.errors import (
    DownloadError,
    DownloadRefused,
    GsvrError,
    Refused,
    RetryableError,
    Unreachable,
)

REFUSED = Sign(ENGINE, "the service", certain=True)
CUT = Sign(ENGINE, "the service", certain=False)


def at(host: str) -> Sign:
    return Sign(host, host, certain=False)


def down(watch: OutageWatch, now: float = 0.0) -> None:
    for task in range(OPEN_AFTER):
        watch.failed(REFUSED, task, now, 0.0)


@pytest.mark.parametrize(
    ("error", "source", "certain"),
    [
        (Unreachable("no answer", service="s", certain=True), ENGINE, True),
        (Unreachable("cut", service="s"), ENGINE, False),
        (DownloadError("cut", host="a.org", unreachable=True), "a.org", False),
    ],
)
def test_no_answer_is_a_sign(error: GsvrError, source: str, certain: bool) -> None:
    sign = sign_of(error)
    assert sign is not None
    assert (sign.source, sign.certain) == (source, certain)


@pytest.mark.parametrize(
    "error",
    [
        Refused("slow down"),
        RetryableError("odd"),
        DownloadError("too many requests", host="a.org"),
        DownloadError("no such name", host="a.org", unreachable=False),
        DownloadRefused("private"),
    ],
)
def test_an_answer_is_no_sign(error: GsvrError) -> None:
    assert sign_of(error) is None


def test_a_service_that_refuses_connections_never_costs_a_try() -> None:
    watch = OutageWatch()
    assert all(watch.failed(REFUSED, 1, n, 0.0) is not None for n in range(50))
    assert watch.is_down(ENGINE)


def test_an_outage_lasts_from_its_first_failure_to_the_first_answer() -> None:
    watch = OutageWatch()
    watch.failed(REFUSED, 1, 10.0, 0.0)
    assert watch.outages() == []
    down(watch, 12.0)
    (outage,) = watch.outages()
    assert (outage.source, outage.since) == (ENGINE, 10.0)
    assert watch.answered(ENGINE, 20.0) == outage
    assert watch.outages() == []
    assert watch.answered(ENGINE, 21.0) is None


def test_while_it_is_down_one_caller_tries_at_a_time_and_ever_more_rarely() -> None:
    watch, now, waits = OutageWatch(), 0.0, []
    down(watch)
    for _ in range(8):
        assert not watch.may_probe(ENGINE, now)
        waits.append(watch.wait_s(ENGINE, now))
        now += waits[-1]
        assert watch.may_probe(ENGINE, now)
        assert not watch.may_probe(ENGINE, now), "a second one at the same time"
        watch.failed(REFUSED, 1, now, 0.999)
        watch.done(ENGINE)
    assert [round(s, 3) for s in waits] == sorted(round(s, 3) for s in waits)
    assert waits[0] <= 2.0
    assert waits[-1] == pytest.approx(LONGEST_WAIT_S, rel=0.01)


def test_failures_of_requests_under_way_do_not_put_off_the_probe() -> None:
    watch = OutageWatch()
    down(watch)
    before = watch.wait_s(ENGINE, 0.0)
    for task in range(10, 74):
        watch.failed(REFUSED, task, 0.0, 0.999)
    assert watch.wait_s(ENGINE, 0.0) == before


def test_one_recording_that_breaks_every_request_about_it_uses_up_its_tries() -> None:
    """Others are answered in between, so nothing is down."""
    watch, free = OutageWatch(), 0
    for n in range(6):
        free += watch.failed(CUT, 7, n, 0.0) is not None
        watch.answered(ENGINE, n)
    assert free == OPEN_AFTER - 1
    assert not watch.is_down(ENGINE)


def test_the_only_recording_may_be_the_reason_itself() -> None:
    watch = OutageWatch()
    free = [watch.failed(CUT, 7, n, 0.0) is not None for n in range(6)]
    assert free == [True, True, False, False, False, False]


def test_cut_connections_of_several_recordings_are_an_outage() -> None:
    watch = OutageWatch()
    assert [watch.failed(CUT, n, 0.0, 0.0) is not None for n in range(5)] == [True] * 5
    assert watch.is_down(ENGINE)


def test_a_host_that_fails_among_others_that_answer_is_broken_and_costs_tries() -> None:
    watch = OutageWatch()
    watch.answered("good.org", 0.0)
    assert [watch.failed(at("bad.org"), n, 1.0 + n, 0.0) for n in range(6)] == [None] * 6
    assert not watch.is_down("bad.org")
    assert not watch.is_down("good.org")


def test_the_only_host_of_a_list_can_be_down() -> None:
    watch = OutageWatch()
    assert all(watch.failed(at("a.org"), n, 0.0, 0.0) is not None for n in range(9))
    assert watch.is_down("a.org")
    assert [o.source for o in watch.outages()] == ["a.org"]
    assert not watch.is_down(ENGINE)


def test_many_hosts_that_fail_once_each_are_an_outage_of_the_internet() -> None:
    watch = OutageWatch()
    watch.answered("h0.org", 0.0)
    for n in range(1, 4):
        watch.failed(at(f"h{n}.org"), n, float(n), 0.0)
    assert [o.source for o in watch.outages()] == [INTERNET]
    assert watch.is_down("never-tried.org")
    assert watch.failed(at("h9.org"), 9, 5.0, 0.0) is not None
    ended = watch.answered("h2.org", 8.0)
    assert ended is not None
    assert (ended.source, ended.since) == (INTERNET, 1.0)
    assert not watch.is_down("never-tried.org")


def test_the_engine_and_the_downloads_are_apart() -> None:
    watch = OutageWatch()
    down(watch)
    assert not watch.is_down("a.org")
    watch.answered("a.org", 1.0)
    assert watch.is_down(ENGINE)
