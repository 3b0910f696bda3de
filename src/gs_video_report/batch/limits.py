"""The limiter of a run: buckets from the configuration, spending from the ledger in the database.

A bucket is named `provider/model/key id`, for servers of one's own `provider/host/model/key id`.
Buckets that are not configured have no limits of their own, but a pause that the provider asks
for is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.data_models import BatchCounts, BatchOptions, Usage
from gs_video_report.batch.limiter_models import BucketConfig, UsageEntry, UsageTotals
from gs_video_report.batch.task_queue import TaskQueue


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


def make_limiter(
    queue: TaskQueue,
    batch_id: str,
    engine: str,
    options: BatchOptions,
    counts: BatchCounts,
    buckets: tuple[str, ...],
) -> ApiLimiter:
    """The limiter of one run of a batch.

    Args:
        counts: of the batch so far; what was spent counts towards the cost limit.
        buckets: names of the engine's buckets, one per model and key.
    """
    config = bucket_config(engine, options.engine_options)
    return ApiLimiter(
        dict.fromkeys(buckets, config),
        ledger=UsageLedger(queue, batch_id),
        cost_limit_usd=options.cost_limit_usd,
        spent_usd=counts.usd,
    )
