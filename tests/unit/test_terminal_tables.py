"""Tables and cards, and their JSON twins."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchRow,
    BatchStatus,
    Doubt,
    OutputFile,
    TaskResult,
    TaskStatus,
)
from gs_video_report.terminal.failures import group_failures
from gs_video_report.terminal.styles import width
from gs_video_report.terminal.tables import (
    CheckpointLine,
    batch_list,
    batch_list_json,
    batch_status,
    batch_status_json,
    checkpoint_list,
    checkpoint_list_json,
    short_refs,
)
from gs_video_report.terminal.task_card import task_show, task_show_json
from gs_video_report.terminal.times import when
from tests.support.terminal_play import NO_MEDIA, make_batch, make_task

NOW = datetime(2026, 11, 22, 16, 0, tzinfo=timezone(timedelta(hours=1)))


@dataclass
class State:
    row: BatchRow
    counts: BatchCounts
    word: str
    hint: str = ""
    doubt: Doubt = field(default_factory=Doubt)


COUNTS = BatchCounts(
    pending=11,
    running=4,
    completed=31,
    failed=2,
    media_s_total=111_900,
    media_s_done=76_080,
    usd=2.91,
)
RUNNING = State(make_batch(), COUNTS, "running")
PAUSED = State(
    replace(
        make_batch("seminar"),
        batch_id="c2100000",
        status=BatchStatus.PAUSED,
        status_reason="daily quota spent",
        started_at="2026-11-20T08:30:00Z",
        resume_at="2026-11-23T08:00:00Z",
    ),
    BatchCounts(pending=68, completed=12),
    "paused",
)


def test_the_list_of_batches() -> None:
    assert batch_list([RUNNING, PAUSED], now=NOW) == [
        "REF   STARTED      STATE     DONE  FAILED   MEDIA   COST  INPUT",
        "7f3a  today 15:02  running  31/48       2  31h05m  $2.91  ./lectures",
        "c210  Fri 09:30    paused   12/80       -       -      -  ./seminar",
        "",
        "c210 paused: daily quota spent, can go on tomorrow 09:00",
        "     gsvr batch resume c210",
    ]


def test_an_empty_list_tells_how_to_begin() -> None:
    assert batch_list([], now=NOW) == ["No batches yet. Start one:  gsvr batch process -d FOLDER"]
    assert batch_list_json([]) == {"v": 1, "type": "batches", "batches": []}


def test_a_long_input_gives_way_to_the_width() -> None:
    long = State(
        replace(make_batch(), input_spec={"path": "./" + "很长的文件夹" * 20}), COUNTS, "running"
    )
    assert all(width(line) <= 80 for line in batch_list([long], now=NOW))


def test_a_long_name_of_a_running_video_gives_way_to_the_width() -> None:
    started = "2026-11-22T14:50:00Z"
    running = [make_task(3, "讲座" + "x" * 240 + ".mp4", stage="transcribe", started_at=started)]
    lines = batch_status(RUNNING, running=running, now=NOW, columns=80)
    (line,) = [line for line in lines if "讲座" in line]
    assert width(line) == 80
    assert line.endswith(".mp4   transcribe  10:00")


def test_list_and_json_come_from_the_same_rows() -> None:
    first = batch_list_json([RUNNING, PAUSED])["batches"][0]
    assert (first["batch"], first["state"], first["total"]) == ("7f3a91c2", "running", 48)
    assert (first["completed"], first["failed"], first["usd"]) == (31, 2, 2.91)
    json.dumps(first)


@given(st.sets(st.text(alphabet="0123456789abcdef", min_size=8, max_size=8), max_size=40))
def test_short_references_are_unique_prefixes(ids: set[str]) -> None:
    refs = short_refs(ids)
    assert set(refs) == ids
    for batch_id, ref in refs.items():
        assert len(ref) >= 4
        assert [other for other in ids if other.startswith(ref)] == [batch_id]


def test_the_status_card_ends_with_the_next_command() -> None:
    groups = group_failures([("week02/broken.mp4", NO_MEDIA), ("a.mp4", NO_MEDIA)])
    running = [make_task(3, "a.mp4", stage="audio", started_at="2026-11-22T14:50:00Z")]
    assert batch_status(RUNNING, groups, running=running, now=NOW) == [
        "Batch 7f3a91c2 lectures   running",
        "  input     ./lectures",
        "  engine    auto, template transcript",
        "  videos    31/48 done, 2 failed, 4 running, 11 pending",
        "  media     21h08m of 31h05m known (67 %)",
        "  cost      $2.91",
        "  output    ./batch_output",
        "  started   today 15:02, 58 min ago",
        "       3 a.mp4   audio  10:00",
        "Failed, by cause:",
        "  2  no media in file  week02/broken.mp4, a.mp4",
        "     fix: copy the file again",
        "Next:  gsvr batch watch 7f3a91c2",
    ]


@pytest.mark.parametrize(
    ("word", "counts", "command"),
    [
        ("paused", COUNTS, "gsvr batch resume 7f3a91c2"),
        ("interrupted", COUNTS, "gsvr batch resume 7f3a91c2"),
        ("completed", BatchCounts(completed=1, failed=1), "gsvr batch retry 7f3a91c2 --failed"),
        ("completed", BatchCounts(completed=1), "gsvr batch verify 7f3a91c2"),
    ],
)
def test_the_next_command_fits_the_state(word: str, counts: BatchCounts, command: str) -> None:
    state = State(make_batch(), counts, word)
    assert batch_status(state, now=NOW)[-1] == f"Next:  {command}"
    assert batch_status_json(state)["next"] == command


def test_one_task_with_attempts_outputs_and_events() -> None:
    result = TaskResult(
        outputs=(OutputFile("t/guest.md", "markdown", 12_000, "00"),),
        stage_s={"probe": 0.1, "audio": 4.2},
        language="en",
        warnings=("no speech after 3:10",),
    )
    task = make_task(17, "week05/guest.mp4", 1200.0, status=TaskStatus.COMPLETED, result=result)
    attempts = [
        {
            "attempt": 1,
            "started_at": "2026-11-22T14:02:00Z",
            "seconds": 131.0,
            "outcome": "failed",
            "error": {"message": "blocked\nby provider"},
        }
    ]
    events = [{"at": "2026-11-22T14:02:00Z", "kind": "claimed", "data": {"worker": "h-1/w1"}}]
    assert task_show(task, attempts, events, now=NOW, tries=4, usd=0.02) == [
        "7f3a91c2:17 week05/guest.mp4   completed   attempt 1 of 4   2:11, $0.02 spent",
        "  source    /in/week05/guest.mp4",
        "  length    20:00",
        "  template  chinese_transcript",
        "  stages    probe 0.1s, audio 4.2s",
        "  language  en",
        "  note      no speech after 3:10",
        "  outputs",
        "    markdown  t/guest.md  12 kB",
        "  attempts",
        "      1  today 15:02        2:11  failed: blocked\\nby provider",
        "  events",
        "    today 15:02:00   claimed worker=h-1/w1",
    ]


def test_a_failed_task_shows_its_error_and_the_way_on() -> None:
    task = make_task(17, "b.mp4", status=TaskStatus.FAILED, error=NO_MEDIA)
    lines = task_show(task, now=NOW)
    assert "  error     broken.mp4: no media in file (stage probe)  E_NO_MEDIA" in lines
    assert "  next      copy the file again" in lines
    value = task_show_json(task, [{"attempt": 1}])
    assert value["row"]["error"]["code"] == "E_NO_MEDIA"
    assert value["attempts"] == [{"attempt": 1}]


def test_checkpoints_that_cannot_be_read_are_listed_as_such() -> None:
    lines = [
        CheckpointLine("7f3a-1", "7f3a91c2", "2026-11-22T14:05:00Z", "interval", 48, 21_000),
        CheckpointLine("7f3a-2", "7f3a91c2", "2026-11-22T14:06:00Z", "end", 48, 9, "cut short"),
    ]
    assert checkpoint_list(lines, now=NOW) == [
        "CHECKPOINT  BATCH     TAKEN        TASKS   SIZE  WHY",
        "7f3a-1      7f3a91c2  today 15:05     48  21 kB  interval",
        "7f3a-2      7f3a91c2  today 15:06     48    9 B  unreadable: cut short",
    ]
    assert checkpoint_list([], now=NOW) == [
        "No checkpoints yet. A running batch writes them by itself."
    ]
    assert checkpoint_list_json(lines)["checkpoints"][1]["problem"] == "cut short"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-22T23:30:00Z", "tomorrow 00:30"),
        ("2026-11-21T10:00:00Z", "yesterday 11:00"),
        ("2026-11-18T10:00:00Z", "Wed 11:00"),
        ("2026-10-01T10:00:00Z", "2026-10-01 11:00"),
        (None, "-"),
        ("soon", "soon"),
    ],
)
def test_times_are_told_in_the_zone_of_the_reader(text: str | None, shown: str) -> None:
    assert when(text, NOW) == shown
