"""What the commands on existing batches do: list, status, show, pause, cancel, retry, render ..."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from gs_video_report import app
from gs_video_report.app import ProcessCommand, queue_of
from gs_video_report.app_setup import confirm, say, say_json
from gs_video_report.batch import commands
from gs_video_report.batch.data_models import TaskStatus
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.boundary import Faces
from gs_video_report.errors import ExitCode, NotFoundError, UsageError
from gs_video_report.terminal import tables

OK = int(ExitCode.OK)
WATCH_S = 1.0
"""Seconds between two looks of `status --watch`."""


def _now() -> datetime:
    return datetime.now().astimezone()


def _colour() -> bool:
    from gs_video_report.terminal.styles import tolerate_encoding, wants_colour

    tolerate_encoding(sys.stdout)
    return wants_colour(sys.stdout, os.environ)


def _columns() -> int:
    return shutil.get_terminal_size().columns


async def list_batches(access: ProcessCommand, json: bool, limit: int) -> int:
    """`gsvr batch list`."""
    config = app.load(access)
    restorable = 0
    try:
        async with queue_of(config, read_only=True) as queue:
            states = await commands.batch_states(queue, limit)
    except NotFoundError:
        states = []  # no database (any more): no batches
        restorable = await asyncio.to_thread(commands.restorable, app.database_path(config))
    if json:
        say_json(tables.batch_list_json(states, restorable))
        return OK
    lines = tables.batch_list(
        states,
        now=_now(),
        columns=_columns(),
        colour=_colour(),
        tail=app.command_tail(access),
        restorable=restorable,
    )
    for line in lines:
        say(line)
    return OK


async def status(access: ProcessCommand, json: bool, ref: str, watch: bool) -> int:
    """`gsvr batch status`, once or until the batch ends."""
    async with queue_of(app.load(access), read_only=True) as queue:
        while True:
            state = await commands.batch_state(queue, ref)
            clear = watch and sys.stdout.isatty()
            await _show_status(queue, state, json, clear=clear, tail=app.command_tail(access))
            if not watch or not state.live:
                return OK
            await asyncio.sleep(WATCH_S)


async def watch(access: ProcessCommand, faces: Faces, ref: str) -> int:
    """`gsvr batch watch`: the live view of a batch that another process works on."""
    from gs_video_report.batch.run.summary_reads import failure_groups
    from gs_video_report.batch.view.watch import Watcher

    config = app.load(access)
    printer = app.printer_for(faces, config)
    try:
        async with queue_of(config, read_only=True) as queue:
            row = await queue.get_batch(ref)
            tail = app.command_tail(access)
            return await Watcher(queue, row, printer, failure_groups, tail).run()
    finally:
        printer.close()


async def _show_status(
    queue: TaskQueue, state: commands.BatchState, json: bool, *, clear: bool, tail: str
) -> None:
    from gs_video_report.batch.run.summary_reads import failure_groups

    batch_id = state.row.batch_id
    failures = await failure_groups(queue, batch_id)
    in_work = queue.iter_tasks(batch_id, {TaskStatus.RUNNING})
    running = [task async for task in in_work] if state.word != "interrupted" else []
    if json:
        from gs_video_report.terminal.stream import json_line

        say(json_line(tables.batch_status_json(state, failures, running=running, tail=tail)))
        return
    lines = tables.batch_status(
        state,
        failures,
        running=running,
        now=_now(),
        columns=_columns(),
        colour=_colour(),
        tail=tail,
    )
    if clear:
        sys.stdout.write("\x1b[H\x1b[J")
    for line in lines:
        say(line)


async def show(access: ProcessCommand, json: bool, ref: str) -> int:
    """`gsvr batch show TASK`, or the story of a whole batch."""
    if ":" not in ref:
        return await _show_batch(access, json, ref)
    async with queue_of(app.load(access), read_only=True) as queue:
        details = await commands.task_details(queue, ref)
        row = await queue.get_batch(details["task"].batch_id)
    task, attempts, events = details["task"], details["attempts"], details["events"]
    if json:
        say_json(tables.task_show_json(task, attempts, events))
        return OK
    tries = row.options.max_retries + 1
    for line in tables.task_show(task, attempts, events, now=_now(), tries=tries):
        say(line)
    return OK


async def _show_batch(access: ProcessCommand, json: bool, ref: str) -> int:
    from gs_video_report.batch.queue.event_reads import batch_story
    from gs_video_report.terminal.notices import story_line

    async with queue_of(app.load(access), read_only=True) as queue:
        state = await commands.batch_state(queue, ref)
        story = await batch_story(queue.db, state.row.batch_id)
    tail = app.command_tail(access)
    if json:
        events = [{"at": e.at, "kind": e.kind, "data": e.data} for e in story]
        say_json(tables.batch_status_json(state, tail=tail) | {"events": events})
        return OK
    lines = tables.batch_status(state, now=_now(), columns=_columns(), colour=_colour(), tail=tail)
    for line in (
        *lines[:-1],
        "  events",
        *(story_line(e.at, e.kind, e.data, _now()) for e in story),
    ):
        say(line)
    say(lines[-1])
    return OK


async def pause(access: ProcessCommand, json: bool, ref: str) -> int:
    """`gsvr batch pause`."""
    async with queue_of(app.load(access), read_only=False) as queue:
        state = await commands.pause(queue, ref)
    return _changed(access, state, json, "resume")


async def cancel(access: ProcessCommand, json: bool, ref: str, yes: bool) -> int:
    """`gsvr batch cancel`."""
    async with queue_of(app.load(access), read_only=False) as queue:
        if ":" in ref:
            return await _cancel_task(access, queue, json, ref, yes)
        row = await queue.get_batch(ref)
        confirm(yes, f"Cancel batch {row.batch_id} ({row.name})?")
        state, ended = await commands.cancel(queue, row.batch_id)
    if not json:
        say(f"waiting videos cancelled: {ended}")
    return _changed(access, state, json, "retry")


async def _cancel_task(
    access: ProcessCommand, queue: TaskQueue, json: bool, ref: str, yes: bool
) -> int:
    from gs_video_report.batch.progress.snapshot import display_name

    task = await queue.get_task(ref)
    confirm(yes, f"Cancel task {task.ref} ({display_name(task)})?")
    state = await commands.cancel_task(queue, task.ref)
    now = await queue.get_task(task.ref)
    tail = app.command_tail(access)
    if json:
        say_json(tables.batch_status_json(state, tail=tail))
        return OK
    asked = now.status is TaskStatus.RUNNING
    word = "told to stop" if asked else str(now.status)
    say(f"Task {now.ref} is {word}: {tables.counts_text(state.counts)}")
    say(f"Next:  gsvr batch {'show' if asked else 'retry'} {now.ref}{tail}")
    return OK


def _changed(access: ProcessCommand, state: commands.BatchState, json: bool, verb: str) -> int:
    tail = app.command_tail(access)
    if json:
        say_json(tables.batch_status_json(state, tail=tail))
    else:
        say(f"Batch {state.row.batch_id} is {state.word}: {tables.counts_text(state.counts)}")
        say(f"Next:  gsvr batch {verb} {state.row.batch_id}{tail}")
    return OK


async def retry(
    access: ProcessCommand, faces: Faces, ref: str, *, failed: bool, start: bool
) -> int:
    """`gsvr batch retry`: put tasks back and, unless told otherwise, process them."""
    async with queue_of(app.load(access), read_only=False) as queue:
        batch_id, count = await commands.retry(queue, ref, failed=failed)
    if not count or not start:
        _tell_retry(access, faces, batch_id, count)
        return OK
    access.faces, access.resume_from = faces, batch_id
    return await app.process(access)


def _tell_retry(access: ProcessCommand, faces: Faces, batch_id: str, count: int) -> None:
    following = f"gsvr batch resume {batch_id}{app.command_tail(access)}" if count else None
    if faces.json:
        say_json({"v": 1, "type": "retry", "batch": batch_id, "requeued": count, "next": following})
        return
    say(f"videos that wait again: {count}" if count else "nothing to retry")
    if following:
        say(f"Next:  {following}")


async def checkpoints(access: ProcessCommand, json: bool, ref: str | None) -> int:
    """`gsvr batch checkpoints`."""
    from gs_video_report.batch.checkpoint_manager import CheckpointManager, default_directory

    folder = default_directory(app.database_path(app.load(access)))
    found = await asyncio.to_thread(CheckpointManager(None, folder).list, ref)
    lines = [
        tables.CheckpointLine(
            checkpoint_id=c.checkpoint_id,
            batch_id=c.batch_id,
            created_at=c.created_at,
            reason=c.reason,
            tasks=c.counts.total,
            size_bytes=c.size_bytes,
            problem=c.problem,
        )
        for c in found
    ]
    if json:
        say_json(tables.checkpoint_list_json(lines))
        return OK
    for line in tables.checkpoint_list(lines, now=_now(), columns=_columns(), colour=_colour()):
        say(line)
    return OK


async def export(access: ProcessCommand, ref: str, form: str, output: Path | None) -> int:
    """`gsvr batch export`: CSV or JSON lines, to a file or to stdout."""
    if form not in ("csv", "json"):
        raise UsageError(f"--format is csv or json, not {form!r}")
    async with queue_of(app.load(access), read_only=True) as queue:
        row = await queue.get_batch(ref)
        tasks = queue.iter_tasks(row.batch_id)
        lines = commands.export_csv(tasks) if form == "csv" else commands.export_json(tasks)
        if output is None:
            await _stream(lines)
            return OK
        from gs_video_report.files import write_atomic

        text = "".join([line async for line in lines])
        # A byte order mark makes spreadsheet programs read the CSV as UTF-8.
        data = text.encode("utf-8-sig" if form == "csv" else "utf-8", "replace")
        write_atomic(output, data)
        say(f"written: {output}")
    return OK


async def _stream(lines: AsyncIterator[str]) -> None:
    from gs_video_report.terminal.styles import tolerate_encoding

    tolerate_encoding(sys.stdout)
    async for line in lines:
        sys.stdout.write(line)


async def render(access: ProcessCommand, faces: Faces, ref: str, template: str | None) -> int:
    """`gsvr batch render`: 0 when all were rendered, 3 when some could not be."""
    from gs_video_report.batch.mend.render import render_batch
    from gs_video_report.batch.run.finisher import settle
    from gs_video_report.batch.store.batch_lock import rewriting
    from gs_video_report.cache import ArtifactStore
    from gs_video_report.compute.process_pool import ProcessBackend
    from gs_video_report.files import sweep_temps
    from gs_video_report.terminal.counter import counted
    from gs_video_report.terminal.stream import json_line
    from gs_video_report.terminal.styles import plural

    config = app.load(access)
    folder = Path(config.value("template_dir"))
    async with queue_of(config, read_only=False) as queue:
        row = await queue.get_batch(ref)
        # Another template has folders of its own, but whole results are stored with it as well.
        async with rewriting(queue.db.path, row.batch_id), ProcessBackend() as compute:
            await asyncio.to_thread(sweep_temps, Path(row.options.output_dir))
            with counted(sys.stderr, "reports rendered", faces.json) as told:
                done = await render_batch(queue, ref, compute, template, told, folder)
            if done.rendered:
                limit_bytes = int(config.value("cache_limit_bytes"))
                cache = ArtifactStore(Path(row.options.cache_dir), limit_bytes)
                tail = app.command_tail(access)
                done.problems += await settle(queue, row, compute, cache, tail, "render")
    problems = [{"ref": r, "code": e.code, "message": e.message} for r, e in done.problems]
    code = int(ExitCode.PARTIAL) if problems else OK
    if faces.json:
        value = {"v": 1, "type": "render", "rendered": done.rendered, "problems": problems}
        say(json_line({**value, "exit_code": code}))
        return code
    say(f"{plural(done.rendered, 'report')} rendered, no request was sent")
    for problem in problems:
        say(f"{problem['ref']}  {problem['message']}")
    return code


# --- metrics ------------------------------------------------------------------------------------


def _check_target(output: Path, database: Path) -> None:
    """Raises: UsageError for a database, or where no folder is (a typo makes none)."""
    from gs_video_report.files import is_database

    if is_database(output, database):
        raise UsageError(
            f"{output}: is a database, which is not overwritten",
            hint="name another file with --output",
        )
    if not output.parent.is_dir():
        raise UsageError(
            f"{output}: there is no folder {output.parent}",
            hint="make the folder first, or name another file with --output",
        )


async def metrics(
    access: ProcessCommand, ref: str, *, json: bool, prometheus: bool, output: Path | None
) -> int:
    """`gsvr batch metrics`: one measurement, for people, as JSON, or for Prometheus."""
    from gs_video_report.batch.view.metrics import measure, metrics_json
    from gs_video_report.files import write_atomic

    if json and prometheus:
        raise UsageError("--json and --prometheus exclude each other")
    config = app.load(access)
    if output is not None:
        _check_target(output, app.database_path(config))
    async with queue_of(config, read_only=True) as queue:
        found = await measure(queue, ref)
    if prometheus:
        from gs_video_report.batch.view.metrics_families import families
        from gs_video_report.terminal.prometheus import exposition

        text = exposition(families(found))
    elif json:
        from gs_video_report.terminal.stream import json_text

        text = json_text(metrics_json(found), "utf-8", indent=2) + "\n"
    else:
        from gs_video_report.terminal.metrics import metrics_lines

        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        text = "\n".join(metrics_lines(metrics_json(found), columns)) + "\n"
    if output is None:
        say(text.removesuffix("\n"))
    else:
        await asyncio.to_thread(write_atomic, output, text)
    return OK


# --- quota --------------------------------------------------------------------------------------


async def quota(config_file: Path | None, db: str | None, json: bool) -> int:
    """`gsvr quota`: today's usage per model and key, limits, money in doubt, keys that rest."""
    from gs_video_report.batch.limiter.models import PACIFIC, day_start, next_day_start
    from gs_video_report.batch.queue.doubt import held_by_dead
    from gs_video_report.batch.queue.spending import iso_ms
    from gs_video_report.batch.run.limits import bucket_config
    from gs_video_report.terminal.quota import (
        doubtful_lines,
        quota_lines,
        quota_rows,
        set_aside_lines,
    )

    command = ProcessCommand(flags={} if db is None else {"db": db}, config_file=config_file)
    config = app.load(command)
    now = datetime.now(UTC)
    since, reset = day_start(now, PACIFIC), next_day_start(now, PACIFIC)
    try:
        async with queue_of(config, read_only=True) as queue:
            used = await queue.usage_by_key(iso_ms(since))
            aside = await queue.keys_set_aside(iso_ms(since))
            held = [one.to_dict() for one in await held_by_dead(queue.db)]
    except NotFoundError:
        used, aside, held = [], [], []
    limits = {
        name: bucket_config(name, config.engine_options(name)) for name in ("gemini", "openai")
    }
    rows = quota_rows(used, limits, reset, now)
    if json:
        told = {"keys": rows, "set_aside": aside, "doubtful": held}
        say_json({"v": 1, "type": "quota", "since": iso_ms(since), **told})
        return OK
    lines = quota_lines(rows, since, reset) + set_aside_lines(aside) + doubtful_lines(held)
    for line in lines:
        say(line)
    return OK


