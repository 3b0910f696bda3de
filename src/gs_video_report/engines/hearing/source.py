"""Where the words of a recording come from: its subtitles, or its sound, still to be heard.

The same for every engine that makes a transcript.
"""

from __future__ import annotations

from typing import Any

from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.hearing.sound import audio
from gs_video_report.engines.hearing.subtitles import from_subtitles
from gs_video_report.engines.hearing.transcript import Transcript
from gs_video_report.errors import PermanentError
from gs_video_report.report.model import Notice


async def words_or_sound(ctx: TaskContext, found: dict[str, Any]) -> Transcript | dict[str, Any]:
    """The transcript, where nothing is to be heard: existing subtitles if wanted and there, empty
    without sound. Else the facts about the sound, as `audio` gives them.

    Args:
        found: what the stage `probe` found.

    Raises: PermanentError when the sound cannot be decoded and there are no pictures either.
    """
    if ctx.options.get("subtitles", "prefer") == "prefer":
        known = await from_subtitles(ctx, found)
        if known is not None:
            return known
    if not found["audio"]:
        return Transcript()
    try:
        return await audio(ctx)
    except PermanentError as error:
        if found["video"] is None:
            raise
        message = f"The sound could not be decoded ({error.message}), so there is no transcript."
        return Transcript(notices=[Notice("damaged_audio", message, "warning")])
