"""Chapters, summary and key terms of a recording without a language model.

Pure and deterministic: the same transcript and slides give the same analysis. Nothing is
invented: every summary point quotes the transcript, every title is words of slides or speech.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gs_video_report.report.model import Chapter, KeyTerm, Segment, Slide, SummaryPoint
from gs_video_report.text.chapters import divide, from_container
from gs_video_report.text.document import Document, build_document
from gs_video_report.text.key_terms import extract_key_terms
from gs_video_report.text.language import guess_language
from gs_video_report.text.summary import best_line, rate_sentences, summarize
from gs_video_report.text.titles import sentences_between


@dataclass(frozen=True, slots=True)
class TextAnalysis:
    """What the words of a recording say about it."""

    chapters: tuple[Chapter, ...] = ()
    """Contiguous from 0 to the end; empty when there are neither words nor slide texts."""
    summary: tuple[SummaryPoint, ...] = ()
    """In time order."""
    key_terms: tuple[KeyTerm, ...] = ()
    """Best first."""


def analyze(
    segments: Sequence[Segment],
    slides: Sequence[Slide],
    language: str,
    duration_s: float,
    *,
    container_chapters: Iterable[Any] = (),
) -> TextAnalysis:
    """Analyse a transcript and the texts of its slides.

    Args:
        segments: speech or captions; may be empty.
        slides: key frames with their text; may be empty.
        language: ISO 639-1 code of the speech; "" has it guessed from the words.
        duration_s: length of the recording; 0 takes the end of the last segment or slide.
        container_chapters: marks of the file: `(start_s, end_s, title)`, or objects or mappings
            with `start_s` and `title`; they replace our own chapters when they are usable.

    Returns:
        Empty parts where there is nothing to say. Never raises for odd text.
    """
    language = language or guess_language(" ".join(s.text for s in segments))
    if not language:
        language = guess_language(" ".join(s.text for s in slides))
    document = build_document(segments, slides, language, duration_s)
    ratings = rate_sentences(document)
    chapters = from_container(container_chapters, document.duration_s) or divide(document)
    chapters = _with_summaries(document, ratings, chapters)
    return TextAnalysis(
        chapters, summarize(document, ratings, chapters), extract_key_terms(document)
    )


def _with_summaries(
    document: Document, ratings: Sequence[float], chapters: Sequence[Chapter]
) -> tuple[Chapter, ...]:
    return tuple(
        replace(
            c, summary=best_line(document, ratings, sentences_between(document, c.start_s, c.end_s))
        )
        for c in chapters
    )
