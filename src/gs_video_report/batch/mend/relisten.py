"""`gsvr batch retry --quality`: hear the doubtful stretches of finished reports again.

Truth: what was decided for a stretch is a journaled step of its content; the report is written
through the normal runner, so that everything else comes from the journal. A task keeps its state:
if anything fails (the recording is gone), its report stays as it was.
Reports of remote engines keep their texts: only the words of doubtful stretches are heard, here
(`engines.rehearing`).
An address whose file is not cached any more is downloaded again: nothing else goes over the line.
Never: asks a service about a recording; touches transcripts from subtitles, or of recordings that a
service took from their address; hears a stretch a third time.
Its caller holds the batch alone (`batch_lock.rewriting`): a run that wrote the same report at the
same time would leave files that are not those of the database; and it has mended the reports that
an earlier hearing was writing when it ended (`verify.cut_off`).
Raises: NotFoundError; DependencyMissing, ModelMissing; FatalError (disk full).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gs_video_report.batch.attempt.errors import known_errors
from gs_video_report.batch.data_models import (
    BatchOptions,
    BatchRow,
    InputType,
    TaskResult,
    VideoTask,
)
from gs_video_report.batch.mend.quality import BatchQuality, Judged, batch_quality, json_of
from gs_video_report.batch.mend.repair import LOCAL
from gs_video_report.batch.mend.rewrite import InPlace, result_of
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines.base import EngineCapabilities, Estimate, TaskContext
from gs_video_report.engines.bounded import bounded
from gs_video_report.engines.fetch import url_fingerprint
from gs_video_report.engines.gemini import report as gemini_report
from gs_video_report.engines.hearing import rehearing
from gs_video_report.engines.local import LocalEngine
from gs_video_report.engines.probe import probe
from gs_video_report.errors import FatalError, GsvrError, PermanentError, ReportDamaged
from gs_video_report.report.json_out import read_json
from gs_video_report.report.model import VideoReport
from gs_video_report.report.quality import assess
from gs_video_report.templates.loader import Template

HEARD = ("speech", "engine")
"""Transcripts (`Provenance.transcript_source`) that were heard, by whomever."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch that was heard again, and what became of it; see `second_hearing.told`."""

    start_s: float
    end_s: float
    replaced: bool
    way: str
    before: dict[str, float]
    after: dict[str, float]
    assumed: bool = False
    """How sure the first words were is not known: `before` takes them for usually sure."""


@dataclass(frozen=True, slots=True)
class Redone:
    """One report that was looked at again."""

    task: VideoTask
    name: str
    score_before: float
    score_after: float
    stretches: tuple[Stretch, ...]
    """Those that are new in this run."""
    translations_lost: int = 0
    """Lines with a translation that were replaced in this run; new words have none."""

    @property
    def is_remote(self) -> bool:
        """A service wrote the report."""
        return result_of(self.task).engine not in ("", LOCAL)


@dataclass(slots=True)
class RelistenReport:
    """What a run did."""

    row: BatchRow
    redone: list[Redone] = field(default_factory=list)
    left: list[tuple[str, str, str]] = field(default_factory=list)
    """(task ref, name, why): doubtful reports that were not touched."""
    settled: int = 0
    """Doubtful reports all of whose doubtful stretches were heard again before."""
    problems: list[tuple[str, GsvrError]] = field(default_factory=list)
    """(task ref, why it could not be done, or the report not be read); it is as it was."""

    @property
    def replaced(self) -> int:
        """Stretches with a better text."""
        return sum(s.replaced for r in self.redone for s in r.stretches)

    @property
    def kept(self) -> int:
        """Stretches for which nothing better was heard."""
        return sum(not s.replaced for r in self.redone for s in r.stretches)


