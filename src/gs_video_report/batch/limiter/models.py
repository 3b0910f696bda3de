"""Values of the rate limiter: what is configured, what is recorded, what is shown. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

PACIFIC = "America/Los_Angeles"
_PACIFIC_WITHOUT_DATABASE = timezone(timedelta(hours=-8))


@dataclass(frozen=True, slots=True)
class BucketConfig:
    """Limits of one provider, model and key. None = no such limit; 0 is refused where it
    would forbid everything."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    requests_burst: float | None = None
    """Requests that may go at once; None = a quarter of the quota, at least 1."""
    tokens_burst: float | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    max_in_flight: int | None = None
    count_output_tokens: bool = True
    """Whether the provider's token quota also counts what it writes."""
    day_zone: str = PACIFIC
    """Where the day of the daily quota begins at midnight; an IANA name."""

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute", "max_in_flight"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be above 0, not {value}; None means no limit")


@dataclass(frozen=True, slots=True)
class UsageEntry:
    """What one reservation spent; a row of the ledger."""

    bucket: str
    at: datetime
    """UTC, the time of the reservation."""
    requests: int
    tokens_in: int
    tokens_out: int
    usd: float
    hold: str = ""
    """The money set aside for it, which the row takes the place of; empty = none."""
    in_doubt: bool = False
    """No answer came: it is counted in full, and may have cost nothing."""
    leaves_hold: bool = False
    """What it asked for may be charged later: the hold stays, and nobody waits for it now."""


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Sums over ledger rows."""

    requests: int = 0
    tokens: int = 0
    """In and out, or in only, as the bucket counts them."""
    usd: float = 0.0


class Ledger(Protocol):
    """Where usage survives a restart; several processes may share it."""

    async def record(self, entry: UsageEntry) -> None:
        """Store one row durably, and end or leave its hold; without requests only the latter.

        Raises: GsvrError; the limiter keeps the row and tries again.
        """

    async def usage_since(
        self, bucket: str, since: datetime, *, count_output_tokens: bool
    ) -> UsageTotals:
        """Sums of the bucket's rows at or after `since` (UTC), of all processes."""
        ...


class Memory(Protocol):
    """Where learned quotas survive a restart; several processes may share it."""

    async def learned(self, bucket: str) -> tuple[datetime, dict[str, Any]] | None:
        """When (aware) and what was learned last; None = nothing. Raises: GsvrError."""
        ...

    async def keep_learned(self, bucket: str, now: datetime, learned: dict[str, Any]) -> None:
        """Store it durably. Raises: GsvrError."""


class Purse(Protocol):
    """The money that all processes of a database may spend together."""

    async def take(self, hold: str, usd: float, *, owed: bool = False) -> bool:
        """Set `usd` aside until the usage row with this `hold` is stored.

        What was set aside under this name before is replaced. What is `owed` already is set aside
        whatever the limits are.

        Returns:
            False = too much is in flight at the moment; nothing was set aside.

        Raises: LimitReached when it would pass the limit even if nothing were in flight.
        """
        ...

    async def is_held(self, hold: str) -> bool:
        """Whether money is set aside under this name, by whichever process."""
        ...


@dataclass(frozen=True, slots=True)
class BucketSnapshot:
    """One bucket, for monitors."""

    name: str
    in_flight: int
    waiting: int
    factor: float
    """Share of the configured rate in use, 0.1 .. 1; below 1 after refusals."""
    blocked_s: float
    """Seconds until the next request may go because the provider asked for a pause."""
    requests_level: float | None
    """Requests that could go now; None = not limited."""
    tokens_level: float | None
    day: UsageTotals
    """Since midnight of the provider, in flight not counted."""
    exhausted_until: datetime | None
    lacks: str = ""
    """What the first waiting request lacks: `requests`, `tokens`, `pause`, `slots`, `day`."""
    next_s: float | None = None
    """Seconds until it may go; None = when something under way ends, or nothing waits."""


@dataclass(frozen=True, slots=True)
class LimiterSnapshot:
    """The limiter at one moment."""

    buckets: tuple[BucketSnapshot, ...]
    spent_usd: float
    """By this process."""
    reserved_usd: float
    """Estimates of what is in flight."""
    unrecorded: int
    """Ledger rows that could not be stored yet."""


def day_start(now: datetime, zone: str) -> datetime:
    """The last midnight in `zone` at or before `now` (aware), as UTC."""
    local = now.astimezone(_zone(zone))
    return datetime.combine(local.date(), time(), local.tzinfo).astimezone(UTC)


def next_day_start(now: datetime, zone: str) -> datetime:
    """The next midnight in `zone` after `now` (aware), as UTC; days of 23 and 25 hours count."""
    local = now.astimezone(_zone(zone))
    tomorrow = local.date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), local.tzinfo).astimezone(UTC)


def _zone(name: str) -> tzinfo:
    """A small container may have no time zone database; an hour of error is better than none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return _PACIFIC_WITHOUT_DATABASE if name == PACIFIC else UTC
