"""What a chat request says and what its answer took, as OpenAI-compatible servers have it. Pure.

True here: what a server accepts (structured answers, `max_completion_tokens`, temperature) is one
value, its `Dialect`, which its refusals change; counts that cannot be true are not believed.
Never: sends anything, knows a key.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gs_video_report.engines.llm.prices import ModelPrice, TokenUse
from gs_video_report.engines.llm.tokens import estimate_messages, estimate_tokens

MAX_COUNT = 10**9
"""Tokens of one request; a larger number is no count."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG or PNG to show, with the words that introduce it."""

    caption: str
    data: bytes
    mime: str = "image/jpeg"

    @property
    def url(self) -> str:
        """As a data URL."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True, slots=True)
class Request:
    """One chat request."""

    model: str
    system: str
    turns: tuple[tuple[str, str], ...]
    """(`user` or `assistant`, text), in order; pictures belong to the first."""
    max_tokens: int
    schema: dict[str, Any] | None = None
    pictures: tuple[Picture, ...] = ()

    @property
    def tokens_in(self) -> int:
        """Estimated."""
        texts = [self.system, *(text for _, text in self.turns)]
        texts += [picture.caption for picture in self.pictures]
        return estimate_messages(texts, len(self.pictures)) + _schema_tokens(self.schema)


def _schema_tokens(schema: dict[str, Any] | None) -> int:
    """Some servers write the schema into the prompt."""
    return 0 if schema is None else estimate_tokens(str(schema))


@dataclass(slots=True)
class Dialect:
    """What this server takes; learned from its refusals."""

    token_field: str = "max_tokens"  # noqa: S105 (a field of the protocol)
    structured: str = "json_schema"
    temperature: bool = True
    refused: set[str] = field(default_factory=set)

    def learn(self, parameter: str, sent: Dialect) -> bool:
        """Do without `parameter` from now on; False when nothing is left to change.

        Args:
            sent: this dialect as it was when the refused request was sent. Of several requests
                in flight the first refusal teaches, and the others only go again.
        """
        before = (self.token_field, self.structured, self.temperature)
        if before != (sent.token_field, sent.structured, sent.temperature):
            return True
        if parameter == "response_format":
            self.structured = "json_object" if self.structured == "json_schema" else "none"
        elif parameter == "temperature":
            self.temperature = False
        elif parameter and parameter not in self.refused:
            self.refused.add(parameter)
            other = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
            self.token_field = other[parameter] if self.token_field == parameter else parameter
        return before != (self.token_field, self.structured, self.temperature)


def content(text: str, pictures: Sequence[Picture]) -> Any:
    """`content` of a message; plain text where possible, as some servers take nothing else."""
    if not pictures:
        return text
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for picture in pictures:
        parts.append({"type": "text", "text": picture.caption})
        parts.append({"type": "image_url", "image_url": {"url": picture.url}})
    return parts


def response_format(structured: str, schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """`response_format` in the way that the server takes; None: the words alone must do."""
    if schema is None or structured == "none":
        return None
    if structured == "json_object":
        return {"type": "json_object"}
    return {
        "type": "json_schema",
        "json_schema": {"name": "report", "strict": False, "schema": schema},
    }


def usage_of(
    completion: Any, request: Request, text: str, price: ModelPrice | None, on: Any
) -> dict[str, Any]:
    """requests, tokens_in, tokens_out, usd; estimated where the server does not count."""
    usage = getattr(completion, "usage", None)
    tokens_in = count_of(usage, "prompt_tokens")
    tokens_out = count_of(usage, "completion_tokens")
    details = getattr(usage, "prompt_tokens_details", None)
    use = TokenUse(
        tokens_in=request.tokens_in if tokens_in is None else tokens_in,
        tokens_out=estimate_tokens(text) if tokens_out is None else tokens_out,
        cached_in=count_of(details, "cached_tokens") or 0,
    )
    return {
        "requests": 1,
        "tokens_in": use.tokens_in,
        "tokens_out": use.tokens_out,
        "usd": round(price.cost(use, on), 8) if price is not None else 0.0,
    }


def count_of(value: Any, name: str) -> int | None:
    """A count that can be true; servers have sent other things. None: it is not told."""
    found = getattr(value, name, None)
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    return found if 0 <= found <= MAX_COUNT else None
