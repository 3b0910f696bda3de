"""What requests wait for, and for how long, reaches the picture once the wait lasts."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.limiter.models import BucketConfig
from gs_video_report.batch.limiter.quota_wait import (
    GAP_S,
    SHOWN_AFTER_S,
    TOLD_AFTER_S,
    TOLD_AGAIN_S,
    QuotaWait,
    WaitWatch,
    seconds_text,
    wait_of,
    wait_of_facts,
)
from gs_video_report.batch.run.trace import limiter_facts

BUCKET = "gemini/gemini-x/ab12cd34"
TOKENS = QuotaWait("gemini/gemini-x", "tokens", 3, 0, 40.0)


@pytest.mark.parametrize(
    ("config", "lacks", "words"),
    [
        (
            BucketConfig(tokens_per_minute=6000, tokens_burst=6000),
            "tokens",
            "tokens per minute of gemini/gemini-x",
        ),
        (
            BucketConfig(requests_per_minute=1, requests_burst=1),
            "requests",
            "requests per minute of gemini/gemini-x",
        ),
        (BucketConfig(max_in_flight=1), "slots", "answers of gemini/gemini-x that"),
    ],
)
async def test_the_limiter_tells_what_the_first_waiting_request_lacks(
    config: BucketConfig, lacks: str, words: str
) -> None:
    limiter = ApiLimiter({BUCKET: config})
    assert wait_of(limiter.snapshot()) is None

    async def ask() -> None:
        async with limiter.reserve(BUCKET, requests=1, tokens=6000):
            await asyncio.Event().wait()

    asking = [asyncio.ensure_future(ask()) for _ in range(3)]
    while limiter.snapshot().buckets[0].waiting < 2:
        await asyncio.sleep(0)
    wait = wait_of(limiter.snapshot())
    assert wait is not None
    assert (wait.of, wait.lacks, wait.requests, wait.in_flight) == (
        "gemini/gemini-x", lacks, 2, 1,
    )  # fmt: skip
    assert (wait.next_s is None) == (lacks == "slots")
    assert wait.next_s is None or 55 < wait.next_s <= 61
    assert f"wait for {words}" in wait.sentence
    assert wait.sentence.startswith("2 requests" if lacks == "slots" else "next request in 1 min")
    recorded = wait_of_facts(limiter_facts(limiter.snapshot()))
    assert recorded is not None
    assert (recorded.lacks, recorded.requests, recorded.next_s) == (lacks, 2, None)
    for task in asking:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_pause_that_the_service_asked_for_is_called_so() -> None:
    limiter = ApiLimiter({BUCKET: BucketConfig()})
    limiter.penalize(BUCKET, 30.0)

    async def ask() -> None:
        async with limiter.reserve(BUCKET):
            pass

    asking = asyncio.ensure_future(ask())
    while not limiter.snapshot().buckets[0].waiting:
        await asyncio.sleep(0)
    wait = wait_of(limiter.snapshot())
    assert wait is not None
    assert wait.sentence == (
        "next request in 30 s: 1 waits for the end of the pause that gemini/gemini-x asked for"
    )
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking


def test_a_wait_is_shown_once_it_lasts_and_counts_down() -> None:
    watch = WaitWatch()
    watch.look(TOKENS, 100.0)
    assert watch.shown(100.0 + SHOWN_AFTER_S - 0.1) is None
    shown = watch.shown(110.0)
    assert shown is not None
    assert shown.sentence == (
        "next request in 30 s: 3 wait for tokens per minute of gemini/gemini-x"
    )
    assert shown.lasted_s == 10.0


def test_a_short_gap_between_two_waits_does_not_make_the_line_flicker() -> None:
    watch = WaitWatch()
    watch.look(TOKENS, 0.0)
    watch.look(None, GAP_S)
    assert watch.shown(GAP_S) is not None
    watch.look(None, GAP_S + 0.1)
    assert watch.shown(GAP_S + 0.2) is None


def test_only_a_standstill_is_told_in_a_sentence_and_not_again_for_long() -> None:
    busy = QuotaWait("gemini/gemini-x", "tokens", 3, 1, 40.0)
    watch = WaitWatch()
    for second in range(int(TOLD_AFTER_S) + 2):
        watch.look(busy, float(second))
    assert watch.news(TOLD_AFTER_S + 1) == ""  # one request is under way
    watch.look(TOKENS, 100.0)
    assert watch.news(100.0 + TOLD_AFTER_S - 1) == ""
    assert watch.news(100.0 + TOLD_AFTER_S) == (
        "no request has gone for 30 s; next request in 40 s: 3 wait for tokens per minute of "
        "gemini/gemini-x (tpm in the configuration)"
    )
    assert watch.news(100.0 + TOLD_AFTER_S + TOLD_AGAIN_S - 1) == ""
    assert watch.news(100.0 + TOLD_AFTER_S + TOLD_AGAIN_S) != ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (40.4, "40 s"), (60, "1 min"), (125, "2 min 5 s")]
)
def test_seconds_are_told_in_words(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
