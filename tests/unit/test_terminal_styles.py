"""Numbers, names and widths as people see them."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.batch.progress.eta import EtaRange
from gs_video_report.terminal import styles


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00"),
        (22, "0:22"),
        (292, "4:52"),
        (4360, "1:12:40"),
        (359_999, "99:59:59"),
        (None, "-"),
    ],
)
def test_clock(seconds: float | None, shown: str) -> None:
    assert styles.clock(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "dense", "prose"),
    [
        (22, "22s", "22 s"),
        (59.6, "1m", "1 min"),
        (1080, "18m", "18 min"),
        (3599, "1h00m", "1 h 00 m"),
        (111_900, "31h05m", "31 h 05 m"),
        (None, "-", "-"),
    ],
)
def test_spans_never_show_sixty_minutes(seconds: float | None, dense: str, prose: str) -> None:
    assert (styles.span(seconds), styles.prose_span(seconds)) == (dense, prose)


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (2040, 2880, "34-48 min"),
        (6600, 9000, "1 h 50 m - 2 h 30 m"),
        (10, 50, "under 1 min"),
        (20, 110, "1-2 min"),
        (115, 125, "about 2 min"),
    ],
)
def test_time_ranges(low: float, high: float, shown: str) -> None:
    assert styles.span_range(low, high) == shown


def test_time_left_says_what_is_not_known() -> None:
    assert styles.time_left(None) == "estimating"
    assert styles.time_left(EtaRange(1500, 2400, 4500, rough=True)) == "about 40 min, rough"
    assert styles.time_left(EtaRange(2040, 2400, 2880, rough=False)) == "34-48 min"
    assert styles.time_left(EtaRange(10, 20, 30, rough=True)) == "under 1 min"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (812_000_000, "812 MB"), (21_400_000_000, "21.4 GB"), (999_900_000, "1.0 GB")],
)
def test_sizes_are_decimal(size: int, shown: str) -> None:
    assert styles.size(size) == shown


@pytest.mark.parametrize(
    ("usd", "shown"),
    [(0, "$0"), (0.0001, "<$0.001"), (0.004, "$0.004"), (0.17, "$0.17"), (1234.5, "$1,234.50")],
)
def test_money(usd: float, shown: str) -> None:
    assert styles.money(usd) == shown


def test_hundred_percent_means_done() -> None:
    assert styles.percent(0.9999) == "99 %"
    assert styles.percent(1.0) == "100 %"
    assert styles.percent(0.29) == "29 %"


def test_plurals() -> None:
    assert [styles.plural(n, "retry") for n in (1, 2)] == ["1 retry", "2 retries"]
    assert [styles.plural(n, "key") for n in (1, 2)] == ["1 key", "2 keys"]


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("第三讲：反向传播.mp4", "第三讲：反向传播.mp4"),
        ("a\x1b[2J\x1b[31mb.mp4", "ab.mp4"),
        ("a\x1b]0;title\x07b", "ab"),
        ("two\nlines\tand\rreturn", "two\\nlines\\tand\\rreturn"),
        ("bell\x07", "bell\\x07"),
        ("gpj\u202e4pm.exe", "gpj\\u202e4pm.exe"),
        ("c1\x9b31m", "c1\\x9b31m"),
        ("latin\udce9.mp4", "latin\\xe9.mp4"),
        ("full　width", "full　width"),
    ],
)
def test_names_cannot_touch_the_terminal(raw: str, shown: str) -> None:
    assert styles.clean(raw) == shown


@given(st.text(alphabet=st.characters()))
def test_cleaned_text_holds_no_control_character(text: str) -> None:
    cleaned = styles.clean(text)
    assert not {unicodedata.category(char) for char in cleaned} & {"Cc", "Cs", "Zl", "Zp"}
    assert styles.clean(cleaned) == cleaned


@given(st.text(alphabet="ab/. -第三讲：é́👩‍🔬", max_size=60), st.integers(0, 50))
def test_a_cut_name_never_exceeds_its_cells(name: str, cells: int) -> None:
    assert styles.width(styles.cut_middle(name, cells)) <= cells
    assert styles.width(styles.cut_end(name, cells)) <= cells


def test_a_cut_name_keeps_its_start_and_extension() -> None:
    name = "week04/workshop-2026-recording-final-v3.mkv"
    assert styles.cut_middle(name, 26) == "week04/workshop-...-v3.mkv"
    chinese = styles.cut_middle("week05/机器学习导论与实践：从线性回归到神经网络.mp4", 30)
    assert chinese.startswith("week05/机器学习")
    assert chinese.endswith("网络.mp4")
    assert styles.width(chinese) in (29, 30)


def test_a_name_that_fits_is_left_alone() -> None:
    assert styles.cut_middle("a.mp4", 5) == "a.mp4"


def test_colour_is_for_terminals_without_no_color() -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert styles.wants_colour(Tty(), {})
    assert not styles.wants_colour(Tty(), {"NO_COLOR": "1", "FORCE_COLOR": "1"})
    assert not styles.wants_colour(Tty(), {"TERM": "dumb"})
    assert not styles.wants_colour(io.StringIO(), {})
    assert styles.wants_colour(io.StringIO(), {"FORCE_COLOR": "1"})


def test_glyphs_follow_the_encoding() -> None:
    assert styles.glyphs_for("utf-8") is styles.UNICODE
    assert styles.glyphs_for("ascii") is styles.ASCII
    assert styles.glyphs_for("no-such-codec") is styles.ASCII
    assert all(
        ord(char) < 128 for field in styles.ASCII.__slots__ for char in getattr(styles.ASCII, field)
    )


def test_wrapping_breaks_at_spaces_and_loses_nothing() -> None:
    text = "one two three four five six"
    lines = styles.wrap(text, 9)
    assert lines == ["one two", "three", "four five", "six"]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("lecture.mp4", 11),
        ("第三讲", 6),
        ("e\u0301te\u0301", 3),
        ("\u0926\u0947\u0935\u093e", 3),  # a vowel sign below, and one that stands beside
        ("\U0001f469\u200d\U0001f3eb", 4),  # one sign or two, as the terminal likes
        ("\u2764\ufe0f", 2),
    ],
)
def test_a_text_is_as_wide_as_the_terminal_that_needs_most_room(text: str, cells: int) -> None:
    assert styles.width(text) == cells
    assert styles.width(styles.pad(text, 12)) == 12
    assert styles.width(styles.cut_end(text * 5, 7)) <= 7
