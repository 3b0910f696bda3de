"""`gsvr batch render`: the finished reports of a batch anew, with another template. No call.

Truth: the JSON file of each report; what was written is stored with its task, so that the library
page can list it.
A report that is written in its place is announced first (`rewrite`), and only when it is known that
it can be read: what cannot be rendered is left as it is, and its row too.
Its caller holds the batch alone (`batch_lock.rewriting`): whole results are stored.
One report that cannot be rendered does not stop the others; a template that is not there stops
all of them before the first.
Never: asks an engine, changes the state of a task.
Raises: NotFoundError, TemplateError, FatalError (disk full).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gs_video_report.batch.data_models import (
    PAGES,
    BatchOptions,
    OutputFile,
    TaskResult,
    VideoTask,
)
from gs_video_report.batch.mend.quality import DONE
from gs_video_report.batch.mend.rewrite import announce
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.errors import FatalError, FileMissingError, GsvrError, TemplateError
from gs_video_report.report.paths import output_paths, pattern_of
from gs_video_report.report.rerender import check_source, rerender
from gs_video_report.report.writer import check_formats
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
    template_dir: Path | None = None,
) -> RenderReport:
    """Render every finished report of the batch.

    Args:
        template_name: another template; its reports go to that template's own folders, and those
            that are there stay. None renders each task's own template anew, in place.
        on_done: called with (rendered, all) after each report.
        template_dir: the user's templates of today; those of the batch are looked for as well.

    Raises: NotFoundError, TemplateError (there is no `template_name`), FatalError (disk full).
    """
    row = await queue.get_batch(ref)
    shelf = Shelf(row.options, template_dir, template_name)
    if template_name is not None:
        shelf.template(template_name)
    report = RenderReport()
    counts = await queue.counts(row.batch_id)
    total = counts.completed + counts.skipped
    async for task in queue.iter_tasks(row.batch_id, set(DONE)):
        if task.result is None:
            continue
        try:
            template = shelf.template(template_name or task.template)
            outputs = await _render(queue, task, task.result, template, row.options, compute)
            result = _with_files(task.result, template.name, task.template, outputs)
            await queue.replace_result(task, result)
        except FatalError:
            raise
        except GsvrError as error:
            report.problems.append((task.ref, error))
            continue
        report.rendered += 1
        on_done(report.rendered, total)
    return report


def _with_files(
    result: TaskResult, template: str, own_template: str, outputs: Sequence[OutputFile]
) -> TaskResult:
    """The result with what was written: its own files anew, or a rendering beside them."""
    if template == own_template:
        return replace(result, outputs=tuple(outputs), rewriting=PAGES)
    return replace(result, renderings={**result.renderings, template: tuple(outputs)})


class Shelf:
    """Where templates are looked for, and those that were read.

    A template that the user names is one of today's; a task's own is first one of its batch.
    """

    def __init__(
        self, options: BatchOptions, today: Path | None = None, named: str | None = None
    ) -> None:
        of_batch = options.user_templates
        self._folders: Sequence[Path | None] = (of_batch, today) if not named else (today, of_batch)
        self._read: dict[str, Template] = {}

    def template(self, name: str) -> Template:
        """The template called `name`. Raises: TemplateError."""
        if name not in self._read:
            given = [folder for folder in self._folders if folder is not None]
            holding = [folder for folder in given if (folder / f"{name}.yaml").is_file()]
            self._read[name] = load_template(name, next(iter(holding or given), None))
        return self._read[name]


async def render_beside(
    task: VideoTask, template: Template, options: BatchOptions, compute: ComputeBackend
) -> TaskResult:
    """Write what was rendered with another template anew; the result of the task, with that.

    Raises: FileMissingError, PermanentError (the JSON of the report), TemplateError, FatalError.
    """
    result = task.result or TaskResult()
    kinds = {file.kind for file in result.renderings.get(template.name, ())} - {"asset", ""}
    outputs = await compute.run(
        rerender,
        _json_path(result, options),
        template,
        list(check_formats({*options.formats, *kinds})),
        options.output_dir,
        *_place(task, template, options),
    )
    return _with_files(result, template.name, task.template, outputs)


def _json_path(result: TaskResult, options: BatchOptions) -> str:
    source = next((o.path for o in result.outputs if o.kind == "json"), None)
    if source is None:
        raise FileMissingError(
            "the report has no JSON file to be rendered from", hint="gsvr batch verify --repair"
        )
    return str(Path(options.output_dir) / source)


async def _render(
    queue: TaskQueue,
    task: VideoTask,
    result: TaskResult,
    template: Template,
    options: BatchOptions,
    compute: ComputeBackend,
) -> Sequence[OutputFile]:
    """Write one report; the files that it has now."""
    path = _json_path(result, options)
    if template.name == task.template:
        await compute.run(check_source, path)
        await announce(queue, task)
    try:
        return await compute.run(
            rerender,
            path,
            template,
            list(options.formats),
            options.output_dir,
            *_place(task, template, options),
        )
    except TemplateError:  # all files are rendered before the first is written
        await queue.replace_result(task, result)
        raise


def _place(task: VideoTask, template: Template, options: BatchOptions) -> tuple[str, str]:
    """Folder below the output folder, and stem, of a report with another template."""
    return output_paths(
        task.video.relative_path or Path(task.video.source).name,
        template.name,
        pattern_of(options.output_pattern, template.name, options.template),
        seq=task.seq,
        batch=task.batch_id,
        output_name=task.video.output_name,
    )
