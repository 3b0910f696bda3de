"""Values, states and the transition table of the batch core.

Pure: no I/O, no clock. Frozen dataclasses; a comment gives the unit of each field.
The words of the states are the words in the database (a test holds the two equal).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from gs_video_report.errors import UsageError


class InputType(StrEnum):
    """What kind of thing a `VideoInput.source` is."""

    FILE = "file"
    URL = "url"
    YOUTUBE = "youtube"


class TaskStatus(StrEnum):
    """State of one task; see `TASK_TRANSITIONS`."""

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class AttemptOutcome(StrEnum):
    """How one attempt of a task ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    RETRYING = "retrying"
    RELEASED = "released"
    """Handed back unfinished on a graceful stop."""
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    DIED = "died"
    """The worker's process ended under it, or the machine restarted."""
    LAPSED = "lapsed"
    """The process lived but did not renew the lease."""


class BatchStatus(StrEnum):
    """State of one batch; see `BATCH_TRANSITIONS`."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """The eight pipeline stages, in order."""

    PROBE = "probe"
    FETCH = "fetch"
    AUDIO = "audio"
    TRANSCRIBE = "transcribe"
    SLIDES = "slides"
    READ = "read"
    COMPOSE = "compose"
    WRITE = "write"


STAGES: tuple[Stage, ...] = tuple(Stage)

# Old state -> states it may become. `requeue` (retry command, lost outputs) is the only way back
# from an ended state and always goes to `pending`. A task that has a report and waits for a new one
# keeps its result; whenever it ends without the new report, it is `completed` with the old one.
TASK_TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.PENDING: frozenset(
        {
            TaskStatus.RUNNING,
            TaskStatus.SKIPPED,
            TaskStatus.CANCELLED,
            TaskStatus.COMPLETED,  # cancelled, and it has a report from before
        }
    ),
    TaskStatus.RUNNING: frozenset(
        {
            TaskStatus.COMPLETED,
            TaskStatus.SKIPPED,  # --skip-existing found the finished report
            TaskStatus.FAILED,
            TaskStatus.RETRYING,
            TaskStatus.CANCELLED,
            TaskStatus.PENDING,  # released unfinished (graceful stop) or lease lapsed
        }
    ),
    TaskStatus.RETRYING: frozenset(
        {
            TaskStatus.RUNNING,
            TaskStatus.CANCELLED,
            TaskStatus.COMPLETED,  # cancelled, and it has a report from before
            TaskStatus.PENDING,
        }
    ),
    TaskStatus.COMPLETED: frozenset({TaskStatus.PENDING}),
    TaskStatus.FAILED: frozenset({TaskStatus.PENDING}),
    TaskStatus.CANCELLED: frozenset({TaskStatus.PENDING}),
    TaskStatus.SKIPPED: frozenset({TaskStatus.PENDING}),
}

BATCH_TRANSITIONS: dict[BatchStatus, frozenset[BatchStatus]] = {
    BatchStatus.INITIALIZING: frozenset(
        {BatchStatus.RUNNING, BatchStatus.FAILED, BatchStatus.CANCELLED}
    ),
    BatchStatus.RUNNING: frozenset(
        {BatchStatus.PAUSED, BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.CANCELLED}
    ),
    BatchStatus.PAUSED: frozenset({BatchStatus.RUNNING, BatchStatus.CANCELLED}),
    BatchStatus.COMPLETED: frozenset({BatchStatus.RUNNING}),
    BatchStatus.FAILED: frozenset({BatchStatus.RUNNING, BatchStatus.CANCELLED}),
    BatchStatus.CANCELLED: frozenset({BatchStatus.RUNNING}),
}

TASK_ENDED: frozenset[TaskStatus] = frozenset(
    {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED, TaskStatus.SKIPPED}
)

DEFAULT_PRIORITY = 50
MAX_PRIORITY = 100
POISON_LIMIT = 3
"""A task that crashed the compute process that worked on it this often is failed as poison."""
PROCESS_DEATH_LIMIT = 100
"""A task that was in flight this often in a row when the whole program died, without finishing a
step in between, is failed as poison. High on purpose: the program is mostly killed by people,
reboots and power cuts, and no number of those may cost a video its report."""


OUTSIDE = "outside-"
"""Begins the folder, in the output tree, for files that a list names outside of its own folder."""


@dataclass(frozen=True, slots=True)
class VideoInput:
    """One thing to process, as found by the input parser. Nothing of it has been opened."""

    source: str
    """Absolute path, or URL. Paths that are not valid UTF-8 carry surrogate escapes."""
    input_type: InputType = InputType.FILE
    relative_path: str = ""
    """POSIX path below the input root (or list folder); never absolute, no `..`."""
    size_bytes: int | None = None
    mtime_ns: int | None = None
    """Modification time in nanoseconds since 1970; with size it tells whether a file changed."""
    template: str | None = None
    """Template for this input only (list column)."""
    output_name: str | None = None
    """Base name of the outputs for this input only (list column); a plain name, no separators."""
    priority: int | None = None
    """0 (first) to 100, for this input only."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Every other column of the list, as text."""
    origin: str = ""
    """Where it came from, such as `list.csv:17`; empty for directory scans."""

    @property
    def known_as(self) -> str:
        """How people know it: its path below the input root; of a file that a list names elsewhere,
        its whole path; an address."""
        if self.relative_path:
            return self.source if self._is_elsewhere else self.relative_path
        is_file = self.input_type is InputType.FILE
        return self.source.rstrip("/").rsplit("/", 1)[-1] if is_file else self.source

    @property
    def _is_elsewhere(self) -> bool:
        """The first folder of `relative_path` is made up (`batch.inputs.resolve`)."""
        made_up = self.relative_path.startswith(OUTSIDE)
        return made_up and not self.source.endswith(f"/{self.relative_path}")


