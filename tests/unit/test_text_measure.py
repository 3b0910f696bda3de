"""Between two texts of one chunk the better is chosen; a doubt alone replaces nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.media.speech.dropouts import WINDOW_S
from gs_video_report.media.speech.sentences import SpokenWord, spread_words
from gs_video_report.media.speech.text_measure import Measure, choose, loop_share, measure

TEXT = "we open the door and walk along the river until the sun goes down behind the hills"


def said(text: str, start_s: float, end_s: float, logprob: float = -0.3) -> Measure:
    """`text` spread over [start_s, end_s) of a chunk of 10 s in which 8 s are speech."""
    words = spread_words(text, start_s, end_s)
    speech = [0.9 if 1.0 <= i * WINDOW_S < 9.0 else 0.05 for i in range(round(10 / WINDOW_S))]
    return measure(words, [(text, logprob)] if text else [], speech)


def test_likelier_words_win_when_all_else_is_equal() -> None:
    poor, good = said(TEXT, 1.0, 9.0, -1.2), said(TEXT, 1.0, 9.0, -0.3)
    assert choose([poor, good], 0.1) == 1
    assert choose([good, poor], 0.1) == 0


def test_a_short_sure_text_does_not_win_over_the_whole_one() -> None:
    """The model is sure of the few words it gives; the rest of the speech has none."""
    whole, part = said(TEXT, 1.0, 9.0, -0.6), said("we open the door", 1.0, 3.0, -0.1)
    assert part.missed_s > 4.0
    assert choose([whole, part], 0.1) == 0
    assert choose([part, whole], 0.1) == 1


def test_a_loop_does_not_win_although_its_words_are_likely() -> None:
    looping = said("thank you very much " * 8, 1.0, 9.0, -0.05)
    assert looping.loop_share > 0.8
    assert choose([said(TEXT, 1.0, 9.0, -0.8), looping], 0.1) == 0


def test_doubtful_words_where_nobody_speaks_give_way_to_none_but_sure_words_stay() -> None:
    silence = [0.02] * round(10 / WINDOW_S)
    words = spread_words("thank you", 4.0, 5.0)
    nothing = measure([], [], silence)
    assert choose([measure(words, [("thank you", -0.9)], silence), nothing], 0.1) == 1
    assert choose([measure(words, [("thank you", -0.3)], silence), nothing], 0.1) == 0


def test_speech_is_never_given_up_for_silence() -> None:
    assert choose([said(TEXT, 1.0, 9.0, -2.5), said("", 0.0, 0.0)], 0.1) == 0


def test_equal_answers_keep_the_present_text() -> None:
    same = said(TEXT, 1.0, 9.0)
    assert choose([same, same, same], 0.1) == 0
    assert choose([same], 0.1) == 0


COSTS = st.lists(
    st.builds(
        Measure,
        st.floats(-3, 0),
        st.floats(0, 20),
        st.floats(0, 1),
        st.floats(0, 1),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=5,
)


@given(COSTS, st.floats(0.01, 1))
def test_what_is_chosen_is_the_present_text_or_clearly_better(
    measures: list[Measure], better_by: float
) -> None:
    best = measures[choose(measures, better_by)]
    assert best is measures[0] or measures[0].cost - best.cost >= better_by
    if best is not measures[0]:
        assert best.cost == min(m.cost for m in measures)
    # Idempotent: the chosen text, heard again in the same ways, stays.
    assert choose([best, *measures], better_by) == 0 or best is measures[0]


def test_loop_share_counts_what_repeats_without_its_first_time() -> None:
    assert loop_share("one two three " * 6) == 15 / 18
    assert loop_share(TEXT) == loop_share("") == 0.0


def test_words_at_the_edge_of_speech_are_not_invented() -> None:
    speech = [0.9 if i * WINDOW_S < 2.0 else 0.0 for i in range(round(6 / WINDOW_S))]
    edge, far = SpokenWord(2.2, 2.5, " yes"), SpokenWord(4.0, 4.4, " no")
    assert measure([edge], [("yes", -0.1)], speech).invented_share == 0.0
    assert measure([edge, far], [("yes no", -0.1)], speech).invented_share == 0.5
