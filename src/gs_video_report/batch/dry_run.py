"""`--dry-run`: what a batch would do, how long it takes, what it costs. Writes nothing at all.

The first files are really opened (in killable processes, for a few seconds at most); lengths of
the others are guessed from their size by what was learned, and marked as a guess. The scan
streams, so 100,000 files need no more memory than 100.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from gs_video_report.batch.data_models import (
    BatchOptions,
    InputProblem,
    TaskStatus,
    VideoInput,
)
from gs_video_report.batch.input_parser import InputSpec, scan
from gs_video_report.batch.inputs.expand import expanded
from gs_video_report.batch.inputs.lengths import Found, Lengths, first_of, measure
from gs_video_report.batch.planner import (
    RunRequest,
    ScanReport,
    batch_key,
    nothing_found,
    task_key,
)
from gs_video_report.boundary import Faces
from gs_video_report.engines import registry
from gs_video_report.engines.base import Estimate
from gs_video_report.errors import ExitCode, NotFoundError, UsageError
from gs_video_report.templates.loader import load_template
from gs_video_report.terminal.dry_run import PROCESS, REJECT, SKIP, PlanInfo, PlanRow

MIN_SAMPLES = 3
"""Earlier videos that the speed is measured on, at least."""
Version = tuple[int | None, int | None]
"""Size and modification time: what tells that a file has changed."""


@dataclass(slots=True)
class Known:
    """What an earlier run of the same batch left in the database."""

    tasks: dict[str, tuple[TaskStatus, float | None, Version]] = field(default_factory=dict)
    """Task key -> (status, seconds, size and modification time then)."""
    speed: float | None = None
    """Work seconds per recording second, measured on earlier videos."""
    videos: int = 0


def plan_rows(
    found: Iterator[Found],
    template: str,
    lengths: Lengths,
    known: Known,
    estimate: Callable[[float], Estimate],
) -> Iterator[PlanRow]:
    """One row per input; pure apart from reading the iterator."""
    for item in found:
        if isinstance(item, InputProblem):
            yield PlanRow(item.value or item.origin, REJECT, item.reason)
        else:
            yield _row(item, template, lengths, known, estimate)


def _row(
    video: VideoInput,
    template: str,
    lengths: Lengths,
    known: Known,
    estimate: Callable[[float], Estimate],
) -> PlanRow:
    name = video.known_as
    if video.source in lengths.titles:
        name = f"{lengths.titles[video.source]} ({name})"
    size = lengths.size(video)
    if size == 0:
        return PlanRow(name, REJECT, "the file is empty", size_bytes=size)
    if video.source in lengths.refused:
        return PlanRow(name, REJECT, lengths.refused[video.source], size_bytes=size)
    status, before, version = known.tasks.get(
        task_key(video, video.template or template), (None, None, (None, None))
    )
    if version != (video.size_bytes, video.mtime_ns):
        before = None
    elif status in (TaskStatus.COMPLETED, TaskStatus.SKIPPED):
        return PlanRow(name, SKIP, "done", before, size_bytes=size)
    media_s, measured = lengths.of(video)
    shown = before if before is not None else media_s
    guessed = before is None and media_s is not None and not measured
    need = estimate(shown or 0.0)
    return PlanRow(
        name,
        PROCESS,
        "",
        shown,
        size,
        need.seconds,
        need.requests,
        need.tokens,
        need.usd,
        need.usd_max,
        guessed,
    )


# --- with files and database -------------------------------------------------------------------


async def dry_run(
    request: RunRequest,
    db_path: Path,
    faces: Faces,
    show_all: bool,
    *,
    prices: Path | None = None,
    why: str = "",
) -> int:
    """Show the plan of `request`; exit code 0, or 5 when nothing matched. `why` this engine.

    Args:
        prices: the user's own table of prices.
    """
    from gs_video_report.compute.process_pool import ProcessBackend

    if request.spec is None:
        raise UsageError("--dry-run needs an input", hint="for a batch: gsvr batch status REF")
    spec, options = request.spec, request.options
    engine = registry.make(options.engine, asdict(options), prices=prices)
    template = load_template(options.template, options.user_templates)
    known = await _known(db_path, spec, options)
    found = expanded(scan(spec), options.download, limit=spec.limit)
    head = await asyncio.to_thread(first_of, found)
    compute = ProcessBackend(options.compute_processes or None)
    lengths = await measure(head, compute, options, engine.capabilities.accepts)

    def estimate(media_s: float) -> Estimate:
        made = engine.estimate(media_s, template)
        return made if known.speed is None else replace(made, seconds=media_s * known.speed)

    info = replace(_info(request, spec, known, lengths, prices), why=why)
    rows = plan_rows(chain(head, found), options.template, lengths, known, estimate)
    return _show(rows, info, spec, faces, show_all)


async def _known(db_path: Path, spec: InputSpec, options: BatchOptions) -> Known:
    from gs_video_report.batch.persistence import Database
    from gs_video_report.batch.task_queue import TaskQueue

    known = Known()
    try:
        database = await Database.open(db_path, create=False, read_only=True, untouched=True)
    except NotFoundError:
        return known
    try:
        queue = TaskQueue(database)
        history = await queue.media_speed_history(options.engine)
        media = sum(m for m, _ in history)
        if len(history) >= MIN_SAMPLES and media > 0:
            known.speed, known.videos = sum(s for _, s in history) / media, len(history)
        row = await queue.find_batch(batch_key(spec, options))
        if row is not None:
            async for task in queue.iter_tasks(row.batch_id):
                version = (task.video.size_bytes, task.video.mtime_ns)
                key = task_key(task.video, task.template)
                known.tasks[key] = (task.status, task.media_s, version)
    finally:
        await database.close()
    return known


def _info(
    request: RunRequest,
    spec: InputSpec,
    known: Known,
    lengths: Lengths,
    prices: Path | None,
) -> PlanInfo:
    options = request.options
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    workers = (
        max(1, min(options.parallel, cores)) if options.engine == "local" else options.parallel
    )
    notes = []
    if options.engine == "gemini" and options.engine_options.get("batch"):
        notes.append("The half-price lane answers within a day; the time leaves that wait out.")
    basis, spread = "from a built-in table, +/- 50 %", (0.5, 1.5)
    if known.speed is not None:
        basis, spread = f"from your last {known.videos} videos", (0.8, 1.4)
    prices_of = ""
    if options.engine != "local":
        from gs_video_report.engines.llm.prices import load_prices

        prices_of = str(load_prices(prices).as_of)
    return PlanInfo(
        engine=options.engine,
        template=options.template,
        parallel=workers,
        output_dir=options.output_dir,
        run_command=_command_line(),
        free_bytes=_free(options.output_dir),
        spread=spread,
        basis=basis,
        cost_limit_usd=options.cost_limit_usd,
        prices_of=prices_of,
        notes=tuple(notes),
        asks_sites=lengths.asked_sites,
    )


def _command_line() -> str:
    words = [w for w in sys.argv[1:] if w not in ("--dry-run", "-n", "--all", "--json")]
    return shlex.join(["gsvr", *words])


def _free(output_dir: str) -> int | None:
    folder = Path(output_dir)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _show(
    rows: Iterator[PlanRow], info: PlanInfo, spec: InputSpec, faces: Faces, show_all: bool
) -> int:
    from gs_video_report.terminal import dry_run as view
    from gs_video_report.terminal.stream import json_line
    from gs_video_report.terminal.styles import UNICODE, glyphs_for, tolerate_encoding, wants_colour

    tolerate_encoding(sys.stdout)
    if faces.json:
        value: dict[str, Any] = {}
        for value in view.dry_run_json(rows, info):
            sys.stdout.write(json_line(value) + "\n")
        return int(value["exit_code"])
    columns = shutil.get_terminal_size().columns
    plan = view.dry_run(
        rows,
        info,
        show_all=show_all,
        columns=columns,
        colour=wants_colour(sys.stdout, os.environ),
        about=view.ABOUT if glyphs_for(sys.stdout.encoding) is UNICODE else "~",
    )
    for line in plan.lines():
        sys.stdout.write(line + "\n")
    if not plan.totals.files:
        raise nothing_found(spec, ScanReport())
    return int(ExitCode.OK)
