"""What sizes of packets tell about a group of pictures; pure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.media.slides.packets import LONGEST_STEP_S, Evidence, backward, weigh

PIXELS = 1280 * 720
KEY = 40_000


def sizes_of(*after: int) -> list[int]:
    return [KEY, *after]


def test_page_that_stands_still_has_no_live_packet() -> None:
    found = weigh(sizes_of(*[60, 45, 80] * 50), KEY, PIXELS, alike=False)
    assert (found.live, found.spikes, found.mostly_still) == ((), (), True)


def test_new_page_inside_a_group_is_live_and_stands_out() -> None:
    found = weigh(sizes_of(*[60] * 40, 12_000, 900, *[60] * 40), KEY, PIXELS, alike=False)
    assert found.live == (41, 42)
    assert found.spikes == (41,)
    assert found.mostly_still
    assert (found.next_live(0), found.next_live(41), found.next_live(42)) == (41, 42, None)
    assert found.spike_follows(40)
    assert not found.spike_follows(41)


def test_small_build_counts_unless_both_key_frames_show_the_same() -> None:
    sizes = sizes_of(*[60] * 40, 400, *[60] * 40)
    assert weigh(sizes, KEY, PIXELS, alike=False).live == (41,)
    assert weigh(sizes, KEY, PIXELS, alike=True).live == ()


def test_what_always_moves_is_live_but_only_what_stands_out_of_it_is_a_spike() -> None:
    moving = [4_000, 5_000, 6_000] * 30
    calm = weigh(sizes_of(*moving), KEY, PIXELS, alike=False)
    assert len(calm.live) == 90
    assert not calm.spikes
    assert not calm.mostly_still
    turned = weigh(sizes_of(*moving[:45], 15_000, *moving[45:]), KEY, PIXELS, alike=False)
    assert turned.spikes == (46,)


def test_peak_right_before_the_next_key_frame_is_no_spike() -> None:
    sizes = sizes_of(*[4_000, 5_000, 6_000] * 30, 15_000)
    assert weigh(sizes, KEY, PIXELS, alike=False).spikes == (91,)
    found = weigh(sizes, KEY, PIXELS, alike=False, last={90, 91})
    assert found.spikes == ()
    assert found.live[-1] == 91


def test_packets_of_tiny_recordings_are_measured_in_bytes() -> None:
    assert weigh([300, 35, 35, 35], 300, 640 * 360, alike=False).live == ()


def test_needed_packets_are_live_whatever_their_size() -> None:
    assert weigh(sizes_of(50, 50, 50), KEY, PIXELS, alike=True, needed={2}).live == (2,)


def test_group_of_one_key_frame_holds_nothing_else() -> None:
    assert weigh([KEY], KEY, PIXELS, alike=False) == Evidence((), (), 1)


def test_lead_in_stays_within_the_group() -> None:
    assert Evidence((1, 9), (), 12).with_lead_in(3) == {0, 1, 6, 7, 8, 9}


def test_pictures_predicted_from_both_sides_are_free_where_frames_are_dense() -> None:
    times = [0.0, 0.16, 0.08, 0.04, 0.12, 0.32, 0.24]
    assert backward(times) == (frozenset({2, 3, 4, 6}), frozenset())


def test_pictures_predicted_from_both_sides_are_needed_where_frames_are_sparse() -> None:
    assert backward([0.0, 15.1, 6.4, 31.7]) == (frozenset(), frozenset({2}))


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_without_the_free_ones_times_rise_but_for_the_needed_and_no_gap_is_long(
    times: list[float],
) -> None:
    free, needed = backward(times)
    kept = [t for at, t in enumerate(times) if at not in free | needed]
    assert kept == sorted(kept)
    assert not free & needed
    for at in free:
        nearest = [t for t in kept if abs(t - times[at]) <= LONGEST_STEP_S]
        assert times[at] < times[0] or (min(nearest) <= times[at] <= max(nearest))


def test_pictures_before_the_key_frame_belong_to_the_group_before() -> None:
    assert backward([5.0, 4.92, 4.96, 5.12]) == (frozenset({1, 2}), frozenset())
