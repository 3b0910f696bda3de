"""The videos of playlists, channels and feeds, by name only: nothing is downloaded.

Also a program (`python -m` and its name): JSON on standard input, JSON lines out,
one per address that is a list. yt-dlp runs in a process of its own, as for downloads, because its
guard changes the sockets of the whole process.
Which addresses are lists is known without asking: from yt-dlp's reader of the site, or the ending
of a feed. A page of a site that yt-dlp has no reader for is read once, with one request and without
patience: one that holds several videos is a list, too. If that fails, nothing is said; the page
stays one input, and its error is told when it is fetched.
Never: writes, except the answer; downloads media.
Raises: what site_session raises.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import urljoin, urlsplit

from gs_video_report.errors import GsvrError, UnsupportedInputError
from gs_video_report.media.web.http_client import shown
from gs_video_report.media.web.net_guard import check_url
from gs_video_report.media.web.settings import DownloadSettings
from gs_video_report.media.web.site_session import available, open_session, without_plugins

MAX_VIDEOS = 1000
"""Of one list; the rest is left out, and told."""
LOOK_TIMEOUT_S = 10.0
"""For each answer while a page of an unknown site is looked at."""
_FEEDS = frozenset({".rss", ".atom", ".xml"})
_PAGES = frozenset({"", ".html", ".htm", ".php", ".asp", ".aspx", ".jsp", ".shtml"})
_YOUTUBE = "www.youtube.com"


@dataclass(frozen=True, slots=True)
class VideoList:
    """What a list names."""

    title: str
    urls: tuple[str, ...]
    """Addresses of its videos, in its order, each once."""
    is_cut: bool
    """There are more than were asked for."""


def may_be_list(url: str) -> bool:
    """False when it is certainly no list, told without yt-dlp: a file by its ending, a video."""
    parts = urlsplit(url)
    suffix = PurePath(parts.path).suffix.lower()
    if parts.hostname == _YOUTUBE:
        return parts.path != "/watch"
    return suffix in _FEEDS or suffix in _PAGES


def is_list(url: str) -> bool:
    """True when the address names a list of videos by its form."""
    parts = urlsplit(url)
    if parts.hostname == _YOUTUBE:
        return parts.path != "/watch"
    if PurePath(parts.path).suffix.lower() in _FEEDS:
        return True
    found = _reader(url)
    return found is not None and found.is_single_video(url) is False


def is_unknown_page(url: str) -> bool:
    """True for a page of a site that yt-dlp has no reader of its own for."""
    suffix = PurePath(urlsplit(url).path).suffix.lower()
    found = _reader(url) if suffix in _PAGES else None
    return found is not None and found.ie_key() == "Generic"


def _reader(url: str) -> Any:
    """The class with which yt-dlp would read `url`; None without yt-dlp."""
    if not available():
        return None
    without_plugins()
    from yt_dlp.extractor import gen_extractor_classes

    return next((ie for ie in gen_extractor_classes() if ie.suitable(url)), None)


def videos_of(url: str, settings: DownloadSettings, limit: int = MAX_VIDEOS) -> VideoList:
    """The videos that the list at `url` names. Raises: see the module's header."""
    found = _read(url, settings, limit)
    if not found.urls:
        raise UnsupportedInputError(f"{shown(url)}: the list names no video")
    return found


def videos_on(url: str, settings: DownloadSettings, limit: int = MAX_VIDEOS) -> VideoList | None:
    """The videos on a page of an unknown site; None when it has not several, or is not to be read.

    Only videos with an address of their own count: files, and players of known sites.
    """
    try:
        found = _read(url, settings, limit, retries=0, extractor_retries=0,
                      socket_timeout=LOOK_TIMEOUT_S)  # fmt: skip
    except GsvrError:
        return None
    return found if len(found.urls) > 1 else None


def _read(url: str, settings: DownloadSettings, limit: int, **more: Any) -> VideoList:
    items = {"noplaylist": False, "playlist_items": f"1:{limit + 1}", "extract_flat": True}
    with open_session(url, settings, more=items | more) as session:
        found = session.ydl.extract_info(url, download=False) or {}
        entries = list(found.get("entries") or ())
    urls = dict.fromkeys(filter(None, (_address(url, entry) for entry in entries)))
    return VideoList(str(found.get("title") or ""), tuple(urls)[:limit], len(entries) > limit)


def _address(base: str, entry: Any) -> str:
    """Of one entry; empty when it has none that may be fetched.

    What yt-dlp hides in a fragment for itself is left out.
    """
    if not isinstance(entry, Mapping):
        return ""
    page = str(entry.get("webpage_url") or "")
    own = page if page and page != base else str(entry.get("url") or "")
    url = urljoin(base, own.partition("#__youtubedl_smuggle")[0])
    if not own or url == base:
        return ""
    try:
        check_url(url)
    except GsvrError:
        return ""
    return url


def _answers(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    settings = DownloadSettings.from_options(request["options"])
    for url in request["urls"]:
        try:
            found = _list_at(url, settings, int(request["limit"]))
            if found is not None:
                yield {"url": url, "urls": found.urls, "title": found.title, "is_cut": found.is_cut}
        except GsvrError as error:
            yield {"url": url, "error": error.to_dict()}


def _list_at(url: str, settings: DownloadSettings, limit: int) -> VideoList | None:
    if is_list(url):
        return videos_of(url, settings, limit)
    return videos_on(url, settings, limit) if is_unknown_page(url) else None


def main() -> None:
    """Answer the request on standard input."""
    for answer in _answers(json.load(sys.stdin)):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
