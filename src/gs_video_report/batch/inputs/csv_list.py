"""Split the lines of a CSV file into records, so that one bad quote costs one line only.

Pure: lines in, rows out. RFC 4180 with the delimiters comma, semicolon, tab and bar.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence

from gs_video_report.batch.inputs.columns import find_columns
from gs_video_report.batch.inputs.text import MAX_LINE_CHARS, TOO_LONG, BadRow, Line, Row, unquoted

_NEVER_CLOSED = "a quote is opened and never closed"
DELIMITERS = (",", ";", "\t", "|")
MAX_RECORD_LINES = 200


def named_delimiter(line: str) -> str | None:
    """The delimiter of Excel's `sep=;` line."""
    text = unquoted(line.strip())
    if len(text) == 5 and text.lower().startswith("sep=") and text[4] in DELIMITERS:
        return text[4]
    return None


def sniff_delimiter(header: str) -> str:
    """The delimiter that makes the header name a path or address; comma when none does."""

    def score(delimiter: str) -> tuple[bool, int]:
        cells = _parsed([header], delimiter)
        if not isinstance(cells, list):
            return False, 0
        return find_columns(cells).has_location, len(cells)

    return max(DELIMITERS, key=score)


def records(lines: Iterator[Line], delimiter: str) -> Iterator[Row]:
    """Split lines into records of RFC 4180; a record may span lines inside quotes.

    A quote that is never closed costs its own line only: the following lines are read afresh.
    """
    waiting: deque[Line] = deque()
    while True:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return
        number, text = line
        if text is None:
            yield number, BadRow(TOO_LONG)
        elif '"' not in text:
            if text.strip():
                yield number, text.split(delimiter)
        else:
            yield number, _quoted_record(text, waiting, lines, delimiter)


def _quoted_record(
    text: str, waiting: deque[Line], lines: Iterator[Line], delimiter: str
) -> list[str] | BadRow:
    """Cells of the record that begins with `text`; unused lines go back to `waiting`."""
    parts, taken = [text], list[Line]()
    size = len(text)
    cells = _parsed(parts, delimiter)
    while cells is None:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is not None:
            taken.append(line)
            size += len(line[1] or "")
        if line is None or line[1] is None or _too_much(taken, size):
            cells = BadRow(_NEVER_CLOSED)
            break
        parts.append(line[1])
        # only a line with a quote can close the cell; parsing less often keeps this fast
        cells = _parsed(parts, delimiter) if '"' in line[1] else None
    if isinstance(cells, BadRow):
        waiting.extendleft(reversed(taken))
        return BadRow(_NEVER_CLOSED if taken else cells.reason, text)
    return cells


def _too_much(taken: list[Line], size: int) -> bool:
    return len(taken) > MAX_RECORD_LINES or size > MAX_LINE_CHARS


def _parsed(parts: Sequence[str], delimiter: str) -> list[str] | BadRow | None:
    """Cells; the reason when malformed; None when a quoted cell goes on after the last part."""
    source = [f"{part}\n" for part in parts]
    try:
        rows = list(csv.reader(source, delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return None
        return BadRow(f"the quotes of the row are malformed ({error})")
    return rows[0] if len(rows) == 1 else BadRow("the quotes of the row are malformed")
