"""Find, validate and render templates: what a report asks for and how its Markdown is laid out.

Truth: one YAML file per template, `<name>.yaml`; a file in the user's folder wins over the one
shipped here. The fingerprint is the SHA-256 of the file's bytes: another byte, another template.
A template is data from a stranger: safe YAML without aliases, unknown keys refused, Jinja2 in the
bounded sandbox of `sandbox.py`, names checked when it is loaded rather than when a report is due.
Never: writes, calls an engine, imports YAML or Jinja2 before they are needed.
Raises: TemplateError.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.errors import TemplateError

FORMAT_VERSION = 1
MAX_TEMPLATE_BYTES = 256 * 1024
SHIPPED_DIR = Path(__file__).parent

PROMPT_VARIABLES: dict[str, str] = {
    "title": "title in the recording or the input list; empty when only the file has a name",
    "file_name": "base name of the source; a prompt with it asks anew about a renamed file",
    "duration": "length as h:mm:ss",
    "language": "spoken language as a code, empty when unknown",
    "mode": "`video` when the model gets the recording itself, `text` when it gets the transcript",
    "transcript": "time-stamped transcript, one sentence per line (mode text)",
    "slides": "time-stamped text of the slides (mode text)",
    "chapters": "time-stamped chapters found so far, may be empty",
    "part": "number of this part of a long recording, from 1",
    "parts": "number of parts",
    "part_start": "start of this part as h:mm:ss",
    "part_end": "end of this part as h:mm:ss",
    "sections": "the template's sections: key, title, instruction",
    "response_schema": "the JSON schema of the answer, as text",
    "metadata": "columns of the input list, by name",
}
"""What a prompt may use. Engines pass what they have; the rest is empty."""

LAYOUT_VARIABLES: dict[str, str] = {
    "title": "title of the recording",
    "facts": "one line: length, language, source",
    "notices": "what the reader should know",
    "summary": "list of statements with times",
    "key_terms": "list of terms with times",
    "chapters": "list of chapters with links",
    "slides": "pictures with times and text",
    "transcript": "the whole transcript with links",
    "sections": "the template's sections: key, title, body",
    "about": "provenance",
    "labels": "headings in the report's language",
    "report": "the whole report as plain data, texts escaped for Markdown",
}
"""What a layout may use. Blocks are finished Markdown; an empty one means: nothing there."""

DEFAULT_LAYOUT = """# {{ title }}

{{ facts }}

{% if notices %}
{{ notices }}

{% endif %}
{% if summary %}
## {{ labels.summary }}

{{ summary }}

{% endif %}
{% for section in sections %}
## {{ section.title }}

{{ section.body }}

{% endfor %}
{% if key_terms %}
## {{ labels.key_terms }}

{{ key_terms }}

{% endif %}
{% if chapters %}
## {{ labels.chapters }}

{{ chapters }}

{% endif %}
{% if slides %}
## {{ labels.slides }}

{{ slides }}

{% endif %}
## {{ labels.transcript }}

{{ transcript }}

---

{{ about }}
"""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_LANGUAGE = re.compile(r"source|[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_KEYS = (
    *("schema", "name", "version", "title", "description", "language", "system_prompt"),
    *("prompt", "response_schema", "sections", "needs_llm", "labels", "layout"),
)
_SECTION_KEYS = ("key", "title", "instruction", "source")
SECTION_SOURCES = ("llm", "extractive")


@dataclass(frozen=True, slots=True)
class SectionSpec:
    """A part of the report that the template asks for beyond the fixed ones."""

    key: str
    title: str
    """Heading, in the template's language."""
    instruction: str = ""
    """What the part should say, for a language model."""
    source: str = "llm"
    """`llm`: only a language model can write it. `extractive`: taken as it is."""


@dataclass(frozen=True, slots=True)
class Template:
    """What a report should hold and how its Markdown is laid out."""

    name: str
    version: str
    title: str
    description: str
    language: str
    """Language of the report: a code such as `zh`, or `source` for the spoken one."""
    prompt: str = ""
    """Jinja2 source; see `PROMPT_VARIABLES`."""
    system_prompt: str = ""
    response_schema: dict[str, Any] | None = None
    """JSON schema of a model's answer; None lets the engine choose."""
    sections: tuple[SectionSpec, ...] = ()
    needs_llm: tuple[str, ...] = ()
    """What only a language model can do, in words for people: "translation into Chinese"."""
    layout: str = DEFAULT_LAYOUT
    """Jinja2 source of the Markdown body; see `LAYOUT_VARIABLES`."""
    labels: dict[str, str] = field(default_factory=dict)
    """Headings that differ from the ones of the language."""
    path: str = ""
    """The file it came from."""
    sha256: str = ""
    """Fingerprint of the file's bytes."""


