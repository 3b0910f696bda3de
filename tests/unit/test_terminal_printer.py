"""Which face is chosen for which streams."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from gs_video_report import terminal
from gs_video_report.batch.data_models import TaskError
from gs_video_report.errors import NoMediaError
from gs_video_report.terminal.faces import make_printer
from gs_video_report.terminal.jsonl import JsonLinesPrinter
from gs_video_report.terminal.live import LivePrinter
from gs_video_report.terminal.plain import PlainPrinter
from gs_video_report.terminal.printer import Printer, TaskLine
from tests.support.terminal_play import make_task


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def chosen(
    mode: str, *, tty: bool = True, json: bool = False, quiet: bool = False, **env: str
) -> type[Printer]:
    stderr = Tty() if tty else io.StringIO()
    printer = make_printer(
        mode, json=json, quiet=quiet, stdout=io.StringIO(), stderr=stderr, env=env
    )
    printer.close()
    return type(printer)


def test_a_terminal_gets_the_live_screen() -> None:
    assert chosen("auto", TERM="xterm-256color") is LivePrinter
    assert chosen("live", TERM="xterm-256color") is LivePrinter


@pytest.mark.parametrize(
    ("tty", "env"), [(False, {}), (True, {"TERM": "dumb"}), (True, {"TTY_INTERACTIVE": "0"})]
)
@pytest.mark.parametrize("mode", ["auto", "live"])
def test_where_a_screen_cannot_be_drawn_lines_are_printed(
    mode: str, tty: bool, env: dict[str, str]
) -> None:
    assert chosen(mode, tty=tty, **env) is PlainPrinter


def test_plain_none_and_quiet_never_draw() -> None:
    assert chosen("plain") is PlainPrinter
    assert chosen("none") is PlainPrinter
    assert chosen("auto", quiet=True) is PlainPrinter


def test_json_wins_over_every_mode() -> None:
    assert chosen("live", json=True) is JsonLinesPrinter


def test_json_writes_to_stdout_and_text_to_stderr() -> None:
    for json in (True, False):
        stdout, stderr = io.StringIO(), io.StringIO()
        printer = make_printer("auto", json=json, stdout=stdout, stderr=stderr, env={})
        printer.note("hello")
        assert (bool(stdout.getvalue()), bool(stderr.getvalue())) == (json, not json)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="fancy"):
        chosen("fancy")


def test_a_line_can_be_made_from_either_kind_of_error() -> None:
    task = make_task(1, "a.mp4")
    raised = TaskLine.of_error(task, NoMediaError("a.mp4: no media", stage="probe"), 1.0)
    stored = TaskLine.of_error(
        task, TaskError("E_NO_MEDIA", "a.mp4: no media", NoMediaError.default_hint, "probe"), 1.0
    )
    assert raised == stored
    assert raised.state == "failed"
    assert TaskLine.of_error(task, stored.error or NoMediaError("x"), None, delay_s=0.0).state == (
        "retrying"
    )


def test_the_modules_of_the_terminal_import_each_other_in_one_direction() -> None:
    """The factory and its faces once imported each other."""
    folder = Path(terminal.__file__).parent
    inside = {
        path.stem: set(
            re.findall(r"gs_video_report\.terminal\.(\w+) import", path.read_text("utf-8"))
        )
        for path in folder.glob("*.py")
    }
    while leaves := {name for name, needs in inside.items() if not needs & inside.keys()}:
        inside = {name: needs for name, needs in inside.items() if name not in leaves}
    assert inside == {}
