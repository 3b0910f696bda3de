"""Do the work of one task: identify the file, let the engine analyse it, write the report.

Truth: the step journal for what was computed, the files on disk for what was written.
Order of the end: outputs are on disk (synced) before the pool marks the task completed.
Never: changes a task's state (the pool does), prints.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gs_video_report.batch.account import Account
from gs_video_report.batch.attempt_control import TaskControl
from gs_video_report.batch.data_models import (
    BatchOptions,
    InputType,
    Stage,
    TaskResult,
    VideoTask,
)
from gs_video_report.batch.outage import ENGINE
from gs_video_report.batch.step_journal import MISSING, StepJournal, step_key
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeBackend, ProgressCallback
from gs_video_report.engines import jobs
from gs_video_report.engines.base import Engine, Limiter, MediaSource, StepFunction, TaskContext
from gs_video_report.engines.fetch import (
    FetchContext,
    Fetched,
    fetch_media,
    url_fingerprint,
    youtube_id,
)
from gs_video_report.errors import (
    DownloadError,
    EmptyFileError,
    GsvrError,
    PermanentError,
    StepCancelled,
    Unreachable,
    from_os_error,
)
from gs_video_report.report.model import VideoReport
from gs_video_report.templates.loader import Template

StageListener = Callable[[int, str, float, float], None]
"""(task_id, stage, done, total); total 0 = unknown."""


@dataclass(slots=True)
class MeteredCompute:
    """A `ComputeBackend` for one task that tells the task's control when it only waits."""

    backend: ComputeBackend
    control: TaskControl

    async def run(
        self,
        fn: Callable[..., Any],
        *args: Any,
        timeout_s: float | None = None,
        stall_timeout_s: float | None = None,
        priority: int = 0,
        on_progress: ProgressCallback | None = None,
        on_start: Callable[[], None] | None = None,
    ) -> Any:
        """See `ComputeBackend.run`."""
        started = False

        def begin() -> None:
            nonlocal started
            started = True
            self.control.call(time.monotonic(), running=1)
            if on_start is not None:
                on_start()

        self.control.call(time.monotonic(), opened=1)
        try:
            return await self.backend.run(
                fn,
                *args,
                timeout_s=timeout_s,
                stall_timeout_s=stall_timeout_s,
                priority=priority,
                on_progress=on_progress,
                on_start=begin,
            )
        finally:
            self.control.call(time.monotonic(), opened=-1, running=-1 if started else 0)

    def statistics(self) -> Any:
        """Of the shared backend."""
        return self.backend.statistics()

    async def start(self) -> None:
        """The shared backend is started by its owner."""

    async def resize(self, processes: int) -> None:
        """The shared backend is sized by its owner."""

    async def close(self, grace_s: float = 2.0) -> None:
        """The shared backend is closed by its owner."""


@dataclass(slots=True)
class GatedCompute:
    """The processes that download from one host, closed while the host cannot be reached.

    Every call tells the task's control how the host answered. Only what goes to the network comes
    here: a download that the journal knows is not held up.
    """

    backend: ComputeBackend
    control: TaskControl
    host: str

    async def run(self, fn: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """See `ComputeBackend.run`. Raises: DownloadError without a try while it is closed."""
        is_probe = self.control.line.enter(self.host)
        try:
            value = await self.backend.run(fn, *args, **more)
        except DownloadError as error:
            if error.data.get("unreachable"):
                error.data["host"] = self.host
                is_probe = False  # it ends when the failure is noted, or two would try at a time
            else:
                self.control.line.answered(self.host)
            raise
        except PermanentError:
            self.control.line.answered(self.host)
            raise
        finally:
            if is_probe:
                self.control.line.leave(self.host)
        self.control.line.answered(self.host)
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


@dataclass(slots=True)
class MeteredLimiter:
    """A limiter for one task: waiting for quota is not the task's working time.

    It also sees every request of a remote engine, and tells the control when one was answered.
    """

    limiter: Limiter
    control: TaskControl
    account: Account = field(default_factory=Account)

    def reserve(
        self,
        bucket: str,
        *,
        requests: int = 1,
        tokens: int = 0,
        usd: float = 0.0,
        name: str = "",
        owed: bool = False,
    ) -> AbstractAsyncContextManager[Any]:
        """See `ApiLimiter.reserve`."""
        reservation = self.limiter.reserve(
            bucket, requests=requests, tokens=tokens, usd=usd, name=name, owed=owed
        )
        if not owed:  # what is owed was asked for before
            self.control.asks()
        return self._metered(reservation, is_paid=tokens > 0)

    @asynccontextmanager
    async def _metered(
        self, reservation: AbstractAsyncContextManager[Any], *, is_paid: bool
    ) -> AsyncIterator[Any]:
        self.control.call(time.monotonic(), opened=1)
        self.control.quota_waits += 1
        granted, quota = 0, None
        try:
            async with reservation as quota:
                granted = 1
                self.control.quota_waits -= 1
                self.control.asking += is_paid
                self.control.call(time.monotonic(), running=1)
                with self._answer():
                    yield quota
                self.control.has_answers |= is_paid
        finally:
            self.control.quota_waits -= 1 - granted
            self.control.asking -= granted * is_paid
            self.control.call(time.monotonic(), opened=-1, running=-granted)
            used = getattr(quota, "used", None)
            if used is not None:
                self.account.pay(used.requests, used.tokens_in, used.tokens_out, used.usd)

    @contextmanager
    def _answer(self) -> Iterator[None]:
        """Whatever the service says, it is there; only no answer is none."""
        try:
            yield
        except GsvrError as error:
            if not isinstance(error, Unreachable | StepCancelled):
                self.control.line.answered(ENGINE)
            raise
        self.control.line.answered(ENGINE)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.limiter, name)


