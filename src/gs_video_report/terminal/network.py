"""What people read while a service cannot be reached, and when it is back. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from gs_video_report.batch.outage import ENGINE, Outage
from gs_video_report.terminal.styles import span


def lost_text(outage: Outage, seconds: float, now: datetime) -> str:
    """Told at the beginning of an outage and now and then.

    Args:
        seconds: since the first failure.
        now: local time, aware.
    """
    since = now - timedelta(seconds=seconds)
    what = "waiting for it" if outage.source == ENGINE else "its videos wait"
    return (
        f"{outage.label} cannot be reached since {since:%H:%M:%S}; {what}, "
        f"no video loses a try ({outage.reason})"
    )


def back_text(outage: Outage, seconds: float) -> str:
    """Told at its end."""
    return f"{outage.label} answers again after {span(seconds)}; going on"
