"""The SQLite file: opening, migrating, writing in groups, short reads.

Truth: the file. WAL with synchronous=FULL: what a `write()` returned survives a power cut.
Writes: through one connection per process, owned by the batcher of `group_commit.py`; it is
also the only one that checkpoints the WAL. Reads: one read-only connection, each read is short.
While it is open for writing, nobody puts another file in its place (`store/place_lock.py`).
Never: carries a connection across fork; opens the database file by other means.
Raises: BatchInUse, DatabaseCorrupt, DatabaseNewer, DatabaseReadOnly, DatabaseOnNetwork, QueueBusy,
DiskFullError, NotFoundError.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import aiosqlite

from gs_video_report.batch.store.database_errors import translate
from gs_video_report.batch.store.database_open import (
    check_place,
    check_sqlite,
    close_connection,
    open_reader,
    open_writer,
)
from gs_video_report.batch.store.group_commit import Batcher, Many, Work
from gs_video_report.batch.store.place_lock import PlaceLock, refuse_while_rebuilt
from gs_video_report.errors import DatabaseReadOnly, NotFoundError

T = TypeVar("T")
_CLOSE_PATIENCE_S = 0.5
Parameters = Sequence[Any] | Mapping[str, Any]


class Database:
    """One open database file. Made by `open()`; use `async with`, or `close()` it.

    Not for sharing between event loops or with a forked child.
    """

    def __init__(
        self,
        path: Path,
        reader: aiosqlite.Connection,
        batcher: Batcher | None,
        writer: aiosqlite.Connection | None,
        place: PlaceLock | None = None,
    ) -> None:
        self.path = path
        self._reader = reader
        self._writer = writer
        self._batcher = batcher
        self._pid = os.getpid()
        self._closed = False
        self._place = place

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        read_only: bool = False,
        untouched: bool = False,
        alone: bool = False,
        busy_timeout_s: float = 10.0,
    ) -> Self:
        """Open the file; make it and its folder, or migrate it, when that is needed.

        Args:
            path: the database file.
            create: False refuses a missing file with `NotFoundError`.
            read_only: writes nothing and never creates; `write()` then raises
                `DatabaseReadOnly`. Works in a folder that cannot be written, too.
            untouched: with `read_only`, leave no side files either, for a look of a moment at a
                database that nobody else writes; one that has a WAL is read the normal way.
            alone: only for who holds `place_lock.rebuilding()`; others need not be kept off.
            busy_timeout_s: seconds to wait for another program's lock, for each operation.

        Raises:
            BatchInUse: it is to be written, and another command rebuilds it just now.
            NotFoundError: the file is missing and must not be created.
            DatabaseCorrupt, DatabaseNewer, DatabaseReadOnly, DatabaseOnNetwork, DatabaseError,
            QueueBusy, DiskFullError: see their texts.
        """
        check_sqlite()
        try:
            file = check_place(path, create=create and not read_only)
        except NotFoundError:
            if not read_only and not alone:
                await refuse_while_rebuilt(Path(path))
            raise
        if read_only:
            try:
                reader = await open_reader(
                    file, busy_timeout_s, migrated=False, untouched=untouched
                )
            except sqlite3.Error as error:
                raise translate(error, file) from error
            return cls(file, reader, None, None)
        place = None if alone else await PlaceLock.take(file, busy_timeout_s)
        try:
            if place is not None:
                check_place(path, create=create)  # once more: it may have been moved before
            return await cls._open_for_writing(file, busy_timeout_s, place)
        except BaseException:
            if place is not None:
                place.close()
            raise

    @classmethod
    async def _open_for_writing(
        cls, file: Path, busy_timeout_s: float, place: PlaceLock | None
    ) -> Self:
        try:
            turn = None if place is None else place.turn
            writer, raw = await open_writer(file, busy_timeout_s, turn)
            try:
                reader = await open_reader(file, busy_timeout_s, migrated=True)
            except BaseException:
                if turn is not None:
                    turn.patience_s = _CLOSE_PATIENCE_S
                await close_connection(writer)
                raise
        except sqlite3.Error as error:
            raise translate(error, file) from error
        return cls(file, reader, Batcher(writer, raw), writer, place)

    @property
    def read_only(self) -> bool:
        """True when `write()` is refused."""
        return self._batcher is None

    async def wait_longer(self, busy_timeout_s: float) -> None:
        """From now on let each write wait so long for another program's lock.

        Raises: as `write()`.
        """
        if self._place is not None:
            self._place.turn.patience_s = busy_timeout_s
        milliseconds = int(busy_timeout_s * 1000)
        await self.write(lambda c: c.execute(f"PRAGMA busy_timeout={milliseconds}").fetchall())

    async def write(self, work: Work[T]) -> T:
        """Run `work(connection)` inside a transaction and return its result once it is durable.

        `work` is synchronous, runs in another thread, must be short (it holds the write lock)
        and must not begin, commit or roll back. Whatever it raises is raised here, and nothing
        of it is kept; other operations of the same commit are not harmed.

        Raises:
            QueueBusy: locked by another program past the timeout; nothing was written.
            DiskFullError, DatabaseCorrupt, DatabaseReadOnly, DatabaseError.

        Cancellation: safe; the operation may still be carried out, whole or not at all.
        """
        return cast(T, await self.delivered(self.submit(work)))

    def submit(
        self,
        wish: Any,
        many: Many | None = None,
        undelivered: Callable[[Any], None] | None = None,
        meanwhile: Callable[[Any], None] | None = None,
    ) -> asyncio.Future[Any]:
        """Hand in an operation without waiting; `delivered()` waits for its answer.

        Operations handed in one after the other, without an `await` between them, are in one
        transaction. With `many` (one function object for each kind of wish), those of several
        callers are done in one call; see `group_commit`.

        Args:
            wish: a function as `write()` takes it, or one element of what `many` takes.
            undelivered: called with the answer when the caller was cancelled in the meantime.
            meanwhile: called with the answer while the disk is waited for; see `group_commit`.

        Raises:
            DatabaseReadOnly: opened for reading only.
        """
        self._check_usable()
        if self._batcher is None:
            raise DatabaseReadOnly(f"{self.path}: was opened for reading only")
        return self._batcher.submit(wish, many, undelivered, meanwhile)

    async def delivered(self, answer: asyncio.Future[Any]) -> Any:
        """The answer of a submitted operation, once it is durable. Raises: as `write()`."""
        try:
            return await answer
        except sqlite3.Error as error:
            raise translate(error, self.path) from error

    async def read(self, statement: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """All rows of one SELECT, as of the last commit. Keep results small: page.

        Raises: as `write()`.
        """
        self._check_usable()
        try:
            # aiosqlite hands the parameters on as they are; its annotation forgets mappings.
            rows = await self._reader.execute_fetchall(statement, parameters)
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        return list(rows)

    async def problems(self) -> list[str]:
        """What `PRAGMA quick_check` finds; empty means sound. Reads the whole file."""
        found = [str(row[0]) for row in await self.read("PRAGMA quick_check(20)")]
        return [] if found == ["ok"] else found

    async def close(self) -> None:
        """Finish waiting writes, fold the WAL back into the file, close. Idempotent.

        Cancellation: safe; what is waited for is closed all the same, sooner.
        """
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        try:
            if self._batcher is not None:
                await self._batcher.close()
        finally:
            await self._close_connections()

    async def _close_connections(self) -> None:
        """The place is let go last: the writer's thread uses it to its end."""
        try:
            if self._place is not None:  # the next one to open it folds the WAL back as well
                self._place.turn.patience_s = _CLOSE_PATIENCE_S
            try:
                await close_connection(self._reader)
            finally:
                if self._writer is not None:
                    await close_connection(self._writer)
        finally:
            if self._place is not None:
                self._place.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _check_usable(self) -> None:
        if self._closed:
            raise RuntimeError("the database is closed")
        if self._pid != os.getpid():
            raise RuntimeError("a database connection must not cross a fork; open it anew")
