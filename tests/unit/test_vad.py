"""The plan of chunks: nothing lost, nothing doubled, flat memory, always the same."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.errors import FileMissingError
from gs_video_report.media.audio import SAMPLE_RATE, extract_audio
from gs_video_report.media.speech import vad
from gs_video_report.media.speech.vad import (
    WINDOW,
    Chunk,
    SpeechPlan,
    VadParams,
    certain_speech,
    merge_spans,
    plan_speech,
    speech_probabilities,
    speech_spans,
    widen_chunks,
)
from tests.support.media_speech import read_pcm, real_media, write_pcm

PARAMS = VadParams()
SECOND = SAMPLE_RATE
PAD = SAMPLE_RATE * PARAMS.pad_ms // 1000


def activity(*parts: tuple[bool, float]) -> tuple[list[float], int]:
    """Probabilities and length of a recording that (speaks?, for seconds) ..."""
    windows = [0.9 if on else 0.01 for on, seconds in parts for _ in range(round(seconds / 0.032))]
    return windows, len(windows) * WINDOW


def test_silence_gives_no_chunks() -> None:
    assert speech_spans(*activity((False, 60)), PARAMS) == []


def test_speech_is_padded_on_both_sides() -> None:
    probabilities, total = activity((False, 3.2), (True, 3.2), (False, 3.2))
    (span,) = speech_spans(probabilities, total, PARAMS)
    assert span == (100 * WINDOW - PAD, 200 * WINDOW + PAD)


def test_neighbours_share_a_short_silence_without_overlap() -> None:
    probabilities, total = activity((True, 3.2), (False, 0.32), (True, 3.2))
    first, second = speech_spans(probabilities, total, PARAMS)
    assert first[1] == second[0]


def test_endless_speech_is_cut_at_the_last_short_pause() -> None:
    probabilities, total = activity((True, 16), (False, 0.32), (True, 16))
    params = VadParams(min_silence_ms=500)
    first, second = speech_spans(probabilities, total, params)
    assert first[1] == second[0]
    assert first[1] == pytest.approx(16.16 * SECOND, abs=0.1 * SECOND)
    assert second[1] == total


def test_endless_speech_is_cut_where_it_is_least_speech_like() -> None:
    probabilities, total = activity((True, 40))
    probabilities[700] = 0.4  # 22.4 s: above the threshold, so no pause
    first, second = speech_spans(probabilities, total, PARAMS)
    assert first == (0, 700 * WINDOW)
    assert second == (700 * WINDOW, total)


def test_endless_speech_without_any_pause_is_cut_all_the_same() -> None:
    spans = speech_spans(*activity((True, 100)), PARAMS)
    assert max(end - start for start, end in spans) <= 25 * SECOND
    assert spans[0][0] == 0
    assert spans[-1][1] == activity((True, 100))[1]


def test_short_pauses_are_merged_and_long_ones_are_not() -> None:
    spans = [(0, 4 * SECOND), (int(4.9 * SECOND), 8 * SECOND), (9 * SECOND, 14 * SECOND)]
    assert merge_spans(spans, PARAMS) == [(0, 8 * SECOND), (9 * SECOND, 14 * SECOND)]


def test_a_short_chunk_takes_in_its_neighbour_but_not_across_a_long_pause() -> None:
    spans = [(0, SECOND), (int(2.5 * SECOND), 6 * SECOND), (60 * SECOND, 61 * SECOND)]
    assert merge_spans(spans, PARAMS) == [(0, 6 * SECOND), (60 * SECOND, 61 * SECOND)]


def test_merging_stops_at_the_longest_chunk() -> None:
    spans = [(n * 10 * SECOND, (n + 1) * 10 * SECOND) for n in range(6)]
    assert merge_spans(spans, PARAMS) == [
        (0, 20 * SECOND),
        (20 * SECOND, 40 * SECOND),
        (40 * SECOND, 60 * SECOND),
    ]


def test_doubtful_sound_beside_a_chunk_is_taken_in() -> None:
    probabilities = [0.0] * 100 + [0.2] * 30 + [0.0] * 20 + [0.9] * 100 + [0.0] * 300
    total = len(probabilities) * WINDOW
    (chunk,) = widen_chunks([(150 * WINDOW, 250 * WINDOW)], probabilities, total, PARAMS)
    assert chunk == (100 * WINDOW, 250 * WINDOW)


def test_doubtful_sound_far_from_any_chunk_is_left_alone() -> None:
    probabilities = [0.2] * 30 + [0.0] * 100 + [0.9] * 100
    chunk = (130 * WINDOW, 230 * WINDOW)
    assert widen_chunks([chunk], probabilities, 230 * WINDOW, PARAMS) == [chunk]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.15, 0.9]), max_size=2_000))
def test_widened_chunks_contain_the_old_ones_and_stay_apart(values: list[float]) -> None:
    total = len(values) * WINDOW
    chunks = merge_spans(speech_spans(values, total, PARAMS), PARAMS)
    widened = widen_chunks(chunks, values, total, PARAMS)
    assert len(widened) == len(chunks)
    assert all(w[0] <= c[0] and c[1] <= w[1] for w, c in zip(widened, chunks, strict=True))
    assert all(a[1] <= b[0] for a, b in pairwise(widened))
    assert all(a >= 0 and b <= total and b - a <= 25 * SECOND for a, b in widened)


pieces = st.lists(
    st.tuples(st.booleans(), st.floats(0.04, 40.0, allow_nan=False)), min_size=1, max_size=25
)
settings_of_the_plan = st.builds(
    VadParams,
    threshold=st.sampled_from([0.1, 0.3, 0.6]),
    min_silence_ms=st.sampled_from([50, 160, 500]),
    pad_ms=st.sampled_from([0, 100, 400]),
    max_chunk_s=st.sampled_from([10.0, 25.0]),
)


@settings(max_examples=120, deadline=None)
@given(pieces, settings_of_the_plan, st.integers(0, WINDOW - 1))
def test_nothing_is_lost_or_doubled_whatever_is_said(
    parts: list[tuple[bool, float]], params: VadParams, cut: int
) -> None:
    probabilities, total = activity(*parts)
    total = max(1, total - cut)
    spans = speech_spans(probabilities, total, params)
    chunks = merge_spans(spans, params)
    assert all(0 <= start < end <= total for start, end in chunks)
    assert all(a[1] <= b[0] for a, b in pairwise(chunks))
    assert max((end - start for start, end in chunks), default=0) <= params.max_chunk_s * SECOND
    for start, end in spans:
        assert any(s <= start and end <= e for s, e in chunks)
    for index, probability in enumerate(probabilities):
        if probability > params.threshold:
            middle = min(index * WINDOW + WINDOW // 2, total - 1)
            assert any(start <= middle < end for start, end in chunks)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1, allow_nan=False), max_size=3_000))
def test_any_probabilities_give_disjoint_spans_inside_the_recording(values: list[float]) -> None:
    total = len(values) * WINDOW
    spans = speech_spans(values, total, PARAMS)
    assert all(0 <= start < end <= total for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_silence_and_tones_hold_no_speech(tmp_path: Path) -> None:
    t = np.arange(10 * SECOND) / SECOND
    for name, sound in {
        "silence": np.zeros(10 * SECOND),
        "hum": 0.5 * np.sin(2 * np.pi * 50 * t),
    }.items():
        assert plan_speech(str(write_pcm(tmp_path / name, sound))).chunks == (), name


def test_empty_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "empty.pcm").touch()
    assert plan_speech(str(tmp_path / "empty.pcm")).chunks == ()
    with pytest.raises(FileMissingError):
        plan_speech(str(tmp_path / "gone.pcm"))


def test_block_size_does_not_change_a_single_probability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's state is carried from block to block, so there are no borders."""
    rng = np.random.default_rng(5)
    sound = rng.normal(0, 0.1, 7 * SECOND) * (np.arange(7 * SECOND) % 9_000 < 4_000)
    path = str(write_pcm(tmp_path / "a.pcm", sound))
    whole = speech_probabilities(path)
    monkeypatch.setattr(vad, "_BLOCK_WINDOWS", 10)
    assert np.allclose(speech_probabilities(path), whole, atol=1e-5)
    assert len(whole) == -(-7 * SECOND // WINDOW)


@pytest.mark.media
@pytest.mark.parametrize("name", ["jfk.wav", "earnings22_1_4482311_3_62.wav", "friday.mp4"])
def test_spans_are_those_of_the_original_implementation(tmp_path: Path, name: str) -> None:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    path = tmp_path / "a.pcm"
    extract_audio(str(real_media(name)), str(path))
    samples = read_pcm(path).astype(np.float32) / 32768
    options = VadOptions(
        threshold=0.3, min_silence_duration_ms=160, speech_pad_ms=400, max_speech_duration_s=25
    )
    wanted = [(d["start"], d["end"]) for d in get_speech_timestamps(samples, options)]
    assert speech_spans(speech_probabilities(str(path)), len(samples), PARAMS) == wanted
    assert wanted


@pytest.mark.media
def test_plan_is_the_same_every_time(tmp_path: Path) -> None:
    path = tmp_path / "a.pcm"
    extract_audio(str(real_media("earnings22_1_4482311_3_62.wav")), str(path))
    plan = plan_speech(str(path)).chunks
    assert plan == plan_speech(str(path)).chunks
    assert [chunk.index for chunk in plan] == list(range(len(plan)))
    assert isinstance(plan[0], Chunk)


def test_certain_speech_is_narrower_than_the_plan_and_leaves_blips_out() -> None:
    """The plan takes in doubtful sound and margins; where text is expected is told without."""
    probabilities = [0.0] * 60 + [0.9] * 40 + [0.35] * 40 + [0.0] * 60 + [0.8] * 4 + [0.0] * 60
    total = len(probabilities) * WINDOW
    ((start_s, end_s),) = certain_speech(probabilities, total)
    assert start_s == pytest.approx(60 * WINDOW / SECOND)
    assert 100 * WINDOW / SECOND <= end_s <= 141 * WINDOW / SECOND
    plan = speech_spans(probabilities, total, PARAMS)
    assert plan[0][0] / SECOND < start_s
    assert plan[0][1] / SECOND > end_s


def test_certain_speech_stays_inside_the_recording() -> None:
    assert certain_speech([0.9] * 50, 50 * WINDOW - 300) == (
        (0.0, pytest.approx((50 * WINDOW - 300) / SECOND, abs=0.001)),
    )
    assert certain_speech([], 0) == ()


def test_an_empty_file_has_an_empty_plan(tmp_path: Path) -> None:
    (tmp_path / "empty.pcm").touch()
    assert plan_speech(str(tmp_path / "empty.pcm")) == SpeechPlan((), ())
