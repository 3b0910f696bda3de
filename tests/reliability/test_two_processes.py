"""Two programs on one database, and chunks of one recording that want the same lost samples."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gs_video_report.compute.process_pool import ProcessBackend
from gs_video_report.engines import jobs
from gs_video_report.engines.hearing import sound
from tests.reliability import oracle
from tests.reliability.scene import Scene
from tests.support.media_speech import tone_file


def test_the_same_command_twice_at_once_shares_the_work_and_both_end_well(
    scene: Scene, reference: Scene
) -> None:
    """Also where both begin at once (trial file, database) and end at once (library page)."""
    both = [scene.start(), scene.start()]
    assert [process.wait(120) for process in both] == [3, 3], scene.said()
    assert oracle.check(scene, reference) == []


async def test_lost_samples_that_several_chunks_want_are_decoded_once_and_whole(
    tmp_path: Path,
) -> None:
    """Two decoders writing one file would leave holes, which recognition hears as silence."""
    recording = tone_file(tmp_path / "talk.mp4", 4)
    calls: list[str] = []
    async with ProcessBackend(2) as backend:

        async def run(fn: Callable[..., Any], *args: Any, **more: Any) -> Any:
            calls.append(fn.__name__)
            return await backend.run(fn, *args, **more)

        context: Any = SimpleNamespace(
            work_dir=tmp_path / "work",
            media=SimpleNamespace(source=str(recording)),
            compute=SimpleNamespace(run=run),
            progress=lambda *_: None,
            step_timeout_s=60.0,
            stall_timeout_s=60.0,
            priority=1,
        )
        track = await sound._extract(context)
        pcm = sound.pcm_path(context, track["track_index"])
        whole = pcm.read_bytes()
        pcm.unlink()
        calls.clear()
        paths = await asyncio.gather(*[sound.samples(context, track, pcm) for _ in range(6)])
    assert set(paths) == {str(pcm)}
    assert calls == [jobs.extract_audio.__name__]
    assert pcm.read_bytes() == whole
