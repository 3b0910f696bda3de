"""Which web addresses are taken from a list, and how they are written down.

Pure: text in, `WebAddress` or `UrlRejected` out; nothing is looked up or opened.
Truth: one recording has one canonical address, so that duplicates show. Only http and https;
an address with a user name or password is refused, since whatever is taken is stored and shown,
and its password is never repeated in any message.
Never: judges whether a host is private (the fetcher does, after the name is resolved).
Raises: UrlRejected.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit, urlunsplit

from gs_video_report.batch.data_models import InputType

MAX_URL_CHARS = 8192
CREDENTIALS = (
    "the address holds a user name or password, which would be stored with the batch; write it "
    "without them, and log in with --cookies, or download the video yourself"
)

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_SCHEME_SLASHES = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_ADDRESS = re.compile(r"(?:^[^/\\]*|(?<![\w/\\.~%\-]))(?:\\?/){2}")
"""Up to where an address names its host: the first `//` (in JSON also `\\/\\/`), and each other one
that does not stand in a path."""
_AUTHORITY_END = re.compile(r"[/?#\\]")
_LAST_SCHEME = re.compile(r"(?<=[^A-Za-z0-9+.\-])[A-Za-z][A-Za-z0-9+.\-]*:\Z")
_HOST_PORT = re.compile(r"(?:[^:]*|\[[^\]]*\])(?::[0-9]+)?")
_OPAQUE_SCHEMES = frozenset({"javascript", "data", "mailto", "magnet", "blob", "about", "tel"})
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\u2028\u2029]")
_HOST = re.compile(r"(?!-)[a-z0-9_\-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_\-]{1,63}(?<!-))*\.?\Z")
_IPV6 = re.compile(r"[0-9a-f:.]{2,45}\Z")
_PERCENT = re.compile(r"%[0-9a-fA-F]{2}")
_PATH_SAFE = "/:@!$&'()*+,;=~-._%[]"
_QUERY_SAFE = _PATH_SAFE + "?"
_DEFAULT_PORTS = {"http": 80, "https": 443}

_YOUTUBE_HOSTS = frozenset(
    {"youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com"}
    | {"youtube-nocookie.com", "www.youtube-nocookie.com", "youtu.be", "www.youtu.be"}
)
_VIDEO_ID = re.compile(r"[A-Za-z0-9_\-]{11}\Z")
_LIST_ID = re.compile(r"[A-Za-z0-9_\-]{2,128}\Z")
_VIDEO_FOLDERS = frozenset({"shorts", "live", "embed", "v", "e"})
_CHANNEL_FOLDERS = frozenset({"channel", "c", "user"})


class UrlRejected(ValueError):
    """An address that is not taken.

    Args:
        reason: one plain sentence, without the address.
        code: `rejected` or `unsupported`.
    """

    def __init__(self, reason: str, code: str = "rejected") -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An accepted address in canonical form."""

    url: str
    input_type: InputType
    relative_path: str
    """Safe POSIX path for the output tree; unique per address."""


def looks_like_url(text: str) -> bool:
    """True when a list entry is meant as an address rather than as a file name.

    `https://x`, `file:///x` and `javascript:x` are; `Lecture 1: intro.mp4` and `a:b.mp4` are not.
    """
    if _SCHEME_SLASHES.match(text):
        return True
    found = _SCHEME.match(text)
    return found is not None and found.group()[:-1].lower() in _OPAQUE_SCHEMES


def redact(text: str) -> str:
    """`text` with everything that may be a user name and password replaced by `***`, in each
    address in it.

    In doubt more is replaced rather than less. Not recognised is only a password that begins with
    digits and a slash, which reads as a port, and what follows an `@` and a slash in one.

    >>> redact("https://ann:pw@example.com/a.mp4")
    'https://***@example.com/a.mp4'
    """
    if "@" not in text:
        return text
    shown: list[str] = []
    end = 0
    for found in _ADDRESS.finditer(text):
        start = found.end()
        length = _credentials(text[start:])
        if start >= end and length:
            shown += text[end:start], "***"
            end = start + length
    return "".join(shown) + text[end:]


def _credentials(rest: str) -> int:
    """Where the `@` after a user name and password is, in what follows `//`; 0 without any."""
    line = rest.partition("\n")[0]
    authority = _AUTHORITY_END.split(line, maxsplit=1)[0]
    if "@" in authority:
        return authority.rindex("@")
    if line.startswith("//", len(authority)):  # the scheme of the next address
        authority = _LAST_SCHEME.sub("", authority)
    if not _HOST_PORT.fullmatch(authority) and "@" in line:
        return line.rindex("@")  # the password itself holds a slash
    return 0


def parse_url(text: str) -> WebAddress:
    """Check and canonicalise one address.

    Lower-case scheme and host, default port and fragment dropped, spaces and non-ASCII letters
    percent-encoded; the forms of a YouTube address become one. The query of other addresses is
    kept as it is: it may be signed.

    Raises:
        UrlRejected: not http(s), malformed, with a user name or password, or a page without videos.
    """
    text = text.strip()
    _check_characters(text)
    parts = _split(text)
    host = _canonical_host(parts)
    if "@" in parts.netloc:
        raise UrlRejected(CREDENTIALS)
    if host in _YOUTUBE_HOSTS:
        return _youtube(parts, host)
    url = urlunsplit(
        (parts.scheme, _netloc(parts, host), _encode(parts.path, _PATH_SAFE) or "/",
         _encode(parts.query, _QUERY_SAFE), "")
    )  # fmt: skip
    return WebAddress(url, InputType.URL, _relative_path(host, parts.path, url))


