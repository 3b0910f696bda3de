"""Quotas in the headers of answers, and numbers there that are none."""

from __future__ import annotations

import pytest

from gs_video_report.engines.llm.quota import QuotaHint
from gs_video_report.engines.openai.headers import duration_s, hint_of

TOLD = {
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-reset-tokens": "4.2s",
}


def test_quotas_per_minute_are_read() -> None:
    assert hint_of(TOLD) == QuotaHint(500.0, 30000.0)
    assert hint_of({}).is_empty


def test_a_quota_that_is_free_again_later_than_in_a_minute_is_none_per_minute() -> None:
    """Some servers tell the requests of a day under this name."""
    day = TOLD | {"x-ratelimit-limit-requests": "14400", "x-ratelimit-reset-requests": "2m59.56s"}
    assert hint_of(day) == QuotaHint(None, 30000.0)


@pytest.mark.parametrize(
    "text", ["", "many", "-5", "0", "nan", "inf", "1e999", "60, 60;w=60", "６０x"]
)
def test_what_is_no_number_is_left_out(text: str) -> None:
    assert hint_of({"x-ratelimit-limit-requests": text}).requests is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20ms", 0.02), ("1s", 1.0), ("6m0s", 360.0), ("1h2m3.5s", 3723.5), ("2d", 172800.0),
        ("7.5", 7.5), ("", None), ("soon", None), ("1.2.3s", None), ("-1s", None),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float | None) -> None:
    found = duration_s(text)
    assert found is None if seconds is None else found == pytest.approx(seconds)
