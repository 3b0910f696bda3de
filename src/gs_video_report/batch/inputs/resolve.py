"""Find what the entries of a list name: files, folders with recordings, web addresses.

Truth: the disk as it is now. A file or address that came before with the same template is a
duplicate, however it is written; one number per entry is kept to know.
Never: opens media, leaves the list's folder in `relative_path`.
"""

# ruff: noqa: PTH110, PTH111, PTH112, PTH116, PTH118, PTH119, PTH120
# Paths stay plain text here: surrogate escapes survive, and the loops are hot.

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from gs_video_report.batch.data_models import OUTSIDE, InputProblem, InputType, VideoInput
from gs_video_report.batch.inputs.lists import Entry
from gs_video_report.batch.inputs.rules import (
    MEDIA_SUFFIXES,
    PARTIAL_SUFFIXES,
    WalkRules,
    suffix_of,
)
from gs_video_report.batch.inputs.text import short
from gs_video_report.batch.inputs.url_rules import (
    UrlRejected,
    looks_like_url,
    parse_url,
    redact,
    safe_component,
)
from gs_video_report.batch.inputs.walk import Found, walk
from gs_video_report.report.paths import report_stem


def from_url(entry: Entry) -> list[Found]:
    """The input, or the problem."""
    try:
        address = parse_url(entry.value)
    except UrlRejected as error:
        return [InputProblem(entry.origin, short(redact(entry.value)), error.reason, error.code)]
    return [
        VideoInput(
            source=address.url,
            input_type=address.input_type,
            relative_path=address.relative_path,
            **_asked(entry),
        )
    ]


def _asked(entry: Entry) -> dict[str, Any]:
    """What the line asks for besides the source."""
    return {
        "template": entry.template,
        "output_name": entry.output_name,
        "priority": entry.priority,
        "metadata": dict(entry.metadata),
        "origin": entry.origin,
    }


def from_file(entry: Entry, path: str, relative: str) -> Found:
    """One file that was named, not found by walking."""
    origin, shown = entry.origin or path, short(entry.value)
    suffix = suffix_of(os.path.basename(path))
    if suffix in PARTIAL_SUFFIXES:
        return InputProblem(origin, shown, "this is an unfinished download", "unsupported")
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return InputProblem(origin, shown, "the link leads nowhere", "missing")
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        return InputProblem(origin, shown, reason, "unreadable")
    if not stat.S_ISREG(status.st_mode):
        return InputProblem(origin, shown, "this is not a regular file", "unsupported")
    if suffix not in MEDIA_SUFFIXES:
        what = f"the ending .{short(suffix, 20)}" if suffix else "a name without ending"
        reason = f"{what} is not a known video or audio format"
        return InputProblem(origin, shown, reason, "unsupported")
    return VideoInput(
        source=path,
        relative_path=relative,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        **_asked(entry),
    )


