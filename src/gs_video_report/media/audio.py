"""Decode one sound track to 16 kHz mono, damaged files included.

Truth: the container's time stamps. The output starts at the container's start time; what could
not be decoded is silence of the same length, so that every time in the transcript is right.
Writes: `out_path` (raw signed 16-bit little-endian samples), by temporary file and rename.
Memory: flat, whatever the length. Cost: about one CPU second per quarter hour or more.
Never: follows references, lays more silence than the declared duration allows.
Raises: as `open_media()`; NoMediaError without a usable track; DiskFullError, OutputNotWritable.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gs_video_report.errors import NoMediaError
from gs_video_report.files import atomic_file, sha256_file
from gs_video_report.media.boxes import is_cut_short
from gs_video_report.media.container import (
    display_name,
    keep_only,
    limit_threads,
    open_media,
    read_packets,
)
from gs_video_report.media.durations import longest_plausible_s, start_time_s
from gs_video_report.media.probe import default_track
from gs_video_report.media.timeline import Timeline
from gs_video_report.progress import report

SAMPLE_RATE = 16_000
"""Hz of every PCM file of this package."""
SAMPLE_BYTES = 2

_MARGIN_S = 5.0
_MARGIN_PART = 0.05
"""Silence may reach this far beyond the declared end: the larger of seconds and part."""
_LATEST_S = 48 * 3600.0
"""No silence is laid behind this, whatever is declared."""
_MAX_GAPS = 1_000
_REPORT_S = 0.5
_HIGHEST_RATE = 3_000_000
"""Hz; no recorder goes higher. The resampler's filter grows with the rate: the two thousand million
hertz of a damaged header took 1.5 GB."""
_AV_TIME_BASE = 1_000_000


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """What `extract_audio()` wrote."""

    samples: int
    """Length of the file in samples of 16 kHz; 0 when nothing could be decoded."""
    decoded_s: float
    """Seconds of sound that were decoded; silence laid for gaps is not counted."""
    declared_s: float
    """Length by the header, from the container's start; 0.0 when it does not say, or
    says something impossible."""
    gaps: tuple[tuple[float, float], ...]
    """(start_s, end_s) between decoded sound where there was nothing to decode, now silence;
    the first 1,000. The lead-in of a track that starts late is not among them."""
    bad_packets: int
    """Packets that the decoder refused."""
    truncated: bool
    """The data ends well before the declared end."""
    track_index: int
    """Stream index in the container."""
    tracks: int
    """Sound tracks in the container; above 1, others were left out."""
    sha256: str
    """Of the samples: the same sound gives the same transcript."""


def extract_audio(path: str, out_path: str, track: int | None = None) -> AudioTrack:
    """Write the sound of `path` to `out_path` as raw s16le, 16 kHz, mono.

    Args:
        path: the recording.
        out_path: replaced atomically; its folder must exist.
        track: stream index of the track (`AudioStream.index`); None takes the default track.

    Returns:
        Facts about the track. Damage is reported in them, not raised: `samples` may be 0.

    Progress: seconds of recording.
    """
    with open_media(path) as container:
        stream = _choose(container, track, display_name(path))
        tracks = len(container.streams.audio)
        declared_s = _declared_s(container, stream)
        if declared_s > longest_plausible_s(Path(path).stat().st_size):
            declared_s = 0.0
        decoder = _Decoder(container, stream, declared_s)
        keep_only(container, (stream,))
        with atomic_file(Path(out_path)) as file:
            decoder.run(file)
    return decoder.result(path, tracks, sha256_file(Path(out_path)))


class _Decoder:
    """Packet by packet: a packet that fails costs itself only."""

    def __init__(self, container: Any, stream: Any, declared_s: float) -> None:
        limit_threads(stream)
        self._container = container
        self._stream = stream
        self._declared_s = declared_s
        self._origin_s = start_time_s(container)
        latest_s = min(declared_s + max(_MARGIN_S, _MARGIN_PART * declared_s), _LATEST_S)
        limit = round(latest_s * SAMPLE_RATE) if declared_s > 0 else None
        self._timeline = Timeline(SAMPLE_RATE, limit)
        self._resampler: Any = None
        self._index = int(stream.index)  # a stream must not be touched once its file is closed
        self._ends_with_track = _knows_own_end(container, stream)
        self._shape: tuple[Any, ...] = ()
        self._written_to = 0
        self._lost = 0
        self._bad_packets = 0
        self._told = time.monotonic()

    def run(self, file: BinaryIO) -> None:
        """Decode all packets into `file`."""
        for packet in read_packets(self._container, self._stream):
            if packet is None:
                self._bad_packets += 1
                continue
            for frame in self._decode(packet):
                self._place(frame, file)
            self._tell()
        self._drain(file)
        file.truncate(self._timeline.end * SAMPLE_BYTES)

    def result(self, path: str, tracks: int, digest: str) -> AudioTrack:
        """The facts, once the file is written."""
        short_by_s = self._declared_s - self._timeline.end / SAMPLE_RATE
        short = short_by_s > max(2.0, 0.02 * self._declared_s)
        return AudioTrack(
            samples=self._timeline.end,
            decoded_s=round(self._timeline.sounding / SAMPLE_RATE, 3),
            declared_s=round(self._declared_s, 3),
            gaps=tuple(
                (round(start / SAMPLE_RATE, 3), round(end / SAMPLE_RATE, 3))
                for start, end in self._timeline.holes()[:_MAX_GAPS]
            ),
            bad_packets=self._bad_packets,
            truncated=short and (self._ends_with_track or is_cut_short(path)),
            track_index=self._index,
            tracks=tracks,
            sha256=digest,
        )

    def _decode(self, packet: Any) -> list[Any]:
        import av

        try:
            return list(packet.decode())
        except av.error.FFmpegError:
            self._bad_packets += 1
            if packet.duration and packet.time_base:
                self._lost += round(float(packet.duration * packet.time_base) * SAMPLE_RATE)
            return []

    def _place(self, frame: Any, file: BinaryIO) -> None:
        import av

        if not 0 < frame.sample_rate <= _HIGHEST_RATE:
            self._bad_packets += 1
            return
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        stamp = self._stamp(frame)
        if shape != self._shape or not self._timeline.continues(stamp, self._lost):
            self._drain(file)
            self._timeline.seek(stamp, self._lost)
            self._shape = shape
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        self._lost = 0
        frame.pts = None
        try:
            self._write(self._resampler.resample(frame), file)
        except av.error.FFmpegError:  # a damaged frame with an impossible rate or layout
            self._bad_packets += 1
            self._resampler, self._shape = None, ()

    def _stamp(self, frame: Any) -> int | None:
        """Position of the frame in samples from the container's start."""
        if frame.pts is None or frame.time_base is None:
            return None
        return round((float(frame.pts * frame.time_base) - self._origin_s) * SAMPLE_RATE)

    def _drain(self, file: BinaryIO) -> None:
        """Write what the resampler still holds."""
        import av

        if self._resampler is not None:
            with contextlib.suppress(av.error.FFmpegError):
                self._write(self._resampler.resample(None), file)
            self._resampler = None

    def _write(self, frames: list[Any], file: BinaryIO) -> None:
        for frame in frames:
            data = memoryview(frame.planes[0])[: frame.samples * SAMPLE_BYTES]
            if self._timeline.position != self._written_to:
                file.seek(self._timeline.position * SAMPLE_BYTES)  # the hole reads as silence
            file.write(data)
            self._timeline.advance(frame.samples)
            self._written_to = self._timeline.position

    def _tell(self) -> None:
        if time.monotonic() - self._told > _REPORT_S:
            self._told = time.monotonic()
            report(self._timeline.position / SAMPLE_RATE, self._declared_s)


def _choose(container: Any, track: int | None, name: str) -> Any:
    streams = list(container.streams.audio)
    if track is None:
        stream = default_track(streams)
    else:
        stream = next((s for s in streams if s.index == track), None)
        if stream is None:
            known = ", ".join(str(s.index) for s in streams) or "none"
            raise NoMediaError(f"{name}: there is no sound track {track} (there are: {known})")
    if stream is None or stream.codec_context is None:
        raise NoMediaError(f"{name}: no sound track that can be decoded")
    return stream


def _declared_s(container: Any, stream: Any) -> float:
    """Where the track should end, in seconds from the container's start; 0.0 if not known."""
    if stream.duration is not None and stream.duration > 0 and stream.time_base:
        lead = 0.0
        if stream.start_time is not None:
            lead = float(stream.start_time * stream.time_base) - start_time_s(container)
        return max(0.0, lead) + float(stream.duration * stream.time_base)
    if container.duration is not None and container.duration > 0:
        return float(container.duration) / _AV_TIME_BASE
    return 0.0


def _knows_own_end(container: Any, stream: Any) -> bool:
    """False where only the whole recording has a length: its sound may end before its picture."""
    return stream.duration is not None or "matroska" not in container.format.name
