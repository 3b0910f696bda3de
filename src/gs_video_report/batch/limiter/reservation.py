"""Quota and money for one request: granted before it is sent, settled by what it really used.

True here: the ledger gets a row for everything that was granted, also after an error or a
cancellation of the caller.
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Protocol

from gs_video_report.batch.limiter.bucket import Claim
from gs_video_report.batch.limiter.models import UsageEntry


class Limiter(Protocol):
    """Who grants reservations, and what they tell it."""

    async def wait(self, reservation: Reservation) -> None:
        """Return when it is granted. Raises: LimitReached; what ledger and purse raise."""

    def settle(
        self, reservation: Reservation, used: UsageEntry, rate_tokens: int | None = None
    ) -> None:
        """`rate_tokens`: what a request that failed may have cost; None = it was accepted."""

    def succeed(self, reservation: Reservation) -> None:
        """The provider accepted the request."""

    async def close(self, reservation: Reservation) -> None:
        """End it; its ledger row is stored even if the caller is cancelled now."""


class Reservation(Claim):
    """Quota for some requests, made by `ApiLimiter.reserve`; an async context manager.

    Leaving the body without `settle()` counts the estimate as used: the other side may have
    counted it too. After an error the ledger gets the requests, but no tokens and no cost.

    Args:
        name: of what is asked for when that outlives the request, as a job does: the money set
            aside for it has this name in all processes, and stays while `keep_hold()` says so.
        owed: it was asked for before and will be charged: no cost limit can hold it back.
    """

    def __init__(
        self,
        limiter: Limiter,
        bucket: str,
        requests: int,
        tokens: int,
        usd: float,
        name: str = "",
        owed: bool = False,
    ) -> None:
        super().__init__(bucket, requests, tokens, usd)
        self._limiter = limiter
        self.name = name
        self.owed = owed
        self.keeps_hold = bool(name)

    def keep_hold(self, keep: bool = True) -> None:
        """Say whether what was asked for may be charged although nobody waits for it any more.

        Until it is said, it may if money was set aside for it before. `settle()` ends it.
        """
        self.keeps_hold = keep and bool(self.name)

    def settle(
        self,
        *,
        tokens_in: int | None = None,
        tokens_out: int = 0,
        usd: float | None = None,
        in_doubt: bool = False,
    ) -> None:
        """Say what was really used; also tells that the provider accepted the request.

        Args:
            tokens_in, usd: None = as estimated.
            in_doubt: no answer came, so the figures are the most that it may have cost.

        Raises: RuntimeError when called twice or before the quota was granted.
        """
        tokens_in = self.tokens if tokens_in is None else tokens_in
        usd = self.usd if usd is None else usd
        entry = self._entry(self.requests, tokens_in, tokens_out, usd)
        self._limiter.settle(self, replace(entry, in_doubt=in_doubt))
        self._limiter.succeed(self)

    def cancel(self) -> None:
        """Give everything back: no request was sent. Raises: RuntimeError, as `settle()`."""
        unused = self._entry(0, 0, 0, 0.0)
        self._limiter.settle(self, replace(unused, leaves_hold=self.keeps_hold))

    async def __aenter__(self) -> Reservation:
        if self.granted_at is None:
            await self._limiter.wait(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.used is None and error is None:
            self.settle()
        elif self.used is None:
            failed = self._entry(self.requests, 0, 0, 0.0)
            failed = replace(failed, leaves_hold=self.keeps_hold)
            self._limiter.settle(self, failed, rate_tokens=self.tokens)
        await self._limiter.close(self)

    def _entry(self, requests: int, tokens_in: int, tokens_out: int, usd: float) -> UsageEntry:
        if self.started_at is None:
            raise RuntimeError("the reservation was not granted yet")
        if self.used is not None:
            raise RuntimeError("the reservation was settled already")
        return UsageEntry(
            self.bucket, self.started_at, requests, tokens_in, tokens_out, usd, self.hold
        )
