"""The queue: batches, claims, fences, recovery, and what they cost."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gs_video_report.batch import sql
from gs_video_report.batch.data_models import (
    FILES,
    BatchOptions,
    BatchStatus,
    InputType,
    NewTask,
    TaskStatus,
    Usage,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.mend.verify import cut_off
from gs_video_report.batch.queue import recovery
from gs_video_report.batch.queue.task_moves import add_events
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock, workers_dir
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import LeaseLost, NotFoundError, UsageError
from tests.support.queue import BATCH, BROKEN, FakeClock, batch, open_queue, result, task, tasks

LEASE_S = 60.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def queue(tmp_path: Path, clock: FakeClock) -> AsyncIterator[TaskQueue]:
    """A queue with one batch of five tasks."""
    opened = await open_queue(tmp_path, clock, 5)
    yield opened
    await opened.db.close()


@pytest.fixture
def lock(tmp_path: Path) -> AsyncIterator[ProcessLock]:
    with ProcessLock(tmp_path / "gsvr.db", "host-1-aaaa") as held:
        yield held


async def claim(queue: TaskQueue, lock: ProcessLock, limit: int = 1) -> list[VideoTask]:
    return await queue.claim(BATCH, lock.worker_id(1), limit, LEASE_S)


async def kinds(queue: TaskQueue, task_id: int) -> list[str]:
    return [e["kind"] for e in await queue.events(BATCH) if e["task_id"] == task_id]


async def recount(queue: TaskQueue) -> dict[str, int]:
    rows = await queue.db.read("SELECT status, count(*) AS n FROM tasks GROUP BY status")
    return {row["status"]: row["n"] for row in rows}


# --- batches --------------------------------------------------------------------------------------


async def test_batch_is_named_by_id_prefix_or_latest(queue: TaskQueue, clock: FakeClock) -> None:
    clock.pass_s(1)
    await queue.create_batch(batch("7f3b2222"))
    assert (await queue.get_batch(BATCH)).created_at == "2025-11-22T11:00:00.000Z"
    assert (await queue.get_batch("7F3A")).batch_id == BATCH
    assert (await queue.get_batch("latest")).batch_id == "7f3b2222"
    with pytest.raises(UsageError, match="'7f' fits several batches: 7f3a0011, 7f3b2222"):
        await queue.get_batch("7f")
    with pytest.raises(UsageError, match="at least 2 characters"):
        await queue.get_batch("7")
    for unknown in ("ff", "7f3a00112", "", "%"):
        with pytest.raises((NotFoundError, UsageError)):
            await queue.get_batch(unknown)


async def test_two_programs_with_one_command_make_one_batch(
    queue: TaskQueue, clock: FakeClock
) -> None:
    """Pins: between looking for the batch and making it, another program could make it, too."""
    clock.pass_s(1)
    first = await queue.create_batch(batch("aaaa0000", batch_key="k"), or_same=True)
    second = await queue.create_batch(batch("bbbb0000", batch_key="k"), or_same=True)
    assert (first.batch_id, second.batch_id) == ("aaaa0000", "aaaa0000")
    assert (await queue.create_batch(batch("cccc0000", batch_key="k"))).batch_id == "cccc0000"


async def test_empty_database_has_no_latest_batch(tmp_path: Path, clock: FakeClock) -> None:
    from gs_video_report.batch.persistence import Database

    async with await Database.open(tmp_path / "empty.db") as db:
        with pytest.raises(NotFoundError, match="no batch in this database yet"):
            await TaskQueue(db, clock=clock).get_batch("latest")


async def test_same_key_finds_the_newest_batch_that_was_not_cancelled(
    queue: TaskQueue, clock: FakeClock
) -> None:
    for number in range(3):
        clock.pass_s(1)
        await queue.create_batch(batch(f"aaaa000{number}"))
    await queue.set_batch_status("aaaa0002", BatchStatus.CANCELLED)
    found = await queue.find_batch("key-1")
    assert found is not None
    assert found.batch_id == "aaaa0001"
    assert await queue.find_batch("other") is None
    listed = await queue.list_batches(limit=2)
    assert [row.batch_id for row, _ in listed] == ["aaaa0002", "aaaa0001"]


async def test_batch_id_is_taken_only_once(queue: TaskQueue) -> None:
    with pytest.raises(UsageError, match="already in this database"):
        await queue.create_batch(batch())


async def test_batch_moves_along_the_table_and_keeps_its_times(
    queue: TaskQueue, clock: FakeClock
) -> None:
    row = await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    assert (row.started_at, row.finished_at) == ("2025-11-22T11:00:00.000Z", None)
    later = "2025-11-23T09:00:00.000Z"
    row = await queue.set_batch_status(BATCH, BatchStatus.PAUSED, reason="quota", resume_at=later)
    assert (row.status_reason, row.resume_at) == ("quota", later)
    again = await queue.set_batch_status(BATCH, BatchStatus.PAUSED, reason="by hand")
    assert (again.status_reason, again.resume_at) == ("by hand", None)
    with pytest.raises(UsageError, match="a paused batch cannot become completed"):
        await queue.set_batch_status(BATCH, BatchStatus.COMPLETED)
    clock.pass_s(60)
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    row = await queue.set_batch_status(BATCH, BatchStatus.COMPLETED)
    assert row.finished_at == "2025-11-22T11:01:00.000Z"
    assert row.started_at == "2025-11-22T11:00:00.000Z"
    assert (await queue.set_batch_status(BATCH, BatchStatus.RUNNING)).finished_at is None
    seen = [e["kind"] for e in await queue.events(BATCH) if e["kind"].startswith("batch.")]
    assert seen == ["batch.created", "batch.running", "batch.paused", "batch.running",
                    "batch.completed", "batch.running"]  # fmt: skip
    with pytest.raises(NotFoundError):
        await queue.set_batch_status("ffffffff", BatchStatus.RUNNING)


async def test_changed_options_are_stored_and_told(queue: TaskQueue) -> None:
    options = BatchOptions(parallel=9, output_dir=os.fsdecode(b"/out/\xff"))
    await queue.update_batch_options(BATCH, options)
    assert (await queue.get_batch(BATCH)).options == options
    await queue.update_batch_options(BATCH, options)
    told = [e["data"] for e in await queue.events(BATCH) if e["kind"] == "batch.options"]
    assert told == [{"parallel": [4, 9], "output_dir": ["./batch_output", options.output_dir]}]


# --- adding ---------------------------------------------------------------------------------------


async def test_adding_again_adds_only_what_is_new_and_numbers_without_gaps(
    queue: TaskQueue,
) -> None:
    assert await queue.add_tasks(BATCH, tasks(8), chunk=3) == 3
    assert [t.seq async for t in queue.iter_tasks(BATCH)] == list(range(1, 9))
    assert [t.ref async for t in queue.iter_tasks(BATCH)][-1] == "7f3a0011:8"
    with pytest.raises(NotFoundError):
        await queue.add_tasks("ffffffff", tasks(1))


async def test_one_source_with_two_templates_is_two_tasks(queue: TaskQueue) -> None:
    assert await queue.add_tasks(BATCH, [replace(task(1), template="other")]) == 1


async def test_endless_stream_is_drawn_no_further_than_needed(queue: TaskQueue) -> None:
    drawn = 0

    async def stream() -> AsyncIterator[NewTask]:
        nonlocal drawn
        for new in tasks(1205):
            drawn += 1
            yield new
            if drawn % 500 == 0:
                assert (await queue.counts(BATCH)).total >= drawn - 500

    assert await queue.add_tasks(BATCH, stream()) == 1200
    assert (await queue.counts(BATCH)).pending == 1205


async def test_inputs_come_back_exactly_as_they_went_in(queue: TaskQueue) -> None:
    video = VideoInput(
        os.fsdecode("/videos/第一课-".encode() + b"\xff\xfe.mp4"), InputType.FILE,
        "x/y.mp4", 1, 2**62, "t", "name", 7, {"作者": "李", "k": "\ud800"}, "list.csv:17",
    )  # fmt: skip
    twin = replace(video, source=os.fsdecode("/videos/第一课-".encode() + b"\xff\xfd.mp4"))
    link = VideoInput("https://example.org/v?id=1", InputType.URL)
    new = [NewTask(v, "plain", 0) for v in (video, twin, link)]
    assert await queue.add_tasks(BATCH, new) == 3
    assert [t.video async for t in queue.iter_tasks(BATCH)][-3:] == [video, twin, link]
    rows = await queue.db.read("SELECT source FROM tasks WHERE seq = 6")
    assert rows[0]["source"].startswith("/videos/第一课-")


# --- claiming -------------------------------------------------------------------------------------


async def test_lower_priority_number_runs_first_then_creation_order(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    await queue.add_tasks(BATCH, [task(10, 90), task(11, 1), task(12, 50), task(13, 1)])
    claimed = [await claim(queue, lock, 2) for _ in range(5)]
    assert [t.seq for group in claimed for t in group] == [7, 9, 1, 2, 3, 4, 5, 8, 6]


async def test_claimed_task_runs_with_a_lease_and_a_raised_attempt(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    (first,) = await claim(queue, lock)
    assert (first.status, first.attempt, first.worker_id) == ("running", 1, "host-1-aaaa/w1")
    assert first.lease_expires_at == "2025-11-22T11:01:00.000Z"
    assert first == await queue.get_task("7f3a:1")
    assert await kinds(queue, first.task_id) == ["task.running"]


async def test_no_task_is_claimed_twice_by_concurrent_workers(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    await queue.add_tasks(BATCH, tasks(100))
    got = await asyncio.gather(*[claim(queue, lock, 3) for _ in range(40)])
    ids = [t.task_id for group in got for t in group]
    assert len(ids) == len(set(ids)) == 100


async def test_worker_without_a_process_lock_cannot_claim(queue: TaskQueue) -> None:
    with pytest.raises(ValueError, match="does not hold the ProcessLock"):
        await queue.claim(BATCH, "host-2-bbbb/w1", 1, LEASE_S)


@pytest.mark.parametrize("status", [BatchStatus.PAUSED, BatchStatus.CANCELLED])
async def test_batch_that_does_not_run_gives_no_tasks(
    queue: TaskQueue, lock: ProcessLock, status: BatchStatus
) -> None:
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    await queue.set_batch_status(BATCH, status)
    assert await claim(queue, lock, 5) == []
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    assert len(await claim(queue, lock, 5)) == 5


async def test_claim_whose_caller_was_cancelled_is_given_back(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    claiming = asyncio.create_task(claim(queue, lock, 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    while (await queue.counts(BATCH)).pending < 5:
        await asyncio.sleep(0)
    assert (await queue.get_task(1)).failures == 0


# --- leaving --------------------------------------------------------------------------------------


async def test_completed_task_keeps_result_attempt_and_usage(
    queue: TaskQueue, lock: ProcessLock, clock: FakeClock
) -> None:
    (done,) = await claim(queue, lock)
    clock.pass_s(90)
    clock.jump_s(-7200)  # the wall clock is set back; the duration must not be negative
    outcome = result(600.0, usage=Usage(2, 300, 40, 0.25), fingerprint="cd" * 32)
    await queue.complete(done, outcome)
    stored = await queue.get_task(done.task_id)
    assert (stored.status, stored.result, stored.media_s) == ("completed", outcome, 600.0)
    assert (stored.worker_id, stored.fingerprint) == (None, "cd" * 32)
    (attempt,) = await queue.attempts(done.task_id)
    assert (attempt["outcome"], attempt["seconds"], attempt["engine"]) == (
        "completed",
        90.0,
        "local",
    )
    assert await queue.media_speed_history("local") == [(600.0, 90.0)]
    counts = await queue.counts(BATCH)
    assert (counts.completed, counts.media_s_done, counts.usd) == (1, 600.0, 0.25)
    assert await kinds(queue, done.task_id) == ["task.running", "task.completed"]


async def test_the_speed_is_measured_on_videos_whose_work_was_done_not_reused(
    queue: TaskQueue, lock: ProcessLock, clock: FakeClock
) -> None:
    """Four runs of one batch with --new made a forecast of 48 s one of 17 s."""
    journal = StepJournal(queue.db)
    first, again = await claim(queue, lock, 2)
    for one, name, took_s in ((first, "transcribe", 80.0), (again, "compose", 0.6)):
        await queue.set_media(one, "ab" * 32, 600.0)
        await journal.put("ab" * 32, name, 0, {}, 1, seconds=took_s, task_id=one.task_id, attempt=1)
    clock.pass_s(1)
    await queue.complete(again, result(600.0, fingerprint="ab" * 32))
    clock.pass_s(89)
    await queue.complete(first, result(600.0, fingerprint="ab" * 32))
    assert await queue.media_speed_history("local") == [(600.0, 90.0)]


async def test_completing_twice_is_harmless_and_counts_once(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    (done,) = await claim(queue, lock)
    for _ in range(2):
        await queue.complete(done, result(usage=Usage(1, 0, 0, 1.0)))
    assert (await queue.counts(BATCH)).usd == 1.0
    assert await kinds(queue, done.task_id) == ["task.running", "task.completed"]
    with pytest.raises(LeaseLost):
        await queue.fail(done, BROKEN)


async def test_worker_that_lost_its_lease_cannot_finish_the_task(
    queue: TaskQueue, tmp_path: Path, clock: FakeClock
) -> None:
    """A hung worker wakes up after another process has taken and finished its task."""
    other_queue = TaskQueue(queue.db, clock=clock)
    with (
        ProcessLock(queue.db.path, "host-1-aaaa") as hung,
        ProcessLock(queue.db.path, "host-2-bbbb") as other,
    ):
        (zombie,) = await claim(queue, hung)
        clock.pass_s(LEASE_S + 1)
        assert (await other_queue.recover()).returned == [zombie.task_id]
        (taken,) = await claim(other_queue, other)
        assert (taken.task_id, taken.attempt) == (zombie.task_id, 2)
        for finish in (
            queue.complete(zombie, result()),
            queue.fail(zombie, BROKEN),
            queue.retry_later(zombie, BROKEN, 1),
            queue.release(zombie),
            queue.cancelled(zombie),
            queue.skip(zombie, "there"),
            queue.set_stage(zombie, "audio"),
            queue.set_media(zombie, "ab", 1.0),
        ):
            with pytest.raises(LeaseLost):
                await finish
        await other_queue.complete(taken, result(1.0))
    assert (await queue.get_task(zombie.task_id)).attempt == 2
    assert [a["outcome"] for a in await queue.attempts(zombie.task_id)] == ["lapsed", "completed"]


async def test_failed_task_keeps_the_error_and_is_grouped_by_code(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    for failing in await claim(queue, lock, 3):
        code = "E_RETRY" if failing.seq < 3 else "E_NO_MEDIA"
        await queue.fail(failing, replace(BROKEN, code=code, data={"path": os.fsdecode(b"\xff")}))
    stored = await queue.get_task(1)
    assert stored.error == replace(BROKEN, data={"path": os.fsdecode(b"\xff")})
    assert stored.failures == 1
    assert await queue.failures_by_code(BATCH) == {"E_RETRY": 2, "E_NO_MEDIA": 1}


async def test_retry_is_due_when_the_clock_has_been_set_back_a_day(
    queue: TaskQueue, lock: ProcessLock, clock: FakeClock
) -> None:
    (task_1,) = await claim(queue, lock)
    await queue.retry_later(task_1, BROKEN, 30.0)
    clock.jump_s(-3600)
    assert await queue.next_due_s(BATCH) == 3630.0
    clock.jump_s(-23 * 3600)
    assert await queue.next_due_s(BATCH) == 0.0
    assert [t.seq for t in await claim(queue, lock, 9)] == [1, 2, 3, 4, 5]


async def test_retry_waits_until_it_is_due_also_after_a_restart(
    queue: TaskQueue, lock: ProcessLock, clock: FakeClock
) -> None:
    assert await queue.next_due_s(BATCH) is None
    (task_1,) = await claim(queue, lock)
    await queue.retry_later(task_1, BROKEN, 30.0)
    clock.restart()
    clock.wall += 10_000
    assert await queue.next_due_s(BATCH) == 20.0
    assert [t.seq for t in await claim(queue, lock, 9)] == [2, 3, 4, 5]
    clock.pass_s(25)
    assert await queue.next_due_s(BATCH) == 0.0
    (again,) = await claim(queue, lock)
    assert (again.seq, again.attempt, again.failures) == (1, 2, 1)
    assert (again.error, again.next_attempt_at) == (BROKEN, None)


async def test_most_urgent_due_retry_goes_first_not_the_longest_due(
    queue: TaskQueue, lock: ProcessLock, clock: FakeClock
) -> None:
    """Pins a wrong order that the model test found: the earliest due one used to win."""
    await queue.add_tasks(BATCH, [task(9, 0)])
    (urgent,) = await claim(queue, lock)
    (plain,) = await claim(queue, lock)
    await queue.retry_later(plain, BROKEN, 1)
    await queue.retry_later(urgent, BROKEN, 2)
    clock.pass_s(3)
    assert [t.seq for t in await claim(queue, lock)] == [urgent.seq]


async def test_waiting_for_quota_does_not_count_as_a_failure(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    (task_1,) = await claim(queue, lock)
    await queue.retry_later(task_1, BROKEN, 1.0, counts=False)
    assert (await queue.get_task(1)).failures == 0


async def test_released_task_is_pending_again_and_not_a_failure(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    (task_1,) = await claim(queue, lock)
    await queue.release(task_1)
    stored = await queue.get_task(1)
    assert (stored.status, stored.failures, stored.kills, stored.attempt) == ("pending", 0, 0, 1)
    assert [a["outcome"] for a in await queue.attempts(1)] == ["released"]


async def test_existing_output_is_skipped_before_or_after_the_claim(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    await queue.skip(2, "it fits", result(30.0))
    (task_1,) = await claim(queue, lock)
    await queue.skip(task_1, "it fits", result(10.0))
    counts = await queue.counts(BATCH)
    assert (counts.skipped, counts.media_s_done) == (2, 40.0)
    with pytest.raises(LeaseLost, match="not pending any more"):
        await queue.skip(2, "again")


async def test_facts_about_a_running_task_are_stored(queue: TaskQueue, lock: ProcessLock) -> None:
    (task_1,) = await claim(queue, lock)
    await queue.set_media(task_1, "ab" * 32, 12.5)
    await queue.set_stage(task_1, "transcribe")
    stored = await queue.get_task(1)
    assert (stored.fingerprint, stored.media_s, stored.stage) == ("ab" * 32, 12.5, "transcribe")
    assert (await queue.counts(BATCH)).media_s_total == 12.5


# --- heartbeats -----------------------------------------------------------------------------------


async def test_heartbeat_keeps_tasks_and_tells_what_changed(
    queue: TaskQueue, lock: ProcessLock, clock: FakeClock
) -> None:
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    kept, cancelled = await claim(queue, lock, 2)
    workers = [lock.worker_id(1), lock.worker_id(2)]
    clock.pass_s(LEASE_S - 1)
    beat = await queue.heartbeat(workers, LEASE_S, batch_id=BATCH)
    assert (beat.lost, beat.cancel, beat.batch_status) == (set(), set(), BatchStatus.RUNNING)
    clock.pass_s(LEASE_S - 1)
    assert (await TaskQueue(queue.db, clock=clock).recover()).returned == []
    assert await queue.request_cancel(cancelled) == 1
    await queue.set_batch_status(BATCH, BatchStatus.PAUSED)
    beat = await queue.heartbeat(workers, LEASE_S, batch_id=BATCH)
    assert (beat.cancel, beat.batch_status) == ({cancelled.task_id}, BatchStatus.PAUSED)
    clock.pass_s(LEASE_S + 1)
    await TaskQueue(queue.db, clock=clock).recover()
    beat = await queue.heartbeat(workers, LEASE_S)
    assert (beat.lost, beat.batch_status) == ({kept.task_id, cancelled.task_id}, None)


async def test_clock_set_by_a_day_neither_ends_nor_extends_a_lease(
    queue: TaskQueue, lock: ProcessLock, clock: FakeClock
) -> None:
    onlooker = TaskQueue(queue.db, clock=clock)
    await claim(queue, lock)
    for jump in (3600, -7200, 86400, -2 * 86400):
        clock.jump_s(jump)
        assert (await onlooker.recover()).returned == []
    clock.pass_s(LEASE_S + 1)
    assert (await onlooker.recover()).returned == [1]


async def test_process_that_wakes_from_sleep_does_not_take_its_own_tasks(
    queue: TaskQueue, lock: ProcessLock, clock: FakeClock
) -> None:
    (task_1,) = await claim(queue, lock)
    clock.pass_s(8 * 3600)
    assert (await queue.recover()).returned == []
    assert (await queue.heartbeat([lock.worker_id(1)], LEASE_S)).lost == set()
    await queue.complete(task_1, result())


# --- recovery -------------------------------------------------------------------------------------


async def test_tasks_of_a_dead_process_return_at_once(queue: TaskQueue, clock: FakeClock) -> None:
    with ProcessLock(queue.db.path, "host-9-dead") as dying:
        await claim(queue, dying, 2)
        assert (await queue.recover()).returned == []
    found = await queue.recover(BATCH)
    assert (found.returned, found.poisoned) == ([1, 2], [])
    stored = await queue.get_task(1)
    assert (stored.status, stored.kills, stored.failures) == ("pending", 1, 0)
    assert [a["outcome"] for a in await queue.attempts(1)] == ["died"]
    left = {path.name for path in workers_dir(queue.db.path).iterdir()}
    assert left == {"place.lock", "turn"}, (
        "of the dead process nothing is left; the database is open"
    )


async def test_other_boot_id_frees_tasks_although_the_lease_number_looks_good(
    queue: TaskQueue, lock: ProcessLock, clock: FakeClock
) -> None:
    await claim(queue, lock)
    clock.restart()
    assert (await queue.recover()).returned == [1]
    reasons = [e["data"].get("reason") for e in await queue.events(BATCH) if e["task_id"] == 1]
    assert reasons == [None, "the machine restarted"]


async def test_task_in_flight_at_too_many_deaths_is_poison_and_others_go_on(
    queue: TaskQueue, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "PROCESS_DEATH_LIMIT", 3)
    for number in range(3):
        with ProcessLock(queue.db.path, f"host-{number}-dead") as dying:
            (task_1,) = await claim(queue, dying)
            assert task_1.seq == 1
        found = await queue.recover()
    assert (found.returned, found.poisoned) == ([], [1])
    stored = await queue.get_task(1)
    assert stored.status is TaskStatus.FAILED
    assert stored.error is not None
    assert (stored.error.code, stored.error.message) == (
        "E_POISON",
        "the program ended 3 times while working on it",
    )
    assert (await queue.counts(BATCH)).pending == 4


async def test_orphan_that_was_to_be_cancelled_is_cancelled(queue: TaskQueue) -> None:
    with ProcessLock(queue.db.path, "host-9-dead") as dying:
        await claim(queue, dying)
        await queue.request_cancel(BATCH)
    await queue.recover()
    assert (await queue.get_task(1)).status is TaskStatus.CANCELLED


async def test_recovery_is_limited_to_its_batch(queue: TaskQueue) -> None:
    await queue.create_batch(batch("aaaa0001"))
    await queue.add_tasks("aaaa0001", tasks(1))
    with ProcessLock(queue.db.path, "host-9-dead") as dying:
        await claim(queue, dying)
        await queue.claim("aaaa0001", dying.worker_id(1), 1, LEASE_S)
    assert (await queue.recover("aaaa0001")).returned == [6]
    assert (await queue.recover()).returned == [1]


# --- cancelling and requeueing --------------------------------------------------------------------


async def test_cancelling_a_batch_ends_waiting_tasks_and_asks_running_ones(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    running, waiting = await claim(queue, lock, 2)
    await queue.retry_later(waiting, BROKEN, 60)
    assert await queue.cancel_pending(BATCH) == 4
    assert await queue.request_cancel(BATCH) == 1
    await queue.cancelled(running)
    assert (await queue.counts(BATCH)).cancelled == 5


@pytest.mark.parametrize("way", ["release", "retry"])
async def test_task_to_be_cancelled_does_not_come_back(
    queue: TaskQueue, lock: ProcessLock, way: str
) -> None:
    (task_1,) = await claim(queue, lock)
    await queue.request_cancel("7f3a:1")
    await (queue.release(task_1) if way == "release" else queue.retry_later(task_1, BROKEN, 1))
    assert (await queue.get_task(1)).status is TaskStatus.CANCELLED


async def test_single_waiting_task_is_cancelled_at_once(queue: TaskQueue) -> None:
    assert await queue.request_cancel("7f3a:2") == 1
    assert (await queue.get_task(2)).status is TaskStatus.CANCELLED
    assert (await queue.counts(BATCH)).pending == 4


async def test_requeue_gives_failed_tasks_a_fresh_start(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    first, second, third = await claim(queue, lock, 3)
    await queue.fail(first, BROKEN)
    await queue.fail(second, BROKEN)
    await queue.complete(third, result())
    assert await queue.requeue(BATCH, statuses=[TaskStatus.FAILED], task_ids=[], reason="x") == 0
    moved = await queue.requeue(
        BATCH, statuses=[TaskStatus.FAILED], task_ids=[1, 3], reason="by hand"
    )
    assert moved == 1
    stored = await queue.get_task(1)
    assert (stored.status, stored.failures, stored.error, stored.attempt) == ("pending", 0, None, 1)
    lost = await queue.requeue(BATCH, statuses=[TaskStatus.COMPLETED], reason="output is gone")
    assert lost == 1
    assert (await queue.counts(BATCH)).media_s_done == 0
    for wrong in (TaskStatus.RUNNING, TaskStatus.PENDING):
        with pytest.raises(UsageError, match=f"{wrong} tasks cannot be put back"):
            await queue.requeue(BATCH, statuses=[wrong], reason="x")


async def test_bulk_moves_reach_every_task_of_a_large_batch(queue: TaskQueue) -> None:
    await queue.add_tasks(BATCH, tasks(1300))
    assert await queue.cancel_pending(BATCH) == 1300
    assert await queue.requeue(BATCH, statuses=[TaskStatus.CANCELLED], reason="x") == 1300
    assert (await queue.counts(BATCH)).pending == 1300
    assert await recount(queue) == {"pending": 1300}


# --- looking --------------------------------------------------------------------------------------


async def test_tasks_are_found_by_reference_or_number(queue: TaskQueue) -> None:
    assert (await queue.get_task("latest:3")).task_id == (await queue.get_task(3)).task_id
    for wrong in ("7f3a:99", "7f3a:" + "9" * 40, 99):
        with pytest.raises(NotFoundError):
            await queue.get_task(wrong)
    for wrong in ("7f3a", "7f3a:x", ":3", "7f3a:-1"):
        with pytest.raises(UsageError):
            await queue.get_task(wrong)


async def test_paging_meets_each_task_once_although_tasks_are_added(queue: TaskQueue) -> None:
    seen = []
    async for found in queue.iter_tasks(BATCH, page=2):
        if found.seq == 2:
            await queue.add_tasks(BATCH, tasks(7))
        seen.append(found.seq)
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert [t async for t in queue.iter_tasks(BATCH, set())] == []
    assert [t async for t in queue.iter_tasks(BATCH, {TaskStatus.FAILED})] == []


async def test_events_are_paged_by_id(queue: TaskQueue) -> None:
    await queue.add_event(BATCH, "note", {"text": "讲座"}, task_id=1)
    first = await queue.events(BATCH, limit=2)
    rest = await queue.events(BATCH, after=first[-1]["event_id"])
    assert [e["kind"] for e in first + rest] == ["batch.created", "tasks.added", "note"]
    assert rest[0]["data"] == {"text": "讲座"}


async def test_events_of_a_task_are_its_own(queue: TaskQueue) -> None:
    one, two = [t async for t in queue.iter_tasks(BATCH)][:2]
    await queue.add_event(BATCH, "note", {"of": "one"}, task_id=one.task_id)
    await queue.add_event(BATCH, "note", {"of": "two"}, task_id=two.task_id)
    await queue.add_event(BATCH, "note", {"of": "one", "again": True}, task_id=one.task_id)
    found = await queue.events_of(one)
    assert [e["data"]["of"] for e in found if e["kind"] == "note"] == ["one", "one"]
    assert {e["task_id"] for e in found} == {one.task_id}


async def test_fingerprint_is_remembered_while_the_file_is_unchanged(queue: TaskQueue) -> None:
    for path in ("/v/a.mp4", os.fsdecode(b"/v/\xff.mp4")):
        assert await queue.remembered_fingerprint(path, 1, 2) is None
        await queue.remember_fingerprint(path, 1, 2, "ab")
        await queue.remember_fingerprint(path, 1, 3, "cd")
        assert await queue.remembered_fingerprint(path, 1, 3) == "cd"
        assert await queue.remembered_fingerprint(path, 1, 2) is None


async def test_ledger_sums_what_failed_attempts_cost_too(
    queue: TaskQueue, clock: FakeClock
) -> None:
    await queue.record_usage("gemini", Usage(1, 10, 5, 0.5), model="m", batch_id=BATCH)
    clock.pass_s(60)
    since = "2025-11-22T11:01:00.000Z"
    await queue.record_usage("gemini", Usage(1, 20, 5, 0.25), model="n", key_id="k", batch_id=BATCH)
    assert await queue.usage_since("2025-11-22", provider="gemini") == Usage(2, 30, 10, 0.75)
    assert await queue.usage_since(since, key_id="k") == Usage(1, 20, 5, 0.25)
    assert await queue.usage_since(since, model="m") == Usage()
    assert (await queue.counts(BATCH)).usd == 0.75


async def test_steps_kept_for_unfinished_videos_are_counted(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    from gs_video_report.batch.step_journal import StepJournal

    journal = StepJournal(queue.db)
    done, going = await claim(queue, lock, 2)
    for running, fingerprint in ((done, "aa"), (going, "bb")):
        await queue.set_media(running, fingerprint, 1.0)
        for part in range(3):
            await journal.put(fingerprint, "transcribe", part, None, [], seconds=1)
    assert await queue.kept_steps(BATCH) == (2, 6)
    await queue.complete(done, result())
    assert await queue.kept_steps(BATCH) == (1, 3)


# --- cost -----------------------------------------------------------------------------------------


async def plan(queue: TaskQueue, name: str, **values: object) -> str:
    names = set(re.findall(r":(\w+)", sql.query(name)))
    given = dict.fromkeys(names, 1) | values
    rows = await queue.db.read(f"EXPLAIN QUERY PLAN {sql.query(name)}", given)
    return "\n".join(row["detail"] for row in rows)


async def test_claim_walks_the_partial_indexes_and_sorts_no_tasks(queue: TaskQueue) -> None:
    """A sort of `tasks`, or an index on the state alone, costs 100 ms at a million tasks."""
    rows = await queue.db.read(
        f"EXPLAIN QUERY PLAN {sql.query('claimable')}",
        dict.fromkeys(re.findall(r":(\w+)", sql.query("claimable")), 1),
    )
    details = [row["detail"] for row in rows]
    scans = [d.replace("COVERING ", "") for d in details if re.match(r"(SCAN|SEARCH) tasks", d)]
    assert scans == [
        "SEARCH tasks USING INDEX tasks_pending (batch_id=?)",
        "SEARCH tasks USING INDEX tasks_due (batch_id=? AND next_attempt_at<?)",
        "SEARCH tasks USING INDEX tasks_due (batch_id=? AND next_attempt_at>?)",
    ]
    # The only sort is the merge of at most 2 x limit candidates, outside both scans.
    sorts = [row["parent"] for row in rows if "TEMP B-TREE" in row["detail"]]
    inner = {row["parent"] for row in rows if "INDEX tasks_" in row["detail"]}
    assert len(sorts) == 1
    assert not set(sorts) & inner


@pytest.mark.parametrize("name", ["claim", "complete"])
async def test_tasks_are_moved_by_their_id(queue: TaskQueue, name: str) -> None:
    statement = sql.query(name)
    names = re.findall(r":(\w+)", statement)
    values = dict.fromkeys(names, "{}") if names else [1] * statement.count("?")
    rows = await queue.db.read(f"EXPLAIN QUERY PLAN {statement}", values)
    found = [row["detail"] for row in rows if re.match(r"(SCAN|SEARCH) tasks", row["detail"])]
    assert found == ["SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)"]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("running_leases", "tasks_running"),
        ("heartbeat", "tasks_running"),
        ("next_due", "tasks_due"),
        ("failures_by_code", "tasks_failed"),
        ("task_page", "tasks_seq"),
    ],
)
async def test_frequent_queries_use_their_index(queue: TaskQueue, name: str, index: str) -> None:
    found = await plan(queue, name) if ":" in sql.query(name) else None
    if found is None:
        rows = await queue.db.read(f"EXPLAIN QUERY PLAN {sql.query(name)}", (BATCH,))
        found = "\n".join(row["detail"] for row in rows)
    assert re.search(rf"(SEARCH|SCAN) tasks USING (COVERING )?INDEX {index}", found)
    assert "SCAN tasks\n" not in found + "\n"


@pytest.mark.parametrize("name", ["batch_story", "run_events", "newest_of_kind"])
async def test_what_a_watcher_asks_does_not_walk_the_events_of_tasks(
    queue: TaskQueue, name: str
) -> None:
    statement = sql.query(name)
    rows = await queue.db.read(f"EXPLAIN QUERY PLAN {statement}", [1] * statement.count("?"))
    assert [row["detail"] for row in rows] == [
        "SEARCH events USING INDEX events_batch (batch_id=?)"
    ]


async def test_many_events_of_one_transaction_keep_their_order(queue: TaskQueue) -> None:
    events = [("2025-11-22T11:01:00.000Z", BATCH, n, "step", f'{{"n":{n}}}') for n in range(151)]
    await queue.db.write(lambda connection: add_events(connection, events))
    found = [e["data"]["n"] for e in await queue.events(BATCH) if e["kind"] == "step"]
    assert found == list(range(151))


async def test_rows_are_guarded_against_states_that_must_not_be(queue: TaskQueue) -> None:
    for nonsense in (
        "UPDATE tasks SET status = 'running' WHERE task_id = 1",
        "UPDATE tasks SET status = 'done' WHERE task_id = 1",
        "UPDATE tasks SET status = 'completed', finished_at = 'x' WHERE task_id = 1",
        "UPDATE tasks SET status = 'retrying' WHERE task_id = 1",
        "UPDATE tasks SET priority = 101 WHERE task_id = 1",
        "UPDATE tasks SET seq = 2 WHERE task_id = 1",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            await queue.db.write(lambda c, text=nonsense: c.execute(text).rowcount)


# --- files that change ----------------------------------------------------------------------------


async def test_a_file_replaced_after_its_report_waits_again(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    """Pins: the same command called a batch done although a recording had been replaced."""
    done, failed = await claim(queue, lock, 2)
    await queue.complete(done, result())
    await queue.fail(failed, BROKEN)
    again = [NewTask(t.video, t.template) for t in (done, failed)]
    counted: list[int] = []
    assert await queue.add_tasks(BATCH, again, on_changed=counted.append) == 0
    replaced = [
        replace(task, video=replace(task.video, size_bytes=77, mtime_ns=5)) for task in again
    ]
    assert await queue.add_tasks(BATCH, replaced) == 0
    assert (await queue.counts(BATCH)).completed == 1
    assert await queue.add_tasks(BATCH, replaced, on_changed=counted.append) == 0
    assert await queue.add_tasks(BATCH, replaced, on_changed=counted.append) == 0
    assert counted == [0, 2, 0]
    counts = await queue.counts(BATCH)
    assert (counts.completed, counts.failed, counts.pending) == (0, 0, 5)
    assert (await queue.get_task(done.ref)).video == replaced[0].video


# --- what people see ------------------------------------------------------------------------------


async def test_a_batch_between_two_tasks_is_not_called_interrupted(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    """Pins: while all its videos waited for a retry, a working batch looked abandoned."""
    from gs_video_report.batch import commands

    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    assert (await commands.batch_state(queue, BATCH)).word == "interrupted"
    (running,) = await claim(queue, lock)
    await queue.retry_later(running, BROKEN, 30.0)
    assert (await commands.batch_state(queue, BATCH)).word == "running"
    lock.close()
    assert (await commands.batch_state(queue, BATCH)).word == "interrupted"


# --- many at once ---------------------------------------------------------------------------------


async def test_claims_that_wait_side_by_side_share_out_the_most_urgent_tasks(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    claims = [queue.claim(BATCH, lock.worker_id(n), 1 + n % 2, 60) for n in range(3)]
    got = await asyncio.gather(*claims)
    assert [[t.task_id for t in tasks] for tasks in got] == [[1], [2, 3], [4]]
    assert [{t.worker_id for t in tasks} for tasks in got] == [
        {lock.worker_id(n)} for n in range(3)
    ]
    workers = [(await queue.attempts(n))[0]["worker_id"] for n in range(1, 5)]
    assert workers == [lock.worker_id(n) for n in (0, 1, 1, 2)]


async def test_a_completion_that_lost_its_lease_does_not_harm_those_beside_it(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    claimed = await queue.claim(BATCH, lock.worker_id(1), 3, 60)
    zombie = replace(claimed[1], attempt=claimed[1].attempt - 1)
    ends = [queue.complete(t, result()) for t in (claimed[0], zombie, claimed[2])]
    answers = await asyncio.gather(*ends, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), LeaseLost, type(None)]
    counts = await queue.counts(BATCH)
    assert (counts.completed, counts.running) == (2, 1)
    assert [a["outcome"] for a in await queue.attempts(claimed[1].task_id)] == [None]


async def test_usage_of_completions_in_one_commit_is_summed(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    claimed = await queue.claim(BATCH, lock.worker_id(1), 3, 60)
    spent = result(usage=Usage(1, 10, 20, 0.25))
    await asyncio.gather(*(queue.complete(t, spent) for t in claimed))
    row = await queue.batch_columns(BATCH)
    assert (row["requests"], row["tokens_in"], row["tokens_out"], row["usd"]) == (3, 30, 60, 0.75)


async def test_a_worker_ends_a_task_and_takes_the_next_in_one_transaction(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    first = (await queue.claim(BATCH, lock.worker_id(1), 1, 60))[0]
    (second,) = await queue.complete_and_claim(first, result(), 60)
    assert (second.task_id, second.worker_id, second.attempt) == (2, lock.worker_id(1), 1)
    assert await kinds(queue, first.task_id) == ["task.running", "task.completed"]
    counts = await queue.counts(BATCH)
    assert (counts.completed, counts.running) == (1, 1)


async def test_a_turn_whose_lease_was_lost_gives_the_next_task_back(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    first = (await queue.claim(BATCH, lock.worker_id(1), 1, 60))[0]
    zombie = replace(first, attempt=0)
    with pytest.raises(LeaseLost):
        await queue.complete_and_claim(zombie, result(), 60)
    await asyncio.gather(*queue._given_back)
    second = await queue.get_task(2)
    assert (second.status, second.attempt) == (TaskStatus.PENDING, 1)
    assert [a["outcome"] for a in await queue.attempts(2)] == ["released"]
    assert (await queue.get_task(1)).status is TaskStatus.RUNNING


async def test_a_turn_at_the_end_of_the_batch_completes_and_gives_nothing(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    everything = await queue.claim(BATCH, lock.worker_id(1), 100, 60)
    for task_ in everything:
        assert await queue.complete_and_claim(task_, result(), 60) == []
    counts = await queue.counts(BATCH)
    assert (counts.completed, counts.open) == (len(everything), 0)


async def test_callers_that_add_at_once_share_numbers_without_gaps(queue: TaskQueue) -> None:
    """Two add the same task; it belongs to the first of them."""
    before = (await queue.counts(BATCH)).total
    adds = [queue.add_tasks(BATCH, [task(n)]) for n in (901, 902, 901, 903)]
    assert await asyncio.gather(*adds) == [1, 1, 0, 1]
    rows = await queue.db.read(
        "SELECT seq, source FROM tasks WHERE seq > ? ORDER BY seq", (before,)
    )
    assert [(r["seq"] - before, r["source"][-7:-4]) for r in rows] == [
        (1, "901"), (2, "902"), (3, "903")
    ]  # fmt: skip


async def test_adding_to_a_batch_that_is_not_there_does_not_harm_those_beside_it(
    queue: TaskQueue,
) -> None:
    adds = [queue.add_tasks(b, [task(950)]) for b in ("ffff0000", BATCH)]
    missing, added = await asyncio.gather(*adds, return_exceptions=True)
    assert isinstance(missing, NotFoundError)
    assert added == 1


# --- a report that is to be made anew -------------------------------------------------------------


async def again(queue: TaskQueue, lock: ProcessLock, *, claimed: bool = True) -> VideoTask:
    """A task whose report is there, and that waits for (or works on) a new one."""
    (first,) = await claim(queue, lock)
    await queue.complete(first, result(61.0, fingerprint="old"))
    await queue.requeue(
        BATCH,
        statuses=[TaskStatus.COMPLETED],
        task_ids=[first.task_id],
        reason="retry",
        keep_result=True,
    )
    if not claimed:
        return await queue.get_task(f"{BATCH}:1")
    (second,) = await claim(queue, lock)
    await queue.set_media(second, "new", 5.0)
    return second


async def test_old_report_stays_when_the_new_attempt_fails(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    """Pins: the row gave the good report up before anything replaced it."""
    working = await again(queue, lock)
    await queue.fail(working, BROKEN)
    await queue.fail(working, BROKEN)  # the answer got lost, and the call comes again
    ended = await queue.get_task(f"{BATCH}:1")
    assert ended.status is TaskStatus.COMPLETED
    assert ended.result == result(61.0, fingerprint="old")
    assert (ended.media_s, ended.fingerprint, ended.error) == (61.0, "old", BROKEN)
    assert [a["outcome"] for a in await queue.attempts(ended.task_id)] == ["completed", "failed"]
    assert (await queue.counts(BATCH)).media_s_done == 61.0
    last = (await queue.events_of(ended))[-1]
    assert (last["kind"], last["data"]["code"]) == ("task.completed", BROKEN.code)


async def test_new_report_replaces_the_old_one_and_its_error(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    working = await again(queue, lock)
    await queue.retry_later(working, BROKEN, 0.0)
    waiting = await queue.get_task(f"{BATCH}:1")
    assert (waiting.status, waiting.result) == (
        TaskStatus.RETRYING,
        result(61.0, fingerprint="old"),
    )
    (third,) = await claim(queue, lock)
    await queue.complete(third, result(5.0, fingerprint="new"))
    ended = await queue.get_task(f"{BATCH}:1")
    assert (ended.result, ended.error) == (result(5.0, fingerprint="new"), None)


async def test_cancelling_a_waiting_retry_leaves_the_report_and_cancels_the_others(
    queue: TaskQueue, lock: ProcessLock
) -> None:
    await again(queue, lock, claimed=False)
    assert await queue.cancel_pending(BATCH) == 5
    assert await recount(queue) == {"completed": 1, "cancelled": 4}
    assert (await queue.get_task(f"{BATCH}:1")).result == result(61.0, fingerprint="old")


@pytest.mark.parametrize("way", ["worker", "released", "dead"])
async def test_cancelling_a_running_retry_leaves_the_report(
    queue: TaskQueue, lock: ProcessLock, way: str
) -> None:
    working = await again(queue, lock)
    assert await queue.request_cancel(working) == 1
    if way == "worker":
        await queue.cancelled(working)
    elif way == "released":
        await queue.release(working)
    else:
        lock.close()
        assert (await queue.recover()).returned == [working.task_id]
    ended = await queue.get_task(f"{BATCH}:1")
    assert (ended.status, ended.result) == (
        TaskStatus.COMPLETED,
        result(61.0, fingerprint="old"),
    )
    assert (ended.media_s, ended.fingerprint) == (61.0, "old")


@pytest.mark.parametrize("way", ["worker", "dead", "waiting"])
async def test_report_whose_files_were_being_replaced_stays_marked_so_and_keeps_its_facts(
    queue: TaskQueue, lock: ProcessLock, way: str
) -> None:
    """Pins: an exchanged recording's length and content were shown with the old report, and
    nothing told that files on disk may be of the new one."""
    working = await again(queue, lock)
    await queue.rewrite_report(working)
    if way == "waiting":
        await queue.release(working)
        assert (await queue.get_task(f"{BATCH}:1")).fingerprint == "new"
    assert await queue.request_cancel(working) == 1
    if way == "worker":
        await queue.cancelled(working)
    elif way == "dead":
        lock.close()
        await queue.recover()
    ended = await queue.get_task(f"{BATCH}:1")
    old = result(61.0, fingerprint="old", rewriting=FILES)
    assert (ended.status, ended.result) == (TaskStatus.COMPLETED, old)
    assert (ended.media_s, ended.fingerprint) == (61.0, "old")
    assert (await queue.counts(BATCH)).media_s_done == 61.0
    assert [damaged.task_id for damaged in await cut_off(queue, BATCH)] == [working.task_id]


async def test_finished_new_report_takes_the_mark_away(queue: TaskQueue, lock: ProcessLock) -> None:
    working = await again(queue, lock)
    await queue.rewrite_report(working)
    await queue.complete(working, result(5.0, fingerprint="new"))
    assert await cut_off(queue, BATCH) == []
    with pytest.raises(LeaseLost):
        await queue.rewrite_report(working)
