"""Send one request inside the limiter: wait for quota, send, settle; again after a refusal.

True here: while a task waits for quota a graceful stop ends the waiting at once, and nothing was
sent. A refusal for rate (429) slows the bucket down and the request is sent again, so that it
does not use up the task's tries; after `MAX_REFUSALS` it does.
Never: parses answers, journals, sleeps by itself.
Raises: StepCancelled, LimitReached (the limiter's), what `send` raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from gs_video_report.engines.base import TaskContext
from gs_video_report.errors import Refused, StepCancelled

T = TypeVar("T")
MAX_REFUSALS = 8
MAX_RETRY_AFTER_S = 120.0
"""A server has been seen to ask for 9.2e18 seconds."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one request may take, at most."""

    tokens: int
    """In and out."""
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What it took."""

    tokens_in: int
    tokens_out: int
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class QuotaHint:
    """What a service says of its quotas per minute; None = nothing. May be any nonsense."""

    requests: float | None = None
    tokens: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        return self.requests is None and self.tokens is None


NO_HINT = QuotaHint()


def pass_on(ctx: TaskContext, bucket: str, hint: QuotaHint) -> None:
    """Tell the limiter, if there is anything to tell."""
    if not hint.is_empty:
        ctx.limiter.hint(bucket, requests=hint.requests, tokens=hint.tokens)


async def send_within(
    ctx: TaskContext,
    bucket: str,
    need: Need,
    send: Callable[[], Awaitable[tuple[T, Spent]]],
    hint: Callable[[], QuotaHint] = lambda: NO_HINT,
) -> T:
    """The value of `send`, sent when the bucket has room, and settled with what it spent.

    Args:
        send: sends ONE request; raises `Refused` for a 429.
        hint: what the service said of its quotas with its last answer, or refusal.
    """
    for _ in range(MAX_REFUSALS):
        try:
            async with granted(ctx, bucket, need) as reservation:
                value, spent = await send()
                reservation.settle(
                    tokens_in=spent.tokens_in, tokens_out=spent.tokens_out, usd=spent.usd
                )
            pass_on(ctx, bucket, hint())
            return value
        except Refused as refused:
            last = refused
            ctx.limiter.penalize(bucket, capped(refused.retry_after_s))
            pass_on(ctx, bucket, hint())
    raise last


@asynccontextmanager
async def granted(
    ctx: TaskContext, bucket: str, need: Need, name: str = "", owed: bool = False
) -> AsyncIterator[Any]:
    """`limiter.reserve` that gives up waiting when the task is being stopped."""
    reservation = ctx.limiter.reserve(
        bucket, requests=1, tokens=need.tokens, usd=need.usd, name=name, owed=owed
    )
    held = _Entered(reservation)
    await _first(ctx, held)
    async with held:
        yield held.value


class _Entered:
    """A context manager entered ahead of its `async with`."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self.value: Any = None

    async def enter(self) -> None:
        self.value = await self._manager.__aenter__()

    async def __aenter__(self) -> Any:
        return self.value

    async def __aexit__(self, *error: Any) -> Any:
        return await self._manager.__aexit__(*error)


async def _first(ctx: TaskContext, held: _Entered) -> None:
    """Enter `held`, unless the stop comes first. Raises: StepCancelled."""
    entering = asyncio.ensure_future(held.enter())
    stopping = asyncio.ensure_future(ctx.cancelled.wait())
    try:
        await asyncio.wait({entering, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not entering.done():
            entering.cancel()
            await asyncio.wait({entering})
    except asyncio.CancelledError:
        entering.cancel()
        entering.add_done_callback(lambda done: _give_back(done, held))
        raise
    finally:
        stopping.cancel()
    if entering.cancelled():
        raise StepCancelled("stopped while waiting for quota")
    entering.result()


_leaving: set[asyncio.Future[Any]] = set()


def _give_back(entering: asyncio.Future[None], held: _Entered) -> None:
    """The task was cancelled in the very moment in which the quota was granted."""
    if entering.cancelled() or entering.exception() is not None:
        return
    held.value.cancel()
    leaving = asyncio.ensure_future(held.__aexit__(None, None, None))
    _leaving.add(leaving)  # the loop itself holds tasks only weakly
    leaving.add_done_callback(_leaving.discard)


def capped(retry_after_s: float | None) -> float | None:
    """What a server asked for, within reason; None when it asked for nothing sensible."""
    if retry_after_s is None or not 0 <= retry_after_s < float("inf"):
        return None
    return min(retry_after_s, MAX_RETRY_AFTER_S)
