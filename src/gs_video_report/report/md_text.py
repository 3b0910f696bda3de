"""Text from strangers as Markdown that shows it and does nothing else; YAML for front matter.

Truth: in CommonMark, GFM and Obsidian the result is plain text: no emphasis, link, image, HTML,
heading, tag, math, comment or code comes from it (tests render it and look).
Escapes stand only where they are needed, so that the source stays readable.
Pure.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

_ALWAYS = re.compile(r"([\\`*_\[\]<>|~$^{}])")
_ENTITY = re.compile(r"&(?=[A-Za-z][A-Za-z0-9]*;|#)")
_TAG = re.compile(r"#(?=\S)")
_SCHEME = re.compile(r"(?i)(?<=[a-z]):(?=//)|(?<=mailto):|(?<=xmpp):")
_WWW = re.compile(r"(?i)(?<=www)\.")
_EMAIL = re.compile(r"(?<=\S)@(?=\S)")
_PAIRED = re.compile(r"==|%%")
_LINE_START = re.compile(r"^([-+=#:])")
_ORDERED = re.compile(r"^(\d{1,9})([.)])")
_HIDDEN = frozenset(
    [*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\u200e", "\u200f"]
)
"""Bidirectional controls: they make text read otherwise than it is."""


def plain_line(text: str) -> str:
    """One line without control characters and bidirectional overrides; spaces collapsed."""
    if text.isprintable():  # no control, format or odd space character: nearly always
        return " ".join(text.split())
    visible = (" " if unicodedata.category(c) in _BLANK else c for c in text if c not in _HIDDEN)
    return " ".join("".join(visible).split())


_BLANK = ("Cc", "Cs", "Zl", "Zp", "Zs")


def escape(text: str) -> str:
    """`text` as one line of inert Markdown."""
    line = _ALWAYS.sub(r"\\\1", plain_line(text))
    line = _ENTITY.sub(r"\\&", line)
    line = _TAG.sub(r"\\#", line)
    line = _SCHEME.sub(r"\\:", line)
    line = _WWW.sub(r"\\.", line)
    line = _EMAIL.sub(r"\\@", line)
    line = _PAIRED.sub(lambda m: "".join("\\" + c for c in m.group()), line)
    line = _LINE_START.sub(r"\\\1", line) if not line.startswith("\\") else line
    return _ORDERED.sub(r"\1\\\2", line)


def escape_tree(value: Any) -> Any:
    """Plain data with every text escaped; keys stay as they are."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Mapping):
        return {k: escape_tree(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [escape_tree(v) for v in value]
    return value


def yaml_scalar(value: Any) -> str:
    """One YAML value on one line: numbers as numbers, everything else a quoted string.

    A JSON string is a YAML double-quoted one once what YAML calls unprintable is escaped.
    """
    if isinstance(value, (bool, int, float)) or value is None:
        return json.dumps(value)
    text = json.dumps(str(value).encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False)
    return "".join(_yaml_char(c) for c in text)


def yaml_list(values: Iterable[str]) -> str:
    """A flow sequence on one line."""
    return "[" + ", ".join(yaml_scalar(v) for v in values) + "]"


def _yaml_char(char: str) -> str:
    code = ord(char)
    plain = 0x20 <= code < 0x7F or 0xA0 <= code < 0xFFFE or code >= 0x10000
    if plain and unicodedata.category(char) not in ("Zl", "Zp", "Cf", "Cn"):
        return char
    return f"\\U{code:08x}" if code > 0xFFFF else f"\\u{code:04x}"


def tag(text: str) -> str:
    """A tag as Obsidian accepts it: letters, digits, `_`, `-`, `/`; empty when nothing is left."""
    kept = "".join(c if c.isalnum() or c in "_/-" else "-" for c in plain_line(text))
    slug = re.sub(r"-{2,}", "-", kept).strip("-/")
    return "" if not slug or slug.isdigit() else slug