def load_template(name: str, user_dir: Path | None = None) -> Template:
    """The template called `name`; a file in `user_dir` wins over a shipped one.

    Raises: TemplateError when there is none (names the nearest), or it is not valid.
    """
    if _NAME.fullmatch(name):
        for folder in _folders(user_dir):
            path = folder / f"{name}.yaml"
            if path.is_file():
                return parse_template(_read(path), str(path), name)
    raise _unknown(name, user_dir)


def template_loader(folder: Path | None) -> Callable[[str], Template]:
    """Loads each template once; `folder` holds the user's own."""
    known: dict[str, Template] = {}

    def load(name: str) -> Template:
        if name not in known:
            known[name] = load_template(name, folder)
        return known[name]

    return load


def list_templates(user_dir: Path | None = None) -> list[Template]:
    """All templates by name, a user's own in place of the shipped one of that name.

    Raises: TemplateError when one of them is not valid, naming the file.
    """
    return [load_template(name, user_dir) for name in template_names(user_dir)]


def template_names(user_dir: Path | None = None) -> list[str]:
    """Names that `load_template` knows, sorted. Opens no file."""
    found: set[str] = set()
    for folder in _folders(user_dir):
        if folder.is_dir():
            found.update(p.stem for p in folder.glob("*.yaml") if _NAME.fullmatch(p.stem))
    return sorted(found)


def render_prompt(template: Template, variables: Mapping[str, Any]) -> str:
    """The prompt for a model, with `variables` filled in.

    Args:
        variables: any of `PROMPT_VARIABLES`; those not given are empty. `sections` and
            `response_schema` come from the template unless given.

    Raises: TemplateError for an unknown variable name or a bound exceeded.
    """
    from gs_video_report.templates.sandbox import render

    unknown = sorted(set(variables) - set(PROMPT_VARIABLES))
    if unknown:
        raise TemplateError(f"a prompt has no variable named {', '.join(unknown)}")
    values: dict[str, Any] = dict.fromkeys(PROMPT_VARIABLES, "")
    values |= {"part": 1, "parts": 1, "mode": "text", "metadata": {}}
    values["sections"] = [
        {"key": s.key, "title": s.title, "instruction": s.instruction} for s in template.sections
    ]
    schema = template.response_schema
    values["response_schema"] = "" if schema is None else json.dumps(schema, ensure_ascii=False)
    return render(template.prompt, values | dict(variables), f"{template.name} (prompt)").strip()


def parse_template(data: bytes, path: str, name: str) -> Template:
    """Validate the bytes of one template file called `name`. Raises: TemplateError."""
    from gs_video_report.templates.strict_yaml import load_mapping

    if len(data) > MAX_TEMPLATE_BYTES:
        raise TemplateError(f"template {path}: larger than {MAX_TEMPLATE_BYTES // 1024} KiB")
    value = load_mapping(data, path)
    _check_keys(value, _KEYS, path)
    if value.get("schema", FORMAT_VERSION) != FORMAT_VERSION:
        raise TemplateError(
            f"template {path}: schema {value['schema']} is not known, this version reads "
            f"{FORMAT_VERSION}"
        )
    if value.get("name", name) != name:
        raise TemplateError(f"template {path}: is named {value['name']!r}, its file {name!r}")
    template = _build(value, path, name, hashlib.sha256(data).hexdigest())
    _check_sources(template)
    return template


