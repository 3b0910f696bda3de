"""JSON lines: every line parses, the last one is the summary."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from typing import Any

from gs_video_report.batch.data_models import BatchCounts, TaskError, TaskResult
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.terminal.jsonl import JsonLinesPrinter
from gs_video_report.terminal.printer import TaskLine
from gs_video_report.terminal.stream import json_line, json_text
from tests.support.terminal_play import VirtualClock, make_batch, make_play, make_task


def played(count: int, **options: Any) -> list[dict[str, Any]]:
    stream = io.StringIO()
    play = make_play(
        count,
        4,
        lambda clock: JsonLinesPrinter(stream, now=clock.wall),
        **{"tick_s": 5.0, **options},
    )
    play.run()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_line_has_version_type_and_time_first() -> None:
    for value in played(22)[:-1]:
        assert list(value)[:3] == ["v", "type", "at"]
        assert value["v"] == 1
        assert value["at"].endswith("Z")


def test_batch_comes_first_and_summary_last_with_the_exit_code() -> None:
    values = played(22)
    assert values[0]["type"] == "batch"
    assert [value["type"] for value in values].count("summary") == 1
    last = values[-1]
    assert (last["type"], last["exit_code"], last["completed"], last["failed"]) == (
        "summary",
        3,
        20,
        2,
    )
    assert last["next"] == "gsvr batch retry 7f3a91c2 --failed"
    assert last["failures"][0]["code"] == "E_NO_MEDIA"
    assert last["failures"][0]["count"] == 2


def test_each_video_has_one_task_line() -> None:
    values = played(22)
    tasks = [value["task"] for value in values if value["type"] == "task"]
    assert sorted(tasks) == sorted(f"7f3a91c2:{n}" for n in range(1, 23))


def test_an_interrupted_run_ends_with_its_summary_too() -> None:
    values = played(20, stop_at=0.5)
    notes = [value for value in values if value["type"] == "note"]
    assert notes[-1]["level"] == "interrupt"
    assert values[-1]["exit_code"] == 130
    assert values[-1]["next"] == "gsvr batch resume 7f3a91c2"
    assert values[-1]["kept"]["videos"] >= 1


def test_status_comes_at_most_once_a_second() -> None:
    stream, clock = io.StringIO(), VirtualClock()
    printer = JsonLinesPrinter(stream, now=clock.wall)
    monitor = ProgressMonitor(make_batch(), BatchCounts(pending=3), 2, clock)
    for _ in range(40):
        printer.tick(monitor.snapshot())
        clock.now_s += 0.25
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["elapsed_s"] for line in lines] == [float(n) for n in range(10)]
    assert lines[0]["pending"] == 3
    assert lines[0]["media_s"] == {"done": 0.0, "total": 0.0, "unknown": 3}
    assert lines[0]["eta_s"] is None


def test_a_task_line_carries_outputs_and_errors() -> None:
    stream = io.StringIO()
    printer = JsonLinesPrinter(stream)
    error = TaskError("E_NO_MEDIA", "no media in file", "copy it again", "probe")
    printer.task_failed(TaskLine.of_error(make_task(3, "a\nb.mp4"), error, 1.5, tries=4))
    result = TaskResult(media_s=60, warnings=("no speech",), engine="local")
    printer.task_done(TaskLine.of_result(make_task(4, "c.mp4"), result, 2, done=2, total=2))
    failed, done = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert failed["name"] == "a\nb.mp4"
    assert failed["error"] == {
        "code": "E_NO_MEDIA",
        "message": "no media in file",
        "hint": "copy it again",
        "stage": "probe",
    }
    assert (done["state"], done["engine"], done["warnings"]) == (
        "completed",
        "local",
        ["no speech"],
    )


def test_names_that_are_not_utf8_survive_the_trip() -> None:
    name = "caf\udce9.mp4"
    line = json_line({"name": name})
    line.encode("utf-8")
    assert json.loads(line)["name"] == name
    assert json_line({"n": "第三讲"}) == '{"n":"第三讲"}'
    assert json_line({"n": "第三讲"}, "ascii").isascii()


def test_no_control_or_format_character_reaches_a_terminal_and_the_value_is_the_same() -> None:
    """A file name could move the cursor (U+009B) or turn a line around (U+202E)."""
    bad = [
        char
        for char in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and char not in "\u200c\u200d"
    ]
    assert {"\x1b", "\x9b", "\u202e", "\u2066", "\ufeff", "\U000e0041"} <= set(bad)
    name = "讲座 é 👩\u200d🏫 " + " ".join(bad)
    for encoding in ("utf-8", "ascii"):
        text = json_text({"name": name, name: [name]}, encoding)
        assert json.loads(text) == {"name": name, name: [name]}
        assert not set(bad) & set(text)
    assert json_line({"name": "讲座\x9b2J\u202e.mp4"}) == r'{"name":"讲座\u009b2J\u202e.mp4"}'
    assert json_text(["a👩\u200d🏫"], "utf-8", indent=1) == '[\n "a👩\u200d🏫"\n]'
