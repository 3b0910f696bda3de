"""Who of a bucket's waiters goes next.

True here: in order of arrival, unless requests and tokens are both limited. Then a waiter goes
that keeps both quotas equally used: a large one while requests are scarce, a small one while
tokens are. Nobody is overtaken more than `MAX_OVERTAKEN` times.
Never: waits, takes quota, reads a clock.

Why: of two quotas that are equally tight, one is spent early in every stretch of requests that
are larger or smaller than usual, and what the other one has left is lost. With n requests a
minute whose sizes vary by a share v, that loses about 0.4 v / sqrt(n) of each: 3 % at 20 requests
a minute. Filling from a window of waiters is the "next k fit" of bin packing (Csirik and Imreh
1989); the bound on overtaking keeps it fair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gs_video_report.batch.limiter.bucket import Claim

LOOKAHEAD = 16
"""Waiters that are compared."""
MAX_OVERTAKEN = 16


@dataclass(slots=True, eq=False)
class Ticket:
    """One waiter; `changed` ends its pause early."""

    claim: Claim
    changed: asyncio.Future[None] | None = None
    overtaken: int = 0

    def wake(self) -> None:
        """End its pause, if it is in one."""
        if self.changed is not None and not self.changed.done():
            self.changed.set_result(None)


@dataclass(slots=True)
class Line:
    """Waiters in order of arrival."""

    tickets: list[Ticket] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.tickets)

    def leader(self, rank: Callable[[Claim], float]) -> Ticket | None:
        """Who goes next; None when nobody waits.

        Args:
            rank: of a claim; the smallest goes first, and of equal ones the one that came first.
        """
        if not self.tickets:
            return None
        patient = next((t for t in self._compared() if t.overtaken >= MAX_OVERTAKEN), None)
        return patient or min(self._compared(), key=lambda ticket: rank(ticket.claim))

    def granted(self, ticket: Ticket) -> None:
        """`ticket` goes: those who came earlier have been overtaken."""
        for earlier in self._compared():
            if earlier is ticket:
                return
            earlier.overtaken += 1

    def _compared(self) -> Iterator[Ticket]:
        return iter(self.tickets[:LOOKAHEAD])
