"""`gsvr batch process`, `resume`, and `gsvr video`: parse, call, print. No logic."""

from __future__ import annotations

from typing import Annotated

import typer

from gs_video_report import cli_options as o
from gs_video_report.batch_group import EXIT_CODES, RUN, Ref, batch_app, given
from gs_video_report.boundary import Faces, run


@batch_app.command("process", rich_help_panel=RUN, epilog=EXIT_CODES)
def process(
    input_dir: o.InputDir = None,
    file_list: o.FileList = None,
    url_list: o.UrlList = None,
    recursive: o.Recursive = None,
    include: o.Include = None,
    exclude: o.Exclude = None,
    limit: o.Limit = None,
    template_column: o.TemplateColumn = None,
    template: o.Template = None,
    output: o.Output = None,
    output_pattern: o.OutputPattern = None,
    formats: o.Formats = None,
    skip_existing: o.SkipExisting = None,
    template_dir: o.TemplateDir = None,
    engine: o.Engine = None,
    model: o.Model = None,
    gemini_batch: o.GeminiBatch = None,
    fallback: o.Fallback = None,
    api_key_file: o.ApiKeyFile = None,
    asr_model: o.AsrModel = None,
    language: o.Language = None,
    subtitles: o.Subtitles = None,
    slides: o.Slides = None,
    ocr: o.Ocr = None,
    parallel: o.Parallel = None,
    priority: o.Priority = None,
    new: o.New = False,
    resume_from: o.ResumeFrom = None,
    dry_run: o.DryRun = False,
    config: o.ConfigFile = None,
    db: o.Db = None,
    cache_dir: o.CacheDir = None,
    max_retries: o.MaxRetries = None,
    timeout: o.Timeout = None,
    stall_timeout: o.StallTimeout = None,
    cost_limit: o.CostLimit = None,
    daily_cost_limit: o.DailyCostLimit = None,
    webhook: o.Webhook = None,
    cookies: o.Cookies = None,
    progress_file: o.ProgressFile = None,
    log_file: o.LogFile = None,
    progress: o.Progress = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
    show_all: o.ShowAll = False,
) -> None:
    """Make one report per video.

    [bold]Examples[/bold]

      gsvr batch process -d ./lectures

      gsvr batch process -d ./lectures --dry-run

      gsvr batch process -f course.csv -t summary_report -o ./reports

      gsvr batch process --resume-from latest

    The same command again goes on where it stopped.
    """
    from gs_video_report import app

    command = app.ProcessCommand(
        faces=Faces(json, verbose, quiet),
        flags=given(
            progress=progress,
            log_file=log_file,
            template=template,
            output_dir=output,
            output_pattern=output_pattern,
            formats=formats,
            skip_existing=skip_existing,
            template_dir=template_dir,
            engine=engine,
            asr_model=asr_model,
            language=language,
            subtitles=subtitles,
            slides=slides,
            ocr=ocr,
            parallel=parallel,
            db=db,
            cache_dir=cache_dir,
            max_retries=max_retries,
            timeout_s=timeout,
            stall_timeout_s=stall_timeout,
            fallback=fallback,
            cost_limit_usd=cost_limit,
            daily_cost_limit_usd=daily_cost_limit,
            webhook=webhook,
            **{"download.cookies": cookies},
            engine_options=given(model=model, batch=gemini_batch) or None,
        ),
        config_file=config,
        api_key_file=api_key_file,
        inputs={"dir": input_dir, "list": file_list, "urls": url_list},
        recursive=recursive,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        limit=limit,
        template_column=template_column,
        priority=priority,
        new=new,
        resume_from=resume_from,
        dry_run=dry_run,
        show_all=show_all,
        progress_file=progress_file,
    )
    run(command.faces, lambda: app.process(command))


def video(
    file: Annotated[
        str, typer.Argument(help="The recording: a file or an address.", metavar="FILE")
    ],
    template: o.Template = None,
    output: o.Output = None,
    formats: o.Formats = None,
    engine: o.Engine = None,
    model: o.Model = None,
    api_key_file: o.ApiKeyFile = None,
    asr_model: o.AsrModel = None,
    language: o.Language = None,
    subtitles: o.Subtitles = None,
    slides: o.Slides = None,
    ocr: o.Ocr = None,
    new: o.New = False,
    config: o.ConfigFile = None,
    db: o.Db = None,
    cache_dir: o.CacheDir = None,
    cookies: o.Cookies = None,
    timeout: o.Timeout = None,
    stall_timeout: o.StallTimeout = None,
    log_file: o.LogFile = None,
    progress: o.Progress = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Make the report of one video.

    [bold]Examples[/bold]

      gsvr video lecture.mp4 -o ./reports

      gsvr video https://example.org/talk.mp4
    """
    from gs_video_report import app

    command = app.ProcessCommand(
        faces=Faces(json, verbose, quiet),
        flags=given(
            progress=progress,
            log_file=log_file,
            template=template,
            output_dir=output,
            formats=formats,
            engine=engine,
            asr_model=asr_model,
            language=language,
            subtitles=subtitles,
            slides=slides,
            ocr=ocr,
            db=db,
            cache_dir=cache_dir,
            timeout_s=timeout,
            stall_timeout_s=stall_timeout,
            **{"download.cookies": cookies},
            engine_options=given(model=model) or None,
        ),
        config_file=config,
        api_key_file=api_key_file,
        inputs={"file": file},
        new=new,
    )
    run(command.faces, lambda: app.process(command))


@batch_app.command("resume", rich_help_panel=RUN, epilog=EXIT_CODES)
def resume(
    ref: Ref,
    parallel: o.Parallel = None,
    max_retries: o.MaxRetries = None,
    timeout: o.Timeout = None,
    stall_timeout: o.StallTimeout = None,
    fallback: o.Fallback = None,
    cost_limit: o.CostLimit = None,
    daily_cost_limit: o.DailyCostLimit = None,
    api_key_file: o.ApiKeyFile = None,
    webhook: o.Webhook = None,
    cookies: o.Cookies = None,
    config: o.ConfigFile = None,
    db: o.Db = None,
    cache_dir: o.CacheDir = None,
    progress_file: o.ProgressFile = None,
    log_file: o.LogFile = None,
    progress: o.Progress = None,
    json: o.Json = False,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Go on with a batch that was interrupted or paused.

    REF may also be a checkpoint id or file: the batch is rebuilt if the database is gone.
    """
    from gs_video_report import app

    command = app.ProcessCommand(
        faces=Faces(json, verbose, quiet),
        flags=given(
            progress=progress,
            log_file=log_file,
            parallel=parallel,
            db=db,
            cache_dir=cache_dir,
            max_retries=max_retries,
            timeout_s=timeout,
            stall_timeout_s=stall_timeout,
            fallback=fallback,
            cost_limit_usd=cost_limit,
            daily_cost_limit_usd=daily_cost_limit,
            webhook=webhook,
            **{"download.cookies": cookies},
        ),
        config_file=config,
        api_key_file=api_key_file,
        resume_from=ref,
        progress_file=progress_file,
    )
    run(command.faces, lambda: app.process(command))
