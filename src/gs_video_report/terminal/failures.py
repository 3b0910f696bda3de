"""Failed videos by cause: grouped, named in short words, each with its fix.

Pure: values in, lines out. The most frequent cause stands last, nearest to the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gs_video_report.terminal.styles import clean, cut_middle, number, pad, paint, width

SAMPLE_NAMES = 3
"""Names shown per cause."""
_MAX_GROUPS = 50
_MAX_HOSTS = 20
"""Hosts that one hint names."""
_OTHER = "other errors"
_BLOCKED = "E_BLOCKED_ADDRESS"
_HOSTS = re.compile(r"(allow_private_hosts: \[)([^\]]*)(\])")
"""The part of a hint that allows hosts."""

CAUSES: dict[str, str] = {
    "E_EMPTY_FILE": "empty file",
    "E_NO_MEDIA": "no media in file",
    "E_CORRUPT_MEDIA": "damaged media",
    "E_FILE_MISSING": "file is gone",
    "E_FILE_UNREADABLE": "file not readable",
    "E_UNSUPPORTED_INPUT": "input not supported",
    "E_DOWNLOAD": "download failed",
    "E_DOWNLOAD_REFUSED": "download refused",
    "E_BLOCKED_ADDRESS": "private address",
    "E_POISON": "ends the program that reads it",
    "E_TEMPLATE": "template problem",
    "E_TIMEOUT": "took too long",
    "E_STALLED": "made no progress",
    "E_OUT_OF_MEMORY": "out of memory",
    "E_COMPUTE_CRASHED": "helper process crashed",
    "E_DISK_FULL": "disk full",
    "E_AUTH": "key missing or rejected",
    "E_MODEL_MISSING": "speech model missing",
}
"""Short words for people; codes that are not here are grouped by their message."""


class ErrorLike(Protocol):
    """`TaskError` and `GsvrError` both fit."""

    @property
    def code(self) -> str:
        """Stable code word."""
        ...

    @property
    def message(self) -> str:
        """What happened."""
        ...

    @property
    def hint(self) -> str:
        """What to do."""
        ...


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed videos with one cause."""

    code: str
    cause: str
    """A few words."""
    count: int
    hint: str
    """What to do; may be empty."""
    names: tuple[str, ...]
    """The first few; raw."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "code": self.code,
            "cause": self.cause,
            "count": self.count,
            "hint": self.hint,
            "names": list(self.names),
        }


def group_failures(failed: Iterable[tuple[str, ErrorLike]]) -> tuple[FailureGroup, ...]:
    """Group (name, error) pairs by cause, the most frequent last; each group has one remedy.

    Memory is bounded: a few names per cause, and at most 50 causes (the rest are "other errors").
    """
    groups: dict[tuple[str, str, str], FailureGroup] = {}
    for name, error in failed:
        cause = cause_of(name, error)
        key = (error.code, cause, _remedy(error))
        if key not in groups and len(groups) >= _MAX_GROUPS:
            key, cause = ("E_OTHER", _OTHER, ""), _OTHER
        old = groups.get(key) or FailureGroup(key[0], cause, 0, error.hint, ())
        names = old.names if len(old.names) >= SAMPLE_NAMES else (*old.names, name)
        hint = _with_hosts(old.hint, error.hint) if key[2] else old.hint
        groups[key] = replace(old, count=old.count + 1, names=names, hint=hint)
    return tuple(sorted(groups.values(), key=lambda group: (group.count, group.cause)))


def _remedy(error: ErrorLike) -> str:
    """What tells groups of one cause apart: of refused addresses, some can be allowed and some
    cannot. Empty for all other errors."""
    if error.code != _BLOCKED:
        return ""
    return _HOSTS.sub(r"\1\3", error.hint) or _BLOCKED


def _with_hosts(hint: str, other: str) -> str:
    """`hint`, with the hosts that `other` allows among those that it allows, as far as they fit."""
    mine, more = _HOSTS.search(hint), _HOSTS.search(other)
    if mine is None or more is None:
        return hint
    hosts = list(dict.fromkeys([*mine[2].split(", "), *more[2].split(", ")]))[:_MAX_HOSTS]
    return f"{hint[: mine.start(2)]}{', '.join(hosts)}{hint[mine.end(2) :]}"


def cause_of(name: str, error: ErrorLike) -> str:
    """A few words for the cause: from the code if it says enough, else the message itself."""
    known = CAUSES.get(error.code)
    if known is not None:
        return known
    message = error.message
    for prefix in (name, name.rsplit("/", 1)[-1]):
        if prefix and message.startswith(f"{prefix}: "):
            message = message[len(prefix) + 2 :]
    return message or error.code


def with_ref(hint: str, ref: str) -> str:
    """`hint` with its commands about `latest` made to name this batch."""
    for verb in ("retry", "resume", "status", "show"):
        hint = hint.replace(f"gsvr batch {verb} latest", f"gsvr batch {verb} {ref}")
    return hint


def failure_lines(
    failures: Sequence[FailureGroup], ref: str, *, columns: int = 80, colour: bool = False
) -> list[str]:
    """Failures by cause, each with its fix; empty without failures."""
    if not failures:
        return []
    counts = max(len(number(group.count)) for group in failures)
    causes = min(34, max(width(clean(group.cause)) for group in failures))
    indent = " " * (counts + 4)
    lines = []
    for group in failures:
        head = f"  {number(group.count):>{counts}}  "
        cause = clean(group.cause)
        names = _names(group, columns - counts - 4 - causes - 2)
        if width(cause) <= causes:
            lines.append(head + paint(pad(cause, causes), "bad", colour) + f"  {names}")
        else:
            lines.append(head + paint(cause, "bad", colour))
            lines.append(indent + _names(group, columns - counts - 4))
        hint = with_ref(group.hint, ref)
        lines += [f"{indent}fix: {clean(part)}" for part in hint.splitlines()[:1] if part]
        lines += [f"{indent}     {clean(part)}" for part in hint.splitlines()[1:] if part]
    return lines


def _names(group: FailureGroup, room: int) -> str:
    """As many names as fit, at least one, and how many more there are."""
    shown: list[str] = []
    used = 0
    for name in map(clean, group.names):
        if shown and used + width(name) + 2 > room - 14:
            break
        shown.append(name)
        used += width(name) + 2
    more = group.count - len(shown)
    tail = f" and {number(more)} more" if more and shown else ""
    if len(shown) == 1:
        shown = [cut_middle(shown[0], max(20, room - len(tail)))]
    return ", ".join(shown) + tail