@dataclass(frozen=True, slots=True)
class InputProblem:
    """One line or file that was not taken, and why. The rest goes on."""

    origin: str
    """`list.csv:17`, or the path of the file."""
    value: str
    """The offending text, shortened to 200 characters."""
    reason: str
    """One plain sentence."""
    code: str = "rejected"
    """`rejected`, `duplicate`, `missing`, `unsupported`, `unreadable`."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """One file of a report."""

    path: str
    """Relative to the batch's output folder, POSIX separators."""
    kind: str
    """`json`, `markdown`, `html`, `srt`, `vtt`, `chapters`, `asset`."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a task or batch spent."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0


FILES = "files"
"""`TaskResult.rewriting`: the files on disk may be of two makings; the JSON is one of them."""
PAGES = "pages"
"""`TaskResult.rewriting`: the files are those of the row; library page and checkpoint are older."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a completed task left behind."""

    outputs: tuple[OutputFile, ...] = ()
    media_s: float = 0.0
    """Length of the recording, seconds."""
    engine: str = ""
    language: str = ""
    warnings: tuple[str, ...] = ()
    usage: Usage = Usage()
    """Paid by the attempt that finished."""
    reused: Usage = Usage()
    """What answers from the journal had cost when they were made; not paid again."""
    stage_s: dict[str, float] = field(default_factory=dict)
    """Wall seconds per stage of the attempt that finished."""
    fingerprint: str = ""
    """SHA-256 of the source's content."""
    renderings: dict[str, tuple[OutputFile, ...]] = field(default_factory=dict)
    """Template -> files of this very report that were written with other templates than its own.
    Of those that an older version wrote only the path is known: kind and SHA-256 are empty."""
    rewriting: str = ""
    """What a command that writes this finished report anew has still to do: `FILES`, `PAGES`, or
    nothing (empty)."""

    def to_json(self) -> str:
        """Compact JSON text; `from_json` is its inverse."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`. Raises: ValueError on unknown fields or bad JSON."""
        value = json.loads(text)
        _refuse_unknown(cls, value)
        value["outputs"] = tuple(OutputFile(**o) for o in value.get("outputs", ()))
        value["warnings"] = tuple(value.get("warnings", ()))
        value["usage"] = Usage(**value.get("usage", {}))
        value["reused"] = Usage(**value.get("reused", {}))
        value["renderings"] = {
            template: tuple(_rendered(file) for file in files)
            for template, files in value.get("renderings", {}).items()
        }
        return cls(**value)


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why an attempt failed, as stored."""

    code: str
    message: str
    hint: str = ""
    stage: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VideoTask:
    """One row of `tasks`."""

    task_id: int
    """Unique in the database, never reused; creation order."""
    batch_id: str
    seq: int
    """1, 2, 3 ... within the batch; `7f3a:17` names a task."""
    status: TaskStatus
    priority: int
    """0 first .. 100 last."""
    video: VideoInput
    template: str
    attempt: int = 0
    """Fencing token: raised by one at every claim."""
    failures: int = 0
    """Attempts that ended in an error that counts (waits and graceful stops do not)."""
    kills: int = 0
    """Times the task's worker process died under it."""
    worker_id: str | None = None
    lease_expires_at: str | None = None
    next_attempt_at: str | None = None
    """ISO-8601 UTC; only while `retrying`."""
    cancel_requested: bool = False
    fingerprint: str | None = None
    """SHA-256 of the content, once probed."""
    media_s: float | None = None
    """Length in seconds, once probed."""
    stage: str | None = None
    """Stage last reported."""
    error: TaskError | None = None
    """Why the newest attempt failed; with `completed`, the report is of an earlier one."""
    result: TaskResult | None = None
    """The report. While the task is open, one made before: it stays until the new one is there."""
    created_at: str = ""
    started_at: str | None = None
    finished_at: str | None = None

    @property
    def ref(self) -> str:
        """How people name it: `batch:seq`."""
        return f"{self.batch_id}:{self.seq}"


