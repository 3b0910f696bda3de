"""Subtitles: limits hold, order holds, and every word is there exactly once."""

from __future__ import annotations

import html
import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.report.model import Chapter, Segment, Word
from gs_video_report.report.subtitles_out import (
    MAX_COLUMNS,
    Cue,
    columns,
    make_cues,
    to_srt,
    to_vtt,
    youtube_chapters,
)
from tests.support.reports import HOSTILE, friendly

_WORD = st.text(
    st.one_of(
        st.sampled_from("abcdeXYZ.,!?-'0123<>&{"),
        st.sampled_from("\uff0c\uff08\uff09\uff01今天我们学习查找方法。,!“”《》のハ한국ไท"),
        st.characters(codec="utf-8", categories=("L", "N", "P", "S", "M")),
    ),
    min_size=1,
    max_size=60,
)
_TEXT = st.lists(_WORD, max_size=30).map(" ".join)


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    out = []
    start = 0.0
    for text in draw(st.lists(_TEXT, max_size=8)):
        start += draw(st.floats(-1.0, 5.0))
        start = max(0.0, start)
        end = start + draw(st.floats(0.0, 30.0))
        parts = text.split()
        words: tuple[Word, ...] = ()
        if draw(st.booleans()) and parts:
            step = (end - start) / len(parts)
            words = tuple(
                Word(start + i * step, start + (i + 1) * step, f" {p}") for i, p in enumerate(parts)
            )
        speaker = draw(st.sampled_from([None, "Ann", "Bob"]))
        out.append(Segment(start, end, text, speaker, words))
    return sorted(out, key=lambda s: s.start_s)


@settings(max_examples=200, deadline=None)
@given(segments())
def test_every_word_appears_exactly_once_and_every_limit_holds(spoken: list[Segment]) -> None:
    cues = make_cues(spoken)
    said = "".join("".join(s.text.split()) for s in spoken)
    assert "".join("".join("".join(c.lines).split()) for c in cues) == said
    for cue in cues:
        assert 1 <= len(cue.lines) <= 2
        assert all(columns(line) <= MAX_COLUMNS for line in cue.lines)
        assert 1000 <= cue.end_ms - cue.start_ms <= 7000
    for left, right in pairwise(cues):
        assert left.end_ms <= right.start_ms


@settings(max_examples=100, deadline=None)
@given(segments())
def test_files_can_be_read_back(spoken: list[Segment]) -> None:
    cues = make_cues(spoken)
    blocks = to_vtt(cues).split("\n\n")
    assert blocks[0] == "WEBVTT" or blocks == ["WEBVTT\n"]
    assert len(blocks) - 1 == len(cues)
    for block, cue in zip(blocks[1:], cues, strict=True):
        times, *lines = block.rstrip("\n").split("\n")
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}", times)
        shown = html.unescape(re.sub(r"<v [^>]*>", "", "\n".join(lines)))
        assert tuple(shown.split("\n")) == cue.lines
        assert "-->" not in "".join(lines)
    assert to_srt(cues).count(" --> ") == len(cues)


def test_word_times_decide_where_a_cue_starts() -> None:
    words = (Word(10.0, 10.5, "One."), Word(16.5, 17.0, " Two."), Word(17.0, 18.5, " Three."))
    cues = make_cues([Segment(10.0, 18.5, "One. Two. Three.", None, words)])
    assert [(c.start_ms, c.lines) for c in cues] == [
        (10_000, ("One.",)),
        (16_500, ("Two. Three.",)),
    ]


def test_words_that_do_not_match_the_text_are_not_trusted() -> None:
    cues = make_cues([Segment(0.0, 4.0, "Corrected text", None, (Word(3.0, 4.0, "wrong"),))])
    assert cues == [Cue(0, 4000, ("Corrected text",))]


def test_chinese_breaks_at_punctuation_within_21_characters() -> None:
    text = (
        "今天我们学习一个简单又快速的查找方法，叫作二分查找。"
        "它只适用于已经排好顺序的数据，所以要先排序。"
    )
    cues = make_cues([Segment(0.0, 6.9, text)])
    assert all(len(line) <= 21 for cue in cues for line in cue.lines)
    assert cues[0].lines[0].endswith("\uff0c")
    assert not any(line[0] in "\uff0c\u3002" for cue in cues for line in cue.lines)


def test_a_sentence_end_is_the_preferred_break() -> None:
    text = (
        "This first sentence is rather short. " + "The second one goes on for quite a while, " * 2
    )
    cues = make_cues([Segment(0.0, 12.0, text.strip())])
    assert cues[0].lines == ("This first sentence is rather short.",)


def test_short_neighbours_of_one_speaker_are_joined_and_others_are_not() -> None:
    same = make_cues([Segment(0.0, 0.4, "Yes.", "A"), Segment(0.5, 0.9, "No.", "A")])
    assert [c.lines for c in same] == [("Yes. No.",)]
    two = make_cues([Segment(0.0, 0.4, "Yes.", "A"), Segment(0.5, 0.9, "No.", "B")])
    assert [c.speaker for c in two] == ["A", "B"]


def test_markup_cannot_come_from_speech() -> None:
    cues = make_cues([Segment(0.0, 3.0, "a --> b <i>x</i> Q&A &lt; {\\an8}", "<b>")])
    vtt = to_vtt(cues)
    assert "<v &lt;b&gt;>a --&gt; b &lt;i&gt;x&lt;/i&gt;" in vtt
    srt = to_srt(cues)
    assert "<i>" not in srt
    assert srt.count("-->") == 1
    assert "{\\" not in srt
    assert to_vtt(make_cues([Segment(0.0, 60.0, HOSTILE)])).count("<") == 0


def test_plain_ampersands_and_comparisons_stay_as_they_are_in_subrip() -> None:
    assert "Q&A: a < b" in to_srt(make_cues([Segment(0.0, 3.0, "Q&A: a < b")]))


def test_translations_make_their_own_cues() -> None:
    cues = make_cues(friendly().segments, translated=True)
    assert "清楚吗？" in [" ".join(c.lines) for c in cues]


def test_no_speech_gives_no_cues() -> None:
    assert make_cues([]) == []
    assert make_cues([Segment(0.0, 1.0, "  \x00 ")]) == []
    assert to_srt([]) == ""


def test_chapters_come_as_youtube_takes_them() -> None:
    assert (
        youtube_chapters(friendly().chapters, 3725.25) == "0:00 Start\n1:00 Middle\n1:00:00 End\n"
    )


@pytest.mark.parametrize(
    "starts", [(0, 60), (5, 60, 120), (0, 9, 60), (0, 60, 995), (0, 60, 60), ()]
)
def test_a_list_that_youtube_would_ignore_is_not_written(starts: tuple[int, ...]) -> None:
    chapters = [Chapter(s, 0, "T") for s in starts]
    assert youtube_chapters(chapters, 1000.0) is None


def test_chapter_titles_stay_on_one_line() -> None:
    chapters = [Chapter(i * 60.0, 0, "a\nb\u2028c") for i in range(3)]
    assert youtube_chapters(chapters, 180.0) == "0:00 a b c\n1:00 a b c\n2:00 a b c\n"
