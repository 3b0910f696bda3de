"""Bytes of a subtitle file to characters, and marked-up captions to plain text.

Charsets are strict attempts in order, so a guess is only taken when every byte fits. Pure.
"""

from __future__ import annotations

import codecs
import html
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE_BYTES = 200_000
_MOSTLY = 0.7
_TAG = re.compile(r"</?(?:[a-zA-Z][^<>]*|\d\d:[\d:.]+)>")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>\s][^<>]*)>")
_ASS_OVERRIDE = re.compile(r"\{[^{}\\]*\\[^{}]*\}|\{[a-zA-Z]:[^{}]*\}")
_ASS_DRAWING = re.compile(r"\{[^{}]{0,200}\\p[1-9][^{}]*\}")
_ASS_BREAK = re.compile(r"\\[Nn]")
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff]"
)
_SPACES = re.compile(r"[ \t\xa0]+")


def decode(data: bytes) -> str:
    """The text of a subtitle file; never fails (the last resort maps every byte).

    Order: byte order mark; UTF-16 without one (every second byte 0); UTF-8; Big5 or GB18030
    when the byte pairs are common characters; Windows-1251 when nearly all letters are above
    ASCII; else Windows-1252. A broken byte in marked or mostly valid UTF-8 becomes U+FFFD.
    """
    for bom, name in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(name, "replace")
    wide = _utf16_without_mark(data)
    if wide:
        return data.decode(wide, "replace")
    for name in ("utf-8", *_asian(data)):
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    if _nearly_utf8(data):
        return data.decode("utf-8", "replace")
    name = "cp1251" if _looks_cyrillic(data) else "cp1252"
    return data.decode(name, "replace")


def _utf16_without_mark(data: bytes) -> str:
    sample = data[:2000]
    half = len(sample) // 2
    if half < 4 or sample.count(0) < 0.4 * half:
        return ""
    odd, even = sample[1::2].count(0), sample[0::2].count(0)
    return "utf-16-le" if odd > even else "utf-16-be"


def _asian(data: bytes) -> tuple[str, ...]:
    """Double-byte charsets whose common characters make up most of the pairs."""
    pairs = re.findall(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]", data[:_SAMPLE_BYTES])
    if not pairs:
        return ()
    gb = sum((0xB0 <= p[0] <= 0xD7 and p[1] >= 0xA1) or p[0] in (0xA1, 0xA3) for p in pairs)
    big5 = sum(0xA4 <= p[0] <= 0xC6 or p[0] == 0xA1 for p in pairs)
    found = [(gb, "gb18030"), (big5, "big5")]
    return tuple(name for n, name in sorted(found, reverse=True) if n >= _MOSTLY * len(pairs))


def _nearly_utf8(data: bytes) -> bool:
    """True if most bytes above ASCII form valid UTF-8: a damaged or cut file."""
    high = sum(b > 0x7F for b in data[:_SAMPLE_BYTES])
    lost = data[:_SAMPLE_BYTES].decode("utf-8", "replace").count("\ufffd")
    return lost * 10 < high


def _looks_cyrillic(data: bytes) -> bool:
    sample = data[:_SAMPLE_BYTES]
    letters = sum(chr(b).isalpha() for b in sample if b < 0x80)
    high = sum(b >= 0xC0 or b in (0xA8, 0xB8) for b in sample)
    return high > letters


def plain(text: str) -> tuple[str, str | None]:
    """(text, speaker): tags, styles and invisible characters gone, lines kept.

    The speaker is the name of a WebVTT voice tag. Drawings of ASS give an empty text.
    """
    if _ASS_DRAWING.search(text):
        return "", None
    voice = _VOICE.search(text)
    speaker = html.unescape(voice.group(1)).strip() if voice else None
    text = _ASS_BREAK.sub("\n", _ASS_OVERRIDE.sub("", text)).replace("\\h", " ")
    text = html.unescape(_TAG.sub("", text))
    text = _INVISIBLE.sub("", text.replace("\r", "\n"))
    lines = (_SPACES.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line), speaker or None
