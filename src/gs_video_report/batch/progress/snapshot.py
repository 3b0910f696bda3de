"""What is going on in a batch, as one frozen value that every face draws from.

Pure. Seconds everywhere; names are as the user knows them and still raw (faces escape them).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from gs_video_report.batch.data_models import BatchCounts, BatchStatus, VideoTask
from gs_video_report.batch.limiter.quota_wait import QuotaWait
from gs_video_report.batch.progress.eta import EtaRange

PROGRESS_VERSION = 1


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """One video being worked on."""

    slot: int
    """1, 2, 3 ...; the line it has on the screen."""
    ref: str
    """`7f3a91c2:17`."""
    name: str
    stage: str
    """One of the eight stage words; empty before the first one."""
    fraction: float | None
    """Part of the stage that is done, 0 to 1; None when unknown or waiting."""
    elapsed_s: float
    """Since the worker took the video."""
    note: str = ""
    """`try 2 of 4`, `rate limit, 22 s`; empty when there is nothing to say."""


@dataclass(frozen=True, slots=True)
class FailureLine:
    """One failed video."""

    ref: str
    name: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class MediaProgress:
    """Recording time of the batch."""

    done_s: float = 0.0
    """Completed and skipped videos."""
    total_s: float = 0.0
    """`done_s` plus what is still to do; unknown lengths count as typical ones."""
    unknown: int = 0
    """Videos still to do whose length is not known; `total_s` is an estimate if not 0."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A batch at one moment."""

    batch_id: str
    ref: str
    """How commands name the batch."""
    name: str
    state: BatchStatus
    reason: str
    """Why it is paused; empty otherwise."""
    resume_at: str | None
    """ISO-8601 UTC, while paused by a limit with a known end."""
    stopping: bool
    """True after the first Ctrl-C."""
    counts: BatchCounts
    media: MediaProgress
    fraction: float
    """Part of the whole work that is done, 0 to 1, with credit for work in flight."""
    elapsed_s: float
    """Wall seconds of this run."""
    parallel: int
    workers: tuple[WorkerLine, ...]
    failures: tuple[FailureLine, ...]
    """The newest last; only the last few."""
    usd: float
    usd_expected: float | None
    """What the whole batch will cost if it goes on like this; None when unknown."""
    realtime: float | None
    """Recording seconds finished per wall second, lately; None before the first one."""
    run_done: int
    """Videos completed in this run."""
    run_media_s: float
    """Recording seconds completed in this run."""
    eta: EtaRange | None
    """None while unknown, while paused, and at the end."""
    quota_wait: QuotaWait | None = None
    """What requests wait for, once that lasts; None when nothing waits."""
    cpu_percent: float | None = None
    """Of the whole machine, 0 to 100."""
    memory_bytes: int | None = None
    """Resident memory of this process and its helpers."""
    watched: bool = False
    """True when this is the view of another process: Ctrl-C then ends the view only."""

    @property
    def average_realtime(self) -> float | None:
        """Recording seconds finished per wall second of this run; None without any."""
        if self.run_media_s <= 0 or self.elapsed_s <= 0:
            return None
        return self.run_media_s / self.elapsed_s


def display_name(task: VideoTask) -> str:
    """How people know the video, see `VideoInput.known_as`."""
    return task.video.known_as


def progress_file(snapshot: Snapshot, at: str = "") -> dict[str, Any]:
    """JSON-able content of `--progress-file`: the whole snapshot.

    Args:
        snapshot: what to write.
        at: ISO-8601 UTC time of writing; left out when empty.
    """
    head: dict[str, Any] = {"v": PROGRESS_VERSION, "type": "progress"}
    if at:
        head["at"] = at
    return head | {
        "batch": snapshot.batch_id,
        "name": snapshot.name,
        "state": "stopping" if snapshot.stopping else snapshot.state.value,
        "reason": snapshot.reason,
        "resume_at": snapshot.resume_at,
        **status_fields(snapshot),
        "fraction": round(snapshot.fraction, 4),
        "elapsed_s": round(snapshot.elapsed_s, 1),
        "realtime": None if snapshot.realtime is None else round(snapshot.realtime, 2),
        "workers": [worker_fields(line) for line in snapshot.workers],
        "last_failures": [asdict(line) for line in snapshot.failures],
    }


def status_fields(snapshot: Snapshot) -> dict[str, Any]:
    """The figures that every machine-readable status carries."""
    counts, eta, wait = snapshot.counts, snapshot.eta, snapshot.quota_wait
    return {
        "total": counts.total,
        "completed": counts.completed,
        "failed": counts.failed,
        "running": counts.running,
        "pending": counts.pending,
        "retrying": counts.retrying,
        "skipped": counts.skipped,
        "cancelled": counts.cancelled,
        "media_s": {
            "done": round(snapshot.media.done_s, 1),
            "total": round(snapshot.media.total_s, 1),
            "unknown": snapshot.media.unknown,
        },
        "usd": round(snapshot.usd, 6),
        "eta_s": None if eta is None else [round(eta.low_s), round(eta.high_s)],
        **({} if wait is None else {"quota_wait": wait.facts()}),
    }


def worker_fields(line: WorkerLine) -> dict[str, Any]:
    """One worker line as JSON-able data."""
    value = asdict(replace(line, elapsed_s=round(line.elapsed_s, 1)))
    if line.fraction is not None:
        value["fraction"] = round(line.fraction, 4)
    return value
