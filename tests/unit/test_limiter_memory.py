"""What was learned of a quota survives a restart and grows old."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.limiter.discovery import FORGOTTEN_S, FRESH_S, PROBE_S, Quota
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.spending import Spending
from tests.unit.test_api_limiter import FakeTime
from tests.unit.test_limiter_quota import used_steadily


def limiter_of(time: FakeTime, memory: Spending) -> ApiLimiter:
    return ApiLimiter({}, time.clock, time.sleep, wall_clock=time.wall, memory=memory)


async def used(limiter: ApiLimiter) -> None:
    async with limiter.reserve("gemini/m/k"):
        pass


def limit_of(limiter: ApiLimiter) -> float:
    found: float = limiter._bucket("gemini/m/k").learned()["requests"]["limit"]
    return found


async def test_second_process_and_a_restart_start_from_what_was_learned(tmp_path: Path) -> None:
    time = FakeTime()
    async with await Database.open(tmp_path / "t.db") as database:
        first = limiter_of(time, Spending(database, "b1", "p1"))
        for _ in range(20):
            time.now += 1.0
            await used(first)
        with pytest.raises(ConnectionError):
            async with first.reserve("gemini/m/k"):
                raise ConnectionError
        first.penalize("gemini/m/k", None)
        await first.flush()
        second = limiter_of(time, Spending(database, "b2", "p2"))
        async with second.reserve("other/m/k"):
            pass
        assert second.snapshot().buckets[0].requests_level is None
        task = asyncio.ensure_future(used(second))
        while not task.done():  # the database answers in its own time
            await time.advance(1.0)
        await task
        assert limit_of(second) == limit_of(first) == 20
        time.began += timedelta(seconds=FORGOTTEN_S + 1)
        late = limiter_of(time, Spending(database, "b3", "p3"))
        await used(late)
        assert late.snapshot().buckets[0].requests_level is None


def taught() -> Quota:
    quota = Quota(None, None, 0.0)
    used_steadily(quota, 0.0, 20)
    quota.learn(None, 1.0, 20.0)
    used_steadily(quota, 120.0, 20)
    quota.learn(None, 1.0, 140.0)
    return quota


def test_old_lesson_is_tried_to_be_raised_again_at_the_first_full_minute() -> None:
    learned = taught().learned()
    assert learned is not None
    assert learned["probe_s"] > PROBE_S
    old, fresh = Quota(None, None, 0.0), Quota(None, None, 0.0)
    old.recall(learned, FRESH_S, 0.0)
    fresh.recall(learned, 1.0, 0.0)
    for quota in (old, fresh):
        used_steadily(quota, 0.0, 30)
    assert old.limit == fresh.limit
    assert old.probe(30.0)
    assert not fresh.probe(30.0)


def test_lesson_about_another_told_limit_is_not_believed() -> None:
    learned = taught().learned()
    assert learned is not None
    told = Quota(100, None, 0.0)
    told.recall(learned, 1.0, 0.0)
    assert told.limit == 100
    assert told.learned() is None
