"""Commands on existing batches, on a real one."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.store.process_lock import open_lock_file, workers_dir
from gs_video_report.errors import ExitCode
from tests.cli.conftest import MEDIA, Gsvr, run_gsvr


def batch_id(finished: Gsvr) -> str:
    states = json.loads(finished("batch", "list", "--json").out)
    return str(states["batches"][0]["batch"])


def test_list_without_a_database_tells_how_to_start(gsvr: Gsvr, tmp_path: Path) -> None:
    answer = gsvr("batch", "list")
    assert answer.code == 0
    assert "gsvr batch process -d FOLDER" in answer.out
    assert list(tmp_path.glob("*.db*")) == []


def test_status_of_no_batch_is_not_found(gsvr: Gsvr) -> None:
    assert gsvr("batch", "status").code == 10


def test_list_and_status_show_counts_causes_and_the_next_command(finished: Gsvr) -> None:
    listed = finished("batch", "list")
    assert "1/3" in listed.out
    status = finished("batch", "status")
    assert status.code == 0
    assert "1/3 done, 2 failed" in status.out
    assert "no media in file" in status.out
    assert f"gsvr batch retry {batch_id(finished)}" in status.out


def test_a_unique_prefix_names_a_batch_and_an_unknown_one_does_not(finished: Gsvr) -> None:
    ref = batch_id(finished)
    assert finished("batch", "status", ref[:4]).code == 0
    assert finished("batch", "status", "zzzz").code == 10


def test_show_tells_the_whole_story_of_a_task(finished: Gsvr) -> None:
    ref = batch_id(finished)
    shown = {n: finished("batch", "show", f"{ref}:{n}").out for n in (1, 2, 3)}
    done = next(text for text in shown.values() if "intro.mp4" in text)
    assert "transcribe" in done
    assert "intro.json" in done
    assert any("E_NO_MEDIA" in text for text in shown.values())


def test_export_gives_one_row_per_video(finished: Gsvr) -> None:
    rows = list(csv.DictReader(io.StringIO(finished("batch", "export").out)))
    assert sorted(r["status"] for r in rows) == ["completed", "failed", "failed"]
    lines = finished("batch", "export", "--format", "json").lines()
    assert {line["name"] for line in lines} == {"week01/intro.mp4", "empty.mp4", "text.mp4"}
    assert finished("batch", "export", "--format", "xml").code == 2


def test_checkpoints_are_listed(finished: Gsvr) -> None:
    listed = json.loads(finished("batch", "checkpoints", "--json").out)["checkpoints"]
    assert len(listed) >= 2
    assert all(not c["problem"] for c in listed)


def test_pausing_a_finished_batch_is_refused_in_words(finished: Gsvr) -> None:
    answer = finished("batch", "pause", "latest")
    assert answer.code == 2
    assert "nothing to pause" in answer.err


@pytest.mark.timeout(300)  # eight processes of gsvr, one after the other
def test_verify_repair_retry_and_restore(gsvr: Gsvr, tmp_path: Path) -> None:
    """One batch through loss of a report, loss of the database, and a mended input."""
    (tmp_path / "in").mkdir()
    shutil.copy(MEDIA / "spoken_en_6s.mp4", tmp_path / "in" / "talk.mp4")
    (tmp_path / "in" / "late.mp4").touch()
    process = ("batch", "process", "-d", "in", "--cache-dir", "cache", "--no-ocr")
    assert gsvr(*process).code == 3

    folder = tmp_path / "batch_output" / "transcript"
    original = (folder / "talk.srt").read_bytes()
    (folder / "talk.srt").write_text("altered")
    (folder / "talk.vtt").unlink()
    found = gsvr("batch", "verify", "--json")
    assert found.code == 3
    assert len(found.lines()[0]["problems"]) == 2
    repaired = gsvr("batch", "verify", "--repair", "--json")
    assert repaired.code == 0, repaired.err  # the empty file that failed is no damage
    assert (folder / "talk.srt").read_bytes() == original
    assert gsvr("batch", "verify").code == 0

    shutil.copy(MEDIA / "spoken_zh_5s.mp4", tmp_path / "in" / "late.mp4")
    retried = gsvr("batch", "retry", "latest", "--failed")
    assert retried.code == 0, retried.err
    assert (folder / "late.json").exists()

    for side in tmp_path.glob("batch_tasks.db*"):
        side.unlink()
    (folder / "late.md").unlink()
    resumed = gsvr("batch", "process", "--resume-from", "latest", "--cache-dir", "cache")
    assert resumed.code == 0, resumed.err
    assert "rebuilt from a checkpoint" in resumed.err
    assert (folder / "late.md").exists()
    assert gsvr("batch", "verify").code == 0


def test_cancel_needs_a_yes_without_a_terminal(finished: Gsvr) -> None:
    answer = finished("batch", "cancel", "latest")
    assert answer.code == 2
    assert "--yes" in answer.err


def library_cards(page: Path) -> list[dict[str, Any]]:
    """What the library page knows of each recording."""
    found = re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    cards: list[dict[str, Any]] = json.loads(found.group(1))["cards"]
    return cards


def test_render_writes_another_template_without_any_engine(gsvr: Gsvr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(MEDIA / "spoken_en_6s.mp4", tmp_path / "in" / "talk.mp4")
    process = ("batch", "process", "-d", "in", "--cache-dir", "cache", "--no-ocr")
    assert gsvr(*process).code == 0
    shutil.rmtree(tmp_path / "cache")
    assert gsvr("batch", "render", "latest").code == 0
    assert gsvr("batch", "verify").code == 0
    done = gsvr("batch", "render", "-t", "summary_report", "--json")
    assert done.lines()[-1] == {
        "v": 1,
        "type": "render",
        "rendered": 1,
        "problems": [],
        "exit_code": 0,
    }
    made = tmp_path / "batch_output" / "summary_report"
    report = json.loads((made / "talk.json").read_bytes())
    assert report["provenance"]["template"] == "summary_report"
    for slide in report["slides"]:
        assert (made / slide["image"]).exists()
    assert (made / report["media"]["source"]).resolve() == tmp_path / "in" / "talk.mp4"
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []
    card = library_cards(tmp_path / "batch_output" / "index.html")[0]
    assert card["h"]["html"] == "transcript/talk.html"
    [[template, links]] = card["o"]
    assert (template, links["html"]) == ("summary_report", "summary_report/talk.html")
    assert set(links) == set(card["h"])
    assert all((tmp_path / "batch_output" / link).is_file() for link in links.values())
    (made / "talk.srt").unlink()  # what the user removed is not listed any more
    assert gsvr("batch", "render", "latest").code == 0
    [[_, links]] = library_cards(tmp_path / "batch_output" / "index.html")[0]["o"]
    assert "html" in links
    assert "srt" not in links


def test_render_takes_the_templates_that_the_configuration_names_today(
    gsvr: Gsvr, tmp_path: Path
) -> None:
    """It looked only into the folder that was configured when the batch was made."""
    (tmp_path / "in").mkdir()
    shutil.copy(MEDIA / "spoken_en_6s.mp4", tmp_path / "in" / "talk.mp4")
    (tmp_path / "in" / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:05,000\nHello.\n")
    process = ("batch", "process", "-d", "in", "--cache-dir", "cache", "--no-slides")
    assert gsvr(*process).code == 0
    (tmp_path / "own").mkdir()
    text = gsvr("templates", "show", "summary_report").out
    assert "name: summary_report" in text
    own = text.replace("name: summary_report", "name: mine")
    (tmp_path / "own" / "mine.yaml").write_text(own, encoding="utf-8")
    (tmp_path / "gsvr.yaml").write_text("template_dir: own\n", encoding="utf-8")
    done = gsvr("batch", "render", "-t", "mine", "--json")
    assert (done.code, done.lines()[-1]["problems"]) == (0, [])
    assert (tmp_path / "batch_output" / "mine" / "talk.html").exists()


def test_render_with_an_unknown_template_is_a_usage_error_told_once(finished: Gsvr) -> None:
    done = finished("batch", "render", "-t", "sumary_report")
    assert done.code == 2
    assert done.out == ""
    assert done.err.count("there is no template") == 1
    assert "summary_report" in done.err


def test_render_with_another_template_waits_for_who_else_writes_results(
    finished: Gsvr, finished_master: Path
) -> None:
    """Pins: it took no lock, and stored whole results over those of a second hearing."""
    lock = workers_dir(finished_master / "batch_tasks.db") / f"batch-{batch_id(finished)}.lock"
    fd = open_lock_file(lock)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        done = finished("batch", "render", "-t", "summary_report")
    finally:
        os.close(fd)
        lock.unlink()
    assert done.code == ExitCode.LOCKED
    assert "a process works on batch" in " ".join(done.err.split())
    assert not (finished_master / "batch_output" / "summary_report").exists()


def test_commands_that_are_named_go_to_the_same_database(gsvr: Gsvr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.mp4").touch()
    answer = gsvr("batch", "process", "-d", "in", "--cache-dir", "cache", "--db", "own.db")
    assert answer.code == 3
    assert "--db own.db --failed" in answer.err
    (errors,) = (tmp_path / "batch_output").glob("errors-*.md")
    assert "--failed --db own.db" in errors.read_text()
    assert "--failed --db own.db" in gsvr("batch", "status", "--db", "own.db").out
    waiting = gsvr("batch", "retry", "latest", "--db", "own.db", "--no-run", "--json")
    value = json.loads(waiting.out)
    assert (value["type"], value["requeued"]) == ("retry", 1)
    assert value["next"].endswith(" --db own.db")


def test_a_retry_takes_the_longer_time_that_its_advice_asks_for(gsvr: Gsvr, tmp_path: Path) -> None:
    """Pins: "raise --timeout" was advised, and `retry`, which was printed, did not know it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.mp4").touch()
    assert gsvr("batch", "process", "-d", "in", "--cache-dir", "cache").code == 3
    again = gsvr("batch", "retry", "latest", "--failed", "--timeout", "2h", "--stall-timeout", "9m")
    assert again.code == 3, again.err
    assert "timeout_s 1800.0 -> 7200.0" in again.err


