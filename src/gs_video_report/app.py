"""What the commands do, between the command line and the core: gather, open, call, hand over.

Each function is one command's work and returns its exit code; printing goes through the printer or
`terminal.tables`. Heavy modules are imported where they are needed, so `gsvr --help` stays fast.
Raises: the classes of errors.py; `boundary` turns them into text.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_video_report import boundary
from gs_video_report.boundary import Faces
from gs_video_report.errors import GsvrError, LogNotWritable, UsageError
from gs_video_report.hints import place_told

if TYPE_CHECKING:
    from gs_video_report.batch.data_models import BatchOptions
    from gs_video_report.batch.input_parser import InputSpec
    from gs_video_report.batch.persistence import Database
    from gs_video_report.batch.planner import OpenedBatch, RunRequest
    from gs_video_report.batch.task_queue import TaskQueue
    from gs_video_report.config import Config
    from gs_video_report.run_log import RunLog
    from gs_video_report.terminal.printer import Printer


@dataclass(slots=True)
class ProcessCommand:
    """Everything given to `gsvr batch process` (and `video`, `batch resume`)."""

    faces: Faces = field(default_factory=Faces)
    flags: dict[str, Any] = field(default_factory=dict)
    """Configuration options given as flags, by their name in the option table."""
    config_file: Path | None = None
    inputs: dict[str, Path | str | None] = field(default_factory=dict)
    """Kind of input (dir, list, urls, file) -> path; exactly one given, or none on resume."""
    recursive: bool | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    template_column: str | None = None
    priority: int | None = None
    new: bool = False
    resume_from: str | None = None
    dry_run: bool = False
    show_all: bool = False
    api_key_file: str | None = None
    progress_file: Path | None = None


def load(command: ProcessCommand) -> Config:
    """The configuration in force. Raises: ConfigError, UsageError."""
    from gs_video_report.config import load_config

    if command.flags.get("engine_options") and command.flags.get("engine", "auto") == "auto":
        raise UsageError(
            "--model and --gemini-batch need to know the engine",
            hint="add --engine gemini or --engine openai",
        )

    return load_config(
        command.flags, env=os.environ, cwd=Path.cwd(), config_file=command.config_file
    )


def printer_for(faces: Faces, config: Config) -> Printer:
    """The face that fits the streams and the configuration."""
    from gs_video_report.terminal.faces import make_printer

    return make_printer(
        str(config.value("progress")),
        json=faces.json,
        quiet=faces.quiet,
        verbose=faces.verbose,
        stdout=sys.stdout,
        stderr=sys.stderr,
        env=os.environ,
    )


# --- process -----------------------------------------------------------------------------------


async def process(command: ProcessCommand) -> int:
    """`gsvr batch process`: find or make the batch, drain it."""
    spec = input_spec(command)
    config = load(command)
    request = run_request(command, config, spec)
    if command.dry_run:
        from gs_video_report.batch.dry_run import dry_run

        return await dry_run(
            request,
            database_path(config),
            command.faces,
            command.show_all,
            prices=_optional_path(config.value("prices_file")),
            why=_why_engine(config, command),
        )
    from gs_video_report.terminal.log_face import TwoFaces

    if command.progress_file is not None:
        from gs_video_report.batch.progress.file import check

        log_file = _optional_path(config.value("log_file"))
        check(command.progress_file, database_path(config), log_file)
    with open_log(config, command.faces) as log:
        printer: Printer = printer_for(command.faces, config)
        if log is not None:
            printer = TwoFaces(printer, log)
        try:
            async with open_for_run(config, command) as (database, restored):
                opened = await _open(database, command, request, restored)
                return await drain(database, opened, command, config, printer, log)
        finally:
            printer.close()


@contextmanager
def open_log(config: Config, faces: Faces) -> Iterator[RunLog | None]:
    """The log file of `--log-file`; None without one. What ends the block is its last line.
    Lines that it lacks at the end are told on stderr.

    Raises: LogNotWritable.
    """
    path = config.value("log_file")
    if not path:
        yield None
        return
    from gs_video_report.batch.inputs.url_rules import redact
    from gs_video_report.files import is_database
    from gs_video_report.run_log import RunLog

    file = Path(str(path))
    if is_database(file, database_path(config)):
        raise LogNotWritable(f"{file}: the log file cannot be written (it is a database)")
    log = RunLog.open(file, int(config.value("log_size_bytes")), redact)
    log.hide([os.environ.get("GSVR_WEBHOOK_SECRET", ""), str(config.value("webhook") or "")])
    try:
        yield log
    except GsvrError as error:
        log.write("error", "command.failed", code=error.code, message=error.message)
        raise
    except BaseException as error:
        log.write("error", "command.failed", code="", message=type(error).__name__)
        raise
    finally:
        log.close()
        if words := log.last_words():
            boundary.remark(faces, words)


def input_spec(command: ProcessCommand) -> InputSpec | None:
    """The input that was named; None on resume. Raises: UsageError unless exactly one was."""
    from gs_video_report.batch.input_parser import InputSpec

    named = {kind: path for kind, path in command.inputs.items() if path is not None}
    flags = "--input-dir, --file-list, --url-list"
    if command.resume_from is not None:
        if named:
            raise UsageError(
                f"--resume-from goes without {flags}", hint="the batch knows its own inputs"
            )
        return None
    if len(named) != 1:
        given = "none was given" if not named else "more than one was given"
        raise UsageError(f"exactly one of {flags} is needed; {given}")
    kind, path = next(iter(named.items()))
    return InputSpec(
        kind=kind,
        path=str(path),
        recursive=command.recursive is not False,
        include=command.include,
        exclude=command.exclude,
        limit=command.limit,
        template_column=command.template_column,
    ).absolute()


def run_request(command: ProcessCommand, config: Config, spec: InputSpec | None) -> RunRequest:
    """Resolve options: absolute folders, the engine chosen."""
    from gs_video_report.app_setup import check_template_dir
    from gs_video_report.batch.data_models import DEFAULT_PRIORITY
    from gs_video_report.batch.planner import RunRequest
    from gs_video_report.engine_access import choose

    # On resume the batch knows its engine; the key file is for that one.
    engine, _ = choose(config, None if spec is None else command.api_key_file)
    options = resolved(config.batch_options(engine))
    if spec is not None:
        check_template_dir(config)
        spec = replace(spec, skip_dirs=(options.output_dir, options.cache_dir)).absolute()
    priority = command.priority if command.priority is not None else DEFAULT_PRIORITY
    if not 0 <= priority <= 100:
        raise UsageError(f"--priority is 0 to 100, not {priority}")
    return RunRequest(options, spec, frozenset(command.flags), command.new, priority)


def resolved(options: BatchOptions) -> BatchOptions:
    """Options with absolute folders, known engines and formats."""
    from gs_video_report.cache import default_cache_dir
    from gs_video_report.engines.registry import check_name
    from gs_video_report.report.paths import check_pattern
    from gs_video_report.report.writer import check_formats

    check_pattern(options.output_pattern)
    for name in (options.engine, *options.fallback):
        check_name(name)
    return replace(
        options,
        output_dir=os.path.abspath(options.output_dir),
        cache_dir=os.path.abspath(options.cache_dir or default_cache_dir()),
        template_dir=os.path.abspath(options.template_dir) if options.template_dir else "",
        formats=check_formats(options.formats),
    )


def database_path(config: Config) -> Path:
    """Absolute path of the database."""
    return Path(os.path.abspath(str(config.value("db"))))


@asynccontextmanager
async def open_for_run(
    config: Config, command: ProcessCommand
) -> AsyncIterator[tuple[Database, OpenedBatch | None]]:
    """The database, rebuilt from a checkpoint when `--resume-from` needs that."""
    from gs_video_report.batch.mend.restore import open_or_restore
    from gs_video_report.batch.persistence import Database

    path = database_path(config)
    with place_told(config):
        if command.resume_from is not None:
            database, opened = await open_or_restore(path, command.resume_from)
        else:
            database, opened = await Database.open(path), None
    try:
        yield database, opened
    finally:
        await database.close()


async def _open(
    database: Database,
    command: ProcessCommand,
    request: RunRequest,
    restored: OpenedBatch | None,
) -> OpenedBatch:
    from gs_video_report.batch.planner import open_batch, resume_batch
    from gs_video_report.batch.task_queue import TaskQueue

    queue = TaskQueue(database)
    if command.resume_from is None:
        return await open_batch(queue, request)
    ref = restored.row.batch_id if restored else command.resume_from
    opened = await resume_batch(queue, ref, request)
    if restored is not None:
        opened.how = restored.how
        opened.notes[:0] = restored.notes
    return opened


async def drain(
    database: Database,
    opened: OpenedBatch,
    command: ProcessCommand,
    config: Config,
    printer: Printer,
    log: RunLog | None = None,
) -> int:
    """Tell what was found, then run the batch to its end."""
    from gs_video_report.batch.processor import BatchProcessor, RunSettings
    from gs_video_report.engine_access import advise, keys_for
    from gs_video_report.webhook import check_url

    tell_opened(opened, printer, command.faces)
    tell_engine(config, opened, command, printer)
    options = opened.row.options
    names = (options.engine, *options.fallback)
    files = {options.engine: command.api_key_file}
    webhook = config.value("webhook")
    keys = {name: keys_for(config, name, files.get(name)) for name in names}
    if log is not None:
        log.hide(key.reveal() for found in keys.values() for key in found)
        log.bind(batch=opened.row.batch_id)
    advised = partial(advise, config, key_files=files)
    settings = RunSettings(
        keys=keys,
        advise=advised,
        log=log,
        engine_options={name: config.engine_options(name) for name in options.fallback},
        prices_file=_optional_path(config.value("prices_file")),
        webhook=check_url(str(webhook)) if webhook else None,
        command_tail=command_tail(command),
        progress_file=command.progress_file,
        tuning=bool(config.value("tuning")),
        memory_limit_bytes=config.value("memory_limit_bytes"),
        cache_limit_bytes=int(config.value("cache_limit_bytes")),
    )
    try:
        result = await BatchProcessor(database, opened.row, printer, settings).run()
    except GsvrError as error:
        advised(error)
        raise
    return result.exit_code


def command_tail(command: ProcessCommand) -> str:
    """Options given here that a following command needs, too, to find the same database."""
    given = {"--db": command.flags.get("db"), "--config": command.config_file}
    return "".join(
        f" {flag} {shlex.quote(str(value))}" for flag, value in given.items() if value is not None
    )


def _optional_path(value: Any) -> Path | None:
    return Path(str(value)) if value else None


def _why_engine(config: Config, command: ProcessCommand) -> str:
    """Why `auto` took its engine; empty for an engine that was asked for."""
    from gs_video_report.engine_access import choose

    if str(config.value("engine")) != "auto":
        return ""
    return choose(config, command.api_key_file)[1]


def tell_engine(
    config: Config, opened: OpenedBatch, command: ProcessCommand, printer: Printer
) -> None:
    """With `auto`: which engine was taken, and why."""
    from gs_video_report.engine_access import choose

    if str(config.value("engine")) == "auto" and command.resume_from is None:
        name, why = choose(config, command.api_key_file)
        if name != "local" or command.faces.verbose:
            printer.note(f"engine {name}: {why}")
    if config.warnings and opened.how == "new":
        for warning in config.warnings:
            printer.note(warning)


def tell_opened(opened: OpenedBatch, printer: Printer, faces: Faces) -> None:
    """Rejected inputs and what kind of start this is."""
    from gs_video_report.terminal.styles import clean, plural

    shown = opened.scan.problems if faces.verbose else opened.scan.problems[:20]
    for problem in shown:
        printer.note(f"not taken: {clean(problem.origin)}: {clean(problem.reason)}")
    hidden = opened.scan.problem_count - len(shown)
    if hidden > 0:
        printer.note(f"{plural(hidden, 'more entry')} not taken; --verbose shows all")
    words = {
        "continued": "same inputs and settings as batch {id}, which goes on (--new starts afresh)",
        "resumed": "going on with batch {id}",
        "restored": "batch {id} was rebuilt from a checkpoint",
    }
    if opened.how in words:
        printer.note(words[opened.how].format(id=opened.row.batch_id))
    for note in opened.notes:
        printer.note(note)


# --- other batch commands ----------------------------------------------------------------------


@asynccontextmanager
async def queue_of(config: Config, *, read_only: bool) -> AsyncIterator[TaskQueue]:
    """The queue of an existing database."""
    from gs_video_report.batch.persistence import Database
    from gs_video_report.batch.task_queue import TaskQueue

    with place_told(config):
        database = await Database.open(database_path(config), create=False, read_only=read_only)
        try:
            yield TaskQueue(database)
        finally:
            await database.close()
