"""The one place from which callers take what people see.

Facade of `gs_video_report.terminal`: choose a face with `make_printer`, feed it snapshots and
lines; tables, dry run and errors are pure functions with a JSON twin. Modules are loaded when a
name is first used, so that `gsvr batch status` does not pay for the live screen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gs_video_report.terminal.dry_run import (
        DryRun,
        PlanInfo,
        PlanRow,
        PlanTotals,
        dry_run,
        dry_run_json,
    )
    from gs_video_report.terminal.errors import error_json, exit_code_of, format_error
    from gs_video_report.terminal.faces import ProgressMode, make_printer
    from gs_video_report.terminal.failures import FailureGroup, group_failures
    from gs_video_report.terminal.printer import Printer, TaskLine
    from gs_video_report.terminal.stream import json_line
    from gs_video_report.terminal.summary import (
        KeptWork,
        stop_now_text,
        stopping_text,
        summary_json,
        summary_lines,
    )
    from gs_video_report.terminal.tables import (
        CheckpointLine,
        batch_list,
        batch_list_json,
        batch_status,
        batch_status_json,
        checkpoint_list,
        checkpoint_list_json,
        short_refs,
    )
    from gs_video_report.terminal.task_card import task_show, task_show_json

_HOMES: dict[str, tuple[str, ...]] = {
    "dry_run": ("DryRun", "PlanInfo", "PlanRow", "PlanTotals", "dry_run", "dry_run_json"),
    "errors": ("error_json", "exit_code_of", "format_error"),
    "faces": ("ProgressMode", "make_printer"),
    "printer": ("Printer", "TaskLine"),
    "stream": ("json_line",),
    "failures": ("FailureGroup", "group_failures"),
    "summary": (
        "KeptWork",
        "stop_now_text",
        "stopping_text",
        "summary_json",
        "summary_lines",
    ),
    "tables": (
        "CheckpointLine",
        "batch_list",
        "batch_list_json",
        "batch_status",
        "batch_status_json",
        "checkpoint_list",
        "checkpoint_list_json",
        "short_refs",
    ),
    "task_card": ("task_show", "task_show_json"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022  one group per module
    "DryRun",
    "PlanInfo",
    "PlanRow",
    "PlanTotals",
    "dry_run",
    "dry_run_json",
    "error_json",
    "exit_code_of",
    "format_error",
    "Printer",
    "ProgressMode",
    "TaskLine",
    "make_printer",
    "json_line",
    "FailureGroup",
    "KeptWork",
    "group_failures",
    "stop_now_text",
    "stopping_text",
    "summary_json",
    "summary_lines",
    "CheckpointLine",
    "batch_list",
    "batch_list_json",
    "batch_status",
    "batch_status_json",
    "checkpoint_list",
    "checkpoint_list_json",
    "short_refs",
    "task_show",
    "task_show_json",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"gs_video_report.terminal.{home}"), name)
