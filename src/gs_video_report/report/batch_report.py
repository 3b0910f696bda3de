"""What became of a batch, for people and for programs: summary and error report.

Truth: failures are grouped by cause; the most frequent cause stands last, where a reader of a
terminal or a long file ends up. Each group says what to do, with a command to copy.
Pure: values in, file contents out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gs_video_report.errors import GsvrError
from gs_video_report.report.md_text import escape, plain_line
from gs_video_report.report.paths import href
from gs_video_report.report.timefmt import clock

SCHEMA_VERSION = 1
EXAMPLES_SHOWN = 50
"""Failures of one cause that the Markdown lists; the JSON has all of them."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One input that did not become a report."""

    ref: str
    """`7f3a:17`."""
    name: str
    """Path below the input root, as people know it."""
    code: str
    message: str
    hint: str = ""
    stage: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures with one cause and one remedy."""

    code: str
    cause: str
    """One sentence from the error's own documentation."""
    hint: str
    count: int
    failures: tuple[Failure, ...]
    """All of them, in the order of the batch."""


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What the summary says about a batch."""

    batch_id: str
    name: str
    template: str
    engine: str
    """The one that was asked for; `engines` tells which ones the reports are by."""
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    open: int = 0
    """Not ended yet."""
    media_s: float = 0.0
    """Length of the finished recordings, seconds."""
    elapsed_s: float | None = None
    """Wall seconds of work; None when unknown."""
    usd: float = 0.0
    status: str = ""
    created_at: str = ""
    finished_at: str = ""
    tool_version: str = ""
    index: str = ""
    """Library page, relative to the summary."""
    outputs: dict[str, int] = field(default_factory=dict)
    """Files written, by kind."""
    engines: dict[str, int] = field(default_factory=dict)
    """Reports by the engine that made them; a fallback makes it more than one."""
    command_tail: str = ""
    """Ends the commands that are named."""

    @property
    def total(self) -> int:
        """All inputs."""
        return self.completed + self.failed + self.skipped + self.cancelled + self.open

    @property
    def retry_command(self) -> str:
        """The command that tries the failed ones again."""
        return f"gsvr batch retry {self.batch_id} --failed{self.command_tail}"


def group_failures(failures: Iterable[Failure]) -> tuple[FailureGroup, ...]:
    """Groups by code and hint, rare causes first, the most frequent last."""
    found: dict[tuple[str, str], list[Failure]] = {}
    for failure in failures:
        found.setdefault((failure.code, failure.hint), []).append(failure)
    groups = [
        FailureGroup(code, cause_of(code), hint, len(items), tuple(items))
        for (code, hint), items in found.items()
    ]
    return tuple(sorted(groups, key=lambda g: (g.count, g.code, g.hint)))


def said(message: str, *names: str) -> str:
    """An error's message without the name of its recording, for places that show it already.

    Args:
        names: how the recording is called there, and its source.
    """
    for name in names:
        for prefix in (name, name.rsplit("/", 1)[-1]):
            if prefix and message.startswith(f"{prefix}: "):
                return message[len(prefix) + 2 :]
    return message


def cause_of(code: str) -> str:
    """The documented meaning of an error code, one sentence."""
    kind = type(GsvrError.from_dict({"code": code}))
    if kind.code != code:
        return "The work failed."
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def summary_files(
    facts: BatchFacts, groups: Sequence[FailureGroup], suffix: str = ""
) -> dict[str, bytes]:
    """`summary<suffix>.md` and `summary<suffix>.json`."""
    return {
        f"summary{suffix}.md": _summary_text(facts, groups, suffix).encode("utf-8", "replace"),
        f"summary{suffix}.json": _json(_summary_value(facts, groups)),
    }


def error_files(
    facts: BatchFacts, groups: Sequence[FailureGroup], suffix: str = ""
) -> dict[str, bytes]:
    """`errors<suffix>.md` and `errors<suffix>.json`; an empty dict when nothing failed."""
    if not groups:
        return {}
    value = {
        "schema_version": SCHEMA_VERSION,
        "batch_id": facts.batch_id,
        "failed": sum(g.count for g in groups),
        "retry": facts.retry_command,
        "groups": [asdict(g) for g in groups],
    }
    return {
        f"errors{suffix}.md": _errors_text(facts, groups).encode("utf-8", "replace"),
        f"errors{suffix}.json": _json(value),
    }


def _summary_value(facts: BatchFacts, groups: Sequence[FailureGroup]) -> dict[str, Any]:
    causes = [{"code": g.code, "hint": g.hint, "count": g.count} for g in groups]
    return {
        "schema_version": SCHEMA_VERSION,
        **asdict(facts),
        "total": facts.total,
        "realtime_factor": realtime_factor(facts),
        "failures": causes,
        "retry": facts.retry_command if groups else None,
    }


def realtime_factor(facts: BatchFacts) -> float | None:
    """Seconds of recording per second of work; None when unknown."""
    if not facts.elapsed_s or not facts.media_s:
        return None
    return round(facts.media_s / facts.elapsed_s, 2)


def _summary_text(facts: BatchFacts, groups: Sequence[FailureGroup], suffix: str) -> str:
    done = facts.completed + facts.skipped
    lines = [f"# {escape(facts.name or facts.batch_id)}", ""]
    lines += [f"**{done} of {facts.total} done**{_speed(facts)}.", ""]
    lines += [f"| {k} | {v} |" for k, v in (("", ""), ("---", "---"), *_table(facts))]
    if facts.index:
        lines += ["", f"All reports: [{escape(facts.index)}]({href(facts.index)})"]
    if groups:
        lines += ["", "## Failures", ""]
        lines += [f"- {g.count} × {escape(g.cause)} `{_code(g.code)}`" for g in groups]
        lines += ["", f"Details and remedies: [errors{suffix}.md](errors{suffix}.md)", ""]
        lines += ["Try them again:", "", "```sh", facts.retry_command, "```"]
    return "\n".join(lines) + "\n"


def _speed(facts: BatchFacts) -> str:
    parts = []
    if facts.elapsed_s:
        parts.append(f"in {clock(facts.elapsed_s)}")
    factor = realtime_factor(facts)
    if factor is not None:
        parts.append(f"{factor:g}x realtime")
    if facts.usd:
        parts.append(f"${facts.usd:.2f}")
    return f" ({', '.join(parts)})" if parts else ""


def _table(facts: BatchFacts) -> list[tuple[str, str]]:
    rows = [
        ("Completed", str(facts.completed)),
        ("Already done", str(facts.skipped)),
        ("Failed", str(facts.failed)),
        ("Cancelled", str(facts.cancelled)),
        ("Open", str(facts.open)),
        ("Length of recordings", clock(facts.media_s)),
        ("Template", escape(facts.template)),
        ("Engine", escape(engines_text(facts))),
        ("Batch", escape(facts.batch_id)),
        ("State", escape(facts.status)),
        ("Started", escape(facts.created_at)),
        ("Ended", escape(facts.finished_at)),
        ("Made by", escape(f"gsvr {facts.tool_version}".strip())),
    ]
    always = {"Completed", "Failed", "Length of recordings"}
    return [(k, v) for k, v in rows if k in always or v not in ("", "0", "gsvr")]


def engines_text(facts: BatchFacts) -> str:
    """`openai`, or `openai (3), local (2)`, by reports; without any, the one asked for."""
    if not facts.engines:
        return facts.engine
    if len(facts.engines) == 1:
        return next(iter(facts.engines))
    found = sorted(facts.engines.items(), key=lambda item: (item[0] != facts.engine, item[0]))
    return ", ".join(f"{name} ({count})" for name, count in found)


def _errors_text(facts: BatchFacts, groups: Sequence[FailureGroup]) -> str:
    total = sum(g.count for g in groups)
    noun = "recording" if total == 1 else "recordings"
    lines = [f"# {total} {noun} failed in {escape(facts.name or facts.batch_id)}", ""]
    lines += ["The other reports are not affected. The most frequent cause stands last.", ""]
    for group in groups:
        lines += _group_lines(group)
    lines += ["## Try them again", "", "```sh", facts.retry_command, "```"]
    return "\n".join(lines) + "\n"


def _group_lines(group: FailureGroup) -> list[str]:
    lines = [f"## {group.count} × {escape(group.cause)}", "", f"Code `{_code(group.code)}`", ""]
    if group.hint:
        lines += ["What to do:", "", *(f"> {escape(h)}  " for h in group.hint.splitlines()), ""]
    for failure in group.failures[:EXAMPLES_SHOWN]:
        stage = f" (stage {escape(failure.stage)})" if failure.stage else ""
        lines.append(f"- **{escape(failure.name)}**{stage}: {escape(failure.message)}")
    if group.count > EXAMPLES_SHOWN:
        lines.append(f"- and {group.count - EXAMPLES_SHOWN} more, listed in the JSON beside this")
    return [*lines, ""]


def _code(text: str) -> str:
    return plain_line(text).replace("`", "'")


def _json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return text.encode("utf-8", "replace") + b"\n"
