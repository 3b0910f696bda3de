"""What the fetch stage runs in compute processes: ask an address what it is, bring it here.

Each takes and returns plain JSON-able values. The finished file goes to the artifact store; its
name there is the SHA-256 of its content, which is the fingerprint of the recording. Processes that
fetch the same address into the same cache take turns, and none tidies up under another's hands.
Never: knows a batch, opens the database.
Raises: what `media.download` and `media.site_video` raise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from gs_video_report.errors import DownloadError

T = TypeVar("T")
FILE, SITE = "file", "site"
MAX_TURNS = 5
"""Times that another process may remove the finished file before it is stored here."""
_MEDIA_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".mpg", ".mpeg", ".ts",
    ".ogv", ".3gp", ".mp3", ".m4a", ".wav", ".flac", ".ogg", ".opus", ".wma", ".aac",
})  # fmt: skip
"""Addresses that end so are asked before the readers of sites are loaded, which takes a second."""


def locate(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What is at `url`, without downloading it.

    Args:
        options: the `download` section of the configuration.

    Returns: kind (`file`, `site`), version ("" when the server gives none), title, name,
        size_bytes and duration_s (None when unknown).
    """
    from gs_video_report.media.sniff import MEDIA
    from gs_video_report.media.web import site_video
    from gs_video_report.media.web.download import look
    from gs_video_report.media.web.settings import DownloadSettings

    settings = DownloadSettings.from_options(options)
    names_file = PurePath(urlsplit(url).path).suffix.lower() in _MEDIA_SUFFIXES
    is_known = not names_file and site_video.knows(url)
    if not is_known:
        remote = look(url, settings)
        if remote.kind == MEDIA:
            return {
                "kind": FILE,
                "version": remote.version,
                "title": "",
                "name": remote.name,
                "size_bytes": remote.total,
                "duration_s": None,
            }
    video = site_video.describe(url, settings)
    return {
        "kind": SITE,
        "version": video.version if is_known else "",  # ids of unknown pages mean nothing
        "title": video.title,
        "name": "",
        "size_bytes": None,
        "duration_s": video.duration_s,
    }


def fetch_file(url: str, folder: str, cache_root: str, options: Mapping[str, Any]) -> Any:
    """Download the plain file at `url` into the artifact store; see `_value`."""
    from gs_video_report.cache import adopt_file
    from gs_video_report.media.web.download import download
    from gs_video_report.media.web.settings import DownloadSettings

    settings = DownloadSettings.from_options(options)
    done, key = _stored(
        folder,
        lambda: download(url, folder, settings),
        lambda done: adopt_file(cache_root, done.path, done.remote.suffix),
    )
    name = done.remote.name or f"video{done.remote.suffix}"
    if not PurePath(name).suffix and done.remote.suffix:
        name += done.remote.suffix
    info = {"etag": done.remote.etag, "last_modified": done.remote.last_modified}
    return _value(key, done.size_bytes, name, "", info, [])


def fetch_site(
    url: str, folder: str, cache_root: str, options: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Any:
    """Download the video of a page and its subtitles into the artifact store; see `_value`.

    Args:
        wanted: pictures (bool), subtitles (bool), language (ISO 639-1, or "").
    """
    from gs_video_report.cache import adopt_file, store_file
    from gs_video_report.media.web import site_video
    from gs_video_report.media.web.settings import DownloadSettings

    def fetch() -> site_video.SiteDownload:
        return site_video.fetch(
            url,
            folder,
            DownloadSettings.from_options(options),
            pictures=bool(wanted["pictures"]),
            subtitles=bool(wanted["subtitles"]),
            language=str(wanted["language"]),
        )

    def store(done: site_video.SiteDownload) -> tuple[str, int, list[dict[str, Any]]]:
        texts = [
            {
                "key": store_file(cache_root, text.path, PurePath(text.path).suffix),
                "language": text.language,
                "automatic": text.automatic,
            }
            for text in done.subtitles
        ]
        key = adopt_file(cache_root, done.path, done.suffix)
        return key, Path(done.path).stat().st_size, texts

    done, (key, size_bytes, texts) = _stored(folder, fetch, store)
    video = done.video
    info = asdict(video)
    info.pop("is_live")
    name = f"{video.title or video.video_id or 'video'}{done.suffix}"
    return _value(key, size_bytes, name, video.title, info, texts)


def _stored(folder: str, fetch: Callable[[], Any], store: Callable[[Any], T]) -> tuple[Any, T]:
    """What `fetch` brought into `folder`, and what `store` made of it while it held the folder.

    Another process that fetched the same may have stored it and removed the folder since.
    """
    from gs_video_report.media.web.folder import locked_folder

    for _ in range(MAX_TURNS):
        done = fetch()
        with locked_folder(Path(folder)):
            if Path(done.path).is_file():
                return done, store(done)
    raise DownloadError("the downloaded file was removed again and again before it was stored")


def _value(
    key: str,
    size_bytes: int,
    name: str,
    title: str,
    info: dict[str, Any],
    subtitles: list[dict[str, Any]],
) -> dict[str, Any]:
    """The journaled result of a fetch; `key` and the subtitles' keys name stored files."""
    return {
        "key": key,
        "sha256": key.partition(".")[0],
        "size_bytes": size_bytes,
        "name": name,
        "title": title,
        "info": info,
        "subtitles": subtitles,
    }
