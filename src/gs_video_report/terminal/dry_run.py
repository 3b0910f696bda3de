"""What a batch would do, without doing it: a table of the first files, then the totals.

Streams: 100,000 files pass through; only the rows that are shown are held. The same iteration
feeds the totals, so that what is shown and what is summed cannot differ.
Never: opens a file, sends a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from typing import Any

from gs_video_report.terminal.grid import Cell, Column, Layout
from gs_video_report.terminal.styles import (
    UNKNOWN,
    clean,
    clock,
    money,
    number,
    paint,
    plural,
    prose_span,
    short_number,
    size,
    span_range,
)

ABOUT = "≈"
"""Stands before a length that was guessed."""
SHOWN = 20
"""Rows shown unless every row is asked for."""
SHOWN_REJECTED = 5
"""Rejected files that are shown although they come later."""
PROCESS, SKIP, REJECT = "process", "skip", "reject"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One file of the plan."""

    name: str
    action: str = PROCESS
    """`process`, `skip` or `reject`."""
    reason: str = ""
    """Why it is skipped or rejected."""
    media_s: float | None = None
    """None: length unknown."""
    size_bytes: int | None = None
    seconds: float | None = None
    """Work in wall seconds with one task in flight."""
    requests: int = 0
    tokens: int = 0
    usd: float | None = None
    usd_max: float = 0.0
    media_guessed: bool = False
    """The length was guessed from the size: the file was not opened, or the site did not tell."""


@dataclass(frozen=True, slots=True)
class PlanInfo:
    """What is known about the run as a whole."""

    engine: str
    template: str
    parallel: int
    output_dir: str
    run_command: str
    """Copyable."""
    free_bytes: int | None = None
    """Free space where the output goes."""
    output_bytes: Callable[[PlanTotals], int] | None = None
    """Estimate of what the reports need."""
    spread: tuple[float, float] = (0.5, 1.5)
    """Low and high factor of the time estimate: narrower with measured history."""
    basis: str = "from a built-in table, +/- 50 %"
    """Where the time estimate comes from."""
    cost_limit_usd: float | None = None
    prices_of: str = ""
    """Date of the price table."""
    notes: tuple[str, ...] = ()
    """Sentences to add."""
    asks_sites: bool = False
    """There are addresses among the inputs, and their sites were asked."""
    why: str = ""
    """Why this engine was chosen; empty when it was asked for."""


@dataclass(slots=True)
class PlanTotals:
    """Sums over all rows."""

    files: int = 0
    process: int = 0
    skip: int = 0
    reject: int = 0
    media_s: float = 0.0
    """Of the files to process whose length is known."""
    unknown_length: int = 0
    guessed_length: int = 0
    """Files to process whose length is a guess."""
    size_bytes: int = 0
    """Of the files to process."""
    seconds: float = 0.0
    longest_s: float = 0.0
    requests: int = 0
    tokens: int = 0
    usd: float = 0.0
    usd_max: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)
    """Files per reason of not processing; at most 50 reasons."""

    def add(self, row: PlanRow) -> None:
        """Count one row."""
        self.files += 1
        if row.action != PROCESS:
            self._left_out(row)
            return
        self.process += 1
        self.size_bytes += row.size_bytes or 0
        self.requests += row.requests
        self.tokens += row.tokens
        self.usd += row.usd or 0.0
        self.usd_max += max(row.usd_max, row.usd or 0.0)
        if row.media_s is None:
            self.unknown_length += 1
        else:
            self.media_s += row.media_s
            self.guessed_length += row.media_guessed
        self.seconds += row.seconds or 0.0
        self.longest_s = max(self.longest_s, row.seconds or 0.0)

    def _left_out(self, row: PlanRow) -> None:
        if row.action == SKIP:
            self.skip += 1
        else:
            self.reject += 1
        reason = row.reason if row.reason in self.reasons or len(self.reasons) < 50 else "other"
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    def wall_s(self, parallel: int) -> tuple[float, float]:
        """Wall seconds with `parallel` workers: shared out perfectly, and with the worst tail.

        Source: Graham, "Bounds on Multiprocessing Timing Anomalies", 1969.
        """
        workers = max(1, min(parallel, self.process or 1))
        even = self.seconds / workers
        return max(even, self.longest_s), even + self.longest_s * (1 - 1 / workers)


