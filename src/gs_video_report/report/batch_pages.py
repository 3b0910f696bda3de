"""Build the pages of a batch from a listing of its tasks: library page, summary, error report.

Runs in a compute process. Input is a JSON-lines file, one task per line as the batch wrote it;
finished reports are read back from their JSON one by one and their cards wait in a file beside
it, since the quality of each is judged against all; so memory stays flat. A report that cannot
be read any more is listed without its text, never silently left out.
Raises: DiskFullError, OutputNotWritable.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gs_video_report.files import write_atomic
from gs_video_report.progress import report as report_progress
from gs_video_report.report.batch_report import (
    BatchFacts,
    Failure,
    error_files,
    group_failures,
    said,
    summary_files,
)
from gs_video_report.report.json_out import MALFORMED, read_json
from gs_video_report.report.library import LibraryInfo, write_library
from gs_video_report.report.library_card import LibraryEntry, entry_of_report, with_quality
from gs_video_report.report.quality import Quality, assess, compare
from gs_video_report.report.writer import kind_of

INDEX = "index.html"
DONE = ("completed", "skipped")


@dataclass(slots=True)
class _Sums:
    failures: list[Failure] = field(default_factory=list)
    outputs: Counter[str] = field(default_factory=Counter)
    engines: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def build_pages(
    batch: dict[str, Any], counts: dict[str, Any], listing: str, output_dir: str
) -> dict[str, str | None]:
    """Write the pages into `output_dir`.

    Args:
        batch: batch_id, name, template, engine, status, created_at, tool_version, language,
            command_tail.
        counts: fields of `BatchCounts`.
        listing: JSON-lines file of tasks; `current` tells tasks of this batch from those of
            earlier batches with the same output folder.

    Returns:
        Absolute paths: index, summary, errors (None without failures).
    """
    root, sums = Path(output_dir), _Sums()
    generated = datetime.now(UTC).isoformat(timespec="seconds")
    info = LibraryInfo(
        title=batch["name"],
        batch_id=batch["batch_id"],
        language=batch["language"],
        retry_command=_retry_command(batch),
        generated_at=generated,
        tool_version=batch["tool_version"],
    )
    write_library(root, _entries(Path(listing), root, sums, _total(counts)), info, INDEX)
    facts = _facts(batch, counts, sums, generated)
    groups = group_failures(sums.failures)
    suffix = f"-{batch['batch_id']}"
    errors = error_files(facts, groups, suffix)
    for name, data in {**summary_files(facts, groups, suffix), **errors}.items():
        write_atomic(root / name, data)
    _remove_stale_errors(root, suffix, errors)
    return {
        "index": str(root / INDEX),
        "summary": str(root / f"summary{suffix}.md"),
        "errors": str(root / f"errors{suffix}.md") if errors else None,
    }


def _retry_command(batch: dict[str, Any]) -> str:
    return f"gsvr batch retry {batch['batch_id']} --failed{batch.get('command_tail', '')}"


def _entries(listing: Path, root: Path, sums: _Sums, total: int) -> Iterator[LibraryEntry]:
    waiting = listing.with_name(f"{listing.name}.cards")  # its own: several processes may be here
    try:
        qualities = compare(_read_all(listing, waiting, root, sums, total))
        with waiting.open(encoding="utf-8") as file:
            for line in file:
                entry = _restored(json.loads(line))
                yield with_quality(entry, qualities.get(entry.ref))
    finally:
        waiting.unlink(missing_ok=True)


def _read_all(
    listing: Path, waiting: Path, root: Path, sums: _Sums, total: int
) -> dict[str, Quality]:
    """Write the card of each task to `waiting`; task reference -> quality of its report."""
    qualities: dict[str, Quality] = {}
    with listing.open(encoding="utf-8") as tasks, waiting.open("w", encoding="utf-8") as cards:
        for number, line in enumerate(tasks, start=1):
            task = json.loads(line)
            if task["current"]:
                _count(task, sums)
            report_progress(number, max(total, number))
            entry, quality = _entry(task, root)
            cards.write(json.dumps(asdict(entry)) + "\n")
            if quality is not None:
                qualities[entry.ref] = quality
    return qualities


def _restored(value: dict[str, Any]) -> LibraryEntry:
    lines = tuple((float(t), str(text)) for t, text in value["lines"])
    return LibraryEntry(**{**value, "terms": tuple(value["terms"]), "lines": lines})


def _count(task: dict[str, Any], sums: _Sums) -> None:
    sums.outputs.update(kind_of(path) for path in task["outputs"])
    sums.seconds += task["seconds"] or 0.0
    if task["status"] in DONE and task["engine"]:
        sums.engines[task["engine"]] += 1
    error = task["error"]
    if task["status"] == "failed" and error:
        sums.failures.append(
            Failure(
                ref=task["ref"],
                name=task["name"],
                code=error["code"],
                message=said(error["message"], task["name"], task.get("source", "")),
                hint=error["hint"],
                stage=error["stage"],
                attempts=task["attempt"],
            )
        )


def _entry(task: dict[str, Any], root: Path) -> tuple[LibraryEntry, Quality | None]:
    """The card of a task, and the quality of its report if there is one that can be read."""
    links = {kind_of(p): p for p in task["outputs"] if kind_of(p) != "asset"}
    if task["status"] in DONE and "json" in links:
        with contextlib.suppress(OSError, *MALFORMED):
            report = read_json((root / links["json"]).read_bytes())
            entry = entry_of_report(report, task["ref"], task["name"], links, task["status"])
            return replace(entry, others=_others(task, root)), assess(report)
    error = task["error"] or {}
    return _plain_entry(task, links, error), None


def _others(task: dict[str, Any], root: Path) -> dict[str, dict[str, str]]:
    """Links to what `gsvr batch render` wrote with other templates, as far as it is still there."""
    found = {
        template: {kind_of(p): p for p in paths if (root / p).is_file()}
        for template, paths in task.get("renderings", {}).items()
    }
    return {template: links for template, links in found.items() if links}


def _plain_entry(
    task: dict[str, Any], links: dict[str, str], error: dict[str, Any]
) -> LibraryEntry:
    """The card of a task without a report that can be read."""
    return LibraryEntry(
        ref=task["ref"],
        status=task["status"],
        title=task["name"],
        name=task["name"],
        links=links,
        duration_s=task["media_s"] or 0.0,
        language=task["language"],
        error_code=error.get("code", ""),
        error_message=said(error.get("message", ""), task["name"], task.get("source", "")),
        error_hint=error.get("hint", ""),
        error_stage=error.get("stage", ""),
    )


def _facts(
    batch: dict[str, Any], counts: dict[str, Any], sums: _Sums, generated: str
) -> BatchFacts:
    return BatchFacts(
        batch_id=batch["batch_id"],
        name=batch["name"],
        template=batch["template"],
        engine=batch["engine"],
        completed=counts["completed"],
        failed=counts["failed"],
        skipped=counts["skipped"],
        cancelled=counts["cancelled"],
        open=counts["pending"] + counts["running"] + counts["retrying"],
        media_s=counts["media_s_done"],
        elapsed_s=batch["elapsed_s"],
        usd=counts["usd"],
        status="completed",
        created_at=batch["created_at"],
        finished_at=generated,
        tool_version=batch["tool_version"],
        index=INDEX,
        command_tail=batch.get("command_tail", ""),
        outputs=dict(sums.outputs),
        engines=dict(sums.engines),
    )


def _total(counts: dict[str, Any]) -> int:
    states = ("pending", "running", "retrying", "completed", "failed", "cancelled", "skipped")
    return sum(int(counts[state]) for state in states)


def _remove_stale_errors(root: Path, suffix: str, errors: dict[str, bytes]) -> None:
    """A retry that mended everything leaves no old error report behind."""
    for name in (f"errors{suffix}.md", f"errors{suffix}.json"):
        if name not in errors:
            (root / name).unlink(missing_ok=True)
