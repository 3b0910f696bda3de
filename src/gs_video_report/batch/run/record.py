"""What one run leaves in the events of its batch: start, end, and what happened beside the tasks.

Truth: the table `events`. `run.started` is written before the batch is marked running and
`run.ended` after all else, so a run without an end is one whose process works or died.
True here: `keep()` returns at once; what it was given is written in order, and by `ended()` at the
latest. A row that cannot be written is not worth the batch: the run goes on without it.
Never: prints, changes a task or batch.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gs_video_report.batch.data_models import BatchResult
from gs_video_report.batch.queue.event_reads import RUN_ENDED, RUN_STARTED
from gs_video_report.batch.store.clock import utc_now
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import GsvrError


@dataclass(slots=True)
class RunRecord:
    """The record of one run. One event loop."""

    queue: TaskQueue
    batch_id: str
    process_id: str
    """The id of this process's lock."""
    changes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Changes of concurrency: (time as ISO-8601, facts), oldest first."""
    _writes: set[asyncio.Task[None]] = field(default_factory=set)

    async def started(self, *, engine: str, parallel: int, processes: int) -> None:
        """The run begins."""
        facts = {"engine": engine, "parallel": parallel, "processes": processes, "pid": os.getpid()}
        await self._add(RUN_STARTED, {"process": self.process_id, **facts})

    async def ended(self, result: BatchResult, message: str, summary: str | None) -> None:
        """The run is over; `message` says why if it ended early."""
        await self.flush()
        facts = {
            "exit_code": int(result.exit_code),
            "state": str(result.status),
            "message": message,
            "elapsed_s": round(result.elapsed_s, 3),
            "report_index": result.report_index,
            "error_report": result.error_report,
            "summary": summary,
            "hint": result.hint,
            "remarks": list(result.remarks),
        }
        await self._add(RUN_ENDED, {"process": self.process_id, **facts})

    def keep(self, kind: str, data: Mapping[str, Any]) -> None:
        """Write an event beside the work."""
        if kind == "tuning":
            self.changes.append((utc_now(), dict(data)))
        write = asyncio.ensure_future(self._add(kind, data))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def flush(self) -> None:
        """Wait for what `keep()` was given."""
        if self._writes:
            await asyncio.wait(set(self._writes))

    async def _add(self, kind: str, data: Mapping[str, Any]) -> None:
        try:
            await self.queue.add_event(self.batch_id, kind, dict(data))
        except GsvrError:
            return  # the same trouble meets the tasks, which report it
