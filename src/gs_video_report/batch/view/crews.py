"""How many videos the processes of a batch work on at a time, and with how many compute processes.

Truth: what the runs say when they begin, and their changes since. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.batch.queue.event_reads import Run

LOCAL = "local"
"""The engine whose work is that of the compute processes."""


@dataclass(slots=True)
class Crews:
    """The crews of the runs that are watched."""

    _of: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """Process of a run -> (videos at a time, compute processes or None where they do not matter)"""

    def began(self, run: Run) -> None:
        """A run that goes on."""
        facts = run.started.data
        processes = int(facts.get("processes", 0)) if facts.get("engine") == LOCAL else 0
        self._of[run.process] = int(facts.get("parallel", 0)), processes or None

    def changed(self, facts: Mapping[str, Any]) -> None:
        """What a `tuning` event says; without videos at a time (remote work) nothing follows."""
        process = str(facts.get("process", ""))
        if process in self._of and facts.get("parallel"):
            self._of[process] = int(facts["parallel"]), int(facts["new"])

    def tell(self, monitor: ProgressMonitor) -> None:
        """Let the monitor know, if anything is known."""
        workers = sum(workers for workers, _ in self._of.values())
        processes = [served for _, served in self._of.values()]
        known = [served for served in processes if served is not None]
        if workers:
            monitor.crew(workers, sum(known) if len(known) == len(processes) else None)
