"""`gsvr batch quality` and `gsvr batch retry --quality` on a screen and as JSON.

Pure: judgements in, lines of text (without newlines) or JSON-able data out. Times are places in
the recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from gs_video_report.batch.data_models import BatchRow, VideoTask
from gs_video_report.errors import GsvrError, ReportDamaged
from gs_video_report.report.quality import Finding, Quality
from gs_video_report.terminal.grid import GAP, Cell, Column, Layout
from gs_video_report.terminal.styles import clean, clock, plural, wrap

_COLUMNS = (
    Column("Score", right=True),
    Column("Task"),
    Column("Video", flexible=True, least=16),
    Column("At", right=True),
)
_POOR, _FAIR = 60.0, 90.0
_TOLD_S = 0.5
_WAYS = {
    "pieces": "heard in shorter pieces",
    "language": "heard in its own language",
    "nothing": "nothing is said there",
}
_LEAST_REASON = 44
"""Cells that the reasons get before the names give way."""


class JudgedLike(Protocol):
    """A finished task and the quality of its report."""

    @property
    def task(self) -> VideoTask: ...
    @property
    def quality(self) -> Quality: ...
    @property
    def name(self) -> str: ...


class BatchQualityLike(Protocol):
    """All of a batch, worst first, and the reports that cannot be judged."""

    @property
    def row(self) -> BatchRow: ...
    @property
    def judged(self) -> Sequence[JudgedLike]: ...
    @property
    def unread(self) -> Sequence[tuple[VideoTask, str]]: ...


class StretchLike(Protocol):
    """A stretch that was heard again."""

    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...
    @property
    def replaced(self) -> bool: ...
    @property
    def way(self) -> str: ...
    @property
    def before(self) -> Mapping[str, float]: ...
    @property
    def after(self) -> Mapping[str, float]: ...
    @property
    def assumed(self) -> bool: ...


class RedoneLike(Protocol):
    """A report that was made anew."""

    @property
    def task(self) -> VideoTask: ...
    @property
    def name(self) -> str: ...
    @property
    def score_before(self) -> float: ...
    @property
    def score_after(self) -> float: ...
    @property
    def stretches(self) -> Sequence[StretchLike]: ...
    @property
    def translations_lost(self) -> int: ...
    @property
    def is_remote(self) -> bool: ...


class RelistenLike(Protocol):
    """What a run of `retry --quality` did; see `batch.relisten.RelistenReport`."""

    @property
    def row(self) -> BatchRow: ...
    @property
    def redone(self) -> Sequence[RedoneLike]: ...
    @property
    def left(self) -> Sequence[tuple[str, str, str]]: ...
    @property
    def settled(self) -> int: ...
    @property
    def problems(self) -> Sequence[tuple[str, GsvrError]]: ...
    @property
    def replaced(self) -> int: ...
    @property
    def kept(self) -> int: ...


def quality_lines(
    found: BatchQualityLike, limit: int, *, columns: int = 80, colour: bool = False, tail: str = ""
) -> list[str]:
    """Reports with findings, worst first, one line per finding; then what is not known and how
    to go on.

    Args:
        limit: reports shown at most.
        tail: ends the commands that are named.
    """
    doubtful = [j for j in found.judged if j.quality.findings]
    shown = doubtful[:limit]
    lines = list(_table(shown, columns, colour)) if shown else []
    if lines:
        lines.append("")
    if len(doubtful) > len(shown):
        lines.append(f"{plural(len(doubtful) - len(shown), 'more report')}: --limit shows more")
    clear = len(found.judged) - len(doubtful)
    lines.append(f"{plural(len(found.judged), 'report')}, {clear} without any finding")
    if found.unread:
        lines.append(f"{plural(len(found.unread), 'report')} not judged:")
    lines += [f"{task.ref}  {clean(why)}" for task, why in found.unread]
    lines += _unknown_lines([j.quality for j in found.judged])
    if found.unread:
        lines.append(f"Next:  gsvr batch verify {found.row.batch_id} --repair{tail}")
    elif any(_redoable(j.quality) for j in found.judged):
        lines.append(f"Next:  gsvr batch retry {found.row.batch_id} --quality{tail}")
    return lines


def quality_json(found: BatchQualityLike, limit: int | None) -> dict[str, Any]:
    """All judged reports (or the `limit` worst), worst first, those without findings included."""
    return {
        "v": 1,
        "type": "quality",
        "batch": found.row.batch_id,
        "reports": [_json(judged) for judged in found.judged[:limit]],
        "unread": [{"ref": task.ref, "problem": why} for task, why in found.unread],
    }


def relisten_lines(done: RelistenLike, *, tail: str = "") -> list[str]:
    """What became of each stretch, then the sums."""
    lines = [line for redone in done.redone for line in _redone_lines(redone)]
    lines += [f"{ref}  {clean(name)}: left as it is; {why}" for ref, name, why in done.left]
    lines += [f"{ref}  {clean(error.message)}" for ref, error in done.problems]
    if not (done.redone or done.problems):
        again = f"; {plural(done.settled, 'report')} had a second hearing before"
        lines.append(f"nothing to hear again{again if done.settled else ''}")
        return lines
    lines.append(_relisten_sum(done))
    is_damaged = any(error.code == ReportDamaged.code for _, error in done.problems)
    following = "verify {} --repair" if is_damaged else "quality {}"
    lines.append(f"Next:  gsvr batch {following.format(done.row.batch_id)}{tail}")
    return lines


def relisten_json(done: RelistenLike) -> dict[str, Any]:
    """The same as one object."""
    return {
        "v": 1,
        "type": "retry_quality",
        "batch": done.row.batch_id,
        "replaced": done.replaced,
        "kept": done.kept,
        "settled": done.settled,
        "reports": [
            {
                "ref": redone.task.ref,
                "name": redone.name,
                "score_before": redone.score_before,
                "score_after": redone.score_after,
                "stretches": [_stretch_json(s) for s in redone.stretches],
                "translations_lost": redone.translations_lost,
            }
            for redone in done.redone
        ],
        "left": [{"ref": r, "name": n, "reason": why} for r, n, why in done.left],
        "problems": [{"ref": r, "code": e.code, "message": e.message} for r, e in done.problems],
    }


# --- inside -------------------------------------------------------------------------------------


def _table(shown: Sequence[JudgedLike], columns: int, colour: bool) -> Iterator[str]:
    rows = [
        (row, finding.reason)
        for judged in shown
        for row, finding in zip(_rows(judged), judged.quality.findings, strict=True)
    ]
    layout = Layout.fit(_COLUMNS, [row for row, _ in rows], max(40, columns - _LEAST_REASON))
    titles = [Cell(column.title, "dim") for column in _COLUMNS]
    yield layout.spanning(titles, Cell("Why", "dim"), columns, colour)
    room = max(24, columns - sum(layout.cells) - len(GAP) * len(layout.cells))
    for row, reason in rows:
        first, *more = wrap(clean(reason), room)
        yield layout.spanning(row, Cell(first), columns, colour)
        for line in more:
            yield layout.spanning([Cell("")] * len(row), Cell(line), columns, colour)


def _rows(judged: JudgedLike) -> Iterator[list[Cell]]:
    """Score and name stand in the first row of a report only."""
    score = judged.quality.score
    style = "bad" if score < _POOR else "warn" if score < _FAIR else ""
    for index, finding in enumerate(judged.quality.findings):
        head = [Cell("")] * 3
        if index == 0:
            name = clean(judged.name)
            head = [Cell(f"{score:.0f}", style), Cell(judged.task.ref, "dim"), Cell(name)]
        yield [*head, Cell(_at(finding), "accent")]


def _at(finding: Finding) -> str:
    """The first place and how many more: `1:12 +3`."""
    if not finding.spans:
        return ""
    more = f" +{len(finding.spans) - 1}" if len(finding.spans) > 1 else ""
    return clock(finding.spans[0][0]) + more


def _unknown_lines(qualities: Sequence[Quality]) -> list[str]:
    counts = Counter(kind for quality in qualities for kind in quality.unknown)
    if not counts:
        return []
    kinds = ", ".join(f"{kind.replace('_', ' ')} ({n})" for kind, n in counts.most_common())
    return [f"not known (number of reports without the evidence): {kinds}"]


def _redoable(quality: Quality) -> bool:
    return quality.transcript_source in ("speech", "engine") and bool(quality.open_doubts)


def _json(judged: JudgedLike) -> dict[str, Any]:
    quality = judged.quality
    result = judged.task.result
    outputs = {o.kind: o.path for o in result.outputs} if result else {}
    return {
        "ref": judged.task.ref,
        "name": judged.name,
        "score": quality.score,
        "findings": [asdict(finding) for finding in quality.findings],
        "unknown": list(quality.unknown),
        "engine": quality.engine,
        "heard_again": bool(quality.heard_again),
        "report": outputs.get("html") or outputs.get("json", ""),
    }


def _redone_lines(redone: RedoneLike) -> Iterator[str]:
    yield (
        f"{redone.task.ref}  {clean(redone.name)}: "
        f"score {redone.score_before:.0f} -> {redone.score_after:.0f}"
    )
    yield from (f"  {_stretch(stretch)}" for stretch in redone.stretches)
    lost = redone.translations_lost
    if lost:
        lines = "1 line that was" if lost == 1 else f"{lost} lines that were"
        yield f"  the translation of {lines} replaced is lost"


def _relisten_sum(done: RelistenLike) -> str:
    """What came of it all. Where only the language was in doubt, there may be no stretch at all."""
    if not done.redone:
        return "no report could be heard again; the reports are as they were"
    heard, stretches = plural(len(done.redone), "report"), done.replaced + done.kept
    sent = "; no request was sent" if any(one.is_remote for one in done.redone) else ""
    if not stretches:
        return (
            f"{heard} looked at again: no stretch is in another language, no text was changed{sent}"
        )
    doubtful = plural(stretches, "doubtful stretch", "doubtful stretches")
    return f"{heard} heard again: {done.replaced} of {doubtful} replaced, {done.kept} kept{sent}"


def _stretch_json(stretch: StretchLike) -> dict[str, Any]:
    return {
        "start_s": stretch.start_s,
        "end_s": stretch.end_s,
        "replaced": stretch.replaced,
        "way": stretch.way,
        "before": dict(stretch.before),
        "after": dict(stretch.after),
        **({"assumed": True} if stretch.assumed else {}),
    }


def _stretch(stretch: StretchLike) -> str:
    place = f"{clock(stretch.start_s)}-{clock(stretch.end_s)}"
    if not stretch.replaced:
        return f"{place}  kept: nothing better was heard"
    before, after = stretch.before, stretch.after
    how = _WAYS[stretch.way]
    first = "not known" if stretch.assumed else f"{before['logprob']:.2f}"
    told = [f"log-probability {first} -> {after['logprob']:.2f}"]
    if abs(before["missed_s"] - after["missed_s"]) >= _TOLD_S:
        told.append(f"speech without text {before['missed_s']:.1f} -> {after['missed_s']:.1f} s")
    return f"{place}  replaced ({how}): {', '.join(told)}"
