"""Find the slides of a recording and write one picture of each.

Truth: the picture on screen at every full second from the first frame on, whatever the frame rate:
where frames are sparse, the frame that is still shown counts again. `slides.change` decides; this
module decodes, keeps the fullest settled frame of each slide, and writes JPEG files.
Writes: `slide-0001.jpg`, ... in the folder given by the caller; the same bytes for the same input.
Never: holds more than a second of frames, stops at a damaged place, decodes attached pictures.
Raises: EmptyFileError, NoMediaError, FileMissingError, FileUnreadableError, CorruptMediaError;
DiskFullError, OutputNotWritable; DependencyMissing without the local extra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_video_report.errors import CorruptMediaError, DependencyMissing, NoMediaError
from gs_video_report.media.boxes import is_cut_short
from gs_video_report.media.container import display_name, open_media
from gs_video_report.media.probe import main_picture
from gs_video_report.media.slides.images import SlideImage, SlideParams, SlideWriter
from gs_video_report.media.slides.reader import Reader
from gs_video_report.media.slides.sampler import Sampler
from gs_video_report.media.slides.skim import Skimmer

__all__ = ["SlideFind", "SlideImage", "SlideParams", "find_slides"]


@dataclass(frozen=True, slots=True)
class SlideFind:
    """What the pictures of a recording gave."""

    slides: tuple[SlideImage, ...]
    """In order of time; empty when nothing but blank pictures is shown."""
    frames_sampled: int
    decode_errors: int
    """Damaged places that were skipped."""
    problems: tuple[str, ...]
    """Sentences for the reader; empty when all is well."""


def find_slides(path: str, out_dir: str, params: SlideParams) -> SlideFind:
    """Find when slides change and write a picture of each into `out_dir` (made if missing).

    Raises:
        NoMediaError: there are no moving pictures.
        CorruptMediaError: there are, but none can be decoded.
        (others: see the module)
    """
    _need_packages()
    with open_media(path) as container:
        stream = main_picture(container)
        if stream is None:
            raise NoMediaError(f"{display_name(path)}: there are no moving pictures in it")
        reader = Reader(container, stream)
        writer = SlideWriter(Path(out_dir), params, _pixel_aspect(stream))
        sampler = Sampler(params, writer)
        skimmer = Skimmer(reader, sampler)
        for group in reader.groups():
            skimmer.take(group)
        skimmer.finish()
        if not sampler.samples and not sampler.end_s:
            raise CorruptMediaError(f"{display_name(path)}: none of its pictures can be decoded")
        short = _ends_early(path, reader, sampler.end_s)
        sampler.finish(sampler.end_s if short else max(sampler.end_s, reader.whole_s))
        sampler.write(reader.exactly)
    return SlideFind(
        tuple(writer.slides),
        sampler.samples,
        reader.errors,
        tuple(_problems(reader, sampler.end_s, short)),
    )


def _need_packages() -> None:
    try:
        import numpy  # noqa: F401
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise DependencyMissing(
            "finding slides needs NumPy and Pillow, which are not installed",
            hint="pip install 'gs-video-report[local]'",
        ) from error


def _ends_early(path: str, reader: Reader, end_s: float) -> bool:
    """The file was cut: its pictures stop long before the length it declares."""
    if reader.declared_s <= 0 or reader.declared_s - end_s <= max(5.0, 0.05 * reader.declared_s):
        return False
    return reader.knows_own_end or is_cut_short(path)


def _problems(reader: Reader, end_s: float, short: bool) -> Iterator[str]:
    if reader.errors:
        places = "1 damaged place" if reader.errors == 1 else f"{reader.errors} damaged places"
        yield f"The pictures are damaged: {places} could not be decoded and were skipped."
    if short:
        yield f"The pictures end early: {end_s:.0f} of {reader.declared_s:.0f} seconds are there."


def _pixel_aspect(stream: Any) -> float:
    """Width of a stored pixel over its height; 1.0 when unknown or absurd."""
    ratio = float(stream.codec_context.sample_aspect_ratio or 1)
    return ratio if 0.2 <= ratio <= 5.0 else 1.0
