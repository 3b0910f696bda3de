"""The database file: opening, migrating, grouped writes, clear errors."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gs_video_report.batch import sql
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.store.database_errors import file_system_of, translate
from gs_video_report.batch.store.database_open import migrate
from gs_video_report.batch.store.group_commit import Batcher
from gs_video_report.errors import (
    DatabaseCorrupt,
    DatabaseError,
    DatabaseNewer,
    DatabaseOnNetwork,
    DatabaseReadOnly,
    DiskFullError,
    NotFoundError,
    QueueBusy,
)

AS_ROOT = os.geteuid() == 0


def put(key: str, value: str = "v"):
    return lambda c: c.execute("INSERT INTO meta VALUES(?, ?)", (key, value)).rowcount


async def keys(db: Database) -> list[str]:
    return [row["key"] for row in await db.read("SELECT key FROM meta ORDER BY key")]


# --- opening --------------------------------------------------------------------------------------


async def test_new_database_gets_its_folder_schema_and_safe_pragmas(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "q.db"
    async with await Database.open(path) as db:
        names = ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint",
                 "user_version", "application_id")  # fmt: skip
        found = await db.write(lambda c: [c.execute(f"PRAGMA {n}").fetchone()[0] for n in names])
        assert found == ["wal", 2, 1, 1000, sql.schema_version(), sql.APPLICATION_ID]
        assert await db.problems() == []
    assert sorted(p.name for p in path.parent.iterdir()) == ["q.db"]


async def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "q.db") as db:
        assert await db.write(put("a")) == 1
    async with await Database.open(tmp_path / "q.db", create=False) as db:
        assert await keys(db) == ["a"]


async def test_missing_database_is_not_created_when_only_reading(tmp_path: Path) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(NotFoundError, match=r"q\.db: there is no database yet"):
            await Database.open(tmp_path / "q.db", **options)
    assert list(tmp_path.iterdir()) == []


async def test_an_empty_file_is_no_database_yet_and_becomes_one(tmp_path: Path) -> None:
    """Pins: what a full disk left at the first start was told to have an older format, 0."""
    path = tmp_path / "gsvr.db"
    path.touch()
    with pytest.raises(NotFoundError, match="is empty: there is no database yet"):
        await Database.open(path, create=False, read_only=True)
    await (await Database.open(path)).close()
    await (await Database.open(path, create=False, read_only=True)).close()


async def test_looking_into_a_file_that_may_not_be_written_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pins: a -shm with the permissions of the file stayed, and barred the way after a chmod."""
    path = tmp_path / "gsvr.db"
    await (await Database.open(path)).close()
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)  # also for root
    async with await Database.open(path, create=False, read_only=True) as db:
        assert await db.read("SELECT count(*) FROM batches")
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    path.chmod(0o644)
    await (await Database.open(path)).close()


async def test_read_only_database_refuses_to_write(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with await Database.open(path) as db, await Database.open(path, read_only=True) as ro:
        await db.write(put("a"))
        assert await keys(ro) == ["a"]
        with pytest.raises(DatabaseReadOnly, match="was opened for reading only"):
            await ro.write(put("b"))
        with pytest.raises(DatabaseReadOnly):
            await ro.read("INSERT INTO meta VALUES('c', 'd')")


@pytest.mark.parametrize("name", ["with space.db", "50%?#&.db", "讲座.db", os.fsdecode(b"\xff.db")])
async def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    async with await Database.open(tmp_path / name) as db:
        await db.write(put("a"))
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "content", [b"this is not a database, by no means " * 200, b"SQLite format 3\0" + b"x" * 4096]
)
@pytest.mark.parametrize("read_only", [False, True])
async def test_file_that_is_no_database_is_named_corrupt_and_left_alone(
    tmp_path: Path, content: bytes, read_only: bool
) -> None:
    path = tmp_path / "q.db"
    path.write_bytes(content)
    with pytest.raises(DatabaseCorrupt, match=r"q\.db: the file is damaged or not a database"):
        await Database.open(path, read_only=read_only)
    assert path.read_bytes() == content


