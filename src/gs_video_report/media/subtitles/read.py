"""Subtitles as a transcript: find them beside or inside a recording, choose, read.

Truth: files in the folder of the recording that carry its name, and text tracks inside it.
Never: guesses a language from content (see `text.language`), follows links to other folders,
writes. Bytes may be anything; what cannot be read is skipped and named in `problems`.
Raises: SubtitleError when nothing usable is left; the errors of `media.container` for tracks.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs_video_report.errors import SubtitleError
from gs_video_report.media.language_tags import to_iso639_1
from gs_video_report.media.subtitles.cues import Cue, repair
from gs_video_report.media.subtitles.formats import ass_packet_text, read_cues
from gs_video_report.media.subtitles.text import decode

__all__ = [
    "Choice",
    "Cue",
    "ParsedSubtitles",
    "Sidecar",
    "choose",
    "find_sidecars",
    "parse_subtitles",
    "read_embedded",
]

_FORMATS = ("srt", "vtt", "ass", "ssa")
"""Suffixes in order of preference."""
_MAX_BYTES = 32 << 20
"""Larger files are no subtitles."""
_MARKERS = frozenset({"sdh", "cc", "hi", "auto", "orig", "forced", "default", "sub", "subs"})
_PARTIAL = re.compile(r"\b(?:forced|commentary|signs|songs)\b", re.IGNORECASE)
_SPLIT = re.compile(r"[._ ]+")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A subtitle file beside a recording."""

    path: str
    language: str
    """ISO 639-1 code from the file name; empty when it names none."""
    format: str
    """`srt`, `vtt`, `ass` or `ssa`."""
    partial: bool = False
    """True for "forced" subtitles, which hold only foreign-language lines."""


@dataclass(frozen=True, slots=True)
class ParsedSubtitles:
    """Cues in time order without overlaps, and what was repaired."""

    cues: tuple[Cue, ...]
    language: str = ""
    """ISO 639-1 code when the source names one."""
    problems: tuple[str, ...] = ()
    """Code words; see `subtitles.cues.repair()`, and `damaged_text` for undecodable bytes."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Where to take the transcript from."""

    kind: str
    """`sidecar` or `embedded`."""
    path: str
    """The file of a sidecar; empty for an embedded track."""
    index: int
    """Stream index of an embedded track; -1 for a sidecar."""
    language: str
    """ISO 639-1 code, empty when not named."""


def find_sidecars(video_path: str | Path) -> list[Sidecar]:
    """Subtitle files in the same folder that carry the name of the recording, best first.

    `talk.mp4` has `talk.srt`, `talk.en.vtt`, `Talk.zh-Hans.ASS`, `talk.mp4.srt`; not
    `talk2.srt`, nor `talk.part2.srt`. Upper and lower case are the same. Unreadable folder: none.
    """
    video = Path(video_path)
    try:
        entries = [p for p in video.parent.iterdir() if _is_small_file(p)]
    except OSError:
        return []
    names = sorted(p.name for p in entries)
    found = [s for name in names if (s := _sidecar(video, name)) is not None]
    return sorted(
        found, key=lambda s: (s.partial, bool(s.language), _FORMATS.index(s.format), s.path)
    )


def _is_small_file(path: Path) -> bool:
    has_suffix = _folded(path.suffix).lstrip(".") in _FORMATS
    return has_suffix and path.is_file() and path.stat().st_size <= _MAX_BYTES


