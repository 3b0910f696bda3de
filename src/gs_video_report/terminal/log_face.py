"""What a batch says, as lines of the log file; and a printer that speaks to two faces at once.

True here: the log gets all that any face shows, whatever the face shows of it (`--quiet`, JSON), as
facts rather than sentences.
Never: writes a file itself; that is `run_log`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from gs_video_report.batch.data_models import BatchResult
from gs_video_report.batch.progress.snapshot import Snapshot, status_fields
from gs_video_report.errors import ExitCode
from gs_video_report.terminal.failures import FailureGroup
from gs_video_report.terminal.printer import Printer, TaskLine
from gs_video_report.terminal.summary import KeptWork, summary_json

STATUS_S = 60.0
"""Seconds between two lines that say where the batch is."""
_ORDERLY = (ExitCode.SIGINT, ExitCode.SIGTERM, ExitCode.PAUSED, ExitCode.PARTIAL)


class LogSink(Protocol):
    """Where lines go; `run_log.RunLog` is one."""

    def write(self, level: str, event: str, **fields: Any) -> None:
        """Take one line; never blocks, never raises."""

    def take_trouble(self) -> str:
        """Why lines are being lost, once; empty when all is well."""
        ...


class LogPrinter:
    """The face that writes the log."""

    def __init__(self, log: LogSink) -> None:
        self._log = log
        self._last: Snapshot | None = None
        self._told_s = 0.0

    def started(self, snapshot: Snapshot, plan: str = "") -> None:
        """`batch.started`."""
        self._last = snapshot
        facts = {"name": snapshot.name, "parallel": snapshot.parallel, **status_fields(snapshot)}
        self._log.write("info", "batch.started", **facts)

    def task_done(self, line: TaskLine) -> None:
        """`task.completed` or `task.skipped`."""
        facts = {"outputs": list(line.outputs), "warnings": list(line.warnings), **line.extra}
        self._log.write("info", f"task.{line.state}", **_task(line), **facts)

    def task_failed(self, line: TaskLine) -> None:
        """`task.failed`, with the error."""
        self._log.write("error", "task.failed", **_task(line), **_error(line))

    def task_retry(self, line: TaskLine) -> None:
        """`task.retry`, with the error and the wait."""
        delay = None if line.delay_s is None else round(line.delay_s, 1)
        self._log.write("warning", "task.retry", **_task(line), **_error(line), delay_s=delay)

    def note(self, text: str) -> None:
        """`note`."""
        self._log.write("info", "note", message=text)

    def tick(self, snapshot: Snapshot) -> None:
        """`status`, once a minute."""
        self._last = snapshot
        if snapshot.elapsed_s - self._told_s >= STATUS_S:
            self.status(snapshot)

    def status(self, snapshot: Snapshot) -> None:
        """`status`, now."""
        self._last, self._told_s = snapshot, snapshot.elapsed_s
        facts = {
            **status_fields(snapshot),
            "seconds": round(snapshot.elapsed_s, 1),
            "cpu_percent": snapshot.cpu_percent,
            "memory_bytes": snapshot.memory_bytes,
        }
        self._log.write("info", "status", **facts)

    def interrupted(self, message: str) -> None:
        """`batch.stopping`."""
        self._log.write("warning", "batch.stopping", message=message)

    def paused(self, reason: str, resume_at: str | None = None) -> None:
        """`batch.paused`."""
        self._log.write("warning", "batch.paused", message=reason, resume_at=resume_at)

    def finished(
        self,
        result: BatchResult,
        failures: Sequence[FailureGroup] = (),
        reports: Sequence[str] = (),
        *,
        kept: KeptWork | None = None,
        message: str = "",
    ) -> None:
        """`batch.ended`, with the whole summary."""
        value = summary_json(
            result, failures, reports, snapshot=self._last, kept=kept, message=message
        )
        for name in ("v", "type", "batch"):
            value.pop(name)
        level = "info" if result.exit_code == ExitCode.OK else "error"
        level = "warning" if result.exit_code in _ORDERLY else level
        self._log.write(level, "batch.ended", seconds=value.pop("elapsed_s"), **value)

    def close(self) -> None:
        """Nothing to give back: who opened the log closes it."""


class TwoFaces:
    """A printer that tells everything to a face and to the log."""

    def __init__(self, face: Printer, log: LogSink) -> None:
        self._face, self._sink, self._log = face, log, LogPrinter(log)

    def started(self, snapshot: Snapshot, plan: str = "") -> None:
        """To both."""
        self._face.started(snapshot, plan)
        self._log.started(snapshot, plan)

    def task_done(self, line: TaskLine) -> None:
        """To both."""
        self._face.task_done(line)
        self._log.task_done(line)

    def task_failed(self, line: TaskLine) -> None:
        """To both."""
        self._face.task_failed(line)
        self._log.task_failed(line)

    def task_retry(self, line: TaskLine) -> None:
        """To both."""
        self._face.task_retry(line)
        self._log.task_retry(line)

    def note(self, text: str) -> None:
        """To both."""
        self._face.note(text)
        self._log.note(text)

    def tick(self, snapshot: Snapshot) -> None:
        """To both; trouble of the log is a note on the face."""
        self._face.tick(snapshot)
        self._log.tick(snapshot)
        if trouble := self._sink.take_trouble():
            self._face.note(trouble)

    def status(self, snapshot: Snapshot) -> None:
        """To both."""
        self._face.status(snapshot)
        self._log.status(snapshot)

    def interrupted(self, message: str) -> None:
        """To both."""
        self._face.interrupted(message)
        self._log.interrupted(message)

    def paused(self, reason: str, resume_at: str | None = None) -> None:
        """To both."""
        self._face.paused(reason, resume_at)
        self._log.paused(reason, resume_at)

    def finished(
        self,
        result: BatchResult,
        failures: Sequence[FailureGroup] = (),
        reports: Sequence[str] = (),
        *,
        kept: KeptWork | None = None,
        message: str = "",
    ) -> None:
        """To both."""
        self._face.finished(result, failures, reports, kept=kept, message=message)
        self._log.finished(result, failures, reports, kept=kept, message=message)

    @property
    def lost(self) -> bool:
        """Nobody looks at the face any more; the log goes on."""
        return self._face.lost

    def close(self) -> None:
        """The face gives the terminal back."""
        self._face.close()


def _task(line: TaskLine) -> dict[str, Any]:
    return {
        "task": line.ref,
        "name": line.name,
        "attempt": line.attempt,
        "seconds": None if line.took_s is None else round(line.took_s, 3),
        "media_s": None if line.media_s is None else round(line.media_s, 3),
        "usd": round(line.usd, 6),
    }


def _error(line: TaskLine) -> dict[str, Any]:
    if line.error is None:
        return {}
    value = asdict(line.error)
    value.pop("data", None)
    return {"stage": value.pop("stage"), "error": value}
