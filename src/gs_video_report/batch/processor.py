"""Run one batch in this process: wire queue, pool, engine, limiter, checkpoints and faces together.

No rules of its own: identity is in planner, states in the queue, stopping in the pool, drawing in
the printer. The order that matters is in `_drain()`: lock, recover, checkpoint, pool, pages,
status, checkpoint.
Raises: FatalError and UsageError classes before anything ran; afterwards the result tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.batch_lock import working_on
from gs_video_report.batch.checkpoint_cadence import Cadence
from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchResult,
    BatchRow,
    BatchStatus,
    TaskResult,
    TaskStatus,
    VideoTask,
)
from gs_video_report.batch.doubt import doubt_of
from gs_video_report.batch.event_reads import living, runs, waiting_lengths
from gs_video_report.batch.finisher import INDEX, BatchPages, write_batch_pages
from gs_video_report.batch.leftovers import take_away
from gs_video_report.batch.limits import (
    Budget,
    bucket_config,
    make_limiter,
    purse_of,
    run_budget,
    spent_keys,
)
from gs_video_report.batch.outage import Outage
from gs_video_report.batch.performance_optimizer import Change, MemoryTuner, first_processes
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.process_lock import ProcessLock, is_held_here, remove_dead
from gs_video_report.batch.progress_monitor import ProgressMonitor, progress_file
from gs_video_report.batch.quota_wait import wait_of
from gs_video_report.batch.run_outcome import PoolOutcome, StopReason, judge, really
from gs_video_report.batch.run_record import RunRecord
from gs_video_report.batch.run_trace import RunTrace, TracedJournal, limiter_facts
from gs_video_report.batch.snapshot import display_name
from gs_video_report.batch.spending import Spending
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.stop_signals import StopSignals
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.task_runner import BatchTaskRunner, StageListener
from gs_video_report.batch.worker_pool import WorkerPool
from gs_video_report.cache import DEFAULT_LIMIT_BYTES, ArtifactStore
from gs_video_report.compute import machine
from gs_video_report.compute.process_pool import MEMORY_LIMIT_FRACTION, ProcessBackend
from gs_video_report.config_values import Secret
from gs_video_report.engines import registry
from gs_video_report.engines.base import Engine, Needing, Recalling, Remark, remarks_of
from gs_video_report.engines.fetch import MAX_PROCESSES as FETCH_PROCESSES
from gs_video_report.engines.memory_need import shortage
from gs_video_report.errors import ConfigError, ExitCode, GsvrError, LimitReached, from_os_error
from gs_video_report.files import make_dirs, sweep_temps, temp_name, write_atomic
from gs_video_report.media.download_settings import check_cookies
from gs_video_report.templates.loader import Template, load_template
from gs_video_report.terminal.log_face import LogSink
from gs_video_report.terminal.network import back_text, lost_text
from gs_video_report.terminal.notices import tuning_text
from gs_video_report.terminal.printer import Printer, TaskLine
from gs_video_report.terminal.styles import plural
from gs_video_report.terminal.summary import (
    FailureGroup,
    KeptWork,
    group_failures,
    stop_now_text,
    stopping_text,
)

STOP_GRACE_S = 4.0
"""Seconds that steps in flight get after the first Ctrl-C; the whole stop stays under 5 s."""
LOCK_PATIENCE_S = 90.0
"""Seconds a run waits for another program (a backup, a database browser) to let the file go."""
TICK_S = 0.25
COUNTS_S = 1.0
"""Seconds between looks at the counts in the database (another process may work on it too)."""
LIMITS_S = 60.0
"""Seconds between two records of the quotas' state."""
COST_WARNING = 0.8
"""Part of the cost limit at which a warning is given."""
FIRST_CHECKPOINT_S = 0.3
"""Seconds that the work waits for the first checkpoint; a large one is taken beside the work."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run needs besides the frozen options: keys, and how it shows itself."""

    keys: Mapping[str, Sequence[Secret]] = field(default_factory=dict)
    """Engine -> its keys, in the order of use. Never stored, never shown."""
    advise: Callable[[GsvrError], None] = lambda error: None
    """Completes an error's hint by what the configuration knows: where a refused key came from."""
    engine_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of the fallback engines; those of the batch's own engine are frozen in its row."""
    prices_file: Path | None = None
    """The user's own prices."""
    webhook: str | None = None
    command_tail: str = ""
    """See `BatchResult.command_tail`."""
    progress_file: Path | None = None
    log: LogSink | None = None
    """Where the finer lines of the log file go; the printer has a face for the others."""
    checkpoint_dir: Path | None = None
    memory_limit_bytes: int | None = None
    """What this process and its compute processes may use in all; None: what the machine has."""
    tuning: bool = True
    """Whether the number of compute processes follows the memory."""
    cache_limit_bytes: int = DEFAULT_LIMIT_BYTES
    """Size to which the cache is trimmed at the end of a run."""


