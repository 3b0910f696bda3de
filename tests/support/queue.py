"""Parts for tests of the queue: a fake clock, ready-made batches and tasks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gs_video_report.batch.data_models import (
    BatchOptions,
    BatchRow,
    BatchStatus,
    NewTask,
    OutputFile,
    TaskError,
    TaskResult,
    VideoInput,
)
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.task_queue import TaskQueue

BATCH = "7f3a0011"
START_MS = 1_763_809_200_000  # 2025-11-22T11:00:00Z
BROKEN = TaskError("E_RETRY", "the server did not answer", "try again", "compose", {"status": 503})


@dataclass
class FakeClock:
    """Both clocks stand still until a test moves them."""

    wall: int = START_MS
    boot: int = 1_000_000
    boot_id: str = "boot-1"

    def wall_ms(self) -> int:
        return self.wall

    def boot_ms(self) -> int:
        return self.boot

    def pass_s(self, seconds: float) -> None:
        """Real time passes: both clocks go on."""
        self.wall += round(seconds * 1000)
        self.boot += round(seconds * 1000)

    def jump_s(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall += round(seconds * 1000)

    def restart(self) -> None:
        """The machine restarts."""
        self.boot, self.boot_id = 5_000, self.boot_id + "+"


def batch(batch_id: str = BATCH, **changes: object) -> BatchRow:
    values: dict[str, object] = {
        "batch_id": batch_id, "name": "lectures", "batch_key": "key-1",
        "status": BatchStatus.INITIALIZING, "options": BatchOptions(),
        "input_spec": {"kind": "dir", "path": "/videos"},
    }  # fmt: skip
    return BatchRow(**(values | changes))  # type: ignore[arg-type]


def task(n: int, priority: int = 50) -> NewTask:
    return NewTask(VideoInput(f"/videos/{n:05}.mp4", size_bytes=n), "plain", priority)


def tasks(count: int) -> Iterable[NewTask]:
    return (task(n) for n in range(1, count + 1))


def result(media_s: float = 60.0, **changes: object) -> TaskResult:
    output = OutputFile("a/report.md", "markdown", 3, "ab" * 32)
    return TaskResult(outputs=(output,), media_s=media_s, engine="local", **changes)  # type: ignore[arg-type]


async def open_queue(folder: Path, clock: FakeClock, count: int = 0) -> TaskQueue:
    """A queue on a new database with one batch of `count` tasks. Close `queue.db`."""
    queue = TaskQueue(await Database.open(folder / "gsvr.db"), clock=clock)
    await queue.create_batch(batch())
    await queue.add_tasks(BATCH, tasks(count))
    return queue
