"""Which reports deserve a look, and where: signs of bad recognition, as findings with a place.

Truth: the report alone (plus, for the pace, the other reports of the batch). Nothing is known of
what was really said, so a finding is a doubt with a figure and not a verdict. A check whose
evidence the report lacks (an older report, another engine) is listed as unknown, never as passed.
Pure. Times are seconds from the start of the recording.
Sources: modified z-score, Iglewicz and Hoaglin 1993; log-probability limit of openai/whisper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median
from typing import Any, NamedTuple

from gs_video_report.report import quality_speech as speech
from gs_video_report.report.model import VideoReport
from gs_video_report.report.quality_speech import Spans, total_s

PACE_REPORTS = 5
"""Reports in the same language that a batch needs before it has a usual pace."""
PACE_MIN_S = 15.0
"""Shorter recordings have no pace worth comparing."""
PACE_Z = 3.5
"""Modified z-score from which a value is an outlier (Iglewicz and Hoaglin 1993)."""
_MAD_TO_SIGMA = 0.6745
_LEAST_SPREAD = 0.1
"""Spread of log(characters per minute) below which a batch is taken as this uneven all the same:
between two lecturers of one course 10 % are nothing."""


WHOLE = (0.0, math.inf)
"""The span of a doubt about the whole recording."""


class Kind(StrEnum):
    """What a finding is about."""

    LOOP = "loop"
    MISSING_TEXT = "missing_text"
    TEXT_WITHOUT_SPEECH = "text_without_speech"
    LANGUAGE_FLIP = "language_flip"
    LANGUAGE_GUESS = "language_guess"
    UNSURE = "unsure"
    PACE = "pace"
    UNREADABLE_SLIDES = "unreadable_slides"
    UNPROVED = "unproved"


REDONE = frozenset(Kind) - {Kind.PACE, Kind.UNREADABLE_SLIDES, Kind.UNPROVED}
"""Findings that listening again may mend."""

# Kind -> (most that it can take from the score, share of the recording at which it nearly does).
_SEVERITY: dict[Kind, tuple[float, float]] = {
    Kind.LOOP: (0.9, 0.10),
    Kind.MISSING_TEXT: (0.9, 0.25),
    Kind.TEXT_WITHOUT_SPEECH: (0.4, 0.40),
    Kind.LANGUAGE_FLIP: (0.3, 0.25),
    Kind.LANGUAGE_GUESS: (0.6, 0.60),
    Kind.UNSURE: (0.6, 0.50),
    Kind.PACE: (0.5, 1.0),
    Kind.UNREADABLE_SLIDES: (0.25, 0.60),
    Kind.UNPROVED: (0.4, 0.60),
}
_FLOOR = 0.02
"""Even the smallest finding shows in the score."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One doubt about a report."""

    kind: Kind
    spans: Spans
    """Where, [start_s, end_s) in order; a slide or statement without length is [t, t]. Empty: the
    whole recording."""
    figure: float
    unit: str
    """Of `figure`: `times`, `s`, `%`, `slides`, `statements`, `characters/min`."""
    weight: float
    """0 to 1: the share of the score that it takes."""
    reason: str
    """One plain sentence without a full stop, in English."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much text a recording has for its time."""

    group: str
    """Only recordings of one group are compared: the language."""
    chars_per_min: float


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known about the quality of one report."""

    findings: tuple[Finding, ...] = ()
    """Heaviest first."""
    unknown: tuple[Kind, ...] = ()
    """Checks for which the report has no evidence."""
    pace: Pace | None = None
    engine: str = ""
    asr_model: str = ""
    transcript_source: str = ""
    """See `Provenance.transcript_source`."""
    heard_again: Spans = ()
    """Stretches that had a second hearing; a doubt about them is settled, whatever came of it."""

    @property
    def score(self) -> float:
        """100 when nothing was found, towards 0 the worse; each finding takes its share."""
        return round(100 * math.prod(1 - f.weight for f in self.findings), 1)

    @property
    def doubts(self) -> tuple[Finding, ...]:
        """Findings that listening again may mend."""
        return tuple(f for f in self.findings if f.kind in REDONE)

    @property
    def open_doubts(self) -> Spans:
        """Their places that had no second hearing yet."""
        spans = [span for f in self.doubts for span in f.spans or [WHOLE]]
        return tuple(sorted(span for span in spans if not self.is_settled(*span)))

    def is_settled(self, start_s: float, end_s: float) -> bool:
        """Any of it was heard again."""
        return any(a < end_s and start_s < b for a, b in self.heard_again)


def assess(report: VideoReport) -> Quality:
    """Everything that can be said from one report alone; `compare` adds the pace."""
    unknown: list[Kind] = []
    findings = [_loop(report), _flip(report), _guess(report), _unproved(report)]
    if report.speech is None:
        unknown += [Kind.MISSING_TEXT, Kind.TEXT_WITHOUT_SPEECH] if _may_speak(report) else []
    else:
        findings += [_missing(report, report.speech), _invented(report, report.speech)]
    if any(s.confidence is not None for s in report.segments):
        findings.append(_unsure(report))
    elif report.segments:
        unknown.append(Kind.UNSURE)
    slides = [s for s in report.slides if s.kind != "camera"]
    if any(s.unread_lines is not None for s in slides):
        findings.append(_unreadable(report))
    elif slides:
        unknown.append(Kind.UNREADABLE_SLIDES)
    made = report.provenance
    return Quality(
        findings=_ordered(f for f in findings if f is not None),
        unknown=tuple(unknown),
        pace=_pace(report),
        engine=made.engine,
        asr_model=made.asr_model,
        transcript_source=made.transcript_source,
        heard_again=tuple((s["start_s"], s["end_s"]) for s in _heard_again(report)),
    )


def compare(found: Mapping[str, Quality]) -> dict[str, Quality]:
    """The same with the pace judged against the median of all in the same language.

    The value is the logarithm of characters per minute, its modified z-score
    (0.6745 * distance / median absolute deviation) decides. A language with fewer than
    `PACE_REPORTS` reports has no usual pace: unknown.
    """
    groups: dict[str, list[float]] = {}
    for quality in found.values():
        if quality.pace is not None:
            groups.setdefault(quality.pace.group, []).append(quality.pace.chars_per_min)
    usual = {group: _usual_pace(values) for group, values in groups.items()}
    return {ref: _with_pace(quality, usual) for ref, quality in found.items()}


def worst_first(found: Mapping[str, Quality]) -> list[tuple[str, Quality]]:
    """(ref, quality), lowest score first; equal ones in the given order."""
    return sorted(found.items(), key=lambda item: item[1].score)


def weight_of(kind: Kind, share: float) -> float:
    """What a finding takes from the score when `share` (0 to 1) of the recording is affected.

    Grows with the share, steep at first, towards the kind's own limit.
    """
    most, nearly = _SEVERITY[kind]
    taken = most * (1 - math.exp(-3 * max(0.0, share) / nearly))
    return round(max(_FLOOR, taken), 4)


# --- what was said ------------------------------------------------------------------------------


def _loop(report: VideoReport) -> Finding | None:
    loops = speech.loops(report.segments)
    if not loops:
        return None
    spans = tuple((loop.start_s, loop.end_s) for loop in loops)
    worst = max(loops, key=lambda loop: loop.end_s - loop.start_s)
    times = math.floor(max(loop.repeats for loop in loops))
    reason = f"the text repeats itself: {worst.text!r} {math.floor(worst.repeats)} times"
    return _of(Kind.LOOP, spans, times, "times", _share(report, spans), reason)


def _missing(report: VideoReport, heard: Spans) -> Finding | None:
    spans = speech.missing_text(report.segments, heard)
    if not spans:
        return None
    seconds, share = total_s(spans), total_s(spans) / max(total_s(heard), 1e-9)
    reason = f"{seconds:.0f} s of speech have no text ({share:.0%} of the speech)"
    return _of(Kind.MISSING_TEXT, spans, seconds, "s", share, reason)


def _invented(report: VideoReport, heard: Spans) -> Finding | None:
    spans = speech.text_without_speech(report.segments, heard)
    if not spans:
        return None
    seconds = total_s(spans)
    reason = f"{seconds:.0f} s of text stand where no speech was heard"
    share = seconds / max(total_s(heard), seconds)
    return _of(Kind.TEXT_WITHOUT_SPEECH, spans, seconds, "s", share, reason)


def _flip(report: VideoReport) -> Finding | None:
    """Other languages, unless a second hearing heard the same one: then they were spoken."""
    known = [s for s in _heard_again(report) if len(s["languages"]) > 1]
    flips = [
        (a, b, language)
        for a, b, language in speech.language_flips(report.segments, report.language)
        if not any(
            s["start_s"] < b and a < s["end_s"] and language in s["languages"] for s in known
        )
    ]
    if not flips:
        return None
    spans = tuple((a, b) for a, b, _ in flips)
    others = ", ".join(sorted({language for _, _, language in flips}))
    seconds = total_s(spans)
    reason = f"{seconds:.0f} s of the text look like {others} in a recording in {report.language}"
    return _of(Kind.LANGUAGE_FLIP, spans, seconds, "s", _share(report, spans), reason)


def _guess(report: VideoReport) -> Finding | None:
    """A language that was guessed with little certainty, until a second hearing looked at it.

    Whisper translates what it takes for another language than it is, fluently and surely: of this
    the text itself shows nothing.
    """
    probability = report.language_probability
    if probability is None or probability >= speech.SURE_LANGUAGE or _heard_again(report):
        return None
    share = (speech.SURE_LANGUAGE - probability) / speech.SURE_LANGUAGE
    reason = (
        f"the language was guessed as {report.language} with {probability:.0%} certainty; "
        "parts may be in another one"
    )
    return _of(Kind.LANGUAGE_GUESS, (), 100 * probability, "%", share, reason)


def _unsure(report: VideoReport) -> Finding | None:
    spans = speech.unsure(report.segments)
    if not spans:
        return None
    seconds, share = total_s(spans), _share(report, spans)
    reason = f"the recogniser was not sure of {seconds:.0f} s ({share:.0%} of the text)"
    return _of(Kind.UNSURE, spans, seconds, "s", share, reason)


def _share(report: VideoReport, spans: Spans) -> float:
    """Share of the time that has text."""
    text_s = sum(s.end_s - s.start_s for s in report.segments)
    return min(1.0, total_s(spans) / max(text_s, 1e-9))


# --- what was shown and stated ------------------------------------------------------------------


def _unreadable(report: VideoReport) -> Finding | None:
    """Slides on which more lines of writing were given up than read."""
    slides = [s for s in report.slides if s.kind != "camera" and s.unread_lines is not None]
    bad = [s for s in slides if (s.unread_lines or 0) > max(1, len(s.text.splitlines()))]
    if not bad:
        return None
    spans = tuple((s.t_s, s.end_s) for s in bad)
    reason = f"most of the writing on {len(bad)} of {len(slides)} slides could not be read"
    share = len(bad) / len(slides)
    return _of(Kind.UNREADABLE_SLIDES, spans, len(bad), "slides", share, reason)


def _unproved(report: VideoReport) -> Finding | None:
    points = [*report.summary, *(item for s in report.sections for item in s.items)]
    checked = [p for p in points if p.proved is not None]
    bad = [p for p in checked if not p.proved]
    if not bad:
        return None
    spans = tuple(sorted((p.t_s, p.t_s) for p in bad if p.t_s is not None))
    reason = f"{len(bad)} of {len(checked)} statements have no quote that was found"
    share = len(bad) / len(checked)
    return _of(Kind.UNPROVED, spans, len(bad), "statements", share, reason)


# --- pace ---------------------------------------------------------------------------------------


def _pace(report: VideoReport) -> Pace | None:
    """Of the whole length: speech that nothing heard as such is found by this alone."""
    seconds = report.media.duration_s
    letters = sum(c.isalnum() for s in report.segments for c in s.text)
    if seconds < PACE_MIN_S or not report.language:
        return None
    return Pace(report.language, round(letters * 60 / seconds, 1))


class _Usual(NamedTuple):
    """Pace of the reports in one language, as logarithms of characters per minute."""

    middle: float
    spread: float


def _usual_pace(chars_per_min: Sequence[float]) -> _Usual | None:
    """None for too few reports."""
    if len(chars_per_min) < PACE_REPORTS:
        return None
    logs = [math.log(max(1.0, value)) for value in chars_per_min]
    middle = median(logs)
    return _Usual(middle, max(median(abs(x - middle) for x in logs), _LEAST_SPREAD))


def _with_pace(quality: Quality, usual: Mapping[str, _Usual | None]) -> Quality:
    pace = quality.pace
    if pace is None:
        return quality
    of_all = usual[pace.group]
    if of_all is None:
        return _replaced(quality, quality.findings, (*quality.unknown, Kind.PACE))
    middle, spread = of_all
    z = _MAD_TO_SIGMA * (math.log(max(1.0, pace.chars_per_min)) - middle) / spread
    if abs(z) <= PACE_Z:
        return quality
    reason = (
        f"{pace.chars_per_min:.0f} characters per minute, "
        f"the batch has a median of {math.exp(middle):.0f}"
    )
    share = (abs(z) - PACE_Z) / PACE_Z
    made = _of(Kind.PACE, (), pace.chars_per_min, "characters/min", share, reason)
    return _replaced(quality, (*quality.findings, made), quality.unknown)


def _replaced(quality: Quality, findings: Iterable[Finding], unknown: tuple[Kind, ...]) -> Quality:
    return replace(quality, findings=_ordered(findings), unknown=unknown)


def _of(kind: Kind, spans: Spans, figure: float, unit: str, share: float, reason: str) -> Finding:
    return Finding(kind, spans, round(float(figure), 1), unit, weight_of(kind, share), reason)


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    order = list(Kind)
    return tuple(sorted(findings, key=lambda f: (-f.weight, order.index(f.kind))))


def _may_speak(report: VideoReport) -> bool:
    return report.media.audio_tracks > 0 or bool(report.segments)


def _heard_again(report: VideoReport) -> list[dict[str, Any]]:
    """See `engines.second_hearing.told`; of reports without a second hearing nothing."""
    return list(report.provenance.parameters.get("heard_again", ()))
