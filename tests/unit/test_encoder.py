"""What Whisper's encoder is given of a window, and what it is not asked twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gs_video_report.media.speech.encoder import (
    FRAMES_PER_S,
    STEP_FRAMES,
    WINDOW_FRAMES,
    Encoder,
    room_of,
    sound_frames,
    window_frames,
)


class Model:
    """Counts what it is asked for; the answer is the length of the window."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def encode(self, features: np.ndarray) -> int:
        self.asked.append(features.shape[-1])
        return features.shape[-1]


def window(sound: int, seed: int = 1) -> np.ndarray:
    """A window of 30 s, `sound` frames of which hold something."""
    features = np.zeros((80, WINDOW_FRAMES), dtype=np.float32)
    features[:, :sound] = np.random.default_rng(seed).normal(size=(80, sound)) + 10
    return features


@given(st.integers(0, WINDOW_FRAMES), st.floats(0, 60))
def test_window_holds_the_sound_and_the_room_and_never_more_than_the_model_knows(
    sound: int, room_s: float
) -> None:
    frames = window_frames(sound, room_s)
    assert frames <= WINDOW_FRAMES
    assert frames >= min(WINDOW_FRAMES, sound + round(room_s * FRAMES_PER_S))
    assert frames % STEP_FRAMES == 0


@given(st.integers(0, WINDOW_FRAMES - 1))
def test_zeros_at_the_end_are_no_sound(sound: int) -> None:
    assert sound_frames(window(sound)) == sound
    assert sound_frames(window(sound)[np.newaxis]) == sound


def test_stretch_is_encoded_short_and_a_clip_of_a_few_words_in_the_whole_window() -> None:
    model = Model()
    encoder = Encoder(model.encode)
    assert encoder(window(400)) == 1000
    assert encoder(window(2900)) == WINDOW_FRAMES
    encoder.room_s = room_of(4.0)
    assert encoder(window(400)) == WINDOW_FRAMES
    encoder.room_s = room_of(20.0)
    assert encoder(window(400)) == 1000


def test_same_sound_is_encoded_once_and_few_answers_are_kept() -> None:
    model = Model()
    encoder = Encoder(model.encode)
    for _ in range(3):
        encoder(window(400, seed=1))
    assert model.asked == [1000]
    for seed in range(2, 7):
        encoder(window(400, seed))
    encoder(window(400, seed=1))
    assert len(model.asked) == 7
    assert len(encoder._kept) <= 4
