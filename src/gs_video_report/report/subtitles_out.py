"""SubRip and WebVTT from the segments of a report, and the chapter list that YouTube reads.

Rules: at most 2 lines of 42 columns (a Chinese character takes 2), 1 to 7 seconds, no two cues at
once, breaks after sentences, clauses or pauses where possible; every word exactly once, in order.
Times come from word times when their letters are those of the segment, else by text width.
Source of the figures: Netflix Timed Text Style Guide (general requirements, English, Chinese);
YouTube help "Video chapters".
Pure.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from gs_video_report.report.model import Chapter, Segment
from gs_video_report.report.timefmt import clock, srt_time, to_ms, vtt_time

MAX_COLUMNS = 42
MAX_LINES = 2
MIN_CUE_MS = 1000
MAX_CUE_MS = 7000
READING_COLUMNS_PER_S = 20
PAUSE_MS = 400
"""A silence between words that is worth a new cue."""
PUNCTUATION_BONUS = 25
"""Columns of unevenness between two lines that a break after punctuation is worth."""
LONG_PAUSE_MS = 2000
"""A silence through which no cue goes on."""

YOUTUBE_MIN_CHAPTERS = 3
YOUTUBE_MIN_CHAPTER_S = 10

_SENTENCE_END = tuple(".!?\u3002\uff01\uff1f\uff0e\uff61\u2026")
_CLAUSE_END = tuple(",;:\uff0c\uff1b\uff1a\u3001\uff64\u2014")
_CLOSING = frozenset(
    ".,!?;:%)]}\u201d\u2019\u2026\u3001\u3002\u3009\u300b\u300d\u300f\u3011\u3015\u30fb\u30fc"
    "\uff01\uff05\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d\uff5d\uff61\uff63\uff64"
)
_OPENING = frozenset("([{\u201c\u2018\u3008\u300a\u300c\u300e\u3010\u3014\uff08\uff3b\uff5b\uff62")
_TAG_LIKE = re.compile(r"<(?=[A-Za-z/!])")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class _Unit:
    """Text that is never broken: a word, or one Chinese character with its punctuation."""

    text: str
    spaced: bool
    """A space stands before it unless it starts a line."""
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class _Draft:
    units: tuple[_Unit, ...]
    start_ms: int
    end_ms: int
    speaker: str | None


def make_cues(segments: Iterable[Segment], *, translated: bool = False) -> list[Cue]:
    """Cues of all segments in time order. Segments without text give none.

    Args:
        translated: use the translation, where there is one, in place of the spoken words.
    """
    drafts: list[_Draft] = []
    for segment in sorted(segments, key=lambda s: s.start_s):
        drafts.extend(_draft(_chosen(segment, translated)))
    return _timed(_merged(drafts))


def to_srt(cues: Sequence[Cue]) -> str:
    """SubRip text; empty when there are no cues. `<`, `&` and `-->` cannot be taken for markup."""
    blocks = []
    for number, cue in enumerate(cues, 1):
        times = f"{srt_time(cue.start_ms)} --> {srt_time(cue.end_ms)}"
        lines = [_srt_escape(line) for line in cue.lines]
        if cue.speaker and _new_speaker(cues, number - 1):
            lines = _with_name(lines, _srt_escape(_one_line(cue.speaker)))
        blocks.append("\n".join((str(number), times, *lines)))
    return "\n\n".join(blocks) + ("\n" if blocks else "")


def to_vtt(cues: Sequence[Cue]) -> str:
    """WebVTT text with speakers as voice spans; a header alone when there are no cues."""
    blocks = ["WEBVTT"]
    for cue in cues:
        text = "\n".join(_vtt_escape(line) for line in cue.lines)
        if cue.speaker:
            text = f"<v {_vtt_escape(_one_line(cue.speaker))}>{text}"
        blocks.append(f"{vtt_time(cue.start_ms)} --> {vtt_time(cue.end_ms)}\n{text}")
    return "\n\n".join(blocks) + "\n"


def youtube_chapters(chapters: Sequence[Chapter], duration_s: float) -> str | None:
    """Lines to paste into a YouTube description, or None when YouTube would ignore the list.

    It wants the first at 0:00, at least 3, ascending, each at least 10 seconds long.
    """
    starts = [to_ms(c.start_s) // 1000 for c in chapters]
    if len(chapters) < YOUTUBE_MIN_CHAPTERS or starts[0] != 0:
        return None
    ends = [*starts[1:], int(duration_s)]
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    if min(lengths) < YOUTUBE_MIN_CHAPTER_S or not all(_one_line(c.title) for c in chapters):
        return None
    return "".join(
        f"{clock(s)} {_one_line(c.title)}\n" for s, c in zip(starts, chapters, strict=True)
    )


def columns(text: str) -> int:
    """Width on a terminal or screen: wide characters take 2, combining marks none."""
    return len(text) if text.isascii() else sum(map(_char_columns, text))


@lru_cache(maxsize=8192)
def _char_columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


# --- units -------------------------------------------------------------------------------------


def _chosen(segment: Segment, translated: bool) -> Segment:
    if translated and segment.translation:
        return replace(segment, text=segment.translation, words=())
    return segment


def _draft(segment: Segment) -> list[_Draft]:
    units = _units(segment)
    drafts = []
    while units:
        count = _cue_length(units)
        taken, units = units[:count], units[count:]
        start, end = taken[0].start_ms, max(u.end_ms for u in taken)
        drafts.append(_Draft(tuple(taken), start, end, segment.speaker))
    return drafts


def _units(segment: Segment) -> list[_Unit]:
    pieces = _pieces(segment.text)
    times = _times([text for text, _ in pieces], segment)
    return [
        _Unit(text, spaced, start, end)
        for (text, spaced), (start, end) in zip(pieces, times, strict=True)
    ]


def _pieces(text: str) -> list[tuple[str, bool]]:
    """(unbreakable text, space before) in order; everything but white space is kept."""
    visible = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    found: list[tuple[str, bool]] = []
    for word in visible.split():
        for position, piece in enumerate(_split_word(word)):
            found.extend(_fitting(piece, spaced=position == 0 and bool(found)))
    return found


def _split_word(word: str) -> list[str]:
    """Break a run without spaces around wide characters, keeping punctuation where it belongs."""
    parts: list[str] = []
    for char in word:
        if parts and (_glued(parts[-1], char)):
            parts[-1] += char
        else:
            parts.append(char)
    return parts


def _glued(before: str, char: str) -> bool:
    if _char_columns(char) == 0 or char in _CLOSING or before[-1] in _OPENING:
        return True
    return _char_columns(char) == 1 and _char_columns(before[-1]) == 1


def _fitting(piece: str, *, spaced: bool) -> list[tuple[str, bool]]:
    """The piece, cut where it is wider than a line (addresses, long runs of marks)."""
    out: list[tuple[str, bool]] = []
    current = ""
    for char in piece:
        if current and columns(current) + _char_columns(char) > MAX_COLUMNS:
            out.append((current, spaced and not out))
            current = ""
        current += char
    return [*out, (current, spaced and not out)]


def _times(pieces: Sequence[str], segment: Segment) -> list[tuple[int, int]]:
    """Start and end of each piece in milliseconds, never going back."""
    start, end = to_ms(segment.start_s), max(to_ms(segment.start_s), to_ms(segment.end_s))
    spoken = "".join("".join(w.text.split()) for w in segment.words)
    if segment.words and spoken == "".join(pieces):
        return _times_of_words(pieces, segment)
    total = sum(max(1, columns(p)) for p in pieces)
    out, done = [], 0
    for piece in pieces:
        first = done
        done += max(1, columns(piece))
        out.append((start + (end - start) * first // total, start + (end - start) * done // total))
    return out


def _times_of_words(pieces: Sequence[str], segment: Segment) -> list[tuple[int, int]]:
    """A piece starts with the word that has its first letter and ends with that of its last."""
    letters: list[tuple[int, int]] = []
    floor = 0
    for word in segment.words:
        floor = max(floor, to_ms(word.start_s))
        letters.extend([(floor, max(floor, to_ms(word.end_s)))] * len("".join(word.text.split())))
    out, position = [], 0
    for piece in pieces:
        first, last = letters[position], letters[position + len(piece) - 1]
        position += len(piece)
        out.append((first[0], max(first[0], last[1])))
    return out


# --- breaking ----------------------------------------------------------------------------------


def _cue_length(units: Sequence[_Unit]) -> int:
    """How many units the next cue takes: all that fit, back to the best break among them."""
    fit = 1
    while fit < len(units) and _fits(units[: fit + 1]):
        fit += 1
    if fit == len(units):
        return fit
    least = max(1, fit // 3)
    return max(range(least, fit + 1), key=lambda n: (_break_quality(units, n), n))


def _fits(units: Sequence[_Unit]) -> bool:
    if len(units) > 1 and units[-1].start_ms - units[-2].end_ms >= LONG_PAUSE_MS:
        return False
    return units[-1].end_ms - units[0].start_ms <= MAX_CUE_MS and _wrap(units) is not None


def _break_quality(units: Sequence[_Unit], count: int) -> int:
    """4 before a long pause, 3 after a sentence, 2 after a clause or before a pause, 1 elsewhere;
    0 when a single unit would be left alone."""
    last = units[count - 1].text
    pause = units[count].start_ms - units[count - 1].end_ms if count < len(units) else 0
    if pause >= LONG_PAUSE_MS:
        return 4
    if last.endswith(_SENTENCE_END):
        return 3
    if last.endswith(_CLAUSE_END) or pause >= PAUSE_MS:
        return 2
    return 1 if len(units) - count > 1 else 0


def _text(units: Sequence[_Unit]) -> str:
    return "".join(" " + u.text if u.spaced and i else u.text for i, u in enumerate(units))


def _wrap(units: Sequence[_Unit]) -> tuple[str, ...] | None:
    """One line, or the most even two; None when they do not fit."""
    whole = _text(units)
    width = columns(whole)
    if width <= MAX_COLUMNS:
        return (whole,)
    if width > MAX_LINES * MAX_COLUMNS + 1:
        return None
    best: tuple[int, tuple[str, str]] | None = None
    for cut in range(1, len(units)):
        lines = (_text(units[:cut]), _text(units[cut:]))
        upper, lower = columns(lines[0]), columns(lines[1])
        if max(upper, lower) > MAX_COLUMNS:
            continue
        bonus = PUNCTUATION_BONUS if lines[0].endswith(_SENTENCE_END + _CLAUSE_END) else 0
        cost = abs(upper - lower) - bonus
        if best is None or cost < best[0]:
            best = (cost, lines)
    return None if best is None else best[1]


# --- times -------------------------------------------------------------------------------------


def _merged(drafts: list[_Draft]) -> list[_Draft]:
    """Join a cue that is too short to read to the one after it, where that fits."""
    out: list[_Draft] = []
    for draft in drafts:
        joined = _joined(out[-1], draft) if out else None
        if joined is not None:
            out[-1] = joined
        else:
            out.append(draft)
    return out


def _joined(left: _Draft, right: _Draft) -> _Draft | None:
    short = min(left.end_ms - left.start_ms, right.end_ms - right.start_ms) < MIN_CUE_MS
    near = right.start_ms - left.end_ms < PAUSE_MS
    if left.speaker != right.speaker or not (short and near):
        return None
    first = replace(right.units[0], spaced=_needs_space(left.units[-1], right.units[0]))
    units = (*left.units, first, *right.units[1:])
    end = max(left.end_ms, right.end_ms)
    if end - left.start_ms > MAX_CUE_MS or _wrap(units) is None:
        return None
    return _Draft(units, left.start_ms, end, left.speaker)


def _needs_space(left: _Unit, right: _Unit) -> bool:
    return _char_columns(left.text[-1]) < 2 or _char_columns(right.text[0]) < 2


def _timed(drafts: Sequence[_Draft]) -> list[Cue]:
    """Keep order and the length limits; a cue may linger into silence so that it can be read."""
    cues: list[Cue] = []
    floor = 0
    for index, draft in enumerate(drafts):
        lines = _wrap(draft.units) or (_text(draft.units),)
        start = max(draft.start_ms, floor)
        limit = drafts[index + 1].start_ms if index + 1 < len(drafts) else start + MAX_CUE_MS
        reading = sum(map(columns, lines)) * 1000 // READING_COLUMNS_PER_S
        wanted = min(max(draft.end_ms, start + reading), limit)
        floor = min(max(wanted, start + MIN_CUE_MS), start + MAX_CUE_MS)
        cues.append(Cue(start, floor, lines, draft.speaker))
    return cues


# --- text --------------------------------------------------------------------------------------


def _new_speaker(cues: Sequence[Cue], index: int) -> bool:
    return index == 0 or cues[index - 1].speaker != cues[index].speaker


def _with_name(lines: list[str], name: str) -> list[str]:
    named = f"{name}: {lines[0]}"
    return [named, *lines[1:]] if columns(named) <= MAX_COLUMNS else lines


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _vtt_escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _srt_escape(text: str) -> str:
    """SubRip has no escapes of its own; players read a few tags and, mostly, entities.

    So `&` and `<` stay as they are in "Q&A" and "a < b", and become entities only where they
    would be read as markup.
    """
    if html.unescape(text) != text:
        text = text.replace("&", "&amp;")
    return _TAG_LIKE.sub("&lt;", text).replace("-->", "--&gt;").replace("{\\", "{ \\")
