"""Read and show single configuration values: text in, checked value out.

Pure except for `expand_path`, which reads the environment it is given, and for `Secret`, which
remembers each key of this process so that `without_secrets` can take it out of any text. Every kind
is read from text, so that a flag, a variable and a file accept the same spellings.
Raises: ValueError with half a sentence that fits after the name ("must be ...").
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
NONE_WORDS = frozenset({"none", "null", "unlimited"})
_DURATION = re.compile(
    r"(?:(?P<d>[0-9.]+)d)?(?:(?P<h>[0-9.]+)h)?(?:(?P<m>[0-9.]+)m(?:in)?)?"
    r"(?:(?P<s>[0-9.]+)s)?(?:(?P<ms>[0-9.]+)ms)?"
)
_PLAIN_NUMBER = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
_UNIT_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SIZE = re.compile(r"([0-9.]+)\s*([kmgt]?)(i?)(b?)", re.IGNORECASE)
_SIZE_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_LANGUAGE = re.compile(r"auto|[a-z]{2,3}(-[a-z0-9]{2,8})*")
_VARIABLE = re.compile(r"\$(XDG_CONFIG_HOME|XDG_CACHE_HOME)")
_XDG_DEFAULTS = {"XDG_CONFIG_HOME": "~/.config", "XDG_CACHE_HOME": "~/.cache"}


MASK = "****"
MIN_SECRET_CHARS = 6
"""Shorter ones are words such as `none`, and texts would lose them everywhere."""
_seen: set[str] = set()
"""Every secret that this process has held."""


class Secret:
    """A key that never shows itself: `str`, `repr` and `format` give `****`.

    Only `reveal()` returns the text. It cannot be pickled, so it stays in this process.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text
        remember_secret(text)

    def reveal(self) -> str:
        """The key itself, for the one place that sends it."""
        return self._text

    def __repr__(self) -> str:
        return "****"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not written anywhere")


def remember_secret(text: str) -> None:
    """`without_secrets` takes `text` out from now on."""
    if len(text) >= MIN_SECRET_CHARS:
        _seen.add(text)


def without_secrets(text: str) -> str:
    """`text` with every secret of this process blotted out, in whatever way it is written."""
    forms = {form for secret in _seen for form in spellings(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def spellings(text: str) -> set[str]:
    """A secret as it may stand in a line: plain, escaped (JSON, Python), percent-encoded."""
    import json
    from urllib.parse import quote, quote_plus

    escaped = {json.dumps(text, ensure_ascii=flag)[1:-1] for flag in (True, False)}
    return {text, *escaped, repr(text)[1:-1], quote(text, safe=""), quote(text), quote_plus(text)}


def parse_bool(text: str) -> bool:
    """yes/no, true/false, on/off, 1/0 in any case."""
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("must be true or false")


def parse_int(text: str) -> int:
    """A whole number, `_` and surrounding spaces allowed; at most 18 digits."""
    if not re.fullmatch(r"\s*[+-]?[0-9][0-9_]{0,17}\s*", text, re.ASCII):
        raise ValueError("must be a whole number")
    return int(text.replace("_", ""))


def parse_number(text: str) -> float:
    """A finite decimal number; a dollar sign in front is allowed."""
    try:
        number = float(text.strip().removeprefix("$"))
    except ValueError:
        raise ValueError("must be a number") from None
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `30m`, `1h30m`, `1.5h`, `2d`, `500ms`; `1h30` is refused.

    >>> parse_duration("1h30m")
    5400.0
    """
    compact = "".join(text.lower().split())
    if _PLAIN_NUMBER.fullmatch(compact):
        return float(compact)
    found = _DURATION.fullmatch(compact)
    if not compact or found is None or not any(found.groups()):
        raise ValueError("must be a duration such as 90s, 30m or 1h30m")
    try:
        parts = [float(v) * _UNIT_SECONDS[k] for k, v in found.groupdict().items() if v]
    except ValueError:
        raise ValueError("must be a duration such as 90s, 30m or 1h30m") from None
    return math.fsum(parts)


def parse_size(text: str) -> int:
    """Bytes of `500MB`, `20GB` (powers of 1000), `20GiB` (powers of 1024), `1048576`.

    >>> parse_size("20GB")
    20000000000
    """
    found = _SIZE.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        number = float(found[1])
    except ValueError:
        raise ValueError("must be a size such as 500MB or 20GB") from None
    base = 1024 if found[3] else 1000
    return int(number * float(base ** _SIZE_POWERS[found[2].lower()]))


def parse_language(text: str) -> str:
    """`auto` or a language code such as `zh`, `en`, `pt-br`; lower case."""
    code = text.strip().lower().replace("_", "-")
    if not _LANGUAGE.fullmatch(code):
        raise ValueError("must be auto or a language code such as zh or en")
    return code


def parse_url(text: str) -> str:
    """An http(s) address without user name and password."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text.strip())
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("must be an address that begins with http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    return text.strip()


def expand_path(text: str, base: Path, env: Mapping[str, str]) -> str:
    """Absolute path: `~` and the XDG variables expanded, relative ones taken from `base`."""
    if not text.strip() or "\0" in text:
        raise ValueError("must be a path")

    def variable(found: re.Match[str]) -> str:
        return env.get(found[1]) or _XDG_DEFAULTS[found[1]]

    text = _VARIABLE.sub(variable, text)
    if text == "~" or text.startswith("~/"):
        text = (env.get("HOME") or str(Path.home())) + text[1:]
    # normalised lexically, not resolved: a link that the user named stays as named
    from os.path import normpath

    return normpath(base / text)


def format_duration(seconds: float) -> str:
    """The shortest spelling that `parse_duration` reads back: 5400 -> `1h30m`."""
    if seconds != int(seconds):
        return f"{seconds:g}s"
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def format_size(count: int) -> str:
    """The shortest exact spelling: 20000000000 -> `20GB`."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if count and count % 1000**power == 0:
            return f"{count // 1000**power}{unit}"
    return str(count)
