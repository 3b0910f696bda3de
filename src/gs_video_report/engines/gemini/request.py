"""Build what is sent to the model, and name it for the journal.

True here: the recording comes before the text; times are asked for as of the whole recording,
whatever stretch is sent; `Question.params` covers everything that changes an answer, and not the
file's address or the key: an answer that was paid for with one key is used with another. What the
file is called is no part of the question, unless a template of one's own asks for it.
Pure.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.gemini.client import RemoteFile
from gs_video_report.engines.gemini.options import GeminiOptions, audio_tokens
from gs_video_report.engines.gemini.segments import Window, video_schema
from gs_video_report.engines.llm.answer import Answer
from gs_video_report.engines.llm.prompts import MALFORMED, continuation
from gs_video_report.engines.llm.tokens import estimate_tokens
from gs_video_report.report.timefmt import clock_long
from gs_video_report.templates.loader import Template, render_prompt

STEP_VERSION = 1
SAFETY_MARGIN = 1.1
"""Estimates of input tokens are raised by this: a reserve must not be passed."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request about a stretch of the recording (or none: text only)."""

    text: str
    system: str
    schema: dict[str, Any]
    options: GeminiOptions
    max_output_tokens: int
    window: Window | None = None

    def contents(self, file: RemoteFile | None) -> list[dict[str, Any]]:
        """The SDK's `contents`; `file` is needed when there is a window."""
        parts: list[dict[str, Any]] = []
        if self.window is not None and file is not None:
            parts.append(_video_part(file, self.window, self.options))
        return [{"role": "user", "parts": [*parts, {"text": self.text}]}]

    def config(self) -> dict[str, Any]:
        """The SDK's `config`."""
        options = self.options
        config: dict[str, Any] = {
            "response_mime_type": "application/json",
            "response_json_schema": self.schema,
            "max_output_tokens": self.max_output_tokens,
        }
        if self.system:
            config["system_instruction"] = self.system
        if options.temperature is not None:
            config["temperature"] = options.temperature
        if options.media_resolution and self.window is not None:
            config["media_resolution"] = f"MEDIA_RESOLUTION_{options.media_resolution.upper()}"
        if options.thinking:
            config["thinking_config"] = {"thinking_level": options.thinking.upper()}
        return config

    @property
    def tokens_in(self) -> int:
        """Estimate of the input, high rather than low."""
        texts = (self.text, self.system, json.dumps(self.schema, ensure_ascii=False))
        words = sum(map(estimate_tokens, texts))
        seconds = 0.0 if self.window is None else self.window.length_s
        return round((words + self.options.media_tokens(seconds)) * SAFETY_MARGIN)

    @property
    def audio_in(self) -> int:
        """The part of `tokens_in` that is sound, which some models charge more for."""
        seconds = 0.0 if self.window is None else self.window.length_s
        return round(audio_tokens(seconds) * SAFETY_MARGIN)

    def params(self) -> dict[str, Any]:
        """The step's parameters in the journal."""
        window = self.window
        stretch = None if window is None else [window.start_s, window.end_s, window.whole]
        asked = [self.text, self.system, self.schema]
        text = json.dumps(asked, sort_keys=True, ensure_ascii=True)
        return {
            "v": STEP_VERSION,
            **self.options.result_params(),
            "max_output_tokens": self.max_output_tokens,
            "window": stretch,
            "prompt": hashlib.sha256(text.encode()).hexdigest(),
        }


def _video_part(file: RemoteFile, window: Window, options: GeminiOptions) -> dict[str, Any]:
    data = {"file_uri": file.uri}
    if file.mime_type:
        data["mime_type"] = file.mime_type
    metadata: dict[str, Any] = {}
    if not window.whole:
        metadata = {"start_offset": _offset(window.start_s), "end_offset": _offset(window.end_s)}
    if options.fps is not None:
        metadata["fps"] = options.fps
    part: dict[str, Any] = {"file_data": data}
    return part | ({"video_metadata": metadata} if metadata else {})


def _offset(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


@dataclass(frozen=True, slots=True)
class Asker:
    """Makes the questions of one task."""

    ctx: TaskContext
    template: Template
    options: GeminiOptions
    title: str
    """Of the content; empty when there is none."""
    duration_s: float
    answer_limit: int
    """Longest answer of the model, tokens."""

    def about(
        self, window: Window, *, done: Answer | None = None, again: bool = False, expected: int
    ) -> Question:
        """A question about `window`.

        Args:
            done: what a cut answer had given already.
            again: the last answer could not be read.
            expected: tokens the answer may need.
        """
        parts = [self._prompt(window)]
        if not window.whole:
            parts.append(_stretch(window))
        if done is not None and not done.is_empty:
            parts.append(continuation(done))
        if again:
            parts.append(MALFORMED)
        return self._question("\n\n".join(parts), self.template.system_prompt, expected, window)

    def text_only(self, text: str, system: str, schema: dict[str, Any], expected: int) -> Question:
        """A question without the recording."""
        limit = self._limit(expected)
        return Question(text, system, schema, self.options, limit)

    def _question(self, text: str, system: str, expected: int, window: Window) -> Question:
        schema = video_schema(self.template)
        return Question(text, system, schema, self.options, self._limit(expected), window)

    def _limit(self, expected: int) -> int:
        """Twice what is expected: an answer that runs wild is stopped, and its cost is known."""
        wanted = self.options.max_output_tokens or max(8_192, 2 * expected)
        return min(wanted, self.answer_limit)

    def _prompt(self, window: Window) -> str:
        media, language = self.ctx.media, str(self.ctx.options.get("language", "auto"))
        return render_prompt(
            self.template,
            {
                "title": self.title,
                "file_name": media.display_name.rpartition("/")[2],
                "duration": clock_long(self.duration_s) if self.duration_s > 0 else "",
                "language": "" if language == "auto" else language,
                "mode": "video",
                "part": window.number,
                "parts": window.of,
                "part_start": clock_long(window.start_s),
                "part_end": clock_long(window.end_s),
                "metadata": dict(media.metadata),
            },
        )


def _stretch(window: Window) -> str:
    return (
        f"You are given only the stretch from {clock_long(window.start_s)} to "
        f"{clock_long(window.end_s)} of the recording. Write about this stretch only. "
        "All times count from the start of the whole recording: its first moment is "
        f"{clock_long(window.start_s)}, not 0:00:00."
    )
