"""Decode list files: find the encoding, then stream bounded lines.

Truth: an encoding is accepted only when the whole file decodes strictly, or its byte-order mark
says so. Order: byte-order mark, UTF-8, GB18030. Files with NUL are binary and refused.
Never: holds more than a block or a line in memory; guesses from statistics.
Raises: InputListError.
"""

from __future__ import annotations

import codecs
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gs_video_report.errors import InputListError

MAX_LINE_CHARS = 64 * 1024
_BLOCK_BYTES = 1 << 20
# the marks of UTF-32 begin with those of UTF-16: longest first
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ZIP_MAGIC = b"PK\x03\x04"
_OLD_EXCEL_MAGIC = b"\xd0\xcf\x11\xe0"
_SAVE_AS = "save it as plain text in UTF-8 (in Excel: CSV UTF-8)"

Line = tuple[int, str | None]
"""(line number from 1, text without line end, or None when the line was longer than allowed)."""


TOO_LONG = f"the line is longer than {MAX_LINE_CHARS} characters"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be split into cells."""

    reason: str
    text: str = ""
    """The row as written."""


Row = tuple[int, list[str] | BadRow]
"""(line or row number from 1, cells as text)."""


def short(text: str, limit: int = 200) -> str:
    """`text`, cut to `limit` characters with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def unquoted(text: str) -> str:
    """`text` without one pair of matching quotes around it."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def check_regular(path: Path) -> None:
    """Raises: InputListError unless `path` is a regular file that can be opened."""
    try:
        status = path.stat()
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputListError(
            f"{path}: the list cannot be read ({error.strerror or error})"
        ) from error
    except ValueError as error:  # NUL in the name
        raise InputListError("the name of the list holds a NUL character") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputListError(f"{path}: the list is not a regular file")


def detect_encoding(path: Path) -> str:
    """Name of the codec that decodes the whole file strictly.

    Raises:
        InputListError: binary, or none of the encodings fits.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head.startswith((_ZIP_MAGIC, _OLD_EXCEL_MAGIC)):
            raise InputListError(
                f"{path}: this is a spreadsheet or archive, not a text list",
                hint="give it the ending .xlsx if it is an Excel workbook, or export it as CSV",
            )
        for mark, name in _MARKS:
            if head.startswith(mark):
                return _require(path, name)
        for name in ("utf-8", "gb18030"):
            if _decodes(path, name):
                return name
    except OSError as error:
        raise InputListError(f"{path}: the list cannot be read ({error})") from error
    raise InputListError(f"{path}: the list is neither UTF-8 nor GB18030 text", hint=_SAVE_AS)


def _require(path: Path, encoding: str) -> str:
    if not _decodes(path, encoding):
        shown = encoding.removesuffix("-sig").upper()
        raise InputListError(
            f"{path}: the list begins as {shown}, but is damaged further on", hint=_SAVE_AS
        )
    return encoding


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeError:
                if b"\0" in block and not encoding.startswith(("utf-16", "utf-32")):
                    raise _binary(path) from None
                return False
            if "\0" in text:
                raise _binary(path)
            if not block:
                return True


def _binary(path: Path) -> InputListError:
    return InputListError(f"{path}: the list holds binary data, not text", hint=_SAVE_AS)


def read_lines(path: Path, encoding: str) -> Iterator[Line]:
    """Stream the lines; CR, LF and CRLF end a line.

    Raises:
        InputListError: the file changed or became unreadable while it was read.
    """
    try:
        with path.open(encoding=encoding, newline=None) as file:
            number = 0
            while text := file.readline(MAX_LINE_CHARS + 1):
                number += 1
                if len(text) <= MAX_LINE_CHARS or text.endswith("\n"):
                    yield number, text.rstrip("\n")
                    continue
                while text and not text.endswith("\n"):
                    text = file.readline(MAX_LINE_CHARS)
                yield number, None
    except (OSError, UnicodeError) as error:
        raise InputListError(f"{path}: the list cannot be read to its end ({error})") from error
