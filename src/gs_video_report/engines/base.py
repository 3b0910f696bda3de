"""The contract between the batch and an engine.

An engine gets a `TaskContext` and returns a `VideoReport`. Everything expensive goes through
`ctx.step()`, everything CPU-bound through `ctx.compute`, every remote call through `ctx.limiter`.
Never: touches the queue, prints, writes reports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.report.model import VideoReport
from gs_video_report.templates.loader import Template

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MediaSource:
    """The recording to analyse, as the batch knows it."""

    source: str
    """Absolute path or URL."""
    input_type: str
    """`file`, `url`, `youtube`."""
    display_name: str
    """How people know it: path relative to the input root."""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The local file. Only for `input_type == "file"`."""
        return Path(self.source)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a video will need. Pure arithmetic, no request is sent."""

    seconds: float
    """Wall seconds on this machine with one task in flight."""
    requests: int = 0
    tokens: int = 0
    usd: float = 0.0
    usd_max: float = 0.0


def has_budget(options: Mapping[str, Any]) -> bool:
    """Whether the batch with these options (fields of BatchOptions) may only spend so much."""
    names = ("cost_limit_usd", "daily_cost_limit_usd")
    return any(options.get(name) is not None for name in names)


@dataclass(frozen=True, slots=True)
class EngineCapabilities:
    """What an engine accepts and needs."""

    name: str
    accepts: frozenset[str]
    """Input types."""
    needs_network: bool
    needs_key: bool
    translates: bool
    """Can write in another language than the spoken one."""


StepFunction = Callable[[], Awaitable[Any]]


class Stepper(Protocol):
    """`ctx.step`: memoise one expensive action durably."""

    async def __call__(
        self,
        name: str,
        fn: StepFunction,
        *,
        part: int = 0,
        params: Mapping[str, Any] | None = None,
        artifacts: Callable[[Any], list[str]] | None = None,
    ) -> Any:
        """Return the journaled result of the step, or run `fn`, journal its result, return it.

        The key is (source fingerprint, name, part, params). Results are JSON-able (tuples come
        back as lists). `artifacts(result)` names entries of the artifact store the result needs:
        if one is gone, the step is run again.
        """
        ...


class Limiter(Protocol):
    """What engines see of ApiLimiter; see batch/api_limiter.py for the full contract."""

    def reserve(
        self,
        bucket: str,
        *,
        requests: int = 1,
        tokens: int = 0,
        usd: float = 0.0,
        name: str = "",
        owed: bool = False,
    ) -> Any:
        """Async context manager: waits for quota, yields a Reservation with `settle()`."""
        ...

    def penalize(self, bucket: str, retry_after_s: float | None = None) -> None:
        """Tell that the other side refused for rate."""

    def hint(
        self, bucket: str, *, requests: float | None = None, tokens: float | None = None
    ) -> None:
        """Tell what the other side says of its quotas per minute."""

    def exhaust(self, bucket: str, resume_at: datetime | None = None) -> None:
        """Tell that the day's quota is spent until `resume_at` (aware)."""


@dataclass(slots=True)
class TaskContext:
    """Everything an engine may use for one task."""

    media: MediaSource
    template: Template
    options: Mapping[str, Any]
    """Fields of BatchOptions: language, asr_model, subtitles, slides, ocr, engine_options."""
    step: Stepper
    compute: ComputeBackend
    limiter: Limiter
    cache: ArtifactStore
    work_dir: Path
    """Private to the task's content; survives a kill, removed when the task ends."""
    progress: Callable[[str, float, float], None]
    """progress(stage, done, total): cheap, may be called often; total 0 = unknown."""
    cancelled: asyncio.Event
    fingerprint: str = ""
    """SHA-256 of the content; set by the probe stage before any memoised step."""
    priority: int = 0
    """Order of this task among the compute calls."""
    step_timeout_s: float | None = None
    stall_timeout_s: float | None = None
    report_media: Callable[[str, float], Awaitable[None]] | None = None
    """report_media(fingerprint, duration_s): tell the queue what was learned by probing."""
    known: Callable[[str, Mapping[str, Any]], Awaitable[dict[int, Any]]] | None = None
    """known(step, params): part -> journaled value; nothing is run. None: there is no journal."""
    hear_again: bool = False
    """Listen a second time to doubtful stretches; what was decided there before counts always."""
    idle: Callable[[bool], None] | None = None
    """idle(True): from now on the task only waits for somebody else, which is not its own time."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a service that people should know although the work goes on."""

    kind: str
    """`key_refused`, `file_left`."""
    text: str
    """One sentence without an end, with no key in it."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able facts; `bucket` names the quota's bucket, if there is one."""


class Remarking(Protocol):
    """An engine that has something to tell besides its reports."""

    @property
    def remarks(self) -> Sequence[Remark]:
        """All since the engine was made, oldest first; only ever grows."""
        ...


@runtime_checkable
class Recalling(Protocol):
    """An engine that profits from what earlier processes met."""

    def recall(self, spent: Mapping[str, datetime]) -> None:
        """Keys whose quota was spent, by their bucket, and until when (aware).

        They are used last, and nothing is uploaded with them before that time.
        """


@dataclass(frozen=True, slots=True)
class LeftCopy:
    """A recording's copy that was left at a service for a later run."""

    fingerprint: str
    part: int
    """Of the journal's step, as `params`."""
    params: Mapping[str, Any]
    name: str
    """At the service."""
    shown: str
    """The recording, for people."""


@runtime_checkable
class Leaving(Protocol):
    """An engine that may leave copies of recordings at a service."""

    async def take_away(self, copies: Sequence[LeftCopy]) -> list[LeftCopy]:
        """Delete copies that nobody needs any more; returns those that are gone. Best effort.

        Raises: nothing on purpose; what stays is told as a remark.
        """
        ...


@runtime_checkable
class Needing(Protocol):
    """An engine that knows how much memory its compute processes need."""

    def process_bytes(self, *, ocr: bool) -> int:
        """Resident bytes of the largest one, after `prepare()`; 0 when it needs little."""
        ...


def remarks_of(engine: object) -> Sequence[Remark]:
    """The remarks of an engine; most have none."""
    found: Sequence[Remark] = getattr(engine, "remarks", ())
    return found


class Engine(Protocol):
    """Turns one recording into one report."""

    capabilities: EngineCapabilities

    @property
    def buckets(self) -> tuple[str, ...]:
        """Names of the limiter's buckets that the calls go through; empty without calls."""
        ...

    async def prepare(self, compute: ComputeBackend) -> None:
        """Make ready what takes time (such as joining a model), once, before the first task.

        Raises: DependencyMissing, ModelMissing or AuthenticationError if it cannot work here.
        """

    def estimate(self, duration_s: float, template: Template) -> Estimate:
        """What `duration_s` seconds of recording will cost. Pure."""
        ...

    async def analyze(self, ctx: TaskContext) -> VideoReport:
        """Make the report.

        Raises: RetryableError, PermanentError, FatalError, LimitReached; nothing else on purpose.
        Cancellation: safe; finished steps are journaled.
        """
        ...
