"""The quality of all finished reports of a batch, worst first: `gsvr batch quality`.

Truth: the JSON reports on disk, read in compute processes; tasks come from the queue. Nothing is
written. Memory holds the judgements, never the reports.
Raises: NotFoundError for an unknown batch or task; what a compute process raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gs_video_report.batch.data_models import BatchRow, TaskResult, TaskStatus, VideoTask
from gs_video_report.batch.progress.snapshot import display_name
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.compute.again import again
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines.bounded import bounded
from gs_video_report.report.quality import Quality, compare, worst_first
from gs_video_report.report.quality_files import assess_files

DONE = frozenset({TaskStatus.COMPLETED, TaskStatus.SKIPPED})
_AT_ONCE = 16
"""Reports per call of a compute process."""
_CALLS = 4
"""Calls in flight, so that every process has the next one waiting."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One finished task and its quality."""

    task: VideoTask
    quality: Quality

    @property
    def name(self) -> str:
        """How people know the recording."""
        return display_name(self.task)


@dataclass(frozen=True, slots=True)
class BatchQuality:
    """What triage found."""

    row: BatchRow
    judged: tuple[Judged, ...]
    """Worst first."""
    unread: tuple[tuple[VideoTask, str], ...]
    """Finished tasks whose report cannot be judged, and why."""


async def batch_quality(
    queue: TaskQueue,
    ref: str,
    compute: ComputeBackend,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> BatchQuality:
    """Judge every finished report of the batch `ref`.

    For a task (`7f3a:17`) the whole batch is judged all the same, since the pace is a matter of
    the batch, and only that one is returned. `on_done` is called with (judged, all).
    """
    only = ref if ":" in ref else ""
    wanted = await queue.get_task(only) if only else None
    row = await queue.get_batch(wanted.batch_id if wanted else ref)
    tasks = [t async for t in queue.iter_tasks(row.batch_id, set(DONE)) if t.result is not None]
    found = await _assess(tasks, row, compute, on_done)
    qualities = compare({ref: q for ref, q in found.items() if isinstance(q, Quality)})
    by_ref = {task.ref: task for task in tasks}
    judged = [Judged(by_ref[ref], quality) for ref, quality in worst_first(qualities)]
    unread = [(by_ref[ref], why) for ref, why in found.items() if isinstance(why, str)]
    return BatchQuality(
        row,
        tuple(j for j in judged if wanted is None or j.task.task_id == wanted.task_id),
        tuple((t, why) for t, why in unread if wanted is None or t.task_id == wanted.task_id),
    )


def json_of(result: TaskResult | None) -> str:
    """Path of the JSON report below the output folder; empty without one."""
    return next((o.path for o in result.outputs if o.kind == "json"), "") if result else ""


async def _assess(
    tasks: Sequence[VideoTask],
    row: BatchRow,
    compute: ComputeBackend,
    on_done: Callable[[int, int], None],
) -> dict[str, Quality | str]:
    found: dict[str, Quality | str] = {}

    async def some(part: list[VideoTask]) -> None:
        paths = [str(Path(row.options.output_dir) / json_of(task.result)) for task in part]
        values = await again(lambda: compute.run(assess_files, paths))
        found.update(zip((task.ref for task in part), values, strict=True))
        on_done(len(found), len(tasks))

    await bounded((some(part) for part in _parts(tasks)), limit=_CALLS)
    return {task.ref: found[task.ref] for task in tasks}


def _parts(tasks: Iterable[VideoTask]) -> Iterator[list[VideoTask]]:
    rest = iter(tasks)
    while part := list(islice(rest, _AT_ONCE)):
        yield part