def test_watching_a_finished_batch_tells_its_end_with_its_exit_code(finished: Gsvr) -> None:
    answer = finished("batch", "watch", "--json")
    assert answer.code == 3
    assert [line["type"] for line in answer.lines()][-1] == "summary"
    assert answer.lines()[-1]["exit_code"] == 3
    plain = finished("batch", "watch")
    assert (plain.code, plain.out) == (3, "")
    assert "1 of 3 done" in plain.err
    assert finished("batch", "watch", "zzzz").code == 10


def test_showing_a_batch_tells_its_runs(finished: Gsvr) -> None:
    ref = batch_id(finished)
    shown = finished("batch", "show", ref).out
    assert "run.started      local, 4 videos in flight" in shown
    assert "run.ended        exit code 3 after" in shown
    assert shown.rstrip().splitlines()[-1] == f"Next:  gsvr batch retry {ref} --failed"
    events = json.loads(finished("batch", "show", ref, "--json").out)["events"]
    kinds = [event["kind"] for event in events]
    assert kinds.index("run.started") < kinds.index("batch.running") < kinds.index("run.ended")


def test_metrics_go_to_a_file_that_a_collector_reads(finished: Gsvr, tmp_path: Path) -> None:
    target = tmp_path / "gsvr.prom"
    answer = finished("batch", "metrics", "--prometheus", "--output", str(target))
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    text = target.read_text("utf-8")
    assert f'gsvr_tasks{{batch="{batch_id(finished)}",state="failed"}} 2\n' in text
    assert [p.name for p in tmp_path.iterdir()] == ["gsvr.prom"]
    value = json.loads(finished("batch", "metrics", "--json").out)
    assert (value["type"], value["tasks"]["completed"]) == ("metrics", 1)
    assert "1 completed" in finished("batch", "metrics").out
    assert finished("batch", "metrics", "--json", "--prometheus").code == 2
    missing = finished("batch", "metrics", "--json", "-o", str(tmp_path / "typo" / "m.json"))
    assert (missing.code, (tmp_path / "typo").exists()) == (2, False)
    assert f"there is no folder {tmp_path / 'typo'}" in missing.err


