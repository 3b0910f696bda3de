"""`gsvr batch verify --repair`: what was damaged is made whole, no task loses anything.

The batch has one recording with subtitles beside it, and an empty file that fails.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import MEDIA, Gsvr, run_gsvr, run_killed
from tests.fakes.gemini import KEY, FakeGemini

PROCESS = (
    *("batch", "process", "-d", "in", "--cache-dir", "cache", "--no-ocr"),
    *("-t", "summary_report"),
)
SUBTITLES = "1\n00:00:00,000 --> 00:00:05,000\nThe quick brown fox jumps over the lazy dog.\n"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished batch, and a copy of it beside."""
    pytest.importorskip("faster_whisper")
    root = tmp_path_factory.mktemp("damaged")
    (root / "in").mkdir()
    shutil.copy(MEDIA / "spoken_en_6s.mp4", root / "in" / "talk.mp4")
    (root / "in" / "talk.srt").write_text(SUBTITLES)
    (root / "in" / "empty.mp4").touch()
    answer = run_gsvr(*PROCESS, cwd=root)
    assert answer.code == 3, answer.err
    shutil.copytree(root, root.with_name("as-it-was"))
    return root


@pytest.fixture
def place(made_once: Path) -> Path:
    """The finished batch, as it was at first, at the place that its database knows."""
    shutil.rmtree(made_once)
    shutil.copytree(made_once.with_name("as-it-was"), made_once)
    return made_once


@pytest.fixture
def gsvr(place: Path) -> Gsvr:
    """Run a command in the folder of the batch."""
    return lambda *args, env=None: run_gsvr(*args, cwd=place, env=env)


def reports(place: Path) -> Path:
    return place / "batch_output" / "summary_report"


def contents(place: Path) -> dict[str, bytes]:
    """Every file of the report of `talk`."""
    files = (p for p in reports(place).rglob("*") if p.is_file())
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in files}


def talk(place: Path) -> tuple[str, dict[str, Any]]:
    """State and result (without what is empty) of the task whose report is damaged."""
    with sqlite3.connect(place / "batch_tasks.db") as connection:
        status, result = connection.execute(
            "SELECT status, result FROM tasks WHERE source LIKE '%talk.mp4'"
        ).fetchone()
    connection.close()
    facts = {key: value for key, value in json.loads(result).items() if value}
    facts.pop("reused", None)  # zeros, which are stored or left out
    return status, facts


def lose_recording(place: Path) -> None:
    shutil.rmtree(place / "in")


def test_texts_are_made_again_from_the_json_though_the_recording_is_gone(
    place: Path, gsvr: Gsvr
) -> None:
    """Pins: the finished task was put back into the queue, failed, and lost its result."""
    before, task = contents(place), talk(place)
    lose_recording(place)
    (reports(place) / "talk.md").unlink()
    (reports(place) / "talk.srt").write_text("altered")
    assert gsvr("batch", "verify").code == 3
    repaired = gsvr("batch", "verify", "--repair")
    assert repaired.code == 0, repaired.err + repaired.out
    assert "1 report made whole again" in repaired.out
    assert contents(place) == before
    assert talk(place) == task
    assert gsvr("batch", "verify").code == 0


def talk_ref(place: Path, gsvr: Gsvr) -> str:
    rows = gsvr("batch", "export", "latest", "--format", "json").lines()
    return next(row["ref"] for row in rows if row["name"] == "talk.mp4")


def test_a_retry_of_a_finished_video_whose_recording_is_gone_is_refused(
    place: Path, gsvr: Gsvr
) -> None:
    """Pins: completed became failed, and the sound report was in no list any more."""
    ref, task, left = talk_ref(place, gsvr), talk(place), contents(place)
    lose_recording(place)
    answer = gsvr("batch", "retry", ref)
    assert answer.code == 1, answer.err
    assert f"{place / 'in' / 'talk.mp4'}: the recording is not there any more" in answer.err
    assert f"gsvr batch retry {ref}" in answer.err
    assert (talk(place), contents(place)) == (task, left)
    assert "1/2 done" in gsvr("batch", "status").out


def test_a_retry_that_fails_leaves_the_report_and_says_so(place: Path, gsvr: Gsvr) -> None:
    ref, task, left = talk_ref(place, gsvr), talk(place), contents(place)
    (place / "in" / "talk.mp4").write_text("this is no video\n" * 20)
    answer = gsvr("batch", "retry", ref)
    assert answer.code == 3, answer.err
    assert "no new report could be made; the one made before stays" in answer.err
    assert (talk(place), contents(place)) == (task, left)
    assert "1/2 done" in gsvr("batch", "status").out
    assert gsvr("batch", "verify").code == 0
    assert "summary_report/talk.html" in (place / "batch_output" / "index.html").read_text("utf-8")
    assert "E_NO_MEDIA" in gsvr("batch", "show", ref).out


