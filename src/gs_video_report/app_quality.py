"""What `gsvr batch quality` and `gsvr batch retry --quality` do: open, judge, hear again, show.

Raises: the classes of errors.py; `boundary` turns them into text.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_video_report import app
from gs_video_report.app import ProcessCommand, queue_of
from gs_video_report.app_setup import say, say_json
from gs_video_report.boundary import Faces
from gs_video_report.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from gs_video_report.batch.mend.relisten import RelistenReport
    from gs_video_report.config import Config
    from gs_video_report.run_log import RunLog

OK = int(ExitCode.OK)
OF_THIS_RUN = ("parallel", "timeout_s", "stall_timeout_s")
"""Options of a batch that a second hearing may be given others of."""
BEST = 100.0
"""The score of a report without any finding."""


async def quality(access: ProcessCommand, json: bool, ref: str, limit: int) -> int:
    """`gsvr batch quality`: reports in doubt, worst first; 3 if some cannot be read."""
    from gs_video_report.batch.mend.quality import batch_quality
    from gs_video_report.compute.process_pool import ProcessBackend
    from gs_video_report.terminal import quality as face
    from gs_video_report.terminal.counter import counted
    from gs_video_report.terminal.styles import tolerate_encoding, wants_colour

    async with queue_of(app.load(access), read_only=True) as queue, ProcessBackend() as compute:
        with counted(sys.stderr, "reports read", json) as told:
            found = await batch_quality(queue, ref, compute, told)
    code = int(ExitCode.PARTIAL) if found.unread else OK
    if json:
        say_json(face.quality_json(found, limit))
        return code
    tolerate_encoding(sys.stdout)
    lines = face.quality_lines(
        found,
        limit,
        columns=shutil.get_terminal_size().columns,
        colour=wants_colour(sys.stdout, os.environ),
        tail=app.command_tail(access),
    )
    for line in lines:
        say(line)
    return code


async def retry_quality(
    access: ProcessCommand, faces: Faces, ref: str, below: float | None, *, alone: bool
) -> int:
    """`gsvr batch retry --quality`: 0 when all was heard again, 3 when some could not be.

    `alone`: given without the flags that are about failed videos.
    """
    from gs_video_report.terminal import quality as face

    if not alone:
        raise UsageError(
            "--quality is about finished reports: it goes without --failed, --no-run and "
            "--max-retries, and --below only with it"
        )
    below = BEST if below is None else below
    if not 0 < below <= BEST:
        raise UsageError(f"--below is a score above 0 and up to 100, not {below:g}")
    config = app.load(access)
    given = {name: config.value(name) for name in OF_THIS_RUN if name in access.flags}
    with app.open_log(config, faces) as log:
        done = await _heard_again(access, config, faces, ref, below, given)
        if log is not None:
            _write_down(done, log)
    code = int(ExitCode.PARTIAL) if done.problems else OK
    if faces.json:
        say_json({**face.relisten_json(done), "exit_code": code})
        return code
    for line in face.relisten_lines(done, tail=app.command_tail(access)):
        say(line)
    return code


async def _heard_again(
    access: ProcessCommand,
    config: Config,
    faces: Faces,
    ref: str,
    below: float,
    given: dict[str, Any],
) -> RelistenReport:
    """Mend what an earlier hearing left, hear again, and write the pages.

    `given`: options of the batch that are others in this run.
    """
    from gs_video_report.app_verify import engine_of
    from gs_video_report.batch.mend.relisten import relisten_batch
    from gs_video_report.batch.mend.repair import Mender
    from gs_video_report.batch.mend.verify import cut_off
    from gs_video_report.batch.run.finisher import settle
    from gs_video_report.batch.store.batch_lock import rewriting
    from gs_video_report.cache import ArtifactStore
    from gs_video_report.compute.process_pool import ProcessBackend
    from gs_video_report.files import sweep_temps
    from gs_video_report.terminal.counter import counted

    async with queue_of(config, read_only=False) as queue:
        row = await queue.get_batch(ref.partition(":")[0])
        limit_bytes = int(config.value("cache_limit_bytes"))
        cache = ArtifactStore(Path(row.options.cache_dir), limit_bytes)
        async with (
            rewriting(queue.db.path, row.batch_id),
            ProcessBackend(row.options.compute_processes or None) as compute,
        ):
            await asyncio.to_thread(sweep_temps, Path(row.options.output_dir))
            mender = Mender(queue, row, compute, cache, engine_of(config, row.options))
            cut = await mender.mend_all(await cut_off(queue, row.batch_id))
            with counted(sys.stderr, "reports heard again", faces.json or faces.quiet) as told:
                done = await relisten_batch(
                    queue, ref, compute, cache, below=below, given=given, on_done=told
                )
            told_of = {ref for ref, _ in done.problems}
            done.problems += [(ref, error) for ref, error in cut.left if ref not in told_of]
            if await queue.pages_are_older(row.batch_id):
                tail = app.command_tail(access)
                done.problems += await settle(queue, done.row, compute, cache, tail, "quality")
    return done


def _write_down(done: RelistenReport, log: RunLog) -> None:
    """What became of each report, for the log file."""
    log.bind(batch=done.row.batch_id)
    for redone in done.redone:
        log.write(
            "info",
            "report.heard_again",
            task=redone.task.ref,
            score_before=redone.score_before,
            score_after=redone.score_after,
            replaced=sum(s.replaced for s in redone.stretches),
            kept=sum(not s.replaced for s in redone.stretches),
        )
    for ref, name, why in done.left:
        log.write("info", "report.left", task=ref, name=name, reason=why)
    for ref, error in done.problems:
        log.write("error", "report.not_heard_again", task=ref, **error.to_dict())
