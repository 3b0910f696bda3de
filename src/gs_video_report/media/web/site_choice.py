"""What to take from what a site offers: facts about the video, and its subtitles. Pure.

A transcript must be what was said: subtitles in the spoken language, made by people before those
made by a machine; translations are never taken for speech.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gs_video_report.media.language_tags import to_iso639_1

_SUBTITLE_FORMATS = ("srt", "vtt", "ass", "ssa")
"""That `media.subtitles` reads. SRT first: automatic captions in VTT repeat their lines."""
_LONGEST_TITLE = 300


@dataclass(frozen=True, slots=True)
class SiteVideo:
    """What a site says about a video."""

    extractor: str
    """yt-dlp's name of the site, such as `Youtube`."""
    video_id: str
    title: str
    duration_s: float | None
    """None when the site does not say."""
    webpage_url: str = ""
    uploader: str = ""
    upload_date: str = ""
    """YYYY-MM-DD, or empty."""
    language: str = ""
    """ISO 639-1 code of the speech, or empty."""
    chapters: tuple[tuple[float, float, str], ...] = ()
    """(start_s, end_s, title)."""
    is_live: bool = False
    """Runs now or has not begun."""

    @property
    def version(self) -> str:
        """Names the recording for good."""
        return f"{self.extractor}:{self.video_id}"


@dataclass(frozen=True, slots=True)
class SubtitleChoice:
    """One subtitle track of a site."""

    language: str
    """ISO 639-1 code."""
    automatic: bool
    """Made by a machine."""
    suffix: str
    entry: Mapping[str, Any]
    """As yt-dlp gave it: `url` or `data`, `ext`, `protocol`."""


def video_of(info: Mapping[str, Any]) -> SiteVideo:
    """Read yt-dlp's dictionary; missing and odd values become empty."""
    duration = info.get("duration")
    return SiteVideo(
        extractor=_text(info.get("extractor_key") or info.get("extractor") or "site"),
        video_id=_text(info.get("id")),
        title=_title(info),
        duration_s=float(duration) if isinstance(duration, int | float) and duration > 0 else None,
        webpage_url=str(info.get("webpage_url") or ""),
        uploader=_text(info.get("uploader") or info.get("channel")),
        upload_date=_date(str(info.get("upload_date") or "")),
        language=to_iso639_1(str(info.get("language") or "")),
        chapters=_chapters(info.get("chapters") or ()),
        is_live=bool(info.get("is_live"))
        or info.get("live_status") in ("is_live", "is_upcoming", "post_live"),
    )


def _text(value: Any) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(value or "")).strip()
    return text if len(text) <= _LONGEST_TITLE else f"{text[: _LONGEST_TITLE - 1]}…"


def _title(info: Mapping[str, Any]) -> str:
    """Without the number that yt-dlp gives to players in a page, even to a single one."""
    title = _text(info.get("title"))
    in_page = info.get("extractor_key") == "HTML5MediaEmbed"
    return title.removesuffix(" (1)") if in_page else title


def _date(text: str) -> str:
    known = len(text) == 8 and text.isascii() and text.isdigit()
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if known else ""


def _chapters(entries: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, float, str], ...]:
    found = []
    for entry in entries:
        start, end = entry.get("start_time"), entry.get("end_time")
        if isinstance(start, int | float) and isinstance(end, int | float) and 0 <= start < end:
            found.append((float(start), float(end), _text(entry.get("title"))))
    return tuple(found)


def choose_subtitles(info: Mapping[str, Any], wanted: str) -> SubtitleChoice | None:
    """The subtitles that say what was spoken; None when there are none to trust.

    Args:
        wanted: spoken language as ISO 639-1 code, or "" to take what the site says. When the site
            does not say either, a single manual track is taken for the speech.
    """
    manual = _tracks(info.get("subtitles"))
    automatic = _tracks(info.get("automatic_captions"))
    spoken = wanted or to_iso639_1(str(info.get("language") or "")) or _original(automatic)
    if not spoken:
        languages = {to_iso639_1(tag) for tag in manual}
        spoken = languages.pop() if len(languages) == 1 else ""
    if not spoken:
        return None
    for tracks, is_automatic in ((manual, False), (automatic, True)):
        for tag in _matching(tracks, spoken):
            found = _usable(tracks[tag])
            if found is not None:
                return SubtitleChoice(spoken, is_automatic, str(found["ext"]), found)
    return None


def _tracks(value: Any) -> dict[str, Sequence[Mapping[str, Any]]]:
    if not isinstance(value, Mapping):
        return {}
    return {str(k): v for k, v in value.items() if v and k not in ("live_chat", "danmaku")}


def _original(automatic: Mapping[str, Any]) -> str:
    """The language that a machine listened to: `en-orig` among its translations."""
    tags = [tag for tag in automatic if tag.endswith("-orig")] or list(automatic)
    return to_iso639_1(tags[0].removesuffix("-orig")) if len(tags) == 1 else ""


def _matching(tracks: Mapping[str, Any], spoken: str) -> list[str]:
    """Tags of the language, the plainest first: `en-orig`, `en`, `en-GB`."""
    tags = [t for t in tracks if to_iso639_1(t.removesuffix("-orig")) == spoken]
    return sorted(tags, key=lambda t: (not t.endswith("-orig"), len(t), t))


def _usable(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    usable = [
        e for e in entries if e.get("ext") in _SUBTITLE_FORMATS and (e.get("url") or e.get("data"))
    ]
    return min(usable, key=lambda e: _SUBTITLE_FORMATS.index(e["ext"]), default=None)