@dataclass(frozen=True, slots=True)
class NewTask:
    """What `TaskQueue.add_tasks` takes."""

    video: VideoInput
    template: str
    priority: int = DEFAULT_PRIORITY
    task_key: str = ""
    """Identity within the batch (source and template); a second one is not added."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """Everything that was decided when the batch was made; frozen in the batch row."""

    template: str = "transcript"
    engine: str = "auto"
    output_dir: str = "./batch_output"
    """Absolute path once resolved."""
    output_pattern: str = "{template}/{dir}/{name}"
    """Where a report goes below `output_dir`; the fields are those of `report.paths`."""
    formats: tuple[str, ...] = ("md", "html", "srt", "vtt", "json")
    parallel: int = 4
    """Tasks in flight."""
    compute_processes: int = 0
    """Compute processes; 0 = from cores and memory."""
    max_retries: int = 3
    """Tries after the first one."""
    timeout_s: float = 1800.0
    """Per task and attempt, active time only."""
    stall_timeout_s: float = 300.0
    """A step without progress for this long is killed."""
    outage_limit_s: float = 1800.0
    """The batch pauses when a service could not be reached for so long."""
    skip_existing: bool = False
    language: str = "auto"
    """Spoken language: ISO 639-1 code, or auto."""
    asr_model: str = "auto"
    subtitles: str = "prefer"
    """prefer | ignore."""
    slides: bool = True
    ocr: bool = True
    engine_options: dict[str, Any] = field(default_factory=dict)
    """Options of the engine: model, fps, temperature, base_url ... Never keys."""
    fallback: tuple[str, ...] = ()
    """Engines to go on with, in this order, when the quota or budget of the one before is spent."""
    download: dict[str, Any] = field(default_factory=dict)
    """How addresses are fetched: limit_rate, max_bytes, allow_private_hosts, format."""
    cost_limit_usd: float | None = None
    daily_cost_limit_usd: float | None = None
    """Of all batches of the database, per day of this machine's zone."""
    checkpoint_interval_s: float = 60.0
    cache_dir: str = ""
    template_dir: str = ""

    @property
    def user_templates(self) -> Path | None:
        """Folder of the user's own templates; None when none is set."""
        return Path(self.template_dir) if self.template_dir else None

    def to_json(self) -> str:
        """Compact JSON text; `from_json` is its inverse."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`. Raises: ValueError on unknown fields or bad JSON."""
        value = json.loads(text)
        _refuse_unknown(cls, value)
        for name in ("formats", "fallback"):
            if name in value:
                value[name] = tuple(value[name])
        return cls(**value)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One row of `batches`."""

    batch_id: str
    """8 lower-case hexadecimal digits; any unique prefix names it."""
    name: str
    """Shown to people: the last part of the input path."""
    batch_key: str
    """Same inputs, template, engine and output give the same key: the same command resumes."""
    status: BatchStatus
    options: BatchOptions
    input_spec: dict[str, Any]
    """How the inputs were named: kind, path, recursive, include, exclude, ..."""
    created_at: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    resume_at: str | None = None
    status_reason: str = ""
    tool_version: str = ""


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Tasks per state, and sums."""

    pending: int = 0
    running: int = 0
    retrying: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0
    media_s_total: float = 0.0
    """Seconds of all tasks whose length is known."""
    media_s_done: float = 0.0
    """Seconds of completed and skipped tasks."""
    usd: float = 0.0

    @property
    def total(self) -> int:
        """All tasks."""
        return self.ended + self.open

    @property
    def ended(self) -> int:
        """Tasks that will not run again by themselves."""
        return self.completed + self.failed + self.cancelled + self.skipped

    @property
    def open(self) -> int:
        """Tasks that still have work."""
        return self.pending + self.running + self.retrying


