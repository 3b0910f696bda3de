"""Better words in the report of a remote engine, and what rests on them."""

from __future__ import annotations

from typing import Any

from gs_video_report.engines import stages
from gs_video_report.engines.rehearing import (
    ASSUMED_LOGPROB,
    NOTICE,
    doubtful_parts,
    patched,
    text_of_chunk,
)
from gs_video_report.report.model import (
    KeyTerm,
    MediaInfo,
    Notice,
    Provenance,
    Segment,
    SummaryPoint,
    VideoReport,
)

RATE = stages.SAMPLE_RATE
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


def test_text_of_a_chunk_has_the_words_that_lie_in_it_and_times_for_them() -> None:
    across = Segment(18.0, 22.0, "one two three four")
    told = text_of_chunk([BAD, across, GOOD], *FIRST)
    assert [s["text"] for s in told["segments"]] == [LOOP.strip(), "one two"]
    assert {s["avg_logprob"] for s in told["segments"]} == {ASSUMED_LOGPROB}
    assert all(0 <= w["start_s"] < w["end_s"] <= 20 for s in told["segments"] for w in s["words"])
    sure = text_of_chunk([Segment(1.0, 2.0, "yes", confidence=-0.9)], *FIRST)
    assert [s["avg_logprob"] for s in sure["segments"]] == [-0.9]


def test_text_without_spaces_is_cut_into_letters() -> None:
    told = text_of_chunk([Segment(0.0, 10.0, "\u6f6e\u6c50\u968f\u7740\u6708\u4eae" * 3)], *FIRST)
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


def test_a_report_whose_words_stay_only_tells_that_they_were_heard() -> None:
    before = report(BAD, GOOD, notices=(Notice("by_model", "By a model."),))
    after = patched(before, {0: value(*FIRST, None)})
    assert (after.segments, after.notices) == (before.segments, before.notices)
    (told,) = after.provenance.parameters["heard_again"]
    assert told["replaced"] is False
