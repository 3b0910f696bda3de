"""Who may change the finished reports of a batch: many runs at a time, or one rewriting command.

Truth: a kernel lock on `.<db name>.workers/batch-<id>.lock` beside the database. Runs share it; a
command that writes finished reports or their rows anew (a second hearing, a repair, a rendering)
has it alone.
Never: opens the database; waits longer than a cleaner holds a file.
Raises: BatchInUse, DatabaseReadOnly, DiskFullError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gs_video_report.batch.store.file_lock import ALONE, SHARED, held
from gs_video_report.batch.store.process_lock import workers_dir
from gs_video_report.errors import BatchInUse


@asynccontextmanager
async def working_on(db_path: Path, batch_id: str) -> AsyncIterator[None]:
    """Hold the batch together with other runs. Raises: BatchInUse while a command rewrites it."""
    refusal = BatchInUse(
        f"the finished reports of batch {batch_id} are being written anew by another command",
        hint="run the same command again when that one has ended",
    )
    async with held(_file(db_path, batch_id), SHARED, refusal):
        yield


@asynccontextmanager
async def rewriting(db_path: Path, batch_id: str) -> AsyncIterator[None]:
    """Hold the batch alone. Raises: BatchInUse while a process works on it."""
    refusal = BatchInUse(
        f"a process works on batch {batch_id}, so its reports may still change",
        hint="wait until it ends, or pause it first",
    )
    async with held(_file(db_path, batch_id), ALONE, refusal):
        yield


def _file(db_path: Path, batch_id: str) -> Path:
    return workers_dir(db_path) / f"batch-{batch_id}.lock"
