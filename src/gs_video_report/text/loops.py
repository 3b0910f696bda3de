"""Find where a text goes in circles: the same words over and over, one right after the other.

Pure. A loop is a run in which every unit equals the one `period` units before it. Units are words,
or single characters in scripts without spaces; case and punctuation do not matter.
Source: repetition is how Whisper fails most visibly (openai/whisper tells it by compression ratio;
a run is found here directly, because a run has a place and a length). What people repeat on
purpose stays below the limits: "no, no, no", a sentence said twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from operator import eq

MAX_PERIOD = 40
"""Units; a longer part that recurs is not found."""
MIN_UNITS = 9
"""A loop covers at least this many units."""
_MIN_REPEATS = {1: 6.0, 2: 4.5, 3: 4.0}
_MIN_REPEATS_LONGER = 3.0

_UNIT = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]|[^\W_\u0e00-\u0eff\u3040-\u9fff]+")
_QUOTED = 60


@dataclass(frozen=True, slots=True)
class Unit:
    """A word or character and its place; times in seconds."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Loop:
    """A part of the text that repeats itself."""

    first: int
    """Index of its first unit."""
    last: int
    """Index behind its last unit."""
    period: int
    """Units after which it begins again."""

    @property
    def repeats(self) -> float:
        """How often the part stands there, 3.5 = three times and a half."""
        return (self.last - self.first) / self.period


def units_of(text: str, start_s: float, end_s: float) -> Iterable[Unit]:
    """The units of `text`, their times spread evenly over its letters."""
    text = text.strip()
    share = (end_s - start_s) / max(1, len(text))
    for match in _UNIT.finditer(text.casefold()):
        begin, end = match.span()
        yield Unit(match.group(), start_s + begin * share, start_s + end * share)


def find_loops(units: Sequence[Unit]) -> list[Loop]:
    """All loops in order of time, none inside another; empty for a text that goes on.

    Time: `MAX_PERIOD` comparisons per unit.
    """
    numbers: dict[str, int] = {}
    fresh = count()
    ids = [numbers[u.text] if u.text in numbers else _new(numbers, u.text, fresh) for u in units]
    found: list[Loop] = []
    for period in range(1, min(MAX_PERIOD, len(ids) // 2) + 1):
        found.extend(_runs(ids, period))
    return _outermost(found)


def quoted(units: Sequence[Unit], loop: Loop) -> str:
    """The repeated part in its plain form, cut at 60 characters."""
    part = [u.text for u in units[loop.first : loop.first + loop.period]]
    wide = all(len(text) == 1 and ord(text) > 0x0E00 for text in part)
    text = ("" if wide else " ").join(part)
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"


def _new(numbers: dict[str, int], text: str, fresh: Iterable[int]) -> int:
    numbers[text] = next(iter(fresh))
    return numbers[text]


def _runs(ids: Sequence[int], period: int) -> Iterable[Loop]:
    least = _MIN_REPEATS.get(period, _MIN_REPEATS_LONGER)
    wanted = max(MIN_UNITS, round(least * period)) - period
    same = bytes(map(eq, ids, ids[period:]))
    for match in re.finditer(rb"\x01{%d,}" % max(1, wanted), same):
        yield Loop(match.start(), match.end() + period, period)


def _outermost(found: Iterable[Loop]) -> list[Loop]:
    """The longest of overlapping loops; of equally long ones that with the shortest period."""
    kept: list[Loop] = []
    for loop in sorted(found, key=lambda each: (each.first - each.last, each.period)):
        if all(loop.last <= other.first or loop.first >= other.last for other in kept):
            kept.append(loop)
    return sorted(kept, key=lambda each: each.first)
