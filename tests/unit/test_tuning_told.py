"""Changes of concurrency are told wherever a run is told; a stop pauses or completes rightly."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE

import pytest

from gs_video_report.batch.data_models import BatchCounts, BatchResult, BatchStatus
from gs_video_report.batch.performance_optimizer import Change
from gs_video_report.batch.pool.outcome import PoolOutcome, StopReason
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.batch.queue.event_reads import batch_story
from gs_video_report.batch.run.end import settle_status
from gs_video_report.batch.run.record import RunRecord
from gs_video_report.batch.run.tuning import TuningLog
from gs_video_report.terminal.frame import Screen, frame, row_text
from gs_video_report.terminal.plain import PlainPrinter
from gs_video_report.terminal.styles import glyphs_for
from gs_video_report.terminal.summary import summary_json, summary_lines
from tests.support.queue import BATCH, FakeClock, batch, open_queue
from tests.support.terminal_play import make_play

CHANGES = tuple(
    (f"2026-11-22T14:0{n}:00.000Z", {"old": n, "new": n + 1, "reason": f"reason {n}"})
    for n in range(1, 6)
)


class Pool:
    """What the log tells the pool."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def resize(self, parallel: int) -> None:
        self.asked.append(parallel)


async def test_a_change_is_said_kept_as_an_event_and_followed_by_the_pool(tmp_path: Path) -> None:
    queue = await open_queue(tmp_path, FakeClock(), 1)
    record, pool, out = RunRecord(queue, BATCH, "host-1-0123456789ab"), Pool(), io.StringIO()
    printer = PlainPrinter(out, env={})
    monitor = ProgressMonitor(batch(), BatchCounts(pending=9), 4)
    log = TuningLog(record, pool, 4, printer, monitor, follow=True)  # type: ignore[arg-type]
    log.begin(2)
    log.changed(Change(10.0, 2, 1, "only 0.9 of 8.0 GB of memory is free"))
    await record.flush()
    story = await batch_story(queue.db, BATCH)
    await queue.db.close()
    sentence = "compute processes 2 -> 1: only 0.9 of 8.0 GB of memory is free"
    assert sentence in out.getvalue()
    assert (story[-1].kind, story[-1].data["new"]) == ("tuning", 1)
    assert [facts["old"] for _, facts in record.changes] == [2]
    assert pool.asked == [2]
    assert monitor.snapshot().parallel == 2
    crew = {key: story[-1].data[key] for key in ("parallel", "process")}
    assert crew == {"parallel": 2, "process": "host-1-0123456789ab"}


def test_the_summary_lists_the_last_changes_with_their_reasons() -> None:
    result = BatchResult(
        "7f3a91c2", BatchStatus.COMPLETED, BatchCounts(completed=3), 0, 60.0, tuning=CHANGES
    )
    lines = summary_lines(result)
    told = [line for line in lines if "compute processes" in line]
    assert [line.rpartition("compute processes ")[2] for line in told] == [
        "3 -> 4: reason 3", "4 -> 5: reason 4", "5 -> 6: reason 5",
    ]  # fmt: skip
    assert "Tuning   2 changes before these" in lines
    assert [change["new"] for change in summary_json(result)["tuning"]] == [2, 3, 4, 5, 6]
    assert not any("Tuning" in line for line in summary_lines(replace(result, tuning=())))


def test_the_view_of_a_watcher_does_not_offer_to_stop_the_batch() -> None:
    pictures = []
    play = make_play(3, 1, PlainPrinter(io.StringIO(), env={}), on_tick=pictures.append, tick_s=30)
    play.run()
    screen = Screen(100, 30, glyphs_for("utf-8"))
    own = row_text(frame(pictures[0], screen)[-1])
    watched = row_text(frame(replace(pictures[0], watched=True), screen)[-1])
    assert own.endswith("Ctrl-C stops, resumable")
    assert watched.endswith("Ctrl-C leaves the batch running")


STOPPED = [BatchStatus.CANCELLED, BatchStatus.PAUSED, BatchStatus.FAILED]


@pytest.mark.parametrize("status", STOPPED)
async def test_a_batch_stopped_just_as_its_last_video_ended_is_completed(
    status: BatchStatus, tmp_path: Path
) -> None:
    queue = await open_queue(tmp_path, FakeClock(), 0)
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    await queue.set_batch_status(BATCH, status)
    done, drained = BatchCounts(completed=4), PoolOutcome(StopReason.DRAINED)
    after = await settle_status(queue, BATCH, BatchStatus.COMPLETED, drained, done)
    await queue.db.close()
    assert after.status is BatchStatus.COMPLETED


@pytest.mark.parametrize("status", STOPPED)
async def test_a_stop_that_another_process_wrote_stays(status: BatchStatus, tmp_path: Path) -> None:
    """A run that wanted to pause a failed batch ended with "cannot become paused"."""
    queue = await open_queue(tmp_path, FakeClock(), 0)
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    await queue.set_batch_status(BATCH, status, reason="by another")
    left, outcome = BatchCounts(completed=3, pending=1), PoolOutcome(StopReason.PAUSED)
    after = await settle_status(queue, BATCH, BatchStatus.PAUSED, outcome, left)
    await queue.db.close()
    assert (after.status, after.status_reason) == (status, "by another")


@contextmanager
def other_process(db_path: Path) -> Iterator[str]:
    """A living process that has taken the lock of a worker; its id."""
    code = (
        "import sys; from pathlib import Path\n"
        "from gs_video_report.batch.store.process_lock import ProcessLock\n"
        "print(ProcessLock(Path(sys.argv[1])).acquire().process_id, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(db_path)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


async def test_a_stopped_process_does_not_pause_the_batch_of_another(tmp_path: Path) -> None:
    """Also not while that one only waits for a retry and no task is running."""
    queue = await open_queue(tmp_path, FakeClock(), 0)
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    stopped, left = PoolOutcome(StopReason.STOPPED), BatchCounts(completed=3, retrying=1)
    with other_process(queue.db.path) as name:
        other = RunRecord(queue, BATCH, name)
        await other.started(engine="local", parallel=2, processes=2)
        after = await settle_status(queue, BATCH, BatchStatus.PAUSED, stopped, left)
        assert after.status is BatchStatus.RUNNING
    after = await settle_status(queue, BATCH, BatchStatus.PAUSED, stopped, left)
    await queue.db.close()
    assert after.status is BatchStatus.PAUSED
