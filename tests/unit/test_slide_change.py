"""The pure detector: what counts as a slide, a build, a replacement, moving pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.media.slides.change import (
    HEIGHT,
    WIDTH,
    Change,
    Seen,
    SlideDetector,
    cells_changed,
    compare,
    is_blank,
)

Gray = np.ndarray


def page(*rows: int, ground: int = 250, ink: int = 20, seed: int = 0) -> Gray:
    """A slide with text-like strokes in some of nine rows; the strokes depend on row and seed."""
    image = np.full((HEIGHT, WIDTH), ground, np.uint8)
    for row in rows:
        strokes = np.random.default_rng([seed, row]).random((4, 110)) < 0.45
        image[row * 10 + 3 : row * 10 + 7, 10:120][strokes] = ink
    return image


def noise(number: int) -> Gray:
    """A picture that shares nothing with others."""
    coarse = np.random.default_rng(number).integers(0, 256, (18, 32), np.uint8)
    return np.kron(coarse, np.ones((5, 5), np.uint8)).astype(np.uint8)


def run(pictures: Iterable[Gray], *, end: bool = True) -> list[Seen]:
    """Feed one picture a second; what was seen, without the samples that brought nothing."""
    detector, seen, t_s = SlideDetector(), [], 0.0
    for picture in pictures:
        seen.append(detector.feed(t_s, picture))
        t_s += 1.0
    if end:
        seen.append(detector.finish(t_s))
    return [each for each in seen if each.change is not Change.NONE]


def changes(pictures: Iterable[Gray]) -> list[tuple[Change, float]]:
    return [(each.change, each.t_s) for each in run(pictures)]


def test_still_picture_is_one_slide() -> None:
    assert changes([page(0, 2, 3)] * 20) == [(Change.FIRST, 0.0)]


def test_change_of_text_alone_is_a_new_slide_at_the_time_it_appears() -> None:
    shown = [page(0, 2, 3, 4)] * 6 + [page(0, 2, 3, 4, seed=1)] * 6
    assert changes(shown) == [(Change.FIRST, 0.0), (Change.SLIDE, 6.0)]


def test_fade_is_one_change_at_its_beginning() -> None:
    a, b = page(0, 2, 3, 4), page(0, 2, 3, 4, seed=1)
    half = ((a.astype(int) + b) // 2).astype(np.uint8)
    assert changes([a] * 6 + [half] + [b] * 6) == [(Change.FIRST, 0.0), (Change.SLIDE, 6.0)]


def test_bullets_that_appear_are_builds() -> None:
    shown = [page(0, 2)] * 5 + [page(0, 2, 4)] * 5 + [page(0, 2, 4, 6)] * 5
    assert [c for c, _ in changes(shown)] == [Change.FIRST, Change.BUILD, Change.BUILD]


def test_bullets_that_turn_gray_are_not_lost() -> None:
    bright, dimmed = page(0, 2, 3), page(0, 2, 3, ink=150)
    assert changes([bright] * 5 + [dimmed] * 5) == [(Change.FIRST, 0.0)]


def test_caption_that_gives_way_to_another_is_a_replacement() -> None:
    first, second = page(0, 2, 3, 4), page(0, 2, 3, 4)
    first[73:77, 10:60] = page(7)[73:77, 10:60]
    second[73:77, 10:60] = page(7, seed=3)[73:77, 10:60]
    shown = [first] * 6 + [second] * 6
    assert changes(shown) == [(Change.FIRST, 0.0), (Change.REPLACED, 6.0)]


def test_what_only_vanishes_is_no_slide_and_the_fuller_state_is_kept() -> None:
    detector = SlideDetector()
    full, less = page(0, 2, 3, 4, 6), page(0, 2, 3, 4)
    for t_s in range(5):
        detector.feed(float(t_s), full)
    after = [detector.feed(float(t_s), less) for t_s in range(5, 12)]
    assert {each.change for each in after} == {Change.NONE}
    assert not any(each.keep for each in after)


def test_settled_picture_is_offered_as_the_best_one() -> None:
    detector = SlideDetector()
    detector.feed(0.0, page(0, 2))
    assert detector.feed(1.0, page(0, 2)).keep
    detector.feed(2.0, page(0, 2, 4))
    assert any(detector.feed(t_s, page(0, 2, 4)).keep for t_s in (3.0, 4.0, 5.0))


def test_pointer_that_comes_to_rest_is_nothing() -> None:
    with_pointer = page(0, 2, 3)
    with_pointer[60:63, 100:102] = 0
    assert changes([page(0, 2, 3)] * 5 + [with_pointer] * 9) == [(Change.FIRST, 0.0)]


def test_inset_that_moves_all_the_time_is_nothing() -> None:
    def with_inset(number: int, seed: int) -> Gray:
        picture = page(0, 2, 3, 4, seed=seed)
        picture[60:90, 130:160] = noise(number)[60:90, 130:160]
        return picture

    shown = [with_inset(n, 0) for n in range(30)] + [with_inset(n, 1) for n in range(30, 60)]
    assert [c for c, _ in changes(shown)] == [Change.FIRST, Change.SLIDE]


def test_even_change_of_brightness_is_nothing() -> None:
    assert changes([page(0, 2, ground=250)] * 5 + [page(0, 2, ground=215)] * 5) == [
        (Change.FIRST, 0.0)
    ]


def test_blank_pictures_are_no_slides() -> None:
    black, white = np.zeros((HEIGHT, WIDTH), np.uint8), np.full((HEIGHT, WIDTH), 255, np.uint8)
    assert changes([black] * 5 + [white] * 5) == []
    shown = [black] * 3 + [page(0, 2, 3)] * 5 + [black] * 5 + [page(1, 4, 5, seed=9)] * 5
    assert changes(shown) == [(Change.FIRST, 3.0), (Change.SLIDE, 13.0)]


def test_slide_shown_for_the_last_second_only_is_found_at_the_end() -> None:
    shown = [page(0, 2, 3)] * 6 + [page(1, 4, 5, seed=2)]
    assert changes(shown) == [(Change.FIRST, 0.0), (Change.SLIDE, 6.0)]


def test_camera_gives_one_key_frame_and_the_slide_after_it_is_found() -> None:
    film = [noise(n) for n in range(20)]
    shown = [page(0, 2, 3)] * 8 + film + [page(1, 4, 5, seed=2)] * 10
    assert changes(shown) == [
        (Change.FIRST, 0.0),
        (Change.CAMERA, 8.0),
        (Change.SLIDE, 28.0),
    ]


@pytest.mark.parametrize("hold", [1, 2, 3])
def test_film_gives_a_bounded_number_of_key_frames(hold: int) -> None:
    scenes = [noise(n) for n in range(50)]
    shown = [scenes[n // hold % 50] for n in range(900)]
    assert 1 < len(run(shown)) <= 900 / 30 + 10


def test_flicker_between_two_pictures_is_bounded() -> None:
    pair = (page(0, 2, 3), page(1, 4, 5, seed=2))
    assert len(run(pair[n // 3 % 2] for n in range(1_000))) <= 60 + 100 + 1


def test_times_never_go_back() -> None:
    chance = np.random.default_rng(5)
    shown: list[Gray] = []
    makers: list[Callable[[int], Gray]] = [noise, lambda n: page(0, n % 7 + 1, seed=n % 5)]
    while len(shown) < 300:
        number = int(chance.integers(0, 1_000))
        shown += [makers[number % 2](number)] * int(chance.integers(1, 6))
    times = [each.t_s for each in run(shown)]
    assert len(times) > 5
    assert times == sorted(times)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 7)), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_each_change_is_after_the_one_before_and_none_is_reported_twice(
    parts: list[tuple[int, int]],
) -> None:
    shown = [page(0, 2, 3, 4, seed=seed) for seed, seconds in parts for _ in range(seconds)]
    seen = run(shown)
    assert seen[0].change is Change.FIRST
    assert all(a.t_s < b.t_s for a, b in pairwise(seen))
    assert all(0 <= each.t_s <= len(shown) for each in seen)
    assert len(seen) <= len(parts)


def test_compare_tells_what_went_and_what_came() -> None:
    old, new = page(0, 2), page(0, 5)
    found = compare(old, new)
    assert set(np.nonzero(found.lost)[0]) == {2}
    assert set(np.nonzero(found.gained)[0]) == {5}
    assert set(np.nonzero(found.content)[0]) == {0, 2}


def test_two_pictures_agree_when_only_what_always_moves_differs() -> None:
    def beside(picture: Gray, number: int) -> Gray:
        out = picture.copy()
        out[60:90, 130:160] = noise(number)[60:90, 130:160]
        return out

    detector = SlideDetector()
    assert not detector.agree(page(1, 3), page(1, 3)), "nothing is known yet"
    for t_s in range(20):
        detector.feed(float(t_s), beside(page(1, 3), t_s))
    assert detector.agree(beside(page(2, 5), 100), beside(page(2, 5), 200))
    assert not detector.agree(beside(page(2, 5), 100), beside(page(2, 5, 7), 200))
    assert not detector.agree(beside(page(2, 5, 7), 100), beside(page(2, 5), 200))
    assert not detector.agree(page(2, 5), noise(3))


def test_cells_are_counted_row_by_row() -> None:
    changed = cells_changed(page(), page(3))
    assert set(np.nonzero(changed)[0]) == {3}
    assert set(np.nonzero(changed)[1]) == set(range(1, 12))


def test_blank_means_one_even_colour() -> None:
    assert is_blank(page())
    assert not is_blank(page(1))


def marked(picture: Gray, row: int, light: int = 60) -> Gray:
    """The page with a marker laid over one line."""
    lit = picture.copy()
    band = lit[row * 10 + 1 : row * 10 + 9]
    band[:] = np.clip(band.astype(int) + light, 0, 255)
    return lit


def covered(picture: Gray, column: int) -> Gray:
    """The page with a patterned sleeve over 24 columns of its lower part."""
    out = picture.copy()
    out[20:, column : column + 24] = np.kron(
        np.random.default_rng(5).integers(40, 190, (14, 6)), np.ones((5, 4))
    ).astype(np.uint8)
    return out


def test_marker_that_walks_over_the_lines_is_no_new_slide() -> None:
    text = page(0, 2, 4, 6, ground=30, ink=220)
    shown = [text] * 5 + [marked(text, row) for row in (0, 2, 4, 6) for _ in range(4)]
    assert {c for c, _ in changes(shown)} <= {Change.FIRST, Change.BUILD}


def test_page_after_a_marker_begins_when_it_appears_not_when_the_marker_came() -> None:
    text, other = page(0, 2, 4, 6, ground=30, ink=220), page(0, 2, 4, 6, ground=30, seed=3, ink=220)
    shown = [text] * 6 + [marked(text, 2)] * 2 + [other] * 6
    assert (Change.SLIDE, 8.0) in changes(shown)


def test_sleeve_that_was_in_the_first_picture_of_a_page_is_no_content_that_goes() -> None:
    """A hand moved while the new page was taken; when it left, that was taken for another page."""
    before, sheet = page(0, 1, 2, seed=7), page(0, 1)
    hands = [covered(sheet, 8 * (n % 3) + 60) for n in range(4)]
    shown = [before] * 6 + hands + [sheet] * 10
    assert changes(shown) == [(Change.FIRST, 0.0), (Change.SLIDE, 6.0)]


def test_things_that_move_until_the_end_give_no_slide_there() -> None:
    moving = [covered(page(0), 40 + 9 * (n % 7)) for n in range(14)]
    assert Change.SLIDE not in [c for c, _ in changes([page(0)] * 6 + moving)]