def test_what_was_rendered_with_another_template_is_checked_and_written_again(
    place: Path, gsvr: Gsvr
) -> None:
    """Pins: it could be deleted, and all was as written."""
    assert gsvr("batch", "render", "latest", "-t", "transcript").code == 0
    page = place / "batch_output" / "transcript" / "talk.html"
    subtitles = page.with_suffix(".srt")
    before = page.read_bytes(), subtitles.read_bytes()
    page.unlink()
    subtitles.write_bytes(before[1][:-1])
    lose_recording(place)
    found = gsvr("batch", "verify")
    assert found.code == 3
    assert "transcript/talk.html: is missing" in found.out
    assert "transcript/talk.srt: has" in found.out
    assert "1 report checked, 1 not as written (2 files)" in found.out
    repaired = gsvr("batch", "verify", "--repair")
    assert (repaired.code, repaired.err) == (0, "")
    assert (page.read_bytes(), subtitles.read_bytes()) == before
    assert gsvr("batch", "verify").code == 0


def test_pictures_come_back_from_the_cache(place: Path, gsvr: Gsvr) -> None:
    before = contents(place)
    pictures = sorted(name for name in before if name.endswith(".jpg"))
    assert pictures
    (place / pictures[0]).write_bytes(b"altered")
    lose_recording(place)
    assert gsvr("batch", "verify", "--repair").code == 0
    assert contents(place) == before


@pytest.mark.parametrize("ruin", [None, pytest.param(b"{garbage", marks=pytest.mark.slow)])
def test_a_lost_json_is_made_again_from_the_journal_though_the_recording_is_gone(
    place: Path, gsvr: Gsvr, ruin: bytes | None
) -> None:
    before = json.loads((reports(place) / "talk.json").read_bytes())
    (place / "in" / "talk.mp4").unlink()  # the subtitles are still there
    path = reports(place) / "talk.json"
    path.unlink()
    if ruin is not None:
        path.write_bytes(ruin)
    repaired = gsvr("batch", "verify", "--repair", "--json")
    (value,) = repaired.lines()
    assert (repaired.code, len(value["mended"]), value["left"]) == (0, 1, [])
    after = json.loads(path.read_bytes())
    assert after["provenance"]["run"]["steps_run"] == 0
    assert {**after, "provenance": {}} == {**before, "provenance": {}}
    assert talk(place)[0] == "completed"
    assert gsvr("batch", "verify").code == 0


def test_a_report_that_nothing_brings_back_keeps_its_task_and_is_told_again(
    place: Path, gsvr: Gsvr
) -> None:
    task = talk(place)
    lose_recording(place)
    (reports(place) / "talk.json").unlink()
    (reports(place) / "talk.md").unlink()
    with sqlite3.connect(place / "batch_tasks.db") as connection:
        connection.execute("DELETE FROM steps")
    connection.close()
    left = contents(place)
    repaired = gsvr("batch", "verify", "--repair")
    assert repaired.code == 3
    assert "the report cannot be made again" in repaired.out
    assert "put the recording back" in repaired.out
    assert talk(place) == task
    assert contents(place) == left
    assert gsvr("batch", "verify").code == 3
    assert "1/2 done" in gsvr("batch", "status").out


@pytest.mark.slow
def test_from_the_recording_when_the_journal_is_lost_as_well(place: Path, gsvr: Gsvr) -> None:
    text = (reports(place) / "talk.md").read_text("utf-8")
    (reports(place) / "talk.json").unlink()
    with sqlite3.connect(place / "batch_tasks.db") as connection:
        connection.execute("DELETE FROM steps")
    connection.close()
    assert gsvr("batch", "verify", "--repair").code == 0
    assert "quick brown fox" in text
    assert "quick brown fox" in (reports(place) / "talk.md").read_text("utf-8")
    assert gsvr("batch", "verify").code == 0


def test_another_recording_in_the_place_of_the_old_one_does_not_become_its_report(
    place: Path, gsvr: Gsvr
) -> None:
    task = talk(place)
    shutil.copy(MEDIA / "spoken_zh_5s.mp4", place / "in" / "talk.mp4")
    (reports(place) / "talk.json").unlink()
    with sqlite3.connect(place / "batch_tasks.db") as connection:
        connection.execute("DELETE FROM steps")
    connection.close()
    repaired = gsvr("batch", "verify", "--repair")
    assert repaired.code == 3
    assert "the recording has changed since its report was made" in repaired.out
    assert talk(place) == task


