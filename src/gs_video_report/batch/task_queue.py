"""The queue: everything the batch does with tasks, and here adding them.

Truth: the `tasks` table. Two processes may share the file; memory holds only which claims of
this object are in flight, to tell which of them were lost. `TaskQueue` is put together of
`batch_store` (batches), `task_reads` (looking), `task_admin` (recover, cancel, requeue),
`task_leave` (complete, fail, retry, release, skip), `task_claim` (claim, renew) and this module.
Writes: every change of a task's state goes through `task_moves.move()`, fenced by the expected
old state and, for running tasks, by worker id and attempt number.
Never: decodes media, calls an engine, prints, sleeps.
Raises: LeaseLost, NotFoundError, UsageError, ValueError, and what `Database` raises.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from functools import partial
from itertools import islice

from gs_video_report.batch.data_models import NewTask, TaskStatus
from gs_video_report.batch.queue.task_admin import Recovered
from gs_video_report.batch.queue.task_claim import Heartbeat, TaskClaim
from gs_video_report.batch.queue.task_moves import add_events, move
from gs_video_report.batch.sql import query, query_of_rows
from gs_video_report.batch.store.rows import (
    json_text,
    readable,
    task_key,
    video_to_json,
)
from gs_video_report.errors import NotFoundError

__all__ = ["Heartbeat", "Recovered", "TaskQueue"]

CHUNK = 500
_NewRow = tuple[int, str, str, str, str]
"""Priority, source for people, template, task key, video as JSON."""


class TaskQueue(TaskClaim):
    """The queue of one database. Only one per process is needed; several do no harm."""

    # --- adding ---------------------------------------------------------------------------------

    async def add_tasks(
        self,
        batch_id: str,
        tasks: Iterable[NewTask] | AsyncIterable[NewTask],
        chunk: int = CHUNK,
        *,
        on_changed: Callable[[int], None] | None = None,
    ) -> int:
        """Append tasks to the batch (full id), `chunk` per transaction; memory stays flat.

        Idempotent: a task whose key the batch already has is not added, so that an interrupted
        call can be repeated. `seq` goes on without gaps.

        Args:
            on_changed: with it, a task that has ended while its file has another size or
                modification time now waits again; called with how many of a chunk do.

        Returns:
            How many were added.

        Raises:
            NotFoundError: no such batch.
        """
        added = 0
        async for part in _chunks(tasks, chunk):
            wish = (batch_id, [_new_row(task) for task in part])
            added += await self.db.delivered(self.db.submit(wish, self._add_many))
            if on_changed is not None:
                renew = partial(self._renew_changed, batch_id=batch_id, tasks=part)
                on_changed(await self.db.write(renew))
        return added

    def _add_many(
        self, connection: sqlite3.Connection, wishes: list[tuple[str, list[_NewRow]]]
    ) -> list[int]:
        """See `group_commit.Many`; raises NotFoundError, and is then tried for each alone."""
        added: Counter[int] = Counter()
        for batch_id in dict.fromkeys(wanted for wanted, _ in wishes):
            first: dict[str, tuple[int, _NewRow]] = {}  # of tasks with one key, the first
            for place, (wanted, rows) in enumerate(wishes):
                if wanted == batch_id:
                    for row in rows:
                        first.setdefault(row[3], (place, row))
            added += self._add(connection, batch_id, first)
        return [added[place] for place in range(len(wishes))]

    def _add(
        self, connection: sqlite3.Connection, batch_id: str, new: dict[str, tuple[int, _NewRow]]
    ) -> Counter[int]:
        """Append what is not there yet, by its key; returns how many of each place were."""
        if connection.execute(query("batch"), (batch_id,)).fetchone() is None:
            raise NotFoundError(f"no batch is called {batch_id!r}")
        first = seq = connection.execute(query("last_seq"), (batch_id,)).fetchone()[0]
        now, waiting = self._now(), iter(new.values())
        added: Counter[int] = Counter()
        while part := list(islice(waiting, CHUNK)):
            values = [v for n, (_, row) in enumerate(part) for v in (n, *row)]
            insert = query_of_rows("insert_tasks", len(part))
            keys = connection.execute(insert, (*values, batch_id, seq, now, batch_id)).fetchall()
            added.update(new[key][0] for (key,) in keys)
            seq += len(keys)
        if seq > first:
            data = json_text({"first_seq": first + 1, "last_seq": seq})
            add_events(connection, [(now, batch_id, None, "tasks.added", data)])
        return added

    def _renew_changed(
        self, connection: sqlite3.Connection, batch_id: str, tasks: list[NewTask]
    ) -> int:
        changed: dict[TaskStatus, list[int]] = {}
        for task in tasks:
            seen = {
                "batch_id": batch_id,
                "task_key": task_key(task),
                "size_bytes": task.video.size_bytes,
                "mtime_ns": task.video.mtime_ns,
            }
            for row in connection.execute(query("changed_source"), seen).fetchall():
                changed.setdefault(TaskStatus(row["status"]), []).append(row["task_id"])
                values = (video_to_json(task.video), row["task_id"])
                connection.execute(query("set_video"), values)
        renewed = (self._renew(connection, batch_id, old, ids) for old, ids in changed.items())
        return sum(renewed)

    def _renew(
        self, connection: sqlite3.Connection, batch_id: str, old: TaskStatus, ids: list[int]
    ) -> int:
        values = {
            "batch_id": batch_id, "old": old.value, "ids": json.dumps(ids), "after": 0,
            "limit": len(ids), "keep_result": 0,
        }  # fmt: skip
        data = {"from": old.value, "reason": "the file has changed"}
        new, now = TaskStatus.PENDING, self._now()
        return len(move(connection, "requeue", values, old=[old], new=new, at=now, data=data))


def _new_row(task: NewTask) -> _NewRow:
    video = task.video
    source = readable(video.source)
    return (task.priority, source, task.template, task_key(task), video_to_json(video))


async def _chunks(
    items: Iterable[NewTask] | AsyncIterable[NewTask], size: int
) -> AsyncIterator[list[NewTask]]:
    if isinstance(items, Iterable):
        iterator = iter(items)
        while part := list(islice(iterator, size)):
            yield part
        return
    part = []
    async for item in items:
        part.append(item)
        if len(part) >= size:
            yield part
            part = []
    if part:
        yield part
