"""SIGKILL in the middle of paid requests: nothing whose answer was journaled is asked again."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.openai import FakeOpenAI
from tests.support.llm import sentences, write_lecture

pytest.importorskip("openai")
ROOT = Path(__file__).parents[2]
PAID = "name IN ('compose', 'select', 'translate')"


def start(folder: Path, path: Path, url: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.openai_worker", str(folder), str(path), url],
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def finish(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors.decode()
    return dict(json.loads(out))


def as_text(report: dict[str, Any], url: str) -> str:
    """The whole report, totals included, but for the address of the server."""
    return json.dumps(report, indent=1).replace(url.split("/")[2], "HOST")


def journaled(folder: Path) -> int:
    with sqlite3.connect(folder / "gsvr.db") as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM steps WHERE {PAID}").fetchone()
    connection.close()
    return int(count)


@pytest.mark.slow
def test_killed_runs_pay_for_no_journaled_answer_again(tmp_path: Path) -> None:
    path = write_lecture(tmp_path / "in", sentences(300))
    with FakeOpenAI(delay_s=0.02) as calm:
        expected = finish(start(tmp_path / "calm", path, calm.url))
    distinct = {call.text for call in calm.of("chat")}
    assert len(distinct) == len(calm.of("chat")) > 8
    folder, asked, lost = tmp_path / "storm", [], 0
    with FakeOpenAI(delay_s=0.02) as fake:
        for goal in (1, 4, 7):
            child = start(folder, path, fake.url)
            deadline = time.monotonic() + 60
            while len(fake.of("chat")) < len(asked) + goal and child.poll() is None:
                assert time.monotonic() < deadline
            child.kill()
            child.communicate()
            asked = [call.text for call in fake.of("chat")]
            lost = len(asked) - journaled(folder)
        resumed = finish(start(folder, path, fake.url))
    texts = [call.text for call in fake.of("chat")]
    assert set(texts) == distinct
    assert len(texts) == len(distinct) + lost, "only what was in flight at a kill is sent again"
    assert lost <= 3 * 4, "at most the requests in flight, per kill"
    assert journaled(folder) == len(distinct)
    assert as_text(resumed, fake.url) == as_text(expected, calm.url)
