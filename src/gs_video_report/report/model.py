"""The report of one video. Its JSON is canonical; every renderer is a pure function of it.

Schema version: `SCHEMA_VERSION`; fields are only ever added within a version.
Times are seconds from the start of the recording, as floats rounded to milliseconds; ranges are
half open. Text is plain text, never markup: renderers escape it.
Run-time fields (they differ between two runs of the same work) are all in `Provenance.run`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its time."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech (or one subtitle cue)."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None
    words: tuple[Word, ...] = ()
    """Empty when the source has no word times."""
    confidence: float | None = None
    """Mean token log-probability (natural log, <= 0), None when unknown."""
    translation: str | None = None
    """Text in the template's language, when an engine made one."""


@dataclass(frozen=True, slots=True)
class Slide:
    """A key frame that stays on screen from t_s until the next one."""

    t_s: float
    end_s: float
    image: str
    """Path relative to the report file, POSIX: `lecture.assets/slide-001.jpg`."""
    width: int
    """Pixels, after rotation."""
    height: int
    text: str = ""
    """OCR text in reading order, lines separated by newlines."""
    title: str = ""
    """Likely heading of the slide."""
    kind: str = "slide"
    """`slide`, `build` (small local change of the slide before), `camera`."""
    image_sha256: str = ""
    """Key of the image in the artifact store."""
    unread_lines: int | None = None
    """Lines of writing that were seen but could not be read; None when nobody looked for them."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the recording; chapters follow each other without gaps."""

    start_s: float
    end_s: float
    title: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class SummaryPoint:
    """One statement about the video, with where it comes from."""

    text: str
    t_s: float | None = None
    """Time at which it is said or shown."""
    quote: str = ""
    """Words from transcript or slide that support it."""
    proved: bool | None = None
    """None: taken verbatim, or not checked. False: the quote was not found."""


@dataclass(frozen=True, slots=True)
class KeyTerm:
    """A word or phrase that characterises the recording."""

    term: str
    score: float
    count: int
    first_s: float | None = None
    """Where it first occurs."""


@dataclass(frozen=True, slots=True)
class Section:
    """A template-defined part of the report: heading and Markdown-free paragraphs or items."""

    key: str
    title: str
    paragraphs: tuple[str, ...] = ()
    items: tuple[SummaryPoint, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the recording is."""

    title: str
    file_name: str
    """Base name of the source, for people."""
    source: str
    """Path relative to the report file where possible, or URL; what a player opens."""
    duration_s: float
    size_bytes: int
    container: str = ""
    video_codec: str = ""
    audio_codec: str = ""
    width: int = 0
    """Pixels after rotation; 0 without video."""
    height: int = 0
    fps: float = 0.0
    audio_tracks: int = 0
    sha256: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    """Columns of the input list and tags of the container, as text."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the reader should know: damage, what was not done and how to get it."""

    code: str
    """`no_speech`, `no_video`, `no_audio`, `truncated`, `damaged_audio`, `several_audio_tracks`,
    `not_translated`, `not_done`, `low_confidence`, `homophones`, `subtitles_used`, ..."""
    message: str
    """One plain sentence, in English."""
    severity: str = "info"
    """`info` or `warning`."""
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """How the report came to be."""

    engine: str
    engine_version: str = ""
    asr_model: str = ""
    llm_model: str = ""
    template: str = ""
    template_version: str = ""
    tool_version: str = ""
    transcript_source: str = ""
    """`speech`, `sidecar:<name>`, `embedded:<n>`, `engine`, or `none`."""
    parameters: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, float] = field(default_factory=dict)
    """requests, tokens_in, tokens_out, usd: what the answers took when they were made. How much
    of it this run paid, and how much it took from the journal, is in `run`: `paid`, `reused`."""
    run: dict[str, Any] = field(default_factory=dict)
    """Run-time fields: finished_at (ISO-8601 UTC), stage_s (seconds per stage), cached steps."""


@dataclass(frozen=True, slots=True)
class VideoReport:
    """Everything known about one recording."""

    media: MediaInfo
    provenance: Provenance
    language: str = ""
    """ISO 639-1 code of the speech; empty when there is none."""
    language_probability: float | None = None
    segments: tuple[Segment, ...] = ()
    slides: tuple[Slide, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    summary: tuple[SummaryPoint, ...] = ()
    key_terms: tuple[KeyTerm, ...] = ()
    sections: tuple[Section, ...] = ()
    """Parts that the template asked for beyond the fixed ones."""
    notices: tuple[Notice, ...] = ()
    tags: tuple[str, ...] = ()
    speech: tuple[tuple[float, float], ...] | None = None
    """Where a voice was heard, [start_s, end_s) in order, found from the sound and not from the
    text; None when nobody listened for it (subtitles, remote recognition)."""
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able data, key order fixed by the fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Inverse of `to_dict`. Raises: ValueError when the schema version is newer."""
        version = int(value.get("schema_version", SCHEMA_VERSION))
        if version > SCHEMA_VERSION:
            raise ValueError(f"report schema {version} is newer than {SCHEMA_VERSION}")
        return cls(
            media=MediaInfo(**value["media"]),
            provenance=Provenance(**value["provenance"]),
            language=value.get("language", ""),
            language_probability=value.get("language_probability"),
            segments=tuple(_segment(s) for s in value.get("segments", ())),
            slides=tuple(Slide(**s) for s in value.get("slides", ())),
            chapters=tuple(Chapter(**c) for c in value.get("chapters", ())),
            summary=tuple(SummaryPoint(**p) for p in value.get("summary", ())),
            key_terms=tuple(KeyTerm(**k) for k in value.get("key_terms", ())),
            sections=tuple(_section(s) for s in value.get("sections", ())),
            notices=tuple(Notice(**n) for n in value.get("notices", ())),
            tags=tuple(value.get("tags", ())),
            speech=_spans(value.get("speech")),
            schema_version=version,
        )


def _spans(value: Any) -> tuple[tuple[float, float], ...] | None:
    return None if value is None else tuple((float(a), float(b)) for a, b in value)


def _segment(value: dict[str, Any]) -> Segment:
    words = tuple(Word(**w) for w in value.get("words", ()))
    return Segment(**{**value, "words": words})


def _section(value: dict[str, Any]) -> Section:
    items = tuple(SummaryPoint(**p) for p in value.get("items", ()))
    return Section(**{**value, "paragraphs": tuple(value.get("paragraphs", ())), "items": items})
