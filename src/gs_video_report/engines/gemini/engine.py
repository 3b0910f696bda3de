"""The `gemini` engine: the Gemini service hears and sees the recording itself.

Order: probe, one free question about model and key, upload once, ask about every stretch, take the
uploaded file away, find slides here (when the packages are there), check every statement against
transcript and slides.
Truth: journaled steps; what is composed here is cheap and pure, and the same after a resume.
True here: recordings spread over several keys; one whose day is spent or that is refused is set
aside until its reset, and the others go on with the replies that were paid for already; people
are told (`remarks`).
Never: shows a key, writes outputs, knows the queue.
Raises: AuthenticationError, LimitReached, ContentBlocked, AnswerUnusable, and what stages raise.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines.base import (
    EngineCapabilities,
    Estimate,
    LeftCopy,
    Remark,
    TaskContext,
)
from gs_video_report.engines.gemini import report as gemini_report
from gs_video_report.engines.gemini import segments as seg
from gs_video_report.engines.gemini.client import (
    Connection,
    RemoteFile,
    Secret,
    check_installed,
    no_key,
)
from gs_video_report.engines.gemini.errors import day_was_spent, hidden_video
from gs_video_report.engines.gemini.files import Uploads
from gs_video_report.engines.gemini.half_price import POLL_S, SETTLE_S, BatchLane
from gs_video_report.engines.gemini.options import (
    DEFAULT_ANSWER_TOKENS,
    PROMPT_TOKENS,
    GeminiOptions,
    audio_tokens,
    bucket_name,
    key_id,
    parse_options,
)
from gs_video_report.engines.gemini.parts import Fetch, Reading
from gs_video_report.engines.gemini.request import Asker
from gs_video_report.engines.gemini.segments import Window
from gs_video_report.engines.hearing import rehearing
from gs_video_report.engines.llm.answer import Answer
from gs_video_report.engines.llm.prices import ModelPrice, TokenUse, load_prices, with_prices
from gs_video_report.engines.llm.prompts import known_title
from gs_video_report.engines.local import media_info
from gs_video_report.engines.probe import probe, probe_notices
from gs_video_report.engines.steps import digest
from gs_video_report.errors import (
    AuthenticationError,
    ConfigError,
    LimitReached,
    PermanentError,
    RetryableError,
)
from gs_video_report.report.model import (
    MediaInfo,
    VideoReport,
)
from gs_video_report.templates.loader import Template

UPLOAD_BYTES_PER_MEDIA_S = 100_000.0
UPLOAD_BYTES_PER_S = 4_000_000.0
PROCESSING_S = 10.0
ANSWER_TOKENS_PER_S = 150.0
"""How fast a model writes; only used for estimates."""
SPOKEN_TOKENS_PER_S = 6.0
"""Answer tokens of a second of ordinary speech."""


@dataclass(slots=True)
class _Key:
    """One key and why it rests, if it does."""

    secret: Secret
    id: str
    limit: LimitReached | None = None
    refused: AuthenticationError | None = None
    spent_until: datetime | None = None
    """What an earlier process was told; the key comes last until then."""
    checked: bool = False
    """The service knows it, and the model with it."""
    checking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def usable(self, now: datetime) -> bool:
        """Whether it may be tried."""
        if self.refused is not None:
            return False
        if self.limit is not None and self.limit.resume_at is not None:
            if now < datetime.fromisoformat(self.limit.resume_at):
                return False
            self.limit = None
        return True

    def is_fresh(self, now: datetime) -> bool:
        """Whether no earlier process found it spent for now."""
        return self.spent_until is None or now >= self.spent_until


@dataclass(slots=True)
class _Shared:
    """Connections of one engine: one per key, open while a task uses it."""

    link: Connection
    users: int = 0
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)


class GeminiEngine:
    """See the module's header.

    Args:
        options: `engine_options` of the batch.
        keys: recordings spread over them; each has quotas and uploads of its own.
        user_prices: the user's own table of prices, if any.
        uploads: how files are handled (tests give one that does not wait).
        watches_cost: the batch has a cost limit, so a model without a price is refused.
    """

    capabilities = EngineCapabilities(
        name="gemini",
        accepts=frozenset({"file", "youtube"}),
        needs_network=True,
        needs_key=True,
        translates=True,
    )

    def __init__(
        self,
        *,
        options: Mapping[str, Any] | None = None,
        keys: Sequence[Secret] = (),
        user_prices: Path | None = None,
        uploads: Uploads | None = None,
        watches_cost: bool = False,
    ) -> None:
        self._watches_cost = watches_cost
        self.options: GeminiOptions = parse_options(options or {})
        self.uploads = uploads or Uploads()
        self.batch_poll_s, self.batch_settle_s = POLL_S, SETTLE_S
        self._keys = [_Key(secret, key_id(secret.reveal())) for secret in keys]
        self._shared: dict[str, _Shared] = {}
        model = self.options.model
        self.price: ModelPrice | None = with_prices(
            load_prices(user_prices).find(model), model, self.options.price_in,
            self.options.price_out,
        )  # fmt: skip

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Names of the keys for buckets and `gsvr quota`; they give nothing away."""
        return tuple(key.id for key in self._keys)

    @property
    def buckets(self) -> tuple[str, ...]:
        """One per key."""
        return tuple(bucket_name(self.options.model, key) for key in self.key_ids)

    @property
    def remarks(self) -> Sequence[Remark]:
        """See `engines.base.Remarking`."""
        return self.uploads.remarks

    def recall(self, spent: Mapping[str, datetime]) -> None:
        """See `engines.base.Recalling`."""
        for key in self._keys:
            key.spent_until = spent.get(bucket_name(self.options.model, key.id))

    async def take_away(self, copies: Sequence[LeftCopy]) -> list[LeftCopy]:
        """See `engines.base.Leaving`."""
        if self.options.keep_uploads:
            return []
        gone: list[LeftCopy] = []
        for key in self._keys:
            mine = [copy for copy in copies if copy.params.get("key") == key.id]
            if not mine:
                continue
            async with self._connected(key) as link:
                gone += await self.uploads.take_away(link, mine)
        return gone

    async def prepare(self, compute: ComputeBackend) -> None:
        """Raise DependencyMissing or AuthenticationError before anything starts."""
        check_installed()
        if not self._keys:
            raise no_key()
        if self.price is None and self._watches_cost:
            raise ConfigError(
                f"the price of {self.options.model} is not known, so the cost limit cannot be kept",
                hint="set price_in and price_out (US dollars per million tokens) in the gemini "
                "section of the configuration, or leave --cost-limit out",
            )
        await asyncio.to_thread(importlib.import_module, "google.genai")  # takes two seconds

    def estimate(self, duration_s: float, template: Template) -> Estimate:
        """What `duration_s` seconds will take; `usd_max` counts the longest answers."""
        windows = seg.plan_windows(duration_s, self._longest_s())
        prompt = PROMPT_TOKENS * len(windows)
        tokens_in = sum(self.options.media_tokens(w.length_s) for w in windows) + prompt
        tokens_out = round(duration_s * SPOKEN_TOKENS_PER_S) + 1_000 * len(windows)
        most = sum(2 * seg.answer_tokens(w.length_s) for w in windows)
        sending = duration_s * UPLOAD_BYTES_PER_MEDIA_S / UPLOAD_BYTES_PER_S
        return Estimate(
            seconds=sending + PROCESSING_S + tokens_out / ANSWER_TOKENS_PER_S,
            requests=len(windows),
            tokens=tokens_in + tokens_out,
            usd=round(self._usd(tokens_in, tokens_out, windows), 6),
            usd_max=round(self._usd(tokens_in, most, windows), 6),
        )

    def _usd(self, tokens_in: int, tokens_out: int, windows: Sequence[Window]) -> float:
        if self.price is None:
            return 0.0
        requests = len(windows)
        sound = sum(audio_tokens(w.length_s) for w in windows) // requests
        each = TokenUse(tokens_in // requests + 1, tokens_out // requests + 1, audio_in=sound)
        tier = "batch" if self.options.batch else "standard"
        return self.price.cost(each, datetime.now(UTC).date(), tier=tier) * requests

    def _longest_s(self) -> float:
        context = None if self.price is None else self.price.context_tokens
        return seg.segment_length_s(self.options, context)

    # --- one task -------------------------------------------------------------------------------

    async def analyze(self, ctx: TaskContext) -> VideoReport:
        """See `Engine.analyze`."""
        if not self._keys:
            raise no_key()
        found = await probe(ctx) if ctx.media.input_type == "file" else None
        media = media_info(ctx, found) if found is not None else gemini_report.remote_media(ctx)
        answer, reading = await self._read(ctx, media)
        language = answer.language or gemini_report.given_language(ctx)
        slides, more = await gemini_report.find_slides(ctx, found, language)
        ctx.progress("compose", 0, 1)
        probed = [] if found is None else probe_notices(found)
        report = gemini_report.build(ctx, media, answer, reading, slides, [*probed, *more])
        if found is None and ctx.report_media is not None:
            await ctx.report_media(ctx.fingerprint, report.media.duration_s)
        ctx.progress("compose", 1, 1)
        return await rehearing.apply(ctx, report)

    async def _read(self, ctx: TaskContext, media: MediaInfo) -> tuple[Answer, Reading]:
        """With the recording's own key, or another one while that rests."""
        while True:
            key = self._pick(ctx.fingerprint)
            try:
                return await self._read_with(ctx, key, media)
            except LimitReached as error:
                if error.resume_at is None or error.is_budget:
                    raise  # the user's own limit: another key would not help
                if key.limit is None or self._is_single:
                    self._set_aside(key, "key_spent", error.message, self._until(error))
                key.limit = error
            except AuthenticationError as error:
                if key.refused is None:
                    self._set_aside(key, "key_refused", error.message)
                key.refused = error

    @property
    def _is_single(self) -> bool:
        return len(self._keys) < 2

    def _until(self, error: LimitReached) -> str:
        """When a key can go on; of a single one only if the service itself told."""
        told = "quota" in error.data or not self._is_single
        return (error.resume_at or "") if told else ""

    def _set_aside(self, key: _Key, kind: str, why: str, until: str = "") -> None:
        """Tell about one key of several, or that later runs leave a single one alone.

        A single one that is refused stops the batch, which tells it, and may be mended any time.
        """
        if not key.is_fresh(datetime.now(UTC)) or (self._is_single and not until):
            return
        number = self._keys.index(key) + 1
        text = f"gemini: key {number} of {len(self._keys)} (id {key.id}) is set aside: {why}"
        if self._is_single:
            text = f"gemini: the key (id {key.id}) is spent: it is not asked with before its reset"
        bucket = bucket_name(self.options.model, key.id)
        if not any(r.text == text for r in self.uploads.remarks):
            data = {"bucket": bucket, "reason": why, "until": until}
            self.uploads.remarks.append(Remark(kind, text, data))

    def _pick(self, fingerprint: str) -> _Key:
        """The key for a recording, always the same one while it may be used.

        Recordings spread over the keys and find their uploads again (highest random weight:
        Thaler and Ravishankar 1998). Raises: why no key may be used.
        """
        now = datetime.now(UTC)
        usable = [key for key in self._keys if key.usable(now)]
        if usable:
            usable = [key for key in usable if key.is_fresh(now)] or usable
            return max(usable, key=lambda key: digest([fingerprint, key.id]))
        limits = [key.limit for key in self._keys if key.limit is not None]
        if limits:
            raise min(limits, key=lambda limit: limit.resume_at or "")
        raise next(key.refused for key in self._keys if key.refused is not None)

    def _others(self, key: _Key) -> bool:
        """Whether another key can go on."""
        now = datetime.now(UTC)
        return any(other.usable(now) for other in self._keys if other is not key)

    async def _read_with(
        self, ctx: TaskContext, key: _Key, media: MediaInfo
    ) -> tuple[Answer, Reading]:
        if self._is_single and key.spent_until is not None and not key.is_fresh(datetime.now(UTC)):
            # questions without a recording do not pass the check of `_checked`
            ctx.limiter.exhaust(bucket_name(self.options.model, key.id), key.spent_until)
        async with self._connected(key) as link:
            upload = self.uploads.enter(ctx, link)
            delete = False
            try:
                fetch, lost = upload.file, upload.lost
                if ctx.media.input_type == "youtube":
                    fetch, lost = _youtube(ctx), _ignore
                asker = Asker(
                    ctx, ctx.template, self.options, known_title(media.title, media.file_name),
                    media.duration_s, self._answer_limit(),
                )  # fmt: skip
                reading = Reading(
                    ctx, link, asker, ctx.template, self.options, self.price,
                    self._checked(key, link, fetch), lost,
                )  # fmt: skip
                windows = await self._windows(ctx, media.duration_s, reading)
                if self.options.batch:
                    reading.lane = BatchLane(
                        reading, [reading.first_question(w) for w in windows], self.batch_poll_s,
                        self.batch_settle_s,
                    )  # fmt: skip
                answer = await reading.all(windows)
                delete = not self.options.keep_uploads
                return answer, reading
            except PermanentError:
                delete = not self.options.keep_uploads  # nobody will come back for it
                raise
            except LimitReached as error:
                of_key = error.resume_at is not None and not error.is_budget
                if of_key and self._others(key):
                    delete = not self.options.keep_uploads  # they send it to their own project
                raise
            finally:
                await upload.leave(delete=delete)

    def _checked(self, key: _Key, link: Connection, fetch: Fetch) -> Fetch:
        """`fetch`, with model and key looked at first: a wrong one costs no upload."""

        async def run() -> RemoteFile:
            if not key.is_fresh(datetime.now(UTC)) and key.spent_until is not None:
                raise day_was_spent(key.spent_until)
            async with key.checking:
                if not key.checked:
                    # what may pass, or is only about this question, shows with the upload
                    with suppress(RetryableError, PermanentError, LimitReached):
                        await link.check_model()
                        key.checked = True
            return await fetch()

        return run

    def _answer_limit(self) -> int:
        known = None if self.price is None else self.price.answer_tokens
        return known or DEFAULT_ANSWER_TOKENS

    async def _windows(
        self, ctx: TaskContext, duration_s: float, reading: Reading
    ) -> tuple[Window, ...]:
        """The stretches; when nobody knows the length, the service tells how much it is."""
        if duration_s <= 0:
            duration_s = await _length_by_tokens(ctx, reading)
        return seg.plan_windows(duration_s, self._longest_s())

    @asynccontextmanager
    async def _connected(self, key: _Key) -> AsyncIterator[Connection]:
        """The key's connection: opened by the first task, closed by the last."""
        shared = self._shared.setdefault(key.id, _Shared(Connection(key.secret, self.options)))
        shared.users += 1
        try:
            async with shared.opening:
                if shared.link.http is None:
                    await shared.link.__aenter__()
            yield shared.link
        finally:
            shared.users -= 1
            if shared.users == 0:
                self._shared.pop(key.id, None)
                if shared.link.http is not None:
                    await shared.link.__aexit__()


def _youtube(ctx: TaskContext) -> Any:
    """A public video is handed over as it is."""

    async def fetch() -> RemoteFile:
        return RemoteFile("", ctx.media.source, "", 0, "ACTIVE")

    return fetch


def _ignore(file: RemoteFile) -> None:
    """Nothing was uploaded, so nothing can be lost."""


async def _length_by_tokens(ctx: TaskContext, reading: Reading) -> float:
    """Seconds, from the tokens the service counts for the whole; rather too long."""

    async def run() -> int:
        file, shown = await reading.fetch(), ctx.media.display_name
        contents = [{"role": "user", "parts": [{"file_data": {"file_uri": file.uri}}]}]
        try:
            return await reading.link.count_tokens(contents, f"length of {shown}")
        except AuthenticationError as error:
            raise hidden_video(error, shown) or error from None

    tokens = await ctx.step("count", run, params={"v": 1, "model": reading.options.model})
    plain = replace(reading.options, fps=None, media_resolution="")
    return max(1.0, float(int(tokens) / plain.tokens_per_s) * 1.02 + 1.0)
