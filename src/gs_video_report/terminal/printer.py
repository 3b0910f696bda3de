"""One protocol for what a running batch says, whoever listens. Which face it is: `faces`.

Faces: live screen (terminal), plain lines (pipes, logs), JSON lines (scripts), the log file.
Callers never ask which face they have.
Never: draws, imports a face.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, Self

from gs_video_report.batch.data_models import BatchResult, TaskError, TaskResult, VideoTask
from gs_video_report.batch.progress.snapshot import Snapshot, display_name

if TYPE_CHECKING:
    from gs_video_report.errors import GsvrError
    from gs_video_report.terminal.failures import FailureGroup
    from gs_video_report.terminal.summary import KeptWork

WallClock = Callable[[], datetime]
"""Aware time of day, UTC."""


@dataclass(frozen=True, slots=True)
class TaskLine:
    """One video that ended, or will be tried again."""

    ref: str
    name: str
    """As `display_name`; raw, faces escape it."""
    state: str
    """`completed`, `failed`, `retrying`, `skipped`, `cancelled`."""
    done: int = 0
    """Videos done so far in the batch, this one included."""
    total: int = 0
    took_s: float | None = None
    """Wall seconds of the attempt."""
    media_s: float | None = None
    usd: float = 0.0
    """Paid now."""
    usd_reused: float = 0.0
    """What answers had cost that were used again."""
    attempt: int = 1
    tries: int = 1
    """Tries allowed in all."""
    error: TaskError | None = None
    delay_s: float | None = None
    """Seconds until the next try."""
    outputs: tuple[str, ...] = ()
    """Paths of the report files, relative to the output folder."""
    warnings: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further facts for JSON only."""

    @classmethod
    def of_result(
        cls, task: VideoTask, result: TaskResult, took_s: float, *, done: int, total: int
    ) -> Self:
        """The line of a completed task."""
        return cls(
            ref=task.ref,
            name=display_name(task),
            state="completed",
            done=done,
            total=total,
            took_s=took_s,
            media_s=result.media_s,
            usd=result.usage.usd,
            usd_reused=result.reused.usd,
            attempt=task.attempt,
            outputs=tuple(output.path for output in result.outputs if output.kind != "asset"),
            warnings=result.warnings,
            extra={"engine": result.engine, "language": result.language},
        )

    @classmethod
    def of_error(
        cls,
        task: VideoTask,
        error: GsvrError | TaskError,
        took_s: float | None,
        *,
        done: int = 0,
        total: int = 0,
        tries: int = 1,
        delay_s: float | None = None,
    ) -> Self:
        """The line of a failed task, or of one that is tried again after `delay_s`."""
        return cls(
            ref=task.ref,
            name=display_name(task),
            state="failed" if delay_s is None else "retrying",
            done=done,
            total=total,
            took_s=took_s,
            media_s=task.media_s,
            attempt=task.failures + 1,
            tries=tries,
            error=TaskError(error.code, error.message, error.hint, error.stage),
            delay_s=delay_s,
        )


class Printer(Protocol):
    """What a batch says while it runs. Calls are cheap and never raise on output."""

    def started(self, snapshot: Snapshot, plan: str = "") -> None:
        """The batch begins or goes on; `plan` is said first, if not empty."""

    def task_done(self, line: TaskLine) -> None:
        """A video was completed (or skipped)."""

    def task_failed(self, line: TaskLine) -> None:
        """A video failed for good."""

    def task_retry(self, line: TaskLine) -> None:
        """A video will be tried again."""

    def note(self, text: str) -> None:
        """Something to know, in one sentence."""

    def tick(self, snapshot: Snapshot) -> None:
        """The newest picture; call it often, the face decides how often it draws."""

    def status(self, snapshot: Snapshot) -> None:
        """Say now where the batch is (on request, such as SIGUSR1)."""

    def interrupted(self, message: str) -> None:
        """A stop was asked for; said at once."""

    def paused(self, reason: str, resume_at: str | None = None) -> None:
        """The batch pauses; `resume_at` is ISO-8601 UTC."""

    def finished(
        self,
        result: BatchResult,
        failures: Sequence[FailureGroup] = (),
        reports: Sequence[str] = (),
        *,
        kept: KeptWork | None = None,
        message: str = "",
    ) -> None:
        """The run ended, however it did.

        Args:
            result: how; its exit code is part of the JSON summary.
            failures: failed videos by cause.
            reports: paths worth opening besides `result.report_index`.
            kept: finished steps of unfinished videos, after an interrupt.
            message: why it ended early, if it did.
        """

    @property
    def lost(self) -> bool:
        """Nobody reads any more: the pipe was closed, or the terminal went away."""
        ...

    def close(self) -> None:
        """Give the terminal back as it was. Idempotent; call it in `finally`."""


def utc_now() -> datetime:
    """The time of day, UTC."""
    return datetime.now(UTC)
