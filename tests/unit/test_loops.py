"""Repetitions are found with their place; what people repeat on purpose is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.text.loops import MAX_PERIOD, MIN_UNITS, Unit, find_loops, quoted, units_of
from tests.support.lectures import CHINESE, ENGLISH


def units(text: str) -> list[Unit]:
    return list(units_of(text, 0.0, 10.0))


def test_a_phrase_said_over_and_over_is_one_loop_with_its_place() -> None:
    found = units("And now " + "thank you very much. " * 6 + "Let us go on with the next slide.")
    (loop,) = find_loops(found)
    assert (loop.first, loop.last, loop.period, loop.repeats) == (2, 26, 4, 6.0)
    assert quoted(found, loop) == "thank you very much"


def test_one_character_over_and_over_is_a_loop_in_chinese() -> None:
    found = units("这是" + "试试" * 6)
    (loop,) = find_loops(found)
    assert (quoted(found, loop), loop.repeats) == ("试", 12.0)


def test_what_people_repeat_on_purpose_is_no_loop() -> None:
    for text in (
        "No, no, no, no, that is wrong.",
        "We shall fight on the beaches. We shall fight on the beaches.",
        "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily.",
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10.",
        "哈哈哈哈哈",
        "",
    ):
        assert find_loops(units(text)) == [], text


def test_lectures_have_no_loops() -> None:
    for lecture in (ENGLISH, CHINESE):
        assert find_loops(units(lecture)) == []


def test_case_and_punctuation_do_not_hide_a_loop() -> None:
    found = units("So it goes, SO IT GOES! so it goes... So, it goes. so it goes")
    (loop,) = find_loops(found)
    assert (loop.period, loop.repeats) == (3, 5.0)


def test_times_of_units_stay_inside_and_in_order() -> None:
    made = list(units_of("eins zwei 三四 five", 2.0, 4.0))
    assert [u.text for u in made] == ["eins", "zwei", "三", "四", "five"]
    edges = [t for u in made for t in (u.start_s, u.end_s)]
    assert edges == sorted(edges)
    assert edges[0] == 2.0
    assert edges[-1] == 4.0


@given(
    st.lists(st.integers(0, 30), max_size=20),
    st.lists(st.integers(100, 130), min_size=1, max_size=MAX_PERIOD, unique=True),
    st.integers(7, 12),
    st.lists(st.integers(200, 230), max_size=20, unique=True),
)
def test_a_planted_loop_is_found_where_it_was_planted(
    before: list[int], part: list[int], times: int, after: list[int]
) -> None:
    times = max(times, MIN_UNITS)
    words = [str(n) for n in (*before, *part * times, *after)]
    found = find_loops([Unit(w, float(i), i + 1.0) for i, w in enumerate(words)])
    planted = (len(before), len(before) + len(part) * times, len(part))
    assert planted in {(loop.first, loop.last, loop.period) for loop in found}


@given(st.lists(st.sampled_from("abcd"), max_size=120))
def test_loops_never_overlap_and_each_repeats(letters: list[str]) -> None:
    made = [Unit(w, float(i), i + 1.0) for i, w in enumerate(letters)]
    found = find_loops(made)
    at = 0
    for loop in found:
        assert at <= loop.first < loop.last <= len(letters)
        assert loop.last - loop.first >= MIN_UNITS
        for i in range(loop.first + loop.period, loop.last):
            assert letters[i] == letters[i - loop.period]
        at = loop.last
