"""Memoised steps: nothing is computed or paid for twice."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue import recovery
from gs_video_report.batch.step_journal import MISSING, StepJournal, step_key
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import LeaseLost
from tests.support.queue import BATCH, FakeClock, open_queue

FP = "ab" * 32


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    opened = await open_queue(tmp_path, FakeClock(), 2)
    yield opened
    await opened.db.close()


@pytest.fixture
def journal(queue: TaskQueue) -> StepJournal:
    return StepJournal(queue.db)


async def test_step_that_was_done_is_found_again_by_content(journal: StepJournal) -> None:
    params = {"model": "base", "beam": 5}
    assert await journal.get(FP, "transcribe", 3, params) is MISSING
    await journal.put(FP, "transcribe", 3, params, {"text": "讲座"}, seconds=1.5)
    assert await journal.get(FP, "transcribe", 3, {"beam": 5, "model": "base"}) == {"text": "讲座"}
    for other in (
        ("cd" * 32, "transcribe", 3, params),
        (FP, "slides", 3, params),
        (FP, "transcribe", 4, params),
        (FP, "transcribe", 3, {**params, "beam": 1}),
    ):
        assert await journal.get(*other) is MISSING


async def test_nothing_is_a_value_too(journal: StepJournal) -> None:
    await journal.put(FP, "probe", 0, None, None, seconds=0)
    assert await journal.get(FP, "probe", 0) is None
    assert await journal.get(FP, "probe", 0, {}) is None


async def test_first_writer_wins_and_all_see_its_value(journal: StepJournal) -> None:
    first = await journal.put(FP, "compose", 0, None, ("a", 1), seconds=1)
    second = await journal.put(FP, "compose", 0, None, ["b"], seconds=1)
    assert first == second == await journal.get(FP, "compose", 0) == ["a", 1]


async def test_all_parts_come_in_one_read_and_in_order(journal: StepJournal) -> None:
    for part in (2, 0, 10):
        await journal.put(FP, "transcribe", part, {"m": 1}, f"p{part}", seconds=1)
    await journal.put(FP, "transcribe", 1, {"m": 2}, "other", seconds=1)
    assert await journal.get_parts(FP, "transcribe", {"m": 1}) == {0: "p0", 2: "p2", 10: "p10"}
    assert await journal.get_parts(FP, "slides", {"m": 1}) == {}


async def test_forgotten_step_is_done_again(journal: StepJournal) -> None:
    for part in range(3):
        await journal.put(FP, "slides", part, None, part, seconds=1)
    assert await journal.forget(FP, "slides", 1)
    assert not await journal.forget(FP, "slides", 1)
    assert await journal.get(FP, "slides", 1) is MISSING
    assert await journal.forget_source(FP, "audio") == 0
    assert await journal.forget_source(FP) == 2


async def test_finished_step_leaves_one_event_in_the_same_commit(
    queue: TaskQueue, journal: StepJournal
) -> None:
    with ProcessLock(queue.db.path) as lock:
        (running,) = await queue.claim(BATCH, lock.worker_id(1), 1, 60)
        for _ in range(2):
            await journal.put(
                FP, "read", 4, None, 1, seconds=2.5, task_id=running.task_id, attempt=1
            )
    told = [e for e in await queue.events(BATCH) if e["kind"] == "step"]
    assert [(e["task_id"], e["data"]) for e in told] == [
        (running.task_id, {"name": "read", "part": 4, "seconds": 2.5})
    ]


async def test_worker_that_lost_its_lease_is_told_but_its_work_is_kept(
    queue: TaskQueue, journal: StepJournal
) -> None:
    with ProcessLock(queue.db.path) as lock:
        (running,) = await queue.claim(BATCH, lock.worker_id(1), 1, 60)
    await queue.recover()
    with pytest.raises(LeaseLost, match="step read"):
        await journal.put(FP, "read", 0, None, 42, seconds=1, task_id=running.task_id, attempt=1)
    with pytest.raises(LeaseLost):
        await journal.put(FP, "read", 1, None, 43, seconds=1, task_id=999, attempt=1)
    assert await journal.get(FP, "read", 0) == 42


async def test_task_that_gets_on_between_kills_is_not_poison(
    queue: TaskQueue, journal: StepJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut every night must not fail a long video; standing still at a step must."""
    monkeypatch.setattr(recovery, "PROCESS_DEATH_LIMIT", 3)
    for night in range(6):
        with ProcessLock(queue.db.path, f"host-{night}-x") as lock:
            (running,) = await queue.claim(BATCH, lock.worker_id(1), 1, 60)
            assert running.kills == min(night, 1)
            await journal.put(
                FP, "transcribe", night, None, 1, seconds=1,
                task_id=running.task_id, attempt=running.attempt,
            )  # fmt: skip
        assert (await queue.recover()).poisoned == []
    for night in range(2):
        with ProcessLock(queue.db.path, f"host-{night}-y") as lock:
            await queue.claim(BATCH, lock.worker_id(1), 1, 60)
            await journal.put(FP, "transcribe", 0, None, 1, seconds=1, task_id=1, attempt=7 + night)
        found = await queue.recover()
    assert found.poisoned == [1]


