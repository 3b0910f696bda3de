"""What was said in a recording, as the stages hand it on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gs_video_report.report.model import Notice, Segment


@dataclass(slots=True)
class Transcript:
    """What was said, and where the words come from."""

    segments: tuple[Segment, ...] = ()
    language: str = ""
    probability: float | None = None
    source: str = "none"
    """`speech`, `sidecar:<name>`, `embedded:<n>`, `none`."""
    model: str = ""
    notices: list[Notice] = field(default_factory=list)
    speech: tuple[tuple[float, float], ...] | None = None
    """See `VideoReport.speech`."""
    heard_again: tuple[dict[str, Any], ...] = ()
    """Stretches that were heard a second time; see `second_hearing.told`."""
