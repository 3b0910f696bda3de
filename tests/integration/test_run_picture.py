"""What a run says of itself, with a real queue, pool and processes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.commands import batch_state
from gs_video_report.batch.data_models import (
    BatchOptions,
    BatchRow,
    BatchStatus,
    NewTask,
    VideoInput,
)
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.processor import BatchProcessor
from gs_video_report.batch.progress.snapshot import Snapshot
from gs_video_report.batch.run.parts import RunSettings
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.engines.base import TaskContext
from gs_video_report.report.model import VideoReport
from gs_video_report.terminal.status_card import batch_status
from gs_video_report.terminal.summary import summary_lines
from tests.support.fetching import LookingEngine

LENGTHS = {"short.mp4": 5.0, "long.mp4": 68.0}


@dataclass
class Pictures:
    """A printer that keeps the newest picture and lets others wait for the next one."""

    newest: Snapshot | None = None
    lost: bool = False
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def tick(self, snapshot: Snapshot) -> None:
        self.newest = snapshot
        self.came.set()

    async def next(self) -> Snapshot:
        self.came.clear()
        await self.came.wait()
        assert self.newest is not None
        return self.newest

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


@dataclass
class Probing(LookingEngine):
    """Tells the length of a recording first, as the real ones do; the long one then waits until
    it is the last and the picture has been drawn."""

    pictures: Pictures = field(default_factory=Pictures)
    seen_alone: Snapshot | None = None

    buckets = ()

    async def analyze(self, ctx: TaskContext) -> VideoReport:
        assert ctx.report_media is not None
        await ctx.report_media(ctx.fingerprint, LENGTHS[ctx.media.display_name])
        if ctx.media.display_name == "long.mp4":
            self.seen_alone = await self.pictures.next()
            while self.seen_alone.counts.completed < 1:
                self.seen_alone = await self.pictures.next()
        return await super().analyze(ctx)


@dataclass(frozen=True, slots=True)
class WithEngine(RunSettings):
    engine: Any = None

    def make_engine(self, name: str, options: BatchOptions) -> Any:
        return self.engine


class KilledHere(Exception):
    """The process ends."""


def make_row(folder: Path) -> BatchRow:
    options = BatchOptions(
        output_dir=str(folder / "out"), cache_dir=str(folder / "cache"), formats=("json",),
        template="summary_report", parallel=2,
    )  # fmt: skip
    return BatchRow("ab12cd34", "in", "key", BatchStatus.INITIALIZING, options, {})


async def fill(queue: TaskQueue, row: BatchRow, folder: Path, *names: str) -> None:
    await queue.create_batch(row)
    for name in names:
        (folder / name).write_bytes(name.encode())
        video = VideoInput(str(folder / name), relative_path=name)
        await queue.add_tasks(row.batch_id, [NewTask(video, "summary_report", task_key=name)])


async def test_a_run_learns_the_length_of_a_recording_while_it_works_on_it(tmp_path: Path) -> None:
    """It knew only what was finished: half of the work seemed done after 5 of 73 seconds."""
    row, pictures = make_row(tmp_path), Pictures()
    engine = Probing(pictures=pictures)
    async with await Database.open(tmp_path / "tasks.db") as database:
        await fill(TaskQueue(database), row, tmp_path, *LENGTHS)
        settings = WithEngine(engine=engine, tuning=False)
        result = await BatchProcessor(database, row, pictures, settings).run()
    assert result.exit_code == 0
    assert engine.seen_alone is not None
    media = engine.seen_alone.media
    # the finished one counts with what its report says (7 s), the other with what was probed
    assert (media.done_s, media.total_s, media.unknown) == (7.0, 75.0, 0)
    assert engine.seen_alone.fraction < 0.5


async def run_without_the_second(
    processor: BatchProcessor, folder: Path, left: BatchStatus
) -> BatchRow:
    """One of two videos is done, one was cancelled, the pages are there; `left` is the state."""
    queue, row = TaskQueue(processor.database), processor.row
    await fill(queue, row, folder, "short.mp4", "never.mp4")
    await queue.request_cancel(f"{row.batch_id}:2")
    await processor.run()
    await queue.set_batch_status(row.batch_id, BatchStatus.RUNNING)
    return await queue.set_batch_status(row.batch_id, left)


async def test_a_cancelled_batch_that_is_resumed_stays_cancelled_and_names_the_way_on(
    tmp_path: Path,
) -> None:
    """It became "completed" with two of three videos, and nothing named a way to the third."""
    row, pictures = make_row(tmp_path), Pictures()
    settings = WithEngine(engine=Probing(pictures=pictures), tuning=False)
    async with await Database.open(tmp_path / "tasks.db") as database:
        queue = TaskQueue(database)
        processor = BatchProcessor(database, row, pictures, settings)
        await run_without_the_second(processor, tmp_path, BatchStatus.CANCELLED)
        (tmp_path / "out" / "index.html").unlink()  # the first resume writes it, the second has it
        for _ in range(2):
            again = await queue.get_batch(row.batch_id)
            result = await BatchProcessor(database, again, pictures, settings).run()
            assert (result.status, result.exit_code) == (BatchStatus.CANCELLED, 3)
            assert (tmp_path / "out" / "index.html").is_file()
            stored = await queue.get_batch(row.batch_id)
            assert stored.status is BatchStatus.CANCELLED
            lines = summary_lines(result, snapshot=pictures.newest)
            assert lines[0] == "Cancelled. 1 of 2 done, 1 cancelled."
            assert lines[1].startswith("Retry:   gsvr batch retry ab12cd34 ")
            card = batch_status(await batch_state(queue, "ab12cd34"), now=datetime.now(UTC))
            assert card[-1] == "Next:  gsvr batch retry ab12cd34"


@pytest.mark.parametrize("left", [BatchStatus.PAUSED, BatchStatus.RUNNING])
async def test_a_batch_whose_last_open_video_was_cancelled_is_completed_by_the_next_run(
    left: BatchStatus, tmp_path: Path
) -> None:
    """It stayed paused for good beside the library page of another batch: a run had nothing to do.

    The same for a run that was killed between its pages and its state.
    """
    row, pictures = make_row(tmp_path), Pictures()
    settings = WithEngine(engine=Probing(pictures=pictures), tuning=False)
    async with await Database.open(tmp_path / "tasks.db") as database:
        queue = TaskQueue(database)
        processor = BatchProcessor(database, row, pictures, settings)
        stopped = await run_without_the_second(processor, tmp_path, left)
        assert (tmp_path / "out" / "index.html").is_file()
        result = await BatchProcessor(database, stopped, pictures, settings).run()
        assert (result.status, result.exit_code) == (BatchStatus.COMPLETED, 0)
        assert (await queue.get_batch(row.batch_id)).status is BatchStatus.COMPLETED


async def test_a_cancelled_batch_whose_run_dies_as_it_writes_its_pages_stays_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was left "running" with nothing to do, and the next run called it completed."""
    row, pictures = make_row(tmp_path), Pictures()
    settings = WithEngine(engine=Probing(pictures=pictures), tuning=False)

    async def dies(*_: Any) -> None:
        raise KilledHere

    async with await Database.open(tmp_path / "tasks.db") as database:
        queue = TaskQueue(database)
        processor = BatchProcessor(database, row, pictures, settings)
        cancelled = await run_without_the_second(processor, tmp_path, BatchStatus.CANCELLED)
        (tmp_path / "out" / "index.html").unlink()
        with monkeypatch.context() as patch:
            patch.setattr("gs_video_report.batch.run.end.write_batch_pages", dies)
            with pytest.raises(KilledHere):
                await BatchProcessor(database, cancelled, pictures, settings).run()
        again = await queue.get_batch(row.batch_id)
        assert again.status is BatchStatus.CANCELLED
        result = await BatchProcessor(database, again, pictures, settings).run()
        assert (result.status, result.exit_code) == (BatchStatus.CANCELLED, 3)
        assert (tmp_path / "out" / "index.html").is_file()
