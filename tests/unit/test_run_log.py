"""The log file: whole lines, no secrets, never in the way of a batch."""

from __future__ import annotations

import errno
import fcntl
import io
import itertools
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gs_video_report import run_log
from gs_video_report.batch.data_models import BatchCounts, BatchResult, BatchStatus
from gs_video_report.batch.inputs.url_rules import redact
from gs_video_report.batch.run.trace import RunTrace
from gs_video_report.compute.process_pool import ComputeEvent, ProcessBackend
from gs_video_report.errors import LogNotWritable, NoMediaError
from gs_video_report.run_log import RunLog, rfc3339
from gs_video_report.terminal.jsonl import JsonLinesPrinter
from gs_video_report.terminal.log_face import LogPrinter, TwoFaces
from gs_video_report.terminal.printer import Printer, TaskLine
from tests.support import compute_functions
from tests.support.terminal_play import make_play, make_task

SIZE = 10**9


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., RunLog]]:
    """Opens logs, and closes them however the test ends."""
    made: list[RunLog] = []

    def make(path: Path | None = None, max_bytes: int = SIZE) -> RunLog:
        made.append(RunLog.open(path or tmp_path / "run.log", max_bytes, redact))
        return made[-1]

    yield make
    for log in made:
        log.close()


Opened = Callable[..., RunLog]


def lines(path: Path) -> list[dict[str, Any]]:
    """Every line of the file, which must all be whole."""
    text = path.read_text("utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_each_line_is_an_object_with_time_level_event_and_facts(
    opened: Opened, tmp_path: Path
) -> None:
    log = opened()
    log.write("info", "first", n=1)
    log.bind(batch="7f3a")
    log.write("warning", "second", name="讲座.mp4", path=Path("/x"), odd="\udce4")
    log.close()
    first, second = lines(tmp_path / "run.log")
    assert list(first) == ["time", "level", "event", "pid", "n"]
    assert first["pid"] == os.getpid()
    assert (second["level"], second["event"], second["batch"]) == ("warning", "second", "7f3a")
    assert (second["name"], second["path"]) == ("讲座.mp4", "/x")


def test_times_are_utc_with_milliseconds() -> None:
    assert rfc3339(1_763_809_200.25) == "2025-11-22T11:00:00.250Z"


def test_no_secret_reaches_the_file_in_any_spelling(opened: Opened, tmp_path: Path) -> None:
    key, quoted = 'AIza"Sy\\Ké-/+', "https://ann:pass word@example.com/a.mp4"
    log = opened()
    log.hide([key, ""])
    log.write(
        "error", "failed", message=f"bad key {key}", nested={"list": [key, (key,)]}, **{key: 1}
    )
    log.write("info", "url", sources=["https://ann:hunter2@example.com/a.mp4", quoted])
    logging.getLogger("httpx").warning("GET https://x/?key=%s", "AIza%22Sy%5CK%C3%A9-%2F%2B")
    log.close()
    text = (tmp_path / "run.log").read_text("utf-8")
    for spelling in (key, json.dumps(key)[1:-1], "AIza%22Sy", "hunter2", "pass word"):
        assert spelling not in text
    failed, url, library = lines(tmp_path / "run.log")
    assert failed["message"] == "bad key ****"
    assert failed["nested"] == {"list": ["****", ["****"]]}
    assert url["sources"][0] == "https://***@example.com/a.mp4"
    assert library["message"] == "GET https://x/?key=****"


