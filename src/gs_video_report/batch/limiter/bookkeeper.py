"""Rows of usage on their way into the ledger, stored beside the work in the order of their making.

True here: a row that could not be stored is kept and stored later, since the reply that it is about
was paid for; nothing is forgotten before `flush()` has returned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from gs_video_report.batch.limiter.models import Ledger, UsageEntry
from gs_video_report.errors import GsvrError


class Bookkeeper:
    """The rows of one limiter. One event loop.

    Args:
        ledger: None = rows are kept here only.
        on_stored: called when rows were stored, or could not be because there is no ledger.
    """

    def __init__(self, ledger: Ledger | None, on_stored: Callable[[], None]) -> None:
        self._ledger = ledger
        self._on_stored = on_stored
        self.waiting: deque[UsageEntry] = deque()
        """Rows that are not stored yet."""
        self.recording = asyncio.Lock()
        """Held while rows move into the ledger: its sums and `waiting` belong together."""
        self._work: set[asyncio.Task[None]] = set()

    def record(self, entry: UsageEntry) -> asyncio.Future[None]:
        """Store a row beside the work."""
        self.waiting.append(entry)
        return self.beside(self._store_later())

    def beside(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        """Do `work`; done at the latest when `flush()` returns."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    async def flush(self) -> None:
        """Wait until every row is stored. Raises: what the ledger raises."""
        while self._work:
            await asyncio.wait(set(self._work))
        await self._store()

    async def _store_later(self) -> None:
        with suppress(GsvrError):  # kept in `waiting`: the reply is worth more than its row
            await self._store()

    async def _store(self) -> None:
        async with self.recording:
            while self.waiting and self._ledger is not None:
                await self._ledger.record(self.waiting[0])
                self.waiting.popleft()
        self._on_stored()
