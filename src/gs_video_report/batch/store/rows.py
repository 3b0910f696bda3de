"""Rows of the database to values and back; the one place that knows both.

Pure. JSON is stored readable (Chinese stays Chinese) unless the text holds surrogate escapes,
which only survive as `\\uXXXX`.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from operator import attrgetter
from typing import Any

from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchOptions,
    BatchRow,
    BatchStatus,
    InputType,
    NewTask,
    OutputFile,
    TaskError,
    TaskResult,
    TaskStatus,
    Usage,
    VideoInput,
    VideoTask,
)

Row = sqlite3.Row | Mapping[str, Any]

_NOT_PLAIN = frozenset({"status", "options", "input_spec"})
_RESULT_FIELDS = tuple(f.name for f in fields(TaskResult))
_OUTPUT_FIELDS = tuple(f.name for f in fields(OutputFile))
_USAGE_FIELDS = tuple(f.name for f in fields(Usage))
_result_values, _output_values, _usage_values = (
    attrgetter(*names) for names in (_RESULT_FIELDS, _OUTPUT_FIELDS, _USAGE_FIELDS)
)
_RESULT_DEFAULTS = _result_values(TaskResult())
_TASK_STATUS = {status.value: status for status in TaskStatus}
TASK_COLUMNS = tuple(f.name for f in fields(VideoTask))
"""Columns of `tasks`, in the order of the fields of `VideoTask`."""
_BATCH_TEXTS = tuple(f.name for f in fields(BatchRow) if f.name not in _NOT_PLAIN)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode


def json_text(value: Any) -> str:
    """Compact JSON that SQLite can store as UTF-8.

    Raises: TypeError on other than JSON values; RecursionError on values that hold themselves.
    """
    text = _encode(value)
    return text if text.isascii() or _is_utf8(text) else json.dumps(value, separators=(",", ":"))


def readable(text: str) -> str:
    """Text for people: surrogate escapes become replacement characters."""
    if text.isascii() or _is_utf8(text):
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def exact(text: str) -> str | bytes:
    """Text for look-ups: as it is, or as bytes when it is not valid UTF-8."""
    if text.isascii() or _is_utf8(text):
        return text
    return text.encode("utf-8", "surrogatepass")


def key_text(text: str) -> str:
    """A key as it is, or its digest when it is not valid UTF-8: different keys stay different."""
    if text.isascii() or _is_utf8(text):
        return text
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# --- inputs and tasks --------------------------------------------------------------------------


def video_to_json(video: VideoInput) -> str:
    """JSON of a `VideoInput`; fields at their defaults are left out."""
    value: dict[str, Any] = {"source": video.source}
    if video.input_type is not InputType.FILE:
        value["input_type"] = video.input_type.value
    if video.relative_path:
        value["relative_path"] = video.relative_path
    if video.size_bytes is not None:
        value["size_bytes"] = video.size_bytes
    if video.mtime_ns is not None:
        value["mtime_ns"] = video.mtime_ns
    if video.template is not None:
        value["template"] = video.template
    if video.output_name is not None:
        value["output_name"] = video.output_name
    if video.priority is not None:
        value["priority"] = video.priority
    if video.metadata:
        value["metadata"] = video.metadata
    if video.origin:
        value["origin"] = video.origin
    return json_text(value)


def video_from_json(text: str) -> VideoInput:
    """Inverse of `video_to_json`. Raises: TypeError on unknown fields."""
    value = _decode(text)
    if "input_type" in value:
        value["input_type"] = InputType(value["input_type"])
    return VideoInput(**value)


def task_key(task: NewTask) -> str:
    """The task's identity within its batch: the given key, or one of source and template."""
    if task.task_key:
        return key_text(task.task_key)
    identity = f"{task.video.input_type}\0{task.template}\0{task.video.source}"
    return neighbour_key(task.video.source, identity)


