"""Turn what the Gemini SDK, the HTTP client and the service say into errors of errors.py.

True here: a delay that the service asks for is kept only up to `MAX_DELAY_S` (one has been seen
asking for 9.2e18 seconds); a daily quota is told from one per minute by its quotaId, since waiting
for the RetryInfo of a daily quota does not help; a wrong key comes as 400, not 401; no text of
the service is passed on before the key was taken out of it.
Source of the bodies: captured answers of the service (google.rpc Status, QuotaFailure, RetryInfo,
ErrorInfo); midnight Pacific as the reset of daily quotas: the provider's page on rate limits.
Pure. Never: sends, waits, logs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gs_video_report.errors import (
    AuthenticationError,
    DownloadRefused,
    FatalError,
    GsvrError,
    LimitReached,
    PermanentError,
    Refused,
    RetryableError,
    Unreachable,
    UploadGone,
)

MAX_DELAY_S = 120.0
OVERLOADED_DELAY_S = 20.0
"""Before trying again when the service is overloaded and names no time."""
SERVICE = "the Gemini service"
_MAX_MESSAGE = 240
_NO_QUOTA = re.compile(r"\blimit: 0\b(?!\.\d)")
"""In the long message of a 429; the details leave out a quotaValue of 0."""
_SETTINGS = re.compile(
    r"generation_?config|thinking|temperature|top_?[pk]\b|media_?resolution|max_?output_?tokens"
    r"|response_?(json_?)?schema|response_?mime_?type|(system|developer) instruction|json mode",
    re.IGNORECASE,
)
"""Words of refusals that are about how is asked, not about what is asked."""
_OF_FILE = re.compile(r"\b(file|video|audio|image|uri|token count)\b", re.IGNORECASE)
_KEY_HINT = "check the key: gsvr config set-key gemini"
_NETWORK_HINT = "check the network connection; what is finished is kept"


@dataclass(frozen=True, slots=True)
class ServiceError:
    """The parts of a refusal that matter."""

    code: int
    """HTTP status; 0 when there was no answer."""
    status: str = ""
    message: str = ""
    reasons: frozenset[str] = frozenset()
    """ErrorInfo reasons, such as API_KEY_INVALID."""
    quotas: tuple[str, ...] = ()
    """quotaIds of the violations."""
    delay_s: float | None = None
    """What RetryInfo or Retry-After asks for, seconds in 0..MAX_DELAY_S."""
    has_no_quota: bool = False
    """The quota that is spent is 0: the model is not in the project's tier at all."""
    per_minute: tuple[tuple[str, float], ...] = ()
    """Quotas per minute that are spent: `requests` or `tokens`, and how much the service takes."""
    fields: tuple[str, ...] = ()
    """Which fields of the request are wrong (BadRequest), such as `generation_config.top_p`."""

    @property
    def is_rate_limit(self) -> bool:
        """A quota is spent."""
        return self.code == 429 or self.status == "RESOURCE_EXHAUSTED"

    @property
    def is_daily(self) -> bool:
        """The day's quota is spent."""
        names = (q.lower().replace("_", "") for q in self.quotas)
        return self.is_rate_limit and any("perday" in name for name in names)

    @property
    def is_bad_key(self) -> bool:
        """The key itself is refused."""
        if self.reasons & {"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED"}:
            return True
        return self.code == 401 or (self.code == 400 and "API key" in self.message)

    @property
    def is_about_settings(self) -> bool:
        """A 400 that every recording would get: an option is not for this model."""
        if self.code != 400 or self.status not in ("", "INVALID_ARGUMENT"):
            return False
        if self.fields:
            return any(_SETTINGS.search(field) for field in self.fields)
        return bool(_SETTINGS.search(self.message)) and not _OF_FILE.search(self.message)

    @property
    def is_missing_file(self) -> bool:
        """The uploaded file is gone: expired, deleted, or of another project."""
        return self.code == 403 and "File" in self.message


def masker(key: str) -> Callable[[str], str]:
    """A function that takes `key` out of a text."""

    def mask(text: str) -> str:
        return text.replace(key, "****") if key else text

    return mask


