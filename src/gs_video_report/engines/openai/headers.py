"""What the headers of an OpenAI-compatible server say of its quotas per minute. Pure.

Sources: the provider's page on rate limits (`x-ratelimit-limit-requests`, `-limit-tokens`, and
`-reset-...`, durations such as `20ms`, `1s`, `6m0s`). Some servers tell a day's quota under the
same name: its reset lies further away than a minute, and it is left out.
Whatever is no positive number is left out, too; how far a number is believed, the limiter decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from gs_video_report.engines.llm.quota import QuotaHint

MINUTE_S = 60.0
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")
_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)


def hint_of(headers: Mapping[str, str]) -> QuotaHint:
    """Requests and tokens per minute, where the server tells them."""
    return QuotaHint(_limit(headers, "requests"), _limit(headers, "tokens"))


def _limit(headers: Mapping[str, str], what: str) -> float | None:
    reset_s = duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))
    if reset_s is not None and reset_s > MINUTE_S:
        return None
    return _positive(headers.get(f"x-ratelimit-limit-{what}", ""))


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def duration_s(text: str) -> float | None:
    """Seconds of `20ms`, `1s`, `6m0s`, `1h2m3.5s` or a plain number; None for anything else."""
    plain = _positive(text)
    if plain is not None:
        return plain
    found = _DURATION.fullmatch(text.strip()) if text.strip() else None
    if found is None:
        return None
    try:
        parts = [
            float(part or 0) * unit for part, unit in zip(found.groups(), _UNITS_S, strict=True)
        ]
    except ValueError:
        return None
    return sum(parts)
