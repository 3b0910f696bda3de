"""Turn a folder, a list or a file name into a stream of inputs and problems.

Truth: the file system and the list as they are now; nothing is opened except the list itself.
The order is deterministic. Every file or line that is not taken is reported with its place and
reason, and the rest goes on. Memory does not grow with the number of files (a folder of names,
and for lists one number per entry to find duplicates).
Never: opens media, looks up hosts, prints.
Raises: UsageError (bad spec), InputPathError (no such path), InputListError, DependencyMissing.
"""

# ruff: noqa: PTH112, PTH119
# Paths stay plain text here: names that are not UTF-8 survive as surrogate escapes.

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from gs_video_report.batch.data_models import VideoInput
from gs_video_report.batch.inputs.lists import Entry, read_list
from gs_video_report.batch.inputs.resolve import Resolver, from_file, from_url
from gs_video_report.batch.inputs.rules import Globs, WalkRules
from gs_video_report.batch.inputs.url_rules import CREDENTIALS, looks_like_url, redact
from gs_video_report.batch.inputs.walk import Found, walk
from gs_video_report.errors import InputPathError, UsageError

__all__ = ["KINDS", "Found", "InputSpec", "scan"]

KINDS = ("dir", "list", "urls", "file")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How the inputs were named; stored in the batch row, so that a resume reads them again."""

    kind: str
    """`dir`, `list` (paths and addresses), `urls` (addresses only), `file` (one of either)."""
    path: str
    recursive: bool = True
    include: tuple[str, ...] = ()
    """Globs; empty takes every known extension. See `Globs`."""
    exclude: tuple[str, ...] = ()
    limit: int | None = None
    """At most so many inputs, 1 or more; None for all."""
    template_column: str | None = None
    """Header of the list column that names the template."""
    sheet: str | None = None
    """Worksheet of an Excel list; None for the first."""
    skip_dirs: tuple[str, ...] = ()
    """Folders left out with all below them: the batch's own output, the cache."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown kind of input: {self.kind}", hint=", ".join(KINDS))
        if not self.path or "\0" in self.path:
            raise UsageError("the input path is empty or holds a NUL character")
        if self.kind == "file" and looks_like_url(self.path) and redact(self.path) != self.path:
            raise UsageError(f"{redact(self.path)}: {CREDENTIALS}")  # before it is stored anywhere
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"the limit must be 1 or more, not {self.limit}")

    def absolute(self) -> Self:
        """The same inputs, independent of the working directory."""
        if self.kind == "file" and looks_like_url(self.path):
            return self
        skip = tuple(os.path.abspath(path) for path in self.skip_dirs)
        return replace(self, path=os.path.abspath(self.path), skip_dirs=skip)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; `from_dict` is its inverse."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Inverse of `to_dict`. Raises: ValueError on unknown or missing fields."""
        known = {f.name for f in fields(cls)}
        if not set(value) <= known or not {"kind", "path"} <= set(value):
            raise ValueError(f"InputSpec: unknown or missing fields in {sorted(value)}")
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        return cls(**plain)


def scan(spec: InputSpec) -> Iterator[Found]:
    """Stream the inputs a spec names, in a deterministic order.

    Yields:
        VideoInput, at most `spec.limit` of them. InputProblem for everything that is not taken.
        Nothing at all is possible; the caller decides what that means.

    Raises:
        InputPathError: at once, when the path does not exist or is of the wrong kind.
        InputListError, DependencyMissing: while iterating, when a list cannot be read.
    """
    if spec.kind == "file":
        return iter(_one(spec))
    path = os.path.abspath(spec.path)
    if spec.kind == "dir":
        _check_folder(path)
        found = walk(path, _rules(spec))
    else:
        _check_list(path)
        entries = read_list(Path(path), template_column=spec.template_column, sheet=spec.sheet)
        found = Resolver(path, _rules(spec), urls_only=spec.kind == "urls").run(entries)
    return found if spec.limit is None else _first(found, spec.limit)


def _first(found: Iterator[Found], limit: int) -> Iterator[Found]:
    taken = 0
    for item in found:
        yield item
        taken += isinstance(item, VideoInput)
        if taken >= limit:
            return


def _rules(spec: InputSpec) -> WalkRules:
    skip = tuple(os.path.abspath(path) for path in spec.skip_dirs)
    return WalkRules(spec.recursive, Globs(spec.include), Globs(spec.exclude), skip)


def _check_folder(path: str) -> None:
    try:
        with os.scandir(path):
            return
    except FileNotFoundError as error:
        raise InputPathError(f"{path}: no such folder") from error
    except NotADirectoryError as error:
        raise InputPathError(
            f"{path}: this is a file, not a folder",
            hint="name the folder that holds it, or give the file itself as the input",
        ) from error
    except OSError as error:
        raise InputPathError(f"{path}: cannot be read ({error.strerror or error})") from error


def _check_list(path: str) -> None:
    if os.path.isdir(path):
        raise InputPathError(f"{path}: this is a folder, not a list", hint="give it as the folder")
    if not os.path.lexists(path):
        raise InputPathError(f"{path}: no such list")


def _one(spec: InputSpec) -> list[Found]:
    """The inputs of kind `file`: one path or address."""
    if looks_like_url(spec.path):
        return from_url(Entry("", spec.path))
    path = os.path.abspath(spec.path)
    if not os.path.lexists(path):
        raise InputPathError(f"{path}: no such file")
    if os.path.isdir(path):
        raise InputPathError(f"{path}: this is a folder", hint="give it as the input folder")
    return [from_file(Entry("", spec.path), path, os.path.basename(path))]
