"""The library page of a batch: `index.html` with cards, failures, totals and search.

Truth: one page that works from a file with the network off; links are relative. Small libraries
are inlined; above `INLINE_BYTES` the data goes to `index-data-N.js` (cards) and `index-text-N.js`
(transcripts, loaded when somebody searches), since a page from a file may load scripts but not
JSON. Memory holds at most one shard of each and the failures, whatever the number of recordings.
Writes: these files in one folder, atomically, `index.html` last; shards of an earlier, larger page
are removed.
Raises: DiskFullError, OutputNotWritable.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs_video_report.report.batch_report import Failure, FailureGroup, group_failures
from gs_video_report.report.library_card import LibraryEntry, card_of, text_of
from gs_video_report.report.md_text import plain_line
from gs_video_report.report.page import (
    asset,
    island,
    language_name,
    page_template,
    policy,
    trusted,
)
from gs_video_report.report.paths import href
from gs_video_report.report.quality import Kind
from gs_video_report.report.timefmt import clock
from gs_video_report.templates.labels import labels_for, ui_language

INLINE_BYTES = 3_000_000
SHARD_BYTES = 2_000_000
LINKS_WITHOUT_SCRIPT = 500
"""Plain links for readers whose browser runs no scripts."""
FAILURES_SHOWN = 20
_SHARD = re.compile(r"index-(data|text)-\d+\.js")
_JS_LABELS = (
    *("all", "hits", "more_hits", "no_match", "nothing_found", "searching", "recordings", "of"),
    *("failed", "completed", "skipped", "cancelled", "pending", "running", "retrying", "copied"),
    *("show_more", "chapters", "untitled", "quality"),
    *(f"doubt.{kind}" for kind in Kind),
)


@dataclass(frozen=True, slots=True)
class LibraryInfo:
    """What the page says about the batch."""

    title: str
    batch_id: str = ""
    language: str = "source"
    """The template's language: decides the language of the page itself."""
    retry_command: str = ""
    generated_at: str = ""
    """ISO-8601 UTC; the one run-time field, shown in a `<time data-run>`."""
    tool_version: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def write_library(
    folder: Path, entries: Iterable[LibraryEntry], info: LibraryInfo, name: str = "index.html"
) -> tuple[Path, ...]:
    """Write the library page of `entries` (read once, in order) into `folder`.

    Returns: the files written, the page last.
    Raises: DiskFullError, OutputNotWritable; an earlier page is then still there.
    """
    from gs_video_report.files import write_atomic

    written: list[Path] = []

    def put(file_name: str, data: bytes) -> None:
        write_atomic(folder / file_name, data)
        written.append(folder / file_name)

    collected = _Collector(put)
    for entry in entries:
        collected.add(entry)
    put(name, _page(collected, info))
    _remove_stale(folder, {p.name for p in written})
    return tuple(written)


class _Shards:
    """JSON texts gathered into files of about `SHARD_BYTES` once they outgrow the page."""

    def __init__(self, kind: str, put: Callable[[str, bytes], None]) -> None:
        self.kind = kind
        self.count = 0
        self.size = 0
        self.items: list[str] = []
        self._put = put

    def add(self, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        self.items.append(text)
        self.size += len(text.encode("utf-8", "replace"))

    def flush(self) -> None:
        if not self.items:
            return
        self.count += 1
        script = f"gsvrShard({json.dumps(self.kind)},{self.count},[{','.join(self.items)}]);\n"
        self._put(f"index-{self.kind}-{self.count}.js", script.encode("utf-8", "replace"))
        self.items, self.size = [], 0


class _Collector:
    """One pass over the entries: totals, failures, links, and the data as text."""

    def __init__(self, put: Callable[[str, bytes], None]) -> None:
        self.cards = _Shards("data", put)
        self.texts = _Shards("text", put)
        self.sharded = False
        self.statuses: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.media_s = 0.0
        self.doubtful = 0
        self.failures: list[Failure] = []
        self.plain_links: list[tuple[str, str]] = []

    def add(self, entry: LibraryEntry) -> None:
        self.statuses[entry.status] += 1
        self.media_s += entry.duration_s
        self.doubtful += bool(entry.doubts)
        if entry.language:
            self.languages[entry.language] += 1
        if entry.status == "failed":
            self.failures.append(_failure(entry))
        target = entry.links.get("html") or next(iter(entry.links.values()), "")
        if target and len(self.plain_links) < LINKS_WITHOUT_SCRIPT:
            self.plain_links.append((href(target), plain_line(entry.title)))
            self._link_others(entry)
        self.cards.add(card_of(entry))
        self.texts.add(text_of(entry))
        self._shard_when_large()

    def _link_others(self, entry: LibraryEntry) -> None:
        for template, links in entry.others.items():
            if links.get("html"):
                self.plain_links.append(
                    (href(links["html"]), f"{plain_line(entry.title)} ({plain_line(template)})")
                )

    def _shard_when_large(self) -> None:
        if self.cards.size + self.texts.size > INLINE_BYTES:
            self.sharded = True
        if self.sharded:
            for shards in (self.cards, self.texts):
                if shards.size > SHARD_BYTES:
                    shards.flush()

    def data(self) -> dict[str, Any]:
        """What the page's script starts from."""
        if self.sharded:
            self.cards.flush()
            self.texts.flush()
            return {"cards": None, "shards": self.cards.count, "textShards": self.texts.count}
        cards = [json.loads(item) for item in self.cards.items]
        return {"cards": cards, "texts": [json.loads(item) for item in self.texts.items]}


def _failure(entry: LibraryEntry) -> Failure:
    return Failure(
        entry.ref,
        entry.name or entry.title,
        entry.error_code,
        entry.error_message,
        entry.error_hint,
        entry.error_stage,
    )


def _page(found: _Collector, info: LibraryInfo) -> bytes:
    labels = labels_for(info.language, info.labels)
    css = asset("base.css") + asset("library.css")
    script = asset("library.js")
    data = {
        **found.data(),
        "v": 1,
        "labels": {k: labels[k] for k in _JS_LABELS},
        "names": {code: language_name(code) for code in found.languages},
    }
    text = page_template("library.html.j2").render(
        info=info,
        title=plain_line(info.title) or labels["library"],
        L=labels,
        ui=ui_language(info.language),
        csp=policy(css, [script], files=True),
        css=trusted(css),
        js=trusted(script),
        island=island(data),
        total=sum(found.statuses.values()),
        statuses=_ordered(found.statuses),
        languages=[(c, language_name(c), n) for c, n in found.languages.most_common()],
        media=clock(found.media_s),
        doubtful=found.doubtful,
        groups=[_shown(g) for g in group_failures(found.failures)],
        plain_links=found.plain_links,
    )
    return text.encode("utf-8", "replace")


def _ordered(statuses: Counter[str]) -> list[tuple[str, int]]:
    order = ("completed", "skipped", "running", "retrying", "pending", "cancelled", "failed")
    return [(s, statuses[s]) for s in order if statuses[s]]


def _shown(group: FailureGroup) -> dict[str, Any]:
    return {
        "cause": group.cause,
        "code": group.code,
        "hint": group.hint,
        "count": group.count,
        "failures": group.failures[:FAILURES_SHOWN],
        "more": max(0, group.count - FAILURES_SHOWN),
    }


def _remove_stale(folder: Path, keep: set[str]) -> None:
    """Shards of an earlier page; a failure here costs some space only."""
    from contextlib import suppress

    with suppress(OSError):
        for path in folder.glob("index-*.js"):
            if _SHARD.fullmatch(path.name) and path.name not in keep:
                path.unlink()
