"""Error bodies of the Gemini service, as captured, become the right errors of ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.engines.gemini.errors import (
    MAX_DELAY_S,
    OVERLOADED_DELAY_S,
    classify,
    day_is_spent,
    masker,
    next_reset,
    read_error,
)
from gs_video_report.errors import (
    AuthenticationError,
    FatalError,
    GsvrError,
    LimitReached,
    PermanentError,
    Refused,
    RetryableError,
    Unreachable,
    UploadGone,
)
from tests.fakes.gemini_bodies import SHAPES, quota_error

DAILY = quota_error("day", 10, "gemini-3.8-flash", "39.844676573s")
MINUTE = quota_error("minute", 10, "gemini-3.8-flash", "39.844676573s")


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ("bad_key", AuthenticationError),
        ("unauthenticated", AuthenticationError),
        ("disabled", AuthenticationError),
        ("no_file", UploadGone),
        ("no_model", FatalError),
        ("location", FatalError),
        ("not_active", RetryableError),
        ("exhausted", Refused),
        ("internal", Unreachable),
        ("overloaded", Unreachable),
        ("deadline", Unreachable),
        ("too_long", PermanentError),
        ("bad_request", PermanentError),
    ],
)
def test_every_captured_body_has_its_class(shape: str, kind: type[GsvrError]) -> None:
    code, body = SHAPES[shape]
    made = classify(read_error(code, body), "answer about talk.mp4", model="gemini-x")
    assert type(made) is kind
    assert made.message


def test_a_wrong_key_is_known_although_the_service_calls_it_a_bad_request() -> None:
    read = read_error(*SHAPES["bad_key"])
    assert read.code == 400
    assert read.is_bad_key


def test_a_daily_quota_is_told_from_one_per_minute_by_its_name_not_by_the_delay() -> None:
    assert read_error(429, DAILY).is_daily
    assert not read_error(429, MINUTE).is_daily
    assert isinstance(classify(read_error(429, DAILY), "x"), LimitReached)
    refused = classify(read_error(429, MINUTE), "x")
    assert isinstance(refused, Refused)
    assert refused.retry_after_s == pytest.approx(39.844676573)


@pytest.mark.parametrize(
    ("delay", "kept"),
    [
        ("9223372036854775807s", MAX_DELAY_S),
        ("9.2e18s", MAX_DELAY_S),
        ("30s", 30.0),
        ("0s", 0.0),
        ("-5s", None),
        ("nan", None),
        ("infs", None),
        ("soon", None),
    ],
)
def test_a_delay_is_kept_within_reason(delay: str, kept: float | None) -> None:
    body = quota_error("minute", 10, "m", delay)
    assert read_error(429, body).delay_s == kept


def test_a_delay_may_also_come_in_a_header() -> None:
    body = SHAPES["exhausted"][1]
    assert read_error(429, body, {"Retry-After": "7"}).delay_s == 7.0
    assert read_error(429, body, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}).delay_s is None


def test_an_overloaded_service_is_left_alone_for_a_while() -> None:
    made = classify(read_error(*SHAPES["overloaded"]), "x")
    assert isinstance(made, RetryableError)
    assert made.retry_after_s == OVERLOADED_DELAY_S


def test_a_model_that_is_not_in_the_tier_is_not_promised_for_midnight() -> None:
    made = classify(read_error(*SHAPES["no_tier"]), "x", model="gemini-4-argon")
    assert type(made) is AuthenticationError
    assert "no quota for gemini-4-argon" in made.message
    assert "--model" in made.hint


def test_a_day_is_also_known_by_the_name_of_its_metric() -> None:
    metric = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_requests_per_model_per_day"
    }
    body = {"error": {"code": 429, "details": [{"violations": [metric]}]}}
    assert read_error(429, body).is_daily


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Thinking level MINIMAL is not supported for this model.", FatalError),
        ("Invalid value at 'generation_config.top_p' (TYPE_FLOAT), 7", FatalError),
        ("Developer instruction is not enabled for models/gemma-9", FatalError),
        ("media_resolution is not supported by this model", FatalError),
        ("Request contains an invalid argument.", PermanentError),
        (
            "The video's resolution is not supported by this model's media_resolution",
            PermanentError,
        ),
        ("The input token count exceeds the maximum number of tokens allowed.", PermanentError),
        ("Unsupported MIME type: video/x-strange", PermanentError),
    ],
)
def test_a_refusal_of_the_settings_stops_the_batch_and_one_of_a_file_does_not(
    message: str, kind: type[GsvrError]
) -> None:
    body = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": message}}
    error = classify(read_error(400, body), "answer about a.mp4", model="gemini-3.8-flash")
    assert type(error) is kind
    assert message in error.message


def test_the_field_that_is_wrong_counts_more_than_the_words() -> None:
    fields = [{"field": "contents[0].parts[0].file_data", "description": "thinking about it"}]
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": fields}]
    inner = {"code": 400, "status": "INVALID_ARGUMENT", "message": "thinking", "details": details}
    assert type(classify(read_error(400, {"error": inner}), "x")) is PermanentError
    fields[0]["field"] = "generation_config.thinking_config"
    inner["message"] = "Invalid file."
    assert type(classify(read_error(400, {"error": inner}), "x")) is FatalError


def test_the_model_that_does_not_exist_is_named() -> None:
    made = classify(read_error(*SHAPES["no_model"]), "x", model="gemini-99")
    assert "gemini-99" in made.message
    assert "--model" in made.hint


@pytest.mark.parametrize(
    ("now", "reset"),
    [
        ("2026-11-22T07:59:00+00:00", "2026-11-22T08:00:00+00:00"),
        ("2026-11-22T08:00:00+00:00", "2026-11-23T08:00:00+00:00"),
        ("2026-07-01T12:00:00+00:00", "2026-07-02T07:00:00+00:00"),
        ("2026-03-08T09:00:00+00:00", "2026-03-09T07:00:00+00:00"),
        ("2026-11-01T08:00:00+00:00", "2026-11-02T08:00:00+00:00"),
    ],
)
def test_the_day_of_the_service_ends_at_midnight_in_california(now: str, reset: str) -> None:
    assert next_reset(datetime.fromisoformat(now)) == datetime.fromisoformat(reset)


def test_a_spent_day_says_when_it_goes_on() -> None:
    made = day_is_spent(datetime(2026, 11, 22, 12, tzinfo=UTC))
    assert made.resume_at == "2026-11-23T08:00:00Z"


def test_a_key_is_taken_out_of_any_text() -> None:
    assert masker("secret-1")("bad secret-1, yes secret-1") == "bad ****, yes ****"
    assert masker("")("text") == "text"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["error", "code", "message", "status", "details", "violations",
                         "retryDelay", "reason", "quotaId"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(code=st.sampled_from([0, 400, 401, 403, 404, 409, 418, 429, 500, 503]), body=JSON)
def test_no_body_is_strange_enough_to_break_the_reader(code: int, body: Any) -> None:
    made = classify(read_error(code, body), "answer", model="m")
    assert isinstance(made, GsvrError)
    GsvrError.from_dict(made.to_dict())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "10", {"requests": 10.0}),
        ("GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000", {"tokens": 250000.0}),
        ("GenerateRequestsPerMinutePerProjectPerModel", "", {}),
        ("GenerateRequestsPerMinutePerProjectPerModel", "-3", {}),
        ("GenerateRequestsPerMinutePerProjectPerModel", ["7"], {}),
        ("SomethingElse", "10", {}),
    ],
)
def test_a_refusal_names_the_quota_per_minute_that_is_spent(
    name: str, value: object, told: dict[str, float]
) -> None:
    violation = {"quotaId": name, "quotaValue": value}
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}]
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}
    refused = classify(read_error(429, body), "answer")
    assert refused.data["per_minute"] == told
