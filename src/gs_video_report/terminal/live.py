"""The live screen: a small picture at the bottom, finished videos scroll above it.

Drawn with rich on stderr, at most four times a second. The cursor is given back by `close()`,
and at interpreter exit if nobody came that far.
Never: draws from a thread, writes to stdout, wraps a line.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from gs_video_report.batch.data_models import BatchResult
from gs_video_report.batch.progress.snapshot import Snapshot
from gs_video_report.terminal.failures import FailureGroup
from gs_video_report.terminal.frame import MAX_COLUMNS, Row, Screen, frame, printable
from gs_video_report.terminal.plain import error_words
from gs_video_report.terminal.printer import TaskLine, WallClock, utc_now
from gs_video_report.terminal.stream import LineWriter
from gs_video_report.terminal.styles import (
    clock,
    cut_end,
    cut_middle,
    glyphs_for,
    money,
    number,
    pad,
    realtime,
    wants_colour,
    width,
    wrap,
)
from gs_video_report.terminal.summary import KeptWork, summary_lines
from gs_video_report.terminal.times import when

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

INTERVAL_S = 0.25
"""Seconds between two drawings."""
_NARROW = 72
"""Below this width finished videos show only the time they took."""
_SHOW_CURSOR = "\x1b[?25h"
_RICH_STYLES = {
    "ok": "green",
    "bad": "red",
    "warn": "yellow",
    "dim": "dim",
    "faint": "bright_black",
    "bold": "bold",
    "accent": "cyan",
}


class LivePrinter:
    """The face for terminals.

    Args:
        stderr: a terminal.
        env: environment, for colour and terminal kind.
        verbose: also list report files and warnings.
        now: time of day, UTC.
        size: (columns, rows) instead of the terminal's own.
    """

    def __init__(
        self,
        stderr: TextIO,
        *,
        env: Mapping[str, str],
        verbose: bool = False,
        now: WallClock = utc_now,
        size: tuple[int, int] | None = None,
    ) -> None:
        self._stream = stderr
        self._out = LineWriter(stderr)
        self._colour = wants_colour(stderr, env)
        self._glyphs = glyphs_for(self._out.encoding, colour=self._colour)
        self._verbose = verbose
        self._now = now
        self._console = _console(stderr, env, size)
        self._live: Live | None = None
        self._last: Snapshot | None = None
        self._drawn_s = 0.0
        self._lost = False

    # --- events ---------------------------------------------------------------------------------

    def started(self, snapshot: Snapshot, plan: str = "") -> None:
        """The plan above, the picture below."""
        self._last = snapshot
        for line in plan.splitlines():
            self._above([(printable(line, self._out.encoding), "")])
        self._start()
        self._draw(snapshot)

    def task_done(self, line: TaskLine) -> None:
        """One line above the picture."""
        self._above(self._done_row(line))
        if self._verbose:
            for text in (*(f"wrote {path}" for path in line.outputs), *line.warnings):
                self._above([(f"     {printable(text, self._out.encoding)}", "dim")])

    def task_failed(self, line: TaskLine) -> None:
        """One line above the picture."""
        self._above(self._trouble_row(f"{self._glyphs.failed} failed", "bad", line, ""))

    def task_retry(self, line: TaskLine) -> None:
        """One line above the picture."""
        wait = f" in {line.delay_s:.0f} s" if line.delay_s is not None else ""
        tail = f"; try {line.attempt + 1} of {line.tries}{wait}"
        self._above(self._trouble_row(f"{self._glyphs.retry} retry ", "warn", line, tail))

    def note(self, text: str) -> None:
        """A sentence above the picture, folded at the width of the screen."""
        for line in wrap(printable(text, self._out.encoding), self._columns - 7):
            self._above([("note   ", "dim"), (line, "")])

    def tick(self, snapshot: Snapshot) -> None:
        """Draw, unless it was drawn a moment ago."""
        self._last = snapshot
        if snapshot.elapsed_s - self._drawn_s >= INTERVAL_S - 0.01:
            self._draw(snapshot)

    def status(self, snapshot: Snapshot) -> None:
        """Draw now."""
        self._last = snapshot
        self._draw(snapshot)

    def interrupted(self, message: str) -> None:
        """The message above the picture, at once."""
        for line in wrap(printable(message, self._out.encoding), self._columns):
            self._above([(line, "warn")])

    def paused(self, reason: str, resume_at: str | None = None) -> None:
        """One line above the picture, which stays and shows the pause."""
        until = f", goes on {when(resume_at, self._now().astimezone())}" if resume_at else ""
        self.interrupted(f"Paused: {reason}{until}")

    def finished(
        self,
        result: BatchResult,
        failures: Sequence[FailureGroup] = (),
        reports: Sequence[str] = (),
        *,
        kept: KeptWork | None = None,
        message: str = "",
    ) -> None:
        """The picture goes, the summary stays."""
        self.close()
        for line in summary_lines(
            result,
            failures,
            reports,
            snapshot=self._last,
            kept=kept,
            message=message,
            columns=self._columns,
            colour=self._colour,
        ):
            self._out.line(line)

    @property
    def lost(self) -> bool:
        """Nobody reads any more."""
        return self._lost or self._out.lost

    def close(self) -> None:
        """Remove the picture and show the cursor."""
        live, self._live = self._live, None
        if live is None:
            return
        atexit.unregister(self._show_cursor)
        with suppress(OSError, ValueError):
            live.stop()

    # --- drawing --------------------------------------------------------------------------------

    @property
    def _columns(self) -> int:
        return min(self._console.width, MAX_COLUMNS)

    def _start(self) -> None:
        from rich.live import Live

        if self._live is not None or self._lost:
            return
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        atexit.register(self._show_cursor)
        with self._lost_is_fine():
            self._live.start()

    def _draw(self, snapshot: Snapshot) -> None:
        self._drawn_s = snapshot.elapsed_s
        if self._live is not None:
            with self._lost_is_fine():
                self._live.update(self._picture(snapshot), refresh=True)

    def _picture(self, snapshot: Snapshot) -> Group:
        from rich.console import Group

        size = self._console.size
        screen = Screen(size.width, size.height, self._glyphs, self._out.encoding, self._local())
        return Group(*(_text(row) for row in frame(snapshot, screen)))

    def _above(self, row: Row) -> None:
        """Print one row above the picture; the picture is redrawn below it."""
        if not self._lost:
            with self._lost_is_fine():
                self._console.print(_text(row), no_wrap=True, overflow="crop", crop=True)

    @contextmanager
    def _lost_is_fine(self) -> Iterator[None]:
        """A vanished terminal ends the drawing, never the batch."""
        try:
            yield
        except (OSError, ValueError):
            self._lost = True
            self.close()

    def _local(self) -> datetime:
        return self._now().astimezone()

    def _show_cursor(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(_SHOW_CURSOR)
            self._stream.flush()

    # --- rows -----------------------------------------------------------------------------------

    def _done_row(self, line: TaskLine) -> Row:
        word = "done  " if line.state == "completed" else pad(line.state, 6)
        glyph = self._glyphs.done if line.state == "completed" else self._glyphs.skipped
        head = f"{glyph} {word} "
        total = number(line.total)
        count = f"{number(line.done):>{len(total)}}/{total} " if line.total else ""
        facts = _done_facts(line, self._columns)
        room = max(12, self._columns - width(head) - width(count) - len(facts))
        name = cut_middle(printable(line.name, self._out.encoding), room)
        return [(head, "ok"), (count, "dim"), (pad(name, room), ""), (facts, "dim")]

    def _trouble_row(self, head: str, style: str, line: TaskLine, tail: str) -> Row:
        reason = printable(error_words(line, stage=False), self._out.encoding)
        room = self._columns - width(head) - 1 - width(tail)
        wish = room - width(reason) - 2
        name = cut_middle(printable(line.name, self._out.encoding), max(12, wish, room // 2 - 2))
        rest = cut_end(f": {reason}", room - width(name))
        return [(f"{head} ", style), (name, ""), (rest, ""), (tail, "dim")]


def _done_facts(line: TaskLine, columns: int) -> str:
    """Length, time, speed and cost in columns that stand below each other."""
    length, took = clock(line.media_s), clock(line.took_s)
    if columns < _NARROW:
        return f"  {took:>7}"
    text = f"  {length:>7} in {took:<7}"
    speed = line.media_s / line.took_s if line.media_s and line.took_s else None
    text += f" {realtime(speed):>5}"
    return text + (f"  {money(line.usd):>6}" if line.usd > 0 else "")


def _console(stderr: TextIO, env: Mapping[str, str], size: tuple[int, int] | None) -> Console:
    from rich.console import Console

    return Console(
        file=stderr,
        force_terminal=True,
        force_interactive=True,
        no_color=bool(env.get("NO_COLOR")),
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        width=size[0] if size else None,
        height=size[1] if size else None,
        _environ=dict(env),
    )


def _text(row: Row) -> Text:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop")
    for part, style in row:
        text.append(part, _RICH_STYLES.get(style, ""))
    return text
