"""How numbers, names and states are written, in one place.

Pure. Widths are terminal cells (a Chinese character is two). User text goes through `clean()`
before it is shown: nothing in a file name can move the cursor, change colours or fake a line.
Never: imports rich at module level, writes to a stream.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TextIO

from gs_video_report.batch.progress.eta import EtaRange

UNKNOWN = "-"
_MINUTE_S, _HOUR_S = 60, 3600

# --- numbers ------------------------------------------------------------------------------------


def clock(seconds: float | None) -> str:
    """`4:52`, `1:12:40`; hours are never folded into days. None or negative gives `-`."""
    if seconds is None or seconds < 0:
        return UNKNOWN
    whole = int(seconds + 0.5)
    hours, rest = divmod(whole, _HOUR_S)
    minutes, secs = divmod(rest, _MINUTE_S)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def span(seconds: float | None) -> str:
    """A length without spaces, for dense lines: `22s`, `18m`, `31h05m`. None gives `-`."""
    if seconds is None or seconds < 0:
        return UNKNOWN
    if seconds < 59.5:
        return f"{round(seconds)}s"
    minutes = round(seconds / _MINUTE_S)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m"


def prose_span(seconds: float | None) -> str:
    """A length in a sentence: `22 s`, `18 min`, `2 h 04 m`. None gives `-`."""
    if seconds is None or seconds < 0:
        return UNKNOWN
    if seconds < 59.5:
        return f"{round(seconds)} s"
    minutes = round(seconds / _MINUTE_S)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m" if hours else f"{minutes} min"


def span_range(low_s: float, high_s: float) -> str:
    """`34-48 min`, `1 h 50 m - 2 h 30 m`, `about 3 m`, `under 1 min`; rounded to what can be
    known."""
    low, high = round_span(low_s), round_span(high_s)
    if high <= _MINUTE_S:
        return "under 1 min"
    if low == high:
        return f"about {prose_span(high)}"
    if high < 2 * _HOUR_S and high % _MINUTE_S == 0:
        return f"{max(1, round(low / _MINUTE_S))}-{round(high / _MINUTE_S)} min"
    return f"{prose_span(low)} - {prose_span(high)}"


def round_span(seconds: float) -> int:
    """Whole minutes below 30 min, then 5-minute steps below 10 h, then quarter hours."""
    if seconds < 30 * _MINUTE_S:
        step = _MINUTE_S
    elif seconds < 10 * _HOUR_S:
        step = 5 * _MINUTE_S if seconds > _HOUR_S else 2 * _MINUTE_S
    else:
        step = 15 * _MINUTE_S
    return int(seconds / step + 0.5) * step


def time_left(eta: EtaRange | None) -> str:
    """`34-48 min`; `about 40 min, rough` for small batches; `estimating` while unknown."""
    if eta is None:
        return "estimating"
    if eta.high_s <= _MINUTE_S:
        return "under 1 min"
    if eta.rough:
        return f"about {prose_span(max(_MINUTE_S, round_span(eta.mid_s)))}, rough"
    return span_range(eta.low_s, eta.high_s)


def size(size_bytes: float | None) -> str:
    """Decimal units as disks are sold: `812 MB`, `21.4 GB`. None gives `-`."""
    if size_bytes is None or size_bytes < 0:
        return UNKNOWN
    if size_bytes < 1000:
        return f"{int(size_bytes)} B"
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    digits = 1 if unit in ("GB", "TB") and value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def money(usd: float | None) -> str:
    """`$0.17`; three digits below one cent; `$0` for nothing. None gives `-`."""
    if usd is None:
        return UNKNOWN
    if usd == 0:
        return "$0"
    if usd < 0.0005:
        return "<$0.001"
    return f"${usd:.3f}" if usd < 0.01 else f"${usd:,.2f}"


def percent(fraction: float | None) -> str:
    """`68 %`, rounded down so that 100 % means done; None gives `-`."""
    if fraction is None:
        return UNKNOWN
    return f"{int(max(0.0, min(1.0, fraction)) * 100 + 1e-9)} %"


def number(value: int) -> str:
    """`10,000`."""
    return f"{value:,}"


def short_number(value: float) -> str:
    """`950`, `12 k`, `9.1 M`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            scaled = value / limit
            return f"{scaled:.1f} {unit}" if scaled < 9.95 else f"{scaled:.0f} {unit}"
    return f"{value:.0f}"


def plural(count: int, word: str, many: str = "") -> str:
    """`1 file`, `2 files`, `2 retries`; `many` for words that go another way."""
    if count == 1:
        return f"1 {word}"
    if many:
        return f"{number(count)} {many}"
    many = f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"
    return f"{number(count)} {many}"


def realtime(factor: float | None) -> str:
    """`15.1x`, `0.82x`; None gives `-`."""
    if factor is None:
        return UNKNOWN
    return f"{factor:.1f}x" if factor >= 1 else f"{factor:.2f}x"


# --- user text ---------------------------------------------------------------------------------

_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])|\x1b"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_KEPT_FORMAT = frozenset("\u200c\u200d")
"""Joiners that Indic scripts and emoji need; every other format character is shown escaped."""
_BYTE_MIN, _BYTE_MAX = 0xDC80, 0xDCFF


