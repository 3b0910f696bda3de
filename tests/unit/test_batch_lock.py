"""Locks on a batch and on the whole database: who lets go, and who comes meanwhile."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from gs_video_report.batch.data_models import BatchOptions, BatchRow, BatchStatus
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.processor import BatchProcessor
from gs_video_report.batch.store import batch_lock
from gs_video_report.batch.store.batch_lock import rebuilding, rewriting, working_on
from gs_video_report.batch.store.process_lock import remove_dead, workers_dir
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import BatchInUse
from gs_video_report.terminal.printer import Printer


@pytest.fixture
def lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lock of the batch b1 of the database q.db is; nobody waits for it."""
    monkeypatch.setattr(batch_lock, "TRIES", 2)
    monkeypatch.setattr(batch_lock, "PAUSE_S", 0.0)
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


@pytest.mark.parametrize("hold", [working_on, rewriting])
async def test_nobody_begins_on_a_database_while_it_is_rebuilt(
    tmp_path: Path, lock_file: Path, hold: Any
) -> None:
    """It worked on with the damaged file, which was moved aside meanwhile."""
    async with rebuilding(tmp_path / "q.db"):
        with pytest.raises(BatchInUse, match="another command rebuilds it"):
            async with hold(tmp_path / "q.db", "b1"):
                pass
        assert not lock_file.exists()
    async with hold(tmp_path / "q.db", "b1"):
        assert lock_file.exists()


async def test_a_database_that_was_rebuilt_since_it_was_opened_is_not_worked_on(
    tmp_path: Path,
) -> None:
    """What a run did went into the file that was moved aside."""
    path = tmp_path / "tasks.db"
    async with await Database.open(path) as before:
        before.check_in_place()
        row = BatchRow("ab12cd34", "t", "key", BatchStatus.INITIALIZING, BatchOptions(), {})
        await TaskQueue(before).create_batch(row)
        async with rebuilding(path):
            for side in tmp_path.glob("tasks.db*"):
                side.rename(tmp_path / side.name.replace("tasks.db", "kept.db"))
            async with await Database.open(path) as rebuilt:
                rebuilt.check_in_place()
        with pytest.raises(BatchInUse, match="put a rebuilt database in its place"):
            await BatchProcessor(before, row, cast(Printer, None)).run()
    assert not workers_dir(path).exists()
