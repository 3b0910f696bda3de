"""The report as one Markdown note, laid out by its template, for Obsidian and everything else.

Truth: all text of the recording goes through `md_text.escape`; the template's layout gets finished
blocks and cannot change what is in them. Front matter holds text as quoted strings and numbers as
numbers. The one run-time line is `created:`.
Pure: the same report and template give the same text. Raises: TemplateError from the layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gs_video_report.report.md_text import (
    escape,
    escape_tree,
    plain_line,
    tag,
    yaml_list,
    yaml_scalar,
)
from gs_video_report.report.model import Chapter, Segment, Slide, SummaryPoint, VideoReport
from gs_video_report.report.paths import href, link_at
from gs_video_report.report.timefmt import clock
from gs_video_report.templates.labels import labels_for
from gs_video_report.templates.loader import Template
from gs_video_report.templates.notice_texts import notice_text

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MANY_BLANK_LINES = re.compile(r"\n{3,}")


def to_markdown(report: VideoReport, template: Template) -> str:
    """Front matter and body; ends with one line feed."""
    from gs_video_report.templates.sandbox import render, undeclared

    where = f"{template.name} (layout)"
    variables = _Blocks(report, template).all()
    if "report" in undeclared(template.layout, where):
        variables["report"] = escape_tree(report.to_dict())
    body = render(template.layout, variables, where)
    return front_matter(report) + "\n" + _MANY_BLANK_LINES.sub("\n\n", body).strip() + "\n"


def front_matter(report: VideoReport) -> str:
    """YAML between `---` lines, as Obsidian's properties read it."""
    media, made = report.media, report.provenance
    tags = dict.fromkeys(t for t in map(tag, ("video-report", *report.tags)) if t)
    rows: list[tuple[str, str]] = [
        ("title", yaml_scalar(plain_line(media.title))),
        ("aliases", yaml_list([plain_line(media.title)])),
        ("tags", yaml_list(tags)),
        ("source", yaml_scalar(media.source)),
        ("duration", yaml_scalar(clock(media.duration_s))),
        ("duration_s", yaml_scalar(round(media.duration_s, 3))),
        ("language", yaml_scalar(report.language)),
        ("engine", yaml_scalar(made.engine)),
        ("template", yaml_scalar(made.template)),
        ("slides", yaml_scalar(len(report.slides))),
        ("chapters", yaml_scalar(len(report.chapters))),
    ]
    date = recorded_on(report)
    if date:
        rows.append(("date", date))
    if made.run.get("finished_at"):
        rows.append(("created", yaml_scalar(made.run["finished_at"])))
    return "---\n" + "".join(f"{key}: {value}\n" for key, value in rows) + "---\n"


def recorded_on(report: VideoReport) -> str:
    """ISO date of the recording from its metadata, or empty."""
    for key in ("date", "creation_time", "recorded", "日期"):
        found = _ISO_DATE.match(report.media.metadata.get(key, ""))
        if found:
            return found.group()
    return ""


