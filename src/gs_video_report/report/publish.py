"""Put one finished report on disk: name the images, render every format, write atomically.

Runs in a compute process. Order: images first, then the texts, the JSON last, so that a JSON file
that is there means that everything it names is there too. The report of another recording is
never replaced; files that a report of this one's earlier content left behind are removed at last.
Raises: DiskFullError, OutputNotWritable, TemplateError.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gs_video_report.batch.data_models import OutputFile
from gs_video_report.cache import ArtifactStore
from gs_video_report.errors import from_os_error
from gs_video_report.files import fsync_dir, make_dirs
from gs_video_report.report.existing import free_stem, report_at
from gs_video_report.report.model import VideoReport
from gs_video_report.report.paths import ASSETS_SUFFIX, relative_source
from gs_video_report.report.writer import (
    FORMATS,
    names_of,
    output_on_disk,
    render_all,
    with_json,
    write_report,
)
from gs_video_report.templates.loader import Template


def publish(
    report: dict[str, Any],
    template: Template,
    formats: list[str],
    output_dir: str,
    directory: str,
    stem: str,
    cache_root: str,
) -> tuple[OutputFile, ...]:
    """Write the report of one video below `output_dir/directory`.

    Args:
        report: `VideoReport.to_dict()`; slide images are named by `image_sha256`, their key in
            the artifact store at `cache_root`, and `media.source` is the absolute path or URL.
        formats: `md`, `html`, `srt`, `vtt`, `json`; JSON is always written.
        directory: POSIX path below `output_dir`, made by `output_paths`.
        stem: base name of the files, unless it belongs to another recording's report.

    Returns:
        Every file of the report, images included, paths relative to `output_dir`.
    """
    store = ArtifactStore(Path(cache_root))
    place = Path(output_dir) / directory
    local = localised(VideoReport.from_dict(report), place)
    stem = free_stem(place, stem, local)
    before = report_at(place, stem)
    named = name_images(local, stem)
    images = _write_images(named, store, place, Path(output_dir))
    files = render_all(
        named,
        template,
        with_json(formats),
        stem,
        lambda s: store.path(s.image_sha256).read_bytes(),
    )
    texts = write_report(Path(output_dir), directory, stem, files)
    _settle(place, Path(output_dir))
    if before is not None and before.media.sha256 != local.media.sha256:
        old = {*names_of(before, template, FORMATS, stem), *(s.image for s in before.slides)}
        _remove(place, old - set(files) - {s.image for s in named.slides}, stem)
    return (*images, *texts)


def localised(report: VideoReport, place: Path) -> VideoReport:
    """The report with its source relative to the folder it is written to, and its date."""
    media = report.media
    media = replace(media, source=relative_source(media.source, place))
    run = {**report.provenance.run, "finished_at": datetime.now(UTC).isoformat(timespec="seconds")}
    return replace(report, media=media, provenance=replace(report.provenance, run=run))


def name_images(report: VideoReport, stem: str) -> VideoReport:
    """The report with the paths of its slide images filled in."""
    slides = tuple(
        replace(s, image=f"{stem}.assets/slide-{i:03d}.jpg")
        for i, s in enumerate(report.slides, start=1)
    )
    return replace(report, slides=slides)


def _write_images(
    report: VideoReport, store: ArtifactStore, place: Path, root: Path
) -> tuple[OutputFile, ...]:
    made = []
    for slide in report.slides:
        target = place / slide.image
        try:
            make_dirs(target.parent)
        except OSError as error:
            raise from_os_error(error, str(target.parent), writing=True) from error
        store.copy_to(slide.image_sha256, target)
        made.append(output_on_disk(target, root, "asset"))
    return tuple(made)


def _settle(place: Path, root: Path) -> None:
    """Sync the folders above: another process may have made them and not synced them yet."""
    folder = place
    try:
        while folder != root and root in folder.parents:
            folder = folder.parent
            fsync_dir(folder)
    except OSError as error:
        raise from_os_error(error, str(folder), writing=True) from error


def _remove(place: Path, names: set[str], stem: str) -> None:
    """Remove files of this report below `place`; an altered JSON cannot name any other."""
    for name in names:
        if name.startswith((f"{stem}.", f"{stem}{ASSETS_SUFFIX}/")) and ".." not in name:
            with contextlib.suppress(OSError):
                (place / name).unlink()
