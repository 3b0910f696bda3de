"""Errors as people and scripts see them."""

from __future__ import annotations

import json

import pytest

from gs_video_report.errors import (
    AuthenticationError,
    ComputeTimeout,
    ExitCode,
    LimitReached,
    NoMediaError,
    UsageError,
)
from gs_video_report.terminal.errors import error_json, exit_code_of, format_error


def test_an_error_tells_what_where_next_and_what_is_not_affected() -> None:
    error = NoMediaError(
        "lecture-07.mp4: no audio track", stage="audio", hint="put a .srt beside it"
    )
    assert format_error(error, others="41 finished, 12 still running", attempt=1) == (
        "gsvr: lecture-07.mp4: no audio track\n"
        "  stage   audio (attempt 1; not retried, the file will not change)\n"
        "  next    put a .srt beside it\n"
        "  others  41 finished, 12 still running"
    )


def test_lines_without_content_are_left_out() -> None:
    assert format_error(UsageError("give a folder or a list")) == "gsvr: give a folder or a list"


def test_a_retryable_error_says_that_another_try_helps() -> None:
    text = format_error(ComputeTimeout("took 1800 s", stage="transcribe"))
    assert "  stage   transcribe (worth another try)\n" in text


def test_a_hint_of_several_lines_stays_in_its_column() -> None:
    error = AuthenticationError(
        "the key was rejected", hint="set another one:\ngsvr config set-key"
    )
    assert format_error(error).splitlines()[1:] == [
        "  next    set another one:",
        "          gsvr config set-key",
    ]


def test_text_of_others_cannot_touch_the_terminal() -> None:
    text = format_error(NoMediaError("a\x1b[2J\nb.mp4: [red]bad[/]"))
    assert text.splitlines()[0] == "gsvr: a\\nb.mp4: [red]bad[/]"


def test_a_traceback_appears_only_when_verbose() -> None:
    with pytest.raises(NoMediaError) as caught:
        raise NoMediaError("no media", _traceback="remote line 1\nremote line 2")
    short = format_error(caught.value)
    assert "Traceback" not in short
    assert "remote line" not in short
    verbose = format_error(caught.value, verbose=True)
    assert "  code    E_NO_MEDIA" in verbose
    assert "    remote line 2" in verbose
    assert "Traceback (most recent call last)" in verbose


def test_an_unexpected_error_is_called_so_and_how_to_report_it() -> None:
    text = format_error(KeyError("codec_name"))
    assert text.splitlines()[0] == "gsvr: unexpected error: KeyError: 'codec_name'"
    assert "--verbose" in text


def test_json_twin_has_code_hint_exit_code_and_no_private_data() -> None:
    error = LimitReached("quota spent", resume_at="2026-11-23T09:00:00Z", _traceback="secret path")
    value = error_json(error)
    assert list(value)[:2] == ["v", "type"]
    assert value["type"] == "error"
    assert (value["code"], value["exit_code"]) == ("E_LIMIT", 4)
    assert value["data"] == {"resume_at": "2026-11-23T09:00:00Z"}
    assert "secret" not in json.dumps(value)


def test_unexpected_errors_exit_with_one_and_ctrl_c_with_130() -> None:
    assert exit_code_of(ValueError("x")) is ExitCode.FAILED
    assert exit_code_of(KeyboardInterrupt()) is ExitCode.SIGINT
    assert exit_code_of(LimitReached("x")) is ExitCode.PAUSED
    assert error_json(ValueError("x"))["exit_code"] == 1