def test_a_report_that_cannot_be_rendered_is_not_taken_for_half_written(
    place: Path, gsvr: Gsvr
) -> None:
    """Pins: its row said that its files were being written anew, though none was touched."""
    before = talk(place)
    (reports(place) / "talk.json").write_text("{}")
    done = gsvr("batch", "render", "latest", "--json")
    assert (done.code, done.lines()[-1]["rendered"]) == (3, 0)
    assert talk(place) == before
    (reports(place) / "talk.json").unlink()
    assert gsvr("batch", "render", "latest").code == 3
    assert talk(place) == before


def test_a_lost_library_page_is_named_and_written_again(place: Path, gsvr: Gsvr) -> None:
    """Pins: `verify` did not see that it was gone."""
    page = place / "batch_output" / "index.html"
    page.unlink()
    found = gsvr("batch", "verify")
    assert found.code == 3
    assert "index.html: is missing" in found.out
    repaired = gsvr("batch", "verify", "--repair")
    assert repaired.code == 0
    assert "the library page was written again" in repaired.out
    assert "talk" in page.read_text("utf-8")
    assert gsvr("batch", "verify").out.endswith("1 report checked: all as written\n")
    page.unlink()
    assert gsvr(*PROCESS).code == 3  # for the empty file
    assert gsvr("batch", "verify").code == 0


@pytest.mark.slow
def test_the_same_command_again_ends_what_a_killed_repair_left_of_the_pages(
    place: Path, gsvr: Gsvr
) -> None:
    (reports(place) / "talk.md").unlink()
    run_killed("write", 1, "batch", "verify", "--repair", cwd=place)
    assert "is older than the reports" in gsvr("batch", "verify").out
    assert gsvr(*PROCESS).code == 3  # for the empty file
    assert gsvr("batch", "verify").code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [
        pytest.param("replace_result", 1, marks=pytest.mark.slow),
        ("replace_result", 2),
        pytest.param("pages_written", 1, marks=pytest.mark.slow),
    ],
)
def test_a_repair_that_was_killed_is_ended_by_the_next_one(
    place: Path, gsvr: Gsvr, name: str, count: int
) -> None:
    """The JSON comes from the journal, with other run facts than those of the row."""
    (reports(place) / "talk.json").unlink()
    run_killed(name, count, "batch", "verify", "--repair", cwd=place)
    lose_recording(place)  # what is on disk or in the journal must do
    cut = gsvr("batch", "verify")
    assert cut.code == 3
    assert ("index.html: is older than the reports" in cut.out) == (name == "pages_written")
    repaired = gsvr("batch", "verify", "--repair")
    if count == 1 and name == "replace_result":  # nothing was written; the subtitles are gone, too
        assert (repaired.code, talk(place)[0]) == (3, "completed")
        return
    assert repaired.code == 0, repaired.out
    assert gsvr("batch", "verify").code == 0


@pytest.mark.slow
def test_a_report_that_was_paid_for_is_made_again_without_any_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("google.genai")
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    (tmp_path / "in").mkdir()
    shutil.copy(MEDIA / "spoken_en_6s.mp4", tmp_path / "in" / "talk.mp4")
    words = ("batch", "process", "-d", "in", "--engine", "gemini", "--cache-dir", "cache")
    with FakeGemini() as fake:
        settings = f"gemini:\n  base_url: {fake.url}\nslides: false\n"
        (tmp_path / "gsvr.yaml").write_text(settings)
        assert run_gsvr(*words, cwd=tmp_path).code == 0
        asked = fake.count("generate") + fake.count("start")
        (path,) = (tmp_path / "batch_output").rglob("talk.json")
        before = json.loads(path.read_bytes())
        path.unlink()
        (tmp_path / "in" / "talk.mp4").rename(tmp_path / "elsewhere.mp4")
        assert run_gsvr("batch", "verify", "--repair", cwd=tmp_path).code == 0
        assert json.loads(path.read_bytes())["segments"] == before["segments"]

        (tmp_path / "elsewhere.mp4").rename(tmp_path / "in" / "talk.mp4")
        path.unlink()
        with sqlite3.connect(tmp_path / "batch_tasks.db") as connection:
            connection.execute("DELETE FROM steps")
        connection.close()
        refused = run_gsvr("batch", "verify", "--repair", cwd=tmp_path)
        assert (refused.code, "not in the journal any more" in refused.out) == (3, True)
        assert talk(tmp_path)[0] == "completed"
        assert fake.count("generate") + fake.count("start") == asked
