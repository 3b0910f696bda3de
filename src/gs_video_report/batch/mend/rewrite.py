"""A finished report made anew in its place by the normal runner, while its task stays as it is.

Order: the row says that its files are being written (`TaskResult.rewriting`) before the first of
them is touched, and what they are in one statement when the last of them is synced. Whenever the
process ends, the row tells whether the files may be of two makings; the JSON is always one of
them, whole.
True here: nothing but the result of a task changes; if its report cannot be made, it is as it was.
Never: asks a service about a recording. An address is downloaded again if its file is not cached
any more, unless the work is from the journal.
Raises: what an engine raises; PermanentError for a fault of ours, which fails that one report;
ReportDamaged for a step that is not in the journal any more; LeaseLost; FatalError (disk full).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, cast

from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.errors import guarded
from gs_video_report.batch.attempt.task_runner import BatchTaskRunner
from gs_video_report.batch.data_models import FILES, PAGES, BatchOptions, TaskResult, VideoTask
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import MISSING, StepJournal
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines.base import Engine, TaskContext
from gs_video_report.errors import PermanentError, ReportDamaged
from gs_video_report.report.model import VideoReport
from gs_video_report.templates.loader import template_loader


class InPlace:
    """Makes finished reports of one batch anew; several tasks may be under way at once.

    Args:
        options: those of the batch; which files a report has, and how long a step may take.
        from_journal: only what is journaled for the content that the report was made from; the
            recording is not looked at, since it may be gone.
    """

    def __init__(
        self,
        queue: TaskQueue,
        options: BatchOptions,
        compute: ComputeBackend,
        cache: ArtifactStore,
        engine: Engine,
        *,
        from_journal: bool = False,
    ) -> None:
        self._queue = queue
        kind = JournalOnly if from_journal else OpenJournal
        self._runner = BatchTaskRunner(
            engine=cast(Engine, _Announcing(engine, queue)),
            options=replace(options, skip_existing=False),
            template_of=template_loader(options.user_templates),
            queue=cast(TaskQueue, _Bystander(queue)),
            journal=kind(queue.db),
            compute=compute,
            limiter=_NoLimiter(),
            cache=cache,
            on_stage=lambda task_id, stage, done, total: None,
            content_of=_content_of if from_journal else None,
        )

    async def __call__(self, task: VideoTask, *, same_words: bool = False) -> TaskResult:
        """Make the report of `task` anew; returns its result, which is stored.

        Args:
            same_words: renderings with other templates are still those of this report.
        """
        _TASK.set(task)
        control = TaskControl(asyncio.Event(), time.monotonic())
        made = await guarded(self._runner, task, control)
        result = _kept_facts(result_of(task), made, same_words)
        await self._queue.replace_result(task, result)
        return result


def result_of(task: VideoTask) -> TaskResult:
    """The result of a finished task; empty without one."""
    return task.result or TaskResult()


async def announce(queue: TaskQueue, task: VideoTask) -> None:
    """Store that the files of the report are written anew from now on. Raises: LeaseLost."""
    await queue.replace_result(task, replace(result_of(task), rewriting=FILES))


def _content_of(task: VideoTask) -> str:
    known = result_of(task).fingerprint
    if not known:
        raise ReportDamaged("the content that this report was made from is not known any more")
    return known


def _kept_facts(old: TaskResult, new: TaskResult, same_words: bool) -> TaskResult:
    """The new files; what the first time took and cost stays."""
    return replace(
        new,
        usage=old.usage,
        reused=old.reused,
        stage_s=old.stage_s,
        renderings=old.renderings if same_words else {},
        rewriting=PAGES,
    )


_TASK: ContextVar[VideoTask] = ContextVar("task")
"""The task whose report this asyncio task makes anew."""


class _Announcing:
    """An engine for recordings that are still the same; what follows it is the writing."""

    def __init__(self, engine: Engine, queue: TaskQueue) -> None:
        self._engine, self._queue = engine, queue
        self.capabilities = engine.capabilities

    async def analyze(self, ctx: TaskContext) -> VideoReport:
        task = _TASK.get()
        known = result_of(task).fingerprint
        if known and known != ctx.fingerprint:
            raise PermanentError(
                "the recording has changed since its report was made",
                hint=f"gsvr batch retry {task.ref} makes a new report",
            )
        report = await self._engine.analyze(ctx)
        await announce(self._queue, task)
        return report


class _Bystander:
    """A queue for work on a task that has ended: nothing about the task changes on the way."""

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue

    async def set_stage(self, task: VideoTask, stage: str) -> None:
        """The task is not running."""

    async def set_media(self, task: VideoTask, fingerprint: str, media_s: float) -> None:
        """Known since the first time."""

    async def rewrite_report(self, task: VideoTask) -> None:
        """`announce` has told so."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


class OpenJournal(StepJournal):
    """The journal without a fence: an ended task belongs to nobody."""

    async def put(self, *args: Any, **more: Any) -> Any:
        """See `StepJournal.put`."""
        return await super().put(*args, **{**more, "attempt": None})


class JournalOnly(StepJournal):
    """A journal whose steps are not run again: what it has lost ends the work."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)

    async def get(
        self, fingerprint: str, name: str, part: int, params: Mapping[str, Any] | None = None
    ) -> Any:
        """See `StepJournal.get`. Raises: ReportDamaged when the step is not there."""
        value = await super().get(fingerprint, name, part, params)
        if value is MISSING:
            raise ReportDamaged(f"the step {name} of this report is not in the journal any more")
        return value

    async def forget(
        self, fingerprint: str, name: str, part: int, params: Mapping[str, Any] | None = None
    ) -> bool:
        """Nothing is dropped. Raises: ReportDamaged: a file that the step had made is gone."""
        raise ReportDamaged(f"the cache has lost what the step {name} of this report had made")


class _NoLimiter:
    """Work on this machine needs no quota; a request would be a mistake."""

    def reserve(self, bucket: str, **more: Any) -> Any:
        raise ReportDamaged(
            "what the service had answered for this report is not in the journal any more",
            hint="gsvr batch retry with the task's name asks it again, for money",
        )

    def penalize(self, bucket: str, retry_after_s: float | None = None) -> None:
        """Nothing was sent."""

    def hint(self, bucket: str, **more: float | None) -> None:
        """Nothing was sent."""

    def exhaust(self, bucket: str, resume_at: Any = None) -> None:
        """Nothing was sent."""


EngineOf = Callable[[str], Engine]
"""An engine by its name. Raises: ConfigError, AuthenticationError, DependencyMissing."""
