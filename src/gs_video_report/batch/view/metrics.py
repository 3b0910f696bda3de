"""A measurement of one batch at one moment: tasks, attempts, waits, requests, quotas, places.

Truth: the database, read without writing; memory and disks of this machine; the state of the quotas
as the working process recorded it last (at most a minute ago while it works).
Never: writes, sends, opens the database file except through SQLite.
Raises: NotFoundError, UsageError, and what `Database` raises.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.batch.commands import BatchState, batch_state
from gs_video_report.batch.data_models import TaskStatus
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue import event_reads as reads
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.clock import utc_now
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.view.run_memory import memory_of_runs
from gs_video_report.compute import machine

BOUNDS_S: tuple[float, ...] = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
"""Upper bounds of the histograms, seconds; `attempt_seconds` and `queue_waits` count by them."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, many times."""

    count: int
    seconds: float
    """Sum."""
    longest_s: float
    at_most: tuple[int, ...]
    """How many took at most `BOUNDS_S[i]`."""

    @property
    def mean_s(self) -> float | None:
        """None without any."""
        return self.seconds / self.count if self.count else None


@dataclass(frozen=True, slots=True)
class ApiUse:
    """What the batch asked of one model."""

    provider: str
    model: str
    requests: int
    tokens_in: int
    tokens_out: int
    usd: float


@dataclass(frozen=True, slots=True)
class BatchMetrics:
    """One measurement."""

    at: str
    """ISO-8601 UTC."""
    batch: str
    name: str
    state: str
    """As `gsvr batch list` shows it; `interrupted` when its process is gone."""
    engine: str
    template: str
    live: bool
    tasks: dict[str, int]
    """State -> tasks; all states are there."""
    media_s_done: float
    media_s_total: float
    attempts: dict[str, Spread]
    """Outcome -> how long they took; `running` for those under way (0 seconds)."""
    queue_wait: Spread
    """From the making of a task to its first claim."""
    steps: dict[str, dict[str, float]]
    """Name -> `count` and `seconds` of what this batch paid for."""
    events: dict[str, int]
    """Kind -> events."""
    api: tuple[ApiUse, ...]
    limiter: dict[str, Any]
    """As last recorded; empty for engines without quotas."""
    limiter_at: str | None
    tuning: dict[str, Any]
    """`changes` of concurrency in all, and `processes` now; empty before the first run."""
    memory: dict[str, int]
    """`available_bytes`, `total_bytes`; `processes_bytes` of the working processes."""
    disk: dict[str, int]
    """`database_bytes`, `wal_bytes`; free bytes beside the database and in the output folder."""
    places: dict[str, str] = field(default_factory=dict)


async def measure(queue: TaskQueue, ref: str) -> BatchMetrics:
    """Measure the batch named `ref`."""
    state = await batch_state(queue, ref)
    batch_id, db = state.row.batch_id, queue.db
    limiter, limiter_at = await _limiter(db, batch_id)
    runs = await reads.runs(db, batch_id)
    events = await _events(db, batch_id)
    return BatchMetrics(
        at=utc_now(),
        batch=batch_id,
        name=state.row.name,
        state=state.word,
        engine=state.row.options.engine,
        template=state.row.options.template,
        live=bool(reads.living(db, runs)),
        tasks={str(status): getattr(state.counts, status) for status in TaskStatus},
        media_s_done=state.counts.media_s_done,
        media_s_total=state.counts.media_s_total,
        attempts=await _attempts(db, batch_id),
        queue_wait=await _queue_wait(db, batch_id),
        steps=await _steps(db, batch_id),
        events=events,
        api=await _api(db, batch_id),
        limiter=limiter,
        limiter_at=limiter_at,
        tuning=await _tuning(db, batch_id, runs, events.get("tuning", 0)),
        memory=_memory(db, runs),
        disk=_disk(db, state),
        places={"database": str(db.path), "output": state.row.options.output_dir},
    )


# --- from the database -------------------------------------------------------------------------


async def _attempts(db: Database, batch_id: str) -> dict[str, Spread]:
    rows = await db.read(query("attempt_seconds"), (batch_id,))
    return {row["outcome"]: _spread(row) for row in rows}


async def _queue_wait(db: Database, batch_id: str) -> Spread:
    return _spread((await db.read(query("queue_waits"), (batch_id,)))[0])


def _spread(row: Any) -> Spread:
    counts = tuple(int(row[f"at_most_{bound}"] or 0) for bound in BOUNDS_S)
    return Spread(int(row["count"]), float(row["seconds"] or 0), float(row["longest"] or 0), counts)


async def _steps(db: Database, batch_id: str) -> dict[str, dict[str, float]]:
    rows = await db.read(query("step_sums"), (batch_id,))
    return {row["name"]: {"count": row["count"], "seconds": row["seconds"]} for row in rows}


async def _events(db: Database, batch_id: str) -> dict[str, int]:
    rows = await db.read(query("event_counts"), (batch_id,))
    return {row["kind"]: row["count"] for row in rows}


async def _api(db: Database, batch_id: str) -> tuple[ApiUse, ...]:
    rows = await db.read(query("usage_of_batch"), (batch_id,))
    return tuple(ApiUse(**dict(row)) for row in rows)


async def _limiter(db: Database, batch_id: str) -> tuple[dict[str, Any], str | None]:
    rows = await db.read(query("newest_of_kind"), (batch_id, "limiter"))
    return (json.loads(rows[0]["data"]), rows[0]["at"]) if rows else ({}, None)


async def _tuning(
    db: Database, batch_id: str, runs: list[reads.Run], changes: int
) -> dict[str, Any]:
    if not runs:
        return {}
    processes = int(runs[-1].started.data.get("processes", 0))
    rows = await db.read(query("newest_of_kind"), (batch_id, "tuning"))
    if rows and rows[0]["event_id"] > runs[-1].started.event_id:
        processes = int(json.loads(rows[0]["data"]).get("new", processes))
    return {"changes": changes, "processes": processes}


# --- from the machine --------------------------------------------------------------------------


def _memory(db: Database, runs: list[reads.Run]) -> dict[str, int]:
    return {
        "available_bytes": machine.memory_available_bytes(),
        "total_bytes": machine.memory_total_bytes(),
        "processes_bytes": memory_of_runs(reads.living(db, runs)),
    }


def _disk(db: Database, state: BatchState) -> dict[str, int]:
    """By stat only: the database file must never be opened past SQLite."""
    wal = db.path.with_name(db.path.name + "-wal")
    found = {"database_bytes": _size(db.path), "wal_bytes": _size(wal)}
    for name, folder in (("database", db.path.parent), ("output", state.row.options.output_dir)):
        free = _free(Path(folder))
        if free is not None:
            found[f"{name}_free_bytes"] = free
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _free(folder: Path) -> int | None:
    """Free bytes where `folder` is, or will be made; None when that cannot be known."""
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def metrics_json(metrics: BatchMetrics) -> dict[str, Any]:
    """JSON-able form; the histograms carry their bounds."""
    return {"v": 1, "type": "metrics", "bounds_s": list(BOUNDS_S), **asdict(metrics)}
