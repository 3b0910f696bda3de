"""Rows of an Excel workbook as text, without trusting its size.

Truth: the cells as stored. Formulas are not evaluated; `=HYPERLINK("address", ...)` counts as
its address. The sizes in the archive are checked before anything is unpacked.
Never: loads a sheet as a whole, follows external links, runs macros.
Raises: InputListError, DependencyMissing.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from typing import Any

from gs_video_report.batch.inputs.text import BadRow, Row
from gs_video_report.errors import DependencyMissing, InputListError

MAX_ROWS = 1_000_000
MAX_COLUMNS = 256
MAX_FILE_BYTES = 200 << 20
MAX_MEMBERS = 5_000
MAX_SHEET_BYTES = 1 << 30
"""Unpacked; sheets are streamed."""
MAX_PART_BYTES = 64 << 20
"""Unpacked; everything that is not a sheet is held in memory by the reader."""
_CHUNK_ROWS = 500
_HYPERLINK = re.compile(r'=\s*HYPERLINK\(\s*"([^"]+)"', re.IGNORECASE)
_MARKUP_BOMB = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


def read_rows(path: Path, sheet: str | None) -> Iterator[Row]:
    """Stream (row number from 1, cells as text) of one sheet; empty rows are left out.

    Args:
        sheet: name of the worksheet; None for the first one.

    Raises:
        InputListError: not a workbook, damaged, too big unpacked, or without that sheet.
        DependencyMissing: openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise DependencyMissing(
            f"{path.name}: reading Excel workbooks needs the package openpyxl",
            hint='pip install "gs-video-report[xlsx]", or save the list as CSV',
        ) from error
    check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(path, read_only=True, data_only=False, keep_links=False)
        try:
            yield from _rows(_choose(book, path, sheet))
        finally:
            book.close()
    except InputListError:
        raise
    # the reader raises whatever a damaged part provokes: KeyError, ParseError, BadZipFile, ...
    except Exception as error:
        raise InputListError(
            f"{path}: the workbook is damaged ({type(error).__name__})",
            hint="open it in Excel or LibreOffice and save it again, or save it as CSV",
        ) from error


def check_archive(path: Path) -> None:
    """Raises: InputListError when the archive is none, or would unpack to an absurd size."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputListError(f"{path}: the workbook is larger than {MAX_FILE_BYTES >> 20} MB")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise InputListError(f"{path}: the workbook has more than {MAX_MEMBERS} parts")
            for member in members:
                _check_member(path, archive, member)
    except InputListError:
        raise
    except Exception as error:  # damaged archives raise many kinds
        raise InputListError(
            f"{path}: this is not an Excel workbook (.xlsx)", hint="save it as .xlsx or as CSV"
        ) from error


def _check_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    is_sheet = member.filename.startswith("xl/worksheets/")
    limit = MAX_SHEET_BYTES if is_sheet else MAX_PART_BYTES
    if member.file_size > limit:
        raise InputListError(
            f"{path}: the workbook would unpack to more than {limit >> 20} MB ({member.filename})",
            hint="save only the list itself, as CSV",
        )
    if member.filename.lower().endswith((".xml", ".rels")):
        with archive.open(member) as part:
            if _MARKUP_BOMB.search(part.read(65536)):
                raise InputListError(f"{path}: the workbook defines XML entities; not read")


def _choose(book: Any, path: Path, sheet: str | None) -> Any:
    found = book.worksheets
    if not found:
        raise InputListError(f"{path}: the workbook has no sheet")
    if sheet is None:
        return found[0]
    for candidate in found:
        if candidate.title.strip().casefold() == sheet.strip().casefold():
            return candidate
    names = ", ".join(candidate.title for candidate in found[:20])
    raise InputListError(f"{path}: no sheet is named {sheet}", hint=f"found: {names}")


def _rows(sheet: Any) -> Iterator[Row]:
    sheet.reset_dimensions()  # the stored size may be wrong
    # the reader pads every row to the width asked for, so ask for the header's and one more
    width = min(_header_width(sheet) + 1, MAX_COLUMNS)
    cells = sheet.iter_rows(max_col=width, max_row=MAX_ROWS + 1, values_only=True)
    number = 0
    while True:
        # warnings are silenced around each chunk, not across a yield
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chunk = list(islice(cells, _CHUNK_ROWS))
        if not chunk:
            return
        for row in chunk:
            number += 1
            if number > MAX_ROWS:
                yield number, BadRow(f"only the first {MAX_ROWS} rows are read")
                return
            values = [cell_text(value) for value in row]
            while values and not values[-1]:
                values.pop()
            if values:
                yield number, values


def _header_width(sheet: Any) -> int:
    """Cells of the first row that holds anything, up to its last filled one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in sheet.iter_rows(max_col=MAX_COLUMNS, max_row=MAX_ROWS, values_only=True):
            filled = [i for i, value in enumerate(row) if value is not None]
            if filled:
                return filled[-1] + 1
    return 0


def cell_text(value: object) -> str:
    """A cell as a person would type it into a CSV file."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    text = str(value)
    link = _HYPERLINK.match(text)
    return link.group(1) if link else text
