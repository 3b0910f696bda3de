"""The folder of one plain download: what is there of it, and whether that can be continued.

Truth: `content` is complete and on the disk; `content.part` is a beginning of what `content.json`
describes (address, length, ETag, Last-Modified). After a restart of the machine only those bytes
of a part count that were synced.
Writes: those three files and `lock`; one process at a time.
Never: opens a connection.
Raises: DiskFullError, OutputNotWritable.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO

from gs_video_report import files
from gs_video_report.errors import from_os_error
from gs_video_report.progress import report

LOCK_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Remote:
    """What a server says about a file."""

    url: str
    """As asked for."""
    final_url: str
    kind: str
    """`media`, `page` or `playlist`; see `sniff`."""
    name: str
    """File name; may be empty."""
    suffix: str
    """Such as `.mp4`; empty when unknown."""
    total: int | None
    """Bytes; None when the server does not say."""
    etag: str = ""
    last_modified: str = ""

    @property
    def version(self) -> str:
        """Changes when the file does; empty when the server gives no way to tell."""
        return self.etag or (f"{self.last_modified} {self.total}" if self.last_modified else "")


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A complete file."""

    path: str
    size_bytes: int
    remote: Remote


class DownloadFolder:
    """The folder of one download; see the header of the module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._whole = folder / "content"
        self._part = folder / "content.part"
        self._state = folder / "content.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone in the folder; waits while another process downloads, telling that it lives."""
        with locked_folder(self.folder):
            yield

    def finished(self, url: str) -> Downloaded | None:
        """A complete download of `url` from an earlier call."""
        state = self._read_state()
        if state is None or not self._whole.is_file():
            return None
        remote = Remote(**state["remote"])
        size = self._whole.stat().st_size
        if remote.url != url or remote.total != size:
            return None
        return Downloaded(str(self._whole), size, remote)

    def resumable(self, url: str) -> Remote | None:
        """What the part belongs to, if it can be continued safely."""
        state = self._read_state()
        if state is None or not self._part.is_file():
            return None
        remote = Remote(**state["remote"])
        if remote.url != url or not (remote.etag or remote.last_modified):
            return None
        if state["boot"] != boot_id():  # what was not synced may be zeros now
            with self._part.open("r+b") as file:
                file.truncate(min(int(state["synced"]), self.part_size()))
        return remote if self.part_size() else None

    def part_size(self) -> int:
        """Bytes that are there; 0 without a part."""
        try:
            return self._part.stat().st_size
        except OSError:
            return 0

    def begin(self, remote: Remote, head: bytes) -> None:
        """Start afresh with the first bytes."""
        self.forget()
        self._write_state(remote, 0)
        try:
            self._part.write_bytes(head)
        except OSError as error:
            raise from_os_error(error, str(self.folder), writing=True) from error

    @contextmanager
    def appending(self) -> Iterator[BinaryIO]:
        """The part, open at its end."""
        try:
            file = self._part.open("ab")
        except OSError as error:
            raise from_os_error(error, str(self.folder), writing=True) from error
        with file:
            yield file

    def sync(self, file: BinaryIO, remote: Remote, size: int) -> None:
        """Bring the part to the disk and note how far that is."""
        try:
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise from_os_error(error, str(self.folder), writing=True) from error
        self._write_state(remote, size)

    def finish(self, remote: Remote) -> Downloaded:
        """The part is whole: bring it to the disk and give it its name."""
        size = self.part_size()
        remote = replace(remote, total=size)
        with self.appending() as file:
            self.sync(file, remote, size)
        self._part.replace(self._whole)
        files.fsync_dir(self.folder)
        return Downloaded(str(self._whole), size, remote)

    def forget(self) -> None:
        """Drop what is there."""
        for path in (self._part, self._whole, self._state):
            path.unlink(missing_ok=True)

    def _write_state(self, remote: Remote, synced: int) -> None:
        value = {"v": 1, "remote": asdict(remote), "synced": synced, "boot": boot_id()}
        files.write_atomic(self._state, json.dumps(value))

    def _read_state(self) -> Mapping[str, Any] | None:
        """None when there is none, or none that can be understood."""
        try:
            value = json.loads(self._state.read_text(encoding="utf-8"))
            Remote(**value["remote"])
            return value if value["v"] == 1 and isinstance(value["synced"], int) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold `folder` (made if needed) alone; waits for the holder, which may be downloading.

    Raises: OutputNotWritable, DiskFullError.
    """
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / "lock").open("a")
        except FileNotFoundError:  # `discard_folder` was faster
            continue
        except OSError as error:
            raise from_os_error(error, str(folder), writing=True) from error
        with lock:
            while not _try_lock(lock):
                report(0, 0)
                time.sleep(LOCK_POLL_S)
            if files.is_at(lock.fileno(), folder / "lock"):
                yield
                return


def discard_folder(folder: Path) -> None:
    """Remove `folder`, unless somebody holds it: that one still needs it, and removes it then.

    Who waits for the folder gets a fresh one. Quiet if there is none, or it cannot be removed.
    """
    try:
        lock = (folder / "lock").open("r+")
    except OSError:
        with suppress(OSError):
            folder.rmdir()  # nobody was ever in it
        return
    with lock:
        if _try_lock(lock) and files.is_at(lock.fileno(), folder / "lock"):
            shutil.rmtree(folder, ignore_errors=True)


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def boot_id() -> str:
    """Differs after a restart of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
