"""What `gsvr batch verify` does: check the reports of a batch and, with `--repair`, mend them.

Raises: the classes of errors.py; `boundary` turns them into text.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_video_report import app
from gs_video_report.app import ProcessCommand, queue_of
from gs_video_report.app_setup import say
from gs_video_report.boundary import Faces
from gs_video_report.errors import ExitCode
from gs_video_report.terminal.stream import json_line
from gs_video_report.terminal.styles import clean, plural

if TYPE_CHECKING:
    from gs_video_report.batch.data_models import BatchOptions, BatchRow
    from gs_video_report.batch.mend.repair import Repaired
    from gs_video_report.batch.mend.rewrite import EngineOf
    from gs_video_report.batch.mend.verify import Verified
    from gs_video_report.batch.task_queue import TaskQueue
    from gs_video_report.config import Config


async def verify(access: ProcessCommand, faces: Faces, ref: str, *, repair: bool) -> int:
    """`gsvr batch verify`: 0 when all is sound, or mended; 3 while reports are damaged."""
    from gs_video_report.batch.mend.verify import verify as check

    config = app.load(access)
    mended: Repaired | None = None
    async with queue_of(config, read_only=not repair) as queue:
        if repair:
            found, mended = await _repair(access, config, faces, queue, ref)
        else:
            found = await check(queue, ref)
    code = _exit_code(found, mended)
    if faces.json:
        say(json_line(_as_json(found, mended, code)))
        return code
    for line in _lines(found, mended, app.command_tail(access)):
        say(line)
    return code


async def _repair(
    access: ProcessCommand, config: Config, faces: Faces, queue: TaskQueue, ref: str
) -> tuple[Verified, Repaired]:
    from gs_video_report.batch.mend.repair import Repaired
    from gs_video_report.batch.mend.verify import verify as check
    from gs_video_report.batch.store.batch_lock import rewriting

    row = await queue.get_batch(ref)
    async with rewriting(queue.db.path, row.batch_id):
        found = await check(queue, row.batch_id)
        if found.database or not (found.damaged or found.pages):
            return found, Repaired()
        return found, await _mend(access, config, faces, queue, found)


async def _mend(
    access: ProcessCommand, config: Config, faces: Faces, queue: TaskQueue, found: Verified
) -> Repaired:
    from gs_video_report.batch.mend.repair import Mender
    from gs_video_report.batch.run.finisher import settle
    from gs_video_report.cache import ArtifactStore
    from gs_video_report.compute.process_pool import ProcessBackend
    from gs_video_report.files import sweep_temps
    from gs_video_report.terminal.counter import counted

    row = found.row
    cache = ArtifactStore(Path(row.options.cache_dir), int(config.value("cache_limit_bytes")))
    async with ProcessBackend(row.options.compute_processes or None) as compute:
        await asyncio.to_thread(sweep_temps, Path(row.options.output_dir))
        templates = Path(config.value("template_dir"))
        mender = Mender(queue, row, compute, cache, engine_of(config, row.options), templates)
        with counted(sys.stderr, "reports looked at", faces.json or faces.quiet) as told:
            mended = await mender.mend_all(found.damaged, told)
        tail = app.command_tail(access)
        mended.left += await settle(queue, row, compute, cache, tail, "repair")
    return mended


def engine_of(config: Config, options: BatchOptions) -> EngineOf:
    """How to make an engine for reports of a batch with `options`, with the keys of today."""
    from gs_video_report.engine_access import keys_for
    from gs_video_report.engines import registry

    prices = config.value("prices_file")

    def make(name: str) -> Any:
        given = asdict(options)
        if name != options.engine:
            given["engine_options"] = config.engine_options(name)
        keys = keys_for(config, name, None)
        return registry.make(name, given, keys, prices=Path(str(prices)) if prices else None)

    return make


def _exit_code(found: Verified, mended: Repaired | None) -> int:
    if found.database:
        return int(ExitCode.FAILED)
    wrong = not found.is_sound if mended is None else bool(mended.left)
    return int(ExitCode.PARTIAL if wrong else ExitCode.OK)


def _as_json(found: Verified, mended: Repaired | None, code: int) -> dict[str, Any]:
    problems = [*found.problems, *_of_pages(found.row, found.pages)]
    value: dict[str, Any] = {
        "v": 1,
        "type": "verify",
        "batch": found.row.batch_id,
        "checked": found.checked,
        "problems": [{"ref": ref, "problem": text} for ref, text in problems],
        "database": list(found.database),
    }
    if mended is not None:
        value["mended"] = sorted(mended.mended)
        value["left"] = [{"ref": ref, **error.to_dict()} for ref, error in mended.left]
    return value | {"exit_code": code}


def _of_pages(row: BatchRow, problem: str) -> list[tuple[str, str]]:
    return [(row.batch_id, problem)] if problem else []


def _lines(found: Verified, mended: Repaired | None, tail: str) -> list[str]:
    problems = [*found.problems, *_of_pages(found.row, found.pages)]
    lines = [f"{ref}  {clean(problem)}" for ref, problem in problems]
    lines += [f"database: {clean(problem)}" for problem in found.database]
    lines.append(_sum(found))
    if found.database:
        return lines
    if mended is None:
        again = f"Next:  gsvr batch verify {found.row.batch_id} --repair{tail}"
        return lines if found.is_sound else [*lines, again]
    return lines + _mended_lines(found, mended)


def _sum(found: Verified) -> str:
    checked = f"{plural(found.checked, 'report')} checked"
    wrong = len({ref for ref, _ in found.problems})
    if not wrong:
        return f"{checked}: all as written"
    return f"{checked}, {wrong} not as written ({plural(len(found.problems), 'file')})"


def _mended_lines(found: Verified, mended: Repaired) -> list[str]:
    lines = []
    if mended.mended:
        lines.append(f"{plural(len(mended.mended), 'report')} made whole again")
    if found.pages and not mended.left:
        lines.append("the library page was written again")
    for ref, error in mended.left:
        lines += [f"{ref}  {clean(error.message)}", f"  next  {clean(error.hint)}"]
    return lines
