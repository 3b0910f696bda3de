"""`gsvr quota`: what was spent since the provider's midnight, beside the limits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from gs_video_report.batch.limiter.models import BucketConfig
from gs_video_report.terminal.styles import clean, money, number, plural


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


def doubtful_lines(held: Sequence[Mapping[str, Any]], *, released: bool = False) -> list[str]:
    """Money of runs that were killed.

    Args:
        held: batch_id, usd, requests, since (ISO-8601) of each batch that has some.
        released: it was just let go.
    """
    lines = []
    for one in held:
        at = datetime.fromisoformat(str(one["since"])).astimezone()
        what = f"{money(one['usd'])} of batch {one['batch_id']}"
        if released:
            lines.append(f"{what} counts as not spent from now on.")
            continue
        asked = plural(int(one["requests"]), "request")
        lines.append(
            f"perhaps spent: {what} ({asked} without an answer when a run was killed or stopped, "
            f"{at:%Y-%m-%d %H:%M})"
        )
    if lines and not released:
        lines += [
            "  Cost limits count it as spent, as the provider may have charged it; its own log",
            "  tells. If it did not:  gsvr quota --release-doubtful",
        ]
    return lines


def set_aside_lines(keys: Sequence[Mapping[str, str]]) -> list[str]:
    """Keys that were refused or spent today: at, kind, bucket, reason."""
    lines = []
    for one in keys:
        provider, _, rest = one["bucket"].partition("/")
        at = datetime.fromisoformat(one["at"]).astimezone()
        word = "refused" if one["kind"] == "key_refused" else "spent"
        name = f"{provider} key {rest.rpartition('/')[2]}"
        lines.append(f"{name}: {word} at {at:%H:%M}, set aside ({clean(one['reason'])})")
    return lines


def freed_lines(keys: Sequence[Mapping[str, str]]) -> list[str]:
    """Keys that are used again from now on."""
    buckets = [one["bucket"].partition("/") for one in keys]
    lines = [f"{name} key {rest.rpartition('/')[2]} is tried again." for name, _, rest in buckets]
    return lines or ["No key is set aside."]


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
