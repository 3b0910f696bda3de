"""Segments become sentences with times, and no word is lost."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.report.model import Segment, Word
from gs_video_report.text.sentences import split_sentences
from tests.support.lectures import chinese_segments, english_segments


def texts(*segments: Segment) -> list[str]:
    return [s.text for s in split_sentences(segments)]


def test_sentence_runs_across_segments() -> None:
    found = split_sentences([Segment(0, 3, "It was"), Segment(3, 5, "nice. And then")])
    assert [s.text for s in found] == ["It was nice.", "And then"]
    assert found[0].start_s == 0
    assert 3 < found[0].end_s < 5


def test_abbreviations_decimals_initials_and_addresses_end_no_sentence() -> None:
    text = "Dr. Smith of the U.S. office said 3.14, e.g. Pi, is on example.com. J. K. Lee agreed."
    assert texts(Segment(0, 9, text)) == [
        "Dr. Smith of the U.S. office said 3.14, e.g. Pi, is on example.com.",
        "J. K. Lee agreed.",
    ]


def test_quotes_stay_with_their_sentence() -> None:
    assert texts(Segment(0, 9, 'He said "stop." Nobody did! (Really?) Yes.')) == [
        'He said "stop."',
        "Nobody did!",
        "(Really?)",
        "Yes.",
    ]


def test_ellipsis_before_a_small_letter_goes_on() -> None:
    assert texts(Segment(0, 9, "And then... he left.")) == ["And then... he left."]


def test_chinese_punctuation_ends_sentences_without_spaces() -> None:
    assert texts(Segment(0, 9, "今天讲光合作用。大家准备好了吗？好！")) == [
        "今天讲光合作用。",
        "大家准备好了吗？",
        "好！",
    ]


def test_pauses_end_sentences_where_punctuation_is_missing() -> None:
    found = texts(
        Segment(0, 3, "光反应发生在类囊体薄膜上面"),
        Segment(3.1, 6, "水被分解成氧气和氢离子"),
        Segment(7.2, 10, "暗反应发生在叶绿体的基质当中"),
    )
    assert found == [
        "光反应发生在类囊体薄膜上面 水被分解成氧气和氢离子",
        "暗反应发生在叶绿体的基质当中",
    ]


def test_new_speaker_starts_a_new_sentence() -> None:
    found = split_sentences([Segment(0, 1, "so what", "A"), Segment(1, 2, "no idea", "B")])
    assert [(s.text, s.speaker) for s in found] == [("so what", "A"), ("no idea", "B")]


def test_long_speech_without_any_mark_is_divided_and_says_so() -> None:
    text = " ".join(f"word{i}" for i in range(200))
    found = split_sentences([Segment(0, 80, text)])
    assert len(found) >= 5
    assert not any(s.complete for s in found[1:-1])
    assert " ".join(s.text for s in found) == text


def test_long_sentence_with_a_full_stop_stays_whole() -> None:
    text = " ".join(["many words of one sentence,"] * 12) + " end here."
    found = split_sentences([Segment(0, 30, text)])
    assert [s.text for s in found] == [text]
    assert found[0].complete


def test_word_times_give_exact_starts() -> None:
    words = (Word(0.5, 1, "Yes."), Word(4.0, 4.5, "No"), Word(4.5, 5.0, "way."))
    found = split_sentences([Segment(0, 9, "Yes. No way.", words=words)])
    assert [(s.start_s, s.end_s) for s in found] == [(0.5, 1), (4.0, 5.0)]


def test_empty_segments_and_no_segments_give_nothing() -> None:
    assert split_sentences([]) == ()
    assert split_sentences([Segment(0, 1, "  "), Segment(1, 2, "")]) == ()


def test_lectures_keep_every_word_in_order() -> None:
    for segments, _ in (english_segments(), chinese_segments()):
        joined = "".join("".join(s.text for s in split_sentences(segments)).split())
        assert joined == "".join("".join(s.text for s in segments).split())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 3),
            st.floats(0, 9),
            st.text("aB1 .,!?。，！？…\"'中文字3-\n\u3000é;:", max_size=60),
            st.sampled_from([None, "A", "B"]),
        ),
        max_size=8,
    )
)
def test_nothing_is_lost_and_times_are_in_order(
    rows: list[tuple[float, float, str, str | None]],
) -> None:
    segments: list[Segment] = []
    at = 0.0
    for gap, length, text, speaker in rows:
        segments.append(Segment(at + gap, at + gap + length, text, speaker))
        at += gap + length
    found = split_sentences(segments)
    assert "".join("".join(s.text for s in found).split()) == "".join(
        "".join(s.text for s in segments).split()
    )
    assert all(a.start_s <= b.start_s for a, b in itertools.pairwise(found))
    assert all(s.start_s <= s.end_s and s.text == s.text.strip() != "" for s in found)
