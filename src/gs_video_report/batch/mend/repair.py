"""`gsvr batch verify --repair`: damaged reports are made whole again; their tasks stay finished.

Order of ways: from the JSON of the report, while that is as it was written (no recording, no
engine); from the journaled steps of its content (no recording, no line); on this machine from the
recording, while that is the same: an address whose file is not cached any more is downloaded again
for that. A report that none of them brings back keeps its task, its result and what there is of
its files. What was rendered with other templates is written anew from the JSON.
Its caller holds the batch alone (`batch_lock.rewriting`).
Never: asks a service about a recording, puts a task back into the queue, makes a report of another
content.
Raises: DiskFullError, OutputNotWritable; what a compute process raises beyond a recording.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gs_video_report.batch.attempt.errors import known_errors
from gs_video_report.batch.data_models import (
    FILES,
    PAGES,
    BatchRow,
    OutputFile,
    TaskResult,
    VideoTask,
)
from gs_video_report.batch.mend.outputs import verify_outputs, verify_renderings
from gs_video_report.batch.mend.quality import json_of
from gs_video_report.batch.mend.render import Shelf, render_beside
from gs_video_report.batch.mend.rewrite import EngineOf, InPlace, announce, result_of
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines.base import Engine
from gs_video_report.engines.bounded import bounded
from gs_video_report.errors import (
    DiskFullError,
    GsvrError,
    OutputNotWritable,
    ReportDamaged,
)
from gs_video_report.report.rerender import make_sound, rerender
from gs_video_report.report.writer import check_formats

LOCAL = "local"


@dataclass(slots=True)
class Repaired:
    """What became of damaged reports."""

    mended: list[str] = field(default_factory=list)
    """References of tasks whose report is whole again."""
    left: list[tuple[str, GsvrError]] = field(default_factory=list)
    """(task ref, why not): what is there of them was left alone."""


class Mender:
    """Makes damaged reports of one batch whole."""

    def __init__(
        self,
        queue: TaskQueue,
        row: BatchRow,
        compute: ComputeBackend,
        cache: ArtifactStore,
        engine_of: EngineOf,
        template_dir: Path | None = None,
    ) -> None:
        self._queue, self._options = queue, row.options
        self._compute, self._cache = compute, cache
        self._engine_of = engine_of
        self._shelf = Shelf(row.options)
        self._named = Shelf(row.options, template_dir, "those of renderings")
        self._ways: dict[tuple[str, bool], InPlace] = {}

    async def mend_all(
        self,
        tasks: Sequence[VideoTask],
        on_done: Callable[[int, int], None] = lambda done, total: None,
    ) -> Repaired:
        """Mend each, several at a time. Raises: DiskFullError, OutputNotWritable."""
        found = Repaired()

        async def one(task: VideoTask) -> None:
            try:
                await known_errors(self._mend(task))
                found.mended.append(task.ref)
            except (DiskFullError, OutputNotWritable):
                raise
            except GsvrError as error:
                found.left.append((task.ref, error))
            on_done(len(found.mended) + len(found.left), len(tasks))

        await bounded((one(task) for task in tasks), limit=max(1, self._options.parallel))
        return found

    async def _mend(self, task: VideoTask) -> None:
        """The report first: what was rendered with other templates is made from it."""
        result, root = result_of(task), Path(self._options.output_dir)
        damaged = await asyncio.to_thread(verify_outputs, result, root)
        if damaged or result.rewriting == FILES:
            await self._mend_report(task)
            task = await self._queue.get_task(task.ref)
        for name in await asyncio.to_thread(verify_renderings, result_of(task), root):
            template = self._named.template(name)
            made = await render_beside(task, template, self._options, self._compute)
            task = replace(task, result=replace(made, rewriting=PAGES))
            await self._queue.replace_result(task, result_of(task))

    async def _mend_report(self, task: VideoTask) -> None:
        """Raises: why the last way did not lead to the report."""
        try:
            await known_errors(self._from_json(task))
        except (DiskFullError, OutputNotWritable):
            raise
        except GsvrError:
            await self._anew(task)

    # --- from the JSON --------------------------------------------------------------------------

    async def _from_json(self, task: VideoTask) -> None:
        result, root = result_of(task), self._options.output_dir
        source = next((o for o in result.outputs if o.kind == "json"), None)
        if source is None:
            raise ReportDamaged("the report has no JSON file")
        path = str(Path(root) / source.path)
        sha256 = "" if result.rewriting == FILES else source.sha256
        template = self._shelf.template(task.template)
        await self._compute.run(
            make_sound, path, template.name, result.fingerprint, sha256, str(self._cache.root)
        )
        await announce(self._queue, task)
        outputs: Sequence[OutputFile] = await self._compute.run(
            rerender, path, template, self._formats(result), root, "", ""
        )
        await self._store(task, tuple(outputs))

    def _formats(self, result: TaskResult) -> list[str]:
        """Those of the batch, and those that the report had."""
        kinds = {output.kind for output in result.outputs} - {"asset"}
        return list(check_formats({*self._options.formats, *kinds}))

    async def _store(self, task: VideoTask, outputs: tuple[OutputFile, ...]) -> None:
        result = replace(result_of(task), outputs=outputs, rewriting=PAGES)
        await self._queue.replace_result(task, result)

    # --- from the journal, and from the recording -----------------------------------------------

    async def _anew(self, task: VideoTask) -> None:
        """Raises: ReportDamaged."""
        is_local = result_of(task).engine == LOCAL
        reasons = []
        for from_journal in (True, False):
            if not (from_journal or is_local):
                continue
            try:
                again = await self._way(result_of(task).engine, from_journal)
                await again(task, same_words=True)
                return
            except (DiskFullError, OutputNotWritable):
                raise
            except GsvrError as error:
                reasons.append(error)
        raise _not_mended(task, reasons)

    async def _way(self, name: str, from_journal: bool) -> InPlace:
        key = (name, from_journal)
        if key not in self._ways:
            engine: Engine = self._engine_of(name)
            await engine.prepare(self._compute)
            self._ways[key] = InPlace(
                self._queue,
                self._options,
                self._compute,
                self._cache,
                engine,
                from_journal=from_journal,
            )
        return self._ways[key]


def _not_mended(task: VideoTask, reasons: Sequence[GsvrError]) -> ReportDamaged:
    """All that stood in the way, in one sentence."""
    told = "; ".join(dict.fromkeys(error.message for error in reasons))
    name = json_of(task.result) or task.ref
    return ReportDamaged(
        f"{name}: the report cannot be made again: {told or 'its JSON file is damaged'}",
        hint="put the recording back where it was and repeat; of a recording that is there, gsvr "
        f"batch retry {task.ref} makes a new report",
    )
