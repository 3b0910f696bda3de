"""`--resume-from`: find the batch in the database, or rebuild it from a checkpoint.

Rule: a sound database is the newer truth and a checkpoint only names the batch. A database that is
missing, or that is damaged (it is moved aside, never deleted), is rebuilt from the checkpoint, and
the outputs on disk are checked by size and SHA-256. What does not match is done again where that is
sure and free: on this machine, from a file that is there. Any other report stays finished: it is
not given up for a recording that is gone, nor paid for twice, and `verify --repair` looks after it.
A rebuilt database gets all batches that have a sound checkpoint; what is on disk is checked for the
named one only, which is run next.
One process at a time does so, and only while no other works with the file.
Raises: NotFoundError, CheckpointError, DatabaseCorrupt (no usable checkpoint), BatchInUse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gs_video_report.batch.checkpoint_manager import (
    Checkpoint,
    CheckpointManager,
    default_directory,
)
from gs_video_report.batch.data_models import InputType, TaskResult, VideoTask
from gs_video_report.batch.mend.outputs import verify_outputs
from gs_video_report.batch.mend.quality import DONE
from gs_video_report.batch.mend.repair import LOCAL
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.planner import OpenedBatch
from gs_video_report.batch.store.clock import utc_now
from gs_video_report.batch.store.place_lock import rebuilding
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import DatabaseCorrupt, DiskFullError, GsvrError, NotFoundError
from gs_video_report.files import fsync_dir

SHOWN = 5
"""Damaged reports, or batches, that are named."""


async def open_or_restore(path: Path, ref: str) -> tuple[Database, OpenedBatch | None]:
    """The open database in which the batch `ref` can be found.

    Args:
        path: the database file.
        ref: `latest`, a batch id or prefix, a checkpoint id, or a checkpoint file.

    Returns:
        The database, and the batch when the reference was a checkpoint (or a rebuild was needed);
        None means: look `ref` up in the database.
    """
    opened: OpenedBatch | None = None
    try:
        database = await _open_sound(path)
    except (NotFoundError, DatabaseCorrupt):
        await asyncio.to_thread(_find, path, ref)  # before anything is made or moved
        async with rebuilding(path):  # and look again: another command may have rebuilt it
            opened = await _rebuilt(path, ref)
        database = await Database.open(path, create=False)
    return (database, opened) if opened else await _with_known(database, path, ref)


async def _rebuilt(path: Path, ref: str) -> OpenedBatch | None:
    """The batch in the database that was made anew; None: there is a sound one already."""
    try:
        await (await _open_sound(path, alone=True)).close()
    except NotFoundError:
        checkpoint = await asyncio.to_thread(_find, path, ref)
        note = f"{path.name} is not there; rebuilt from a checkpoint"
    except DatabaseCorrupt:
        checkpoint = await asyncio.to_thread(_find, path, ref)
        kept = await asyncio.to_thread(_move_aside, path)
        note = f"the database is damaged; it was kept as {kept.name}"
    else:
        return None
    building = path.with_name(f"{path.name}.rebuilding")
    _remove(building)  # of a rebuild that was cut short
    async with await Database.open(building, alone=True) as database:
        others = await _restore_others(database, path, checkpoint.info.batch_id)
        opened = await _restore_into(database, path, checkpoint, [note, *others])
    await asyncio.to_thread(_put_in_place, building, path)
    return opened


def _put_in_place(building: Path, path: Path) -> None:
    """All batches at once: one cut short must not pass for the whole."""
    _remove(path)  # side files of a database that is not there would be taken for this one's
    building.replace(path)
    fsync_dir(path.parent)


def _remove(path: Path) -> None:
    for file in reversed(_files_of(path)):
        file.unlink(missing_ok=True)


def _files_of(path: Path) -> list[Path]:
    """A database and the files beside it that SQLite takes for its own."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


async def _restore_others(database: Database, path: Path, but: str) -> list[str]:
    """Rebuild every other batch from its newest sound checkpoint; what there is to say of it."""
    queue = TaskQueue(database)
    manager = CheckpointManager(queue, default_directory(path))
    restored, lost = [], []
    for batch_id in reversed(await asyncio.to_thread(manager.batch_ids)):
        if batch_id == but:
            continue
        try:
            checkpoint = await asyncio.to_thread(manager.load, f"{batch_id}-")  # and no longer id
            await manager.restore(checkpoint, queue)
            restored.append(batch_id)
        except DiskFullError:
            raise
        except GsvrError:
            lost.append(batch_id)
    notes = []
    if restored:
        notes.append(
            f"{len(restored)} more {'batch was' if len(restored) == 1 else 'batches were'} rebuilt "
            f"from checkpoints ({_some(restored)}); see: gsvr batch list"
        )
    if lost:
        notes.append(f"not rebuilt, since no checkpoint of theirs is sound: {_some(lost)}")
    return notes


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


