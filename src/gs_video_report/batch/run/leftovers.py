"""Take away the copies of recordings that a finished batch left at a service.

A video whose upload is kept for a later run may be finished by another engine (`--fallback`), and
a copy may have refused to go. Then nobody comes back for it, and it would lie at the service until
that lets it expire.
Truth: the steps `upload` and `upload_deleted` of the journal.
Never: touches the copy of a recording that an open task of any batch may still need, waits for
longer than `PATIENCE_S` or past a stop, makes a finished batch fail.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from gs_video_report.batch.attempt.errors import known_errors
from gs_video_report.batch.queue.spending import iso_ms
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.engines.base import Engine, Leaving, LeftCopy
from gs_video_report.errors import GsvrError

STEP, DELETED = "upload", "upload_deleted"
KEPT = timedelta(hours=48)
"""How long a service keeps a copy by itself."""
PATIENCE_S = 5.0
"""For all copies together: the batch is done, and its user waits for the end."""
QUIET_S = 0.5
"""Before it is told what is waited for."""


async def count_left(queue: TaskQueue, batch_id: str, now: datetime) -> int:
    """How many copies of the batch's finished videos are there; 0 also when it cannot be told.

    Args:
        now: aware.
    """
    with suppress(GsvrError):
        return len(await queue.uploads_left(batch_id, iso_ms(now - KEPT)))
    return 0


async def not_for_long(
    work: Coroutine[Any, Any, None],
    stop: asyncio.Event,
    tell: Callable[[str], None],
    patience_s: float = PATIENCE_S,
    quiet_s: float = QUIET_S,
) -> None:
    """Let `work` take copies away until it is through, a stop is asked for, or patience ends.

    A wait that can be noticed is told, and so is what stays; an error of `work` as well.
    """
    clearing = asyncio.create_task(known_errors(work), name="gsvr-leftovers")
    asked = asyncio.create_task(stop.wait(), name="gsvr-leftovers-stop")
    both = (clearing, asked)
    try:
        first = asyncio.FIRST_COMPLETED
        done, _ = await asyncio.wait(both, timeout=min(quiet_s, patience_s), return_when=first)
        if not done:
            tell(
                "copies of recordings are being deleted at the service: "
                f"at most {patience_s:.0f} s, Ctrl-C ends it"
            )
            await asyncio.wait(both, timeout=patience_s - quiet_s, return_when=first)
        why = _why_unfinished(clearing)
        if why:
            tell(f"{why}: copies of recordings may be left; the service deletes them in 48 hours")
    finally:
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)


def _why_unfinished(clearing: asyncio.Task[None]) -> str:
    """Empty when it is through."""
    if not clearing.done():
        return "the service was not waited for any longer"
    error = None if clearing.cancelled() else clearing.exception()
    return error.message if isinstance(error, GsvrError) else ""


async def take_away(queue: TaskQueue, engine: Engine, batch_id: str, now: datetime) -> int:
    """Delete the copies of the batch's finished videos; how many are gone now. Best effort.

    Args:
        now: aware.
    """
    if not isinstance(engine, Leaving):
        return 0
    journal, gone = StepJournal(queue.db), 0
    with suppress(GsvrError):
        copies = [_copy(row) for row in await queue.uploads_left(batch_id, iso_ms(now - KEPT))]
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
