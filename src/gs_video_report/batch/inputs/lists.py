"""Read lists of inputs (TXT, CSV, XLSX) into entries that name one path or address each.

Truth: the list as written. Nothing is looked up on disk here, nothing is guessed silently: a
row that cannot be understood is an `InputProblem` with file, line and reason, and the rest goes
on. Only a list that cannot be read as a whole raises.
Never: evaluates formulas, holds more than a few rows in memory, shows passwords of addresses.
Raises: InputListError, DependencyMissing (openpyxl, for .xlsx).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gs_video_report.batch.data_models import InputProblem
from gs_video_report.batch.inputs.columns import Columns, find_columns, header_key, refusal
from gs_video_report.batch.inputs.csv_list import named_delimiter, records, sniff_delimiter
from gs_video_report.batch.inputs.text import (
    TOO_LONG,
    BadRow,
    Line,
    Row,
    check_regular,
    detect_encoding,
    read_lines,
    short,
    unquoted,
)
from gs_video_report.batch.inputs.url_rules import redact
from gs_video_report.errors import InputListError


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
        from gs_video_report.batch.inputs.xlsx_list import read_rows

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


# --- one entry per line ------------------------------------------------------------------------


def _text(path: Path) -> Iterator[Entry | InputProblem]:
    encoding = detect_encoding(path)
    for number, line in read_lines(path, encoding):
        origin = f"{path.name}:{number}"
        if line is None:
            yield InputProblem(origin, "", TOO_LONG)
            continue
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        value = unquoted(text)
        if value:
            yield Entry(origin, value, encoding=encoding)
        else:
            yield InputProblem(origin, text, "the quotes hold nothing")


# --- tables ------------------------------------------------------------------------------------


def _csv(path: Path, template_column: str | None) -> Iterator[Entry | InputProblem]:
    encoding = detect_encoding(path)
    lines = read_lines(path, encoding)
    first = next(((n, t) for n, t in lines if t is None or t.strip()), None)
    if first is None:
        return
    number, header = first
    if header is None:
        raise InputListError(f"{path}:{number}: the header is longer than a line may be")
    named = named_delimiter(header)
    if named is not None:
        number, header = next(((n, t) for n, t in lines if t and t.strip()), (number, ""))
    delimiter = named or sniff_delimiter(header)
    rows = records(_chained((number, header), lines), delimiter)
    yield from _table(path.name, path, rows, template_column, encoding, exact=True)


def _chained(first: Line, rest: Iterable[Line]) -> Iterator[Line]:
    yield first
    yield from rest


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
        elif isinstance(cells, BadRow):
            yield InputProblem(origin, short(redact(cells.text)), cells.reason)
        elif any(cell.strip() for cell in cells):
            yield _entry(origin, columns, cells, encoding, exact)


def _checked_columns(
    path: Path, number: int, cells: list[str] | BadRow, template_column: str | None
) -> Columns:
    if isinstance(cells, BadRow):
        raise InputListError(f"{path}:{number}: the header cannot be read: {cells.reason}")
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
    reason = refusal(given)
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
