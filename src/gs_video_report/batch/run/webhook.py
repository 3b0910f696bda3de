"""The news of a run's end for `--webhook`: what it says, and who is asked to send it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from typing import Any

from gs_video_report.batch.data_models import BatchResult
from gs_video_report.errors import GsvrError


def message_of(result: BatchResult, name: str, error: GsvrError | None) -> dict[str, Any]:
    """What is sent. Pure.

    Args:
        name: of the batch, as people know it.
        error: why the run ended early, or what went wrong at its end.
    """
    return {
        "v": 1,
        "type": f"batch.{result.status}",
        "batch": result.batch_id,
        "name": name,
        "exit_code": result.exit_code,
        "counts": asdict(result.counts),
        "elapsed_s": round(result.elapsed_s, 1),
        "resume_at": result.resume_at,
        "error": None
        if error is None
        else {"code": error.code, "message": error.message, "hint": error.hint},
    }


def call_webhook(url: str, message: dict[str, Any]) -> None:
    """Hand the news to a sender that outlives us; it cannot delay or fail the batch."""
    from gs_video_report.webhook import send_in_background

    with contextlib.suppress(OSError):
        send_in_background(url, message, os.environ.get("GSVR_WEBHOOK_SECRET", ""))
