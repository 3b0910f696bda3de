"""A file that is locked by several together, or by one alone, and that the last one takes away.

Truth: the kernel's lock (flock(2)) on the file; it drops the lock with the process, whatever ended
it. The content means nothing.
Order: as in `process_lock`: created, locked, then checked to be still the file with its name; it is
unlinked only by who has it alone.
Never: opens a database; waits longer than a cleaner holds a file.
Raises: the refusal of the caller, DatabaseReadOnly, DiskFullError.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gs_video_report.batch.store.process_lock import open_lock_file
from gs_video_report.errors import GsvrError
from gs_video_report.files import is_at

TRIES = 20
PAUSE_S = 0.05
"""A cleaner that looks whether the holder is dead has the lock for a moment, too."""

SHARED = fcntl.LOCK_SH
"""Together with others of this kind."""
ALONE = fcntl.LOCK_EX


@asynccontextmanager
async def held(path: Path, kind: int, refusal: GsvrError) -> AsyncIterator[None]:
    """Hold the lock of `path` during the block; see `acquire`."""
    fd = await acquire(path, kind, refusal)
    try:
        yield
    finally:
        release(fd, path)


async def acquire(path: Path, kind: int, refusal: GsvrError) -> int:
    """Lock the file, made with its folder if needed; the descriptor is for `release`.

    Args:
        kind: `SHARED` or `ALONE`.
        refusal: raised when others hold the lock for longer than a moment.
    """
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


def release(fd: int, path: Path, *others: Path) -> None:
    """Let go; the last one takes the file away, and `others`, which only holders of it use.

    A shared lock is dropped for a moment on its way to an exclusive one: another process may have
    taken the file away meanwhile, and the one with its name now is a third one's.
    """
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_at(fd, path):
            for each in (*others, path):
                each.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty, or already gone
        path.parent.rmdir()
    os.close(fd)
