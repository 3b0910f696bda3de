"""Nobody puts another file in the place of a database while it is open for writing.

Truth: a kernel lock on `.<db name>.workers/place.lock` beside the database. Who opens it to write
shares the lock from before the opening until after the closing, so that what a command writes goes
into the file that has the name afterwards, too; who rebuilds it has the lock alone.
Never: opens the database; waits longer than a cleaner holds a file.
Raises: BatchInUse, DatabaseReadOnly, DiskFullError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gs_video_report.batch.store.file_lock import ALONE, SHARED, acquire, held, release
from gs_video_report.batch.store.process_lock import open_lock_file, workers_dir
from gs_video_report.batch.store.turn import Turn
from gs_video_report.errors import BatchInUse


@asynccontextmanager
async def rebuilding(db_path: Path) -> AsyncIterator[None]:
    """Hold the file alone, to put another one in its place.

    Raises: BatchInUse while another command does, or has it open for writing.
    """
    refusal = BatchInUse(
        f"{db_path}: another process works with it, so it cannot be rebuilt now",
        hint="stop that process, then run the same command again",
    )
    async with held(_file(db_path), ALONE, refusal):
        yield


class PlaceLock:
    """Held by who has the database open for writing. Made by `take()`."""

    def __init__(self, fd: int, path: Path, turn: Turn) -> None:
        self._fd: int | None = fd
        self._path = path
        self.turn = turn
        """For each transaction."""

    @classmethod
    async def take(cls, db_path: Path, patience_s: float) -> PlaceLock:
        """Keep the file in its place from now on.

        Args:
            patience_s: seconds that a transaction may wait for those of other processes.

        Raises: BatchInUse while it is rebuilt.
        """
        refusal = BatchInUse(
            f"{db_path}: another command rebuilds it from a checkpoint",
            hint="run the same command again when that one has ended",
        )
        path = _file(db_path)
        fd = await acquire(path, SHARED, refusal)
        try:
            return cls(fd, path, Turn(open_lock_file(_turn_file(path)), patience_s))
        except BaseException:
            release(fd, path)
            raise

    def close(self) -> None:
        """Let go. Idempotent. What the writer's thread still uses (it hangs in the disk) stays,
        until the process ends."""
        if self.turn.in_use:
            return
        fd, self._fd = self._fd, None
        if fd is not None:
            self.turn.close()
            release(fd, self._path, _turn_file(self._path))


async def refuse_while_rebuilt(db_path: Path) -> None:
    """For a database that is not there: it may come back in a moment.

    Raises: BatchInUse while another command rebuilds it.
    """
    if _file(db_path).exists():
        (await PlaceLock.take(db_path, 0.0)).close()


def _turn_file(path: Path) -> Path:
    """Not `*.lock`: nobody holds it between two transactions, and it is no sign of death."""
    return path.with_name("turn")


def _file(db_path: Path) -> Path:
    return workers_dir(db_path) / "place.lock"