@dataclass(slots=True)
class JournaledSteps:
    """`ctx.step` for one task: journal first, one read for all parts, single flight."""

    journal: StepJournal
    task: VideoTask
    control: TaskControl
    cache: ArtifactStore
    fingerprint: str
    account: Account = field(default_factory=Account)
    reused: int = 0
    ran: int = 0
    _known: dict[tuple[str, str], dict[int, Any]] = field(default_factory=dict)

    async def __call__(
        self,
        name: str,
        fn: StepFunction,
        *,
        part: int = 0,
        params: Mapping[str, Any] | None = None,
        artifacts: Callable[[Any], list[str]] | None = None,
    ) -> Any:
        """See `engines.base.Stepper`. Raises: StepCancelled once a stop began, LeaseLost."""
        params = dict(params or {})
        key = step_key(self.fingerprint, name, part, params)
        value = await self._look(name, part, params, artifacts)
        if value is not MISSING:
            self._found(key, value)
            return value
        if self.control.stopping.is_set():
            raise StepCancelled("stopped before the next step", stage=name)
        async with self.journal.flight(key):
            value = await self.journal.get(self.fingerprint, name, part, params)
            if value is not MISSING and self._whole(value, artifacts):
                self.reused += 1
                self._found(key, value)
                return value
            if value is not MISSING:  # its artifacts are gone: this value is of no use any more
                await self.journal.forget(self.fingerprint, name, part, params)
            self.account.ran(key)
            return await self._run(name, fn, part, params)

    def _found(self, key: str, value: Any) -> None:
        self.account.found(key, value)
        self.control.has_answers |= self.account.reused.requests > 0

    async def known(self, name: str, params: Mapping[str, Any]) -> dict[int, Any]:
        """Part -> value of what is journaled for this content. See `TaskContext.known`."""
        return await self.journal.get_parts(self.fingerprint, name, params)

    async def _run(self, name: str, fn: StepFunction, part: int, params: dict[str, Any]) -> Any:
        started = time.monotonic()
        value = await fn()
        put = self.journal.put(
            self.fingerprint,
            name,
            part,
            params,
            value,
            seconds=time.monotonic() - started,
            task_id=self.task.task_id,
            attempt=self.task.attempt,
        )
        self.ran += 1
        return await asyncio.shield(put)

    async def _look(
        self,
        name: str,
        part: int,
        params: dict[str, Any],
        artifacts: Callable[[Any], list[str]] | None,
    ) -> Any:
        key = (name, repr(sorted(params.items())))
        if key not in self._known:
            self._known[key] = await self.journal.get_parts(self.fingerprint, name, params)
        value = self._known[key].pop(part, MISSING)
        if value is MISSING or not self._whole(value, artifacts):
            return MISSING
        self.reused += 1
        return value

    def _whole(self, value: Any, artifacts: Callable[[Any], list[str]] | None) -> bool:
        return artifacts is None or all(self.cache.has(key) for key in artifacts(value))


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
    fetch_compute: ComputeBackend | None = None
    """Processes for downloads, which mostly wait; None uses those of `compute`."""

    async def __call__(self, task: VideoTask, control: TaskControl) -> TaskResult:
        """Run the task. Raises: the classes of errors.py; cancellation keeps finished steps."""
        run = _TaskRun(self, task, control)
        try:
            return await run.execute()
        except GsvrError as error:
            if isinstance(error, PermanentError):  # no other try will need what there is
                await run.clean()
            raise error.at(run.stage) from error.__cause__


