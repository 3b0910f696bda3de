"""After SIGKILL of the coordinator nothing that it started goes on, whatever it was doing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
COORDINATOR = """
import asyncio, json, os, signal, sys
from gs_video_report.compute.process_pool import ProcessBackend
from tests.support import compute_functions as work

async def main(mark, go):
    backend = ProcessBackend(3)
    begun = []
    calls = [
        asyncio.ensure_future(backend.run(fn, *args, on_start=lambda: begun.append(1)))
        for fn, args in (
            (work.busy_in_c, ()), (work.with_grandchild, (mark,)), (work.wait_for, (go, "done")),
        )
    ]
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGINT, lambda: print(json.dumps("interrupted"), flush=True))
    while len(begun) < 3 or not os.path.exists(mark):
        await asyncio.sleep(0.01)
    children = [worker.pid for worker in backend._workers]
    grandchild = int(open(mark).read())
    facts = {"children": children, "guard": backend._guard.pid, "grandchild": grandchild}
    print(json.dumps(facts), flush=True)
    print(json.dumps(await calls[2]), flush=True)
    await asyncio.sleep(3600)

asyncio.run(main(*sys.argv[1:]))
"""


class Coordinator:
    """A real process with three busy children and a grandchild that ignores SIGTERM."""

    def __init__(self, folder: Path) -> None:
        self.go = folder / "go"
        self.process = subprocess.Popen(
            [sys.executable, "-c", COORDINATOR, str(folder / "mark"), str(self.go)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        facts = self.line()
        self.children: list[int] = facts["children"]
        self.guard: int = facts["guard"]
        self.grandchild: int = facts["grandchild"]

    def line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def everything(self) -> list[int]:
        return [*self.children, self.grandchild, self.guard]

    def end(self) -> None:
        for pid in [self.process.pid, *self.everything()]:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    started = Coordinator(tmp_path)
    yield started
    started.end()


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if is_alive(pid)]


def test_nothing_survives_sigkill_of_the_coordinator(coordinator: Coordinator) -> None:
    assert len(alive(coordinator.everything())) == 5
    os.kill(coordinator.process.pid, signal.SIGKILL)
    until(lambda: not alive(coordinator.everything()), 5.0)
    assert alive(coordinator.everything()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's wish exists on Linux only")
def test_children_die_even_if_the_guard_was_killed_before(coordinator: Coordinator) -> None:
    os.kill(coordinator.guard, signal.SIGKILL)
    os.kill(coordinator.process.pid, signal.SIGKILL)
    until(lambda: not alive(coordinator.children), 5.0)
    assert alive(coordinator.children) == []


def test_ctrl_c_of_the_terminal_reaches_only_the_coordinator(coordinator: Coordinator) -> None:
    os.killpg(coordinator.process.pid, signal.SIGINT)
    assert coordinator.line() == "interrupted"
    assert len(alive(coordinator.everything())) == 5
    coordinator.go.touch()
    assert coordinator.line() == "done"
