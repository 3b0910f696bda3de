"""Take away the copies of recordings that a finished batch left at a service.

A video whose upload is kept for a later run may be finished by another engine (`--fallback`), and
a copy may have refused to go. Then nobody comes back for it, and it would lie at the service until
that lets it expire.
Truth: the steps `upload` and `upload_deleted` of the journal.
Never: touches the copy of a recording that an open task of any batch may still need, waits for
longer than `PATIENCE_S`, makes a finished batch fail.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from gs_video_report.batch.spending import iso_ms
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.engines.base import Engine, Leaving, LeftCopy
from gs_video_report.errors import GsvrError

STEP, DELETED = "upload", "upload_deleted"
KEPT = timedelta(hours=48)
"""How long a service keeps a copy by itself."""
PATIENCE_S = 60.0
"""For all copies together."""


async def take_away(queue: TaskQueue, engine: Engine, batch_id: str, now: datetime) -> int:
    """Delete the copies of the batch's finished videos; how many are gone now. Best effort.

    Args:
        now: aware.
    """
    if not isinstance(engine, Leaving):
        return 0
    journal, gone = StepJournal(queue.db), 0
    with suppress(GsvrError, TimeoutError):
        copies = [_copy(row) for row in await queue.uploads_left(batch_id, iso_ms(now - KEPT))]
        async with asyncio.timeout(PATIENCE_S):
            for copy in await engine.take_away(copies) if copies else ():
                await _note(journal, copy)
                gone += 1
    return gone


async def _note(journal: StepJournal, copy: LeftCopy) -> None:
    await journal.put(copy.fingerprint, DELETED, copy.part, copy.params, True, seconds=0.0)


def _copy(row: dict[str, Any]) -> LeftCopy:
    return LeftCopy(
        str(row["fingerprint"]), int(row["part"]), json.loads(row["params"]),
        str(json.loads(row["value"])["name"]), str(row["shown"]),
    )  # fmt: skip
