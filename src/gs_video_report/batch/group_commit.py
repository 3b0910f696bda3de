"""Many waiting operations, one transaction, one hop to the writer's thread.

Truth: an operation's caller gets its result only after the COMMIT that contains it returned
(with synchronous=FULL: after the fdatasync). So nothing that was promised is lost.
Each operation of a group runs in its own SAVEPOINT: one that fails is undone alone. A failure
that ends the transaction itself (disk full, COMMIT refused) fails the whole group.
Cancelling a caller never leaves a transaction open: the group runs in the thread, start to end.
Never: translates errors, opens files, knows tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""A synchronous function run inside the transaction. It must not begin, commit or roll back."""

MAX_GROUP = 256
"""Operations per transaction; bounds how long a caller waits for strangers."""


class Operation:
    """One caller's work, its answer, and the future the caller awaits."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(self, work: Work[Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        """Tell the caller, unless it went away. Event loop only."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class GroupConnection(sqlite3.Connection):
    """A connection whose `commit()` runs the operations put into `group` as one transaction.

    aiosqlite calls `commit()` on its thread; that makes the whole transaction one hop.
    Opened with `isolation_level=None`, so Python itself begins nothing.
    """

    group: list[Operation]

    def commit(self) -> None:
        """Run `group`. Never raises: every operation carries its own result or error."""
        run_group(self, self.group)


def run_group(connection: sqlite3.Connection, group: list[Operation]) -> None:
    """One transaction around all operations; see the module header."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for operation in group:
            _run_one(connection, operation, alone=len(group) == 1)
        if connection.in_transaction:
            connection.execute("COMMIT")
    except BaseException as error:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        for operation in group:
            operation.error = operation.error or error


def _run_one(connection: sqlite3.Connection, operation: Operation, *, alone: bool) -> None:
    """Run one operation; raises only when the transaction as a whole is over."""
    if not alone:
        connection.execute("SAVEPOINT operation")
    try:
        operation.result = operation.work(connection)
    except BaseException as error:
        operation.error = error
        if not connection.in_transaction:  # SQLite gave up the whole transaction: disk full, I/O
            raise
        if alone:
            connection.execute("ROLLBACK")
            return
        connection.execute("ROLLBACK TO operation")
    if not connection.in_transaction:
        raise RuntimeError("an operation ended the transaction it runs in")
    if not alone:
        connection.execute("RELEASE operation")


class Batcher:
    """Owns the writing connection; collects operations and runs them in groups, in order."""

    def __init__(self, connection: aiosqlite.Connection, raw: GroupConnection) -> None:
        self._connection = connection
        self._raw = raw
        self._waiting: deque[Operation] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="gsvr-database-writer")

    async def submit(self, work: Work[T]) -> T:
        """Run `work` in the next transaction.

        Cancellation: safe. An operation not begun yet is dropped; one that has begun is
        committed although its caller does not hear of it.
        """
        if self._closing or self._task.done():
            raise RuntimeError("the database is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(Operation(work, future))
        self._wake.set()
        return await future

    async def close(self) -> None:
        """Finish what waits, then stop. Idempotent."""
        self._closing = True
        self._wake.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        try:
            while self._waiting or not self._closing:
                if not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self._run_group(self._take())
        finally:
            for operation in self._waiting:
                operation.future.cancel()

    def _take(self) -> list[Operation]:
        group: list[Operation] = []
        while self._waiting and len(group) < MAX_GROUP:
            operation = self._waiting.popleft()
            if not operation.future.done():
                group.append(operation)
        return group

    async def _run_group(self, group: list[Operation]) -> None:
        if not group:
            return
        self._raw.group = group
        try:
            await self._connection.commit()
        except asyncio.CancelledError:  # the thread finishes the group; nobody can be told
            for operation in group:
                operation.future.cancel()
            raise
        for operation in group:
            operation.settle()
