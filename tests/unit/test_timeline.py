"""Where sound is placed when time stamps and packets go wrong."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.media.timeline import Timeline

RATE = 100  # tolerance is 10 samples


def place(timeline: Timeline, *stamps: int | None, samples: int = 50, lost: int = 0) -> list[int]:
    found = []
    for stamp in stamps:
        found.append(timeline.seek(stamp, lost))
        timeline.advance(samples)
    return found


def test_small_differences_are_rounding_and_the_sound_is_continued() -> None:
    timeline = Timeline(RATE, 10_000)
    assert place(timeline, 0, 53, 97, 155) == [0, 50, 100, 150]
    assert timeline.holes() == ()


def test_missing_packets_leave_a_hole_and_do_not_shift_what_follows() -> None:
    timeline = Timeline(RATE, 10_000)
    assert place(timeline, 0, 50, 300, 350) == [0, 50, 300, 350]
    assert timeline.holes() == ((100, 300),)
    assert timeline.sounding == 200


def test_sound_that_starts_late_has_a_lead_in_but_no_hole() -> None:
    timeline = Timeline(RATE, 10_000)
    assert place(timeline, 500, 550) == [500, 550]
    assert timeline.holes() == ()
    assert timeline.end == 600


def test_one_wrong_stamp_forward_costs_only_its_own_place() -> None:
    timeline = Timeline(RATE, 10_000)
    assert place(timeline, 0, 50, 5_000, 150, 200) == [0, 50, 5_000, 150, 200]


def test_one_wrong_stamp_backward_does_not_shift_what_follows() -> None:
    """Regression: the sound after it was laid as far late as the stamp had been early."""
    timeline = Timeline(RATE, 10_000)
    place(timeline, *range(0, 1_000, 50))
    assert place(timeline, 20, 1_050, 1_100) == [1_000, 1_050, 1_100]


def test_a_restarted_clock_is_continued_not_overwritten() -> None:
    timeline = Timeline(RATE, None)
    place(timeline, *range(0, 500, 50))
    assert place(timeline, 0, 50, 100) == [500, 550, 600]


def test_absurd_stamps_lay_no_silence_beyond_the_limit() -> None:
    timeline = Timeline(RATE, 1_000)
    assert place(timeline, 0, 10**15, 10**15 + 50) == [0, 50, 100]
    assert timeline.end == 150


def test_a_gap_of_many_hours_is_a_wrong_stamp_even_within_the_limit() -> None:
    timeline = Timeline(RATE, 10**9)
    assert place(timeline, 0, 5 * 3600 * RATE) == [0, 50]


def test_without_declared_length_a_gap_is_bounded_too() -> None:
    timeline = Timeline(RATE, None)
    assert place(timeline, 0, 601 * RATE + 50) == [0, 50]


def test_stampless_sound_makes_room_for_what_was_lost() -> None:
    timeline = Timeline(RATE, None)
    place(timeline, None)
    assert place(timeline, None, lost=70) == [120]
    assert timeline.holes() == ((50, 120),)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(-(10**6), 10**6)), st.integers(0, 300)),
        max_size=40,
    ),
    st.one_of(st.none(), st.integers(0, 5_000)),
)
def test_whatever_the_stamps_the_picture_stays_consistent(
    steps: list[tuple[int | None, int]], limit: int | None
) -> None:
    timeline = Timeline(RATE, limit)
    written = 0
    for stamp, samples in steps:
        at = timeline.seek(stamp)
        assert at >= 0
        timeline.advance(samples)
        written += samples
    runs = timeline.covered
    assert all(start < end for start, end in runs)
    assert all(a[1] < b[0] for a, b in pairwise(runs))
    assert timeline.sounding <= written
    if limit is not None:
        assert timeline.end <= limit + written
