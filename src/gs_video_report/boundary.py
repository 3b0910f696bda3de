"""The one place where errors become text and exit codes.

Text goes to stderr; with `--json` the error is an object on stderr. A traceback is shown only with
`--verbose`; an unexpected error says so, and where to report it.
"""

from __future__ import annotations

import gc
import os
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
    try:
        value = work()
        if isinstance(value, int):
            return value
        import asyncio

        return asyncio.run(value)
    except KeyboardInterrupt:
        sys.stderr.write("\ngsvr: interrupted\n")
        return int(ExitCode.SIGINT)
    except BrokenPipeError:
        # The reader went away (`| head`); point stdout elsewhere so that closing it is quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except Exception as error:
        return tell(faces, error)


def tell(faces: Faces, error: Exception) -> int:
    """Show one error; returns its exit code."""
    from gs_video_report.terminal.errors import error_json, exit_code_of, format_error

    if faces.json:
        from gs_video_report.terminal.stream import json_line

        sys.stderr.write(json_line(error_json(error)) + "\n")
    else:
        from gs_video_report.terminal.styles import tolerate_encoding, wants_colour

        tolerate_encoding(sys.stderr)
        colour = wants_colour(sys.stderr, os.environ)
        sys.stderr.write(format_error(error, faces.verbose, colour=colour) + "\n")
    return int(exit_code_of(error))