@dataclass(slots=True)
class _Parts:
    """What one run holds open."""

    queue: TaskQueue
    lock: ProcessLock
    cache: ArtifactStore
    compute: ProcessBackend
    fetching: ProcessBackend
    started: float
    """Monotonic seconds."""
    _journal: StepJournal | None = None

    def journal(self, database: Database, trace: RunTrace | None = None) -> StepJournal:
        """One per process, or single flight would not hold."""
        if self._journal is None:
            self._journal = (
                StepJournal(database) if trace is None else TracedJournal(database, trace)
            )
        return self._journal


@dataclass(slots=True)
class BatchProcessor:
    """One run of one batch. Single use."""

    database: Database
    row: BatchRow
    printer: Printer
    settings: RunSettings = field(default_factory=RunSettings)
    _compute: ProcessBackend | None = None
    _fetching: ProcessBackend | None = None
    _pool: WorkerPool | None = None
    _tuning: _TuningLog | None = None
    _record: RunRecord | None = None
    _trace: RunTrace | None = None
    _limiter: ApiLimiter | None = None
    _limit_usd: float | None = None
    _cost_warned: bool = False
    _cadence: Cadence | None = None
    _engine_now: Engine | None = None
    _remarks_told: int = 0
    """Of the present engine."""
    _remarks: list[str] = field(default_factory=list)

    async def run(self) -> BatchResult:
        """Drain the batch (or stop on request) and say how it ended."""
        started = time.monotonic()
        options = self.row.options
        if options.download.get("cookies"):
            check_cookies(str(options.download["cookies"]))
        if self.settings.log is not None:
            self._trace = RunTrace(self.settings.log)
        queue = TaskQueue(self.database)
        lock = ProcessLock(self.database.path)
        lock.acquire()
        try:
            async with working_on(self.database.path, self.row.batch_id):
                return await self._run_or_tell(queue, lock, started)
        finally:
            remove_dead(self.database.path)
            lock.close()

    async def _run_or_tell(
        self, queue: TaskQueue, lock: ProcessLock, started: float
    ) -> BatchResult:
        options = self.row.options
        if await self._nothing_to_do(queue):
            await asyncio.to_thread(sweep_temps, Path(options.output_dir))
            return await self._already_done(queue, started)
        await self.database.wait_longer(LOCK_PATIENCE_S)
        load_template(options.template, options.user_templates)
        _make_output_dir(options.output_dir)
        return await self._with_compute(queue, lock, started)

    async def _nothing_to_do(self, queue: TaskQueue) -> bool:
        """All tasks have ended and the library page is there."""
        await queue.recover(self.row.batch_id)
        counts = await queue.counts(self.row.batch_id)
        index = Path(self.row.options.output_dir) / INDEX
        return counts.open == 0 and counts.total > 0 and await asyncio.to_thread(index.is_file)

    async def _already_done(self, queue: TaskQueue, started: float) -> BatchResult:
        batch_id, output = self.row.batch_id, Path(self.row.options.output_dir)
        counts = await queue.counts(batch_id)
        monitor = ProgressMonitor(self.row, counts, self.row.options.parallel, ref=batch_id)
        self.printer.note("everything of this batch is already done")
        self.printer.tick(monitor.snapshot())
        errors = output / f"errors-{batch_id}.md"
        result = BatchResult(
            batch_id=batch_id,
            status=self.row.status,
            counts=counts,
            exit_code=int(ExitCode.PARTIAL if counts.failed else ExitCode.OK),
            elapsed_s=time.monotonic() - started,
            report_index=str(output / INDEX),
            error_report=str(errors) if errors.is_file() else None,
            command_tail=self.settings.command_tail,
        )
        self.printer.finished(result, await failure_groups(queue, batch_id))
        return result

    async def _with_compute(
        self, queue: TaskQueue, lock: ProcessLock, started: float
    ) -> BatchResult:
        options = self.row.options
        engine = self._engine(options.engine)
        cache = ArtifactStore(Path(options.cache_dir), self.settings.cache_limit_bytes)
        told = self._trace.compute if self._trace else None
        limit = self.settings.memory_limit_bytes
        compute = self._compute = ProcessBackend(
            options.compute_processes or first_processes(limit),
            memory_limit_bytes=None if limit is None else int(limit * MEMORY_LIMIT_FRACTION),
            on_event=told,
        )
        # Downloads mostly wait: they get processes of their own, which start when one is needed.
        fetching = self._fetching = ProcessBackend(min(options.parallel, FETCH_PROCESSES))
        try:
            await compute.start()
            await _recall(engine, queue)
            await engine.prepare(compute)
            self._check_memory(engine, compute.memory_limit_bytes)
            parts = _Parts(queue, lock, cache, compute, fetching, started)
            return await self._drain(parts, engine)
        finally:
            await asyncio.shield(asyncio.gather(compute.close(0.5), fetching.close(0.5)))
            await asyncio.to_thread(_tidy, cache)

    def _check_memory(self, engine: Engine, allowed: int) -> None:
        """Say before the first video that a process cannot do its work in `allowed` bytes.

        Raises: ConfigError when it is the user's own limit that is too low.
        """
        if not isinstance(engine, Needing):
            return
        options, limit = self.row.options, self.settings.memory_limit_bytes
        need = engine.process_bytes(ocr=options.slides and options.ocr)
        short = shortage(need, allowed, MEMORY_LIMIT_FRACTION, limit)
        if short is not None and limit is not None:
            raise ConfigError(short.message, hint=short.hint)
        if short is not None:
            self.tell(f"{short.message}; {short.hint}")

    def _engine(self, name: str) -> Engine:
        options = asdict(self.row.options)
        if name != self.row.options.engine:
            options["engine_options"] = self.settings.engine_options.get(name, {})
        keys = self.settings.keys.get(name, ())
        return registry.make(name, options, keys, prices=self.settings.prices_file)

    # --- the run --------------------------------------------------------------------------------

    async def _drain(self, parts: _Parts, engine: Engine) -> BatchResult:
        batch_id, options, queue = self.row.batch_id, self.row.options, parts.queue
        record = self._record = RunRecord(queue, batch_id, parts.lock.process_id)
        await record.started(
            engine=options.engine, parallel=options.parallel, processes=parts.compute.processes
        )
        self.row = await queue.set_batch_status(batch_id, BatchStatus.RUNNING)
        counts = await queue.counts(batch_id)
        monitor = ProgressMonitor(self.row, counts, options.parallel, ref=batch_id)
        await _expect(monitor, queue, batch_id)
        self.printer.started(monitor.snapshot())
        checkpoints = CheckpointManager(queue, self.settings.checkpoint_dir)
        first = await self._first_checkpoint(checkpoints)
        signals = StopSignals(
            on_first=lambda number: self._first_signal(monitor), on_second=self._second_signal
        )
        with signals.installed(on_usr1=lambda: self.printer.status(monitor.snapshot())):
            async with _beside(
                self._tick(monitor, queue),
                self._checkpoint_loop(checkpoints, first, monitor),
                asyncio.to_thread(sweep_temps, Path(options.output_dir)),
                self._tune(parts.compute),
            ):
                outcome = await self._with_fallback(parts, engine, monitor)
            return await self._end(parts, checkpoints, monitor, outcome, signals)

    async def _with_fallback(
        self, parts: _Parts, engine: Engine, monitor: ProgressMonitor
    ) -> PoolOutcome:
        """Drain with the engine; when its quota or budget is spent, go on with the next one."""
        outcome = await self._round(parts, engine, monitor)
        for name in self.row.options.fallback:
            if outcome.reason is not StopReason.LIMIT or name == engine.capabilities.name:
                continue
            reason = outcome.error.message if outcome.error else ""
            following = self._engine(name)
            try:
                await _recall(following, parts.queue)
                await following.prepare(parts.compute)
            except GsvrError as error:
                self.printer.note(f"the engine {name} cannot go on: {error.message}")
                continue
            self.printer.note(f"{reason}; the remaining videos go on with the engine {name}")
            engine = following
            outcome = await self._round(parts, engine, monitor)
        return outcome

    async def _round(self, parts: _Parts, engine: Engine, monitor: ProgressMonitor) -> PoolOutcome:
        """One pool on one engine."""
        self._engine_now, self._remarks_told = engine, 0
        batch_id, options, queue = self.row.batch_id, self.row.options, parts.queue
        # A free engine has no budget to watch; a paid one counts what the batch spent before.
        paid, name = engine.capabilities.needs_network, engine.capabilities.name
        counts = await queue.counts(batch_id)
        limit = await run_budget(queue, options, counts) if paid else Budget()
        own = name == options.engine
        given = options.engine_options if own else self.settings.engine_options.get(name, {})
        config = bucket_config(name, given)
        spending = Spending(self.database, batch_id, parts.lock.process_id)
        purse = purse_of(spending, options) if paid else None
        limiter = make_limiter(queue, batch_id, config, engine.buckets, purse, spending)
        self._limiter = limiter if paid else None
        self._limit_usd = limit.limit_usd
        runner = BatchTaskRunner(
            engine=engine,
            options=options,
            template_of=_template_loader(options.user_templates),
            queue=queue,
            journal=parts.journal(self.database, self._trace),
            compute=parts.compute,
            limiter=limiter,
            cache=parts.cache,
            on_stage=self._stage_listener(monitor),
            fetch_compute=parts.fetching,
        )
        pool = self._pool = WorkerPool(
            queue=queue,
            batch_id=batch_id,
            runner=runner,
            listener=_Listener(self, monitor),
            process_id=parts.lock.process_id,
            parallel=options.parallel,
            max_retries=options.max_retries,
            timeout_s=options.timeout_s,
            outage_limit_s=options.outage_limit_s,
        )
        self._tuning = _TuningLog(
            self._record, pool, options.parallel, self.printer, follow=not paid
        )
        try:
            outcome = await pool.run()
        finally:
            self._tell_remarks()
            await limiter.flush()
        return outcome

    async def _tune(self, compute: ProcessBackend) -> None:
        """Follow the memory until cancelled, unless the user wants a fixed number."""
        if not self.settings.tuning:
            return
        tuner = MemoryTuner(
            compute,
            max_processes=self.row.options.compute_processes or machine.cores(),
            limit_bytes=self.settings.memory_limit_bytes,
            on_change=self._tuned,
        )
        await tuner.run()

    def _tuned(self, change: Change) -> None:
        if self._tuning is not None:
            self._tuning.changed(change)

    def _first_signal(self, monitor: ProgressMonitor) -> None:
        monitor.stopping()
        busy = self._pool.busy if self._pool else 0
        self.printer.interrupted(stopping_text(busy, STOP_GRACE_S))
        if self._pool is not None:
            self._pool.stop(STOP_GRACE_S)

    def _second_signal(self) -> None:
        self.printer.interrupted(stop_now_text())
        if self._pool is not None:
            self._pool.stop_now()

    async def _end(
        self,
        parts: _Parts,
        checkpoints: CheckpointManager,
        monitor: ProgressMonitor,
        outcome: PoolOutcome,
        signals: StopSignals,
    ) -> BatchResult:
        batch_id, queue, started = self.row.batch_id, parts.queue, parts.started
        counts = await queue.counts(batch_id)
        outcome = really(outcome, counts, (await queue.get_batch(batch_id)).status)
        if outcome.error is not None:
            self.settings.advise(outcome.error)
        status, exit_code = judge(outcome, counts, signals)
        pages, failed = BatchPages(), outcome.error
        if outcome.reason is StopReason.DRAINED:
            await self._take_away(queue)
            pages, failed = await self._pages(queue, parts.cache, parts.compute)
            exit_code = failed.exit_code if failed else exit_code
        # Once more: a compute process may have been killed in mid-write since the start.
        await asyncio.to_thread(sweep_temps, Path(self.row.options.output_dir))
        self.row = await self._set_status(queue, status, outcome, counts)
        await checkpoints.write(batch_id, str(outcome.reason))
        monitor.counts(counts)
        self._write_progress(monitor)
        doubt = await doubt_of(self.database, batch_id)
        message = failed.message if failed else ""
        result = BatchResult(
            batch_id=batch_id,
            status=self.row.status,
            counts=counts,
            exit_code=int(exit_code),
            elapsed_s=time.monotonic() - started,
            resume_at=self.row.resume_at,
            report_index=pages.index,
            error_report=pages.errors,
            command_tail=self.settings.command_tail,
            tuning=tuple(self._record.changes) if self._record else (),
            usd_reused=await queue.usd_reused(batch_id),
            usd_in_doubt=doubt.counted,
            usd_held=doubt.held,
            hint=failed.hint if failed else "",
            remarks=tuple(self._remarks),
        )
        self._keep_limits()
        if self._record is not None:
            await self._record.ended(result, message, pages.summary)
            # Of processes that stop together, each saw the others work until this was written.
            if outcome.reason is StopReason.STOPPED:
                self.row = await self._set_status(queue, status, outcome, counts)
        self.printer.tick(monitor.snapshot())
        self.printer.finished(
            result,
            await failure_groups(queue, batch_id),
            [p for p in (pages.summary,) if p],
            kept=await _kept(queue, batch_id) if counts.open else None,
            message=message,
        )
        self._call_webhook(result, failed)
        return result

    def _call_webhook(self, result: BatchResult, error: GsvrError | None) -> None:
        """Hand the news to a sender that outlives us; it cannot delay or fail the batch."""
        url = self.settings.webhook
        if url is None:
            return
        from gs_video_report.webhook import send_in_background

        message = {
            "v": 1,
            "type": f"batch.{result.status}",
            "batch": result.batch_id,
            "name": self.row.name,
            "exit_code": result.exit_code,
            "counts": asdict(result.counts),
            "elapsed_s": round(result.elapsed_s, 1),
            "resume_at": result.resume_at,
            "error": None
            if error is None
            else {"code": error.code, "message": error.message, "hint": error.hint},
        }
        with contextlib.suppress(OSError):
            send_in_background(url, message, os.environ.get("GSVR_WEBHOOK_SECRET", ""))

    async def _pages(
        self,
        queue: TaskQueue,
        cache: ArtifactStore,
        compute: ProcessBackend,
    ) -> tuple[BatchPages, GsvrError | None]:
        try:
            pages = await write_batch_pages(
                queue, self.row, compute, cache, self.settings.command_tail
            )
            return pages, None
        except GsvrError as error:
            self.printer.note(f"the library page could not be written: {error.message}")
            return BatchPages(), error

    async def _set_status(
        self,
        queue: TaskQueue,
        status: BatchStatus,
        outcome: PoolOutcome,
        counts: BatchCounts,
    ) -> BatchRow:
        row = await queue.get_batch(self.row.batch_id)
        stopped = row.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED)
        if stopped and status is BatchStatus.COMPLETED:  # the stop came too late to stop anything
            await queue.set_batch_status(row.batch_id, BatchStatus.RUNNING)
        elif stopped or row.status is status:
            return row
        if outcome.reason is StopReason.STOPPED and (counts.running or await self._others_work()):
            return row  # another process goes on with the batch
        reason = outcome.error.message if outcome.error else str(outcome.reason)
        resume_at = getattr(outcome.error, "resume_at", None)
        return await queue.set_batch_status(
            row.batch_id, status, reason=reason, resume_at=resume_at
        )

    async def _others_work(self) -> bool:
        """Another living process has the batch in hand, if only to wait for a retry."""
        found = living(self.database, await runs(self.database, self.row.batch_id))
        return any(not is_held_here(run.process) for run in found)

    def _stage_listener(self, monitor: ProgressMonitor) -> StageListener:
        """Stages go to the picture, and to the log if there is one."""
        trace = self._trace
        if trace is None:
            return monitor.stage

        def tell(task_id: int, stage: str, done: float, total: float) -> None:
            monitor.stage(task_id, stage, done, total)
            trace.stage(task_id, stage)

        return tell

    def _keep_limits(self) -> None:
        """Once a minute: where the quotas stand, for the log and for `gsvr batch metrics`."""
        if self._limiter is None or self._record is None:
            return
        snapshot = self._limiter.snapshot()
        if self._trace is not None:
            self._trace.limiter(snapshot)
        self._record.keep("limiter", limiter_facts(snapshot))

    def _show_wait(self, monitor: ProgressMonitor) -> None:
        """What requests wait for, in the picture; a long standstill in a sentence."""
        wait = wait_of(self._limiter.snapshot()) if self._limiter is not None else None
        news = monitor.quota(wait)
        if news:
            self.tell(news)

    def tell(self, text: str, **facts: Any) -> None:
        """On the screen, in the log, and for `gsvr batch watch`."""
        self.printer.note(text)
        if self._record is not None:
            self._record.keep("note", {"text": text, **facts})

    def _tell_remarks(self) -> None:
        """What the engine says about its service, each once."""
        found = remarks_of(self._engine_now)
        for remark in found[self._remarks_told :]:
            self._remarks_told += 1
            self._tell_remark(remark)

    def _tell_remark(self, remark: Remark) -> None:
        self._remarks.append(remark.text)
        self.tell(remark.text, kind=remark.kind, **remark.data)

    async def _take_away(self, queue: TaskQueue) -> None:
        """Copies at a service that were kept for videos which another engine has finished."""
        last = self._engine_now
        for name in dict.fromkeys((self.row.options.engine, *self.row.options.fallback)):
            if last is not None and last.capabilities.name == name:
                engine = last
            else:
                try:
                    engine = self._engine(name)
                except GsvrError:  # it could not be made, so it was not used
                    continue
            await take_away(queue, engine, self.row.batch_id, datetime.now(UTC))
            for remark in () if engine is last else remarks_of(engine):
                self._tell_remark(remark)
        self._tell_remarks()

    def count_finished(self) -> None:
        """A task ended: checkpoints are also taken by number."""
        if self._cadence is not None:
            self._cadence.finished()

    # --- beside the pool ------------------------------------------------------------------------

    async def _tick(self, monitor: ProgressMonitor, queue: TaskQueue) -> None:
        last, limits_at = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if now - last >= COUNTS_S:
                last = now
                monitor.counts(await queue.counts(self.row.batch_id))
                monitor.resources(psutil.cpu_percent(), self._memory_bytes())
                self._write_progress(monitor)
                self._watch_cost(monitor)
                self._tell_remarks()
                self._show_wait(monitor)
            if now - limits_at >= LIMITS_S:
                limits_at = now
                self._keep_limits()
            self.printer.tick(monitor.snapshot())

    def _watch_cost(self, monitor: ProgressMonitor) -> None:
        """Say once when most of the budget is spent."""
        limit = self._limit_usd
        if not limit or self._cost_warned:
            return
        spent = monitor.snapshot().usd
        if spent >= COST_WARNING * limit:
            self._cost_warned = True
            text = f"{spent / limit:.0%} of the cost limit is spent (${spent:.2f})"
            self.tell(text)

    def _memory_bytes(self) -> int:
        """Resident memory of this process and its compute processes."""
        mine: int = psutil.Process().memory_info().rss
        return mine + (self._compute.statistics().rss_bytes if self._compute else 0)

    def _write_progress(self, monitor: ProgressMonitor) -> None:
        path = self.settings.progress_file
        if path is None:
            return
        from gs_video_report.batch.clock import utc_now

        data = progress_file(monitor.snapshot(), utc_now())
        try:
            write_atomic(path, json.dumps(data, ensure_ascii=False, indent=1))
        except GsvrError as error:
            self.printer.note(f"the progress file could not be written: {error.message}")

    async def _first_checkpoint(self, checkpoints: CheckpointManager) -> asyncio.Task[Any]:
        """Taken before the work begins, or, in a large batch, while it begins."""
        first = asyncio.create_task(checkpoints.write(self.row.batch_id, "start"))
        try:
            await asyncio.wait({first}, timeout=FIRST_CHECKPOINT_S)
        except asyncio.CancelledError:
            first.cancel()
            raise
        if first.done():
            first.result()
        return first

    async def _checkpoint_loop(
        self, checkpoints: CheckpointManager, first: asyncio.Task[Any], monitor: ProgressMonitor
    ) -> None:
        cadence = self._cadence = Cadence(max(1.0, self.row.options.checkpoint_interval_s))
        began = time.monotonic()
        await first
        cadence.taken(began, time.monotonic())
        while True:
            await asyncio.sleep(0.5)
            began = time.monotonic()
            reason = cadence.due(began, monitor.snapshot().counts.total)
            if reason is not None:
                await checkpoints.write(self.row.batch_id, reason)
                cadence.taken(began, time.monotonic())


