"""The bytes of a checkpoint: self-contained, streamed, verified.

Layout: magic `GSVRCKPT`, version (u16), flags (u16, 0), header length (u32), header (msgpack
map), body (one zstd frame of msgpack objects), trailer (length of all before it u64, SHA-256
of all before it, `GSVREND` and a newline). All numbers are big-endian.
The header is small and plain, so that listing does not unpack the body. The trailer comes last,
so that a file cut short is told from an altered one.
Never: replaces or deletes a file; reads a whole file into memory.
Raises: CheckpointError.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gs_video_report.errors import CheckpointError

MAGIC = b"GSVRCKPT"
END_MAGIC = b"GSVREND\n"
VERSION = 1
ZSTD_LEVEL = 3
_HEAD = struct.Struct(">8sHHI")
_TRAILER = struct.Struct(">Q32s8s")
_BLOCK_BYTES = 1024 * 1024
_MAX_HEADER_BYTES = 1024 * 1024
_MAX_OBJECT_BYTES = 256 * 1024 * 1024


class CheckpointWriter:
    """Writes one checkpoint to an open binary file, front to back. Call `finish()` at the end."""

    def __init__(self, file: BinaryIO, header: dict[str, Any]) -> None:
        import msgpack  # type: ignore[import-untyped, unused-ignore]
        import zstandard

        self._file = file
        self._digest = hashlib.sha256()
        self._length = 0
        self._packer = msgpack.Packer(unicode_errors="surrogatepass")
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
        packed = self._packer.pack(header)
        self._put(_HEAD.pack(MAGIC, VERSION, 0, len(packed)) + packed)

    def add(self, value: Any) -> None:
        """Append one msgpack-able object to the body."""
        self._put(self._compressor.compress(self._packer.pack(value)))

    def finish(self) -> str:
        """End the body and write the trailer; returns the SHA-256 as hexadecimal digits."""
        self._put(self._compressor.flush())
        digest = self._digest
        self._file.write(_TRAILER.pack(self._length, digest.digest(), END_MAGIC))
        return digest.hexdigest()

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._length += len(data)


def verify(path: Path) -> dict[str, Any]:
    """Check the whole file and return its header; flat memory.

    Raises:
        CheckpointError: not a checkpoint, cut short, altered, newer, or unreadable.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(file, path)
            length, expected = _read_trailer(file, path)
            if _digest_of(file, length) != expected:
                raise CheckpointError(
                    f"{path.name}: the checkpoint was altered after it was written"
                )
            return header
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointError(f"{path.name}: the checkpoint cannot be read ({reason})") from error


def read_objects(path: Path) -> Iterator[Any]:
    """The objects of the body, in order, streamed. Call `verify()` first.

    Raises:
        CheckpointError: the body does not unpack.
    """
    import msgpack  # type: ignore[import-untyped, unused-ignore]
    import zstandard

    unpacker = msgpack.Unpacker(
        unicode_errors="surrogatepass", max_buffer_size=_MAX_OBJECT_BYTES, strict_map_key=False
    )
    try:
        with path.open("rb") as file:
            _read_header(file, path)
            for block in zstandard.ZstdDecompressor().read_to_iter(file, _BLOCK_BYTES):
                unpacker.feed(block)
                yield from unpacker
    except (OSError, ValueError, zstandard.ZstdError, msgpack.UnpackException) as error:
        raise CheckpointError(f"{path.name}: the checkpoint does not unpack ({error})") from error


def _read_header(file: BinaryIO, path: Path) -> dict[str, Any]:
    import msgpack  # type: ignore[import-untyped, unused-ignore]

    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise _cut_short(path)
    magic, version, _, length = _HEAD.unpack(head)
    if magic != MAGIC:
        raise CheckpointError(f"{path.name}: is not a gsvr checkpoint")
    if version > VERSION:
        raise CheckpointError(
            f"{path.name}: the checkpoint is from a newer gsvr (format {version})",
            hint="upgrade gsvr, or use an older checkpoint: gsvr batch checkpoints",
        )
    packed = file.read(min(length, _MAX_HEADER_BYTES))
    if len(packed) < length:
        raise _cut_short(path)
    try:
        header = msgpack.unpackb(packed, unicode_errors="surrogatepass")
    except ValueError as error:
        raise CheckpointError(f"{path.name}: the checkpoint was altered") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path.name}: the checkpoint was altered")
    return header


def _read_trailer(file: BinaryIO, path: Path) -> tuple[int, bytes]:
    size = file.seek(0, os.SEEK_END)
    if size < _HEAD.size + _TRAILER.size:
        raise _cut_short(path)
    file.seek(size - _TRAILER.size)
    length, digest, end = _TRAILER.unpack(file.read(_TRAILER.size))
    if end != END_MAGIC or length != size - _TRAILER.size:
        raise _cut_short(path)
    return length, digest


def _digest_of(file: BinaryIO, length: int) -> bytes:
    digest, left = hashlib.sha256(), length
    file.seek(0)
    while left > 0 and (block := file.read(min(_BLOCK_BYTES, left))):
        digest.update(block)
        left -= len(block)
    return digest.digest()


def _cut_short(path: Path) -> CheckpointError:
    return CheckpointError(f"{path.name}: the checkpoint is cut short or was altered at its end")