async def test_damaged_page_is_found_by_the_check(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with await Database.open(path) as db:
        await db.write(lambda c: [put(f"{n:04}", "x" * 500)(c) for n in range(200)])
    with path.open("r+b") as file:
        file.seek(-3 * 4096, os.SEEK_END)
        file.write(os.urandom(4096))
    async with await Database.open(path) as db:
        problems: list[str] = []
        try:
            problems = await db.problems()
        except DatabaseCorrupt as error:
            problems = [error.message]
    assert problems


async def test_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with await Database.open(path):
        pass
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version=999")
    raw.close()
    for read_only in (False, True):
        with pytest.raises(DatabaseNewer, match=r"newer gsvr \(format 999\)"):
            await Database.open(path, read_only=read_only)


async def test_database_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE photos(x)")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseError, match="is the database of another program"):
        await Database.open(path)
    assert path.read_bytes() == before


async def test_folder_in_place_of_the_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseReadOnly, match="is a folder"):
        await Database.open(tmp_path)


async def test_file_in_place_of_the_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseReadOnly, match="the folder cannot be made"):
        await Database.open(tmp_path / "file" / "q.db")


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
async def test_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "fixed"
    async with await Database.open(folder / "q.db") as db:
        await db.write(put("a"))
    folder.chmod(0o555)
    try:
        with pytest.raises(DatabaseReadOnly, match="cannot be written"):
            await Database.open(folder / "q.db")
        async with await Database.open(folder / "q.db", read_only=True) as db:
            assert await keys(db) == ["a"]
    finally:
        folder.chmod(0o755)


def test_sqlite_answers_become_errors_for_people(tmp_path: Path) -> None:
    def answer(code: int) -> sqlite3.OperationalError:
        error = sqlite3.OperationalError("raw")
        error.sqlite_errorcode = code
        return error

    path = tmp_path / "q.db"
    assert isinstance(translate(answer(sqlite3.SQLITE_FULL), path), DiskFullError)
    assert isinstance(translate(answer(sqlite3.SQLITE_READONLY_DIRECTORY), path), DatabaseReadOnly)
    assert isinstance(translate(answer(sqlite3.SQLITE_CORRUPT_VTAB), path), DatabaseCorrupt)
    assert isinstance(translate(answer(sqlite3.SQLITE_BUSY_SNAPSHOT), path), QueueBusy)
    assert str(translate(answer(sqlite3.SQLITE_IOERR_READ), path)).endswith(
        "output error (SQLITE_IOERR)"
    )
    own = answer(sqlite3.SQLITE_ERROR)
    assert translate(own, path) is own


# --- the place ------------------------------------------------------------------------------------

MOUNTS = [("/", "overlay"), ("/data", "ext4"), ("/data/nas", "nfs4"), ("/data/nas", "cifs")]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/home", "overlay"), ("/data", "ext4"), ("/data/nasty", "ext4"), ("/data/nas/x", "cifs")],
)
def test_longest_and_last_mount_point_decides(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind


async def test_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    part = psutil._ntuples.sdiskpart if hasattr(psutil, "_ntuples") else psutil._common.sdiskpart
    mount = part("server:/x", str(tmp_path), "nfs4", "rw")
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: [mount])
    with pytest.raises(DatabaseOnNetwork, match=r"lies on a network file system \(nfs4\)"):
        await Database.open(tmp_path / "q.db")
    assert list(tmp_path.iterdir()) == []


# --- migrations -----------------------------------------------------------------------------------


