"""What is written for a whole batch when a run ends: library page, summary, error report.

Streams: tasks are paged from the database into a JSON-lines file in the cache, and the pages are
built from it in a compute process. Nothing here changes a state.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

import aiofiles

from gs_video_report.batch.data_models import BatchRow, TaskResult, TaskStatus, VideoTask
from gs_video_report.batch.queue.event_reads import worked_s
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.again import again
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.errors import GsvrError
from gs_video_report.templates.loader import load_template

INDEX = "index.html"
"""Name of the library page in the output folder."""
MAX_BATCHES = 1000
"""Batches that the library page looks through for reports in the same folder."""


@dataclass(frozen=True, slots=True)
class BatchPages:
    """Paths of what was written, absolute; None when there was no reason to write it."""

    index: str | None = None
    summary: str | None = None
    errors: str | None = None


async def write_batch_pages(
    queue: TaskQueue,
    row: BatchRow,
    compute: ComputeBackend,
    cache: ArtifactStore,
    command_tail: str = "",
) -> BatchPages:
    """Write `index.html`, `summary-<batch>.md/.json` and `errors-<batch>.md/.json`.

    The library page shows this batch and the reports that earlier batches put into the same
    output folder. `command_tail` ends the commands that the pages name. The time that is told is
    that of all runs, since the recordings are those of all runs; without it no speed is told.

    Raises: DiskFullError, OutputNotWritable.
    """
    from gs_video_report.report.batch_pages import build_pages

    with cache.temp_file() as listing:  # another process may finish the same batch at this moment
        async with aiofiles.open(listing, "w", encoding="utf-8") as file:
            async for task in _library_tasks(queue, row):
                await file.write(json.dumps(_entry(task, row.batch_id)) + "\n")
        counts = await queue.counts(row.batch_id)
        elapsed_s = await worked_s(queue.db, row.batch_id, time.time())
        facts = _batch(row, elapsed_s) | {"command_tail": command_tail}
        made = await again(
            lambda: compute.run(
                build_pages, facts, asdict(counts), str(listing), row.options.output_dir
            )
        )
    await queue.pages_written(row.batch_id)
    return BatchPages(**made)


async def settle(
    queue: TaskQueue,
    row: BatchRow,
    compute: ComputeBackend,
    cache: ArtifactStore,
    command_tail: str,
    reason: str,
) -> list[tuple[str, GsvrError]]:
    """A checkpoint (with `reason`) and the pages, after reports of an ended batch were changed.

    Returns: the batch with the error when the pages could not be written; the reports are there.
    """
    from gs_video_report.batch.checkpoint_manager import CheckpointManager

    await CheckpointManager(queue).write(row.batch_id, reason)
    try:
        await write_batch_pages(queue, row, compute, cache, command_tail)
    except GsvrError as error:
        return [(row.batch_id, error)]
    return []


async def _library_tasks(queue: TaskQueue, row: BatchRow) -> AsyncIterator[VideoTask]:
    """Tasks of this batch, then finished ones of others with the same output folder."""
    shown: set[str] = set()
    async for task in queue.iter_tasks(row.batch_id):
        shown.add(_report_of(task))
        yield task
    done = {TaskStatus.COMPLETED, TaskStatus.SKIPPED}
    for other, _ in await queue.list_batches(MAX_BATCHES):
        same_place = other.options.output_dir == row.options.output_dir
        if not same_place or other.batch_id == row.batch_id:
            continue
        async for task in queue.iter_tasks(other.batch_id, done):
            report = _report_of(task)
            if report and report not in shown:
                shown.add(report)
                yield task


def _report_of(task: VideoTask) -> str:
    """Path of the task's JSON report below the output folder; empty without one."""
    outputs = task.result.outputs if task.result else ()
    return next((o.path for o in outputs if o.kind == "json"), "")


def _batch(row: BatchRow, elapsed_s: float | None) -> dict[str, Any]:
    template = load_template(row.options.template, row.options.user_templates)
    return {
        "batch_id": row.batch_id,
        "name": row.name,
        "template": row.options.template,
        "engine": row.options.engine,
        "created_at": row.created_at,
        "tool_version": row.tool_version,
        "language": template.language,
        "elapsed_s": None if elapsed_s is None else round(elapsed_s, 1),
    }


def _entry(task: VideoTask, batch_id: str) -> dict[str, Any]:
    result = task.result
    return {
        "current": task.batch_id == batch_id,
        "ref": task.ref,
        "seq": task.seq,
        "status": str(task.status),
        "name": task.video.known_as,
        "source": task.video.source,
        "template": task.template,
        "media_s": task.media_s,
        "attempt": task.attempt,
        "error": asdict(task.error) if task.error else None,
        "outputs": [o.path for o in result.outputs] if result else [],
        "renderings": _renderings(result) if result else {},
        "warnings": list(result.warnings) if result else [],
        "engine": result.engine if result else "",
        "language": result.language if result else "",
        "usd": result.usage.usd if result else 0.0,
        "usd_reused": result.reused.usd if result else 0.0,
        "seconds": round(sum(result.stage_s.values()), 3) if result else None,
    }


def _renderings(result: TaskResult) -> dict[str, list[str]]:
    return {
        template: [file.path for file in files if file.kind != "asset"]
        for template, files in result.renderings.items()
    }
