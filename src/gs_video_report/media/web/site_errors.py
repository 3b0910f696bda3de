"""What yt-dlp says when it cannot fetch a video, in our words. Pure.

yt-dlp wraps everything in one class; the cause's class tells network and status apart, and only
the English message tells private, removed, login, region and live apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gs_video_report.errors import (
    DiskFullError,
    DownloadError,
    DownloadRefused,
    GsvrError,
    UnsupportedInputError,
)
from gs_video_report.media.web.http_client import shown, status_error

BOT_WAIT_S = 900.0
"""After a "too many requests" that names no time."""

_REFUSALS: tuple[tuple[str, str, str, str], ...] = (
    ("live", (r"live event (?:will|has)|premieres? in|not (?:currently )?live|is offline|"
             r"live stream (?:recording )?is not|not yet (?:started|aired)"),
     "the broadcast is not over yet", "try again when the recording is there"),
    ("drm", r"\bDRM\b", "the video is copy-protected (DRM)", ""),
    ("geo", (r"(?:not|n't) (?:made (?:this|the) video )?available (?:in|from) your (?:country|"
            r"location|region)|geo.?restrict|blocked (?:it )?in your country"),
     "the video is not shown in this country", ""),
    ("bot", r"not a bot|captcha|unusual traffic",
     "the site takes gsvr for a robot", ("try again later, or download the video in a browser "
     "and pass the file")),
    ("members", (r"members.only|join this channel|available to this channel's members|rental|"
                r"subscribers? only|premium (?:members|only)|requires? (?:payment|purchase)"),
     "the video is for paying members only", ""),
    ("age", r"confirm your age|age.restricted|inappropriate for some users",
     "the site wants a signed-in user because of the viewer's age", ""),
    ("private", r"\bprivate\b", "the video is private", "ask its owner to publish it"),
    ("login", r"sign in|log.?in|login|logged.in|authenticat|cookies|password|registered users",
     "the site wants a signed-in user", ""),
    ("removed", (r"video (?:is )?(?:unavailable|not available)|has been (?:removed|deleted)|"
                r"no longer (?:available|exists?)|does(?:n't| not) exist|not found|terminated|"
                r"removed by|taken down|been blocked"),
     "the video is not there any more", "check the address, or remove it from the list"),
)  # fmt: skip
_HTTP_STATUS = re.compile(r"HTTP Error (\d{3})")
_FORMAT = re.compile(r"requested format (?:is )?not available|no video formats", re.IGNORECASE)
_NETWORK = re.compile(
    r"timed out|timeout|connection|reset by peer|unreachable|name resolution|temporary failure|"
    r"getaddrinfo|incomplete|remote end closed|ssl|eof occurred|bytes read|did not get any data|"
    r"giving up after|fragment",
    re.IGNORECASE,
)
_NETWORK_CLASSES = frozenset({"TransportError", "SSLError", "ProxyError", "IncompleteRead"})
_PREFIX = re.compile(r"^(?:ERROR:\s*)?(?:\[[^\]]*\]\s*)?(?:[\w-]{1,40}:\s)?")
_UNRESOLVED = re.compile(r"Failed to resolve '([\w.-]+)'")
_NO_SUCH_NAME = re.compile(r"Errno -[25]\]|not known|No address associated", re.IGNORECASE)
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded")


def translate(
    url: str,
    message: str,
    cause: str = "",
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> GsvrError:
    """Our error for a failure of yt-dlp.

    Args:
        message: its text; a prefix such as `ERROR: [youtube] id:` is left out.
        cause: class name of the exception behind it; empty when there is none.
        status: HTTP status, when the cause has one.
    """
    text = _PREFIX.sub("", message.strip()).strip()
    if _NO_SPACE.search(text):
        return DiskFullError("no space left on the disk for the download")
    if status is None and (found := _HTTP_STATUS.search(text)):
        status = int(found[1])
    if cause == "UnsupportedError" or text.lower().startswith("unsupported url"):
        return UnsupportedInputError(
            f"{shown(url)}: no video was found at this address",
            hint="give the address of the video itself, or download it and pass the file",
        )
    if cause in ("GeoRestrictedError", "UserNotLive"):
        return _refusal(url, "geo" if cause == "GeoRestrictedError" else "live")
    for reason, pattern, _, _ in _REFUSALS:
        if re.search(pattern, text, re.IGNORECASE) and not (reason == "removed" and status):
            return _refusal(url, reason)
    if status is not None and status >= 400:
        return _by_status(url, status, headers or {})
    if _FORMAT.search(text):
        return DownloadRefused(
            f"{shown(url)}: the site offers no format that fits",
            hint="update yt-dlp (pip install -U 'gs-video-report[download]'), "
            "or choose another with download: format",
            reason="format",
        )
    if cause in _NETWORK_CLASSES or _NETWORK.search(text):
        lost = _NO_SUCH_NAME.search(text) is None
        return DownloadError(f"{shown(url)}: {_network_words(text)}", unreachable=lost)
    return DownloadRefused(
        f"{shown(url)}: {_short(text) or 'yt-dlp could not read the page'}",
        hint="the site may have changed: pip install -U 'gs-video-report[download]', or download "
        "the video yourself and pass the file",
        reason="extractor",
    )


def _network_words(text: str) -> str:
    if found := _UNRESOLVED.search(text):
        return f"the host {found[1]} cannot be found"
    if re.search(r"timed out|timeout", text, re.IGNORECASE):
        return "the server does not answer"
    return _short(re.split(r":\s*<?\w*Connection\w*\(", text)[0]) or "the connection failed"


def _refusal(url: str, reason: str) -> DownloadRefused:
    _, _, words, hint = next(entry for entry in _REFUSALS if entry[0] == reason)
    return DownloadRefused(f"{shown(url)}: {words}", hint=hint, reason=reason)


def live(url: str) -> DownloadRefused:
    """For a broadcast that runs or has not begun."""
    return _refusal(url, "live")


def _by_status(url: str, status: int, headers: Mapping[str, str]) -> GsvrError:
    error = status_error(status, url, {name.lower(): text for name, text in headers.items()})
    if status == 429:
        error.data.setdefault("retry_after_s", BOT_WAIT_S)
    return error


def _short(text: str) -> str:
    """The first sentence, without advice for users of the yt-dlp program."""
    first: Any = re.split(r"(?<=[.!?])\s|\n|;\s*please|\s*\(caused by", text, maxsplit=1)[0]
    clean = "".join(c if c.isprintable() else " " for c in str(first)).strip(" .")
    return clean if len(clean) <= 200 else f"{clean[:199]}…"
