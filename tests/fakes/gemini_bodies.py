"""What the fake Gemini service says: files, answers and errors, in the shapes of the real one.

Pure and deterministic: the answer about a recording depends on its content and the offsets asked
for, so a test can tell a lost, doubled or repeated line from a good one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

LINE_S = 10
"""In the fake's world something is said every ten seconds, for eight seconds."""
SPOKEN_S = 8
TOKENS_PER_S = 102
"""70 for one picture and 32 for the sound."""
PRICES = {"gemini-3.8-flash": (0.75, 3.75), "gemini-3.5-flash-lite": (0.30, 2.50)}
"""USD per million tokens in and out."""
HELP = {
    "@type": "type.googleapis.com/google.rpc.Help",
    "links": [
        {
            "description": "Learn more about Gemini API quotas",
            "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
        }
    ],
}
METRIC = "generativelanguage.googleapis.com/generate_content_free_tier_requests"
SAFETY = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}


def clock(seconds: float) -> str:
    """`H:MM:SS`."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def line_text(voice: str, number: int) -> str:
    """What is said in line `number` of the recording called `voice`."""
    return f"Line {number} of {voice} says that {number} times two is {2 * number}."


def lines_between(start_s: float, end_s: float) -> range:
    """Numbers of the lines that begin in [start_s, end_s)."""
    return range(-(-int(start_s) // LINE_S), -(-int(end_s) // LINE_S))


def answer(
    voice: str, start_s: float, end_s: float, schema: dict[str, Any] | None, *, shift_s: float = 0
) -> dict[str, Any]:
    """The answer about [start_s, end_s), with the properties the schema names (all without one).

    Args:
        shift_s: taken off every time: a model that counts from the start of the clip.
    """
    lines = [_line(voice, n, shift_s) for n in lines_between(start_s, end_s)]
    first = lines[0] if lines else {"text": "", "start": clock(start_s - shift_s)}
    quote = " ".join(first["text"].split()[:4])
    point = {"text": f"It is about {voice}.", "at": first["start"], "quote": quote}
    known: dict[str, Any] = {
        "language": "en",
        "segments": lines,
        "chapters": [
            {"start": first["start"], "title": f"Part from {clock(start_s)}", "summary": "Doubling"}
        ],
        "summary": [
            point,
            {"text": "Nobody said this.", "at": first["start"], "quote": "purple bananas dance"},
        ],
        "key_terms": ["doubling", voice],
        "sections": [
            {"key": key, "items": [{**point, "text": f"{key} from {clock(start_s)}"}]}
            for key in _section_keys(schema)
        ],
    }
    if schema is None:
        return known
    return {name: known[name] for name in schema.get("properties", {}) if name in known}


def _line(voice: str, number: int, shift_s: float) -> dict[str, str]:
    start = number * LINE_S - shift_s
    text = line_text(voice, number)
    return {
        "start": clock(start),
        "end": clock(start + SPOKEN_S),
        "speaker": "",
        "text": text,
        "translation": f"译：{text}",
    }


def _section_keys(schema: dict[str, Any] | None) -> list[str]:
    sections = (schema or {}).get("properties", {}).get("sections", {})
    key = sections.get("items", {}).get("properties", {}).get("key", {})
    return list(key.get("enum") or [])


def tokens_of(text: str) -> int:
    """Four bytes a token."""
    return -(-len(text.encode()) // 4)


def response(
    text: str | None,
    finish: str,
    *,
    model: str,
    prompt_tokens: int,
    thoughts: int = 20,
    block: str = "",
) -> dict[str, Any]:
    """A GenerateContentResponse; `text` None gives a candidate without content."""
    candidate: dict[str, Any] = {"index": 0, "finishReason": finish}
    if text is not None:
        candidate["content"] = {"role": "model", "parts": [{"text": text}]}
    else:
        candidate["safetyRatings"] = [SAFETY]
    out = tokens_of(text or "")
    usage: dict[str, Any] = {
        "promptTokenCount": prompt_tokens,
        "candidatesTokenCount": out,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt_tokens + out + thoughts,
        "promptTokensDetails": [{"modality": "VIDEO", "tokenCount": prompt_tokens}],
    }
    made: dict[str, Any] = {"usageMetadata": usage, "modelVersion": model, "responseId": "r1"}
    if block:
        usage |= {"candidatesTokenCount": 0, "thoughtsTokenCount": 0}
        usage["totalTokenCount"] = prompt_tokens
        return made | {"promptFeedback": {"blockReason": block}}
    return {"candidates": [candidate], **made}


def cost_usd(model: str, body: dict[str, Any]) -> float:
    """What the service would charge for this response."""
    usage, (price_in, price_out) = body["usageMetadata"], PRICES.get(model, (0.75, 3.75))
    out = usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
    return float(usage["promptTokenCount"] * price_in + out * price_out) / 1e6


def _wall(hours: float) -> str:
    """So many hours from now, as the service writes times."""
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class StoredFile:
    """One uploaded file."""

    name: str
    key: str
    """The API key it belongs to."""
    display_name: str
    mime_type: str
    size_bytes: int
    sha256: str
    """Hexadecimal."""
    state: str = "PROCESSING"
    polls_left: int = 1
    created: str = "2026-11-22T08:14:25.112374Z"
    expires: str = field(default_factory=lambda: _wall(48))
    expires_at: float = 0.0
    content: bytes = b""
    """Kept for small text files only (batch input and output)."""

    def to_json(self, state: str | None = None) -> dict[str, Any]:
        """The File object of the service."""
        state = state or self.state
        made: dict[str, Any] = {
            "name": self.name,
            "displayName": self.display_name,
            "mimeType": self.mime_type,
            "sizeBytes": str(self.size_bytes),
            "createTime": self.created,
            "updateTime": self.created,
            "expirationTime": self.expires,
            "sha256Hash": base64.b64encode(self.sha256.encode()).decode(),
            "uri": f"https://generativelanguage.googleapis.com/v1/{self.name}",
            "state": state,
            "source": "UPLOADED",
        }
        if state == "ACTIVE":
            made["videoMetadata"] = {"videoDuration": "60s"}
        if state == "FAILED":
            made["error"] = {"code": 3, "message": "The video could not be processed."}
        return made


def error(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    """The error envelope of the service."""
    body: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        body["details"] = list(details)
    return {"error": body}


BAD_KEY = error(
    400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.",
    {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    },
)  # fmt: skip
NO_FILE = error(
    403, "PERMISSION_DENIED",
    "You do not have permission to access the File or it may not exist.",
)  # fmt: skip
NOT_ACTIVE = error(
    400, "FAILED_PRECONDITION",
    "The File X is not in an ACTIVE state and usage is not allowed.",
)  # fmt: skip
EXISTS = error(409, "ALREADY_EXISTS", "Requested entity already exists")
SHAPES: dict[str, tuple[int, dict[str, Any]]] = {
    "bad_key": (400, BAD_KEY),
    "too_long": (
        400,
        error(
            400, "INVALID_ARGUMENT",
            "The input token count exceeds the maximum number of tokens allowed 1048576.",
        ),
    ),
    "location": (
        400,
        error(
            400, "FAILED_PRECONDITION", "User location is not supported for the API use.",
        ),
    ),
    "bad_thinking": (
        400,
        error(400, "INVALID_ARGUMENT", "Thinking level MINIMAL is not supported for this model."),
    ),
    "bad_request": (400, error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")),
    "unauthenticated": (
        401,
        error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    ),
    "disabled": (
        403,
        error(
            403, "PERMISSION_DENIED",
            "Generative Language API has not been used in project 1 before or it is disabled.",
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "SERVICE_DISABLED",
                "domain": "googleapis.com",
            },
        ),
    ),
    "forbidden": (403, error(403, "PERMISSION_DENIED", "The caller does not have permission")),
    "no_file": (403, NO_FILE),
    "not_active": (400, NOT_ACTIVE),
    "no_model": (
        404,
        error(
            404, "NOT_FOUND",
            "models/X is not found for API version v1, or is not supported for generateContent. "
            "Call ModelService.ListModels to see the list of available models and their "
            "supported methods.",
        ),
    ),
    "exhausted": (
        429, error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    ),
    "no_tier": (
        429,
        error(
            429, "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details. For "
            "more information on this error, head to: https://ai.google.dev/gemini-api/docs/"
            "rate-limits. To monitor your current usage, head to: https://ai.dev/rate-limit. \n"
            "* Quota exceeded for metric: generativelanguage.googleapis.com/"
            "generate_content_free_tier_requests, limit: 0, model: gemini-4-argon\n"
            "Please retry in 39.844676573s.",
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                    {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"},
                    {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"},
                ],
            },
        ),
    ),
    "internal": (
        500,
        error(
            500, "INTERNAL",
            "An internal error has occurred. Please retry or report in "
            "https://developers.generativeai.google/guide/troubleshooting",
        ),
    ),
    "overloaded": (
        503, error(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    ),
    "deadline": (504, error(504, "DEADLINE_EXCEEDED", "Deadline expired.")),
}  # fmt: skip
"""Named error answers that a test or a person can ask for."""

QUOTA_IDS = {
    "minute": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    "day": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    "tokens": "GenerateContentInputTokensPerModelPerMinute-FreeTier",
}


def quota_error(kind: str, limit: int, model: str, delay: str) -> dict[str, Any]:
    """A 429 as captured from the service. `kind` is a key of QUOTA_IDS; `delay` such as `39.8s`."""
    message = (
        "You exceeded your current quota, please check your plan and billing details. "
        f"* Quota exceeded for metric: {METRIC}, limit: {limit}, model: {model}\n"
        f"Please retry in {delay}."
    )
    violation = {
        "quotaMetric": METRIC,
        "quotaId": QUOTA_IDS[kind],
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": str(limit),
    }
    return error(
        429, "RESOURCE_EXHAUSTED", message, HELP,
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    )  # fmt: skip


def pretty(body: dict[str, Any]) -> bytes:
    """JSON as the service sends it."""
    return json.dumps(body, ensure_ascii=False, indent=1).encode()
