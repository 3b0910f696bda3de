"""Do the work of one task: identify the file, let the engine analyse it, write the report.

Truth: the step journal for what was computed, the files on disk for what was written.
Order of the end: outputs are on disk (synced) before the pool marks the task completed.
Never: changes a task's state (the pool does), prints.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from gs_video_report.batch.attempt.calls import MeteredCompute, MeteredLimiter
from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.output import AttemptOutput, with_run
from gs_video_report.batch.attempt.source import AttemptSource
from gs_video_report.batch.attempt.steps import JournaledSteps
from gs_video_report.batch.data_models import (
    BatchOptions,
    InputType,
    Stage,
    TaskResult,
    VideoTask,
)
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines.base import Engine, Limiter, TaskContext
from gs_video_report.errors import GsvrError, PermanentError
from gs_video_report.report.model import VideoReport
from gs_video_report.templates.loader import Template

StageListener = Callable[[int, str, float, float], None]
"""(task_id, stage, done, total); total 0 = unknown."""
LengthListener = Callable[[int, float], None]
"""(task_id, seconds of the recording)."""


@dataclass(slots=True)
class BatchTaskRunner:
    """Callable that runs one claimed task; shared by all workers of a batch."""

    engine: Engine
    options: BatchOptions
    template_of: Callable[[str], Template]
    """Loads a template by name; cached by the caller."""
    queue: TaskQueue
    journal: StepJournal
    compute: ComputeBackend
    limiter: Limiter
    cache: ArtifactStore
    on_stage: StageListener
    on_length: LengthListener = lambda task_id, media_s: None
    """Called once the length of a recording is known, before it is worked on."""
    fetch_compute: ComputeBackend | None = None
    """Processes for downloads, which mostly wait; None uses those of `compute`."""
    content_of: Callable[[VideoTask], str] | None = None
    """Fingerprint of a recording that must not be looked at, since it may be gone: its report
    comes from the journal. None: each recording is identified."""

    async def __call__(self, task: VideoTask, control: TaskControl) -> TaskResult:
        """Run the task. Raises: the classes of errors.py; cancellation keeps finished steps."""
        run = _Attempt(self, task, control)
        try:
            return await run.execute()
        except GsvrError as error:
            if isinstance(error, PermanentError):  # no other try will need what there is
                await run.clean()
            raise error.at(run.stages.now) from error.__cause__


@dataclass(slots=True)
class _Stages:
    """Which stage the attempt is in, and how long each one took."""

    runner: BatchTaskRunner
    task: VideoTask
    now: str = ""
    spent_s: dict[str, float] = field(default_factory=dict)
    """Stage -> seconds so far."""
    _began: float = 0.0
    _writes: set[asyncio.Task[None]] = field(default_factory=set)

    def progress(self, stage: str, done: float, total: float) -> None:
        """The attempt is at `done` of `total` of `stage`."""
        if stage != self.now:
            self.close()
            self.now = str(stage)
            self._later(self.runner.queue.set_stage(self.task, self.now))
        self.runner.on_stage(self.task.task_id, str(stage), done, total)

    def close(self) -> None:
        """The present stage took until now."""
        now = time.monotonic()
        if self.now:
            spent = self.spent_s.get(self.now, 0.0) + now - self._began
            self.spent_s[self.now] = round(spent, 3)
        self._began = now

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a small write beside the task; its failure shows up in the task's own writes."""
        write = asyncio.ensure_future(work)
        self._writes.add(write)
        write.add_done_callback(self._forget)

    def _forget(self, write: asyncio.Task[None]) -> None:
        self._writes.discard(write)
        if not write.cancelled():
            write.exception()


