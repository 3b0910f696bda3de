"""Find the slides of a recording and write one picture of each.

Truth: the picture on screen at every full second from the first frame on, whatever the frame rate:
where frames are sparse, the frame that is still shown counts again. `slide_change` decides; this
module decodes, keeps the fullest settled frame of each slide, and writes JPEG files.
Writes: `slide-0001.jpg`, ... in the folder given by the caller; the same bytes for the same input.
Never: holds more than a second of frames, stops at a damaged place, decodes attached pictures.
Raises: EmptyFileError, NoMediaError, FileMissingError, FileUnreadableError, CorruptMediaError;
DiskFullError, OutputNotWritable; DependencyMissing without the local extra.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.errors import CorruptMediaError, DependencyMissing, NoMediaError
from gs_video_report.media.boxes import is_cut_short
from gs_video_report.media.container import (
    display_name,
    keep_only,
    limit_threads,
    open_media,
    read_packets,
)
from gs_video_report.media.probe import main_picture, start_time_s
from gs_video_report.media.slide_change import (
    HEIGHT,
    MIN_CELLS,
    WIDTH,
    Change,
    Seen,
    SlideDetector,
    cells_changed,
)
from gs_video_report.media.slide_images import (
    CAMERA_MOVES,
    OpenSlide,
    SlideImage,
    SlideParams,
    SlideWriter,
)
from gs_video_report.progress import report

__all__ = ["SlideFind", "SlideImage", "SlideParams", "find_slides"]

_REPORT_S = 0.5
_AV_TIME_BASE = 1_000_000
_SKIP_FROM_FPS = 10.0
_BETWEEN_S = 0.2
_MAX_REPEATS = 12
_MAX_FPS = 480.0
_ONE_LENGTH_FOR_ALL = ("matroska", "flv", "asf")
"""Formats in which only the whole recording has a length."""
_NO_TIME_STAMPS = 0x80  # AVFMT_NOTIMESTAMPS: raw streams, whose times are counted
_CLOCK_SET_BACK_S = 5.0
_LONGEST_DAMAGE_S = 10.0
_SHORTEST_S = 0.5
_KINDS = {
    Change.FIRST: "slide",
    Change.SLIDE: "slide",
    Change.REPLACED: "build",
    Change.CAMERA: "camera",
}


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
        reader = _Reader(container, stream)
        writer = SlideWriter(Path(out_dir), params, _pixel_aspect(stream))
        sampler = _Sampler(params, writer)
        for t_s, frame in reader.frames():
            sampler.feed(t_s, frame)
        if not sampler.samples and not sampler.end_s:
            raise CorruptMediaError(f"{display_name(path)}: none of its pictures can be decoded")
        short = _ends_early(path, reader, sampler.end_s)
        sampler.finish(sampler.end_s if short else max(sampler.end_s, reader.whole_s))
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


def _ends_early(path: str, reader: _Reader, end_s: float) -> bool:
    """The file was cut: its pictures stop long before the length it declares."""
    if reader.declared_s <= 0 or reader.declared_s - end_s <= max(5.0, 0.05 * reader.declared_s):
        return False
    return reader.knows_own_end or is_cut_short(path)


def _problems(reader: _Reader, end_s: float, short: bool) -> Iterator[str]:
    if reader.errors:
        places = "1 damaged place" if reader.errors == 1 else f"{reader.errors} damaged places"
        yield f"The pictures are damaged: {places} could not be decoded and were skipped."
    if short:
        yield f"The pictures end early: {end_s:.0f} of {reader.declared_s:.0f} seconds are there."


def _pixel_aspect(stream: Any) -> float:
    """Width of a stored pixel over its height; 1.0 when unknown or absurd."""
    ratio = float(stream.codec_context.sample_aspect_ratio or 1)
    return ratio if 0.2 <= ratio <= 5.0 else 1.0


@dataclass(slots=True)
class _Reader:
    """Decodes one video stream, packet by packet."""

    container: Any
    stream: Any
    errors: int = 0
    declared_s: float = 0.0
    """Length of the pictures as declared; 0.0 when unknown."""
    whole_s: float = 0.0
    """Length of the whole recording as declared; 0.0 when unknown."""
    knows_own_end: bool = False
    """The declared length is that of the pictures, not of the whole recording."""
    _shift_s: float = 0.0
    _last_s: float = float("-inf")
    _frame_s: float = 0.04

    def __post_init__(self) -> None:
        limit_threads(self.stream)
        keep_only(self.container, (self.stream,))
        stream, rate = self.stream, float(self.stream.average_rate or 0)
        if 0 < rate <= _MAX_FPS:
            self._frame_s = 1 / rate
        stamped = not int(self.container.format.flags) & _NO_TIME_STAMPS
        if stamped and _SKIP_FROM_FPS <= rate <= _MAX_FPS:
            stream.codec_context.skip_frame = "NONREF"
        self._shift_s = -start_time_s(self.container)
        if self.container.duration and self.container.duration > 0:
            self.declared_s = self.whole_s = float(self.container.duration) / _AV_TIME_BASE
        if stream.duration and stream.duration > 0 and stream.time_base:
            names = self.container.format.name
            self.knows_own_end = not any(name in names for name in _ONE_LENGTH_FOR_ALL)
            self.declared_s = float(stream.duration * stream.time_base)

    def frames(self) -> Iterator[tuple[float, Any]]:
        """(seconds from the start, frame), times rising."""
        import av

        told = time.monotonic()
        for packet in read_packets(self.container, self.stream):
            try:
                frames = [] if packet is None else packet.decode()
                self.errors += packet is None or bool(packet.is_corrupt)
            except av.error.FFmpegError:
                self.errors += 1
                continue
            for frame in frames:
                t_s = self._time_s(frame)
                if t_s <= self._last_s or self._is_broken(frame, t_s):
                    continue
                self._last_s = t_s
                yield t_s, frame
            if time.monotonic() - told > _REPORT_S:
                told = time.monotonic()
                report(max(self._last_s, 0.0), self.declared_s)

    def _is_broken(self, frame: Any, t_s: float) -> bool:
        """A damaged frame, where a sound one was seen lately: the sound one is shown on."""
        if not frame.is_corrupt:
            return False
        self.errors += 1
        return t_s - max(self._last_s, 0.0) < _LONGEST_DAMAGE_S

    def _time_s(self, frame: Any) -> float:
        """Time of the frame; goes on behind a place where the clock was set back."""
        begun = self._last_s >= 0
        if frame.pts is None or not frame.time_base:
            return self._last_s + self._frame_s if begun else 0.0
        t_s = float(frame.pts * frame.time_base) + self._shift_s
        if begun and t_s < self._last_s - _CLOCK_SET_BACK_S:
            self._shift_s += self._last_s + self._frame_s - t_s
            return self._last_s + self._frame_s
        return max(0.0, t_s)


@dataclass(slots=True)
class _Sampler:
    """Shows the detector what is on screen at each full interval, and follows its answers."""

    params: SlideParams
    writer: SlideWriter
    samples: int = 0
    end_s: float = 0.0
    _detector: SlideDetector = field(default_factory=SlideDetector)
    _thumbnail: _Thumbnail = field(default_factory=lambda: _Thumbnail())
    _due_s: float | None = None
    _frame: Any = None
    _between: list[tuple[float, Any]] = field(default_factory=list)
    """Frames since the last sample, thinned out, to find when a change began."""
    _gray: Any = None
    _gray_of: Any = None
    _now: OpenSlide | None = None

    def feed(self, t_s: float, frame: Any) -> None:
        """One decoded frame, shown from `t_s` on."""
        if self._due_s is None:
            self._due_s = t_s
        self._catch_up(t_s)
        self._frame = frame
        self.end_s = t_s + _duration_s(frame)
        if not self._between or t_s - self._between[-1][0] >= _BETWEEN_S:
            self._between.append((t_s, frame))

    def finish(self, until_s: float) -> None:
        """All frames were fed; the last one stays on screen until `until_s`."""
        self._catch_up(until_s)
        if self._now is not None:
            self._follow(self._detector.finish(until_s), self._frame)
            self.writer.write(self._now, max(until_s, self._now.t_s))
            self._now = None

    def _catch_up(self, until_s: float) -> None:
        """Take the samples due before `until_s`; in a long gap only as many as can matter."""
        repeats = 0
        while self._frame is not None and self._due_s is not None and self._due_s < until_s:
            self._sample()
            repeats += 1
            if repeats == _MAX_REPEATS:
                steps = int((until_s - self._due_s) / self.params.interval_s)
                self._due_s += max(0, steps) * self.params.interval_s

    def _sample(self) -> None:
        assert self._due_s is not None  # noqa: S101
        t_s, last = self._due_s, self._gray
        if self._frame is not self._gray_of:
            self._gray, self._gray_of = self._thumbnail.of(self._frame), self._frame
        began_s = t_s if last is None else self._began(last, t_s)
        self._follow(self._detector.feed(t_s, self._gray, began_s), self._frame)
        self._between = self._between[-1:]
        self.samples += 1
        self._due_s = t_s + self.params.interval_s

    def _began(self, last: Any, t_s: float) -> float:
        """When the picture began to differ from the sample before: looks at frames in between."""
        if last is self._gray:
            return t_s
        changed = cells_changed(last, self._gray)
        wanted = max(MIN_CELLS, 0.3 * int(changed.sum()))
        if int(changed.sum()) < MIN_CELLS:
            return t_s
        for at_s, frame in self._between:
            if int((cells_changed(last, self._thumbnail.of(frame)) & changed).sum()) >= wanted:
                return at_s
        return t_s

    def _follow(self, seen: Seen, frame: Any) -> None:
        if seen.change in _KINDS:
            t_s, kind = seen.t_s, _KINDS[seen.change]
            if self._now is not None and t_s - self._now.t_s >= _SHORTEST_S:
                self.writer.write(self._now, t_s)
            elif self._now is not None:  # what was there for a moment only was no slide
                t_s = self._now.t_s
                kind = self._now.kind if seen.change is Change.REPLACED else kind
            self._now = OpenSlide(t_s, kind, frame)
        elif self._now is not None:
            self._now.builds += seen.change is Change.BUILD
            self._now.samples += 1
            self._now.moving += seen.moving > CAMERA_MOVES
            if seen.keep:
                self._now.frame = frame


def _duration_s(frame: Any) -> float:
    length = getattr(frame, "duration", 0) or 0
    return float(length * frame.time_base) if 0 < length * frame.time_base < 3600 else 0.04


class _Thumbnail:
    """Makes the small gray samples."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def of(self, frame: Any) -> Any:
        """uint8 of shape (HEIGHT, WIDTH), turned as shown."""
        import numpy as np

        turns = int(frame.rotation) % 360 // 90
        width, height = (HEIGHT, WIDTH) if turns % 2 else (WIDTH, HEIGHT)
        small = self._reformatter.reformat(
            frame, width, height, "gray", interpolation="AREA", threads=1
        )
        return np.ascontiguousarray(np.rot90(small.to_ndarray(), turns))
