"""Run the gemini engine as the batch does: real database, journal and limiter, the real SDK.

Only two things are pretended: the service (`tests.fakes.gemini`) and the probe of the recording,
so that three hours of video are a few bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.steps import JournaledSteps
from gs_video_report.batch.data_models import (
    BatchOptions,
    NewTask,
    TaskStatus,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.config_values import Secret
from gs_video_report.engines import jobs
from gs_video_report.engines.base import MediaSource, TaskContext
from gs_video_report.engines.gemini.engine import GeminiEngine
from gs_video_report.engines.gemini.files import Uploads
from gs_video_report.report.model import VideoReport
from gs_video_report.templates.loader import load_template
from tests.fakes.gemini import KEY
from tests.support.queue import BATCH, FakeClock, batch, result, task


@dataclass
class Recording:
    """A file that passes for a recording of `duration_s` seconds."""

    path: Path
    duration_s: float

    @property
    def sha256(self) -> str:
        """Of its content."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def voice(self) -> str:
        """What the fake service calls it."""
        return self.sha256[:6]


def probe_of(duration_s: float) -> dict[str, Any]:
    """What a probe would have found."""
    return {
        "duration_s": duration_s, "size_bytes": 1, "container": "mp4", "video": None,
        "audio": [{"codec": "aac"}], "subtitles": [], "chapters": [], "tags": {},
    }  # fmt: skip


@dataclass
class InlineCompute:
    """Runs the probe (pretended) in this process; nothing else is asked of it here."""

    duration_s: float

    async def run(self, fn: Callable[..., Any], *args: Any, **_: Any) -> Any:
        """See `ComputeBackend.run`."""
        assert fn is jobs.probe
        return probe_of(self.duration_s)

    def statistics(self) -> Any:
        """Nothing runs."""
        raise AssertionError("not asked for")


class VirtualTime:
    """A clock that sleeping moves, for limiters: nobody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        """Seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Pass the time at once."""
        self.slept.append(seconds)
        self.now += max(0.0, seconds)
        await asyncio.sleep(0)

    def limiter(self, **more: Any) -> ApiLimiter:
        """A limiter on this clock."""
        return ApiLimiter(clock=self.clock, sleep=self.sleep, **more)


@dataclass
class Bench:
    """One process's view: a database in `folder` and an engine against the service at `url`."""

    folder: Path
    url: str
    db: Database
    engine: GeminiEngine
    limiter: ApiLimiter = field(default_factory=ApiLimiter)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    stages: list[tuple[str, float, float]] = field(default_factory=list)

    def context(
        self,
        recording: Recording,
        *,
        template: str = "summary_report",
        name: str = "",
        task_row: VideoTask | None = None,
        **options: Any,
    ) -> TaskContext:
        """As `batch.attempt.steps` makes it."""
        cache = ArtifactStore(self.folder / "cache")
        control = TaskControl(stopping=self.stopping, started=time.monotonic())
        row = task_row or VideoTask(
            None,
            BATCH,
            1,
            TaskStatus.RUNNING,
            50,
            task(1).video,
            template,  # type: ignore[arg-type]
        )
        steps = JournaledSteps(StepJournal(self.db), row, control, cache, recording.sha256)
        return TaskContext(
            media=MediaSource(str(recording.path), "file", name or recording.path.name),
            template=load_template(template),
            options={**asdict(BatchOptions()), **options},
            step=steps,
            compute=InlineCompute(recording.duration_s),  # type: ignore[arg-type]
            limiter=self.limiter,
            cache=cache,
            work_dir=cache.work_dir(recording.sha256[:32]),
            progress=lambda stage, done, total: self.stages.append((stage, done, total)),
            cancelled=self.stopping,
            fingerprint=recording.sha256,
        )

    async def analyze(self, recording: Recording, **more: Any) -> VideoReport:
        """The report of one recording."""
        return await self.engine.analyze(self.context(recording, **more))

    async def finished_elsewhere(self, recordings: Sequence[Recording]) -> None:
        """Tasks that another engine has finished."""
        for one in recordings:
            queue, row = await self._claimed(one)
            await queue.complete(row, result())

    async def still_open(self, recording: Recording) -> None:
        """A task that waits, and was begun before."""
        queue, row = await self._claimed(recording)
        await queue.release(row)

    async def _claimed(self, recording: Recording) -> tuple[TaskQueue, VideoTask]:
        queue = TaskQueue(self.db)
        video = VideoInput(str(recording.path), size_bytes=1)
        await queue.add_tasks(BATCH, [NewTask(video, "summary_report")])
        lock = ProcessLock(self.db.path)
        lock.acquire()
        (row,) = await queue.claim(BATCH, f"{lock.process_id}/w0", 1, 60)
        await queue.set_media(row, recording.sha256, recording.duration_s)
        lock.close()
        return queue, row

    async def steps(self, name: str) -> list[dict[str, Any]]:
        """Journaled values of one kind of step, in order."""
        rows = await self.db.read("SELECT value FROM steps WHERE name = ? ORDER BY rowid", (name,))
        return [json.loads(row["value"]) for row in rows]


def recording(
    folder: Path, duration_s: float = 60.0, name: str = "talk.mp4", size: int = 3000
) -> Recording:
    """A file with content that depends on its name."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((hashlib.sha256(name.encode()).digest() * (size // 32 + 1))[:size])
    return Recording(path, duration_s)


def quick_uploads(**more: Any) -> Uploads:
    """Uploads that hardly wait."""
    return Uploads(poll_s=0.01, max_poll_s=0.02, stumble_s=0.01, **more)


def make_engine(
    url: str,
    *,
    keys: tuple[str, ...] = (KEY,),
    now: Callable[[], datetime] | None = None,
    **options: Any,
) -> GeminiEngine:
    """An engine against the service at `url`."""
    return GeminiEngine(
        options={"base_url": url, "timeout_s": 20, **options},
        keys=[Secret(key) for key in keys],
        uploads=quick_uploads(**({} if now is None else {"now": now})),
    )


@asynccontextmanager
async def bench(
    folder: Path,
    url: str,
    *,
    keys: tuple[str, ...] = (KEY,),
    limiter: ApiLimiter | None = None,
    now: Callable[[], datetime] | None = None,
    **options: Any,
) -> AsyncIterator[Bench]:
    """Open (again) the database in `folder`, with an engine that has `options`."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = not (folder / "gsvr.db").exists()
    db = await Database.open(folder / "gsvr.db")
    try:
        if fresh:
            await TaskQueue(db, clock=FakeClock()).create_batch(batch())  # type: ignore[arg-type]
        engine = make_engine(url, keys=keys, now=now, **options)
        yield Bench(folder, url, db, engine, limiter or ApiLimiter())
    finally:
        await db.close()
