"""Looking at tasks, attempts and events; remembered fingerprints; the usage ledger.

Truth: the file, as of the last commit. Every read is short and paged; nothing is kept in memory.
Writes: only `events` (notes), `files` and `usage`; never a task's state.
Raises: NotFoundError, UsageError, and what `Database` raises.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any

from gs_video_report.batch.data_models import TaskStatus, Usage, VideoTask
from gs_video_report.batch.queue.batch_store import BatchStore
from gs_video_report.batch.queue.doubt import IN_DOUBT
from gs_video_report.batch.queue.retry import FAR_MS
from gs_video_report.batch.queue.task_moves import add_events
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.clock import parse_iso
from gs_video_report.batch.store.rows import exact, json_text, task_from_row
from gs_video_report.errors import NotFoundError, UsageError

PAGE = 500
KEY_FREED = "key_freed"
"""Of a note: the key of a bucket is not set aside any more."""


class TaskReads(BatchStore):
    """What `TaskQueue` tells about tasks."""

    async def get_task(self, ref: str | int) -> VideoTask:
        """The task named `batch:seq` (the batch as in `get_batch`), or its `task_id`.

        Raises:
            NotFoundError: no such batch or task.
            UsageError: a text without `:` and number, or an ambiguous batch.
        """
        if isinstance(ref, int):
            rows = await self.db.read(query("task_by_id"), (ref,))
        else:
            batch_ref, _, seq = ref.rpartition(":")
            if not batch_ref or not seq.isdecimal():
                raise UsageError(
                    f"{ref!r} is not a task; write it as batch:number, such as 7f3a:17"
                )
            batch = await self.get_batch(batch_ref)
            rows = await self.db.read(query("task_by_seq"), (batch.batch_id, int(seq[:18])))
        if not rows:
            raise NotFoundError(f"no task is called {ref!r}")
        return task_from_row(rows[0])

    async def iter_tasks(
        self, batch_id: str, statuses: Collection[TaskStatus] | None = None, page: int = PAGE
    ) -> AsyncIterator[VideoTask]:
        """Tasks of the batch in the order of `seq`, read page by page (flat memory).

        Args:
            statuses: only these states; None means all, an empty collection gives nothing.
        """
        async for rows in self.task_pages(batch_id, page, statuses):
            for row in rows:
                yield task_from_row(row)

    async def task_pages(
        self, batch_id: str, page: int = PAGE, statuses: Collection[TaskStatus] | None = None
    ) -> AsyncIterator[list[sqlite3.Row]]:
        """As `iter_tasks`, the rows of `tasks` themselves, in pages that are never empty."""
        wanted = None if statuses is None else json.dumps([s.value for s in statuses])
        after = 0
        while True:
            values = {"batch_id": batch_id, "after": after, "statuses": wanted, "limit": page}
            rows = await self.db.read(query("task_page"), values)
            if rows:
                yield rows
            if len(rows) < page:
                return
            after = rows[-1]["seq"]

    async def kept_steps(self, batch_id: str) -> tuple[int, int]:
        """(unfinished videos that keep journaled steps, those steps) of the batch."""
        row = (await self.db.read(query("kept_steps"), (batch_id,)))[0]
        return row["videos"], row["steps"]

    async def failures_by_code(self, batch_id: str) -> dict[str, int]:
        """Failed tasks per error code, most frequent first; empty when none failed."""
        rows = await self.db.read(query("failures_by_code"), (batch_id,))
        return {row["error_code"] or "": row["tasks"] for row in rows}

    async def next_due_s(self, batch_id: str) -> float | None:
        """Seconds until the first `retrying` task may run; 0 when one is due, None without any.

        0 also when it lies further off than any wait is long: the clock has been set back.
        """
        due = (await self.db.read(query("next_due"), (batch_id,)))[0]["due"]
        if due is None:
            return None
        left_ms = parse_iso(due) - self.clock.wall_ms()
        return max(0.0, left_ms / 1000) if left_ms <= FAR_MS else 0.0

    async def attempts(self, task_id: int) -> list[dict[str, Any]]:
        """The attempts of a task, first one first: columns of `attempts`, `error` decoded."""
        rows = await self.db.read(query("attempts"), (task_id,))
        return [{**dict(row), "error": _decoded(row["error"])} for row in rows]

    async def latest_worker(self, batch_id: str) -> str | None:
        """The worker that took a task of the batch (full id) last; None before the first."""
        rows = await self.db.read(query("latest_worker"), (batch_id,))
        return rows[0]["worker_id"] if rows else None

    async def media_speed_history(self, engine: str, limit: int = 50) -> list[tuple[float, float]]:
        """(media seconds, wall seconds) of finished attempts of `engine`, newest first.

        Only first attempts that did most of the work on their recording themselves (by the seconds
        of its journaled steps): later ones, and those of another batch or template on the same
        content, reuse what is journaled and would look too fast.
        """
        rows = await self.db.read(query("media_speed"), (engine, limit))
        return [(row["media_s"], row["seconds"]) for row in rows]

    # --- events ---------------------------------------------------------------------------------

    async def events(self, batch_id: str, after: int = 0, limit: int = 500) -> list[dict[str, Any]]:
        """Events with an id larger than `after`, in order: event_id, at, task_id, kind, data."""
        rows = await self.db.read(query("events"), (batch_id, after, limit))
        return [{**dict(row), "data": json.loads(row["data"])} for row in rows]

    async def events_of(self, task: VideoTask) -> list[dict[str, Any]]:
        """All events of one task, in order; the keys are those of `events()`."""
        rows = await self.db.read(query("events_of_task"), (task.batch_id, task.task_id))
        return [{**dict(row), "data": json.loads(row["data"])} for row in rows]

    async def add_event(
        self, batch_id: str, kind: str, data: Mapping[str, Any], task_id: int | None = None
    ) -> None:
        """Leave a note. Raises: TypeError when `data` is not JSON-able."""
        event = (self._now(), batch_id, task_id, kind, json_text(dict(data)))
        await self.db.write(lambda connection: add_events(connection, [event]))

    async def keys_set_aside(self, since: str) -> list[dict[str, Any]]:
        """Keys that a provider refused, or whose day was spent, from `since` (ISO-8601 UTC) on.

        Each: at, kind (`key_refused`, `key_spent`), bucket, reason, until (ISO-8601; empty: not
        known); the newest of a bucket, unless it was freed later (`free_keys`).
        """
        rows = await self.db.read(query("keys_set_aside"), (since,))
        found = ({"at": row["at"], **json.loads(row["data"])} for row in rows)
        last = {str(one.get("bucket", "")): one for one in found}
        newest = {name: one for name, one in last.items() if one["kind"] != KEY_FREED}
        names = ("at", "kind", "bucket", "reason", "until")
        return [{name: str(one.get(name, "")) for name in names} for one in newest.values()]

    async def free_keys(self, buckets: Iterable[str]) -> None:
        """The keys of these buckets are not set aside any more."""
        facts = [json_text({"kind": KEY_FREED, "bucket": bucket}) for bucket in buckets]
        events = [(self._now(), None, None, "note", one) for one in facts]
        await self.db.write(lambda connection: add_events(connection, events))

    async def uploads_left(self, batch_id: str, since: str) -> list[dict[str, Any]]:
        """Copies at a service, made from `since` (ISO-8601 UTC) on, of finished videos of a batch.

        Each: fingerprint, part, params, value (JSON) of the journal's step, shown (the video).
        None of a recording that an open task of any batch may need.
        """
        rows = await self.db.read(query("uploads_left"), (batch_id, since))
        return [dict(row) for row in rows]

    async def tasks_owed(self, batch_id: str) -> set[int]:
        """Running tasks whose answers a service has been asked for as a job, and not given yet."""
        rows = await self.db.read(query("tasks_owed"), (batch_id,))
        return {int(row["task_id"]) for row in rows}

    # --- remembered fingerprints ----------------------------------------------------------------

    async def remembered_fingerprint(self, path: str, size_bytes: int, mtime_ns: int) -> str | None:
        """SHA-256 of the file's content if path, size and time are those of the last look."""
        values = (exact(path), size_bytes, mtime_ns)
        rows = await self.db.read(query("remembered_fingerprint"), values)
        return str(rows[0]["sha256"]) if rows else None

    async def remember_fingerprint(
        self, path: str, size_bytes: int, mtime_ns: int, sha256: str
    ) -> None:
        """Remember the content's SHA-256; replaces what was known of this path."""
        values = (exact(path), size_bytes, mtime_ns, sha256, self._now())
        await self.db.write(lambda c: c.execute(query("remember_fingerprint"), values).rowcount)

    # --- the usage ledger -----------------------------------------------------------------------

    async def record_usage(
        self,
        provider: str,
        usage: Usage,
        *,
        model: str = "",
        key_id: str = "",
        batch_id: str | None = None,
        task_id: int | None = None,
        at: str | None = None,
        hold: str = "",
        leaves_hold: bool = False,
        in_doubt: bool = False,
    ) -> None:
        """Add one row to the ledger, at the time of the request; none for no requests.

        Args:
            key_id: tells keys apart; a fingerprint, never the key.
            at: ISO-8601 UTC; None means now.
            hold: the money set aside for it ends in the same transaction; empty = none was.
            leaves_hold: it stays instead, as that of nobody: it may be charged still.
            in_doubt: leaves an event, too: no answer came, and the row holds the most it may cost.
        """
        row = {
            "at": at or self._now(), "batch_id": batch_id, "task_id": task_id,
            "provider": provider, "model": model, "key_id": key_id, "requests": usage.requests,
            "tokens_in": usage.tokens_in, "tokens_out": usage.tokens_out, "usd": usage.usd,
        }  # fmt: skip

        def work(connection: sqlite3.Connection) -> None:
            if usage.requests:
                connection.execute(query("insert_usage"), row)
            if in_doubt and usage.usd:
                facts = json_text({"usd": usage.usd, "provider": provider, "model": model})
                event = (str(row["at"]), batch_id, task_id, IN_DOUBT, facts)
                add_events(connection, [event])
            if hold:
                name = "leave_hold" if leaves_hold else "drop_hold"
                connection.execute(query(name), (hold,))

        await self.db.write(work)

    async def usage_since(
        self,
        since: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        key_id: str | None = None,
        batch_id: str | None = None,
    ) -> Usage:
        """Sum of the ledger from `since` (ISO-8601 UTC, inclusive); None means any."""
        values = {
            "since": since, "provider": provider, "model": model, "key_id": key_id,
            "batch_id": batch_id,
        }  # fmt: skip
        row = (await self.db.read(query("usage_since"), values))[0]
        return Usage(row["requests"], row["tokens_in"], row["tokens_out"], row["usd"])

    async def usd_reused(self, batch_id: str) -> float:
        """What the answers had cost that the batch's reports took from the journal."""
        row = (await self.db.read(query("usd_reused"), (batch_id,)))[0]
        return float(row["usd"])

    async def usage_by_key(self, since: str) -> list[dict[str, Any]]:
        """Sums of the ledger from `since` (ISO-8601 UTC) per provider, model and key.

        Each row: provider, model, key_id, requests, tokens_in, tokens_out, usd, last_at.
        """
        rows = await self.db.read(query("usage_by_key"), {"since": since})
        return [dict(row) for row in rows]

    async def usage_pages(
        self, batch_id: str, since: str, page: int = PAGE
    ) -> AsyncIterator[list[sqlite3.Row]]:
        """Ledger rows of the batch, and all from `since` on; pages are never empty."""
        after = 0
        while True:
            values = {"batch_id": batch_id, "since": since, "after": after, "limit": page}
            rows = await self.db.read(query("usage_page"), values)
            if rows:
                yield rows
            if len(rows) < page:
                return
            after = rows[-1]["id"]


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
