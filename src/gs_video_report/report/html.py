"""The report as one self-contained HTML page: player, transcript, slides, search, print.

Truth: works from a file with the network off; the recording is opened by its relative path and the
page is whole without it. All text is escaped by the template engine. The run-time fields are one
`<time data-run>` and `provenance.run` of the data island.
Pure: the same report, template and pictures give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gs_video_report.report.markdown import recorded_on
from gs_video_report.report.md_text import plain_line
from gs_video_report.report.model import Segment, Slide, VideoReport
from gs_video_report.report.page import (
    asset,
    data_uri,
    island,
    language_name,
    page_template,
    policy,
    trusted,
)
from gs_video_report.report.paths import href, is_url, link_at
from gs_video_report.report.subtitles_out import make_cues, to_vtt
from gs_video_report.report.timefmt import clock, iso_duration, link_seconds
from gs_video_report.templates.labels import labels_for, ui_language
from gs_video_report.templates.loader import Template
from gs_video_report.templates.notice_texts import notice_text

ROWS_PER_RUN = 50
"""Rows that the browser lays out together, and skips together while they are out of sight."""
UNSURE_BELOW = -1.0
"""Mean log-probability under which speech recognition is known to guess (Whisper's own limit)."""
SPEEDS = (0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3)


def to_html(
    report: VideoReport, template: Template, image: Callable[[Slide], bytes | None] | None = None
) -> bytes:
    """The page, UTF-8. `image` gives the bytes of a slide's picture, None when there is none."""
    css = asset("base.css") + asset("report.css")
    script = asset("report.js")
    labels = labels_for(template.language, template.labels)
    page = page_template("report.html.j2")
    text = page.render(
        report=report,
        media=report.media,
        made=report.provenance,
        title=plain_line(report.media.title) or labels["untitled"],
        ui=ui_language(template.language),
        target=template.language,
        L=labels,
        csp=policy(css, [script]),
        css=trusted(css),
        js=trusted(script),
        island=island(_island(report, labels)),
        slides=_slides(report, image),
        runs=list(_runs(report)),
        notices=_notices(report, labels, template.language),
        about=_about(report, labels),
        shortcuts=_shortcuts(labels),
        date=recorded_on(report),
        finished_at=str(report.provenance.run.get("finished_at", "")),
        language_name=language_name(report.language),
        remote=is_url(report.media.source),
        source_href=href(report.media.source),
        has_video=bool(report.media.width or report.media.video_codec or report.slides),
        speeds=SPEEDS,
        clock=clock,
        link_seconds=link_seconds,
        iso_duration=iso_duration,
        lang=_lang,
        go=_goer(report.media.source),
    )
    return text.encode("utf-8", "replace")


def _lang(code: str) -> Any:
    known = bool(code) and code != "source" and code.replace("-", "").isalnum() and code.isascii()
    return trusted(f' lang="{code}"' if known else "")


def _goer(source: str) -> Callable[[float | None], Any]:
    """Attributes of a link to a moment: within the page, or to the web source when there is one."""
    from markupsafe import Markup

    def go(seconds: float | None) -> Any:
        at = link_seconds(seconds)
        if not is_url(source):
            return Markup('href="#t={}" data-go="{}"').format(at, at)
        return Markup('href="{}" target="_blank" rel="noopener noreferrer" data-go="{}"').format(
            link_at(source, seconds), at
        )

    return go


def _island(report: VideoReport, labels: dict[str, str]) -> dict[str, Any]:
    made = report.to_dict()["provenance"]
    return {
        "v": 1,
        "duration": report.media.duration_s,
        "language": report.language,
        "remote": is_url(report.media.source),
        "vtt": to_vtt(make_cues(report.segments)) if report.segments else "",
        "labels": {k: labels[k] for k in ("captions", "copy_link", "no_match", "of")},
        "provenance": made,
    }


def _slides(
    report: VideoReport, image: Callable[[Slide], bytes | None] | None
) -> list[dict[str, Any]]:
    found = []
    for number, slide in enumerate(report.slides, 1):
        data = image(slide) if image is not None else None
        found.append(
            {
                "number": number,
                "t_s": slide.t_s,
                "t": link_seconds(slide.t_s),
                "title": plain_line(slide.title),
                "text": slide.text,
                "width": slide.width,
                "height": slide.height,
                "src": trusted(data_uri(data)) if data else "",
            }
        )
    return found


def _runs(report: VideoReport) -> Iterator[list[dict[str, Any]]]:
    run: list[dict[str, Any]] = []
    for row in _rows(report):
        if len(run) >= ROWS_PER_RUN:
            yield run
            run = []
        run.append(row)
    if run:
        yield run


def _rows(report: VideoReport) -> Iterator[dict[str, Any]]:
    """Sentences in order, with the headings of chapters and the marks of slides between them."""
    headings = list(report.chapters) if len(report.chapters) > 1 else []
    marks = [(n, s) for n, s in enumerate(report.slides, 1) if s.kind == "slide"]
    speaker: str | None = None
    for number, segment in enumerate(report.segments):
        heading = None
        while headings and headings[0].start_s <= segment.start_s + 0.001:
            heading = headings.pop(0)
        if heading is not None:
            yield {"kind": "h", "title": heading.title}
        while marks and marks[0][1].t_s <= max(segment.start_s, 0.0) + 0.001:
            yield _mark(*marks.pop(0))
        yield _row(number, segment, speaker)
        speaker = segment.speaker
    for mark in marks:
        yield _mark(*mark)


def _mark(number: int, slide: Slide) -> dict[str, Any]:
    return {"kind": "m", "n": number, "clock": clock(slide.t_s), "title": plain_line(slide.title)}


def _row(number: int, segment: Segment, speaker: str | None) -> dict[str, Any]:
    unsure = segment.confidence is not None and segment.confidence < UNSURE_BELOW
    return {
        "kind": "s",
        "n": number,
        "start_s": segment.start_s,
        "t": link_seconds(segment.start_s),
        "e": link_seconds(segment.end_s),
        "clock": clock(segment.start_s),
        "who": segment.speaker if segment.speaker != speaker else None,
        "text": plain_line(segment.text),
        "translation": segment.translation,
        "unsure": unsure,
    }


def _notices(report: VideoReport, labels: dict[str, str], language: str) -> list[dict[str, Any]]:
    """Warnings first."""
    return [
        {
            "name": labels.get(f"notice.{n.code}", ""),
            "message": notice_text(n.message, language),
            "severity": "warning" if n.severity == "warning" else "info",
            "start_s": n.start_s,
        }
        for n in sorted(report.notices, key=lambda n: n.severity != "warning")
    ]


def _about(report: VideoReport, labels: dict[str, str]) -> list[tuple[str, str]]:
    media, made = report.media, report.provenance
    picture = f"{media.width} × {media.height}" if media.width else ""
    rate = f", {media.fps:g}/s" if media.width and media.fps else ""
    rows = [
        ("source", media.file_name or media.source),
        ("size", f"{media.size_bytes:,} bytes" if media.size_bytes else ""),
        ("picture", f"{picture}{rate} {media.video_codec}"),
        ("checksum", media.sha256),
        ("engine", f"{made.engine} {made.engine_version}"),
        ("model", " / ".join(m for m in (made.asr_model, made.llm_model) if m)),
        ("transcript_from", made.transcript_source),
        ("template", f"{made.template} {made.template_version}"),
        ("tool", f"gsvr {made.tool_version}"),
    ]
    extra = [(str(k), str(v)) for k, v in media.metadata.items()]
    return [(labels[k], v.strip()) for k, v in rows if v.strip()] + extra


def _shortcuts(labels: dict[str, str]) -> list[tuple[tuple[str, ...], str]]:
    return [
        (("Space",), labels["keys_play"]),
        (("←", "→"), labels["keys_seek"]),
        (("k", "j"), labels["keys_sentence"]),
        (("<", ">"), labels["keys_speed"]),
        (("/",), labels["keys_search"]),
        (("c",), labels["keys_captions"]),
        (("f",), labels["keys_follow"]),
        (("t",), labels["theme"]),
        (("?",), labels["keys_help"]),
    ]
