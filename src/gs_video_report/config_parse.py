"""Turn what was written for an option into its value, and back into text.

The option table says what is expected; `config_values` knows the spellings.
Never: reads files; repeats a secret in an error.
Raises: ValueError with half a sentence that fits after the option's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gs_video_report.config_options import Kind, Option, nearest
from gs_video_report.config_values import (
    NONE_WORDS,
    Secret,
    expand_path,
    format_duration,
    format_size,
    parse_bool,
    parse_duration,
    parse_int,
    parse_language,
    parse_number,
    parse_size,
    parse_url,
)
from gs_video_report.errors import ConfigError

_PARSERS = {
    Kind.INT: parse_int,
    Kind.NUMBER: parse_number,
    Kind.BOOL: parse_bool,
    Kind.DURATION: parse_duration,
    Kind.SIZE: parse_size,
    Kind.LANGUAGE: parse_language,
    Kind.URL: parse_url,
}


def parse_value(option: Option, raw: Any, base: Path, env: Mapping[str, str]) -> Any:
    """Turn what was written into the option's value.

    Args:
        raw: text, a list of words, None, or a value that already has the right type (flags).
        base: folder from which relative paths are taken.

    Raises:
        ValueError: half a sentence that fits after the option's name; never holds a secret.
    """
    if raw is None or (option.optional and _is_none_word(raw)):
        if not option.optional:
            raise ValueError("needs a value")
        return None
    if option.kind is Kind.LIST:
        return _parse_list(option, raw)
    if option.kind is Kind.HEADERS:
        return _parse_headers(raw)
    if isinstance(raw, list | tuple | dict):
        raise ValueError("must be a single value, not a list")
    text = raw.reveal() if isinstance(raw, Secret) else str(raw)
    value = _parse_text(option, text, base, env)
    _check_bounds(option, value)
    return value


def _is_none_word(raw: Any) -> bool:
    return isinstance(raw, str) and raw.strip().lower() in NONE_WORDS


def _parse_text(option: Option, text: str, base: Path, env: Mapping[str, str]) -> Any:
    parser = _PARSERS.get(option.kind)
    if parser is not None:
        return parser(text)
    if option.kind is Kind.PATH:
        return expand_path(text, base, env)
    if option.kind is Kind.SECRET:
        return _secret(text)
    text = text.strip()
    if not text or any(ord(c) < 32 for c in text):
        raise ValueError("must not be empty or hold control characters")
    if option.kind is Kind.CHOICE:
        return _choice(option, text)
    if option.kind is Kind.MODEL:
        return expand_path(text, base, env) if _is_path(text) else text
    if option.kind is Kind.PATTERN:
        _check_pattern(option, text)
    return text


def _secret(text: str) -> Secret:
    text = text.strip()
    if not text or not text.isascii() or any(c.isspace() or ord(c) < 32 for c in text):
        raise ValueError("is not a usable key (empty, or with spaces inside)")
    return Secret(text)


def _is_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~/")) or text in (".", "..", "~")


def _choice(option: Option, text: str) -> str:
    word = text.lower()
    if word not in option.choices:
        known = ", ".join(option.choices)
        raise ValueError(f"must be one of {known}; not {text[:60]}{nearest(word, option.choices)}")
    return word


def _parse_headers(raw: Any) -> dict[str, str]:
    """A mapping, or lines such as `X-Organisation: physics`; the values are not repeated."""
    if isinstance(raw, Mapping):
        pairs = [(str(name), str(value)) for name, value in raw.items()]
    else:
        lines = raw if isinstance(raw, list | tuple) else str(raw).splitlines()
        split = [str(line).partition(":") for line in lines if str(line).strip()]
        if not all(colon for _, colon, _ in split):
            raise ValueError("needs lines such as `Name: value`")
        pairs = [(name, value) for name, _, value in split]
    return {name.strip(): value.strip() for name, value in pairs}


def _parse_list(option: Option, raw: Any) -> tuple[str, ...]:
    parts = raw if isinstance(raw, list | tuple) else [raw]
    words = [w.strip().lower() for part in parts for w in str(part).split(",") if w.strip()]
    if not words and not option.default:
        return ()
    if not words:
        raise ValueError(f"needs at least one of {', '.join(option.choices) or 'your words'}")
    if option.name == "formats":
        from gs_video_report.report.writer import check_formats

        try:
            return check_formats(words)
        except ConfigError as error:
            raise ValueError(f"holds an {error.message}; {error.hint}") from error
    if not option.choices:
        return tuple(dict.fromkeys(words))
    return tuple(dict.fromkeys(_choice(option, word) for word in words))


def _check_pattern(option: Option, text: str) -> None:
    if text == option.default:
        return
    from gs_video_report.report.paths import output_paths

    try:
        output_paths("folder/video.mp4", "template", text)
    except ConfigError as error:
        raise ValueError(f"is not usable: {error.message}; {error.hint}") from error


def _check_bounds(option: Option, value: Any) -> None:
    if option.kind not in (Kind.INT, Kind.NUMBER, Kind.DURATION, Kind.SIZE):
        return
    low, high = option.low, option.high
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"{format_bound(option, low)} to {format_bound(option, high)}"
        raise ValueError(f"must be {bounds}, not {format_value(option, value)}")


def format_bound(option: Option, bound: float | None) -> str:
    """A bound in the option's own spelling; `any` for none."""
    return "any" if bound is None else format_value(option, bound)


def format_value(option: Option, value: Any) -> str:
    """The value as it can be written in a file; `none` for None, `****` for a secret."""
    if value is None:
        return "none"
    if option.kind is Kind.BOOL:
        return "true" if value else "false"
    if option.kind is Kind.LIST:
        return ", ".join(value)
    if option.kind is Kind.DURATION:
        return format_duration(value)
    if option.kind is Kind.SIZE:
        return format_size(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
