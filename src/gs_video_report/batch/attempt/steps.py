"""The steps of one attempt: what the journal knows is not run again.

Truth: the step journal. One read brings all parts of a step; two tasks on the same content wait for
one another (single flight). Once a stop began, no further step starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.data_models import VideoTask
from gs_video_report.batch.limiter.account import Account
from gs_video_report.batch.step_journal import MISSING, StepJournal, step_key
from gs_video_report.cache import ArtifactStore
from gs_video_report.engines.base import StepFunction
from gs_video_report.errors import StepCancelled


@dataclass(slots=True)
class JournaledSteps:
    """`ctx.step` for one task: journal first, one read for all parts, single flight."""

    journal: StepJournal
    task: VideoTask
    control: TaskControl
    cache: ArtifactStore
    fingerprint: str
    account: Account = field(default_factory=Account)
    reused: int = 0
    ran: int = 0
    _known: dict[tuple[str, str], dict[int, Any]] = field(default_factory=dict)

    async def __call__(
        self,
        name: str,
        fn: StepFunction,
        *,
        part: int = 0,
        params: Mapping[str, Any] | None = None,
        artifacts: Callable[[Any], list[str]] | None = None,
    ) -> Any:
        """See `engines.base.Stepper`. Raises: StepCancelled once a stop began, LeaseLost."""
        params = dict(params or {})
        key = step_key(self.fingerprint, name, part, params)
        value = await self._look(name, part, params, artifacts)
        if value is not MISSING:
            self._found(key, value)
            return value
        if self.control.stopping.is_set():
            raise StepCancelled("stopped before the next step", stage=name)
        async with self.journal.flight(key):
            value = await self.journal.get(self.fingerprint, name, part, params)
            if value is not MISSING and self._whole(value, artifacts):
                self.reused += 1
                self._found(key, value)
                return value
            if value is not MISSING:  # its artifacts are gone: this value is of no use any more
                await self.journal.forget(self.fingerprint, name, part, params)
            self.account.ran(key)
            return await self._run(name, fn, part, params)

    def _found(self, key: str, value: Any) -> None:
        self.account.found(key, value)
        self.control.has_answers |= self.account.reused.requests > 0

    async def known(self, name: str, params: Mapping[str, Any]) -> dict[int, Any]:
        """Part -> value of what is journaled for this content. See `TaskContext.known`."""
        return await self.journal.get_parts(self.fingerprint, name, params)

    async def _run(self, name: str, fn: StepFunction, part: int, params: dict[str, Any]) -> Any:
        started = time.monotonic()
        value = await fn()
        put = self.journal.put(
            self.fingerprint,
            name,
            part,
            params,
            value,
            seconds=time.monotonic() - started,
            task_id=self.task.task_id,
            attempt=self.task.attempt,
        )
        self.ran += 1
        return await asyncio.shield(put)

    async def _look(
        self,
        name: str,
        part: int,
        params: dict[str, Any],
        artifacts: Callable[[Any], list[str]] | None,
    ) -> Any:
        key = (name, repr(sorted(params.items())))
        if key not in self._known:
            self._known[key] = await self.journal.get_parts(self.fingerprint, name, params)
        value = self._known[key].pop(part, MISSING)
        if value is MISSING or not self._whole(value, artifacts):
            return MISSING
        self.reused += 1
        return value

    def _whole(self, value: Any, artifacts: Callable[[Any], list[str]] | None) -> bool:
        return artifacts is None or all(self.cache.has(key) for key in artifacts(value))
