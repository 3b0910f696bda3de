"""Many waiting operations, one transaction, one hop to the writer's thread.

Truth: an operation's caller gets its result only after the COMMIT that contains it returned
(with synchronous=FULL: after the fdatasync). So nothing that was promised is lost.
Operations of a kind that can be done for many at once (`Many`) and that wait side by side are done
in one call; a plain operation between them keeps its place in the order.
Each call runs in its own SAVEPOINT: one that fails is undone alone, and one for many is then tried
for each alone. A failure that ends the transaction itself (disk full, COMMIT refused) fails the
whole group.
What can be made of the answers is made while the disk is waited for (`meanwhile`), in the event
loop, which would idle.
Cancelling a caller never leaves a transaction open: the group runs in the thread, start to end.
Never: translates errors, opens files, knows tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import aiosqlite

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""A synchronous function run inside the transaction. It must not begin, commit or roll back."""
Many = Callable[[sqlite3.Connection, list[Any]], list[Any]]
"""The same for several callers: their wishes in, one answer for each out, in that order. An answer
that is an exception is raised at its caller; the others keep theirs."""

MAX_GROUP = 256
"""Operations per transaction; bounds how long a caller waits for strangers."""


class Operation:
    """One caller's wish, its answer, and the future the caller awaits."""

    __slots__ = ("error", "future", "many", "meanwhile", "result", "undelivered", "wish")

    def __init__(
        self,
        future: asyncio.Future[Any],
        wish: Any,
        many: Many | None = None,
        undelivered: Callable[[Any], None] | None = None,
        meanwhile: Callable[[Any], None] | None = None,
    ) -> None:
        self.future = future
        self.wish = wish
        """A `Work`, or what `many` takes."""
        self.many = many
        self.undelivered = undelivered
        self.meanwhile = meanwhile
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        """Tell the caller; if it went away, whoever wants to know. Event loop only."""
        if self.future.done():
            if self.error is None and self.undelivered is not None:
                self.undelivered(self.result)
        elif self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class GroupConnection(sqlite3.Connection):
    """A connection whose `commit()` runs the operations put into `group` as one transaction.

    aiosqlite calls `commit()` on its thread; that makes the whole transaction one hop.
    Opened with `isolation_level=None`, so Python itself begins nothing.
    """

    group: list[Operation]
    answered: Callable[[list[Operation]], None]
    """Told of the group in this thread, before its COMMIT."""
    turn: AbstractContextManager[None] = contextlib.nullcontext()
    """Entered for each transaction; keeps other processes from writing meanwhile."""

    def commit(self) -> None:
        """Run `group`. Never raises: every operation carries its own result or error."""
        try:
            with self.turn:
                run_group(self, self.group, self.answered)
        except sqlite3.OperationalError as error:  # it was not our turn in time
            for operation in self.group:
                operation.error = operation.error or error


def run_group(
    connection: sqlite3.Connection,
    group: list[Operation],
    answered: Callable[[list[Operation]], None],
) -> None:
    """One transaction around all operations; see the module header."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for part in _parts(group):
            _run_part(connection, part, alone=len(group) == 1)
        answered(group)
        if connection.in_transaction:
            connection.execute("COMMIT")
    except BaseException as error:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        for operation in group:
            operation.error = operation.error or error


def _parts(group: list[Operation]) -> list[list[Operation]]:
    """What is run in one call each: operations of one `Many` between two plain ones, or one."""
    parts: list[list[Operation]] = []
    joined: dict[Many, list[Operation]] = {}
    for operation in group:
        if operation.many is None:
            parts.append([operation])
            joined.clear()
        elif operation.many in joined:
            joined[operation.many].append(operation)
        else:
            joined[operation.many] = part = [operation]
            parts.append(part)
    return parts


def _run_part(connection: sqlite3.Connection, part: list[Operation], *, alone: bool) -> None:
    """Run one call; raises only when the transaction as a whole is over."""
    if not alone:
        connection.execute("SAVEPOINT operation")
    try:
        _call(connection, part)
    except BaseException as error:
        if not connection.in_transaction:  # SQLite gave up the whole transaction: disk full, I/O
            part[0].error = error
            raise
        if alone:
            part[0].error = error
            connection.execute("ROLLBACK")
            return
        connection.execute("ROLLBACK TO operation")
        if len(part) > 1:
            for operation in part:
                _run_part(connection, [operation], alone=False)
        else:
            part[0].error = error
    if not connection.in_transaction:
        raise RuntimeError("an operation ended the transaction it runs in")
    if not alone:
        connection.execute("RELEASE operation")


def _call(connection: sqlite3.Connection, part: list[Operation]) -> None:
    many = part[0].many
    if many is None:
        part[0].result = part[0].wish(connection)
        return
    answers = many(connection, [operation.wish for operation in part])
    for operation, answer in zip(part, answers, strict=True):
        if isinstance(answer, BaseException):
            operation.error = answer
        else:
            operation.result = answer


def _make_ready(group: list[Operation]) -> None:
    for operation in group:
        waits = operation.error is None and not operation.future.done()
        if waits and operation.meanwhile is not None:
            operation.meanwhile(operation.result)


class Batcher:
    """Owns the writing connection; collects operations and runs them in groups, in order."""

    def __init__(self, connection: aiosqlite.Connection, raw: GroupConnection) -> None:
        self._connection = connection
        self._raw = raw
        self._raw.answered = self._answered
        self._waiting: deque[Operation] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name="gsvr-database-writer")

    def submit(
        self,
        wish: Any,
        many: Many | None = None,
        undelivered: Callable[[Any], None] | None = None,
        meanwhile: Callable[[Any], None] | None = None,
    ) -> asyncio.Future[Any]:
        """Run `wish` (a `Work`), or `many` with it, in the next transaction; await the answer.

        What is submitted before the event loop goes on gets into one transaction.

        Args:
            undelivered: called with the answer, once it is durable, when nobody waits any more.
            meanwhile: called in the event loop with an answer that is not durable yet, to make
                ready what the caller will need. It must not raise, nor tell anybody.

        Cancelling the answer: safe. An operation not begun yet is dropped; one that has begun is
        committed although its caller does not hear of it.
        """
        if self._closing or self._task.done():
            raise RuntimeError("the database is closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(Operation(future, wish, many, undelivered, meanwhile))
        self._wake.set()
        return future

    def _answered(self, group: list[Operation]) -> None:
        """Runs in the writer's thread."""
        if any(operation.meanwhile is not None for operation in group):
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(_make_ready, group)

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
        except Exception as error:  # the thread is gone; nobody may wait for ever
            for operation in group:
                operation.error = operation.error or error
        for operation in group:
            operation.settle()
