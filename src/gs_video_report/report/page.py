"""What every HTML page here shares: escaping, inlined assets, the content security policy.

Truth: a page is one file and asks nothing of the network. Scripts and styles are inlined and named
in the policy by their SHA-256, so that nothing else can run even if an escape were missed.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from markupsafe import Markup

ASSETS = Path(__file__).with_name("assets")

LANGUAGE_NAMES = {
    "ar": "العربية",
    "de": "Deutsch",
    "en": "English",
    "es": "Español",
    "fr": "Français",
    "hi": "हिन्दी",
    "it": "Italiano",
    "ja": "日本語",
    "ko": "한국어",
    "nl": "Nederlands",
    "pl": "Polski",
    "pt": "Português",
    "ru": "Русский",
    "sv": "Svenska",
    "th": "ไทย",
    "tr": "Türkçe",
    "uk": "Українська",
    "vi": "Tiếng Việt",
    "yue": "粵語",
    "zh": "中文",
}


@functools.cache
def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (ASSETS / name).read_text(encoding="utf-8")


@functools.cache
def page_template(name: str) -> Template:
    """A page of `assets/`, compiled once in the life of the process."""
    return environment().from_string(asset(name))


@functools.cache
def environment() -> Environment:
    """Jinja2 for our own pages: everything escaped, unknown names are errors."""
    from jinja2 import Environment, StrictUndefined

    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def trusted(text: str) -> Markup:
    """Our own markup. Never: text of a recording."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704  (our own files and output of `island`)


def island(value: Any) -> Markup:
    """JSON inside a `<script type="application/json">`: no `<`, `>` or `&` is left to end it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return trusted(text.encode("utf-8", "replace").decode("utf-8"))


def policy(css: str, scripts: list[str], *, files: bool = False) -> str:
    """The content security policy of a page with these inline styles and scripts.

    Args:
        files: scripts and pictures beside the page are allowed as well (the library page).
    """
    beside = " 'self' file:" if files else ""
    hashes = " ".join(f"'sha256-{_digest(s)}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {hashes}{beside}; style-src 'sha256-{_digest(css)}'; "
        f"img-src data:{beside}; media-src 'self' file: blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def language_name(code: str) -> str:
    """How a language calls itself; the code when it is not a common one."""
    return LANGUAGE_NAMES.get(code.lower().split("-")[0], code)


def data_uri(image: bytes) -> str:
    """A picture inside the page."""
    kind = "jpeg"
    if image.startswith(b"\x89PNG"):
        kind = "png"
    elif image[8:12] == b"WEBP":
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
