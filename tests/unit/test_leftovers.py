"""Copies at a service are taken away at the end of a run, which does not wait for them for long."""

from __future__ import annotations

import asyncio
import signal

import pytest

from gs_video_report.batch.pool.stop_signals import StopSignals
from gs_video_report.batch.run.leftovers import not_for_long
from gs_video_report.errors import RetryableError

STAYS = "copies of recordings may be left; the service deletes them in 48 hours"
TOLD = "copies of recordings are being deleted at the service: at most 60 s, Ctrl-C ends it"


class Service:
    """One that answers when it is let."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.gave_up = False

    async def work(self) -> None:
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.gave_up = True
            raise


async def test_a_stop_ends_the_wait_for_a_service_that_does_not_answer() -> None:
    """The screen stood still for a minute, and neither the first nor the second Ctrl-C helped."""
    told: list[str] = []
    service, signals = Service(), StopSignals(lambda number: None, lambda: None)

    def tell(text: str) -> None:
        told.append(text)
        if text == TOLD:
            signals.received(signal.SIGINT)

    async with asyncio.timeout(5):
        await not_for_long(service.work(), signals.asked, tell, 60.0, quiet_s=0.0)
    assert service.gave_up
    assert told == [TOLD, f"the service was not waited for any longer: {STAYS}"]


async def test_the_wait_for_a_service_that_does_not_answer_is_short() -> None:
    told: list[str] = []
    service = Service()
    async with asyncio.timeout(5):
        await not_for_long(service.work(), asyncio.Event(), told.append, 0.05, quiet_s=0.01)
    assert service.gave_up
    assert told[-1] == f"the service was not waited for any longer: {STAYS}"


async def test_nothing_is_told_of_a_service_that_answers_at_once() -> None:
    told: list[str] = []
    service = Service()
    service.answers.set()
    await not_for_long(service.work(), asyncio.Event(), told.append)
    assert (service.gave_up, told) == (False, [])


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RetryableError("no route to the service"), "no route to the service"),
        (ZeroDivisionError("by zero"), "unexpected ZeroDivisionError: by zero"),
    ],
)
async def test_an_error_on_the_way_is_told_and_fails_nothing(error: Exception, why: str) -> None:
    told: list[str] = []

    async def work() -> None:
        raise error

    await not_for_long(work(), asyncio.Event(), told.append)
    assert told == [f"{why}: {STAYS}"]
