"""Read the JSON that a model wrote, also when it is fenced, chatty, cut short or slightly wrong.

True here: sound JSON is read by the standard parser and never changed; only what it refuses goes
to the tolerant reader. What was cut off in the middle is left out, never guessed: half a sentence
would otherwise look like a whole one.
Pure. Raises: ValueError when the text holds no JSON object or list.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 64
_MAX_STARTS = 20
_THOUGHTS = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"```[\w-]*[ \t]*\r?\n(.*?)(?:\r?\n[ \t]*```|\Z)", re.DOTALL)
_BARE = re.compile(r"[^\s,\]}:\"]+")
_WORDS: dict[str, Any] = {
    "true": True, "false": False, "null": None, "True": True, "False": False, "None": None,
}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


@dataclass(frozen=True, slots=True)
class JsonText:
    """What could be read."""

    value: Any
    """An object or a list."""
    complete: bool
    """False when the text ends inside the value."""
    repaired: bool = False
    """True when the standard parser refused it."""


def read_json(text: str) -> JsonText:
    """The first JSON object or list of an answer.

    >>> read_json('Sure:\\n```json\\n{"a": 1}\\n```').value
    {'a': 1}
    """
    text = _THOUGHTS.sub("", text.lstrip("\ufeff"))
    fenced = _FENCE.search(text)
    for candidate in ([fenced[1]] if fenced else []) + [text]:
        found = _first_value(candidate)
        if found is not None:
            return found
    raise ValueError("the answer holds no JSON")


def _first_value(text: str) -> JsonText | None:
    decoder = json.JSONDecoder(strict=False)
    starts = [m.start() for m in re.finditer(r"[{\[]", text)]
    for start in starts[:_MAX_STARTS]:
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            found = _tolerant(text, start)
        else:
            found = JsonText(value, complete=True)
        if found is not None and _is_answer(found.value):
            return found
    return None


def _is_answer(value: Any) -> bool:
    """Brackets in prose give an empty value, or a list of words; an answer holds objects."""
    if isinstance(value, dict):
        return bool(value)
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _tolerant(text: str, start: int) -> JsonText | None:
    reader = _Reader(text, start)
    try:
        value = reader.value(0)
    except ValueError:
        return None
    return JsonText(value, complete=not reader.cut, repaired=True)


_CUT = object()
"""Stands for a value that the text ended in."""


class _Reader:
    """Recursive descent over one value; `cut` is set when the text ends too early."""

    def __init__(self, text: str, at: int) -> None:
        self.text = text
        self.at = at
        self.cut = False

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        char = self._next()
        if char == "{":
            return self._object(depth)
        if char == "[":
            return self._array(depth)
        if char == '"':
            return self._string()
        return self._bare()

    def _next(self) -> str:
        """The next character that is not space; empty at the end of the text."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at] if self.at < len(self.text) else ""

    def _object(self, depth: int) -> dict[str, Any]:
        self.at += 1
        found: dict[str, Any] = {}
        while not self.cut:
            char = self._next()
            if char in ("}", "]"):  # a wrong bracket ends it as well, and stays for the parent
                self.at += char == "}"
                return found
            if char == ",":
                self.at += 1
            elif char == "":
                self.cut = True
            else:
                self._member(found, depth)
        return found

    def _member(self, found: dict[str, Any], depth: int) -> None:
        key = self._string(key=True) if self._next() == '"' else self._bare()
        if key is _CUT or self._next() == "":
            self.cut = True
            return
        if self._next() != ":":
            raise ValueError("a name without a value")
        self.at += 1
        if self._next() == "":
            self.cut = True
            return
        value = self.value(depth + 1)
        if value is not _CUT:
            found[str(key)] = value

    def _array(self, depth: int) -> list[Any]:
        self.at += 1
        found: list[Any] = []
        while not self.cut:
            char = self._next()
            if char in ("]", "}"):
                self.at += char == "]"
                return found
            if char == ",":
                self.at += 1
            elif char == "":
                self.cut = True
            else:
                value = self.value(depth + 1)
                if not self._is_cut() or _holds_lists(value):
                    found.append(value)
        return found

    def _is_cut(self) -> bool:
        return self.cut

    def _string(self, *, key: bool = False) -> Any:
        self.at += 1
        out: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == "\\":
                out.append(self._escape())
            elif char != '"' or not self._ends_string(key):
                out.append(char)
            else:
                return "".join(out)
        self.cut = True
        return _CUT

    def _ends_string(self, key: bool) -> bool:
        """A quote mark inside a sentence is not followed by what follows a JSON string."""
        rest = self.text[self.at : self.at + 200].lstrip()
        if key:
            return rest[:1] in (":", "")
        if rest[:1] == ",":
            return rest[1:].lstrip()[:1] in ('"', "{", "[", "]", "}", "", *"-0123456789tfn")
        return rest[:1] in ("]", "}", "")

    def _escape(self) -> str:
        char = self.text[self.at : self.at + 1]
        self.at += 1
        if char == "u":
            digits = self.text[self.at : self.at + 4]
            if re.fullmatch(r"[0-9a-fA-F]{4}", digits):
                self.at += 4
                return _code_point(int(digits, 16))
        return _ESCAPES.get(char, char)

    def _bare(self) -> Any:
        found = _BARE.match(self.text, self.at)
        if found is None:
            raise ValueError("not JSON")
        self.at = found.end()
        if self.at >= len(self.text):
            self.cut = True
            return _CUT
        word = found[0]
        if word in _WORDS:
            return _WORDS[word]
        try:
            return float(word) if re.search(r"[.eE]", word) else int(word[:18])
        except ValueError:
            return word.strip("'")


def _holds_lists(value: Any) -> bool:
    """A cut object is kept only for the finished items of a list in it."""
    return isinstance(value, dict) and any(isinstance(v, list) and v for v in value.values())


def _code_point(code: int) -> str:
    """Half of a surrogate pair cannot stand alone in text."""
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)
