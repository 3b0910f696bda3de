"""Send one file to the Gemini service, and go on where an earlier attempt stopped.

Truth: what the service says it has received (`query`). The address of the session is kept in a
file of the task's work folder, so that a killed process can be followed by another one.
True here: content is streamed, one chunk in memory at a time, read in a thread; a cut connection
costs the bytes that were on their way; names outside of ASCII travel in JSON, never in a header.
Source: the resumable protocol of Google's upload services (`start`, `upload`, `query`,
`finalize`), as documented for the Files API. The SDK's own upload cannot go on after a cut.
Raises: UploadGone (the session is of no use any more), RetryableError, StepCancelled, FatalError,
and what `gemini.errors` gives.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.gemini import errors as gemini_errors
from gs_video_report.engines.gemini.client import (
    FILE_TIMEOUT_S,
    Connection,
    RemoteFile,
    from_json_file,
)
from gs_video_report.errors import (
    FatalError,
    GsvrError,
    RetryableError,
    StepCancelled,
    UploadGone,
    from_os_error,
)

CHUNK_BYTES = 8 * 1024 * 1024
"""A multiple of the service's 256 KiB; held in memory once per upload under way."""
MAX_STUMBLES = 5
"""Failures in a row without a byte of progress."""
MIME_TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mov", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".avi": "video/avi", ".wmv": "video/wmv", ".flv": "video/x-flv",
    ".mpg": "video/mpg", ".mpeg": "video/mpeg", ".mts": "video/mpeg", ".m2ts": "video/mpeg",
    ".ts": "video/mpeg", ".vob": "video/mpeg", ".3gp": "video/3gpp", ".3g2": "video/3gpp",
    ".ogv": "video/ogg", ".mp3": "audio/mp3", ".wav": "audio/wav", ".m4a": "audio/aac",
    ".aac": "audio/aac", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".flac": "audio/flac",
    ".aiff": "audio/aiff", ".wma": "audio/x-ms-wma",
}  # fmt: skip


