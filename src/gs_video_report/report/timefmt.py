"""Times as text. Seconds become whole milliseconds once, then are split: no carry is ever lost.

Pure. Negative and not-a-number times count as 0: a report never fails over a time.
"""

from __future__ import annotations

import math

MS_PER_S = 1000
S_PER_MIN = 60
S_PER_HOUR = 3600


def to_ms(seconds: float | None) -> int:
    """Whole milliseconds, rounded half up; 0 for None, NaN, infinite and negative values."""
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        return 0
    return math.floor(seconds * MS_PER_S + 0.5)


def _split(seconds: float | None) -> tuple[int, int, int, int]:
    whole, ms = divmod(to_ms(seconds), MS_PER_S)
    return whole // S_PER_HOUR, whole // S_PER_MIN % S_PER_MIN, whole % S_PER_MIN, ms


def clock(seconds: float | None) -> str:
    """`2:03`, `1:02:03`, `100:00:00`: for people. Fractions are cut off, as on a player."""
    hours, minutes, secs, _ = _split(seconds)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def clock_long(seconds: float | None) -> str:
    """`0:02:03`, always with hours: for prompts, where one form is safer than two."""
    hours, minutes, secs, _ = _split(seconds)
    return f"{hours}:{minutes:02}:{secs:02}"


def srt_time(ms: int) -> str:
    """`01:02:03,045` from milliseconds."""
    hours, minutes, secs, rest = _split(ms / MS_PER_S)
    return f"{hours:02}:{minutes:02}:{secs:02},{rest:03}"


def vtt_time(ms: int) -> str:
    """`01:02:03.045` from milliseconds."""
    return srt_time(ms).replace(",", ".")


def iso_duration(seconds: float | None) -> str:
    """`PT1H2M3S`, for the `datetime` attribute of HTML."""
    hours, minutes, secs, _ = _split(seconds)
    return f"PT{hours}H{minutes}M{secs}S"


def link_seconds(seconds: float | None) -> str:
    """Seconds for `#t=`: at most three decimals, none when whole: `754`, `12.34`."""
    whole, ms = divmod(to_ms(seconds), MS_PER_S)
    return f"{whole}.{ms:03}".rstrip("0").rstrip(".")


def parse_clock(text: str) -> float | None:
    """Seconds of `1:02:03`, `2:03`, `62:03`, `1:02:03.5` or `123`; None when it is no time."""
    parts = text.strip().replace(",", ".").split(":")
    if not 1 <= len(parts) <= 3:
        return None
    if not all(p.replace(".", "", 1).isascii() and _digits(p) for p in parts):
        return None
    if any("." in p for p in parts[:-1]):
        return None
    total = 0.0
    for part in parts:
        total = total * S_PER_MIN + float(part)
    return round(total, 3) if math.isfinite(total) else None


def _digits(part: str) -> bool:
    return len(part) <= 12 and part.replace(".", "", 1).isdigit() and part[0] != "."
