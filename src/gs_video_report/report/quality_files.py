"""Judge finished reports from their JSON files. Runs in a compute process; reads only.

A report that cannot be read gets a sentence instead of a judgement, never a good score.
"""

from __future__ import annotations

from pathlib import Path

from gs_video_report.progress import report as report_progress
from gs_video_report.report.json_out import MALFORMED, read_json
from gs_video_report.report.quality import Quality, assess


def assess_files(paths: list[str]) -> list[Quality | str]:
    """For each JSON report its quality, or in words why it cannot be told. Progress: reports."""
    found: list[Quality | str] = []
    for path in paths:
        found.append(_assess(Path(path)))
        report_progress(float(len(found)), float(len(paths)))
    return found


def _assess(path: Path) -> Quality | str:
    try:
        return assess(read_json(path.read_bytes()))
    except OSError as error:
        return f"the report cannot be read: {error.strerror or error}"
    except MALFORMED:
        return "this is not a report of this version"
