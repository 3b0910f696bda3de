"""Read lists of inputs (TXT, CSV, XLSX) into entries that name one path or address each.

Truth: the list as written. Nothing is looked up on disk here, nothing is guessed silently: a
row that cannot be understood is an `InputProblem` with file, line and reason, and the rest goes
on. Only a list that cannot be read as a whole raises.
Never: evaluates formulas, holds more than a few rows in memory, shows passwords of addresses.
Raises: InputListError, DependencyMissing (openpyxl, for .xlsx).
"""

from __future__ import annotations

import csv
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gs_video_report.batch.data_models import MAX_PRIORITY, InputProblem
from gs_video_report.batch.input_text import (
    MAX_LINE_CHARS,
    Line,
    check_regular,
    detect_encoding,
    read_lines,
)
from gs_video_report.batch.input_walk import short
from gs_video_report.batch.url_rules import redact
from gs_video_report.errors import InputListError

_NEVER_CLOSED = "a quote is opened and never closed"
DELIMITERS = (",", ";", "\t", "|")
MAX_RECORD_LINES = 200
MAX_NAME_BYTES = 200

# Role -> accepted headers, the most telling first. When two columns fit, the earlier word wins.
ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        "path", "路径", "路徑", "video_path", "file_path", "filepath", "视频路径", "視頻路徑",
        "文件路径", "檔案路徑", "file", "文件", "檔案", "filename", "file_name", "文件名", "檔名",
        "video", "视频", "視頻", "影片", "video_file", "视频文件", "source",
    ),
    "url": (
        "url", "链接", "連結", "鏈接", "link", "网址", "網址", "地址", "video_url", "视频链接",
        "視頻連結", "影片連結", "address", "href",
    ),
    "template": ("template", "模板", "模版", "範本", "template_name", "模板名", "模板名称"),
    "output_name": (
        "output_name", "输出名", "輸出名", "输出名称", "輸出名稱", "输出文件名", "輸出檔名",
        "output",
    ),
    "priority": ("priority", "优先级", "優先級", "优先", "優先"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One understood line: where it stands and what it asks for."""

    origin: str
    """`list.csv:17`."""
    value: str
    """The path or address as written, without quotes around it."""
    is_url: bool | None = None
    """True: from the address column; False: from the path column; None: decide by looking."""
    template: str | None = None
    output_name: str | None = None
    priority: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"
    """Codec of the list, to get the bytes of a file name back."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column plays which role."""

    names: tuple[str, ...]
    roles: dict[str, int]

    @property
    def has_location(self) -> bool:
        """A path or an address column was found."""
        return "path" in self.roles or "url" in self.roles


def read_list(
    path: Path, *, template_column: str | None = None, sheet: str | None = None
) -> Iterator[Entry | InputProblem]:
    """Stream the entries of a list; the file's ending decides how it is read.

    Args:
        path: `.csv`/`.tsv`, `.xlsx`/`.xlsm`; everything else is one entry per line.
        template_column: header of the column that names the template.
        sheet: worksheet of a workbook; None for the first.

    Raises:
        InputListError: unreadable, binary, or without a column that names the inputs.
        DependencyMissing: a workbook, and openpyxl is not installed.
    """
    check_regular(path)
    suffix = path.suffix.lower()
    if suffix in (".xlsx", ".xlsm"):
        from gs_video_report.batch.input_xlsx import read_rows

        yield from _table(path.name, path, iter(read_rows(path, sheet)), template_column)
    elif suffix in (".xls", ".ods", ".numbers"):
        raise InputListError(
            f"{path}: {suffix} workbooks cannot be read", hint="save it as .xlsx or as CSV"
        )
    elif suffix in (".csv", ".tsv"):
        yield from _csv(path, template_column)
    elif template_column is not None:
        raise InputListError(f"{path}: a text list has no columns, so no --template-column")
    else:
        yield from _text(path)


# --- one entry per line ----------------------------------------------------------------------


def _text(path: Path) -> Iterator[Entry | InputProblem]:
    encoding = detect_encoding(path)
    for number, line in read_lines(path, encoding):
        origin = f"{path.name}:{number}"
        if line is None:
            yield _too_long(origin)
            continue
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        value = unquoted(text)
        if value:
            yield Entry(origin, value, encoding=encoding)
        else:
            yield InputProblem(origin, text, "the quotes hold nothing")


def unquoted(text: str) -> str:
    """`text` without one pair of matching quotes around it."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _too_long(origin: str) -> InputProblem:
    return InputProblem(origin, "", f"the line is longer than {MAX_LINE_CHARS} characters")


# --- tables ----------------------------------------------------------------------------------

Row = tuple[int, list[str] | str]
"""(line or row number, cells, or the reason why it cannot be read)."""


def _csv(path: Path, template_column: str | None) -> Iterator[Entry | InputProblem]:
    encoding = detect_encoding(path)
    lines = read_lines(path, encoding)
    first = next(((n, t) for n, t in lines if t is None or t.strip()), None)
    if first is None:
        return
    number, header = first
    if header is None:
        raise InputListError(f"{path}:{number}: the header is longer than a line may be")
    named = _named_delimiter(header)
    if named is not None:
        number, header = next(((n, t) for n, t in lines if t and t.strip()), (number, ""))
    delimiter = named or sniff_delimiter(header)
    rows = records(_chained((number, header), lines), delimiter)
    yield from _table(path.name, path, rows, template_column, encoding, exact=True)


def _chained(first: Line, rest: Iterable[Line]) -> Iterator[Line]:
    yield first
    yield from rest


def _named_delimiter(line: str) -> str | None:
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
            yield number, _too_long("").reason
        elif '"' not in text:
            if text.strip():
                yield number, text.split(delimiter)
        else:
            yield number, _quoted_record(text, waiting, lines, delimiter)


def _quoted_record(
    text: str, waiting: deque[Line], lines: Iterator[Line], delimiter: str
) -> list[str] | str:
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
            cells = _NEVER_CLOSED
            break
        parts.append(line[1])
        # only a line with a quote can close the cell; parsing less often keeps this fast
        cells = _parsed(parts, delimiter) if '"' in line[1] else None
    if taken and isinstance(cells, str):
        waiting.extendleft(reversed(taken))
        return _NEVER_CLOSED
    return cells


def _too_much(taken: list[Line], size: int) -> bool:
    return len(taken) > MAX_RECORD_LINES or size > MAX_LINE_CHARS


def _parsed(parts: Sequence[str], delimiter: str) -> list[str] | str | None:
    """Cells; the reason when malformed; None when a quoted cell goes on after the last part."""
    source = [f"{part}\n" for part in parts]
    try:
        rows = list(csv.reader(source, delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return None
        return f"the quotes of the row are malformed ({error})"
    return rows[0] if len(rows) == 1 else "the quotes of the row are malformed"


def _table(
    label: str,
    path: Path,
    rows: Iterator[Row],
    template_column: str | None,
    encoding: str = "utf-8",
    *,
    exact: bool = False,
) -> Iterator[Entry | InputProblem]:
    """Entries of a table whose first row is the header.

    Args:
        exact: a text table, whose rows must have as many cells as the header. In a workbook
            missing cells are empty, and cells that begin with `=` are formulas.
    """
    columns: Columns | None = None
    for number, cells in rows:
        origin = f"{label}:{number}"
        if columns is None:
            columns = _checked_columns(path, number, cells, template_column)
        elif isinstance(cells, str):
            yield InputProblem(origin, "", cells)
        elif any(cell.strip() for cell in cells):
            yield _entry(origin, columns, cells, encoding, exact)


def _checked_columns(
    path: Path, number: int, cells: list[str] | str, template_column: str | None
) -> Columns:
    if isinstance(cells, str):
        raise InputListError(f"{path}:{number}: the header cannot be read: {cells}")
    columns = find_columns(cells, template_column)
    seen = ", ".join(name for name in columns.names if name)[:200] or "none"
    if not columns.has_location:
        raise InputListError(
            f"{path}:{number}: no column is named path or url",
            hint=f"name the column of the videos path, or url, in the first row; found: {seen}",
        )
    if template_column is not None and "template" not in columns.roles:
        raise InputListError(
            f"{path}:{number}: no column is named {template_column}", hint=f"found: {seen}"
        )
    for role, index in columns.roles.items():
        same = [n for n in columns.names if header_key(n) == header_key(columns.names[index])]
        if len(same) > 1:
            raise InputListError(
                f"{path}:{number}: two columns are named {same[0]} ({role})",
                hint="rename one of them",
            )
    return columns


def header_key(name: str) -> str:
    """Header in the form in which it is compared: `Video Path` and `video_path` are the same."""
    text = unicodedata.normalize("NFKC", name).strip().casefold()
    return "_".join(text.replace("-", " ").split())


def find_columns(header: Sequence[str], template_column: str | None = None) -> Columns:
    """Assign roles to columns by their headers."""
    keys = [header_key(name) for name in header]
    roles: dict[str, int] = {}
    for role, words in ALIASES.items():
        index = next((keys.index(word) for word in words if word in keys), None)
        if index is not None:
            roles[role] = index
    if template_column is not None:
        roles.pop("template", None)
        wanted = header_key(template_column)
        if wanted in keys:
            roles["template"] = keys.index(wanted)
    return Columns(tuple(name.strip() for name in header), roles)


def _entry(
    origin: str, columns: Columns, cells: list[str], encoding: str, exact: bool
) -> Entry | InputProblem:
    width = len(columns.names)
    shown = short(" | ".join(redact(cell) for cell in cells))
    if (exact and len(cells) != width) or any(cell.strip() for cell in cells[width:]):
        return InputProblem(
            origin, shown, f"the row has {len(cells)} fields, the header has {width}"
        )
    values = [cell.strip() for cell in cells[:width]] + [""] * (width - len(cells))
    given = {role: values[index] for role, index in columns.roles.items() if values[index]}
    reason = _refusal(given)
    if not exact and any(value.startswith("=") for value in given.values()):
        reason = "a cell of the row holds a formula; paste its value instead"
    if reason:
        return InputProblem(origin, shown, reason)
    used = set(columns.roles.values())
    extra = {
        name: values[i] for i, name in enumerate(columns.names)
        if i not in used and name and values[i]
    }  # fmt: skip
    return Entry(
        origin=origin,
        value=given.get("path") or given["url"],
        is_url="url" in given or None,
        template=given.get("template"),
        output_name=given.get("output_name"),
        priority=int(given["priority"]) if "priority" in given else None,
        metadata=extra,
        encoding=encoding,
    )


def _refusal(given: dict[str, str]) -> str:
    """Why a row is not taken; empty when it is."""
    if "path" in given and "url" in given:
        return "the row names both a path and an address; keep one of them"
    if "path" not in given and "url" not in given:
        return "the row names neither a path nor an address"
    return _bad_priority(given.get("priority")) or _bad_name(given.get("output_name"))


def _bad_priority(text: str | None) -> str:
    if text is None or (text.isascii() and text.isdigit() and int(text[:9]) <= MAX_PRIORITY):
        return ""
    wanted = f"a whole number from 0 (first) to {MAX_PRIORITY}"
    return f"priority must be {wanted}, not {short(text, 40)}"


def _bad_name(name: str | None) -> str:
    """Why `name` cannot be the base name of an output file; empty when it can."""
    if name is None:
        return ""
    if "/" in name or "\\" in name:
        return "the output name must be a plain name, without folders"
    if name.startswith(".") or any(unicodedata.category(c) == "Cc" for c in name):
        return "the output name must not begin with a dot or hold control characters"
    if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
        return f"the output name is longer than {MAX_NAME_BYTES} bytes"
    return ""
