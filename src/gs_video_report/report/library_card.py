"""What the library page knows of one recording: the entry, and what the page's script gets of it.

Pure. Links are relative to the page and stay unencoded until they become JSON here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gs_video_report.report.md_text import plain_line
from gs_video_report.report.model import VideoReport
from gs_video_report.report.page import data_uri
from gs_video_report.report.paths import href
from gs_video_report.report.quality import Quality
from gs_video_report.report.timefmt import to_ms

DOUBTS_SHOWN = 4
SUMMARY_CHARS = 320


@dataclass(frozen=True, slots=True)
class Doubt:
    """One finding about the quality of a report, as a card shows it."""

    kind: str
    """A `report.quality.Kind`; the page has a label for each."""
    figure: float
    unit: str
    at_s: float | None
    """The first place; None for the whole recording."""
    reason: str
    """In English."""


@dataclass(frozen=True, slots=True)
class LibraryEntry:
    """One recording on the library page."""

    ref: str
    """`7f3a:17`."""
    status: str
    """A task state: `completed`, `failed`, `skipped`, ..."""
    title: str
    name: str = ""
    """Path below the input root."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Kind (`html`, `md`, ...) -> path relative to the library page, not percent-encoded."""
    others: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Template -> links as above, of the same report written with other templates."""
    duration_s: float = 0.0
    language: str = ""
    thumb: bytes | None = None
    """A small picture to be inlined; prefer `thumb_path` for large libraries."""
    thumb_path: str = ""
    """A picture relative to the library page."""
    summary: str = ""
    terms: tuple[str, ...] = ()
    warnings: int = 0
    """Warnings in the report."""
    score: float | None = None
    """See `Quality.score`; None without a judgement."""
    doubts: tuple[Doubt, ...] = ()
    """Heaviest first."""
    error_code: str = ""
    error_message: str = ""
    error_hint: str = ""
    error_stage: str = ""
    lines: tuple[tuple[float, str], ...] = ()
    """(seconds, sentence): what the search looks through."""


def entry_of_report(
    report: VideoReport, ref: str, name: str, links: Mapping[str, str], status: str = "completed"
) -> LibraryEntry:
    """The card of a finished report. `links` are relative to the library page.

    The picture is the first slide's, found beside the report's own page.
    """
    base = next((p for p in links.values() if p), "").rpartition("/")[0]
    picture = next((s.image for s in report.slides if s.image), "")
    return LibraryEntry(
        ref=ref,
        status=status,
        title=report.media.title,
        name=name,
        links=links,
        duration_s=report.media.duration_s,
        language=report.language,
        thumb_path=f"{base}/{picture}" if base and picture else picture,
        summary=" ".join(p.text for p in report.summary[:3]),
        terms=tuple(k.term for k in report.key_terms[:6]),
        warnings=sum(n.severity == "warning" for n in report.notices),
        lines=tuple(_searchable(report)),
    )


def with_quality(entry: LibraryEntry, quality: Quality | None) -> LibraryEntry:
    """The card with the marks of its quality."""
    if quality is None:
        return entry
    doubts = tuple(
        Doubt(str(f.kind), f.figure, f.unit, f.spans[0][0] if f.spans else None, f.reason)
        for f in quality.findings[:DOUBTS_SHOWN]
    )
    return replace(entry, score=quality.score, doubts=doubts)


def card_of(entry: LibraryEntry) -> dict[str, Any]:
    """What the page's script draws a card from. Short keys: ten thousand of these make a file."""
    summary = plain_line(entry.summary)
    if len(summary) > SUMMARY_CHARS:
        summary = summary[:SUMMARY_CHARS].rsplit(" ", 1)[0] + "…"
    card = {
        "r": entry.ref,
        "s": entry.status,
        "t": plain_line(entry.title),
        "n": plain_line(entry.name),
        "d": round(entry.duration_s, 1),
        "l": entry.language,
        "y": summary,
        "k": [plain_line(t) for t in entry.terms],
        "w": entry.warnings,
        "i": data_uri(entry.thumb) if entry.thumb else href(entry.thumb_path),
        "h": _hrefs(entry.links),
    }
    others = [[plain_line(t), _hrefs(links)] for t, links in entry.others.items() if links]
    if others:
        card["o"] = others
    if entry.doubts:
        card["q"] = entry.score
        card["f"] = [[d.kind, d.figure, d.unit, d.at_s, d.reason] for d in entry.doubts]
    if entry.error_message:
        card["e"] = [entry.error_code, entry.error_message, entry.error_hint]
    return card


def _hrefs(links: Mapping[str, str]) -> dict[str, str]:
    return {kind: href(path) for kind, path in links.items() if path}


def text_of(entry: LibraryEntry) -> list[Any]:
    """[reference, [milliseconds], "sentence\\nsentence"]; the lists have equal lengths."""
    texts = [plain_line(text) for _, text in entry.lines]
    return [entry.ref, [to_ms(t) for t, _ in entry.lines], "\n".join(texts)]


def _searchable(report: VideoReport) -> list[tuple[float, str]]:
    """Everything said and shown, by time."""
    return sorted(_said_and_shown(report), key=lambda line: line[0])


def _said_and_shown(report: VideoReport) -> Iterable[tuple[float, str]]:
    for segment in report.segments:
        yield segment.start_s, segment.text
        if segment.translation:
            yield segment.start_s, segment.translation
    for slide in report.slides:
        if slide.text:
            yield slide.t_s, slide.text
