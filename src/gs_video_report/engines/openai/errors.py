"""What errors of the `openai` package and of compatible servers mean for a task and its batch.

True here: bodies differ per server (`code` may be a word, a number or missing), so class, status,
code and words all count. Texts of servers are shown shortened and without anything that looks
like a key.
Never: raises by itself, sends anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gs_video_report.engines.llm.quota import MAX_RETRY_AFTER_S
from gs_video_report.errors import (
    AuthenticationError,
    FatalError,
    GsvrError,
    LimitReached,
    PermanentError,
    Refused,
    RetryableError,
    Unreachable,
)

MAX_SHOWN = 300
_CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_CONTEXT = re.compile(
    r"context (length|size|window)|maximum (context|number of tokens)|prompt is too long"
    r"|too many tokens|input (token count|length) .*exceed|exceeds? the (available )?context",
    re.IGNORECASE,
)
_FILTER_CODES = frozenset({
    "content_filter", "content_policy_violation", "responsibleaipolicyviolation",
    "data_inspection_failed", "sensitive_content",
})  # fmt: skip
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded"})
_IMAGES = re.compile(
    r"image input is not supported|invalid image input|does(n't| not) support (images?|vision)"
    r"|image_url.*(not supported|unsupported|unknown variant|only.*'?text)"
    r"|not a multimodal model|no endpoints found that support image",
    re.IGNORECASE,
)
_KEY_REFUSED = re.compile(r"api[ _-]?key.*(invalid|not valid|incorrect|expired)", re.IGNORECASE)
_FILTERED = re.compile(
    r"content management policy|requires moderation|(was|been|is) flagged"
    r"|moderation (blocked|failed)|violates? .*(usage|content) polic",
    re.IGNORECASE,
)
_COUNTRY = re.compile(
    r"(country|region|territory|location)\b.*not (supported|available)"
    r"|user location is not supported|unsupported_country",
    re.IGNORECASE,
)
_KEY_LIKE = re.compile(
    r"\b(?:(?:sk|pk|rk|gsk|xai)[-_]|AIza)[A-Za-z0-9*_-]{8,}"
    r"|\bkey[-_](?=[A-Za-z_-]*[0-9*])[A-Za-z0-9*_-]{8,}"
    r"|\bBearer\s+(?=\S*[0-9*])[^\s\"']{8,}"
)
"""Forms of keys. Plain words after `key` or `Bearer` are none: a key has digits or stars."""
_PER_DAY = re.compile(r"per[ -]day|\b[RT]PD\b|daily (limit|quota)", re.IGNORECASE)
_TRY_AGAIN = re.compile(
    r"try again in (?=\d)(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?", re.IGNORECASE
)
MAX_RESUME_S = 32 * 86_400.0
"""A month: longer waits are not believed."""
_TOKENS_IN_TEXT = re.compile(r"(?:context|maximum)[^.]*?(\d{3,8}) tokens", re.IGNORECASE)


class ContextTooLong(PermanentError):
    """The request is longer than the model reads; the engine cuts the recording smaller."""

    code = "E_CONTEXT_TOO_LONG"
    default_hint = "tell the model's limit with openai.context_tokens, or use another model"


@dataclass(frozen=True, slots=True)
class Failure:
    """The facts of one failed request."""

    status: int
    """HTTP status, 0 when there was no answer."""
    code: str
    message: str
    param: str = ""
    retry_after_s: float | None = None
    body: Any = None


def failure_of(error: Any, hidden: str = "") -> Failure:
    """Facts of an `openai.APIStatusError`. `hidden` (the key) is blotted out."""
    inner = _inner(error.body)
    code = str(inner.get("code") or inner.get("status") or "")
    kind = str(inner.get("type") or "")
    named = code if code and not code.isdigit() else kind
    return Failure(
        status=int(error.status_code),
        code=named.lower(),
        message=shown(str(inner.get("message") or _plain(error)), hidden),
        param=str(inner.get("param") or ""),
        retry_after_s=retry_after(error.response.headers),
        body=inner,
    )


def _inner(body: Any) -> dict[str, Any]:
    """The object with `message`: the package takes it out of `error` where it can."""
    if isinstance(body, list):  # Gemini's compatible address wraps the object in a list
        body = body[0] if body else {}
    if not isinstance(body, dict):
        return {}
    inner = body.get("error", body)
    return inner if isinstance(inner, dict) else {"message": str(inner)}


def _plain(error: Any) -> str:
    """What a server said that does not answer in JSON; pages of proxies are not worth showing."""
    text = str(getattr(error.response, "text", "") or "")
    return "" if "<" in text[:200] else text


def shown(text: str, hidden: str = "") -> str:
    """One short line for people, keys blotted out."""
    if hidden:
        text = text.replace(hidden, "****")
    text = " ".join(_KEY_LIKE.sub("****", text).split())
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def retry_after(headers: Any) -> float | None:
    """Seconds of `retry-after-ms`, `retry-after` (seconds or a date); None when not given."""
    ms, plain = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if ms is not None:
            return max(0.0, float(ms) / 1000)
        return None if plain is None else max(0.0, float(plain))
    except ValueError:
        return _until(str(plain))


def _until(text: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def classify(fail: Failure, server: str, model: str) -> GsvrError:
    """The error for one failed request to `server` (its address, for people)."""
    said = f": {fail.message}" if fail.message else ""
    if is_filtered(fail):
        return blocked(server, model, fail.message)
    if fail.status in (400, 403, 451) and _COUNTRY.search(f"{fail.code} {fail.message}"):
        return FatalError(
            f"{server} does not serve the country that the request came from{said}",
            hint="use a service that does (openai.base_url), or --engine local",
        )
    if fail.status in (400, 403) and fail.code == "model_not_found":
        return _not_found(server, model, said)
    if fail.status in (401, 403) or (fail.status == 400 and _refuses_key(fail)):
        return AuthenticationError(
            f"{server} refused the key (HTTP {fail.status}){said}",
            hint="check the key: gsvr config set-key openai",
            engine="openai",
            bad_key=True,
        )
    if fail.status == 402 or fail.code in _QUOTA_CODES:
        return LimitReached(
            f"{server}: the account has no credit left (HTTP {fail.status}){said}",
            hint="add credit or raise the account's limit, then resume the batch",
            of_key=True,
            **_resume(fail),
        )
    if fail.status == 429 and _PER_DAY.search(fail.message) and not _soon(fail):
        return LimitReached(
            f"{server}: the day's quota of the key is spent{said}",
            hint="resume the batch when the quota is free again",
            of_key=True,
            **_resume(fail),
        )
    if is_too_long(fail):
        return ContextTooLong(
            f"the request is longer than {model} reads{said}", context_tokens=context_of(fail)
        )
    if refuses_images(fail):
        return FatalError(
            f"{model} at {server} does not take pictures{said}",
            hint="switch them off (openai.images: false), or use a model that sees",
        )
    if fail.status == 404:
        return _not_found(server, model, said)
    return _by_status(fail, server, said)


def _by_status(fail: Failure, server: str, said: str) -> GsvrError:
    what = f"{server} answered HTTP {fail.status}{said}"
    if fail.status == 429:
        return Refused(f"{server} asks to slow down{said}", **_wait(fail))
    if fail.status in (408, 409, 425) or fail.status >= 500:
        if fail.status == 501:
            return FatalError(what, hint="this server cannot do what was asked of it")
        if fail.status >= 500:
            certain = fail.status in (502, 503, 504)
            data: dict[str, Any] = {"status": fail.status, "service": server, "certain": certain}
            return Unreachable(what, hint="try again later", **data, **_wait(fail))
        return RetryableError(what, status=fail.status, **_wait(fail))
    hint = "the server does not accept this kind of request; see its documentation"
    return PermanentError(what, hint=hint, status=fail.status)


def _told_wait_s(fail: Failure) -> float | None:
    """Seconds until the quota is free: of the header, else of the words (`in 1h7m12.5s`)."""
    if fail.retry_after_s is not None:
        return fail.retry_after_s
    found = _TRY_AGAIN.search(fail.message)
    if found is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _soon(fail: Failure) -> bool:
    """Whether it is worth waiting: a quota of the day that frees by and by."""
    wait_s = _told_wait_s(fail)
    return wait_s is not None and wait_s <= MAX_RETRY_AFTER_S


def _resume(fail: Failure) -> dict[str, Any]:
    """`resume_at` (ISO-8601 UTC) where the server told it."""
    wait_s = _told_wait_s(fail)
    if wait_s is None or not 0 <= wait_s <= MAX_RESUME_S:
        return {}
    at = datetime.now(UTC) + timedelta(seconds=wait_s)
    return {"resume_at": at.isoformat(timespec="seconds").replace("+00:00", "Z")}


def _wait(fail: Failure) -> dict[str, Any]:
    return {} if fail.retry_after_s is None else {"retry_after_s": fail.retry_after_s}


def _not_found(server: str, model: str, said: str) -> GsvrError:
    return FatalError(
        f"{server} does not know the model {model!r}{said}",
        hint="set openai.model to one that it offers; an address mostly ends in /v1",
    )


def blocked(server: str, model: str, said: str = "") -> PermanentError:
    """The provider's filter stopped the request or the answer."""
    more = f": {said}" if said else ""
    return PermanentError(
        f"the content filter of {server} blocked this recording ({model}){more}",
        hint="the other videos go on; for this one use another model, or --engine local",
    )


