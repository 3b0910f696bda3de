"""Whether and when a failed attempt is tried again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.batch.queue.retry import CAP_S, RETRY_AFTER_CAP_S, GiveUp, Wait, decide
from gs_video_report.errors import (
    DiskFullError,
    LeaseLost,
    LimitReached,
    NoMediaError,
    RetryableError,
)


def test_three_retries_mean_four_tries() -> None:
    answers = [decide(RetryableError("x"), failures, 3, 0.5) for failures in range(5)]
    assert [type(a) for a in answers] == [Wait, Wait, Wait, GiveUp, GiveUp]
    assert answers[3] == GiveUp("it failed 4 times")


def test_no_retries_means_a_single_try() -> None:
    assert decide(RetryableError("x"), 0, 0, 0.5) == GiveUp("retries are off")


def test_wait_doubles_with_each_failure_up_to_the_cap() -> None:
    waits = [decide(RetryableError("x"), failures, 99, 0.5) for failures in range(10)]
    assert [w.seconds for w in waits if isinstance(w, Wait)] == [
        1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 150.0, 150.0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error", [NoMediaError("x"), DiskFullError("x"), LimitReached("x"), LeaseLost("x")]
)
def test_only_retryable_errors_of_our_own_task_are_tried_again(error: Exception) -> None:
    assert isinstance(decide(error, 0, 3, 0.5), GiveUp)  # type: ignore[arg-type]


def test_server_that_asks_for_292_billion_years_waits_one_hour() -> None:
    answer = decide(RetryableError("x", retry_after_s=9223372036854775807), 0, 3, 0.0)
    assert answer == Wait(RETRY_AFTER_CAP_S, "the other side asked to wait")


def test_asked_wait_is_a_lower_bound_with_some_jitter_on_top() -> None:
    answer = decide(RetryableError("x", retry_after_s=30), 5, 9, 0.999)
    assert isinstance(answer, Wait)
    assert 30 < answer.seconds <= 32


@pytest.mark.parametrize("asked", [-1, math.nan, "soon", None, [], {}])
def test_unusable_retry_after_falls_back_to_backoff(asked: object) -> None:
    answer = decide(RetryableError("x", retry_after_s=asked), 0, 3, 0.5)
    assert answer == Wait(1.0, "retry 1 of 3")


@given(
    failures=st.integers(0, 10**9),
    rand=st.floats(0, 1, exclude_max=True),
    asked=st.none() | st.floats(allow_nan=True, allow_infinity=True),
)
def test_every_wait_is_finite_and_bounded(failures: int, rand: float, asked: float | None) -> None:
    answer = decide(RetryableError("x", retry_after_s=asked), failures, 10**10, rand)
    assert isinstance(answer, Wait)
    assert 0 <= answer.seconds <= CAP_S + RETRY_AFTER_CAP_S
