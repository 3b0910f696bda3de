"""Options of the `gemini` engine, checked once, and what follows from them by arithmetic.

Truth: `BatchOptions.engine_options`, in the words of the option table or of this module.
True here: tokens of a second of video are those of the provider's page on video understanding
(pictures per second times tokens per picture, and 32 for the sound); estimates are never low.
Pure. Never: holds a key.
Raises: ConfigError.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from gs_video_report.errors import ConfigError

DEFAULT_MODEL = "gemini-3.8-flash"
DEFAULT_SEGMENT_S = 1200.0
"""Twenty minutes of speech stay far below the longest answer, and times stay exact."""
MIN_SEGMENT_S = 30.0
AUDIO_TOKENS_PER_S = 32.0
DEFAULT_FPS = 1.0
TOKENS_PER_PICTURE = {"low": 70, "medium": 70, "high": 280, "": 70}
"""Gemini 3 and later."""
TOKENS_PER_PICTURE_2 = {"low": 66, "medium": 258, "high": 258, "": 258}
"""Models before Gemini 3."""
DEFAULT_CONTEXT_TOKENS = 1_048_576
DEFAULT_ANSWER_TOKENS = 65_536
PROMPT_TOKENS = 2_500
"""Instructions and schema of one request, for estimates before the prompt is known."""
RESOLUTIONS = ("low", "medium", "high")
THINKING = ("minimal", "low", "medium", "high", "xhigh")
_WORDS = {"max_tokens": "max_output_tokens", "timeout": "timeout_s", "thinking_level": "thinking"}
"""The option table's words for fields of `GeminiOptions`."""
_ELSEWHERE = frozenset({"rpm", "tpm", "rpd", "tpd", "max_in_flight"})
"""Quotas: the limiter is configured with them, not the engine."""


@dataclass(frozen=True, slots=True)
class GeminiOptions:
    """See `parse_options`; None means "as the service does by itself"."""

    model: str = DEFAULT_MODEL
    fps: float | None = None
    """Pictures per second, above 0 and at most 24."""
    media_resolution: str = ""
    """low, medium, high, or empty."""
    temperature: float | None = None
    max_output_tokens: int | None = None
    segment_s: float = DEFAULT_SEGMENT_S
    """Longest part of a recording that one request is about, seconds."""
    thinking: str = ""
    base_url: str = ""
    timeout_s: float = 600.0
    """Longest time for one answer."""
    keep_uploads: bool = False
    """Leave the uploaded file to the service's own expiry (48 h)."""
    batch: bool = False
    """Use the half-price lane."""
    price_in: float | None = None
    price_out: float | None = None

    @property
    def tokens_per_s(self) -> float:
        """Input tokens of one second of recording."""
        old = any(f"gemini-{v}" in self.model for v in ("1.", "2."))
        table = TOKENS_PER_PICTURE_2 if old else TOKENS_PER_PICTURE
        fps = DEFAULT_FPS if self.fps is None else self.fps
        return fps * table[self.media_resolution] + AUDIO_TOKENS_PER_S

    def media_tokens(self, seconds: float) -> int:
        """Input tokens of so many seconds of recording, rounded up."""
        return math.ceil(max(0.0, seconds) * self.tokens_per_s)

    def result_params(self) -> dict[str, Any]:
        """What changes an answer: part of every step's key."""
        names = ("model", "fps", "media_resolution", "temperature", "max_output_tokens", "thinking")
        return {name: getattr(self, name) for name in names}


def audio_tokens(seconds: float) -> int:
    """Input tokens of so many seconds of sound, rounded up; a part of `media_tokens`."""
    return math.ceil(max(0.0, seconds) * AUDIO_TOKENS_PER_S)


def key_id(key: str) -> str:
    """A name for a key that does not give it away: eight digits of a salted SHA-256."""
    return hashlib.sha256(b"gsvr key id:" + key.encode()).hexdigest()[:8]


def bucket_name(model: str, key: str) -> str:
    """The limiter's bucket for a model and the id of a key."""
    return f"gemini/{model}/{key}"


def parse_options(given: Mapping[str, Any]) -> GeminiOptions:
    """Check `given`; unknown words are refused. None as a value means "not given".

    Raises: ConfigError, naming the option.
    """
    known = {f.name for f in fields(GeminiOptions)}
    values: dict[str, Any] = {}
    for word, value in given.items():
        name = _WORDS.get(word, word)
        if name in _ELSEWHERE or value is None:
            continue
        if name not in known:
            raise ConfigError(
                f"gemini.{word} is not an option of the gemini engine",
                hint=f"its options: {', '.join(sorted(known))}",
            )
        values[name] = value
    return GeminiOptions(**{name: _checked(name, value) for name, value in values.items()})


def _checked(name: str, value: Any) -> Any:
    bounds = _BOUNDS.get(name)
    if bounds is not None:
        return _number(name, value, *bounds)
    if name in ("keep_uploads", "batch"):
        if not isinstance(value, bool):
            raise _refuse(name, value, "true or false")
        return value
    text = str(value).strip()
    if name == "model":
        text = text.removeprefix("models/")
        return text or DEFAULT_MODEL
    choices = {"media_resolution": RESOLUTIONS, "thinking": THINKING}.get(name)
    if choices is not None and text and text.lower() not in choices:
        raise _refuse(name, value, " | ".join(choices))
    return text.rstrip("/") if choices is None else text.lower()


_BOUNDS: dict[str, tuple[type, float, float]] = {
    "fps": (float, 0.01, 24.0),
    "temperature": (float, 0.0, 2.0),
    "max_output_tokens": (int, 1, 10_000_000),
    "segment_s": (float, MIN_SEGMENT_S, 86_400.0),
    "timeout_s": (float, 0.05, 86_400.0),
    "price_in": (float, 0.0, 1e5),
    "price_out": (float, 0.0, 1e5),
}


def _number(name: str, value: Any, kind: type, low: float, high: float) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise _refuse(name, value, f"a number from {low:g} to {high:g}")
    return number


def _refuse(name: str, value: Any, wanted: str) -> ConfigError:
    return ConfigError(f"gemini.{name}: {value!r} is not {wanted}")