@dataclass(frozen=True, slots=True)
class Doubt:
    """US dollars of one batch that may not have been spent."""

    counted: float = 0.0
    """Part of what the batch has spent: requests that ended without an answer."""
    held: float = 0.0
    """Not part of it: requests in flight when a process died."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """How a run of a batch ended."""

    batch_id: str
    status: BatchStatus
    counts: BatchCounts
    exit_code: int
    elapsed_s: float
    """Wall seconds of this run."""
    resume_at: str | None = None
    report_index: str | None = None
    """Path of the library page."""
    error_report: str | None = None
    command_tail: str = ""
    """Options that a following command needs to find the batch, such as ` --db x.db`."""
    tuning: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Changes of concurrency in this run, oldest first: (ISO-8601 UTC, {old, new, reason})."""
    usd_reused: float = 0.0
    """What answers cost that were paid before and used again; not in `counts.usd`."""
    usd_in_doubt: float = 0.0
    """Part of `counts.usd`: the most that requests may have cost to which no answer came."""
    usd_held: float = 0.0
    """Not part of it: the most that requests in flight may have cost when a process was killed."""
    hint: str = ""
    """What to do about the reason why the run ended early."""
    remarks: tuple[str, ...] = ()
    """What the engine had to say about its service, and which old reports stayed, one sentence
    each."""


def check_task_transition(old: TaskStatus, new: TaskStatus) -> None:
    """Raise `UsageError` unless a task may go from `old` to `new`."""
    if new not in TASK_TRANSITIONS[old]:
        raise UsageError(f"a {old} task cannot become {new}")


def check_batch_transition(old: BatchStatus, new: BatchStatus) -> None:
    """Raise `UsageError` unless a batch may go from `old` to `new`."""
    if new not in BATCH_TRANSITIONS[old]:
        raise UsageError(f"a {old} batch cannot become {new}")


def _rendered(file: dict[str, Any] | str) -> OutputFile:
    """One file of a rendering; older rows hold paths only."""
    return OutputFile(file, "", 0, "") if isinstance(file, str) else OutputFile(**file)


def _refuse_unknown(cls: Any, value: dict[str, Any]) -> None:
    unknown = sorted(set(value) - {f.name for f in fields(cls)})
    if unknown:
        raise ValueError(f"{cls.__name__}: unknown fields {', '.join(unknown)}")
