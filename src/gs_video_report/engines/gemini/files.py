"""Bring a recording to the Gemini service once, keep track of it, and take it away again.

Truth: the journaled step `upload` (which file, until when) and the service itself; an upload that
is under way is remembered in the task's work folder (the address of its session), so that it goes
on after a kill from the last byte the service has.
True here: the file's name at the service follows from content, key and generation, so an upload
that finished just before a kill is found again instead of repeated; its SHA-256 as computed by
the service must be the recording's. What is taken away is noted as the step `upload_deleted`.
Never: deletes what another task of this process still uses.
Raises: UploadGone, RetryableError, PermanentError, StepCancelled, what `gemini.errors` gives.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from gs_video_report.engines.base import LeftCopy, Remark, TaskContext
from gs_video_report.engines.bounded import bounded
from gs_video_report.engines.gemini.client import (
    Connection,
    RemoteFile,
)
from gs_video_report.engines.gemini.options import bucket_name
from gs_video_report.engines.gemini.upload import Sending, pause
from gs_video_report.engines.llm.quota import Need, granted
from gs_video_report.errors import (
    CorruptMediaError,
    GsvrError,
    PermanentError,
    Refused,
    RetryableError,
    StepCancelled,
    UnsupportedInputError,
    UploadGone,
    from_os_error,
)

STEP_VERSION = 1
MAX_FILE_BYTES = 2 * 1024**3
LIFE = timedelta(hours=47)
"""The service keeps a file for 48 hours; the last one is not relied on."""
MAX_GENERATIONS = 64
"""Uploads of one recording with one key over the life of a database."""
ACTIVE_TIMEOUT_S = 1800.0
LAST_CALL_S = 10.0
"""For deleting, which nobody waits for."""
DELETIONS_AT_ONCE = 4


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
    gone: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Uploads:
    """All uploads of one engine. `poll_s`: first pause while the service processes a file."""

    poll_s: float = 2.0
    max_poll_s: float = 15.0
    stumble_s: float = 1.0
    counts: FileCounts = field(default_factory=FileCounts)
    remarks: list[Remark] = field(default_factory=list)
    """What people should know: files that stay at the service, keys that rest."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _held: dict[tuple[str, str], _Held] = field(default_factory=dict)

    def enter(self, ctx: TaskContext, link: Connection) -> Upload:
        """Say that a task may need the recording; end it with `Upload.leave`."""
        held = self._held.setdefault((link.key_id, ctx.fingerprint), _Held())
        held.users += 1
        return Upload(self, ctx, link, held)

    def left_there(self, shown: str, why: str) -> None:
        """A file could not be deleted; told for the first one, the 10th, the 100th ..."""
        self.counts.delete_failures += 1
        count = self.counts.delete_failures
        if str(count).strip("0") != "1":
            return
        whose = f"the uploaded copy of {shown}" if count == 1 else f"{count} uploaded copies"
        self.remarks.append(
            Remark(
                "file_left",
                f"gemini: {whose} could not be deleted at the service ({why}); it deletes what is "
                "left within 48 hours",
                {"count": count},
            )
        )

    async def take_away(self, link: Connection, copies: Sequence[LeftCopy]) -> list[LeftCopy]:
        """Delete copies that earlier runs left; those that are gone. Raises nothing on purpose."""
        gone: list[LeftCopy] = []

        async def one(copy: LeftCopy) -> None:
            try:
                async with asyncio.timeout(LAST_CALL_S):
                    self.counts.deleted += await link.delete_file(copy.name)
                gone.append(copy)
            except (GsvrError, TimeoutError) as error:
                self.left_there(copy.shown, _why(error))

        await bounded((one(copy) for copy in copies), limit=DELETIONS_AT_ONCE)
        return gone

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
                await self._delete_all()
        except (GsvrError, TimeoutError) as error:
            self._left_there(error)

    def _left_there(self, error: Exception) -> None:
        self.owner.left_there(self.ctx.media.display_name, _why(error))

    async def _delete_all(self) -> None:
        """Delete every upload, also those that an earlier process made, and note that."""
        for generation in range(MAX_GENERATIONS):
            file = await self._known("upload", generation)
            if file is None:
                return
            if await self._known("upload_deleted", generation):
                continue
            if _is_young(RemoteFile(**file), self.owner.now()):
                await self._delete(str(file["name"]))
            await self.ctx.step("upload_deleted", _true, part=generation, params=self._params())

    async def _delete(self, name: str) -> None:
        if await self.link.delete_file(name):
            self.owner.counts.deleted += 1

    async def _delete_quietly(self, name: str) -> None:
        try:
            await self._delete(name)
        except GsvrError as error:
            self._left_there(error)

    def _params(self) -> dict[str, Any]:
        return {"v": STEP_VERSION, "key": self.link.key_id}

    async def _known(self, name: str, generation: int) -> Any:
        """What is journaled; None when nothing is, or when the task is being stopped."""
        try:
            return await journaled(self.ctx, name, self._params(), part=generation)
        except StepCancelled:
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
        wait_s, waited = self.owner.poll_s, 0.0
        while file.state == "PROCESSING":
            if waited > ACTIVE_TIMEOUT_S:
                raise RetryableError("the service does not finish processing the recording")
            self.ctx.progress("fetch", 1, 1)
            await pause(self.ctx, wait_s, "waiting for the service")
            waited += wait_s
            wait_s = min(wait_s * 1.5, self.owner.max_poll_s)
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

    def _sent(self, size_bytes: int) -> None:
        self.owner.counts.bytes_sent += size_bytes

    async def _guarded(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """One call about files, inside the key's quota for those."""
        bucket = bucket_name("files", self.link.key_id)
        try:
            async with granted(self.ctx, bucket, Need(0)) as quota:
                value = await call()
                quota.settle(tokens_in=0, usd=0.0)
                return value
        except Refused as error:
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
        memory = self.ctx.work_dir / f"{name[6:]}.upload"
        sending = Sending(
            self.ctx, self.link, path, size, name, memory, self.owner.stumble_s, self._sent
        )
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


def _why(error: Exception) -> str:
    why = error.message if isinstance(error, GsvrError) else "no answer in time"
    return why.removeprefix("uploaded file: ")


class _Absent(Exception):
    """A step is not in the journal."""


async def _absent() -> None:
    raise _Absent


async def _true() -> bool:
    return True


async def journaled(ctx: TaskContext, name: str, params: dict[str, Any], *, part: int = 0) -> Any:
    """The value of a step that was done before; None when it was not. Runs nothing.

    Raises: StepCancelled when it was not, and the task is being stopped.
    """
    try:
        return await ctx.step(name, _absent, part=part, params=params)
    except _Absent:
        return None


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
