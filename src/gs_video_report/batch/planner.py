"""Decide which batch a command works on: a new one, the same one again, or a restored one.

Rules: the same inputs, template, engine and result-changing options give the same `batch_key`, and
the newest batch with that key is continued (`--new` starts afresh); its files that have changed
since (size or modification time) are done again. Options frozen in the batch
row win over configuration; a flag given on the command line is applied and told, unless it would
change results, which is refused. A batch is made when its first input was found: a command whose
inputs give nothing leaves none.
Pure functions first; the I/O is in `open_batch()` and below.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from gs_video_report import __version__
from gs_video_report.batch.data_models import (
    DEFAULT_PRIORITY,
    BatchOptions,
    BatchRow,
    BatchStatus,
    InputProblem,
    NewTask,
    VideoInput,
)
from gs_video_report.batch.input_parser import InputSpec, scan
from gs_video_report.batch.inputs.expand import expanded
from gs_video_report.batch.inputs.url_rules import redact
from gs_video_report.batch.store.clock import utc_now
from gs_video_report.batch.store.rows import neighbour_key
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import NoInputError, ResumeConflict

RESULT_OPTIONS: frozenset[str] = frozenset(
    {
        "template",
        "engine",
        "output_dir",
        "output_pattern",
        "formats",
        "language",
        "asr_model",
        "subtitles",
        "slides",
        "ocr",
        "engine_options",
    }
)
"""Options that change what the reports say, or where they go: fixed for the life of a batch."""

FOLLOWED_OPTIONS: frozenset[str] = frozenset({"download"})
"""What the configuration of now decides, also on resume: a host that a person has just allowed, or
a rate that fits the line of today, must not need a new batch."""

SCAN_CHUNK = 500
MAX_PROBLEMS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a command asks for."""

    options: BatchOptions
    """Resolved: absolute output folder, engine already chosen (not `auto`)."""
    spec: InputSpec | None = None
    """None when resuming by reference."""
    explicit: frozenset[str] = frozenset()
    """Names of options given on the command line."""
    new: bool = False
    priority: int = DEFAULT_PRIORITY


@dataclass(slots=True)
class ScanReport:
    """What the scan found; problems beyond `MAX_PROBLEMS_KEPT` are only counted."""

    found: int = 0
    added: int = 0
    changed: int = 0
    """Files done before (or failed) that have changed since: they are done again."""
    problem_count: int = 0
    problems: list[InputProblem] = field(default_factory=list)

    def problem(self, problem: InputProblem) -> None:
        """Note one rejected line or file."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS_KEPT:
            self.problems.append(problem)


@dataclass(slots=True)
class OpenedBatch:
    """The batch a command works on, and how it came to be."""

    row: BatchRow
    how: str
    """`new`, `continued`, `resumed`, `restored`."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""
    scan: ScanReport = field(default_factory=ScanReport)


# --- pure --------------------------------------------------------------------------------------


def batch_key(spec: InputSpec, options: BatchOptions) -> str:
    """Identity of a batch: inputs, template, engine and everything that changes results."""
    chosen = {k: v for k, v in asdict(options).items() if k in RESULT_OPTIONS}
    return _digest({"input": spec.to_dict(), "options": chosen})


def task_key(video: VideoInput, template: str) -> str:
    """Identity of a task within its batch: the source and the template."""
    identity = [video.source, template, video.output_name]
    return neighbour_key(video.source, json.dumps(identity))


def merge_options(
    frozen: BatchOptions, wanted: BatchOptions, explicit: frozenset[str]
) -> tuple[BatchOptions, list[str]]:
    """Apply explicit flags of a resume, and `FOLLOWED_OPTIONS`, to the frozen options.

    Returns: the options to run with, and one sentence per change.
    Raises: ResumeConflict when a flag would change results.
    """
    changes: dict[str, Any] = {}
    notes: list[str] = []
    refused: list[str] = []
    for name in sorted(set(asdict(frozen)) & (explicit | FOLLOWED_OPTIONS)):
        old, new = getattr(frozen, name), getattr(wanted, name)
        if old == new or (name == "engine" and new == "auto"):
            continue
        if name in RESULT_OPTIONS:
            refused.append(f"{name} {_show(old)} -> {_show(new)}")
        else:
            changes[name] = new
            notes.append(f"{name} {_show(old)} -> {_show(new)}")
    if refused:
        raise ResumeConflict(
            f"the batch was made with other settings: {'; '.join(refused)}",
            hint="leave the flag out to go on with the batch, or start a new batch with --new",
        )
    return replace(frozen, **changes), notes


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_show(text)}" for name, text in value.items()) or "none"
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


# --- with the queue ----------------------------------------------------------------------------


async def open_batch(queue: TaskQueue, request: RunRequest) -> OpenedBatch:
    """Find or make the batch of `request.spec` and add its tasks; streams, flat memory.

    Raises:
        NoInputError: nothing matched and the batch would be empty.
        InputPathError, InputListError: the inputs cannot be read.
        After an error before the first input was found there is no new batch.
    """
    spec = request.spec
    if spec is None:
        raise NoInputError("no input was named")
    key = batch_key(spec, request.options)
    row = None if request.new else await queue.find_batch(key)
    async with aclosing(_Inputs(spec, request.options.download)) as inputs:
        if row is None:
            await inputs.first()
            new = _new_row(request, spec, key)
            row = await queue.create_batch(new, or_same=not request.new)
            if row.batch_id == new.batch_id:
                return await _fill(queue, request, inputs, row)
        return await _go_on(queue, request, inputs, row)


