"""A batch is followed from outside: same picture, same end, and nothing disturbed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.data_models import BatchCounts, BatchResult, BatchStatus
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue import event_reads as reads
from gs_video_report.batch.queue.event_reads import Event
from gs_video_report.batch.queue.task_moves import add_events
from gs_video_report.batch.run.record import RunRecord
from gs_video_report.batch.run.summary_reads import failure_groups
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.clock import parse_iso
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.view.event_clock import EventClock
from gs_video_report.batch.view.run_memory import tree_memory
from gs_video_report.batch.view.watch import Watcher, exit_code
from gs_video_report.terminal.jsonl import JsonLinesPrinter
from gs_video_report.terminal.notices import event_text, story_line
from gs_video_report.terminal.plain import PlainPrinter
from tests.support.queue import BATCH, BROKEN, batch, result, tasks


class Working:
    """A process that works on a batch of four videos, played by the test."""

    def __init__(self, queue: TaskQueue) -> None:
        self.queue = queue
        self.lock = ProcessLock(queue.db.path).acquire()
        self.record = RunRecord(queue, BATCH, self.lock.process_id)

    async def begin(self) -> None:
        await self.record.started(engine="local", parallel=2, processes=2)
        await self.queue.set_batch_status(BATCH, BatchStatus.RUNNING)

    async def do(self, how: str = "complete") -> None:
        (task,) = await self.queue.claim(BATCH, self.lock.worker_id(1), 1, 60.0)
        if how == "complete":
            await self.queue.complete(task, result())
        elif how == "fail":
            await self.queue.fail(task, BROKEN)
        elif how == "retry":
            await self.queue.retry_later(task, BROKEN, 30.0)

    async def end(self, status: BatchStatus, code: int, message: str = "") -> None:
        await self.queue.set_batch_status(BATCH, status)
        counts = await self.queue.counts(BATCH)
        ended = BatchResult(BATCH, status, counts, code, 61.5, report_index="out/index.html")
        await self.record.ended(ended, message, "out/summary.md")
        self.lock.close()


@pytest.fixture
async def working(tmp_path: Path) -> AsyncIterator[Working]:
    queue = TaskQueue(await Database.open(tmp_path / "gsvr.db"))
    await queue.create_batch(batch())
    await queue.add_tasks(BATCH, tasks(4))
    process = Working(queue)
    yield process
    process.lock.close()
    await queue.db.close()


async def watch(
    working: Working, out: io.StringIO, *, plain: bool = False
) -> tuple[int, list[dict[str, Any]]]:
    """Watch through a connection of its own to the end: exit code, JSON lines."""
    path = working.queue.db.path
    async with await Database.open(path, create=False, read_only=True) as db:
        queue = TaskQueue(db)
        printer = PlainPrinter(out, env={}) if plain else JsonLinesPrinter(out)
        row = await queue.get_batch(BATCH)
        watcher = Watcher(queue, row, printer, failure_groups, poll_s=0.01, tick_s=0.005)
        code = await watcher.run()
    return code, [] if plain else [json.loads(line) for line in out.getvalue().splitlines()]


async def until(out: io.StringIO, text: str) -> None:
    async with asyncio.timeout(20):
        while text not in out.getvalue():
            await asyncio.sleep(0.005)


async def test_a_watcher_sees_what_ends_and_ends_with_the_exit_code_of_the_batch(
    working: Working,
) -> None:
    await working.begin()
    await working.do()
    out = io.StringIO()
    watching = asyncio.create_task(watch(working, out))
    await until(out, '"type":"batch"')
    await working.do()
    await working.do("retry")
    await working.do("fail")
    working.record.keep("tuning", {"old": 2, "new": 1, "reason": "only 0.1 GB of memory is free"})
    await working.record.flush()
    await until(out, '"note"')
    await working.end(BatchStatus.PAUSED, 4, "the daily cost limit is reached")
    code, lines = await watching
    assert code == 4
    told = [
        (line["type"], line.get("state")) for line in lines if line["type"] in ("task", "retry")
    ]
    assert told == [("task", "completed"), ("retry", "retrying"), ("task", "failed")]
    retry = next(line for line in lines if line["type"] == "retry")
    assert 25 < retry["delay_s"] <= 30
    (note,) = [line["message"] for line in lines if line["type"] == "note"][:1]
    assert note == "compute processes 2 -> 1: only 0.1 GB of memory is free"
    summary = lines[-1]
    assert (summary["type"], summary["exit_code"], summary["completed"]) == ("summary", 4, 2)
    assert summary["message"] == "the daily cost limit is reached"
    assert summary["elapsed_s"] == 61.5
    assert summary["report_index"] == "out/index.html"
    assert [change["new"] for change in summary["tuning"]] == [1]
    statuses = [line for line in lines if line["type"] == "status"]
    assert all("completed" in line for line in statuses)


async def test_the_death_of_the_working_process_ends_the_watching_with_1(working: Working) -> None:
    await working.begin()
    await working.do()
    out = io.StringIO()
    watching = asyncio.create_task(watch(working, out, plain=True))
    await until(out, "has 4 tasks, 1 already done")
    working.lock.close()  # the kernel does this when a process is killed
    code, _ = await watching
    assert code == 1
    assert "Stopped: the process that worked on it is gone. 1 of 4 done, 3 left." in out.getvalue()
    assert f"gsvr batch resume {BATCH}" in out.getvalue()


async def test_watching_an_ended_batch_gives_its_summary_and_code_at_once(working: Working) -> None:
    await working.begin()
    for _ in range(3):
        await working.do()
    await working.do("fail")
    await working.end(BatchStatus.COMPLETED, 3)
    code, lines = await watch(working, io.StringIO())
    assert code == lines[-1]["exit_code"] == 3
    assert lines[-1]["failures"][0]["count"] == 1


async def test_watching_an_ended_batch_tells_what_it_did(working: Working) -> None:
    """It said "resumed" and "Nothing to do", as if the watcher had been meant to work."""
    await working.begin()
    for _ in range(4):
        await working.do()
    await working.end(BatchStatus.COMPLETED, 0)
    out = io.StringIO()
    code, _ = await watch(working, out, plain=True)
    assert code == 0
    assert f"batch {BATCH} has 4 tasks, 4 already done" in out.getvalue()
    assert "4 of 4 done in 1 min" in out.getvalue()


async def test_ctrl_c_ends_the_watching_and_says_that_the_batch_goes_on(working: Working) -> None:
    await working.begin()
    out = io.StringIO()
    watching = asyncio.create_task(watch(working, out, plain=True))
    await until(out, "has 4 tasks")
    before = await reads.newest_event_id(working.queue.db, BATCH)
    os.kill(os.getpid(), signal.SIGINT)
    code, _ = await watching
    assert code == 130
    assert out.getvalue().rstrip().endswith("Watching ended; the batch goes on.")
    assert await reads.newest_event_id(working.queue.db, BATCH) == before


async def test_a_late_watcher_knows_what_the_run_did_before_it_came(working: Working) -> None:
    """Its speed is that of the run, and the time of videos in flight counts from their start."""
    await working.begin()
    for _ in range(3):
        await working.do()
    (task,) = await working.queue.claim(BATCH, working.lock.worker_id(1), 1, 60.0)
    await working.queue.set_stage(task, "slides")
    async with await Database.open(working.queue.db.path, read_only=True, create=False) as db:
        queue = TaskQueue(db)
        out = io.StringIO()
        row = await queue.get_batch(BATCH)
        watcher = Watcher(queue, row, JsonLinesPrinter(out), failure_groups)
        monitor = await watcher._attach()
        snapshot = monitor.snapshot()
    assert snapshot.run_done == 3
    assert (snapshot.counts.completed, snapshot.counts.running) == (3, 1)
    assert [(line.stage, line.fraction) for line in snapshot.workers] == [("slides", None)]
    assert snapshot.parallel == 2
    assert 0 < snapshot.elapsed_s < 60


async def test_the_journal_tells_how_far_a_transcript_is(working: Working) -> None:
    await working.begin()
    (task,) = await working.queue.claim(BATCH, working.lock.worker_id(1), 1, 60.0)
    await working.queue.set_media(task, "ab" * 32, 60.0)
    await working.queue.set_stage(task, "transcribe")
    journal = StepJournal(working.queue.db)
    plan = {"chunks": [[0, 100], [100, 200], [250, 450]], "speech": []}
    await journal.put("ab" * 32, "vad", 0, {}, plan, seconds=1.0)
    await journal.put("ab" * 32, "transcribe", 1, {"lang": "de"}, {}, seconds=1.0)
    await journal.put("ab" * 32, "transcribe", 0, {"lang": "en"}, {}, seconds=1.0)
    (running,) = await reads.running_tasks(working.queue.db, BATCH)
    first = await reads.stage_fraction(working.queue.db, running)
    assert first == pytest.approx(0.25)  # only the parts of the latest parameters count
    await journal.put("ab" * 32, "transcribe", 2, {"lang": "en"}, {}, seconds=1.0)
    assert await reads.stage_fraction(working.queue.db, running) == pytest.approx(0.75)


def fold(path: Path) -> tuple[int, int, int]:
    """Write the whole WAL back; the first number is 1 when a reader or writer is in the way."""
    with contextlib.closing(sqlite3.connect(path, timeout=0.0)) as connection:
        answer = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return int(answer[0]), int(answer[1]), int(answer[2])


async def test_a_watcher_never_makes_the_writer_wait(working: Working) -> None:
    """It holds no transaction between its looks, so the whole WAL can be folded back meanwhile."""
    await working.begin()
    out = io.StringIO()
    watching = asyncio.create_task(watch(working, out))
    await until(out, '"type":"batch"')
    async with asyncio.timeout(20):
        for n in range(100):
            await working.queue.add_event(BATCH, "test", {"n": n})
        while (await asyncio.to_thread(fold, working.queue.db.path))[0]:  # busy: in a look
            await asyncio.sleep(0.003)
    assert not watching.done()
    for _ in range(4):
        await working.do()
    await working.end(BatchStatus.COMPLETED, 0)
    assert (await watching)[0] == 0


# --- pure ------------------------------------------------------------------------------------


def event(event_id: int, kind: str, process: str, **data: object) -> Event:
    return Event(event_id, float(event_id), "", None, kind, {"process": process, **data})


async def test_the_time_of_a_batch_is_that_of_all_its_runs(working: Working) -> None:
    """The summary of a resumed batch told all recordings, but the seconds of the last run only."""
    db = working.queue.db
    assert await reads.worked_s(db, BATCH, 0.0) is None

    async def happens(minute: int, kind: str, process: str) -> None:
        at, facts = f"2026-11-22T14:{minute:02}:00.000Z", json.dumps({"process": process})
        await db.write(lambda c: add_events(c, [(at, BATCH, None, kind, facts)]))

    for minute, kind, process in (
        (0, "run.started", "a"), (2, "run.started", "b"), (3, "run.ended", "a"),
        (5, "run.ended", "b"), (10, "run.started", "c"), (11, "run.ended", "c"),
        (20, "run.started", working.lock.process_id),
    ):  # fmt: skip
        await happens(minute, kind, process)
    now_s = parse_iso("2026-11-22T14:21:30.000Z") / 1000
    assert await reads.worked_s(db, BATCH, now_s) == (5 + 1) * 60 + 90
    await happens(22, "run.started", "d")  # and it dies
    assert await reads.worked_s(db, BATCH, now_s) is None


def test_starts_and_ends_of_runs_are_joined_by_process() -> None:
    found = reads.runs_of(
        [
            event(1, "run.started", "a"),
            event(2, "run.started", "b"),
            event(3, "run.ended", "a", exit_code=130),
            event(4, "run.ended", "unknown"),
        ]
    )
    assert [(run.process, run.ended is None) for run in found] == [("a", False), ("b", True)]


@pytest.mark.parametrize(
    ("status", "counts", "expected"),
    [
        (BatchStatus.COMPLETED, BatchCounts(completed=2), 0),
        (BatchStatus.COMPLETED, BatchCounts(completed=1, failed=1), 3),
        (BatchStatus.CANCELLED, BatchCounts(cancelled=1), 3),
        (BatchStatus.PAUSED, BatchCounts(pending=1), 4),
        (BatchStatus.RUNNING, BatchCounts(pending=1), 1),
    ],
)
def test_without_a_record_the_state_gives_the_exit_code(
    status: BatchStatus, counts: BatchCounts, expected: int
) -> None:
    assert exit_code(status, counts, None) == expected


def test_the_clock_of_events_never_goes_back() -> None:
    clock = EventClock()
    clock.replay(100.0)
    clock.replay(90.0)
    assert clock() == 100.0
    clock.go_live()
    assert clock() > 1_700_000_000


def test_memory_of_a_process_that_is_not_there_is_nothing() -> None:
    assert tree_memory(2**22 + 1) == 0
    assert tree_memory(os.getpid()) > 1_000_000
    assert tree_memory(1) == 0  # not ours


def test_events_are_told_as_sentences() -> None:
    assert (
        event_text("tuning", {"old": 1, "new": 2, "reason": "r"}) == "compute processes 1 -> 2: r"
    )
    assert event_text("batch.paused", {"reason": "on request"}) == "paused: on request"
    assert event_text("batch.running", {"from": "paused"}) == ""
    lost = event_text("network", {"what": "lost", "service": "gemini", "reason": "no route"})
    assert lost == "waiting for the network: gemini cannot be reached: no route"
    back = event_text("network", {"what": "back", "service": "gemini", "seconds": 90.0})
    assert back.startswith("gemini answers again after")
    from datetime import UTC, datetime

    now = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
    started = {"engine": "local", "parallel": 4, "processes": 2}
    line = story_line("2026-11-22T14:02:11Z", "run.started", started, now)
    assert line.split(maxsplit=3)[3] == "local, 4 videos in flight, 2 compute workers"


async def test_watching_ends_when_nobody_reads_any_more(working: Working) -> None:
    """`gsvr batch watch | head` sat there until the batch was done."""

    class ClosedAfterTheFirstLine(io.StringIO):
        def write(self, text: str) -> int:
            if self.getvalue():
                raise BrokenPipeError
            return super().write(text)

    await working.begin()
    out = ClosedAfterTheFirstLine()
    watching = asyncio.create_task(watch(working, out))
    await until(out, '"type":"batch"')
    await working.do()
    code, lines = await asyncio.wait_for(watching, 30)
    assert code == 0
    assert len(lines) == 1
    assert (await working.queue.get_batch(BATCH)).status is BatchStatus.RUNNING
