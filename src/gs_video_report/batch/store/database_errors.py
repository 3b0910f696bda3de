"""What SQLite and the file system say about the database, in our own error classes.

Pure but for looking at free space and the mount table.
Never: opens the database file (closing a descriptor of it would drop SQLite's locks).
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from gs_video_report.errors import (
    DatabaseCorrupt,
    DatabaseError,
    DatabaseOnNetwork,
    DatabaseReadOnly,
    DiskFullError,
    GsvrError,
    QueueBusy,
)

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afpfs", "afs", "ncpfs",
        "davfs", "webdav", "fuse.sshfs", "fuse.davfs2", "fuse.rclone", "fuse.smbnetfs",
    }
)  # fmt: skip
_NEARLY_FULL_BYTES = 256 * 1024
"""Below this an I/O error is taken for a full disk: SQLite cannot grow its shared memory."""
_PRIMARY = 0xFF
"""The low byte of an extended result code is the primary one."""


def translate(error: sqlite3.Error, path: Path) -> Exception:
    """Our error for a SQLite one; errors of our own statements come back unchanged.

    Args:
        error: the cause; raise the result `from` it.
        path: the database, for the sentence.
    """
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & _PRIMARY
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DatabaseCorrupt(f"{path}: the file is damaged or not a database ({error})")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return QueueBusy(f"{path}: another program keeps the database locked")
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return _not_writable(path)
    if primary == sqlite3.SQLITE_FULL:
        return DiskFullError(f"{path}: no space left on the disk")
    if primary == sqlite3.SQLITE_IOERR:
        return _io_error(error, path)
    return error


def _not_writable(path: Path) -> GsvrError:
    if path.is_dir():
        return DatabaseReadOnly(f"{path}: is a folder", hint="name a file with --db")
    if _nearly_full(path):
        return DiskFullError(f"{path}: no space left on the disk")
    return DatabaseReadOnly(f"{path}: the database or its folder cannot be written")


def _io_error(error: sqlite3.Error, path: Path) -> GsvrError:
    if _nearly_full(path):
        return DiskFullError(f"{path}: no space left on the disk")
    name = getattr(error, "sqlite_errorname", "SQLITE_IOERR")
    return DatabaseError(
        f"{path}: the disk reported an input/output error ({name})",
        hint="check the disk, then run the same command again; finished work is kept",
    )


def _nearly_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _NEARLY_FULL_BYTES
    except OSError:
        return False


def refuse_network(path: Path) -> None:
    """Raise `DatabaseOnNetwork` when the folder of `path` lies on a network file system."""
    import psutil

    mounts = ((m.mountpoint, m.fstype) for m in psutil.disk_partitions(all=True))
    kind = file_system_of(path.parent.resolve(), mounts)
    if kind.lower() in NETWORK_FILE_SYSTEMS:
        raise DatabaseOnNetwork(f"{path}: lies on a network file system ({kind})")


def file_system_of(folder: Path, mounts: Iterable[tuple[str, str]]) -> str:
    """Type of the file system that holds `folder`: the longest mount point wins, then the last.

    Args:
        folder: absolute and resolved.
        mounts: (mount point, type) in the order of the mount table. No match gives "".
    """
    best, kind = -1, ""
    for point, fstype in mounts:
        if folder.is_relative_to(point) and len(Path(point).parts) >= best:
            best, kind = len(Path(point).parts), fstype
    return kind
