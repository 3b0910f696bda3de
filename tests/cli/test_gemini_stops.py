"""What people are told when the Gemini service stops a batch, and what they can do about it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from gs_video_report.app_setup import config_set_key
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue import doubt
from gs_video_report.batch.queue.doubt import held_by_dead, let_go
from gs_video_report.engine_access import read_key_file
from gs_video_report.errors import UsageError
from tests.cli.conftest import MEDIA, Answer, Gsvr
from tests.fakes.gemini import KEY, FakeGemini

pytest.importorskip("google.genai")
WRONG = "AIzaSy-wrong-key-0123456789abcdef"


@pytest.fixture
def fake() -> Iterator[FakeGemini]:
    with FakeGemini() as server:
        yield server


def prepare(folder: Path, fake: FakeGemini, videos: int = 1, keys: str = KEY) -> dict[str, str]:
    """Inputs and a configuration; returns the environment of commands."""
    (folder / "in").mkdir()
    content = (MEDIA / "spoken_en_6s.mp4").read_bytes()
    for number in range(videos):
        (folder / "in" / f"{number}.mp4").write_bytes(content + bytes([number]))
    (folder / "gsvr.yaml").write_text(f"gemini:\n  base_url: {fake.url}\nslides: false\n")
    return {"GEMINI_API_KEY": keys, "NO_PROXY": "127.0.0.1"}


WORDS = ("batch", "process", "-d", "in", "--engine", "gemini", "--cache-dir", "c")


def process(gsvr: Gsvr, env: dict[str, str], *more: str) -> Answer:
    return gsvr(*WORDS, *more, env=env)


def test_a_stop_says_what_to_do_everywhere(gsvr: Gsvr, tmp_path: Path, fake: FakeGemini) -> None:
    env = prepare(tmp_path, fake, keys=WRONG)
    advice = "check the key in the variable GEMINI_API_KEY; it counts before a stored one"
    stopped = process(gsvr, env)
    assert stopped.code == 12, stopped.err
    shown = stopped.out + stopped.err
    assert "Stopped: the Gemini service refuses the key" in shown
    assert f"Advice:  {advice}" in shown
    status = gsvr("batch", "status", "latest")
    assert f"advice    {advice}" in status.out
    assert WRONG not in shown + status.out
    assert fake.count("start") == 0


@pytest.mark.slow
def test_a_key_that_rests_is_told_by_its_place_in_terminal_log_and_quota(
    gsvr: Gsvr, tmp_path: Path, fake: FakeGemini
) -> None:
    env = prepare(tmp_path, fake, videos=4, keys=f"{WRONG},{KEY}")
    done = process(gsvr, env, "--log-file", "run.log")
    assert done.code == 0, done.err
    words = "gemini: key 1 of 2 (id "
    shown, log = done.out + done.err, (tmp_path / "run.log").read_text()
    quota = gsvr("quota")
    assert words in shown
    assert words in log
    assert "refused at" in quota.out
    assert json.loads(gsvr("quota", "--json").out)["set_aside"][0]["kind"] == "key_refused"
    assert WRONG not in shown + log + quota.out


@pytest.mark.slow
def test_a_file_that_stays_at_the_service_is_told(
    gsvr: Gsvr, tmp_path: Path, fake: FakeGemini
) -> None:
    env = prepare(tmp_path, fake)
    fake.fail("delete", "overloaded")
    done = process(gsvr, env, "--json")
    assert done.code == 0, done.err
    (remark,) = done.lines()[-1]["remarks"]
    assert "the uploaded copy of 0.mp4 could not be deleted" in remark
    assert any(line.get("message") == remark for line in done.lines() if line["type"] == "note")


@pytest.mark.slow
def test_money_of_an_unanswered_request_is_told_apart_from_the_rest(
    gsvr: Gsvr, tmp_path: Path, fake: FakeGemini
) -> None:
    """The batch said $0.04 and its task $0.002, without a word why."""
    env = prepare(tmp_path, fake)
    fake.fail("generate", "cut_answer")
    done = process(gsvr, env, "--json")
    assert done.code == 0, done.err
    told = done.lines()[-1]
    paid = next(
        line for line in done.lines() if line["type"] == "task" and line["state"] == "completed"
    )
    assert told["usd_in_doubt"] > 0
    assert told["usd"] == pytest.approx(paid["usd"] + told["usd_in_doubt"], abs=1e-5)
    assert "got no answer" in gsvr("batch", "status", "latest").out


@pytest.mark.slow
def test_videos_whose_answers_are_paid_become_reports_although_the_day_is_spent(
    gsvr: Gsvr, tmp_path: Path
) -> None:
    with FakeGemini(rpd=3) as fake:
        env = prepare(tmp_path, fake, videos=8)
        paused = process(gsvr, env, "--parallel", "4", "--json")
        assert fake.count("generate", ok=True) == 3
    assert paused.code == 4, paused.err
    assert paused.lines()[-1]["completed"] == 3


@pytest.mark.slow
def test_what_a_killed_run_may_have_spent_is_shown_and_can_be_let_go(
    gsvr: Gsvr, tmp_path: Path
) -> None:
    with FakeGemini(latency_s=60) as fake:
        env = prepare(tmp_path, fake)
        killed = subprocess.Popen(
            [sys.executable, "-m", "gs_video_report", *WORDS, "--cost-limit", "1"],
            cwd=tmp_path, env={**os.environ, **env},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert fake.wait_for(lambda: fake.count("generate") == 1, 60)
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
    quota = gsvr("quota")
    assert "perhaps spent: $" in quota.out
    assert "gsvr quota --release-doubtful" in quota.out
    (held,) = json.loads(gsvr("quota", "--json").out)["doubtful"]
    assert held["requests"] == 1
    assert held["usd"] > 0
    assert "may have been spent by a run that was killed" in gsvr("batch", "status", "latest").out
    assert gsvr("quota", "--release-doubtful").code == 2, "it asks first"
    released = gsvr("quota", "--release-doubtful", "--yes")
    assert (released.code, "counts as not spent" in released.out) == (0, True)
    assert json.loads(gsvr("quota", "--json").out)["doubtful"] == []
    assert gsvr("quota", "--release-doubtful", "--yes").out.startswith("Nothing is held")


async def test_money_of_a_living_run_is_not_let_go(tmp_path: Path) -> None:
    from gs_video_report.batch.store.process_lock import ProcessLock

    database = await Database.open(tmp_path / "x.db")
    lock = ProcessLock(database.path)
    lock.acquire()
    rows = [("a", "b1", lock.process_id, 0.5), ("b", "b1", "gone-1", 0.25)]
    for name, batch, process_id, usd in rows:
        values = (name, "2026-11-22T10:00:00.000Z", batch, process_id, usd)
        await database.write(
            lambda c, values=values: c.execute("INSERT INTO holds VALUES(?, ?, ?, ?, ?)", values)
        )
    assert [one.usd for one in await let_go(database)] == [0.25]
    assert await held_by_dead(database) == []
    left = await database.read("SELECT hold_id FROM holds", ())
    assert [row["hold_id"] for row in left] == ["a"]
    lock.close()
    await database.close()


def test_a_key_in_place_of_the_name_of_its_file_is_not_shown(gsvr: Gsvr, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").write_bytes((MEDIA / "spoken_en_6s.mp4").read_bytes())
    refused = gsvr(*WORDS, "--api-key-file", WRONG, "--verbose")
    assert refused.code == 2
    assert WRONG not in refused.out + refused.err
    assert "looks like the key itself" in refused.err
    assert "gsvr config set-key" in refused.err


@pytest.mark.parametrize(("outside", "is_told"), [(WRONG, True), ("", False)])
def test_a_stored_key_that_the_environment_outranks_is_told(
    outside: str,
    is_told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who follows the advice of a refused key would meet the same refusal again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GEMINI_API_KEY", outside)
    monkeypatch.setattr(sys, "stdin", io.StringIO(KEY + "\n"))
    assert config_set_key(None, "gemini", forget=False) == 0
    told = capsys.readouterr().out
    assert f"is stored in {tmp_path / 'config'}" in told
    assert ("not used while GEMINI_API_KEY is set in the environment" in told) is is_told
    assert WRONG not in told


@pytest.mark.parametrize(
    "given", [WRONG, "sk-proj-0123456789abcdefghij", "x" * 30 + "9", "K" * 300 + "1"]
)
def test_no_cause_of_the_refusal_quotes_the_key(given: str) -> None:
    with pytest.raises(UsageError, match="looks like the key itself") as caught:
        read_key_file(given)
    assert given not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "given", ["keys.txt", "keys/of/mine", "my-gemini-keys-of-2026-november.txt", "/"]
)
def test_a_key_file_that_is_not_there_is_named_with_advice(given: str) -> None:
    with pytest.raises(UsageError, match="cannot be read") as caught:
        read_key_file(given)
    assert caught.value.message.startswith(f"--api-key-file {given}: ")
    assert "check the name" in caught.value.hint


@pytest.mark.slow
def test_a_spent_key_is_left_alone_by_later_runs_until_its_user_says_that_it_may_be_tried(
    gsvr: Gsvr, tmp_path: Path, fake: FakeGemini
) -> None:
    env = prepare(tmp_path, fake)
    fake.exhausted_keys.add(KEY)
    assert process(gsvr, env).code == 4
    seen = len(fake.log)
    again = process(gsvr, env)
    assert again.code == 4
    assert "as it told an earlier run" in again.err
    assert "gsvr quota --retry-spent" in " ".join(again.err.split())
    assert len(fake.log) == seen
    (aside,) = json.loads(gsvr("quota", "--json").out)["set_aside"]
    assert aside["kind"] == "key_spent"
    freed = gsvr("quota", "--retry-spent")
    assert freed.code == 0
    assert freed.out.startswith("gemini key ")
    assert freed.out.endswith(" is tried again.\n")
    assert gsvr("quota", "--retry-spent").out == "No key is set aside.\n"
    fake.exhausted_keys.clear()
    assert process(gsvr, env).code == 0


@pytest.mark.slow
def test_after_a_fallback_no_copy_stays_at_the_service(
    gsvr: Gsvr, tmp_path: Path, fake: FakeGemini
) -> None:
    env = prepare(tmp_path, fake, videos=3)
    for number in range(3):
        cue = "1\n00:00:00,000 --> 00:00:05,000\nThe harbour and the river.\n"
        (tmp_path / "in" / f"{number}.srt").write_text(cue)
    fake.exhausted_keys.add(KEY)
    done = process(gsvr, env, "--fallback", "local")
    assert done.code == 0, done.err
    assert fake.count("start", ok=True) >= 1
    assert fake.files == {}
    quota = gsvr("quota")
    assert "spent at" in quota.out


async def test_nothing_is_let_go_that_was_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pins: what another process had set aside between two readings was dropped in silence."""
    database = await Database.open(tmp_path / "x.db")
    insert = "INSERT INTO holds VALUES(?, '2026-11-22T10:00:00.000Z', 'b1', ?, 0.25)"
    await database.write(lambda c: c.execute(insert, ("a", "gone-1")))
    added: list[str] = []

    def meanwhile(path: Path, process: str) -> bool:
        """While it is looked who lives, another process dies with money set aside."""
        other = sqlite3.connect(path, timeout=0)
        with contextlib.suppress(sqlite3.OperationalError), other:
            other.execute(insert, (f"b{len(added)}", "gone-2"))
            added.append("b")
        other.close()
        return False

    monkeypatch.setattr(doubt, "is_alive", meanwhile)
    told = await let_go(database)
    left = await database.read("SELECT hold_id FROM holds", ())
    assert sum(one.requests for one in told) + len(left) == 1 + len(added)
    await database.close()
