"""The doctor: tells what is missing, names the fix, and never falls ill itself."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gs_video_report import doctor, doctor_probes
from gs_video_report.app_setup import doctor_json, doctor_lines
from gs_video_report.batch.persistence import Database
from gs_video_report.cli import app
from gs_video_report.config import Config, load_config
from gs_video_report.config_keys import save_key
from gs_video_report.config_values import Secret
from gs_video_report.doctor_probes import (
    Check,
    Status,
    folder_check,
    gigabytes,
    import_in_child,
    machine_check,
    space_check,
    sqlite_check,
)


def config(tmp_path: Path, **flags: Any) -> Config:
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    return load_config(flags, env=env, cwd=tmp_path)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """What the child processes are said to find: module -> version, None for not installed."""
    found: dict[str, str | None] = {}

    def fake(module: str, attribute: str | None = None) -> tuple[str | None, str]:
        version = found.get(module, "1.0")
        return version, "" if version else f"ModuleNotFoundError: No module named '{module}'"

    monkeypatch.setattr(doctor, "import_in_child", fake)
    return found


def named(checks: list[Check], name: str) -> list[Check]:
    return [c for c in checks if c.name == name]


def test_every_failure_and_warning_names_its_fix(
    tmp_path: Path, loaded: dict[str, str | None]
) -> None:
    loaded.update(av=None, faster_whisper=None, rapidocr=None, openpyxl=None)
    (tmp_path / "out").touch()
    checks = doctor.check(config(tmp_path, output_dir="out", engine="gemini"))
    bad = [c for c in checks if c.status is not Status.OK]
    assert {"decoder", "ocr", "excel", "engine", "output"} <= {c.name for c in bad}
    assert all(c.fix for c in bad)
    assert all(c.message and "\n" not in c.message for c in checks)


def test_the_report_is_json(tmp_path: Path, loaded: dict[str, str | None]) -> None:
    checks = doctor.check(config(tmp_path))
    lines = [json.loads(json.dumps(c.to_dict())) for c in checks]
    assert all(set(line) == {"name", "ok", "status", "detail", "hint"} for line in lines)
    assert {line["status"] for line in lines} <= {"ok", "warn", "fail"}
    assert [line["name"] for line in lines][:3] == ["python", "sqlite", "decoder"]


def test_looking_leaves_nothing_behind(tmp_path: Path, loaded: dict[str, str | None]) -> None:
    doctor.check(config(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_speech_that_does_not_load_fails_only_engines_that_listen(
    tmp_path: Path, loaded: dict[str, str | None]
) -> None:
    loaded["faster_whisper"] = None
    for engine, status in (("auto", Status.FAIL), ("local", Status.FAIL), ("gemini", Status.WARN)):
        (found,) = named(doctor.check(config(tmp_path, engine=engine)), "speech")
        assert found.status is status
        assert 'pip install "gs-video-report[local]"' in found.fix


def test_a_model_folder_must_hold_a_model(tmp_path: Path, loaded: dict[str, str | None]) -> None:
    (tmp_path / "m").mkdir()
    (found,) = named(doctor.check(config(tmp_path, asr_model="./m")), "model")
    assert (found.status, "model.bin" in found.message) == (Status.FAIL, True)
    (tmp_path / "m/model.bin").touch()
    (found,) = named(doctor.check(config(tmp_path, asr_model="./m")), "model")
    assert found.status is Status.OK


def test_a_model_that_is_not_here_names_how_to_get_it(
    tmp_path: Path, loaded: dict[str, str | None]
) -> None:
    (found,) = named(doctor.check(config(tmp_path, asr_model="no-such-model")), "model")
    assert found.status is Status.FAIL
    assert found.fix == "gsvr models fetch no-such-model, or --asr-model FOLDER"


def test_a_check_that_breaks_is_a_line_not_the_end(
    tmp_path: Path, loaded: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Iterator[Check]:
        raise RuntimeError("odd machine")

    monkeypatch.setattr(doctor, "machine_check", broken)
    (found,) = named(doctor.check(config(tmp_path)), "machine")
    assert found.status is Status.WARN
    assert "RuntimeError: odd machine" in found.message


# --- the database --------------------------------------------------------------------


async def test_a_sound_database_is_counted_while_a_loop_runs(
    tmp_path: Path, loaded: dict[str, str | None]
) -> None:
    async with await Database.open(tmp_path / "batch_tasks.db"):
        pass
    (found,) = named(doctor.check(config(tmp_path)), "database")
    assert found.status is Status.OK
    assert "0 batches, 0 tasks" in found.message


def test_a_damaged_database_fails_with_the_way_out(
    tmp_path: Path, loaded: dict[str, str | None]
) -> None:
    (tmp_path / "batch_tasks.db").write_bytes(b"not a database, certainly not" * 100)
    (found,) = named(doctor.check(config(tmp_path)), "database")
    assert found.status is Status.FAIL
    assert "checkpoint" in found.fix


def test_a_database_that_is_not_there_yet_is_fine(
    tmp_path: Path, loaded: dict[str, str | None]
) -> None:
    (found,) = named(doctor.check(config(tmp_path)), "database")
    assert (found.status, "first batch" in found.message) == (Status.OK, True)


# --- keys and configuration ----------------------------------------------------------


def test_an_own_server_of_the_openai_kind_needs_no_key(
    tmp_path: Path, loaded: dict[str, str | None]
) -> None:
    def engine(**options: str) -> Check:
        (found,) = named(doctor.check(config(tmp_path, engine="openai", **options)), "engine")
        return found

    assert engine().status is Status.FAIL
    assert engine(**{"openai.base_url": "http://127.0.0.1:11434/v1"}).status is Status.OK


def test_a_stored_key_is_told_as_such(tmp_path: Path, loaded: dict[str, str | None]) -> None:
    path = tmp_path / "xdg/gsvr/keys.json"
    save_key(path, "gemini", Secret("abcdefgh"))
    (found,) = named(doctor.check(config(tmp_path)), "engine")
    assert (
        found.message == "engine gemini (there is a key for it (stored with gsvr config set-key))"
    )


def test_keys_that_others_can_read_are_told(tmp_path: Path, loaded: dict[str, str | None]) -> None:
    keys = tmp_path / "xdg/gsvr/keys.json"
    keys.parent.mkdir(parents=True)
    keys.write_text("{}", encoding="utf-8")
    keys.chmod(0o644)
    found = named(doctor.check(config(tmp_path)), "config")
    assert [c.fix for c in found if c.status is Status.WARN] == [f"chmod 600 {keys}"]


# --- pure judgements -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "status"),
    [((3, 40, 1), Status.WARN), ((3, 51, 2), Status.WARN), ((3, 51, 3), Status.OK),
     ((4, 0, 0), Status.OK)],
)  # fmt: skip
def test_sqlite_with_the_reset_bug_is_told(version: tuple[int, ...], status: Status) -> None:
    assert sqlite_check(version).status is status


@pytest.mark.parametrize(
    ("free", "status"),
    [(10**8, Status.FAIL), (10**9, Status.WARN), (10**10, Status.OK)],
)
def test_room_on_the_disk_is_judged(free: int, status: Status) -> None:
    assert space_check("output", Path("/x"), free).status is status


def test_little_memory_is_a_warning() -> None:
    assert machine_check(1, 10**9).status is Status.WARN
    assert machine_check(4, 8 * 10**9).message == "4 cores, 8.0 GB memory free"


def test_sizes_are_short() -> None:
    assert [gigabytes(n) for n in (52 * 10**9, 15 * 10**8, 24 * 10**7)] == [
        "52 GB",
        "1.5 GB",
        "240 MB",
    ]


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    assert folder_check("output", tmp_path / "f/out", "--output").status is Status.FAIL
    assert folder_check("output", tmp_path / "new/deep", "--output").status is not Status.FAIL
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


# --- real child processes ------------------------------------------------------------


def test_a_module_that_is_here_gives_its_version() -> None:
    version, why = import_in_child("pytest")
    assert (version, why) == (pytest.__version__, "")


def test_a_module_that_is_missing_gives_the_reason() -> None:
    version, why = import_in_child("no_such_module_at_all")
    assert version is None
    assert why == "ModuleNotFoundError: No module named 'no_such_module_at_all'"


def test_a_module_that_ends_the_program_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text("import os; os.kill(os.getpid(), 9)", encoding="utf-8")
    (tmp_path / "hanging.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert import_in_child("deadly") == (None, "importing deadly ends the program (signal 9)")
    monkeypatch.setattr(doctor_probes, "IMPORT_TIMEOUT_S", 0.5)
    version, why = import_in_child("hanging")
    assert version is None
    assert "took more than" in why


def test_a_python_that_cannot_start_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    version, why = import_in_child("json")
    assert version is None
    assert "cannot be started" in why


# --- for scripts ---------------------------------------------------------------------


def test_the_answer_for_scripts_has_the_documented_form(
    tmp_path: Path, loaded: dict[str, str | None]
) -> None:
    loaded.update(openpyxl=None)
    value = doctor_json(doctor.check(config(tmp_path, engine="gemini")))
    page = Path(__file__).parents[2].joinpath("docs/troubleshooting.md").read_text("utf-8")
    section = page.partition("## What the doctor says")[2].partition("\n## ")[0]
    told = json.loads(section.partition("```json\n")[2].partition("```")[0])
    assert list(value) == list(told)
    assert value["ok"] is False  # there is no key for the engine
    for found in value["checks"]:
        assert list(found) == list(told["checks"][0])
        assert found["ok"] is (found["status"] != "fail")
        assert found["detail"]
        assert bool(found["hint"]) or found["status"] == "ok"
    names = section.partition("Names: ")[2]
    assert {c["name"] for c in value["checks"]} <= set(re.findall(r"`(\w+)`", names))
    assert sum(value["counts"].values()) == len(value["checks"])
    assert value["counts"]["fail"] == 1


def test_doctor_json_exits_with_1_only_when_a_check_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: dict[str, str | None]
) -> None:
    monkeypatch.chdir(tmp_path)
    good = CliRunner().invoke(app, ["doctor", "--json"])
    assert (good.exit_code, json.loads(good.output)["ok"]) in {(0, True), (1, False)}
    loaded.update(av=None)
    bad = CliRunner().invoke(app, ["doctor", "--json"])
    assert (bad.exit_code, json.loads(bad.output)["ok"]) == (1, False)
    (decoder,) = [c for c in json.loads(bad.output)["checks"] if c["name"] == "decoder"]
    assert decoder["hint"] == "pip install --force-reinstall av"


def test_long_checks_are_folded_on_a_terminal_and_whole_in_a_pipe() -> None:
    found = [
        doctor.Check("disk", doctor.Status.WARN, "word " * 30 + "end", "mend it " * 20 + "now")
    ]
    whole = doctor_lines(found)
    assert [line[:11] for line in whole] == ["warn  word ", "      fix: "]
    folded = doctor_lines(found, 80)
    assert max(map(len, folded)) <= 80
    assert folded[0].startswith("warn  word")
    assert " ".join(" ".join(folded).split()) == " ".join(" ".join(whole).split())
