"""One key's connection to the Gemini service: the official SDK, with our timeouts and errors.

True here: nothing is retried (retries are durable and belong to the batch); every call has a
timeout; nothing blocks the event loop (the SDK takes two seconds to import, so that happens in a
thread); the SDK always speaks over an HTTP client of ours, whatever else is installed, and it
never reads a key from the environment; a redirect to another server is refused before the key
and the words of the recording would go there.
Never: logs, journals, or passes on the key in an error.
Raises: the classes of errors.py, by `gemini.errors`; DependencyMissing.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from gs_video_report.engines.gemini import errors as gemini_errors
from gs_video_report.engines.gemini.options import GeminiOptions, key_id
from gs_video_report.engines.llm.bounded_body import MAX_FILE_BYTES, bounded
from gs_video_report.engines.llm.same_server import stay_at
from gs_video_report.errors import (
    AuthenticationError,
    DependencyMissing,
    FatalError,
    GsvrError,
    UploadGone,
)

T = TypeVar("T")

API_VERSION = "v1"
ALIAS_VERSION = "v1beta"
"""The only version of the API that knows names such as `gemini-flash-latest`."""
DEFAULT_BASE_URL = "https://generativelanguage.googleapis.com"
CONNECT_TIMEOUT_S = 30.0
FILE_TIMEOUT_S = 60.0
"""For calls about files that carry no content."""
KEY_HEADER = "x-goog-api-key"
MAX_COUNT = 10**9
"""Tokens of one request; a larger number is no count."""
MARGIN_S = 15.0
"""How much later than the HTTP client our own timeout strikes."""


class Secret(Protocol):
    """A key that shows itself only when asked."""

    def reveal(self) -> str:
        """The key itself."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the model, as it is journaled before anything is made of it."""

    text: str
    finish: str
    """STOP, MAX_TOKENS, SAFETY ...; empty when the prompt was blocked."""
    block: str
    """Why the prompt was blocked; empty when it was not."""
    tokens_in: int
    tokens_out: int
    """Thinking included."""
    cached_in: int
    model: str
    """The version that answered."""
    audio_in: int = 0
    """Part of `tokens_in` that is sound; 0 when the service does not tell."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at the service."""

    name: str
    uri: str
    mime_type: str
    size_bytes: int
    state: str
    """PROCESSING, ACTIVE, FAILED; ACTIVE when the service does not say."""
    expires_at: str = ""
    """ISO-8601 UTC; empty when not told."""
    sha256: str = ""
    """As the service gives it: base64 of the hexadecimal digest."""
    problem: str = ""


class Connection:
    """Use with `async with`; belongs to the event loop it was opened in."""

    def __init__(self, key: Secret, options: GeminiOptions) -> None:
        self._key = key
        self.options = options
        self.key_id = key_id(key.reveal())
        self.mask = gemini_errors.masker(key.reveal())
        self._client: Any = None
        self.http: Any = None
        """The `httpx2.AsyncClient` that the SDK uses too."""

    async def __aenter__(self) -> Connection:
        self._client, self.http = await asyncio.to_thread(self._build)
        return self

    async def __aexit__(self, *_: object) -> None:
        client, http = self._client, self.http
        self._client = self.http = None
        await http.aclose()
        client.close()

    def _build(self) -> tuple[Any, Any]:
        check_installed()
        import httpx2
        from google import genai

        context = ssl.create_default_context()
        timeout = httpx2.Timeout(self.options.timeout_s, connect=CONNECT_TIMEOUT_S)
        http = httpx2.AsyncClient(
            verify=context,
            timeout=timeout,
            follow_redirects=True,
            event_hooks={
                "request": [stay_at(self.base_url, KEY_HEADER)],
                "response": [bounded(MAX_FILE_BYTES, gemini_errors.SERVICE)],
            },
        )
        client = genai.Client(
            vertexai=False,
            api_key=self._key.reveal(),
            http_options=genai.types.HttpOptions(
                base_url=self.base_url + "/",
                api_version=self.api_version,
                timeout=round(self.options.timeout_s * 1000),
                httpx_client=httpx2.Client(verify=context),
                httpx_async_client=http,
            ),
        )
        return client, http

    @property
    def base_url(self) -> str:
        """Without a slash at the end."""
        return self.options.base_url or DEFAULT_BASE_URL

    @property
    def api_version(self) -> str:
        """The version of the API that knows the model."""
        return ALIAS_VERSION if self.options.model.endswith("-latest") else API_VERSION

    def auth_headers(self) -> dict[str, str]:
        """For requests that do not go through the SDK."""
        return {KEY_HEADER: self._key.reveal()}

    async def call(self, work: Awaitable[T], what: str, timeout_s: float, model: str = "") -> T:
        """Await a call of the SDK or the HTTP client; raises our errors only.

        Args:
            what: begins the message of an error, as "upload of talk.mp4".
        """
        try:
            async with asyncio.timeout(timeout_s + MARGIN_S):
                return await work
        except GsvrError:
            raise
        except Exception as error:
            ours = gemini_errors.from_exception(error, what, model=model, mask=self.mask)
            # a cause that shows the key (a service may repeat it) must not reach a traceback
            cause = error if self.mask(str(error)) == str(error) else None
            raise ours from cause

    # --- model ----------------------------------------------------------------------------------

    async def check_model(self) -> None:
        """Ask for the model's description, which costs nothing.

        Raises: FatalError when the service does not know the model, or it cannot answer questions;
            AuthenticationError for the key; what else the service or the network says.
        """
        model = self.options.model
        work = self._client.aio.models.get(model=model)
        found = await self.call(work, f"description of {model}", FILE_TIMEOUT_S, model)
        actions = list(found.supported_actions or [])
        if actions and "generateContent" not in actions:
            raise FatalError(
                f"the model {model!r} cannot answer questions ({', '.join(actions)})",
                hint="choose another one with --model",
            )

    async def generate(self, contents: Any, config: dict[str, Any], what: str) -> Reply:
        """One generate call."""
        model, timeout_s = self.options.model, self.options.timeout_s
        work = self._client.aio.models.generate_content(
            model=model, contents=contents, config={**config, "automatic_continuation": False}
        )
        return read_reply(await self.call(work, what, timeout_s, model))

    async def count_tokens(self, contents: Any, what: str) -> int:
        """Input tokens of `contents`, by the service; costs nothing."""
        model = self.options.model
        work = self._client.aio.models.count_tokens(model=model, contents=contents)
        counted = await self.call(work, what, self.options.timeout_s, model)
        return int(counted.total_tokens or 0)

    @property
    def batches(self) -> Any:
        """The SDK's part for batch jobs; use it through `call`."""
        return self._client.aio.batches

    async def download(self, name: str, what: str) -> bytes:
        """The content of a small file that the service made."""
        work = self._client.aio.files.download(file=name)
        return bytes(await self.call(work, what, self.options.timeout_s))

    # --- files ----------------------------------------------------------------------------------

    async def get_file(self, name: str) -> RemoteFile | None:
        """The file, or None when it is gone (expired, deleted, of another project)."""
        work = self._client.aio.files.get(name=name)
        try:
            found = await self.call(work, "uploaded file", FILE_TIMEOUT_S)
        except UploadGone:
            return None
        return from_sdk_file(found)

    async def delete_file(self, name: str) -> bool:
        """Delete it; False when it was gone already."""
        work = self._client.aio.files.delete(name=name)
        try:
            await self.call(work, "uploaded file", FILE_TIMEOUT_S)
        except UploadGone:
            return False
        return True


