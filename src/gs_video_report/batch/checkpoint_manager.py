"""Checkpoints of a batch: write, list, load, restore.

Truth: the files `<batch>-<UTC stamp>-<n>.ckpt`; the table `checkpoints` only remembers them.
`n` is above that of every file in the folder, of any batch: it alone says which is newer, since a
clock may be set back. Only two that are written at the same moment may share one.
A checkpoint holds the batch with its options, every task with state and result, and the usage
ledger (rows of the batch, and of the last two days for daily quotas). Steps are not in it.
Tasks are read page by page while others work: each task is as of one moment, not all of the same.
Order: temporary file beside the target, write, fsync, link under a new name, fsync of the folder.
Never: replaces or deletes a file that cannot be read; keeps fewer than `KEEP` readable ones.
Raises: CheckpointError, NotFoundError, UsageError, DiskFullError, OutputNotWritable.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from gs_video_report.batch.checkpoint import format as checkpoint_format
from gs_video_report.batch.checkpoint.content import header_of, settled, write_body
from gs_video_report.batch.checkpoint.files import (
    NAME,
    SUFFIX,
    Checkpoint,
    CheckpointInfo,
    info_of,
    inspect,
    load_checkpoint,
    order,
)
from gs_video_report.batch.data_models import (
    BatchRow,
    BatchStatus,
)
from gs_video_report.batch.queue.batch_store import LATEST
from gs_video_report.batch.sql import query
from gs_video_report.batch.store.clock import iso, stamp
from gs_video_report.batch.store.rows import counts_from_row
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import (
    CheckpointError,
    NotFoundError,
    from_os_error,
)
from gs_video_report.files import (
    fsync_dir,
    is_temp_name,
    make_dirs,
    sweep_temps,
    temp_name,
)

__all__ = [
    "KEEP",
    "Checkpoint",
    "CheckpointInfo",
    "CheckpointManager",
    "default_directory",
    "load_checkpoint",
]

KEEP = 10
_STALE_TEMP_S = 3600.0
"""A temporary file of another machine that is older than this was left behind."""
_Infos = list[CheckpointInfo]
_Paths = list[Path]  # inside the class, `list` is a method
_Ids = list[str]


def default_directory(db_path: Path) -> Path:
    """`checkpoints/` beside the database."""
    return db_path.parent / "checkpoints"


class CheckpointManager:
    """The checkpoints of one database.

    Args:
        queue: where batches are read from; None is enough for `list()` and `load()`.
        directory: by default `checkpoints/` beside the database.
    """

    def __init__(self, queue: TaskQueue | None, directory: Path | None = None) -> None:
        if queue is None and directory is None:
            raise ValueError("without a queue, the directory must be named")
        self._queue = queue
        self.directory = directory or default_directory(queue.db.path)  # type: ignore[union-attr]
        self._lock = asyncio.Lock()
        self._sound: dict[Path, tuple[int, int]] = {}
        """Files that were verified here, or written: their sizes and modification times."""

    async def write(self, batch_id: str, reason: str) -> CheckpointInfo:
        """Take a checkpoint of the batch (full id) and drop the oldest beyond `KEEP`.

        Args:
            reason: one word, such as `start` or `interval`.

        Raises:
            NotFoundError: no such batch.
            DiskFullError, OutputNotWritable: nothing was left behind; older ones are untouched.

        Cancellation: safe; nothing is left behind.
        """
        queue = self._require_queue()
        async with self._lock:
            try:
                await asyncio.to_thread(self._prepare)
                info, sha256 = await self._write(queue, batch_id, reason)
                gone = await asyncio.to_thread(self._rotate, batch_id)
            except OSError as error:
                raise from_os_error(error, str(self.directory), writing=True) from error
        await self._record(queue, info, sha256, gone)
        return info

    def list(self, ref: str | None = None) -> _Infos:
        """Checkpoints, the newest first; those that cannot be used are listed as such.

        Reads and verifies every file that it lists.

        Args:
            ref: only of these batches: an id or its prefix, or `latest`, the batch of the newest
                checkpoint. None: all.

        Raises:
            NotFoundError: `ref` names no batch that has checkpoints.
        """
        files = self._files(None)
        if ref is not None and files:
            batch = files[0].name.partition("-")[0] + "-" if ref == LATEST else ref
            files = [path for path in files if path.name.startswith(batch)]
            if not files:
                raise self._not_found(ref)
        return [inspect(path) for path in files]

    def batch_ids(self) -> _Ids:
        """Batches that have checkpoints here, sound or not, the newest checkpoint first."""
        names = [NAME.fullmatch(path.stem) for path in self._files(None)]
        return [*dict.fromkeys(name["batch"] for name in names if name is not None)]

    def load(self, ref: str | Path) -> Checkpoint:
        """Open and verify a checkpoint.

        Args:
            ref: a file; a checkpoint id; or `latest`, a batch id or its prefix, which give the
                newest one that is sound.

        Raises:
            CheckpointError: cut short, altered, newer, or not a checkpoint.
            NotFoundError: there is none.
        """
        if isinstance(ref, Path) or Path(ref).is_file():
            return load_checkpoint(Path(ref))
        exact = self.directory / f"{ref}{SUFFIX}"
        if NAME.fullmatch(ref) and exact.is_file():
            return load_checkpoint(exact)
        files = self._files(None)
        wanted = [f for f in files if ref == LATEST or f.name.startswith(ref)]
        return self._first_sound(wanted, ref)

    def _first_sound(self, files: _Paths, ref: str) -> Checkpoint:
        problem: CheckpointError | None = None
        for path in files:
            try:
                return load_checkpoint(path)
            except CheckpointError as error:
                problem = problem or error
        if problem is not None:
            raise problem
        raise self._not_found(ref)

    def _not_found(self, ref: str | Path) -> NotFoundError:
        return NotFoundError(
            f"no checkpoint is called {str(ref)!r} in {self.directory}",
            hint="see: gsvr batch checkpoints",
        )

    async def restore(self, checkpoint: Checkpoint, queue: TaskQueue) -> BatchRow:
        """Rebuild the batch with all tasks and results in `queue`'s database, all or nothing.

        Tasks that were running are pending again; a batch that was running is paused. Outputs on
        disk are not looked at: see `mend.outputs`.

        Raises:
            UsageError: the database has this batch; it is the newer truth.
            CheckpointError: the file turned out unsound; nothing was restored.
        """
        reason = f"restored from checkpoint {checkpoint.info.checkpoint_id}"
        batch = checkpoint.batch
        if batch.status in (BatchStatus.INITIALIZING, BatchStatus.RUNNING):
            batch = replace(batch, status=BatchStatus.PAUSED, status_reason=reason, resume_at=None)
        return await queue.import_batch(
            batch,
            map(settled, checkpoint.task_rows()),
            checkpoint.usage_rows(),
            spent=checkpoint.usage,
            reason=reason,
        )

    # --- writing --------------------------------------------------------------------------------

    def _require_queue(self) -> TaskQueue:
        if self._queue is None:
            raise ValueError("this manager was made without a queue")
        return self._queue

    async def _write(
        self, queue: TaskQueue, batch_id: str, reason: str
    ) -> tuple[CheckpointInfo, str]:
        wall_ms = queue.clock.wall_ms()
        row = await queue.batch_columns(batch_id)
        counts = counts_from_row(row)
        header = header_of(row, counts, reason, iso(wall_ms))
        temp = temp_name(self.directory)
        try:
            with temp.open("xb") as file:
                writer = checkpoint_format.CheckpointWriter(file, header)
                await write_body(writer, queue, row)
                sha256 = writer.finish()
                await asyncio.to_thread(_to_disk, file.fileno(), file.flush)
            path = self._publish(temp, batch_id, wall_ms)
        finally:
            temp.unlink(missing_ok=True)
        info = info_of(path, header)
        return info, sha256

    def _prepare(self) -> None:
        make_dirs(self.directory)
        sweep_temps(self.directory)
        for path in self.directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process is done with it
                if is_temp_name(path.name) and time.time() - path.stat().st_mtime > _STALE_TEMP_S:
                    path.unlink()

    def _publish(self, temp: Path, batch_id: str, wall_ms: int) -> Path:
        """Give the file its name; a link cannot replace what another process has written."""
        number = max((order(p)[0] for p in self._files(None)), default=0)
        while True:
            number += 1
            path = self.directory / f"{batch_id}-{stamp(wall_ms)}-{number}{SUFFIX}"
            try:
                os.link(temp, path)
            except FileExistsError:
                continue
            except OSError:  # a file system without links
                if path.exists():
                    continue
                temp.rename(path)
            fsync_dir(self.directory)
            return path

    def _rotate(self, batch_id: str) -> _Ids:
        """Delete the oldest readable checkpoints of the batch beyond `KEEP`; returns their ids."""
        gone: _Ids = []
        kept = 0
        for path in self._files(batch_id):
            if not self._is_sound(path):
                continue
            kept += 1
            if kept > KEEP:
                path.unlink(missing_ok=True)
                self._sound.pop(path, None)
                gone.append(path.stem)
        return gone

    def _is_sound(self, path: Path) -> bool:
        """Verified, now or before: ten files of a large batch take a while to read."""
        try:
            stat = path.stat()
        except OSError:
            return False
        seen = (stat.st_size, stat.st_mtime_ns)
        if self._sound.get(path) == seen:
            return True
        if inspect(path).readable:
            self._sound[path] = seen
            return True
        return False

    async def _record(
        self, queue: TaskQueue, info: CheckpointInfo, sha256: str, gone: _Ids
    ) -> None:
        values = (
            info.checkpoint_id, info.batch_id, info.created_at, info.reason,
            os.fsdecode(info.path).encode("utf-8", "replace").decode(), info.size_bytes,
            info.counts.total, sha256,
        )  # fmt: skip

        def work(connection: Any) -> None:
            connection.execute(query("insert_checkpoint"), values)
            connection.executemany(query("delete_checkpoint"), [(name,) for name in gone])

        await queue.db.write(work)

    def _files(self, batch_id: str | None) -> _Paths:
        """Checkpoint files, the newest first by the numbers in their names."""
        files = [p for p in self.directory.glob(f"*{SUFFIX}") if not p.name.startswith(".")]
        if batch_id is not None:
            files = [p for p in files if p.name.startswith(f"{batch_id}-")]
        return sorted(files, key=order, reverse=True)


def _to_disk(descriptor: int, flush: Any) -> None:
    flush()
    os.fsync(descriptor)