def read_error(code: int, body: Any, headers: Any = None) -> ServiceError:
    """Understand an error body of the service, whatever is missing from it."""
    outer = body[0] if isinstance(body, list) and body else body
    inner = outer.get("error", outer) if isinstance(outer, dict) else {}
    if not isinstance(inner, dict):
        inner = {"message": str(inner)}
    details = [d for d in _list(inner.get("details")) if isinstance(d, dict)]
    asked = _asked_s(details, headers)
    message = " ".join(str(inner.get("message") or "").split())
    return ServiceError(
        code=code or _int(inner.get("code")),
        status=str(inner.get("status") or ""),
        message=message[:_MAX_MESSAGE],
        reasons=frozenset(str(d["reason"]) for d in details if "reason" in d),
        quotas=tuple(_quotas(details)),
        per_minute=tuple(_per_minute(details)),
        delay_s=None if asked is None else min(asked, MAX_DELAY_S),
        has_no_quota=_NO_QUOTA.search(message) is not None,
        fields=tuple(_fields(details)),
    )


def _quotas(details: Iterable[dict[str, Any]]) -> Iterable[str]:
    for detail in details:
        for violation in _list(detail.get("violations")):
            if isinstance(violation, dict):
                yield str(violation.get("quotaId") or violation.get("quotaMetric") or "")


def _per_minute(details: Iterable[dict[str, Any]]) -> Iterable[tuple[str, float]]:
    """Only what is told of a minute; `quotaValue` is a text, and may be anything."""
    for violation in (v for d in details for v in _list(d.get("violations"))):
        if not isinstance(violation, dict):
            continue
        name = str(violation.get("quotaId") or "").lower().replace("_", "")
        try:
            value = float(str(violation.get("quotaValue")))
        except ValueError:
            continue
        if "perminute" in name and math.isfinite(value) and value > 0:
            yield ("tokens" if "token" in name else "requests"), value


def _fields(details: Iterable[dict[str, Any]]) -> Iterable[str]:
    for detail in details:
        for violation in _list(detail.get("fieldViolations")):
            if isinstance(violation, dict) and violation.get("field"):
                yield str(violation["field"])


def _asked_s(details: Iterable[dict[str, Any]], headers: Any) -> float | None:
    """Seconds, not negative; None when nothing usable is there."""
    texts = [d.get("retryDelay") for d in details if "retryDelay" in d]
    if headers is not None:
        texts.append(headers.get("Retry-After") or headers.get("retry-after"))
    for text in texts:
        seconds = _duration_s(text)
        if seconds is not None:
            return seconds
    return None


def _duration_s(text: Any) -> float | None:
    """`39.8s`, `30`, `{"seconds": "3"}`; None for anything else (an HTTP date, nonsense)."""
    if isinstance(text, dict):
        text = text.get("seconds")
    try:
        seconds = float(str(text).strip().removesuffix("s"))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def classify(error: ServiceError, what: str, *, model: str = "") -> GsvrError:
    """The error of ours for a refusal.

    Args:
        what: what was asked for, as "upload of talk.mp4"; begins the message.
        model: named when the service does not know it.
    """
    if error.is_bad_key:
        return AuthenticationError(
            f"{SERVICE} refuses the key ({error.message})", hint=_KEY_HINT, status=error.code,
            engine="gemini", bad_key=True,
        )  # fmt: skip
    if error.is_rate_limit and error.has_no_quota:
        return AuthenticationError(
            f"{SERVICE} has no quota for {model or 'this model'} with the present key (limit: 0)",
            hint="choose another model with --model, or use a key of a project with billing",
            status=error.code,
            engine="gemini",
        )
    if error.is_daily:
        return day_is_spent(datetime.now(UTC), error)
    if error.is_rate_limit:
        return Refused(
            f"{what}: {SERVICE} is asked too often",
            retry_after_s=error.delay_s,
            status=429,
            per_minute=dict(error.per_minute),
        )
    if error.code in (408, 500, 502, 503, 504) or error.code >= 500 or error.code == 0:
        return Unreachable(
            f"{what}: {SERVICE} answered {error.code} ({error.message or 'no reason given'})",
            hint="try again later",
            retry_after_s=OVERLOADED_DELAY_S if error.delay_s is None else error.delay_s,
            status=error.code,
            service=SERVICE,
            certain=error.code in (502, 503, 504),
        )
    return _classify_request(error, what, model)


