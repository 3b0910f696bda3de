"""Write finished reports anew from their JSON, with another template or layout. No engine, no call.

Runs in a compute process. The JSON and the images beside it are the only source, so a library of
a thousand reports gets a new layout without speech recognition or a model. A report of the same
template keeps its place; the report of another recording is never replaced.
Raises: FileMissingError, PermanentError (damaged JSON), TemplateError, DiskFullError.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from gs_video_report.batch.data_models import OutputFile
from gs_video_report.cache import ArtifactStore
from gs_video_report.errors import (
    ArtifactMissing,
    FileMissingError,
    PermanentError,
    from_os_error,
)
from gs_video_report.files import copy_atomic, make_dirs, sha256_file
from gs_video_report.report.existing import free_stem
from gs_video_report.report.model import VideoReport
from gs_video_report.report.publish import name_images
from gs_video_report.report.writer import (
    output_on_disk,
    relative_source,
    render_all,
    with_json,
    write_report,
)
from gs_video_report.templates.loader import Template


def rerender(
    json_path: str,
    template: Template,
    formats: list[str],
    output_dir: str,
    directory: str,
    stem: str,
) -> tuple[OutputFile, ...]:
    """Render the report at `json_path` into `output_dir/directory/stem.*`, or where it is.

    Returns: every file of the report, images included, paths relative to `output_dir`.
    """
    old_place, place = Path(json_path).parent, Path(output_dir) / directory
    report = _read(Path(json_path))
    in_place = report.provenance.template == template.name
    if in_place:
        place, stem = old_place, Path(json_path).stem
        directory = "" if place == Path(output_dir) else os.path.relpath(place, output_dir)
    source = report.media.source
    if "://" not in source:
        source = relative_source(os.path.normpath(old_place / source), place)
    made = replace(
        report.provenance, template=template.name, template_version=str(template.version)
    )
    old_images = [old_place / slide.image for slide in report.slides]
    moved = replace(report, media=replace(report.media, source=source), provenance=made)
    stem = stem if in_place else free_stem(place, stem, moved)
    named = name_images(moved, stem)
    images = []
    for old, slide in zip(old_images, named.slides, strict=True):
        target = place / slide.image
        if old != target:
            copy_atomic(old, target)
        images.append(output_on_disk(target, Path(output_dir), "asset"))
    files = render_all(
        named,
        template,
        with_json(formats),
        stem,
        lambda slide: (place / slide.image).read_bytes(),
    )
    return (*images, *write_report(Path(output_dir), directory, stem, files))


def check_source(json_path: str) -> None:
    """Make sure that a report can be rendered in its place, before anything tells that it is.

    Raises: FileMissingError (the JSON, or a picture of it), PermanentError (damaged JSON).
    """
    path = Path(json_path)
    for slide in name_images(_read(path), path.stem).slides:
        picture = path.parent / slide.image
        if not picture.is_file():
            raise FileMissingError(
                f"{picture}: the picture of a slide is missing", hint="gsvr batch verify --repair"
            )


def make_sound(
    json_path: str, template: str, fingerprint: str, sha256: str, cache_root: str
) -> None:
    """Make sure that the report at `json_path` can be rendered anew in its place.

    Pictures that are missing or altered come back from the cache; nothing else is written.

    Args:
        template: the name of the template that it was made with.
        fingerprint: SHA-256 of the recording.
        sha256: of the JSON file; empty when it may be another report of the same recording.

    Raises: FileMissingError, PermanentError (not that report), ArtifactMissing (a picture).
    """
    path = Path(json_path)
    report = _read(path)
    is_it = (report.media.sha256, report.provenance.template) == (fingerprint, template)
    if not is_it or (sha256 and sha256_file(path) != sha256):
        raise PermanentError(f"{path.name}: this is not the report as it was written")
    store = ArtifactStore(Path(cache_root))
    for slide in name_images(report, path.stem).slides:
        _restore_image(store, slide.image_sha256, path.parent / slide.image)


def _restore_image(store: ArtifactStore, key: str, target: Path) -> None:
    if target.is_file() and sha256_file(target) == key.partition(".")[0]:
        return
    if not store.verify(key):
        raise ArtifactMissing(f"{target.name}: the picture is not in the cache any more")
    try:
        make_dirs(target.parent)
    except OSError as error:
        raise from_os_error(error, str(target.parent), writing=True) from error
    store.copy_to(key, target)


def _read(path: Path) -> VideoReport:
    try:
        return VideoReport.from_dict(json.loads(path.read_bytes()))
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise PermanentError(
            f"{path.name}: this is not a report of this version",
            hint="gsvr batch verify --repair writes it anew",
        ) from error
