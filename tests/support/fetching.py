"""Parts for tests of the fetch stage: media made of the sample, and an engine that only looks.

Also a program (`python -m tests.support.fetching FOLDER URL HOST`): one batch of one address, run
in a process of its own so that a test can kill it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.attempt.outage import Outage
from gs_video_report.batch.attempt.task_runner import BatchTaskRunner
from gs_video_report.batch.data_models import (
    BatchOptions,
    BatchRow,
    BatchStatus,
    NewTask,
    TaskStatus,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.inputs.url_rules import parse_url
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.worker_pool import WorkerPool
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.process_pool import ProcessBackend
from gs_video_report.engines.base import EngineCapabilities, Estimate, TaskContext
from gs_video_report.errors import GsvrError
from gs_video_report.media.subtitles.read import find_sidecars
from gs_video_report.report.model import MediaInfo, Provenance, VideoReport
from gs_video_report.templates.loader import Template, load_template

SAMPLE = Path(__file__).parent / "media" / "spoken_en_6s.mp4"

PAGE = """<!DOCTYPE html><html><head><title>Talk about roots</title></head><body>
<video><source src="/v/talk.mp4" type="video/mp4">
<track kind="subtitles" src="/v/talk.vtt" srclang="en" label="English"></video></body></html>"""
VTT = b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello there.\n"
MANIFEST = """<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"
 mediaPresentationDuration="PT7S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>
<AdaptationSet mimeType="video/mp4" contentType="video"><Representation id="pictures"
 codecs="avc1.4d401e" bandwidth="90000" width="640" height="360"><BaseURL>p.mp4</BaseURL>
</Representation></AdaptationSet>
<AdaptationSet mimeType="audio/mp4" contentType="audio"><Representation id="sound"
 codecs="mp4a.40.2" bandwidth="64000"><BaseURL>s.mp4</BaseURL></Representation></AdaptationSet>
</Period></MPD>"""
PLAYLIST = """#EXTM3U
#EXT-X-VERSION:3
#EXT-X-TARGETDURATION:8
#EXT-X-MEDIA-SEQUENCE:0
#EXTINF:7.0,
part0.ts
#EXT-X-ENDLIST
"""


def only(kind: str, container: str) -> bytes:
    """The sample's `video`, `audio` or `both`, not decoded, in another container."""
    import av

    target = io.BytesIO()
    with av.open(str(SAMPLE)) as source, av.open(target, "w", format=container) as out:
        wanted = [s for s in source.streams if kind in ("both", s.type)]
        made = {s.index: out.add_stream_from_template(s) for s in wanted}
        for packet in source.demux(wanted):
            if packet.dts is not None:
                packet.stream = made[packet.stream.index]
                out.mux(packet)
    return target.getvalue()


@dataclass
class LookingEngine:
    """Reads the file it is given and reports nothing but its hash and what lies beside it."""

    accepts: frozenset[str] = frozenset({"file"})
    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def capabilities(self) -> EngineCapabilities:
        return EngineCapabilities("local", self.accepts, False, False, False)

    async def prepare(self, compute: Any) -> None: ...

    def estimate(self, duration_s: float, template: Template) -> Estimate:
        return Estimate(duration_s)

    async def analyze(self, ctx: TaskContext) -> VideoReport:
        media, data = ctx.media, b""
        if media.input_type == "file":
            data = media.path.read_bytes()
            beside = [Path(s.path).name for s in find_sidecars(media.path)]
            assert hashlib.sha256(data).hexdigest() == ctx.fingerprint
            self.seen.append({"name": media.display_name, "beside": beside, "path": media.path})
        else:
            self.seen.append({"source": media.source, "kind": media.input_type})
        return VideoReport(
            media=MediaInfo(
                title=media.metadata.get("title", media.display_name),
                file_name=media.display_name,
                source=media.source,
                duration_s=7.0,
                size_bytes=len(data),
                sha256=ctx.fingerprint,
                metadata=dict(media.metadata),
            ),
            provenance=Provenance("local"),
        )


