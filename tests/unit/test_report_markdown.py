"""Markdown: laid out by the template, read by Obsidian, inert whatever a recording says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gs_video_report.errors import TemplateError
from gs_video_report.report.markdown import front_matter, to_markdown
from gs_video_report.report.md_text import escape, plain_line, tag, yaml_scalar
from gs_video_report.report.model import VideoReport
from gs_video_report.templates.loader import load_template, parse_template
from tests.support.reports import HOSTILE, friendly, hostile, silent


def head(report: VideoReport) -> dict[str, Any]:
    text = front_matter(report)
    assert text.startswith("---\n")
    assert text.endswith("---\n")
    return dict(yaml.safe_load(text[4:-4]))


def kinds(text: str) -> set[str]:
    """Every token type that a CommonMark parser with tables and strike-through sees."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = parser.parse(text)
    return {t.type for t in tokens} | {c.type for t in tokens for c in t.children or ()}


def test_front_matter_is_what_obsidian_reads() -> None:
    found = head(friendly())
    assert found["title"] == "Hash tables: an introduction"
    assert found["aliases"] == ["Hash tables: an introduction"]
    assert found["tags"] == ["video-report", "computer-science"]
    assert found["duration_s"] == 3725.25
    assert found["slides"] == 2
    assert str(found["date"]) == "2026-03-02"
    assert found["created"] == "2026-03-04T10:11:12+00:00"


def test_hostile_titles_cannot_leave_the_front_matter() -> None:
    found = head(hostile())
    assert found["title"] == plain_line(HOSTILE)
    assert set(found) | {"date"} == set(head(friendly()))


@given(st.text(max_size=60))
def test_any_text_is_one_yaml_string(text: str) -> None:
    line = yaml_scalar(text)
    assert "\n" not in line
    assert yaml.safe_load(f"a: {line}\n") == {"a": text}


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [
                *"\\`*_[]<>|~$^{}#&:!-+=.()0123 aZ\n\t%@/'\"",
                "http://a.b",
                "www.",
                "&lt;",
                "&#65;",
                "---",
                "```",
                "![x](y)",
                "<b>",
                "1. ",
                "[^1]",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_escaped_text_is_only_text(text: str) -> None:
    shown = plain_line(text)
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(escape(text))
    inner = [c for t in tokens for c in t.children or ()]
    assert {t.type for t in tokens} <= {"paragraph_open", "inline", "paragraph_close"}
    assert {c.type for c in inner} <= {"text", "text_special"}
    assert "".join(c.content for c in inner) == shown


def test_plain_sentences_stay_readable() -> None:
    text = "It's 3.5 % (about 1/2) - R&D, a.b.c; x+y: done!"
    assert escape(text) == text


@pytest.mark.parametrize(
    "name", ["chinese_transcript", "comprehensive_lesson", "summary_report", "transcript"]
)
def test_a_hostile_report_adds_no_html_image_link_or_code(name: str) -> None:
    text = to_markdown(hostile(), load_template(name)).split("---\n", 2)[2]
    found = kinds(text)
    assert not found & {"html_block", "html_inline", "code_inline", "fence", "code_block"}
    parser = MarkdownIt("commonmark")
    children = [c for t in parser.parse(text) for c in t.children or ()]
    targets = {str(c.attrs["href"]) for c in children if c.type == "link_open"}
    images = [c.attrs["src"] for c in children if c.type == "image"]
    assert all(t.startswith("talk.mp4") for t in targets)
    assert images == ["talk.assets/slide-001.jpg", "talk.assets/slide-002.jpg"]


def test_times_past_one_hour_link_to_the_second_of_the_source() -> None:
    text = to_markdown(friendly(), load_template("summary_report"))
    assert "[1:02:03](../lectures/talk%20%281%29.mp4#t=3723) Goodbye." in text
    assert "[1:00:00](../lectures/talk%20%281%29.mp4#t=3600) **Ada:** One hour" in text


def test_web_sources_get_the_sites_own_time_parameter() -> None:
    report = friendly("https://www.youtube.com/watch?v=abc")
    text = to_markdown(report, load_template("summary_report"))
    assert "[1:02:03](https://www.youtube.com/watch?v=abc&t=3723)" in text


def test_headings_follow_the_templates_language_and_unproved_lines_are_marked() -> None:
    chinese = to_markdown(friendly(), load_template("chinese_transcript"))
    assert "## 逐字稿" in chinese
    assert "  \n清楚吗？" in chinese
    english = to_markdown(friendly(), load_template("summary_report"))
    assert "- It is fast. [0:05](../lectures/talk%20%281%29.mp4#t=5) ⚠️ *not found in the" in english
    assert (
        english.index("## Summary") < english.index("## Main points") < english.index("## Slides")
    )


def test_a_recording_without_speech_says_so() -> None:
    text = to_markdown(silent(), load_template("summary_report"))
    assert "No speech was found in this recording." in text
    assert "## Slides" not in text


def test_only_the_created_line_differs_between_two_runs() -> None:
    first = friendly()
    later = {**first.provenance.run, "finished_at": "2027-01-01T00:00:00+00:00", "stage_s": {}}
    second = replace(first, provenance=replace(first.provenance, run=later))
    template = load_template("chinese_transcript")
    pairs = zip(
        to_markdown(first, template).splitlines(),
        to_markdown(second, template).splitlines(),
        strict=True,
    )
    assert [a.split(":")[0] for a, b in pairs if a != b] == ["created"]


def test_a_users_layout_gets_blocks_and_escaped_data() -> None:
    source = (
        'version: "1"\ntitle: T\nlabels: {transcript: Words}\nlayout: |\n'
        "  {% for s in report.segments %}{{ loop.index }} {{ s.text }};{% endfor %}"
        " {{ labels.transcript }}\n"
    )
    template = parse_template(source.encode(), "x.yaml", "x")
    text = to_markdown(replace(hostile(), segments=hostile().segments[:1]), template)
    assert text.endswith(f"\n1 {escape(HOSTILE)}; Words\n")


def test_a_layout_that_fails_is_the_templates_error() -> None:
    template = replace(load_template("summary_report"), layout="{{ report.nothing }}")
    with pytest.raises(TemplateError, match="nothing"):
        to_markdown(friendly(), template)


def test_tags_are_what_obsidian_accepts() -> None:
    assert [tag(t) for t in ("a b", "C++/x", "2026", "学习 方法", "##", "")] == [
        *("a-b", "C-/x", "", "学习-方法", "", "")
    ]
