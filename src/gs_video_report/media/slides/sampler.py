"""Show the detector what is on screen at each full second, and keep what it finds.

Truth: the picture on screen at every full interval from the first frame on, whatever the frame
rate: where frames are sparse, or none needs decoding, the frame that is still shown counts again.
A span that was looked at from its ends only (`pause`) is no evidence of anything.
Never: holds more than a second of frames; decodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gs_video_report.media.slides.change import (
    HEIGHT,
    MIN_CELLS,
    SETTLE,
    WIDTH,
    Change,
    Seen,
    SlideDetector,
    cells_changed,
)
from gs_video_report.media.slides.exact import Origin
from gs_video_report.media.slides.images import (
    CAMERA_MOVES,
    OpenSlide,
    SlideParams,
    SlideWriter,
    convertible,
)

_BETWEEN_S = 0.2
_MAX_REPEATS = 12
_SHORTEST_S = 0.5
_KINDS = {
    Change.FIRST: "slide",
    Change.SLIDE: "slide",
    Change.REPLACED: "build",
    Change.CAMERA: "camera",
}


@dataclass(slots=True)
class Sampler:
    """Shows the detector what is on screen at each full interval, and follows its answers."""

    params: SlideParams
    writer: SlideWriter
    samples: int = 0
    _least_end_s: float = 0.0
    _detector: SlideDetector = field(default_factory=SlideDetector)
    _thumbnail: Thumbnail = field(default_factory=lambda: Thumbnail())
    _due_s: float | None = None
    _shown_s: float = 0.0
    """Since when the present frame is on screen."""
    _sampled_s: float = float("-inf")
    _frame: Any = None
    _origin: Origin | None = None
    _between: list[tuple[float, Any]] = field(default_factory=list)
    """Frames since the last sample, thinned out, to find when a change began."""
    _gray: Any = None
    _gray_of: Any = None
    _now: OpenSlide | None = None
    _ended: list[tuple[OpenSlide, float]] = field(default_factory=list)
    """Slides that have ended and are not written yet, with their ends."""

    def feed(self, t_s: float, frame: Any, origin: Origin | None = None) -> None:
        """One decoded frame, shown from `t_s` on; `origin`: of one before which packets were left
        out."""
        if self._due_s is None:
            self._due_s = t_s
        self._catch_up(t_s)
        self._frame, self._shown_s, self._origin = frame, t_s, origin
        if not self._between or t_s - self._between[-1][0] >= _BETWEEN_S:
            self._between.append((t_s, frame))

    def finish(self, until_s: float) -> None:
        """All frames were fed; the last one stays on screen until `until_s`."""
        self._catch_up(until_s)
        if self._now is not None:
            self._follow(self._detector.finish(until_s))
            self._ended.append((self._now, max(until_s, self._now.t_s)))
            self._now = None

    def shown_until(self, end_s: float) -> None:
        """The present frame stays on screen until `end_s` at least."""
        self._least_end_s = max(self._least_end_s, end_s)

    @property
    def end_s(self) -> float:
        """When the present frame goes, as far as is known; 0.0 before the first one."""
        if self._frame is None:
            return self._least_end_s
        return max(self._least_end_s, self._shown_s + _duration_s(self._frame))

    def gray(self, frame: Any) -> Any:
        """The sample that a frame gives."""
        if self._frame is not None and frame is self._gray_of:
            return self._gray
        return self._thumbnail.of(frame)

    def explains(self, gray: Any) -> bool:
        """`gray` shows nothing that would be a slide, a build or moving pictures."""
        return self._detector.explains(gray)

    @property
    def is_calm(self) -> bool:
        """What is on screen now is known to the last detail, but for what always moves."""
        return self._frame is not None and self.explains(self.gray(self._frame))

    def settle(self, frame: Any, until_s: float) -> bool:
        """Take it that what is on screen stays until `until_s`, when `frame` is shown, as both show
        the same; what differs between them goes on moving. False, and nothing is taken, where
        they differ in more than that, or `until_s` is too near.
        """
        if self._due_s is None or self._frame is None:
            return False
        seen_s = self._due_s + SETTLE * self.params.interval_s
        if seen_s + self.params.interval_s >= until_s:
            return False
        if not self._detector.agree(self.gray(self._frame), self.gray(frame)):
            return False
        self.feed(seen_s, frame)
        self._catch_up(seen_s + self.params.interval_s)
        self.pause(until_s)
        return True

    def pause(self, until_s: float) -> None:
        """Nothing was looked at from the last frame to `until_s`, where the next one is shown."""
        if self._due_s is None or self._frame is None:
            return
        if self._sampled_s + self.params.interval_s <= self._shown_s:
            self._due_s = self._shown_s
            self._sample()
        self._due_s = max(until_s, self._sampled_s + self.params.interval_s)
        self._detector.pause(self._due_s - self.params.interval_s)

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
        self._follow(self._detector.feed(t_s, self._gray, began_s))
        self._between = self._between[-1:]
        self.samples += 1
        self._sampled_s = t_s
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

    def write(self, exactly: Callable[[Any, Origin], Any] | None) -> None:
        """Write the pictures of all slides that have ended.

        `exactly`: gives a frame as it was recorded, from the one at hand and its origin; `None`:
        the decoder cannot be asked now, and the frame at hand must do.
        """
        for slide, end_s in self._ended:
            if slide.origin is not None and exactly is not None:
                slide.frame = exactly(slide.frame, slide.origin)
            self.writer.write(slide, end_s)
        self._ended.clear()

    def _keep(self, slide: OpenSlide) -> None:
        """Take the present frame for the picture of `slide`, unless the one that is there shows
        the same, but for what always moves, and is easier to get as it was recorded."""
        easier = self._origin is not None and slide.origin in (None, self._origin)
        if easier and not self._detector.differ(slide.gray, self._gray):
            return
        slide.frame, slide.gray, slide.origin = self._frame, self._gray, self._origin

    def _follow(self, seen: Seen) -> None:
        if seen.change in _KINDS:
            t_s, kind = seen.t_s, _KINDS[seen.change]
            if self._now is not None and t_s - self._now.t_s >= _SHORTEST_S:
                self._ended.append((self._now, t_s))
            elif self._now is not None:  # what was there for a moment only was no slide
                t_s = self._now.t_s
                kind = self._now.kind if seen.change is Change.REPLACED else kind
            self._now = OpenSlide(t_s, kind, self._frame, self._gray, self._origin)
        elif self._now is not None:
            self._now.builds += seen.change is Change.BUILD
            self._now.samples += 1
            self._now.moving += seen.moving > CAMERA_MOVES
            if seen.keep:
                self._keep(self._now)


def _duration_s(frame: Any) -> float:
    length = getattr(frame, "duration", 0) or 0
    return float(length * frame.time_base) if 0 < length * frame.time_base < 3600 else 0.04


class Thumbnail:
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
            convertible(frame), width, height, "gray", interpolation="AREA", threads=1
        )
        return np.ascontiguousarray(np.rot90(small.to_ndarray(), turns))
