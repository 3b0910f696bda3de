"""Proofs: what was said or shown is found, everything else is not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.engines.llm.citations import (
    check_points,
    check_sections,
    count_proofs,
    sources,
)
from gs_video_report.report.model import Section, Segment, Slide, SummaryPoint
from tests.support.llm import sentences

LINES = [Segment(a, b, text) for a, b, text in sentences(40)]
ZH = [
    Segment(0, 4, "我們今天學習光合作用，"),
    Segment(4, 9, "它把陽光變成糖。"),
    Segment(300, 309, "葉綠素是綠色的 pigment。"),
]
SLIDES = [
    Slide(100, 160, "", 1, 1, text="Light reactions\ntake place in\nthe thylakoid", title="Part 2"),
    Slide(160, 200, "", 1, 1, text="E = mc²"),
]
KNOWN = sources(LINES, SLIDES)
KNOWN_ZH = sources(ZH)


def proved(quote: str, t_s: float | None = None, known: object = KNOWN) -> SummaryPoint:
    return check_points([SummaryPoint("x", t_s, quote)], known)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "quote",
    [
        "Plants turn light into sugar",
        "plants TURN light, into sugar!",
        "“Plants turn light into sugar”",
        "Plants\nturn  light",
        "Ｐｌａｎｔｓ turn light",
        "Plants turn ... sugar",
        "place in the thylakoid",
        "reactions take place",
        "Part 2: Light reactions",
        "the roots and rises to the leaves (2). Carbon dioxide",
    ],
)
def test_words_that_were_said_or_shown_are_found(quote: str) -> None:
    assert proved(quote).proved is True


@pytest.mark.parametrize(
    "quote",
    [
        "Plants turn sugar into light",
        "lants turn light",
        "Plants turn light into sug",
        "the",
        "",
        "...",
        "thylakoid E = mc²",
        "plants",
        "the thylakoid",
        "Plants ... sugar",
        "Plants turn ... into gold",
    ],
)
def test_words_that_were_not_are_not(quote: str) -> None:
    assert proved(quote).proved is False


@pytest.mark.parametrize(
    "quote",
    ["学习光合作用", "光合作用它把阳光", "它把陽光變成糖", "把阳光，变成糖", "是绿色的pigment"],
)
def test_chinese_quotes_match_whatever_script_and_marks(quote: str) -> None:
    assert proved(quote, known=KNOWN_ZH).proved is True


@pytest.mark.parametrize("quote", ["糖", "绿色", "光合作用", "pigment"])
def test_a_word_of_chinese_proves_nothing(quote: str) -> None:
    assert proved(quote, known=KNOWN_ZH).proved is False


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("광합성은 빛을 당으로 바꾼다", "광합성은"),
        ("การสังเคราะห์ด้วยแสงเปลี่ยนแสงเป็นน้ำตาล", "แสง"),
        ("Die Pflanze wandelt Licht in Zucker um", "Die Pflanze"),
        ("L'eau monte jusqu'aux feuilles de l'arbre", "L'eau monte"),
    ],
)
def test_a_sentence_is_a_proof_in_every_script_and_a_word_is_in_none(text: str, short: str) -> None:
    known = sources([Segment(0, 4, text)])
    assert proved(text, known=known).proved is True
    assert proved(short, known=known).proved is False


def test_time_near_the_words_stays() -> None:
    assert proved("The green pigment is called chlorophyll (1)", 18.0).t_s == 18.0


def test_time_far_from_the_words_is_put_right() -> None:
    point = proved("The green pigment is called chlorophyll (1)", 100.0)
    assert (point.proved, point.t_s) == (True, 5.0)


def test_of_several_places_the_one_nearest_to_the_claim_counts() -> None:
    assert proved("Plants turn light into sugar", 141.0).t_s == 120.0


def test_missing_time_is_filled_in() -> None:
    assert proved("reactions take place").t_s == 100


def test_unproved_statement_keeps_its_time() -> None:
    assert proved("never said by anybody", 42.0) == SummaryPoint(
        "x", 42.0, "never said by anybody", False
    )


def test_sections_are_checked_and_counted() -> None:
    items = (SummaryPoint("a", 0.0, "Plants turn light"), SummaryPoint("b", 0.0, "no such words"))
    (section,) = check_sections([Section("k", "K", items=items)], KNOWN)
    assert [p.proved for p in section.items] == [True, False]
    count = count_proofs(section.items, [SummaryPoint("unchecked")])
    assert (count.total, count.proved) == (2, 1)


@given(st.integers(0, 39), st.integers(1, 3), st.randoms(use_true_random=False))
@settings(max_examples=80)
def test_every_verbatim_stretch_is_proved_at_its_time(
    first: int, lines: int, rng: random.Random
) -> None:
    """Any run of words over line ends, in any case and with any marks between."""
    chosen = LINES[first : first + lines]
    words = " ".join(s.text for s in chosen).split()
    quote = rng.choice([" ", ", ", " – "]).join(words).upper()
    point = proved(quote, 1e6)
    assert point.proved is True
    assert point.t_s == chosen[0].start_s


@given(st.text(max_size=40))
@settings(max_examples=100)
def test_any_quote_is_judged(quote: str) -> None:
    assert proved(quote).proved in (True, False)


def test_long_recordings_are_searched_quickly() -> None:
    """Ten hours of speech and 300 statements: linear look-ups, no blow-up."""
    import time

    known = sources([Segment(a, b, t) for a, b, t in sentences(7200)])
    points = [SummaryPoint("x", 0.0, f"the plant breathes just like we do ({n * 8 + 5})")
              for n in range(300)]  # fmt: skip
    start = time.perf_counter()
    assert all(p.proved for p in check_points(points, known))
    assert time.perf_counter() - start < 5.0