def is_too_long(fail: Failure) -> bool:
    """Whether the request exceeds the context of the model."""
    return fail.status in (400, 413, 422) and (
        fail.code in _CONTEXT_CODES or bool(_CONTEXT.search(fail.message))
    )


def context_of(fail: Failure) -> int | None:
    """The context length that the server named, if it did."""
    if isinstance(fail.body, dict) and isinstance(fail.body.get("n_ctx"), int):
        return int(fail.body["n_ctx"])
    found = _TOKENS_IN_TEXT.search(fail.message)
    return int(found[1]) if found else None


def is_filtered(fail: Failure) -> bool:
    """Whether a content filter refused the request."""
    return fail.status in (400, 403, 422) and (
        fail.code in _FILTER_CODES or bool(_FILTERED.search(fail.message))
    )


def refuses_images(fail: Failure) -> bool:
    """Whether the server or model takes text only."""
    return fail.status in (400, 404, 415, 422, 500, 501) and bool(_IMAGES.search(fail.message))


def _refuses_key(fail: Failure) -> bool:
    return fail.code in ("invalid_api_key", "api_key_invalid") or bool(
        _KEY_REFUSED.search(fail.message)
    )


def unwanted_parameter(fail: Failure) -> str:
    """The optional parameter that the server does not take: `response_format`, `temperature`,
    `max_tokens`, `max_completion_tokens`; empty when it is something else."""
    if fail.status not in (400, 404, 415, 422, 501) or is_too_long(fail):
        return ""
    words = f"{fail.param} {fail.message} {fail.code}".lower()
    for name in ("max_completion_tokens", "max_tokens", "temperature"):
        if fail.param == name:
            return name
    if re.search(r"response_format|json_schema|json_object|structured output|grammar", words):
        return "response_format"
    if "temperature" in words:
        return "temperature"
    # OpenAI: "'max_tokens' is not supported ... Use 'max_completion_tokens' instead."
    found = re.search(r"max_completion_tokens|max_tokens", words)
    return found[0] if found else ""
