"""`gsvr`: the root command. Parse, call, print. No logic, nothing heavy at import.

True here: the `batch` and `video` commands, which have most of the options, are only built when
the command line names one (or a shell asks for completion); `gsvr --help` shows their first line.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gs_video_report import __version__
from gs_video_report import cli_options as o
from gs_video_report.boundary import Faces, run, told_as_json

PROGRAM = "gsvr"
"""What help and advice call it, however it was started."""
RUN, SETUP = "Run", "Set up"
BATCH_HELP = "Process many videos; watch, pause, resume, retry."
VIDEO_HELP = "Make the report of one video."

root_app = typer.Typer(
    name=PROGRAM,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "Turn collections of videos into reports: transcript, slides, chapters, summary.\n\n"
        "[bold]Examples[/bold]\n\n"
        "  gsvr batch process -d ./lectures\n\n"
        "  gsvr video lecture.mp4\n\n"
        "  gsvr batch watch"
    ),
)


@root_app.callback(invoke_without_command=True)
def _root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        typer.echo(f"gsvr {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


templates_app = typer.Typer(no_args_is_help=True, help="Report templates.")
config_app = typer.Typer(no_args_is_help=True, help="Configuration.")
cache_app = typer.Typer(no_args_is_help=True, help="The cache of intermediate results.")
models_app = typer.Typer(no_args_is_help=True, help="Speech models.")
root_app.add_typer(templates_app, name="templates", rich_help_panel=SETUP)
root_app.add_typer(config_app, name="config", rich_help_panel=SETUP)
root_app.add_typer(models_app, name="models", rich_help_panel=SETUP)
root_app.add_typer(cache_app, name="cache", rich_help_panel=SETUP)


@templates_app.command("list")
def templates_list(
    template_dir: o.TemplateDir = None,
    config: o.ConfigFile = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """All templates, yours first."""
    from gs_video_report import app_setup

    run(Faces(json, verbose), lambda: app_setup.templates_list(template_dir, config, json))


@templates_app.command("show")
def templates_show(
    name: Annotated[str, typer.Argument(help="Template.")],
    template_dir: o.TemplateDir = None,
    config: o.ConfigFile = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """The text of one template; copy it into your own folder to change it."""
    from gs_video_report import app_setup

    run(Faces(json, verbose), lambda: app_setup.templates_show(name, template_dir, config, json))


@config_app.command("show")
def config_show(
    origin: Annotated[
        bool, typer.Option("--origin", help="Also where each value came from.")
    ] = False,
    config: o.ConfigFile = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """The configuration in force; secrets are masked."""
    from gs_video_report import app_setup

    run(Faces(json, verbose), lambda: app_setup.config_show(config, origin, json))


@config_app.command("init")
def config_init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("gsvr.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    verbose: o.Verbose = False,
) -> None:
    """Write a commented configuration file."""
    from gs_video_report import app_setup

    run(Faces(False, verbose), lambda: app_setup.config_init(path, force))


@config_app.command("set-key")
def config_set_key(
    engine: Annotated[str, typer.Argument(help="gemini or openai.")],
    forget: Annotated[bool, typer.Option("--forget", help="Remove the stored key.")] = False,
    keyring: Annotated[
        bool, typer.Option("--keyring", help="In the system's keyring instead of a file.")
    ] = False,
    config: o.ConfigFile = None,
    verbose: o.Verbose = False,
) -> None:
    """Store a key, typed or from standard input, in a file that only you can read."""
    from gs_video_report import app_setup

    run(Faces(False, verbose), lambda: app_setup.config_set_key(config, engine, forget, keyring))


@models_app.command("list")
def models_list(
    cache_dir: o.CacheDir = None,
    config: o.ConfigFile = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Speech models: what is here and what could be."""
    from gs_video_report import app_setup

    run(Faces(json, verbose), lambda: app_setup.models_list(cache_dir, config, json))


