"""How much memory the processes of a run have, measured from another process."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import psutil

from gs_video_report.batch.queue.event_reads import Run

_PID = re.compile(r"-(\d+)-[0-9a-f]{12}$")


def memory_of_runs(runs: Sequence[Run]) -> int:
    """Resident bytes of the processes of these runs and of their helpers."""
    pids = [_PID.search(run.process) for run in runs]
    return sum(tree_memory(int(found[1])) for found in pids if found)


def tree_memory(pid: int) -> int:
    """Resident bytes of a gsvr process and its children; 0 if it is gone or not ours to see."""
    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        words = " ".join(Path(word).name for word in process.cmdline()[:3])
        if "gsvr" not in words and "gs_video_report" not in words and pid != os.getpid():
            return 0  # a process of another container may have the number
        family = [process, *process.children(recursive=True)]
        return sum(_resident(member) for member in family)
    return 0


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