def _sidecar(video: Path, name: str) -> Sidecar | None:
    stem, _, suffix = _folded(name).rpartition(".")
    own = _folded(video.stem)
    if suffix not in _FORMATS or not (stem == own or stem.startswith(own + ".")):
        return None
    parts = [p for p in _SPLIT.split(stem[len(own) :]) if p]
    if parts and parts[0] == _folded(video.suffix).lstrip("."):
        parts = parts[1:]
    tags = [p for p in parts if p not in _MARKERS] or [p for p in parts if p == "hi"]
    languages = [to_iso639_1(p) for p in tags]
    if "" in languages or len(languages) > 1:
        return None
    language = languages[0] if languages else ""
    return Sidecar(str(video.parent / name), language, suffix, partial="forced" in parts)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def choose(
    sidecars: Sequence[Sidecar], embedded: Iterable[Any], wanted_language: str
) -> Choice | None:
    """The best source of a transcript, or None.

    Files beside the recording win over tracks inside it. With a wanted language a source of that
    language wins, then one without a language; others are never taken. Without one, sources
    without a language win, then the order given. Forced and commentary tracks and pictures are
    left out.

    Args:
        embedded: objects or mappings with `index`, `language`, `title`, `is_text`.
        wanted_language: code or tag such as `en`, `zh-CN`; "" takes what there is.
    """
    options = [Choice("sidecar", s.path, -1, s.language) for s in sidecars if not s.partial]
    for stream in embedded:
        title = str(_field(stream, "title") or "")
        if _field(stream, "is_text") and not _PARTIAL.search(title):
            tag = to_iso639_1(str(_field(stream, "language") or ""))
            options.append(Choice("embedded", "", int(_field(stream, "index")), tag))
    wanted = to_iso639_1(wanted_language) or wanted_language.lower()
    if wanted:
        options = [o for o in options if o.language in (wanted, "")]
        options.sort(key=lambda o: o.language != wanted)
    elif options and options[0].kind == "sidecar":
        options.sort(key=lambda o: (o.kind != "sidecar", bool(o.language)))
    return options[0] if options else None


def _field(stream: Any, name: str) -> Any:
    return stream.get(name) if isinstance(stream, Mapping) else getattr(stream, name)


def parse_subtitles(data: bytes, format_hint: str = "") -> ParsedSubtitles:
    """Read a subtitle file whatever its charset, line ends and small mistakes.

    Args:
        data: the whole file.
        format_hint: suffix such as `srt` or `.vtt`; the content decides when it disagrees.

    Raises:
        SubtitleError: no cue with text and a sane time.
    """
    text = decode(data)
    cues, problems = repair(read_cues(text, format_hint))
    if "\ufffd" in text:
        problems.append("damaged_text")
    if not cues:
        raise SubtitleError("the subtitle file holds no line with text and a time")
    return ParsedSubtitles(cues, _header_language(text), tuple(problems))


_HEADER_LANGUAGE = re.compile(r"\AWEBVTT[^\n]*\n(?:[^\n]+\n)*?Language:\s*([A-Za-z-]+)")


def _header_language(text: str) -> str:
    found = _HEADER_LANGUAGE.match(text.replace("\r\n", "\n"))
    return to_iso639_1(found.group(1)) if found else ""


def read_embedded(path: str | Path, stream_index: int) -> ParsedSubtitles:
    """Read a text track inside a recording. Times count from the start of the container.

    Raises:
        SubtitleError: no such text track, or no cue in it.
        EmptyFileError, NoMediaError, FileMissingError, FileUnreadableError: as `open_media()`.
    """
    from gs_video_report.media.container import display_name, open_media

    with open_media(path) as container:
        stream = next((s for s in container.streams.subtitles if s.index == stream_index), None)
        if stream is None:
            raise SubtitleError(f"{display_name(path)}: stream {stream_index} is no subtitle track")
        tag = to_iso639_1(str(stream.metadata.get("language", "")))
        raw, broken = _track_cues(container, stream)
    cues, problems = repair(raw)
    if not cues:
        name = display_name(path)
        raise SubtitleError(f"{name}: the subtitle track {stream_index} holds no text")
    return ParsedSubtitles(cues, tag, (*problems, *(("damaged_text",) if broken else ())))


def _track_cues(container: Any, stream: Any) -> tuple[list[Cue], bool]:
    """Cues of a track as they are, and whether some packet could not be decoded."""
    import av

    from gs_video_report.media.container import keep_only, read_packets
    from gs_video_report.media.probe import start_time_s

    keep_only(container, (stream,))
    origin_s = start_time_s(container)
    cues: list[Cue] = []
    broken = False
    for packet in read_packets(container, stream):
        if packet is None or packet.pts is None or not packet.size:
            broken = broken or packet is None
            continue
        start_s = max(float(packet.pts * packet.time_base) - origin_s, 0.0)
        end_s = start_s + float((packet.duration or 0) * packet.time_base)
        try:
            events = packet.decode()
        except (av.error.FFmpegError, UnicodeError):
            broken = True
            continue
        for event in events:
            if isinstance(event, av.subtitles.subtitle.AssSubtitle):
                text, speaker = ass_packet_text(event.ass.decode("utf-8", "replace"))
                cues.append(Cue(start_s, end_s, text, speaker))
    return cues, broken
