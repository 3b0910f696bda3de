"""Money with a limit in memory, with the answers that the database gives."""

from __future__ import annotations

from datetime import datetime

from gs_video_report.batch.limiter.models import UsageEntry, UsageTotals
from gs_video_report.errors import LimitReached


class MemoryPurse:
    """Ledger and purse of one process: `ApiLimiter(ledger=money, purse=money)`."""

    def __init__(self, limit_usd: float, spent_usd: float = 0.0) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = spent_usd
        self.holds: dict[str, float] = {}

    async def take(self, hold: str, usd: float, *, owed: bool = False) -> bool:
        held = sum(one for name, one in self.holds.items() if name != hold)
        if owed:
            self.holds[hold] = usd
            return True
        if self.spent_usd + usd > self.limit_usd:
            raise LimitReached("the next request could pass the cost limit")
        if self.spent_usd + held + usd > self.limit_usd:
            return False
        self.holds[hold] = usd
        return True

    async def is_held(self, hold: str) -> bool:
        return hold in self.holds

    async def record(self, entry: UsageEntry) -> None:
        if not entry.leaves_hold:
            self.holds.pop(entry.hold, None)
        self.spent_usd += entry.usd

    async def usage_since(
        self, bucket: str, since: datetime, *, count_output_tokens: bool
    ) -> UsageTotals:
        return UsageTotals()
