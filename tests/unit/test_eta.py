"""Time left: list scheduling on lengths and measured cost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.batch.progress.eta import (
    OVERDUE_LEFT,
    InFlight,
    LengthBins,
    as_range,
    cost_rate,
    makespan,
    remaining_work,
    time_left_s,
    waiting_lengths,
)

LENGTHS = st.lists(st.floats(0.0, 40_000.0), max_size=60)


def bins_of(*lengths: float | None) -> LengthBins:
    bins = LengthBins()
    for length in lengths:
        bins.add(length)
    return bins


def test_nothing_is_measured_before_three_videos_are_finished() -> None:
    assert cost_rate([(600, 60), (600, 60)]) is None
    assert cost_rate([(600, 60), (600, 60), (600, 120)]) == pytest.approx(240 / 1800)


def test_videos_without_any_recording_give_no_rate() -> None:
    assert cost_rate([(0, 1), (0, 1), (0, 1)]) is None


def test_work_goes_to_the_worker_that_is_free_first() -> None:
    # worker 1: 5 then 4 (at 9); worker 2: 2, 6 (at 8), 3 (at 11)
    assert makespan([5, 2], [6, 4, 3], workers=2) == 11


def test_idle_workers_take_part() -> None:
    assert makespan([], [10, 10, 10, 10], workers=4) == 10


def test_more_busy_videos_than_workers_are_all_waited_for() -> None:
    assert makespan([3, 9, 4], [], workers=1) == 9


def test_a_pool_that_became_smaller_takes_nothing_until_the_others_have_left() -> None:
    """Pins: work in flight above the number of workers counted as workers for ever."""
    assert makespan([3, 9, 4], [5, 5], workers=1) == 19
    assert makespan([3, 9, 4], [5, 5], workers=2) == 14


@settings(max_examples=60)
@given(LENGTHS, st.integers(1, 9))
def test_schedule_lies_between_perfect_sharing_and_grahams_bound(
    costs: list[float], workers: int
) -> None:
    end = makespan([], costs, workers)
    even, longest = sum(costs) / workers, max(costs, default=0.0)
    assert end >= max(even, longest) - 1e-6
    assert end <= even + (1 - 1 / workers) * longest + 1e-6


def test_work_in_flight_is_credited_and_overdue_work_still_needs_something() -> None:
    flight = [InFlight(30, 1000), InFlight(500, 1000), InFlight(10, None)]
    left = remaining_work(flight, rate=0.1, typical_s=600)
    assert left == pytest.approx([70, OVERDUE_LEFT * 100, 50])


@settings(max_examples=60)
@given(LENGTHS)
def test_bins_keep_count_and_sum_and_empty_again(lengths: list[float]) -> None:
    bins = bins_of(*lengths)
    assert bins.known == len(lengths)
    assert bins.total_s == pytest.approx(sum(lengths))
    for length in lengths:
        bins.remove(length)
    assert (bins.known, bins.unknown, bins.total_s) == (0, 0, 0)


@settings(max_examples=60)
@given(st.lists(st.floats(1.0, 40_000.0), min_size=1, max_size=80), st.integers(1, 200))
def test_a_sample_of_the_bins_has_the_size_asked_for(lengths: list[float], count: int) -> None:
    sample = bins_of(*lengths).spread(count)
    assert len(sample) == count
    assert min(lengths) - 1e-6 <= min(sample)
    assert max(sample) <= max(lengths) + 1e-6


def test_a_video_added_without_length_can_be_removed_with_one() -> None:
    bins = bins_of(None, None)
    bins.remove(120.0)
    assert bins.unknown == 1


def test_unknown_lengths_are_drawn_from_the_ones_met() -> None:
    sample, factor = waiting_lengths(bins_of(100.0), bins_of(1000.0, 1000.0), count=3)
    assert sorted(sample) == [100, 1000, 1000]
    assert factor == 1


def test_ten_thousand_waiting_videos_are_scheduled_by_a_bounded_sample() -> None:
    waiting = bins_of(*[600.0] * 10_000)
    sample, factor = waiting_lengths(waiting, waiting, 10_000)
    assert len(sample) <= 240
    assert factor * len(sample) == pytest.approx(10_000)
    left = time_left_s([], waiting, waiting, 10_000, workers=4, rate=0.1)
    assert left == pytest.approx(10_000 * 60 / 4, rel=0.01)


def test_the_last_long_video_decides_the_end() -> None:
    left = time_left_s([InFlight(0, 7200)], LengthBins(), bins_of(7200.0), 0, 4, rate=0.5)
    assert left == pytest.approx(3600)


def test_two_looks_at_the_same_state_give_the_same_figure() -> None:
    waiting = bins_of(60.0, 700.0, 3000.0, 90.0, 1200.0)
    looks = {time_left_s([], waiting, waiting, 5, 2, 0.2) for _ in range(3)}
    assert len(looks) == 1


def test_small_batches_and_unknown_lengths_are_rough() -> None:
    assert as_range(1000, videos=19).rough
    assert as_range(1000, videos=60, unknown_share=0.8).rough
    fine = as_range(1000, videos=60)
    assert (fine.rough, fine.low_s, fine.high_s) == (False, 850, 1300)
