"""Which running tasks are orphaned, and what becomes of each: pure decisions.

Truth: a task is orphaned when its process holds no lock any more, when the machine has restarted
since the claim, or when its lease lapsed although the process lives (a hung worker).
A task loses one of its `PROCESS_DEATH_LIMIT` lives each time; finishing a step gives them back.
Never: reads the database, a clock, or a lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gs_video_report.batch.data_models import (
    PROCESS_DEATH_LIMIT,
    AttemptOutcome,
    TaskError,
    TaskStatus,
)
from gs_video_report.batch.store.process_lock import process_of
from gs_video_report.errors import PoisonTaskError


class Cause(StrEnum):
    """Why a task was taken back."""

    DIED = "its process ended"
    RESTARTED = "the machine restarted"
    LAPSED = "its lease lapsed"


@dataclass(frozen=True, slots=True)
class Orphan:
    """A running task without a living owner."""

    task_id: int
    attempt: int
    lease_until_ms: int
    """As seen; a lease renewed in between protects the task."""
    kills: int
    """Before this one."""
    cancel_requested: bool
    cause: Cause
    has_report: bool = False
    """One made before, which stays when no new one is made."""

    @property
    def outcome(self) -> AttemptOutcome:
        """How its attempt ended."""
        return AttemptOutcome.LAPSED if self.cause is Cause.LAPSED else AttemptOutcome.DIED

    @property
    def becomes(self) -> TaskStatus:
        """Pending again; cancelled if that was asked for, or failed as poison: completed with the
        report it had, if it had one."""
        if not (self.cancel_requested or self.is_poison):
            return TaskStatus.PENDING
        if self.has_report:
            return TaskStatus.COMPLETED
        return TaskStatus.CANCELLED if self.cancel_requested else TaskStatus.FAILED

    @property
    def is_poison(self) -> bool:
        """It ended its worker process too often, and nobody has cancelled it."""
        return not self.cancel_requested and self.kills + 1 >= PROCESS_DEATH_LIMIT


def find_orphans(
    running: Iterable[Mapping[str, Any]],
    *,
    dead: Collection[str],
    boot_id: str,
    boot_ms: int,
    own: Collection[int] = (),
) -> list[Orphan]:
    """Pick the orphans among rows of running tasks.

    Args:
        running: rows with task_id, attempt, kills, cancel_requested, worker_id, boot_id,
            lease_until_ms and has_report.
        dead: ids of processes that hold no lock.
        own: tasks of the asking process: it lives, so their leases do not lapse here (it may
            only now wake from sleep, before its first heartbeat).
    """
    found = []
    for row in running:
        cause = _cause(row, dead, boot_id, boot_ms, own)
        if cause is not None:
            found.append(
                Orphan(
                    row["task_id"],
                    row["attempt"],
                    row["lease_until_ms"],
                    row["kills"],
                    bool(row["cancel_requested"]),
                    cause,
                    bool(row["has_report"]),
                )
            )
    return found


def _cause(
    row: Mapping[str, Any],
    dead: Collection[str],
    boot_id: str,
    boot_ms: int,
    own: Collection[int],
) -> Cause | None:
    if row["boot_id"] != boot_id:
        return Cause.RESTARTED
    if process_of(row["worker_id"]) in dead:
        return Cause.DIED
    if row["lease_until_ms"] < boot_ms and row["task_id"] not in own:
        return Cause.LAPSED
    return None


def poison_error(kills: int) -> TaskError:
    """What is stored with a task that ended its worker `kills` times."""
    error = PoisonTaskError(f"the program ended {kills} times while working on it", kills=kills)
    return TaskError(error.code, error.message, error.hint, error.stage, error.data)