async def _go_on(
    queue: TaskQueue, request: RunRequest, inputs: _Inputs, row: BatchRow
) -> OpenedBatch:
    """The batch that is there already, with what was added to its inputs since."""
    options, notes = merge_options(row.options, request.options, request.explicit)
    if not (await queue.counts(row.batch_id)).total:
        await inputs.first()
    opened = OpenedBatch(await _apply(queue, row, options), "continued", notes, inputs.report)
    await _add(queue, opened, request, inputs)
    if opened.scan.added:
        opened.notes.append(f"new in the batch: {opened.scan.added}")
    if opened.scan.changed:
        opened.notes.append(f"changed since they were done, so done again: {opened.scan.changed}")
    return opened


async def resume_batch(queue: TaskQueue, ref: str, request: RunRequest) -> OpenedBatch:
    """Go on with the batch `ref` (id, unique prefix or `latest`) of the database."""
    row = await queue.get_batch(ref)
    options, notes = merge_options(row.options, request.options, request.explicit)
    return OpenedBatch(await _apply(queue, row, options), "resumed", notes)


async def _apply(queue: TaskQueue, row: BatchRow, options: BatchOptions) -> BatchRow:
    if options != row.options:
        await queue.update_batch_options(row.batch_id, options)
    return replace(row, options=options)


def _new_row(request: RunRequest, spec: InputSpec, key: str) -> BatchRow:
    return BatchRow(
        batch_id=secrets.token_hex(4),
        name=Path(spec.path).name or spec.path,
        batch_key=key,
        status=BatchStatus.INITIALIZING,
        options=request.options,
        input_spec=spec.to_dict(),
        created_at=utc_now(),
        tool_version=__version__,
    )


async def _fill(
    queue: TaskQueue, request: RunRequest, inputs: _Inputs, row: BatchRow
) -> OpenedBatch:
    opened = OpenedBatch(row, "new", scan=inputs.report)
    try:
        await _add(queue, opened, request, inputs)
    except BaseException as error:
        reason = str(error) or type(error).__name__
        await asyncio.shield(
            queue.set_batch_status(row.batch_id, BatchStatus.CANCELLED, reason=reason)
        )
        raise
    return opened


class _Inputs:
    """The inputs of a spec, read once, each when it is needed; what is not taken is noted."""

    def __init__(self, spec: InputSpec, download: Mapping[str, Any]) -> None:
        self.report = ScanReport()
        self._spec = spec
        self._items = scan_async(spec, download)
        self._ahead: VideoInput | None = None

    async def first(self) -> None:
        """Read as far as the first input, which comes again. Raises: NoInputError without one."""
        if self._ahead is None:
            self._ahead = await anext(self, None)
        if self._ahead is None:
            raise nothing_found(self._spec, self.report)

    def __aiter__(self) -> _Inputs:
        return self

    async def __anext__(self) -> VideoInput:
        if self._ahead is not None:
            found, self._ahead = self._ahead, None
            return found
        async for item in self._items:
            if isinstance(item, VideoInput):
                self.report.found += 1
                return item
            self.report.problem(item)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Stop reading."""
        await self._items.aclose()


async def _add(queue: TaskQueue, opened: OpenedBatch, request: RunRequest, inputs: _Inputs) -> None:
    report = opened.scan

    async def tasks() -> AsyncIterator[NewTask]:
        async for item in inputs:
            template = item.template or request.options.template
            priority = request.priority if item.priority is None else item.priority
            yield NewTask(item, template, priority, task_key(item, template))

    def changed(count: int) -> None:
        report.changed += count

    report.added = await queue.add_tasks(opened.row.batch_id, tasks(), on_changed=changed)


async def scan_async(
    spec: InputSpec, download: Mapping[str, Any]
) -> AsyncGenerator[VideoInput | InputProblem]:
    """`input_parser.scan`, lists of videos expanded, read in a thread, in chunks, so that the
    loop stays free."""
    iterator = expanded(scan(spec), download, limit=spec.limit)
    while chunk := await asyncio.to_thread(_take, iterator):
        for item in chunk:
            yield item


def _take(
    iterator: Iterator[VideoInput | InputProblem], size: int = SCAN_CHUNK
) -> list[VideoInput | InputProblem]:
    return list(islice(iterator, size))


_NEXT_OF_FILE = "name one recording: a video or audio file, or an address"
_NEXT_OF_FOLDER = "--dry-run tells every file that is not taken, with the reason"
_NEXT_OF_LIST = "correct the list; --dry-run tells every rejected entry with its line"
_NEXT_OF_EMPTY_LIST = "write one path or address a line into it"


def nothing_found(spec: InputSpec, report: ScanReport) -> NoInputError:
    """Why there is nothing to do, in the words for a file, a folder or a list. Pure."""
    is_folder = spec.kind == "dir"
    if not report.problem_count:
        if is_folder or spec.include or spec.exclude:
            return NoInputError(f"{spec.path}: no video or audio file was found")
        return NoInputError(f"{spec.path}: names no recording", hint=_NEXT_OF_EMPTY_LIST)
    first = report.problems[0]
    if spec.kind == "file":
        return NoInputError(f"{redact(spec.path)}: {first.reason}", hint=_NEXT_OF_FILE)
    where = "" if first.origin in ("", spec.path) else f"{first.origin}: "
    which = "its only entry cannot be used: "
    if report.problem_count > 1:
        which = f"none of the {report.problem_count} entries can be used; the first: "
    return NoInputError(
        f"{spec.path}: {which}{where}{first.reason}",
        hint=_NEXT_OF_FOLDER if is_folder else _NEXT_OF_LIST,
    )


ProblemSink = Callable[[InputProblem], None]
