"""Calls that belong to no task: begun again when the process that runs them dies.

A task that loses its process is tried again by the queue, which counts the deaths. What a run does
before, between and after the tasks (resolving a model, judging reports, writing pages) has nobody
else to try it again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gs_video_report.errors import ComputeCrashed

T = TypeVar("T")
TRIES = 3


async def again(call: Callable[[], Awaitable[T]]) -> T:
    """The answer of `call()`, which is made at most `TRIES` times.

    Raises: ComputeCrashed of the last try; other errors at once.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(ComputeCrashed):
            return await call()
    return await call()
