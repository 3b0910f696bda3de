"""Find the recordings below a folder, in a stable order, without opening any of them.

Truth: the folder as it is read. Files of a folder come first, then its sub-folders, each in
natural order (`lecture 2` before `lecture 10`). A file is reported once: a link to something
that is scanned anyway is a duplicate; links that lead in circles end.
Never: opens a file, follows a link out of the folder twice, keeps more than one folder's names.
An unreadable sub-folder is an `InputProblem`, not the end.
"""

# ruff: noqa: PTH116
# Paths stay plain text here: surrogate escapes survive, and making a Path per file would cost
# more than the whole walk.

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from gs_video_report.batch.data_models import InputProblem, VideoInput
from gs_video_report.batch.inputs.rules import MEDIA_SUFFIXES, WalkRules, suffix_of
from gs_video_report.batch.inputs.text import short

_COMPANIONS = (".part", ".aria2", ".crdownload")
_DIGITS = re.compile("[0-9]+")

Found = VideoInput | InputProblem


def natural_key(name: str) -> tuple[str, str]:
    """Sort key that counts: `2.mp4` < `10.mp4`. Ties are broken by the exact name."""
    if name.isascii() and name.isalpha():
        return name.lower(), name
    return _DIGITS.sub(_counted, name.casefold()), name


def _counted(digits: re.Match[str]) -> str:
    number = digits.group().lstrip("0") or "0"
    return f"{chr(len(number))}{number}"


@dataclass(slots=True)
class _Names:
    """The names of one folder that matter."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: set[str] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)


def walk(root: str, rules: WalkRules) -> Iterator[Found]:
    """Report every recording below `root`.

    Args:
        root: absolute path of a folder.
        rules: what to take.

    Yields:
        VideoInput with `source` below `root` and `relative_path` relative to it;
        InputProblem with code `unreadable`, `missing`, `duplicate`, `unsupported`, `rejected`.
    """
    return _Walk(root, rules).run()


class _Walk:
    def __init__(self, root: str, rules: WalkRules) -> None:
        self.root = root
        self.real_root = os.path.realpath(root)
        self.rules = rules
        self.skip = {os.path.realpath(path) for path in rules.skip_dirs}
        self.skip = {path for path in self.skip if not _is_within(self.real_root, path)}
        self.folders_seen: set[tuple[int, int]] = set()
        self.files_seen: set[tuple[int, int]] = set()
        """Only files that can have a second name: hard links, and whatever links lead to."""

    def run(self) -> Iterator[Found]:
        # (folder, path below root with a slash at the end, reached through a link)
        pending: list[tuple[str, str, bool]] = [(self.root, "", False)]
        while pending:
            path, prefix, foreign = pending.pop()
            names = _Names()
            problem = self._enter(path, prefix)
            if problem is not None:
                yield problem
                continue
            problem = _read_names(path, prefix, names)
            if problem is not None:
                yield problem  # what was read before the error is still taken
            names.files.sort(key=natural_key)
            for name in names.files:
                found = self._file(path, prefix, name, names, foreign)
                if found is not None:
                    yield found
            if not self.rules.recursive:
                continue
            below: list[tuple[str, str, bool]] = []
            for name in sorted(names.folders, key=natural_key):
                relative, child = prefix + name, _join(path, name)
                if not self.rules.takes_folder(relative):
                    continue
                if name in names.links:
                    problem = self._link_problem(child, relative)
                    if problem is not None:
                        yield problem
                        continue
                if self.skip and os.path.realpath(child) in self.skip:
                    continue
                below.append((child, f"{relative}/", foreign or name in names.links))
            pending.extend(reversed(below))

    def _enter(self, path: str, prefix: str) -> InputProblem | None:
        try:
            status = os.stat(path)
        except OSError as error:
            return _unreadable(path, prefix.rstrip("/"), error)
        key = (status.st_dev, status.st_ino)
        if key in self.folders_seen:
            return InputProblem(
                path, short(prefix), "this folder is scanned already under another name",
                "duplicate",
            )  # fmt: skip
        self.folders_seen.add(key)
        return None

    def _link_problem(self, path: str, relative: str) -> InputProblem | None:
        """Why a link to a folder is not followed; None when it leads somewhere new."""
        real = os.path.realpath(path)
        if _is_within(self.real_root, real) and real != self.real_root:
            return InputProblem(
                path, short(relative), "the link leads back to a folder that holds this one"
            )
        if _is_within(real, self.real_root):
            inside = os.path.relpath(real, self.real_root)
            if self.rules.would_visit(inside):
                return InputProblem(
                    path, short(relative), f"the link leads to {inside}, which is scanned anyway",
                    "duplicate",
                )  # fmt: skip
        return None

    def _file(
        self, folder: str, prefix: str, name: str, names: _Names, foreign: bool
    ) -> Found | None:
        relative, path = prefix + name, _join(folder, name)
        if not self.rules.takes_file(relative):
            return None
        if name in names.unfinished:
            return InputProblem(path, short(relative), "the file is still being downloaded")
        try:
            status = os.stat(path)
        except FileNotFoundError:
            why = "the link leads nowhere" if name in names.links else "the file is gone"
            return InputProblem(path, short(relative), why, "missing")
        except OSError as error:
            return _unreadable(path, relative, error)
        if not stat.S_ISREG(status.st_mode):
            return InputProblem(path, short(relative), "this is not a regular file", "unsupported")
        duplicate = self._duplicate(path, relative, status, name in names.links, foreign)
        if duplicate is not None:
            return duplicate
        return VideoInput(
            source=path,
            relative_path=relative,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
        )

    def _duplicate(
        self, path: str, relative: str, status: os.stat_result, link: bool, foreign: bool
    ) -> InputProblem | None:
        if link:
            real = os.path.realpath(path)
            if _is_within(real, self.real_root):
                inside = os.path.relpath(real, self.real_root)
                if self.rules.would_take(inside):
                    return InputProblem(
                        path, short(relative), f"this is a link to {inside}", "duplicate"
                    )
        if not (link or foreign or status.st_nlink > 1):
            return None
        key = (status.st_dev, status.st_ino)
        if key in self.files_seen:
            return InputProblem(
                path, short(relative), "the same file was found under another name", "duplicate"
            )
        self.files_seen.add(key)
        return None


def _read_names(path: str, prefix: str, names: _Names) -> InputProblem | None:
    """Fill `names` from one folder; a problem when it cannot be read to its end."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                _sort_in(entry, names)
    except OSError as error:
        return _unreadable(path, prefix.rstrip("/"), error)
    return None


def _sort_in(entry: os.DirEntry[str], names: _Names) -> None:
    name = entry.name
    if name.startswith("."):
        return
    is_media = suffix_of(name) in MEDIA_SUFFIXES
    try:
        is_folder = entry.is_dir()
    except OSError:  # a link in a circle; reported as a file if its name says so
        is_folder = False
    if is_folder:
        names.folders.append(name)
    elif is_media:
        names.files.append(name)
    else:
        names.unfinished.update(name[: -len(c)] for c in _COMPANIONS if name.endswith(c))
        return
    if entry.is_symlink():
        names.links.add(name)


def _unreadable(path: str, relative: str, error: OSError) -> InputProblem:
    reason = f"cannot be read ({error.strerror or error})"
    return InputProblem(path, short(relative or path), reason, "unreadable")


def _join(folder: str, name: str) -> str:
    return folder + name if folder.endswith("/") else f"{folder}/{name}"


def _is_within(path: str, folder: str) -> bool:
    """True when `path` is `folder` or lies below it (both real paths)."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")
