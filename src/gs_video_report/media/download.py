"""Download one plain http(s) file; a cut download goes on where it stopped.

Truth, in the folder of the download: `content` is complete and on the disk; `content.part` is a
beginning of what `content.json` describes (address, length, ETag, Last-Modified).
A beginning is only continued when the server proves that the file is still the same; else it
starts afresh. After a restart of the machine only what was synced counts.
Writes: those three files and `lock`; one process at a time.
Never: trusts a declared length, fills the disk, decodes anything, follows a link to a private
network (net_guard).
Raises: DownloadError, DownloadRefused, BlockedAddressError, NoMediaError, UnsupportedInputError,
DiskFullError, OutputNotWritable.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from gs_video_report import files
from gs_video_report.errors import (
    DiskFullError,
    DownloadError,
    DownloadRefused,
    EmptyFileError,
    NoMediaError,
    from_os_error,
)
from gs_video_report.media.download_settings import DownloadSettings
from gs_video_report.media.http_client import Reply, open_url, shown
from gs_video_report.media.sniff import HEAD_BYTES, MEDIA, OTHER, Sniffed, file_name, sniff
from gs_video_report.progress import report

BLOCK_BYTES = 256 * 1024
SYNC_BYTES = 32 << 20
"""The disk is synced, and the state noted, after so many bytes."""
PROGRESS_BYTES = 64 * 1024
"""A connection that brought less than this before it broke made no progress."""
MIN_RATE = 256
"""Bytes per second below which a server is taken for stuck."""
RATE_WINDOW_S = 60.0
FREE_RESERVE_BYTES = 200_000_000
"""Stays free on the disk."""
LOCK_POLL_S = 0.5
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)\s*\Z")


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


# --- asking ------------------------------------------------------------------------------------


def look(url: str, settings: DownloadSettings) -> Remote:
    """Ask for `url` and read its first bytes only.

    Raises: NoMediaError when it is neither a recording nor a page that may hold one; what
        `open_url` raises.
    """
    with open_url(url, settings.policy) as reply:
        head = _read_head(reply, url)
        found = sniff(head, reply.headers.get("content-type", ""))
        return _remote(url, reply, found)


def _read_head(reply: Reply, url: str) -> bytes:
    """The first bytes. Raises: EmptyFileError; DownloadError when the answer broke off at once."""
    head = b""
    while len(head) < HEAD_BYTES:
        block = reply.read(HEAD_BYTES - len(head))
        if not block:
            break
        head += block
    if not head and _whole_length(reply):
        raise DownloadError(f"{shown(url)}: the connection was cut before the first byte")
    if not head:
        raise EmptyFileError(f"{shown(url)}: the file is empty")
    return head


def _remote(url: str, reply: Reply, found: Sniffed) -> Remote:
    if found.kind == OTHER:
        raise NoMediaError(
            f"{shown(url)}: this is {found.what}, not a recording",
            hint="give the address of the video itself",
        )
    headers = reply.headers
    name = file_name(reply.url, headers.get("content-disposition", ""))
    return Remote(
        url=url,
        final_url=reply.url,
        kind=found.kind,
        name=name,
        suffix=found.suffix or _plain_suffix(name),
        total=_whole_length(reply),
        etag=headers.get("etag", "").strip(),
        last_modified=headers.get("last-modified", "").strip(),
    )


def _plain_suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,8}", suffix) else ""


def _whole_length(reply: Reply) -> int | None:
    """Bytes of the whole file, from either kind of answer."""
    if reply.status == 206:
        found = _CONTENT_RANGE.match(reply.headers.get("content-range", ""))
        return int(found[3]) if found and found[3] != "*" else None
    text = reply.headers.get("content-length", "").strip()
    return int(text) if re.fullmatch(r"\d{1,18}", text) else None


# --- fetching ----------------------------------------------------------------------------------


def download(url: str, folder: str | Path, settings: DownloadSettings) -> Downloaded:
    """Fetch `url` into `folder` (made if needed); a finished one there is returned as it is.

    A connection that breaks after it brought something is opened again at once.
    """
    place = _Place(Path(folder))
    with place.locked():
        done = place.finished(url)
        if done is not None:
            return done
        while True:
            before = place.part_size()
            try:
                return _attempt(url, place, settings)
            except DownloadError as error:
                if place.part_size() < before + PROGRESS_BYTES or "status" in error.data:
                    raise


def _attempt(url: str, place: _Place, settings: DownloadSettings) -> Downloaded:
    known = place.resumable(url)
    offset = place.part_size() if known is not None else 0
    with open_url(url, settings.policy, _range_headers(known, offset)) as reply:
        if reply.status == 416 and known is not None and known.total == offset:
            return place.finish(known)
        if reply.status == 206 and known is not None and _continues(reply, known, offset):
            return _receive(reply, place, known, offset, settings)
        if reply.status == 200:
            return _begin(url, reply, place, settings)
    if known is None:
        raise DownloadRefused(f"{shown(url)}: the server sends something else than the whole file")
    place.forget()  # the file has changed, or the server cannot continue: from the beginning
    with open_url(url, settings.policy) as reply:
        return _begin(url, reply, place, settings)


def _range_headers(known: Remote | None, offset: int) -> dict[str, str]:
    """Ask for the rest, but only of the same file (RFC 9110, 13.1.5: no weak tag in If-Range)."""
    if known is None or offset == 0:
        return {}
    headers = {"Range": f"bytes={offset}-"}
    if known.etag and not known.etag.startswith("W/"):
        headers["If-Range"] = known.etag
    elif known.last_modified and not known.etag:
        headers["If-Range"] = known.last_modified
    return headers


def _continues(reply: Reply, known: Remote, offset: int) -> bool:
    """Whether a partial answer is the rest of exactly the file that was begun."""
    found = _CONTENT_RANGE.match(reply.headers.get("content-range", ""))
    if found is None or int(found[1]) != offset:
        return False
    same_length = found[3] == "*" or known.total is None or int(found[3]) == known.total
    etag = reply.headers.get("etag", "").strip()
    modified = reply.headers.get("last-modified", "").strip()
    same_tag = (etag or known.etag) == known.etag
    same_time = (modified or known.last_modified) == known.last_modified
    return same_length and same_tag and same_time


def _begin(url: str, reply: Reply, place: _Place, settings: DownloadSettings) -> Downloaded:
    if reply.status != 200:
        raise DownloadError(f"{shown(url)}: the server sends a part that was not asked for")
    head = _read_head(reply, url)
    remote = _remote(url, reply, sniff(head, reply.headers.get("content-type", "")))
    if remote.kind != MEDIA:
        raise NoMediaError(f"{shown(url)}: this is a web page or a playlist, not a recording")
    if reply.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        raise DownloadRefused(f"{shown(url)}: the server compresses the file")
    place.begin(remote, head)
    return _receive(reply, place, remote, len(head), settings)


def _receive(
    reply: Reply, place: _Place, remote: Remote, offset: int, settings: DownloadSettings
) -> Downloaded:
    """Append the rest of the answer from `offset` on, then finish."""
    _check_room(remote, offset, place.folder, settings)
    pace = Pace(settings.limit_rate, time.monotonic())
    done, synced = offset, offset
    with place.appending() as file:
        report(done, remote.total or 0)
        while block := reply.read(_block_bytes(settings)):
            done += len(block)
            if done > settings.max_bytes:
                raise _too_large(remote.url, done, settings)
            _write(file, block, place)
            if done - synced >= SYNC_BYTES:
                place.sync(file, remote, done)
                _check_room(remote, done, place.folder, settings)
                synced = done
            report(done, remote.total or 0)
            _keep_pace(pace, len(block), remote.url)
    if remote.total is not None and done != remote.total:
        if done > remote.total:
            place.forget()
        raise DownloadError(
            f"{shown(remote.url)}: the connection was cut after {done} of {remote.total} bytes"
        )
    return place.finish(replace(remote, total=done))


def _block_bytes(settings: DownloadSettings) -> int:
    """Small enough that a limited rate is smooth."""
    if settings.limit_rate is None:
        return BLOCK_BYTES
    return max(1024, min(BLOCK_BYTES, settings.limit_rate // 4))


def _write(file: BinaryIO, block: bytes, place: _Place) -> None:
    try:
        file.write(block)
    except OSError as error:
        raise from_os_error(error, str(place.folder), writing=True) from error


def _check_room(remote: Remote, done: int, folder: Path, settings: DownloadSettings) -> None:
    """Refuse what is too large before it is here; stop before the disk is full."""
    if remote.total is not None and remote.total > settings.max_bytes:
        raise _too_large(remote.url, remote.total, settings)
    rest = 0 if remote.total is None else max(0, remote.total - done)
    free = shutil.disk_usage(folder).free
    if rest + FREE_RESERVE_BYTES > free:
        raise DiskFullError(
            f"{shown(remote.url)}: {rest} bytes are to come, and only {free} are free in {folder}"
        )


def _too_large(url: str, size: int, settings: DownloadSettings) -> DownloadRefused:
    return DownloadRefused(
        f"{shown(url)}: {size} bytes are more than the limit of {settings.max_bytes}",
        hint="raise download: max_bytes in the configuration",
        reason="too_large",
    )


# --- pace --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pace:
    """How fast a download is and may be; pure, the clock is passed in."""

    limit_rate: int | None
    """Bytes per second."""
    started: float
    received: int = 0
    _window_started: float = -1.0
    _window_bytes: int = 0

    def wait_s(self, size: int, now: float) -> float:
        """Note `size` bytes received now; seconds to wait so that the limit holds on average."""
        self.received += size
        if self.limit_rate is None:
            return 0.0
        return max(0.0, self.started + self.received / self.limit_rate - now)

    def is_stuck(self, size: int, now: float) -> bool:
        """Whether the last whole window brought less than MIN_RATE."""
        if self._window_started < 0:
            self._window_started = self.started
        self._window_bytes += size
        if now - self._window_started < RATE_WINDOW_S:
            return False
        slow = self._window_bytes < MIN_RATE * (now - self._window_started)
        self._window_started, self._window_bytes = now, 0
        return slow and (self.limit_rate is None or self.limit_rate > MIN_RATE)


def _keep_pace(pace: Pace, size: int, url: str) -> None:
    now = time.monotonic()
    if pace.is_stuck(size, now):
        raise DownloadError(f"{shown(url)}: the server sends less than {MIN_RATE} bytes a second")
    wait_s = pace.wait_s(size, now)
    if wait_s > 0:
        time.sleep(wait_s)


# --- the folder --------------------------------------------------------------------------------


class _Place:
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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise from_os_error(error, str(folder), writing=True) from error
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                report(0, 0)
                time.sleep(LOCK_POLL_S)
        yield


def boot_id() -> str:
    """Differs after a restart of the machine; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
