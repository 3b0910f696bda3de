"""Every error a user can meet, and the exit codes.

The tree (class: what the batch does with it)::

    GsvrError
    ├── RetryableError    try the task again later     LeaseLost, ComputeCrashed, QueueBusy ...
    ├── PermanentError    fail this task, go on        NoMediaError, TemplateError ...
    ├── FatalError        stop the batch, resumable    DiskFullError, ModelMissing ...
    ├── LimitReached      pause the batch, resumable   (carries `resume_at`)
    └── UsageError        nothing was started          ConfigError, NoInputError ...

An error is classified once, where it arises. It carries what happened (`message`), what to do
next (`hint`), a stable code word (`code`, documented in docs/troubleshooting.md) and data.
It survives a trip through a pipe: `to_dict()` / `from_dict()`.
Never: prints, logs, knows about batches or engines.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar, Self


class ExitCode(IntEnum):
    """Process exit codes. Published: never renumbered; unknown codes mean failure."""

    OK = 0
    """Every task completed, or was already done."""
    FAILED = 1
    """The command could not run: unexpected error, disk full, database unsound."""
    USAGE = 2
    """Usage or configuration error; nothing was started."""
    PARTIAL = 3
    """The batch finished; some tasks failed."""
    PAUSED = 4
    """Paused by a limit or by request; the message and the JSON carry `resume_at`."""
    NO_INPUT = 5
    """No input matched."""
    NOT_FOUND = 10
    """No such batch, task or checkpoint."""
    LOCKED = 11
    """Locked by a live process."""
    AUTH = 12
    """Key missing or rejected."""
    SIGINT = 130
    """Interrupted; state saved, resumable."""
    SIGTERM = 143
    """Terminated; state saved, resumable."""


class GsvrError(Exception):
    """Base of all errors that are shown to people.

    Args:
        message: one plain sentence without a full stop at the end: what happened, to what.
        hint: what to do next, one or more lines; empty means "use the class's default_hint".
        stage: the pipeline stage in which it arose, if any.
        data: extra JSON-able facts for `--json` and the database. Never secrets.
    """

    code: ClassVar[str] = "E_UNEXPECTED"
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "", stage: str = "", **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint
        self.stage = stage
        self.data: dict[str, Any] = data

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form: code, message, hint, stage, data."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "stage": self.stage,
            "data": self.data,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> GsvrError:
        """Rebuild an error from `to_dict()`; an unknown code gives a `PermanentError`."""
        kind = _by_code().get(str(value.get("code")), PermanentError)
        return kind(
            str(value.get("message", "")),
            hint=str(value.get("hint", "")),
            stage=str(value.get("stage", "")),
            **dict(value.get("data") or {}),
        )

    def at(self, stage: str) -> Self:
        """The same error, with its stage filled in if it had none."""
        self.stage = self.stage or stage
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (GsvrError.from_dict, (self.to_dict(),))


def _by_code() -> dict[str, type[GsvrError]]:
    found: dict[str, type[GsvrError]] = {}
    queue: list[type[GsvrError]] = [GsvrError]
    while queue:
        kind = queue.pop()
        found.setdefault(kind.code, kind)
        queue.extend(kind.__subclasses__())
    return found


# --- the task may be tried again ---------------------------------------------------------------


class RetryableError(GsvrError):
    """Trying again later may help: network, 429, 5xx, a killed helper process."""

    code = "E_RETRY"

    @property
    def retry_after_s(self) -> float | None:
        """Seconds the other side asked us to wait, if it said so."""
        value = self.data.get("retry_after_s")
        return None if value is None else float(value)


class LeaseLost(RetryableError):
    """Another process took the task over; this worker's result is discarded."""

    code = "E_LEASE_LOST"
    default_hint = "nothing to do: the other process finishes it"


class ComputeCrashed(RetryableError):
    """A compute process died of a signal or an exit that was not ours."""

    code = "E_COMPUTE_CRASHED"
    default_hint = "the task is tried again; if it keeps happening, report it with --verbose output"


