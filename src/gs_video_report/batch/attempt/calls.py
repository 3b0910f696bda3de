"""What an attempt calls, each with a meter: compute processes, hosts of downloads, remote engines.

True here: every call goes to the shared backend or limiter unchanged; on the way the attempt's
control learns when it only waits, and how the other side answered. So waiting for a process or for
quota is no working time, and a service that is away is known to all.
Never: decides anything; the pool does.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.outage import ENGINE
from gs_video_report.batch.limiter.account import Account
from gs_video_report.compute.base import ComputeBackend, ProgressCallback
from gs_video_report.engines.base import Limiter
from gs_video_report.errors import (
    DownloadError,
    GsvrError,
    PermanentError,
    StepCancelled,
    Unreachable,
)


@dataclass(slots=True)
class MeteredCompute:
    """A `ComputeBackend` for one task that tells the task's control when it only waits."""

    backend: ComputeBackend
    control: TaskControl

    async def run(
        self,
        fn: Callable[..., Any],
        *args: Any,
        timeout_s: float | None = None,
        stall_timeout_s: float | None = None,
        priority: int = 0,
        on_progress: ProgressCallback | None = None,
        on_start: Callable[[], None] | None = None,
    ) -> Any:
        """See `ComputeBackend.run`."""
        started = False

        def begin() -> None:
            nonlocal started
            started = True
            self.control.call(time.monotonic(), running=1)
            if on_start is not None:
                on_start()

        self.control.call(time.monotonic(), opened=1)
        try:
            return await self.backend.run(
                fn,
                *args,
                timeout_s=timeout_s,
                stall_timeout_s=stall_timeout_s,
                priority=priority,
                on_progress=on_progress,
                on_start=begin,
            )
        finally:
            self.control.call(time.monotonic(), opened=-1, running=-1 if started else 0)

    def statistics(self) -> Any:
        """Of the shared backend."""
        return self.backend.statistics()

    async def start(self) -> None:
        """The shared backend is started by its owner."""

    async def resize(self, processes: int) -> None:
        """The shared backend is sized by its owner."""

    async def close(self, grace_s: float = 2.0) -> None:
        """The shared backend is closed by its owner."""


@dataclass(slots=True)
class GatedCompute:
    """The processes that download from one host, closed while the host cannot be reached.

    Every call tells the task's control how the host answered. Only what goes to the network comes
    here: a download that the journal knows is not held up.
    """

    backend: ComputeBackend
    control: TaskControl
    host: str

    async def run(self, fn: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """See `ComputeBackend.run`. Raises: DownloadError without a try while it is closed."""
        is_probe = self.control.line.enter(self.host)
        try:
            value = await self.backend.run(fn, *args, **more)
        except DownloadError as error:
            if error.data.get("unreachable"):
                error.data["host"] = self.host
                is_probe = False  # it ends when the failure is noted, or two would try at a time
            else:
                self.control.line.answered(self.host)
            raise
        except PermanentError:
            self.control.line.answered(self.host)
            raise
        finally:
            if is_probe:
                self.control.line.leave(self.host)
        self.control.line.answered(self.host)
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


@dataclass(slots=True)
class MeteredLimiter:
    """A limiter for one task: waiting for quota is not the task's working time.

    It also sees every request of a remote engine, and tells the control when one was answered.
    """

    limiter: Limiter
    control: TaskControl
    account: Account = field(default_factory=Account)

    def reserve(
        self,
        bucket: str,
        *,
        requests: int = 1,
        tokens: int = 0,
        usd: float = 0.0,
        name: str = "",
        owed: bool = False,
    ) -> AbstractAsyncContextManager[Any]:
        """See `ApiLimiter.reserve`."""
        reservation = self.limiter.reserve(
            bucket, requests=requests, tokens=tokens, usd=usd, name=name, owed=owed
        )
        if not owed:  # what is owed was asked for before
            self.control.asks()
        return self._metered(reservation, is_paid=tokens > 0)

    @asynccontextmanager
    async def _metered(
        self, reservation: AbstractAsyncContextManager[Any], *, is_paid: bool
    ) -> AsyncIterator[Any]:
        self.control.call(time.monotonic(), opened=1)
        self.control.quota_waits += 1
        granted, quota = 0, None
        try:
            async with reservation as quota:
                granted = 1
                self.control.quota_waits -= 1
                self.control.asking += is_paid
                self.control.call(time.monotonic(), running=1)
                with self._answer():
                    yield quota
                self.control.has_answers |= is_paid
        finally:
            self.control.quota_waits -= 1 - granted
            self.control.asking -= granted * is_paid
            self.control.call(time.monotonic(), opened=-1, running=-granted)
            used = getattr(quota, "used", None)
            if used is not None:
                self.account.pay(used.requests, used.tokens_in, used.tokens_out, used.usd)

    @contextmanager
    def _answer(self) -> Iterator[None]:
        """Whatever the service says, it is there; only no answer is none."""
        try:
            yield
        except GsvrError as error:
            if not isinstance(error, Unreachable | StepCancelled):
                self.control.line.answered(ENGINE)
            raise
        self.control.line.answered(ENGINE)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.limiter, name)