def _check_characters(text: str) -> None:
    if not text:
        raise UrlRejected("the address is empty")
    if len(text) > MAX_URL_CHARS:
        raise UrlRejected(f"the address is longer than {MAX_URL_CHARS} characters")
    # urlsplit() would drop tabs and line breaks silently
    if _UNSAFE.search(text):
        raise UrlRejected("the address holds a control character or a backslash")
    scheme = _SCHEME.match(text)
    name = scheme.group()[:-1].lower() if scheme else ""
    if name == "file":
        raise UrlRejected("file:// addresses are not taken; write the path of the file itself")
    if name not in _DEFAULT_PORTS:
        known = name and (name in _OPAQUE_SCHEMES or _SCHEME_SLASHES.match(text))
        what = f"{name}: addresses are not taken" if known else "this is not a web address"
        raise UrlRejected(f"{what}; it must start with http:// or https://")


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UrlRejected("the host or port of the address is malformed") from error
    if port == 0:
        raise UrlRejected("the host or port of the address is malformed")
    if not parts.hostname:
        raise UrlRejected("the address names no host")
    return parts


def _canonical_host(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    if ":" in host:
        if not _IPV6.match(host):
            raise UrlRejected("the host or port of the address is malformed")
        return host
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise UrlRejected("the host of the address is not a valid name") from error
    if len(host) > 253 or not _HOST.match(host):
        raise UrlRejected("the host of the address is not a valid name")
    return host.rstrip(".")


def _netloc(parts: SplitResult, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    port = parts.port
    return shown if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{shown}:{port}"


def _encode(text: str, safe: str) -> str:
    encoded = quote(text, safe=safe, errors="surrogatepass")
    return _PERCENT.sub(lambda found: found.group().upper(), encoded)


def _youtube(parts: SplitResult, host: str) -> WebAddress:
    folders = [part for part in parts.path.split("/") if part]
    query = parse_qs(parts.query, max_num_fields=100) if parts.query.count("&") < 100 else {}
    video = _youtube_video_id(host, folders, query)
    if video is not None:
        if not _VIDEO_ID.match(video):
            raise UrlRejected("the YouTube address has no valid video id (11 characters)")
        url = f"https://www.youtube.com/watch?v={video}"
        return WebAddress(url, InputType.YOUTUBE, f"youtube/{video}")
    playlist = query.get("list", [""])[0]
    if folders[:1] in (["playlist"], ["watch"]) and _LIST_ID.match(playlist):
        url = f"https://www.youtube.com/playlist?list={playlist}"
        relative = f"youtube/playlist-{playlist}"
        return WebAddress(url, InputType.YOUTUBE, relative)
    if folders and (folders[0] in _CHANNEL_FOLDERS or folders[0].startswith("@")):
        return _youtube_channel(folders)
    raise UrlRejected("this YouTube page is neither a video nor a playlist")


def _youtube_channel(folders: list[str]) -> WebAddress:
    """`@name`, or `channel/UC...`; its uploads are a list of videos."""
    named = folders[:1] if folders[0].startswith("@") else folders[:2]
    path = quote("/".join(named), safe="/@")
    if not named[-1].strip("@") or len(named[-1]) > 128:
        raise UrlRejected("this YouTube page is neither a video nor a playlist")
    url = f"https://www.youtube.com/{path}/videos"
    return WebAddress(url, InputType.YOUTUBE, f"youtube/{safe_component(named[-1])}")


def _youtube_video_id(host: str, folders: list[str], query: dict[str, list[str]]) -> str | None:
    """The video id an address names, valid or not; None when it names no video."""
    if host.endswith("youtu.be"):
        return folders[0] if folders else None
    if folders == ["watch"]:
        return query["v"][0] if "v" in query else None
    if len(folders) >= 2 and folders[0] in _VIDEO_FOLDERS and folders[1] != "videoseries":
        return folders[1]
    return None


def _relative_path(host: str, path: str, url: str) -> str:
    """`host/0a1b2c3d/name`: readable, and different for different addresses."""
    digest = hashlib.blake2b(url.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    name = unquote(path, errors="replace").rstrip("/").rpartition("/")[2]
    return f"{safe_component(host)}/{digest}/{safe_component(name)}"


def safe_component(name: str, fallback: str = "video") -> str:
    """One path component made from `name`: no separators, no control or leading dot characters.

    At most 120 bytes of UTF-8, the suffix kept; `fallback` when nothing is left.
    """
    cleaned = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "_", name).strip(" .")
    cleaned = cleaned.encode("utf-8", "replace").decode("utf-8")
    stem, dot, suffix = cleaned.rpartition(".")
    if not dot or len(suffix) > 8:
        stem, suffix = cleaned, ""
    room = 120 - len(suffix.encode()) - 1
    stem = stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .")
    return (f"{stem}.{suffix}" if suffix else stem) or fallback
