"""The videos of playlists, channels and feeds, by name only: nothing is downloaded.

Also a program, `python -m gs_video_report.media.site_list`: JSON on standard input, JSON lines out,
one per address that is a list. yt-dlp runs in a process of its own, as for downloads, because its
guard changes the sockets of the whole process.
Which addresses are lists is known without asking: from yt-dlp's reader of the site, or the ending
of a feed. Pages of unknown sites are not asked.
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
from gs_video_report.media.download_settings import DownloadSettings
from gs_video_report.media.http_client import shown
from gs_video_report.media.net_guard import check_url
from gs_video_report.media.site_session import available, open_session, without_plugins

MAX_VIDEOS = 1000
"""Of one list; the rest is left out, and told."""
_FEEDS = frozenset({".rss", ".atom", ".xml"})
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
    return suffix in _FEEDS or suffix in ("", ".html", ".htm", ".php")


def is_list(url: str) -> bool:
    """True when the address names a list of videos by its form."""
    parts = urlsplit(url)
    if parts.hostname == _YOUTUBE:
        return parts.path != "/watch"
    if PurePath(parts.path).suffix.lower() in _FEEDS:
        return True
    if not available():
        return False
    without_plugins()
    from yt_dlp.extractor import gen_extractor_classes

    readers = (ie for ie in gen_extractor_classes() if ie.suitable(url))
    found = next(readers, None)
    return found is not None and found.is_single_video(url) is False


def videos_of(url: str, settings: DownloadSettings, limit: int = MAX_VIDEOS) -> VideoList:
    """The videos that the list at `url` names. Raises: see the module's header."""
    items = {"noplaylist": False, "playlist_items": f"1:{limit + 1}", "extract_flat": True}
    with open_session(url, settings, more=items) as session:
        found = session.ydl.extract_info(url, download=False) or {}
        entries = list(found.get("entries") or ())
    urls = dict.fromkeys(filter(None, (_address(url, entry) for entry in entries)))
    if not urls:
        raise UnsupportedInputError(f"{shown(url)}: the list names no video")
    kept = tuple(urls)[:limit]
    return VideoList(str(found.get("title") or ""), kept, len(entries) > limit)


def _address(base: str, entry: Any) -> str:
    """Of one entry; empty when it has none that may be fetched."""
    if not isinstance(entry, Mapping):
        return ""
    url = urljoin(base, str(entry.get("webpage_url") or entry.get("url") or ""))
    try:
        check_url(url)
    except GsvrError:
        return ""
    return url


def _answers(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    settings = DownloadSettings.from_options(request["options"])
    for url in request["urls"]:
        try:
            if not is_list(url):
                continue
            found = videos_of(url, settings, int(request["limit"]))
            yield {"url": url, "urls": found.urls, "title": found.title, "is_cut": found.is_cut}
        except GsvrError as error:
            yield {"url": url, "error": error.to_dict()}


def main() -> None:
    """Answer the request on standard input."""
    for answer in _answers(json.load(sys.stdin)):
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
