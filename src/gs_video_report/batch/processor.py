"""Run one batch in this process: wire queue, pool, engine, limiter, checkpoints and faces together.

No rules of its own: identity is in planner, states in the queue, stopping in the pool, drawing in
the printer. The order that matters: lock, recover, checkpoint, rounds of the pool, and the end
(`run.end`: pages, status, checkpoint).
Raises: FatalError and UsageError classes before anything ran; afterwards the result tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.batch.checkpoint.cadence import Cadence
from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.data_models import BatchResult, BatchRow, BatchStatus
from gs_video_report.batch.performance_optimizer import first_processes
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.pool.stop_signals import StopSignals
from gs_video_report.batch.progress.file import ProgressFile
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.batch.queue.event_reads import waiting_lengths
from gs_video_report.batch.run.checkpoints import RunCheckpoints
from gs_video_report.batch.run.end import RunEnd
from gs_video_report.batch.run.finisher import INDEX
from gs_video_report.batch.run.listener import RunListener
from gs_video_report.batch.run.parts import RunParts, RunSettings
from gs_video_report.batch.run.record import RunRecord
from gs_video_report.batch.run.rounds import Rounds, recall
from gs_video_report.batch.run.summary_reads import failure_groups
from gs_video_report.batch.run.teller import RunTeller
from gs_video_report.batch.run.ticker import RunTicker
from gs_video_report.batch.run.trace import RunTrace, TracedJournal
from gs_video_report.batch.run.tuning import tune
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.batch_lock import working_on
from gs_video_report.batch.store.process_lock import ProcessLock, remove_dead
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.process_pool import MEMORY_LIMIT_FRACTION, ProcessBackend
from gs_video_report.engines.base import Engine, Needing
from gs_video_report.engines.fetch import MAX_PROCESSES as FETCH_PROCESSES
from gs_video_report.engines.memory_need import shortage
from gs_video_report.errors import ConfigError, ExitCode, GsvrError, from_os_error
from gs_video_report.files import make_dirs, sweep_temps, temp_name
from gs_video_report.media.web.settings import check_cookies
from gs_video_report.templates.loader import load_template
from gs_video_report.terminal.printer import Printer
from gs_video_report.terminal.summary import stop_now_text, stopping_text

STOP_GRACE_S = 4.0
"""Seconds that steps in flight get after the first Ctrl-C; the whole stop stays under 5 s."""
LOCK_PATIENCE_S = 90.0
"""Seconds a run waits for another program (a backup, a database browser) to let the file go."""


@dataclass(slots=True)
class _Machinery:
    """What is open before the batch is marked running."""

    queue: TaskQueue
    process_id: str
    cache: ArtifactStore
    compute: ProcessBackend
    fetching: ProcessBackend
    trace: RunTrace | None
    started: float


@dataclass(slots=True)
class BatchProcessor:
    """One run of one batch. Single use."""

    database: Database
    row: BatchRow
    printer: Printer
    settings: RunSettings = field(default_factory=RunSettings)

    async def run(self) -> BatchResult:
        """Drain the batch (or stop on request) and say how it ended."""
        started = time.monotonic()
        options = self.row.options
        if options.download.get("cookies"):
            check_cookies(str(options.download["cookies"]))
        queue = TaskQueue(self.database)
        lock = ProcessLock(self.database.path)
        lock.acquire()
        try:
            async with working_on(self.database.path, self.row.batch_id):
                if await self._nothing_to_do(queue):
                    await asyncio.to_thread(sweep_temps, Path(options.output_dir))
                    return await self._already_done(queue, started)
                await self.database.wait_longer(LOCK_PATIENCE_S)
                try:
                    load_template(options.template, options.user_templates)
                    _make_output_dir(options.output_dir)
                    return await self._with_compute(queue, lock.process_id, started)
                except GsvrError as error:
                    with contextlib.suppress(GsvrError):  # what went wrong first is what to tell
                        await self._never_began(queue, error)
                    raise
        finally:
            remove_dead(self.database.path)
            lock.close()

    async def _never_began(self, queue: TaskQueue, error: GsvrError) -> None:
        """A new batch whose first run could not begin is not on its way to anything.

        Another process may have begun with it meanwhile: then it goes on.
        """
        new, failed = BatchStatus.INITIALIZING, BatchStatus.FAILED
        await queue.set_batch_status(self.row.batch_id, failed, reason=error.message, only_from=new)

    async def _nothing_to_do(self, queue: TaskQueue) -> bool:
        """The batch and all its tasks have ended, and the library page is as new as its reports.

        A batch whose last open task was cancelled by hand has not ended: its run has to say so.
        """
        await queue.recover(self.row.batch_id)
        if self.row.status not in (BatchStatus.COMPLETED, BatchStatus.CANCELLED):
            return False
        counts = await queue.counts(self.row.batch_id)
        if counts.open or not counts.total or await queue.pages_are_older(self.row.batch_id):
            return False
        return await asyncio.to_thread((Path(self.row.options.output_dir) / INDEX).is_file)

    async def _already_done(self, queue: TaskQueue, started: float) -> BatchResult:
        batch_id, output = self.row.batch_id, Path(self.row.options.output_dir)
        counts = await queue.counts(batch_id)
        monitor = ProgressMonitor(self.row, counts, self.row.options.parallel, ref=batch_id)
        cancelled = self.row.status is BatchStatus.CANCELLED
        if not counts.cancelled:
            self.printer.note("everything of this batch is already done")
        self.printer.tick(monitor.snapshot())
        errors = output / f"errors-{batch_id}.md"
        result = BatchResult(
            batch_id=batch_id,
            status=self.row.status,
            counts=counts,
            exit_code=int(ExitCode.PARTIAL if counts.failed or cancelled else ExitCode.OK),
            elapsed_s=time.monotonic() - started,
            report_index=str(output / INDEX),
            error_report=str(errors) if errors.is_file() else None,
            command_tail=self.settings.command_tail,
        )
        self.printer.finished(result, await failure_groups(queue, batch_id))
        return result

    # --- what a run needs -----------------------------------------------------------------------

    async def _with_compute(self, queue: TaskQueue, process_id: str, started: float) -> BatchResult:
        options, settings = self.row.options, self.settings
        engine = settings.make_engine(options.engine, options)
        cache = ArtifactStore(Path(options.cache_dir), settings.cache_limit_bytes)
        trace = RunTrace(settings.log) if settings.log is not None else None
        compute = self._make_compute(trace)
        fetching = ProcessBackend(min(options.parallel, FETCH_PROCESSES))
        try:
            await compute.start()
            await recall(engine, queue)
            await engine.prepare(compute)
            self._check_memory(engine, compute.memory_limit_bytes)
            opened = _Machinery(queue, process_id, cache, compute, fetching, trace, started)
            return await self._drain(await self._begin(opened), engine)
        finally:
            await asyncio.shield(asyncio.gather(compute.close(0.5), fetching.close(0.5)))
            await asyncio.to_thread(_tidy, cache)

    def _make_compute(self, trace: RunTrace | None) -> ProcessBackend:
        limit = self.settings.memory_limit_bytes
        return ProcessBackend(
            self.row.options.compute_processes or first_processes(limit),
            memory_limit_bytes=None if limit is None else int(limit * MEMORY_LIMIT_FRACTION),
            on_event=trace.compute if trace else None,
        )

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
            self.printer.note(f"{short.message}; {short.hint}")

    # --- the run --------------------------------------------------------------------------------

    async def _begin(self, opened: _Machinery) -> RunParts:
        """Mark the batch as running and make its picture.

        A cancelled batch that only gets its pages is not marked: killed meanwhile, it would be
        running, and the next run would complete it.
        """
        queue, batch_id, options = opened.queue, self.row.batch_id, self.row.options
        record = RunRecord(queue, batch_id, opened.process_id)
        await record.started(
            engine=options.engine, parallel=options.parallel, processes=opened.compute.processes
        )
        counts = await queue.counts(batch_id)
        stays_cancelled = self.row.status is BatchStatus.CANCELLED and not counts.open
        if not stays_cancelled:
            self.row = await queue.set_batch_status(batch_id, BatchStatus.RUNNING)
        monitor = ProgressMonitor(self.row, counts, options.parallel, ref=batch_id)
        monitor.expect(await waiting_lengths(queue.db, batch_id))
        self.printer.started(monitor.snapshot())
        trace, progress = opened.trace, self.settings.progress_file
        return RunParts(
            row=self.row,
            settings=self.settings,
            process_id=opened.process_id,
            queue=queue,
            journal=StepJournal(queue.db) if trace is None else TracedJournal(queue.db, trace),
            cache=opened.cache,
            compute=opened.compute,
            fetching=opened.fetching,
            monitor=monitor,
            teller=RunTeller(self.printer, record, trace),
            started=opened.started,
            stays_cancelled=stays_cancelled,
            progress_file=ProgressFile(progress) if progress else None,
        )

    async def _drain(self, parts: RunParts, engine: Engine) -> BatchResult:
        options, monitor = self.row.options, parts.monitor
        manager = CheckpointManager(parts.queue, self.settings.checkpoint_dir)
        cadence = Cadence(max(1.0, options.checkpoint_interval_s))
        checkpoints = RunCheckpoints(manager, self.row.batch_id, cadence)
        first = await checkpoints.first()
        listener = RunListener(monitor, parts.teller, options.max_retries + 1, cadence.finished)
        rounds = Rounds(parts, engine, listener)
        signals = self._signals(monitor, rounds)
        with signals.installed(on_usr1=lambda: self.printer.status(monitor.snapshot())):
            async with _beside(
                RunTicker(parts, rounds).run(),
                checkpoints.follow(first, monitor),
                asyncio.to_thread(sweep_temps, Path(options.output_dir)),
                *([tune(parts, rounds.tuned)] if self.settings.tuning else []),
            ):
                outcome = await rounds.run()
            result = await RunEnd(parts, rounds, manager).after(outcome, signals)
        return result

    def _signals(self, monitor: ProgressMonitor, rounds: Rounds) -> StopSignals:
        """The first signal stops gracefully, the second at once."""

        def first(_: Any) -> None:
            monitor.stopping()
            self.printer.interrupted(stopping_text(rounds.busy, STOP_GRACE_S))
            rounds.stop(STOP_GRACE_S)

        def second() -> None:
            self.printer.interrupted(stop_now_text())
            rounds.stop_now()

        return StopSignals(on_first=first, on_second=second)


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
