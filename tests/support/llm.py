"""A bench for engines with a model: real journal, limiter and media functions, no pool.

The recording is a silent WAV file of a chosen length with a subtitle file beside it, so that the
transcript is known word for word and no speech model is needed.
"""

from __future__ import annotations

import asyncio
import hashlib
import wave
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.steps import JournaledSteps
from gs_video_report.batch.data_models import BatchOptions, TaskStatus, VideoInput, VideoTask
from gs_video_report.batch.limiter.models import BucketConfig
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeStatistics
from gs_video_report.engines.base import MediaSource, TaskContext
from gs_video_report.templates.loader import Template, load_template
from tests.support.queue import BATCH

SENTENCES = (
    "Plants turn light into sugar.",
    "The green pigment is called chlorophyll.",
    "Water enters through the roots and rises to the leaves.",
    "Carbon dioxide comes in through small openings named stomata.",
    "Oxygen is what remains and is given off to the air.",
    "In the dark the plant breathes just like we do.",
    "Sugar is stored as starch in roots and seeds.",
    "Without this process there would be no food on earth.",
)


class InlineCompute:
    """The contract of a compute backend, in a thread of this process."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def run(self, fn: Callable[..., Any], *args: Any, **_: Any) -> Any:
        self.calls.append(fn.__name__)
        return await asyncio.to_thread(fn, *args)

    def statistics(self) -> ComputeStatistics:
        return ComputeStatistics(1, 0, 0, 1, 0, 0, 0, 0)

    async def start(self) -> None: ...
    async def resize(self, processes: int) -> None: ...
    async def close(self, grace_s: float = 2.0) -> None: ...


def write_wav(path: Path, seconds: float, rate: int = 1000) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(1)
        out.setframerate(rate)
        out.writeframes(b"\x80" * round(seconds * rate))


def sentences(count: int, every_s: float = 5.0) -> list[tuple[float, float, str]]:
    """(start, end, text) of so many different sentences."""
    return [
        (n * every_s, n * every_s + every_s * 0.8, f"{SENTENCES[n % len(SENTENCES)][:-1]} ({n}).")
        for n in range(count)
    ]


def write_lecture(
    folder: Path, lines: Sequence[tuple[float, float, str]], name: str = "lecture"
) -> Path:
    """`lecture.wav` with `lecture.srt` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.wav"
    write_wav(path, lines[-1][1] + 5 if lines else 10)
    cues = [f"{n}\n{_t(a)} --> {_t(b)}\n{text}\n" for n, (a, b, text) in enumerate(lines, 1)]
    path.with_suffix(".srt").write_text("\n".join(cues), encoding="utf-8")
    return path


def _t(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


class VirtualTime:
    """A clock that sleeping moves, for limiters: nobody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += max(0.0, seconds)
        await asyncio.sleep(0)

    def limiter(self, limits: dict[str, BucketConfig] | None = None, **more: Any) -> ApiLimiter:
        return ApiLimiter(limits, clock=lambda: self.now, sleep=self.sleep, **more)


@dataclass
class Bench:
    """One process's view of a database in `folder`. Close it."""

    folder: Path
    db: Database
    cache: ArtifactStore
    limiter: ApiLimiter
    compute: InlineCompute = field(default_factory=InlineCompute)
    stages: list[str] = field(default_factory=list)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    steps: JournaledSteps | None = None
    """Of the last context."""

    @classmethod
    async def open(cls, folder: Path, limiter: ApiLimiter | None = None) -> Bench:
        db = await Database.open(folder / "gsvr.db")
        return cls(folder, db, ArtifactStore(folder / "cache"), limiter or ApiLimiter())

    async def close(self) -> None:
        await self.db.close()

    def context(
        self, path: Path, template: str | Template = "summary_report", **options: Any
    ) -> TaskContext:
        """As the batch makes it."""
        name = template if isinstance(template, str) else template.name
        row = VideoTask(
            None,
            BATCH,
            1,
            TaskStatus.RUNNING,
            50,
            VideoInput(str(path)),
            name,  # type: ignore[arg-type]
        )
        control = TaskControl(stopping=self.stopping, started=0.0)
        fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
        journal = StepJournal(self.db)
        self.steps = JournaledSteps(journal, row, control, self.cache, fingerprint)
        return TaskContext(
            media=MediaSource(str(path), "file", path.name),
            template=load_template(template) if isinstance(template, str) else template,
            options={**asdict(BatchOptions()), **options},
            step=self.steps,
            compute=self.compute,  # type: ignore[arg-type]
            limiter=self.limiter,
            cache=self.cache,
            work_dir=self.folder / "work",
            progress=lambda stage, done, total: self.stages.append(stage),
            cancelled=self.stopping,
            fingerprint=fingerprint,
        )
