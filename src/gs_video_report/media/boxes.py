"""Read the outer structure of a file without a decoder: is its end missing?

Sources: ISO/IEC 14496-12 (boxes), RFC 8794 and the Matroska specification (EBML), the RIFF
format, the Xing/VBRI headers of MP3. Only sizes are read, never content.
Never: raises for odd content (odd content is simply "not known to be cut short").
Raises: OSError as the operating system gives it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_MAX_BOXES = 200_000
_EBML_MAGIC = b"\x1a\x45\xdf\xa3"
_SEGMENT_ID = b"\x18\x53\x80\x67"
_MP3_HEAD_BYTES = 8_192


def is_cut_short(path: str | Path) -> bool:
    """True when the file is shorter than its own outer structure says.

    Knows MP4/MOV, Matroska/WebM, AVI/WAV/RIFF. False for everything else, and for recordings
    that were never finished (their sizes are marked unknown).
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(64)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"styp", b"free", b"wide", b"skip", b"moof"):
            return _boxes_exceed(file, size)
        if head.startswith(_EBML_MAGIC):
            return _segment_exceeds(head, size)
        if head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"WAVE"):
            declared = int.from_bytes(head[4:8], "little")
            return declared not in (0, 0xFFFFFFFF) and declared + 8 > size + 1
    return False


def _boxes_exceed(file: BinaryIO, size: int) -> bool:
    position = 0
    for _ in range(_MAX_BOXES):
        file.seek(position)
        header = file.read(16)
        if len(header) < 8 or not header[4:8].isalnum():
            return False  # the end, or appended data that is no box
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:
            return False  # 0: up to the end of the file
        position += length
        if position > size:
            return True
    return False


def _segment_exceeds(head: bytes, size: int) -> bool:
    header_size, used = _ebml_size(head, 4)
    segment = 4 + used + header_size
    if head[segment : segment + 4] != _SEGMENT_ID:
        return False
    length, used = _ebml_size(head, segment + 4)
    return length >= 0 and segment + 4 + used + length > size


def _ebml_size(data: bytes, at: int) -> tuple[int, int]:
    """(value, bytes used) of an EBML variable-length size; value -1 means unknown."""
    if at >= len(data) or data[at] == 0:
        return -1, 1
    used = 9 - data[at].bit_length()
    raw = int.from_bytes(data[at : at + used], "big") & ((1 << 7 * used) - 1)
    return (-1 if raw == (1 << 7 * used) - 1 else raw), used


def has_vbr_header(path: str | Path) -> bool:
    """True when an MP3 says how many frames it has (Xing, Info or VBRI header)."""
    with Path(path).open("rb") as file:
        head = file.read(10)
        skip = 0
        if head.startswith(b"ID3") and len(head) == 10:
            skip = 10 + _id3_size(head[6:])
        file.seek(skip)
        frame = file.read(_MP3_HEAD_BYTES)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def _id3_size(data: bytes) -> int:
    """Four bytes of seven bits each, most significant first."""
    value = 0
    for byte in data:
        value = value << 7 | byte & 0x7F
    return value
