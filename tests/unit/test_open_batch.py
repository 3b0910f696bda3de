"""Which batch a command works on, with real files and a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gs_video_report.batch.data_models import BatchOptions
from gs_video_report.batch.input_parser import InputSpec
from gs_video_report.batch.planner import RunRequest, open_batch
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import InputPathError, NoInputError
from tests.support.queue import FakeClock, open_queue

MISSING = "no such file or folder"


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    made = await open_queue(tmp_path, FakeClock(), 0)
    yield made
    await made.db.close()
    await made.db.close()


@pytest.mark.parametrize(
    ("kind", "name", "message", "hint"),
    [
        ("file", "nope.mp4", "{}: no such file", "spelling"),
        (
            "file", "notes.xyz", "{}: the ending .xyz is not a known video or audio format",
            "a video or audio file, or an address",
        ),
        ("dir", "empty", "{}: no video or audio file was found", "--include"),
        ("list", "none.txt", "{}: names no recording", "one path or address a line"),
        (
            "list", "one.txt", "{}: its only entry cannot be used: one.txt:1: " + MISSING,
            "correct the list",
        ),
        (
            "list", "two.txt",
            "{}: none of the 2 entries can be used; the first: two.txt:1: " + MISSING,
            "correct the list",
        ),
    ],
)  # fmt: skip
async def test_inputs_that_give_nothing_leave_no_batch(
    queue: TaskQueue, tmp_path: Path, kind: str, name: str, message: str, hint: str
) -> None:
    """A cancelled batch of no videos became `latest`, and later commands talked about it."""
    (tmp_path / "notes.xyz").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").write_text("# nothing yet\n")
    (tmp_path / "one.txt").write_text("a.mp4\n")
    (tmp_path / "two.txt").write_text("a.mp4\nb.mp4\n")
    before = await queue.list_batches()
    path = tmp_path / name
    with pytest.raises((NoInputError, InputPathError)) as raised:
        await open_batch(queue, RunRequest(BatchOptions(), InputSpec(kind, str(path))))
    assert raised.value.message == message.format(path)
    assert hint in raised.value.hint
    assert await queue.list_batches() == before


async def test_every_input_becomes_a_task_once_though_the_first_is_read_ahead(
    queue: TaskQueue, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
    (tmp_path / "d.mp4.part").write_bytes(b"x")
    request = RunRequest(BatchOptions(), InputSpec("dir", str(tmp_path)))
    opened = await open_batch(queue, request)
    assert (opened.how, opened.scan.found, opened.scan.added) == ("new", 3, 3)
    (tmp_path / "e.mp4").write_bytes(b"x")
    again = await open_batch(queue, request)
    assert (again.how, again.scan.found, again.scan.added) == ("continued", 4, 1)
    tasks = [task async for task in queue.iter_tasks(opened.row.batch_id)]
    assert [Path(task.video.source).name for task in tasks] == ["a.mp4", "b.mp4", "c.mp4", "e.mp4"]
