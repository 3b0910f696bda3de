"""Open recordings safely and turn the decoder's errors into ours.

Truth: a path is one local regular file. Only container formats in `FORMATS` are tried, and only
the `file` protocol is allowed, so that a playlist, a concat script or a manifest under a media
name can neither read other files nor reach the network.
Never: writes, guesses from the file name, follows references inside a file.
Raises: EmptyFileError, NoMediaError, FileMissingError, FileUnreadableError.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gs_video_report.errors import EmptyFileError, GsvrError, NoMediaError, from_os_error

FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,asf,asf_o,ogg,"
    "wav,w64,aiff,au,caf,voc,mp3,flac,aac,loas,ac3,eac3,dts,dtshd,truehd,mlp,amr,amrnb,amrwb,ape,"
    "wv,tta,tak,mpc,mpc8,oma,qcp,sox,rm,ivr,ivf,h261,h263,h264,hevc,vvc,m4v,obu,av1,vc1,dirac,dv,"
    "mxf,gxf,lxf,nut,wtv,nsv,nuv,pva,dhav,ty,yuv4mpegpipe,gsm,g722"
)
"""Demuxers that keep everything in one file. Left out on purpose: hls, dash, concat, sdp, rtsp,
image2 and the still-picture pipes, subtitle files, devices."""

_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
_HEAD_BYTES = 4096
_MAX_READ_ERRORS = 200
_DISCARD_ALL = 48  # AVDISCARD_ALL of libavcodec
_PLAYLIST_STARTS = (
    b"#extm3u",
    b"ffconcat",
    b"<mpd",
    b"[playlist]",
    b"<smil",
    b"<asx",
    b"[reference]",
)


def display_name(path: str | Path) -> str:
    """The base name for messages; bytes that are no UTF-8 become replacement characters."""
    return os.fsencode(Path(path).name).decode("utf-8", "replace")


def read_head(path: str | Path) -> bytes:
    """Check that `path` is a readable regular file with content; return its first bytes.

    Raises: FileMissingError, FileUnreadableError, NoMediaError (not a regular file),
        EmptyFileError.
    """
    name = display_name(path)
    try:
        facts = Path(path).stat()
        if not stat.S_ISREG(facts.st_mode):
            raise NoMediaError(f"{name}: this is a folder or a device, not a recording")
        if facts.st_size == 0:
            raise EmptyFileError(f"{name}: the file is empty (0 bytes)")
        with Path(path).open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise from_os_error(error, name) from error


def looks_like_text(head: bytes) -> bool:
    """True when the first bytes of a file are readable text: no NUL, hardly any control bytes."""
    sample = head[:1024]
    odd = sum(1 for byte in sample if byte < 32 and byte not in (9, 10, 12, 13))
    return bool(sample) and b"\0" not in sample and odd * 50 < len(sample)


def is_playlist(head: bytes) -> bool:
    """True for the text of a playlist, concat script or streaming manifest."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    manifest = text.startswith(b"<?xml") and any(
        tag in text for tag in (b"<mpd", b"<smil", b"<asx")
    )
    return text.startswith(_PLAYLIST_STARTS) or manifest


@contextmanager
def open_media(path: str | Path) -> Iterator[Any]:
    """Open `path` for demuxing; yields an `av.container.InputContainer`.

    Raises: as `read_head()`; NoMediaError when no allowed demuxer can read the header, or when
        the file is a playlist.
    """
    import av

    head = read_head(path)
    name = display_name(path)
    if is_playlist(head):
        raise NoMediaError(
            f"{name}: this is a playlist that points to other files, not a recording",
            hint="add the files it lists instead",
        )
    try:
        container = av.open(
            str(Path(path).absolute()), container_options=dict(_OPTIONS), metadata_errors="replace"
        )
    except (av.error.FFmpegError, IndexError, UnicodeError) as error:
        raise unreadable(name, head) from error
    try:
        yield container
    finally:
        container.close()


def unreadable(name: str, head: bytes) -> GsvrError:
    """The error for a file whose header no decoder understands."""
    if looks_like_text(head):
        return NoMediaError(f"{name}: this is a text file, not audio or video")
    return NoMediaError(f"{name}: not audio or video, or its header cannot be read")


def limit_threads(stream: Any) -> None:
    """One decoding thread: calls run side by side in processes that are sized to the cores."""
    stream.codec_context.thread_count = 1


def keep_only(container: Any, streams: tuple[Any, ...]) -> None:
    """Tell the demuxer to skip the data of all other streams (saves reading the pictures)."""
    wanted = {stream.index for stream in streams}
    for stream in container.streams:
        if stream.index not in wanted and hasattr(stream, "discard"):
            stream.discard = _DISCARD_ALL


def read_packets(container: Any, *streams: Any) -> Iterator[Any]:
    """All packets of `streams`; reading goes on behind damaged places.

    Yields None for a place that could not be read. Ends at the end of the file, or when reading
    fails `_MAX_READ_ERRORS` times in a row. The last packets are empty: they flush the decoders.
    """
    import av

    errors = 0
    while errors < _MAX_READ_ERRORS:
        try:
            for packet in container.demux(*streams):
                errors = 0
                yield packet
            return
        except (av.error.FFmpegError, IndexError):  # IndexError: a stream that appeared late
            errors += 1
            yield None
