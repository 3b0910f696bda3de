"""`gsvr batch list` and all commands on existing batches: parse, call, print. No logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gs_video_report import cli_options as o
from gs_video_report.batch_group import (
    EXIT_CODES,
    RESULTS,
    WATCH,
    LatestRef,
    Ref,
    batch_app,
    given,
)
from gs_video_report.boundary import Faces, run

__all__ = ["batch_app"]


@batch_app.command("list", rich_help_panel=WATCH)
def list_batches(
    limit: Annotated[int, typer.Option("--limit", help="At most this many.", min=1)] = 20,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """All batches, the newest first."""
    from gs_video_report import app_batches as app

    run(Faces(json, verbose), lambda: app.list_batches(_access(config, db), json, limit))


@batch_app.command("status", rich_help_panel=WATCH)
def status(
    ref: LatestRef = "latest",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow until it ends.")] = False,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Counts, failures by cause, and what to do next."""
    from gs_video_report import app_batches as app

    run(Faces(json, verbose), lambda: app.status(_access(config, db), json, ref, watch))


@batch_app.command("watch", rich_help_panel=WATCH, epilog=EXIT_CODES)
def watch(
    ref: LatestRef = "latest",
    config: o.ConfigFile = None,
    db: o.Db = None,
    progress: o.Progress = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """The live view of a batch that works in another terminal; ends with it.

    The exit code is that of the batch. Ctrl-C ends the watching and leaves the batch running.
    """
    from gs_video_report import app_batches as app

    faces = Faces(json, verbose, quiet)
    run(faces, lambda: app.watch(_access(config, db, progress), faces, ref))


@batch_app.command("show", rich_help_panel=WATCH)
def show(
    task: Annotated[
        str, typer.Argument(help="A task, such as 7f3a:17, or a batch.", metavar="TASK")
    ],
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """One task: stages, attempts, outputs, error, events. Or a batch: its runs and changes."""
    from gs_video_report import app_batches as app

    run(Faces(json, verbose), lambda: app.show(_access(config, db), json, task))


@batch_app.command("metrics", rich_help_panel=WATCH)
def metrics(
    ref: LatestRef = "latest",
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="In the text format of Prometheus.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to replace at once (default: stdout)."),
    ] = None,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Figures of a batch: tasks, times, requests, quotas, memory, disk.

    [bold]Example[/bold]

      gsvr batch metrics latest --prometheus -o /var/lib/node_exporter/gsvr.prom
    """
    from gs_video_report import app_batches as app

    access = _access(config, db)
    work = lambda: app.metrics(access, ref, json=json, prometheus=prometheus, output=output)  # noqa: E731
    run(Faces(json, verbose), work)


@batch_app.command("pause", rich_help_panel=WATCH)
def pause(
    ref: Ref,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Stop a running batch after the steps in flight; resume goes on."""
    from gs_video_report import app_batches as app

    run(Faces(json, verbose), lambda: app.pause(_access(config, db), json, ref))


@batch_app.command("cancel", rich_help_panel=WATCH)
def cancel(
    ref: Annotated[str, typer.Argument(help="A batch, or one task such as 7f3a:17.")],
    yes: o.Yes = False,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """End a batch, or one task of it; finished reports stay."""
    from gs_video_report import app_batches as app

    run(Faces(json, verbose), lambda: app.cancel(_access(config, db), json, ref, yes))


@batch_app.command("retry", rich_help_panel=WATCH)
def retry(
    ref: Annotated[str, typer.Argument(help="A batch, or one task such as 7f3a:17.")],
    failed: Annotated[
        bool, typer.Option("--failed", help="Only failed tasks (not cancelled ones).")
    ] = False,
    quality: Annotated[
        bool,
        typer.Option(
            "--quality",
            help="Hear doubtful stretches of finished reports again, on this machine; "
            "no service is asked.",
        ),
    ] = False,
    below: Annotated[
        float | None,
        typer.Option("--below", help="With --quality: only reports that score less.", metavar="N"),
    ] = None,
    start: Annotated[
        bool,
        typer.Option("--run/--no-run", help="Process them now (default: yes).", show_default=False),
    ] = True,
    parallel: o.Parallel = None,
    max_retries: o.MaxRetries = None,
    timeout: o.Timeout = None,
    stall_timeout: o.StallTimeout = None,
    config: o.ConfigFile = None,
    db: o.Db = None,
    log_file: o.LogFile = None,
    progress: o.Progress = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Try failed videos again; finished steps are kept.

    With --quality: hear again what `gsvr batch quality` doubts, and keep the better text.
    """
    from gs_video_report import app_batches as app

    faces = Faces(json, verbose, quiet)
    access = _access(config, db, progress)
    access.flags |= given(
        log_file=log_file,
        parallel=parallel,
        max_retries=max_retries,
        timeout_s=timeout,
        stall_timeout_s=stall_timeout,
    )
    if quality or below is not None:
        from gs_video_report import app_quality

        alone = quality and start and not failed and max_retries is None
        run(faces, lambda: app_quality.retry_quality(access, faces, ref, below, alone=alone))
    run(faces, lambda: app.retry(access, faces, ref, failed=failed, start=start))


@batch_app.command("quality", rich_help_panel=WATCH)
def quality(
    ref: Annotated[
        str, typer.Argument(help="A batch, or one task such as 7f3a:17.", show_default=True)
    ] = "latest",
    limit: Annotated[int, typer.Option("--limit", help="At most this many.", min=1)] = 20,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Which reports to look at, and where: repetitions, gaps, doubtful words. Worst first."""
    from gs_video_report import app_quality as app

    run(Faces(json, verbose), lambda: app.quality(_access(config, db), json, ref, limit))


@batch_app.command("checkpoints", rich_help_panel=RESULTS)
def checkpoints(
    ref: Annotated[str | None, typer.Argument(help="Only of this batch.")] = None,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """The checkpoints on disk, the newest first."""
    from gs_video_report import app_batches as app

    run(Faces(json, verbose), lambda: app.checkpoints(_access(config, db), json, ref))


@batch_app.command("export", rich_help_panel=RESULTS)
def export(
    ref: LatestRef = "latest",
    form: Annotated[str, typer.Option("--format", help="csv or json (one object a line).")] = "csv",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (default: stdout).")
    ] = None,
    config: o.ConfigFile = None,
    db: o.Db = None,
    verbose: o.Verbose = False,
) -> None:
    """A table of all tasks of a batch."""
    from gs_video_report import app_batches as app

    run(Faces(False, verbose), lambda: app.export(_access(config, db), ref, form, output))


@batch_app.command("render", rich_help_panel=RESULTS)
def render(
    ref: LatestRef = "latest",
    template: o.OtherTemplate = None,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Write the finished reports anew, with another template or layout; no engine runs."""
    from gs_video_report import app_batches as app

    faces = Faces(json, verbose)
    run(faces, lambda: app.render(_access(config, db), faces, ref, template))


@batch_app.command("verify", rich_help_panel=RESULTS)
def verify(
    ref: LatestRef = "latest",
    repair: Annotated[
        bool, typer.Option("--repair", help="Make damaged reports whole, from what is kept.")
    ] = False,
    config: o.ConfigFile = None,
    db: o.Db = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
) -> None:
    """Check every report on disk against its size and SHA-256."""
    from gs_video_report import app_verify as app

    faces = Faces(json, verbose)
    run(faces, lambda: app.verify(_access(config, db), faces, ref, repair=repair))


def _access(config: Path | None, db: str | None, progress: str | None = None) -> Any:
    from gs_video_report.app import ProcessCommand

    return ProcessCommand(flags=given(db=db, progress=progress), config_file=config)