def _build(value: dict[str, Any], path: str, name: str, sha256: str) -> Template:
    text = _Fields(value, path)
    return Template(
        name=name,
        version=text.required("version"),
        title=text.required("title"),
        description=text.optional("description"),
        language=text.matching("language", _LANGUAGE, "source"),
        prompt=text.optional("prompt"),
        system_prompt=text.optional("system_prompt"),
        response_schema=text.mapping("response_schema"),
        sections=_sections(value.get("sections") or [], path),
        needs_llm=tuple(text.strings("needs_llm")),
        layout=text.optional("layout") or DEFAULT_LAYOUT,
        labels=_labels(text.mapping("labels") or {}, path),
        path=path,
        sha256=sha256,
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """Typed access to the keys of one mapping; every refusal names file and key."""

    value: dict[str, Any]
    path: str

    def _refuse(self, key: str, what: str) -> TemplateError:
        return TemplateError(f"template {self.path}: '{key}' must be {what}")

    def optional(self, key: str) -> str:
        text = self.value.get(key, "")
        if not isinstance(text, str):
            raise self._refuse(key, 'text (put it in quotes, such as "1.0")')
        return text.strip("\n") + "\n" if "\n" in text else text.strip()

    def required(self, key: str) -> str:
        text = self.optional(key)
        if not text:
            raise self._refuse(key, "given")
        return text

    def matching(self, key: str, pattern: re.Pattern[str], default: str) -> str:
        text = self.optional(key) or default
        if not pattern.fullmatch(text):
            raise self._refuse(key, "a language code such as zh or en, or source")
        return text

    def mapping(self, key: str) -> dict[str, Any] | None:
        found = self.value.get(key)
        if found is not None and not isinstance(found, dict):
            raise self._refuse(key, "a mapping")
        return found

    def strings(self, key: str) -> list[str]:
        found = self.value.get(key) or []
        if not isinstance(found, list) or not all(isinstance(x, str) for x in found):
            raise self._refuse(key, "a list of texts")
        return found


def _sections(values: Any, path: str) -> tuple[SectionSpec, ...]:
    if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
        raise TemplateError(f"template {path}: 'sections' must be a list of mappings")
    specs = tuple(_section(v, path) for v in values)
    keys = [s.key for s in specs]
    twice = sorted({k for k in keys if keys.count(k) > 1})
    if twice:
        raise TemplateError(f"template {path}: section key {twice[0]!r} is used twice")
    return specs


def _section(value: dict[str, Any], path: str) -> SectionSpec:
    _check_keys(value, _SECTION_KEYS, f"{path}: sections")
    text = _Fields(value, f"{path}: sections")
    source = text.optional("source") or "llm"
    if source not in SECTION_SOURCES:
        raise TemplateError(f"template {path}: section source must be llm or extractive")
    key = text.required("key")
    if not _NAME.fullmatch(key):
        raise TemplateError(f"template {path}: section key {key!r} must be lower-case letters")
    return SectionSpec(key, text.required("title"), text.optional("instruction"), source)


def _labels(value: dict[str, Any], path: str) -> dict[str, str]:
    from gs_video_report.templates.labels import EN

    _check_keys(value, list(EN), f"{path}: labels")
    if not all(isinstance(v, str) for v in value.values()):
        raise TemplateError(f"template {path}: labels must be texts")
    return value


def _check_keys(value: dict[str, Any], known: list[str] | tuple[str, ...], path: str) -> None:
    for key in value:
        if key not in known:
            near = _nearest(str(key), known)
            better = f", did you mean {near!r}?" if near else f"; known: {', '.join(known)}"
            raise TemplateError(f"template {path}: unknown key {key!r}{better}")


def _check_sources(template: Template) -> None:
    """Unknown names and forbidden constructs are found now, not in the middle of a batch."""
    from gs_video_report.templates.sandbox import undeclared

    for part, source, known in (
        ("prompt", template.prompt, PROMPT_VARIABLES),
        ("layout", template.layout, LAYOUT_VARIABLES),
    ):
        where = f"{template.path} ({part})"
        for name in sorted(undeclared(source, where) - set(known) - {"range"}):
            near = _nearest(name, tuple(known))
            better = f", did you mean {near!r}?" if near else ""
            raise TemplateError(f"template {where}: unknown variable {name!r}{better}")


def _nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(word, known, 1)), "")


def _folders(user_dir: Path | None) -> tuple[Path, ...]:
    return (SHIPPED_DIR,) if user_dir is None else (user_dir, SHIPPED_DIR)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TemplateError(f"template {path}: cannot be read ({error.strerror})") from error


def _unknown(name: str, user_dir: Path | None) -> TemplateError:
    names = template_names(user_dir)
    near = _nearest(name, names)
    if near:
        return TemplateError(f"there is no template {name!r}", hint=f"did you mean {near}?")
    return TemplateError(f"there is no template {name!r}", hint=f"known: {', '.join(names)}")
