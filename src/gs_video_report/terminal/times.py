"""Times of day as people say them. Pure; the zone is that of `now`."""

from __future__ import annotations

from datetime import datetime

from gs_video_report.terminal.styles import UNKNOWN, clean


def parse_time(text: str | None) -> datetime | None:
    """ISO-8601 with a zone; None for None, empty or unreadable text."""
    if not text:
        return None
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    return value if value.tzinfo is not None else None


def when(text: str | None, now: datetime, *, seconds: bool = False) -> str:
    """`today 14:02`, `Fri 09:30` within six days, else `2026-11-03 09:30`; `-` when unknown."""
    value = parse_time(text)
    if value is None:
        return clean(text) if text else UNKNOWN
    local = value.astimezone(now.tzinfo)
    time = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    days = (local.date() - now.date()).days
    named = {0: "today", -1: "yesterday", 1: "tomorrow"}.get(days)
    if named is not None:
        return f"{named} {time}"
    return f"{local:%a} {time}" if abs(days) < 6 else f"{local:%Y-%m-%d} {time}"
