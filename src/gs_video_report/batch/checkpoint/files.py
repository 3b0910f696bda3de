"""Checkpoint files as values: what a file says of itself, and a verified one.

Truth: the file. Nothing here writes; a file that cannot be used is described, not raised, by
`inspect()`.
Raises: CheckpointError, NotFoundError.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.batch.checkpoint import format as checkpoint_format
from gs_video_report.batch.data_models import BatchCounts, BatchRow, Usage
from gs_video_report.batch.store.rows import batch_from_row
from gs_video_report.errors import CheckpointError, NotFoundError

SUFFIX = ".ckpt"
NAME = re.compile(r"(?P<batch>.+)-(?P<stamp>\d{8}T\d{6}Z)-(?P<n>\d+)")
"""Stem of a checkpoint's file name."""


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """One checkpoint file."""

    checkpoint_id: str
    """Name of the file without its suffix."""
    path: Path
    size_bytes: int
    readable: bool = True
    problem: str = ""
    """Why it cannot be used; empty when it can."""
    batch_id: str = ""
    batch_name: str = ""
    created_at: str = ""
    """ISO-8601 UTC."""
    reason: str = ""
    """`start`, `interval`, `stopped`, ..."""
    counts: BatchCounts = field(default_factory=BatchCounts)
    """As of the beginning of writing."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint; its tasks stay in the file until they are asked for."""

    info: CheckpointInfo
    batch: BatchRow
    usage: Usage
    """Sums of the batch row."""

    @property
    def batch_id(self) -> str:
        """The batch it is of."""
        return self.batch.batch_id

    def task_rows(self) -> Iterator[dict[str, Any]]:
        """The rows of `tasks` as they were, by `seq`, streamed. Raises: CheckpointError."""
        return self._rows("tasks")

    def usage_rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the usage ledger, streamed. Raises: CheckpointError."""
        return self._rows("usage")

    def _rows(self, table: str) -> Iterator[dict[str, Any]]:
        seen = 0
        for item in checkpoint_format.read_objects(self.info.path):
            if item[0] == table:
                seen += len(item[2])
                yield from (dict(zip(item[1], row, strict=True)) for row in item[2])
            elif item[0] == "end" and item[1][table] != seen:
                raise CheckpointError(f"{self.info.path.name}: {table} are missing")


def load_checkpoint(path: Path) -> Checkpoint:
    """Open and verify one file. Raises: CheckpointError, NotFoundError."""
    if not path.exists():
        raise NotFoundError(f"{path}: there is no such checkpoint")
    header = checkpoint_format.verify(path)
    try:
        first = next(checkpoint_format.read_objects(path))
        row = first[1]
        usage = Usage(row["requests"], row["tokens_in"], row["tokens_out"], row["usd"])
        return Checkpoint(info_of(path, header), batch_from_row(row), usage)
    except (LookupError, TypeError, ValueError, StopIteration) as error:
        raise CheckpointError(f"{path.name}: the checkpoint holds no batch ({error})") from error


def info_of(path: Path, header: dict[str, Any]) -> CheckpointInfo:
    """What a verified header says."""
    counts = BatchCounts(
        **header["counts"],
        media_s_total=header["media_s_total"],
        media_s_done=header["media_s_done"],
        usd=header["usd"],
    )
    return CheckpointInfo(
        checkpoint_id=path.stem,
        path=path,
        size_bytes=path.stat().st_size,
        batch_id=header["batch_id"],
        batch_name=header["name"],
        created_at=header["created_at"],
        reason=header["reason"],
        counts=counts,
    )


def inspect(path: Path) -> CheckpointInfo:
    """Verify a file and describe it, also when it cannot be used. Never raises."""
    try:
        return info_of(path, checkpoint_format.verify(path))
    except (CheckpointError, OSError, LookupError, TypeError) as error:
        named = NAME.fullmatch(path.stem)
        size = 0
        with contextlib.suppress(OSError):
            size = path.stat().st_size
        return CheckpointInfo(
            path.stem, path, size, readable=False, problem=str(error),
            batch_id=named["batch"] if named else "",
        )  # fmt: skip


def order(path: Path) -> tuple[int, str, str]:
    """Sort key: the number in the name, which only grows, and then the time; a clock may be set
    back. Foreign names come first."""
    named = NAME.fullmatch(path.stem)
    return (int(named["n"]), named["stamp"], path.name) if named else (0, "", path.name)