async def _with_known(
    database: Database, path: Path, ref: str
) -> tuple[Database, OpenedBatch | None]:
    try:
        return database, await _known(database, path, ref)
    except BaseException:
        await database.close()
        raise


async def _open_sound(path: Path, *, alone: bool = False) -> Database:
    """The open database. Raises: DatabaseCorrupt, and then nothing of it is open any more."""
    database = await Database.open(path, create=False, alone=alone)
    try:
        problems = await database.problems()
        if problems:
            raise DatabaseCorrupt(f"{path}: the database is damaged ({problems[0]})")
    except BaseException:
        await database.close()
        raise
    return database


async def _known(database: Database, path: Path, ref: str) -> OpenedBatch | None:
    queue = TaskQueue(database)
    try:
        row = await queue.get_batch(ref)
        return OpenedBatch(row, "resumed")
    except NotFoundError:
        checkpoint = await asyncio.to_thread(_find, path, ref)
    try:
        row = await queue.get_batch(checkpoint.batch_id)
        return OpenedBatch(row, "resumed", ["the database is newer than the checkpoint"])
    except NotFoundError:
        notes = [f"the batch was not in {path.name}; added from the checkpoint"]
        return await _restore_into(database, path, checkpoint, notes)


async def _restore_into(
    database: Database, path: Path, checkpoint: Checkpoint, notes: list[str]
) -> OpenedBatch:
    queue = TaskQueue(database)
    manager = CheckpointManager(queue, default_directory(path))
    row = await manager.restore(checkpoint, queue)
    await queue.pages_written(row.batch_id)  # or as good as: a run follows, which writes them
    notes += await _recheck(queue, row.batch_id, Path(row.options.output_dir))
    return OpenedBatch(row, "restored", notes)


async def _recheck(queue: TaskQueue, batch_id: str, output_dir: Path) -> list[str]:
    """Requeue completed tasks whose outputs are missing or altered; what became of them."""
    again: list[int] = []
    left: list[str] = []
    async for task in queue.iter_tasks(batch_id, set(DONE)):
        if task.result is None:
            again.append(task.task_id)
        elif await asyncio.to_thread(verify_outputs, task.result, output_dir):
            if await asyncio.to_thread(_is_made_again, task, task.result):
                again.append(task.task_id)
            else:
                left.append(task.ref)
    notes = []
    if again:
        lost = await queue.requeue(
            batch_id, statuses=set(DONE), task_ids=again, reason="outputs missing or altered"
        )
        notes.append(f"{lost} finished reports are not on disk as they were; they are made again")
    if left:
        notes.append(
            f"{len(left)} finished reports are not on disk as they were and were left so "
            f"({_some(left)}): their recordings "
            "are not here, or a service wrote them; gsvr batch verify --repair makes whole what it "
            "can"
        )
    return notes


def _is_made_again(task: VideoTask, result: TaskResult) -> bool:
    """Whether a run would surely bring the report back, and for nothing."""
    is_file = task.video.input_type is InputType.FILE
    return result.engine == LOCAL and is_file and Path(task.video.source).is_file()


def _find(path: Path, ref: str) -> Checkpoint:
    """The checkpoint that `ref` names: a file, an id, a batch id, or the newest sound one."""
    folder = default_directory(path)
    try:
        return CheckpointManager(None, folder).load(ref)
    except NotFoundError as error:
        raise NotFoundError(
            f"no batch or checkpoint {ref!r}: not in {path.name}, not in {folder}",
            hint="see: gsvr batch list, gsvr batch checkpoints",
        ) from error


def _move_aside(path: Path) -> Path:
    """Rename the damaged file and its side files; returns the new name of the database."""
    stamp = utc_now().replace(":", "").replace("-", "")[:15]
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    for file, new in zip(_files_of(path), _files_of(kept), strict=True):
        if file.exists():
            file.rename(new)
    return kept
