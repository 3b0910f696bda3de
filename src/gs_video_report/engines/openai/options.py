"""Options of the `openai` engine: checked, completed from the price table, never holding a key.

Truth: `engine_options` of the batch. Words of the configuration file (`max_tokens`, `timeout`,
`images`) and of the design (`max_output_tokens`, `timeout_s`, `vision`) mean the same.
Pure. Raises: ConfigError for unknown names and bad values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from gs_video_report.engines.llm.prices import ModelPrice, PriceTable, with_prices
from gs_video_report.errors import ConfigError

DEFAULT_BASE_URL = "https://api.openai.com/v1"
DEFAULT_CONTEXT_TOKENS = 8192
"""Of a model that nothing is known about: what small local servers are started with."""
DEFAULT_ANSWER_TOKENS = 8192
MIN_CONTEXT_TOKENS = 1024
DEFAULT_TIMEOUT_S = 600.0
DEFAULT_MAX_IMAGES = 16
DEFAULT_TEMPERATURE = 0.2
DEFAULT_TRANSCRIBE_MODEL = "gpt-transcribe"
STRUCTURED = ("auto", "json_schema", "json_object", "none")
_ALIASES = {"max_tokens": "max_output_tokens", "timeout": "timeout_s", "images": "vision"}
_SECRET_HEADERS = ("authorization", "cookie", "key", "token", "secret")
_LIMITS = ("rpm", "tpm", "rpd")
"""Read by whoever configures the limiter; known here so that they are not refused."""


class Key(Protocol):
    """A secret that shows itself only when asked, such as `config_values.Secret`."""

    def reveal(self) -> str:
        """The text of the key."""
        ...


@dataclass(frozen=True, slots=True)
class OpenAIOptions:
    """Everything the engine may be told. None: not given."""

    base_url: str = DEFAULT_BASE_URL
    model: str = ""
    """Empty: the only one that the server offers."""
    temperature: float | None = DEFAULT_TEMPERATURE
    max_output_tokens: int | None = None
    context_tokens: int | None = None
    """Longest input and answer together."""
    headers: Mapping[str, str] = field(default_factory=dict)
    vision: bool | None = None
    """Send pictures; None: when the price table says that the model takes them."""
    max_images: int = DEFAULT_MAX_IMAGES
    """Per request."""
    transcribe: str = "local"
    """`local` or `remote`: who recognises the speech."""
    transcribe_model: str = DEFAULT_TRANSCRIBE_MODEL
    structured: str = "auto"
    """How the form of the answer is asked for; `auto` takes what the server accepts."""
    timeout_s: float = DEFAULT_TIMEOUT_S
    """For one request."""
    price_in: float | None = None
    price_out: float | None = None
    """US dollars per million tokens, over the table."""

    @property
    def host(self) -> str:
        """`api.openai.com`, `127.0.0.1:8080`: how the server is named to people."""
        return urlsplit(self.base_url).netloc

    @property
    def is_local(self) -> bool:
        """A server on this machine or in a private network costs nothing per token."""
        return _is_private(urlsplit(self.base_url).hostname or "")


def read_options(given: Mapping[str, Any]) -> OpenAIOptions:
    """Check `engine_options`. Raises: ConfigError naming the option, the nearest, or the bounds."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        name = _ALIASES.get(name, name)
        if name in _LIMITS or value is None:
            continue
        if name not in _READERS:
            raise ConfigError(f"openai.{name}: unknown option{_nearest(name)}")
        values[name] = _READERS[name](f"openai.{name}", value)
    if "temperature" not in values and values.get("base_url", DEFAULT_BASE_URL) == DEFAULT_BASE_URL:
        values["temperature"] = None  # OpenAI's own models mostly accept their default only
    return OpenAIOptions(**values)


@dataclass(frozen=True, slots=True)
class Model:
    """What is known of the model in use."""

    name: str
    context_tokens: int
    answer_tokens: int
    vision: bool
    price: ModelPrice | None


def describe(
    options: OpenAIOptions, table: PriceTable, name: str, *, offered_context: int | None = None
) -> Model:
    """Limits of a model: from the options, else the server, else the table, else cautious ones.

    Args:
        offered_context: from the server's list of models, if it tells.
    """
    known = table.find(name)
    context = options.context_tokens or offered_context
    if context is None:
        context = (known and known.context_tokens) or DEFAULT_CONTEXT_TOKENS
    answer = options.max_output_tokens
    if answer is None:
        limit = (known and known.answer_tokens) or DEFAULT_ANSWER_TOKENS
        answer = min(limit, 2 * DEFAULT_ANSWER_TOKENS, context // 4)
    if answer > context // 2:
        answer = context // 2
    price = None if options.is_local else known
    vision = options.vision if options.vision is not None else bool(known and known.vision)
    return Model(
        name=name,
        context_tokens=context,
        answer_tokens=answer,
        vision=vision and options.max_images > 0,
        price=with_prices(price, name, options.price_in, options.price_out),
    )


# --- readers: (name, value) -> value ------------------------------------------------------------


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or "\n" in value:
        raise ConfigError(f"{name}: must be text")
    return value.strip()


def _url(name: str, value: Any) -> str:
    from gs_video_report.config_values import parse_url

    try:
        return parse_url(_text(name, value)).rstrip("/")
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _number(low: float, high: float) -> Any:
    def read(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{name}: must be a number")
        if not low <= value <= high:
            raise ConfigError(f"{name}: must be from {low:g} to {high:g}")
        return float(value)

    return read


def _count(low: int, high: int) -> Any:
    def read(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(f"{name}: must be a whole number from {low} to {high}")
        return value

    return read


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name}: must be true or false")
    return value


def _choice(*words: str) -> Any:
    def read(name: str, value: Any) -> str:
        if value not in words:
            raise ConfigError(f"{name}: must be one of {', '.join(words)}")
        return str(value)

    return read


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110, 5.6.2."""
_HEADER_TEXT = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?|")


def _headers(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name}: must be a mapping of names to texts")
    found = {_text(name, k): _text(name, v) for k, v in value.items()}
    for header, text in found.items():
        if not _HEADER_NAME.fullmatch(header) or not _HEADER_TEXT.fullmatch(text):
            raise ConfigError(
                f"{name}: {header!r} cannot be sent as a header",
                hint="a name is made of letters, digits and hyphens, without spaces or colon; "
                "the text after it is ASCII in one line",
            )
        if any(word in header.lower() for word in _SECRET_HEADERS):
            raise ConfigError(
                f"{name}: {header} looks like a key, and these headers are stored with the batch",
                hint="give the key as the engine's key: gsvr config set-key openai",
            )
    return found


_READERS: dict[str, Any] = {
    "base_url": _url,
    "model": _text,
    "temperature": _number(0.0, 2.0),
    "max_output_tokens": _count(16, 10**7),
    "context_tokens": _count(MIN_CONTEXT_TOKENS, 10**8),
    "headers": _headers,
    "vision": _flag,
    "max_images": _count(0, 10_000),
    "transcribe": _choice("local", "remote"),
    "transcribe_model": _text,
    "structured": _choice(*STRUCTURED),
    "timeout_s": _number(1.0, 86_400.0),
    "price_in": _number(0.0, 1e5),
    "price_out": _number(0.0, 1e5),
}


def _nearest(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, _READERS, 1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(_READERS)}"


def _is_private(host: str) -> bool:
    import ipaddress

    if host == "localhost" or host.endswith((".localhost", ".local", ".lan", ".internal")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host