async def relisten_batch(
    queue: TaskQueue,
    ref: str,
    compute: ComputeBackend,
    cache: ArtifactStore,
    *,
    below: float,
    given: Mapping[str, Any] | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> RelistenReport:
    """Hear again what is in doubt in reports that score less than `below` (0 to 100).

    `ref` is a batch or one task. `given`: options of the batch that are others in this run.
    `on_done` is called with (reports done, reports to do).
    """
    found = await batch_quality(queue, ref, compute)
    options = replace(found.row.options, **(given or {}))
    report = RelistenReport(found.row)
    report.problems += [(task.ref, ReportDamaged(why)) for task, why in found.unread]
    chosen = choose(found, below, report)
    if not chosen:
        return report
    hearer = _Hearer(queue, options, compute, cache)
    await hearer.engine.prepare(compute)
    done = 0

    async def one(judged: Judged) -> None:
        nonlocal done
        await _one(hearer, judged, report)
        done += 1
        on_done(done, len(chosen))

    at_once = max(1, min(options.parallel, _processes(compute)))
    await bounded((one(judged) for judged in chosen), limit=at_once)
    report.redone.sort(key=lambda redone: redone.score_before)
    return report


def choose(found: BatchQuality, below: float, report: RelistenReport) -> list[Judged]:
    """The reports to hear again; the doubtful ones that stay are noted in `report`. Pure."""
    chosen = []
    for judged in found.judged:
        quality = judged.quality
        if quality.score >= below or not quality.doubts:
            continue
        why = _why_not(judged)
        if why:
            report.left.append((judged.task.ref, judged.name, why))
        elif not quality.open_doubts:
            report.settled += 1
        else:
            chosen.append(judged)
    return chosen


def _why_not(judged: Judged) -> str:
    """Why this machine must not hear a report again; empty when it may."""
    if judged.quality.transcript_source not in HEARD:
        return "the transcript is from subtitles; --subtitles ignore makes one from the sound"
    video = judged.task.video
    known = result_of(judged.task).fingerprint
    if video.input_type != InputType.FILE and known == url_fingerprint(video.source):
        return (
            f"the service {judged.quality.engine} took the recording from its address, so that it "
            "was never on this machine"
        )
    return ""


async def _one(hearer: _Hearer, judged: Judged, report: RelistenReport) -> None:
    try:
        redone = await known_errors(hearer.redo(judged))
    except FatalError:
        raise
    except GsvrError as error:
        report.problems.append((judged.task.ref, error))
        return
    report.redone.append(redone)


class _Hearer:
    """Makes one report anew, with a second hearing, in the place of the old one."""

    def __init__(
        self,
        queue: TaskQueue,
        options: BatchOptions,
        compute: ComputeBackend,
        cache: ArtifactStore,
    ) -> None:
        options = replace(options, engine="local")
        self.engine = _SecondLook(options)
        self._output_dir = options.output_dir
        self._again = InPlace(queue, options, compute, cache, self.engine)

    async def redo(self, judged: Judged) -> Redone:
        """Raises: what an engine raises; the report on disk is then as it was."""
        task, before = judged.task, judged.quality
        _WANTED.set(judged)
        lost = 0 if before.engine == LOCAL else _lost(await self._read(task.result))
        made = await self._read(await self._again(task))
        return Redone(
            task,
            judged.name,
            before.score,
            assess(made).score,
            tuple(s for s in _stretches(made) if not before.is_settled(s.start_s, s.end_s)),
            _lost(made) - lost,
        )

    async def _read(self, result: TaskResult | None) -> VideoReport:
        path = Path(self._output_dir) / json_of(result)
        return await asyncio.to_thread(lambda: read_json(path.read_bytes()))


_WANTED: ContextVar[Judged] = ContextVar("wanted")
"""The report that this asyncio task makes anew."""


class _SecondLook:
    """The local engine with `hear_again`, for reports of the same speech model; and for those of
    remote engines, whose doubtful words alone are heard here."""

    def __init__(self, options: BatchOptions) -> None:
        self._local = LocalEngine(asr_model=options.asr_model, cache_root=options.cache_dir)
        self._output_dir = options.output_dir
        self.capabilities: EngineCapabilities = self._local.capabilities

    @property
    def buckets(self) -> tuple[str, ...]:
        return ()

    async def prepare(self, compute: ComputeBackend) -> None:
        await self._local.prepare(compute)

    def estimate(self, duration_s: float, template: Template) -> Estimate:
        return self._local.estimate(duration_s, template)

    async def analyze(self, ctx: TaskContext) -> VideoReport:
        wanted = _WANTED.get()
        if wanted.quality.engine != LOCAL:
            return await self._of_remote(ctx, wanted)
        if wanted.quality.asr_model != self._local.model_name:
            raise PermanentError(
                f"the report was made with the speech model {wanted.quality.asr_model}, but this "
                f"batch would now use {self._local.model_name}",
                hint="gsvr models list tells which models are here",
            )
        ctx.hear_again = True
        return await self._local.analyze(ctx)

    async def _of_remote(self, ctx: TaskContext, wanted: Judged) -> VideoReport:
        """The report on disk with better words; nothing is asked of its engine."""
        path = Path(self._output_dir) / json_of(wanted.task.result)
        old = await asyncio.to_thread(lambda: read_json(path.read_bytes()))
        slides = old.slides
        if slides:  # the pictures come from the cache again, not from beside the report
            found = await probe(ctx)
            slides, _ = await gemini_report.find_slides(ctx, found, old.language)
        media = replace(old.media, source=ctx.media.source)  # on disk it is told from the report
        old = replace(old, slides=slides, media=media)
        return await rehearing.decide(ctx, old, self._local.model)


def _stretches(report: VideoReport) -> list[Stretch]:
    told = report.provenance.parameters.get("heard_again", ())
    return [
        Stretch(
            s["start_s"],
            s["end_s"],
            s["replaced"],
            s["way"],
            s["before"],
            s["after"],
            bool(s.get("assumed")),
        )
        for s in told
        if s["tried"]
    ]


def _lost(report: VideoReport) -> int:
    return int(report.provenance.parameters.get(rehearing.LOST, 0))


def _processes(compute: ComputeBackend) -> int:
    return max(1, int(compute.statistics().processes))