@dataclass(slots=True)
class DryRun:
    """A plan being shown: iterate `lines()`, then read `totals`."""

    rows: Iterable[PlanRow]
    info: PlanInfo
    show_all: bool = False
    columns: int = 80
    colour: bool = False
    about: str = ABOUT
    totals: PlanTotals = field(default_factory=PlanTotals)

    def lines(self) -> Iterator[str]:
        """All lines, without newlines; rows are taken one by one."""
        asked = "sites are only asked for titles and lengths" if self.info.asks_sites else ""
        yield f"Dry run: nothing is written, {asked or 'no request is sent'}."
        yield from self._table()
        yield ""
        yield from total_lines(self.totals, self.info, self.colour, self.about)

    def _table(self) -> Iterator[str]:
        rows = enumerate(self.rows, start=1)
        head = [(n, self._take(row)) for n, row in islice(rows, SHOWN)]
        cells = [self._cells(n, row) for n, row in head if row.action == PROCESS]
        later = [_LATER] if len(head) == SHOWN else []
        short = [[*self._facts(n, row), Cell(""), Cell(""), Cell("")] for n, row in head]
        layout = Layout.fit(_COLUMNS, [*cells, *short, *later], self.columns)
        yield layout.header(self.colour)
        for n, row in head:
            yield self._line(layout, n, row)
        hidden = 0
        rejected: list[tuple[int, PlanRow]] = []
        for n, row in rows:
            self._take(row)
            if self.show_all:
                yield self._line(layout, n, row)
                continue
            hidden += 1
            if row.action == REJECT and len(rejected) < SHOWN_REJECTED:
                rejected.append((n, row))
        if hidden:
            yield f"     ... {number(hidden)} more (--all shows every row)"
        for n, row in rejected:
            yield self._line(layout, n, row)

    def _take(self, row: PlanRow) -> PlanRow:
        self.totals.add(row)
        return row

    def _line(self, layout: Layout, n: int, row: PlanRow) -> str:
        if row.action == PROCESS:
            return layout.line(self._cells(n, row), self.colour)
        reason = f": {clean(row.reason)}" if row.reason else ""
        last = Cell(row.action + reason, "bad" if row.action == REJECT else "dim")
        return layout.spanning(self._facts(n, row), last, self.columns, self.colour)

    def _facts(self, n: int, row: PlanRow) -> list[Cell]:
        about = self.about if row.media_guessed else ""
        return [
            Cell(str(n), "dim"),
            Cell(clean(row.name)),
            Cell(about + clock(row.media_s)),
            Cell(size(row.size_bytes)),
        ]

    def _cells(self, n: int, row: PlanRow) -> list[Cell]:
        time = UNKNOWN
        if row.seconds is not None:
            low, high = self.info.spread
            time = span_range(row.seconds * low, row.seconds * high)
        return [*self._facts(n, row), Cell(row.action), Cell(time), Cell(money(row.usd or None))]


_COLUMNS = (
    Column("#", right=True, least=3),
    Column("File", flexible=True, least=16),
    Column("Length", right=True, least=7),
    Column("Size", right=True),
    Column("Action", least=7),
    Column("Time", right=True),
    Column("Cost", right=True),
)

_LATER = [Cell(text) for text in ("", "x" * 40, f"{ABOUT}0:00:00", "", "", "", "")]
"""Stands for names and lengths that are not known yet when the columns are laid out."""


def dry_run(
    rows: Iterable[PlanRow],
    info: PlanInfo,
    *,
    show_all: bool = False,
    columns: int = 80,
    colour: bool = False,
    about: str = ABOUT,
) -> DryRun:
    """The plan as text: `for line in dry_run(rows, info).lines(): ...`."""
    return DryRun(rows, info, show_all, columns, colour, about)


