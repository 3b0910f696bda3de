"""The report of one attempt on disk: found there, or published.

Order: `publish` returns when every file is synced; only then may the task be completed.
Heavy work runs in a compute process.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gs_video_report.batch.attempt.calls import MeteredCompute
from gs_video_report.batch.data_models import BatchOptions, OutputFile, TaskResult, VideoTask
from gs_video_report.report.model import VideoReport
from gs_video_report.templates.loader import Template


@dataclass(frozen=True, slots=True)
class AttemptOutput:
    """Where the report of one task goes."""

    task: VideoTask
    options: BatchOptions
    template: Template

    async def existing(self, fingerprint: str) -> TaskResult | None:
        """The result that is already on disk, when --skip-existing asks for it and it matches."""
        if not self.options.skip_existing:
            return None
        from gs_video_report.report.existing import find_existing

        directory, stem = self._place()
        return await asyncio.to_thread(
            find_existing,
            Path(self.options.output_dir),
            directory,
            stem,
            source=self.task.video.source,
            fingerprint=fingerprint,
            template=self.template,
            formats=self.options.formats,
        )

    async def publish(
        self, report: VideoReport, compute: MeteredCompute, cache_root: Path
    ) -> tuple[OutputFile, ...]:
        """Write all formats. Raises: DiskFullError, OutputNotWritable."""
        from gs_video_report.report.publish import publish

        directory, stem = self._place()
        outputs = await compute.run(
            publish,
            report.to_dict(),
            self.template,
            list(self.options.formats),
            self.options.output_dir,
            directory,
            stem,
            str(cache_root),
            priority=self.task.task_id,
        )
        return tuple(outputs)

    def _place(self) -> tuple[str, str]:
        """(folder below the output folder, stem of the files)."""
        from gs_video_report.report.paths import output_paths, pattern_of

        video, options = self.task.video, self.options
        return output_paths(
            video.relative_path or Path(video.source).name,
            self.task.template,
            pattern_of(options.output_pattern, self.task.template, options.template),
            seq=self.task.seq,
            batch=self.task.batch_id,
            output_name=video.output_name,
        )


def with_run(report: VideoReport, run: dict[str, Any], source: str | None) -> VideoReport:
    """The report with the facts of the run that made it. Pure.

    Args:
        source: where the recording lives, when a fetched copy was read: there the reader's link
            leads. None: where it was read.
    """
    report = replace(report, provenance=replace(report.provenance, run=run))
    if source is None:
        return report
    return replace(report, media=replace(report.media, source=source))
