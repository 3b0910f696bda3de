"""Errors as text for people and as JSON for scripts.

Pure. Four kinds of lines: what happened, where, what to do next, what is not affected::

    gsvr: lecture-07.mp4: no audio track, so there is nothing to transcribe
      stage   audio (attempt 1; not retried, the file will not change)
      next    put lecture-07.srt beside the video, or use --engine gemini
      others  41 finished, 12 still running; this file does not stop them

A traceback appears only with `verbose`.
"""

from __future__ import annotations

import traceback
from typing import Any

from gs_video_report.errors import ExitCode, GsvrError, PermanentError, RetryableError
from gs_video_report.terminal.styles import clean, paint

_LABEL_CELLS = 8


def format_error(
    error: BaseException,
    verbose: bool = False,
    *,
    others: str = "",
    attempt: int | None = None,
    colour: bool = False,
) -> str:
    """The error as lines joined by newlines, without one at the end.

    Args:
        error: ours, or any other (which is then called unexpected).
        verbose: add the code word, the cause and the traceback.
        others: what is not affected; left out when empty.
        attempt: number of the try in which it arose.
        colour: write ANSI colours.
    """
    lines = [f"{paint('gsvr:', 'bad bold', colour)} {clean(_what(error))}"]
    for label, text in _details(error, attempt, others, verbose):
        lines += _labelled(label, text, colour)
    if verbose:
        lines += _trace(error)
    return "\n".join(lines)


def error_json(error: BaseException) -> dict[str, Any]:
    """The JSON twin: `{"v":1,"type":"error","code",...,"exit_code"}`; private data left out."""
    value: dict[str, Any] = {"v": 1, "type": "error"}
    if not isinstance(error, GsvrError):
        return value | {
            "code": GsvrError.code,
            "message": _what(error),
            "hint": _UNEXPECTED_HINT,
            "exit_code": int(exit_code_of(error)),
        }
    value |= {"code": error.code, "message": error.message, "hint": error.hint}
    if error.stage:
        value["stage"] = error.stage
    public = {key: item for key, item in error.data.items() if not _is_private(key)}
    if public:
        value["data"] = public
    return value | {"exit_code": int(error.exit_code)}


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code that goes with an error at the command boundary."""
    if isinstance(error, GsvrError):
        return error.exit_code
    return ExitCode.SIGINT if isinstance(error, KeyboardInterrupt) else ExitCode.FAILED


_UNEXPECTED_HINT = (
    "this is a fault of gsvr, not of your files; run the command again with --verbose "
    "and report what it prints. Finished work is kept"
)


def _what(error: BaseException) -> str:
    if isinstance(error, GsvrError):
        return error.message or error.code
    detail = str(error).strip()
    kind = type(error).__name__
    return f"unexpected error: {kind}: {detail}" if detail else f"unexpected error: {kind}"


def _details(
    error: BaseException, attempt: int | None, others: str, verbose: bool
) -> list[tuple[str, str]]:
    details = []
    if isinstance(error, GsvrError):
        if error.stage:
            details.append(("stage", error.stage + _retry_words(error, attempt)))
        if error.hint:
            details.append(("next", error.hint))
    else:
        details.append(("next", _UNEXPECTED_HINT))
    if others:
        details.append(("others", others))
    if verbose and isinstance(error, GsvrError):
        details.append(("code", error.code))
    return details


def _retry_words(error: GsvrError, attempt: int | None) -> str:
    words = []
    if attempt is not None:
        words.append(f"attempt {attempt}")
    if isinstance(error, PermanentError):
        words.append("not retried, the file will not change")
    elif isinstance(error, RetryableError):
        words.append("worth another try")
    return f" ({'; '.join(words)})" if words else ""


def _labelled(label: str, text: str, colour: bool) -> list[str]:
    lines = []
    for index, part in enumerate(text.splitlines() or [""]):
        head = f"{label:<{_LABEL_CELLS}}" if index == 0 else " " * _LABEL_CELLS
        lines.append(f"  {paint(head, 'dim', colour)}{clean(part)}")
    return lines


def _trace(error: BaseException) -> list[str]:
    lines: list[str] = []
    for remote in _remote_traces(error):
        lines += ["  in the helper process:", *("    " + clean(row) for row in remote.splitlines())]
    text = "".join(traceback.format_exception(error))
    return lines + ["  " + clean(row) for row in text.splitlines()]


def _remote_traces(error: BaseException) -> list[str]:
    if not isinstance(error, GsvrError):
        return []
    return [
        str(value)
        for key, value in error.data.items()
        if _is_private(key) and "trace" in key and value
    ]


def _is_private(key: str) -> bool:
    return key.startswith("_") or "traceback" in key
