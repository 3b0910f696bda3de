"""One batch on a card: counts, failures by cause, the next command; and its JSON twin.

Pure: rows of the database in, lines of text (without newlines) or JSON-able data out. Times of
day are shown in the zone of `now`; JSON keeps UTC as stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchRow,
    BatchStatus,
    Doubt,
    TaskStatus,
    VideoTask,
)
from gs_video_report.batch.progress.snapshot import display_name
from gs_video_report.terminal.failures import FailureGroup, failure_lines, with_ref
from gs_video_report.terminal.styles import (
    UNKNOWN,
    clean,
    clock,
    cut_middle,
    money,
    number,
    percent,
    prose_span,
    span,
)
from gs_video_report.terminal.summary import (
    doubt_text,
    resume_command,
    retry_command,
    uncancel_command,
)
from gs_video_report.terminal.times import parse_time, when

LEAST_NAME = 16
"""Cells that a name keeps, however narrow the screen is."""


class BatchStateLike(Protocol):
    """A batch, its counts, and its state in one word."""

    @property
    def row(self) -> BatchRow:
        """The batch."""
        ...

    @property
    def counts(self) -> BatchCounts:
        """Its tasks."""
        ...

    @property
    def word(self) -> str:
        """`running`, `interrupted`, `paused` ..."""
        ...

    @property
    def hint(self) -> str:
        """What to do about the reason of a pause; may be empty."""
        ...

    @property
    def doubt(self) -> Doubt:
        """Money that may not have been spent."""
        ...


def batch_status(
    state: BatchStateLike,
    failures: Sequence[FailureGroup] = (),
    *,
    running: Iterable[VideoTask] = (),
    now: datetime,
    columns: int = 80,
    colour: bool = False,
    tail: str = "",
) -> list[str]:
    """`gsvr batch status REF`: a card, failures by cause, the next command.

    Args:
        state: the batch.
        failures: from `group_failures`.
        running: tasks that are being worked on now; the first eight are shown.
        now: aware; its zone is the one times are shown in.
        columns: cells that failure lines stay within.
        colour: write ANSI colours.
        tail: ends the commands that are named, see `BatchResult.command_tail`.
    """
    row, counts = state.row, state.counts
    ref = row.batch_id
    lines = [f"Batch {ref} {clean(row.name)}   {state.word}{_reason(row)}"]
    lines += [f"  {label:<9} {text}" for label, text in _card(state, now) if text]
    tasks = list(running)
    lines += [_running_line(task, now, columns) for task in tasks[:8]]
    if len(tasks) > 8:
        lines.append(f"    + {len(tasks) - 8} more")
    if failures:
        lines.append("Failed, by cause:")
        lines += failure_lines(failures, ref + tail, columns=columns, colour=colour)
    if counts.total:
        lines.append(f"Next:  {next_command(state)}{tail}")
    return lines


def _reason(row: BatchRow) -> str:
    if row.status in (BatchStatus.PAUSED, BatchStatus.FAILED) and row.status_reason:
        return f" ({clean(row.status_reason)})"
    return ""


def _card(state: BatchStateLike, now: datetime) -> list[tuple[str, str]]:
    row, counts, options = state.row, state.counts, state.row.options
    return [
        ("input", clean(input_of(row))),
        ("engine", f"{clean(options.engine)}, template {clean(options.template)}"),
        ("videos", counts_text(counts)),
        ("media", _media_text(counts)),
        ("cost", _cost_text(state)),
        ("output", clean(options.output_dir)),
        ("started", _started_text(row, now)),
        ("goes on", when(row.resume_at, now) if row.resume_at else ""),
        ("advice", " ".join(clean(with_ref(state.hint, row.batch_id)).split())),
    ]


def _cost_text(state: BatchStateLike) -> str:
    usd, doubt = state.counts.usd, state.doubt
    parts = [money(usd)] if usd else []
    parts += [text] if (text := doubt_text(usd, doubt.counted, doubt.held)) else []
    return "; ".join(parts)


def counts_text(counts: BatchCounts) -> str:
    """`31/48 done, 2 failed, 4 running, 11 pending`; states without tasks are left out."""
    done = counts.completed + counts.skipped
    parts = [f"{number(done)}/{number(counts.total)} done"]
    for state in ("failed", "running", "retrying", "pending", "cancelled"):
        count = getattr(counts, state)
        if count:
            parts.append(f"{number(count)} {state}")
    if counts.skipped:
        parts[0] += f" ({number(counts.skipped)} skipped)"
    return ", ".join(parts)


def _media_text(counts: BatchCounts) -> str:
    if counts.media_s_total <= 0:
        return ""
    share = percent(counts.media_s_done / counts.media_s_total)
    return f"{span(counts.media_s_done)} of {span(counts.media_s_total)} known ({share})"


def _started_text(row: BatchRow, now: datetime) -> str:
    start = parse_time(row.started_at)
    if start is None:
        return ""
    end = parse_time(row.finished_at)
    if end is not None:
        return f"{when(row.started_at, now)}, took {prose_span((end - start).total_seconds())}"
    return f"{when(row.started_at, now)}, {prose_span((now - start).total_seconds())} ago"


def _running_line(task: VideoTask, now: datetime, columns: int) -> str:
    start = parse_time(task.started_at)
    took = clock((now - start).total_seconds()) if start is not None else UNKNOWN
    head, rest = f"    {task.seq:>4} ", f"   {task.stage or ''}  {took}".rstrip()
    room = max(LEAST_NAME, columns - len(head) - len(rest))
    return head + cut_middle(clean(display_name(task)), room) + rest


def next_command(state: BatchStateLike) -> str:
    """The command that fits the state best."""
    ref, counts = state.row.batch_id, state.counts
    if state.word == "running":
        return f"gsvr batch watch {ref}"
    if state.word in ("paused", "interrupted", "initializing"):
        return resume_command(ref)
    if state.word == "cancelled" and counts.cancelled:
        return uncancel_command(ref)
    if counts.failed:
        return retry_command(ref)
    if counts.open:
        return resume_command(ref)
    if counts.cancelled:
        return uncancel_command(ref)
    return f"gsvr batch verify {ref}"


def batch_status_json(
    state: BatchStateLike,
    failures: Sequence[FailureGroup] = (),
    *,
    running: Iterable[VideoTask] = (),
    tail: str = "",
) -> dict[str, Any]:
    """The same as JSON-able data."""
    ref = state.row.batch_id
    groups = [{**group.to_dict(), "hint": with_ref(group.hint, ref + tail)} for group in failures]
    return {
        "v": 1,
        "type": "batch",
        **batch_fields(state),
        "hint": with_ref(state.hint, ref + tail),
        "usd_in_doubt": round(state.doubt.counted, 6),
        "usd_held": round(state.doubt.held, 6),
        "failures": groups,
        "tasks_running": [
            {"task": t.ref, "name": display_name(t), "stage": t.stage, "started_at": t.started_at}
            for t in running
        ],
        "next": next_command(state) + tail,
    }


def batch_fields(state: BatchStateLike) -> dict[str, Any]:
    row = state.row
    return {
        "batch": row.batch_id,
        "name": row.name,
        "state": state.word,
        "reason": row.status_reason,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "resume_at": row.resume_at,
        "engine": row.options.engine,
        "template": row.options.template,
        "input": input_of(row),
        "output": row.options.output_dir,
        **_count_fields(state.counts),
    }


def _count_fields(counts: BatchCounts) -> dict[str, Any]:
    values: dict[str, Any] = {"total": counts.total}
    values |= {str(status): getattr(counts, status) for status in TaskStatus}
    values["media_s"] = {
        "done": round(counts.media_s_done, 1),
        "total": round(counts.media_s_total, 1),
    }
    return values | {"usd": round(counts.usd, 6)}


def input_of(row: BatchRow) -> str:
    return str(row.input_spec.get("path") or row.name)
