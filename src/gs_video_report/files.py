"""Write files so that a reader sees the old content or the new one, never half of it.

Truth: a file that exists under its final name is complete and on the disk.
Writes: `.gsvr-<host>-<pid>-<random>.tmp` beside the target, then flush, fsync, rename, fsync of
the folder.
Never: leaves a temporary file behind after an error; follows a final symbolic link (the link
itself is replaced); decides where anything belongs.
Raises: DiskFullError, OutputNotWritable when writing; FileMissingError, FileUnreadableError
when reading.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from gs_video_report.errors import from_os_error

TEMP_PREFIX = ".gsvr-"
TEMP_SUFFIX = ".tmp"
COPY_BYTES = 1024 * 1024
_CLOCK_SLACK_S = 5.0
"""A process that started this much after a file was last written is not its writer."""
_SQLITE_MAGIC = b"SQLite format 3\0"
_SQLITE_ENDS = ("-wal", "-shm", "-journal")
_NO_DIRECTORY_FSYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replace `path` by `data` durably; text is written as UTF-8 with `\\n` line ends.

    Missing folders are created. Lone surrogates (file names that are not UTF-8) become `?`.

    Raises: DiskFullError, OutputNotWritable. `path` is then as it was before.
    """
    content = data if isinstance(data, bytes) else data.encode("utf-8", errors="replace")
    with atomic_file(path) as file:
        file.write(content)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on a clean exit it becomes `path`, else it is removed.

    Missing folders are created. The mode follows the umask.

    Raises: DiskFullError, OutputNotWritable for errors of the file itself; an error raised by
        the body that is not an OSError passes unchanged.
    """
    temp: Path | None = None
    try:
        make_dirs(path.parent)
        temp, file = _open_temp(path.parent)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, path)  # noqa: PTH105  (the same call, and this file's point)
        temp = None
        fsync_dir(path.parent)
    except OSError as error:
        raise from_os_error(error, str(path), writing=True) from error
    finally:
        if temp is not None:
            with suppress(OSError):
                temp.unlink()


def copy_atomic(source: Path, target: Path) -> None:
    """Copy the bytes of `source` to `target` in the manner of `write_atomic`; flat memory.

    Raises: FileMissingError, FileUnreadableError for the source; DiskFullError,
        OutputNotWritable for the target.
    """
    with open_for_reading(source) as reader, atomic_file(target) as writer:
        for block in read_blocks(reader, source):
            writer.write(block)


def sha256_file(path: Path) -> str:
    """SHA-256 of the content as 64 lower-case hexadecimal digits; flat memory.

    Raises: FileMissingError, FileUnreadableError.
    """
    digest = hashlib.sha256()
    with open_for_reading(path) as file:
        for block in read_blocks(file, path):
            digest.update(block)
    return digest.hexdigest()


def open_for_reading(path: Path) -> BinaryIO:
    """Open `path` for reading bytes. Raises: FileMissingError, FileUnreadableError."""
    try:
        return path.open("rb")
    except OSError as error:
        raise from_os_error(error, str(path)) from error


def read_blocks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The rest of an open file, in blocks. Raises: FileUnreadableError, named after `path`."""
    while True:
        try:
            block = file.read(COPY_BYTES)
        except OSError as error:
            raise from_os_error(error, str(path)) from error
        if not block:
            return
        yield block


def make_dirs(path: Path) -> None:
    """Create a folder and its missing parents durably. Raises: OSError, untranslated."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        if path == path.parent:
            break
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        fsync_dir(folder.parent)


def fsync_dir(path: Path) -> None:
    """Make renames and new names in a folder durable; quiet where a file system cannot.

    Raises: OSError, untranslated.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_FSYNC:
            raise
    finally:
        os.close(descriptor)


def temp_name(folder: Path) -> Path:
    """A fresh name for a temporary file in `folder`; nothing is created."""
    owner = f"{_host()}-{os.getpid()}"
    return folder / f"{TEMP_PREFIX}{owner}-{secrets.token_hex(6)}{TEMP_SUFFIX}"


def is_temp_name(name: str) -> bool:
    """Whether a file name is one of ours, left behind by a killed process."""
    return name.startswith(TEMP_PREFIX) and name.endswith(TEMP_SUFFIX)


def _open_temp(folder: Path) -> tuple[Path, BinaryIO]:
    """A new file in `folder`. Not `tempfile`: its mode 0600 would stick to the report."""
    temp = temp_name(folder)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return temp, os.fdopen(os.open(temp, flags, 0o666), "r+b")


def _host() -> str:
    """Eight digits that tell this machine from others that share a folder."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def is_database(path: Path, in_use: Path) -> bool:
    """True when writing to `path` would destroy a SQLite database, or the files beside one.

    Args:
        in_use: the database of this process. It is told by its names and its place on disk and
            never opened: closing it again would drop the locks that SQLite holds on it.
    """
    if _place(path) in {_place(in_use)} | {_place(in_use, end) for end in _SQLITE_ENDS}:
        return True
    try:
        if in_use.exists() and path.samefile(in_use):
            return True
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError:
        return False


def _place(path: Path, end: str = "") -> str:
    return os.path.realpath(path) + end


def is_at(fd: int, path: Path) -> bool:
    """Whether the open file is still the one of that name: others may have removed or renamed it.

    False also when the name cannot be looked at.
    """
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def sweep_temps(root: Path) -> int:
    """Remove temporary files below `root` whose writer was killed; returns how many.

    Only files of this machine whose process is gone: a live writer is never disturbed. What
    cannot be looked at or removed is left alone.
    """
    mine = f"{TEMP_PREFIX}{_host()}-"
    removed = 0
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(mine) and name.endswith(TEMP_SUFFIX):
                with suppress(OSError):
                    path = Path(folder) / name
                    if _is_orphan(path, name.removeprefix(mine)):
                        path.unlink()
                        removed += 1
    return removed


def _is_orphan(path: Path, rest: str) -> bool:
    """Whether the writer is gone; ids come round, so a live one may be a stranger, or a thread.

    Raises: OSError, when the file is gone meanwhile.
    """
    pid = rest.partition("-")[0]
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    import psutil

    if not psutil.pid_exists(int(pid)):  # the id of a thread, which a signal reaches, too
        return True
    try:
        process = psutil.Process(int(pid))
        started = process.create_time()
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
    return started > path.stat().st_mtime + _CLOCK_SLACK_S
