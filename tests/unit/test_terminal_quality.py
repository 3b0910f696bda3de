"""What triage and the second hearing show: worst first, places, reasons, what was left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gs_video_report.batch.data_models import (
    InputType,
    OutputFile,
    TaskResult,
    TaskStatus,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.mend.quality import BatchQuality, Judged
from gs_video_report.batch.mend.relisten import Redone, RelistenReport, Stretch, choose
from gs_video_report.engines.fetch import url_fingerprint
from gs_video_report.errors import FileMissingError
from gs_video_report.report.quality import Finding, Kind, Quality
from gs_video_report.terminal.quality import (
    quality_json,
    quality_lines,
    relisten_json,
    relisten_lines,
)
from gs_video_report.terminal.styles import width
from tests.support.queue import batch

LOOP = Finding(
    Kind.LOOP,
    ((72.0, 80.0), (90.0, 95.0)),
    14,
    "times",
    0.5,
    "the text repeats itself: 'and so on' 14 times",
)
UNPROVED = Finding(Kind.UNPROVED, (), 2, "statements", 0.1, "2 of 9 statements have no quote")
DOUBTFUL = Quality((LOOP, UNPROVED), engine="local", transcript_source="speech", asr_model="base")
GOOD = Quality((), (Kind.PACE,), engine="local", transcript_source="speech")


def task(seq: int, name: str) -> VideoTask:
    outputs = (OutputFile(f"{name}.html", "html", 1, ""), OutputFile(f"{name}.json", "json", 1, ""))
    return VideoTask(
        task_id=seq,
        batch_id="7f3a0011",
        seq=seq,
        status=TaskStatus.COMPLETED,
        priority=50,
        video=VideoInput(f"/in/{name}", relative_path=name),
        template="summary_report",
        result=TaskResult(outputs=outputs),
    )


def found(*qualities: Quality, unread: tuple[tuple[VideoTask, str], ...] = ()) -> BatchQuality:
    judged = tuple(Judged(task(i, f"talk {i}.mp4"), q) for i, q in enumerate(qualities, start=1))
    return BatchQuality(batch(), judged, unread)


def test_findings_stand_in_lines_with_score_place_and_reason_within_the_width() -> None:
    lines = quality_lines(found(DOUBTFUL, GOOD), 20, columns=80)
    assert lines[0].split() == ["Score", "Task", "Video", "At", "Why"]
    assert lines[1].split()[:5] == ["45", "7f3a0011:1", "talk", "1.mp4", "1:12"]
    assert "+1  the text repeats itself" in lines[1]
    assert any(line.strip().startswith("2 of 9 statements") for line in lines)
    assert max(map(width, lines[:5])) <= 80
    assert lines[-3:] == [
        "2 reports, 1 without any finding",
        "not known (number of reports without the evidence): pace (1)",
        "Next:  gsvr batch retry 7f3a0011 --quality",
    ]


def test_a_limit_hides_the_less_doubtful_and_says_how_many() -> None:
    lines = quality_lines(found(DOUBTFUL, DOUBTFUL, DOUBTFUL), 1, tail=" --db x.db")
    assert "2 more reports: --limit shows more" in lines
    assert lines[-1] == "Next:  gsvr batch retry 7f3a0011 --quality --db x.db"
    assert sum("talk" in line for line in lines) == 1


def test_a_batch_without_doubts_names_no_next_command() -> None:
    settled = replace(DOUBTFUL, heard_again=((60.0, 100.0),))
    assert not any("Next" in line for line in quality_lines(found(settled), 20))
    assert quality_lines(found(GOOD), 20)[0] == "1 report, 1 without any finding"


def test_a_report_that_cannot_be_judged_is_named_and_hostile_names_draw_nothing() -> None:
    broken = (task(3, "x"), "the report cannot be read: No such file or directory")
    lines = quality_lines(found(unread=(broken,)), 20)
    assert "7f3a0011:3  the report cannot be read: No such file or directory" in lines
    evil = replace(LOOP, reason="\x1b[31mred\x1b[0m")
    assert not any("\x1b" in line for line in quality_lines(found(Quality((evil,))), 20))


def test_json_of_triage_is_strict_and_whole() -> None:
    guess = Finding(Kind.LANGUAGE_GUESS, (), 59, "%", 0.1, "guessed")
    value: dict[str, Any] = quality_json(found(replace(DOUBTFUL, findings=(LOOP, guess)), GOOD), 20)
    again = json.loads(json.dumps(value, allow_nan=False))
    assert [r["ref"] for r in again["reports"]] == ["7f3a0011:1", "7f3a0011:2"]
    assert again["reports"][0]["findings"][0] == {
        "kind": "loop",
        "spans": [[72.0, 80.0], [90.0, 95.0]],
        "figure": 14,
        "unit": "times",
        "weight": 0.5,
        "reason": "the text repeats itself: 'and so on' 14 times",
    }
    assert again["reports"][1] == {
        "ref": "7f3a0011:2",
        "name": "talk 2.mp4",
        "score": 100.0,
        "findings": [],
        "unknown": ["pace"],
        "engine": "local",
        "heard_again": False,
        "report": "talk 2.mp4.html",
    }


# --- the second hearing -------------------------------------------------------------------------


def test_only_doubtful_reports_whose_words_were_heard_are_chosen() -> None:
    """By whichever engine: what is in doubt of a remote one is heard here."""
    remote = replace(DOUBTFUL, engine="gemini", transcript_source="engine")
    subtitles = replace(DOUBTFUL, transcript_source="sidecar:talk.srt")
    settled = replace(DOUBTFUL, heard_again=((70.0, 85.0), (85.0, 100.0)))
    texts_only = replace(DOUBTFUL, findings=(UNPROVED,))
    done = RelistenReport(batch())
    chosen = choose(found(DOUBTFUL, remote, subtitles, settled, texts_only, GOOD), 100.0, done)
    assert [judged.task.seq for judged in chosen] == [1, 2]
    assert done.settled == 1
    assert [ref for ref, _, _ in done.left] == ["7f3a0011:3"]
    assert "from subtitles" in done.left[0][2]
    assert choose(found(DOUBTFUL), 45.0, RelistenReport(batch())) == []
    assert len(choose(found(DOUBTFUL), 45.1, RelistenReport(batch()))) == 1


@pytest.mark.parametrize("kind", [InputType.YOUTUBE, InputType.URL])
def test_a_recording_that_a_service_took_from_its_address_is_left_alone(kind: InputType) -> None:
    """Pins: it was downloaded, and then said to have changed since its report was made."""
    address = "https://www.youtube.com/watch?v=abcdefghijk"
    remote = replace(DOUBTFUL, engine="gemini", transcript_source="engine")
    seen = task(1, "a")
    seen = replace(seen, video=VideoInput(address, input_type=kind))
    of_file = replace(seen, result=TaskResult(fingerprint="c" * 64))
    of_address = replace(seen, result=TaskResult(fingerprint=url_fingerprint(address)))
    done = RelistenReport(batch())
    of_batch = BatchQuality(batch(), (Judged(of_address, remote), Judged(of_file, remote)), ())
    assert [judged.task for judged in choose(of_batch, 100.0, done)] == [of_file]
    ((_, _, why),) = done.left
    assert "gemini took the recording from its address" in why


def test_what_became_of_each_stretch_is_told() -> None:
    before, after = {"logprob": -1.28, "missed_s": 9.4}, {"logprob": -0.25, "missed_s": 0.3}
    stretches = (
        Stretch(71.0, 80.0, True, "pieces", before, after),
        Stretch(90.0, 95.0, False, "present", before, before),
    )
    done = RelistenReport(batch(), [Redone(task(1, "talk.mp4"), "talk.mp4", 45.0, 92.0, stretches)])
    done.left.append(("7f3a0011:2", "b.mp4", "written by the engine gemini"))
    done.problems.append(("7f3a0011:3", FileMissingError("c.mp4: there is no such file")))
    assert relisten_lines(done) == [
        "7f3a0011:1  talk.mp4: score 45 -> 92",
        (
            "  1:11-1:20  replaced (heard in shorter pieces): log-probability -1.28 -> -0.25, "
            "speech without text 9.4 -> 0.3 s"
        ),
        "  1:30-1:35  kept: nothing better was heard",
        "7f3a0011:2  b.mp4: left as it is; written by the engine gemini",
        "7f3a0011:3  c.mp4: there is no such file",
        "1 report heard again: 1 of 2 doubtful stretches replaced, 1 kept",
        "Next:  gsvr batch quality 7f3a0011",
    ]
    value = json.loads(json.dumps(relisten_json(done)))
    assert (value["replaced"], value["kept"], value["type"]) == (1, 1, "retry_quality")
    assert value["reports"][0]["stretches"][0]["after"] == after


def test_a_report_of_a_service_tells_what_is_assumed_and_what_is_lost_and_that_none_was_sent() -> (
    None
):
    """It told a log-probability of the first words that nobody had measured."""
    before, after = {"logprob": -0.35, "missed_s": 0.0}, {"logprob": -0.25, "missed_s": 0.0}
    stretch = Stretch(71.0, 80.0, True, "pieces", before, after, assumed=True)
    of_service = replace(task(1, "talk.mp4"), result=TaskResult(engine="gemini"))
    redone = Redone(of_service, "talk.mp4", 45.0, 92.0, (stretch,), translations_lost=2)
    done = RelistenReport(batch(), [redone])
    assert relisten_lines(done)[1:-1] == [
        "  1:11-1:20  replaced (heard in shorter pieces): log-probability not known -> -0.25",
        "  the translation of 2 lines that were replaced is lost",
        "1 report heard again: 1 of 1 doubtful stretch replaced, 0 kept; no request was sent",
    ]
    (told,) = relisten_json(done)["reports"]
    assert (told["translations_lost"], told["stretches"][0]["assumed"]) == (2, True)


def test_nothing_to_do_says_so_and_why() -> None:
    assert relisten_lines(RelistenReport(batch())) == ["nothing to hear again"]
    assert relisten_lines(RelistenReport(batch(), settled=2)) == [
        "nothing to hear again; 2 reports had a second hearing before"
    ]


def test_a_second_hearing_without_any_stretch_is_told_in_a_sentence() -> None:
    """It said "0 of 0 doubtful stretches replaced, 0 kept"."""
    redone = Redone(task(1, "talk.mp4"), "talk.mp4", 92.0, 92.0, ())
    assert relisten_lines(RelistenReport(batch(), [redone]))[-2] == (
        "1 report looked at again: no stretch is in another language, no text was changed"
    )
    failed = RelistenReport(batch())
    failed.problems.append(("7f3a0011:3", FileMissingError("c.mp4: there is no such file")))
    assert relisten_lines(failed)[-2] == (
        "no report could be heard again; the reports are as they were"
    )


def test_one_doubtful_stretch_is_told_in_the_singular() -> None:
    kept = Stretch(90.0, 95.0, False, "present", {}, {})
    redone = Redone(task(1, "talk.mp4"), "talk.mp4", 45.0, 45.0, (kept,))
    assert relisten_lines(RelistenReport(batch(), [redone]))[-2] == (
        "1 report heard again: 0 of 1 doubtful stretch replaced, 1 kept"
    )
