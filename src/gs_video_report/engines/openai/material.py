"""What a chat model is given of a recording, and what it made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gs_video_report.engines.llm.answer import Answer
from gs_video_report.report.model import Segment, Slide


@dataclass(frozen=True, slots=True)
class Material:
    """What is known of the recording before a model sees it."""

    title: str
    file_name: str
    duration_s: float
    language: str
    segments: tuple[Segment, ...]
    slides: tuple[Slide, ...]
    chapters: tuple[tuple[float, float, str], ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Nothing was said and nothing can be read."""
        return not self.segments and not any(slide.text for slide in self.slides)


@dataclass(slots=True)
class Written:
    """What the model made of it."""

    answer: Answer = field(default_factory=Answer)
    translations: dict[int, str] = field(default_factory=dict)
    """Place in the transcript, from 1, -> translation."""
    pictures: int = 0
    """Sent."""
    parts: int = 0
    used: tuple[str, ...] = ()
    """Lists of the answer that stand in the report; what cannot be used is left out."""
