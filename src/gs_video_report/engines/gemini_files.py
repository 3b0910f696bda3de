"""Bring a recording to the Gemini service once, keep track of it, and take it away again.

Truth: the journaled step `upload` (which file, until when) and the service itself; an upload that
is under way is remembered in the task's work folder (the address of its session), so that it goes
on after a kill from the last byte the service has.
True here: the file's name at the service follows from content, key and generation, so an upload
that finished just before a kill is found again instead of repeated; content is streamed in chunks
and its SHA-256 as computed by the service must be the recording's.
Source: the resumable protocol of Google's upload services (`start`, `upload`, `query`,
`finalize`), as documented for the Files API.
Raises: UploadGone, RetryableError, PermanentError, StepCancelled, what `gemini_errors` gives.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from gs_video_report.engines import gemini_errors
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.gemini_client import (
    FILE_TIMEOUT_S,
    Connection,
    RemoteFile,
    from_json_file,
)
from gs_video_report.engines.gemini_options import bucket_name
from gs_video_report.errors import (
    CorruptMediaError,
    FatalError,
    GsvrError,
    PermanentError,
    RetryableError,
    StepCancelled,
    UnsupportedInputError,
    UploadGone,
    from_os_error,
)

STEP_VERSION = 1
CHUNK_BYTES = 8 * 1024 * 1024
"""A multiple of the service's 256 KiB; held in memory once per upload under way."""
MAX_FILE_BYTES = 2 * 1024**3
LIFE = timedelta(hours=47)
"""The service keeps a file for 48 hours; the last one is not relied on."""
MAX_GENERATIONS = 64
"""Uploads of one recording with one key over the life of a database."""
MAX_STUMBLES = 5
"""Failures in a row without a byte of progress."""
ACTIVE_TIMEOUT_S = 1800.0
LAST_CALL_S = 10.0
"""For deleting, which nobody waits for."""
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
class FileCounts:
    """What happened to files since the engine was made."""

    uploads: int = 0
    bytes_sent: int = 0
    reused: int = 0
    deleted: int = 0
    delete_failures: int = 0


