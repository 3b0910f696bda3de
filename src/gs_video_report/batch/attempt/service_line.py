"""How the tasks of one pool deal with services that cannot be reached.

Truth: the `OutageWatch`, in memory. While the engine's service is down one worker at a time works,
to try it; while a host of downloads is down its tasks are sent back at once, and others go on.
What happens is told to the listener: at the beginning of an outage, now and then, and at its end.
Never: touches the queue, sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from gs_video_report.batch.attempt.outage import (
    DEFAULT_LIMIT_S,
    ENGINE,
    LONGEST_WAIT_S,
    Outage,
    OutageWatch,
    sign_of,
)
from gs_video_report.batch.queue import retry
from gs_video_report.errors import DownloadError, GsvrError, NetworkOutage, RetryableError

TELL_AGAIN_S = 300.0
"""Seconds between reminders that a service is still away."""


class Line(Protocol):
    """What a task tells about the services it talks to."""

    def answered(self, name: str) -> None:
        """The service (`outage.ENGINE`, or a host) gave an answer of any kind."""

    def enter(self, name: str) -> bool:
        """Before a request to a host; True when it is the one that looks whether the host is
        back. Raises: DownloadError while it is down and not to be tried."""
        ...

    def leave(self, name: str) -> None:
        """After it, when `enter` said True; however it ended."""


class OpenLine:
    """Nothing is watched: a task outside a pool."""

    def answered(self, name: str) -> None:
        """See `Line`."""

    def enter(self, name: str) -> bool:
        """See `Line`."""
        return False

    leave = answered


class OutageListener(Protocol):
    """What is told, from the event loop; must not block."""

    def service_lost(self, outage: Outage, seconds: float) -> None:
        """Tasks wait for a service, for `seconds` now; told again every few minutes."""

    def service_back(self, outage: Outage, seconds: float) -> None:
        """It answers again, after `seconds`."""


@dataclass(slots=True)
class ServiceLine:
    """See the module's header; shared by all workers of a pool."""

    listener: OutageListener
    go_on: Callable[[], None]
    """Wakes the workers that wait."""
    monotonic: Callable[[], float]
    rand: Callable[[], float]
    limit_s: float = DEFAULT_LIMIT_S
    watch: OutageWatch = field(default_factory=OutageWatch)
    _prober: int | None = None
    """Slot of the one worker that tries the engine's service while it is down."""
    _told: dict[str, float] = field(default_factory=dict)
    """Source of an outage -> when people were told of it last."""
    _finished_at: float = float("-inf")

    # --- for tasks: `Line` ----------------------------------------------------------------------

    def answered(self, name: str) -> None:
        """See `Line`; if the service was down, everybody goes on."""
        now = self.monotonic()
        ended = self.watch.answered(name, now)
        if ended is not None:
            self._told.pop(ended.source, None)
            self.listener.service_back(ended, now - ended.since)
            self.go_on()

    def enter(self, name: str) -> bool:
        """See `Line`."""
        now = self.monotonic()
        is_probe = self.watch.is_down(name)
        if self.watch.may_probe(name, now):
            return is_probe
        # later than the next probe, and not all together
        wait_s = max(self.watch.first_wait_s / 2, self.watch.wait_s(name, now))
        held_s = wait_s * (1.0 + self.rand())
        raise DownloadError(f"{name} cannot be reached at the moment", host=name, held_s=held_s)

    def leave(self, name: str) -> None:
        """See `Line`."""
        self.watch.done(name)

    # --- for the pool ---------------------------------------------------------------------------

    def may_claim(self, slot: int) -> bool:
        """Whether the worker may take a task now."""
        is_probe = self.watch.is_down(ENGINE)
        if not self.watch.may_probe(ENGINE, self.monotonic()):
            return False
        if is_probe:
            self._prober = slot
        return True

    def is_down(self) -> bool:
        """The engine's service is away: only `may_claim` hands out tasks."""
        return self.watch.is_down(ENGINE)

    def end_probe(self, slot: int) -> None:
        """The worker is through with its task, if there was one."""
        if self._prober == slot:
            self._prober = None
            self.watch.done(ENGINE)

    def finished(self) -> None:
        """A task was completed."""
        self._finished_at = self.monotonic()

    def free_wait_s(self, task_id: int, error: GsvrError) -> float | None:
        """Seconds for which a task waits without loss of a try; None: the failure counts."""
        held_s = error.data.get("held_s")
        if held_s is not None:
            return float(held_s)
        sign = sign_of(error)
        if sign is None:
            return None
        now = self.monotonic()
        wait_s = self.watch.failed(sign, task_id, now, self.rand())
        self._tell(now)
        if wait_s is None:
            return None
        asked_s = retry.asked_wait_s(error) if isinstance(error, RetryableError) else None
        return max(wait_s, min(asked_s or 0.0, LONGEST_WAIT_S))

    def overdue(self, busy: bool) -> NetworkOutage | None:
        """The reason to pause the batch, when nothing has worked for too long.

        A lost engine stops everything; lost hosts only what comes from them, so they pause the
        batch when nothing else is done any more.

        Args:
            busy: a task is in work.
        """
        now = self.monotonic()
        self._tell(now)
        for outage in self.watch.outages():
            since = outage.since
            if outage.source != ENGINE:
                if busy:
                    continue
                since = max(since, self._finished_at)
            if now - since >= self.limit_s:
                return _too_long(outage, now)
        return None

    def _tell(self, now: float) -> None:
        for outage in self.watch.outages():
            if now - self._told.get(outage.source, float("-inf")) >= TELL_AGAIN_S:
                self._told[outage.source] = now
                self.listener.service_lost(outage, now - outage.since)


def _too_long(outage: Outage, now: float) -> NetworkOutage:
    minutes = max(1, round((now - outage.since) / 60))
    return NetworkOutage(
        f"{outage.label} could not be reached for {minutes} min ({outage.reason})",
        service=outage.label,
        outage_s=round(now - outage.since, 1),
    )
