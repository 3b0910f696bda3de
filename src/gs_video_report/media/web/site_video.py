"""Videos of web sites, read by yt-dlp as a library (extra `[download]`, imported lazily).

Truth, in the folder of a download: `site.json` names complete files; `<format>.<ext>.part` is the
beginning of one, which the next call continues.
Writes: below the folder it is given.
Never: merges with the ffmpeg program (see remux), logs in, downloads when only asked to describe.
What yt-dlp may reach, and what stays outside our guard, says site_session. A part is continued by
its length alone: yt-dlp does not ask whether the file on the server is still the same.
Raises: DownloadError, DownloadRefused, BlockedAddressError, UnsupportedInputError, and the errors
of remux and files.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gs_video_report import files
from gs_video_report.errors import DownloadError
from gs_video_report.media.web import site_errors
from gs_video_report.media.web.folder import locked_folder
from gs_video_report.media.web.http_client import shown
from gs_video_report.media.web.settings import DownloadSettings
from gs_video_report.media.web.site_choice import (
    SiteVideo,
    SubtitleChoice,
    choose_subtitles,
    video_of,
)
from gs_video_report.media.web.site_session import Session, available, open_session, without_plugins

_MAX_SUBTITLE_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class SiteSubtitles:
    """A subtitle file that was fetched."""

    path: str
    language: str
    automatic: bool


@dataclass(frozen=True, slots=True)
class SiteDownload:
    """Complete files of one video."""

    path: str
    suffix: str
    """Such as `.mkv`."""
    video: SiteVideo
    subtitles: tuple[SiteSubtitles, ...] = ()


def knows(url: str) -> bool:
    """Whether yt-dlp has a reader made for this site. False when it is not installed."""
    if not available():
        return False
    without_plugins()
    from yt_dlp.extractor import gen_extractor_classes

    return any(ie.IE_NAME != "generic" and ie.suitable(url) for ie in gen_extractor_classes())


def describe(url: str, settings: DownloadSettings) -> SiteVideo:
    """Facts about the video at `url`; nothing is downloaded. Raises: see the module's header."""
    with open_session(url, settings) as session:
        return video_of(session.info())


def fetch(
    url: str,
    folder: str | Path,
    settings: DownloadSettings,
    *,
    pictures: bool = True,
    subtitles: bool = True,
    language: str = "",
) -> SiteDownload:
    """Download the video at `url` into `folder`; a complete one there is returned as it is.

    Args:
        pictures: False takes the sound alone where the site has it apart.
        subtitles: also fetch the subtitles that say what was spoken; missing ones are no error.
        language: spoken language (ISO 639-1), "" when not known.
    """
    place = Path(folder)
    with locked_folder(place):
        done = _finished(place, url)
        if done is not None:
            return done
        with open_session(url, settings, pictures=pictures) as session:
            info = session.info()
            video = video_of(info)
            if video.is_live:
                raise site_errors.live(url)
            parts = _download_parts(session, info, place)
            texts = _subtitles(session, info, place, language) if subtitles else ()
        return _finish(place, url, parts, video, texts)


# --- downloading -------------------------------------------------------------------------------


def _download_parts(session: Session, info: dict[str, Any], place: Path) -> list[Path]:
    """Fetch the chosen format, or pictures and sound when they are apart."""
    chosen = _chosen(session, info)
    sizes = [int(part.get("filesize") or part.get("filesize_approx") or 0) for part in chosen]
    session.total = sum(sizes) if all(sizes) else 0
    _check_size(session)
    paths = []
    for part in chosen:
        path = place / _part_name(part)
        ok, _ = session.ydl.dl(str(path), {**info, **part, "requested_formats": None})
        if not ok or not path.is_file():
            raise DownloadError(f"{shown(session.url)}: the download did not end well")
        session.before += path.stat().st_size
        paths.append(path)
    return paths


def _chosen(session: Session, info: dict[str, Any]) -> list[dict[str, Any]]:
    if info.get("requested_formats"):
        return [dict(part) for part in info["requested_formats"]]
    if not info.get("url"):
        if any(f.get("has_drm") for f in info.get("formats") or ()) or info.get("_has_drm"):
            raise site_errors.translate(session.url, "This video is DRM protected")
        raise site_errors.translate(session.url, "Requested format is not available")
    return [info]


def _check_size(session: Session) -> None:
    if session.total:
        session.progress({"downloaded_bytes": 0, "total_bytes": session.total})


def _part_name(part: Mapping[str, Any]) -> str:
    """A file name that is the same for the same format, so that a part is found again."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", str(part.get("format_id") or "video"))[:60]
    suffix = str(part.get("ext") or "").lower()
    return f"{name}.{suffix if re.fullmatch('[a-z0-9]{1,8}', suffix) else 'bin'}"


def _subtitles(
    session: Session, info: dict[str, Any], place: Path, language: str
) -> tuple[SiteSubtitles, ...]:
    """The chosen subtitles as a file; none when they cannot be had: there is speech recognition."""
    choice = choose_subtitles(info, language)
    if choice is None:
        return ()
    path = place / f"subtitles.{choice.suffix}"
    path.unlink(missing_ok=True)
    try:
        _write_subtitles(session, info, choice, path)
    except Exception:
        return ()
    if not path.is_file() or not 0 < path.stat().st_size <= _MAX_SUBTITLE_BYTES:
        return ()
    return (SiteSubtitles(str(path), choice.language, choice.automatic),)


def _write_subtitles(
    session: Session, info: Mapping[str, Any], choice: SubtitleChoice, path: Path
) -> None:
    if choice.entry.get("data") is not None:
        files.write_atomic(path, str(choice.entry["data"]))
        return
    request = {**choice.entry, "id": info.get("id"), "title": info.get("title")}
    request.setdefault("http_headers", info.get("http_headers"))
    session.ydl.dl(str(path), request, subtitle=True)


# --- the folder --------------------------------------------------------------------------------


def _finish(
    place: Path,
    url: str,
    parts: list[Path],
    video: SiteVideo,
    subtitles: tuple[SiteSubtitles, ...],
) -> SiteDownload:
    path = parts[0]
    if len(parts) > 1:
        from gs_video_report.media.remux import join

        temp, path = place / "joined.tmp", place / "joined.mkv"
        join(parts[0], parts[1], temp, video.chapters, video.title)
        temp.replace(path)
        for part in parts:
            part.unlink(missing_ok=True)
    done = SiteDownload(str(path), path.suffix, video, subtitles)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    value = {"v": 1, "url": url, "size": path.stat().st_size, "done": asdict(done)}
    files.write_atomic(place / "site.json", json.dumps(value))
    return done


def _finished(place: Path, url: str) -> SiteDownload | None:
    """What an earlier call completed and nobody took away."""
    try:
        value = json.loads((place / "site.json").read_text(encoding="utf-8"))
        done = value["done"]
        if (value["v"], value["url"]) != (1, url):
            return None
        if Path(done["path"]).stat().st_size != value["size"]:
            return None
        video = {**done["video"], "chapters": tuple(tuple(c) for c in done["video"]["chapters"])}
        texts = tuple(SiteSubtitles(**s) for s in done["subtitles"])
        return SiteDownload(done["path"], done["suffix"], SiteVideo(**video), texts)
    except (OSError, ValueError, TypeError, KeyError):
        return None