class _Attempt:
    """One attempt of one task, from the claim to the report on disk."""

    def __init__(self, shared: BatchTaskRunner, task: VideoTask, control: TaskControl) -> None:
        self.shared, self.task, self.control = shared, task, control
        self.stages = _Stages(shared, task)
        self.source = AttemptSource(
            task, control, shared.options, shared.queue, shared.journal, shared.cache
        )

    async def execute(self) -> TaskResult:
        shared, task = self.shared, self.task
        template = shared.template_of(task.template)
        output = AttemptOutput(task, shared.options, template)
        compute = MeteredCompute(shared.compute, self.control)
        with ExitStack() as pins:
            if self._is_fetched_first():
                only_known = shared.content_of is not None
                bring = self.source.recall if only_known else self.source.fetch
                fetched = await bring(shared.fetch_compute or shared.compute, self.stages.progress)
                pins.enter_context(shared.cache.pin(fetched.keys))
            self.stages.progress(Stage.PROBE, 0, 0)
            fingerprint = await self._identify(compute)
            result = await self._existing(output, fingerprint)
            if result is None:
                steps = JournaledSteps(
                    shared.journal, task, self.control, shared.cache, fingerprint
                )
                context = self._context(template, compute, steps, fingerprint)
                report = await shared.engine.analyze(context)
                result = await self._write(report, output, compute, steps)
        await self.clean()
        return result

    async def _identify(self, compute: MeteredCompute) -> str:
        known = self.shared.content_of
        return known(self.task) if known is not None else await self.source.identify(compute)

    def _is_fetched_first(self) -> bool:
        kind = self.task.video.input_type
        return kind != InputType.FILE and str(kind) not in self.shared.engine.capabilities.accepts

    async def clean(self) -> None:
        """Remove the work folders of a task that is done, or that cannot be done."""
        for folder in (self._work, *([self.source.view] if self.source.fetched else [])):
            await asyncio.to_thread(self.shared.cache.remove_work_dir, folder)

    @property
    def _work(self) -> str:
        """One folder per task: another task on the same content may end while this one reads."""
        return f"task-{self.task.batch_id}-{self.task.seq}"

    async def _existing(self, output: AttemptOutput, fingerprint: str) -> TaskResult | None:
        found = await output.existing(fingerprint)
        if found is not None:
            self.control.skipped = "the report is there, made from the same source and template"
            await self._learned(fingerprint, found.media_s)
        return found

    # --- the engine's context -------------------------------------------------------------------

    def _context(
        self,
        template: Template,
        compute: MeteredCompute,
        steps: JournaledSteps,
        fingerprint: str,
    ) -> TaskContext:
        options = self.shared.options
        return TaskContext(
            media=self.source.media(),
            template=template,
            options=asdict(options),
            step=steps,
            compute=compute,
            limiter=MeteredLimiter(self.shared.limiter, self.control, steps.account),
            cache=self.shared.cache,
            work_dir=self.shared.cache.work_dir(self._work),
            progress=self.stages.progress,
            cancelled=self.control.stopping,
            fingerprint=fingerprint,
            priority=self.task.task_id,
            step_timeout_s=options.timeout_s,
            stall_timeout_s=options.stall_timeout_s,
            report_media=self._learned,
            known=steps.known,
            idle=self._idle,
        )

    def _idle(self, waits: bool) -> None:
        """The engine waits for a provider's own queue: not working time."""
        self.control.call(time.monotonic(), opened=1 if waits else -1)

    async def _learned(self, fingerprint: str, duration_s: float) -> None:
        await self.shared.queue.set_media(self.task, fingerprint, duration_s)
        if duration_s > 0:
            self.shared.on_length(self.task.task_id, duration_s)

    # --- writing --------------------------------------------------------------------------------

    async def _write(
        self,
        report: VideoReport,
        output: AttemptOutput,
        compute: MeteredCompute,
        steps: JournaledSteps,
    ) -> TaskResult:
        self.stages.progress(Stage.WRITE, 0, 0)
        address = self.task.video.source if self.source.fetched else None
        report = with_run(report, self._facts(report, steps), address)
        if self.task.result is not None:
            await self.shared.queue.rewrite_report(self.task)
        outputs = await output.publish(report, compute, self.shared.cache.root)
        self.stages.close()
        return TaskResult(
            outputs=outputs,
            media_s=report.media.duration_s,
            engine=report.provenance.engine,
            language=report.language,
            warnings=tuple(n.message for n in report.notices if n.severity == "warning"),
            usage=steps.account.paid,
            reused=steps.account.reused,
            stage_s=dict(self.stages.spent_s),
            fingerprint=report.media.sha256,
        )

    def _facts(self, report: VideoReport, steps: JournaledSteps) -> dict[str, Any]:
        """What the report tells of the run that made it."""
        facts = {
            "batch": self.task.batch_id,
            "task": self.task.seq,
            "stage_s": dict(self.stages.spent_s),
            "steps_reused": steps.reused,
            "steps_run": steps.ran,
        }
        if report.provenance.usage:
            facts |= steps.account.to_dict()
        return facts
