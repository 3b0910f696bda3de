"""Memoised steps: what was computed or paid for once is never computed or paid for again.

Truth: the `steps` table. The key is the SHA-256 of (content fingerprint, step name, part,
parameters), so a second batch, template or attempt finds the work of the first.
Writes: `steps`, and one `step` event in the same transaction; the first writer wins.
In one process, `flight(key)` lets only one task run a step that several want.
Raises: LeaseLost, and what `Database` raises; TypeError for values that are not JSON.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.task_moves import add_events
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.clock import Clock, SystemClock, iso
from gs_video_report.batch.store.rows import json_text
from gs_video_report.errors import LeaseLost


class _Missing(Enum):
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""The answer of `get` when the step was never done. (None is a value that a step may have.)"""


def canonical_params(params: Mapping[str, Any] | None) -> str:
    """JSON of the parameters: keys sorted, no spaces, ASCII. Tuples equal lists, None equals {}."""
    return json.dumps(dict(params or {}), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def step_key(
    fingerprint: str, name: str, part: int, params: Mapping[str, Any] | None = None
) -> str:
    """The identity of a step, 64 hexadecimal digits. Raises: TypeError, params not JSON."""
    identity = [fingerprint, name, part, json.loads(canonical_params(params))]
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(slots=True)
class _Flight:
    lock: asyncio.Lock
    users: int = 0


class StepJournal:
    """The journal of one database. One object per process, or single flight does not hold."""

    def __init__(self, db: Database, *, clock: Clock | None = None) -> None:
        self._db = db
        self._clock: Clock = clock or SystemClock()
        self._flights: dict[str, _Flight] = {}

    async def get(
        self, fingerprint: str, name: str, part: int, params: Mapping[str, Any] | None = None
    ) -> Any:
        """The journaled value, or `MISSING`. Tuples come back as lists."""
        key = step_key(fingerprint, name, part, params)
        rows = await self._db.read(query("get_step"), (key,))
        return json.loads(rows[0]["value"]) if rows else MISSING

    async def get_parts(
        self, fingerprint: str, name: str, params: Mapping[str, Any] | None = None
    ) -> dict[int, Any]:
        """Part -> value of everything journaled under this name, in the order of the parts."""
        values = (fingerprint, name, canonical_params(params))
        rows = await self._db.read(query("get_parts"), values)
        return {row["part"]: json.loads(row["value"]) for row in rows}

    async def put(
        self,
        fingerprint: str,
        name: str,
        part: int,
        params: Mapping[str, Any] | None,
        value: Any,
        *,
        seconds: float,
        task_id: int | None = None,
        attempt: int | None = None,
    ) -> Any:
        """Journal the value durably and return the one that is stored: the first writer's.

        Args:
            value: JSON-able; read back the same on every path, so tuples return as lists.
            seconds: wall seconds the step took.
            task_id: the task that paid; with `attempt` it fences the write.

        Raises:
            LeaseLost: the task has gone to another process. The value is kept all the same: it
                depends on the content only, and was paid for.
            TypeError: value or params are not JSON.
        """
        key, text = step_key(fingerprint, name, part, params), json_text(value)
        row = (key, fingerprint, name, part, canonical_params(params), text, seconds, task_id)

        def work(connection: sqlite3.Connection) -> tuple[str, bool]:
            now = iso(self._clock.wall_ms())
            fresh = connection.execute(query("put_step"), (*row, now)).rowcount == 1
            batch_id, owned = _owner(connection, task_id, attempt)
            if fresh:
                _leave_event(connection, now, batch_id, task_id, name, part, seconds)
            if fresh and owned and task_id is not None:
                # A task that gets on is not the one that kills its worker.
                connection.execute(query("progress_made"), (task_id,))
            stored = connection.execute(query("get_step"), (key,)).fetchone()["value"]
            return stored, owned

        stored, owned = await self._db.write(work)
        if not owned:
            raise LeaseLost(f"step {name}: another process has taken the task over")
        return json.loads(stored)

    async def forget(
        self, fingerprint: str, name: str, part: int, params: Mapping[str, Any] | None = None
    ) -> bool:
        """Drop one value (its artifact is gone); False when there was none."""
        key = step_key(fingerprint, name, part, params)
        count = await self._db.write(lambda c: c.execute(query("forget_step"), (key,)).rowcount)
        return count > 0

    async def forget_source(self, fingerprint: str, name: str | None = None) -> int:
        """Drop all steps of a content, or only those of one name; returns how many."""
        values = {"fingerprint": fingerprint, "name": name}
        return await self._db.write(lambda c: c.execute(query("forget_source"), values).rowcount)

    @asynccontextmanager
    async def flight(self, key: str) -> AsyncIterator[None]:
        """Hold the right to run the step `key` (see `step_key`) in this process.

        Look again with `get` once inside: the one before may have done it. In order of arrival;
        if the holder fails or is cancelled, the next one gets its turn.
        """
        flight = self._flights.setdefault(key, _Flight(asyncio.Lock()))
        flight.users += 1
        try:
            async with flight.lock:
                yield
        finally:
            flight.users -= 1
            if flight.users == 0:
                del self._flights[key]


def _owner(
    connection: sqlite3.Connection, task_id: int | None, attempt: int | None
) -> tuple[str | None, bool]:
    """(batch of the task, whether this attempt still owns it). Without a fence: owned."""
    if task_id is None:
        return None, True
    values = {"task_id": task_id, "attempt": attempt}
    row = connection.execute(query("owner_of"), values).fetchone()
    if row is None:
        return None, attempt is None
    return row["batch_id"], attempt is None or bool(row["owned"])


def _leave_event(
    connection: sqlite3.Connection,
    at: str,
    batch_id: str | None,
    task_id: int | None,
    name: str,
    part: int,
    seconds: float,
) -> None:
    data = json_text({"name": name, "part": part, "seconds": round(seconds, 3)})
    add_events(connection, [(at, batch_id, task_id, "step", data)])
