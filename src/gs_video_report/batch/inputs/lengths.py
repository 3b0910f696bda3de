"""How long inputs are, before anything was done with them: measured, else guessed by size.

The first files are really opened and the sites of the first addresses asked, in killable processes
and for a few seconds at most; what was learned gives the bytes per second of the others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from gs_video_report.batch.data_models import BatchOptions, InputProblem, InputType, VideoInput
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines import jobs
from gs_video_report.engines.fetch_jobs import locate
from gs_video_report.errors import GsvrError

PROBE_FILES = 100
"""Files opened to learn their length."""
PROBE_BUDGET_S = 6.0
"""Seconds that opening files may take in all."""
PROBE_TIMEOUT_S = 3.0
FALLBACK_BYTES_PER_S = 60_000.0
"""Bytes per recording second when nothing could be learned: about 0.5 Mbit/s, a screencast."""
MIN_SAMPLES = 3
"""Lengths of a kind that must be known before its others are guessed from them."""
_PASSING = frozenset({"E_TIMEOUT", "E_STALLED", "E_STOPPED", "E_DOWNLOAD"})
"""Errors that say nothing about the video itself."""

Found = VideoInput | InputProblem


@dataclass(slots=True)
class Lengths:
    """Recording seconds by file: measured, known from the database, or by size."""

    measured: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Source -> why it would fail."""
    titles: dict[str, str] = field(default_factory=dict)
    """Address -> what its site calls the video."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Address -> bytes, as its server says."""
    asked_sites: bool = False
    _bytes: dict[str, float] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)
    _count: dict[str, int] = field(default_factory=dict)

    def learn(self, video: VideoInput, duration_s: float) -> None:
        """One file's real length."""
        self.measured[video.source] = duration_s
        if duration_s > 0 and video.size_bytes:
            for kind in (_extension(video), ""):
                self._bytes[kind] = self._bytes.get(kind, 0.0) + video.size_bytes
                self._seconds[kind] = self._seconds.get(kind, 0.0) + duration_s
                self._count[kind] = self._count.get(kind, 0) + 1

    def of(self, video: VideoInput) -> tuple[float | None, bool]:
        """(seconds, measured?); None when not even the size is known."""
        if video.source in self.measured:
            return self.measured[video.source], True
        size = self.size(video)
        if not size:
            return None, False
        kind = _extension(video)
        if self._count.get(kind, 0) < MIN_SAMPLES:
            kind = ""
        rate = FALLBACK_BYTES_PER_S
        if self._count.get(kind, 0) >= MIN_SAMPLES:
            rate = self._bytes[kind] / self._seconds[kind]
        return size / rate, False

    def size(self, video: VideoInput) -> int | None:
        """Bytes; None when unknown."""
        return self.sizes.get(video.source, video.size_bytes)


def _extension(video: VideoInput) -> str:
    return PurePath(video.source).suffix.lower()


def first_of(found: Iterator[Found]) -> list[Found]:
    """The inputs up to the last one whose length is looked up; takes them from `found`."""
    head: list[Found] = []
    videos = 0
    for item in found:
        head.append(item)
        videos += isinstance(item, VideoInput)
        if videos >= PROBE_FILES:
            break
    return head


async def measure(
    head: list[Found],
    compute: ComputeBackend,
    options: BatchOptions,
    accepts: frozenset[str],
) -> Lengths:
    """Open the first files, and ask the sites of the first addresses, within the budget.

    Args:
        accepts: input types that the engine takes as they are.
    """
    lengths = Lengths()
    deadline = time.monotonic() + PROBE_BUDGET_S

    async def one(video: VideoInput) -> None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return
        try:
            if video.input_type == InputType.FILE:
                found = await compute.run(jobs.probe, video.source, timeout_s=PROBE_TIMEOUT_S)
                lengths.learn(video, float(found["duration_s"]))
            else:
                lengths.asked_sites = True
                args = (video.source, dict(options.download))
                _note(lengths, video, await compute.run(locate, *args, timeout_s=left_s))
        except GsvrError as error:
            unknown = error.code in _PASSING or str(video.input_type) in handed_over
            if not unknown:
                lengths.refused[video.source] = error.message.rsplit(": ", 1)[-1]

    handed_over = accepts - {str(InputType.FILE)}
    wanted = [
        v
        for v in head
        if isinstance(v, VideoInput) and (v.input_type != InputType.FILE or v.size_bytes)
    ]
    if not wanted:
        return lengths
    await compute.start()
    try:
        async with asyncio.timeout(PROBE_BUDGET_S + PROBE_TIMEOUT_S):
            await asyncio.gather(*(one(v) for v in wanted))
    except TimeoutError:
        pass
    finally:
        await compute.close(0.2)
    return lengths


def _note(lengths: Lengths, video: VideoInput, found: dict[str, Any]) -> None:
    """What a site says about the video at an address."""
    if found["duration_s"]:
        lengths.learn(video, float(found["duration_s"]))
    if found["title"]:
        lengths.titles[video.source] = str(found["title"])
    if found["size_bytes"] is not None:
        lengths.sizes[video.source] = int(found["size_bytes"])