@dataclass(slots=True)
class _TaskRun:
    shared: BatchTaskRunner
    task: VideoTask
    control: TaskControl
    stage: str = ""
    stage_s: dict[str, float] = field(default_factory=dict)
    fetched: Fetched | None = None
    """The local file of an address; None for files, and for what the engine takes as it is."""
    _stage_started: float = 0.0
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    async def execute(self) -> TaskResult:
        shared, task = self.shared, self.task
        template = shared.template_of(task.template)
        compute = MeteredCompute(shared.compute, self.control)
        with ExitStack() as pins:
            if self._is_fetched_first():
                self.fetched = await self._fetch()
                pins.enter_context(shared.cache.pin(self.fetched.keys))
            self.progress(Stage.PROBE, 0, 0)
            fingerprint = await self._identify(compute)
            existing = await self._existing(template, fingerprint)
            if existing is not None:
                await self.clean()
                return existing
            steps = JournaledSteps(shared.journal, task, self.control, shared.cache, fingerprint)
            context = self._context(template, compute, steps, fingerprint)
            report = await shared.engine.analyze(context)
            result = await self._write(report, template, compute, steps)
        await self.clean()
        return result

    async def clean(self) -> None:
        """Remove the work folders of a task that is done, or that cannot be done."""
        for folder in (self._work, *([self._view] if self.fetched else [])):
            await asyncio.to_thread(self.shared.cache.remove_work_dir, folder)

    @property
    def _work(self) -> str:
        """One folder per task: another task on the same content may end while this one reads."""
        return f"task-{self.task.batch_id}-{self.task.seq}"

    def progress(self, stage: str, done: float, total: float) -> None:
        if stage != self.stage:
            now = time.monotonic()
            self._close_stage(now)
            self.stage, self._stage_started = str(stage), now
            self._later(self.shared.queue.set_stage(self.task, self.stage))
        self.shared.on_stage(self.task.task_id, str(stage), done, total)

    def _close_stage(self, now: float) -> None:
        if self.stage:
            spent = self.stage_s.get(self.stage, 0.0) + now - self._stage_started
            self.stage_s[self.stage] = round(spent, 3)

    def _later(self, work: Any) -> None:
        """Run a small write beside the task; its failure shows up in the task's own writes."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            task.exception()

    # --- addresses ------------------------------------------------------------------------------

    def _is_fetched_first(self) -> bool:
        kind = self.task.video.input_type
        return kind != InputType.FILE and str(kind) not in self.shared.engine.capabilities.accepts

    @property
    def _view(self) -> str:
        return f"view-{self.task.batch_id}-{self.task.seq}"

    async def _fetch(self) -> Fetched:
        """Bring the recording here. Time on the line does not count as work of the task."""
        shared, task, video = self.shared, self.task, self.task.video
        compute = shared.fetch_compute or shared.compute
        await compute.start()
        step = JournaledSteps(
            shared.journal, task, self.control, shared.cache, url_fingerprint(video.source)
        )
        context = FetchContext(
            url=video.source,
            youtube=video.input_type == InputType.YOUTUBE,
            scope=task.batch_id,
            view=self._view,
            options=asdict(shared.options),
            step=step,
            compute=GatedCompute(compute, self.control, urlsplit(video.source).hostname or ""),
            cache=shared.cache,
            progress=self.progress,
            priority=task.task_id,
            stall_timeout_s=shared.options.stall_timeout_s,
        )
        self.control.waiting(time.monotonic(), True)
        try:
            return await fetch_media(context)
        finally:
            self.control.waiting(time.monotonic(), False)

    # --- identity -------------------------------------------------------------------------------

    async def _identify(self, compute: MeteredCompute) -> str:
        """SHA-256 of the content; remembered by path, size and modification time.

        What the engine takes as an address is identified by the address.
        """
        video = self.task.video
        if self.fetched is not None:
            return self.fetched.fingerprint
        if video.input_type == InputType.YOUTUBE:
            youtube_id(video.source)
        if video.input_type != InputType.FILE:
            return url_fingerprint(video.source)
        try:
            stat = await asyncio.to_thread(Path(video.source).stat)
        except OSError as error:
            raise from_os_error(error, video.source) from error
        if stat.st_size == 0:
            raise EmptyFileError(f"{video.relative_path or video.source}: the file is empty")
        queue = self.shared.queue
        known = await queue.remembered_fingerprint(video.source, stat.st_size, stat.st_mtime_ns)
        if known is not None:
            return known
        made: str = await compute.run(
            jobs.fingerprint,
            video.source,
            timeout_s=self.shared.options.timeout_s,
            stall_timeout_s=self.shared.options.stall_timeout_s,
            priority=self.task.task_id,
        )
        await queue.remember_fingerprint(video.source, stat.st_size, stat.st_mtime_ns, made)
        return made

    async def _existing(self, template: Template, fingerprint: str) -> TaskResult | None:
        """The result that is already on disk, when --skip-existing asks for it and it matches."""
        if not self.shared.options.skip_existing:
            return None
        from gs_video_report.report.existing import find_existing

        directory, stem = self._place()
        found = await asyncio.to_thread(
            find_existing,
            Path(self.shared.options.output_dir),
            directory,
            stem,
            source=self.task.video.source,
            fingerprint=fingerprint,
            template=template,
            formats=self.shared.options.formats,
        )
        if found is None:
            return None
        self.control.skipped = "the report is there, made from the same source and template"
        await self.shared.queue.set_media(self.task, fingerprint, found.media_s)
        return found

    def _place(self) -> tuple[str, str]:
        from gs_video_report.report.paths import output_paths, pattern_of

        video, options = self.task.video, self.shared.options
        return output_paths(
            video.relative_path or Path(video.source).name,
            self.task.template,
            pattern_of(options.output_pattern, self.task.template, options.template),
            seq=self.task.seq,
            batch=self.task.batch_id,
            output_name=video.output_name,
        )

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
            media=self._media(),
            template=template,
            options=asdict(options),
            step=steps,
            compute=compute,
            limiter=MeteredLimiter(self.shared.limiter, self.control, steps.account),
            cache=self.shared.cache,
            work_dir=self.shared.cache.work_dir(self._work),
            progress=self.progress,
            cancelled=self.control.stopping,
            fingerprint=fingerprint,
            priority=self.task.task_id,
            step_timeout_s=options.timeout_s,
            stall_timeout_s=options.stall_timeout_s,
            report_media=self._learned,
            known=steps.known,
            idle=self._idle,
        )

    def _media(self) -> MediaSource:
        video, fetched = self.task.video, self.fetched
        if fetched is None:
            return MediaSource(
                source=video.source,
                input_type=str(video.input_type),
                display_name=video.relative_path or Path(video.source).name,
                metadata=video.metadata,
            )
        return MediaSource(
            source=fetched.path,
            input_type=str(InputType.FILE),
            display_name=fetched.name,
            metadata={**fetched.metadata, **video.metadata},
        )

    def _idle(self, waits: bool) -> None:
        """The engine waits for a provider's own queue: not working time."""
        self.control.call(time.monotonic(), opened=1 if waits else -1)

    async def _learned(self, fingerprint: str, duration_s: float) -> None:
        await self.shared.queue.set_media(self.task, fingerprint, duration_s)

    # --- writing --------------------------------------------------------------------------------

    async def _write(
        self,
        report: VideoReport,
        template: Template,
        compute: MeteredCompute,
        steps: JournaledSteps,
    ) -> TaskResult:
        self.progress(Stage.WRITE, 0, 0)
        options = self.shared.options
        directory, stem = self._place()
        run = {
            "batch": self.task.batch_id,
            "task": self.task.seq,
            "stage_s": dict(self.stage_s),
            "steps_reused": steps.reused,
            "steps_run": steps.ran,
        }
        if report.provenance.usage:
            run |= steps.account.to_dict()
        report = replace(report, provenance=replace(report.provenance, run=run))
        if self.fetched is not None:  # the reader's link leads to where the recording lives
            report = replace(report, media=replace(report.media, source=self.task.video.source))
        from gs_video_report.report.publish import publish

        outputs = await compute.run(
            publish,
            report.to_dict(),
            template,
            list(options.formats),
            options.output_dir,
            directory,
            stem,
            str(self.shared.cache.root),
            priority=self.task.task_id,
        )
        self._close_stage(time.monotonic())
        return TaskResult(
            outputs=tuple(outputs),
            media_s=report.media.duration_s,
            engine=report.provenance.engine,
            language=report.language,
            warnings=tuple(n.message for n in report.notices if n.severity == "warning"),
            usage=steps.account.paid,
            reused=steps.account.reused,
            stage_s=dict(self.stage_s),
            fingerprint=report.media.sha256,
        )
