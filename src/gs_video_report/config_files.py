"""Find and read configuration files: YAML in, settings with their lines out.

Truth: the raw text of each scalar, so that `language: no` stays `no`. Only plain mappings, lists
and scalars; every problem is collected with file and line, none stops the reading of the rest.
Never: creates Python objects from tags, follows includes, writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.config_options import (
    BY_WORD,
    SECTIONS,
    Kind,
    Option,
    find_option,
    nearest,
)

PROJECT_FILE = "gsvr.yaml"
MAX_FILE_BYTES = 1 << 20
NOT_YAML = "not valid YAML"
"""In the sentence about a file whose lines cannot be read at all."""
_PLAIN_TAG = "tag:yaml.org,2002:"
_NULL_TAG = "tag:yaml.org,2002:null"

Raw = str | list[str] | dict[str, str] | None
"""A scalar as written, a list of scalars, or None for null."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a file that sets an option."""

    option: Option
    raw: Raw
    where: str
    """`gsvr.yaml:3`."""
    base: Path
    """Folder from which relative paths are taken."""


@dataclass(slots=True)
class FileContent:
    """What a file holds."""

    path: Path
    settings: list[Setting] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Sentences, each with file and line."""


def find_project_file(cwd: Path) -> Path | None:
    """The nearest `gsvr.yaml` from `cwd` upward; None when there is none."""
    for folder in (cwd, *cwd.parents):
        candidate = folder / PROJECT_FILE
        if candidate.is_file():
            return candidate
    return None


def user_file(env: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/gsvr/config.yaml`, whether it exists or not."""
    home = Path(env.get("HOME") or Path.home())
    return Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "gsvr" / "config.yaml"


def read_file(path: Path) -> FileContent:
    """Read one file. Problems are in the result; nothing is raised."""
    content = FileContent(path)
    text = _text(content)
    if text is None:
        return content
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        content.problems.append(f"{path}{_yaml_place(error)}")
        return content
    except RecursionError:
        content.problems.append(f"{path}: nested too deeply")
        return content
    if root is None or _is_null(root):
        return content
    if not isinstance(root, yaml.MappingNode):
        content.problems.append(f"{path}: must be a list of `name: value` lines")
        return content
    for word, node, where in _pairs(content, root):
        if word in SECTIONS:
            _read_section(content, word, node, where)
        else:
            _read_option(content, word, node, where, "")
    return content


def _text(content: FileContent) -> str | None:
    path = content.path
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        content.problems.append(f"{path}: cannot be read ({error.strerror or error})")
        return None
    if len(data) > MAX_FILE_BYTES:
        content.problems.append(f"{path}: larger than {MAX_FILE_BYTES >> 20} MB")
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        content.problems.append(f"{path}:{line}: not UTF-8 text; save the file as UTF-8")
        return None


def _yaml_place(error: Exception) -> str:
    """`:3: not valid YAML (...)`."""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    line = f":{mark.line + 1}" if mark is not None else ""
    return f"{line}: {NOT_YAML} ({what})"


def _is_null(node: Any) -> bool:
    return bool(node.tag == _NULL_TAG)


def _pairs(content: FileContent, mapping: Any) -> Iterator[tuple[str, Any, str]]:
    """(word, value node, place) of a mapping; a repeated or odd word is a problem."""
    import yaml

    seen: dict[str, int] = {}
    for key, value in mapping.value:
        line = key.start_mark.line + 1
        where = f"{content.path}:{line}"
        if not isinstance(key, yaml.ScalarNode):
            content.problems.append(f"{where}: the name of an option must be a word")
            continue
        word = key.value.strip().lower().replace("-", "_")
        if word in seen:
            content.problems.append(f"{where}: {key.value} is set twice (line {seen[word]})")
            continue
        seen[word] = line
        yield word, value, where


def _read_section(content: FileContent, section: str, node: Any, where: str) -> None:
    import yaml

    if _is_null(node):
        return
    if not isinstance(node, yaml.MappingNode):
        content.problems.append(f"{where}: {section} must be a section, with its options below it")
        return
    for word, value, place in _pairs(content, node):
        _read_option(content, word, value, place, section)


def _read_option(content: FileContent, word: str, node: Any, where: str, section: str) -> None:
    full = f"{section}.{word}" if section else word
    option = find_option(full)
    if option is None or (not section and "." in word):
        content.problems.append(f"{where}: unknown option {full}{_suggestion(word, section)}")
        return
    try:
        raw = _raw(node, option.kind is Kind.HEADERS)
    except ValueError as error:
        content.problems.append(f"{where}: {full} {error}")
        return
    earlier = next((s for s in content.settings if s.option is option), None)
    if earlier is not None:
        content.problems.append(f"{where}: {full} is the same as {earlier.where}; keep one")
        return
    content.settings.append(Setting(option, raw, where, content.path.parent))


def _suggestion(word: str, section: str) -> str:
    if section:
        names = [n.partition(".")[2] for n in BY_WORD if n.startswith(f"{section}.")]
        return nearest(word, tuple(names)) or f"; known: {', '.join(dict.fromkeys(names))}"
    plain = tuple(n for n in BY_WORD if "." not in n) + SECTIONS
    return nearest(word, plain)


def _raw(node: Any, is_mapping: bool = False) -> Raw:
    """The text of a scalar, of a list of scalars, or of a mapping where one is taken."""
    import yaml

    if not node.tag.startswith(_PLAIN_TAG) or node.tag.startswith(f"{_PLAIN_TAG}python"):
        raise ValueError("must be a plain value, without a YAML tag")
    if _is_null(node):
        return None
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        if not all(isinstance(item, yaml.ScalarNode) for item in node.value):
            raise ValueError("must be a list of plain words")
        return [str(item.value) for item in node.value]
    if is_mapping and isinstance(node, yaml.MappingNode):
        return _raw_mapping(node)
    raise ValueError("must be a single value, not a section")


def _raw_mapping(node: Any) -> dict[str, str]:
    import yaml

    found: dict[str, str] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
            raise ValueError("must be plain names and values")
        if key.value in found:
            raise ValueError(f"names {key.value} twice")
        found[str(key.value)] = "" if _is_null(value) else str(value.value)
    return found