def neighbour_key(source: str, identity: str) -> str:
    """56 hexadecimal digits that identify, and are near each other for recordings of one folder.

    Folder, end of the name, digest: so that adding a folder touches a few pages of the index of
    keys, not one page for each recording, whatever the size of the batch.

    Args:
        source: path or address.
        identity: all that makes the task another one.
    """
    folder, _, name = source.rpartition("/")
    tail = name.rpartition(".")[0] or name
    return (
        hashlib.sha256(folder.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        + tail.encode("utf-8", "surrogatepass")[-8:].hex().rjust(16, "0")
        + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    )


def error_to_json(error: TaskError) -> str:
    """JSON of a `TaskError`; data that is not JSON-able is stored as its text."""
    value = asdict(error)
    try:
        return json_text(value)
    except (TypeError, ValueError, RecursionError):
        value["data"] = {str(key): str(item) for key, item in error.data.items()}
        return json_text(value)


def error_from_json(text: str | None) -> TaskError | None:
    """Inverse of `error_to_json`."""
    return None if text is None else TaskError(**json.loads(text))


def result_to_json(result: TaskResult) -> str:
    """JSON of a `TaskResult`, also with names that are not valid UTF-8.

    Fields at their defaults are left out: the row of a finished task grows by this text, and what
    a commit costs are the pages that grew.
    """
    fields_now = zip(_RESULT_FIELDS, _result_values(result), _RESULT_DEFAULTS, strict=True)
    value = {name: now for name, now, default in fields_now if now != default}
    if result.outputs:
        value["outputs"] = _outputs_json(result.outputs)
    if result.renderings:
        value["renderings"] = {t: _outputs_json(files) for t, files in result.renderings.items()}
    for name in ("usage", "reused"):
        if name in value:
            value[name] = dict(zip(_USAGE_FIELDS, _usage_values(value[name]), strict=True))
    return json_text(value)


def _outputs_json(outputs: Iterable[OutputFile]) -> list[dict[str, Any]]:
    return [dict(zip(_OUTPUT_FIELDS, _output_values(o), strict=True)) for o in outputs]


def task_from_row(row: Row) -> VideoTask:
    """One row of `tasks`."""
    return task_from_columns([row[name] for name in TASK_COLUMNS])


def task_from_columns(values: Iterable[Any]) -> VideoTask:
    """The values of `TASK_COLUMNS`, in that order: faster than looking each up by its name."""
    (task_id, batch_id, seq, status, priority, video, template, attempt, failures, kills,
     worker_id, lease_expires_at, next_attempt_at, cancel_requested, fingerprint, media_s, stage,
     error, result, created_at, started_at, finished_at) = values  # fmt: skip
    return VideoTask(
        task_id, batch_id, seq, _TASK_STATUS[status], priority, video_from_json(video), template,
        attempt, failures, kills, worker_id, lease_expires_at, next_attempt_at,
        bool(cancel_requested), fingerprint, media_s, stage, error_from_json(error),
        None if result is None else TaskResult.from_json(result),
        created_at, started_at, finished_at,
    )  # fmt: skip


# --- batches -----------------------------------------------------------------------------------


def batch_to_row(batch: BatchRow) -> dict[str, Any]:
    """Columns of `batches`, counters left out."""
    row: dict[str, Any] = {name: getattr(batch, name) for name in _BATCH_TEXTS}
    row["name"] = readable(batch.name)
    row["batch_key"] = key_text(batch.batch_key)
    row["status_reason"] = readable(batch.status_reason)
    row["status"] = batch.status.value
    row["options"] = json_text(asdict(batch.options))
    row["input_spec"] = json_text(batch.input_spec)
    return row


def batch_from_row(row: Row) -> BatchRow:
    """One row of `batches`."""
    return BatchRow(
        **{name: row[name] for name in _BATCH_TEXTS},
        status=BatchStatus(row["status"]),
        options=BatchOptions.from_json(row["options"]),
        input_spec=json.loads(row["input_spec"]),
    )


def counts_from_row(row: Row) -> BatchCounts:
    """The counters of one row of `batches`.

    Money is what the results of completed tasks say, or what the ledger says if that is more:
    failed attempts cost, too.
    """
    return BatchCounts(
        **{status.value: row[status.value] for status in TaskStatus},
        media_s_total=row["media_ms_total"] / 1000,
        media_s_done=row["media_ms_done"] / 1000,
        usd=max(row["usd"], row["ledger_usd"]),
    )
