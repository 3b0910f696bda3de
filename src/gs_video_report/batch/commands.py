"""What the commands other than `process` do to batches: list, status, pause, retry, export.

Each function is one use of the queue and returns plain values; the CLI prints them.
Never: prints, decides exit codes beyond what its errors carry.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass, field, replace
from os.path import exists
from pathlib import Path
from typing import Any

from gs_video_report.batch.checkpoint_manager import CheckpointManager, default_directory
from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchRow,
    BatchStatus,
    Doubt,
    InputType,
    TaskStatus,
    VideoTask,
)
from gs_video_report.batch.queue.doubt import doubt_of
from gs_video_report.batch.queue.event_reads import living, run_hint, runs
from gs_video_report.batch.store.process_lock import is_alive, process_of
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import FileMissingError, NotFoundError, UsageError


@dataclass(frozen=True, slots=True)
class BatchState:
    """A batch as people want to see it."""

    row: BatchRow
    counts: BatchCounts
    live: bool
    """A process works on it now."""
    doubt: Doubt = field(default_factory=Doubt)
    hint: str = ""
    """What to do about the reason of the pause; empty when it is not paused, or not known."""

    @property
    def word(self) -> str:
        """State in one word; a running batch without a process was interrupted."""
        if self.row.status is BatchStatus.RUNNING and not self.live:
            return "interrupted"
        return str(self.row.status)


async def batch_state(queue: TaskQueue, ref: str) -> BatchState:
    """State of the batch `ref`. Raises: NotFoundError, UsageError when ambiguous."""
    row = await queue.get_batch(ref)
    state = await _state(queue, row, await queue.counts(row.batch_id))
    hint = await run_hint(queue.db, row.batch_id) if row.status is BatchStatus.PAUSED else ""
    return replace(state, hint=hint, doubt=await doubt_of(queue.db, row.batch_id))


async def batch_states(queue: TaskQueue, limit: int = 50) -> list[BatchState]:
    """The newest batches first."""
    return [await _state(queue, row, counts) for row, counts in await queue.list_batches(limit)]


async def _state(queue: TaskQueue, row: BatchRow, counts: BatchCounts) -> BatchState:
    live = False
    if row.status is BatchStatus.RUNNING:
        async for task in queue.iter_tasks(row.batch_id, {TaskStatus.RUNNING}):
            worker = task.worker_id or ""
            live = live or is_alive(queue.db.path, process_of(worker))
        if not live:  # between two tasks, waiting for a retry, or writing the last pages
            live = bool(living(queue.db, await runs(queue.db, row.batch_id)))
        if not live:  # started by an older version, which recorded no runs
            last = await queue.latest_worker(row.batch_id)
            live = last is not None and is_alive(queue.db.path, process_of(last))
        if not live:  # nobody does them: they wait for the next run
            counts = replace(counts, pending=counts.pending + counts.running, running=0)
    return BatchState(row, counts, live)


def restorable(db_path: Path) -> int:
    """Batches that have checkpoints beside a database that is not there (any more)."""
    return len(CheckpointManager(None, default_directory(db_path)).batch_ids())


async def pause(queue: TaskQueue, ref: str) -> BatchState:
    """Ask the processes of a batch to stop after the steps in flight; resumable."""
    row = await queue.get_batch(ref)
    if row.status is not BatchStatus.RUNNING:
        raise UsageError(
            f"batch {row.batch_id} is {row.status}, so there is nothing to pause",
            hint="see: gsvr batch list",
        )
    await queue.set_batch_status(row.batch_id, BatchStatus.PAUSED, reason="paused on request")
    return await batch_state(queue, row.batch_id)


async def cancel_task(queue: TaskQueue, ref: str) -> BatchState:
    """End one task (`batch:seq`): a waiting one at once, a running one when its worker hears of it.

    Raises: NotFoundError; UsageError when it has ended already.
    """
    task = await queue.get_task(ref)
    if not await queue.request_cancel(task):
        raise UsageError(
            f"task {task.ref} is {task.status}, so there is nothing to cancel",
            hint=f"see: gsvr batch show {task.ref}",
        )
    return await batch_state(queue, task.batch_id)


async def cancel(queue: TaskQueue, ref: str) -> tuple[BatchState, int]:
    """End a batch: waiting tasks are cancelled, running ones are told to stop."""
    row = await queue.get_batch(ref)
    if row.status is BatchStatus.COMPLETED:
        raise UsageError(f"batch {row.batch_id} is completed, so there is nothing to cancel")
    await queue.set_batch_status(row.batch_id, BatchStatus.CANCELLED, reason="cancelled on request")
    await queue.request_cancel(row.batch_id)
    ended = await queue.cancel_pending(row.batch_id)
    return await batch_state(queue, row.batch_id), ended


async def retry(queue: TaskQueue, ref: str, *, failed: bool) -> tuple[str, int]:
    """Put ended tasks back: one task (`batch:seq`), or the failed ones of a batch.

    The report of a finished task stays its report until the new one is there.

    Returns: the batch id and how many tasks wait again.
    Raises: NotFoundError; UsageError (the task runs anyway); FileMissingError (a finished task
        whose recording is gone: no new report could be made).
    """
    if ":" in ref:
        task = await queue.get_task(ref)
        if task.status in (TaskStatus.PENDING, TaskStatus.RUNNING, TaskStatus.RETRYING):
            raise UsageError(f"task {task.ref} is {task.status}; it will run anyway")
        if task.result is not None:
            await _check_there(task)
        count = await queue.requeue(
            task.batch_id,
            statuses={task.status},
            task_ids=[task.task_id],
            reason="retry",
            keep_result=True,
        )
        return task.batch_id, count
    row = await queue.get_batch(ref)
    statuses = {TaskStatus.FAILED} if failed else {TaskStatus.FAILED, TaskStatus.CANCELLED}
    return row.batch_id, await queue.requeue(row.batch_id, statuses=statuses, reason="retry")


async def _check_there(task: VideoTask) -> None:
    source = task.video.source
    if task.video.input_type is InputType.FILE and not await asyncio.to_thread(exists, source):
        raise FileMissingError(
            f"{source}: the recording is not there any more, so no new report can be made; the "
            "report that there is stays",
            hint=f"put the recording back, then: gsvr batch retry {task.ref}",
        )


# --- export ------------------------------------------------------------------------------------

EXPORT_FIELDS: tuple[str, ...] = (
    "ref",
    "name",
    "source",
    "status",
    "template",
    "priority",
    "attempt",
    "media_s",
    "language",
    "engine",
    "seconds",
    "usd",
    "usd_reused",
    "started_at",
    "finished_at",
    "error_code",
    "error",
    "json",
    "markdown",
    "html",
    "srt",
    "vtt",
)


def export_row(task: VideoTask) -> dict[str, Any]:
    """One task as flat fields; times are ISO-8601 UTC, `media_s` and `seconds` seconds."""
    result = task.result
    paths = {o.kind: o.path for o in result.outputs} if result else {}
    return {
        "ref": task.ref,
        "name": task.video.known_as,
        "source": task.video.source,
        "status": str(task.status),
        "template": task.template,
        "priority": task.priority,
        "attempt": task.attempt,
        "media_s": task.media_s,
        "language": result.language if result else "",
        "engine": result.engine if result else "",
        "seconds": round(sum(result.stage_s.values()), 3) if result else None,
        "usd": result.usage.usd if result else 0.0,
        "usd_reused": result.reused.usd if result else 0.0,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "error_code": task.error.code if task.error else "",
        "error": task.error.message if task.error else "",
        **{kind: paths.get(kind, "") for kind in ("json", "markdown", "html", "srt", "vtt")},
    }


async def export_csv(tasks: AsyncIterator[VideoTask]) -> AsyncIterator[str]:
    """CSV text line by line, header first; cells that a spreadsheet would run are defused."""
    yield _csv_line(EXPORT_FIELDS)
    async for task in tasks:
        row = export_row(task)
        yield _csv_line([_defused(row[name]) for name in EXPORT_FIELDS])


async def export_json(tasks: AsyncIterator[VideoTask]) -> AsyncIterator[str]:
    """One JSON object per line."""
    async for task in tasks:
        yield json.dumps(export_row(task), ensure_ascii=True) + "\n"


def _csv_line(cells: Iterable[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(["" if c is None else c for c in cells])
    return buffer.getvalue()


def _defused(value: Any) -> Any:
    """A text that starts like a formula gets a leading apostrophe (OWASP, CSV injection)."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


async def task_details(queue: TaskQueue, ref: str) -> dict[str, Any]:
    """Everything about one task: row, attempts, events. Raises: NotFoundError."""
    task = await queue.get_task(ref)
    if task is None:
        raise NotFoundError(f"no task {ref}")
    return {
        "task": task,
        "attempts": await queue.attempts(task.task_id),
        "events": await queue.events_of(task),
        "result": asdict(task.result) if task.result else None,
    }
