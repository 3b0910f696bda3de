"""What a download is, from its first bytes and the type its server names.

Pure. The bytes win over the type: servers often call a video `text/plain` or a web page a video.
Sources: the magic numbers of the formats' specifications; WHATWG "MIME Sniffing" for pages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from gs_video_report.media.container import is_playlist, looks_like_text

HEAD_BYTES = 4096
MEDIA, PAGE, PLAYLIST, OTHER = "media", "page", "playlist", "other"

_HTML = re.compile(rb"<(?:!doctype html|html|head|body|script|title|meta|div|a href)\b", re.I)
_PLAYLIST_TYPES = frozenset({
    "application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl",
    "application/dash+xml", "application/vnd.ms-sstr+xml",
})  # fmt: skip
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive"), (b"PK\x05\x06", "a ZIP archive"),
    (b"Rar!", "a RAR archive"), (b"7z\xbc\xaf", "a 7z archive"), (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"), (b"\xfd7zXZ", "an xz archive"), (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"%PDF", "a PDF document"), (b"\x89PNG", "a picture"), (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"), (b"\x7fELF", "a program"), (b"MZ", "a program"),
)  # fmt: skip
_MAGIC = (
    (b"\x1aE\xdf\xa3", "mkv"), (b"OggS", "ogg"), (b"fLaC", "flac"), (b"ID3", "mp3"),
    (b"FLV\x01", "flv"), (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wmv"), (b"caff", "caf"),
    (b"\x00\x00\x01\xba", "mpg"), (b"\x00\x00\x01\xb3", "mpg"), (b"#!AMR", "amr"),
    (b".RMF", "rm"), (b"wvpk", "wv"), (b"MAC ", "ape"), (b"FORM", "aiff"),
)  # fmt: skip
_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"})
_SUFFIX_OF_TYPE = {
    "video/mp4": "mp4", "video/webm": "webm", "video/x-matroska": "mkv", "video/quicktime": "mov",
    "video/mpeg": "mpg", "video/mp2t": "ts", "video/x-msvideo": "avi", "video/x-flv": "flv",
    "video/ogg": "ogv", "video/3gpp": "3gp", "audio/mpeg": "mp3", "audio/mp4": "m4a",
    "audio/ogg": "ogg", "audio/wav": "wav", "audio/x-wav": "wav", "audio/flac": "flac",
    "audio/webm": "webm", "audio/aac": "aac",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the content is."""

    kind: str
    """`media`, `page` (HTML), `playlist` (HLS, DASH ...) or `other`."""
    what: str = ""
    """For `other`: such as `a ZIP archive`."""
    suffix: str = ""
    """For `media`: such as `.mp4`; empty when the bytes do not tell."""


def sniff(head: bytes, content_type: str) -> Sniffed:
    """Tell what `head` (up to 4096 first bytes) begins; `content_type` decides when it is unclear.

    Unknown bytes without a telling type are taken for media: the probe looks closer later.
    """
    mime = content_type.partition(";")[0].strip().lower()
    for magic, what in _OTHERS:
        if head.startswith(magic):
            return Sniffed(OTHER, what)
    suffix = _media_suffix(head)
    if suffix:
        return Sniffed(MEDIA, suffix=f".{_refined(suffix, mime, head)}")
    if is_playlist(head) or (mime in _PLAYLIST_TYPES and looks_like_text(head)):
        return Sniffed(PLAYLIST)
    if looks_like_text(head):
        is_page = _HTML.search(head[:1024].lstrip()) or mime in (
            "text/html", "application/xhtml+xml"
        )  # fmt: skip
        return Sniffed(PAGE) if is_page else Sniffed(OTHER, "a text")
    if mime.startswith("image/") or mime in ("application/pdf", "application/zip"):
        return Sniffed(OTHER, f"of type {mime}")
    known = _SUFFIX_OF_TYPE.get(mime, "")
    return Sniffed(MEDIA, suffix=f".{known}" if known else "")


def _media_suffix(head: bytes) -> str:
    for magic, suffix in _MAGIC:
        if head.startswith(magic):
            return suffix
    if head[4:8] in _BOXES:
        return "mp4"
    if head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"WAVE"):
        return "avi" if head[8:12] == b"AVI " else "wav"
    if len(head) > 376 and head[0] == head[188] == head[376] == 0x47:
        return "ts"
    if len(head) > 4 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[1] & 0x06:
        return "mp3"
    return ""


def _refined(suffix: str, mime: str, head: bytes) -> str:
    """The usual suffix where several formats begin alike."""
    if suffix == "mp4":
        brand = head[8:12] if head[4:8] == b"ftyp" else b""
        return {b"qt  ": "mov", b"M4A ": "m4a"}.get(brand, "m4a" if mime == "audio/mp4" else "mp4")
    if suffix == "mkv" and b"webm" in head[:64]:
        return "webm"
    return suffix


_FILENAME_STAR = re.compile(r"filename\*\s*=\s*([\w!#$&+^`{}~-]+)'[^']*'([^;\s]+)", re.I)
_FILENAME = re.compile(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', re.I)


def file_name(url: str, content_disposition: str) -> str:
    """The name a download should have: the server's, else the last part of the path.

    Only the last component, without control characters; may be empty. Source: RFC 6266.
    """
    name = _named_by_server(content_disposition) or unquote(urlsplit(url).path, errors="replace")
    name = PurePosixPath(name.replace("\\", "/").rstrip("/")).name
    return "".join(c for c in name if c.isprintable()).strip(" .")[:200]


def _named_by_server(header: str) -> str:
    found = _FILENAME_STAR.search(header)
    if found:
        try:
            return unquote(found[2], encoding=found[1], errors="replace")
        except LookupError:
            return ""
    plain = _FILENAME.search(header)
    if plain is None:
        return ""
    text = re.sub(r"\\(.)", r"\1", plain[1]) if plain[1] is not None else plain[2]
    try:  # http.client reads headers as latin-1; browsers take UTF-8
        return str(text).encode("latin-1").decode("utf-8")
    except UnicodeError:
        return str(text)