async def retry_spent(config_file: Path | None, db: str | None, json: bool) -> int:
    """`gsvr quota --retry-spent`: keys that were found spent are asked with again."""
    from gs_video_report.batch.queue.spending import iso_ms
    from gs_video_report.batch.run.limits import KEY_MEMORY
    from gs_video_report.terminal.quota import freed_lines

    command = ProcessCommand(flags={} if db is None else {"db": db}, config_file=config_file)
    async with queue_of(app.load(command), read_only=False) as queue:
        told = await queue.keys_set_aside(iso_ms(datetime.now(UTC) - KEY_MEMORY))
        aside = [one for one in told if one["kind"] == "key_spent"]
        await queue.free_keys(one["bucket"] for one in aside)
    if json:
        say_json({"v": 1, "type": "quota", "freed": aside})
        return OK
    for line in freed_lines(aside):
        say(line)
    return OK


async def release_doubtful(config_file: Path | None, db: str | None, json: bool, yes: bool) -> int:
    """`gsvr quota --release-doubtful`: what killed runs had set aside counts as not spent."""
    from gs_video_report.batch.queue.doubt import held_by_dead, let_go
    from gs_video_report.terminal.quota import doubtful_lines
    from gs_video_report.terminal.styles import money

    command = ProcessCommand(flags={} if db is None else {"db": db}, config_file=config_file)
    async with queue_of(app.load(command), read_only=False) as queue:
        held = await held_by_dead(queue.db)
        if held:
            total = money(sum(one.usd for one in held))
            confirm(yes, f"Take {total} as not spent? The provider's own log tells whether it was")
            held = await let_go(queue.db)
    told = [one.to_dict() for one in held]
    if json:
        say_json({"v": 1, "type": "quota", "released": told})
        return OK
    for line in doubtful_lines(told, released=True) or ["Nothing is held for runs that ended."]:
        say(line)
    return OK
