"""What is written for a whole batch when a run ends: library page, summary, error report.

Streams: tasks are paged from the database into a JSON-lines file in the cache, and the pages are
built from it in a compute process. Nothing here changes a state.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gs_video_report.batch.data_models import BatchRow, VideoTask
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeBackend


@dataclass(frozen=True, slots=True)
class BatchPages:
    """Paths of what was written, absolute; None when there was no reason to write it."""

    index: str | None = None
    summary: str | None = None
    errors: str | None = None


async def write_batch_pages(
    queue: TaskQueue, row: BatchRow, compute: ComputeBackend, cache: ArtifactStore
) -> BatchPages:
    """Write `index.html`, `summary-<batch>.md/.json` and `errors-<batch>.md/.json`.

    Raises: DiskFullError, OutputNotWritable.
    """
    from gs_video_report.report.batch_pages import build_pages

    work = cache.work_dir(f"pages-{row.batch_id}")
    work.mkdir(parents=True, exist_ok=True)
    listing = work / "tasks.jsonl"
    try:
        with listing.open("w", encoding="utf-8") as file:
            async for task in queue.iter_tasks(row.batch_id):
                file.write(json.dumps(_entry(task)) + "\n")
        counts = await queue.counts(row.batch_id)
        made: dict[str, Any] = await compute.run(
            build_pages, _batch(row), asdict(counts), str(listing), row.options.output_dir
        )
    finally:
        cache.remove_work_dir(work.name)
    return BatchPages(**made)


def _batch(row: BatchRow) -> dict[str, Any]:
    return {
        "batch_id": row.batch_id,
        "name": row.name,
        "template": row.options.template,
        "engine": row.options.engine,
        "created_at": row.created_at,
        "tool_version": row.tool_version,
        "template_dir": row.options.template_dir,
    }


def _entry(task: VideoTask) -> dict[str, Any]:
    result = task.result
    return {
        "ref": task.ref,
        "seq": task.seq,
        "status": str(task.status),
        "name": task.video.relative_path or Path(task.video.source).name,
        "source": task.video.source,
        "template": task.template,
        "media_s": task.media_s,
        "attempt": task.attempt,
        "error": asdict(task.error) if task.error else None,
        "outputs": [o.path for o in result.outputs] if result else [],
        "warnings": list(result.warnings) if result else [],
        "engine": result.engine if result else "",
        "language": result.language if result else "",
        "usd": result.usage.usd if result else 0.0,
        "seconds": round(sum(result.stage_s.values()), 3) if result else None,
    }