@dataclass(slots=True)
class _Listener:
    """Pool events to the monitor and the printer."""

    processor: BatchProcessor
    monitor: ProgressMonitor

    def task_started(self, task: VideoTask, slot: int) -> None:
        if self.trace is not None:
            self.trace.claimed(task)
        self.monitor.task_started(task, f"w{slot}")

    def task_finished(self, task: VideoTask, result: TaskResult, seconds: float) -> None:
        self._left(task)
        self.monitor.task_finished(task, result)
        self.processor.count_finished()
        done, total = self._place()
        self.printer.task_done(TaskLine.of_result(task, result, seconds, done=done, total=total))

    def task_skipped(self, task: VideoTask, result: TaskResult) -> None:
        self._left(task)
        self.monitor.task_skipped(task)
        done, total = self._place()
        line = TaskLine.of_result(task, result, 0.0, done=done, total=total)
        self.printer.task_done(replace(line, state="skipped"))

    def task_failed(self, task: VideoTask, error: GsvrError, seconds: float) -> None:
        self._left(task)
        self.monitor.task_finished(task, error)
        self.processor.count_finished()
        done, total = self._place()
        self.printer.task_failed(
            TaskLine.of_error(task, error, seconds, done=done, total=total, tries=self._tries)
        )

    def task_retrying(self, task: VideoTask, error: GsvrError, delay_s: float) -> None:
        self._left(task)
        self.monitor.retrying(task, error, delay_s)
        self.printer.task_retry(
            TaskLine.of_error(task, error, None, tries=self._tries, delay_s=delay_s)
        )

    def task_released(self, task: VideoTask) -> None:
        self._left(task)
        self.monitor.task_released(task)

    def service_lost(self, outage: Outage, seconds: float) -> None:
        self._tell(lost_text(outage, seconds, datetime.now().astimezone()))

    def service_back(self, outage: Outage, seconds: float) -> None:
        self._tell(back_text(outage, seconds))

    def limit_reached(self, error: LimitReached, finishing: int) -> None:
        videos = plural(finishing, "video")
        whose = "its answer is" if finishing == 1 else "their answers are"
        self._tell(
            f"{error.message}: no more requests are sent; {videos} may still be finished, as "
            f"{whose} there or under way"
        )

    def _tell(self, text: str) -> None:
        self.processor.tell(text)

    def _left(self, task: VideoTask) -> None:
        if self.trace is not None:
            self.trace.left(task)

    @property
    def printer(self) -> Printer:
        return self.processor.printer

    @property
    def trace(self) -> RunTrace | None:
        return self.processor._trace

    @property
    def _tries(self) -> int:
        return self.processor.row.options.max_retries + 1

    def _place(self) -> tuple[int, int]:
        counts = self.monitor.snapshot().counts
        return counts.completed + counts.skipped, counts.total


