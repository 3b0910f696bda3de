"""Ask a local Whisper model for the text of one window, without any randomness.

Truth: temperature is always 0; a text that loops is asked for again with firmer settings in a
fixed order. One thread. The model stays loaded in its process.
Never: downloads, passes on text of other windows.
Sources: SYSTRAN/faster-whisper 1.2.1; the compression test for loops is that of openai/whisper.
Raises: DependencyMissing, ModelMissing.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_video_report.errors import DependencyMissing, ModelMissing
from gs_video_report.media.audio import SAMPLE_RATE
from gs_video_report.media.speech.doubt import Evidence
from gs_video_report.media.speech.encoder import ROOM_S, WINDOW_FRAMES, Encoder, room_of
from gs_video_report.media.speech.sentences import SpokenWord, spread_words
from gs_video_report.progress import report

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

HEARD_S = 30
"""What Whisper hears at once."""

PROMPTS = {"zh": "以下是普通话的句子。"}
"""Language -> text that the model takes as said before. Chinese: gives Simplified characters."""

_FIRM: tuple[dict[str, Any], ...] = (
    {},
    {"no_repeat_ngram_size": 4},
    {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2},
)


@dataclass(frozen=True, slots=True)
class AsrParams:
    """Settings of recognition; part of the key under which texts are stored."""

    beam_size: int = 5
    word_times: bool = True
    """False: times of words are spread over the chunk by length, and speech that the model left
    out cannot be found and asked for again; saves about a tenth of the CPU."""
    loop_ratio: float = 2.4
    """Text that shrinks more than this when compressed repeats itself."""
    room_s: int = ROOM_S
    """Silence that the encoder is given after the sound, seconds."""
    other_language: float = 0.95
    """Probability from which a chunk is taken to be in another language than the recording, if
    that is to be looked for. Whisper would translate it, fluently and surely."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer of the model; word times are in seconds from the start of the samples."""

    text: str
    words: tuple[SpokenWord, ...]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    retries: int = 0

    def evidence(self, language: str) -> Evidence:
        """What `is_doubtful()` wants to know."""
        prompt = PROMPTS.get(language, "")
        return Evidence(self.text, self.avg_logprob, self.no_speech_prob, prompt)


def recognise(model_dir: str, samples: Samples, language: str, params: AsrParams) -> Heard:
    """The text of at most 30 s of samples (16 kHz, -1..1).

    Climbs the ladder of firmer settings until the text does not loop; if it always does, the
    answer that loops least is returned.
    """
    model = load_model(model_dir)
    model.encode.room_s = params.room_s
    tries: list[Heard] = []
    for step, firm in enumerate(_FIRM):
        tries.append(_ask(model, samples, language, params, firm, step))
        if tries[-1].compression_ratio <= params.loop_ratio:
            return tries[-1]
    best = min(tries, key=lambda heard: heard.compression_ratio)
    return replace(best, retries=len(tries) - 1)


def language_odds(model_dir: str, samples: Samples) -> tuple[tuple[str, float], ...]:
    """(ISO 639-1 code, probability) of at most 30 s of samples, the likeliest first.

    Only for models that know several languages. The window is the same as that of a recording
    of just these samples, which then need not be encoded again for their text.
    """
    from faster_whisper.audio import pad_or_trim

    model = load_model(model_dir)
    model.encode.room_s = room_of(len(samples) / SAMPLE_RATE)
    features = model.feature_extractor(samples)
    frames = min(WINDOW_FRAMES, features.shape[-1] - 1)  # the last frame is half empty
    odds = model.model.detect_language(model.encode(pad_or_trim(features[..., :frames])))[0]
    return tuple((token.strip("<|>"), float(probability)) for token, probability in odds)


def _ask(
    model: Any,
    samples: Samples,
    language: str,
    params: AsrParams,
    firm: dict[str, Any],
    step: int,
) -> Heard:
    segments, _ = model.transcribe(
        samples,
        language=language if model.model.is_multilingual else "en",
        beam_size=params.beam_size,
        temperature=0.0,
        without_timestamps=True,
        word_timestamps=params.word_times,
        condition_on_previous_text=False,
        vad_filter=False,
        no_speech_threshold=None,
        log_prob_threshold=None,
        compression_ratio_threshold=None,
        initial_prompt=PROMPTS.get(language),
        **firm,
    )
    # Without time stamps the first segment is the whole window. Asking for more would make
    # faster-whisper listen again to the silence after the last word, and invent text for it.
    found = next(islice(segments, 1), None)
    if found is None:
        return Heard("", (), 0.0, 1.0, 0.0, step)
    text = found.text.strip()
    words = tuple(SpokenWord(float(w.start), float(w.end), w.word) for w in found.words or ())
    if not words:
        words = tuple(spread_words(text, 0.0, len(samples) / SAMPLE_RATE))
    return Heard(
        text=text,
        words=words,
        avg_logprob=float(found.avg_logprob),
        no_speech_prob=float(found.no_speech_prob),
        compression_ratio=float(found.compression_ratio),
        retries=step,
    )


@lru_cache(maxsize=1)
def load_model(model_dir: str) -> Any:
    """The faster-whisper model of a folder, kept for the next call."""
    try:
        from faster_whisper import WhisperModel
    except ImportError as error:
        raise DependencyMissing(
            "speech recognition needs faster-whisper, which is not installed",
            hint="pip install 'gs-video-report[local]'",
        ) from error
    for name in ("model.bin", "tokenizer.json"):  # without the latter it would be downloaded
        if not (Path(model_dir) / name).is_file():
            raise ModelMissing(f"{model_dir}: not a speech model folder, {name} is missing")
    report(0.0, 0.0)
    model = WhisperModel(model_dir, device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)
    model.encode = Encoder(model.encode)
    report(0.0, 0.0)
    return model


@lru_cache(maxsize=1)
def cpu_hash() -> str:
    """Eight digits that stand for the processor's instruction sets."""
    flags = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        named = [line for line in lines if line.startswith(("flags", "Features"))]
        flags += " ".join(sorted(named[0].split(":", 1)[1].split())) if named else ""
    except OSError:
        flags += platform.processor()
    return hashlib.sha256(flags.encode()).hexdigest()[:8]
