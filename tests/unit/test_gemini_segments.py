"""Stretches of a recording: planned, judged, continued, joined. Pure."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.engines.gemini import segments as seg
from gs_video_report.engines.gemini.client import Reply
from gs_video_report.engines.gemini.options import GeminiOptions
from gs_video_report.engines.gemini.segments import Window
from gs_video_report.engines.llm.seams import join_lines
from gs_video_report.report.model import Segment
from gs_video_report.templates.loader import Template, load_template
from tests.fakes import gemini_bodies as bodies


@pytest.fixture(scope="module")
def template() -> Template:
    return load_template("summary_report")


def reply(text: str, finish: str = "STOP", block: str = "") -> Reply:
    return Reply(text, finish, block, 10, 5, 0, "gemini-3.8-flash")


def told(start_s: float, end_s: float, *, shift_s: float = 0.0) -> str:
    return json.dumps(bodies.answer("abc", start_s, end_s, None, shift_s=shift_s))


# --- plan --------------------------------------------------------------------------------------


@given(
    duration_s=st.floats(0.0, 200_000.0),
    longest_s=st.floats(30.0, 10_000.0),
)
def test_stretches_cover_the_recording_and_overlap(duration_s: float, longest_s: float) -> None:
    windows = seg.plan_windows(duration_s, longest_s)
    assert windows[0].start_s == 0
    assert windows[-1].end_s == duration_s
    assert [w.number for w in windows] == list(range(1, len(windows) + 1))
    for one, following in pairwise(windows):
        assert one.end_s - following.start_s == seg.OVERLAP_S
        assert following.start_s > one.start_s
    for window in windows:
        assert window.length_s <= longest_s
        assert window.start_s == int(window.start_s)
        assert window.whole == (len(windows) == 1)


def test_a_stretch_never_asks_for_more_than_the_model_can_take() -> None:
    sharp = GeminiOptions(fps=10.0, media_resolution="high")
    length = seg.segment_length_s(sharp, 1_000_000)
    assert sharp.media_tokens(length) <= 800_000
    assert seg.segment_length_s(GeminiOptions()) == 1200.0


def test_halves_overlap_and_end_somewhere() -> None:
    window = Window(0.0, 600.0, whole=True)
    first, second = window.halves() or (window, window)
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0, 300, 295, 600)
    assert not first.whole
    assert Window(0.0, 29.0).halves() is None


@given(at=st.floats(-100.0, 2000.0))
def test_the_rest_of_a_stretch_is_always_shorter(at: float) -> None:
    window = Window(100.0, 1000.0, whole=True)
    rest = window.rest(at)
    assert window.start_s < rest.start_s < rest.end_s == window.end_s


# --- verdicts ----------------------------------------------------------------------------------

WINDOW = Window(600.0, 1200.0, 2, 3)


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (reply(told(600, 1200)), seg.DONE),
        (reply(f"Sure!\n```json\n{told(600, 1200)}\n```"), seg.DONE),
        (reply(told(600, 1200)[:900], "MAX_TOKENS"), seg.CUT),
        (reply(told(600, 1200)[:900]), seg.CUT),
        (reply(told(600, 1200), "MAX_TOKENS"), seg.CUT),
        (reply("", "MAX_TOKENS"), seg.CUT),
        (reply(""), seg.UNUSABLE),
        (reply("a poem"), seg.UNUSABLE),
        (reply("", "OTHER"), seg.UNUSABLE),
        (reply("", "SAFETY"), seg.BLOCKED),
        (reply("", "", "PROHIBITED_CONTENT"), seg.BLOCKED),
        (reply(told(600, 1200)[:900], "RECITATION"), seg.BLOCKED),
        (reply(told(600, 1200), "SOMETHING_NEW"), seg.DONE),
    ],
)
def test_replies_are_judged(template: Template, made: Reply, kind: str) -> None:
    assert seg.judge(made, template, WINDOW).kind == kind


def test_what_came_before_a_refusal_is_kept(template: Template) -> None:
    verdict = seg.judge(reply(told(600, 1200)[:900], "RECITATION"), template, WINDOW)
    assert verdict.answer.segments
    assert verdict.reason == "RECITATION"


def test_half_a_line_is_never_kept(template: Template) -> None:
    text = told(0, 600)
    window = Window(0.0, 600.0)
    whole = {s.text for s in seg.judge(reply(text), template, window).answer.segments}
    for cut in range(10, 2000, 7):
        verdict = seg.judge(reply(text[:cut], "MAX_TOKENS"), template, window)
        assert {s.text for s in verdict.answer.segments} <= whole


def test_a_template_without_a_schema_still_gets_the_transcript(template: Template) -> None:
    plain = replace(template, response_schema=None)
    assert "segments" in seg.video_schema(plain)["properties"]
    assert seg.judge(reply(told(600, 1200)), plain, WINDOW).answer.segments
    assert seg.video_schema(template) == template.response_schema


# --- times -------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [WINDOW, Window(300.0, 1200.0), Window(60.0, 1200.0)])
def test_times_counted_from_the_stretch_are_moved(template: Template, window: Window) -> None:
    """Window(300, 1200) pins that a share of times that would fit both ways does not decide."""
    moved = told(window.start_s, window.end_s, shift_s=window.start_s)
    answer = seg.judge(reply(moved), template, window).answer
    asked = seg.judge(reply(told(window.start_s, window.end_s)), template, window).answer
    assert answer.segments == asked.segments
    assert answer.chapters == asked.chapters
    assert answer.summary == asked.summary


def test_times_of_the_whole_recording_stay(template: Template) -> None:
    answer = seg.judge(reply(told(590, 1210)), template, WINDOW).answer
    assert answer.segments[0].start_s == 590


# --- seams -------------------------------------------------------------------------------------


def line(n: int, *, off: float = 0.0, text: str = "") -> Segment:
    return Segment(n * 10.0 + off, n * 10.0 + 8 + off, text or bodies.line_text("abc", n))


def test_nearly_alike_lines_are_all_kept() -> None:
    """Pins a lost line: `Line 103 ...` was taken for the double of `Line 101 ...`."""
    first, second = [line(n) for n in range(103)], [line(n) for n in range(102, 206)]
    joined = join_lines(first, second, 1017.0, 1027.0)
    assert [s.text for s in joined] == [line(n).text for n in range(206)]


@given(
    total=st.integers(4, 60),
    cut=st.integers(1, 58),
    off=st.floats(-3.0, 3.0),
)
def test_no_seam_loses_or_doubles_a_line_when_times_are_a_little_off(
    total: int, cut: int, off: float
) -> None:
    cut = min(cut, total - 2)
    start, end = cut * 10.0, cut * 10.0 + 12
    first = [line(n) for n in range(total) if n * 10.0 < end]
    second = [line(n, off=off) for n in range(total) if n * 10.0 >= start]
    joined = join_lines(first, second, start, end)
    assert sorted(s.text for s in joined) == sorted(line(n).text for n in range(total))


def test_a_line_that_the_seam_cuts_is_kept_whole_once() -> None:
    first = [line(0), line(1, text="and this is where the")]
    second = [line(1, text="and this is where the sum of all squares comes from"), line(2)]
    joined = join_lines(first, second, 10.0, 16.0)
    assert [s.text for s in joined] == [first[0].text, second[0].text, second[1].text]


def test_a_translation_survives_the_seam() -> None:
    first, second = [replace(line(1), translation="一")], [line(1), line(2)]
    assert join_lines(first, second, 10.0, 20.0)[0].translation == "一"


def test_the_same_words_said_again_later_are_two_lines() -> None:
    first = [line(n, text="Any questions?") for n in range(3)]
    second = [line(n, text="Any questions?") for n in range(2, 5)]
    assert len(join_lines(first, second, 20.0, 30.0)) == 5


# --- lines of the whole ------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 60)), max_size=12))
def test_finished_lines_are_in_order_and_inside_and_none_is_dropped(
    spans: list[tuple[float, float]],
) -> None:
    lines = [Segment(start, start + length, f"{n}") for n, (start, length) in enumerate(spans)]
    made = seg.finish_lines(lines, 300.0)
    assert sorted(s.text for s in made) == sorted(s.text for s in lines)
    for one, following in pairwise(made):
        assert one.start_s <= following.start_s
        assert one.end_s <= following.start_s or one.start_s == following.start_s
    assert all(0 <= s.start_s <= s.end_s <= 300.0 for s in made)