@models_app.command("fetch")
def models_fetch(
    name: Annotated[str, typer.Argument(help="Model, such as base or small.")],
    cache_dir: o.CacheDir = None,
    config: o.ConfigFile = None,
    verbose: o.Verbose = False,
) -> None:
    """Make a speech model ready on this machine."""
    from gs_video_report import app_setup

    run(Faces(False, verbose), lambda: app_setup.models_fetch(name, cache_dir, config))


@cache_app.command("info")
def cache_info(
    cache_dir: o.CacheDir = None,
    config: o.ConfigFile = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Where the cache is and how large it is."""
    from gs_video_report import app_setup

    run(Faces(json, verbose), lambda: app_setup.cache_info(cache_dir, config, json))


@cache_app.command("clear")
def cache_clear(
    cache_dir: o.CacheDir = None,
    config: o.ConfigFile = None,
    yes: o.Yes = False,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Remove intermediate results; reports and databases stay."""
    from gs_video_report import app_setup

    run(Faces(json, verbose), lambda: app_setup.cache_clear(cache_dir, config, yes, json))


@root_app.command("doctor", rich_help_panel=SETUP)
def doctor(
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Check this machine: what works, what does not, how to mend it."""
    from gs_video_report import app_setup

    run(Faces(json, verbose), lambda: app_setup.doctor(config, db, json))


@root_app.command("quota", rich_help_panel=RUN)
def quota(
    release_doubtful: Annotated[
        bool,
        typer.Option(
            "--release-doubtful",
            help="Count what killed runs had set aside for unanswered requests as not spent.",
        ),
    ] = False,
    retry_spent: Annotated[
        bool,
        typer.Option(
            "--retry-spent",
            help="Try keys again that were found spent, before their reset (the quota was raised).",
        ),
    ] = False,
    yes: o.Yes = False,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """What was spent today per model and key, the limits, and when the next day begins."""
    from gs_video_report import app_batches

    def work() -> Coroutine[Any, Any, int]:
        if release_doubtful:
            return app_batches.release_doubtful(config, db, json, yes)
        if retry_spent:
            return app_batches.retry_spent(config, db, json)
        return app_batches.quota(config, db, json)

    run(Faces(json, verbose), work)


def build(words: Sequence[str] | None = None) -> typer.Typer:
    """The whole command, or what the command line `words` can reach (None: everything)."""
    app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
    app.info, app.registered_callback = root_app.info, root_app.registered_callback
    if words is None or {"batch", "video"} & set(words):
        from gs_video_report.batch_cli import video
        from gs_video_report.batch_manage_cli import batch_app

        app.add_typer(batch_app, name="batch", help=BATCH_HELP, rich_help_panel=RUN)
        app.command("video", rich_help_panel=RUN)(video)
    else:
        app.add_typer(_unbuilt(), name="batch", help=BATCH_HELP, rich_help_panel=RUN)
        app.command("video", help=VIDEO_HELP, rich_help_panel=RUN)(_nothing)
    app.registered_groups += root_app.registered_groups
    app.registered_commands += root_app.registered_commands
    return app


def _unbuilt() -> typer.Typer:
    group = typer.Typer()
    group.command("process", hidden=True)(_nothing)
    return group


def _nothing() -> None:
    """Stands for a command whose options this command line does not need."""


def __getattr__(name: str) -> Any:
    """`cli.app` is the whole command, for tools that look at all of it."""
    if name == "app":
        return build()
    raise AttributeError(name)


def main() -> None:
    """Entry point of the `gsvr` script."""
    if hasattr(signal, "SIGPIPE"):  # `gsvr --help | head -1` ends as any program does
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    completing = any(key.startswith("_GSVR") for key in os.environ)
    app = build(None if completing else sys.argv[1:])
    if "--json" in sys.argv[1:]:  # a mistake in the command line must not draw Typer's box
        sys.exit(told_as_json(lambda: app(prog_name=PROGRAM, standalone_mode=False)))
    app(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
