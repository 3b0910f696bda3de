"""The file of `--progress-file`: the picture of a run for scripts, replaced as a whole.

True here: only a file that is new, empty or an earlier progress file is replaced. It is looked at
before each writing: a report of the same run may have got the name since.
Raises: ProgressFileRefused, and only from `check()`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from gs_video_report.batch.progress.snapshot import Snapshot, progress_file
from gs_video_report.batch.store.clock import utc_now
from gs_video_report.errors import GsvrError, ProgressFileRefused
from gs_video_report.files import is_database, write_atomic
from gs_video_report.own_file import why_not

BEGINS = re.compile(rb'\A\s*\{\s*"v":\s*\d+,\s*"type":\s*"progress"')


class ProgressFile:
    """One file, written by one run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._trouble = ""

    def write(self, snapshot: Snapshot) -> str:
        """Replace the file; what kept that from happening, told once per trouble, else empty."""
        before, self._trouble = self._trouble, self._written(snapshot)
        return "" if self._trouble == before else self._trouble

    def _written(self, snapshot: Snapshot) -> str:
        if why := why_not(self._path, BEGINS):
            return f"{self._path}: {why}"
        data = progress_file(snapshot, utc_now())
        try:
            write_atomic(self._path, json.dumps(data, ensure_ascii=False, indent=1))
        except GsvrError as error:
            return error.message
        return ""


def check(path: Path, database: Path, log: Path | None) -> None:
    """Before a run begins. Raises: ProgressFileRefused.

    Args:
        path: of `--progress-file`.
        database: of this run; need not exist yet.
        log: of `--log-file`, if there is one.
    """
    why = "is a database, which is not overwritten" if is_database(path, database) else ""
    if log is not None and path.resolve() == log.resolve():
        why = "is the log file"
    if why := why or why_not(path, BEGINS):
        raise ProgressFileRefused(f"{path}: {why}")
