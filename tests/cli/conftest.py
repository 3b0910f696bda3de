"""One real batch, made once, and a way to run `gsvr` in this process or in one of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MEDIA = Path(__file__).parents[1] / "support" / "media"


@dataclass(frozen=True)
class Answer:
    """What a command left: exit code and streams."""

    code: int
    out: str
    err: str

    def lines(self) -> list[dict[str, Any]]:
        """stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Gsvr = Callable[..., Answer]


def run_gsvr(*args: str, cwd: Path, env: dict[str, str] | None = None) -> Answer:
    """`gsvr ARGS` in a process of its own, as a user would run it."""
    done = subprocess.run(
        [sys.executable, "-m", "gs_video_report", *args],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


_KILLED = """
import os, signal, sys
from gs_video_report import __main__ as program
from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.task_queue import TaskQueue

name, count = sys.argv.pop(1), int(sys.argv.pop(1))
owner = CheckpointManager if name == "write" else TaskQueue
original, calls = getattr(owner, name), []

async def struck(*args, **more):
    calls.append(name)
    if len(calls) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return await original(*args, **more)

setattr(owner, name, struck)
program.main()
"""


def run_killed(name: str, count: int, *args: str, cwd: Path) -> None:
    """`gsvr ARGS` in a process that kills itself as it begins the call number `count` of `name`:
    a method of `TaskQueue`, or `CheckpointManager.write`."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, name, str(count), *args],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def gsvr(tmp_path: Path) -> Gsvr:
    """Run a command with the working directory in `tmp_path`."""

    def run(*args: str, env: dict[str, str] | None = None) -> Answer:
        return run_gsvr(*args, cwd=tmp_path, env=env)

    return run


@pytest.fixture(scope="session")
def finished_master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs and a finished batch of one good and two broken files."""
    pytest.importorskip("faster_whisper")
    root = tmp_path_factory.mktemp("finished")
    (root / "in" / "week01").mkdir(parents=True)
    shutil.copy(MEDIA / "spoken_en_6s.mp4", root / "in" / "week01" / "intro.mp4")
    (root / "in" / "empty.mp4").touch()
    (root / "in" / "text.mp4").write_text("this is no video\n" * 20)
    answer = run_gsvr("batch", "process", "-d", "in", "--cache-dir", "cache", cwd=root)
    assert answer.code == 3, answer.err
    (root / "first.err").write_text(answer.err)
    return root


@pytest.fixture
def finished(finished_master: Path) -> Callable[..., Answer]:
    """Run a command that only reads, in the folder of the finished batch."""

    def run(*args: str, env: dict[str, str] | None = None) -> Answer:
        return run_gsvr(*args, cwd=finished_master, env=env)

    return run