class ComputeOutOfMemory(RetryableError):
    """A compute process was killed for, or ran out of, memory."""

    code = "E_OUT_OF_MEMORY"
    default_hint = (
        "close other programs, or use fewer processes: --parallel 1; "
        "if memory_limit is set, raise it"
    )


class ComputeTimeout(RetryableError):
    """A step or task took longer than its limit and was killed."""

    code = "E_TIMEOUT"
    default_hint = "raise --timeout; finished steps are kept, so the next try goes on from there"


class ComputeStalled(RetryableError):
    """A step made no progress for the stall limit and was killed."""

    code = "E_STALLED"
    default_hint = "raise --stall-timeout, or check the file in a player"


class ArtifactMissing(RetryableError):
    """A file in the cache that a finished step had made is gone or damaged."""

    code = "E_ARTIFACT_MISSING"
    default_hint = "nothing to do: the step that made it is run again"


class ReportDamaged(RetryableError):
    """A finished report is not on disk as it was written, and cannot be made again now."""

    code = "E_REPORT_DAMAGED"
    default_hint = (
        "put its recording (or its JSON file) back where it was, then: gsvr batch verify --repair"
    )


class QueueBusy(RetryableError):
    """The database stayed locked by another program."""

    code = "E_QUEUE_BUSY"
    exit_code = ExitCode.LOCKED
    default_hint = "close the program that holds the database, then run the same command again"


class DownloadError(RetryableError):
    """A download failed in a way that may pass: network, 429, 5xx, a cut connection."""

    code = "E_DOWNLOAD"
    default_hint = "check the network; what has been downloaded is kept, and the next try goes on"


class StepCancelled(RetryableError):
    """The work was stopped on request (Ctrl-C, pause, cancel)."""

    code = "E_STOPPED"
    default_hint = "resume the batch"


class Unreachable(RetryableError):
    """A model's service gave no answer: no connection, a cut, nothing in time, or a 5xx.

    Data: `service` (for people); `certain` when the request itself cannot be the reason.
    """

    code = "E_UNREACHABLE"
    default_hint = "check the network connection; what is finished is kept"


class Refused(RetryableError):
    """The other side refused for rate; `retry_after_s` is what it asked for, if it did."""

    code = "E_RATE_LIMITED"
    default_hint = "nothing to do: it is asked again, more slowly"


class UploadGone(RetryableError):
    """An uploaded recording is not at the service any more."""

    code = "E_UPLOAD_GONE"
    default_hint = "nothing to do: the recording is uploaded again"


# --- this task cannot succeed ------------------------------------------------------------------


class PermanentError(GsvrError):
    """Trying again would give the same answer; the task fails, the batch goes on."""

    code = "E_PERMANENT"


class EmptyFileError(PermanentError):
    """The file has no bytes."""

    code = "E_EMPTY_FILE"
    default_hint = "copy the file again from its source"


class NoMediaError(PermanentError):
    """The file is not audio or video, or its header cannot be read."""

    code = "E_NO_MEDIA"
    default_hint = "copy the file again from its source, or remove it from the input"


class CorruptMediaError(PermanentError):
    """The container opens, but nothing in it can be decoded."""

    code = "E_CORRUPT_MEDIA"
    default_hint = "copy the file again from its source, or re-encode it with a video editor"


class SubtitleError(PermanentError):
    """A subtitle file or track holds no usable text."""

    code = "E_SUBTITLES"
    default_hint = "remove the subtitle file, or ignore subtitles with --subtitles ignore"


class FileMissingError(PermanentError):
    """The file was there when the batch was made and is gone now."""

    code = "E_FILE_MISSING"
    default_hint = "put the file back, then: gsvr batch retry latest --failed"


class FileUnreadableError(PermanentError):
    """No permission, or an input/output error while reading."""

    code = "E_FILE_UNREADABLE"
    default_hint = "make the file readable (chmod u+r FILE), then: gsvr batch retry latest --failed"


class UnsupportedInputError(PermanentError):
    """An input that this version cannot fetch or process."""

    code = "E_UNSUPPORTED_INPUT"


