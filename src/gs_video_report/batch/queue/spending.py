"""Money of requests in flight, and what was learned of quotas: shared by all processes.

Truth: the tables `holds`, `usage`, `batches` and `rates`. What a request may cost is looked at and
set aside in one transaction, so that two processes together never pass a limit; the row of what
it did cost takes the place of its hold in one transaction, too.
True here: a hold whose process died counts as spent: its request may have been answered. So does
one that was left (`process_id` empty): nobody waits for its request now, and it may be charged
still. Who takes a hold by the name of one that is there takes its place.
Never: waits, talks to a provider. Raises: what `Database` raises.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gs_video_report.batch.persistence import Database
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.process_lock import is_alive
from gs_video_report.batch.store.rows import json_text

TOLERANCE_USD = 1e-9


def iso_ms(moment: datetime) -> str:
    """UTC with milliseconds, as the database writes times."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local_day(now: datetime) -> tuple[datetime, datetime]:
    """The last and the next midnight of this machine's zone around `now` (aware)."""
    local = now.astimezone()
    start = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return start, start + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Sums:
    """US dollars of one scope: spent, and set aside for requests in flight."""

    spent: float
    held: float

    def fits(self, usd: float, limit: float | None) -> bool:
        """Whether `usd` more stays within the limit."""
        return limit is None or self.spent + self.held + usd <= limit + TOLERANCE_USD


@dataclass(frozen=True, slots=True)
class Standing:
    """The sums of a batch, and of the day over all batches."""

    batch: Sums
    day: Sums


@dataclass(frozen=True, slots=True)
class Spending:
    """The money of one batch worked on by one process."""

    database: Database
    batch_id: str
    process_id: str

    async def take(
        self,
        hold: str,
        usd: float,
        *,
        batch_limit: float | None,
        day_limit: float | None,
        now: datetime,
    ) -> Standing | None:
        """Set `usd` aside under the name `hold`; None = done, else how it stands: too little left.

        What is set aside under that name already is replaced, and is no part of how it stands.

        Args:
            now: aware; the day is that of this machine's zone.
        """
        scope = {"batch_id": self.batch_id, "day": iso_ms(local_day(now)[0])}
        row = {
            "hold_id": hold, "at": iso_ms(now), "batch_id": self.batch_id,
            "process_id": self.process_id, "usd": usd,
        }  # fmt: skip

        def work(connection: sqlite3.Connection) -> Standing | None:
            found = connection.execute(query("spent_and_held"), scope).fetchone()
            batch_own, day_own = self._own(connection, hold, scope["day"])
            standing = Standing(
                Sums(found["batch_usd"], found["batch_held"] - batch_own),
                Sums(found["day_usd"], found["day_held"] - day_own),
            )
            if not (standing.batch.fits(usd, batch_limit) and standing.day.fits(usd, day_limit)):
                return standing
            connection.execute(query("add_hold"), row)
            return None

        return await self.database.write(work)

    def _own(self, connection: sqlite3.Connection, hold: str, day: str) -> tuple[float, float]:
        """What `hold` itself sets aside already: of the batch, of the day."""
        row = connection.execute(query("hold_of"), (hold,)).fetchone()
        if row is None:
            return 0.0, 0.0
        usd = float(row["usd"])
        return usd if row["batch_id"] == self.batch_id else 0.0, usd if row["at"] >= day else 0.0

    async def is_held(self, hold: str) -> bool:
        """Whether money is set aside under this name, by whichever process."""
        return bool(await self.database.read(query("hold_of"), (hold,)))

    async def in_doubt(self, now: datetime, but: str = "") -> Standing:
        """What processes that died had set aside, or was left, as `held`; `but` not counted."""
        scope = {"batch_id": self.batch_id, "day": iso_ms(local_day(now)[0]), "but": but}
        rows = await self.database.read(query("holds_by_process"), scope)
        dead = [row for row in rows if not await self._is_alive(row["process_id"])]
        return Standing(
            Sums(0.0, sum(row["batch_usd"] for row in dead)),
            Sums(0.0, sum(row["day_usd"] for row in dead)),
        )

    async def _is_alive(self, process_id: str) -> bool:
        if not process_id:
            return False
        if process_id == self.process_id:
            return True
        return await asyncio.to_thread(is_alive, self.database.path, process_id)

    async def learned(self, bucket: str) -> tuple[datetime, dict[str, Any]] | None:
        """When and what was learned of a bucket's quotas; None = nothing."""
        rows = await self.database.read(query("learned_rate"), (bucket,))
        if not rows:
            return None
        return datetime.fromisoformat(rows[0]["at"]), json.loads(rows[0]["learned"])

    async def keep_learned(self, bucket: str, now: datetime, learned: dict[str, Any]) -> None:
        """Store it in place of what was known."""
        values = (bucket, iso_ms(now), json_text(learned))
        await self.database.write(lambda c: c.execute(query("put_learned_rate"), values).rowcount)
