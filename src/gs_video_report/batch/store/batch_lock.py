"""Who may change the finished reports of a batch: many runs at a time, or one rewriting command.

Truth: a kernel lock on `.<db name>.workers/batch-<id>.lock` beside the database. Runs share it; a
command that writes finished reports or their rows anew (a second hearing, a repair, a rendering)
has it alone. `rebuild.lock` is held by who puts another file in the place of the database. The
kernel drops both with the process, whatever ended it.
Order: as in `process_lock`: created, locked, then checked to be still the file with its name; it is
unlinked only by who has it alone. Who takes a batch has its own lock first and then looks for a
rebuilding; who rebuilds has that lock first and then looks for others: one of them sees the other.
Never: opens the database; waits longer than a cleaner holds a file.
Raises: BatchInUse, DatabaseReadOnly, DiskFullError.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gs_video_report.batch.store.process_lock import (
    is_alive,
    open_lock_file,
    remove_dead,
    workers_dir,
)
from gs_video_report.errors import BatchInUse
from gs_video_report.files import is_at

TRIES = 20
PAUSE_S = 0.05
"""A cleaner that looks whether the holder is dead has the lock for a moment, too."""

REBUILD = "rebuild"
"""Name of the lock of who puts another file in the place of the database."""


@asynccontextmanager
async def working_on(db_path: Path, batch_id: str) -> AsyncIterator[None]:
    """Hold the batch together with other runs.

    Raises: BatchInUse while a command rewrites it, or rebuilds the database.
    """
    refusal = BatchInUse(
        f"the finished reports of batch {batch_id} are being written anew by another command",
        hint="run the same command again when that one has ended",
    )
    async with _batch(db_path, batch_id, fcntl.LOCK_SH, refusal):
        yield


@asynccontextmanager
async def rewriting(db_path: Path, batch_id: str) -> AsyncIterator[None]:
    """Hold the batch alone.

    Raises: BatchInUse while a process works on it, or a command rebuilds the database.
    """
    refusal = BatchInUse(
        f"a process works on batch {batch_id}, so its reports may still change",
        hint="wait until it ends, or pause it first",
    )
    async with _batch(db_path, batch_id, fcntl.LOCK_EX, refusal):
        yield


@asynccontextmanager
async def rebuilding(db_path: Path) -> AsyncIterator[None]:
    """Hold the whole file alone, to put another one in its place.

    Raises: BatchInUse while another command does, or a process works with the file.
    """
    refusal = BatchInUse(
        f"{db_path}: another process works with it, so it cannot be rebuilt now",
        hint="stop that process, then run the same command again",
    )
    async with _held(db_path, REBUILD, fcntl.LOCK_EX, refusal):
        remove_dead(db_path)
        others = [f for f in workers_dir(db_path).glob("*.lock") if f.stem != REBUILD]
        if others:
            raise refusal
        yield


@asynccontextmanager
async def _batch(
    db_path: Path, batch_id: str, kind: int, refusal: BatchInUse
) -> AsyncIterator[None]:
    async with _held(db_path, f"batch-{batch_id}", kind, refusal):
        await _wait_for_rebuilding(db_path)
        yield


@asynccontextmanager
async def _held(db_path: Path, name: str, kind: int, refusal: BatchInUse) -> AsyncIterator[None]:
    path = workers_dir(db_path) / f"{name}.lock"
    fd = await _acquire(path, kind, refusal)
    try:
        yield
    finally:
        _release(fd, path)


async def _wait_for_rebuilding(db_path: Path) -> None:
    """Not for long: only one that gives up at once lets others go on. Raises: BatchInUse."""
    for _ in range(TRIES):
        if not is_alive(db_path, REBUILD):
            return
        await asyncio.sleep(PAUSE_S)
    raise BatchInUse(
        f"{db_path}: another command rebuilds it from a checkpoint",
        hint="run the same command again when that one has ended",
    )


async def _acquire(path: Path, kind: int, refusal: BatchInUse) -> int:
    for _ in range(TRIES):
        fd = open_lock_file(path)
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
            if is_at(fd, path):
                return fd
        except BlockingIOError:
            os.close(fd)
            await asyncio.sleep(PAUSE_S)
        else:  # a cleaner unlinked it between open and lock
            os.close(fd)
    raise refusal


def _release(fd: int, path: Path) -> None:
    """Let go; the last one takes the file away.

    A shared lock is dropped for a moment on its way to an exclusive one: another process may have
    taken the file away meanwhile, and the one with its name now is a third one's.
    """
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(fd, path):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty, or already gone
        path.parent.rmdir()
    os.close(fd)