def shape(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
    return [  # a table that was renamed has its name in quotes
        (kind, name, " ".join((text or "").split()).replace('"', "")) for kind, name, text in rows
    ]


def fresh(path: Path | str = ":memory:") -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


@pytest.mark.parametrize("start", range(sql.schema_version() + 1))
def test_every_migration_path_gives_the_schema(start: int) -> None:
    newest, migrated = fresh(), fresh()
    migrate(newest)
    if start:
        migrate(migrated, sql.migrations()[:start])
    migrate(migrated, sql.migrations())
    assert shape(migrated) == shape(newest)
    assert migrated.execute("PRAGMA user_version").fetchone()[0] == sql.schema_version()
    newest.close()
    migrated.close()


def test_events_keep_their_numbers_and_go_on_counting_in_a_newer_database() -> None:
    connection = fresh()
    migrate(connection, sql.migrations()[:3])
    add = "INSERT INTO events(event_id, at, kind) VALUES(?, 'now', 'x')"
    connection.executemany(add, [(3,), (7,)])
    migrate(connection, sql.migrations())
    connection.execute(add, (None,))
    numbers = [row[0] for row in connection.execute("SELECT event_id FROM events ORDER BY 1")]
    assert numbers == [3, 7, 8]
    connection.close()


STEPS = [(1, "CREATE TABLE a(x);"), (2, "CREATE TABLE b(x); INSERT INTO a VALUES(2);")]


def test_only_missing_migrations_are_applied() -> None:
    connection = fresh()
    migrate(connection, STEPS[:1])
    migrate(connection, STEPS)
    migrate(connection, STEPS)
    assert connection.execute("SELECT x FROM a").fetchall() == [(2,)]
    connection.close()


def test_failing_migration_leaves_the_old_version_whole() -> None:
    connection = fresh()
    migrate(connection, STEPS[:1])
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, [*STEPS, (3, "CREATE TABLE c(x); CREATE TABLE a(x);")])
    assert [name for _, name, _ in shape(connection)] == ["a"]
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 1
    connection.close()


def test_statements_are_split_around_triggers_and_comments() -> None:
    script = "-- a; b\nCREATE TABLE t(x);\nCREATE TRIGGER g AFTER INSERT ON t BEGIN\n  SELECT 1;\n"
    script += "  SELECT 2;\nEND;\n-- the end;\n"
    assert [s.splitlines()[-1] for s in sql.statements(script)][:2] == [
        "CREATE TABLE t(x);",
        "END;",
    ]
    with pytest.raises(ValueError, match="unfinished"):
        list(sql.statements("CREATE TABLE t(x)"))


def test_queries_have_names_that_are_used_once() -> None:
    with pytest.raises(ValueError, match="query a is there twice"):
        sql.parse_queries("-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;")
    assert "claim" in sql.queries()