def _classify_request(error: ServiceError, what: str, model: str) -> GsvrError:
    """Refusals of 4xx that are not about key or quota."""
    if error.is_missing_file:
        return UploadGone(f"{what}: the uploaded file is gone", status=error.code)
    if error.code == 403:
        return AuthenticationError(
            f"{SERVICE} does not allow this with the present key ({error.message})",
            hint="see the key's restrictions, and whether the Gemini API is enabled for it",
            status=error.code,
            engine="gemini",
            reason=", ".join(sorted(error.reasons)),
        )
    if error.code == 404 and model:
        return FatalError(
            f"{SERVICE} has no model {model!r} that can do this",
            hint="choose another one with --model",
            status=error.code,
        )
    if error.status == "FAILED_PRECONDITION" and "ocation" in error.message:
        return FatalError(
            f"{SERVICE} is not available here ({error.message})",
            hint="use another engine, or a paid key where the free tier is not offered",
        )
    if error.status == "FAILED_PRECONDITION" and "ACTIVE" in error.message:
        return RetryableError(
            f"{what}: the uploaded file is not ready yet", retry_after_s=OVERLOADED_DELAY_S
        )
    if error.is_about_settings:
        named = f" for {model}" if model else ""
        return FatalError(
            f"{SERVICE} refuses the settings{named}: {error.message or ', '.join(error.fields)}",
            hint="change or leave out that option of the gemini engine (gsvr config show --origin "
            "tells where it was set), then run the command again",
            status=error.code,
        )
    return PermanentError(
        f"{what}: {SERVICE} refuses the request: {error.message or error.code}", status=error.code
    )


def hidden_video(error: AuthenticationError, shown: str) -> DownloadRefused | None:
    """What a refusal means when a public address was handed over: a 403 without a reason is about
    the video (private, unlisted, removed); None for one that is about the key."""
    if error.data.get("status") != 403 or error.data.get("reason"):
        return None
    return DownloadRefused(
        f"{shown}: {SERVICE} may not see this video",
        hint="only public videos can be handed over; download it and pass the file",
    )


def day_is_spent(now: datetime, error: ServiceError | None = None) -> LimitReached:
    """LimitReached until the provider's next midnight after `now` (aware)."""
    resume_at = next_reset(now)
    quotas = ", ".join(error.quotas) if error is not None else ""
    return LimitReached(
        f"the day's quota of {SERVICE} is spent",
        hint="resume the batch after the reset, or give another key",
        resume_at=resume_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        quota=quotas,
    )


def day_was_spent(until: datetime) -> LimitReached:
    """LimitReached until `until` (aware), of which an earlier run was told; nothing was sent."""
    shown = f"{until.astimezone():%Y-%m-%d %H:%M}"
    return LimitReached(
        f"the day's quota of {SERVICE} is spent, as it told an earlier run",
        hint=f"resume the batch after {shown}, or give another key; if the quota was raised: "
        "gsvr quota --retry-spent",
        resume_at=until.isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


def next_reset(now: datetime) -> datetime:
    """Midnight Pacific after `now` (aware), as UTC."""
    zone: tzinfo
    try:
        zone = ZoneInfo("America/Los_Angeles")
    except (ZoneInfoNotFoundError, ValueError):
        zone = timezone(timedelta(hours=-8))  # a small machine without a time zone database
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), zone).astimezone(UTC)


def from_exception(
    error: BaseException, what: str, *, model: str = "", mask: Callable[[str], str] = str
) -> GsvrError:
    """The error of ours for anything that the SDK or the HTTP client raised."""
    if isinstance(error, GsvrError):
        return error
    from google.genai import errors as sdk

    if isinstance(error, sdk.APIError):
        response = getattr(error, "response", None)
        body = json.loads(mask(json.dumps(error.details, default=str)))
        read = read_error(int(error.code or 0), body, getattr(response, "headers", None))
        return classify(read, what, model=model)
    return _from_transport(error, what, mask)


def _from_transport(error: BaseException, what: str, mask: Callable[[str], str]) -> GsvrError:
    """No proper answer: no connection, cut, late, or not JSON."""
    import httpx2

    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        return Unreachable(
            f"{what}: {SERVICE} cannot be reached ({mask(str(error)) or 'no answer'})",
            hint=_NETWORK_HINT,
            service=SERVICE,
            certain=True,
        )
    if isinstance(error, (TimeoutError, httpx2.TimeoutException)):
        return Unreachable(
            f"{what}: no answer in time",
            hint="raise the timeout of the gemini engine",
            in_doubt=True,
            service=SERVICE,
        )
    if isinstance(error, (httpx2.TransportError, ConnectionError, OSError)):
        return Unreachable(
            f"{what}: the connection was cut", hint=_NETWORK_HINT, in_doubt=True, service=SERVICE
        )
    if isinstance(error, (ValueError, KeyError, TypeError)):
        return RetryableError(
            f"{what}: {SERVICE} sent something that is no proper answer", in_doubt=True
        )
    return PermanentError(f"{what}: {type(error).__name__}: {mask(str(error))[:_MAX_MESSAGE]}")
