"""Subtitle cues and their repair: order, overlaps, rolling captions, absurd times. Pure.

Times are seconds from the start of the recording; ranges are half open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

MAX_START_S = 100 * 3600.0
"""Cues beyond 100 hours are damage."""
_MAX_CUE_S = 300.0
_CHARS_PER_S = 12.0
_MIN_CUE_S, _GUESS_MAX_S = 1.0, 8.0
_TOUCHING_S = 0.25
_MOST_JOINED_CHARS = 1000
"""More text at one instant is damage."""
_ROLLING_SHARE = 0.3
_ROLLING_LEAST = 3


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption with its time."""

    start_s: float
    end_s: float
    text: str
    """One line of plain text once repaired; lines are kept until then."""
    speaker: str | None = None


def repair(cues: Iterable[Cue]) -> tuple[tuple[Cue, ...], list[str]]:
    """Cues in order without overlaps, repeats and damage; and what was wrong, as code words.

    Problems: `absurd_times` (cues dropped), `missing_end` (ends estimated), `overlaps` (ends cut
    or cues joined), `rolling_captions` (repeated lines removed). Empty cues are dropped silently.
    """
    problems: list[str] = []
    kept = _drop_absurd([c for c in cues if c.text.strip()], problems)
    ordered = sorted(kept, key=lambda c: c.start_s)
    timed = _fix_ends(ordered, problems)
    rolled = _unroll(timed, problems)
    flat = [replace(c, text=_one_line(c.text)) for c in rolled]
    separate = _separate(flat, problems)
    return tuple(_rounded(c) for c in separate), problems


def _drop_absurd(cues: list[Cue], problems: list[str]) -> list[Cue]:
    sane = [
        c
        for c in cues
        if math.isfinite(c.start_s) and math.isfinite(c.end_s) and 0 <= c.start_s < MAX_START_S
    ]
    if len(sane) < len(cues):
        problems.append("absurd_times")
    return sane


def _fix_ends(cues: Sequence[Cue], problems: list[str]) -> list[Cue]:
    """An end that is missing, before the start or minutes away becomes an estimate."""
    out: list[Cue] = []
    for cue, later in zip(cues, _later_starts(cues), strict=True):
        if 0 < cue.end_s - cue.start_s <= _MAX_CUE_S:
            out.append(cue)
            continue
        guess = min(max(len(cue.text) / _CHARS_PER_S, _MIN_CUE_S), _GUESS_MAX_S)
        out.append(replace(cue, end_s=min(cue.start_s + guess, later)))
        if "missing_end" not in problems:
            problems.append("missing_end")
    return out


def _later_starts(cues: Sequence[Cue]) -> list[float]:
    """For each cue the start of the first one that begins later; infinite when there is none."""
    later = [math.inf] * len(cues)
    for i in range(len(cues) - 2, -1, -1):
        following = cues[i + 1].start_s
        later[i] = following if following > cues[i].start_s else later[i + 1]
    return later


# --- captions that scroll ----------------------------------------------------------------------


def _unroll(cues: list[Cue], problems: list[str]) -> list[Cue]:
    """Each line once, where captions repeat the line above (automatic captions of video sites)."""
    repeats = sum(_repeats(a, b) for a, b in pairwise(cues))
    if repeats < _ROLLING_LEAST or repeats < _ROLLING_SHARE * (len(cues) - 1):
        return _without_echoes(cues)
    problems.append("rolling_captions")
    out: list[Cue] = []
    shown: list[str] = []
    for cue in cues:
        lines = cue.text.split("\n")
        touching = bool(out) and cue.start_s - out[-1].end_s <= _TOUCHING_S
        new = _new_lines(shown, lines) if touching else lines
        if not new:
            out[-1] = replace(out[-1], end_s=max(out[-1].end_s, cue.end_s))
        elif touching and _grows(out[-1].text, new):
            out[-1] = replace(out[-1], text="\n".join(new), end_s=cue.end_s)
        else:
            out.append(replace(cue, text="\n".join(new)))
        shown = lines
    return out


def _repeats(before: Cue, after: Cue) -> bool:
    if after.start_s - before.end_s > _TOUCHING_S:
        return False
    old, new = before.text.split("\n"), after.text.split("\n")
    return old[-1] == new[0] or new[0].startswith(old[-1] + " ")


def _new_lines(shown: Sequence[str], lines: list[str]) -> list[str]:
    """`lines` without the longest beginning that is the end of what was shown before."""
    for size in range(min(len(shown), len(lines)), 0, -1):
        if list(shown[-size:]) == lines[:size]:
            return lines[size:]
    return lines


def _grows(text: str, lines: Sequence[str]) -> bool:
    """The caption is being typed word by word: the new text begins with the old one."""
    return "\n".join(lines).startswith(text + " ")


def _without_echoes(cues: list[Cue]) -> list[Cue]:
    """The same caption shown twice without a break is one."""
    out: list[Cue] = []
    for cue in cues:
        same = out and out[-1].text == cue.text and out[-1].speaker == cue.speaker
        if same and cue.start_s - out[-1].end_s <= _TOUCHING_S:
            out[-1] = replace(out[-1], end_s=max(out[-1].end_s, cue.end_s))
        else:
            out.append(cue)
    return out


# --- overlaps ----------------------------------------------------------------------------------


def _separate(cues: list[Cue], problems: list[str]) -> list[Cue]:
    """No cue lasts into the next; cues that start together become one."""
    out: list[Cue] = []
    for cue in cues:
        if out and cue.start_s < out[-1].end_s:
            if "overlaps" not in problems:
                problems.append("overlaps")
            if cue.start_s - out[-1].start_s < _TOUCHING_S:
                out[-1] = _joined(out[-1], cue)
                continue
            out[-1] = replace(out[-1], end_s=cue.start_s)
        out.append(cue)
    return out


def _joined(a: Cue, b: Cue) -> Cue:
    if len(a.text) > _MOST_JOINED_CHARS:
        return a
    text = a.text if b.text in a.text else b.text if a.text in b.text else f"{a.text} {b.text}"
    speaker = a.speaker if a.speaker == b.speaker else None
    return Cue(a.start_s, max(a.end_s, b.end_s), text, speaker)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _rounded(cue: Cue) -> Cue:
    return replace(cue, start_s=round(cue.start_s, 3), end_s=round(cue.end_s, 3))
