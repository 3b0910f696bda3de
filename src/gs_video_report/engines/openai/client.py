"""Send one chat request to an OpenAI-compatible server, and say what came back in plain data.

True here: one call of `chat` is one answer, or one classified error. What the server accepts
(structured answers, `max_completion_tokens`, temperature) is learned from its refusals, which
cost nothing, and kept for the life of the process. The package's own retries are off: ours are
durable. A redirect to another server is refused. Every wait has an end: connecting, each read, and
the request as a whole; an answer that does not end is cut off.
Never: journals, waits for quota, logs or stores the key.
Raises: the classes of errors.py; DependencyMissing without the `openai` package.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from gs_video_report.engines.llm.bounded_body import MAX_ANSWER_BYTES, bounded
from gs_video_report.engines.llm.prices import ModelPrice, TokenUse
from gs_video_report.engines.llm.quota import NO_HINT, QuotaHint
from gs_video_report.engines.llm.same_server import stay_at
from gs_video_report.engines.openai import errors
from gs_video_report.engines.openai.headers import hint_of
from gs_video_report.engines.openai.options import DEFAULT_BASE_URL, Key, OpenAIOptions
from gs_video_report.engines.openai.request import (
    Dialect,
    Request,
    content,
    count_of,
    response_format,
    usage_of,
)
from gs_video_report.errors import DependencyMissing, GsvrError, RetryableError, Unreachable

CONNECT_TIMEOUT_S = 10.0
LIST_TIMEOUT_S = 20.0
GRACE_S = 5.0
"""A whole request may take this much longer than a single read."""
MAX_ADAPTATIONS = 6
NO_KEY = "none"
"""Servers without keys ignore it; the package insists on one."""


class ChatClient:
    """Requests to one server with one key."""

    def __init__(self, options: OpenAIOptions, key: Key | None) -> None:
        self.options = options
        self._key = key
        self._tls: ssl.SSLContext | None = None
        self._hints: dict[str, QuotaHint] = {}
        own = options.base_url == DEFAULT_BASE_URL
        self._dialect = Dialect("max_completion_tokens" if own else "max_tokens")
        if options.structured != "auto":
            self._dialect.structured = options.structured

    def __repr__(self) -> str:
        return f"ChatClient({self.options.base_url})"

    @property
    def has_key(self) -> bool:
        """Whether a key was given."""
        return self._key is not None

    @property
    def key_name(self) -> str:
        """A name for the key that tells nothing about it; `nokey` without one."""
        if self._key is None:
            return "nokey"
        return hashlib.sha256(b"gsvr:" + self._key.reveal().encode()).hexdigest()[:8]

    @asynccontextmanager
    async def _connection(self, timeout_s: float, model: str = "") -> AsyncIterator[Any]:
        """A client of the package for one request: nothing stays open behind our back.

        Args:
            model: what the server says of its quotas is kept for it (`hint`).
        """
        openai = require_openai()

        async def listen(response: Any) -> None:
            self._hints[model] = hint_of(response.headers)

        if self._tls is None:  # made once: loading the certificates takes a quarter of a second
            self._tls = await asyncio.to_thread(_trusted)
        timeout = openai.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        client = openai.AsyncOpenAI(
            api_key=self._key.reveal() if self._key is not None else NO_KEY,
            base_url=self.options.base_url,
            timeout=timeout,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(
                verify=self._tls,
                timeout=timeout,
                event_hooks={
                    "request": [stay_at(self.options.base_url)],
                    "response": [bounded(MAX_ANSWER_BYTES, self.options.host), listen],
                },
            ),
            default_headers=dict(self.options.headers),
        )
        async with client:
            try:
                async with asyncio.timeout(timeout_s + GRACE_S):
                    yield client
            except TimeoutError as error:
                raise self._timed_out(timeout_s) from error

    def hint(self, model: str) -> QuotaHint:
        """What the server said last of the quotas of `model`, with an answer or a refusal."""
        return self._hints.get(model, NO_HINT)

    async def models(self) -> dict[str, int | None]:
        """Names that the server offers, with the context length where it tells.

        Empty when the server has no such list. Raises: AuthenticationError, RetryableError.
        """
        openai = require_openai()
        try:
            async with self._connection(min(LIST_TIMEOUT_S, self.options.timeout_s)) as client:
                page = await client.models.list()
                items = getattr(page, "data", None) or []
                return {str(item.id): _context_of(item) for item in items}
        except openai.APIStatusError as error:
            fail = errors.failure_of(error, self._hidden())
            if fail.status in (404, 405, 501):
                return {}
            raise errors.classify(fail, self.options.host, "") from None  # it may repeat the key
        except (openai.OpenAIError, ValueError) as error:
            raise self._no_answer(error) from error

    async def chat(self, request: Request, price: ModelPrice | None, on: Any) -> dict[str, Any]:
        """Send `request`; the answer as data for the journal.

        Args:
            price: of the model; None counts nothing.
            on: the date whose prices hold.

        Returns: text, finish, model, and usage (requests, tokens_in, tokens_out, usd).

        Raises: Refused (429), ContextTooLong and the rest of `openai.errors.classify`.
        """
        for _ in range(MAX_ADAPTATIONS):
            try:
                completion = await self._send(request)
            except _Unwanted as unwanted:
                if not self._dialect.learn(unwanted.parameter, unwanted.sent):
                    raise unwanted.error from None
                continue
            return self._answer(completion, request, price, on)
        raise RetryableError(f"{self.options.host} refuses every form of the request")

    async def _send(self, request: Request) -> Any:
        openai = require_openai()
        used = replace(self._dialect)
        try:
            async with self._connection(self.options.timeout_s, request.model) as client:
                return await client.chat.completions.create(**self._body(request, used))
        except openai.APIStatusError as error:
            fail = errors.failure_of(error, self._hidden())
            known = errors.classify(fail, self.options.host, request.model)
            parameter = errors.unwanted_parameter(fail)
            if parameter and self._sent(parameter, used):
                raise _Unwanted(parameter, known, used) from None
            raise known from None
        except (openai.OpenAIError, ValueError) as error:
            raise self._no_answer(error) from error

    def _sent(self, parameter: str, used: Dialect) -> bool:
        if parameter == "response_format":
            return used.structured != "none" and self.options.structured == "auto"
        if parameter == "temperature":
            return used.temperature and self.options.temperature is not None
        return True

    def _body(self, request: Request, dialect: Dialect) -> dict[str, Any]:
        messages: list[dict[str, Any]] = []
        if request.system:
            messages.append({"role": "system", "content": request.system})
        for number, (role, text) in enumerate(request.turns):
            pictures = request.pictures if number == 0 else ()
            messages.append({"role": role, "content": content(text, pictures)})
        body: dict[str, Any] = {"model": request.model, "messages": messages}
        body[dialect.token_field] = request.max_tokens
        if dialect.temperature and self.options.temperature is not None:
            body["temperature"] = self.options.temperature
        form = response_format(dialect.structured, request.schema)
        return body | ({} if form is None else {"response_format": form})

    def _answer(
        self, completion: Any, request: Request, price: ModelPrice | None, on: Any
    ) -> dict[str, Any]:
        choices = getattr(completion, "choices", None)
        first = choices[0] if isinstance(choices, list) and choices else None
        if not hasattr(first, "message"):
            raise RetryableError(
                f"{self.options.host} did not answer as an OpenAI-compatible server does",
                hint=f"check openai.base_url: {self.options.base_url}",
            )
        choice: Any = first
        message = choice.message
        text = str(getattr(message, "content", None) or "")
        refusal = str(getattr(message, "refusal", None) or "")
        finish = str(getattr(choice, "finish_reason", None) or "stop")
        return {
            "text": text,
            "refusal": errors.shown(refusal, self._hidden()),
            "finish": finish,
            "model": str(getattr(completion, "model", "") or request.model),
            "usage": usage_of(completion, request, text, price, on),
        }

    async def transcribe(
        self,
        sound: bytes,
        name: str,
        language: str,
        seconds: float,
        price: ModelPrice | None,
        on: Any,
    ) -> dict[str, Any]:
        """Text of one WAV file: text, language, segments (start, end, text), usage.

        Times are asked for where the model can give them (`whisper...`).
        """
        openai = require_openai()
        model = self.options.transcribe_model
        wanted: dict[str, Any] = {"model": model, "file": (name, sound, "audio/wav")}
        if "whisper" in model.lower():
            wanted |= {"response_format": "verbose_json", "timestamp_granularities": ["segment"]}
        else:
            wanted["response_format"] = "json"
        if language:
            wanted["language"] = language
        try:
            async with self._connection(self.options.timeout_s, model) as client:
                heard = await client.audio.transcriptions.create(**wanted)
        except openai.APIStatusError as error:
            fail = errors.failure_of(error, self._hidden())
            raise errors.classify(fail, self.options.host, model) from None
        except (openai.OpenAIError, ValueError) as error:
            raise self._no_answer(error) from error
        return self._heard(heard, seconds, price, on)

    def _heard(
        self, heard: Any, seconds: float, price: ModelPrice | None, on: Any
    ) -> dict[str, Any]:
        if not hasattr(heard, "text"):
            raise RetryableError(
                f"{self.options.host} did not answer as a transcription service does",
                hint=f"check openai.base_url: {self.options.base_url}",
            )
        usage = getattr(heard, "usage", None)
        use = TokenUse(
            tokens_in=count_of(usage, "input_tokens") or 0,
            tokens_out=count_of(usage, "output_tokens") or 0,
            audio_s=seconds,
        )
        return {
            "text": str(heard.text or ""),
            "language": str(getattr(heard, "language", None) or ""),
            "segments": [
                {
                    "start": float(s.start),
                    "end": float(s.end),
                    "text": str(s.text),
                    "avg_logprob": getattr(s, "avg_logprob", None),
                }
                for s in getattr(heard, "segments", None) or ()
            ],
            "usage": {
                "requests": 1,
                "tokens_in": use.tokens_in,
                "tokens_out": use.tokens_out,
                "usd": round(price.cost(use, on), 8) if price is not None else 0.0,
            },
        }

    def _timed_out(self, timeout_s: float) -> GsvrError:
        return Unreachable(
            f"{self.options.base_url} did not answer within {timeout_s:g} seconds",
            hint="raise openai.timeout, or use a faster model or server",
            service=self.options.host,
        )

    def _no_answer(self, error: Exception) -> GsvrError:
        openai = require_openai()
        if isinstance(error.__cause__, GsvrError):  # one of our own hooks refused to go on
            return GsvrError.from_dict(error.__cause__.to_dict())
        unconnected = _is_unconnected(error.__cause__)
        if isinstance(error, openai.APITimeoutError) and not unconnected:
            return self._timed_out(self.options.timeout_s)
        reason = errors.shown(str(error.__cause__ or error), self._hidden())
        return Unreachable(
            f"no answer from {self.options.base_url}: {reason or type(error).__name__}",
            hint="check that the server runs and openai.base_url is right",
            service=self.options.host,
            certain=unconnected,
        )

    def _hidden(self) -> str:
        return "" if self._key is None else self._key.reveal()


class _Unwanted(Exception):
    """The server does not take an optional parameter."""

    def __init__(self, parameter: str, error: GsvrError, sent: Dialect) -> None:
        super().__init__(parameter)
        self.parameter = parameter
        self.error = error
        self.sent = sent


def _is_unconnected(cause: BaseException | None) -> bool:
    """Whether there was no connection at all, so that the request cannot be the reason."""
    import httpx2

    return isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout)


def _trusted() -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context()


def require_openai() -> Any:
    """The `openai` package. Raises: DependencyMissing with the way to get it."""
    if importlib.util.find_spec("openai") is None:
        raise DependencyMissing(
            "the openai engine needs a package that is not installed: openai",
            hint="pip install 'gs-video-report[openai]'",
        )
    import openai

    return openai


def _context_of(item: Any) -> int | None:
    """vLLM: `max_model_len`; LM Studio and others: `context_length`, `max_context_length`;
    llama.cpp: `meta.n_ctx`."""
    meta = getattr(item, "meta", None)
    places = [getattr(item, n, None) for n in ("max_model_len", "context_length", "context_window")]
    places.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
    return next((n for n in places if isinstance(n, int) and n > 0), None)