def clean(text: str) -> str:
    """`text` on one line, safe to print: escape sequences dropped, control characters escaped.

    Newlines become `\\n`, bytes that are no valid UTF-8 `\\xff`, and characters that change the
    reading direction `\\u202e`. Printable text comes back unchanged.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible, _ESCAPE_SEQUENCE.sub("", text)))


def _visible(char: str) -> str:
    if char.isprintable() or char in _KEPT_FORMAT or unicodedata.category(char) in ("Zs", "Co"):
        return char
    named = _NAMED.get(char)
    if named is not None:
        return named
    code = ord(char)
    if _BYTE_MIN <= code <= _BYTE_MAX:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_SPACING_MARK = "Mc"
_MARK_CELLS = 1
"""Of a vowel sign such as the Devanagari aa: some terminals give it none."""


def width(text: str) -> int:
    """Terminal cells of `text`, the most that any terminal takes for it.

    Terminals differ: some draw a family of emoji in two cells, others side by side. A row that is
    a little too short does no harm; one that is too long is folded and spoils the picture.
    """
    return len(text) if text.isascii() else _widest(text)


@lru_cache(maxsize=4096)
def _widest(text: str) -> int:
    from rich.cells import cell_len

    apart = sum(
        _MARK_CELLS if unicodedata.category(char) == _SPACING_MARK else cell_len(char)
        for char in text
    )
    return max(apart, cell_len(text))


def cut_middle(text: str, cells: int, ellipsis: str = "...") -> str:
    """`text` in at most `cells` cells, cut in the middle so that start and extension stay.

    The end keeps the extension and about a third of the room: `week04/worksh...al-v3.mkv`.
    """
    if width(text) <= cells:
        return text
    room = cells - len(ellipsis)
    if room < 2:
        return take(text, max(0, cells))
    dot = text.rfind(".")
    extension = len(text) - dot if dot > 0 and len(text) - dot <= 6 else 0
    tail = take_end(text, min(room - 1, max(extension + 3, room // 3)))
    return take(text, room - width(tail)) + ellipsis + tail


def cut_end(text: str, cells: int, ellipsis: str = "...") -> str:
    """`text` in at most `cells` cells, the end cut away."""
    if width(text) <= cells:
        return text
    return take(text, max(0, cells - len(ellipsis))).rstrip() + ellipsis[: max(0, cells)]


def take(text: str, cells: int) -> str:
    """The longest start of `text` that fits into `cells`."""
    if text.isascii():
        return text[:cells]
    end = min(len(text), cells * 2 + 8)
    while end and width(text[:end]) > cells:
        end -= 1
    return text[:end]


def take_end(text: str, cells: int) -> str:
    """The longest end of `text` that fits into `cells` and does not start inside a character."""
    if text.isascii():
        return text[len(text) - cells :] if cells else ""
    start = max(0, len(text) - cells * 2 - 8)
    while start < len(text) and width(text[start:]) > cells:
        start += 1
    while start < len(text) and (unicodedata.combining(text[start]) or text[start] in _KEPT_FORMAT):
        start += 1
    return text[start:]


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """`text` filled with spaces to `cells`; `right` aligns it to the right."""
    fill = " " * max(0, cells - width(text))
    return fill + text if right else text + fill


def wrap(text: str, cells: int) -> list[str]:
    """`text` broken at spaces into lines of at most `cells`; a longer word stands alone."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and width(lines[-1]) + 1 + width(word) <= cells:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


# --- glyphs and colour -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The few signs that are not letters. Each stands beside a word, never alone."""

    done: str
    failed: str
    retry: str
    skipped: str
    bar_full: str
    bar_empty: str
    bar_tip: str
    dot: str
    """Separator between facts."""


_THIN_LINE = "─"
UNICODE = Glyphs("✓", "✗", "↻", "○", "━", "━", "╸", "·")
ASCII = Glyphs("+", "x", "~", "o", "#", "-", "", "-")


def glyphs_for(encoding: str | None, *, colour: bool = True) -> Glyphs:
    """`UNICODE` if a stream of this encoding can carry it, else `ASCII`.

    Without colours the empty part of a bar is a thin line: it could not be told from the full one.
    """
    try:
        "".join((UNICODE.done, UNICODE.failed, UNICODE.bar_full, UNICODE.dot)).encode(
            encoding or "ascii"
        )
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE if colour else replace(UNICODE, bar_empty=_THIN_LINE)


_SGR = {
    "ok": "32",
    "bad": "31",
    "bad bold": "1;31",
    "warn": "33",
    "dim": "2",
    "bold": "1",
    "accent": "36",
}


def paint(text: str, style: str, colour: bool) -> str:
    """`text` in one of the few styles (`ok`, `bad`, `warn`, `dim`, `bold`, `accent`)."""
    code = _SGR.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if colour and code and text else text


def wants_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether colour belongs on `stream`: a terminal, not dumb, NO_COLOR not set.

    FORCE_COLOR (non-empty) turns it on for pipes; NO_COLOR wins over it.
    """
    if env.get("NO_COLOR") or env.get("TERM") == "dumb":
        return False
    return bool(env.get("FORCE_COLOR")) or is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    """Like `isatty`, and False for a stream that is closed."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def tolerate_encoding(stream: TextIO) -> None:
    """Make a character that the stream cannot carry print as `?` instead of raising."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
