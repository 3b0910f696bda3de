"""The half-price lane with the whole program killed at each step: every job is paid for once.

The command line runs in a process of its own, against the fake service and the real SDK; it gets
SIGKILL from within the request that names the step. Only the pauses between looks are shorter.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import MEDIA
from tests.fakes.gemini import KEY, FakeGemini

pytest.importorskip("google.genai")

PROGRAM = """
import sys
from gs_video_report.engines.gemini import engine as gemini
gemini.POLL_S, gemini.SETTLE_S = 0.05, 0.3
from gs_video_report.__main__ import main
sys.argv[0] = "gsvr"
main()
"""
PROCESS = ("batch", "process", "-d", "in", "--engine", "gemini", "--cache-dir", "c")
WORDS = (*PROCESS, "--parallel", "1", "--cost-limit", "5")
STEPS = (
    ("batch_list", "before the job is asked for"),
    ("batch", "the request is sent, and no answer is read"),
    ("batch_get", "the job is noted, and waited for"),
    ("batch_item", "the job ends, and its answer is not read"),
    ("delete", "the replies are noted, and no report is written"),
)


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "GEMINI_API_KEY": KEY,
        "NO_PROXY": "127.0.0.1",
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=folder, env=env, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def killed_at(folder: Path, fake: FakeGemini, op: str) -> None:
    """Run the command until the service is asked for `op`, which it does not survive."""
    child = start(folder, *WORDS)
    fake.before[op] = lambda: os.kill(child.pid, signal.SIGKILL)
    told = child.communicate(timeout=60)[0].decode()
    assert child.returncode == -signal.SIGKILL, (op, told)
    assert op not in fake.before


def finish(folder: Path, *words: str) -> tuple[int, str]:
    """Run the command to its end; exit code and everything it said."""
    child = start(folder, *words)
    told = child.communicate(timeout=90)[0].decode()
    return child.returncode, told


def money(folder: Path) -> tuple[float, int]:
    """(US dollars in the ledger, sums that are set aside)."""
    with closing(sqlite3.connect(f"file:{folder / 'batch_tasks.db'}?mode=ro", uri=True)) as db:
        (usd,) = db.execute("SELECT coalesce(sum(usd), 0) FROM usage").fetchone()
        (holds,) = db.execute("SELECT count(*) FROM holds").fetchone()
    return usd, holds


def prepare(folder: Path, fake: FakeGemini, videos: int) -> None:
    (folder / "in").mkdir()
    content = (MEDIA / "spoken_en_6s.mp4").read_bytes()
    for number in range(videos):
        (folder / "in" / f"{number}.mp4").write_bytes(content + bytes([number]))
    settings = f"gemini:\n  base_url: {fake.url}\n  batch: true\nslides: false\n"
    (folder / "gsvr.yaml").write_text(settings)


@pytest.mark.slow
def test_a_program_killed_at_every_step_of_a_half_price_job_pays_for_it_once(
    tmp_path: Path,
) -> None:
    with FakeGemini(polls=1) as fake:
        prepare(tmp_path, fake, 1)
        for op, _ in STEPS:
            killed_at(tmp_path, fake, op)
        code, told = finish(tmp_path, *WORDS)
        assert code == 0, told
        assert fake.count("batch") == len(fake.batches) == 1
        assert fake.count("generate") == 0
        usd, holds = money(tmp_path)
        assert usd == pytest.approx(fake.spent_usd, abs=1e-8)
        assert holds == 0
    (report,) = (tmp_path / "batch_output").rglob("0.json")
    assert json.loads(report.read_text())["segments"]


@pytest.mark.slow
def test_open_jobs_of_a_killed_program_are_collected_although_the_cost_limit_is_lower_now(
    tmp_path: Path,
) -> None:
    with FakeGemini(polls=1) as fake:
        prepare(tmp_path, fake, 3)
        killed_at(tmp_path, fake, "batch_get")
        assert fake.count("batch") == 1
        code, told = finish(tmp_path, "batch", "resume", "latest", "--cost-limit", "0.000001")
        assert code == 4, told
        assert "could pass the cost limit" in told
        assert fake.count("batch") == 1, "nothing more was asked for"
        assert money(tmp_path) == (pytest.approx(fake.spent_usd, abs=1e-8), 0)
    made = [p.name for p in (tmp_path / "batch_output").rglob("?.json")]
    assert made == ["0.json"]
