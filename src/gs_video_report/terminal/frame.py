"""The live picture as rows of styled text. Pure: a snapshot and a size in, rows out.

No row is wider than the screen, whatever the names; nothing is told by colour alone. The last
row is the shortest, because the terminal writes `^C` behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gs_video_report.batch.progress.snapshot import FailureLine, Snapshot, WorkerLine
from gs_video_report.terminal.styles import (
    UNKNOWN,
    Glyphs,
    clean,
    clock,
    cut_end,
    cut_middle,
    money,
    number,
    pad,
    percent,
    realtime,
    size,
    span,
    time_left,
    width,
)

MAX_WORKERS = 8
MAX_COLUMNS = 120
CLOCK_FROM_S = 600.0
"""The time of day at the end is shown only when it is at least this far away."""
_OTHER_ROWS = 9
"""Rows that are not workers, at most: header, bar, "more", facts, what is waited for, two failures,
hint, a blank."""
_WIDE = 104
"""From this width on each worker has a small bar."""
_NOTES = 72
"""From this width on workers have room for a note."""
_FINE_FROM = 200
"""Batches of so many videos show tenths of a percent."""

Segment = tuple[str, str]
"""(text, style); styles are those of `styles.paint`, empty for none."""
Row = list[Segment]


@dataclass(frozen=True, slots=True)
class Screen:
    """What the picture is drawn for."""

    columns: int
    rows: int
    glyphs: Glyphs
    encoding: str = "utf-8"
    now: datetime | None = None
    """Local time of day; None leaves out the clock time of the end."""


def frame(snapshot: Snapshot, screen: Screen) -> list[Row]:
    """All rows, top to bottom; at most `screen.rows - 1` of them, and at least the header."""
    columns = min(screen.columns, MAX_COLUMNS)
    shown = max(1, min(MAX_WORKERS, screen.rows - _OTHER_ROWS - 1))
    rows = [_header(snapshot, screen, columns), _bar(snapshot, screen, columns)]
    rows += [_worker(line, screen, columns) for line in snapshot.workers[:shown]]
    more = len(snapshot.workers) - shown
    if more > 0:
        rows.append([(f"   + {more} more", "dim")])
    rows.append(_facts(snapshot, screen, columns))
    if snapshot.quota_wait is not None:
        sentence = printable(snapshot.quota_wait.sentence, screen.encoding)
        rows.append([(cut_end(sentence, columns), "warn")])
    rows += [_failure(line, screen, columns) for line in snapshot.failures]
    rows.append(_hint(snapshot, screen, columns))
    if len(rows) < screen.rows - 2:
        rows.insert(0, [])
    rows = rows[: max(1, screen.rows - 1)]
    rows[-1] = _fit(rows[-1], max(1, columns - 4))  # also when a low screen left the hint out
    return rows


def row_text(row: Row) -> str:
    """The row without styles."""
    return "".join(text for text, _ in row)


def printable(text: str, encoding: str) -> str:
    """`text` without control characters, and `?` for what `encoding` cannot carry."""
    safe = clean(text)
    if safe.isascii():
        return safe
    return safe.encode(encoding, "replace").decode(encoding, "replace")


# --- header and bar ----------------------------------------------------------------------------


def _header(snapshot: Snapshot, screen: Screen, columns: int) -> Row:
    elapsed = clock(snapshot.elapsed_s)
    title = f"Batch {snapshot.ref} "
    facts = _count_facts(snapshot)
    dot = f" {screen.glyphs.dot} "
    name = printable(snapshot.name, screen.encoding)
    fixed = len(title) + len(elapsed) + 4
    least = min(width(name), 12)
    while len(facts) > 1 and _facts_width(facts, dot) + fixed + least > columns:
        facts.pop()
    room = columns - fixed - _facts_width(facts, dot)
    name = cut_middle(name, max(0, room))
    row: Row = [("Batch ", ""), (f"{snapshot.ref} ", "bold"), (name, ""), ("  ", "")]
    row += _joined(facts, dot)
    gap = columns - width(row_text(row)) - len(elapsed)
    return _fit([*row, (" " * max(2, gap), ""), (elapsed, "dim")], columns)


def _count_facts(snapshot: Snapshot) -> Row:
    """Most important first; the last ones are dropped where room is short."""
    counts = snapshot.counts
    done = counts.completed + counts.skipped
    facts: Row = [(f"{number(done)}/{number(counts.total)} done", "bold")]
    if snapshot.stopping:
        facts.append(("stopping", "warn"))
    elif snapshot.state == "paused":
        facts.append(("paused", "warn"))
    if counts.failed:
        facts.append((f"{number(counts.failed)} failed", "bad"))
    facts.append((f"{number(counts.running)} running", ""))
    if counts.pending:
        facts.append((f"{number(counts.pending)} pending", ""))
    if counts.retrying:
        facts.append((f"{number(counts.retrying)} retrying", "warn"))
    if counts.skipped:
        facts.append((f"{number(counts.skipped)} skipped", "dim"))
    return facts


def _bar(snapshot: Snapshot, screen: Screen, columns: int) -> Row:
    about = "~" if snapshot.media.unknown else ""
    label = f"  {_overall(snapshot)}"
    if snapshot.media.total_s > 0:
        label += f" of {about}{span(snapshot.media.total_s)}"
    cells = max(4, columns - len(label))
    return _fit([*_bar_cells(snapshot.fraction, cells, screen.glyphs), (label, "")], columns)


def _overall(snapshot: Snapshot) -> str:
    if snapshot.counts.total < _FINE_FROM or snapshot.fraction >= 1:
        return percent(snapshot.fraction)
    return f"{int(snapshot.fraction * 1000 + 1e-9) / 10:.1f} %"


def _bar_cells(fraction: float, cells: int, glyphs: Glyphs) -> Row:
    """A bar in half cells where the glyphs have a tip, else in whole ones."""
    halves = int(max(0.0, min(1.0, fraction)) * cells * 2 + 1e-9)
    full, half = divmod(halves, 2)
    tip = glyphs.bar_tip if half else ""
    rest = cells - full - len(tip)
    return [(glyphs.bar_full * full + tip, "accent"), (glyphs.bar_empty * rest, "faint")]


# --- workers -----------------------------------------------------------------------------------


def _worker(line: WorkerLine, screen: Screen, columns: int) -> Row:
    wide = columns >= _WIDE
    note_cells = 30 if wide else 16 if columns >= _NOTES else 0
    fixed = 3 + 2 + 10 + 1 + 5 + 1 + 7 + 2 + (14 if wide else 0)
    name_cells = max(8, columns - fixed - note_cells)
    name = cut_middle(printable(line.name, screen.encoding), name_cells)
    row: Row = [
        (f"{line.slot:>2} ", "dim"),
        (pad(name, name_cells), ""),
        ("  " + pad(line.stage, 10), "accent" if line.stage else ""),
    ]
    if wide:
        row += [(" ", ""), *_small_bar(line.fraction, screen.glyphs), (" ", "")]
    row.append((" " + pad(percent(line.fraction), 5, right=True), ""))
    row.append((" " + pad(clock(line.elapsed_s), 7, right=True), "dim"))
    if line.note and note_cells:
        note = cut_end(printable(line.note, screen.encoding), note_cells)
        row.append(("  " + note, "warn"))
    return _fit(row, columns)


def _small_bar(fraction: float | None, glyphs: Glyphs) -> Row:
    if fraction is None:
        return [(" " * 12, "")]
    return _bar_cells(fraction, 12, glyphs)


# --- facts, failures, hint ---------------------------------------------------------------------


def _facts(snapshot: Snapshot, screen: Screen, columns: int) -> Row:
    dot = f" {screen.glyphs.dot} "
    facts: Row = [_left(snapshot, screen)]
    if snapshot.realtime is not None:
        facts.insert(0, (f"{realtime(snapshot.realtime)} realtime", ""))
    if snapshot.usd > 0:
        facts.insert(len(facts) - 1, (_cost(snapshot), ""))
    media = (f"{span(snapshot.media.done_s)} media", "")
    if _facts_width([media, *facts], dot) <= columns:
        facts.insert(0, media)
    while len(facts) > 1 and _facts_width(facts, dot) > columns:
        facts.pop(0)
    return _fit(_joined(facts, dot), columns)


def _cost(snapshot: Snapshot) -> str:
    spent = money(snapshot.usd)
    if snapshot.usd_expected is None:
        return spent
    return f"{spent} of ~{money(snapshot.usd_expected)}"


def _left(snapshot: Snapshot, screen: Screen) -> Segment:
    if snapshot.stopping:
        return "finishing the steps in flight", "warn"
    if snapshot.state == "paused":
        reason = f" ({printable(snapshot.reason, screen.encoding)})" if snapshot.reason else ""
        return f"paused{_until(snapshot, screen)}{reason}", "warn"
    eta = snapshot.eta
    text = f"left {time_left(eta)}" if eta is not None else "left: estimating"
    if not snapshot.counts.open:
        return "finishing", "bold"
    if eta is None or screen.now is None or eta.mid_s < CLOCK_FROM_S:
        return text, "bold" if eta is not None else "dim"
    return f"{text} ({_about_clock(screen.now, eta.mid_s)})", "bold"


def _about_clock(now: datetime, left_s: float) -> str:
    end = now + timedelta(seconds=left_s)
    day = "" if end.date() == now.date() else f"{end:%a} "
    return f"about {day}{end:%H:%M}"


def _until(snapshot: Snapshot, screen: Screen) -> str:
    if not snapshot.resume_at:
        return ""
    try:
        at = datetime.fromisoformat(snapshot.resume_at)
    except ValueError:
        return f" until {snapshot.resume_at}"
    if screen.now is None:
        return f" until {at:%H:%M}Z"
    local = at.astimezone(screen.now.tzinfo)
    day = "" if local.date() == screen.now.date() else f"{local:%a} "
    return f" until {day}{local:%H:%M}"


def _failure(line: FailureLine, screen: Screen, columns: int) -> Row:
    head = f"{screen.glyphs.failed} failed "
    message = printable(line.message, screen.encoding)
    name = printable(line.name, screen.encoding)
    for prefix in (name, name.rsplit("/", 1)[-1]):
        if message.startswith(f"{prefix}: "):
            message = message[len(prefix) + 2 :]
    room = columns - width(head)
    name = cut_middle(name, max(12, room - width(message) - 2, room // 2 - 2))
    rest = cut_end(f": {message}", room - width(name))
    return _fit([(head, "bad"), (name, ""), (rest, "dim")], columns)


def _hint(snapshot: Snapshot, screen: Screen, columns: int) -> Row:
    facts = []
    if snapshot.cpu_percent is not None:
        facts.append(f"cpu {snapshot.cpu_percent:.0f} %")
    if snapshot.memory_bytes is not None:
        facts.append(f"mem {size(snapshot.memory_bytes)}")
    facts.append(_way_out(snapshot))
    text = f" {screen.glyphs.dot} ".join(facts)
    return _fit([(text, "dim")], max(1, columns - 4))


def _way_out(snapshot: Snapshot) -> str:
    if snapshot.watched:
        return "Ctrl-C leaves the batch running"
    return "Ctrl-C again stops now" if snapshot.stopping else "Ctrl-C stops, resumable"


# --- helpers -----------------------------------------------------------------------------------


def _joined(facts: Row, dot: str) -> Row:
    row: Row = []
    for index, fact in enumerate(facts):
        if index:
            row.append((dot, "dim"))
        row.append(fact)
    return row


def _facts_width(facts: Row, dot: str) -> int:
    return sum(width(text) for text, _ in facts) + width(dot) * max(0, len(facts) - 1)


def _fit(row: Row, columns: int) -> Row:
    """The row cut to `columns`; only very narrow screens need it."""
    fitted: Row = []
    room = columns
    for text, style in row:
        part = cut_end(text, room, "")
        fitted.append((part if width(text) > room else text, style))
        room -= width(fitted[-1][0])
        if room <= 0:
            break
    return fitted


__all__ = ["UNKNOWN", "Row", "Screen", "frame", "printable", "row_text"]
