"""Words of a recording that need no listening: a subtitle file beside it, or a track inside it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.hearing.transcript import Transcript
from gs_video_report.engines.steps import STEP_VERSIONS, compute
from gs_video_report.errors import PermanentError
from gs_video_report.report.model import Notice, Segment


async def from_subtitles(ctx: TaskContext, found: dict[str, Any]) -> Transcript | None:
    """The transcript of the subtitles that fit best; None without any that can be used."""
    from gs_video_report.media.subtitles import read as subtitles

    wanted = str(ctx.options.get("language", "auto"))
    sidecars = await asyncio.to_thread(subtitles.find_sidecars, ctx.media.path)
    choice = subtitles.choose(sidecars, found["subtitles"], "" if wanted == "auto" else wanted)
    if choice is None:
        return None
    if choice.kind == "sidecar":
        digest = hashlib.sha256(await asyncio.to_thread(Path(choice.path).read_bytes)).hexdigest()
    else:
        digest = f"stream {choice.index}"
    path = choice.path if choice.kind == "sidecar" else ctx.media.source
    try:
        parsed = await ctx.step(
            "subtitles",
            lambda: compute(ctx, jobs.read_subtitles, str(path), choice.kind, choice.index),
            params={"v": STEP_VERSIONS["subtitles"], "kind": choice.kind, "sha256": digest},
        )
    except PermanentError:
        return None  # an unusable subtitle file is no reason to lose the speech
    if not parsed["cues"]:
        return None
    return _subtitle_transcript(choice, parsed)


def _subtitle_transcript(choice: Any, parsed: dict[str, Any]) -> Transcript:
    from gs_video_report.text.language import guess_language

    segments = tuple(
        Segment(c["start_s"], c["end_s"], c["text"], c.get("speaker")) for c in parsed["cues"]
    )
    language = choice.language or guess_language(" ".join(s.text for s in segments[:200]))
    if choice.kind == "sidecar":
        name = Path(choice.path).name
        source, words = f"sidecar:{name}", f"the subtitle file {name}"
    else:
        source, words = f"embedded:{choice.index}", "the subtitles inside the recording"
    notice = Notice(
        "subtitles_used", f"The transcript is taken from {words}, not from speech recognition."
    )
    return Transcript(segments, language, None, source, "", [notice])