class Resolver:
    """Looks up the entries of one list on disk and drops duplicates."""

    def __init__(self, path: str, rules: WalkRules, *, urls_only: bool) -> None:
        self.folder = os.path.dirname(path)
        self.rules = rules
        self.urls_only = urls_only
        self.seen: dict[int, str] = {}
        """64-bit digest of what was taken -> origin of the first."""
        self.names: dict[int, str] = {}
        """64-bit digest of (folder, name of the report, template) -> origin of the first."""
        self.given: set[int] = set()
        """Those of `names` that an output name asked for."""

    def run(self, entries: Iterable[Entry | InputProblem]) -> Iterator[Found]:
        """Inputs and problems, in the order of the list."""
        for entry in entries:
            if isinstance(entry, InputProblem):
                yield entry
                continue
            for found in self._resolve(entry):
                yield found if isinstance(found, InputProblem) else self._unless_duplicate(found)

    def _resolve(self, entry: Entry) -> Iterator[Found]:
        if entry.is_url or self.urls_only or looks_like_url(entry.value):
            yield from from_url(entry)
            return
        if not _is_file_name(entry.value):
            yield InputProblem(entry.origin, "", "the path holds characters no file name can have")
            return
        path = self._locate(entry)
        if path is None:
            yield self._missing(entry)
        elif os.path.isdir(path):
            yield from self._expand(entry, path)
        else:
            relative = self._relative(path)
            if self.rules.takes_file(relative):
                yield from_file(entry, path, relative)

    def _locate(self, entry: Entry) -> str | None:
        """Absolute path of what the entry names; None when there is nothing."""
        for name in _spellings(entry):
            if name == "~" or name.startswith("~/"):
                name = os.path.expanduser(name)
            path = os.path.join(self.folder, name)
            if ".." in path.split("/"):
                # `link/..` is not the folder that holds the link: let the system resolve it
                head, tail = os.path.split(path)
                whole = tail in ("", "..")
                path = os.path.realpath(path) if whole else f"{os.path.realpath(head)}/{tail}"
            path = os.path.normpath(path)
            if os.path.lexists(path):
                return path
        return None

    def _missing(self, entry: Entry) -> InputProblem:
        reason = "no such file or folder"
        if len(entry.value) > 2 and entry.value[1:3] in (":\\", ":/"):
            reason += "; this is a Windows path"
        return InputProblem(entry.origin, short(entry.value), reason, "missing")

    def _relative(self, path: str) -> str:
        """Place in the output tree: below the list's folder, else name and folder hash."""
        for folder in (self.folder, os.path.realpath(self.folder)):
            inside = folder.rstrip("/") + "/"
            if path.startswith(inside) and len(path) > len(inside):
                return path[len(inside) :]
        parent, name = os.path.split(path)
        digest = hashlib.blake2b(os.fsencode(parent), digest_size=4).hexdigest()
        return f"{OUTSIDE}{digest}/{name or safe_component(path)}"

    def _expand(self, entry: Entry, path: str) -> Iterator[Found]:
        """The recordings below a folder that the list names."""
        if os.path.realpath(path) == "/":
            yield InputProblem(entry.origin, "/", "the whole file system is not an input")
            return
        if entry.output_name is not None:
            reason = "an output name fits one file, and this is a folder"
            yield InputProblem(entry.origin, short(entry.value), reason)
            return
        is_own = os.path.realpath(path) == os.path.realpath(self.folder)
        prefix = "" if is_own else f"{self._relative(path)}/"
        asked = _asked(entry)
        empty = True
        for found in walk(path, self.rules):
            empty = False
            if isinstance(found, InputProblem):
                yield replace(found, origin=entry.origin)
            else:
                yield replace(found, relative_path=prefix + found.relative_path, **asked)
        if empty:
            reason = "the folder holds no video or audio file"
            yield InputProblem(entry.origin, short(entry.value), reason)

    def _unless_duplicate(self, video: VideoInput) -> Found:
        identity = _number((_identity(video), video.template or ""))
        first = self._first(self.seen, identity, video.origin)
        if first is not None:
            what = "address" if video.input_type is not InputType.FILE else "file"
            return InputProblem(
                video.origin, short(video.source), f"the same {what} as in {first}", "duplicate"
            )
        return self._unless_name_taken(video)

    def _unless_name_taken(self, video: VideoInput) -> Found:
        folder, _, name = video.relative_path.rpartition("/")
        stem = report_stem(name, video.output_name)
        number = _number((folder, stem, video.template or ""))
        first = self._first(self.names, number, video.origin)
        if first is None:
            if video.output_name is not None:
                self.given.add(number)
            return video
        if video.output_name is not None:
            reason = f"the output name {short(video.output_name, 60)} is used by {first} already"
        elif number in self.given:
            reason = f"its report would be called {short(stem, 60)}, the output name of {first}"
        else:
            return video
        return InputProblem(video.origin, short(video.source), reason)

    @staticmethod
    def _first(seen: dict[int, str], number: int, origin: str) -> str | None:
        """Where the same number came first; None, and remembered, when it is new."""
        if number in seen:
            return seen[number]
        seen[number] = origin
        return None


def _number(key: tuple[str, ...]) -> int:
    text = "\0".join(key).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _is_file_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _identity(video: VideoInput) -> str:
    """The same for every way to write one file or address."""
    if video.input_type is not InputType.FILE:
        return video.source
    status = os.stat(video.source) if os.path.exists(video.source) else None
    return video.source if status is None else f"{status.st_dev}:{status.st_ino}"


def _spellings(entry: Entry) -> list[str]:
    """The ways in which the disk may spell the name: as written, Unicode forms, raw bytes."""
    name = entry.value
    if name.isascii():
        return [name]
    found = [name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]
    if entry.encoding == "gb18030":
        found.append(os.fsdecode(name.encode("gb18030")))
    return list(dict.fromkeys(found))
