"""Opening a database file: place, connections, pragmas, versions, migrations.

Truth: `PRAGMA application_id` says that a file is ours, `user_version` which schema it has.
Writes: the schema, in one transaction; nothing else.
Never: opens the file by other means than SQLite (closing a descriptor would drop its locks).
Raises: sqlite3.Error as it comes, and our own errors for what SQLite cannot know.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite

from gs_video_report.batch import sql
from gs_video_report.batch.store.database_errors import refuse_network
from gs_video_report.batch.store.group_commit import GroupConnection
from gs_video_report.batch.store.turn import Turn
from gs_video_report.errors import (
    DatabaseError,
    DatabaseNewer,
    DatabaseReadOnly,
    NotFoundError,
)
from gs_video_report.files import make_dirs

JOURNAL_SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes to which the WAL file is cut back after a checkpoint."""
WAL_AUTOCHECKPOINT_PAGES = 1000
OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""
_THREAD_END_S = 5.0


def check_sqlite() -> None:
    """Raise `DatabaseError` when the SQLite of this Python is too old."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise DatabaseError(
            f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed",
            hint="use a Python that was built with a newer SQLite",
        )


def check_place(path: str | os.PathLike[str], *, create: bool) -> Path:
    """The absolute path, once its folder is there and local. See `Database.open`."""
    file = Path(os.path.abspath(path))  # links stay: SQLite resolves them
    if not create and not file.exists():
        raise NotFoundError(f"{file}: there is no database yet", hint="process a batch first")
    if create:
        try:
            make_dirs(file.parent)
        except OSError as error:
            raise DatabaseReadOnly(
                f"{file.parent}: the folder cannot be made ({error.strerror})"
            ) from error
    refuse_network(file)
    return file


async def open_writer(
    file: Path, busy_timeout_s: float, turn: Turn | None
) -> tuple[aiosqlite.Connection, GroupConnection]:
    """The connection, and what it is to aiosqlite's thread, in which turns are taken.

    Cancellation: safe; ends the wait for the turn, and the thread.
    """
    made: list[GroupConnection] = []

    def factory(*args: Any, **kwargs: Any) -> GroupConnection:
        if turn is not None:
            turn.writer = threading.current_thread()
        connection = _Writer(*args, **kwargs)
        try:
            with turn or contextlib.nullcontext():
                _prepare_writer(connection, file, busy_timeout_s)
        except BaseException:
            connection.close()
            raise
        if turn is not None:
            connection.turn = turn
        made.append(connection)
        return connection

    def give_up() -> None:
        if turn is not None:
            turn.patience_s = 0.0

    writer = await _connect(_uri(file, "rwc"), busy_timeout_s, factory, give_up)
    return writer, made[0]


class _Writer(GroupConnection):
    """Closing the last connection folds the WAL back: that, too, is done in turn."""

    def close(self) -> None:
        with contextlib.suppress(sqlite3.OperationalError), self.turn:
            super().close()
        super().close()  # when it was not our turn in time; harmless the second time


async def _connect(
    uri: str,
    busy_timeout_s: float,
    factory: Callable[..., sqlite3.Connection],
    give_up: Callable[[], None] = lambda: None,
) -> aiosqlite.Connection:
    """`give_up` is called when the thread is no longer to wait."""
    made: list[sqlite3.Connection] = []

    def kept(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        made.append(factory(*args, **kwargs))
        return made[0]

    connection = aiosqlite.connect(
        uri, uri=True, isolation_level=None, timeout=busy_timeout_s, factory=kept,
        check_same_thread=False,
    )  # fmt: skip
    try:
        return await connection
    except BaseException:
        give_up()
        _end_thread(connection)
        for undelivered in made:  # aiosqlite has forgotten it
            undelivered.close()
        raise


async def close_connection(connection: aiosqlite.Connection) -> None:
    """Close it, and see its thread end, also when cancelled."""
    try:
        await connection.close()
    finally:
        _end_thread(connection)


def _end_thread(connection: aiosqlite.Connection) -> None:
    """aiosqlite tells its thread to end but does not wait for the moment it takes; a thread that
    outlives the event loop would print a traceback at the end of the program."""
    thread: Any = getattr(connection, "_thread", connection)
    thread.join(_THREAD_END_S)


def _prepare_writer(connection: sqlite3.Connection, file: Path, busy_timeout_s: float) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute(f"PRAGMA busy_timeout={int(busy_timeout_s * 1000)}")
    _check_ours(connection, file)
    _use_wal(connection, busy_timeout_s)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA journal_size_limit={JOURNAL_SIZE_LIMIT}")
    connection.execute(f"PRAGMA wal_autocheckpoint={WAL_AUTOCHECKPOINT_PAGES}")
    connection.execute("PRAGMA mmap_size=0")
    connection.execute("PRAGMA temp_store=MEMORY")
    migrate(connection)


def _use_wal(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    """Switch to WAL; two programs opening a new file at once may answer "busy" without waiting."""
    give_up = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.005)  # in the database thread, never in the event loop


async def open_reader(
    file: Path, busy_timeout_s: float, *, migrated: bool, untouched: bool = False
) -> aiosqlite.Connection:
    # Who may not write the file must leave none beside it: SQLite would give a -shm the same
    # permissions, and it would bar the way after those of the file are mended.
    untouched = untouched or not os.access(file, os.W_OK)
    if untouched and not file.with_name(file.name + "-wal").exists():
        return await _connect_reader(file, busy_timeout_s, "ro&immutable=1", migrated=migrated)
    try:
        return await _connect_reader(file, busy_timeout_s, "ro", migrated=migrated)
    except sqlite3.OperationalError:
        # A WAL database in a folder that cannot be written: readable as long as nothing waits
        # in the WAL and nobody can be writing.
        if os.access(file.parent, os.W_OK) or _has_wal(file) or not os.access(file, os.R_OK):
            raise
        return await _connect_reader(file, busy_timeout_s, "ro&immutable=1", migrated=migrated)


async def _connect_reader(
    file: Path, busy_timeout_s: float, mode: str, *, migrated: bool
) -> aiosqlite.Connection:
    def factory(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = sqlite3.Connection(*args, **kwargs)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute(f"PRAGMA busy_timeout={int(busy_timeout_s * 1000)}")
            connection.execute("PRAGMA query_only=ON")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute("PRAGMA temp_store=MEMORY")
            if not migrated:
                _check_readable_version(connection, file)
        except BaseException:
            connection.close()
            raise
        return connection

    return await _connect(_uri(file, mode), busy_timeout_s, factory)


def _uri(file: Path, mode: str) -> str:
    return f"file:{quote(os.fsencode(file))}?mode={mode}"


def _has_wal(file: Path) -> bool:
    with contextlib.suppress(OSError):
        return file.with_name(file.name + "-wal").stat().st_size > 0
    return False


# --- versions and migrations -------------------------------------------------------------------


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _marks(connection: sqlite3.Connection) -> tuple[int, bool, int]:
    """(format, whether it is gsvr's, tables), all of one moment: another process may just now be
    making the tables, and half an answer would call its file a stranger's."""
    connection.execute("BEGIN")
    try:
        tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        ours = _pragma(connection, "application_id") == sql.APPLICATION_ID
        return _pragma(connection, "user_version"), ours, tables
    finally:
        connection.execute("ROLLBACK")


def _check_ours(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse a file of a newer version, or of another program."""
    version, ours, tables = _marks(connection)
    if ours:
        if version > sql.schema_version():
            raise DatabaseNewer(f"{file}: was written by a newer gsvr (format {version})")
        return
    if tables or version:
        raise DatabaseError(
            f"{file}: is the database of another program", hint="name another file with --db"
        )


def _check_readable_version(connection: sqlite3.Connection, file: Path) -> None:
    if _marks(connection) == (0, False, 0):
        raise NotFoundError(
            f"{file}: is empty: there is no database yet",
            hint="process a batch first; it makes its database in this file",
        )
    _check_ours(connection, file)
    version = _pragma(connection, "user_version")
    if version < sql.schema_version():
        raise DatabaseError(
            f"{file}: has an older format ({version}) and was opened for reading only",
            hint="run any command that writes, such as gsvr batch resume, to bring it up to date",
        )


def migrate(
    connection: sqlite3.Connection,
    migrations: Sequence[tuple[int, str]] | None = None,
) -> None:
    """Bring the schema to the newest version, in one transaction. New files use schema.sql.

    Args:
        connection: in autocommit mode.
        migrations: only for tests; by default those of the package.
    """
    steps = sql.migrations() if migrations is None else migrations
    newest = steps[-1][0]
    if _pragma(connection, "user_version") == newest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Looked at again: another process may have been first.
        version = _pragma(connection, "user_version")
        scripts = [script for number, script in steps if number > version]
        if version == 0 and migrations is None:
            scripts = [sql.schema()]
        for script in scripts:
            for statement in sql.statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={sql.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={newest}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
