"""The pulse of a run: the picture is drawn, looked after and written while the pool works.

Four times a second the screen, once a second what is in the database and the machine, once a
minute the state of the quotas. Never: decides anything; who watches only tells.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import psutil

from gs_video_report.batch.limiter.quota_wait import wait_of
from gs_video_report.batch.run.parts import RunParts
from gs_video_report.batch.run.rounds import Rounds

TICK_S = 0.25
COUNTS_S = 1.0
"""Seconds between looks at the counts in the database (another process may work on it too)."""
LIMITS_S = 60.0
"""Seconds between two records of the quotas' state."""
COST_WARNING = 0.8
"""Part of the cost limit at which a warning is given."""


@dataclass(slots=True)
class RunTicker:
    """See the module's header."""

    parts: RunParts
    rounds: Rounds
    _cost_warned: bool = False

    async def run(self) -> None:
        """Tick until cancelled."""
        looked_at, limits_at = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if now - looked_at >= COUNTS_S:
                looked_at = now
                await self._look()
            if now - limits_at >= LIMITS_S:
                limits_at = now
                self.rounds.keep_quotas()
            self.parts.teller.printer.tick(self.parts.monitor.snapshot())

    async def _look(self) -> None:
        parts = self.parts
        parts.monitor.counts(await parts.queue.counts(parts.row.batch_id))
        parts.monitor.resources(psutil.cpu_percent(), self._memory_bytes())
        write_progress(parts)
        self._watch_cost()
        parts.teller.hear(self.rounds.engine)
        self._show_wait()

    def _memory_bytes(self) -> int:
        """Resident memory of this process and its compute processes."""
        mine: int = psutil.Process().memory_info().rss
        return mine + self.parts.compute.statistics().rss_bytes

    def _watch_cost(self) -> None:
        """Say once when most of the budget is spent."""
        limit = self.rounds.limit_usd
        if not limit or self._cost_warned:
            return
        spent = self.parts.monitor.snapshot().usd
        if spent >= COST_WARNING * limit:
            self._cost_warned = True
            text = f"{spent / limit:.0%} of the cost limit is spent (${spent:.2f})"
            self.parts.teller.tell(text)

    def _show_wait(self) -> None:
        """What requests wait for, in the picture; a long standstill in a sentence."""
        limiter = self.rounds.limiter
        wait = None if limiter is None else wait_of(limiter.snapshot())
        news = self.parts.monitor.quota(wait, self.rounds.held_by_quota)
        if news:
            self.parts.teller.tell(news)


def write_progress(parts: RunParts) -> None:
    """The picture as a file for scripts, if one was asked for."""
    file = parts.progress_file
    trouble = "" if file is None else file.write(parts.monitor.snapshot())
    if trouble:
        parts.teller.printer.note(f"the progress file could not be written: {trouble}")