@dataclass(slots=True)
class _Held:
    """One recording at one key's project, shared by the tasks of this process."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    file: RemoteFile | None = None
    """Known to be ACTIVE."""
    generation: int | None = None
    """Of the file that was found or made last."""
    gone: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Uploads:
    """All uploads of one engine. `poll_s`: first pause while the service processes a file."""

    poll_s: float = 2.0
    max_poll_s: float = 15.0
    stumble_s: float = 1.0
    counts: FileCounts = field(default_factory=FileCounts)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _held: dict[tuple[str, str], _Held] = field(default_factory=dict)

    def enter(self, ctx: TaskContext, link: Connection) -> Upload:
        """Say that a task may need the recording; end it with `Upload.leave`."""
        held = self._held.setdefault((link.key_id, ctx.fingerprint), _Held())
        held.users += 1
        return Upload(self, ctx, link, held)

    def forget(self, upload: Upload) -> None:
        """Called when the last user has left."""
        self._held.pop((upload.link.key_id, upload.ctx.fingerprint), None)


@dataclass(slots=True)
class Upload:
    """One task's view of one recording at the service."""

    owner: Uploads
    ctx: TaskContext
    link: Connection
    held: _Held

    async def file(self) -> RemoteFile:
        """The recording at the service, ready for use; uploaded if it is not there."""
        async with self.held.lock:
            if self.held.file is None:
                self.held.file = await self._active(await self._there())
            return self.held.file

    def lost(self, file: RemoteFile) -> None:
        """Tell that the service does not know the file any more."""
        self.held.gone.add(file.name)
        if self.held.file is not None and self.held.file.name == file.name:
            self.held.file = None

    async def leave(self, *, delete: bool) -> None:
        """Stop using it; the last user deletes it, if that is wanted. Best effort."""
        self.held.users -= 1
        if self.held.users > 0:
            return
        self.owner.forget(self)
        if not delete:
            return
        try:
            async with asyncio.timeout(LAST_CALL_S):
                await self._delete_last()
        except (GsvrError, TimeoutError):
            self.owner.counts.delete_failures += 1

    async def _delete_last(self) -> None:
        """Delete the newest upload, also one that an earlier process made, and note that."""
        generation = self.held.generation
        if generation is None:
            generation = await self._last_generation()
        if generation is None or await self._known("upload_deleted", generation):
            return
        file = await self._known("upload", generation)
        if file is not None:
            await self._delete(str(file["name"]))
            await self.ctx.step("upload_deleted", _true, part=generation, params=self._params())

    async def _last_generation(self) -> int | None:
        last = None
        for generation in range(MAX_GENERATIONS):
            if await self._known("upload", generation) is None:
                break
            last = generation
        return last

    async def _delete(self, name: str) -> None:
        if await self.link.delete_file(name):
            self.owner.counts.deleted += 1

    async def _delete_quietly(self, name: str) -> None:
        try:
            await self._delete(name)
        except GsvrError:
            self.owner.counts.delete_failures += 1

    def _params(self) -> dict[str, Any]:
        return {"v": STEP_VERSION, "key": self.link.key_id}

    async def _known(self, name: str, generation: int) -> Any:
        """What is journaled; None when nothing is."""
        try:
            return await self.ctx.step(name, _absent, part=generation, params=self._params())
        except (_Absent, StepCancelled):
            return None

    # --- which file -----------------------------------------------------------------------------

    async def _there(self) -> RemoteFile:
        """The first generation that is still at the service, else a new upload."""
        for generation in range(MAX_GENERATIONS):
            if await self._known("upload_deleted", generation):
                continue
            made = False

            async def send(generation: int = generation) -> dict[str, Any]:
                nonlocal made
                made = True
                return asdict(await self._upload(generation))

            value = await self.ctx.step("upload", send, part=generation, params=self._params())
            file = RemoteFile(**value)
            self.held.generation = generation
            if made:
                return file
            found = await self._still_there(file)
            if found is not None:
                self.owner.counts.reused += 1
                return found
        raise PermanentError(f"the recording was uploaded {MAX_GENERATIONS} times; giving up")

    async def _still_there(self, file: RemoteFile) -> RemoteFile | None:
        if file.name in self.held.gone or not _is_young(file, self.owner.now()):
            return None
        found = await self._guarded(lambda: self.link.get_file(file.name))
        return None if found is None or found.state == "FAILED" else found

    async def _active(self, file: RemoteFile) -> RemoteFile:
        """Wait until the service has processed the file."""
        pause, waited = self.owner.poll_s, 0.0
        while file.state == "PROCESSING":
            if waited > ACTIVE_TIMEOUT_S:
                raise RetryableError("the service does not finish processing the recording")
            self.ctx.progress("fetch", 1, 1)
            await self._pause(pause)
            waited += pause
            pause = min(pause * 1.5, self.owner.max_poll_s)
            found = await self._guarded(partial(self.link.get_file, file.name))
            if found is None:
                self.lost(file)
                raise UploadGone("the uploaded file went away while it was processed")
            file = found
        if file.state == "FAILED":
            await self._delete_quietly(file.name)
            raise CorruptMediaError(
                f"the Gemini service cannot read the recording ({file.problem or 'no reason'})"
            )
        return file

    async def _pause(self, seconds: float) -> None:
        """Raises: StepCancelled when the task is to stop."""
        try:
            async with asyncio.timeout(seconds):
                await self.ctx.cancelled.wait()
        except TimeoutError:
            return
        raise StepCancelled("stopped while waiting for the service", stage="fetch")

    async def _guarded(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """One call about files, inside the key's quota for those."""
        bucket = bucket_name("files", self.link.key_id)
        try:
            async with self.ctx.limiter.reserve(bucket, requests=1) as quota:
                value = await call()
                quota.settle(tokens_in=0, usd=0.0)
                return value
        except RetryableError as error:
            if error.data.get("status") == 429:
                self.ctx.limiter.penalize(bucket, error.retry_after_s)
            raise

    # --- sending --------------------------------------------------------------------------------

    async def _upload(self, generation: int) -> RemoteFile:
        path, size = self.ctx.media.path, await self._size()
        name = file_name(self.ctx.fingerprint, self.link.key_id, generation)
        found = await self._guarded(lambda: self.link.get_file(name))
        if found is not None and found.state != "FAILED" and self._is_ours(found, size):
            self.owner.counts.reused += 1
            return self._dated(found)
        sending = _Sending(self, path, size, name, self.ctx.work_dir / f"{name[6:]}.upload")
        try:
            file: RemoteFile = await self._guarded(sending.run)
        except UploadGone:  # finished already, and only its last answer was lost?
            again = await self._guarded(lambda: self.link.get_file(name))
            if again is None or again.state == "FAILED":
                raise
            file = again
        self.owner.counts.uploads += 1
        if not self._is_ours(file, size):
            await self._delete_quietly(file.name)
            raise RetryableError(
                f"{self.ctx.media.display_name}: the file changed while it was uploaded"
            )
        return self._dated(file)

    async def _size(self) -> int:
        path, shown = self.ctx.media.path, self.ctx.media.display_name
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
        except OSError as error:
            raise from_os_error(error, shown) from error
        if size > MAX_FILE_BYTES:
            raise UnsupportedInputError(
                f"{shown}: {size / 1e9:.1f} GB is more than the 2 GB the Gemini service takes",
                hint="use another engine for it, or a smaller encoding",
            )
        return size

    def _is_ours(self, file: RemoteFile, size: int) -> bool:
        known = _hex_digest(file.sha256)
        if known and len(self.ctx.fingerprint) == len(known):
            return known == self.ctx.fingerprint
        return file.size_bytes == size

    def _dated(self, file: RemoteFile) -> RemoteFile:
        """The life of a file counts from now on our clock if that ends earlier."""
        until = (self.owner.now() + LIFE).isoformat()
        return RemoteFile(**{**asdict(file), "expires_at": _earlier(file.expires_at, until)})


@dataclass(slots=True)
class _Sending:
    """One upload on its way. `memory` holds the address of its session."""

    upload: Upload
    path: Path
    size: int
    name: str
    memory: Path

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
        same = value.get("size") == self.size and value.get("base") == self.upload.link.base_url
        return str(value["address"]) if same and "address" in value else None

    def _remember(self, address: str) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        value = {"address": address, "size": self.size, "base": self.upload.link.base_url}
        temporary = self.memory.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(value), "utf-8")
        temporary.replace(self.memory)

    @property
    def _what(self) -> str:
        return f"upload of {self.upload.ctx.media.display_name}"

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
        return _at_base(address, self.upload.link.options.base_url)

    async def _request_start(self, name: str) -> Any:
        link, shown = self.upload.link, Path(self.upload.ctx.media.display_name).name
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
        work = self.upload.link.http.post(address, headers=headers, timeout=timeout_s, **more)
        return await self.upload.link.call(work, self._what, timeout_s)

    async def _received(self, address: str) -> int | None:
        """Bytes that the service has of an open session; None when the session is of no use."""
        response = await self._command(address, "query")
        if response.headers.get("X-Goog-Upload-Status") != "active":
            return None
        received = response.headers.get("X-Goog-Upload-Size-Received", "")
        return int(received) if received.isdigit() and int(received) <= self.size else None

    async def _send_all(self, address: str, position: int) -> RemoteFile:
        stumbles = 0
        while True:
            self.upload.ctx.progress("fetch", position, self.size)
            if self.upload.ctx.cancelled.is_set():
                raise StepCancelled("stopped while uploading", stage="fetch")
            before = position
            try:
                file, position = await self._send_chunk(address, position)
                if file is not None:
                    return file
            except RetryableError as error:
                if isinstance(error, UploadGone) or stumbles >= MAX_STUMBLES:
                    raise
                await self.upload._pause(self.upload.owner.stumble_s * 2**stumbles)
                position = await self._after_stumble(address, error)
            stumbles = 0 if position > before else stumbles + 1

    async def _after_stumble(self, address: str, error: RetryableError) -> int:
        """Where to go on. Raises: UploadGone when the session is lost, else `error`."""
        try:
            received = await self._received(address)
        except RetryableError:
            raise error from None
        if received is None:
            found = await self.upload.link.get_file(self.name)
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
            timeout_s=self.upload.link.options.timeout_s,
        )
        status = response.headers.get("X-Goog-Upload-Status")
        if response.status_code != 200 or status not in ("active", "final"):
            raise self._refused(response)
        self.upload.owner.counts.bytes_sent += len(data)
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
            raise from_os_error(error, self.upload.ctx.media.display_name) from error
        if not data and position < self.size:
            raise RetryableError(f"{self._what}: the file became shorter meanwhile")
        return data

    def _refused(self, response: Any) -> GsvrError:
        try:
            body = json.loads(self.upload.link.mask(response.text))
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


