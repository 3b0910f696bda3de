"""How many tokens a text or a picture will take, without any tokenizer.

True here: estimates lean to the high side, since a context overrun costs a call and a reserve
that is too large costs nothing once it is settled with real usage.
Figures: common byte-pair vocabularies need about one token per four Latin letters, one per
Chinese character or kana, and up to one per two characters of other scripts.
Pure.
"""

from __future__ import annotations

import math

LATIN_CHARS_PER_TOKEN = 3.5
OTHER_CHARS_PER_TOKEN = 2.0
TOKENS_PER_WIDE_CHAR = 1.1
TOKENS_PER_MESSAGE = 8
"""Role and separators around one message."""
TOKENS_PER_IMAGE = 1200
"""A 720p key frame; servers differ from 85 (thumbnail) to 1,600."""
TOKENS_PER_SPOKEN_SECOND = 4.5
"""Transcript with its times, for estimates before anything was heard."""
TOKENS_PER_SLIDE_TEXT = 90
SLIDES_PER_HOUR = 40.0

_LATIN_END = 0x250
_WIDE = ((0x2E80, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0xFF00, 0xFFEF), (0x20000, 0x3FFFF))


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, rounded up; 0 for empty text.

    >>> estimate_tokens("hello world")
    4
    """
    latin = wide = other = 0
    for char in text:
        code = ord(char)
        if code < _LATIN_END:
            latin += 1
        elif _is_wide(code):
            wide += 1
        else:
            other += 1
    return math.ceil(
        latin / LATIN_CHARS_PER_TOKEN + wide * TOKENS_PER_WIDE_CHAR + other / OTHER_CHARS_PER_TOKEN
    )


def estimate_messages(texts: list[str], images: int = 0) -> int:
    """Tokens of a request with these message texts and so many pictures."""
    words = sum(estimate_tokens(text) + TOKENS_PER_MESSAGE for text in texts)
    return words + images * TOKENS_PER_IMAGE


def transcript_tokens(duration_s: float) -> int:
    """Expected tokens of the transcript of `duration_s` seconds of speech; 0 for no length."""
    return math.ceil(max(0.0, duration_s) * TOKENS_PER_SPOKEN_SECOND)


def slide_tokens(duration_s: float) -> int:
    """Expected tokens of the slide texts of `duration_s` seconds of a lecture."""
    return math.ceil(max(0.0, duration_s) / 3600 * SLIDES_PER_HOUR * TOKENS_PER_SLIDE_TEXT)


def _is_wide(code: int) -> bool:
    return any(low <= code <= high for low, high in _WIDE)
