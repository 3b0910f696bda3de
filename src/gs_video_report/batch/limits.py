"""The limiter of a run: buckets from the configuration, spending from the ledger in the database.

A bucket is named `provider/model/key id`, for servers of one's own `provider/host/model/key id`.
Buckets that are not configured start without limits; what the provider refuses teaches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.data_models import BatchCounts, BatchOptions, Usage
from gs_video_report.batch.limiter_models import BucketConfig, UsageEntry, UsageTotals
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import LimitReached


@dataclass(frozen=True, slots=True)
class UsageLedger:
    """`limiter_models.Ledger` on the `usage` table, shared by all processes of one database."""

    queue: TaskQueue
    batch_id: str

    async def record(self, entry: UsageEntry) -> None:
        """One row, at the time of the request."""
        provider, model, key_id = bucket_parts(entry.bucket)
        usage = Usage(entry.requests, entry.tokens_in, entry.tokens_out, entry.usd)
        await self.queue.record_usage(
            provider,
            usage,
            model=model,
            key_id=key_id,
            batch_id=self.batch_id,
            at=iso_ms(entry.at),
        )

    async def usage_since(
        self, bucket: str, since: datetime, *, count_output_tokens: bool
    ) -> UsageTotals:
        """Sums of the bucket's rows from `since` on."""
        provider, model, key_id = bucket_parts(bucket)
        usage = await self.queue.usage_since(
            iso_ms(since), provider=provider, model=model, key_id=key_id
        )
        out = usage.tokens_out if count_output_tokens else 0
        return UsageTotals(usage.requests, usage.tokens_in + out, usage.usd)


def bucket_parts(bucket: str) -> tuple[str, str, str]:
    """(provider, model, key id) of a bucket's name; models may hold slashes themselves."""
    provider, _, rest = bucket.partition("/")
    model, _, key_id = rest.rpartition("/")
    return provider, model, key_id


def iso_ms(moment: datetime) -> str:
    """UTC with milliseconds, as the database writes times."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def bucket_config(engine: str, engine_options: Mapping[str, Any]) -> BucketConfig:
    """Limits of one key from the engine's section: rpm, tpm, rpd.

    Gemini's token quota counts what is sent only; others count the answers as well.
    """
    return BucketConfig(
        count_output_tokens=engine != "gemini",
        requests_per_minute=engine_options.get("rpm"),
        tokens_per_minute=engine_options.get("tpm"),
        requests_per_day=engine_options.get("rpd"),
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend, as a limit on the batch's own sum."""

    limit_usd: float | None = None
    """None: no limit."""
    resume_at: str | None = None
    """ISO-8601 UTC; set when the day's budget binds: then the next midnight frees it."""


def budget(options: BatchOptions, batch_usd: float, today_usd: float, midnight: datetime) -> Budget:
    """The tighter of the batch's limit and what is left of the day's. Pure.

    Args:
        batch_usd: spent by the batch so far.
        today_usd: spent today by all batches of the database, this one included.
        midnight: when the day ends, aware.
    """
    limit, daily = options.cost_limit_usd, options.daily_cost_limit_usd
    if daily is None:
        return Budget(limit)
    by_day = batch_usd + max(0.0, daily - today_usd)
    if limit is not None and limit <= by_day:
        return Budget(limit)
    return Budget(by_day, iso_ms(midnight))


def local_day(now: datetime) -> tuple[datetime, datetime]:
    """The last and the next midnight of this machine's zone around `now` (aware)."""
    local = now.astimezone()
    start = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return start, start + timedelta(days=1)


async def run_budget(queue: TaskQueue, options: BatchOptions, counts: BatchCounts) -> Budget:
    """`budget()` with the sums of the ledger."""
    start, midnight = local_day(datetime.now(UTC))
    today = await queue.usage_since(iso_ms(start))
    return budget(options, counts.usd, today.usd, midnight)


def make_limiter(
    queue: TaskQueue,
    batch_id: str,
    config: BucketConfig,
    limit: Budget,
    spent_usd: float,
    buckets: tuple[str, ...],
) -> ApiLimiter:
    """The limiter of one run of a batch.

    Args:
        spent_usd: by the batch so far; counts towards the limit.
        buckets: names of the engine's buckets, one per model and key.
    """
    return ApiLimiter(
        dict.fromkeys(buckets, config),
        ledger=UsageLedger(queue, batch_id),
        cost_limit_usd=limit.limit_usd,
        spent_usd=spent_usd,
    )


def with_resume_time(error: LimitReached, limit: Budget) -> LimitReached:
    """The same error with the time at which the day's budget is free again, if that bound."""
    if limit.resume_at is None or "limit_usd" not in error.data:
        return error
    return LimitReached(
        f"the daily cost limit is reached: {error.message}",
        hint="it goes on after midnight, or with a higher --daily-cost-limit",
        **{**error.data, "resume_at": limit.resume_at},
    )