@pytest.mark.parametrize(
    "name", ["batch_tasks.db", "batch_tasks.db-wal", "hard.db", "soft.db", "other.db"]
)
def test_no_database_is_overwritten_by_metrics_or_a_log(
    finished_master: Path, tmp_path: Path, name: str
) -> None:
    """`-o t.db` replaced the database by text, and `--log-file t.db` wrote lines into it."""
    folder = tmp_path / "course"
    shutil.copytree(finished_master, folder)
    os.link(folder / "batch_tasks.db", folder / "hard.db")
    (folder / "soft.db").symlink_to("batch_tasks.db")
    with closing(sqlite3.connect(folder / "other.db")) as other:
        other.execute("CREATE TABLE t(x)")
    before = {file: (folder / file).read_bytes() for file in ("batch_tasks.db", "other.db")}
    metrics = run_gsvr("batch", "metrics", "--prometheus", "-o", name, cwd=folder)
    assert (metrics.code, metrics.out) == (2, "")
    assert f"{name}: is a database, which is not overwritten" in metrics.err
    log = run_gsvr("batch", "process", "-d", "in", "--log-file", name, cwd=folder)
    assert log.code == 2
    assert f"{name}: the log file cannot be written (it is a database)" in log.err
    assert {file: (folder / file).read_bytes() for file in before} == before
