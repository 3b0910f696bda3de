"""Keep an answer of a service from filling the memory: its body is cut off at a length.

True here: what counts is the text after decompression, so that a small packed body is measured by
what it becomes; nothing is read ahead of whoever reads the answer.
Pure, but for the reading. Raises: AnswerTooLarge, in the middle of the reading.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from gs_video_report.errors import AnswerTooLarge

MAX_ANSWER_BYTES = 32 << 20
"""Of one answer of a chat model or a transcription: hours of speech with times are a tenth."""
MAX_FILE_BYTES = 256 << 20
"""Of a file that a service made: the answers of a whole batch."""


def bounded(max_bytes: int, service: str) -> Callable[[Any], Awaitable[None]]:
    """A hook for the responses of an asynchronous HTTP client (httpx), called before each is read.

    Args:
        max_bytes: of the decoded body; one more raises.
        service: its name, for people.
    """

    async def limit(response: Any) -> None:
        import httpx2

        packed = httpx2.Response(
            response.status_code, headers=response.headers, stream=response.stream
        )

        class Body(httpx2.AsyncByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                total = 0
                async for piece in packed.aiter_bytes():
                    total += len(piece)
                    if total > max_bytes:
                        raise too_large(service, max_bytes)
                    yield piece

            async def aclose(self) -> None:
                await packed.aclose()

        response.stream = Body()
        for name in ("content-encoding", "content-length"):  # they told about the packed body
            response.headers.pop(name, None)

    return limit


def too_large(service: str, max_bytes: int) -> AnswerTooLarge:
    """The error for people."""
    return AnswerTooLarge(f"{service} sent an answer longer than {max_bytes >> 20} MB")
