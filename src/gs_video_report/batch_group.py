"""The group `gsvr batch`, and what its commands have in common."""

from __future__ import annotations

from typing import Annotated, Any

import typer

RUN, WATCH, RESULTS = "Run", "Watch and fix", "Results"

batch_app = typer.Typer(
    name="batch",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Ref = Annotated[
    str,
    typer.Argument(
        help="Batch id, a unique prefix, or latest.",
        autocompletion=lambda incomplete: _complete_refs(incomplete),
    ),
]
LatestRef = Annotated[
    str, typer.Argument(help="Batch id, a unique prefix, or latest.", show_default=True)
]


def _complete_refs(incomplete: str) -> list[str]:
    from gs_video_report.completion import batch_refs

    return batch_refs(incomplete)


def given(**flags: Any) -> dict[str, Any]:
    """The flags that were given."""
    return {name: value for name, value in flags.items() if value is not None}


EXIT_CODES = (
    "Exit codes: 0 done, 1 could not run, 2 usage, 3 some failed, 4 paused by a limit, "
    "5 no input, 10 no such batch, 11 locked, 12 key, 130 Ctrl-C, 143 SIGTERM."
)
