"""The stage `compose` without a language model: chapters, summary and key terms are quotations."""

from __future__ import annotations

from typing import Any

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.hearing.transcript import Transcript
from gs_video_report.engines.steps import compute
from gs_video_report.report.model import Chapter, KeyTerm, Slide, SummaryPoint


async def compose(
    ctx: TaskContext, found: dict[str, Any], spoken: Transcript, slides: tuple[Slide, ...]
) -> dict[str, Any]:
    """Chapters, summary and key terms, extracted from what was said and shown.

    Returns: keyword arguments for `VideoReport`.
    """
    payload = {
        "segments": [(s.start_s, s.end_s, s.text) for s in spoken.segments],
        "slides": [(s.t_s, s.end_s, s.title, s.text, s.kind) for s in slides],
        "language": spoken.language,
        "duration_s": float(found["duration_s"]),
        "chapters": found["chapters"],
    }
    value = await compute(ctx, jobs.compose, payload, stage="compose")
    return {
        "chapters": tuple(Chapter(**c) for c in value["chapters"]),
        "summary": tuple(SummaryPoint(**p) for p in value["summary"]),
        "key_terms": tuple(KeyTerm(**k) for k in value["key_terms"]),
    }
