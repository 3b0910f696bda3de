"""Tables of batches and of checkpoints, each with its JSON twin; the cards come from their modules.

Pure: rows of the database in, lines of text (without newlines) or JSON-able data out. Times of
day are shown in the zone of `now`; JSON keeps UTC as stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from gs_video_report.terminal.grid import Cell, Column, table
from gs_video_report.terminal.status_card import (
    BatchStateLike,
    batch_fields,
    batch_status,
    batch_status_json,
    counts_text,
    input_of,
    next_command,
)
from gs_video_report.terminal.styles import (
    UNKNOWN,
    clean,
    money,
    number,
    plural,
    size,
    span,
)
from gs_video_report.terminal.summary import resume_command
from gs_video_report.terminal.task_card import task_show, task_show_json
from gs_video_report.terminal.times import parse_time, when

__all__ = [
    "CheckpointLine",
    "batch_list",
    "batch_list_json",
    "batch_status",
    "batch_status_json",
    "checkpoint_list",
    "checkpoint_list_json",
    "counts_text",
    "next_command",
    "parse_time",
    "short_refs",
    "task_show",
    "task_show_json",
    "when",
]

MIN_REF = 4
_STATE_STYLES = {
    "completed": "ok",
    "skipped": "ok",
    "running": "accent",
    "paused": "warn",
    "interrupted": "warn",
    "retrying": "warn",
    "failed": "bad",
    "cancelled": "dim",
}


# --- gsvr batch list ---------------------------------------------------------------------------


def batch_list(
    states: Sequence[BatchStateLike],
    *,
    now: datetime,
    columns: int = 80,
    colour: bool = False,
    tail: str = "",
    restorable: int = 0,
) -> list[str]:
    """`gsvr batch list`: one line per batch, in the given order.

    Args:
        states: an empty list gives the way to start one.
        now: aware; its zone is the one times are shown in.
        columns: cells to stay within; the input column gives way.
        colour: write ANSI colours.
        tail: ends the commands that are named, see `BatchResult.command_tail`.
        restorable: batches whose checkpoints lie beside a database that is not there any more.
    """
    if not states and restorable:
        batches = plural(restorable, "batch", "batches")
        return [
            f"The database is not there, but checkpoints of {batches} are.",
            "Rebuild it with all of them, and go on with the newest:",
            f"     {resume_command('latest')}{tail}",
        ]
    if not states:
        return ["No batches yet. Start one:  gsvr batch process -d FOLDER"]
    refs = short_refs([state.row.batch_id for state in states])
    rows = [_batch_cells(state, refs[state.row.batch_id], now) for state in states]
    titles = [
        Column("REF"),
        Column("STARTED"),
        Column("STATE"),
        Column("DONE", right=True),
        Column("FAILED", right=True),
        Column("MEDIA", right=True),
        Column("COST", right=True),
        Column("INPUT", flexible=True),
    ]
    lines = list(table(titles, rows, columns, colour=colour))
    return [*lines, *_paused_notes(states, refs, now, tail)]


def _batch_cells(state: BatchStateLike, ref: str, now: datetime) -> list[Cell]:
    row, counts = state.row, state.counts
    done = counts.completed + counts.skipped
    return [
        Cell(ref, "bold"),
        Cell(when(row.started_at or row.created_at, now)),
        Cell(state.word, _STATE_STYLES.get(state.word, "")),
        Cell(f"{done}/{counts.total}"),
        Cell(number(counts.failed) if counts.failed else UNKNOWN, "bad" if counts.failed else ""),
        Cell(span(counts.media_s_total) if counts.media_s_total else UNKNOWN),
        Cell(money(counts.usd) if counts.usd else UNKNOWN),
        Cell(clean(input_of(row))),
    ]


def _paused_notes(
    states: Sequence[BatchStateLike], refs: Mapping[str, str], now: datetime, tail: str
) -> list[str]:
    notes = []
    for state in states:
        if state.word in ("paused", "interrupted"):
            ref = refs[state.row.batch_id]
            why = clean(state.row.status_reason)
            until = f", can go on {when(state.row.resume_at, now)}" if state.row.resume_at else ""
            notes.append(f"{ref} {state.word}{': ' + why if why else ''}{until}")
            notes.append(f"     {resume_command(ref)}{tail}")
    return ["", *notes] if notes else []


def batch_list_json(states: Iterable[BatchStateLike], restorable: int = 0) -> dict[str, Any]:
    """The same as JSON-able data."""
    value = {"v": 1, "type": "batches", "batches": [batch_fields(state) for state in states]}
    return value | ({"restorable": restorable} if restorable else {})


def short_refs(ids: Iterable[str]) -> dict[str, str]:
    """Each id with its shortest prefix of at least 4 characters that is unique among them."""
    ordered = sorted(set(ids))
    refs = {}
    for index, batch_id in enumerate(ordered):
        near = ordered[max(0, index - 1) : index] + ordered[index + 1 : index + 2]
        need = max([_common(batch_id, other) + 1 for other in near], default=MIN_REF)
        refs[batch_id] = batch_id[: max(MIN_REF, need)]
    return refs


def _common(a: str, b: str) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


# --- gsvr batch checkpoints --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckpointLine:
    """One checkpoint, as listed."""

    checkpoint_id: str
    batch_id: str
    created_at: str
    reason: str
    tasks: int
    size_bytes: int
    problem: str = ""
    """Why it cannot be used; empty if it is sound."""


def checkpoint_list(
    checkpoints: Sequence[CheckpointLine],
    *,
    now: datetime,
    columns: int = 80,
    colour: bool = False,
) -> list[str]:
    """`gsvr batch checkpoints`: one line each, in the given order."""
    if not checkpoints:
        return ["No checkpoints yet. A running batch writes them by itself."]
    rows = [
        [
            Cell(clean(line.checkpoint_id), "bold"),
            Cell(line.batch_id),
            Cell(when(line.created_at, now)),
            Cell(number(line.tasks), ""),
            Cell(size(line.size_bytes)),
            Cell(
                clean(f"unreadable: {line.problem}" if line.problem else line.reason),
                "bad" if line.problem else "",
            ),
        ]
        for line in checkpoints
    ]
    titles = [
        Column("CHECKPOINT"),
        Column("BATCH"),
        Column("TAKEN"),
        Column("TASKS", right=True),
        Column("SIZE", right=True),
        Column("WHY", flexible=True),
    ]
    return list(table(titles, rows, columns, colour=colour))


def checkpoint_list_json(checkpoints: Iterable[CheckpointLine]) -> dict[str, Any]:
    """The same as JSON-able data."""
    return {"v": 1, "type": "checkpoints", "checkpoints": [asdict(line) for line in checkpoints]}
