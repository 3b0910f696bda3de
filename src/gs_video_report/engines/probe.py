"""The stage `probe`: what a recording holds, and what a reader should know of it."""

from __future__ import annotations

from typing import Any

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.steps import STEP_VERSIONS, compute
from gs_video_report.report.model import Notice


async def probe(ctx: TaskContext) -> dict[str, Any]:
    """Container, streams, length. Raises what `media.probe` raises."""
    ctx.progress("probe", 0, 1)
    found: dict[str, Any] = await ctx.step(
        "probe",
        lambda: compute(ctx, jobs.probe, ctx.media.source),
        params={"v": STEP_VERSIONS["probe"]},
    )
    if ctx.report_media is not None:
        await ctx.report_media(ctx.fingerprint, float(found["duration_s"]))
    ctx.progress("probe", 1, 1)
    return found


def probe_notices(found: dict[str, Any]) -> list[Notice]:
    """What the container tells that a reader should know."""
    notices = []
    if not found["audio"]:
        notices.append(
            Notice(
                "no_audio",
                "The recording has no audio track, so there is no transcript.",
                "warning",
            )
        )
    if found["video"] is None:
        notices.append(Notice("no_video", "The recording has no pictures, so there are no slides."))
    if len(found["audio"]) > 1:
        notices.append(
            Notice(
                "several_audio_tracks",
                f"The recording has {len(found['audio'])} audio tracks; "
                "the transcript is of the default one.",
            )
        )
    return notices
