"""Several keys for one server, and errors that end a key's quota."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gs_video_report.config_values import Secret
from gs_video_report.engines.openai.errors import Failure, classify
from gs_video_report.engines.openai.keys import REST, KeyRing
from gs_video_report.engines.openai.options import read_options
from gs_video_report.errors import (
    AuthenticationError,
    GsvrError,
    LimitReached,
    Refused,
    RetryableError,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def ring(*keys: str) -> KeyRing:
    return KeyRing(read_options({"model": "m"}), [Secret(key) for key in keys])


def spent(**more: object) -> LimitReached:
    return LimitReached("no credit", of_key=True, **more)


def test_recordings_spread_over_the_keys_and_stay_with_theirs() -> None:
    keys = ring("sk-one", "sk-two", "sk-three")
    picked = [keys.pick(f"recording {n}", NOW) for n in range(60)]
    assert all(picked.count(key) >= 10 for key in keys.keys)
    assert picked == [keys.pick(f"recording {n}", NOW) for n in range(60)]


def test_spent_key_rests_until_the_time_it_was_told() -> None:
    keys = ring("sk-one", "sk-two")
    first = keys.pick("x", NOW)
    assert keys.set_aside(first, spent(resume_at="2026-11-22T15:00:00Z"), NOW)
    assert keys.pick("x", NOW) is not first
    assert keys.pick("x", NOW + timedelta(hours=3)) is first


def test_spent_key_without_a_time_is_tried_again_after_a_while() -> None:
    keys = ring("sk-one", "sk-two")
    first = keys.pick("x", NOW)
    keys.set_aside(first, spent(), NOW)
    assert keys.pick("x", NOW + REST - timedelta(seconds=1)) is not first
    assert keys.pick("x", NOW + REST) is first


def test_key_that_an_earlier_process_found_spent_comes_last_until_its_reset() -> None:
    keys = ring("sk-one", "sk-two")
    first = keys.pick("x", NOW)
    keys.set_aside(first, spent(resume_at="2026-11-22T15:00:00Z"), NOW)
    (told,) = keys.remarks
    later = ring("sk-one", "sk-two")
    later.recall({told.data["bucket"]: datetime.fromisoformat(told.data["until"])})
    other = later.pick("x", NOW)
    assert other.client.key_name != first.client.key_name
    assert later.pick("x", NOW + timedelta(hours=3)).client.key_name == first.client.key_name
    later.set_aside(other, AuthenticationError("refused"), NOW)
    assert later.pick("x", NOW) is not other, "its owner may have paid meanwhile"


def test_when_all_keys_rest_the_first_that_is_free_again_tells_when() -> None:
    keys = ring("sk-one", "sk-two", "sk-three")
    late, early, unknown = keys.keys
    keys.set_aside(late, spent(resume_at="2026-11-24T00:00:00Z"), NOW)
    keys.set_aside(early, spent(resume_at="2026-11-23T00:00:00Z"), NOW)
    keys.set_aside(unknown, AuthenticationError("refused"), NOW)
    with pytest.raises(LimitReached) as caught:
        keys.pick("x", NOW)
    assert caught.value.resume_at == "2026-11-23T00:00:00Z"


def test_budget_of_the_user_is_no_fault_of_a_key() -> None:
    keys = ring("sk-one", "sk-two")
    budget = LimitReached("cost", limit_usd=1.0, resume_at="2026-11-23T00:00:00Z")
    assert not keys.set_aside(keys.keys[0], budget, NOW)
    assert not keys.set_aside(keys.keys[0], LimitReached("network"), NOW)
    assert not keys.set_aside(keys.keys[0], RetryableError("busy"), NOW)
    assert all(key.is_usable(NOW) for key in keys.keys)


# --- what errors tell ------------------------------------------------------------------------

PER_DAY = "Rate limit reached for m on requests per day (RPD): Limit 200, Used 200."


def in_s(error: LimitReached) -> float:
    assert error.resume_at is not None
    return (datetime.fromisoformat(error.resume_at) - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize(
    ("message", "header", "seconds"),
    [
        (f"{PER_DAY} Please try again in 7m12s.", None, 432),
        (f"{PER_DAY} Please try again in 1h0m0.5s.", None, 3600),
        (PER_DAY, 86_000.0, 86_000),
        ("free-models-per-day quota", 3600.0, 3600),
    ],
)
def test_quota_of_the_day_tells_when_it_is_free(
    message: str, header: float | None, seconds: float
) -> None:
    error = classify(Failure(429, "rate_limit_exceeded", message, retry_after_s=header), "h", "m")
    assert isinstance(error, LimitReached)
    assert in_s(error) == pytest.approx(seconds, abs=5)


def test_spent_account_carries_a_time_only_if_one_is_told() -> None:
    plain = classify(Failure(429, "insufficient_quota", "You exceeded your quota"), "h", "m")
    assert isinstance(plain, LimitReached)
    assert plain.resume_at is None
    told = classify(Failure(402, "", "no credit", retry_after_s=7200.0), "h", "m")
    assert isinstance(told, LimitReached)
    assert in_s(told) == pytest.approx(7200, abs=5)
    absurd = classify(Failure(402, "", "no credit", retry_after_s=9.2e18), "h", "m")
    assert isinstance(absurd, LimitReached)
    assert absurd.resume_at is None


@pytest.mark.parametrize(
    "message",
    [
        "Rate limit reached for m on tokens per min (TPM): Limit 30000. Try again in 90ms.",
        "Rate limit reached on requests per day (RPD): try again in 8.64s.",
        "slow down",
    ],
)
def test_quota_that_is_free_again_soon_is_waited_for(message: str) -> None:
    assert isinstance(classify(Failure(429, "rate_limit_exceeded", message), "h", "m"), Refused)


def test_people_are_told_which_of_several_keys_rests_and_not_what_it_is() -> None:
    keys = ring("sk-one", "sk-two")
    keys.set_aside(keys.keys[1], AuthenticationError("refused"), NOW)
    keys.set_aside(keys.keys[1], AuthenticationError("refused"), NOW)
    (told,) = keys.remarks
    assert told.kind == "key_refused"
    assert told.text.startswith("openai: key 2 of 2 (id ")
    assert "sk-two" not in repr(told)
    alone = ring("sk-one")
    alone.set_aside(alone.keys[0], AuthenticationError("refused"), NOW)
    assert alone.remarks == [], "the stop of the batch tells it"


class Held:
    """What a limiter was told."""

    def __init__(self) -> None:
        self.until: dict[str, datetime] = {}

    def exhaust(self, bucket: str, resume_at: datetime | None = None) -> None:
        assert resume_at is not None
        self.until[bucket] = resume_at


def test_an_only_key_that_a_server_called_spent_is_held_back_until_the_time_it_told() -> None:
    only = ring("sk-one")
    only.set_aside(only.keys[0], spent(resume_at="2026-11-22T15:00:00Z"), NOW)
    (told,) = only.remarks
    assert "sk-one" not in str(told)
    later, limiter = ring("sk-one"), Held()
    until = datetime.fromisoformat(told.data["until"])
    later.recall({told.data["bucket"]: until})
    later.hold_back(limiter, NOW)  # type: ignore[arg-type]
    assert limiter.until == {told.data["bucket"]: until}
    limiter.until.clear()
    later.hold_back(limiter, until)  # type: ignore[arg-type]
    assert limiter.until == {}


@pytest.mark.parametrize(
    "error",
    [
        LimitReached("no credit", of_key=True),
        LimitReached("the daily limit of 5 requests is spent", resume_at="2026-11-22T15:00:00Z"),
        AuthenticationError("refused"),
    ],
)
def test_an_only_key_is_not_remembered_for_what_may_end_at_any_time(error: GsvrError) -> None:
    """Credit is added, a limit of one's own raised, a key mended: the next run has to see it."""
    only = ring("sk-one")
    only.set_aside(only.keys[0], error, NOW)
    assert only.remarks == []