class Listener:
    """Remembers why tasks failed."""

    def __init__(self) -> None:
        self.errors: list[GsvrError] = []

    def task_started(self, task: VideoTask, slot: int) -> None: ...
    def task_finished(self, *_: Any) -> None: ...
    def task_skipped(self, *_: Any) -> None: ...
    def task_released(self, task: VideoTask) -> None: ...
    def service_lost(self, outage: Outage, seconds: float) -> None: ...
    def service_back(self, outage: Outage, seconds: float) -> None: ...
    def limit_reached(self, *_: Any) -> None: ...

    def task_failed(self, task: VideoTask, error: GsvrError, seconds: float) -> None:
        self.errors.append(error)

    def task_retrying(self, task: VideoTask, error: GsvrError, delay_s: float) -> None:
        self.errors.append(error)


@dataclass
class Bench:
    """A database, a cache and processes; `run` does one batch."""

    folder: Path
    db: Database
    compute: ProcessBackend
    cache: ArtifactStore
    engine: LookingEngine = field(default_factory=LookingEngine)
    stages: list[tuple[int, str, float, float]] = field(default_factory=list)
    errors: list[GsvrError] = field(default_factory=list)

    async def run(
        self,
        urls: list[str],
        batch_id: str = "ab12cd34",
        templates: tuple[str, ...] = ("summary_report",),
        **options: Any,
    ) -> dict[int, TaskStatus]:
        """Do a batch of addresses (made if needed); the states at its end."""
        queue = TaskQueue(self.db)
        chosen = BatchOptions(
            output_dir=str(self.folder / "out"), cache_dir=str(self.cache.root),
            formats=("json",), **options,
        )  # fmt: skip
        if not [row async for row in queue.iter_tasks(batch_id)]:
            row = BatchRow(batch_id, "urls", batch_id, BatchStatus.INITIALIZING, chosen, {})
            await queue.create_batch(row)
            await queue.add_tasks(batch_id, [self._task(url, t) for url in urls for t in templates])
            await queue.set_batch_status(batch_id, BatchStatus.RUNNING)
        runner = BatchTaskRunner(
            engine=self.engine, options=chosen, template_of=lambda name: load_template(name),
            queue=queue, journal=StepJournal(self.db), compute=self.compute, limiter=ApiLimiter(),
            cache=self.cache, on_stage=lambda *told: self.stages.append(told),
        )  # fmt: skip
        listener = Listener()
        with ProcessLock(self.db.path) as lock:
            pool = WorkerPool(
                queue=queue, batch_id=batch_id, runner=runner, listener=listener,
                process_id=lock.process_id, parallel=2, max_retries=0,
            )  # fmt: skip
            await pool.run()
        self.errors = listener.errors
        return {t.seq: t.status async for t in queue.iter_tasks(batch_id)}

    def _task(self, url: str, template: str) -> NewTask:
        address = parse_url(url)
        video = VideoInput(address.url, address.input_type, address.relative_path)
        return NewTask(video, template, task_key=f"{address.url} {template}")

    def reports(self) -> list[dict[str, Any]]:
        """All reports, in the order of their addresses."""
        found = [json.loads(p.read_text("utf-8")) for p in (self.folder / "out").rglob("*.json")]
        return sorted(found, key=lambda r: r["media"]["source"])

    def leftovers(self) -> list[str]:
        """Work folders that are still there."""
        return sorted(p.name for p in (self.cache.root / "work").glob("*"))


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    """A bench in `folder`, whose database and cache survive it."""
    db = await Database.open(folder / "tasks.db")
    compute = ProcessBackend(2)
    try:
        await compute.start()
        yield Bench(folder, db, compute, ArtifactStore(folder / "cache"))
    finally:
        await compute.close()
        await db.close()


async def _main(folder: Path, url: str, host: str) -> None:
    async with bench(folder) as made:
        await made.run([url], download={"allow_private_hosts": [host]})


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
