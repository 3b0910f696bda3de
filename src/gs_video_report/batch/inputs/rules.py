"""Which names count as recordings, and which files and folders a scan takes.

Pure: names and patterns only, nothing is looked up.
"""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from dataclasses import dataclass, field

VIDEO_SUFFIXES = frozenset(
    {"mp4", "mov", "avi", "mkv", "webm", "m4v", "ts", "mts", "m2ts", "flv", "3gp", "wmv", "mpg"}
    | {"mpeg", "ogv"}
)
AUDIO_SUFFIXES = frozenset({"mp3", "wav", "m4a", "flac", "ogg", "opus", "wma", "aac"})
MEDIA_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES
PARTIAL_SUFFIXES = frozenset({"part", "crdownload", "ytdl", "aria2", "download", "opdownload"})
SYSTEM_FOLDERS = frozenset(
    {"$RECYCLE.BIN", "System Volume Information", "__MACOSX", "@eaDir", "#recycle"}
)


def suffix_of(name: str) -> str:
    """The part after the last dot, lower case; empty without one or for `.name`."""
    stem, dot, suffix = name.rpartition(".")
    return suffix.lower() if dot and stem else ""


@dataclass(frozen=True, slots=True)
class Globs:
    """Patterns such as `*.mp4`, `week01/*`, `**/drafts/**`; case and Unicode form do not matter.

    A pattern without `/` matches the base name, one with `/` the path below the input folder.
    `*` and `?` stay within one name, `**` crosses folders.
    """

    patterns: tuple[str, ...] = ()
    _names: tuple[re.Pattern[str], ...] = field(init=False, repr=False, default=())
    _paths: tuple[re.Pattern[str], ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        names = [p for p in self.patterns if "/" not in p.rstrip("/")]
        paths = [p for p in self.patterns if "/" in p.rstrip("/")]
        object.__setattr__(self, "_names", tuple(_compile(p) for p in names))
        object.__setattr__(self, "_paths", tuple(_compile(p) for p in paths))

    def match(self, relative: str) -> bool:
        """True when any pattern matches the POSIX path `relative`."""
        if not self.patterns:
            return False
        text = _folded(relative)
        name = text.rpartition("/")[2]
        return any(p.match(name) for p in self._names) or any(p.match(text) for p in self._paths)

    def match_folder(self, relative: str) -> bool:
        """True when a folder, or everything in it, matches."""
        return self.match(relative) or any(p.match(f"{_folded(relative)}/") for p in self._paths)


def _folded(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).casefold()


def _compile(pattern: str) -> re.Pattern[str]:
    text = _folded(pattern).rstrip("/")
    while text.startswith("./"):
        text = text[2:]
    return re.compile(_glob_regex(text.lstrip("/")) + r"\Z", re.DOTALL)


def _glob_regex(glob: str) -> str:
    """Translate a glob; `**/` is any number of folders, `/**` everything below."""
    out: list[str] = []
    i = 0
    while i < len(glob):
        if glob.startswith("**/", i):
            out.append("(?:.*/)?")
            i += 3
        elif glob.startswith("**", i):
            out.append(".*")
            i += 2
        elif glob[i] == "[" and (end := glob.find("]", i + 2)) > 0:
            out.append(_set_regex(glob[i : end + 1]))
            i = end + 1
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(glob[i]) or re.escape(glob[i]))
            i += 1
    return "".join(out)


def _set_regex(text: str) -> str:
    """Translate `[a-z]` or `[!a]`; the standard library knows the odd cases."""
    found = re.fullmatch(r"\(\?s:(.*)\)\\[Zz]", fnmatch.translate(text), re.DOTALL)
    return re.escape(text) if found is None else found[1]


@dataclass(frozen=True, slots=True)
class WalkRules:
    """What to take."""

    recursive: bool = True
    include: Globs = Globs()
    exclude: Globs = Globs()
    skip_dirs: tuple[str, ...] = ()
    """Folders that are left out with all below them; the scanned folder itself never is."""

    def takes_file(self, relative: str) -> bool:
        """True unless include or exclude leave the file out."""
        if self.include.patterns and not self.include.match(relative):
            return False
        return not self.exclude.match(relative)

    def takes_folder(self, relative: str) -> bool:
        """True unless the folder is hidden, the system's, or excluded."""
        name = relative.rpartition("/")[2]
        if name.startswith(".") or name in SYSTEM_FOLDERS:
            return False
        return not self.exclude.match_folder(relative)

    def would_visit(self, relative: str) -> bool:
        """True when the walk of the tree enters this folder by its own name."""
        if relative in ("", "."):
            return True
        parts = relative.split("/")
        return self.recursive and all(
            self.takes_folder("/".join(parts[: i + 1])) for i in range(len(parts))
        )

    def would_take(self, relative: str) -> bool:
        """True when the walk of the tree reports this file by its own name."""
        folder, _, name = relative.rpartition("/")
        return (
            not name.startswith(".")
            and suffix_of(name) in MEDIA_SUFFIXES
            and self.takes_file(relative)
            and self.would_visit(folder)
        )