def check_installed() -> None:
    """Raises: DependencyMissing when the SDK is not there."""
    try:
        found = importlib.util.find_spec("google.genai")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise DependencyMissing(
            "the gemini engine needs a package that is not installed: google-genai",
            hint="pip install 'gs-video-report[gemini]'",
        )


def no_key() -> AuthenticationError:
    """The error for a missing key."""
    return AuthenticationError(
        "the gemini engine needs a key, and none is given",
        hint="set GEMINI_API_KEY, or store one: gsvr config set-key gemini",
        engine="gemini",
        bad_key=True,
    )


def read_reply(response: Any) -> Reply:
    """What matters of an SDK response (object); a missing part is empty or 0."""
    usage = response.usage_metadata
    candidates = response.candidates or []
    first = candidates[0] if candidates else None
    feedback = response.prompt_feedback
    return Reply(
        text=_text(first),
        finish=_word(first.finish_reason) if first is not None else "",
        block=_word(feedback.block_reason) if feedback is not None else "",
        tokens_in=_count(usage, "prompt_token_count")
        + _count(usage, "tool_use_prompt_token_count"),
        tokens_out=_count(usage, "candidates_token_count") + _count(usage, "thoughts_token_count"),
        cached_in=_count(usage, "cached_content_token_count"),
        model=str(response.model_version or ""),
        audio_in=_sound(usage),
    )


def from_sdk_file(found: Any) -> RemoteFile:
    """The SDK's File as ours."""
    expires = found.expiration_time
    return RemoteFile(
        name=str(found.name or ""),
        uri=str(found.uri or ""),
        mime_type=str(found.mime_type or ""),
        size_bytes=int(found.size_bytes or 0),
        state=_word(found.state) or "ACTIVE",
        expires_at="" if expires is None else expires.isoformat(),
        sha256=str(found.sha256_hash or ""),
        problem=str(getattr(found.error, "message", "") or ""),
    )


def from_json_file(found: dict[str, Any]) -> RemoteFile:
    """The File object of the wire as ours."""
    return RemoteFile(
        name=str(found.get("name", "")),
        uri=str(found.get("uri", "")),
        mime_type=str(found.get("mimeType", "")),
        size_bytes=int(found.get("sizeBytes") or 0),
        state=str(found.get("state") or "PROCESSING"),
        expires_at=str(found.get("expirationTime", "")),
        sha256=str(found.get("sha256Hash", "")),
        problem=str((found.get("error") or {}).get("message", "")),
    )


def _text(candidate: Any) -> str:
    """All text parts but the model's thoughts."""
    content = getattr(candidate, "content", None)
    parts = getattr(content, "parts", None) or []
    return "".join(p.text for p in parts if p.text and not p.thought)


def _word(value: Any) -> str:
    if value is None:
        return ""
    return str(getattr(value, "value", value))


def _sound(usage: Any) -> int:
    details = getattr(usage, "prompt_tokens_details", None) or []
    return sum(_count(d, "token_count") for d in details if _word(d.modality) == "AUDIO")


def _count(usage: Any, name: str) -> int:
    """Tokens; 0 for what cannot be a count."""
    found = getattr(usage, name, None)
    return int(found) if isinstance(found, int | float) and 0 <= found <= MAX_COUNT else 0
