"""What the answers behind one report cost: paid in this attempt, or paid before and used again.

True here: paid is what the limiter settled, answers that failed or were of no use included, as in
the ledger. Reused is what an answer in the journal had cost when it was made; it is never spent
again and counts towards no limit.
Never: writes anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gs_video_report.batch.data_models import Usage

NOTHING = Usage()


@dataclass(slots=True)
class Account:
    """Of one attempt of one task."""

    paid: Usage = NOTHING
    reused: Usage = NOTHING
    _known: set[str] = field(default_factory=set)

    def pay(self, requests: int, tokens_in: int, tokens_out: int, usd: float) -> None:
        """A request was settled."""
        self.paid = plus(self.paid, Usage(requests, tokens_in, tokens_out, usd))

    def ran(self, key: str) -> None:
        """The step was run now: finding it again is no reuse."""
        self._known.add(key)

    def found(self, key: str, value: Any) -> None:
        """The journal had the step; it counts once."""
        if key not in self._known:
            self._known.add(key)
            self.reused = plus(self.reused, cost_of(value))

    def to_dict(self) -> dict[str, dict[str, float]]:
        """For the run-time part of a report's provenance: `paid` and `reused`."""
        return {"paid": asdict(self.paid), "reused": asdict(self.reused)}


def plus(one: Usage, other: Usage) -> Usage:
    """The sum; dollars to the millionth of a cent."""
    return Usage(
        one.requests + other.requests,
        one.tokens_in + other.tokens_in,
        one.tokens_out + other.tokens_out,
        round(one.usd + other.usd, 8),
    )


def cost_of(value: Any) -> Usage:
    """What a journaled answer cost: its `usage`, or the fields themselves; else nothing."""
    if not isinstance(value, Mapping):
        return NOTHING
    told = value.get("usage", value)
    if not isinstance(told, Mapping) or "usd" not in told:
        return NOTHING
    return Usage(
        int(told.get("requests", 1)),
        int(told.get("tokens_in", 0)),
        int(told.get("tokens_out", 0)),
        float(told["usd"]),
    )
