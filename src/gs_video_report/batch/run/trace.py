"""The finer lines of the log file: claims, stages, steps, compute processes, quotas.

True here: without a log file nothing of this runs. Each method is a plain call from the event loop
that hands a line to the log; nothing is kept but the tasks in flight.
Never: writes to the terminal or the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gs_video_report.batch.data_models import VideoTask
from gs_video_report.batch.limiter.models import LimiterSnapshot
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.progress.snapshot import display_name
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.compute.process_pool import ComputeEvent
from gs_video_report.terminal.log_face import LogSink

_LEVELS = {"crashed": "error", "killed": "warning", "output": "warning", "recycled": "info"}
"""Kind of a compute event -> level; others are for debugging."""


class RunTrace:
    """What happens below the surface of one run, as lines of a log."""

    def __init__(self, log: LogSink) -> None:
        self._log = log
        self._refs: dict[int, str] = {}
        self._stages: dict[int, str] = {}

    def claimed(self, task: VideoTask) -> None:
        """A worker took a task."""
        self._refs[task.task_id] = task.ref
        facts = {"name": display_name(task), "attempt": task.attempt, "worker": task.worker_id}
        self._log.write("info", "task.started", task=task.ref, **facts)

    def left(self, task: VideoTask) -> None:
        """The worker is through with it, however it ended."""
        self._refs.pop(task.task_id, None)
        self._stages.pop(task.task_id, None)

    def stage(self, task_id: int, stage: str) -> None:
        """A task is in this stage; told when it changes."""
        if self._stages.get(task_id) != stage:
            self._stages[task_id] = stage
            self._log.write("debug", "stage", task=self._refs.get(task_id), stage=stage)

    def step(self, task_id: int | None, name: str, part: int, seconds: float) -> None:
        """A step was done and journaled."""
        task = self._refs.get(task_id) if task_id is not None else None
        facts = {"step": name, "part": part, "seconds": round(seconds, 3)}
        self._log.write("info", "step", task=task, **facts)

    def compute(self, event: ComputeEvent) -> None:
        """Something happened to a compute process; also what it printed."""
        level = _LEVELS.get(event.kind, "debug")
        facts = {"process": event.pid, "message": event.detail}
        self._log.write(level, f"compute.{event.kind}", **facts)

    def limiter(self, snapshot: LimiterSnapshot) -> None:
        """Where the quotas stand."""
        self._log.write("info", "limiter", **limiter_facts(snapshot))


class TracedJournal(StepJournal):
    """A journal that tells each step that was done."""

    def __init__(self, db: Database, trace: RunTrace) -> None:
        super().__init__(db)
        self._trace = trace

    async def put(
        self,
        fingerprint: str,
        name: str,
        part: int,
        params: Mapping[str, Any] | None,
        value: Any,
        *,
        seconds: float,
        task_id: int | None = None,
        attempt: int | None = None,
    ) -> Any:
        """See `StepJournal.put`."""
        stored = await super().put(
            fingerprint,
            name,
            part,
            params,
            value,
            seconds=seconds,
            task_id=task_id,
            attempt=attempt,
        )
        self._trace.step(task_id, name, part, seconds)
        return stored


def limiter_facts(snapshot: LimiterSnapshot) -> dict[str, Any]:
    """JSON-able state of a limiter; names of buckets hold a fingerprint of the key."""
    return {
        "spent_usd": round(snapshot.spent_usd, 6),
        "reserved_usd": round(snapshot.reserved_usd, 6),
        "buckets": [
            {
                "bucket": bucket.name,
                "in_flight": bucket.in_flight,
                "waiting": bucket.waiting,
                "factor": round(bucket.factor, 4),
                "blocked_s": round(bucket.blocked_s, 1),
                "lacks": bucket.lacks,
                "next_s": None if bucket.next_s is None else round(bucket.next_s, 1),
                "day_requests": bucket.day.requests,
                "day_tokens": bucket.day.tokens,
                "exhausted_until": (
                    bucket.exhausted_until.isoformat() if bucket.exhausted_until else None
                ),
            }
            for bucket in snapshot.buckets
        ],
    }
