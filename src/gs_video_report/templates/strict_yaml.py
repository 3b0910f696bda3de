"""Read a YAML mapping from a stranger: safe types, no aliases, no key twice, no deep nesting.

Raises: TemplateError with file and line.
"""

from __future__ import annotations

from typing import Any

from gs_video_report.errors import TemplateError

MAX_DEPTH = 24


def load_mapping(data: bytes, path: str) -> dict[str, Any]:
    """The one mapping in `data` (UTF-8). Raises: TemplateError."""
    import yaml

    try:
        text = data.decode("utf-8-sig")
        _bounded(text, path)
        _refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
        value = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise TemplateError(f"template {path}: is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise TemplateError(f"template {path}: YAML error{line}: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise TemplateError(f"template {path}: is not valid YAML") from error
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        raise TemplateError(f"template {path}: must be a mapping with keys such as 'title'")
    return value


def _bounded(text: str, path: str) -> None:
    """Refuse deep nesting, and aliases, which make a small file stand for a huge value."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise TemplateError(f"template {path}: aliases are not allowed (*{event.anchor})")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise TemplateError(f"template {path}: nested too deeply")


def _refuse_repeated_keys(node: Any, path: str) -> None:
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_repeated_keys(child, path)
    if isinstance(node, yaml.MappingNode):
        seen: set[Any] = set()
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                line = key.start_mark.line + 1
                raise TemplateError(f"template {path}: key twice or not a text in line {line}")
            seen.add(key.value)
            _refuse_repeated_keys(child, path)
