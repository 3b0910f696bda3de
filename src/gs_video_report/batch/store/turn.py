"""Writers of all processes on one database take turns: one transaction, one checkpoint at a time.

Truth: the kernel's lock (flock(2)) on `.<db name>.workers/turn`, which ends with its process.
SQLite would keep writers apart by itself, but up to 3.51.2 a checkpoint of one connection beside a
write of another can damage the file (the WAL-reset bug, https://sqlite.org/wal.html), and whoever
waits for its lock sleeps up to a tenth of a second at a time.
True here: waits in the writer's thread only, and not for ever: a process that was stopped in the
middle of its turn keeps it.
Never: opens the database.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from types import TracebackType

_QUICK_S, _QUICK_PAUSE_S = 0.05, 0.0002
"""At first a turn is over in about a millisecond, and the next writer must not miss the gap."""
_PAUSE_S = 0.002


class Turn:
    """A place in the line of writers.

    Args:
        fd: of the file that all lock; closed by `close()`.
        patience_s: seconds to wait for one's turn; may be changed while somebody waits.
    """

    def __init__(self, fd: int, patience_s: float) -> None:
        self._fd = fd
        self.patience_s = patience_s
        self.writer: threading.Thread | None = None
        """Whose turns these are; while it lives, the file must stay open."""

    @property
    def in_use(self) -> bool:
        """The writer's thread may still take its turn."""
        return self.writer is not None and self.writer.is_alive()

    def take(self) -> None:
        """Wait for the turn.

        Raises: sqlite3.OperationalError with SQLite's own code for "busy", after `patience_s`.
        """
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                waited_s = time.monotonic() - began
            if waited_s > self.patience_s:
                raise _busy()
            time.sleep(_QUICK_PAUSE_S if waited_s < _QUICK_S else _PAUSE_S)

    def leave(self) -> None:
        """Let the next one write. Harmless without a turn."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; not to be used any more."""
        os.close(self._fd)

    def __enter__(self) -> None:
        self.take()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


def _busy() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("another process is writing")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    error.sqlite_errorname = "SQLITE_BUSY"
    return error
