"""A session of yt-dlp that keeps to our rules: guarded connections, errors in our words.

True here: every Python connection passes `net_guard.guarded_sockets`, redirects and media hosts
included; connection code that is not Python (curl, ffmpeg) is never used; plug-ins, configuration
files and proxies of yt-dlp are not used; a page that does not end is cut off. What stays outside
the guard: a JavaScript runtime that yt-dlp may start for YouTube. It computes; it is given no
addresses and no network is needed.
Never: writes.
Raises: DownloadError, DownloadRefused, BlockedAddressError, UnsupportedInputError.
"""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gs_video_report.errors import (
    DownloadRefused,
    GsvrError,
    UnsupportedInputError,
    from_os_error,
)
from gs_video_report.media.web import site_errors
from gs_video_report.media.web.http_client import READ_TIMEOUT_S, shown
from gs_video_report.media.web.net_guard import SocketGuard, check_url, guarded_sockets
from gs_video_report.media.web.settings import (
    FORMAT_SORT,
    DownloadSettings,
    check_cookies,
)
from gs_video_report.progress import report

INSTALL_HINT = "pip install 'gs-video-report[download]'"
_PYTHON_HANDLERS = frozenset({"Urllib", "Requests"})
"""yt-dlp's request handlers whose connections are Python sockets."""
_RUNTIMES: dict[str, dict[str, Any]] = {"deno": {}, "node": {}, "bun": {}, "quickjs": {}}
MAX_PAGE_BYTES = 64 << 20
"""Of a page, script or list that is read as a whole; videos are read in blocks."""
PAGE_BLOCK_BYTES = 256 * 1024
_NO_FFMPEG = "/nonexistent/ffmpeg"


def available() -> bool:
    """Whether yt-dlp is installed."""
    return importlib.util.find_spec("yt_dlp") is not None


@dataclass(slots=True)
class Session:
    """yt-dlp, opened for one address."""

    ydl: Any
    """`yt_dlp.YoutubeDL`."""
    guard: SocketGuard
    settings: DownloadSettings
    url: str
    before: int = 0
    """Bytes of the parts that are complete."""
    total: int = 0
    """Bytes of all parts, as far as the site says; 0 = unknown."""

    def progress(self, state: Mapping[str, Any]) -> None:
        """Hook of yt-dlp. Raises: DownloadRefused when it becomes too large."""
        done = self.before + int(state.get("downloaded_bytes") or 0)
        known = state.get("total_bytes") or state.get("total_bytes_estimate") or 0
        if max(done, self.before + int(state.get("total_bytes") or 0)) > self.settings.max_bytes:
            raise DownloadRefused(
                f"{shown(self.url)}: larger than the limit of {self.settings.max_bytes} bytes",
                hint="raise download: max_bytes in the configuration",
                reason="too_large",
            )
        report(done, max(self.total, self.before + int(known)) if known or self.total else 0)

    def info(self) -> dict[str, Any]:
        """What the site says about the one video, with the formats chosen.

        Raises: DownloadRefused for a list of videos; UnsupportedInputError for a page without one.
        """
        found = self.ydl.extract_info(self.url, download=False)
        if found and found.get("_type") == "playlist":
            found = _only_entry(self.url, found)
            if found.get("_type") in ("url", "url_transparent"):
                check_url(str(found.get("url") or ""))
                key = found.get("ie_key")
                found = self.ydl.extract_info(found["url"], download=False, ie_key=key)
        if not found or found.get("_type", "video") != "video":
            raise UnsupportedInputError(f"{shown(self.url)}: no video was found at this address")
        return dict(found)


class _Log:
    """Takes yt-dlp's messages: each is a sign of life, none is shown."""

    def debug(self, _: str) -> None:
        report(0, 0)

    info = warning = error = debug


@contextmanager
def open_session(
    url: str,
    settings: DownloadSettings,
    *,
    pictures: bool = True,
    more: Mapping[str, Any] | None = None,
) -> Iterator[Session]:
    """A session for `url`; whatever its body raises leaves as one of our errors.

    Args:
        pictures: choose a format with pictures; else the sound alone where it is apart.
        more: options of yt-dlp that differ from ours.
    """
    if not available():
        raise UnsupportedInputError(
            f"{shown(url)}: fetching videos from web pages needs a package that is not installed",
            hint=f"{INSTALL_HINT}, then: gsvr batch retry latest --failed",
        )
    check_url(url)
    report(0, 0)
    without_plugins()
    with guarded_sockets(settings.policy) as guard:
        try:
            options = {**_options(settings, pictures), **(more or {})}
            with _downloader(options | _cookies(settings)) as ydl:
                session = Session(ydl, guard, settings, url)
                ydl.add_progress_hook(session.progress)
                yield session
        except GsvrError:
            raise
        except Exception as error:
            raise _ours(error, url, guard) from error


