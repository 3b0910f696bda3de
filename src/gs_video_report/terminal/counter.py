"""A line that counts on a terminal while a command reads or writes many reports; gone at the end.

Nothing is written where nobody looks on: in a pipe, with `--json`, with `--quiet`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_CLEAR = "\r\x1b[K"


@contextmanager
def counted(
    stream: TextIO, what: str, silent: bool = False
) -> Iterator[Callable[[int, int], None]]:
    """A function of (done, all) that shows both and `what` was done; the block clears the line.

    An error or an interrupt in the block finds a clean line, too.
    """
    if silent or not stream.isatty():
        yield lambda done, total: None
        return

    def told(done: int, total: int) -> None:
        stream.write(f"{_CLEAR}{done} of {total} {what} ")
        stream.flush()

    try:
        yield told
    finally:
        stream.write(_CLEAR)
        stream.flush()
