"""What every stage on this machine needs to make a step: its version, its key, its call.

Never: knows what a step does.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from gs_video_report.engines.base import TaskContext

STEP_VERSIONS = {
    "probe": 1,
    "audio": 1,
    "vad": 2,
    "language": 1,
    "transcribe": 1,
    "relisten": 1,
    "subtitles": 1,
    "slides": 2,
    "read": 1,
}
"""Raised when a step's result changes meaning, so that old journal entries are not used."""


async def compute(ctx: TaskContext, fn: Any, *args: Any, stage: str = "") -> Any:
    """Run `fn` out of process under the task's limits, reporting progress as `stage`."""
    return await ctx.compute.run(
        fn,
        *args,
        timeout_s=ctx.step_timeout_s,
        stall_timeout_s=ctx.stall_timeout_s,
        priority=ctx.priority,
        on_progress=(lambda done, total: ctx.progress(stage, done, total)) if stage else None,
    )


def digest(value: Any) -> str:
    """Short SHA-256 of the canonical JSON of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def width(ctx: TaskContext) -> int:
    """Calls of one task in flight: enough to keep every process busy, few enough to stop soon."""
    return max(2, ctx.compute.statistics().processes + 1)
