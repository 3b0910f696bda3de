"""What one run of a batch is given, and what it holds open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.batch.data_models import BatchOptions, BatchRow
from gs_video_report.batch.progress.file import ProgressFile
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.batch.run.teller import RunTeller
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.cache import DEFAULT_LIMIT_BYTES, ArtifactStore
from gs_video_report.compute.process_pool import ProcessBackend
from gs_video_report.config_values import Secret
from gs_video_report.engines import registry
from gs_video_report.engines.base import Engine
from gs_video_report.errors import GsvrError
from gs_video_report.terminal.log_face import LogSink


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run needs besides the frozen options: keys, and how it shows itself."""

    keys: Mapping[str, Sequence[Secret]] = field(default_factory=dict)
    """Engine -> its keys, in the order of use. Never stored, never shown."""
    advise: Callable[[GsvrError], None] = lambda error: None
    """Completes an error's hint by what the configuration knows: where a refused key came from."""
    engine_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of the fallback engines; those of the batch's own engine are frozen in its row."""
    prices_file: Path | None = None
    """The user's own prices."""
    webhook: str | None = None
    command_tail: str = ""
    """See `BatchResult.command_tail`."""
    progress_file: Path | None = None
    log: LogSink | None = None
    """Where the finer lines of the log file go; the printer has a face for the others."""
    checkpoint_dir: Path | None = None
    memory_limit_bytes: int | None = None
    """What this process and its compute processes may use in all; None: what the machine has."""
    tuning: bool = True
    """Whether the number of compute processes follows the memory."""
    cache_limit_bytes: int = DEFAULT_LIMIT_BYTES
    """Size to which the cache is trimmed at the end of a run."""

    def options_of(self, engine: str, options: BatchOptions) -> Mapping[str, Any]:
        """The engine's section: frozen with the batch for its own engine, else of this run."""
        if engine == options.engine:
            return options.engine_options
        return self.engine_options.get(engine, {})

    def make_engine(self, name: str, options: BatchOptions) -> Engine:
        """An engine for the batch. Raises: ConfigError, AuthenticationError, DependencyMissing."""
        given = asdict(options) | {"engine_options": self.options_of(name, options)}
        return registry.make(name, given, self.keys.get(name, ()), prices=self.prices_file)


@dataclass(frozen=True, slots=True)
class RunParts:
    """What one run holds open while it drains the batch."""

    row: BatchRow
    """As it was at the start."""
    settings: RunSettings
    process_id: str
    """The id of this process's lock."""
    queue: TaskQueue
    journal: StepJournal
    """One per process, or single flight would not hold."""
    cache: ArtifactStore
    compute: ProcessBackend
    fetching: ProcessBackend
    """Downloads mostly wait: they get processes of their own, which start when one is needed."""
    monitor: ProgressMonitor
    teller: RunTeller
    started: float
    """Monotonic seconds at the start of the run."""
    stays_cancelled: bool = False
    """See `judge`."""
    progress_file: ProgressFile | None = None
    """The picture for scripts, if one was asked for."""
