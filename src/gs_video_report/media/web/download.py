"""Download one plain http(s) file; a cut download goes on where it stopped.

Truth: the folder of the download, see download_folder.
A beginning is only continued when the server proves that the file is still the same; else it
starts afresh.
Writes: through `DownloadFolder` only; one process at a time.
Never: trusts a declared length, fills the disk, decodes anything, follows a link to a private
network (net_guard).
Raises: DownloadError, DownloadRefused, BlockedAddressError, NoMediaError, UnsupportedInputError,
DiskFullError, OutputNotWritable.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from gs_video_report.errors import (
    DiskFullError,
    DownloadError,
    DownloadRefused,
    EmptyFileError,
    NoMediaError,
    from_os_error,
)
from gs_video_report.media.sniff import HEAD_BYTES, MEDIA, OTHER, Sniffed, file_name, sniff
from gs_video_report.media.web.folder import Downloaded, DownloadFolder, Remote
from gs_video_report.media.web.http_client import Reply, open_url, shown
from gs_video_report.media.web.settings import DownloadSettings
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
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)\s*\Z")


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
    place = DownloadFolder(Path(folder))
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


def _attempt(url: str, place: DownloadFolder, settings: DownloadSettings) -> Downloaded:
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


def _begin(url: str, reply: Reply, place: DownloadFolder, settings: DownloadSettings) -> Downloaded:
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
    reply: Reply, place: DownloadFolder, remote: Remote, offset: int, settings: DownloadSettings
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


def _write(file: BinaryIO, block: bytes, place: DownloadFolder) -> None:
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
