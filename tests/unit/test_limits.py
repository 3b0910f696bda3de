"""Budgets and buckets of a run: the tighter limit binds, and says when it is free again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from gs_video_report.batch.data_models import BatchCounts, BatchOptions, Usage
from gs_video_report.batch.limiter.models import UsageEntry, UsageTotals
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.doubt import held_by_dead
from gs_video_report.batch.queue.spending import Spending, iso_ms
from gs_video_report.batch.run.limits import (
    Budget,
    SharedPurse,
    UsageLedger,
    bucket_config,
    bucket_parts,
    budget,
    local_day,
    make_limiter,
    purse_of,
    run_budget,
)
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import LimitReached

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("limit", "daily", "batch", "today", "expected"),
    [
        (None, None, 1.0, 5.0, Budget(None)),
        (4.0, None, 1.0, 5.0, Budget(4.0)),
        (None, 6.0, 1.0, 5.0, Budget(2.0, "2026-11-23T00:00:00.000Z")),
        (4.0, 6.0, 1.0, 5.0, Budget(2.0, "2026-11-23T00:00:00.000Z")),
        (1.5, 6.0, 1.0, 5.0, Budget(1.5)),
        (None, 3.0, 1.0, 5.0, Budget(1.0, "2026-11-23T00:00:00.000Z")),
    ],
)
def test_the_tighter_of_batch_and_day_binds(
    limit: float | None, daily: float | None, batch: float, today: float, expected: Budget
) -> None:
    options = replace(BatchOptions(), cost_limit_usd=limit, daily_cost_limit_usd=daily)
    assert budget(options, batch, today, MIDNIGHT) == expected


def test_bucket_names_survive_models_and_hosts_with_slashes() -> None:
    assert bucket_parts("gemini/gemini-flash/ab12") == ("gemini", "gemini-flash", "ab12")
    assert bucket_parts("openai/host:8080/Org/model/k") == ("openai", "host:8080/Org/model", "k")


def test_gemini_counts_only_what_is_sent() -> None:
    assert not bucket_config("gemini", {"rpm": 5}).count_output_tokens
    assert bucket_config("openai", {"tpm": 5}).count_output_tokens


def test_a_day_is_24_hours_or_the_clock_was_changed() -> None:
    start, end = local_day(datetime(2026, 11, 22, 13, 5, tzinfo=UTC))
    assert start <= datetime(2026, 11, 22, 13, 5, tzinfo=UTC) < end


async def open_purse(database: Database, process: str, **limits: float) -> SharedPurse:
    purse = purse_of(Spending(database, "b1", process), replace(BatchOptions(), **limits))
    assert purse is not None
    return purse


def test_without_a_limit_no_money_is_set_aside() -> None:
    assert purse_of(cast(Spending, None), BatchOptions()) is None


async def test_only_the_budget_of_the_day_gets_a_time_to_resume(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "t.db") as database:
        batch = await open_purse(database, "p1", cost_limit_usd=1.0, daily_cost_limit_usd=5.0)
        with pytest.raises(
            LimitReached, match=r"the cost limit of \$1 .* up to \$1.5000"
        ) as caught:
            await batch.take("h1", 1.5)
        assert caught.value.resume_at is None
        day = await open_purse(database, "p1", daily_cost_limit_usd=1.0)
        with pytest.raises(LimitReached, match=r"the daily cost limit of \$1 ") as caught:
            await day.take("h2", 1.5)
        assert caught.value.resume_at == iso_ms(local_day(datetime.now(UTC))[1])


async def test_what_another_process_set_aside_is_waited_for_while_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with await Database.open(path) as database:
        queue = TaskQueue(database)
        with ProcessLock(path, "lives"):
            mine = await open_purse(database, "mine", cost_limit_usd=1.0)
            other = await open_purse(database, "lives", cost_limit_usd=1.0)
            assert await other.take("theirs", 0.7)
            assert not await mine.take("early", 0.5)
            cheap = UsageEntry("gemini/m/k", datetime.now(UTC), 1, 1, 1, 0.1, "theirs")
            await UsageLedger(queue, "b1").record(cheap)
            assert await mine.take("late", 0.5)


async def test_what_a_killed_process_set_aside_counts_as_spent(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "t.db") as database:
        dead = await open_purse(database, "dead", cost_limit_usd=1.0)
        assert await dead.take("theirs", 0.7)
        mine = await open_purse(database, "mine", cost_limit_usd=1.0)
        with pytest.raises(LimitReached, match=r"\$0.7000 perhaps spent by a run that was killed"):
            await mine.take("mine", 0.5)
        assert await mine.take("small", 0.3)


async def test_what_is_set_aside_twice_for_one_job_counts_once(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "t.db") as database:
        limits = {"cost_limit_usd": 1.0, "daily_cost_limit_usd": 1.0}
        dead = await open_purse(database, "dead", **limits)
        assert await dead.take("job", 0.7)
        mine = await open_purse(database, "mine", **limits)
        assert await mine.is_held("job")
        assert await mine.take("job", 0.7)
        assert await mine.take("small", 0.3)
        rows = await database.read("SELECT hold_id, process_id, usd FROM holds ORDER BY usd")
        assert [tuple(row) for row in rows] == [("small", "mine", 0.3), ("job", "mine", 0.7)]


async def test_what_is_left_at_a_provider_binds_also_while_its_process_lives(
    tmp_path: Path,
) -> None:
    """Nobody waits for it, so waiting for it to become cheaper would never end."""
    path = tmp_path / "t.db"
    async with await Database.open(path) as database:
        queue = TaskQueue(database)
        with ProcessLock(path, "mine"):
            mine = await open_purse(database, "mine", daily_cost_limit_usd=1.0)
            limiter = make_limiter(queue, "b1", bucket_config("gemini", {}), ("g/m/k",), mine)
            with suppress(ConnectionError):
                async with limiter.reserve("g/m/k", usd=0.7, name="job") as quota:
                    quota.keep_hold()
                    raise ConnectionError
            with pytest.raises(LimitReached, match=r"\$0.7000 perhaps spent"):
                await mine.take("next", 0.5)
            assert [one.usd for one in await held_by_dead(database)] == [0.7]
            async with limiter.reserve("g/m/k", usd=0.7, name="job") as quota:
                quota.settle(usd=0.2)
            assert await mine.take("next", 0.5)
            assert await held_by_dead(database) == []


async def test_who_gives_up_before_anything_was_sent_leaves_what_was_there(
    tmp_path: Path,
) -> None:
    async with await Database.open(tmp_path / "t.db") as database:
        purse = await open_purse(database, "mine", cost_limit_usd=1.0)
        limiter = make_limiter(
            TaskQueue(database), "b1", bucket_config("gemini", {}), ("g/m/k",), purse
        )
        assert await purse.take("old", 0.2)
        for name in ("old", "new"):
            with pytest.raises(ConnectionError):
                async with limiter.reserve("g/m/k", usd=0.2, name=name):
                    raise ConnectionError
        assert (await purse.is_held("old"), await purse.is_held("new")) == (True, False)


async def test_what_was_spent_before_a_restart_counts(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "t.db") as database:
        queue = TaskQueue(database)
        ledger = UsageLedger(queue, "b1")
        now = datetime.now(UTC)
        await ledger.record(UsageEntry("gemini/m/k1", now, 2, 100, 10, 0.25))
        await ledger.record(UsageEntry("gemini/m/k2", now, 1, 50, 5, 0.10))
        since = now.replace(hour=0, minute=0, second=0, microsecond=0)
        assert await ledger.usage_since("gemini/m/k1", since, count_output_tokens=False) == (
            UsageTotals(2, 100, 0.25)
        )
        options = replace(BatchOptions(), daily_cost_limit_usd=0.5)
        found = await run_budget(queue, options, BatchCounts(usd=0.35))
        assert found.limit_usd == pytest.approx(0.5)
        purse = await open_purse(database, "p1", daily_cost_limit_usd=0.5)
        limiter = make_limiter(queue, "b1", bucket_config("gemini", {}), ("gemini/m/k1",), purse)
        with pytest.raises(LimitReached):
            async with limiter.reserve("gemini/m/k1", usd=0.2):
                raise AssertionError
        async with limiter.reserve("gemini/m/k1", usd=0.1) as quota:
            quota.settle(tokens_in=1, tokens_out=1, usd=0.1)
        await limiter.flush()
        day = await queue.usage_since("2000-01-01T00:00:00.000Z")
        assert day == Usage(4, 151, 16, pytest.approx(0.45))
        assert await database.read("SELECT * FROM holds") == []
