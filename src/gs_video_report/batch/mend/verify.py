"""`gsvr batch verify`: are the reports of a batch on disk as they were written?

Truth: sizes and SHA-256 in the rows of finished tasks, also of what was rendered with other
templates. Reads only; `repair` mends.
Memory holds what is wrong, never the files.
Raises: NotFoundError, and what `Database` raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from gs_video_report.batch.data_models import (
    FILES,
    BatchRow,
    BatchStatus,
    TaskResult,
    VideoTask,
)
from gs_video_report.batch.mend.outputs import verify_outputs, verify_renderings
from gs_video_report.batch.mend.quality import DONE
from gs_video_report.batch.run.finisher import INDEX
from gs_video_report.batch.task_queue import TaskQueue


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found."""

    row: BatchRow
    checked: int
    """Finished reports."""
    problems: tuple[tuple[str, str], ...]
    """(task ref, what is wrong)."""
    damaged: tuple[VideoTask, ...]
    """Their tasks, and those that a command was writing anew when it ended."""
    pages: str
    """What is wrong with the library page; empty when nothing is."""
    database: tuple[str, ...]
    """Problems of the database file itself."""

    @property
    def is_sound(self) -> bool:
        """Nothing has to be mended."""
        return not (self.problems or self.pages or self.database)


async def verify(queue: TaskQueue, ref: str) -> Verified:
    """Compare the files of each finished report, and look for the library page."""
    row = await queue.get_batch(ref)
    checked = 0
    problems: list[tuple[str, str]] = []
    damaged: list[VideoTask] = []
    async for task in queue.iter_tasks(row.batch_id, set(DONE)):
        if task.result is None:
            continue
        checked += 1
        found = await asyncio.to_thread(_problems, task.result, Path(row.options.output_dir))
        problems.extend((task.ref, text) for text in found)
        if found or task.result.rewriting == FILES:
            damaged.append(task)
    pages = await _pages_problem(queue, row, checked)
    database = tuple(await queue.db.problems())
    return Verified(row, checked, tuple(problems), tuple(damaged), pages, database)


def _problems(result: TaskResult, output_dir: Path) -> list[str]:
    renderings = verify_renderings(result, output_dir).values()
    return [*verify_outputs(result, output_dir), *chain.from_iterable(renderings)]


async def cut_off(queue: TaskQueue, batch_id: str) -> Sequence[VideoTask]:
    """Tasks whose report a command was writing anew when it ended; `batch_id` is the full id."""
    return [
        task
        async for task in queue.iter_tasks(batch_id, set(DONE))
        if task.result is not None and task.result.rewriting == FILES
    ]


async def _pages_problem(queue: TaskQueue, row: BatchRow, checked: int) -> str:
    if await queue.pages_are_older(row.batch_id):
        return f"{INDEX}: is older than the reports"
    page = Path(row.options.output_dir) / INDEX
    if row.status is BatchStatus.COMPLETED and checked and not await asyncio.to_thread(page.exists):
        return f"{INDEX}: is missing"
    return ""
