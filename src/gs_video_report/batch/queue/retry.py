"""Whether and when a failed attempt is tried again: one pure decision.

Source: "Exponential Backoff And Jitter", AWS architecture blog (full jitter): the wait is
uniform between 0 and min(cap, base * 2**failures), so that many failed tasks do not come back
together. A delay that the other side asked for (Retry-After) is a lower bound, but is capped:
servers have asked for 9.2e18 seconds.
Never: sleeps, draws random numbers, reads a clock. The caller stores the wait in the database.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gs_video_report.errors import GsvrError, LeaseLost, RetryableError

BASE_S = 2.0
CAP_S = 300.0
RETRY_AFTER_CAP_S = 3600.0
FAR_MS = 2 * 1000 * 3600
"""A retry that seems further off than this was planned before the clock was set back: it is due."""
_MAX_DOUBLINGS = 60
"""Beyond this the cap rules anyway; keeps the power finite."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after `seconds` (>= 0)."""

    seconds: float
    reason: str
    """One plain clause for the log and the screen."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not try again by itself."""

    reason: str
    """One plain clause: why not."""


def decide(
    error: GsvrError,
    failures: int,
    max_retries: int,
    rand: float,
    *,
    base_s: float = BASE_S,
    cap_s: float = CAP_S,
    retry_after_cap_s: float = RETRY_AFTER_CAP_S,
) -> Wait | GiveUp:
    """Decide about the attempt that has just failed with `error`.

    Args:
        error: only a `RetryableError` is ever tried again; `LeaseLost` is not ours to try.
        failures: counted failures before this one (`VideoTask.failures` as claimed), >= 0.
        max_retries: tries after the first one; 0 means a single try.
        rand: uniform in [0, 1), drawn by the caller.
        base_s: upper bound of the first wait, seconds.
        cap_s: upper bound of every backoff, seconds.
        retry_after_cap_s: upper bound of a wait that the other side asked for, seconds.
    """
    if isinstance(error, LeaseLost):
        return GiveUp("another process has the task")
    if not isinstance(error, RetryableError):
        return GiveUp("trying again would give the same answer")
    if failures >= max_retries:
        return GiveUp(_exhausted(failures))
    backoff_s = rand * min(cap_s, base_s * 2.0 ** min(max(failures, 0), _MAX_DOUBLINGS))
    asked_s = asked_wait_s(error, retry_after_cap_s)
    if asked_s is not None:
        return Wait(asked_s + min(backoff_s, base_s), "the other side asked to wait")
    return Wait(backoff_s, f"retry {failures + 1} of {max_retries}")


def asked_wait_s(error: RetryableError, cap_s: float = RETRY_AFTER_CAP_S) -> float | None:
    """The delay that the other side asked for, seconds in 0..cap_s; None without a usable one."""
    try:
        asked = error.retry_after_s
    except (TypeError, ValueError, OverflowError):
        return None
    if asked is None or math.isnan(asked) or asked < 0:
        return None
    return min(asked, cap_s)


def _exhausted(failures: int) -> str:
    if failures == 0:
        return "retries are off"
    return f"it failed {failures + 1} times"
