"""Listen again to a chunk whose text is in doubt, in safer ways, and keep the best answer.

Truth: the same samples, model and present text give the same choice (`media.text_measure`). The
present text stays unless another is clearly better.
Safer ways: shorter pieces, cut at pauses, so that a mistake cannot spread and little is skipped;
and, where a piece sounds like another language than the recording, that language.
Never: temperature above 0, text of other chunks, downloads.
Raises: as `media.asr`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from gs_video_report.media.audio import SAMPLE_RATE
from gs_video_report.media.speech.asr import (
    AsrParams,
    ChunkText,
    HeardPart,
    hear,
    load_samples,
    make_text,
)
from gs_video_report.media.speech.sentences import SpokenWord
from gs_video_report.media.speech.text_measure import Measure, choose, measure
from gs_video_report.media.speech.vad import VadParams, merge_spans, probabilities_of, speech_spans
from gs_video_report.media.speech.whisper import Heard, language_odds, load_model
from gs_video_report.progress import report

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

_CUTS = 2
"""How often a piece may be cut again where speech in it has no words."""


@dataclass(frozen=True, slots=True)
class RelistenParams:
    """Settings of the second hearing; part of the key under which its outcome is stored."""

    piece_s: float = 8.0
    """Longest piece, if there is a pause to cut at."""
    threshold: float = 0.4
    """Speech probability from which sound belongs to a piece: stricter than the plan's."""
    min_silence_ms: int = 200
    pad_ms: int = 250
    merge_gap_s: float = 0.5
    min_piece_s: float = 2.0
    language_sure: float = 0.6
    """Probability from which a piece is taken to be in another language."""
    better_by: float = 0.1
    """By how much `Measure.cost` must fall for the present text to be replaced."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to hear the chunk, and how good it is."""

    way: str
    """`present`; `pieces`; `language`: pieces, each in its own; `nothing`: no words at all."""
    languages: tuple[str, ...]
    measure: Measure
    cost: float
    text: str


@dataclass(frozen=True, slots=True)
class Rehearing:
    """What became of one chunk."""

    kept: ChunkText | None
    """The better text; None when the present one stays."""
    way: str
    """Of the text that is kept."""
    attempts: tuple[Attempt, ...]
    """The present text first."""


def relisten_chunk(
    model_dir: str,
    pcm_path: str,
    start: int,
    end: int,
    language: str,
    present: dict[str, Any],
    only_language: bool = False,
    params: RelistenParams | None = None,
    *,
    foreign: bool = False,
) -> Rehearing:
    """Hear samples [start, end) of a raw s16le 16 kHz mono file again; decide which text to keep.

    Args:
        language: the recording's (ISO 639-1); pieces may turn out to be in another one.
        present: the text there is, `ChunkText` as a dict.
        only_language: nothing but the language is in doubt: if it is the recording's, nothing is
            transcribed.
        foreign: the present text is not of this recogniser: even a chunk that cannot be cut is
            heard.

    Progress: attempts.
    """
    params = params or RelistenParams()
    samples = load_samples(pcm_path, start, end)
    chunk = _Chunk(model_dir, samples, language, probabilities_of(samples), params)
    texts: list[ChunkText | None] = [None]
    attempts = [_attempt("present", (language,), present, start, chunk.probabilities)]
    for way, parts in chunk.ways(only_language, foreign):
        text = make_text(parts, start, end, language)
        languages = tuple(sorted({part.language or language for part in parts}))
        attempts.append(_attempt(way, languages, asdict(text), start, chunk.probabilities))
        texts.append(text)
        report(float(len(texts)), 0.0)
    best = choose([a.measure for a in attempts], params.better_by)
    return Rehearing(texts[best], attempts[best].way, tuple(attempts))


def _attempt(
    way: str, languages: tuple[str, ...], text: dict[str, Any], start: int, speech: list[float]
) -> Attempt:
    at_s = start / SAMPLE_RATE
    words = [
        SpokenWord(w["start_s"] - at_s, w["end_s"] - at_s, w["text"])
        for segment in text["segments"]
        for w in segment["words"]
    ]
    passages = [(s["text"], s["avg_logprob"]) for s in text["segments"]]
    found = measure(words, passages, speech)
    return Attempt(way, languages, found, found.cost, text["text"])


@dataclass(frozen=True, slots=True)
class _Chunk:
    model_dir: str
    samples: Samples
    language: str
    probabilities: list[float]
    params: RelistenParams

    def ways(
        self, only_language: bool, foreign: bool = False
    ) -> Iterator[tuple[str, list[HeardPart]]]:
        """The safer ways that differ from the present one, each with what is heard."""
        pieces = self._pieces()
        if not pieces and only_language:
            return
        if not pieces:
            yield "nothing", [HeardPart(0.0, Heard("", (), 0.0, 1.0, 0.0), 0.0)]
            return
        is_cut = len(pieces) > 1 or pieces[0] != (0, len(self.samples))
        if not only_language and (is_cut or foreign):
            yield "pieces", self._hear(pieces, [self.language] * len(pieces))
        languages = [self._language(*piece) for piece in pieces]
        if set(languages) != {self.language}:
            yield "language", self._hear(pieces, languages)

    def _pieces(self) -> list[tuple[int, int]]:
        params = self.params
        cutting = VadParams(
            threshold=params.threshold,
            min_silence_ms=params.min_silence_ms,
            pad_ms=params.pad_ms,
            max_chunk_s=params.piece_s,
            merge_gap_s=params.merge_gap_s,
            min_chunk_s=params.min_piece_s,
        )
        spans = speech_spans(self.probabilities, len(self.samples), cutting)
        return merge_spans(spans, cutting)

    def _hear(self, pieces: list[tuple[int, int]], languages: list[str]) -> list[HeardPart]:
        parts: list[HeardPart] = []
        for (start, end), language in zip(pieces, languages, strict=True):
            heard = hear(self.model_dir, self.samples[start:end], language, AsrParams(), _CUTS)
            own = "" if language == self.language else language
            at_s = start / SAMPLE_RATE
            parts += [replace(part, at_s=at_s + part.at_s, language=own) for part in heard]
        return parts

    def _language(self, start: int, end: int) -> str:
        """What the piece is spoken in: the recording's language unless another is likely."""
        model = load_model(self.model_dir)
        if not model.model.is_multilingual:
            return self.language
        code, probability = language_odds(self.model_dir, self.samples[start:end])[0]
        return code if probability >= self.params.language_sure else self.language
