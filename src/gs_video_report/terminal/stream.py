"""Writing lines to a stream whose reader may go away.

A lost reader (closed pipe, vanished terminal) never stops the batch: the writer falls silent.
Never: raises on output, buffers between lines.
"""

from __future__ import annotations

import json
import re
from typing import Any, TextIO

from gs_video_report.terminal.styles import tolerate_encoding

_ESCAPED = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001-\U000e007f]"
)
"""Halves of surrogates, C1 controls and format characters (Unicode categories Cs, Cc, Cf, Zl, Zp)
except the two joiners that Indic scripts and emoji need; `json` escapes the other controls."""


class LineWriter:
    """Writes whole lines and flushes each, so that `tail -f` and pipes see them at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = False
        """The reader went away; seen at the first write after that."""
        tolerate_encoding(stream)

    @property
    def encoding(self) -> str:
        """Encoding of the stream; `utf-8` for streams of text without one."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def line(self, text: str) -> None:
        """Write `text` and a newline."""
        if self.lost:
            return
        try:
            self._write(text + "\n")
        except (OSError, ValueError):
            self.lost = True

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:  # a stream that cannot be reconfigured
            self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        self._stream.flush()


def json_line(value: dict[str, Any], encoding: str = "utf-8") -> str:
    """`value` as one line of JSON that a stream of `encoding` can carry."""
    return json_text(value, encoding, separators=(",", ":"))


def json_text(value: Any, encoding: str, **how: Any) -> str:
    """`json.dumps(value, **how)` as a stream of `encoding` can carry it.

    Names that are not valid UTF-8 keep their bytes as `\\udcXX` escapes, as Python reads them.
    Controls and format characters are escaped as well: a reader sees the same value, and a terminal
    is not moved by it.
    """
    unicode_stream = encoding.lower().replace("-", "").replace("_", "") in ("utf8", "utf16")
    text = json.dumps(value, ensure_ascii=not unicode_stream, **how)
    return _ESCAPED.sub(lambda found: json.dumps(found.group())[1:-1], text)