def test_two_processes_may_make_the_same_new_database_at_once(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from gs_video_report.batch.store.group_commit import Batcher
from gs_video_report.batch.persistence import Database
async def main():
    async with await Database.open(sys.argv[1]) as db:
        key = sys.argv[2]
        await db.write(lambda c: c.execute("INSERT INTO meta VALUES(?, '')", (key,)).rowcount)
asyncio.run(main())
"""
    path = tmp_path / "q.db"
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(n)], stderr=subprocess.PIPE)
        for n in range(3)
    ]
    errors = [child.communicate()[1].decode() for child in children]
    assert errors == ["", "", ""]
    raw = fresh(path)
    assert raw.execute("SELECT count(*) FROM meta").fetchone() == (3,)
    raw.close()


# --- grouped writes -------------------------------------------------------------------------------


async def test_failing_operation_does_not_harm_others_of_its_commit(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "q.db") as db:

        def half(c: sqlite3.Connection) -> None:
            put("half")(c)
            raise ZeroDivisionError("own fault")

        answers = await asyncio.gather(
            db.write(put("a")), db.write(half), db.write(put("a")), db.write(put("b")),
            return_exceptions=True,
        )  # fmt: skip
        assert [type(a) for a in answers] == [int, ZeroDivisionError, sqlite3.IntegrityError, int]
        assert await keys(db) == ["a", "b"]


async def test_waiting_operations_share_a_commit(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "q.db") as db:
        seen: list[str] = []
        await db.write(lambda c: c.set_trace_callback(seen.append))
        await asyncio.gather(*[db.write(put(f"{n:03}")) for n in range(100)])
        await db.write(lambda c: c.set_trace_callback(None))
    assert seen.count("COMMIT") <= 4
    assert sum("INSERT INTO meta" in s for s in seen) == 100


def put_many(connection: sqlite3.Connection, names: list[str]) -> list[str | ValueError]:
    """Puts all in one call; one that is called `bad` is refused, `worse` breaks the whole call."""
    CALLS.append(names)
    answers: list[str | ValueError] = []
    for name in names:
        put(name)(connection)
        if name == "worse":
            raise sqlite3.IntegrityError("worse")
        answers.append(ValueError(name) if name == "bad" else name)
    return answers


CALLS: list[list[str]] = []


async def test_wishes_of_one_kind_are_done_in_one_call_and_each_gets_its_answer(
    tmp_path: Path,
) -> None:
    CALLS.clear()
    async with await Database.open(tmp_path / "a.db") as db:
        wishes = [db.delivered(db.submit(name, put_many)) for name in ("a", "bad", "c")]
        answers = await asyncio.gather(*wishes, return_exceptions=True)
    assert CALLS == [["a", "bad", "c"]]
    assert (answers[0], answers[2]) == ("a", "c")
    assert isinstance(answers[1], ValueError)


async def test_a_call_for_many_that_breaks_is_undone_and_tried_for_each_alone(
    tmp_path: Path,
) -> None:
    CALLS.clear()
    async with await Database.open(tmp_path / "a.db") as db:
        wishes = [db.delivered(db.submit(name, put_many)) for name in ("a", "worse", "c")]
        answers = await asyncio.gather(*wishes, return_exceptions=True)
        assert await keys(db) == ["a", "c"]
    assert CALLS == [["a", "worse", "c"], ["a"], ["worse"], ["c"]]
    assert (answers[0], answers[2]) == ("a", "c")
    assert isinstance(answers[1], sqlite3.IntegrityError)


async def test_a_plain_operation_keeps_its_place_between_wishes(tmp_path: Path) -> None:
    CALLS.clear()
    async with await Database.open(tmp_path / "a.db") as db:
        first = [db.submit(name, put_many) for name in ("a", "b")]
        between = db.submit(lambda c: c.execute("SELECT count(*) FROM meta").fetchone()[0])
        last = db.submit("c", put_many)
        await asyncio.gather(*first, last)
        assert await between == 2
    assert CALLS == [["a", "b"], ["c"]]


async def test_an_answer_that_nobody_waits_for_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection, names: list[str]) -> list[str]:
        begun.set()
        assert go_on.wait(10)
        return names

    async with await Database.open(tmp_path / "a.db") as db:
        waiting = db.submit("a", slow, told.append)
        await asyncio.to_thread(begun.wait, 10)
        waiting.cancel()
        go_on.set()
        await db.write(put("b"))
    assert told == ["a"]


async def test_what_a_caller_needs_is_made_ready_before_the_commit_is_told(tmp_path: Path) -> None:
    told: list[Any] = []

    async def one(name: str) -> None:
        answer = await db.delivered(db.submit(name, put_many, None, told.append))
        told.append(("durable", answer))

    async with await Database.open(tmp_path / "a.db") as db:
        await asyncio.gather(one("a"), one("bad"), one("c"), return_exceptions=True)
    assert told == ["a", "c", ("durable", "a"), ("durable", "c")]


async def test_operation_that_ends_the_transaction_is_refused(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "q.db") as db:
        with pytest.raises(RuntimeError, match="ended the transaction"):
            await db.write(lambda c: c.execute("COMMIT").rowcount)
        assert await db.write(put("a")) == 1


async def test_cancelled_callers_leave_no_transaction_and_no_half_write(tmp_path: Path) -> None:
    """2000 writes of two rows each, cancelled at random moments."""
    chance = random.Random(7)
    async with await Database.open(tmp_path / "q.db") as db:

        def pair(n: int):
            return lambda c: put(f"{n:05}a")(c) + put(f"{n:05}b")(c)

        promised = set()
        for start in range(0, 2000, 50):
            jobs = {n: asyncio.create_task(db.write(pair(n))) for n in range(start, start + 50)}
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            for job in chance.sample(list(jobs.values()), 25):
                job.cancel()
            await asyncio.gather(*jobs.values(), return_exceptions=True)
            promised |= {n for n, job in jobs.items() if not job.cancelled()}
        # Nobody else sees a lock, nothing is half there, and every promise is kept.
        other = sqlite3.connect(db.path, timeout=0, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()
        found = await keys(db)
    whole = {int(key[:5]) for key in found}
    assert len(found) == 2 * len(whole)
    assert promised <= whole
    assert len(promised) >= 1000


async def test_locked_by_another_program_is_queue_busy_and_passes(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "q.db", busy_timeout_s=0.05) as db:
        other = sqlite3.connect(db.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(QueueBusy, match="another program keeps the database locked"):
            await db.write(put("a"))
        assert await keys(db) == []
        other.execute("ROLLBACK")
        other.close()
        assert await db.write(put("a")) == 1


async def test_full_disk_is_named_and_passes(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "q.db") as db:
        await db.write(put("before"))
        size = await db.write(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        await db.write(lambda c: c.execute(f"PRAGMA max_page_count={size}").fetchone())
        big = lambda c: [put(f"{n}", "x" * 1000)(c) for n in range(1000)]  # noqa: E731
        answers = await asyncio.gather(
            db.write(put("small")), db.write(big), return_exceptions=True
        )
        assert isinstance(answers[1], DiskFullError)
        await db.write(lambda c: c.execute("PRAGMA max_page_count=1000000").fetchone())
        await db.write(put("after"))
        promised = {"before", "after"} | ({"small"} if answers[0] == 1 else set())
        assert set(await keys(db)) == promised


async def test_closing_finishes_waiting_writes_and_then_refuses(tmp_path: Path) -> None:
    db = await Database.open(tmp_path / "q.db")
    waiting = [asyncio.create_task(db.write(put(f"{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await db.close()
    await db.close()
    assert [await job for job in waiting] == [1] * 20
    with pytest.raises(RuntimeError, match="closed"):
        await db.write(put("late"))
    with pytest.raises(RuntimeError, match="closed"):
        await db.read("SELECT 1")


def test_connection_refuses_to_be_used_after_a_fork(tmp_path: Path) -> None:
    code = """
import asyncio, os, sys
from gs_video_report.batch.store.group_commit import Batcher
from gs_video_report.batch.persistence import Database
async def main():
    db = await Database.open(sys.argv[1])
    pid = os.fork()
    if pid == 0:
        try:
            await db.read("SELECT 1")
        except RuntimeError as error:
            os._exit(7 if "must not cross a fork" in str(error) else 8)
        os._exit(9)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    await db.close()
asyncio.run(main())
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "q.db")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == "7\n"


async def test_a_writing_thread_that_is_gone_leaves_nobody_waiting() -> None:
    """The callers of the group that met it waited for ever."""

    class Gone:
        async def commit(self) -> None:
            raise ValueError("no active connection")

    batcher = Batcher(cast(Any, Gone()), cast(Any, SimpleNamespace()))
    answers = [batcher.submit(put(key)) for key in "ab"]
    async with asyncio.timeout(10):
        found = await asyncio.gather(*answers, return_exceptions=True)
    assert [str(error) for error in found] == ["no active connection"] * 2
    await batcher.close()
