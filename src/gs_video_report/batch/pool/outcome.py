"""How a run of a batch ended, and what that means for its state and its exit code.

Pure: counts and signals in, decisions out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gs_video_report.batch.data_models import BatchCounts, BatchStatus
from gs_video_report.batch.pool.stop_signals import StopSignals
from gs_video_report.errors import ExitCode, GsvrError


class StopReason(StrEnum):
    """Why `WorkerPool.run` returned."""

    DRAINED = "drained"
    STOPPED = "stopped"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    LIMIT = "limit"
    FATAL = "fatal"


ON_REQUEST = frozenset({StopReason.STOPPED, StopReason.PAUSED, StopReason.CANCELLED})
"""Somebody asked for the stop."""


@dataclass(frozen=True, slots=True)
class PoolOutcome:
    """How the drain ended. `error` is set for LIMIT and FATAL."""

    reason: StopReason
    error: GsvrError | None = None


def really(
    outcome: PoolOutcome, counts: BatchCounts, asked: BatchStatus | None = None
) -> PoolOutcome:
    """A stop that came when every video had ended of itself stopped nothing; a cancellation that
    left the workers nothing to do stopped them, even if they did not hear of it.

    Args:
        asked: the state of the batch in the database.
    """
    if outcome.reason is StopReason.DRAINED and counts.cancelled and asked is BatchStatus.CANCELLED:
        return PoolOutcome(StopReason.CANCELLED)
    all_ended = counts.total > 0 and not counts.open and not counts.cancelled
    if outcome.reason in ON_REQUEST and all_ended:
        return PoolOutcome(StopReason.DRAINED)
    return outcome


def judge(
    outcome: PoolOutcome,
    counts: BatchCounts,
    signals: StopSignals,
    *,
    stays_cancelled: bool = False,
) -> tuple[BatchStatus, ExitCode]:
    """The batch's state and the exit code for the way the drain ended.

    Args:
        stays_cancelled: the batch was cancelled before, and none of its tasks was put back: a run
            that only wrote its pages completed nothing.
    """
    if stays_cancelled and outcome.reason is StopReason.DRAINED:
        return BatchStatus.CANCELLED, ExitCode.PARTIAL
    if signals.first is not None and outcome.reason is StopReason.STOPPED:
        return BatchStatus.PAUSED, signals.exit_code
    if outcome.reason is StopReason.FATAL:
        code = outcome.error.exit_code if outcome.error else ExitCode.FAILED
        return BatchStatus.PAUSED, code
    if outcome.reason in (StopReason.LIMIT, StopReason.PAUSED, StopReason.STOPPED):
        return BatchStatus.PAUSED, ExitCode.PAUSED
    if outcome.reason is StopReason.CANCELLED:
        return BatchStatus.CANCELLED, ExitCode.PARTIAL
    return BatchStatus.COMPLETED, ExitCode.PARTIAL if counts.failed else ExitCode.OK


__all__ = ["PoolOutcome", "StopReason", "judge", "really"]
