"""The recording of one attempt: fetched if it must be, and identified by its content.

Truth: a file is its SHA-256, which is remembered by path, size and modification time; what the
engine takes as an address is its address. A finished download is a journaled step.
Never: looks into the recording; the engine does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gs_video_report.batch.attempt.calls import GatedCompute, MeteredCompute
from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.steps import JournaledSteps
from gs_video_report.batch.data_models import BatchOptions, InputType, VideoInput, VideoTask
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines import jobs
from gs_video_report.engines.base import MediaSource
from gs_video_report.engines.fetch import (
    FetchContext,
    Fetched,
    fetch_media,
    recall_media,
    url_fingerprint,
    youtube_id,
)
from gs_video_report.errors import EmptyFileError, ReportDamaged, from_os_error


@dataclass(slots=True)
class AttemptSource:
    """See the module's header."""

    task: VideoTask
    control: TaskControl
    options: BatchOptions
    queue: TaskQueue
    journal: StepJournal
    cache: ArtifactStore
    fetched: Fetched | None = None
    """The local file of an address; None for files, and for what the engine takes as it is."""

    @property
    def view(self) -> str:
        """Work folder through which a fetched file is read."""
        return f"view-{self.task.batch_id}-{self.task.seq}"

    async def fetch(
        self, compute: ComputeBackend, progress: Callable[[str, float, float], None]
    ) -> Fetched:
        """Bring the recording here. Time on the line does not count as work of the task."""
        await compute.start()
        self.control.waiting(time.monotonic(), True)
        try:
            self.fetched = await fetch_media(self._fetch_context(compute, progress))
        finally:
            self.control.waiting(time.monotonic(), False)
        return self.fetched

    async def recall(
        self, compute: ComputeBackend, progress: Callable[[str, float, float], None]
    ) -> Fetched:
        """What the report was made from, as the journal tells; its files may be gone.

        Raises: ReportDamaged when the journal does not know it, or another recording is there.
        """
        steps = self._steps()
        found = await recall_media(self._fetch_context(compute, progress), steps.known)
        if found is None:
            raise ReportDamaged(
                "what was downloaded for this report is not in the journal any more"
            )
        if self.task.result is None or found.fingerprint != self.task.result.fingerprint:
            raise ReportDamaged(
                "the address has given another recording since this report was made"
            )
        self.fetched = found
        return found

    def _steps(self) -> JournaledSteps:
        of_address = url_fingerprint(self.task.video.source)
        return JournaledSteps(self.journal, self.task, self.control, self.cache, of_address)

    def _fetch_context(
        self, compute: ComputeBackend, progress: Callable[[str, float, float], None]
    ) -> FetchContext:
        task, url = self.task, self.task.video.source
        return FetchContext(
            url=url,
            youtube=task.video.input_type == InputType.YOUTUBE,
            scope=task.batch_id,
            view=self.view,
            options=asdict(self.options),
            step=self._steps(),
            compute=GatedCompute(compute, self.control, urlsplit(url).hostname or ""),
            cache=self.cache,
            progress=progress,
            priority=task.task_id,
            stall_timeout_s=self.options.stall_timeout_s,
        )

    async def identify(self, compute: MeteredCompute) -> str:
        """The fingerprint under which steps are journaled. Raises: EmptyFileError, file errors."""
        video = self.task.video
        if self.fetched is not None:
            return self.fetched.fingerprint
        if video.input_type == InputType.YOUTUBE:
            youtube_id(video.source)
        if video.input_type != InputType.FILE:
            return url_fingerprint(video.source)
        return await self._file_fingerprint(compute)

    async def _file_fingerprint(self, compute: MeteredCompute) -> str:
        video = self.task.video
        try:
            stat = await asyncio.to_thread(Path(video.source).stat)
        except OSError as error:
            raise from_os_error(error, video.source) from error
        if stat.st_size == 0:
            raise EmptyFileError(f"{video.known_as}: the file is empty")
        known = await self.queue.remembered_fingerprint(
            video.source, stat.st_size, stat.st_mtime_ns
        )
        if known is not None:
            return known
        made: str = await compute.run(
            jobs.fingerprint,
            video.source,
            timeout_s=self.options.timeout_s,
            stall_timeout_s=self.options.stall_timeout_s,
            priority=self.task.task_id,
        )
        await self.queue.remember_fingerprint(video.source, stat.st_size, stat.st_mtime_ns, made)
        return made

    def media(self) -> MediaSource:
        """What the engine is given to read."""
        video, fetched = self.task.video, self.fetched
        if fetched is None:
            return MediaSource(
                source=video.source,
                input_type=str(video.input_type),
                display_name=_name_in_report(video),
                metadata=video.metadata,
            )
        return MediaSource(
            source=fetched.path,
            input_type=str(InputType.FILE),
            display_name=fetched.name,
            metadata={**fetched.metadata, **video.metadata},
        )


def _name_in_report(video: VideoInput) -> str:
    """As people know it, but for folders of this machine that are no part of the input."""
    known = video.known_as
    return known.rpartition("/")[2] if known == video.source else known
