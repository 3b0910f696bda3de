"""What requests wait for when a quota holds them back, and for how long. Pure.

A wait is told once it has lasted for a moment: with tight limits every request waits a little, and
that is no news. Gaps between two waits of the same kind do not end it, so that nothing flickers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gs_video_report.batch.limiter.models import BucketSnapshot, LimiterSnapshot

SHOWN_AFTER_S = 3.0
"""A shorter wait is not shown."""
GAP_S = 5.0
"""So long after the last waiting request the wait is over."""
TOLD_AFTER_S = 30.0
"""A wait with nothing under way is told in a sentence of its own after this time."""
TOLD_AGAIN_S = 1800.0
_WORDS = {
    "requests": "requests per minute of {of}",
    "tokens": "tokens per minute of {of}",
    "pause": "the end of the pause that {of} asked for",
    "slots": "answers of {of} that are under way",
    "day": "answers of {of} that are under way, since the day's quota is nearly spent",
}

_SHORT = {"slots": "answers", "day": "answers"}


@dataclass(frozen=True, slots=True)
class QuotaWait:
    """Requests that wait for one quota."""

    of: str
    """Provider and model, such as `gemini/gemini-flash-latest`."""
    lacks: str
    """A key of `_WORDS`."""
    requests: int
    """How many wait."""
    in_flight: int
    next_s: float | None
    """Seconds until the next one goes; None = when an answer comes."""
    lasted_s: float = 0.0

    @property
    def sentence(self) -> str:
        """`next request in 40 s: 3 wait for tokens per minute of gemini/x`; time first, since a
        narrow screen cuts the end.
        """
        lacks = _WORDS[self.lacks].format(of=self.of)
        wait = "1 waits" if self.requests == 1 else f"{self.requests} wait"
        if self.next_s is not None:
            return f"next request in {seconds_text(self.next_s)}: {wait} for {lacks}"
        who = "1 request waits" if self.requests == 1 else f"{self.requests} requests wait"
        return f"{who} for {lacks}"

    @property
    def short(self) -> str:
        """Beside the name of a video: `wait: tokens`."""
        return f"wait: {_SHORT.get(self.lacks, self.lacks)}"

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        next_s = None if self.next_s is None else round(self.next_s, 1)
        return {
            "of": self.of, "lacks": self.lacks, "requests": self.requests, "next_s": next_s,
            "lasted_s": round(self.lasted_s, 1),
        }  # fmt: skip


def seconds_text(seconds: float) -> str:
    """`40 s`, `2 min 5 s`."""
    whole = max(1, round(seconds))
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def wait_of(snapshot: LimiterSnapshot) -> QuotaWait | None:
    """The wait of the bucket that holds most requests back; None when none waits."""
    held = [b for b in snapshot.buckets if b.waiting and b.lacks]
    if not held:
        return None
    return _of_bucket(max(held, key=lambda bucket: bucket.waiting))


def _of_bucket(bucket: BucketSnapshot) -> QuotaWait:
    name = bucket.name.rpartition("/")[0] or bucket.name  # without the fingerprint of the key
    return QuotaWait(name, bucket.lacks, bucket.waiting, bucket.in_flight, bucket.next_s)


def wait_of_facts(facts: Mapping[str, Any]) -> QuotaWait | None:
    """The same from what a working process recorded; see `run.trace.limiter_facts`."""
    held = [b for b in facts.get("buckets", ()) if b.get("waiting") and b.get("lacks") in _WORDS]
    if not held:
        return None
    found = max(held, key=lambda bucket: int(bucket["waiting"]))
    name = str(found["bucket"])
    return QuotaWait(
        name.rpartition("/")[0] or name, found["lacks"], int(found["waiting"]),
        int(found.get("in_flight", 0)), None,
    )  # fmt: skip


@dataclass(slots=True)
class WaitWatch:
    """Follows waits through time."""

    _wait: QuotaWait | None = None
    _since_s: float = 0.0
    _seen_s: float = 0.0
    _idle_since_s: float | None = None
    """Since when nothing is under way while something waits."""
    _told_s: float = float("-inf")

    def look(self, wait: QuotaWait | None, now_s: float) -> None:
        """Take in what is the case now; None when nothing waits."""
        if wait is None:
            if now_s - self._seen_s > GAP_S:
                self._wait = None
            self._idle_since_s = None
            return
        if self._wait is None:
            self._since_s = now_s
        if wait.in_flight:
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        self._wait, self._seen_s = wait, now_s

    def shown(self, now_s: float) -> QuotaWait | None:
        """The wait as it is at `now_s`, if it lasts."""
        wait = self._wait
        if wait is None or now_s - self._since_s < SHOWN_AFTER_S:
            return None
        left = None if wait.next_s is None else max(0.0, wait.next_s - (now_s - self._seen_s))
        return replace(wait, next_s=left, lasted_s=now_s - self._since_s)

    def news(self, now_s: float) -> str:
        """A sentence for the log when everything has stood still for long; else empty."""
        wait, since = self._wait, self._idle_since_s
        if wait is None or since is None or now_s - since < TOLD_AFTER_S:
            return ""
        if now_s - self._told_s < TOLD_AGAIN_S:
            return ""
        self._told_s = now_s
        option = {"requests": "rpm", "tokens": "tpm"}.get(wait.lacks)
        where = f" ({option} in the configuration)" if option else ""
        stood = seconds_text(now_s - since)
        return f"no request has gone for {stood}; {wait.sentence}{where}"
