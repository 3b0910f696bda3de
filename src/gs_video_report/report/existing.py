"""Reports that are on the disk already: recognise one, and never take the place of another's.

Truth: the JSON of the report on disk; it is written last, so what it names is there.
Reads only. What cannot be read as a report counts as no report.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gs_video_report.batch.data_models import TaskResult
from gs_video_report.report.json_out import read_json
from gs_video_report.report.model import VideoReport
from gs_video_report.report.paths import is_url, relative_source, tagged
from gs_video_report.report.writer import FORMATS, kind_of, names_of, output_on_disk, with_json
from gs_video_report.templates.loader import Template


def report_at(place: Path, stem: str) -> VideoReport | None:
    """The report called `stem` in the folder `place`; None when there is none."""
    try:
        return read_json((place / f"{stem}.json").read_bytes())
    except (OSError, ValueError):
        return None


def free_stem(place: Path, stem: str, report: VideoReport) -> str:
    """The stem that `report` may be written to: `stem`, or a tagged one.

    The names of one batch differ, but batches share output folders: `intro.mp4` of two courses.
    A report on disk is `report`'s own, to be replaced, when it has the same template and the same
    source, or the same content from where there is no file any more (it was moved or renamed).

    Args:
        report: with `media.source` relative to `place`.
    """
    there = report_at(place, stem)
    if there is None or _is_own(place, there, report):
        return stem
    return other_stem(stem, report.media.source, report.provenance.template)


def other_stem(stem: str, source: str, template: str) -> str:
    """`stem` with a tag made of the source (relative to the report) and the template."""
    return tagged(stem, f"{_plain(source)}\0{template}")


def find_existing(
    output_dir: Path,
    directory: str,
    stem: str,
    *,
    source: str,
    fingerprint: str,
    template: Template,
    formats: Iterable[str],
) -> TaskResult | None:
    """The result on disk that equals what a task would make, or None; for `--skip-existing`.

    It does when it was made from the same content with the same template and version, and has
    every asked format and every image.
    """
    place = output_dir / directory
    names = (stem, other_stem(stem, relative_source(source, place), template.name))
    wanted = with_json(formats)
    for name in names:
        report = report_at(place, name)
        if report is None or not _fits(report, fingerprint, template):
            continue
        needed = (*names_of(report, template, wanted, name), *(s.image for s in report.slides))
        if all((place / file).is_file() for file in needed):
            return _result(output_dir, place, name, report, template)
    return None


def _is_own(place: Path, there: VideoReport, report: VideoReport) -> bool:
    if there.provenance.template != report.provenance.template:
        return False
    source = there.media.source
    if source == _plain(report.media.source):
        return True
    gone = not is_url(source) and not (place / source).exists()
    return gone and there.media.sha256 == report.media.sha256


def _plain(source: str) -> str:
    """The source as the JSON of a report holds it."""
    return source.encode("utf-8", "replace").decode("utf-8")


def _fits(report: VideoReport, fingerprint: str, template: Template) -> bool:
    made = report.provenance
    return report.media.sha256 == fingerprint and (
        (made.template, made.template_version) == (template.name, str(template.version))
    )


def _result(
    output_dir: Path, place: Path, stem: str, report: VideoReport, template: Template
) -> TaskResult:
    images = [s.image for s in report.slides]
    files = [*images, *names_of(report, template, FORMATS, stem)]
    return TaskResult(
        outputs=tuple(
            output_on_disk(place / file, output_dir, "asset" if file in images else kind_of(file))
            for file in files
            if (place / file).is_file()
        ),
        media_s=report.media.duration_s,
        engine=report.provenance.engine,
        language=report.language,
        fingerprint=report.media.sha256,
    )
