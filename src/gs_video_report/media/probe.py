"""Look at a recording: container, streams, duration, damage.

Truth: what the container says, checked by decoding the first frame of the picture and of the
sound. A stream of which nothing decodes is left out and named in `problems`.
Never: reads the whole file, except when neither container nor streams know the duration.
Raises: EmptyFileError, NoMediaError, FileMissingError, FileUnreadableError, CorruptMediaError.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_video_report.errors import CorruptMediaError, NoMediaError
from gs_video_report.media.boxes import has_vbr_header, is_cut_short
from gs_video_report.media.container import (
    display_name,
    limit_threads,
    looks_like_text,
    open_media,
    read_head,
    read_packets,
)
from gs_video_report.media.durations import (
    declared_duration,
    longest_plausible_s,
    scan_duration,
)
from gs_video_report.media.durations import start_time_s as start_time_s

TEXT_SUBTITLES = frozenset({
    "subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text", "ttml", "eia_608", "sami", "stl",
    "microdvd", "subviewer", "subviewer1", "jacosub", "mpl2", "pjs", "realtext", "vplayer",
    "hdmv_text_subtitle",
})  # fmt: skip
"""Subtitle codecs that hold characters; all others hold pictures."""

_CHECK_PACKETS = 20_000
_CHECK_BYTES = 64 << 20
_CHECK_S = 5.0
_STILL_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC
_MAX_FPS = 480.0  # more is a time base taken for a rate
_DEFAULT = 0x1  # AV_DISPOSITION_DEFAULT


@dataclass(frozen=True, slots=True)
class VideoStream:
    """The moving picture that reports are made of."""

    index: int
    """Stream index in the container."""
    codec: str
    width: int
    """Pixels as shown, after rotation."""
    height: int
    fps: float
    """Average frames per second; 0.0 when unknown."""
    rotation: int
    """Degrees counterclockwise by which decoded frames must be turned: 0, 90, 180 or 270."""


@dataclass(frozen=True, slots=True)
class AudioStream:
    """One sound track."""

    index: int
    codec: str
    sample_rate: int
    channels: int
    language: str
    """Tag of the container (mostly ISO 639-2), empty when unknown."""
    title: str
    default: bool


@dataclass(frozen=True, slots=True)
class SubtitleStream:
    """One embedded subtitle track."""

    index: int
    codec: str
    language: str
    title: str
    is_text: bool
    """False for pictures (DVD, Blu-ray)."""


@dataclass(frozen=True, slots=True)
class MediaProbe:
    """What is known about a recording without reading all of it."""

    container: str
    """First name of the demuxer: `mov`, `matroska`, `mpegts`, ..."""
    duration_s: float
    """Declared by container or streams, else measured by a packet scan; 0.0 when unknown."""
    size_bytes: int
    video: VideoStream | None
    audio: tuple[AudioStream, ...]
    subtitles: tuple[SubtitleStream, ...]
    chapters: tuple[tuple[float, float, str], ...]
    """(start_s, end_s, title), in order."""
    tags: dict[str, str]
    problems: tuple[str, ...]
    """`truncated`, `video_undecodable`, `audio_undecodable`, `duration_unknown`,
    `duration_implausible` (the header claims more than the file can hold; measured instead)."""


def probe(path: str) -> MediaProbe:
    """Describe the recording at `path`. Typically below 50 ms.

    Raises:
        EmptyFileError: 0 bytes.
        NoMediaError: text, a playlist, a still picture, an unreadable header, no streams.
        CorruptMediaError: there are streams, but nothing in them can be decoded.
        FileMissingError, FileUnreadableError: the operating system refused.
    """
    with open_media(path) as container:
        picture = main_picture(container)
        sounds = [s for s in container.streams.audio if _has_decoder(s)]
        if picture is None and not sounds:
            raise _nothing_to_report(path, container)
        check = _check_streams(container, picture, default_track(sounds), sounds)
        if not check.frames:
            raise _undecodable(path)
        video = None if picture is None or picture.index in check.dead else _video(picture, check)
        audio = tuple(_audio(s) for s in sounds if s.index not in check.dead)
        facts = _Facts(
            container=container.format.name.split(",")[0],
            subtitles=tuple(_subtitle(s) for s in container.streams.subtitles if _has_decoder(s)),
            chapters=_chapters(container),
            tags=clean_tags(container.metadata),
            duration_s=declared_duration(container),
        )
        wanted_sound = len(container.streams.audio) > 0
    size_bytes = Path(path).stat().st_size
    duration_s = facts.duration_s
    impossible = duration_s > longest_plausible_s(size_bytes)
    if duration_s <= 0 or impossible or (facts.container == "mp3" and not has_vbr_header(path)):
        duration_s = scan_duration(path)
    found = {
        "duration_implausible": impossible,
        "truncated": is_cut_short(path),
        "video_undecodable": picture is not None and video is None,
        "audio_undecodable": wanted_sound and not audio,
        "duration_unknown": duration_s <= 0,
    }
    return MediaProbe(
        container=facts.container,
        duration_s=round(duration_s, 6),
        size_bytes=size_bytes,
        video=video,
        audio=audio,
        subtitles=facts.subtitles,
        chapters=facts.chapters,
        tags=facts.tags,
        problems=tuple(name for name, present in found.items() if present),
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    container: str
    subtitles: tuple[SubtitleStream, ...]
    chapters: tuple[tuple[float, float, str], ...]
    tags: dict[str, str]
    duration_s: float


def clean_tags(tags: dict[str, str]) -> dict[str, str]:
    """Tags as printable text: lower-case keys, no control characters, at most 2,000 characters."""
    cleaned = {}
    for key, value in tags.items():
        text = "".join(c if c.isprintable() or c in "\n\t" else " " for c in str(value))
        cleaned[str(key).lower()] = text.strip()[:2_000]
    return {key: value for key, value in cleaned.items() if value}


def default_track(streams: list[Any]) -> Any | None:
    """The sound track to use when nobody chose: the first one marked default, else the first."""
    usable = [s for s in streams if _has_decoder(s)]
    marked = [s for s in usable if int(s.disposition) & _DEFAULT]
    return (marked or usable or [None])[0]


# --- choosing and checking ---------------------------------------------------------------------


def _has_decoder(stream: Any) -> bool:
    return stream.codec_context is not None


def main_picture(container: Any) -> Any | None:
    """The video stream that reports are made of; None when there are only still pictures."""
    moving = [
        s
        for s in container.streams.video
        if _has_decoder(s) and not int(s.disposition) & _STILL_PICTURE
    ]
    best = container.streams.best("video")
    if best is not None and any(s.index == best.index for s in moving):
        return best
    return moving[0] if moving else None


@dataclass(frozen=True, slots=True)
class _Check:
    frames: dict[int, Any]
    """Stream index -> its first frame."""
    dead: frozenset[int]
    """Streams that have data, none of which decodes."""


def _check_streams(
    container: Any, picture: Any | None, sound: Any | None, sounds: list[Any]
) -> _Check:
    """Decode until the main picture and the main sound gave a frame, or a bound is reached.

    A stream whose data was not met within the bound (it starts late) is not called dead.
    """
    streams = [s for s in (picture, *sounds) if s is not None]
    needed = {s.index for s in (picture, sound) if s is not None}
    for stream in streams:
        limit_threads(stream)
    frames: dict[int, Any] = {}
    met: set[int] = set()
    bound = _Bound()
    for packet in read_packets(container, *streams):
        index = -1 if packet is None else packet.stream.index  # a last, empty packet has no other
        if packet is not None and index not in frames:
            met.add(index)
            frame = _decode_one(packet)
            if frame is not None:
                frames[index] = frame
                if needed <= frames.keys():
                    return _Check(frames, frozenset())
        if bound.reached(0 if packet is None else packet.size):
            break
    else:
        met.update(s.index for s in streams)
    return _Check(frames, frozenset(met - frames.keys()))


class _Bound:
    """Ends a check that finds nothing: by packets, bytes and time."""

    def __init__(self) -> None:
        self._packets = 0
        self._bytes = 0
        self._deadline = time.monotonic() + _CHECK_S

    def reached(self, size: int) -> bool:
        self._packets += 1
        self._bytes += size
        return (
            self._packets > _CHECK_PACKETS
            or self._bytes > _CHECK_BYTES
            or time.monotonic() > self._deadline
        )


def _decode_one(packet: Any) -> Any | None:
    import av

    try:
        frames = packet.decode()
    except av.error.FFmpegError:
        return None
    return frames[0] if frames else None


def _nothing_to_report(path: str, container: Any) -> NoMediaError:
    name = display_name(path)
    if looks_like_text(read_head(path)):
        return NoMediaError(f"{name}: this is a text file, not audio or video")
    if container.streams.video:
        return NoMediaError(f"{name}: holds only a still picture, no video and no sound")
    if len(container.streams) == 0:
        return NoMediaError(f"{name}: the container opens, but holds no streams")
    return NoMediaError(f"{name}: holds neither video nor sound that can be decoded")


def _undecodable(path: str) -> NoMediaError | CorruptMediaError:
    name = display_name(path)
    if looks_like_text(read_head(path)):
        return NoMediaError(f"{name}: this is a text file, not audio or video")
    return CorruptMediaError(f"{name}: the header is fine, but nothing in the file can be decoded")


# --- describing --------------------------------------------------------------------------------


def _video(stream: Any, check: _Check) -> VideoStream:
    frame = check.frames.get(stream.index)
    rotation = 0 if frame is None else int(frame.rotation) % 360
    shown = stream.codec_context if frame is None else frame
    width, height = int(shown.width), int(shown.height)
    if rotation in (90, 270):
        width, height = height, width
    return VideoStream(stream.index, codec_name(stream), width, height, _fps(stream), rotation)


def _fps(stream: Any) -> float:
    rates = [float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    return next((round(rate, 3) for rate in rates if 0 < rate <= _MAX_FPS), 0.0)


def _audio(stream: Any) -> AudioStream:
    context = stream.codec_context
    return AudioStream(
        index=stream.index,
        codec=codec_name(stream),
        sample_rate=int(context.sample_rate or 0),
        channels=int(context.channels or 0),
        language=_language(stream),
        title=_title(stream),
        default=bool(int(stream.disposition) & _DEFAULT),
    )


def _subtitle(stream: Any) -> SubtitleStream:
    codec = codec_name(stream)
    return SubtitleStream(
        stream.index, codec, _language(stream), _title(stream), codec in TEXT_SUBTITLES
    )


def codec_name(stream: Any) -> str:
    """Name of the format (`mp3`, `av1`), not of the decoder (`mp3float`, `libdav1d`)."""
    codec = stream.codec_context.codec
    return str(getattr(codec, "canonical_name", "") or codec.name)


def _language(stream: Any) -> str:
    tag = clean_tags(stream.metadata).get("language", "")
    return "" if tag == "und" else tag


def _title(stream: Any) -> str:
    return clean_tags(stream.metadata).get("title", "")


def _chapters(container: Any) -> tuple[tuple[float, float, str], ...]:
    found = []
    for chapter in container.chapters():
        base = float(chapter["time_base"])
        title = clean_tags(chapter["metadata"]).get("title", "")
        start_s, end_s = chapter["start"] * base, chapter["end"] * base
        if end_s >= start_s >= 0:
            found.append((round(start_s, 3), round(end_s, 3), title))
    return tuple(sorted(found))
