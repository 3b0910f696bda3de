"""The openai engine: local transcript and key frames, texts by any OpenAI-compatible server.

Truth: every reply is journaled before it is read; usage is summed from the journaled replies, so
that a report made on resume tells the same totals. The key is held by the client object only.
Local: decoding, slides, reading them, and (unless `transcribe: remote`) speech recognition.
Sent: transcript lines, slide texts, titles, and key frames for a model that sees. Never the video.
Raises: AuthenticationError, ConfigError, DependencyMissing, ModelMissing (prepare); RetryableError,
PermanentError, FatalError, LimitReached (analyze).
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from gs_video_report import __version__
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines.base import (
    EngineCapabilities,
    Estimate,
    Remark,
    TaskContext,
    has_budget,
)
from gs_video_report.engines.compose import compose
from gs_video_report.engines.hearing import rehearing
from gs_video_report.engines.hearing.transcribe import transcript
from gs_video_report.engines.hearing.transcript import Transcript
from gs_video_report.engines.llm import answer as answers
from gs_video_report.engines.llm import citations, prompts, translate
from gs_video_report.engines.llm.prices import (
    PriceTable,
    load_prices,
    today,
)
from gs_video_report.engines.local import LocalEngine, media_info
from gs_video_report.engines.openai import audio as openai_audio
from gs_video_report.engines.openai.client import require_openai
from gs_video_report.engines.openai.compose import Composer
from gs_video_report.engines.openai.conversation import Conversation
from gs_video_report.engines.openai.errors import ContextTooLong
from gs_video_report.engines.openai.estimate import estimate_of
from gs_video_report.engines.openai.keys import KeyInUse, KeyRing
from gs_video_report.engines.openai.material import Material, Written
from gs_video_report.engines.openai.notices import notices_of
from gs_video_report.engines.openai.options import (
    DEFAULT_BASE_URL,
    MIN_CONTEXT_TOKENS,
    Key,
    Model,
    describe,
    read_options,
)
from gs_video_report.engines.pictures import slides_of
from gs_video_report.engines.probe import probe, probe_notices
from gs_video_report.errors import (
    AuthenticationError,
    ConfigError,
    CorruptMediaError,
    DependencyMissing,
    LimitReached,
)
from gs_video_report.report.model import MediaInfo, Provenance, VideoReport
from gs_video_report.templates.loader import Template

MAX_REPLANS = 4
WRITTEN = ("summary", "chapters", "key_terms", "sections")
"""What a model writes, in the order in which notices name it."""
_PACKAGES = {"numpy": "numpy", "onnxruntime": "onnxruntime", "rapidocr": "rapidocr"}


class OpenAIEngine:
    """See the module's header.

    Args:
        options: fields of BatchOptions; `engine_options` holds those of this engine.
        keys: objects with `reveal()`: one, several that recordings spread over, or None for
            servers without keys.
        prices: the price table; None loads the shipped one.
    """

    capabilities = EngineCapabilities(
        name="openai",
        accepts=frozenset({"file"}),
        needs_network=True,
        needs_key=False,  # servers on this machine have none; prepare() checks
        translates=True,
    )

    def __init__(
        self,
        options: Mapping[str, Any],
        keys: Key | Sequence[Key] | None = None,
        *,
        prices: PriceTable | None = None,
    ) -> None:
        self._batch = options
        self._options = read_options(options.get("engine_options") or {})
        self._prices = prices or load_prices()
        several = () if keys is None else keys if isinstance(keys, (list, tuple)) else (keys,)
        self._keys = KeyRing(self._options, several)
        self._local = LocalEngine(
            asr_model=str(options.get("asr_model", "auto")),
            cache_root=str(options.get("cache_dir", "")),
        )
        self._model = describe(self._options, self._prices, self._options.model)

    @property
    def bucket(self) -> str:
        """Name of the limiter's bucket of the first key."""
        return self.buckets[0]

    @property
    def buckets(self) -> tuple[str, ...]:
        """One per key."""
        return tuple(self._keys.bucket(key, self._model.name) for key in self._keys.keys)

    @property
    def remarks(self) -> Sequence[Remark]:
        """See `engines.base.Remarking`."""
        return self._keys.remarks

    def recall(self, spent: Mapping[str, datetime]) -> None:
        """See `engines.base.Recalling`."""
        self._keys.recall(spent)

    @property
    def model(self) -> Model:
        """The model in use and its limits; complete after `prepare()`."""
        return self._model

    async def prepare(self, compute: ComputeBackend) -> None:
        """Check package, key, server and model; make the speech model ready when it is needed.

        Raises: AuthenticationError, ConfigError (names the models offered), DependencyMissing,
            RetryableError when the server does not answer.
        """
        require_openai()
        if self._options.base_url == DEFAULT_BASE_URL and not self._keys.has_key:
            raise AuthenticationError(
                "the openai engine needs a key for api.openai.com",
                hint="set OPENAI_API_KEY, or store one: gsvr config set-key openai; "
                "or set openai.base_url to your own server",
                engine="openai",
            )
        self._choose(await self._offered())
        self._check_cost()
        if self._options.transcribe == "local":
            await self._local.prepare(compute)
        else:
            _require_packages()

    def process_bytes(self, *, ocr: bool) -> int:
        """See `engines.base.Needing`; little where the service listens."""
        is_local = self._options.transcribe == "local"
        return self._local.process_bytes(ocr=ocr) if is_local else 0

    async def _offered(self) -> dict[str, int | None]:
        """The server's models, asked with the first key that it takes."""
        while True:
            key = self._keys.pick("")
            try:
                return await key.client.models()
            except (AuthenticationError, LimitReached) as error:
                if not self._keys.set_aside(key, error):
                    raise

    def _choose(self, offered: dict[str, int | None]) -> None:
        """The model that was asked for, or the only one offered."""
        name = self._options.model
        if not name and len(offered) == 1:
            name = next(iter(offered))
        if not name:
            raise ConfigError(
                f"no model is set for {self._options.host}",
                hint="set openai.model" + _names(offered),
            )
        if self._is_unknown(name, offered):
            raise ConfigError(
                f"{self._options.host} does not offer the model {name!r}",
                hint="set openai.model to another one" + _names(offered),
            )
        self._model = describe(self._options, self._prices, name, offered_context=offered.get(name))

    def _is_unknown(self, name: str, offered: dict[str, int | None]) -> bool:
        """Only where the list can be trusted: some servers list part of what they take, or
        take any name for the one model they run."""
        if not offered or name in offered:
            return False
        tagged = any(o.removesuffix(":latest") == name for o in offered)
        return not tagged and len(offered) > 1 and not self._prices.find(name)

    def _check_cost(self) -> None:
        """A cost limit cannot be kept with a model whose price nobody knows."""
        if not has_budget(self._batch) or self._options.is_local:
            return
        if self._model.price is None:
            raise ConfigError(
                f"the price of {self._model.name} is not known, so the cost limit cannot be kept",
                hint="set openai.price_in and openai.price_out (US dollars per million tokens)",
            )

    def estimate(self, duration_s: float, template: Template) -> Estimate:
        """What `duration_s` seconds of recording will take; `usd_max` with translation."""
        seconds = self._local.estimate(duration_s, template).seconds
        return estimate_of(duration_s, template, self._model, self._sound_usd(duration_s), seconds)

    def _sound_usd(self, duration_s: float) -> float:
        if self._options.transcribe == "local" or self._options.is_local:
            return 0.0
        price = self._prices.find(self._options.transcribe_model)
        return 0.0 if price is None else price.rates(today()).per_second * duration_s

    # --- one recording --------------------------------------------------------------------------

    async def analyze(self, ctx: TaskContext) -> VideoReport:
        """Probe, transcribe, find and read slides, let the model write, check what it wrote.

        With the recording's own key, or another one while that rests.
        """
        while True:
            key = self._keys.pick(ctx.fingerprint)
            try:
                return await self._analyze(ctx, key)
            except (AuthenticationError, LimitReached) as error:
                if not self._keys.set_aside(key, error):
                    raise

    async def _analyze(self, ctx: TaskContext, key: KeyInUse) -> VideoReport:
        self._keys.hold_back(ctx.limiter)
        found = await probe(ctx)
        spoken, usages = await self._listen(ctx, found, key)
        slides, picture_notices = await slides_of(ctx, found, spoken.language)
        if not spoken.segments and not slides and found["video"] is None and not found["audio"]:
            raise CorruptMediaError("nothing in the file can be decoded", stage="compose")
        media = media_info(ctx, found)
        material = Material(
            title=prompts.known_title(media.title, media.file_name),
            file_name=media.file_name,
            duration_s=media.duration_s,
            language=spoken.language,
            segments=spoken.segments,
            slides=slides,
            chapters=tuple((a, b, str(title)) for a, b, title in found["chapters"]),
            metadata=dict(media.metadata),
        )
        written, more = await self._write(ctx, material, key)
        notices = [*probe_notices(found), *spoken.notices, *picture_notices]
        report = await self._report(ctx, found, spoken, material, written, media)
        notices += notices_of(ctx.template, self._model, self._options, report, written, material)
        usage = _sum([*usages, *more])
        provenance = replace(report.provenance, usage=usage)
        return await rehearing.apply(
            ctx, replace(report, notices=tuple(notices), provenance=provenance)
        )

    async def _listen(
        self, ctx: TaskContext, found: dict[str, Any], key: KeyInUse
    ) -> tuple[Transcript, list[dict[str, Any]]]:
        if self._options.transcribe == "local":
            return await transcript(ctx, found, self._local._model), []
        price = None
        if not self._options.is_local:
            price = self._prices.find(self._options.transcribe_model)
        bucket = self._keys.bucket(key, self._options.transcribe_model)
        return await openai_audio.transcript(ctx, found, key.client, bucket, price)

    async def _write(
        self, ctx: TaskContext, material: Material, key: KeyInUse
    ) -> tuple[Written, list[dict[str, Any]]]:
        """Cut smaller and try again when the model reads less than was thought."""
        for _ in range(MAX_REPLANS):
            model = self._model
            composer = self._composer(ctx, key, model)
            try:
                return await composer.write(material), composer.talk.usages
            except ContextTooLong as error:
                self._learn(model, error)
        composer = self._composer(ctx, key, self._model)
        return await composer.write(material), composer.talk.usages

    def _composer(self, ctx: TaskContext, key: KeyInUse, model: Model) -> Composer:
        bucket = self._keys.bucket(key, model.name)
        return Composer(Conversation(ctx, key.client, model, bucket))

    def _learn(self, used: Model, error: ContextTooLong) -> None:
        told = error.data.get("context_tokens")
        fits = isinstance(told, int) and MIN_CONTEXT_TOKENS <= told < used.context_tokens
        context = int(told) if fits and told is not None else used.context_tokens * 2 // 3
        if context < MIN_CONTEXT_TOKENS:
            raise error
        if context < self._model.context_tokens:  # another task may have learned it meanwhile
            answer = min(self._model.answer_tokens, context // 4)
            self._model = replace(self._model, context_tokens=context, answer_tokens=answer)

    async def _report(
        self,
        ctx: TaskContext,
        found: dict[str, Any],
        spoken: Transcript,
        material: Material,
        written: Written,
        media: MediaInfo,
    ) -> VideoReport:
        answer = written.answer
        known = citations.sources(material.segments, material.slides)
        parts: dict[str, Any] = {
            "chapters": answers.chapters(answer.chapters, media.duration_s),
            "summary": citations.check_points(answer.summary, known),
            "key_terms": answers.key_terms(answer.key_terms, material.segments, material.slides),
        }
        lists = {**parts, "sections": answer.sections}
        written.used = tuple(name for name in WRITTEN if lists[name])
        if not all(parts.values()):  # what the model left out is taken from the words themselves
            extracted = await compose(ctx, found, spoken, material.slides)
            parts = {name: value or extracted[name] for name, value in parts.items()}
        return VideoReport(
            media=media,
            provenance=self._provenance(ctx, spoken),
            language=spoken.language or answer.language,
            language_probability=spoken.probability,
            segments=translate.apply(material.segments, written.translations),
            slides=material.slides,
            sections=citations.check_sections(answer.sections, known),
            speech=spoken.speech,
            **parts,
        )

    def _provenance(self, ctx: TaskContext, spoken: Transcript) -> Provenance:
        keys = ("language", "asr_model", "subtitles", "slides", "ocr")
        options = self._options
        return Provenance(
            engine="openai",
            engine_version=__version__,
            asr_model=spoken.model,
            llm_model=self._model.name,
            template=ctx.template.name,
            template_version=str(ctx.template.version),
            tool_version=__version__,
            transcript_source=spoken.source,
            parameters={
                **{k: ctx.options.get(k) for k in keys},
                "server": options.host,
                "temperature": options.temperature,
                "transcribe": options.transcribe,
            },
        )


def _sum(usages: Sequence[dict[str, Any]]) -> dict[str, float]:
    """requests, tokens_in, tokens_out, usd over all journaled replies."""
    names = ("requests", "tokens_in", "tokens_out")
    total: dict[str, float] = {name: sum(int(u[name]) for u in usages) for name in names}
    return total | {"usd": round(math.fsum(float(u["usd"]) for u in usages), 6)}


def _names(offered: Mapping[str, Any]) -> str:
    """`; offered: a, b, c`, at most twenty."""
    names = sorted(offered)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"; offered: {', '.join(names[:20])}{more}" if names else ""


def _require_packages() -> None:
    missing = [pip for name, pip in _PACKAGES.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise DependencyMissing(
            f"this work needs packages that are not installed: {', '.join(missing)}",
            hint="pip install 'gs-video-report[local]'",
        )
