"""Notices in the language of the report: every sentence of the local engine, and none altered."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gs_video_report.engines.hearing.sound import audio_notices
from gs_video_report.engines.hearing.transcribe import _speech_notices
from gs_video_report.engines.local import _template_notices
from gs_video_report.engines.probe import probe_notices
from gs_video_report.media.slides import find as slides
from gs_video_report.report.html import to_html
from gs_video_report.report.markdown import to_markdown
from gs_video_report.report.model import MediaInfo, Notice, Provenance, Segment, VideoReport
from gs_video_report.templates.loader import load_template
from gs_video_report.templates.notice_texts import ZH, notice_text

CHINESE = load_template("chinese_transcript")


def of_the_local_engine() -> list[Notice]:
    """What it can say, made by its own functions."""
    bare: dict[str, Any] = {"audio": [], "video": None}
    two: dict[str, Any] = {"audio": [{}, {}], "video": {}}
    track = {
        "truncated": True, "decoded_s": 12.3, "declared_s": 60.0, "gaps": [(1.0, 3.5)],
        "bad_packets": 4,
    }  # fmt: skip
    weak = [Segment(0, 2, "?", confidence=-9.0)]
    return [
        *probe_notices(bare), *probe_notices(two),
        *audio_notices(track, two), *_speech_notices(weak, "zh", 0.3),
        *_template_notices(CHINESE, "en"),
    ]  # fmt: skip


@pytest.mark.parametrize("notice", of_the_local_engine(), ids=lambda n: n.code)
def test_a_chinese_report_tells_it_in_chinese(notice: Notice) -> None:
    told = notice_text(notice.message, "zh")
    assert told != notice.message
    assert set(re.findall(r"\d+", notice.message)) == set(re.findall(r"\d+", told))
    left = re.sub(r"--[\w-]+(?: (?:gemini|openai))?", "", told)
    assert re.findall(r"[A-Za-z]{3,}", left) == []
    assert notice_text(notice.message, "en") == notice.message
    assert notice_text(notice.message, "source") == notice.message


@pytest.mark.parametrize("errors", [1, 3])
def test_damaged_pictures_are_told_in_chinese(errors: int) -> None:
    class Reader:
        declared_s = 60.0

    reader: Any = Reader()
    reader.errors = errors
    told = [notice_text(m, "zh-CN") for m in slides._problems(reader, 12.0, short=True)]
    assert told == [
        f"画面有损坏：有 {errors} 处无法解码，已跳过。",
        "画面提前结束：60 秒中只有 12 秒。",
    ]


@pytest.mark.parametrize(("english", "chinese"), ZH.items())
def test_both_sentences_hold_the_same_words(english: str, chinese: str) -> None:
    words = re.compile(r"\{(\w+)\}")
    assert sorted(words.findall(english)) == sorted(words.findall(chinese))
    given = {w: f"<{w} (1.5%)>" for w in words.findall(english)}
    assert notice_text(english.format(**given), "zh").endswith(chinese[-1])


def test_what_is_not_known_stays_as_it_is() -> None:
    assert notice_text("Something new happened.", "zh") == "Something new happened."


def test_the_written_report_holds_the_sentence_of_its_language() -> None:
    report = VideoReport(
        media=MediaInfo("Talk", "talk.mp4", "/v/talk.mp4", 60.0, 1, "0" * 64),
        provenance=Provenance("local"),
        notices=(Notice("no_video", "The recording has no pictures, so there are no slides."),),
    )
    markdown = to_markdown(report, CHINESE)
    page = to_html(report, CHINESE).decode()
    for text in (markdown, page):
        assert "录像没有画面，因此没有幻灯片。" in text
        assert "no pictures" not in text
    assert "no pictures" in to_markdown(report, load_template("summary_report"))
    assert report.to_dict()["notices"][0]["message"].startswith("The recording has no pictures")
