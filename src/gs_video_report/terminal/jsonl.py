"""JSON lines: one object per line on stdout, `v` and `type` first, `summary` last.

Types: batch, task, retry, status (at most one a second), note, summary. Fields are only added,
never renamed or removed, within one `v`. Times are UTC, ISO-8601. Nothing is translated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from gs_video_report.batch.data_models import BatchResult
from gs_video_report.batch.progress.snapshot import Snapshot, status_fields, worker_fields
from gs_video_report.terminal.failures import FailureGroup
from gs_video_report.terminal.printer import TaskLine, WallClock, utc_now
from gs_video_report.terminal.stream import LineWriter, json_line
from gs_video_report.terminal.summary import KeptWork, summary_json

STATUS_INTERVAL_S = 1.0


class JsonLinesPrinter:
    """The face for scripts."""

    def __init__(self, stdout: TextIO, *, now: WallClock = utc_now) -> None:
        self._out = LineWriter(stdout)
        self._now = now
        self._last: Snapshot | None = None
        self._drawn_s = -STATUS_INTERVAL_S

    def started(self, snapshot: Snapshot, plan: str = "") -> None:
        """Type `batch`."""
        self._last = snapshot
        self._emit(
            "batch",
            batch=snapshot.batch_id,
            ref=snapshot.ref,
            name=snapshot.name,
            state=snapshot.state.value,
            parallel=snapshot.parallel,
            plan=plan,
            **status_fields(snapshot),
        )

    def task_done(self, line: TaskLine) -> None:
        """Type `task`."""
        self._emit("task", **_task_fields(line))

    def task_failed(self, line: TaskLine) -> None:
        """Type `task`, with `error`."""
        self._emit("task", **_task_fields(line))

    def task_retry(self, line: TaskLine) -> None:
        """Type `retry`, with `error` and `delay_s`."""
        delay = None if line.delay_s is None else round(line.delay_s, 1)
        self._emit("retry", **_task_fields(line), delay_s=delay)

    def note(self, text: str) -> None:
        """Type `note`."""
        self._emit("note", level="info", message=text)

    def tick(self, snapshot: Snapshot) -> None:
        """Type `status`, at most once a second."""
        self._last = snapshot
        if snapshot.elapsed_s - self._drawn_s >= STATUS_INTERVAL_S:
            self.status(snapshot)

    def status(self, snapshot: Snapshot) -> None:
        """Type `status`, now."""
        self._last = snapshot
        self._drawn_s = snapshot.elapsed_s
        speed = snapshot.realtime
        self._emit(
            "status",
            batch=snapshot.batch_id,
            state="stopping" if snapshot.stopping else snapshot.state.value,
            **status_fields(snapshot),
            fraction=round(snapshot.fraction, 4),
            elapsed_s=round(snapshot.elapsed_s, 1),
            realtime=None if speed is None else round(speed, 2),
            workers=[worker_fields(line) for line in snapshot.workers],
        )

    def interrupted(self, message: str) -> None:
        """Type `note`, level `interrupt`."""
        self._emit("note", level="interrupt", message=message)

    def paused(self, reason: str, resume_at: str | None = None) -> None:
        """Type `note`, level `paused`, with `resume_at`."""
        self._emit("note", level="paused", message=reason, resume_at=resume_at)

    def finished(
        self,
        result: BatchResult,
        failures: Sequence[FailureGroup] = (),
        reports: Sequence[str] = (),
        *,
        kept: KeptWork | None = None,
        message: str = "",
    ) -> None:
        """Type `summary`: the last line."""
        value = summary_json(
            result, failures, reports, snapshot=self._last, kept=kept, message=message
        )
        self._write(value | {"at": self._time()})

    @property
    def lost(self) -> bool:
        """Nobody reads any more."""
        return self._out.lost

    def close(self) -> None:
        """Nothing to give back."""

    def _emit(self, kind: str, **fields: Any) -> None:
        self._write({"v": 1, "type": kind, "at": self._time(), **fields})

    def _write(self, value: dict[str, Any]) -> None:
        self._out.line(json_line(value, self._out.encoding))

    def _time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _task_fields(line: TaskLine) -> dict[str, Any]:
    value: dict[str, Any] = {
        "task": line.ref,
        "name": line.name,
        "state": line.state,
        "attempt": line.attempt,
        "tries": line.tries,
        "took_s": None if line.took_s is None else round(line.took_s, 3),
        "media_s": None if line.media_s is None else round(line.media_s, 3),
        "usd": round(line.usd, 6),
        "usd_reused": round(line.usd_reused, 6),
        "done": line.done,
        "total": line.total,
    }
    if line.outputs:
        value["outputs"] = list(line.outputs)
    if line.warnings:
        value["warnings"] = list(line.warnings)
    if line.error is not None:
        value["error"] = {
            "code": line.error.code,
            "message": line.error.message,
            "hint": line.error.hint,
            "stage": line.error.stage,
        }
    return value | dict(line.extra)
