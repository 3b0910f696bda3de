"""What happened in a batch, read by somebody who only watches: runs, events, stages.

Truth: the tables `events`, `tasks` and `steps`, as of the last commit.
True here: every read is one short statement on a read-only connection, so a watcher never makes a
writer wait; each is bounded, whatever the size of the batch.
Never: writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from gs_video_report.batch.data_models import VideoTask
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.clock import parse_iso
from gs_video_report.batch.store.process_lock import is_alive
from gs_video_report.batch.store.rows import task_from_row

RUN_STARTED = "run.started"
RUN_ENDED = "run.ended"
PAGE = 500
KNOWN_RUNS = 40
"""Starts and ends of runs that are looked at; a batch has rarely more than two at a time."""
ALL_RUNS = 10_000
STORY_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Event:
    """One row of `events`."""

    event_id: int
    at_s: float
    """Seconds since 1970."""
    at: str
    task_id: int | None
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One process's work on a batch."""

    process: str
    started: Event
    ended: Event | None = None


def _event(row: Any) -> Event:
    return Event(
        event_id=row["event_id"],
        at_s=parse_iso(row["at"]) / 1000,
        at=row["at"],
        task_id=row["task_id"],
        kind=row["kind"],
        data=json.loads(row["data"]),
    )


async def events_after(db: Database, batch_id: str, after: int, limit: int = PAGE) -> list[Event]:
    """Events with an id above `after`, in order; at most `limit`."""
    return [_event(row) for row in await db.read(query("events"), (batch_id, after, limit))]


async def newest_event_id(db: Database, batch_id: str) -> int:
    """The id of the newest event of the batch; 0 without any."""
    return int((await db.read(query("newest_event"), (batch_id,)))[0]["event_id"])


async def batch_story(db: Database, batch_id: str, limit: int = STORY_LENGTH) -> list[Event]:
    """The newest events of the batch as a whole (not of single tasks), oldest first."""
    rows = await db.read(query("batch_story"), (batch_id, limit))
    return [_event(row) for row in reversed(rows)]


async def run_hint(db: Database, batch_id: str) -> str:
    """What the newest ended run of the batch advised; empty when it had nothing to advise."""
    rows = await db.read(query("newest_of_kind"), (batch_id, RUN_ENDED))
    return str(json.loads(rows[0]["data"]).get("hint") or "") if rows else ""


async def runs(db: Database, batch_id: str, limit: int = KNOWN_RUNS) -> list[Run]:
    """The last runs of the batch, the oldest first; empty before the first.

    Args:
        limit: starts and ends that are looked at.
    """
    rows = await db.read(query("run_events"), (batch_id, RUN_STARTED, RUN_ENDED, limit))
    return runs_of([_event(row) for row in reversed(rows)])


def runs_of(events: Iterable[Event]) -> list[Run]:
    """Starts joined with their ends, in the order of the starts. Pure."""
    found: dict[str, Run] = {}
    for event in events:
        process = str(event.data.get("process", ""))
        if event.kind == RUN_STARTED:
            found.pop(process, None)
            found[process] = Run(process, event)
        elif process in found:
            found[process] = Run(process, found[process].started, event)
    return list(found.values())


def living(db: Database, found: Iterable[Run]) -> list[Run]:
    """Runs that have not ended and whose process lives."""
    return [run for run in found if run.ended is None and is_alive(db.path, run.process)]


async def worked_s(db: Database, batch_id: str, now_s: float) -> float | None:
    """Seconds in which at least one process worked on the batch, up to `now_s` (since 1970).

    None when it is not known: before the first run, and when the end of a run is not recorded.
    """
    spans = []
    for run in await runs(db, batch_id, ALL_RUNS):
        if run.ended is None and not living(db, [run]):
            return None
        spans.append((run.started.at_s, run.ended.at_s if run.ended else now_s))
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total if spans else None


async def running_tasks(db: Database, batch_id: str) -> list[VideoTask]:
    """The tasks that are being worked on now, in the order of `seq`."""
    rows = await db.read(query("running_tasks"), (batch_id,))
    return sorted((task_from_row(row) for row in rows), key=lambda task: task.seq)


async def tasks_by_id(db: Database, ids: Iterable[int]) -> dict[int, VideoTask]:
    """The tasks with these ids; those that are not there are left out."""
    wanted = sorted(set(ids))
    found: dict[int, VideoTask] = {}
    for start in range(0, len(wanted), PAGE):
        page = json.dumps(wanted[start : start + PAGE])
        for row in await db.read(query("tasks_by_ids"), (page,)):
            task = task_from_row(row)
            found[task.task_id] = task
    return found


async def waiting_lengths(db: Database, batch_id: str) -> Iterator[float | None]:
    """Lengths in seconds of the videos that wait; None for one whose length is not known."""
    rows = await db.read(query("waiting_lengths"), (batch_id,))
    return chain.from_iterable(repeat(row["media_s"], row["tasks"]) for row in rows)


async def stage_fraction(db: Database, task: VideoTask) -> float | None:
    """How far the task is in its stage, by its journaled steps; None where they do not tell."""
    if not task.fingerprint:
        return None
    if task.stage == "transcribe":
        return await _transcribed(db, task.fingerprint)
    if task.stage == "read":
        return await _read(db, task.fingerprint)
    return None


async def _transcribed(db: Database, fingerprint: str) -> float | None:
    """Share of the planned speech that is recognised."""
    plan = await _newest_value(db, fingerprint, "vad")
    lengths = [max(0, end - start) for start, end in (plan or {}).get("chunks", ())]
    if not sum(lengths):
        return None
    rows = await db.read(query("parts_done"), {"fingerprint": fingerprint, "name": "transcribe"})
    done = sum(lengths[row["part"]] for row in rows if row["part"] < len(lengths))
    return float(done / sum(lengths))


async def _read(db: Database, fingerprint: str) -> float | None:
    """Share of the pictures that were read."""
    found = await _newest_value(db, fingerprint, "slides")
    pictures = len((found or {}).get("slides", ()))
    if not pictures:
        return None
    values = {"fingerprint": fingerprint, "name": "read"}
    done = (await db.read(query("steps_done"), values))[0]["steps"]
    return float(min(1.0, done / pictures))


async def _newest_value(db: Database, fingerprint: str, name: str) -> dict[str, Any] | None:
    rows = await db.read(query("newest_step"), (fingerprint, name))
    value = json.loads(rows[0]["value"]) if rows else None
    return value if isinstance(value, dict) else None
