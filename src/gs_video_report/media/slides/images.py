"""Keep what is known of a slide while it is on screen, and write its picture.

Truth: a picture is the frame as players show it: turned, at most `max_width` wide.
Writes: `slide-0001.jpg`, ... in the folder given; the same bytes for the same frames. Not synced
to the disk: the folder is one task's, and what is to last is copied from it durably.
Raises: DiskFullError, OutputNotWritable.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.errors import from_os_error
from gs_video_report.media.slides.exact import Origin

_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
"""AVColorSpace of pictures that FFmpeg's scaler converts; it refuses YCgCo, BT.2020 with constant
luminance, ICtCp, and what damage makes up."""
_UNKNOWN_MATRIX = 2
_RANGES = frozenset({0, 1, 2})
CAMERA_MOVES = 0.24
"""Part of the cells that moves in most samples of a talking head or a film."""


@dataclass(frozen=True, slots=True)
class SlideParams:
    """Settings; part of the key under which the result is stored."""

    interval_s: float = 1.0
    """Time between two samples."""
    max_width: int = 1280
    """Pixels; wider pictures are made smaller."""
    quality: int = 85
    """Of the JPEG files, 1 to 95."""


@dataclass(frozen=True, slots=True)
class SlideImage:
    """One slide and its picture."""

    index: int
    """From 0."""
    t_s: float
    """When it appears, seconds from the start of the recording."""
    end_s: float
    """When the next one appears, or the pictures end."""
    file: str
    """Name in the output folder."""
    width: int
    """Pixels of the picture, after rotation."""
    height: int
    kind: str
    """`slide`; `build`: a part of the slide before was replaced; `camera`: moving pictures."""
    sha256: str
    """Of the file, hexadecimal."""
    bytes: int
    builds: int = 0
    """Times that something was added while it was shown; the picture has all of it."""


@dataclass(slots=True)
class OpenSlide:
    """The slide that is on screen."""

    t_s: float
    kind: str
    frame: Any
    gray: Any = None
    """The sample of `frame`."""
    origin: Origin | None = None
    """Where `frame` comes from, when packets were left out before it."""
    builds: int = 0
    moving: int = 0
    """Samples in which much of the picture moved."""
    samples: int = 0

    @property
    def is_film(self) -> bool:
        """Most of the time, much of the picture moved."""
        return self.samples >= 5 and self.moving * 2 > self.samples


@dataclass(slots=True)
class SlideWriter:
    """Writes the pictures of slides that have ended, and lists them."""

    folder: Path
    params: SlideParams
    pixel_aspect: float = 1.0
    """Width of a stored pixel over its height."""
    slides: list[SlideImage] = field(default_factory=list)

    def write(self, slide: OpenSlide, end_s: float) -> None:
        """Write the picture of `slide`, which was shown until `end_s`."""
        data, width, height = encode(slide.frame, self.params, self.pixel_aspect)
        name = f"slide-{len(self.slides) + 1:04}.jpg"
        self._save(self.folder / name, data)
        self.slides.append(
            SlideImage(
                index=len(self.slides),
                t_s=round(slide.t_s, 3),
                end_s=round(end_s, 3),
                file=name,
                width=width,
                height=height,
                kind="camera" if slide.is_film else slide.kind,
                sha256=hashlib.sha256(data).hexdigest(),
                bytes=len(data),
                builds=slide.builds,
            )
        )

    def _save(self, path: Path, data: bytes) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise from_os_error(error, str(path), writing=True) from error


def encode(frame: Any, params: SlideParams, pixel_aspect: float = 1.0) -> tuple[bytes, int, int]:
    """The frame as JPEG, with square pixels and turned as shown; bytes, width, height."""
    from PIL import Image

    picture = _as_rgbx(frame)
    if pixel_aspect != 1.0:
        shape = (max(1, round(picture.width * pixel_aspect)), picture.height)
        picture = picture.resize(shape, Image.Resampling.LANCZOS)
    turns = int(frame.rotation) % 360 // 90
    if turns:
        turn = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
        picture = picture.transpose(turn[turns - 1])
    if picture.width > params.max_width:
        height = max(1, round(picture.height * params.max_width / picture.width))
        picture = picture.resize((params.max_width, height), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=params.quality, subsampling=0)
    return target.getvalue(), picture.width, picture.height


def convertible(frame: Any) -> Any:
    """The same frame; its colours count as usual ones where the scaler knows no way from them."""
    if frame.colorspace not in _MATRICES:
        frame.colorspace = _UNKNOWN_MATRIX
    if frame.color_range not in _RANGES:
        frame.color_range = 0
    return frame


def _as_rgbx(frame: Any) -> Any:
    """The frame as a picture of mode RGBX, whose fourth byte the encoder passes over: the only
    layout that Pillow takes from FFmpeg without copying it."""
    from av.video.reformatter import VideoReformatter
    from PIL import Image

    rgb = VideoReformatter().reformat(convertible(frame), format="rgb0", threads=1)
    plane: Any = rgb.planes[0]
    size = (rgb.width, rgb.height)
    return Image.frombuffer("RGBX", size, plane, "raw", "RGBX", plane.line_size, 1)
