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
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

from gs_video_report.batch.data_models import (
    BatchOptions,
    InputProblem,
    InputType,
    TaskStatus,
    VideoInput,
)
from gs_video_report.batch.input_parser import InputSpec, scan
from gs_video_report.batch.inputs.expand import expanded
from gs_video_report.batch.planner import (
    RunRequest,
    ScanReport,
    batch_key,
    nothing_found,
    task_key,
)
from gs_video_report.boundary import Faces
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines import jobs, registry
from gs_video_report.engines.base import Estimate
from gs_video_report.engines.fetch_jobs import locate
from gs_video_report.errors import ExitCode, GsvrError, NotFoundError, UsageError
from gs_video_report.templates.loader import load_template
from gs_video_report.terminal.dry_run import PROCESS, REJECT, SKIP, PlanInfo, PlanRow

PROBE_FILES = 100
"""Files opened to learn their length."""
PROBE_BUDGET_S = 6.0
"""Seconds that opening files may take in all."""
PROBE_TIMEOUT_S = 3.0
FALLBACK_BYTES_PER_S = 60_000.0
"""Bytes per recording second when nothing could be learned: about 0.5 Mbit/s, a screencast."""
MIN_SAMPLES = 3
_PASSING = frozenset({"E_TIMEOUT", "E_STALLED", "E_STOPPED", "E_DOWNLOAD"})
"""Errors that say nothing about the video itself."""

Found = VideoInput | InputProblem
Version = tuple[int | None, int | None]
"""Size and modification time: what tells that a file has changed."""


@dataclass(slots=True)
class Lengths:
    """Recording seconds by file: measured, known from the database, or by size."""

    measured: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Source -> why it would fail."""
    titles: dict[str, str] = field(default_factory=dict)
    """Address -> what its site calls the video."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Address -> bytes, as its server says."""
    asked_sites: bool = False
    _bytes: dict[str, float] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=dict)
    _count: dict[str, int] = field(default_factory=dict)

    def learn(self, video: VideoInput, duration_s: float) -> None:
        """One file's real length."""
        self.measured[video.source] = duration_s
        if duration_s > 0 and video.size_bytes:
            for kind in (_extension(video), ""):
                self._bytes[kind] = self._bytes.get(kind, 0.0) + video.size_bytes
                self._seconds[kind] = self._seconds.get(kind, 0.0) + duration_s
                self._count[kind] = self._count.get(kind, 0) + 1

    def of(self, video: VideoInput) -> tuple[float | None, bool]:
        """(seconds, measured?); None when not even the size is known."""
        if video.source in self.measured:
            return self.measured[video.source], True
        size = self.size(video)
        if not size:
            return None, False
        kind = _extension(video)
        if self._count.get(kind, 0) < MIN_SAMPLES:
            kind = ""
        rate = FALLBACK_BYTES_PER_S
        if self._count.get(kind, 0) >= MIN_SAMPLES:
            rate = self._bytes[kind] / self._seconds[kind]
        return size / rate, False

    def size(self, video: VideoInput) -> int | None:
        """Bytes; None when unknown."""
        return self.sizes.get(video.source, video.size_bytes)


def _extension(video: VideoInput) -> str:
    return PurePath(video.source).suffix.lower()


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
    name = video.relative_path or video.source
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
    head = await asyncio.to_thread(_head, found)
    compute = ProcessBackend(options.compute_processes or None)
    lengths = await _measure(head, compute, options, engine.capabilities.accepts)

    def estimate(media_s: float) -> Estimate:
        made = engine.estimate(media_s, template)
        return made if known.speed is None else replace(made, seconds=media_s * known.speed)

    info = replace(_info(request, spec, known, lengths, prices), why=why)
    rows = plan_rows(chain(head, found), options.template, lengths, known, estimate)
    return _show(rows, info, spec, faces, show_all)


def _head(found: Iterator[Found]) -> list[Found]:
    head: list[Found] = []
    videos = 0
    for item in found:
        head.append(item)
        videos += isinstance(item, VideoInput)
        if videos >= PROBE_FILES:
            break
    return head


async def _measure(
    head: list[Found],
    compute: ComputeBackend,
    options: BatchOptions,
    accepts: frozenset[str],
) -> Lengths:
    """Open the first files, and ask the sites of the first addresses, within the budget.

    Args:
        accepts: input types that the engine takes as they are.
    """
    lengths = Lengths()
    deadline = time.monotonic() + PROBE_BUDGET_S

    async def one(video: VideoInput) -> None:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return
        try:
            if video.input_type == InputType.FILE:
                found = await compute.run(jobs.probe, video.source, timeout_s=PROBE_TIMEOUT_S)
                lengths.learn(video, float(found["duration_s"]))
            else:
                lengths.asked_sites = True
                args = (video.source, dict(options.download))
                _note(lengths, video, await compute.run(locate, *args, timeout_s=left_s))
        except GsvrError as error:
            unknown = error.code in _PASSING or str(video.input_type) in handed_over
            if not unknown:
                lengths.refused[video.source] = error.message.rsplit(": ", 1)[-1]

    handed_over = accepts - {str(InputType.FILE)}
    wanted = [
        v
        for v in head
        if isinstance(v, VideoInput) and (v.input_type != InputType.FILE or v.size_bytes)
    ]
    if not wanted:
        return lengths
    await compute.start()
    try:
        async with asyncio.timeout(PROBE_BUDGET_S + PROBE_TIMEOUT_S):
            await asyncio.gather(*(one(v) for v in wanted))
    except TimeoutError:
        pass
    finally:
        await compute.close(0.2)
    return lengths


def _note(lengths: Lengths, video: VideoInput, found: dict[str, Any]) -> None:
    """What a site says about the video at an address."""
    if found["duration_s"]:
        lengths.learn(video, float(found["duration_s"]))
    if found["title"]:
        lengths.titles[video.source] = str(found["title"])
    if found["size_bytes"] is not None:
        lengths.sizes[video.source] = int(found["size_bytes"])


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
