"""Checkpoints beside the work of a run: one at the start, more as `Cadence` asks for them.

The last one, at the end of the run, is taken by the end itself.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from gs_video_report.batch.checkpoint.cadence import Cadence
from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.progress_monitor import ProgressMonitor

FIRST_CHECKPOINT_S = 0.3
"""Seconds that the work waits for the first checkpoint; a large one is taken beside the work."""
LOOK_S = 0.5
"""Seconds between looks whether one is due."""


@dataclass(slots=True)
class RunCheckpoints:
    """See the module's header."""

    manager: CheckpointManager
    batch_id: str
    cadence: Cadence

    async def first(self) -> asyncio.Task[Any]:
        """Taken before the work begins, or, in a large batch, while it begins."""
        first = asyncio.create_task(self.manager.write(self.batch_id, "start"))
        try:
            await asyncio.wait({first}, timeout=FIRST_CHECKPOINT_S)
        except asyncio.CancelledError:
            first.cancel()
            raise
        if first.done():
            first.result()
        return first

    async def follow(self, first: asyncio.Task[Any], monitor: ProgressMonitor) -> None:
        """Take checkpoints until cancelled."""
        began = time.monotonic()
        await first
        self.cadence.taken(began, time.monotonic())
        while True:
            await asyncio.sleep(LOOK_S)
            began = time.monotonic()
            reason = self.cadence.due(began, monitor.snapshot().counts.total)
            if reason is not None:
                await self.manager.write(self.batch_id, reason)
                self.cadence.taken(began, time.monotonic())
