"""What people read while a service cannot be reached, and when it is back. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from gs_video_report.terminal.styles import span


class OutageLike(Protocol):
    """`batch.outage.Outage` fits."""

    @property
    def source(self) -> str:
        """Empty for the engine's own service."""

    @property
    def label(self) -> str:
        """Of the other side, for people."""

    @property
    def reason(self) -> str:
        """Message of the last failure."""


def lost_text(outage: OutageLike, seconds: float, now: datetime) -> str:
    """Told at the beginning of an outage and now and then.

    Args:
        seconds: since the first failure.
        now: local time, aware.
    """
    since = now - timedelta(seconds=seconds)
    what = "waiting for it" if not outage.source else "its videos wait"
    return (
        f"{outage.label} cannot be reached since {since:%H:%M:%S}; {what}, "
        f"no video loses a try ({outage.reason})"
    )


def back_text(outage: OutageLike, seconds: float) -> str:
    """Told at its end."""
    return f"{outage.label} answers again after {span(seconds)}; going on"
