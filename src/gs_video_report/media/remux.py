"""Put a picture file and a sound file into one Matroska file, without decoding either.

Sites keep the better pictures apart from the sound; joining them needs no ffmpeg program.
Truth: the packets of the inputs, in the order of their times.
Writes: the target, in place; the caller renames it.
Raises: what `media.container.open_media` raises; CorruptMediaError, DiskFullError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from gs_video_report.errors import CorruptMediaError, from_os_error
from gs_video_report.media.container import display_name, keep_only, open_media, read_packets
from gs_video_report.progress import report

_MILLISECONDS = Fraction(1, 1000)
_REPORT_EVERY = 2000
"""Packets."""


def join(
    video_path: str | Path,
    audio_path: str | Path,
    target: str | Path,
    chapters: Sequence[tuple[float, float, str]] = (),
    title: str = "",
) -> None:
    """Write `target` from the first picture stream and the first sound stream.

    Args:
        chapters: (start_s, end_s, title) to keep in the file.
    """
    import av

    with open_media(video_path) as pictures, open_media(audio_path) as sound:
        if not pictures.streams.video or not sound.streams.audio:
            raise CorruptMediaError(f"{display_name(video_path)}: no pictures or no sound in it")
        sources = (pictures.streams.video[0], sound.streams.audio[0])
        keep_only(pictures, sources[:1])
        keep_only(sound, sources[1:])
        try:
            with av.open(str(target), "w", format="matroska") as out:
                if title:
                    out.metadata["title"] = title
                streams = [out.add_stream_from_template(source) for source in sources]
                if chapters:
                    out.set_chapters(_chapters(chapters))
                packets = _merged(_timed(pictures, sources[0], 0), _timed(sound, sources[1], 1))
                for count, (_, index, packet) in enumerate(packets):
                    packet.stream = streams[index]
                    out.mux(packet)
                    if count % _REPORT_EVERY == 0:
                        report(0, 0)
        except av.error.FFmpegError as error:
            if isinstance(error, OSError) and error.errno in (28, 122):
                raise from_os_error(OSError(error.errno, ""), str(target), writing=True) from error
            raise CorruptMediaError(
                f"{display_name(video_path)}: pictures and sound cannot be joined"
            ) from error


def _timed(container: Any, stream: Any, index: int) -> Iterator[tuple[float, int, Any]]:
    for packet in read_packets(container, stream):
        if packet is not None and packet.dts is not None and packet.size:
            yield float(packet.dts * packet.time_base), index, packet


def _merged(*sources: Iterator[tuple[float, int, Any]]) -> Iterator[tuple[float, int, Any]]:
    import heapq

    return heapq.merge(*sources, key=lambda item: item[:2])


def _chapters(chapters: Sequence[tuple[float, float, str]]) -> list[Any]:
    return [
        {
            "id": number,
            "start": round(start_s * 1000),
            "end": max(round(start_s * 1000), round(end_s * 1000)),
            "time_base": _MILLISECONDS,
            "metadata": {"title": title},
        }
        for number, (start_s, end_s, title) in enumerate(chapters, start=1)
    ]