def _cookies(settings: DownloadSettings) -> dict[str, Any]:
    """yt-dlp writes its cookies back when it ends: it gets a copy in memory, never the file."""
    if not settings.cookies:
        return {}
    check_cookies(settings.cookies)
    try:
        text = Path(settings.cookies).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise from_os_error(error, settings.cookies) from error
    return {"cookiefile": io.StringIO(text)}


def without_plugins() -> None:
    """Keep yt-dlp from loading code out of the user's folders; before its first import."""
    os.environ["YTDLP_NO_PLUGINS"] = "1"


def _downloader(options: dict[str, Any]) -> Any:
    """A `YoutubeDL` that opens connections with Python sockets only."""
    from yt_dlp import YoutubeDL

    class GuardedDL(YoutubeDL):  # type: ignore[misc]
        def urlopen(self, request: Any) -> Any:
            response = super().urlopen(request)
            response.__class__ = _bounded(response.__class__)
            return response

        def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
            usable = [h for h in handlers if h.RH_KEY in _PYTHON_HANDLERS]
            return super().build_request_director(usable, preferences)

    return GuardedDL(options)


class PageTooLong(Exception):
    """Passes through yt-dlp, which wraps it; becomes our error with the address."""


@cache
def _bounded(kind: Any) -> Any:
    """A kind of response whose `read()` ends: a page that never does would fill the memory.

    A class, not a function set on the response: that would be a circle, which keeps the connection
    open until the next collection of garbage.
    """

    class Bounded(kind):  # type: ignore[misc]
        def read(self, amt: int | None = None) -> bytes:
            if amt is not None and amt >= 0:
                return bytes(super().read(amt))
            blocks, total = [], 0
            while block := super().read(PAGE_BLOCK_BYTES):
                blocks.append(block)
                total += len(block)
                report(0, 0)
                if total > MAX_PAGE_BYTES:
                    self.close()
                    raise PageTooLong
            return b"".join(blocks)

    return Bounded


def _options(settings: DownloadSettings, pictures: bool) -> dict[str, Any]:
    return {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "never",
        "logger": _Log(),
        "noplaylist": True,
        "extract_flat": "in_playlist",
        "playlist_items": "1:2",
        "retries": 5,
        "fragment_retries": 5,
        "extractor_retries": 2,
        "skip_unavailable_fragments": False,
        "socket_timeout": READ_TIMEOUT_S,
        "ratelimit": settings.limit_rate,
        "proxy": "",
        "cachedir": False,
        "enable_file_urls": False,
        "external_downloader": {"default": "native"},
        "ffmpeg_location": _NO_FFMPEG,
        "fixup": "never",
        "js_runtimes": _RUNTIMES,
        "format": settings.format_for(pictures),
        "format_sort": list(FORMAT_SORT),
        "ignore_no_formats_error": True,
        "check_formats": False,
    }


def _only_entry(url: str, info: Mapping[str, Any]) -> dict[str, Any]:
    entries = [entry for entry in info.get("entries") or () if entry]
    if not entries:
        raise UnsupportedInputError(f"{shown(url)}: no video was found at this address")
    if len(entries) > 1:
        raise DownloadRefused(
            f"{shown(url)}: this is a list of videos, not one video",
            hint="put the addresses of its videos into the list",
            reason="playlist",
        )
    return dict(entries[0])


# --- errors ------------------------------------------------------------------------------------


def _ours(error: Exception, url: str, guard: SocketGuard) -> GsvrError:
    """Our form of whatever yt-dlp raised; a refused address explains everything after it."""
    if guard.refused is not None:
        return guard.refused
    if isinstance(error, OSError) and error.errno in (28, 122):
        return from_os_error(error, "the download", writing=True)
    cause: Any = _cause(error)
    if isinstance(cause, PageTooLong):
        return DownloadRefused(
            f"{shown(url)}: the page is longer than {MAX_PAGE_BYTES >> 20} MB",
            hint="give the address of the video itself",
            reason="too_large",
        )
    response = getattr(cause, "response", None)
    status = getattr(cause, "status", None)
    return site_errors.translate(
        url,
        str(getattr(error, "msg", None) or error),
        type(cause).__name__ if cause is not None else "",
        int(status) if isinstance(status, int) else None,
        dict(response.headers) if response is not None else None,
    )


def _cause(error: BaseException) -> BaseException | None:
    """The exception behind yt-dlp's wrappers: the one that knows the status, else the first."""
    found: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    while queue and len(found) < 20:
        item = queue.pop(0)
        if item is None or item in found:
            continue
        found.append(item)
        info = getattr(item, "exc_info", None)
        queue += [info[1] if info else None, getattr(item, "cause", None), item.__cause__]
    with_status = [e for e in found if isinstance(getattr(e, "status", None), int)]
    behind = [e for e in found if type(e).__name__ not in ("DownloadError", "ExtractorError")]
    return next(iter(with_status or behind), None)
