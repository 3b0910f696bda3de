"""The last words of a run: outcome, failures by cause with their fix, where to go on.

Pure: values in, lines out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gs_video_report.batch.data_models import BatchCounts, BatchResult, BatchStatus
from gs_video_report.batch.progress.snapshot import Snapshot
from gs_video_report.errors import ExitCode
from gs_video_report.terminal.failures import FailureGroup, failure_lines, with_ref
from gs_video_report.terminal.notices import tuning_lines
from gs_video_report.terminal.styles import (
    clean,
    clock,
    money,
    number,
    paint,
    plural,
    prose_span,
    realtime,
    wrap,
)
from gs_video_report.terminal.times import when


@dataclass(frozen=True, slots=True)
class KeptWork:
    """What unfinished videos keep after a stop."""

    videos: int
    steps: int


# --- Ctrl-C ------------------------------------------------------------------------------------


def stopping_text(running: int, grace_s: float = 5.0) -> str:
    """Said at once after the first Ctrl-C or SIGTERM."""
    if not running:
        return "Stopping. Nothing finished is lost."
    videos = plural(running, "video")
    verb = "finishes" if running == 1 else "finish"
    return (
        f"Stopping: {videos} {verb} the step in flight (at most {grace_s:.0f} s). "
        "Ctrl-C again stops now; nothing finished is lost."
    )


def stop_now_text() -> str:
    """Said at once after the second one."""
    return "Stopping now. Finished steps are kept."


# --- the end -----------------------------------------------------------------------------------


def summary_lines(
    result: BatchResult,
    failures: Sequence[FailureGroup] = (),
    reports: Sequence[str] = (),
    *,
    snapshot: Snapshot | None = None,
    kept: KeptWork | None = None,
    message: str = "",
    columns: int = 80,
    colour: bool = False,
) -> list[str]:
    """The summary as lines without newlines.

    Args:
        result: how the run ended.
        failures: from `group_failures`.
        reports: further paths worth opening.
        snapshot: last picture of the run, for speed and cost of it.
        kept: what unfinished videos keep.
        message: why it ended early.
        columns: names are cut so that their lines stay within this width.
        colour: write ANSI colours.
    """
    ref = snapshot.ref if snapshot else result.batch_id
    ref += result.command_tail
    lines = _headline(result, snapshot, kept, message, columns, colour)
    lines += _advice(result, ref, columns)
    lines += doubt_lines(result.counts.usd, result.usd_in_doubt, result.usd_held, columns)
    lines += failure_lines(failures, ref, columns=columns, colour=colour)
    lines += _next_lines(result, ref, colour)
    lines += tuning_lines(result.tuning, datetime.now().astimezone())
    lines += _remark_lines(result.remarks, columns)
    lines += _path_lines(result, reports)
    return lines


def _headline(
    result: BatchResult,
    snapshot: Snapshot | None,
    kept: KeptWork | None,
    message: str,
    columns: int,
    colour: bool,
) -> list[str]:
    head, style, rest = _outcome(result, snapshot, kept, message)
    first, *more = wrap(head + rest, columns)
    if first.startswith(head):
        first = paint(head, style, colour) + first[len(head) :]
    return [first, *more]


def _advice(result: BatchResult, ref: str, columns: int) -> list[str]:
    """What to do about the reason of an early end."""
    hint = " ".join(clean(with_ref(result.hint, ref)).split())
    return _under("Advice:  ", hint, columns) if hint else []


def doubt_text(usd: float, in_doubt: float, held: float) -> str:
    """What is to be known about the cost besides the sum; empty when all of it is sure.

    Args:
        usd: the sum, US dollars.
        in_doubt: the part of it for requests without an answer.
        held: what requests of killed processes, and jobs that were left, may cost besides.
    """
    parts = []
    if in_doubt > 0:
        parts.append(
            f"up to {money(in_doubt)} of the {money(usd)} is for requests that got no answer, "
            "which the provider may not have charged"
        )
    if held > 0:
        parts.append(
            f"up to {money(held)} {'more ' if usd > 0 else ''}may have been spent by a run that "
            "was killed or stopped (see: gsvr quota)"
        )
    return "; ".join(parts)


def doubt_lines(usd: float, in_doubt: float, held: float, columns: int) -> list[str]:
    """The same as lines of a summary."""
    text = doubt_text(usd, in_doubt, held)
    return _under("Cost:    ", text, columns) if text else []


def _remark_lines(remarks: Sequence[str], columns: int) -> list[str]:
    lines: list[str] = []
    for index, text in enumerate(remarks):
        lines += _under("Service  " if index == 0 else " " * 9, clean(text), columns)
    return lines


def _under(label: str, text: str, columns: int) -> list[str]:
    first, *more = wrap(text, max(20, columns - len(label)))
    return [label + first, *(" " * len(label) + line for line in more)]


def _outcome(
    result: BatchResult, snapshot: Snapshot | None, kept: KeptWork | None, message: str
) -> tuple[str, str, str]:
    """(first words, their style, the rest of the sentence)."""
    counts = result.counts
    why = clean(message).rstrip(".")
    because = f": {why}" if why else ""
    if result.exit_code in (ExitCode.SIGINT, ExitCode.SIGTERM):
        word = "Interrupted" if result.exit_code == ExitCode.SIGINT else "Terminated"
        head = f"{word} after {clock(result.elapsed_s)}."
        return head, "warn", f" {_tally(counts)}{_kept_text(kept)}."
    if result.exit_code == ExitCode.PAUSED:
        return f"Paused{because}.", "warn", f" {_tally(counts)}."
    if result.status is BatchStatus.CANCELLED:
        return "Cancelled.", "warn", f" {_tally(counts)}."
    if counts.open:
        return f"Stopped{because}.", "bad", f" {_tally(counts)}."
    return _ended(result, snapshot)


def _ended(result: BatchResult, snapshot: Snapshot | None) -> tuple[str, str, str]:
    counts = result.counts
    done = counts.completed + counts.skipped
    idle = snapshot is not None and not snapshot.run_done and not snapshot.watched
    if idle and done == counts.total and done:
        return "Nothing to do:", "ok", f" {plural(done, 'video')} already done."
    head = f"{number(done)} of {number(counts.total)} done"
    skipped = f", {number(counts.skipped)} of them skipped" if counts.skipped else ""
    facts = _facts(counts, snapshot, result.usd_reused)
    rest = f"{skipped} in {prose_span(result.elapsed_s)}{facts}."
    if counts.cancelled:
        rest += f" {number(counts.cancelled)} cancelled."
    if counts.failed:
        rest += f" {number(counts.failed)} failed:"
    return head, "ok" if done == counts.total else "bold", rest


def _facts(counts: BatchCounts, snapshot: Snapshot | None, usd_reused: float) -> str:
    facts = []
    if snapshot is not None and snapshot.average_realtime is not None:
        facts.append(f"{realtime(snapshot.average_realtime)} realtime")
    if counts.usd > 0:
        facts.append(money(counts.usd))
    if usd_reused > 0:
        facts.append(f"answers worth {money(usd_reused)} reused")
    return f" ({', '.join(facts)})" if facts else ""


def _tally(counts: BatchCounts) -> str:
    done = counts.completed + counts.skipped
    parts = [f"{number(done)} of {number(counts.total)} done"]
    if counts.failed:
        parts.append(f"{number(counts.failed)} failed")
    if counts.cancelled:
        parts.append(f"{number(counts.cancelled)} cancelled")
    if counts.open:
        parts.append(f"{number(counts.open)} left")
    return ", ".join(parts)


def _kept_text(kept: KeptWork | None) -> str:
    if kept is None or not kept.steps:
        return ""
    verb = "keeps" if kept.videos == 1 else "keep"
    return f" ({number(kept.videos)} of them {verb} {plural(kept.steps, 'finished step')})"


def resume_command(ref: str) -> str:
    """The command that goes on with the batch."""
    return f"gsvr batch resume {ref}"


def retry_command(ref: str) -> str:
    """The command that tries the failed videos again."""
    return f"gsvr batch retry {ref} --failed"


def uncancel_command(ref: str) -> str:
    """The command that takes the cancelled videos up again (and tries failed ones)."""
    return f"gsvr batch retry {ref}"


def _next_lines(result: BatchResult, ref: str, colour: bool) -> list[str]:
    if result.counts.open and result.status is not BatchStatus.CANCELLED:
        note = "(or the same command again)"
        if result.resume_at:
            at = when(result.resume_at, datetime.now().astimezone())
            note = f"(from {at} on, or the same command again)"
        command = paint(resume_command(ref), "bold", colour)
        return [f"Resume:  {command}        {paint(note, 'dim', colour)}"]
    lines = []
    if result.counts.failed:
        lines.append(f"Retry:   {paint(retry_command(ref), 'bold', colour)}")
    if result.counts.cancelled:
        note = paint("(takes up what was cancelled)", "dim", colour)
        command = paint(uncancel_command(ref), "bold", colour)
        lines.append(f"{' ' * 9 if lines else 'Retry:   '}{command}        {note}")
    return lines


def _path_lines(result: BatchResult, reports: Sequence[str]) -> list[str]:
    paths = [result.report_index] if result.report_index else []
    paths += [path for path in reports if path not in paths]
    lines = [f"{'Reports  ' if i == 0 else ' ' * 9}{clean(path)}" for i, path in enumerate(paths)]
    if result.error_report:
        lines.append(f"Errors   {clean(result.error_report)}")
    return lines


def summary_json(
    result: BatchResult,
    failures: Sequence[FailureGroup] = (),
    reports: Sequence[str] = (),
    *,
    snapshot: Snapshot | None = None,
    kept: KeptWork | None = None,
    message: str = "",
) -> dict[str, Any]:
    """The same facts for scripts; `exit_code` is the process's."""
    counts = result.counts
    ref = snapshot.ref if snapshot else result.batch_id
    ref += result.command_tail
    speed = snapshot.average_realtime if snapshot else None
    return {
        "v": 1,
        "type": "summary",
        "batch": result.batch_id,
        "state": result.status.value,
        "message": message,
        "hint": with_ref(result.hint, ref),
        "total": counts.total,
        "completed": counts.completed,
        "failed": counts.failed,
        "skipped": counts.skipped,
        "cancelled": counts.cancelled,
        "open": counts.open,
        "media_s": {"done": round(counts.media_s_done, 1), "total": round(counts.media_s_total, 1)},
        "usd": round(counts.usd, 6),
        "usd_reused": round(result.usd_reused, 6),
        "usd_in_doubt": round(result.usd_in_doubt, 6),
        "usd_held": round(result.usd_held, 6),
        "elapsed_s": round(result.elapsed_s, 3),
        "realtime": None if speed is None else round(speed, 2),
        "failures": [replace(g, hint=with_ref(g.hint, ref)).to_dict() for g in failures],
        "kept": None if kept is None else {"videos": kept.videos, "steps": kept.steps},
        "tuning": [{"at": at, **data} for at, data in result.tuning],
        "remarks": list(result.remarks),
        "reports": list(reports),
        "report_index": result.report_index,
        "error_report": result.error_report,
        "resume_at": result.resume_at,
        "next": _next_command(result, ref),
        "exit_code": int(result.exit_code),
    }


def _next_command(result: BatchResult, ref: str) -> str | None:
    if result.counts.open and result.status is not BatchStatus.CANCELLED:
        return resume_command(ref)
    if result.counts.failed:
        return retry_command(ref)
    return uncancel_command(ref) if result.counts.cancelled else None
