"""Drain a batch with its engine, then with the fallback engines: one pool for each.

True here: a round ends when nothing is left, on a stop, or when the engine's quota or budget is
spent; only the last lets the next engine go on. All rounds share journal, cache and processes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.attempt.task_runner import BatchTaskRunner
from gs_video_report.batch.performance_optimizer import Change
from gs_video_report.batch.pool.outcome import PoolOutcome, StopReason
from gs_video_report.batch.queue.spending import Spending
from gs_video_report.batch.run.limits import (
    Budget,
    bucket_config,
    make_limiter,
    purse_of,
    run_budget,
    spent_keys,
)
from gs_video_report.batch.run.listener import RunListener
from gs_video_report.batch.run.parts import RunParts
from gs_video_report.batch.run.tuning import TuningLog
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.worker_pool import WorkerPool
from gs_video_report.engines.base import Engine, Recalling
from gs_video_report.errors import GsvrError
from gs_video_report.templates.loader import Template, template_loader


@dataclass(slots=True)
class Rounds:
    """The rounds of one run."""

    parts: RunParts
    engine: Engine
    """The one in use: at first the batch's own, made ready."""
    listener: RunListener
    limiter: ApiLimiter | None = None
    """Of the present round, if its engine sends requests."""
    limit_usd: float | None = None
    """What the batch may have spent when the present round must stop; None: no limit."""
    _pool: WorkerPool | None = None
    _tuning: TuningLog | None = None
    _template_of: Callable[[str], Template] = field(init=False)

    def __post_init__(self) -> None:
        self._template_of = template_loader(self.parts.row.options.user_templates)

    async def run(self) -> PoolOutcome:
        """Drain with the engine; when its quota or budget is spent, go on with the next one.

        A batch that stays cancelled has nothing to drain, and its state would stop the pool.
        """
        if self.parts.stays_cancelled:
            return PoolOutcome(StopReason.DRAINED)
        outcome = await self._round()
        for name in self.parts.row.options.fallback:
            if outcome.reason is not StopReason.LIMIT or name == self.engine.capabilities.name:
                continue
            if await self._take_over(name, outcome):
                outcome = await self._round()
        return outcome

    async def _take_over(self, name: str, outcome: PoolOutcome) -> bool:
        """Make the next engine ready; False when it cannot go on."""
        parts = self.parts
        following = parts.settings.make_engine(name, parts.row.options)
        try:
            await recall(following, parts.queue)
            await following.prepare(parts.compute)
        except GsvrError as error:
            parts.teller.printer.note(f"the engine {name} cannot go on: {error.message}")
            return False
        reason = outcome.error.message if outcome.error else ""
        parts.teller.printer.note(f"{reason}; the remaining videos go on with the engine {name}")
        self.engine = following
        return True

    async def _round(self) -> PoolOutcome:
        """One pool on one engine."""
        limiter = await self._limiter()
        self._pool = pool = self._make_pool(limiter)
        teller, options = self.parts.teller, self.parts.row.options
        self._tuning = TuningLog(
            teller.record,
            pool,
            options.parallel,
            teller.printer,
            self.parts.monitor,
            follow=not self._is_paid,
        )
        self._tuning.begin(self.parts.compute.processes)
        try:
            return await pool.run()
        finally:
            teller.hear(self.engine)
            await limiter.flush()

    @property
    def _is_paid(self) -> bool:
        """A free engine has no budget to watch; a paid one counts what the batch spent before."""
        return self.engine.capabilities.needs_network

    async def _limiter(self) -> ApiLimiter:
        parts, options, paid = self.parts, self.parts.row.options, self._is_paid
        name, batch_id = self.engine.capabilities.name, parts.row.batch_id
        counts = await parts.queue.counts(batch_id)
        budget = await run_budget(parts.queue, options, counts) if paid else Budget()
        spending = Spending(parts.queue.db, batch_id, parts.process_id)
        limiter = make_limiter(
            parts.queue,
            batch_id,
            bucket_config(name, parts.settings.options_of(name, options)),
            self.engine.buckets,
            purse_of(spending, options) if paid else None,
            spending,
        )
        self.limiter, self.limit_usd = limiter if paid else None, budget.limit_usd
        return limiter

    def _make_pool(self, limiter: ApiLimiter) -> WorkerPool:
        parts, options = self.parts, self.parts.row.options
        runner = BatchTaskRunner(
            engine=self.engine,
            options=options,
            template_of=self._template_of,
            queue=parts.queue,
            journal=parts.journal,
            compute=parts.compute,
            limiter=limiter,
            cache=parts.cache,
            on_stage=self.listener.stage,
            on_length=self.listener.length,
            fetch_compute=parts.fetching,
        )
        return WorkerPool(
            queue=parts.queue,
            batch_id=parts.row.batch_id,
            runner=runner,
            listener=self.listener,
            process_id=parts.process_id,
            parallel=options.parallel,
            max_retries=options.max_retries,
            timeout_s=options.timeout_s,
            outage_limit_s=options.outage_limit_s,
        )

    # --- while a round runs ---------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """Tasks in work."""
        return self._pool.busy if self._pool else 0

    @property
    def held_by_quota(self) -> frozenset[int]:
        """See `WorkerPool.held_by_quota`."""
        return self._pool.held_by_quota if self._pool else frozenset()

    def stop(self, grace_s: float) -> None:
        """See `WorkerPool.stop`."""
        if self._pool is not None:
            self._pool.stop(grace_s)

    def stop_now(self) -> None:
        """See `WorkerPool.stop_now`."""
        if self._pool is not None:
            self._pool.stop_now()

    def tuned(self, change: Change) -> None:
        """The number of compute processes has changed."""
        if self._tuning is not None:
            self._tuning.changed(change)

    def keep_quotas(self) -> None:
        """Tell where the quotas of the present round stand."""
        if self.limiter is not None:
            self.parts.teller.quotas(self.limiter.snapshot())


async def recall(engine: Engine, queue: TaskQueue) -> None:
    """Tell an engine with keys which of them earlier processes found spent."""
    if isinstance(engine, Recalling):
        engine.recall(await spent_keys(queue, datetime.now(UTC)))
