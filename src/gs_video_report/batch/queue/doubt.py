"""Money that nobody knows to be spent: requests that were sent and never answered.

Truth: the events `money.doubt` (a request ended without an answer; it is counted in full in what
was spent) and the table `holds` (a process died while requests were in flight, or left a job that
may be charged still; what they may have cost at most is set aside, and is no part of what was
spent).
True here: only a person can say that the provider did not charge for them; until then limits count
both. Letting go takes nothing from a process that lives.
Never: talks to a provider, guesses. Raises: what `Database` raises.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from gs_video_report.batch.data_models import Doubt
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.task_moves import add_events
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.clock import utc_now
from gs_video_report.batch.store.process_lock import is_alive
from gs_video_report.batch.store.rows import json_text

IN_DOUBT = "money.doubt"
LET_GO = "money.released"


@dataclass(frozen=True, slots=True)
class Held:
    """What dead processes had set aside for one batch, and jobs that were left."""

    batch_id: str
    usd: float
    requests: int
    since: str
    """ISO-8601 UTC, of the oldest request."""

    def to_dict(self) -> dict[str, object]:
        """JSON-able form."""
        return {**asdict(self), "usd": round(self.usd, 6)}


async def doubt_of(database: Database, batch_id: str) -> Doubt:
    """Both sums of a batch."""
    rows = await database.read(query("money_in_doubt"), (batch_id, IN_DOUBT))
    held = [one for one in await held_by_dead(database) if one.batch_id == batch_id]
    return Doubt(float(rows[0]["usd"]), sum(one.usd for one in held))


async def held_by_dead(database: Database) -> list[Held]:
    """What dead processes had set aside, per batch, oldest first."""
    rows = await database.read(query("all_holds"), ())
    return _summed(await asyncio.to_thread(_of_dead, database.path, rows))


async def let_go(database: Database) -> list[Held]:
    """Take what dead processes had set aside as not spent; returns what that was.

    One transaction: what is told is what is dropped. A note stays with each batch.
    """

    def work(connection: sqlite3.Connection) -> list[Held]:
        rows = _of_dead(database.path, connection.execute(query("all_holds")).fetchall())
        told = _summed(rows)
        connection.executemany(query("drop_hold"), [(row["hold_id"],) for row in rows])
        add_events(connection, _notes(told))
        return told

    return await database.write(work)


def _summed(rows: Iterable[sqlite3.Row]) -> list[Held]:
    found: dict[str, Held] = {}
    for row in rows:
        old = found.get(row["batch_id"], Held(row["batch_id"], 0.0, 0, row["at"]))
        found[row["batch_id"]] = Held(
            old.batch_id, old.usd + row["usd"], old.requests + 1, min(old.since, row["at"])
        )
    return sorted(found.values(), key=lambda one: one.since)


def _notes(told: Iterable[Held]) -> list[tuple[str, str | None, int | None, str, str]]:
    return [(utc_now(), one.batch_id, None, LET_GO, json_text(one.to_dict())) for one in told]


def _of_dead(path: Path, rows: Iterable[sqlite3.Row]) -> list[sqlite3.Row]:
    rows = list(rows)
    processes = {row["process_id"] for row in rows}
    living = {process for process in processes if process and is_alive(path, process)}
    return [row for row in rows if row["process_id"] not in living]