class _Blocks:
    """The finished pieces that a layout arranges."""

    def __init__(self, report: VideoReport, template: Template) -> None:
        self.report = report
        self.template = template
        self.labels = labels_for(template.language, template.labels)

    def all(self) -> dict[str, Any]:
        report = self.report
        return {
            "title": escape(report.media.title) or self.labels["untitled"],
            "facts": self.facts(),
            "notices": "\n".join(self.notices()),
            "summary": "\n".join(map(self.point, report.summary)),
            "key_terms": self.key_terms(),
            "chapters": "\n".join(map(self.chapter, report.chapters)),
            "slides": "\n\n".join(self.slide(n, s) for n, s in enumerate(report.slides, 1)),
            "transcript": "\n\n".join(self.transcript()),
            "sections": [self.section(i) for i in range(len(report.sections))],
            "about": self.about(),
            "labels": self.labels,
            "report": {},
        }

    def time(self, seconds: float | None) -> str:
        return f"[{clock(seconds)}]({link_at(self.report.media.source, seconds)})"

    def facts(self) -> str:
        media = self.report.media
        source = f"[{escape(media.file_name or media.source)}]({_target(media.source)})"
        facts = [f"{self.labels['length']} {clock(media.duration_s)}"]
        if self.report.language:
            facts.append(f"{self.labels['language']} {escape(self.report.language)}")
        return " · ".join([*facts, f"{self.labels['source']} {source}"])

    def notices(self) -> Iterable[str]:
        """An Obsidian callout; a block quote elsewhere."""
        if not self.report.notices:
            return
        serious = any(n.severity == "warning" for n in self.report.notices)
        yield f"> [!{'warning' if serious else 'info'}] {self.labels['notices']}"
        for notice in self.report.notices:
            name = self.labels.get(f"notice.{notice.code}", "")
            message = notice_text(notice.message, self.template.language)
            when = "" if notice.start_s is None else f" {self.time(notice.start_s)}"
            yield f"> - {f'**{name}:** ' if name else ''}{escape(message)}{when}"

    def point(self, point: SummaryPoint) -> str:
        parts = [f"- {escape(point.text)}"]
        if point.t_s is not None:
            parts.append(self.time(point.t_s))
        if point.proved is False:
            parts.append(f"⚠️ *{self.labels['unproved']}*")
        quote = escape(point.quote)
        return " ".join(parts) + (f"\n  > “{quote}”" if quote and point.proved is not None else "")

    def key_terms(self) -> str:
        terms = []
        for term in self.report.key_terms:
            name = escape(term.term)
            linked = term.first_s is not None
            target = link_at(self.report.media.source, term.first_s)
            terms.append(f"[{name}]({target})" if linked else name)
        return " · ".join(terms)

    def chapter(self, chapter: Chapter) -> str:
        summary = f": {escape(chapter.summary)}" if chapter.summary else ""
        return f"- {self.time(chapter.start_s)} **{self._title(chapter.title)}**{summary}"

    def slide(self, number: int, slide: Slide) -> str:
        name = f"{self.labels['slide']} {number}"
        title = f"{name}: {escape(slide.title)}" if slide.title else name
        lines = [f"### {self.time(slide.t_s)} {title}"]
        if slide.image:
            lines.append(f"![{title}]({_target(slide.image)})")
        text = [escape(line) for line in slide.text.splitlines() if plain_line(line)]
        if text:
            lines.append("\n".join(f"> {line}  " for line in text).rstrip())
        return "\n\n".join(lines)

    def section(self, index: int) -> dict[str, str]:
        section = self.report.sections[index]
        parts = [escape(p) for p in section.paragraphs]
        if section.items:
            parts.append("\n".join(map(self.point, section.items)))
        body = "\n\n".join(parts)
        return {"key": section.key, "title": self._title(section.title), "body": body}

    def transcript(self) -> Iterable[str]:
        """Segments under the headings of their chapters; a speaker is named when it changes."""
        if not self.report.segments:
            yield self.labels["no_speech"]
        chapters = list(self.report.chapters) if len(self.report.chapters) > 1 else []
        speaker: str | None = None
        for segment in self.report.segments:
            while chapters and chapters[0].start_s <= segment.start_s + 0.0005:
                chapter = chapters.pop(0)
                if not chapters or chapters[0].start_s > segment.start_s:
                    yield f"### {self._title(chapter.title)}"
            yield self.segment(segment, speaker)
            speaker = segment.speaker

    def segment(self, segment: Segment, speaker: str | None) -> str:
        changed = segment.speaker != speaker and segment.speaker
        who = f"**{escape(changed)}:** " if changed else ""
        line = f"{self.time(segment.start_s)} {who}{escape(segment.text)}"
        if segment.translation:
            line += f"  \n{escape(segment.translation)}"
        return line

    def about(self) -> str:
        made = self.report.provenance
        facts = [
            (self.labels["tool"], f"gsvr {made.tool_version}"),
            (self.labels["engine"], f"{made.engine} {made.engine_version}"),
            (self.labels["model"], " / ".join(m for m in (made.asr_model, made.llm_model) if m)),
            (self.labels["transcript_from"], made.transcript_source),
            (self.labels["template"], f"{made.template} {made.template_version}"),
        ]
        return " · ".join(f"{k}: {escape(v)}" for k, v in facts if v.strip())

    def _title(self, title: str) -> str:
        return escape(title) or self.labels["untitled"]


def _target(path: str) -> str:
    return href(path).replace("(", "%28").replace(")", "%29")
