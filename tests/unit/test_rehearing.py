"""Better words in the report of a remote engine, and what rests on them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.engines.hearing.rehearing import NOTICE, doubtful_parts, patched
from gs_video_report.engines.hearing.rehearing_lines import (
    ASSUMED_LOGPROB,
    SLACK_S,
    lies_in,
    stretches,
    text_of,
)
from gs_video_report.engines.hearing.sound import SAMPLE_RATE
from gs_video_report.report.model import (
    KeyTerm,
    MediaInfo,
    Notice,
    Provenance,
    Segment,
    SummaryPoint,
    VideoReport,
)

RATE = SAMPLE_RATE
FIRST, SECOND = (0, 20 * RATE), (20 * RATE, 40 * RATE)
LOOP = "and so on " * 15
MEASURE = {"logprob": -0.3, "missed_s": 0.0}


def report(*segments: Segment, **more: Any) -> VideoReport:
    return VideoReport(
        media=MediaInfo("t", "t.mp4", "/t.mp4", 40.0, 1),
        provenance=Provenance(
            engine="gemini", engine_version="1", template="t", template_version="1",
            tool_version="1", transcript_source="engine", parameters=more.pop("parameters", {}),
        ),
        language="en",
        segments=segments,
        **more,
    )  # fmt: skip


def value(start: int, end: int, text: str | None) -> dict[str, Any]:
    attempts = [
        {"way": way, "languages": ["en"], "measure": MEASURE, "cost": 0.3}
        for way in ("present", "pieces")
    ]
    line = {
        "start_s": start / RATE + 1,
        "end_s": start / RATE + 5,
        "text": text,
        "avg_logprob": -0.2,
    }
    return {
        "start": start, "end": end, "model": "base", "attempts": attempts,
        "way": "present" if text is None else "pieces",
        "kept": None if text is None else {"text": text, "segments": [line]},
    }  # fmt: skip


GOOD = Segment(21.0, 30.0, "Tides follow the moon around the earth.")
BAD = Segment(2.0, 18.0, LOOP.strip())


def test_chunks_in_doubt_are_heard_once() -> None:
    speech = ((1.0, 19.0), (21.0, 39.0))
    plan = [FIRST, SECOND]
    assert doubtful_parts(report(BAD, GOOD), plan, ((1.0, 19.0), (21.0, 30.0))) == [0]
    assert doubtful_parts(report(BAD, GOOD), plan, speech) == [0, 1], "the end has no words"
    heard = {"heard_again": [{"start_s": 0.0, "end_s": 20.0}]}
    assert doubtful_parts(report(BAD, GOOD, parameters=heard), plan, speech) == [1]


def test_text_of_a_stretch_has_its_whole_lines_and_times_for_their_words() -> None:
    across = Segment(18.0, 22.0, "one two three four")
    told = text_of([BAD, across, GOOD], *FIRST)
    assert [s["text"] for s in told["segments"]] == [LOOP.strip()]
    assert {s["avg_logprob"] for s in told["segments"]} == {ASSUMED_LOGPROB}
    assert all(0 <= w["start_s"] < w["end_s"] <= 20 for s in told["segments"] for w in s["words"])
    sure = text_of([Segment(1.0, 2.0, "yes", confidence=-0.9)], *FIRST)
    assert [s["avg_logprob"] for s in sure["segments"]] == [-0.9]


def test_text_without_spaces_is_cut_into_letters() -> None:
    told = text_of([Segment(0.0, 10.0, "\u6f6e\u6c50\u968f\u7740\u6708\u4eae" * 3)], *FIRST)
    assert len(told["segments"][0]["words"]) == 18


def test_what_rests_on_replaced_words_is_looked_at_again() -> None:
    points = (
        SummaryPoint("Loops.", 3.0, "and so on and so on", True),
        SummaryPoint("Tides.", 21.0, "follow the moon around", True),
    )
    terms = (KeyTerm("moon", 0.9, 1, 21.0), KeyTerm("so on", 0.5, 15, 2.0))
    before = report(BAD, GOOD, summary=points, key_terms=terms)
    after = patched(before, {0: value(*FIRST, "The moon pulls the water.")})
    assert [s.text for s in after.segments] == ["The moon pulls the water.", GOOD.text]
    assert [p.proved for p in after.summary] == [False, True]
    assert [(t.term, t.score, t.count, t.first_s) for t in after.key_terms] == [
        ("moon", 0.9, 2, 1.0), ("so on", 0.5, 0, None),
    ]  # fmt: skip
    assert [n.code for n in after.notices] == [NOTICE, "unproved"]
    (told,) = after.provenance.parameters["heard_again"]
    assert (told["start_s"], told["end_s"], told["replaced"]) == (0.0, 20.0, True)
    assert told["assumed"] is True
    sure = report(replace(BAD, confidence=-0.9), GOOD)
    (told,) = patched(sure, {0: value(*FIRST, "Tides.")}).provenance.parameters["heard_again"]
    assert "assumed" not in told


def test_a_report_whose_words_stay_only_tells_that_they_were_heard() -> None:
    before = report(BAD, GOOD, notices=(Notice("by_model", "By a model."),))
    after = patched(before, {0: value(*FIRST, None)})
    assert (after.segments, after.notices) == (before.segments, before.notices)
    (told,) = after.provenance.parameters["heard_again"]
    assert told["replaced"] is False


# --- borders of lines and of chunks --------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "heard"),
    [([(0, 10)], (0, 13)), ([(0, 9)], (0, 13)), ([(0, 9), (9, 20)], (0, 6))],
)
def test_a_chunk_ends_where_a_line_does(
    chunks: list[tuple[int, int]], heard: tuple[int, int]
) -> None:
    """Pins: a line over the border was lost with what was said behind it, or stayed and doubled."""
    line = Segment(6.0, 13.0, "one two three four five six seven")
    plan = [(a * RATE, b * RATE) for a, b in chunks]
    first = stretches(plan, [Segment(1.0, 5.0, "zero"), line])[0]
    assert first == (heard[0] * RATE, heard[1] * RATE)


def test_a_stretch_that_was_heard_again_stays_one_piece() -> None:
    lines = [Segment(1.0, 8.0, "a"), Segment(8.5, 10.4, "b"), Segment(11.0, 19.0, "c")]
    plan = [(0, 9 * RATE), (9 * RATE, 20 * RATE)]
    assert stretches(plan, lines) == [(0, round(8.5 * RATE)), (round(8.5 * RATE), 20 * RATE)]
    heard = stretches(plan, lines, [(0.0, 10.4)])
    assert heard == [(0, round(10.4 * RATE)), (round(10.4 * RATE), 20 * RATE)]
    told = {"heard_again": [{"start_s": 0.0, "end_s": 10.4}]}
    looped = [replace(lines[0], text=LOOP), lines[1], replace(lines[2], text=LOOP)]
    speech = ((1.0, 19.0),)
    assert doubtful_parts(report(*looped, parameters=told), heard, speech) == [1]


def seconds(most: int) -> st.SearchStrategy[float]:
    return st.integers(0, most * 20).map(lambda n: n / 20)


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[Segment]]:
    """Chunks in order, with pauses; lines anywhere, which overlap as they like."""
    marks = sorted(draw(st.sets(st.integers(0, 60 * 20), min_size=2, max_size=10)))
    plan = [(a * RATE // 20, b * RATE // 20) for a, b in pairwise(marks)]
    plan = plan[:: draw(st.sampled_from([1, 2]))]
    spans = sorted(draw(st.lists(st.tuples(seconds(60), seconds(12)), max_size=12)))
    lines = [Segment(a, a + length, f"w{n} x{n}") for n, (a, length) in enumerate(spans)]
    return plan, lines


@settings(max_examples=150, deadline=None)
@given(recordings(), st.integers(0, 1023))
def test_what_was_said_outside_the_heard_stretches_is_kept_once_and_in_order(
    recording: tuple[list[tuple[int, int]], list[Segment]], chosen: int
) -> None:
    plan, lines = recording
    found = stretches(plan, lines)
    assert all(a[1] <= b[0] for a, b in pairwise(found))
    heard = [part for n, part in enumerate(found) if chosen >> n & 1]
    for start, end in heard:
        for line in lines:
            shared = min(line.end_s, end / RATE) - max(line.start_s, start / RATE)
            assert shared <= SLACK_S or lies_in(line, start, end), "heard, but not replaced"
    values = {n: value(*part, "new") for n, part in enumerate(heard)}
    for one in values.values():
        one["kept"]["segments"][0]["start_s"] = one["start"] / RATE
    after = patched(report(*lines), values).segments
    outside = [s for s in lines if not any(lies_in(s, *part) for part in heard)]
    assert [s for s in after if s.text != "new"] == outside
    assert sum(s.text == "new" for s in after) == len(heard)


def test_new_lines_keep_the_speaker_and_a_lost_translation_is_told() -> None:
    line = replace(BAD, speaker="Ann", translation="und so weiter")
    after = patched(report(line, GOOD), {0: value(*FIRST, "The moon.")})
    assert [s.speaker for s in after.segments] == ["Ann", None]
    assert after.notices[0].message.endswith(
        "; the translation of 1 line that was replaced is lost."
    )
    two = patched(
        report(replace(BAD, end_s=9.0, speaker="Bob"), replace(line, start_s=9.0)),
        {0: value(*FIRST, "The moon.")},
    )
    assert [s.speaker for s in two.segments] == [None]
    assert "1 stretch was heard" in two.notices[0].message
    again = patched(after, {1: value(*SECOND, "Tides.")})
    assert "2 stretches were heard" in again.notices[0].message
    assert "translation of 1 line" in again.notices[0].message
