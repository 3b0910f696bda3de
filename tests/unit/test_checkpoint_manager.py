"""Checkpoints: whole, verified, never in each other's way, and enough to rebuild a batch."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gs_video_report.batch.checkpoint import format as checkpoint_format
from gs_video_report.batch.checkpoint_manager import (
    KEEP,
    CheckpointManager,
    default_directory,
    load_checkpoint,
)
from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchOptions,
    BatchStatus,
    OutputFile,
    TaskResult,
    TaskStatus,
    Usage,
    VideoTask,
)
from gs_video_report.batch.mend.outputs import verify_outputs
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import CheckpointError, DiskFullError, NotFoundError, UsageError
from tests.support.queue import BATCH, BROKEN, FakeClock, batch, open_queue, result, tasks


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def queue(tmp_path: Path, clock: FakeClock) -> AsyncIterator[TaskQueue]:
    """Eight tasks: completed, failed, retrying, cancelled, skipped, running twice, pending."""
    queue = await open_queue(tmp_path, clock, 8)
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    options = BatchOptions(output_dir=os.fsdecode(b"/out/\xff"), formats=("md",))
    await queue.update_batch_options(BATCH, options)
    with ProcessLock(queue.db.path) as lock:
        got = await queue.claim(BATCH, lock.worker_id(1), 6, 60)
        await queue.complete(got[0], result(60.0, usage=Usage(1, 2, 3, 0.5)))
        await queue.fail(got[1], BROKEN)
        await queue.retry_later(got[2], BROKEN, 600)
        await queue.cancelled(got[3])
        await queue.skip(7, "there", result(5.0))
        await queue.request_cancel(f"{BATCH}:6")
        await queue.record_usage("gemini", Usage(1, 2, 3, 0.5), batch_id=BATCH, task_id=1)
        await queue.record_usage("gemini", Usage(1, 9, 9, 0.25))
        yield queue
    await queue.db.close()


@pytest.fixture
def manager(queue: TaskQueue) -> CheckpointManager:
    return CheckpointManager(queue)


@pytest.fixture
async def empty(tmp_path: Path, clock: FakeClock) -> AsyncIterator[TaskQueue]:
    async with await Database.open(tmp_path / "new" / "gsvr.db") as db:
        yield TaskQueue(db, clock=clock)


def settled(task: VideoTask) -> VideoTask:
    return replace(task, task_id=0, worker_id=None, lease_expires_at=None, stage=None)


def numbers_of(manager: CheckpointManager, ref: str) -> list[int]:
    """Numbers of the listed checkpoints, in their order."""
    return [int(info.checkpoint_id.rpartition("-")[2]) for info in manager.list(ref)]


# --- writing and listing --------------------------------------------------------------------------


async def test_checkpoint_lies_beside_the_database_and_says_what_it_is(
    queue: TaskQueue, manager: CheckpointManager, tmp_path: Path
) -> None:
    info = await manager.write(BATCH, "start")
    assert info.path == tmp_path / "checkpoints" / "7f3a0011-20251122T110000Z-1.ckpt"
    assert info.path.parent == default_directory(queue.db.path)
    assert (info.checkpoint_id, info.reason, info.batch_name) == (
        info.path.stem,
        "start",
        "lectures",
    )
    assert info.created_at == "2025-11-22T11:00:00.000Z"
    assert info.counts == await queue.counts(BATCH)
    assert manager.list() == [info]
    assert manager.list(BATCH) == [info]
    assert manager.list("7f3a") == manager.list("latest") == [info]
    with pytest.raises(NotFoundError, match="no checkpoint is called 'ffffffff'"):
        manager.list("ffffffff")
    rows = await queue.db.read("SELECT * FROM checkpoints")
    assert [(r["checkpoint_id"], r["tasks"]) for r in rows] == [(info.checkpoint_id, 8)]
    assert [p.name for p in manager.directory.iterdir()] == [info.path.name]


async def test_only_the_newest_are_kept_per_batch(
    queue: TaskQueue, manager: CheckpointManager, clock: FakeClock
) -> None:
    await queue.create_batch(batch("aaaa0001"))
    other = await manager.write("aaaa0001", "start")
    for number in range(KEEP + 3):
        clock.pass_s(1 if number % 2 else 0)  # several within one second as well
        await manager.write(BATCH, "interval")
    assert numbers_of(manager, BATCH) == list(range(KEEP + 4, 4, -1))
    assert other in manager.list()
    rows = await queue.db.read("SELECT count(*) AS n FROM checkpoints")
    assert rows[0]["n"] == KEEP + 1


async def test_clock_set_back_costs_no_checkpoint_and_the_last_written_is_latest(
    queue: TaskQueue, manager: CheckpointManager, clock: FakeClock
) -> None:
    """Ordered by time, each new one was the oldest, and dropped as soon as it was written."""
    for _ in range(KEEP):
        clock.pass_s(60)
        await manager.write(BATCH, "interval")
    for days in (1, 1, 365):
        clock.jump_s(-days * 86_400)
        await queue.set_batch_status(BATCH, BatchStatus.RUNNING, reason=f"{days} back")
        info = await CheckpointManager(queue).write(BATCH, "interval")  # as another process
        assert info.path.is_file()
        for ref in ("latest", BATCH):
            assert manager.load(ref).info == info
        assert manager.list("latest")[0] == info
    assert numbers_of(manager, BATCH) == list(range(KEEP + 3, 3, -1))


async def test_latest_of_several_batches_is_the_last_written_whatever_the_clock_said(
    queue: TaskQueue, manager: CheckpointManager, clock: FakeClock
) -> None:
    await queue.create_batch(batch("aaaa0001"))
    for _ in range(3):
        await manager.write(BATCH, "interval")
    clock.jump_s(-86_400)
    other = await manager.write("aaaa0001", "start")
    assert manager.load("latest").info == other
    assert manager.list("latest") == [other]
    newest = await manager.write(BATCH, "interval")
    assert manager.load("latest").info == newest


async def test_unreadable_checkpoint_is_listed_and_neither_deleted_nor_replaced(
    queue: TaskQueue, manager: CheckpointManager
) -> None:
    first = await manager.write(BATCH, "start")
    damaged = first.path.read_bytes()[:-20]
    first.path.write_bytes(damaged)
    for _ in range(KEEP + 2):
        await manager.write(BATCH, "interval")
    listed = manager.list(BATCH)
    assert [i.readable for i in listed] == [True] * KEEP + [False]
    assert listed[-1].problem.endswith("is cut short or was altered at its end")
    assert (listed[-1].batch_id, listed[-1].size_bytes) == (BATCH, len(damaged))
    assert first.path.read_bytes() == damaged


async def test_number_that_another_process_has_taken_is_not_overwritten(
    queue: TaskQueue, manager: CheckpointManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.write(BATCH, "start")
    taken = manager.directory / "7f3a0011-20251122T110000Z-2.ckpt"
    link = os.link

    def racing(source: Path, target: Path) -> None:
        if target == taken and not taken.exists():
            taken.write_bytes(b"theirs")
        link(source, target)

    monkeypatch.setattr(os, "link", racing)
    info = await manager.write(BATCH, "interval")
    assert info.path.name == "7f3a0011-20251122T110000Z-3.ckpt"
    assert taken.read_bytes() == b"theirs"


async def test_failed_write_leaves_nothing_behind_and_the_old_ones_alone(
    queue: TaskQueue, manager: CheckpointManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = await manager.write(BATCH, "start")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match="no space left"):
        await manager.write(BATCH, "interval")
    monkeypatch.undo()
    assert manager.list() == [good]
    assert [p.name for p in manager.directory.iterdir()] == [good.path.name]
    assert (await manager.write(BATCH, "interval")).readable


async def test_temporary_file_of_a_killed_process_is_tidied_up(
    queue: TaskQueue, manager: CheckpointManager
) -> None:
    manager.directory.mkdir()
    old, new = (manager.directory / f".gsvr-{n}.tmp" for n in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    await manager.write(BATCH, "start")
    assert not old.exists()
    assert new.exists()


async def test_unknown_batch_cannot_be_written(manager: CheckpointManager) -> None:
    with pytest.raises(NotFoundError):
        await manager.write("ffffffff", "start")
    assert list(manager.directory.iterdir()) == []


# --- loading --------------------------------------------------------------------------------------


async def test_checkpoint_is_named_by_file_id_batch_or_latest(
    queue: TaskQueue, manager: CheckpointManager, clock: FakeClock
) -> None:
    first = await manager.write(BATCH, "start")
    clock.pass_s(5)
    second = await manager.write(BATCH, "interval")
    assert manager.load("latest").info == second
    assert manager.load("7f3a").info == second
    assert manager.load(first.checkpoint_id).info == first
    assert manager.load(first.path).info == first
    assert manager.load(str(first.path)).info == first
    assert CheckpointManager(None, manager.directory).load("latest").batch_id == BATCH
    with pytest.raises(NotFoundError, match="no checkpoint is called 'ff'"):
        manager.load("ff")
    with pytest.raises(NotFoundError):
        manager.load(Path("/nowhere.ckpt"))
    second.path.write_bytes(second.path.read_bytes()[:-1])
    assert manager.load("latest").info == first
    with pytest.raises(CheckpointError, match="cut short"):
        manager.load(second.checkpoint_id)


async def test_any_altered_byte_and_any_cut_is_noticed(
    manager: CheckpointManager, tmp_path: Path
) -> None:
    whole = (await manager.write(BATCH, "start")).path.read_bytes()
    path = tmp_path / "x.ckpt"
    chance = random.Random(3)
    places = {0, 8, 9, 12, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(150))}
    for place in places:
        altered = bytearray(whole)
        altered[place] ^= 1 + chance.randrange(255)
        path.write_bytes(altered)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    for length in {0, 1, 15, 60, len(whole) // 2, len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="cut short"):
            load_checkpoint(path)


async def test_checkpoint_of_a_newer_version_says_so(
    manager: CheckpointManager, tmp_path: Path
) -> None:
    body = bytearray((await manager.write(BATCH, "start")).path.read_bytes()[:-48])
    struct.pack_into(">H", body, 8, checkpoint_format.VERSION + 1)
    trailer = struct.pack(
        ">Q32s8s", len(body), hashlib.sha256(body).digest(), checkpoint_format.END_MAGIC
    )
    path = tmp_path / "newer.ckpt"
    path.write_bytes(bytes(body) + trailer)
    with pytest.raises(CheckpointError, match=r"from a newer gsvr \(format 2\)") as raised:
        load_checkpoint(path)
    assert "upgrade gsvr" in raised.value.hint


def test_file_that_is_no_checkpoint_says_so(tmp_path: Path) -> None:
    path = tmp_path / "notes.ckpt"
    path.write_text("these are my notes " * 20)
    with pytest.raises(CheckpointError, match=r"notes\.ckpt: is not a gsvr checkpoint"):
        load_checkpoint(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(path)


# --- restoring ------------------------------------------------------------------------------------


async def test_restored_batch_has_every_task_result_and_error(
    queue: TaskQueue, manager: CheckpointManager, empty: TaskQueue
) -> None:
    info = await manager.write(BATCH, "stopped")
    row = await manager.restore(manager.load("latest"), empty)
    original = await queue.get_batch(BATCH)
    reason = f"restored from checkpoint {info.checkpoint_id}"
    assert row == replace(original, status=BatchStatus.PAUSED, status_reason=reason)
    before = [settled(t) async for t in queue.iter_tasks(BATCH)]
    after = [settled(t) async for t in empty.iter_tasks(BATCH)]
    # Running tasks wait again, or end if that had been asked for; nothing else differs.
    assert [t.status for t in before[4:6]] == ["running", "running"]
    before[4] = replace(before[4], status=TaskStatus.PENDING)
    before[5] = replace(
        before[5], status=TaskStatus.CANCELLED, cancel_requested=False,
        finished_at=before[5].started_at,
    )  # fmt: skip
    assert after == before
    assert await empty.counts(BATCH) == BatchCounts(
        pending=2, retrying=1, completed=1, failed=1, cancelled=2, skipped=1,
        media_s_total=65.0, media_s_done=65.0, usd=0.5,
    )  # fmt: skip
    assert await empty.db.problems() == []


async def test_report_that_stays_after_a_cancelled_retry_is_restored_with_its_own_facts(
    queue: TaskQueue, manager: CheckpointManager, empty: TaskQueue
) -> None:
    """Pins: the length and content of an exchanged recording beside the old report."""
    await queue.requeue(BATCH, statuses=[TaskStatus.SKIPPED], reason="retry", keep_result=True)
    with ProcessLock(queue.db.path) as lock:
        again = (await queue.claim(BATCH, lock.worker_id(1), 2, 60))[0]
        await queue.set_media(again, "new", 99.0)
        await queue.request_cancel(again)
        await manager.write(BATCH, "stopped")
    await manager.restore(manager.load("latest"), empty)
    ended = await empty.get_task(f"{BATCH}:7")
    assert (ended.status, ended.result) == (TaskStatus.COMPLETED, result(5.0))
    assert ended.media_s == 5.0


async def test_restored_batch_can_be_worked_on(
    manager: CheckpointManager, empty: TaskQueue
) -> None:
    await manager.write(BATCH, "stopped")
    await manager.restore(manager.load("latest"), empty)
    await empty.set_batch_status(BATCH, BatchStatus.RUNNING)
    with ProcessLock(empty.db.path) as lock:
        got = await empty.claim(BATCH, lock.worker_id(1), 9, 60)
        assert [(t.seq, t.attempt) for t in got] == [(5, 2), (8, 1)]
        await empty.complete(got[0], result())
    assert await empty.add_tasks(BATCH, tasks(9)) == 1
    assert (await empty.get_task(f"{BATCH}:9")).seq == 9


async def test_daily_quota_survives_and_is_not_counted_twice(
    queue: TaskQueue, manager: CheckpointManager, empty: TaskQueue, clock: FakeClock
) -> None:
    await queue.create_batch(batch("aaaa0001"))
    await manager.write(BATCH, "x")
    await manager.write("aaaa0001", "x")
    for ref in (BATCH, "aaaa0001"):
        await manager.restore(manager.load(ref), empty)
    today = await empty.usage_since("2025-11-22")
    assert today == await queue.usage_since("2025-11-22") == Usage(2, 11, 12, 0.75)


async def test_batch_that_the_database_has_is_not_overwritten(
    queue: TaskQueue, manager: CheckpointManager
) -> None:
    await manager.write(BATCH, "x")
    before = await queue.counts(BATCH)
    with pytest.raises(UsageError, match="already in this database"):
        await manager.restore(manager.load("latest"), queue)
    assert await queue.counts(BATCH) == before


async def test_checkpoint_that_breaks_off_while_restoring_restores_nothing(
    manager: CheckpointManager, empty: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await manager.write(BATCH, "x")
    checkpoint = manager.load("latest")
    whole = list(checkpoint_format.read_objects(checkpoint.info.path))
    whole[1][2].pop()  # one task less than the end record says
    monkeypatch.setattr(checkpoint_format, "read_objects", lambda path: iter(whole))
    with pytest.raises(CheckpointError, match="tasks are missing"):
        await manager.restore(checkpoint, empty)
    assert await empty.list_batches() == []


# --- outputs --------------------------------------------------------------------------------------


def output(path: str, content: bytes = b"abc") -> OutputFile:
    return OutputFile(path, "markdown", len(content), hashlib.sha256(content).hexdigest())


def test_outputs_are_compared_with_the_disk(tmp_path: Path) -> None:
    names = ["good.md", "altered.md", "short.md", "missing.md", "dir.md", "讲座/good.md"]
    (tmp_path / "讲座").mkdir()
    (tmp_path / "dir.md").mkdir()
    for name, content in {"good.md": b"abc", "altered.md": b"abd", "short.md": b"ab"}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "讲座/good.md").write_bytes(b"abc")
    outputs = tuple(output(n) for n in [*names, "../out.md", "/etc/passwd", "good.md/x"])
    assert verify_outputs(TaskResult(outputs=outputs[:1]), tmp_path) == []
    found = verify_outputs(TaskResult(outputs=outputs), tmp_path)
    assert [f for f in found if not f.startswith("dir.md")] == [
        "altered.md: was altered",
        "short.md: has 2 bytes instead of 3",
        "missing.md: is missing",
        "../out.md: lies outside the output folder",
        "/etc/passwd: lies outside the output folder",
        "good.md/x: is missing",
    ]
    assert len([f for f in found if f.startswith("dir.md")]) == 1


# --- cost -----------------------------------------------------------------------------------------

MEASURE = """
import asyncio, resource, sys
from pathlib import Path
from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.task_queue import TaskQueue
from tests.support.queue import BATCH, FakeClock, open_queue
async def main(count):
    queue = await open_queue(Path(sys.argv[1]), FakeClock(), count)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    manager = CheckpointManager(queue)
    await manager.write(BATCH, "x")
    async with await Database.open(Path(sys.argv[1]) / "new.db") as db:
        await manager.restore(manager.load("latest"), TaskQueue(db))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) // 1024)
    await queue.db.close()
asyncio.run(main(int(sys.argv[2])))
"""


@pytest.mark.slow
def test_hundred_thousand_tasks_need_less_than_100_mb(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), "100000"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert int(run.stdout) < 100
