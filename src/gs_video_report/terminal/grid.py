"""Rows in columns, as plain text of a given width. Pure.

At most one column gives way when room is short: it is cut in the middle, so that names keep
their extension. Widths are terminal cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gs_video_report.terminal.styles import cut_end, cut_middle, paint, width

GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    title: str
    right: bool = False
    """Numbers stand on the right."""
    flexible: bool = False
    """Gives way when room is short."""
    least: int = 0
    """Cells it has at least."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Text with a style of `styles.paint`."""

    text: str
    style: str = ""


Row = Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns with their cells; made once, so that rows can be streamed."""

    columns: tuple[Column, ...]
    cells: tuple[int, ...]

    @classmethod
    def fit(cls, columns: Sequence[Column], rows: Sequence[Row], total: int) -> Layout:
        """Widths for `rows` within `total` cells; the flexible column takes what is left."""
        cells = [
            max([column.least, width(column.title), *(width(row[i].text) for row in rows)])
            for i, column in enumerate(columns)
        ]
        over = sum(cells) + len(GAP) * (len(cells) - 1) - total
        for i, column in enumerate(columns):
            if column.flexible and over > 0:
                cells[i] = max(column.least or 12, cells[i] - over)
        return cls(tuple(columns), tuple(cells))

    def header(self, colour: bool = False) -> str:
        """The titles."""
        return self.line([Cell(column.title, "dim") for column in self.columns], colour)

    def line(self, row: Row, colour: bool = False) -> str:
        """One row, without blanks at the end; fewer cells than columns are fine."""
        parts = []
        for column, cells, cell in zip(self.columns, self.cells, row, strict=False):
            text = cut_middle(cell.text, cells) if column.flexible else cell.text
            fill = " " * (cells - width(text))
            painted = paint(text, cell.style, colour)
            parts.append(fill + painted if column.right else painted + fill)
        return GAP.join(parts).rstrip()

    def spanning(self, row: Row, last: Cell, total: int, colour: bool = False) -> str:
        """A row whose cells are followed by `last`, which takes the rest of the line.

        `last` is cut at its end where it would pass `total` cells, but keeps 24.
        """
        start = sum(self.cells[: len(row)]) + len(GAP) * len(row)
        text = cut_end(last.text, max(24, total - start))
        fill = " " * (start - width(self.line(row)))
        return self.line(row, colour) + fill + paint(text, last.style, colour)


def table(
    columns: Sequence[Column], rows: Sequence[Row], total: int, *, colour: bool = False
) -> Iterator[str]:
    """Header and rows as lines."""
    layout = Layout.fit(columns, rows, total)
    yield layout.header(colour)
    for row in rows:
        yield layout.line(row, colour)
