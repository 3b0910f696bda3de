"""What the summary of a batch reads from the queue: failures by cause, and what is kept."""

from __future__ import annotations

from gs_video_report.batch.data_models import TaskStatus
from gs_video_report.batch.progress.snapshot import display_name
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.terminal.failures import FailureGroup, group_failures
from gs_video_report.terminal.summary import KeptWork


async def failure_groups(queue: TaskQueue, batch_id: str) -> tuple[FailureGroup, ...]:
    """Failed tasks of a batch by cause."""
    failed = [
        (display_name(t), t.error)
        async for t in queue.iter_tasks(batch_id, {TaskStatus.FAILED})
        if t.error is not None
    ]
    return group_failures(failed)


async def kept_work(queue: TaskQueue, batch_id: str) -> KeptWork:
    """Journaled steps of videos that are not finished: a resume does not run them again."""
    videos, steps = await queue.kept_steps(batch_id)
    return KeptWork(videos, steps)
