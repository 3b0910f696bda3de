"""Triage: each sign is found with place and figure, and the worse report scores less."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.report.json_out import to_json
from gs_video_report.report.model import (
    MediaInfo,
    Provenance,
    Section,
    Segment,
    Slide,
    SummaryPoint,
    VideoReport,
    Word,
)
from gs_video_report.report.quality import (
    PACE_REPORTS,
    WHOLE,
    Kind,
    Quality,
    assess,
    compare,
    weight_of,
    worst_first,
)
from gs_video_report.report.quality_files import assess_files
from gs_video_report.report.quality_speech import (
    MISSED_S,
    merged,
    missing_text,
    subtract,
    text_without_speech,
    total_s,
)
from tests.support.lectures import CHINESE, ENGLISH

WORDS = " ".join(ENGLISH.split()).split(" ")
GERMAN = (
    "und dann haben wir gesehen dass es nicht so einfach ist wie man sich das am Anfang gedacht "
    "hat weil die anderen immer noch auf der Suche nach einer besseren Lösung sind"
)


def spoken(
    words: list[str] = WORDS, start_s: float = 0.0, confidence: float = -0.2, per_s: float = 2.5
) -> list[Segment]:
    """Words at an even pace, ten to a segment, each with its time."""
    made = []
    for at in range(0, len(words), 10):
        timed = tuple(
            Word(
                round(start_s + (at + i) / per_s, 3),
                round(start_s + (at + i + 1) / per_s, 3),
                f" {w}",
            )
            for i, w in enumerate(words[at : at + 10])
        )
        text = "".join(w.text for w in timed).strip()
        made.append(
            Segment(timed[0].start_s, timed[-1].end_s, text, words=timed, confidence=confidence)
        )
    return made


def report(
    segments: list[Segment],
    speech: list[tuple[float, float]] | None = None,
    *,
    language: str = "en",
    **more: Any,
) -> VideoReport:
    end_s = max([s.end_s for s in segments] + [b for _, b in speech or ()], default=0.0)
    return VideoReport(
        MediaInfo("Talk", "talk.mp4", "talk.mp4", end_s, 1, audio_tracks=1),
        Provenance("local", transcript_source="speech"),
        language=language,
        segments=tuple(segments),
        speech=None if speech is None else tuple(speech),
        **more,
    )


def kinds(quality: Quality) -> list[Kind]:
    return [f.kind for f in quality.findings]


def test_a_good_report_has_no_finding_and_a_full_score() -> None:
    segments = spoken()
    quality = assess(report(segments, [(0.0, segments[-1].end_s)]))
    assert (quality.findings, quality.unknown, quality.score) == ((), (), 100.0)


def test_a_loop_is_found_over_the_borders_of_segments() -> None:
    words = WORDS[:40] + ["and", "so", "on", "again"] * 10 + WORDS[40:80]
    segments = spoken(words)
    quality = assess(report(segments, [(0.0, segments[-1].end_s)]))
    (loop,) = quality.findings
    assert (loop.kind, loop.figure, loop.unit) == (Kind.LOOP, 10.0, "times")
    assert loop.spans == ((16.0, 32.0),)
    assert loop.reason == "the text repeats itself: 'and so on again' 10 times"
    assert quality.score < 25


def test_speech_without_text_is_found_with_its_seconds() -> None:
    first, second = spoken(WORDS[:50]), spoken(WORDS[50:100], start_s=50.0)
    quality = assess(report(first + second, [(0.0, 70.0)]))
    (gap,) = quality.findings
    assert gap.kind is Kind.MISSING_TEXT
    ((start, end),) = gap.spans
    assert 20.0 <= start < 21.0
    assert 49.0 < end <= 50.0
    assert gap.figure == pytest.approx(end - start, abs=0.1)


def test_pauses_between_words_are_no_missing_text() -> None:
    segments = spoken(WORDS[:60], per_s=1.0)
    assert assess(report(segments, [(0.0, 60.0)])).findings == ()


def test_speech_without_any_text_at_all_is_the_worst() -> None:
    nothing = assess(report([], [(3.0, 60.0)]))
    assert kinds(nothing) == [Kind.MISSING_TEXT]
    assert nothing.score < 15


def test_text_where_nobody_speaks_is_found() -> None:
    real, invented = spoken(WORDS[:50]), spoken(["Thank", "you"] * 3, start_s=60.0)
    quality = assess(report(real + invented, [(0.0, 20.0)]))
    (finding,) = quality.findings
    assert finding.kind is Kind.TEXT_WITHOUT_SPEECH
    assert finding.spans == ((60.0, 62.4),)


def test_another_language_is_found_in_latin_and_in_chinese_script() -> None:
    mixed = spoken(WORDS[:60]) + spoken(GERMAN.split(), 24.0) + spoken(WORDS[60:120], 37.0)
    (flip,) = assess(report(mixed, [(0.0, 61.0)])).findings
    assert flip.kind is Kind.LANGUAGE_FLIP
    assert flip.reason.endswith("look like de in a recording in en")
    chinese = Segment(24.0, 34.0, "，".join(CHINESE.split()[:5]), confidence=-0.2)
    (flip,) = assess(report([*spoken(WORDS[:60]), chinese], [(0.0, 34.0)])).findings
    assert "look like zh" in flip.reason


def test_terms_of_another_language_are_no_flip() -> None:
    words = [
        *WORDS[:60],
        "as",
        "Germans",
        "say",
        "Weltanschauung",
        "and",
        "Zeitgeist",
        *WORDS[60:90],
    ]
    segments = spoken(words)
    assert assess(report(segments, [(0.0, segments[-1].end_s)])).findings == ()


def test_a_language_that_was_really_spoken_is_no_finding_after_the_second_hearing() -> None:
    french = (
        "et puis nous avons vu que ce n'est pas aussi simple pour les gens qui sont dans la rue"
    )
    mixed = [*spoken(WORDS[:60]), Segment(24.0, 34.0, french, confidence=-0.2)]
    made = report(mixed, [(0.0, 34.0)])
    assert kinds(assess(made)) == [Kind.LANGUAGE_FLIP]
    again = {"start_s": 23.0, "end_s": 35.0, "languages": ["en", "fr"]}
    heard = replace(made.provenance, parameters={"heard_again": [again]})
    assert assess(replace(made, provenance=heard)).findings == ()


def test_words_the_recogniser_doubts_are_found() -> None:
    segments = spoken(WORDS[:50]) + spoken(WORDS[50:70], start_s=20.0, confidence=-1.1)
    (finding,) = assess(report(segments, [(0.0, 28.0)])).findings
    assert (finding.kind, finding.spans) == (Kind.UNSURE, ((20.0, 28.0),))
    assert finding.reason == "the recogniser was not sure of 8 s (29% of the text)"


def test_what_the_report_lacks_is_unknown_and_not_passed() -> None:
    old = [replace(s, confidence=None) for s in spoken()]
    slide = Slide(0.0, 5.0, "", 1, 1, text="a")
    quality = assess(report(old, None, slides=(slide,)))
    assert quality.findings == ()
    assert quality.unknown == (
        Kind.MISSING_TEXT,
        Kind.TEXT_WITHOUT_SPEECH,
        Kind.UNSURE,
        Kind.UNREADABLE_SLIDES,
    )


@pytest.mark.parametrize(
    "damage",
    [
        b"[]",
        b"[" * 100_000,
        b'{"media": 5}',
        b'"duration_s": "long"',
        b'"duration_s": null',
        b'"parameters": 5',
    ],
)
def test_a_damaged_report_is_told_and_the_others_are_judged(tmp_path: Path, damage: bytes) -> None:
    """One of them ended the command for the whole batch."""
    whole = to_json(report(spoken()))
    key = damage.partition(b":")[0]
    start = whole.find(key + b":")
    broken = damage
    if start >= 0:
        end = whole.index(b"{}" if key == b'"parameters"' else b",", start)
        broken = whole[:start] + damage + whole[end:].removeprefix(b"{}")
        json.loads(broken)
    (tmp_path / "broken.json").write_bytes(broken)
    (tmp_path / "whole.json").write_bytes(whole)
    found = assess_files([str(tmp_path / "broken.json"), str(tmp_path / "whole.json")])
    assert found == ["this is not a report of this version", assess(report(spoken()))]


def test_a_silent_recording_has_nothing_unknown() -> None:
    media = MediaInfo("Silence", "clip.mp4", "clip.mp4", 9.0, 0)
    assert assess(VideoReport(media, Provenance("local"))).unknown == ()


def test_writing_that_could_not_be_read_is_told_but_a_picture_without_writing_is_not() -> None:
    slides = (
        Slide(0.0, 10.0, "", 1, 1, text="Title\nOne line", unread_lines=0),
        Slide(10.0, 20.0, "", 1, 1, text="", unread_lines=7),
        Slide(20.0, 30.0, "", 1, 1, text="", unread_lines=0),
        Slide(30.0, 40.0, "", 1, 1, text="", kind="camera", unread_lines=9),
    )
    (finding,) = assess(report([], [], slides=slides)).findings
    assert (finding.kind, finding.spans) == (Kind.UNREADABLE_SLIDES, ((10.0, 20.0),))
    assert finding.reason == "most of the writing on 1 of 3 slides could not be read"


def test_statements_without_proof_are_counted_and_unchecked_ones_are_not() -> None:
    summary = (
        SummaryPoint("a", 3.0, "x", False),
        SummaryPoint("b", 4.0, "y", True),
        SummaryPoint("c"),
    )
    items = (SummaryPoint("d", None, "z", False),)
    made = report(spoken(), [], summary=summary, sections=(Section("k", "K", items=items),))
    finding = next(f for f in assess(made).findings if f.kind is Kind.UNPROVED)
    assert finding.reason == "2 of 3 statements have no quote that was found"
    assert finding.spans == ((3.0, 3.0),)


# --- pace ---------------------------------------------------------------------------------------


def batch(paces: list[float], language: str = "en") -> dict[str, Quality]:
    """Reports that speak 60 s each with so many letters per minute."""
    return {
        f"b:{i}": assess(
            report(
                [Segment(0.0, 60.0, "x" * round(p), confidence=-0.2)],
                [(0.0, 60.0)],
                language=language,
            )
        )
        for i, p in enumerate(paces, start=1)
    }


def test_a_report_with_far_less_text_than_the_others_stands_out() -> None:
    found = compare(batch([820, 790, 805, 850, 760, 120]))
    assert [ref for ref, q in found.items() if Kind.PACE in kinds(q)] == ["b:6"]
    (finding,) = found["b:6"].findings
    assert finding.reason == ("120 characters per minute, the batch has a median of 797")
    assert worst_first(found)[0][0] == "b:6"


def test_small_differences_in_an_even_batch_are_nothing() -> None:
    assert not any(q.findings for q in compare(batch([800, 800, 800, 800, 801, 850])).values())


def test_the_usual_pace_is_worked_out_once_and_not_once_for_each_report() -> None:
    """Otherwise this would run into the time limit of tests, and 100,000 reports for an hour."""
    (one,) = batch([800]).values()
    (slow,) = batch([120]).values()
    found = compare({f"b:{i}": one for i in range(50_000)} | {"b:slow": slow})
    assert [ref for ref, quality in found.items() if quality.findings] == ["b:slow"]


def test_languages_are_not_compared_and_few_reports_have_no_usual_pace() -> None:
    found = compare(batch([800, 790, 805, 850, 760]) | {"c:1": batch([240], "zh")["b:1"]})
    assert found["c:1"].unknown == (Kind.PACE,)
    assert not any(q.findings for q in found.values())
    assert all(Kind.PACE in q.unknown for q in compare(batch([800] * (PACE_REPORTS - 1))).values())


# --- properties ---------------------------------------------------------------------------------


def test_a_language_guessed_with_doubt_is_told_until_it_was_looked_at() -> None:
    segments = spoken()
    made = report(segments, [(0.0, segments[-1].end_s)], language_probability=0.59)
    quality = assess(made)
    (finding,) = quality.findings
    assert (finding.kind, finding.spans, quality.open_doubts) == (
        Kind.LANGUAGE_GUESS,
        (),
        (WHOLE,),
    )
    assert "guessed as en with 59% certainty" in finding.reason
    looked = {"start_s": 0.0, "end_s": segments[-1].end_s, "languages": ["en"]}
    heard = replace(made.provenance, parameters={"heard_again": [looked]})
    assert assess(replace(made, provenance=heard)).findings == ()
    assert assess(replace(made, language_probability=None)).findings == ()


@given(st.sampled_from(Kind), st.floats(0, 1), st.floats(0, 1))
def test_more_that_is_affected_never_weighs_less(kind: Kind, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 < weight_of(kind, low) <= weight_of(kind, high) < 1


@given(st.lists(st.integers(0, 59), max_size=40))
def test_a_report_that_lost_more_words_never_scores_better(lost: list[int]) -> None:
    segments = spoken(WORDS[:600])
    speech = [(0.0, 240.0)]
    fewer = [s for i, s in enumerate(segments) if i not in set(lost[: len(lost) // 2])]
    fewest = [s for i, s in enumerate(segments) if i not in set(lost)]
    scores = [assess(report(part, speech)).score for part in (segments, fewer, fewest)]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 100 and math.isfinite(score) for score in scores)


@given(st.permutations(list(range(8))))
def test_the_order_of_reports_changes_no_judgement(order: list[int]) -> None:
    found = batch([820, 790, 805, 850, 760, 120, 3000, 810])
    refs = list(found)
    shuffled = {refs[i]: found[refs[i]] for i in order}
    assert compare(shuffled) == compare(found)
    assert [q.score for _, q in worst_first(compare(shuffled))] == [
        q.score for _, q in worst_first(compare(found))
    ]


SPANS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(1, 30)).map(lambda p: (p[0] / 4, (p[0] + p[1]) / 4)),
    max_size=12,
).map(merged)


@given(SPANS, SPANS)
def test_spans_are_ordered_apart_and_conserve_time(
    speech: tuple[tuple[float, float], ...], holes: tuple[tuple[float, float], ...]
) -> None:
    left = subtract(speech, holes)
    assert left == merged(left)
    covered = subtract(speech, left)
    assert total_s(left) + total_s(covered) == pytest.approx(total_s(speech))
    assert total_s(subtract(left, speech)) == 0
    assert total_s(subtract(covered, holes)) == 0


@given(SPANS, SPANS)
def test_found_stretches_lie_in_what_they_are_about(
    speech: tuple[tuple[float, float], ...], texts: tuple[tuple[float, float], ...]
) -> None:
    segments = [Segment(a, b, "word") for a, b in texts]
    for start, end in missing_text(segments, speech):
        assert end - start >= MISSED_S
        assert not any(a < end and start < b for a, b in texts)
    assert total_s(subtract(text_without_speech(segments, speech), merged(texts))) == 0
