"""What the fake OpenAI-compatible server says: answers made from the prompt, and error bodies.

True here: an answer is a function of the request alone. Statements quote lines of the transcript
word for word, so that their proofs hold; translations keep their numbers.
Pure.
"""

from __future__ import annotations

import json
import re
from typing import Any

WORDS_PER_TOKEN = 0.75
_LINE = re.compile(r"^\[(\d+:\d\d:\d\d)\] (.+)$", re.MULTILINE)
_NUMBERED = re.compile(r"^(\d+): (.+)$", re.MULTILINE)
_LIST = re.compile(r'<list key="([^"]+)">(.*?)</list>', re.DOTALL)


def count_tokens(text: str) -> int:
    """About four bytes a token."""
    return max(1, len(text.encode()) // 4)


def prompt_text(messages: list[dict[str, Any]]) -> str:
    """All words of a request."""
    texts = []
    for message in messages:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "\n".join(str(p.get("text", "")) for p in content if p.get("type") == "text")
        texts.append(str(content))
    return "\n".join(texts)


def images_in(messages: list[dict[str, Any]]) -> list[str]:
    """The addresses of all pictures in a request."""
    found = []
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part.get("type") == "image_url":
                found.append(str(part["image_url"]["url"]))
    return found


def answer_to(messages: list[dict[str, Any]], schema: dict[str, Any] | None) -> dict[str, Any]:
    """The JSON a good model would give."""
    text = prompt_text(messages)
    properties = (schema or {}).get("properties", {})
    if "lines" in properties or "<lines>" in text:
        return _translation(text)
    if "lists" in properties or "<list key=" in text:
        return _selection(text)
    return _report(text)


def _translation(text: str) -> dict[str, Any]:
    inside = text.split("<lines>")[-1].split("</lines>")[0]
    lines = [{"n": int(n), "text": f"译：{line}"} for n, line in _NUMBERED.findall(inside)]
    return {"lines": lines}


def _selection(text: str) -> dict[str, Any]:
    lists = []
    for key, body in _LIST.findall(text):
        numbers = [int(n) for n, _ in _NUMBERED.findall(body)]
        lists.append({"key": key, "keep": numbers[::2]})
    return {"lists": lists}


def _report(text: str) -> dict[str, Any]:
    inside = text.split("<transcript>")[-1].split("</transcript>")[0].split("(this part)")[-1]
    lines = _LINE.findall(inside) or [("0:00:00", "nothing was said")]
    points = [_point(at, line) for at, line in _evenly(lines, 4)]
    keys = re.findall(r"^\s*- ([a-z0-9_.-]+) \(", text, re.MULTILINE)
    words = [w for w in re.findall(r"\w{6,}", inside) if not w.isdigit()]
    return {
        "summary": points,
        "chapters": [
            {"start": at, "title": " ".join(line.split()[:5]), "summary": line}
            for at, line in _evenly(lines, 2)
        ],
        "key_terms": list(dict.fromkeys(words))[:6] or ["silence"],
        "sections": [{"key": key, "items": points[:2]} for key in dict.fromkeys(keys)],
    }


def _point(at: str, line: str) -> dict[str, str]:
    return {"text": f"It is said that {line}", "at": at, "quote": " ".join(line.split()[:20])}


def _evenly(items: list[Any], count: int) -> list[Any]:
    count = min(count, len(items))
    return [items[n * len(items) // count] for n in range(count)]


# --- bodies ------------------------------------------------------------------------------------


def completion(
    model: str, text: str, finish: str, tokens_in: int, tokens_out: int, number: int
) -> dict[str, Any]:
    """An answer of `POST /chat/completions`."""
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_795_000_000 + number,
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": text, "refusal": None},
            }
        ],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


def transcription(text: str, seconds: float, verbose: bool) -> dict[str, Any]:
    """An answer of `POST /audio/transcriptions`."""
    if not verbose:
        return {"text": text, "usage": {"type": "duration", "seconds": round(seconds)}}
    half = round(seconds / 2, 2)
    words = text.split()
    middle = len(words) // 2
    segments = [(0.0, half, words[:middle]), (half, round(seconds, 2), words[middle:])]
    return {
        "text": text,
        "language": "english",
        "duration": seconds,
        "segments": [
            {
                "id": n, "seek": 0, "start": a, "end": b, "text": " " + " ".join(part),
                "tokens": [], "temperature": 0.0, "avg_logprob": -0.2,
                "compression_ratio": 1.2, "no_speech_prob": 0.01,
            }
            for n, (a, b, part) in enumerate(segments)
        ],
    }  # fmt: skip


def models(names: list[str], context: int | None) -> dict[str, Any]:
    """An answer of `GET /models`; the length of the context as vLLM tells it."""
    more = {} if context is None else {"max_model_len": context}
    data = [
        {"id": n, "object": "model", "created": 1_795_000_000, "owned_by": "fake", **more}
        for n in names
    ]
    return {"object": "list", "data": data}


def error(
    message: str, kind: str, code: Any = None, param: str | None = None, **more: Any
) -> bytes:
    """The envelope of OpenAI."""
    body = {"message": message, "type": kind, "param": param, "code": code, **more}
    return json.dumps({"error": body}).encode()


SHAPES: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "bad_key": (
        401,
        error("Incorrect API key provided: {key}.", "invalid_request_error", "invalid_api_key"),
        {},
    ),
    "llama_bad_key": (401, error("Invalid API Key", "authentication_error", 401), {}),
    "gemini_bad_key": (
        400,
        b'[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]',
        {},
    ),
    "moderation": (  # OpenRouter
        403,
        error(
            'openai/gpt-4o requires moderation on OpenAI. Your input was flagged for "violence"',
            "",
            403,
            metadata={"reasons": ["violence"]},
        ),
        {},
    ),
    "no_access": (403, error("You do not have access to this organization.", "forbidden", ""), {}),
    "forbidden": (403, error("Country not supported", "request_forbidden", "unsupported"), {}),
    "no_credit": (402, error("Insufficient Balance", "unknown_error", "invalid_request_error"), {}),
    "quota_spent": (
        429,
        error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        {},
    ),
    "rate": (
        429,
        error("Rate limit reached", "tokens", "rate_limit_exceeded"),
        {"retry-after": "1"},
    ),
    "rate_absurd": (429, error("Slow down", "requests"), {"retry-after": "9.2e18"}),
    "ollama_missing": (
        404,
        error('model "x" not found, try pulling it first', "not_found_error"),
        {},
    ),
    "no_model": (
        404,
        error("The model `x` does not exist", "invalid_request_error", "model_not_found"),
        {},
    ),
    "page_404": (404, b"<html><body>404 page not found</body></html>", {}),
    "too_long": (
        400,
        error(
            "This model's maximum context length is 8192 tokens. However, your messages resulted "
            "in 9031 tokens.",
            "invalid_request_error", "context_length_exceeded", "messages",
        ),
        {},
    ),
    "filter": (
        400,
        error("The response was filtered", "invalid_request_error", "content_filter"),
        {},
    ),
    "dashscope_filter": (
        400,
        error("Input data may contain inappropriate content.", "data_inspection_failed",
              "data_inspection_failed"),
        {},
    ),
    "no_images": (500, error("image input is not supported - hint", "server_error", 500), {}),
    "server": (500, error("The server had an error", "server_error"), {}),
    "overloaded": (503, error("overloaded", "server_error"), {"retry-after": "2"}),
    "page_502": (502, b"<html><h1>Bad Gateway</h1></html>", {}),
    "page_200": (200, b"<html><h1>Welcome</h1></html>", {}),
    "empty_200": (200, b"", {}),
    "no_choices": (200, b'{"id":"x","object":"chat.completion","choices":[]}', {}),
    "error_200": (200, b'{"error":{"message":"upstream failed","code":502}}', {}),
    "unprocessable": (422, error("Input should be a valid list", "invalid_request_error"), {}),
}  # fmt: skip
"""Name of a fault -> status, body, headers."""
