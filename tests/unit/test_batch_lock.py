"""Locks on a batch: who lets go, and who comes meanwhile."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.store import file_lock
from gs_video_report.batch.store.batch_lock import rewriting, working_on
from gs_video_report.batch.store.process_lock import remove_dead, workers_dir
from gs_video_report.errors import BatchInUse


@pytest.fixture
def lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lock of the batch b1 of the database q.db is; nobody waits for it."""
    monkeypatch.setattr(file_lock, "TRIES", 2)
    monkeypatch.setattr(file_lock, "PAUSE_S", 0.0)
    return workers_dir(tmp_path / "q.db") / "batch-b1.lock"


def before_flock(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Once, just before the next lock is asked for, another process acts."""
    flock, left = fcntl.flock, [act]

    def late(fd: int, kind: int) -> Any:
        if left:
            left.pop()()
        return flock(fd, kind)

    monkeypatch.setattr(fcntl, "flock", late)


def replaced(path: Path) -> Callable[[], int]:
    """Another process takes the file away, and a third makes and locks a new one."""

    def act() -> int:
        path.unlink()
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return fd

    return act


async def test_who_lets_go_does_not_take_away_the_lock_that_another_made_meanwhile(
    tmp_path: Path, lock_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file lost its name, and two commands could have the batch alone."""
    third: list[int] = []
    try:
        async with working_on(tmp_path / "q.db", "b1"):
            act = replaced(lock_file)
            before_flock(monkeypatch, lambda: third.append(act()))
        assert os.path.samestat(os.fstat(third[0]), lock_file.stat())
        with pytest.raises(BatchInUse):
            async with rewriting(tmp_path / "q.db", "b1"):
                pass
    finally:
        for fd in third:
            os.close(fd)


def test_a_cleaner_does_not_take_away_the_lock_that_another_made_meanwhile(
    tmp_path: Path, lock_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_file.parent.mkdir()
    lock_file.touch()
    third: list[int] = []
    act = replaced(lock_file)
    before_flock(monkeypatch, lambda: third.append(act()))
    try:
        assert remove_dead(tmp_path / "q.db") == []
        assert os.path.samestat(os.fstat(third[0]), lock_file.stat())
    finally:
        for fd in third:
            os.close(fd)
