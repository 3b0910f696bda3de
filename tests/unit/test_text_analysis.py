"""Chapters, summary and key terms of lectures whose topics are known."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.report.model import Chapter, Segment, Slide
from gs_video_report.text.analysis import TextAnalysis, analyze
from gs_video_report.text.chapters import target_count
from gs_video_report.text.phrasing import clean
from gs_video_report.text.summary import points_for
from tests.support.lectures import chinese_segments, english_segments


@pytest.fixture(scope="module")
def english() -> TextAnalysis:
    segments, _ = english_segments()
    return analyze(segments, (), "en", segments[-1].end_s)


@pytest.fixture(scope="module")
def chinese() -> TextAnalysis:
    segments, _ = chinese_segments()
    return analyze(segments, (), "zh", segments[-1].end_s)


def slide(t_s: float, end_s: float, title: str, *lines: str, kind: str = "slide") -> Slide:
    return Slide(t_s, end_s, "", 0, 0, text="\n".join((title, *lines)), title=title, kind=kind)


def assert_contiguous(chapters: tuple[Chapter, ...], duration_s: float) -> None:
    assert chapters[0].start_s == 0
    assert chapters[-1].end_s == pytest.approx(duration_s, abs=0.001)
    assert all(a.end_s == b.start_s for a, b in pairwise(chapters))
    assert all(c.start_s < c.end_s and c.title for c in chapters)
    assert len({c.title.casefold() for c in chapters}) == len(chapters)


# --- chapters -----------------------------------------------------------------------------------


def test_english_chapters_begin_where_the_topics_begin(english: TextAnalysis) -> None:
    _, topics = english_segments()
    assert_contiguous(english.chapters, english.chapters[-1].end_s)
    starts = [c.start_s for c in english.chapters[1:]]
    assert len(starts) >= 3
    assert all(min(abs(s - t) for t in topics) < 6 for s in starts)


def test_chinese_chapters_begin_where_the_topics_begin(chinese: TextAnalysis) -> None:
    _, topics = chinese_segments()
    starts = [c.start_s for c in chinese.chapters[1:]]
    assert len(starts) >= 3
    assert all(min(abs(s - t) for t in topics) < 6 for s in starts)


def test_chapters_have_a_summary_line_from_their_own_time(english: TextAnalysis) -> None:
    segments, _ = english_segments()
    for chapter in english.chapters:
        near = " ".join(
            s.text for s in segments if chapter.start_s - 10 < s.start_s < chapter.end_s + 10
        )
        assert chapter.summary
        assert chapter.summary.rstrip(".")[-30:].casefold() in near.casefold()


def test_slide_titles_name_and_place_chapters() -> None:
    segments, topics = english_segments()
    titles = ["The way of a click", "Domain names", "Reliable streams", "TLS", "HTTP", "Summary"]
    ends = [*topics[1:], segments[-1].end_s]
    slides = [
        slide(a + 1, b, t, "Networks 101") for a, b, t in zip(topics, ends, titles, strict=True)
    ]
    found = analyze(segments, slides, "en", segments[-1].end_s).chapters
    assert [c.title for c in found] == titles[:5]
    assert [c.start_s for c in found] == pytest.approx(topics[:5], abs=3)


def test_header_on_every_slide_is_no_title() -> None:
    slides = [
        slide(i * 60, i * 60 + 60, "Biology 101", f"Topic number {'abcdef'[i]}") for i in range(6)
    ]
    found = analyze((), slides, "en", 360).chapters
    assert [c.title for c in found] == [f"Topic number {x}" for x in "abcdef"]


def test_container_chapters_win_and_become_contiguous() -> None:
    segments, _ = english_segments()
    marks = [(5.0, 100.0, "Names"), (100.0, 90.0, ""), (100.0, 120.0, "twice"), (9e9, 9e9, "later")]
    found = analyze(segments, (), "en", 380.0, container_chapters=marks).chapters
    assert [(c.start_s, c.end_s, c.title) for c in found] == [
        (0, 100, "Names"),
        (100, 380, "2"),
    ]
    assert all(c.summary for c in found)


def test_one_untitled_container_chapter_is_ignored() -> None:
    segments, _ = english_segments()
    found = analyze(segments, (), "en", 380.0, container_chapters=[(0, 380, "")]).chapters
    assert len(found) >= 3


def test_slides_alone_give_chapters_summary_and_terms() -> None:
    slides = [
        slide(2, 70, "Cell membranes", "Lipid bilayer"),
        slide(70, 140, "Cell membranes", "Lipid bilayer", "Transport proteins", kind="build"),
        slide(140, 200, "Osmosis", "Water potential"),
        slide(200, 300, "", kind="camera"),
    ]
    found = analyze((), slides, "", 300.0)
    assert [(c.start_s, c.end_s, c.title) for c in found.chapters] == [
        (0, 140, "Cell membranes"),
        (140, 300, "Osmosis"),
    ]
    assert [(p.text, p.t_s) for p in found.summary] == [("Cell membranes", 2), ("Osmosis", 140)]
    assert "lipid bilayer" in {k.term.lower() for k in found.key_terms}


def test_nothing_gives_nothing() -> None:
    assert analyze((), (), "", 100.0) == TextAnalysis()
    assert analyze((), [slide(0, 9, "")], "en", 100.0) == TextAnalysis()


@pytest.mark.parametrize(("minutes", "fewest", "most"), [(1, 1, 3), (10, 3, 8), (60, 6, 15)])
def test_number_of_chapters_suits_the_length(minutes: int, fewest: int, most: int) -> None:
    assert fewest <= target_count(minutes * 60) <= most
    segments, _ = english_segments()
    count = round(minutes * 60 / 6)
    speech = [Segment(i * 6, i * 6 + 5.8, segments[i % len(segments)].text) for i in range(count)]
    found = analyze(speech, (), "en", minutes * 60).chapters
    assert_contiguous(found, minutes * 60)
    assert fewest <= len(found) <= most


# --- summary ------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_summary_quotes_the_transcript_in_time_order(
    language: str, request: pytest.FixtureRequest
) -> None:
    found: TextAnalysis = request.getfixturevalue(language)
    segments, _ = english_segments() if language == "english" else chinese_segments()
    spoken = " ".join(s.text for s in segments)
    assert 3 <= len(found.summary) <= 12
    assert [p.t_s for p in found.summary] == sorted(p.t_s or 0 for p in found.summary)
    for point in found.summary:
        assert point.quote in spoken
        assert point.text == clean(point.quote, "en" if language == "english" else "zh")
        assert point.text[0] == point.text[0].upper()
        assert point.text[-1] in ".!?。"


def test_english_summary_covers_the_topics_without_small_talk(english: TextAnalysis) -> None:
    text = " ".join(p.text for p in english.summary)
    assert all(word in text for word in ("DNS", "congestion", "certificate", "HTTP"))
    assert not any(word in text for word in ("Thank", "welcome", "Can everyone", "Next week", "Um"))


def test_chinese_summary_covers_the_topics_without_small_talk(chinese: TextAnalysis) -> None:
    text = " ".join(p.text for p in chinese.summary)
    assert all(word in text for word in ("叶绿素", "光反应", "暗反应", "光照强度"))
    assert not any(word in text for word in ("谢谢", "同学们好"))


def test_repeated_statement_is_one_point() -> None:
    said = "The mitochondria produce most of the chemical energy of the cell."
    others = ["The nucleus stores the genetic material of every cell.",
              "Ribosomes build proteins from amino acids in the cytoplasm.",
              "The membrane controls which molecules enter the cell."]  # fmt: skip
    lines = [said, others[0], said, others[1], said, others[2], said] * 2
    segments = [Segment(i * 6, i * 6 + 5, line) for i, line in enumerate(lines)]
    found = analyze(segments, (), "en", 90.0).summary
    assert len({p.text for p in found}) == len(found) >= 3


def test_summary_grows_with_the_length() -> None:
    assert [points_for(60 * m) for m in (1, 10, 60, 180)] == [3, 6, 12, 12]
    assert points_for(0) == 3


def test_only_sentence_of_a_clip_is_its_summary() -> None:
    text = "Ask not what your country can do for you, ask what you can do for your country."
    found = analyze([Segment(0, 11, text)], (), "en", 11.0)
    assert [p.text for p in found.summary] == [text]
    assert len(found.chapters) == 1


def test_small_talk_alone_is_no_summary_point_of_a_lecture() -> None:
    talk = ["Okay, so.", "Thank you.", "Yeah, right.", "Um, hello everyone."]
    segments = [Segment(i, i + 1, t) for i, t in enumerate(talk)]
    assert analyze(segments, (), "en", 5.0).summary == ()


@pytest.mark.parametrize(
    ("language", "quote", "text"),
    [
        ("en", "Okay, so, um, the loss, uh, falls", "So the loss falls."),
        ("en", "And TCP resends it.", "TCP resends it."),
        ("en", "So far we have three layers.", "So far we have three layers."),
        ("en", "[Music] Well-known methods win!", "Well-known methods win!"),
        ("en", "Right now it works.", "Right now it works."),
        ("zh", "嗯，那么，光合作用 需要光", "光合作用，需要光。"),
        (
            "zh",
            "接下来我们看光反应 光反应的场所是叶绿体的类囊体薄膜",
            "光反应的场所是叶绿体的类囊体薄膜。",
        ),
        ("de", "Äh, die Zelle teilt sich", "Die Zelle teilt sich."),
        ("en", "♪♪", ""),
    ],
)
def test_quotes_are_cleaned_but_never_reworded(language: str, quote: str, text: str) -> None:
    assert clean(quote, language) == text


# --- key terms ----------------------------------------------------------------------------------


def test_english_key_terms_are_what_a_teacher_would_mark(english: TextAnalysis) -> None:
    terms = {k.term for k in english.key_terms}
    assert terms >= {"TCP", "DNS", "TLS", "packet", "server", "IP address"}
    assert not terms & {"thing", "way", "stage", "today", "the server", "asks", "number"}


def test_chinese_key_terms_are_whole_words(chinese: TextAnalysis) -> None:
    terms = [k.term for k in chinese.key_terms]
    assert terms[0] == "光合作用"
    assert set(terms) >= {"ATP", "二氧化碳", "光反应", "暗反应", "叶绿体"}


def test_key_terms_are_ranked_counted_and_placed(english: TextAnalysis) -> None:
    scores = [k.score for k in english.key_terms]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1.0
    tcp = next(k for k in english.key_terms if k.term == "TCP")
    segments, topics = english_segments()
    assert tcp.count == sum(s.text.count("TCP") for s in segments)
    assert tcp.first_s is not None
    assert topics[2] < tcp.first_s < topics[3]


def test_singular_and_plural_are_one_term() -> None:
    lines = ["A neural network learns.", "Neural networks learn weights.", "Every network differs."]
    segments = [Segment(i * 5, i * 5 + 4, t) for i, t in enumerate(lines * 3)]
    found = {k.term: k.count for k in analyze(segments, (), "en", 45.0).key_terms}
    assert found["neural network"] == 6
    assert "neural networks" not in found
    assert "networks" not in found


def test_words_on_slides_weigh_more() -> None:
    lines = [
        "The enzyme binds the substrate in its pocket.",
        "The catalyst lowers the barrier.",
    ] * 3
    segments = [Segment(i * 5, i * 5 + 4, t) for i, t in enumerate(lines)]
    plain = [k.term for k in analyze(segments, (), "en", 30.0).key_terms]
    shown = analyze(segments, [slide(0, 30, "Barrier", "barrier height")], "en", 30.0).key_terms
    assert [k.term.lower() for k in shown].index("barrier") < plain.index("barrier")


def test_long_recording_has_more_terms_than_a_short_one() -> None:
    segments, _ = english_segments()
    short = analyze(segments[:15], (), "en", 90.0).key_terms
    assert 5 <= len(short) < len(analyze(segments, (), "en", 3600.0).key_terms) <= 24


# --- the whole ----------------------------------------------------------------------------------


def test_same_input_gives_the_same_analysis(english: TextAnalysis) -> None:
    segments, _ = english_segments()
    assert analyze(segments, (), "en", segments[-1].end_s) == english


def test_language_is_guessed_when_unknown(chinese: TextAnalysis) -> None:
    segments, _ = chinese_segments()
    assert analyze(segments, (), "", segments[-1].end_s) == chinese


def test_three_hours_take_about_a_second_of_one_core() -> None:
    english, _ = english_segments(3.6)
    speech = [
        Segment(i * 3.6, i * 3.6 + 3.5, f"{english[(i * 7) % len(english)].text} item{i % 211}")
        for i in range(3000)
    ]
    before = time.process_time()
    found = analyze(speech, (), "en", 3 * 3600.0)
    assert time.process_time() - before < 4.0
    assert 12 <= len(found.chapters) <= 30
    assert len(found.summary) == 12


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(max_size=40), max_size=6),
    st.lists(st.text("Ab c\n光合\u0e01.\x00", max_size=30), max_size=4),
    st.sampled_from(["", "en", "zh", "ja", "th", "xx", "zh-Hans"]),
    st.floats(0, 200),
)
def test_odd_text_never_fails(
    lines: list[str], shown: list[str], language: str, duration_s: float
) -> None:
    segments = [Segment(i * 2.0, i * 2.0 + 2.5, t) for i, t in enumerate(lines)]
    slides = [slide(i * 3.0, i * 3.0 + 3, t) for i, t in enumerate(shown)]
    found = analyze(segments, slides, language, duration_s)
    if found.chapters:
        assert_contiguous(found.chapters, found.chapters[-1].end_s)
