"""Await many things, a few at a time, so that what is in flight when one fails is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

from gs_video_report.errors import GsvrError, StepCancelled


async def bounded(work: Iterable[Awaitable[Any]], *, limit: int) -> list[Any]:
    """Await all of `work`, at most `limit` at a time, results in order.

    The first error stops the start of further items, waits for those in flight to be journaled
    (unless cancelled), and is raised. A graceful stop wins over other errors.
    """
    results: dict[int, Any] = {}
    errors: list[BaseException] = []
    items = enumerate(work)

    async def drain() -> None:
        for index, item in items:
            if errors:
                _close(item)
                continue
            try:
                results[index] = await item
            except GsvrError as error:
                errors.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(limit):
            group.create_task(drain())
    if errors:
        raise next((e for e in errors if isinstance(e, StepCancelled)), errors[0])
    return [results[i] for i in sorted(results)]


def _close(item: Awaitable[Any]) -> None:
    close = getattr(item, "close", None)
    if close is not None:
        close()
