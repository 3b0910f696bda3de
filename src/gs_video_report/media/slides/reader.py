"""Read the packets of one video stream in groups of pictures, and decode what is asked for.

Truth: times are seconds from the start of the recording and rise; a group begins with a key frame,
or where the one before it was cut for its length. One decoder serves all: what was decoded is
handed out before it starts elsewhere.
Never: holds more than `_MAX_PACKETS` packets; stops at a damaged place.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gs_video_report.media.container import keep_only, limit_threads, read_packets
from gs_video_report.media.probe import start_time_s
from gs_video_report.media.slides.exact import Origin, Trust, origin_of
from gs_video_report.progress import report

_REPORT_S = 0.5
_AV_TIME_BASE = 1_000_000
_SKIP_FROM_FPS = 10.0
_MAX_FPS = 480.0
_ONE_LENGTH_FOR_ALL = ("matroska", "flv", "asf")
"""Formats in which only the whole recording has a length."""
_NO_TIME_STAMPS = 0x80  # AVFMT_NOTIMESTAMPS: raw streams, whose times are counted
_CLOCK_SET_BACK_S = 5.0
_LONGEST_DAMAGE_S = 10.0
_MAX_PACKETS = 1000
_MAX_BYTES = 48_000_000
_THIN_S = 0.2
"""Pictures that need no other are looked at so often."""
_GAPS_ARE_COPIED = ("h264",)
"""Decoders that show a picture on where the next one is missing; others show gray, or nothing."""
_DISORDER = 4
_INTRA = 1  # AV_PICTURE_TYPE_I
_FIELDS = (2, 3, 4, 5)  # AVFieldOrder: packets may be half pictures


@dataclass(frozen=True, slots=True)
class Group:
    """Packets from a key frame up to the next one, in the order of the file."""

    packets: list[Any]
    next_key: Any
    """The key frame behind it; None at the end, and where the group was cut."""
    sound: bool
    """Undamaged from its key frame on, and all of it has times."""
    cut: bool
    """The group goes on in the next one."""


@dataclass(slots=True)
class Reader:
    """Reads one video stream."""

    container: Any
    stream: Any
    errors: int = 0
    declared_s: float = 0.0
    """Length of the pictures as declared; 0.0 when unknown."""
    whole_s: float = 0.0
    """Length of the whole recording as declared; 0.0 when unknown."""
    knows_own_end: bool = False
    """The declared length is that of the pictures, not of the whole recording."""
    stamped: bool = True
    """Packets have times of their own."""
    copies_gaps: bool = False
    """Packets that say "as before" may be left out."""
    _shift_s: float = 0.0
    _last_s: float = float("-inf")
    _frame_s: float = 0.04
    _tick: tuple[int, int] = (0, 1)
    """Time base, seconds: of what is over what; two integers divide as exactly as a fraction, and
    many times as fast."""
    _trust: Trust = field(default_factory=Trust)
    _dirty: bool = False
    _gaps: bool = False
    _waiting: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        limit_threads(self.stream)
        keep_only(self.container, (self.stream,))
        stream, rate = self.stream, float(self.stream.average_rate or 0)
        if stream.time_base:
            self._tick = stream.time_base.numerator, stream.time_base.denominator
        if 0 < rate <= _MAX_FPS:
            self._frame_s = 1 / rate
        self.stamped = not int(self.container.format.flags) & _NO_TIME_STAMPS
        if self.stamped and _SKIP_FROM_FPS <= rate <= _MAX_FPS:
            stream.codec_context.skip_frame = "NONREF"
        context = stream.codec_context
        fields = int(getattr(context, "field_order", 0) or 0) in _FIELDS
        self.copies_gaps = context.codec.canonical_name in _GAPS_ARE_COPIED and not fields
        self._shift_s = -start_time_s(self.container)
        if self.container.duration and self.container.duration > 0:
            self.declared_s = self.whole_s = float(self.container.duration) / _AV_TIME_BASE
        if stream.duration and stream.duration > 0 and stream.time_base:
            names = self.container.format.name
            self.knows_own_end = not any(name in names for name in _ONE_LENGTH_FOR_ALL)
            self.declared_s = float(stream.duration * stream.time_base)

    @property
    def pixels(self) -> int:
        """Of one picture; 0 when unknown."""
        return int((self.stream.codec_context.width or 0) * (self.stream.codec_context.height or 0))

    def groups(self) -> Iterator[Group]:
        """All packets; progress is reported between groups."""
        told, looked_s = time.monotonic(), float("-inf")
        for group in self._all_groups():
            at_s = self.time_of(group.packets[0])
            if len(group.packets) == 1 and at_s is not None and 0 <= at_s - looked_s < _THIN_S:
                continue
            looked_s = float("-inf") if at_s is None else at_s
            yield group
            if time.monotonic() - told > _REPORT_S or group.next_key is None:
                told = time.monotonic()
                report(max(self._last_s, self.end_of(group)), self.declared_s)

    def _all_groups(self) -> Iterator[Group]:
        held: list[Any] = []
        size, sound = 0, False
        for packet in read_packets(self.container, self.stream):
            if packet is None or not packet.size:
                self.errors += packet is None
                sound = sound and packet is not None
                continue
            cut = len(held) >= _MAX_PACKETS or size >= _MAX_BYTES
            if packet.is_keyframe or cut:
                if held:
                    yield self._group(held, packet if packet.is_keyframe else None, sound, cut)
                held, size, sound = [], 0, sound or bool(packet.is_keyframe)
            held.append(packet)
            size += packet.size
        if held:
            yield self._group(held, None, sound, False)

    def _group(self, held: list[Any], after: Any, sound: bool, cut: bool) -> Group:
        timed = all(each.pts is not None and not each.is_corrupt for each in held)
        return Group(held, after, sound and timed, cut and after is None)

    def time_of(self, packet: Any) -> float | None:
        """When the picture of a packet is shown; None when it does not tell."""
        return None if packet.pts is None or not self._tick[0] else self._seconds(packet.pts)

    def end_of(self, group: Group) -> float:
        """When the last picture of a group ends; 0.0 when nothing tells."""
        stamps = [packet.pts for packet in group.packets if packet.pts is not None]
        return self._seconds(max(stamps)) + self._frame_s if stamps and self._tick[0] else 0.0

    def _seconds(self, stamp: int) -> float:
        return max(0.0, stamp * self._tick[0] / self._tick[1] + self._shift_s)

    @property
    def is_busy(self) -> bool:
        """The decoder may hold pictures: it must not start elsewhere before `rest()`."""
        return self._dirty

    def picture(self, packet: Any) -> Any:
        """The frame of a key packet, decoded on its own; None when that fails.

        What was decoded before must have been asked for with `rest()`."""
        import av

        context = self.stream.codec_context
        try:
            frames = [*context.decode(packet), *self._held()]
        except av.error.FFmpegError:
            frames = []
        context.flush_buffers()
        whole = [each for each in frames if not each.is_corrupt and each.pict_type == _INTRA]
        return whole[0] if whole and len(whole) == len(frames) else None

    def exactly(self, frame: Any, origin: Origin) -> Any:
        """The same picture without packets left out; `frame` itself when that fails.

        What was decoded before must have been asked for with `rest()`."""
        import av

        needed = origin.needed(frame.pts)
        if not needed or not self._trust.must_try(origin):
            return frame
        exact = frame
        try:
            for each in self._decoded(needed):  # and not held: a group may fill the memory
                if each.pts == frame.pts and not each.is_corrupt:
                    exact = each
        except av.error.FFmpegError:
            exact = frame
        self.stream.codec_context.flush_buffers()
        self._trust.tried(origin, same=_same(exact, frame))
        return exact

    def _decoded(self, packets: Iterable[Any]) -> Iterator[Any]:
        for packet in packets:
            yield from self.stream.codec_context.decode(packet)
        yield from self._held()

    def origin(self, packets: list[Any], decoded: Iterable[Any], *, forward: bool) -> Origin:
        """Of the frames of a group of which only `decoded` is decoded; see `Origin`."""
        extradata = self.stream.codec_context.extradata
        return origin_of(packets, decoded, extradata, forward=forward)

    def _held(self) -> list[Any]:
        """The frames that the decoder holds back to put them in order."""
        frames: list[Any] = self.stream.codec_context.decode(None)
        for frame in frames:
            frame.time_base = frame.time_base or self.stream.time_base
        return frames

    def decode(self, packets: Iterable[Any], *, gaps: bool = False) -> Iterator[tuple[float, Any]]:
        """(seconds, frame) of packets that follow each other; `gaps`: some were left out."""
        import av

        self._dirty, self._gaps = True, gaps
        for packet in packets:
            try:
                frames = self.stream.codec_context.decode(packet)
                self.errors += bool(packet.is_corrupt)
            except av.error.FFmpegError:
                self.errors += 1
                continue
            yield from self._timed(self._ordered(frames) if gaps else frames)

    def rest(self) -> Iterator[tuple[float, Any]]:
        """What the decoder still holds; it can start anywhere then."""
        import av

        if not self._dirty:
            return
        try:
            frames = self._held()
        except av.error.FFmpegError:
            frames = []
        self.stream.codec_context.flush_buffers()
        frames, self._waiting = [*self._waiting, *frames], []
        yield from self._timed(sorted(frames, key=_stamp) if self._gaps else frames)
        self._dirty = self._gaps = False

    def drop(self) -> None:
        """What the decoder still holds is not wanted; it can start anywhere then."""
        self.stream.codec_context.flush_buffers()
        self._waiting, self._dirty, self._gaps = [], False, False

    def _timed(self, frames: Iterable[Any]) -> Iterator[tuple[float, Any]]:
        for frame in frames:
            t_s = self._time_s(frame)
            if t_s <= self._last_s or self._is_broken(frame, t_s):
                continue
            self._last_s = t_s
            yield t_s, frame

    def _ordered(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Where packets were left out, the decoder hands out frames too early: sort the latest."""
        for frame in frames:
            self._waiting.append(frame)
            self._waiting.sort(key=_stamp)
            if len(self._waiting) > _DISORDER:
                yield self._waiting.pop(0)

    def shown(self, frame: Any) -> tuple[float, Any] | None:
        """A frame of `picture()` in its turn; None when its time has passed."""
        return next(self._timed((frame,)), None)

    def _is_broken(self, frame: Any, t_s: float) -> bool:
        """A damaged frame, where a sound one was seen lately: the sound one is shown on."""
        if not frame.is_corrupt:
            return False
        self.errors += 1
        return t_s - max(self._last_s, 0.0) < _LONGEST_DAMAGE_S

    def _time_s(self, frame: Any) -> float:
        """Time of the frame; goes on behind a place where the clock was set back.

        Where packets were left out, an early frame may come late: no sign of another clock."""
        begun = self._last_s >= 0
        stamp = frame.pts
        if stamp is None or not self._tick[0]:
            return self._last_s + self._frame_s if begun else 0.0
        t_s: float = stamp * self._tick[0] / self._tick[1] + self._shift_s
        if begun and not self._gaps and t_s < self._last_s - _CLOCK_SET_BACK_S:
            self._shift_s += self._last_s + self._frame_s - t_s
            return self._last_s + self._frame_s
        return max(0.0, t_s)


def _same(one: Any, other: Any) -> bool:
    """All pixels are equal."""
    planes = zip(one.planes, other.planes, strict=True)
    return all(bytes(a) == bytes(b) for a, b in planes)


def _stamp(frame: Any) -> int:
    return frame.pts or 0
