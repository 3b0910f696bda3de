"""`gsvr batch process`: exit codes, messages and streams for good, bad and absent input."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import MEDIA, Gsvr

EXAMPLE_DB = Path(__file__).parents[2] / "batch_tasks.db.example"


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Every file below `root` with size and modification time.

    Without SQLite's `-shm`: a reader marks its place in it, which is no change of the database.
    """
    return {
        p.relative_to(root).as_posix(): (p.stat().st_size, p.stat().st_mtime_ns)
        for p in sorted(root.rglob("*"))
        if not p.name.endswith("-shm")
    }


# --- before anything starts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["-d", "in", "--progress-file", "in/a.mp4"], 2, "in/a.mp4: holds something else"),
        (["-d", "in", "--progress-file", "in"], 2, "in: is not a file"),
        (["-d", "in", "--progress-file", "batch_tasks.db-wal"], 2, "is a database"),
        (["-d", "in", "--progress-file", "a", "--log-file", "a"], 2, "a: is the log file"),
        (["-d", "in", "--log-file", "in/a.mp4"], 2, "it holds something else"),
        ([], 2, "exactly one of --input-dir, --file-list, --url-list"),
        (["-d", "in", "-f", "list.txt"], 2, "more than one was given"),
        (["--resume-from", "latest", "-d", "in"], 2, "--resume-from goes without"),
        (["-d", "nowhere"], 2, "nowhere"),
        (["-d", "empty"], 5, "no video or audio file was found"),
        (["-d", "in", "--template", "chinese_transcrip"], 2, "chinese_transcript"),
        (["-d", "in", "--engine", "gemni"], 2, "did you mean gemini?"),
        (["-d", "in", "--parallel", "0"], 2, "parallel"),
        (["-d", "in", "--priority", "101"], 2, "--priority is 0 to 100"),
        (["-d", "in", "--progress", "fancy"], 2, "must be one of auto, live, plain, none"),
        (["-d", "in", "--output-pattern", "../{name}"], 2, "pattern"),
        (["-d", "in", "--timeout", "soon"], 2, "timeout"),
        (["--resume-from", "latest"], 10, "no batch or checkpoint 'latest'"),
    ],
)
def test_wrong_commands_say_what_is_wrong(
    gsvr: Gsvr, tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(b"x")
    answer = gsvr("batch", "process", *args)
    assert answer.code == code, answer.err
    assert words in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""


def test_a_typo_in_the_configuration_names_the_right_key(gsvr: Gsvr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "gsvr.yaml").write_text("paralel: 3\n")
    answer = gsvr("batch", "process", "-d", "in")
    assert answer.code == 2
    assert "paralel" in answer.err
    assert "parallel" in answer.err
    assert "gsvr.yaml:1" in answer.err


def test_errors_are_objects_with_json(gsvr: Gsvr) -> None:
    answer = gsvr("batch", "process", "-d", "nowhere", "--json")
    value = json.loads(answer.err.splitlines()[-1])
    assert value["type"] == "error"
    assert value["exit_code"] == answer.code == 2


def test_output_folder_that_is_a_file_stops_before_any_work(gsvr: Gsvr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(b"x")
    (tmp_path / "out").write_text("in the way")
    answer = gsvr("batch", "process", "-d", "in", "-o", "out")
    assert answer.code == 1
    assert "cannot be written" in answer.err
    assert "--output" in answer.err


# --- the database ------------------------------------------------------------------------------


def test_a_damaged_database_is_named_and_left_alone(gsvr: Gsvr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(b"x")
    database = tmp_path / "batch_tasks.db"
    database.write_bytes(b"this is not a database, but it is long enough" * 50)
    before = database.read_bytes()
    answer = gsvr("batch", "process", "-d", "in")
    assert answer.code == 1
    assert "--resume-from latest" in answer.err
    assert database.read_bytes() == before


def test_a_database_of_a_newer_version_is_refused(gsvr: Gsvr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes(b"x")
    shutil.copy(EXAMPLE_DB, tmp_path / "batch_tasks.db")
    with closing(sqlite3.connect(tmp_path / "batch_tasks.db")) as connection:
        connection.execute("PRAGMA user_version = 9999")
        connection.commit()
    answer = gsvr("batch", "process", "-d", "in")
    assert answer.code == 2
    assert "newer" in answer.err


# --- dry run ------------------------------------------------------------------------------------


def test_dry_run_writes_nothing_at_all(gsvr: Gsvr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(MEDIA / "spoken_en_6s.mp4", tmp_path / "in" / "talk.mp4")
    (tmp_path / "in" / "text.mp4").write_text("no video")
    before = snapshot(tmp_path)
    answer = gsvr("batch", "process", "-d", "in", "--dry-run")
    assert answer.code == 0, answer.err
    assert snapshot(tmp_path) == before
    assert "talk.mp4" in answer.out
    assert "1 to process, 1 rejected" in answer.out
    assert "gsvr batch process -d in" in answer.out


def test_dry_run_tells_why_auto_takes_its_engine(gsvr: Gsvr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(MEDIA / "spoken_en_6s.mp4", tmp_path / "in" / "talk.mp4")
    answer = gsvr("batch", "process", "-d", "in", "--dry-run")
    assert "Engine  local (no key is configured; nothing leaves this machine)" in answer.out
    asked = gsvr("batch", "process", "-d", "in", "--dry-run", "--engine", "local")
    assert "Engine  local, template" in asked.out


def test_dry_run_of_the_half_price_lane_tells_how_long_that_takes(
    gsvr: Gsvr, tmp_path: Path
) -> None:
    """It said "under 1 min"."""
    (tmp_path / "in").mkdir()
    shutil.copy(MEDIA / "spoken_en_6s.mp4", tmp_path / "in" / "talk.mp4")
    words = ("batch", "process", "-d", "in", "--dry-run", "--engine", "gemini")
    assert "answers within a day" in gsvr(*words, "--gemini-batch").out
    assert "answers within a day" not in gsvr(*words).out


def test_dry_run_of_a_finished_batch_skips_what_is_done(
    finished: Gsvr, finished_master: Path
) -> None:
    before = snapshot(finished_master)
    answer = finished("batch", "process", "-d", "in", "--cache-dir", "cache", "-n", "--json")
    plan = answer.lines()[-1]
    assert (plan["skip"], plan["exit_code"]) == (1, 0)
    assert snapshot(finished_master) == before


# --- a real run ----------------------------------------------------------------------------------


def test_good_files_get_reports_and_bad_ones_an_explanation(finished_master: Path) -> None:
    text = (finished_master / "first.err").read_text()
    assert "Traceback" not in text
    assert "1 of 3 done" in text
    assert "empty file" in text
    assert "no media in file" in text
    assert "gsvr batch retry" in text
    folder = finished_master / "batch_output" / "transcript" / "week01"
    assert {p.name for p in folder.iterdir()} == {
        "intro.assets",
        "intro.html",
        "intro.json",
        "intro.md",
        "intro.srt",
        "intro.vtt",
    }


def test_the_report_says_what_was_said_and_shown(finished_master: Path) -> None:
    path = finished_master / "batch_output" / "transcript" / "week01" / "intro.json"
    report = json.loads(path.read_bytes())
    spoken = " ".join(s["text"] for s in report["segments"]).lower()
    assert "moon" in spoken
    assert "sea" in spoken
    assert report["language"] == "en"
    assert [s["title"] for s in report["slides"]] == ["Two Short Slides", "The Sea"]
    assert "not_done" not in {n["code"] for n in report["notices"]}
    for slide in report["slides"]:
        assert (path.parent / slide["image"]).stat().st_size > 1000


def test_the_same_command_again_does_nothing_twice(finished: Gsvr, finished_master: Path) -> None:
    before = snapshot(finished_master / "batch_output")
    answer = finished("batch", "process", "-d", "in", "--cache-dir", "cache", "--json")
    last = answer.lines()[-1]
    assert answer.code == 3
    assert last["type"] == "summary"
    assert last["exit_code"] == 3
    assert snapshot(finished_master / "batch_output") == before


def test_batch_pages_are_there_and_name_the_failures(finished_master: Path) -> None:
    output = finished_master / "batch_output"
    assert "intro" in (output / "index.html").read_text("utf-8")
    errors = json.loads(next(output.glob("errors-*.json")).read_text("utf-8"))
    codes = [g["code"] for g in errors["groups"]]
    assert sorted(codes) == ["E_EMPTY_FILE", "E_NO_MEDIA"]


def test_the_log_file_tells_the_batch_and_a_full_disk_for_it_stops_nothing(
    gsvr: Gsvr, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.mp4").touch()
    process = ("batch", "process", "-d", "in", "--cache-dir", "cache", "--log-file")
    assert gsvr(*process, "run.log").code == 3
    lines = [json.loads(line) for line in (tmp_path / "run.log").read_text("utf-8").splitlines()]
    events = [line["event"] for line in lines]
    assert events.index("batch.started") < events.index("task.started")
    assert events.index("task.started") < events.index("task.failed") < events.index("batch.ended")
    (failed,) = [line for line in lines if line["event"] == "task.failed"]
    assert (failed["level"], failed["error"]["code"]) == ("error", "E_EMPTY_FILE")
    assert len({line["batch"] for line in lines if "batch" in line}) == 1
    full = gsvr("batch", "retry", "latest", "--failed", "--log-file", "/dev/full")
    assert full.code == 3
    assert "0 of 1 done" in full.err
    told = full.err.splitlines()[-1]
    assert re.fullmatch(
        r"gsvr: the log file /dev/full is not whole: [1-9]\d* lines are missing "
        r"\(No space left on device\)",
        told,
    )
    quiet = gsvr("batch", "retry", "latest", "--failed", "--json", "--log-file", "/dev/full")
    note = json.loads(quiet.err.splitlines()[-1])
    assert (note["type"], note["level"]) == ("note", "warning")
    assert json.loads(quiet.out.splitlines()[-1])["type"] == "summary"
    refused = gsvr(*process, "nowhere/run.log")
    assert refused.code == 2
    assert "nowhere/run.log: the log file cannot be written" in refused.err


def test_video_takes_an_address_and_cookies(gsvr: Gsvr, tmp_path: Path) -> None:
    """The address was taken for a path with one slash; only the batch had --cookies."""
    (tmp_path / "cookies.txt").write_text("# Netscape HTTP Cookie File\n")
    (tmp_path / "cookies.txt").chmod(0o644)
    words = ("video", "https://user.invalid/talk.mp4", "--engine", "local", "--json")
    refused = gsvr(*words, "--cookies", "cookies.txt")
    assert refused.code == 2
    assert "other users of this machine can read" in json.loads(refused.err)["message"]
    assert json.loads(gsvr("video", "https://ann:pw@e.org/talk.mp4", "--json").err)["code"] == (
        "E_USAGE"
    )
