"""Join the lines of two neighbouring parts that were heard or written separately and overlap.

True here: only lines at the seam can be doubles (those that both parts can hold), each line is the
double of one line at most, and pairs never cross; of the pairings that obey this, the one with the
most equal words wins. So a speaker who says nearly the same thing every ten seconds loses nothing.
Everything that is no double stays; parts that do not overlap in time have no doubles.
Source of the pairing: Needleman and Wunsch 1970 (global alignment), with gaps for nothing.
Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from gs_video_report.report.model import Segment

SLACK_S = 4.0
"""How far a model's times are off, usually."""
OWN_SLACK_S = 1.0
"""The same where the seam itself is known from the lines' times."""
NEAR_S = 6.0
"""Doubles begin at most this far from each other."""
SAME_RATIO = 0.85
"""Share of equal characters from which two lines say the same (difflib's ratio)."""
_MIN_PREFIX = 8
_NUMBERS = re.compile(r"\d+")


def join_segments(first: Sequence[Segment], second: Sequence[Segment]) -> tuple[Segment, ...]:
    """Both in order of time, doubles once; the seam is where they overlap by their own times."""
    if not first or not second:
        return (*first, *second)
    seam_start_s = min(s.start_s for s in second)
    seam_end_s = max(s.end_s for s in first)
    if seam_start_s >= seam_end_s:
        return tuple(sorted([*first, *second], key=lambda s: s.start_s))
    return join_lines(first, second, seam_start_s, seam_end_s, OWN_SLACK_S)


def join_lines(
    first: Sequence[Segment],
    second: Sequence[Segment],
    seam_start_s: float,
    seam_end_s: float,
    slack_s: float = SLACK_S,
) -> tuple[Segment, ...]:
    """Lines of both in order of time, doubles once."""
    early = [n for n, s in enumerate(first) if s.end_s > seam_start_s - slack_s]
    late = [n for n, s in enumerate(second) if s.start_s < seam_end_s + slack_s]
    pairs = _pairs([first[n] for n in early], [second[n] for n in late])
    made = list(first)
    dropped = set()
    for a, b in pairs:
        made[early[a]] = _fuller(first[early[a]], second[late[b]])
        dropped.add(late[b])
    made += [line for n, line in enumerate(second) if n not in dropped]
    return tuple(sorted(made, key=lambda s: s.start_s))


def _pairs(first: Sequence[Segment], second: Sequence[Segment]) -> list[tuple[int, int]]:
    """Places of doubles, ascending in both."""
    rows, columns = len(first), len(second)
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            paired = _likeness(first[i], second[j])
            together = best[i + 1][j + 1] + paired if paired else 0.0
            best[i][j] = max(best[i + 1][j], best[i][j + 1], together)
    found, i, j = [], 0, 0
    while i < rows and j < columns:
        paired = _likeness(first[i], second[j])
        if paired and best[i][j] == best[i + 1][j + 1] + paired:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def _likeness(one: Segment, other: Segment) -> float:
    """0: not doubles. Equal words weigh more than similar ones, near ones more than far ones."""
    apart = abs(one.start_s - other.start_s)
    if apart > NEAR_S or not same_words(one.text, other.text):
        return 0.0
    words = 4.0 if plain(one.text) == plain(other.text) else 1.0
    return words + 1.0 - apart / (2 * NEAR_S)


def _fuller(one: Segment, other: Segment) -> Segment:
    """The longer of two spellings; speaker and translation are never lost."""
    best, rest = (one, other) if len(plain(one.text)) >= len(plain(other.text)) else (other, one)
    return replace(
        best,
        start_s=min(one.start_s, other.start_s),
        speaker=best.speaker or rest.speaker,
        translation=best.translation or rest.translation,
    )


def same_words(one: str, other: str) -> bool:
    """True when two lines say the same, or one is the beginning or the end of the other.

    Lines with other numbers in them are never the same, however alike they are.
    """
    a, b = sorted((plain(one), plain(other)), key=len)
    if not a:
        return not b
    if a == b:
        return True
    if len(a) >= _MIN_PREFIX and (b.startswith(a) or b.endswith(a)):
        return True
    if len(a) < _MIN_PREFIX or len(a) * 2 < len(b):
        return False
    if _NUMBERS.findall(a) != _NUMBERS.findall(b):
        return False
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    return matcher.quick_ratio() >= SAME_RATIO and matcher.ratio() >= SAME_RATIO


def plain(text: str) -> str:
    """Letters and digits only, in one case and width, for comparisons."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if char.isalnum())
