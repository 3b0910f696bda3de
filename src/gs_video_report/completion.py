"""Shell completion of batch references, from the database, without engines. Never raises."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from gs_video_report.errors import GsvrError


def batch_refs(prefix: str) -> list[str]:
    """`latest` and the ids of the newest batches that start with `prefix`."""
    path = Path(os.environ.get("GSVR_DB", "batch_tasks.db"))
    try:
        found = ["latest", *asyncio.run(_recent(path))]
    except (GsvrError, OSError):
        found = ["latest"]
    return [ref for ref in found if ref.startswith(prefix)]


async def _recent(path: Path) -> list[str]:
    from gs_video_report.batch.persistence import Database
    from gs_video_report.batch.task_queue import TaskQueue

    async with await Database.open(path, create=False, read_only=True) as database:
        return [row.batch_id for row, _ in await TaskQueue(database).list_batches(20)]
