"""The contract of a compute backend: run a function elsewhere, and be able to kill it.

Implementations: `process_pool.ProcessBackend` (default). A cluster engine may come later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

ProgressCallback = Callable[[float, float], None]
"""Called in the event loop with (done, total) in the unit of the step; must not block."""


@dataclass(frozen=True, slots=True)
class ComputeStatistics:
    """A snapshot for monitors and tests."""

    processes: int
    """Alive now."""
    busy: int
    waiting: int
    """Calls that have no process yet."""
    started: int
    """Processes started so far, replacements included."""
    recycled: int
    """Processes replaced because they grew or served many calls."""
    crashed: int
    """Processes that died of something that was not ours."""
    rss_bytes: int
    """Resident memory of all processes now."""
    peak_rss_bytes: int
    """Largest resident memory seen of a single process."""


class ComputeBackend(Protocol):
    """Runs module-level functions out of process."""

    async def start(self) -> None:
        """Make ready; processes may start lazily."""

    async def run(
        self,
        fn: Callable[..., T],
        *args: Any,
        timeout_s: float | None = None,
        stall_timeout_s: float | None = None,
        priority: int = 0,
        on_progress: ProgressCallback | None = None,
        on_start: Callable[[], None] | None = None,
    ) -> T:
        """Run `fn(*args)` in another process and return its result.

        Args:
            fn: importable module-level function; args and result must pickle and stay small
                (pass paths, not pixels).
            timeout_s: wall seconds of running (waiting for a process does not count).
            stall_timeout_s: seconds without `compute.progress()` from the function.
            priority: smaller first among waiting calls; ties in order of arrival.
            on_progress: receives what the function reports.
            on_start: called once when a process begins the call; until then it only waits.

        Raises:
            GsvrError: raised by the function, unchanged.
            ComputeTimeout, ComputeStalled: killed for time.
            ComputeOutOfMemory: MemoryError, the memory limit, or the kernel's killer.
            ComputeCrashed: died of a signal or exit, which the message names.

        Cancellation: kills the process that runs the call; nobody else is harmed.
        """
        ...

    async def resize(self, processes: int) -> None:
        """Grow at once, shrink as calls end."""

    def statistics(self) -> ComputeStatistics:
        """A consistent snapshot."""
        ...

    async def close(self, grace_s: float = 2.0) -> None:
        """SIGTERM, then SIGKILL after `grace_s`. Idempotent. No process survives."""
