"""Let Whisper's encoder hear the sound and a little silence, not its whole window of 30 s.

Truth: the cost of the encoder grows faster than its input, and most stretches of speech are much
shorter than 30 s; a window that ends `ROOM_S` after the sound gives texts as good as the whole one
(docs/benchmarks.md) for a half of the CPU time. The same samples always get the same window.
What was encoded last is kept, so a stretch that is asked for again is not encoded again.
Sources: the padding is that of SYSTRAN/faster-whisper 1.2.1 (zeros after the features); a shorter
audio context is an option of ggml-org/whisper.cpp (`--audio-ctx`) too.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Features = np.ndarray[Any, np.dtype[np.float32]]

FRAMES_PER_S = 100
"""Feature frames per second of sound."""
WINDOW_FRAMES = 3000
"""What the encoder was trained on; never exceeded."""
ROOM_S = 6
"""Silence that stays after the sound, seconds. With 2 s, sentences of two to four seconds were
lost or misheard."""
WHOLE_ROOM_S = 30
"""Room that gives the whole window."""
SHORT_S = 12
"""Less sound than this, with nothing around it, is heard in the whole window: songs and clips of
a few words were misheard or taken for another language with less."""
STEP_FRAMES = 250
"""Windows are multiples of this, so that a frame more or less of sound changes nothing."""
_KEPT = 4


class Encoder:
    """Takes the place of `WhisperModel.encode` of one loaded model.

    Args:
        encode: the method that it replaces: features (80 or 128 x frames) -> encoder output.

    Attributes:
        room_s: silence that stays after the sound, seconds.
    """

    def __init__(self, encode: Callable[[Features], Any]) -> None:
        self.room_s = ROOM_S
        self._encode = encode
        self._kept: OrderedDict[bytes, Any] = OrderedDict()

    def __call__(self, features: Features) -> Any:
        """The encoder's output for features that end in zeros, which are mostly cut off."""
        features = features[..., : window_frames(sound_frames(features), self.room_s)]
        key = hashlib.sha256(repr(features.shape).encode() + features.tobytes()).digest()
        if key not in self._kept:
            self._kept[key] = self._encode(features)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def room_of(sound_s: float) -> int:
    """Seconds of room for sound that stands alone: a short clip, or a sample of the language."""
    return WHOLE_ROOM_S if sound_s < SHORT_S else ROOM_S


def sound_frames(features: Features) -> int:
    """Frames before the zeros at the end; 0 for nothing but zeros."""
    import numpy as np

    filled = np.flatnonzero(features.any(axis=tuple(range(features.ndim - 1))))
    return int(filled[-1]) + 1 if len(filled) else 0


def window_frames(sound: int, room_s: float = ROOM_S) -> int:
    """How many frames the encoder is given for `sound` frames of sound."""
    wanted = sound + round(room_s * FRAMES_PER_S)
    return min(WINDOW_FRAMES, -(-wanted // STEP_FRAMES) * STEP_FRAMES)