class _Absent(Exception):
    """A step is not in the journal."""


async def _absent() -> None:
    raise _Absent


async def _true() -> bool:
    return True


def mime_type(path: Path) -> str:
    """The type that the service knows for a file, by its name; `video/mp4` for unknown ones."""
    return MIME_TYPES.get(path.suffix.lower(), "video/mp4")


def file_name(fingerprint: str, key: str, generation: int) -> str:
    """`files/gsvr-...`: at most 40 characters of a-z, 0-9 and dash, as the service wants."""
    text = f"{fingerprint} {key} {generation}"
    return "files/gsvr-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _hex_digest(text: str) -> str:
    """SHA-256 as 64 hexadecimal digits, from base64 of those or of the bytes; empty if neither."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return ""
    if len(raw) == hashlib.sha256().digest_size:
        return raw.hex()
    return raw.decode("ascii", "ignore").lower() if len(raw) == 64 else ""


def _is_young(file: RemoteFile, now: datetime) -> bool:
    """False when it has expired; a file whose end is not known may be asked for."""
    try:
        return now < datetime.fromisoformat(file.expires_at)
    except ValueError:
        return True


def _earlier(one: str, other: str) -> str:
    try:
        return min(one, other, key=datetime.fromisoformat)
    except ValueError:
        return other


def _at_base(address: str, base_url: str) -> str:
    """The same address at the host of `base_url`, when another server stands in for the service."""
    if not base_url:
        return address
    base, given = urlsplit(base_url), urlsplit(address)
    return urlunsplit((base.scheme, base.netloc, given.path, given.query, ""))
