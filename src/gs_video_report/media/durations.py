"""How long a recording is, and when it starts.

Truth: what container and streams declare, unless the file is too small for it or has no header;
then the time stamps of its packets.
Never: decodes.
Raises: as `open_media()`.
"""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from gs_video_report.media.container import open_media, read_packets
from gs_video_report.progress import report

_RAW_FORMATS = frozenset({
    "aac", "ac3", "eac3", "dts", "dtshd", "truehd", "mlp", "amr", "amrnb", "amrwb", "h261", "h263",
    "h264", "hevc", "vvc", "m4v", "mpegvideo", "obu", "vc1", "dirac", "gsm", "g722", "loas",
})  # fmt: skip
"""Formats without a header: their duration is a guess from the bit rate until packets are read."""

_AV_TIME_BASE = 1_000_000


def start_time_s(container: Any) -> float:
    """Time stamp (seconds) that players show as 0:00; 0.0 when the container does not know it."""
    start = container.start_time
    return 0.0 if start is None else float(start) / _AV_TIME_BASE


def declared_duration(container: Any) -> float:
    """Seconds by the header; 0.0 when it does not say, or has none."""
    if container.format.name in _RAW_FORMATS:
        return 0.0
    if container.duration is not None and container.duration > 0:
        return float(container.duration) / _AV_TIME_BASE
    lengths = [
        float(s.duration * s.time_base)
        for s in container.streams
        if s.duration is not None and s.duration > 0 and s.time_base and s.type != "subtitle"
    ]
    return max(lengths, default=0.0)


def scan_duration(path: str) -> float:
    """Duration in seconds from the time stamps of all packets; 0.0 when there are none.

    Reads the whole file without decoding. For files whose header does not know the duration
    (recordings that were never finished, raw streams).
    """
    size = Path(path).stat().st_size
    first: float | None = None
    last = 0.0
    lengths: dict[int, float] = {}
    with open_media(path) as container:
        streams = [s for s in container.streams if s.type in ("video", "audio")]
        told = time.monotonic()
        for packet in read_packets(container, *streams):
            if packet is None:
                continue
            base = packet.time_base or Fraction(0)
            length = float((packet.duration or 0) * base)
            stamp = packet.pts if packet.pts is not None else packet.dts
            lengths[packet.stream_index] = lengths.get(packet.stream_index, 0.0) + length
            if stamp is not None:
                at = float(stamp * base)
                first = at if first is None else min(first, at)
                last = max(last, at + length)
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                report(float(packet.pos or 0), float(size))
    spanned = 0.0 if first is None else last - first
    if 0 < spanned <= longest_plausible_s(size):
        return spanned
    return max(lengths.values(), default=0.0)


def longest_plausible_s(size_bytes: int) -> float:
    """A recording of this size cannot last longer: an hour, or as long as 100 bits a second."""
    return max(3_600.0, size_bytes * 8 / 100)
