"""What a checkpoint holds: rows of the batch, of its tasks and of the usage ledger.

Tasks are read page by page while others work: each task is as of one moment, not all of the same.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from operator import itemgetter
from typing import Any

from gs_video_report import __version__
from gs_video_report.batch.checkpoint.format import CheckpointWriter
from gs_video_report.batch.data_models import BatchCounts, TaskStatus
from gs_video_report.batch.store.clock import iso
from gs_video_report.batch.task_queue import TaskQueue

LEDGER_DAYS = 2
_PAGE = 1000
_DAY_MS = 24 * 3600 * 1000
_LEASE_COLUMNS = frozenset(
    {"task_id", "worker_id", "lease_expires_at", "lease_until_ms", "boot_id", "stage"}
)
"""Columns of `tasks` that mean nothing in another database."""
_LEDGER_IDS = frozenset({"id", "task_id"})
_Rows = list[sqlite3.Row]


def header_of(row: Any, counts: BatchCounts, reason: str, created_at: str) -> dict[str, Any]:
    return {
        "batch_id": row["batch_id"],
        "name": row["name"],
        "created_at": created_at,
        "reason": reason,
        "tool_version": __version__,
        "counts": {s.value: getattr(counts, s.value) for s in TaskStatus},
        "media_s_total": counts.media_s_total,
        "media_s_done": counts.media_s_done,
        "usd": counts.usd,
    }


async def write_body(writer: CheckpointWriter, queue: TaskQueue, row: dict[str, Any]) -> None:
    writer.add(["batch", row])
    tasks = usage = 0
    async for page in queue.task_pages(row["batch_id"], _PAGE):
        await asyncio.to_thread(_add_page, writer, "tasks", page, _LEASE_COLUMNS)
        tasks += len(page)
    since = iso(queue.clock.wall_ms() - LEDGER_DAYS * _DAY_MS)
    async for page in queue.usage_pages(row["batch_id"], since, _PAGE):
        await asyncio.to_thread(_add_page, writer, "usage", page, _LEDGER_IDS)
        usage += len(page)
    writer.add(["end", {"tasks": tasks, "usage": usage}])


def _add_page(
    writer: CheckpointWriter,
    table: str,
    page: _Rows,
    left_out: frozenset[str],
) -> None:
    """Append rows; in a thread, so that packing does not hold up the event loop."""
    names = page[0].keys()
    kept = [n for n, name in enumerate(names) if name not in left_out]
    writer.add([table, [names[n] for n in kept], list(map(itemgetter(*kept), page))])


def settled(row: dict[str, Any]) -> dict[str, Any]:
    """A task row without an owner: running becomes pending, or cancelled if that was asked for:
    completed then, if it has a report from before."""
    cancelled = row["status"] == TaskStatus.RUNNING and row["cancel_requested"]
    if cancelled:
        ended = TaskStatus.CANCELLED if row["result"] is None else TaskStatus.COMPLETED
        row["status"] = ended.value
        row["finished_at"] = row["started_at"] or row["created_at"]
        _keep_facts(row)
    elif row["status"] == TaskStatus.RUNNING:
        row["status"] = TaskStatus.PENDING.value
    row["cancel_requested"] = 0
    return row


def _keep_facts(row: dict[str, Any]) -> None:
    """Length and content are those of the report that stays, as far as it knows them."""
    if row["result"] is not None:
        kept = json.loads(row["result"])
        for name in ("media_s", "fingerprint"):
            row[name] = kept.get(name) or row[name]
