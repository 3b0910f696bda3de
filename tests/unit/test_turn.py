"""Writers of several processes take turns."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiosqlite
import pytest

from gs_video_report.batch import persistence
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.store.database_open import close_connection
from gs_video_report.batch.store.process_lock import workers_dir
from gs_video_report.batch.store.turn import Turn
from gs_video_report.errors import QueueBusy

HOLD = """
import os, sys
from gs_video_report.batch.store.turn import Turn
turn = Turn(os.open(sys.argv[1], os.O_RDWR), 10)
turn.take()
print("mine", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of its turn."""
    command = [sys.executable, "-c", HOLD, str(file)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        try:
            yield other
        finally:
            other.kill()


def a_turn(file: Path, patience_s: float) -> Turn:
    return Turn(os.open(file, os.O_RDWR | os.O_CREAT), patience_s)


def test_a_turn_that_does_not_come_ends_in_sqlites_own_word_for_busy(tmp_path: Path) -> None:
    first, second = (a_turn(tmp_path / "turn", 0) for _ in range(2))
    with first, pytest.raises(sqlite3.OperationalError) as caught:
        second.take()
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_BUSY
    with second:
        pass
    first.close()
    second.close()


def test_a_killed_process_gives_up_its_turn(tmp_path: Path) -> None:
    mine = a_turn(tmp_path / "turn", 10)
    with held_elsewhere(tmp_path / "turn") as other:
        other.kill()
        other.wait()
        with mine:
            pass
    mine.close()


async def test_a_write_out_of_turn_is_refused_whole_and_the_next_one_is_done(
    tmp_path: Path,
) -> None:
    path = tmp_path / "q.db"
    add = "INSERT INTO meta(key, value) VALUES(?, 'x')"
    async with await Database.open(path, busy_timeout_s=0.02) as db:
        with held_elsewhere(workers_dir(path) / "turn"):
            writes = [db.write(lambda c, k=k: c.execute(add, (k,)).rowcount) for k in "ab"]
            answers = await asyncio.gather(*writes, return_exceptions=True)
            assert [type(answer) for answer in answers] == [QueueBusy, QueueBusy]
        assert await db.write(lambda c: c.execute(add, ("c",)).rowcount) == 1
        assert [row[0] for row in await db.read("SELECT key FROM meta")] == ["c"]


async def test_a_database_opens_and_closes_in_turn_and_the_last_one_leaves_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "q.db"
    async with await Database.open(path) as first:
        with held_elsewhere(workers_dir(path) / "turn"), pytest.raises(QueueBusy):
            await Database.open(path, busy_timeout_s=0.02)
        async with await Database.open(path) as second:
            await second.write(lambda c: c.execute("DELETE FROM meta").rowcount)
        assert (workers_dir(path) / "turn").exists()
        assert await first.write(lambda c: c.execute("DELETE FROM meta").rowcount) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["q.db"]


@pytest.fixture
def in_line(monkeypatch: pytest.MonkeyPatch) -> list[Turn]:
    """Turns that are waited for, or were."""
    waited: list[Turn] = []
    take = Turn.take

    def seen(turn: Turn) -> None:
        waited.append(turn)
        take(turn)

    monkeypatch.setattr(Turn, "take", seen)
    return waited


async def until_one_waits(in_line: list[Turn]) -> Turn:
    while not in_line:
        await asyncio.sleep(0.001)
    return in_line[0]


async def test_cancelled_while_it_waits_for_its_turn_to_open_a_database_leaves_no_thread(
    tmp_path: Path, in_line: list[Turn]
) -> None:
    """Pins: the thread went on in the line, with a file that was closed under it."""
    path = tmp_path / "q.db"
    async with await Database.open(path):
        with held_elsewhere(workers_dir(path) / "turn"):
            in_line.clear()
            opening = asyncio.create_task(Database.open(path, busy_timeout_s=600))
            turn = await until_one_waits(in_line)
            assert turn.in_use
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert not turn.in_use
    assert [p.name for p in tmp_path.iterdir()] == ["q.db"]


@pytest.mark.parametrize("times", [1, 2])
async def test_cancelled_while_it_waits_for_its_turn_to_close_the_place_is_let_go_last(
    tmp_path: Path, in_line: list[Turn], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pins: the writer's thread was left in the line, with a file that was closed under it."""
    path = tmp_path / "q.db"
    used_when_closed: list[bool] = []
    close = Turn.close

    def closed(turn: Turn) -> None:
        used_when_closed.append(turn.in_use)
        close(turn)

    monkeypatch.setattr(Turn, "close", closed)
    database = await Database.open(path)
    with held_elsewhere(workers_dir(path) / "turn"):
        in_line.clear()
        closing = asyncio.create_task(database.close())
        await until_one_waits(in_line)
        for _ in range(times):
            closing.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert used_when_closed == [False]


async def test_cancelled_as_it_closes_what_it_reads_with_a_database_closes_its_writer_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pins: the writer stayed open, and its place was let go."""
    path = tmp_path / "q.db"
    database = await Database.open(path)
    reached = asyncio.Event()

    async def told(connection: aiosqlite.Connection) -> None:
        reached.set()
        await close_connection(connection)

    monkeypatch.setattr(persistence, "close_connection", told)
    closing = asyncio.create_task(database.close())
    await reached.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert [p.name for p in tmp_path.iterdir()] == ["q.db"], "the last one folds the WAL back"
