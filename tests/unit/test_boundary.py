"""How commands end: by signals, by readers that go away; and what a damaged database advises."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from gs_video_report import boundary, cli
from gs_video_report.batch.data_models import BatchCounts, BatchStatus
from gs_video_report.batch.pool.outcome import PoolOutcome, StopReason, really
from gs_video_report.boundary import Faces
from gs_video_report.config import load_config
from gs_video_report.engine_access import keys_for
from gs_video_report.errors import AuthenticationError, DatabaseCorrupt
from gs_video_report.hints import place_told


@pytest.fixture(autouse=True)
def handlers_come_back() -> object:
    """The tests change handlers of this very process."""
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_closes_what_a_command_holds_and_gives_143(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a batch had its own handlers, SIGTERM was the plain death of the program."""
    closed: list[str] = []

    async def work() -> int:
        try:
            os.kill(os.getpid(), number)
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            closed.append("database")
        return 0

    assert boundary.guarded(Faces(), work) == 143
    assert closed == ["database"]
    assert capsys.readouterr().err == "gsvr: terminated; the same command again goes on\n"


@pytest.mark.parametrize("faces", [Faces(), Faces(verbose=True), Faces(json=True, verbose=True)])
@pytest.mark.parametrize("source", ["variable", "file of keys", "--api-key-file"])
def test_no_key_is_printed_whatever_words_an_error_and_its_causes_have(
    faces: Faces,
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A server repeated a key of no known form; the traceback showed it with --verbose."""
    key = f"key/of+{source.replace(' ', '_')}='x\"\\end"
    (tmp_path / "keys").write_text(
        json.dumps({"openai": key}) if source == "file of keys" else "{}"
    )
    (tmp_path / "given").write_text(key)
    env = {"OPENAI_API_KEY": key} if source == "variable" else {}
    env |= {"GSVR_KEYS_FILE": str(tmp_path / "keys"), "XDG_CONFIG_HOME": str(tmp_path)}
    config = load_config({}, env=env, cwd=tmp_path)
    given = str(tmp_path / "given") if source == "--api-key-file" else None
    (held,) = keys_for(config, "openai", given)
    assert held.reveal() == key

    def work() -> int:
        try:
            raise ValueError(f"the server said: {key!r} and {quote(key)}")
        except ValueError as error:
            raise AuthenticationError(f"refused: {key}", told=[key]) from error

    assert boundary.guarded(faces, work) == 12
    shown = capsys.readouterr().err
    assert "****" in shown
    for spelling in (key, quote(key), repr(key)[1:-1], json.dumps(key)[1:-1], "y/of+"):
        assert spelling not in shown


def test_a_command_that_ends_by_itself_keeps_its_code() -> None:
    async def work() -> int:
        return 3

    assert boundary.guarded(Faces(), work) == 3


@pytest.mark.parametrize("words", [["--help"], ["batch", "process", "--help"], ["config", "show"]])
def test_a_reader_that_goes_away_is_no_failure(words: list[str], tmp_path: Path) -> None:
    """`gsvr --help | head -1` exited with 1."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "gs_video_report", *words],
        stdout=write_end,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
        timeout=60,
    )
    os.close(write_end)
    assert done.returncode in (0, -signal.SIGPIPE)
    assert done.stderr == ""


COUNTS_DONE, COUNTS_HALF = BatchCounts(completed=4), BatchCounts(completed=2, cancelled=2)


def test_a_stop_that_came_after_the_last_video_stopped_nothing() -> None:
    """A batch cancelled just as its last video ended stayed "cancelled, 4 of 4"."""
    for reason in (StopReason.CANCELLED, StopReason.PAUSED, StopReason.STOPPED):
        assert really(PoolOutcome(reason), COUNTS_DONE).reason is StopReason.DRAINED
        assert really(PoolOutcome(reason), COUNTS_HALF).reason is reason
        assert really(PoolOutcome(reason), BatchCounts(completed=3, pending=1)).reason is reason
    assert really(PoolOutcome(StopReason.FATAL), COUNTS_DONE).reason is StopReason.FATAL


def test_a_cancellation_that_the_workers_did_not_hear_of_is_one_all_the_same() -> None:
    """All waiting videos were cancelled, the rest ended before the next heartbeat: the batch was
    called completed, with exit code 0."""
    drained, cancelled = PoolOutcome(StopReason.DRAINED), BatchStatus.CANCELLED
    outcome = really(drained, COUNTS_HALF, cancelled)
    assert outcome.reason is StopReason.CANCELLED
    assert really(drained, COUNTS_DONE, cancelled) is drained
    assert really(drained, COUNTS_HALF, BatchStatus.RUNNING) is drained


@pytest.mark.parametrize(
    ("flags", "tail"), [({"db": "other.db"}, " --db {cwd}/other.db"), ({}, "--resume-from latest")]
)
def test_the_advice_for_a_damaged_database_names_the_one_in_use(
    flags: dict[str, str], tail: str, tmp_path: Path
) -> None:
    config = load_config(flags, env={"HOME": str(tmp_path)}, cwd=tmp_path)
    with pytest.raises(DatabaseCorrupt) as caught, place_told(config):
        raise DatabaseCorrupt("other.db: damaged")
    assert caught.value.hint.endswith(tail.format(cwd=tmp_path))


def test_the_advice_names_the_configuration_that_named_the_database(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("db: lab.db\n")
    config = load_config({}, env={"HOME": str(tmp_path)}, cwd=tmp_path, config_file="lab.yaml")
    with pytest.raises(DatabaseCorrupt) as caught, place_told(config):
        raise DatabaseCorrupt("lab.db: damaged")
    assert caught.value.hint.endswith(f"--resume-from latest --config {tmp_path}/lab.yaml")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["quota", "--nonsense"], "No such option: --nonsense", "see: gsvr quota --help"),
        (["batch", "resume"], "Missing argument 'ref'", "see: gsvr batch resume --help"),
        (
            ["batch", "process", "--parallel", "many"],
            "Invalid value for '--parallel' / '-p': 'many' is not a valid int",
            "see: gsvr batch process --help",
        ),
        (["nosuch"], "No such command 'nosuch'", "see: gsvr --help"),
    ],
)
def test_a_mistake_in_the_command_line_is_one_json_object_with_json(
    words: list[str],
    message: str,
    hint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["gsvr", *words, "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert (ended.value.code, shown.out) == (2, "")
    assert json.loads(shown.err) == {
        "v": 1,
        "type": "error",
        "code": "E_USAGE",
        "message": message,
        "hint": hint,
        "exit_code": 2,
    }


def test_a_command_that_was_right_keeps_its_output_and_code_with_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gsvr", "batch", "status", "--db", "no.db", "--json"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 10
    assert json.loads(capsys.readouterr().err)["code"] == "E_NOT_FOUND"