@pytest.mark.parametrize("place", ["nowhere/run.log", ".", "fifo"])
def test_a_file_that_cannot_be_written_is_told_at_the_start(place: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(LogNotWritable) as caught:
        RunLog.open(tmp_path / place, SIZE)
    assert caught.value.exit_code == 2
    assert "--log-file" in caught.value.hint


def test_a_full_disk_costs_lines_and_their_number_is_told_when_there_is_room(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "RETRY_S", 0.0)
    path = tmp_path / "run.log"
    path.symlink_to("/dev/full")
    log = opened(path)
    log.write("info", "lost")
    while not (trouble := log.take_trouble()):
        pass
    assert "No space left on device" in trouble
    assert "the batch goes on without it" in trouble
    assert log.take_trouble() == ""
    (tmp_path / "room.log").touch()
    (tmp_path / "new").symlink_to(tmp_path / "room.log")
    (tmp_path / "new").rename(path)
    log.write("info", "kept")
    log.close()
    told, kept = lines(tmp_path / "room.log")
    assert (told["event"], told["lines"], told["level"]) == ("log.lost", 1, "warning")
    assert kept["event"] == "kept"


def test_a_line_cut_short_by_a_full_disk_is_ended_before_the_next(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "RETRY_S", 0.0)
    real, full = os.write, [True]

    def short(fd: int, data: bytes) -> int:
        if not full:
            return real(fd, data)
        if data.startswith(b'{"time"'):
            return real(fd, data[:20])
        full.pop()
        raise OSError(errno.ENOSPC, "No space left on device")

    log = opened()
    with monkeypatch.context() as patch:
        patch.setattr(
            run_log.os, "write", lambda fd, data: short(fd, data) if full else real(fd, data)
        )
        log.write("info", "torn")
        while not log.take_trouble():
            pass
    log.write("info", "whole")
    log.close()
    torn, *rest = (tmp_path / "run.log").read_text("utf-8").splitlines()
    assert len(torn) == 20
    assert [json.loads(line)["event"] for line in rest] == ["log.lost", "whole"]


def test_at_its_size_the_file_is_begun_anew_and_three_older_ones_are_kept(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "BATCHED", 1)
    log = opened(max_bytes=1000)
    for n in range(60):
        log.write("info", "line", n=n, text="x" * 40)
    log.close()
    files = [tmp_path / name for name in ("run.log.3", "run.log.2", "run.log.1", "run.log")]
    assert {p.name for p in tmp_path.glob("run.log*")} == {f.name for f in files}
    assert all(f.stat().st_size <= 1000 for f in files)
    kept = [line["n"] for f in files for line in lines(f)]
    assert kept == list(range(60 - len(kept), 60))


@pytest.mark.parametrize("older", [0, 1], ids=["first", "with older ones"])
def test_where_no_new_file_can_be_begun_the_old_one_grows_and_that_is_said_once(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: int
) -> None:
    """The refused renaming ended the log: nothing was written any more."""
    monkeypatch.setattr(run_log, "BATCHED", 1)
    monkeypatch.setattr(run_log, "ROTATE_RETRY_S", 0.0)
    refused: list[Path] = []

    def refuse(source: Path, target: Path) -> Path:
        if not source.exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        refused.append(source)
        raise PermissionError(errno.EACCES, "Permission denied")

    for number in range(1, older + 1):
        (tmp_path / f"run.log.{number}").write_text("{}\n")
    monkeypatch.setattr(Path, "replace", refuse)
    log = opened(max_bytes=300)
    for n in range(20):
        log.write("info", "line", n=n, text="x" * 40)
    log.close()
    assert [line["n"] for line in lines(tmp_path / "run.log")] == list(range(20))
    assert len(refused) > 1
    assert log.last_words().endswith("begun in its folder (Permission denied)")
    assert log.last_words() == log.take_trouble() == ""
    monkeypatch.undo()
    late = opened(max_bytes=300)  # the folder allows it again
    late.write("info", "late")
    late.close()
    assert [line["event"] for line in lines(tmp_path / "run.log")] == ["late"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may rename anywhere")
def test_log_in_a_folder_that_is_not_writable_goes_on(opened: Opened, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "run.log").write_text('{"time": "%s"}\n' % ("x" * 200))
    folder.chmod(0o555)
    try:
        log = opened(folder / "run.log", max_bytes=100)
        log.write("info", "kept")
        log.close()
        assert lines(folder / "run.log")[-1]["event"] == "kept"
    finally:
        folder.chmod(0o755)


def test_lines_lost_to_a_full_disk_at_the_end_are_told(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.log"
    path.symlink_to("/dev/full")
    log = opened(path)
    log.write("info", "lost")
    while not log.take_trouble():
        pass
    log.write("info", "lost as well")
    log.close()
    assert log.last_words() == (
        f"the log file {path} is not whole: 2 lines are missing (No space left on device)"
    )


def test_room_at_the_end_is_used_at_once(opened: Opened, tmp_path: Path) -> None:
    """The last lines do not wait for the next try: there is none after them."""
    path = tmp_path / "run.log"
    path.symlink_to("/dev/full")
    log = opened(path)
    log.write("info", "lost")
    while not log.take_trouble():
        pass
    path.unlink()
    log.close()
    (told,) = lines(path)
    assert (told["event"], told["lines"]) == ("log.lost", 1)
    assert log.last_words() == ""


def test_two_writers_at_its_size_begin_one_new_file(opened: Opened, tmp_path: Path) -> None:
    """Both did: the second one moved a file of one line, and the oldest lines were lost."""
    path, log = tmp_path / "run.log", opened(max_bytes=400)
    path.write_text(json.dumps({"time": "", "event": "old", "text": "x" * 320}) + "\n")
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # another process is about to begin a new file
        log.write("info", "meanwhile")
        log.close()
        assert [line["event"] for line in lines(path)] == ["old", "meanwhile"]
        assert not (tmp_path / "run.log.1").exists()
    late = opened(max_bytes=400)
    late.write("info", "after")
    late.close()
    assert [line["event"] for line in lines(tmp_path / "run.log.1")] == ["old", "meanwhile"]
    assert [line["event"] for line in lines(path)] == ["after"]


def test_a_file_that_was_moved_away_is_made_anew(opened: Opened, tmp_path: Path) -> None:
    path, first = tmp_path / "run.log", opened()
    second = opened()
    first.write("info", "before")
    first.close()
    path.rename(tmp_path / "moved.log")
    second.write("info", "after")
    second.close()
    assert [line["event"] for line in lines(path)] == ["after"]
    assert [line["event"] for line in lines(tmp_path / "moved.log")] == ["before"]


def test_two_writers_share_a_file_line_by_line(opened: Opened, tmp_path: Path) -> None:
    logs = [opened(), opened()]
    for n in range(2000):
        logs[n % 2].write("info", "line", n=n, text="x" * (n % 97))
    for log in logs:
        log.close()
    assert sorted(line["n"] for line in lines(tmp_path / "run.log")) == list(range(2000))


def test_warnings_of_libraries_are_lines_until_the_log_is_closed(
    opened: Opened, tmp_path: Path
) -> None:
    log = opened()
    logging.getLogger("some.library").warning("slow: %s", "reply")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").error("broken")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("old way", DeprecationWarning, "file.py", 3)
    log.close()
    log.write("info", "too late")
    found = [(line["logger"], line["level"]) for line in lines(tmp_path / "run.log")]
    assert found == [
        ("some.library", "warning"),
        ("some.library", "error"),
        ("py.warnings", "warning"),
    ]


def test_a_full_queue_costs_lines_and_never_waits(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log", SIZE, str)  # its thread never runs
    for n in range(run_log.QUEUED_LINES + 7):
        log.write("info", "line", n=n)
    assert log._lost == 7


# --- what a batch says -----------------------------------------------------------------------


class Sink:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.trouble = ""

    def write(self, level: str, event: str, **fields: Any) -> None:
        self.lines.append((level, event, fields))

    def take_trouble(self) -> str:
        text, self.trouble = self.trouble, ""
        return text


def test_a_whole_batch_is_told_as_facts() -> None:
    sink = Sink()
    make_play(12, 3, LogPrinter(sink), tick_s=5.0).run()
    events = [event for _, event, _ in sink.lines]
    assert (events[0], events[-1]) == ("batch.started", "batch.ended")
    assert events.count("task.completed") == 11
    (level, _, failed) = next(line for line in sink.lines if line[1] == "task.failed")
    assert (level, failed["error"]["code"], failed["stage"]) == ("error", "E_NO_MEDIA", "probe")
    retry = next(fields for _, event, fields in sink.lines if event == "task.retry")
    assert retry["delay_s"] == 30
    done = next(fields for _, event, fields in sink.lines if event == "task.completed")
    assert {"task", "name", "seconds", "media_s", "usd", "outputs"} <= done.keys()
    level, _, ended = sink.lines[-1]
    assert (level, ended["exit_code"], ended["failures"][0]["code"]) == ("warning", 3, "E_NO_MEDIA")
    status = [fields["seconds"] for _, event, fields in sink.lines if event == "status"]
    assert len(status) > 3
    assert all(b - a >= 60 for a, b in itertools.pairwise(status))


def test_a_fatal_end_is_an_error_of_the_log() -> None:
    sink = Sink()
    result = BatchResult("7f3a91c2", BatchStatus.PAUSED, BatchCounts(pending=1), 1, 2.0)
    LogPrinter(sink).finished(result, message="no space left on the disk")
    level, event, fields = sink.lines[-1]
    assert (level, event, fields["message"]) == (
        "error",
        "batch.ended",
        "no space left on the disk",
    )


def test_face_and_log_hear_the_same_and_trouble_of_the_log_is_told_on_the_face(
    tmp_path: Path,
) -> None:
    sink, out = Sink(), io.StringIO()
    both: Printer = TwoFaces(JsonLinesPrinter(out), sink)
    make_play(3, 1, both, tick_s=30.0).run()
    error = NoMediaError("x: no media")
    both.task_failed(TaskLine.of_error(make_task(9), error, 1.0))
    sink.trouble = "the log file cannot be written"
    make_play(1, 1, both, tick_s=30.0).run()
    shown = [json.loads(line) for line in out.getvalue().splitlines()]
    assert sum(line["type"] == "task" for line in shown) == sum(
        event.startswith("task.") and event != "task.retry" for _, event, _ in sink.lines
    )
    notes = [line["message"] for line in shown if line["type"] == "note"]
    assert "the log file cannot be written" in notes


def test_stages_are_told_when_they_change_and_steps_with_their_seconds() -> None:
    sink = Sink()
    trace = RunTrace(sink)
    trace.claimed(make_task(4, "a.mp4"))
    for stage in ("probe", "probe", "audio"):
        trace.stage(4, stage)
    trace.step(4, "audio", 0, 1.23456)
    trace.left(make_task(4))
    trace.step(4, "late", 1, 0.5)
    assert [(event, fields.get("stage")) for _, event, fields in sink.lines] == [
        ("task.started", None), ("stage", "probe"), ("stage", "audio"), ("step", None),
        ("step", None),
    ]  # fmt: skip
    step = sink.lines[3][2]
    assert (step["task"], step["step"], step["seconds"]) == ("7f3a91c2:4", "audio", 1.235)
    assert sink.lines[4][2]["task"] is None


async def test_what_a_compute_process_prints_is_a_warning_of_the_log() -> None:
    sink, told = Sink(), list[ComputeEvent]()

    def tell(event: ComputeEvent) -> None:
        told.append(event)
        RunTrace(sink).compute(event)

    async with ProcessBackend(1, on_event=tell) as backend:
        await backend.run(compute_functions.print_noise, "first\n\nsecond")
    printed = [(level, fields["message"]) for level, event, fields in sink.lines
               if event == "compute.output"]  # fmt: skip
    assert printed == [("warning", text) for text in ("first", "second", "first", "second")]
    assert [e.kind for e in told if e.kind != "output"] == ["started", "ended"]


@pytest.mark.parametrize("content", [b"\x00\x00\x00 ftypisom", b"notes\n", b'{\n "v": 1}'])
def test_a_file_that_is_no_log_gets_no_lines(tmp_path: Path, content: bytes) -> None:
    """`--log-file talk.mp4` wrote lines behind a recording."""
    path = tmp_path / "talk.mp4"
    path.write_bytes(content)
    with pytest.raises(LogNotWritable, match="holds something else"):
        RunLog.open(path, 1000)
    assert path.read_bytes() == content