class DownloadRefused(PermanentError):
    """The other side will not give the video: removed, private, login, geo-blocked, too large."""

    code = "E_DOWNLOAD_REFUSED"
    default_hint = "download the video yourself and pass the file"


class BlockedAddressError(PermanentError):
    """An address that leads to a private network, which downloads may not reach."""

    code = "E_BLOCKED_ADDRESS"
    default_hint = (
        "if you trust the host, add this line to your configuration: "
        "download: {allow_private_hosts: [HOST]}"
    )


class ContentBlocked(PermanentError):
    """A model's service refuses to answer about this recording."""

    code = "E_BLOCKED"
    default_hint = "use an engine that works on this machine for it: --engine local"


class AnswerUnusable(PermanentError):
    """A model answered several times without giving what was asked for."""

    code = "E_ANSWER"
    default_hint = "choose another model with --model, or another template"


class AnswerTooLarge(PermanentError):
    """A service sent an answer that is longer than any real one, or that does not end."""

    code = "E_ANSWER_TOO_LARGE"
    default_hint = "check the address and the server behind it (openai.base_url, gemini.base_url)"


class PoisonTaskError(PermanentError):
    """The task ended its worker process several times."""

    code = "E_POISON"
    default_hint = "the file ends the program that reads it; re-encode it, or leave it out"


class TemplateError(PermanentError):
    """The template is unknown, malformed, or fails while rendering."""

    code = "E_TEMPLATE"
    exit_code = ExitCode.USAGE
    default_hint = "see: gsvr templates list"


class ComputeFailed(PermanentError):
    """A step ended in an error that nobody foresaw; the same input would end so again."""

    code = "E_COMPUTE_FAILED"
    default_hint = (
        "this is a fault in gsvr or in a library it uses; report it with --verbose output"
    )


# --- the batch must stop -----------------------------------------------------------------------


class FatalError(GsvrError):
    """No task can succeed until a person acts; the batch stops and stays resumable."""

    code = "E_FATAL"


class DiskFullError(FatalError):
    """No space left for the database, the cache or the reports."""

    code = "E_DISK_FULL"
    default_hint = "free some space, then run the same command again; finished work is kept"


class OutputNotWritable(FatalError):
    """The output folder cannot be created or written."""

    code = "E_OUTPUT_NOT_WRITABLE"
    default_hint = (
        "make the folder writable and repeat the command; a new batch can write to another one: "
        "gsvr batch process --output FOLDER"
    )


class DatabaseError(FatalError):
    """The database file cannot be used."""

    code = "E_DATABASE"


class DatabaseCorrupt(DatabaseError):
    """The database file is damaged or is not a database."""

    code = "E_DATABASE_CORRUPT"
    default_hint = (
        "go on from the newest checkpoint (the damaged file is kept): "
        "gsvr batch process --resume-from latest"
    )


class DatabaseNewer(DatabaseError):
    """The database was written by a newer version of gsvr."""

    code = "E_DATABASE_NEWER"
    exit_code = ExitCode.USAGE
    default_hint = "upgrade gsvr, or use another file with --db"


class DatabaseReadOnly(DatabaseError):
    """The database file or its folder cannot be written."""

    code = "E_DATABASE_READ_ONLY"
    default_hint = (
        "make the file, those beside it that end in -wal and -shm, and their folder writable, or "
        "use another file with --db"
    )


class DatabaseOnNetwork(DatabaseError):
    """The database lies on a network file system, where its locks cannot be trusted."""

    code = "E_DATABASE_NETWORK"
    exit_code = ExitCode.USAGE
    default_hint = "put it on a local disk with --db; inputs and reports may stay on the network"


class ModelMissing(FatalError):
    """The speech model is not on this machine."""

    code = "E_MODEL_MISSING"
    exit_code = ExitCode.USAGE


class DependencyMissing(FatalError):
    """An optional package that this work needs is not installed."""

    code = "E_NOT_INSTALLED"
    exit_code = ExitCode.USAGE


