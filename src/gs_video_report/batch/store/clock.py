"""The clocks of the durable core.

Truth: leases count CLOCK_BOOTTIME milliseconds together with the boot id, so that a step of the
wall clock neither ends nor extends a lease, and time asleep counts. Everything that people read
is UTC, ISO-8601 with milliseconds and `Z`: fixed width, so that text order is time order.
Never: sleeps.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """What the queue asks for the time; tests pass a fake one."""

    @property
    def boot_id(self) -> str:
        """Changes when the machine restarts, and only then."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970, UTC. May jump."""
        ...

    def boot_ms(self) -> int:
        """Milliseconds since the machine started. Never goes back within one `boot_id`."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def __init__(self) -> None:
        self._boot_id = _read_boot_id()

    @property
    def boot_id(self) -> str:
        """The kernel's boot id; where there is none, the second in which the machine started."""
        return self._boot_id

    def wall_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000

    def boot_ms(self) -> int:
        """CLOCK_BOOTTIME where the system has it (Linux), else CLOCK_MONOTONIC."""
        return time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000


_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _read_boot_id() -> str:
    try:
        return _BOOT_ID_FILE.read_text("ascii").strip()
    except OSError:
        import psutil

        return f"booted-{int(psutil.boot_time())}"


def iso(wall_ms: int) -> str:
    """`1763809200123` -> `2025-11-22T11:00:00.123Z`. Always 24 characters."""
    seconds, rest = divmod(wall_ms, 1000)
    return f"{_iso_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=16)
def _iso_second(seconds: int) -> str:
    """Formatting is slow and the queue asks many times within a second."""
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


def utc_now() -> str:
    """Now by the wall clock of this machine, as `iso` writes it."""
    return iso(time.time_ns() // 1_000_000)


def parse_iso(text: str) -> int:
    """Milliseconds since 1970 of an ISO-8601 time. Raises: ValueError, also without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text}: a time without a zone")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def stamp(wall_ms: int) -> str:
    """Time for file names: `20251122T110000Z`."""
    return f"{_EPOCH + timedelta(milliseconds=wall_ms):%Y%m%dT%H%M%SZ}"
