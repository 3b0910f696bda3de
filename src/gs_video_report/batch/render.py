"""`gsvr batch render`: the finished reports of a batch anew, with another template. No call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from gs_video_report.batch.data_models import TaskResult, TaskStatus, VideoTask
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.errors import FatalError, GsvrError
from gs_video_report.report.paths import output_paths, pattern_of
from gs_video_report.report.rerender import rerender
from gs_video_report.templates.loader import Template, load_template


@dataclass(slots=True)
class RenderReport:
    """What was rendered."""

    rendered: int = 0
    problems: list[tuple[str, GsvrError]] = field(default_factory=list)
    """(task ref, why not)."""


async def render_batch(
    queue: TaskQueue,
    ref: str,
    compute: ComputeBackend,
    template_name: str | None,
    on_done: Callable[[int, int], None],
) -> RenderReport:
    """Render every finished report of the batch.

    Args:
        template_name: another template; its reports go to that template's own folders, and those
            that are there stay. None renders each task's own template anew, in place.
        on_done: called with (rendered, all) after each report.

    Raises: NotFoundError, TemplateError, FatalError (disk full).
    """
    row = await queue.get_batch(ref)
    report = RenderReport()
    counts = await queue.counts(row.batch_id)
    total = counts.completed + counts.skipped
    known: dict[str, Template] = {}

    async def one(task: VideoTask, result: TaskResult) -> None:
        name = template_name or task.template
        known[name] = known.get(name) or load_template(name, row.options.user_templates)
        directory, stem = output_paths(
            task.video.relative_path or Path(task.video.source).name,
            name,
            pattern_of(row.options.output_pattern, name, row.options.template),
            seq=task.seq,
            batch=task.batch_id,
            output_name=task.video.output_name,
        )
        source = next((o.path for o in result.outputs if o.kind == "json"), "")
        outputs = await compute.run(
            rerender,
            str(Path(row.options.output_dir) / source),
            known[name],
            list(row.options.formats),
            row.options.output_dir,
            directory,
            stem,
        )
        if template_name in (None, task.template):
            await queue.replace_result(task, replace(result, outputs=tuple(outputs)))
        report.rendered += 1
        on_done(report.rendered, total)

    async for task in queue.iter_tasks(row.batch_id, {TaskStatus.COMPLETED, TaskStatus.SKIPPED}):
        if task.result is None:
            continue
        try:
            await one(task, task.result)
        except FatalError:
            raise
        except GsvrError as error:
            report.problems.append((task.ref, error))
    return report
