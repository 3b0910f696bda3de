"""The stage `audio`: the sound of a recording as samples, and what is wrong with it.

Truth: the facts are journaled; the samples are a file in the work folder that can be made again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.steps import STEP_VERSIONS, compute
from gs_video_report.report.model import Notice

SAMPLE_RATE = 16_000
"""Samples per second of the decoded audio."""


async def audio(ctx: TaskContext) -> dict[str, Any]:
    """Facts about the decoded audio; the samples are made when a later step needs them."""
    ctx.progress("audio", 0, 0)
    facts: dict[str, Any] = await ctx.step(
        "audio", lambda: _extract(ctx), params={"v": STEP_VERSIONS["audio"]}
    )
    ctx.progress("audio", 1, 1)
    return facts


async def _extract(ctx: TaskContext) -> dict[str, Any]:
    await asyncio.to_thread(ctx.work_dir.mkdir, parents=True, exist_ok=True)
    target = ctx.work_dir / "audio.tmp.pcm"
    facts: dict[str, Any] = await compute(
        ctx, jobs.extract_audio, ctx.media.source, str(target), None, stage="audio"
    )
    target.replace(pcm_path(ctx, facts["track_index"]))
    return facts


def pcm_path(ctx: TaskContext, track: int) -> Path:
    """Where the samples of a track are: 16 bits, one channel, `SAMPLE_RATE` a second."""
    return ctx.work_dir / f"audio-{track}.pcm"


_decoding: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
"""Samples that several chunks want at once are decoded by the first; two would write one file."""


async def samples(ctx: TaskContext, track: dict[str, Any], pcm: Path) -> str:
    """Path of the samples, decoded again if the cache lost them."""
    lock = _decoding.setdefault(pcm, asyncio.Lock())
    async with lock:
        try:
            size = (await asyncio.to_thread(pcm.stat)).st_size
        except FileNotFoundError:
            size = -1
        if size != track["samples"] * 2:
            await _extract(ctx)
    return str(pcm)


def audio_notices(track: dict[str, Any], found: dict[str, Any]) -> list[Notice]:
    """Damage and truncation, told with numbers."""
    notices = []
    if track["truncated"]:
        notices.append(
            Notice(
                "truncated",
                f"The recording is cut short: {track['decoded_s']:.0f} of "
                f"{track['declared_s']:.0f} seconds of sound are there.",
                "warning",
                start_s=round(float(track["decoded_s"]), 3),
                end_s=round(float(track["declared_s"]), 3),
            )
        )
    missing = sum(end - start for start, end in track["gaps"])
    if track["bad_packets"] or missing > 0.5:
        notices.append(
            Notice(
                "damaged_audio",
                f"The sound is damaged: {track['bad_packets']} packets could not be decoded, "
                f"{missing:.1f} seconds are missing and were taken as silence.",
                "warning",
                start_s=track["gaps"][0][0] if track["gaps"] else None,
                end_s=track["gaps"][-1][1] if track["gaps"] else None,
            )
        )
    return notices