def total_lines(
    totals: PlanTotals, info: PlanInfo, colour: bool = False, about: str = ABOUT
) -> list[str]:
    """What all files together need, and the command that does it."""
    lines = [_count_line(totals)]
    why = f" ({clean(info.why)})" if info.why else ""
    lines.append(f"Engine  {clean(info.engine)}{why}, template {clean(info.template)}")
    if totals.process:
        lines.append(f"Media   {_media_text(totals, about)}")
        lines.append(f"Time    {_time_text(totals, info)}")
        lines.append(f"Cost    {_cost_text(totals, info)}")
        if info.cost_limit_usd is not None:
            lines.append(f"Limit   {money(info.cost_limit_usd)} (--cost-limit)")
        lines.append(f"Output  {_output_text(totals, info)}")
    lines += [f"Note    {clean(note)}" for note in (*_warnings(totals, info), *info.notes)]
    if totals.process:
        lines.append(f"Run it: {paint(clean(info.run_command), 'bold', colour)}")
    return lines


def _count_line(totals: PlanTotals) -> str:
    parts = [f"{number(totals.process)} to process"]
    if totals.skip:
        parts.append(f"{number(totals.skip)} skipped")
    if totals.reject:
        parts.append(f"{number(totals.reject)} rejected")
    return f"{plural(totals.files, 'file')}: {', '.join(parts)}"


def _media_text(totals: PlanTotals, about: str) -> str:
    mark = about if totals.guessed_length else ""
    parts = [mark + prose_span(totals.media_s)] if totals.media_s else []
    if totals.guessed_length:
        parts.append(f"length of {plural(totals.guessed_length, 'file')} guessed from the size")
    if totals.unknown_length:
        parts.append(f"{plural(totals.unknown_length, 'file')} of unknown length")
    if totals.size_bytes:
        parts.append(size(totals.size_bytes))
    return ", ".join(parts) or UNKNOWN


def _time_text(totals: PlanTotals, info: PlanInfo) -> str:
    low, high = totals.wall_s(info.parallel)
    if high <= 0:
        return "unknown"
    text = span_range(low * info.spread[0], high * info.spread[1])
    return f"{text} with {plural(info.parallel, 'worker')} ({clean(info.basis)})"


def _cost_text(totals: PlanTotals, info: PlanInfo) -> str:
    if not totals.requests and not totals.usd_max:
        return "nothing: no request leaves this machine"
    text = f"about {money(totals.usd)}, at most {money(totals.usd_max)}"
    facts = [plural(totals.requests, "request"), f"{short_number(totals.tokens)} tokens"]
    tail = f"; prices of {info.prices_of}" if info.prices_of else ""
    return f"{text} ({', '.join(facts)}{tail})"


def _output_text(totals: PlanTotals, info: PlanInfo) -> str:
    needed = f"about {size(info.output_bytes(totals))} in " if info.output_bytes else ""
    free = f" ({size(info.free_bytes)} free)" if info.free_bytes is not None else ""
    return f"{needed}{clean(info.output_dir)}{free}"


def _warnings(totals: PlanTotals, info: PlanInfo) -> list[str]:
    notes = []
    needed = info.output_bytes(totals) if info.output_bytes else 0
    if info.free_bytes is not None and needed > info.free_bytes:
        notes.append("the disk is too small for the reports; choose another --output")
    if info.cost_limit_usd is not None and totals.usd > info.cost_limit_usd:
        notes.append("the batch will pause at the cost limit before it is done")
    return notes


_ROW_FIELDS = tuple(entry.name for entry in fields(PlanRow))


def dry_run_json(rows: Iterable[PlanRow], info: PlanInfo) -> Iterator[dict[str, Any]]:
    """The twin as JSON-able objects: one `plan_row` per file, then one `plan` with the totals."""
    totals = PlanTotals()
    for n, row in enumerate(rows, start=1):
        totals.add(row)
        yield {"v": 1, "type": "plan_row", "n": n} | {k: getattr(row, k) for k in _ROW_FIELDS}
    low, high = totals.wall_s(info.parallel)
    yield {
        "v": 1,
        "type": "plan",
        "engine": info.engine,
        "engine_why": info.why,
        "template": info.template,
        "parallel": info.parallel,
        "output": info.output_dir,
        **asdict(totals),
        "wall_s": [round(low * info.spread[0]), round(high * info.spread[1])],
        "output_bytes": info.output_bytes(totals) if info.output_bytes else None,
        "free_bytes": info.free_bytes,
        "cost_limit_usd": info.cost_limit_usd,
        "notes": [*_warnings(totals, info), *info.notes],
        "run": info.run_command,
        "exit_code": 0 if totals.files else 5,
    }
