"""What a run says besides the life of its tasks: on the screen, in the log, among the events.

True here: whatever is told on the screen is kept for `gsvr batch watch`, too. What an engine
remarks about its service, and which old report stays, is told once, and again in the summary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gs_video_report.batch.limiter.models import LimiterSnapshot
from gs_video_report.batch.run.record import RunRecord
from gs_video_report.batch.run.trace import RunTrace, limiter_facts
from gs_video_report.engines.base import Engine, Remark, remarks_of
from gs_video_report.terminal.printer import Printer


@dataclass(slots=True)
class RunTeller:
    """The voices of one run."""

    printer: Printer
    record: RunRecord
    trace: RunTrace | None = None
    """Without a log file there is none."""
    remarks: list[str] = field(default_factory=list)
    """What engines had to say, and which reports stayed, oldest first."""
    reports_kept: int = 0
    """Finished videos whose new attempt failed in this run: their old reports stay."""
    _engine: Engine | None = None
    _heard: int = 0
    """Remarks of that engine."""

    def tell(self, text: str, **facts: Any) -> None:
        """One sentence, to everybody."""
        self.printer.note(text)
        self.record.keep("note", {"text": text, **facts})

    def remark(self, remark: Remark) -> None:
        """Something about a service."""
        self.remarks.append(remark.text)
        self.tell(remark.text, kind=remark.kind, **remark.data)

    def report_kept(self, name: str) -> None:
        """The new attempt on a video that had a report failed."""
        self.reports_kept += 1
        text = f"{name}: no new report could be made; the one made before stays"
        self.remark(Remark("report_kept", text))

    def hear(self, engine: Engine) -> None:
        """Tell what is new among the remarks of the engine in use."""
        if engine is not self._engine:
            self._engine, self._heard = engine, 0
        for remark in remarks_of(engine)[self._heard :]:
            self._heard += 1
            self.remark(remark)

    def quotas(self, snapshot: LimiterSnapshot) -> None:
        """Where the quotas stand, for the log and for `gsvr batch metrics`."""
        if self.trace is not None:
            self.trace.limiter(snapshot)
        self.record.keep("limiter", limiter_facts(snapshot))
