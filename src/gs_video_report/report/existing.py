"""Recognise a finished report on disk, for `--skip-existing`.

A report counts as there when its JSON can be read, was made from the same source content with the
same template and version, and every image it names is there.
"""

from __future__ import annotations

import json
from pathlib import Path

from gs_video_report.batch.data_models import OutputFile, TaskResult
from gs_video_report.files import sha256_file
from gs_video_report.report.model import VideoReport


def find_existing(
    output_dir: Path, directory: str, stem: str, fingerprint: str, template: str, version: str
) -> TaskResult | None:
    """The result on disk that equals what the task would make, or None. Reads only."""
    place = output_dir / directory
    try:
        report = VideoReport.from_dict(json.loads((place / f"{stem}.json").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    made = report.provenance
    if report.media.sha256 != fingerprint or (made.template, made.template_version) != (
        template,
        version,
    ):
        return None
    if not all((place / slide.image).is_file() for slide in report.slides):
        return None
    outputs = tuple(
        OutputFile(
            path=path.relative_to(output_dir).as_posix(),
            kind=_KINDS.get(path.suffix, "asset"),
            size_bytes=path.stat().st_size,
            sha256=sha256_file(path),
        )
        for path in sorted(place.glob(f"{_escape(stem)}.*"))
        if path.is_file() and path.suffix in _KINDS
    )
    return TaskResult(
        outputs=outputs,
        media_s=report.media.duration_s,
        engine=made.engine,
        language=report.language,
        fingerprint=fingerprint,
    )


_KINDS = {".json": "json", ".md": "markdown", ".html": "html", ".srt": "srt", ".vtt": "vtt"}


def _escape(text: str) -> str:
    from glob import escape

    return escape(text)
