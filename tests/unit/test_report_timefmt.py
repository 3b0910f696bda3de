"""Times as text, right past one hour and at every rounding edge."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.report import timefmt as t


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.9996, "1:00"), (61.2, "1:01"), (3599.99, "59:59"), (3723, "1:02:03")],
)
def test_clock_shows_the_hour_only_when_there_is_one(seconds: float, text: str) -> None:
    assert t.clock(seconds) == text


def test_ten_days_and_strange_numbers_do_not_break_a_report() -> None:
    assert t.clock(864_000) == "240:00:00"
    assert [t.clock(x) for x in (None, math.nan, math.inf, -5.0)] == ["0:00"] * 4


@given(st.integers(0, 400 * 3600 * 1000))
def test_subtitle_times_carry_every_millisecond(ms: int) -> None:
    hours, minutes, seconds = t.srt_time(ms).replace(",", ".").split(":")
    back = int(hours) * 3600_000 + int(minutes) * 60_000 + round(float(seconds) * 1000)
    assert back == ms
    assert t.vtt_time(ms) == t.srt_time(ms).replace(",", ".")


@given(st.floats(0, 1_000_000))
def test_rounding_never_gives_sixty_seconds(seconds: float) -> None:
    parts = t.clock_long(seconds).split(":")
    assert int(parts[1]) < 60
    assert int(parts[2]) < 60
    assert t.parse_clock(t.clock_long(seconds)) == t.to_ms(seconds) // 1000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:02:03", 3723.0),
        ("62:03", 3723.0),
        ("0:00:01.5", 1.5),
        ("01:02,250", 62.25),
        ("754", 754.0),
        ("", None),
        ("1:2:3:4", None),
        ("a:b", None),
        ("-1", None),
        ("1.5:00", None),
        ("1e9", None),
        ("٣:٠٠", None),
        ("9" * 400, None),
    ],
)
def test_times_are_read_back_or_refused(text: str, seconds: float | None) -> None:
    assert t.parse_clock(text) == seconds


def test_links_use_the_shortest_exact_form() -> None:
    assert [t.link_seconds(x) for x in (0, 754, 12.34, 3.1004)] == ["0", "754", "12.34", "3.1"]