@dataclass(slots=True)
class Sending:
    """One upload on its way; `run` it once."""

    ctx: TaskContext
    link: Connection
    path: Path
    size: int
    """Bytes."""
    name: str
    """Wanted at the service, `files/...`."""
    memory: Path
    """Holds the address of the session."""
    stumble_s: float
    """First pause after a failure; it doubles."""
    sent: Callable[[int], None]
    """Told how many bytes were confirmed."""

    async def run(self) -> RemoteFile:
        """Send what the service does not have yet; returns the finished file."""
        address = await asyncio.to_thread(self._remembered)
        position = None if address is None else await self._received(address)
        if address is None or position is None:
            address, position = await self._start(), 0
            await asyncio.to_thread(self._remember, address)
        try:
            file = await self._send_all(address, position)
        except UploadGone:
            await asyncio.to_thread(self.memory.unlink, missing_ok=True)
            raise
        await asyncio.to_thread(self.memory.unlink, missing_ok=True)
        return file

    def _remembered(self) -> str | None:
        try:
            value = json.loads(self.memory.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        same = value.get("size") == self.size and value.get("base") == self.link.base_url
        return str(value["address"]) if same and "address" in value else None

    def _remember(self, address: str) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        value = {"address": address, "size": self.size, "base": self.link.base_url}
        temporary = self.memory.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(value), "utf-8")
        temporary.replace(self.memory)

    @property
    def _what(self) -> str:
        return f"upload of {self.ctx.media.display_name}"

    async def _start(self) -> str:
        """Open a session; its address."""
        response = await self._request_start(self.name)
        if response.status_code == 409:  # the name is taken or still known: the service chooses
            response = await self._request_start("")
        if response.status_code != 200:
            raise self._refused(response)
        address = response.headers.get("X-Goog-Upload-URL")
        if not address:
            raise RetryableError(f"{self._what}: the service gave no address to send it to")
        return _at_base(address, self.link.options.base_url)

    async def _request_start(self, name: str) -> Any:
        link, shown = self.link, Path(self.ctx.media.display_name).name
        mime = mime_type(self.path)
        meta = {"display_name": shown[:512], "mime_type": mime, "size_bytes": self.size}
        headers = {
            **link.auth_headers(),
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(self.size),
            "X-Goog-Upload-Header-Content-Type": mime,
        }
        work = link.http.post(
            f"{link.base_url}/upload/{link.api_version}/files",
            headers=headers,
            json={"file": meta | ({"name": name} if name else {})},
            timeout=FILE_TIMEOUT_S,
        )
        return await link.call(work, self._what, FILE_TIMEOUT_S)

    async def _command(self, address: str, command: str, **more: Any) -> Any:
        headers = {"X-Goog-Upload-Command": command, **more.pop("headers", {})}
        timeout_s = more.pop("timeout_s", FILE_TIMEOUT_S)
        work = self.link.http.post(address, headers=headers, timeout=timeout_s, **more)
        return await self.link.call(work, self._what, timeout_s)

    async def _received(self, address: str) -> int | None:
        """Bytes that the service has of an open session; None when the session is of no use."""
        response = await self._command(address, "query")
        if response.status_code == 429 or response.status_code >= 500:
            raise self._refused(response)  # that tells nothing about the session
        if response.headers.get("X-Goog-Upload-Status") != "active":
            return None
        received = response.headers.get("X-Goog-Upload-Size-Received", "")
        return int(received) if received.isdigit() and int(received) <= self.size else None

    async def _send_all(self, address: str, position: int) -> RemoteFile:
        stumbles = 0
        while True:
            self.ctx.progress("fetch", position, self.size)
            if self.ctx.cancelled.is_set():
                raise StepCancelled("stopped while uploading", stage="fetch")
            before = position
            try:
                file, position = await self._send_chunk(address, position)
                if file is not None:
                    return file
            except RetryableError as error:
                if isinstance(error, UploadGone) or stumbles >= MAX_STUMBLES:
                    raise
                await pause(self.ctx, self.stumble_s * 2**stumbles, "uploading")
                position = await self._after_stumble(address, error)
            stumbles = 0 if position > before else stumbles + 1

    async def _after_stumble(self, address: str, error: RetryableError) -> int:
        """Where to go on. Raises: UploadGone when the session is lost, else `error`."""
        try:
            received = await self._received(address)
        except RetryableError:
            raise error from None
        if received is None:
            found = await self.link.get_file(self.name)
            state = "is finished already" if found is not None else "was lost"
            raise UploadGone(f"{self._what}: the session {state}")
        return received

    async def _send_chunk(self, address: str, position: int) -> tuple[RemoteFile | None, int]:
        """Send the next chunk; (the finished file or None, the new position)."""
        data = await asyncio.to_thread(self._read, position)
        end = position + len(data)
        last = end >= self.size
        response = await self._command(
            address,
            "upload, finalize" if last else "upload",
            headers={"X-Goog-Upload-Offset": str(position)},
            content=data,
            timeout_s=self.link.options.timeout_s,
        )
        status = response.headers.get("X-Goog-Upload-Status")
        if response.status_code != 200 or status not in ("active", "final"):
            raise self._refused(response)
        self.sent(len(data))
        if not last:
            return None, end
        found = response.json().get("file") if status == "final" else None
        if not found:
            raise RetryableError(f"{self._what}: the service did not finish it")
        return from_json_file(found), end

    def _read(self, position: int) -> bytes:
        try:
            with self.path.open("rb") as source:
                source.seek(position)
                data = source.read(CHUNK_BYTES)
        except OSError as error:
            raise from_os_error(error, self.ctx.media.display_name) from error
        if not data and position < self.size:
            raise RetryableError(f"{self._what}: the file became shorter meanwhile")
        return data

    def _refused(self, response: Any) -> GsvrError:
        try:
            body = json.loads(self.link.mask(response.text))
        except ValueError:
            body = {}
        code = response.status_code
        error = gemini_errors.read_error(code, body, response.headers)
        if code in (400, 404, 410) and not error.is_bad_key:
            # the offset is not the service's, or the session has ended: ask where it stands
            return RetryableError(f"{self._what}: the service lost track of it", status=code)
        if code == 403 and "storage" in error.message.lower():
            return FatalError(f"the storage of the Gemini project is full ({error.message})")
        if code == 200:
            return RetryableError(f"{self._what}: the service did not confirm a part of it")
        return gemini_errors.classify(error, self._what)


def mime_type(path: Path) -> str:
    """The type that the service knows for a file, by its name; `video/mp4` for unknown ones."""
    return MIME_TYPES.get(path.suffix.lower(), "video/mp4")


async def pause(ctx: TaskContext, seconds: float, what: str) -> None:
    """Wait. Raises: StepCancelled when the task is to stop meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            await ctx.cancelled.wait()
    except TimeoutError:
        return
    raise StepCancelled(f"stopped while {what}", stage="fetch")


def _at_base(address: str, base_url: str) -> str:
    """The same address at the host of `base_url`, when another server stands in for the service."""
    if not base_url:
        return address
    base, given = urlsplit(base_url), urlsplit(address)
    return urlunsplit((base.scheme, base.netloc, given.path, given.query, ""))
