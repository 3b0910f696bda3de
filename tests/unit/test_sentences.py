"""Cutting timed words into caption-sized sentences."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.media.speech.sentences import (
    Limits,
    SpokenWord,
    ends_sentence,
    group_words,
    join_words,
    spread_words,
    width,
)


def timed(*texts: str, each_s: float = 0.3) -> list[SpokenWord]:
    return [SpokenWord(n * each_s, (n + 1) * each_s, text) for n, text in enumerate(texts)]


def sentences(words: list[SpokenWord], limits: Limits | None = None) -> list[str]:
    return [join_words(group) for group in group_words(words, limits)]


def test_each_sentence_is_a_segment() -> None:
    words = timed("Hello", " there.", " How", " are", " you?", " Fine!")
    assert sentences(words) == ["Hello there.", "How are you?", "Fine!"]


def test_chinese_and_japanese_marks_end_sentences() -> None:
    assert sentences(timed(*"今天开会。明天放假！")) == ["今天开会。", "明天放假！"]
    assert sentences(timed("そう", "です。", "はい。")) == ["そうです。", "はい。"]


@pytest.mark.parametrize(
    ("text", "following", "ends"),
    [
        (" Dr.", " Smith", False),
        (" e.g.", " this", False),
        (" 3.", "5", False),
        (" J.", " R.", False),
        (" it.", " and", False),
        (" it.", " And", True),
        (' it."', " She", True),
        ("好。", "我", True),
        (" really?", " yes", True),
        ("3.", "我", True),
        (" word", " word", False),
        (" ", " word", False),
    ],
)
def test_which_full_stops_end_a_sentence(text: str, following: str, ends: bool) -> None:
    assert ends_sentence(text, following) is ends


def test_a_long_pause_starts_a_segment_without_any_mark() -> None:
    words = [SpokenWord(0.0, 0.5, "so"), SpokenWord(2.0, 2.5, " next"), SpokenWord(2.6, 3, " one")]
    assert sentences(words) == ["so", "next one"]


def test_a_long_sentence_is_cut_after_a_clause() -> None:
    words = timed(*[" w"] * 20, " end,", *[" w"] * 20)
    first, second = sentences(words, Limits(max_s=10.0))
    assert first.endswith("end,")
    assert second == "w " * 19 + "w"


def test_wide_characters_count_twice() -> None:
    assert width("ab") == 2
    assert width("你好") == 4
    assert all(width(s) <= 40 for s in sentences(timed(*"长" * 90), Limits(max_width=40)))


def test_text_without_times_gets_times_in_proportion() -> None:
    words = spread_words("ab cd, 你好。", 10.0, 19.0)
    assert [w.text for w in words] == ["ab", " cd,", " 你", "好。"]
    assert [w.end_s for w in words] == [11.8, 15.4, 17.2, 19.0]
    assert words[0].start_s == 10.0
    assert words[-1].end_s == 19.0
    assert all(a.end_s == b.start_s for a, b in pairwise(words))


def test_no_words_no_segments() -> None:
    assert group_words([]) == []
    assert spread_words("  ", 0.0, 1.0) == []


texts = st.lists(st.text(" ab1.,!?。，你好'\"", min_size=1, max_size=5), max_size=60)


@settings(max_examples=150, deadline=None)
@given(texts, st.floats(0.05, 3.0), st.integers(2, 60))
def test_grouping_loses_and_reorders_nothing(
    words: list[str], each_s: float, max_width: int
) -> None:
    spoken = timed(*words, each_s=each_s)
    limits = Limits(max_s=5.0, max_width=max_width)
    groups = group_words(spoken, limits)
    assert [word for group in groups for word in group] == spoken
    assert all(groups)
    for group in groups:
        assert len(group) == 1 or width(join_words(group)) <= max_width
        assert len(group) == 1 or group[-1].end_s - group[0].start_s <= limits.max_s


@settings(max_examples=100, deadline=None)
@given(st.text(" abc.,你好。", max_size=50))
def test_spreading_keeps_every_character(text: str) -> None:
    assert join_words(spread_words(text, 0.0, 5.0)).replace(" ", "") == text.replace(" ", "")
