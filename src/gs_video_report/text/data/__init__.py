"""Word and pattern tables of the text analysis, and how to read them.

Truth: the files of this folder (README.md tells their sources). Read once per process.
Raises: nothing for a missing section; it is empty.
"""

from __future__ import annotations

import gzip
import re
from functools import cache
from importlib.resources import files

_HEADING = re.compile(r"\[(\w+) ([a-z]+)\]")


def read_text(name: str) -> str:
    """A data file as text; `.gz` files are unpacked."""
    raw = (files(__name__) / name).read_bytes()
    return (gzip.decompress(raw) if name.endswith(".gz") else raw).decode("utf-8")


def section(name: str, table: str, language: str) -> tuple[str, ...]:
    """Lines of the section `[table language]` of a file; empty when there is none."""
    return _sections(name).get((table, language), ())


def languages_of(name: str, table: str) -> tuple[str, ...]:
    """Languages that have a section in the table, sorted."""
    return tuple(sorted(language for t, language in _sections(name) if t == table))


@cache
def _sections(name: str) -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], list[str]] = {}
    lines: list[str] = []
    for line in read_text(name).splitlines():
        heading = _HEADING.fullmatch(line)
        if heading:
            lines = found.setdefault((heading[1], heading[2]), [])
        elif line and not line.startswith("#"):
            lines.append(line)
    return {key: tuple(value) for key, value in found.items()}
