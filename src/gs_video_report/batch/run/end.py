"""The end of a run: pages, state of the batch, last checkpoint, and the news of it.

The order matters. Pages come before the state, so that a batch that is `completed` has its library
page; the checkpoint holds the state; the record of the run comes after all that is written, and
only then is the end told.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.data_models import BatchCounts, BatchResult, BatchRow, BatchStatus
from gs_video_report.batch.pool.outcome import PoolOutcome, StopReason, judge, really
from gs_video_report.batch.pool.stop_signals import StopSignals
from gs_video_report.batch.queue.doubt import doubt_of
from gs_video_report.batch.queue.event_reads import living, runs
from gs_video_report.batch.run.finisher import BatchPages, write_batch_pages
from gs_video_report.batch.run.leftovers import count_left, not_for_long, take_away
from gs_video_report.batch.run.parts import RunParts
from gs_video_report.batch.run.rounds import Rounds
from gs_video_report.batch.run.summary_reads import failure_groups, kept_work
from gs_video_report.batch.run.ticker import write_progress
from gs_video_report.batch.run.webhook import call_webhook, message_of
from gs_video_report.batch.store.process_lock import is_held_here
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.engines.base import Engine, remarks_of
from gs_video_report.errors import ExitCode, GsvrError
from gs_video_report.files import sweep_temps

CANCELLED_ON_REQUEST = "cancelled on request"


@dataclass(slots=True)
class RunEnd:
    """Ends one run."""

    parts: RunParts
    rounds: Rounds
    checkpoints: CheckpointManager

    async def after(self, outcome: PoolOutcome, signals: StopSignals) -> BatchResult:
        """Do what is left to do when the pool is through, and say how the run ended."""
        parts, queue, batch_id = self.parts, self.parts.queue, self.parts.row.batch_id
        counts = await queue.counts(batch_id)
        if not parts.stays_cancelled:
            outcome = really(outcome, counts, (await queue.get_batch(batch_id)).status)
        if outcome.error is not None:
            parts.settings.advise(outcome.error)
        status, exit_code = judge(outcome, counts, signals, stays_cancelled=parts.stays_cancelled)
        if exit_code is ExitCode.OK and parts.teller.reports_kept:
            exit_code = ExitCode.PARTIAL
        pages, error = BatchPages(), outcome.error
        if outcome.reason is StopReason.DRAINED:
            await self._clear_services(signals.asked)
            pages, error = await self._pages()
            exit_code = error.exit_code if error else exit_code
        # Once more: a compute process may have been killed in mid-write since the start.
        await asyncio.to_thread(sweep_temps, Path(parts.row.options.output_dir))
        row = await settle_status(queue, batch_id, status, outcome, counts)
        await self.checkpoints.write(batch_id, str(outcome.reason))
        parts.monitor.counts(counts)
        write_progress(parts)
        result = await self._result(row, counts, exit_code, pages, error)
        await self._record(result, error, pages)
        # Of processes that stop together, each saw the others work until this was written.
        if outcome.reason is StopReason.STOPPED:
            await settle_status(queue, batch_id, status, outcome, counts)
        await self._tell(result, error, pages)
        return result

    async def _clear_services(self, stop: asyncio.Event) -> None:
        """Copies at a service that were kept for videos which another engine has finished.

        Nothing is drawn any more meanwhile, so a wait is short, told, and ended by a stop.
        """
        parts = self.parts
        if await count_left(parts.queue, parts.row.batch_id, datetime.now(UTC)):
            await not_for_long(self._take_copies_away(), stop, parts.teller.tell)
        parts.teller.hear(self.rounds.engine)

    async def _take_copies_away(self) -> None:
        parts, last = self.parts, self.rounds.engine
        options = parts.row.options
        for name in dict.fromkeys((options.engine, *options.fallback)):
            engine = last if last.capabilities.name == name else self._other(name)
            if engine is None:
                continue
            await take_away(parts.queue, engine, parts.row.batch_id, datetime.now(UTC))
            for remark in () if engine is last else remarks_of(engine):
                parts.teller.remark(remark)

    def _other(self, name: str) -> Engine | None:
        """An engine that is not in use now; None: it could not be made, so it was not used."""
        try:
            return self.parts.settings.make_engine(name, self.parts.row.options)
        except GsvrError:
            return None

    async def _pages(self) -> tuple[BatchPages, GsvrError | None]:
        parts = self.parts
        try:
            pages = await write_batch_pages(
                parts.queue, parts.row, parts.compute, parts.cache, parts.settings.command_tail
            )
            return pages, None
        except GsvrError as error:
            parts.teller.printer.note(f"the library page could not be written: {error.message}")
            return BatchPages(), error

    async def _result(
        self,
        row: BatchRow,
        counts: BatchCounts,
        exit_code: ExitCode,
        pages: BatchPages,
        error: GsvrError | None,
    ) -> BatchResult:
        parts = self.parts
        doubt = await doubt_of(parts.queue.db, row.batch_id)
        return BatchResult(
            batch_id=row.batch_id,
            status=row.status,
            counts=counts,
            exit_code=int(exit_code),
            elapsed_s=time.monotonic() - parts.started,
            resume_at=row.resume_at,
            report_index=pages.index,
            error_report=pages.errors,
            command_tail=parts.settings.command_tail,
            tuning=tuple(parts.teller.record.changes),
            usd_reused=await parts.queue.usd_reused(row.batch_id),
            usd_in_doubt=doubt.counted,
            usd_held=doubt.held,
            hint=error.hint if error else "",
            remarks=tuple(parts.teller.remarks),
        )

    async def _record(
        self, result: BatchResult, error: GsvrError | None, pages: BatchPages
    ) -> None:
        self.rounds.keep_quotas()
        message = error.message if error else ""
        await self.parts.teller.record.ended(result, message, pages.summary)

    async def _tell(self, result: BatchResult, error: GsvrError | None, pages: BatchPages) -> None:
        parts, queue = self.parts, self.parts.queue
        printer = parts.teller.printer
        printer.tick(parts.monitor.snapshot())
        printer.finished(
            result,
            await failure_groups(queue, result.batch_id),
            [pages.summary] if pages.summary else [],
            kept=await kept_work(queue, result.batch_id) if result.counts.open else None,
            message=error.message if error else "",
        )
        if parts.settings.webhook is not None:
            call_webhook(parts.settings.webhook, message_of(result, parts.row.name, error))


async def settle_status(
    queue: TaskQueue,
    batch_id: str,
    status: BatchStatus,
    outcome: PoolOutcome,
    counts: BatchCounts,
) -> BatchRow:
    """Bring the batch to `status`, unless others have the last word; the row as it is then.

    A stop that somebody else wrote stays, and while another process works on the batch it goes on.
    """
    row = await queue.get_batch(batch_id)
    stopped = row.status in (BatchStatus.PAUSED, BatchStatus.FAILED, BatchStatus.CANCELLED)
    if stopped and status is BatchStatus.COMPLETED:  # the stop came too late to stop anything
        await queue.set_batch_status(batch_id, BatchStatus.RUNNING)
    elif stopped or row.status is status:
        return row
    is_stopped_here = outcome.reason is StopReason.STOPPED
    if is_stopped_here and (counts.running or await _others_work(queue, batch_id)):
        return row  # another process goes on with the batch
    reason = outcome.error.message if outcome.error else str(outcome.reason)
    if status is BatchStatus.CANCELLED:
        reason = CANCELLED_ON_REQUEST
    resume_at = getattr(outcome.error, "resume_at", None)
    return await queue.set_batch_status(batch_id, status, reason=reason, resume_at=resume_at)


async def _others_work(queue: TaskQueue, batch_id: str) -> bool:
    """Another living process has the batch in hand, if only to wait for a retry."""
    found = living(queue.db, await runs(queue.db, batch_id))
    return any(not is_held_here(run.process) for run in found)