@dataclass(slots=True)
class _TuningLog:
    """Changes of concurrency: told, kept as events, and followed by the number of videos in flight.

    With fewer compute processes, more videos in flight than those can serve only hold decoded
    sound on the disk; so the pool shrinks and grows with them when the work is local.
    """

    record: RunRecord | None
    pool: WorkerPool
    parallel: int
    printer: Printer
    follow: bool
    """The pool follows: the work is local."""

    def changed(self, change: Change) -> None:
        """Tell and keep the change, and let the pool follow."""
        data = {"old": change.old, "new": change.new, "reason": change.reason}
        self.printer.note(tuning_text(data))
        if self.record is not None:
            self.record.keep("tuning", data)
        if self.follow:
            self.pool.resize(min(self.parallel, 2 * change.new))


# --- helpers -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _beside(*work: Any) -> AsyncIterator[None]:
    """Run side loops while the block runs; one that dies cancels the block with its error."""
    owner = asyncio.current_task()
    tasks = [asyncio.create_task(w) for w in work]
    failed: list[BaseException] = []

    def check(task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and owner is not None:
            failed.append(error)
            owner.cancel()

    for task in tasks:
        task.add_done_callback(check)
    try:
        yield
    except asyncio.CancelledError:
        if failed:
            raise failed[0] from None
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def failure_groups(queue: TaskQueue, batch_id: str) -> tuple[FailureGroup, ...]:
    """Failed tasks of a batch by cause."""
    failed = [
        (display_name(t), t.error)
        async for t in queue.iter_tasks(batch_id, {TaskStatus.FAILED})
        if t.error is not None
    ]
    return group_failures(failed)


async def _kept(queue: TaskQueue, batch_id: str) -> KeptWork:
    videos, steps = await queue.kept_steps(batch_id)
    return KeptWork(videos, steps)


async def _recall(engine: Engine, queue: TaskQueue) -> None:
    """Tell an engine with keys which of them earlier processes found spent."""
    if isinstance(engine, Recalling):
        engine.recall(await spent_keys(queue, datetime.now(UTC)))


async def _expect(monitor: ProgressMonitor, queue: TaskQueue, batch_id: str) -> None:
    monitor.expect(await waiting_lengths(queue.db, batch_id))


def _template_loader(folder: Path | None) -> Callable[[str], Template]:
    known: dict[str, Template] = {}

    def load(name: str) -> Template:
        if name not in known:
            known[name] = load_template(name, folder)
        return known[name]

    return load


def _tidy(cache: ArtifactStore) -> None:
    """Keep the cache within its size; forget work folders of runs long dead."""
    with contextlib.suppress(GsvrError, OSError):
        cache.trim()
        cache.sweep_work_dirs(set())


def _make_output_dir(path: str) -> None:
    target = Path(path)
    try:
        make_dirs(target)
        probe = temp_name(target)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise from_os_error(error, path, writing=True) from error


__all__ = ["BatchProcessor", "RunSettings", "failure_groups"]
