"""A database that is open for writing keeps its place, and nobody writes while it is rebuilt."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.data_models import BatchStatus, TaskStatus
from gs_video_report.batch.mend import restore
from gs_video_report.batch.mend.restore import open_or_restore
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.store import file_lock
from gs_video_report.batch.store.place_lock import rebuilding
from gs_video_report.batch.store.process_lock import workers_dir
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import BatchInUse, ExitCode
from tests.support.queue import BATCH, FakeClock, open_queue


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lock, "TRIES", 2)
    monkeypatch.setattr(file_lock, "PAUSE_S", 0.0)


async def test_a_database_is_rebuilt_by_one_command_and_while_nobody_has_it_open_for_writing(
    tmp_path: Path, impatient: None
) -> None:
    path = tmp_path / "q.db"
    async with await Database.open(path), await Database.open(path):
        with pytest.raises(BatchInUse, match="works with it"):
            async with rebuilding(path):
                pass
    async with rebuilding(path):
        with pytest.raises(BatchInUse, match="works with it"):
            async with rebuilding(path):
                pass
    assert not workers_dir(path).exists()


async def test_who_only_reads_hinders_no_rebuilding_and_is_not_hindered(
    tmp_path: Path, impatient: None
) -> None:
    path = tmp_path / "q.db"
    await (await Database.open(path)).close()
    async with (
        await Database.open(path, read_only=True),
        rebuilding(path),
        await Database.open(path, read_only=True) as reader,
    ):
        assert await reader.read("SELECT count(*) FROM batches")


async def test_a_database_that_cannot_be_opened_is_let_go(tmp_path: Path, impatient: None) -> None:
    path = tmp_path / "q.db"
    path.write_bytes(b"no database, and long enough to be looked at" * 100)
    with pytest.raises(Exception, match=r"q\.db"):
        await Database.open(path)
    async with rebuilding(path):
        pass
    assert not workers_dir(path).exists()


async def lost_database(folder: Path) -> Path:
    """Where a running batch of two videos was; there is a checkpoint of it."""
    queue = await open_queue(folder, FakeClock(), 2)
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    await CheckpointManager(queue).write(BATCH, "test")
    path = queue.db.path
    await queue.db.close()
    for side in folder.glob(f"{path.name}*"):
        side.unlink()
    return path


def gsvr(path: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "gs_video_report", "batch", *words, BATCH, "--db", str(path)],
        cwd=path.parent,
        env=os.environ | {"XDG_CONFIG_HOME": str(path.parent / "config")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def refusals(path: Path) -> list[tuple[int, str]]:
    """How commands end that would write into the database now: exit codes and what they said."""
    commands = [
        gsvr(path, "pause"),
        gsvr(path, "cancel", "--yes"),
        gsvr(path, "retry", "--failed", "--no-run"),
        gsvr(path, "resume"),
    ]
    said = [process.communicate(timeout=60)[1] for process in commands]
    return [
        (process.returncode, " ".join(words.decode().split()))
        for process, words in zip(commands, said, strict=True)
    ]


async def test_what_would_change_a_batch_is_refused_while_its_database_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written into a file that another one was about to replace: done, and lost."""
    path = await lost_database(tmp_path)
    recheck, told = restore._recheck, []

    async def while_it_is_rebuilt(*given: Any) -> list[str]:
        told.extend(await asyncio.to_thread(refusals, path))
        return await recheck(*given)

    monkeypatch.setattr(restore, "_recheck", while_it_is_rebuilt)
    database, opened = await open_or_restore(path, "latest")
    async with database:
        assert opened is not None
        assert [code for code, _ in told] == [ExitCode.LOCKED] * 4
        assert all("another command rebuilds it from a checkpoint" in said for _, said in told)
        queue = TaskQueue(database)
        assert (await queue.get_batch(BATCH)).status is not BatchStatus.CANCELLED
        tasks = [task.status async for task in queue.iter_tasks(BATCH)]
        assert tasks == [TaskStatus.PENDING] * 2


async def test_a_damaged_database_stays_where_it_is_while_a_command_changes_it(
    tmp_path: Path, impatient: None
) -> None:
    """Pins: a pause or a cancel that had the file open did not count as working with it."""
    queue = await open_queue(tmp_path, FakeClock(), 300)
    await CheckpointManager(queue).write(BATCH, "test")
    path = queue.db.path
    await queue.db.close()
    at = (await page_of_files(path) - 1) * 4096
    content = bytearray(path.read_bytes())
    content[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    async with await Database.open(path) as changing:
        await TaskQueue(changing).set_batch_status(BATCH, BatchStatus.CANCELLED, reason="asked for")
        with pytest.raises(BatchInUse, match="works with it"):
            await open_or_restore(path, "latest")
        assert (await TaskQueue(changing).get_batch(BATCH)).status is BatchStatus.CANCELLED
    assert not list(tmp_path.glob("*.damaged-*"))
    database, opened = await open_or_restore(path, "latest")
    await database.close()
    assert opened is not None
    assert "was kept as" in opened.notes[0]


async def page_of_files(path: Path) -> int:
    """The number of a page that a change of a batch never touches."""
    async with await Database.open(path, read_only=True) as database:
        found = await database.read("SELECT rootpage FROM sqlite_master WHERE name = 'files'")
    return int(found[0][0])
