"""`gsvr quota`: what was spent since the provider's midnight, beside the limits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from gs_video_report.batch.limiter_models import BucketConfig
from gs_video_report.terminal.styles import money, number


def quota_rows(
    used: Iterable[Mapping[str, Any]],
    limits: Mapping[str, BucketConfig],
    reset: datetime,
    now: datetime,
) -> list[dict[str, Any]]:
    """One JSON-able row per provider, model and key, with the time of the next free slot.

    Args:
        used: rows of the ledger since the last reset.
        limits: provider -> limits of one key; None in a field means that nothing is configured.
        reset: when the daily counters start anew, aware.
        now: aware.
    """
    rows = []
    for row in used:
        # Handling uploaded files does not count towards the quota of the models.
        files = row["model"] == "files"
        limit = BucketConfig() if files else limits.get(row["provider"], BucketConfig())
        left = None
        if limit.requests_per_day is not None:
            left = max(0, limit.requests_per_day - int(row["requests"]))
        rows.append(
            {
                "provider": row["provider"],
                "model": row["model"],
                "key": row["key_id"],
                "requests": int(row["requests"]),
                "tokens_in": int(row["tokens_in"]),
                "tokens_out": int(row["tokens_out"]),
                "usd": round(float(row["usd"]), 6),
                "requests_per_day": limit.requests_per_day,
                "requests_per_minute": limit.requests_per_minute,
                "tokens_per_minute": limit.tokens_per_minute,
                "requests_left_today": left,
                "next_slot": (reset if left == 0 else now).isoformat(timespec="seconds"),
            }
        )
    return rows


def quota_lines(rows: Sequence[Mapping[str, Any]], since: datetime, reset: datetime) -> list[str]:
    """The same for people; times in the zone of this machine."""
    if not rows:
        return ["No remote request was made today. The local engine has no quota."]
    local = reset.astimezone()
    lines = [f"Since {since.astimezone():%Y-%m-%d %H:%M}; the day ends at {local:%Y-%m-%d %H:%M}."]
    for row in rows:
        day = row["requests_per_day"]
        requests = number(row["requests"]) + (f" of {number(day)}" if day else "")
        tokens = number(row["tokens_in"] + row["tokens_out"])
        lines.append(
            f"{row['provider']} {row['model']} key {row['key'] or '-'}: {requests} requests, "
            f"{tokens} tokens, {money(row['usd'])}"
        )
        if row["requests_left_today"] == 0:
            lines.append(f"  spent; the next slot is at {local:%H:%M}")
    return lines
