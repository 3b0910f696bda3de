"""One locked file per working process: the kernel says who is alive.

Truth: a process is alive while its file `.<db name>.workers/<process id>.lock` beside the
database is flock'ed. The kernel drops the lock with the process, whatever ended it, so a dead
worker's tasks return at the next poll and a starved one is never taken for dead.
Order: a file is created, locked, then checked to be still the one with its name; a cleaner
unlinks only while it holds the lock itself. So nobody ever holds a lock on an unlinked file.
Never: opens the database (closing any descriptor of it would drop SQLite's own locks).
Raises: DatabaseReadOnly, DiskFullError.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import uuid
from pathlib import Path
from typing import Self

from gs_video_report.errors import DatabaseReadOnly, DiskFullError
from gs_video_report.files import is_at

OPEN_TRIES = 100
"""Looks at a folder that others may remove in between; a deleted working directory never opens."""

_held: dict[str, int] = {}
"""Process id words locked by this very process -> descriptor."""


def new_process_id() -> str:
    """`host-pid-uuid`: unique for ever, readable in the database."""
    host = re.sub(r"[^A-Za-z0-9.]+", "-", socket.gethostname())[:40].strip("-") or "host"
    return f"{host}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def process_of(worker_id: str) -> str:
    """The process part of a worker id: `lab3-4211-0f3a/w2` -> `lab3-4211-0f3a`."""
    return worker_id.partition("/")[0]


def workers_dir(db_path: Path) -> Path:
    """Where the lock files of a database live."""
    return db_path.with_name(f".{db_path.name}.workers")


def is_held_here(process_id: str) -> bool:
    """True when this process itself holds the lock of `process_id`."""
    return process_id in _held


def is_alive(db_path: Path, process_id: str) -> bool:
    """True while some process holds the lock of `process_id`. No file means dead."""
    if is_held_here(process_id):
        return True
    return not _try_remove(workers_dir(db_path) / f"{process_id}.lock", remove=False)


def remove_dead(db_path: Path) -> list[str]:
    """Unlink the lock files of processes that are gone; returns their ids. Never raises."""
    folder = workers_dir(db_path)
    try:
        files = sorted(folder.glob("*.lock"))
    except OSError:
        return []
    return [f.stem for f in files if not is_held_here(f.stem) and _try_remove(f, remove=True)]


def _try_remove(path: Path, *, remove: bool) -> bool:
    """True when nobody holds the lock of `path` (or it is not there)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return not path.exists()
    try:
        # Shared for a mere look: two lookers must not take each other for the owner.
        fcntl.flock(fd, (fcntl.LOCK_EX if remove else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        if not is_at(fd, path):  # taken away since it was opened, and perhaps made anew
            return not path.exists()
        if remove:
            path.unlink(missing_ok=True)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def open_lock_file(path: Path) -> int:
    """A descriptor of the file, made with its folder if needed; not locked yet.

    Raises: DatabaseReadOnly, DiskFullError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    left = OPEN_TRIES
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, flags, 0o644)
        except OSError as error:
            left -= 1
            if left and isinstance(error, FileNotFoundError):
                continue  # a process that ended in between removed the empty folder
            where = path.parent
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(f"{where}: no space left on the disk") from error
            raise DatabaseReadOnly(f"{where}: cannot be written ({error.strerror})") from error


class ProcessLock:
    """Says "I am alive" to every other process on the same database, until closed or killed.

    Args:
        db_path: the database file; it need not exist yet.
        process_id: only for tests; by default a new unique one.
    """

    def __init__(self, db_path: Path, process_id: str | None = None) -> None:
        self.process_id = process_id or new_process_id()
        self.path = workers_dir(db_path) / f"{self.process_id}.lock"
        self._fd: int | None = None

    def worker_id(self, slot: int) -> str:
        """The id of worker number `slot` of this process: `<process id>/w<slot>`."""
        return f"{self.process_id}/w{slot}"

    def acquire(self) -> Self:
        """Create and lock the file. Idempotent.

        Raises:
            DatabaseReadOnly: the folder beside the database cannot be written.
            DiskFullError: no space for the file.
        """
        while self._fd is None:
            fd = open_lock_file(self.path)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if is_at(fd, self.path):
                self._fd = _held[self.process_id] = fd
            else:  # a cleaner unlinked it between open and lock
                os.close(fd)
        return self

    def close(self) -> None:
        """Remove the file and let go. Idempotent; tasks still leased return at the next poll."""
        fd, self._fd = self._fd, None
        if fd is None or _held.pop(self.process_id, None) is None:
            return
        with contextlib.suppress(OSError):
            self.path.unlink()
        with contextlib.suppress(OSError):  # not empty, or already gone
            self.path.parent.rmdir()
        os.close(fd)

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.close()


def _forget_in_child() -> None:
    """A forked child shares the open file and would keep the lock alive after its parent."""
    for fd in _held.values():
        with contextlib.suppress(OSError):
            os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)
