"""Plain lines for pipes, logs and simple terminals: no cursor movement, one event per line.

Lines start with the time of day in UTC. One line per finished video, one heartbeat a minute.
Never: imports rich.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from gs_video_report.batch.data_models import BatchResult
from gs_video_report.batch.progress.snapshot import Snapshot
from gs_video_report.terminal.failures import FailureGroup
from gs_video_report.terminal.printer import TaskLine, WallClock, utc_now
from gs_video_report.terminal.stream import LineWriter
from gs_video_report.terminal.styles import (
    clean,
    clock,
    money,
    number,
    percent,
    plural,
    realtime,
    span,
    time_left,
    wants_colour,
)
from gs_video_report.terminal.summary import KeptWork, summary_lines

HEARTBEAT_S = 60.0
COLUMNS = 100
"""Width that names in the summary are cut to."""


class PlainPrinter:
    """The face for logs.

    Args:
        stderr: where everything goes.
        env: environment, for colour.
        verbose: also list report files and warnings.
        quiet: only failures and the summary.
        progress: False leaves out everything but notes, failures and the summary.
    """

    def __init__(
        self,
        stderr: TextIO,
        *,
        env: Mapping[str, str],
        verbose: bool = False,
        quiet: bool = False,
        progress: bool = True,
        now: WallClock = utc_now,
    ) -> None:
        self._out = LineWriter(stderr)
        self._colour = wants_colour(stderr, env)
        self._verbose = verbose
        self._quiet = quiet
        self._progress = progress and not quiet
        self._now = now
        self._last: Snapshot | None = None
        self._beat_s = 0.0

    def started(self, snapshot: Snapshot, plan: str = "") -> None:
        """What begins, in one line."""
        self._last = snapshot
        if plan and not self._quiet:
            for line in plan.splitlines():
                self._out.line(line)
        if self._progress:
            self._say(started_line(snapshot))

    def task_done(self, line: TaskLine) -> None:
        """`done 1/48 week01/intro.mp4 length=18:20 took=4:52 cost=$0.04`."""
        if self._progress:
            self._say(done_line(line))
        if self._verbose and self._progress:
            for path in line.outputs:
                self._out.line(f"          wrote {clean(path)}")
        if not self._quiet:
            for warning in line.warnings if self._verbose else ():
                self._out.line(f"          note  {clean(warning)}")

    def task_failed(self, line: TaskLine) -> None:
        """`FAILED ...`, with the fix on the next line."""
        self._say(failed_line(line))
        if line.error is not None and line.error.hint:
            self._out.line(f"          fix: {clean(line.error.hint)}")

    def task_retry(self, line: TaskLine) -> None:
        """`retry ...`."""
        if self._progress:
            self._say(retry_line(line))

    def note(self, text: str) -> None:
        """`note ...`."""
        if not self._quiet:
            self._say(f"note {clean(text)}")

    def tick(self, snapshot: Snapshot) -> None:
        """A heartbeat line each minute."""
        self._last = snapshot
        if self._progress and snapshot.elapsed_s - self._beat_s >= HEARTBEAT_S:
            self.status(snapshot)

    def status(self, snapshot: Snapshot) -> None:
        """The heartbeat line, now."""
        self._last = snapshot
        self._beat_s = snapshot.elapsed_s
        self._say(heartbeat_line(snapshot))

    def interrupted(self, message: str) -> None:
        """The message, at once."""
        self._say(clean(message))

    def paused(self, reason: str, resume_at: str | None = None) -> None:
        """`paused ...`."""
        until = f", resumes {resume_at}" if resume_at else ""
        self._say(f"paused {clean(reason)}{until}")

    def finished(
        self,
        result: BatchResult,
        failures: Sequence[FailureGroup] = (),
        reports: Sequence[str] = (),
        *,
        kept: KeptWork | None = None,
        message: str = "",
    ) -> None:
        """The summary."""
        for line in summary_lines(
            result,
            failures,
            reports,
            snapshot=self._last,
            kept=kept,
            message=message,
            columns=COLUMNS,
            colour=self._colour,
        ):
            self._out.line(line)

    @property
    def lost(self) -> bool:
        """Nobody reads any more."""
        return self._out.lost

    def close(self) -> None:
        """Nothing to give back."""

    def _say(self, text: str) -> None:
        self._out.line(f"{self._now():%H:%M:%S}Z {text}")


def started_line(snapshot: Snapshot) -> str:
    """`batch 7f3a started 48 tasks, 31h05m media, 4 workers`; who only watches started nothing."""
    counts = snapshot.counts
    verb = "has" if snapshot.watched else "resumed" if counts.ended else "started"
    facts = [plural(counts.total, "task")]
    if counts.ended:
        facts.append(f"{number(counts.completed + counts.skipped)} already done")
    if snapshot.media.total_s > 0:
        facts.append(f"{_about(snapshot)}{span(snapshot.media.total_s)} media")
    facts.append(plural(snapshot.parallel, "worker"))
    return f"batch {snapshot.ref} {verb} {', '.join(facts)}"


def done_line(line: TaskLine) -> str:
    """One completed or skipped video."""
    word = "done" if line.state == "completed" else line.state
    facts = []
    if line.media_s is not None:
        facts.append(f" length={clock(line.media_s)}")
    if line.took_s is not None:
        facts.append(f" took={clock(line.took_s)}")
    if line.usd > 0:
        facts.append(f" cost={money(line.usd)}")
    if line.usd_reused > 0:
        facts.append(f" reused={money(line.usd_reused)}")
    return f"{word} {line.done}/{line.total} {clean(line.name)}{''.join(facts)}"


def failed_line(line: TaskLine) -> str:
    """One failed video."""
    return f"FAILED {clean(line.name)}: {error_words(line)}"


def retry_line(line: TaskLine) -> str:
    """One video that is tried again."""
    wait = f" in {line.delay_s:.0f} s" if line.delay_s is not None else ""
    tries = f"try {line.attempt + 1} of {line.tries}"
    return f"retry {clean(line.name)}: {error_words(line)}; {tries}{wait}"


def error_words(line: TaskLine, *, stage: bool = True) -> str:
    """What went wrong, without the name of the video; `stage` adds where."""
    if line.error is None:
        return "unknown error"
    text = clean(line.error.message)
    for prefix in (clean(line.name), clean(line.name.rsplit("/", 1)[-1])):
        if text.startswith(f"{prefix}: "):
            text = text[len(prefix) + 2 :]
    return f"{text} (stage {line.error.stage})" if stage and line.error.stage else text


def heartbeat_line(snapshot: Snapshot) -> str:
    """`... 1/48 done, 0 failed, 4 running, media 4 %, left: estimating`."""
    counts = snapshot.counts
    facts = [
        f"{counts.completed + counts.skipped}/{counts.total} done",
        f"{counts.failed} failed",
        f"{counts.running} running",
    ]
    if counts.retrying:
        facts.append(f"{counts.retrying} waiting to retry")
    facts.append(f"media {percent(snapshot.fraction)}")
    if snapshot.realtime is not None:
        facts.append(f"{realtime(snapshot.realtime)} realtime")
    if snapshot.usd > 0:
        facts.append(money(snapshot.usd))
    if snapshot.quota_wait is not None:
        facts.append(snapshot.quota_wait.sentence)
    return f"... {', '.join(facts)}, {_left(snapshot)}"


def _left(snapshot: Snapshot) -> str:
    if snapshot.stopping:
        return "stopping"
    if snapshot.state == "paused":
        return f"paused until {snapshot.resume_at}" if snapshot.resume_at else "paused"
    return f"left: {time_left(snapshot.eta)}" if snapshot.counts.open else "finishing"


def _about(snapshot: Snapshot) -> str:
    return "~" if snapshot.media.unknown else ""
