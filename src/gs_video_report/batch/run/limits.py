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
from gs_video_report.batch.limiter.models import BucketConfig, UsageEntry, UsageTotals
from gs_video_report.batch.queue.spending import Spending, Sums, iso_ms, local_day
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import LimitReached

KEY_MEMORY = timedelta(days=2)
"""How long it is remembered that the quota of a key was spent."""


@dataclass(frozen=True, slots=True)
class UsageLedger:
    """`limiter.models.Ledger` on the `usage` table, shared by all processes of one database."""

    queue: TaskQueue
    batch_id: str

    async def record(self, entry: UsageEntry) -> None:
        """One row, at the time of the request; its hold ends with it, or is left."""
        provider, model, key_id = bucket_parts(entry.bucket)
        usage = Usage(entry.requests, entry.tokens_in, entry.tokens_out, entry.usd)
        await self.queue.record_usage(
            provider,
            usage,
            model=model,
            key_id=key_id,
            batch_id=self.batch_id,
            at=iso_ms(entry.at),
            hold=entry.hold,
            leaves_hold=entry.leaves_hold,
            in_doubt=entry.in_doubt,
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


@dataclass(frozen=True, slots=True)
class SharedPurse:
    """`limiter.models.Purse` on the database: all processes together keep the limits."""

    spending: Spending
    batch_limit: float | None
    day_limit: float | None

    async def take(self, hold: str, usd: float, *, owed: bool = False) -> bool:
        """See `Purse.take`. LimitReached has `resume_at` when the day's limit binds."""
        now = datetime.now(UTC)
        batch_limit, day_limit = (None, None) if owed else (self.batch_limit, self.day_limit)
        standing = await self.spending.take(
            hold, usd, batch_limit=batch_limit, day_limit=day_limit, now=now
        )
        if standing is None:
            return True
        doubt = await self.spending.in_doubt(now, but=hold)
        _check(standing.batch, doubt.batch, usd, self.batch_limit, None)
        _check(standing.day, doubt.day, usd, self.day_limit, iso_ms(local_day(now)[1]))
        return False

    async def is_held(self, hold: str) -> bool:
        """See `Purse.is_held`."""
        return await self.spending.is_held(hold)


def _check(sums: Sums, doubt: Sums, usd: float, limit: float | None, resume_at: str | None) -> None:
    """Raises: LimitReached when `usd` would not fit even if nothing were in flight."""
    if limit is None or Sums(sums.spent, doubt.held).fits(usd, limit):
        return
    parts = [f"${sums.spent:.4f} spent", f"up to ${usd:.4f} more"]
    freed = ""
    if doubt.held:
        parts.insert(1, f"${doubt.held:.4f} perhaps spent by a run that was killed or stopped")
        freed = "; if the provider did not charge for those: gsvr quota --release-doubtful"
    which, option = ("daily cost limit", "--daily-cost-limit")
    if resume_at is None:
        which, option = ("cost limit", "--cost-limit")
    told = {"limit_usd": limit, "spent_usd": round(sums.spent, 6)}
    later = "it goes on after midnight, or with" if resume_at else "resume the batch with"
    raise LimitReached(
        f"the next request could pass the {which} of ${limit:g} ({', '.join(parts)})",
        hint=f"{later} a higher {option}{freed}",
        **(told if resume_at is None else told | {"resume_at": resume_at}),
    )


def bucket_parts(bucket: str) -> tuple[str, str, str]:
    """(provider, model, key id) of a bucket's name; models may hold slashes themselves."""
    provider, _, rest = bucket.partition("/")
    model, _, key_id = rest.rpartition("/")
    return provider, model, key_id


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


async def run_budget(queue: TaskQueue, options: BatchOptions, counts: BatchCounts) -> Budget:
    """`budget()` with the sums of the ledger."""
    start, midnight = local_day(datetime.now(UTC))
    today = await queue.usage_since(iso_ms(start))
    return budget(options, counts.usd, today.usd, midnight)


def make_limiter(
    queue: TaskQueue,
    batch_id: str,
    config: BucketConfig,
    buckets: tuple[str, ...],
    purse: SharedPurse | None = None,
    memory: Spending | None = None,
) -> ApiLimiter:
    """The limiter of one run of a batch.

    Args:
        buckets: names of the engine's buckets, one per model and key.
        purse: None = what is spent has no limit.
        memory: None = quotas are learned anew.
    """
    return ApiLimiter(
        dict.fromkeys(buckets, config),
        ledger=UsageLedger(queue, batch_id),
        purse=purse,
        memory=memory,
    )


async def spent_keys(queue: TaskQueue, now: datetime) -> dict[str, datetime]:
    """Buckets of keys that earlier processes found spent, with the time (aware) of their reset.

    Only those that still rest at `now` (aware), and only keys of several: see `Recalling`.
    """
    rows = await queue.keys_set_aside(iso_ms(now - KEY_MEMORY))
    spent = {row["bucket"]: row["until"] for row in rows if row["kind"] == "key_spent"}
    times = {bucket: datetime.fromisoformat(until) for bucket, until in spent.items() if until}
    return {bucket: until for bucket, until in times.items() if until > now}


def purse_of(spending: Spending, options: BatchOptions) -> SharedPurse | None:
    """The limits of the options on the database's money; None when there are none."""
    if options.cost_limit_usd is None and options.daily_cost_limit_usd is None:
        return None
    return SharedPurse(spending, options.cost_limit_usd, options.daily_cost_limit_usd)
