"""The one place where errors become text and exit codes.

Text goes to stderr; with `--json` the error is an object on stderr. A traceback is shown only with
`--verbose`; an unexpected error says so, and where to report it. Every secret of this process is
blotted out of the whole, wherever it came from: words of servers and libraries may repeat it.
A stop signal ends every command in good order: what was open is closed, and the exit code is 130 or
143. (While a batch runs, it has its own handlers; see batch/pool/stop_signals.py.)
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NoReturn

from gs_video_report.errors import ExitCode


@dataclass(frozen=True, slots=True)
class Faces:
    """How a command shows itself."""

    json: bool = False
    verbose: bool = False
    quiet: bool = False


def run(faces: Faces, work: Callable[[], int | Coroutine[Any, Any, int]]) -> NoReturn:
    """Run a command and exit with its code; every error is told in the project's manner."""
    import typer

    raise typer.Exit(int(guarded(faces, work)))


def guarded(faces: Faces, work: Callable[[], int | Coroutine[Any, Any, int]]) -> int:
    """Run a command and return its exit code."""
    gc.enable()  # off since the start; see __main__
    _survive_lost_readers()
    try:
        value = work()
        if isinstance(value, int):
            return value
        import asyncio

        return asyncio.run(_terminable(value))
    except KeyboardInterrupt:
        sys.stderr.write("\ngsvr: interrupted\n")
        return int(ExitCode.SIGINT)
    except BrokenPipeError:
        # The reader went away (`| head`); point stdout elsewhere so that closing it is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except Exception as error:
        return tell(faces, error)


def told_as_json(command_line: Callable[[], Any]) -> int:
    """Parse and run a command line with `--json`; returns its exit code.

    A flag that does not exist, a missing argument or a bad value is one JSON object on stderr, as
    every other error is. What the command itself raises has been told by then (`run`).
    """
    import typer

    # ClickException: that of Click, or of the copy that newer Typers bring along.
    mistake: type[Exception] = typer.BadParameter.__mro__[2]
    try:
        return int(command_line() or ExitCode.OK)
    except typer.Abort:
        return int(ExitCode.FAILED)
    except mistake as error:
        return tell(Faces(json=True), _usage_error(error))


def _usage_error(mistake: BaseException) -> Exception:
    """Ours for a mistake that the parser found."""
    from gs_video_report.errors import UsageError

    told = getattr(mistake, "format_message", mistake.__str__)()
    context = getattr(mistake, "ctx", None)
    command = context.command_path if context is not None else "gsvr"
    return UsageError(" ".join(told.split()).rstrip("."), hint=f"see: {command} --help")


def _survive_lost_readers() -> None:
    """From here on a closed pipe is an error that is handled; before, it just ended the program."""
    if hasattr(signal, "SIGPIPE"):
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)


async def _terminable(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`; SIGTERM and SIGHUP cancel it, as Ctrl-C does, so that it can close what it holds.

    Returns: its exit code, or 143.
    """
    import asyncio

    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    asked: list[int] = []

    def end(number: int) -> None:
        asked.append(number)
        task.cancel()

    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else: nohup
        numbers.append(signal.SIGHUP)
    for number in numbers:
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
            loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not asked:
            raise
        sys.stderr.write("gsvr: terminated; the same command again goes on\n")
        return int(ExitCode.SIGTERM)


def remark(faces: Faces, text: str) -> None:
    """Say a sentence on stderr that changes nothing, after a command's face has closed."""
    from gs_video_report.config_values import without_secrets
    from gs_video_report.terminal.stream import LineWriter, json_line
    from gs_video_report.terminal.styles import clean

    note = {"v": 1, "type": "note", "level": "warning", "message": text}
    line = json_line(note) if faces.json else f"gsvr: {clean(text)}"
    LineWriter(sys.stderr).line(without_secrets(line))


def tell(faces: Faces, error: Exception) -> int:
    """Show one error; returns its exit code."""
    from gs_video_report.config_values import remember_secret, without_secrets
    from gs_video_report.terminal.errors import error_json, exit_code_of, format_error

    remember_secret(os.environ.get("GSVR_WEBHOOK_SECRET", ""))
    if faces.json:
        from gs_video_report.terminal.stream import json_line

        sys.stderr.write(without_secrets(json_line(error_json(error))) + "\n")
    else:
        from gs_video_report.terminal.styles import tolerate_encoding, wants_colour

        tolerate_encoding(sys.stderr)
        colour = wants_colour(sys.stderr, os.environ)
        text = format_error(error, faces.verbose, colour=colour)
        sys.stderr.write(without_secrets(text) + "\n")
    return int(exit_code_of(error))
