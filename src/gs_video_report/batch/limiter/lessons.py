"""What buckets have learned of a provider's quotas, shared with other runs through a memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from typing import Any

from gs_video_report.batch.limiter.bucket import Bucket
from gs_video_report.batch.limiter.models import Memory
from gs_video_report.errors import GsvrError


class Lessons:
    """Between the buckets of one limiter and the memory. One event loop.

    Args:
        memory: None = lessons are for this run only.
        beside: does something while the work goes on.
    """

    def __init__(
        self,
        memory: Memory | None,
        clock: Callable[[], float],
        wall_clock: Callable[[], datetime],
        beside: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._memory = memory
        self._clock = clock
        self._wall_clock = wall_clock
        self._beside = beside
        self._kept: dict[str, tuple[float, float]] = {}
        self._recalling = asyncio.Lock()

    async def recall(self, state: Bucket) -> None:
        """Begin with what earlier runs and other processes have learned, once per bucket."""
        if self._memory is None or state.name in self._kept:
            return
        async with self._recalling:
            if state.name in self._kept:
                return
            with suppress(GsvrError):  # it would be learned anew
                found = await self._memory.learned(state.name)
                if found is not None:
                    age_s = (self._wall_clock() - found[0]).total_seconds()
                    state.recall(found[1], max(0.0, age_s), self._clock())
            self._kept[state.name] = state.lessons

    def remember(self, state: Bucket) -> None:
        """Store what is new, beside the work."""
        if self._memory is None or self._kept.get(state.name) == state.lessons:
            return
        self._kept[state.name] = state.lessons
        storing = self._memory.keep_learned(state.name, self._wall_clock(), state.learned())
        self._beside(_quietly(storing))


async def _quietly(work: Awaitable[None]) -> None:
    with suppress(GsvrError):  # a lesson that is lost costs a refusal
        await work
