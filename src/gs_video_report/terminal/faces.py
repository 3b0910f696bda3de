"""The choice of the face: which printer fits these streams.

True here: text faces talk on stderr; JSON lines are the only thing on stdout.
Never: imports rich unless the live face is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TextIO

from gs_video_report.terminal.printer import Printer, WallClock, utc_now
from gs_video_report.terminal.styles import is_terminal, tolerate_encoding


class ProgressMode(StrEnum):
    """Values of `--progress`."""

    AUTO = "auto"
    LIVE = "live"
    PLAIN = "plain"
    NONE = "none"


def make_printer(
    mode: str | ProgressMode = ProgressMode.AUTO,
    *,
    json: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    stdout: TextIO,
    stderr: TextIO,
    env: Mapping[str, str],
    now: WallClock = utc_now,
) -> Printer:
    """The face for these streams.

    `json` wins over `mode`. `auto` is the live screen on a terminal, else plain lines; `live`
    falls back to plain lines where the terminal cannot do it. `quiet` and mode `none` show no
    progress: `quiet` only failures and the last summary, `none` notes as well.

    Raises:
        ValueError: `mode` is none of auto, live, plain, none.
    """
    chosen = ProgressMode(mode)
    tolerate_encoding(stderr)
    if json:
        from gs_video_report.terminal.jsonl import JsonLinesPrinter

        return JsonLinesPrinter(stdout, now=now)
    if chosen in (ProgressMode.AUTO, ProgressMode.LIVE) and not quiet and can_draw(stderr, env):
        from gs_video_report.terminal.live import LivePrinter

        return LivePrinter(stderr, env=env, verbose=verbose, now=now)
    from gs_video_report.terminal.plain import PlainPrinter

    return PlainPrinter(
        stderr,
        env=env,
        verbose=verbose,
        quiet=quiet,
        progress=chosen is not ProgressMode.NONE,
        now=now,
    )


def can_draw(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether a moving screen works on `stream`: a terminal that knows cursor movement."""
    return (
        is_terminal(stream)
        and env.get("TERM", "") not in ("dumb", "unknown")
        and env.get("TTY_INTERACTIVE") != "0"
    )
