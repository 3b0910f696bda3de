"""The wire between coordinator and child: length-prefixed pickles over a socket pair.

A frame is four bytes of length (big endian) and one pickled tuple whose first item names it:

    to the child    ("call", id, "module:qualname", pickled args)
    from the child  ("ready",)
                    ("progress", id, done, total)
                    ("result", id, value, rss_bytes, peak_bytes)
                    ("error", id, error, rss_bytes, peak_bytes)      error: a GsvrError

Pickle is safe here only because both ends are this program, of one version and one user.
Pure: bytes in, tuples out.
Raises: FrameTooLarge.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from types import ModuleType, NoneType
from typing import Any

MAX_FRAME_BYTES = 256 * 1024 * 1024
_LENGTH = struct.Struct(">I")


class FrameTooLarge(ValueError):
    """An argument or result that should have been a path to a file."""


def encode(frame: tuple[Any, ...]) -> bytes:
    """The bytes of one frame. Raises: FrameTooLarge, or what pickle raises for odd values."""
    body = pickle.dumps(frame, protocol=pickle.HIGHEST_PROTOCOL)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameTooLarge(f"{len(body)} bytes are too many to send; pass a path instead")
    return _LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Turns chunks of any size back into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Any, ...]]:
        """Take bytes; yield the frames that are now complete, in order."""
        self._buffer += data
        while (body := self._next()) is not None:
            yield pickle.loads(body)  # noqa: S301  (both ends are this program)

    def _next(self) -> bytes | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_FRAME_BYTES:
            raise FrameTooLarge(f"a frame of {length} bytes was announced")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return body


def function_name(fn: Any) -> str:
    """The `module:qualname` under which a child imports `fn`.

    Raises: TypeError for lambdas, nested functions, methods of instances and `__main__`.
    """
    module = getattr(fn, "__module__", None)
    name = getattr(fn, "__qualname__", None)
    bound = not isinstance(getattr(fn, "__self__", None), NoneType | ModuleType)
    if not module or not name or module == "__main__" or "<" in name or bound:
        raise TypeError(f"{fn!r} is not an importable module-level function")
    return f"{module}:{name}"
