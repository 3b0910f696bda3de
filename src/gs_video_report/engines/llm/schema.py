"""Make a value fit a JSON schema as far as that is harmless, and say what did not fit.

True here: spelling is mended (a number written as text, one item instead of a list); content is
never invented: a list item without a required part is left out and reported. The subset of JSON
Schema is the one templates use: type, properties, required, items, enum, nullable.
Pure. Never: raises for any value.
"""

from __future__ import annotations

import math
from typing import Any, Final

_DROP: Final = object()
_WORDS = frozenset({
    "type", "properties", "required", "items", "enum", "description", "nullable", "title",
    "minItems", "maxItems", "minimum", "maximum", "format", "additionalProperties",
})  # fmt: skip
MAX_PROBLEMS = 20


def conform(value: Any, schema: dict[str, Any]) -> tuple[Any, list[str]]:
    """(fitting value, problems in words, at most `MAX_PROBLEMS`).

    A value that cannot fit at all becomes an empty one of the schema's type.
    """
    problems: list[str] = []
    fitted = _fit(value, schema, "answer", problems)
    if fitted is _DROP:
        fitted = _empty(_type(schema))
    return fitted, problems[:MAX_PROBLEMS]


def clean(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the words that services know; they refuse a request over any other one.

    A comma in an unquoted YAML text is enough to make one: `description: what is said, and how`.
    """
    found = {k: v for k, v in schema.items() if k in _WORDS and v is not None}
    if isinstance(found.get("items"), dict):
        found["items"] = clean(found["items"])
    if isinstance(found.get("properties"), dict):
        inner = found["properties"].items()
        found["properties"] = {k: clean(v) for k, v in inner if isinstance(v, dict)}
    return found


def without(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    """The same object schema without some of its properties."""
    properties = {k: v for k, v in schema.get("properties", {}).items() if k not in names}
    required = [name for name in schema.get("required", []) if name not in names]
    return {**schema, "properties": properties, "required": required}


def asks_for(schema: dict[str, Any] | None, name: str) -> bool:
    """True when the top-level object has the property `name`."""
    return schema is not None and name in schema.get("properties", {})


def _type(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if not kind and "properties" in schema:
        kind = "object"
    return str(kind).lower()


def _nullable(schema: dict[str, Any]) -> bool:
    kind = schema.get("type", "")
    return bool(schema.get("nullable")) or (isinstance(kind, list) and "null" in kind)


def _empty(kind: str) -> Any:
    return {"object": {}, "array": [], "string": ""}.get(kind)


def _fit(value: Any, schema: dict[str, Any], path: str, problems: list[str]) -> Any:
    kind = _type(schema)
    if value is None and _nullable(schema):
        return None
    if kind == "object":
        return _fit_object(value, schema, path, problems)
    if kind == "array":
        return _fit_array(value, schema, path, problems)
    fitted = _fit_scalar(value, kind)
    if fitted is _DROP:
        problems.append(f"{path}: {_shown(value)} is not a {kind}")
    elif "enum" in schema:
        return _fit_enum(fitted, schema["enum"], path, problems)
    return fitted


def _fit_object(value: Any, schema: dict[str, Any], path: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(f"{path}: {_shown(value)} is not an object")
        return _DROP
    found: dict[str, Any] = {}
    for name, inner in schema.get("properties", {}).items():
        if value.get(name) is not None:
            fitted = _fit(value[name], inner, f"{path}.{name}", problems)
            if fitted is not _DROP:
                found[name] = fitted
    missing = [name for name in schema.get("required", ()) if name not in found]
    problems.extend(f"{path}: {name} is missing" for name in missing)
    if path != "answer" and missing:
        return _DROP
    return found if schema.get("properties") else dict(value)


def _fit_array(value: Any, schema: dict[str, Any], path: str, problems: list[str]) -> Any:
    items = value if isinstance(value, list) else [value]
    inner = schema.get("items")
    if not isinstance(inner, dict):
        return items
    fitted = (_fit(item, inner, f"{path}[{n}]", problems) for n, item in enumerate(items))
    return [item for item in fitted if item is not _DROP]


def _fit_scalar(value: Any, kind: str) -> Any:
    if kind == "string":
        if isinstance(value, str):
            return value
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        return str(value) if plain else _DROP
    if kind in ("number", "integer"):
        return _fit_number(value, kind)
    if kind == "boolean":
        words = {"true": True, "false": False}
        return value if isinstance(value, bool) else words.get(str(value).lower(), _DROP)
    return value


def _fit_number(value: Any, kind: str) -> Any:
    if isinstance(value, bool):
        return _DROP
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return _DROP
    if not math.isfinite(number):
        return _DROP
    return round(number) if kind == "integer" else number


def _fit_enum(value: Any, choices: list[Any], path: str, problems: list[str]) -> Any:
    if value in choices:
        return value
    folded = {str(choice).strip().casefold(): choice for choice in choices}
    known = folded.get(str(value).strip().casefold(), _DROP)
    if known is _DROP:
        problems.append(f"{path}: {_shown(value)} is none of {', '.join(map(str, choices))}")
    return known


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
