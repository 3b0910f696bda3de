"""The stages `slides` and `read`: key frames of a recording, with their text.

Truth: the journal's steps; the pictures themselves are in the cache.
Raises: PermanentError, and only when there is no sound that could be reported instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.bounded import bounded
from gs_video_report.engines.steps import STEP_VERSIONS, compute, width
from gs_video_report.errors import PermanentError
from gs_video_report.report.model import Notice, Slide


async def slides_of(
    ctx: TaskContext, found: dict[str, Any], language: str
) -> tuple[tuple[Slide, ...], list[Notice]]:
    """Key frames with their text. No video, or slides switched off: nothing."""
    if found["video"] is None or not ctx.options.get("slides", True):
        return (), []
    try:
        pictures = await _find(ctx)
    except PermanentError as error:
        if not found["audio"]:
            raise
        message = f"The pictures could not be decoded ({error.message}), so there are no slides."
        return (), [Notice("damaged_video", message, "warning")]
    notices = [Notice("damaged_video", str(p), "warning") for p in pictures["problems"]]
    texts = await read(ctx, pictures["slides"], language)
    made = tuple(
        Slide(
            t_s=s["t_s"],
            end_s=s["end_s"],
            image="",
            width=s["width"],
            height=s["height"],
            text=text["text"],
            title=text["title"],
            kind=s["kind"],
            image_sha256=s["key"],
            unread_lines=text.get("unread_lines"),
        )
        for s, text in zip(pictures["slides"], texts, strict=True)
    )
    return made, notices


async def _find(ctx: TaskContext) -> dict[str, Any]:
    ctx.progress("slides", 0, 0)
    out = ctx.work_dir / "slides"

    async def run() -> Any:
        out.mkdir(parents=True, exist_ok=True)
        return await compute(
            ctx, jobs.find_slides, ctx.media.source, str(out), str(ctx.cache.root), stage="slides"
        )

    pictures: dict[str, Any] = await ctx.step(
        "slides",
        run,
        params={"v": STEP_VERSIONS["slides"]},
        artifacts=lambda value: [s["key"] for s in value["slides"]],
    )
    ctx.progress("slides", 1, 1)
    return pictures


async def read(
    ctx: TaskContext, pictures: Sequence[dict[str, Any]], language: str
) -> list[dict[str, Any]]:
    """OCR of each slide image; empty texts when OCR is switched off."""
    if not ctx.options.get("ocr", True):
        return [{"text": "", "title": ""} for _ in pictures]
    done = 0

    async def one(slide: dict[str, Any]) -> dict[str, Any]:
        nonlocal done

        async def run() -> Any:
            return await compute(ctx, jobs.read_slide, str(ctx.cache.path(slide["key"])), language)

        params = {"v": STEP_VERSIONS["read"], "image": slide["key"], "language": language}
        text: dict[str, Any] = await ctx.step("read", run, params=params)
        done += 1
        ctx.progress("read", done, len(pictures))
        return text

    ctx.progress("read", 0, len(pictures))
    return await bounded((one(slide) for slide in pictures), limit=width(ctx))
