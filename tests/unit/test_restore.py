"""`--resume-from` when the database is damaged: rebuilt from a checkpoint, nothing left open."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.commands import restorable
from gs_video_report.batch.data_models import BatchOptions, NewTask, TaskStatus, VideoInput
from gs_video_report.batch.mend import restore
from gs_video_report.batch.mend.restore import open_or_restore
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import DatabaseCorrupt, NotFoundError
from gs_video_report.terminal.tables import batch_list
from tests.support.queue import BATCH, FakeClock, batch, open_queue, result


async def damaged_database(folder: Path) -> Path:
    """A database with a batch of 300 tasks and a checkpoint of it, then pages overwritten."""
    queue = await open_queue(folder, FakeClock(), 300)
    await CheckpointManager(queue).write(BATCH, "test")
    path = queue.db.path
    await queue.db.close()
    data = bytearray(path.read_bytes())
    data[8192 : len(data) - 4096] = b"\xff" * (len(data) - 12288)
    path.write_bytes(data)
    return path


def database_threads() -> int:
    """Threads that would keep the program from ending; those of the event loop end with it."""
    return sum(not t.name.startswith("asyncio") for t in threading.enumerate())


async def test_a_damaged_database_is_closed_before_it_is_moved_aside(tmp_path: Path) -> None:
    """Pins: the connection stayed open, and its thread kept the program from ending."""
    path = await damaged_database(tmp_path)
    before = database_threads()
    database, opened = await open_or_restore(path, "latest")
    assert opened is not None
    assert opened.how == "restored"
    assert opened.notes[0].startswith("the database is damaged; it was kept as gsvr.db.damaged-")
    await database.close()
    assert database_threads() == before
    assert len(list(tmp_path.glob("gsvr.db.damaged-*"))) >= 1


async def test_a_damaged_database_without_a_checkpoint_stays_where_it_is(tmp_path: Path) -> None:
    path = await damaged_database(tmp_path)
    for checkpoint in (tmp_path / "checkpoints").iterdir():
        checkpoint.unlink()
    before, content = database_threads(), path.read_bytes()
    with pytest.raises((NotFoundError, DatabaseCorrupt)):
        await open_or_restore(path, "latest")
    assert database_threads() == before
    assert path.read_bytes() == content


async def test_a_damaged_report_is_done_again_only_where_that_is_sure_and_free(
    tmp_path: Path,
) -> None:
    """Pins: all were given up, also one whose recording is gone, and one that was paid for."""
    queue = TaskQueue(await Database.open(tmp_path / "gsvr.db"), clock=FakeClock())
    await queue.create_batch(batch(options=BatchOptions(output_dir=str(tmp_path / "out"))))
    here, gone = tmp_path / "here.mp4", tmp_path / "gone.mp4"
    here.write_bytes(b"video")
    made = [(here, "plain", "local"), (gone, "plain", "local"), (here, "other", "gemini")]
    await queue.add_tasks(
        BATCH, [NewTask(VideoInput(str(path)), template) for path, template, _ in made]
    )
    with ProcessLock(queue.db.path) as lock:
        for task in await queue.claim(BATCH, f"{lock.process_id}/w0", len(made), 60):
            engine = made[task.seq - 1][2]
            await queue.complete(task, replace(result(), engine=engine))
    await CheckpointManager(queue).write(BATCH, "test")
    await queue.db.close()
    queue.db.path.unlink()
    database, opened = await open_or_restore(queue.db.path, "latest")
    states = {t.seq: t.status async for t in TaskQueue(database).iter_tasks(BATCH)}
    await database.close()
    assert states == {1: TaskStatus.PENDING, 2: TaskStatus.COMPLETED, 3: TaskStatus.COMPLETED}
    assert opened is not None
    assert opened.notes[1].startswith("1 finished reports are not on disk as they were; they are")
    assert f"left so ({BATCH}:2, {BATCH}:3)" in opened.notes[2]
    assert "gsvr batch verify --repair" in opened.notes[2]


async def two_batches(folder: Path) -> tuple[Path, list[str]]:
    """A database with two batches of one task and checkpoints of both; the ids, oldest first."""
    clock = FakeClock()
    queue = await open_queue(folder, clock, 1)
    clock.pass_s(60)
    await queue.create_batch(batch("bb22cc33", created_at="2026-01-02T00:00:00.000Z"))
    await queue.add_tasks(
        "bb22cc33", [NewTask(VideoInput("/in/b.mp4"), "transcript", task_key="b")]
    )
    manager = CheckpointManager(queue)
    for batch_id in (BATCH, "bb22cc33"):
        await manager.write(batch_id, "test")
    await queue.db.close()
    return queue.db.path, [BATCH, "bb22cc33"]


async def test_a_lost_database_is_rebuilt_with_all_its_batches(tmp_path: Path) -> None:
    """Only the newest came back; the next run then dropped the others from the library page."""
    path, ids = await two_batches(tmp_path)
    path.unlink()
    assert restorable(path) == 2
    database, opened = await open_or_restore(path, "latest")
    async with database:
        assert opened is not None
        assert opened.row.batch_id == ids[-1]
        assert opened.notes == [
            "gsvr.db is not there; rebuilt from a checkpoint",
            f"1 more batch was rebuilt from checkpoints ({BATCH}); see: gsvr batch list",
        ]
        listed = await TaskQueue(database).list_batches()
        assert [(row.batch_id, counts.total) for row, counts in listed] == [
            (batch_id, 1) for batch_id in reversed(ids)
        ]


async def test_a_rebuild_that_is_cut_short_leaves_no_part_of_it_and_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pins: the batches that had been restored by then passed for the whole database."""
    path, ids = await two_batches(tmp_path)
    path.unlink()
    stale = path.with_name(path.name + "-wal")
    stale.write_bytes(b"of the lost database")

    async def cut_short(*_: object) -> None:
        raise KeyError("the power went")

    with monkeypatch.context() as broken:
        broken.setattr(restore, "_restore_into", cut_short)
        with pytest.raises(KeyError):
            await open_or_restore(path, "latest")
    assert not path.exists()
    database, opened = await open_or_restore(path, "latest")
    async with database:
        assert opened is not None
        assert opened.row.batch_id == ids[-1]
        assert len(await TaskQueue(database).list_batches()) == 2
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [path.name]