class AuthenticationError(FatalError):
    """The key for a remote engine is missing or was rejected."""

    code = "E_AUTH"
    exit_code = ExitCode.AUTH


class LimitReached(GsvrError):
    """A cost limit or a quota is spent; the batch pauses until `resume_at`."""

    code = "E_LIMIT"
    exit_code = ExitCode.PAUSED

    @property
    def resume_at(self) -> str | None:
        """ISO-8601 UTC time at which the batch can go on, if known."""
        value = self.data.get("resume_at")
        return None if value is None else str(value)

    @property
    def is_budget(self) -> bool:
        """The user's own cost limit binds: another key would not help."""
        return "limit_usd" in self.data


class NetworkOutage(LimitReached):
    """A service could not be reached for a long time; the batch pauses, no task lost a try."""

    code = "E_OUTAGE"
    default_hint = "resume the batch when the network or the service is back"


# --- the command was wrong; nothing was started ------------------------------------------------


class UsageError(GsvrError):
    """The command line, the configuration or the input list is wrong."""

    code = "E_USAGE"
    exit_code = ExitCode.USAGE


class BatchInUse(UsageError):
    """Another process has the batch, or the whole database, in hand."""

    code = "E_BATCH_IN_USE"
    exit_code = ExitCode.LOCKED


class ConfigError(UsageError):
    """A configuration file, variable or flag holds an unknown key or a bad value."""

    code = "E_CONFIG"


class LogNotWritable(UsageError):
    """The log file cannot be opened for writing."""

    code = "E_LOG_FILE"
    default_hint = "choose another file with --log-file, or change the permissions of its folder"


class ProgressFileRefused(UsageError):
    """What has the name of the progress file is something else."""

    code = "E_PROGRESS_FILE"
    default_hint = "name a file that is not there yet with --progress-file"


class KeyringError(UsageError):
    """The system's keyring is missing, locked, or refuses."""

    code = "E_KEYRING"
    default_hint = "unlock it, or store the key in a file of yours: the same without --keyring"


class InputListError(UsageError):
    """The input list itself cannot be read (single bad rows are problems, not errors)."""

    code = "E_INPUT_LIST"
    default_hint = "mend the list in an editor or a spreadsheet program, then run the command again"


class InputPathError(UsageError):
    """The input path does not exist, is of the wrong kind, or cannot be read."""

    code = "E_INPUT_PATH"
    default_hint = "check the spelling of the path; quote it if it holds spaces"


class NoInputError(UsageError):
    """Nothing to process was found."""

    code = "E_NO_INPUT"
    exit_code = ExitCode.NO_INPUT
    default_hint = "check the path and the --include/--exclude patterns"


class NotFoundError(UsageError):
    """No such batch, task, checkpoint or template."""

    code = "E_NOT_FOUND"
    exit_code = ExitCode.NOT_FOUND
    default_hint = "see: gsvr batch list"


class CheckpointError(UsageError):
    """A checkpoint file is cut short, altered, or from a newer version."""

    code = "E_CHECKPOINT"
    exit_code = ExitCode.FAILED
    default_hint = "use an older one: gsvr batch checkpoints"


class ResumeConflict(UsageError):
    """A flag given on resume would change results (template, engine)."""

    code = "E_RESUME_CONFLICT"
    default_hint = "start a new batch with --new"


def from_os_error(error: OSError, what: str, *, writing: bool = False) -> GsvrError:
    """Translate an operating-system error about `what` (a path as text) into ours.

    Args:
        error: the cause; the caller raises the result `from` it.
        what: the file or folder, as shown to the user.
        writing: True when the operation was a write to output, cache or database.
    """
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"{what}: no space left on the disk")
    if writing:
        return OutputNotWritable(f"{what}: cannot be written ({error.strerror or error})")
    if isinstance(error, FileNotFoundError):
        return FileMissingError(f"{what}: the file is not there any more")
    if isinstance(error, PermissionError):
        return FileUnreadableError(f"{what}: no permission to read it")
    return FileUnreadableError(f"{what}: cannot be read ({error.strerror or error})")