async def test_two_tasks_with_equal_content_run_a_step_once(journal: StepJournal) -> None:
    runs = 0

    async def memoised() -> object:
        nonlocal runs
        key = step_key(FP, "compose", 0)
        async with journal.flight(key):
            value = await journal.get(FP, "compose", 0)
            if value is MISSING:
                runs += 1
                value = await journal.put(FP, "compose", 0, None, runs, seconds=1)
            return value

    assert await asyncio.gather(*[memoised() for _ in range(8)]) == [1] * 8
    assert runs == 1


async def test_next_one_gets_its_turn_when_the_holder_fails_or_is_cancelled(
    journal: StepJournal,
) -> None:
    order: list[str] = []
    inside = asyncio.Event()

    async def flying(name: str, *, stay: bool = False, fail: bool = False) -> None:
        async with journal.flight("k"):
            order.append(name)
            if stay:
                inside.set()
                await asyncio.Event().wait()
            if fail:
                raise ZeroDivisionError

    first = asyncio.create_task(flying("first", stay=True))
    await inside.wait()
    waiting = [
        asyncio.create_task(flying("second", fail=True)),
        asyncio.create_task(flying("third")),
    ]
    await asyncio.sleep(0)
    first.cancel()
    ends = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert [type(e) for e in ends] == [asyncio.CancelledError, ZeroDivisionError, type(None)]
    assert order == ["first", "second", "third"]
    assert journal._flights == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(params=st.dictionaries(st.text(), json_values, max_size=4))
def test_key_depends_on_the_values_of_the_parameters_only(params: dict[str, object]) -> None:
    key = step_key(FP, "s", 0, params)
    assert key == step_key(FP, "s", 0, dict(reversed(params.items())))
    assert key != step_key(FP, "s", 0, {**params, "one more": 1})


@settings(max_examples=25)
@given(value=json_values)
def test_any_json_value_comes_back_as_it_was(value: object, tmp_path_factory) -> None:
    async def trip() -> object:
        path = tmp_path_factory.mktemp("trip") / "q.db"
        async with await Database.open(path) as db:
            journal = StepJournal(db)
            stored = await journal.put(FP, "s", 0, None, value, seconds=0)
            assert stored == await journal.get(FP, "s", 0)
            return stored

    assert asyncio.run(trip()) == value


async def test_values_that_are_not_json_are_refused(journal: StepJournal) -> None:
    with pytest.raises(TypeError):
        await journal.put(FP, "s", 0, None, {1, 2}, seconds=0)
    with pytest.raises(TypeError):
        await journal.put(FP, "s", 0, {"p": Path("x")}, 1, seconds=0)


PUTTER = """
import asyncio, os, signal, sys
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import StepJournal
async def main():
    db = await Database.open(sys.argv[1])
    journal = StepJournal(db)
    for part in range(3):
        if sys.argv[2] == "before" and part == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        await journal.put("ab" * 32, "transcribe", part, None, part, seconds=1)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.parametrize(("moment", "kept"), [("before", [0, 1]), ("after", [0, 1, 2])])
async def test_sigkill_keeps_every_journaled_step_and_loses_only_the_one_in_flight(
    tmp_path: Path, moment: str, kept: list[int]
) -> None:
    path = tmp_path / "q.db"
    run = subprocess.run([sys.executable, "-c", PUTTER, str(path), moment], check=False)
    assert run.returncode == -signal.SIGKILL
    async with await Database.open(path) as db:
        assert list(await StepJournal(db).get_parts(FP, "transcribe")) == kept
        assert await db.problems() == []