async def test_a_rebuilt_ledger_holds_what_another_batchs_checkpoint_knew(tmp_path: Path) -> None:
    """Pins: rows that came with the other checkpoint were not summed, and the limit let more by."""
    queue = await open_queue(tmp_path, FakeClock(), 1)
    await queue.create_batch(batch("bb22cc33"))
    manager = CheckpointManager(queue)
    paid = "INSERT INTO usage(at, batch_id, provider, usd) VALUES(?, ?, 'gemini', 1.5)"
    first, later = "2999-01-01T00:00:00.000Z", "2999-01-01T00:00:01.000Z"
    await queue.db.write(lambda c: c.execute(paid, (first, BATCH)).rowcount)
    await manager.write(BATCH, "test")
    await queue.db.write(lambda c: c.execute(paid, (later, BATCH)).rowcount)
    await manager.write("bb22cc33", "test")
    path = queue.db.path
    await queue.db.close()
    path.unlink()
    database, _ = await open_or_restore(path, BATCH)
    async with database:
        rows = await database.read("SELECT ledger_usd FROM batches WHERE batch_id = ?", (BATCH,))
        assert rows[0][0] == 3.0


async def test_a_batch_without_a_sound_checkpoint_is_told_and_hinders_no_other(
    tmp_path: Path,
) -> None:
    path, ids = await two_batches(tmp_path)
    path.unlink()
    for checkpoint in (tmp_path / "checkpoints").glob(f"{BATCH}-*"):
        checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    database, opened = await open_or_restore(path, ids[-1])
    async with database:
        assert opened is not None
        assert opened.notes[1:] == [
            f"not rebuilt, since no checkpoint of theirs is sound: {BATCH}",
        ]
        assert [row.batch_id for row, _ in await TaskQueue(database).list_batches()] == ids[-1:]


def test_the_list_tells_how_a_lost_database_comes_back() -> None:
    lines = batch_list([], now=datetime.now(UTC), tail=" --db x.db", restorable=3)
    assert lines == [
        "The database is not there, but checkpoints of 3 batches are.",
        "Rebuild it with all of them, and go on with the newest:",
        "     gsvr batch resume latest --db x.db",
    ]
