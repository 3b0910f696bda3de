"""Decide when a slide changes, from small gray samples. Pure: no files, no decoding.

Truth: the picture is divided into 16 x 9 cells. A cell is *settled* when it did not change for two
samples; one that keeps changing (camera inset, clock, burnt-in subtitles) is *busy* and left out.
The settled cells are compared with the fullest state of the current slide: what was only added is
a *build* of it; a small part that gave way to something else is a *replacement*; a large part gone
is a new *slide*, which begins when the old content went for good. What moved when the slide was
taken (a hand, a person passing) is filled in when it settles, and is no content of it. Pictures
in which most cells move are *camera*: a key frame now and then.
Never: looks ahead, keeps more than a few samples, gives more key frames than an allowance lets
through, which is small where the picture is restless (film, talking heads).
Source: the block-wise test finds changes of text alone, which differences of whole pictures do
not see; a cell changes when over 3 % of its pixels move by over 20 of 255 gray levels.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]
    Mask = NDArray[np.bool_]
else:
    Gray = Mask = Any

WIDTH, HEIGHT = 160, 90
"""Pixels of a sample."""
COLUMNS, ROWS = 16, 9
_WIDE, _HIGH = WIDTH // COLUMNS, HEIGHT // ROWS
"""Pixels of a cell."""
_EDGES = tuple(range(0, WIDTH, _WIDE))
LEVELS = 20
"""Gray levels (of 255) a pixel must move to count."""
FINE_LEVELS = 8
"""Gray levels (of 255) that no coding of the same page changes a pixel of a sample by."""
CELL_SHARE = 0.03
"""Part of a cell's pixels that must count."""
MIN_CELLS = 3
SETTLE = 2
"""Samples without change before a cell is settled."""
SETTLE_AFTER_CAMERA = 4
LONGEST_FADE_S = 3.0
LONGEST_CUT_S = 1.5
"""A change that lasts longer, at the end of the recording, is movement."""
CAMERA_SHARE = 0.35
"""Part of the cells that move in moving pictures."""
LOCAL_SHARE = 0.25
"""A sample in which fewer cells moved than this counts towards their being busy."""
REPLACED_SHARE = 0.35
"""Part of the old content that must be gone for a new slide."""
RESTLESS_SHARE = 0.12
"""Part of the cells that moves, on average, in talking-head pictures and film."""
CAMERA_INTERVAL_S = 30.0
"""Shortest time between key frames of moving pictures, seconds."""
_BLANK_SPREAD = 3.0
_LOST_INK = 0.25
_SAME_SHAPE = 0.8
_FIGURED = 2.0
_CLEAR_SHARE = 0.5
"""Part of the picture that must be at rest and known before anything is said about it."""


class Change(StrEnum):
    """What a sample brought."""

    NONE = "none"
    FIRST = "first"
    SLIDE = "slide"
    BUILD = "build"
    """Something was added to the current slide."""
    REPLACED = "replaced"
    """A small part of the current slide gave way to something else."""
    CAMERA = "camera"


@dataclass(frozen=True, slots=True)
class Seen:
    """The answer for one sample."""

    change: Change
    t_s: float
    """When the change began, seconds; earlier than the sample that settled it."""
    keep: bool
    """This sample is the best picture so far of what is now shown."""
    moving: float
    """Part of the cells that moved since the sample before, 0 to 1."""


def cells(gray: Gray, where: Mask | None = None) -> Any:
    """uint8 of shape (cells, pixels per cell): those of `where`, row by row; `None`: all."""
    blocks = gray.reshape(ROWS, _HIGH, COLUMNS, _WIDE).swapaxes(1, 2)
    chosen = blocks if where is None else blocks[where]
    return chosen.reshape(-1, _HIGH * _WIDE)


def cells_changed(a: Gray, b: Gray) -> Mask:
    """Which cells differ; shape (ROWS, COLUMNS)."""
    import numpy as np

    moved = (np.maximum(a, b) - np.minimum(a, b) > LEVELS).view(np.uint8)
    lines = np.add.reduce(moved.reshape(ROWS, _HIGH, WIDTH), axis=1, dtype=np.uint8)
    counts = np.add.reduceat(lines, _EDGES, axis=1, dtype=np.uint8)
    result: Mask = counts > CELL_SHARE * _HIGH * _WIDE
    return result


def _nothing() -> Mask:
    """No cell."""
    import numpy as np

    return np.zeros((ROWS, COLUMNS), bool)


def is_blank(gray: Gray) -> bool:
    """Nothing is shown: one even colour."""
    import numpy as np

    levels = gray.ravel().astype(np.float64)
    levels -= levels.mean()
    return float(np.einsum("i,i->", levels, levels)) < _BLANK_SPREAD**2 * levels.size


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of the content, cell by cell."""

    content: Mask
    """Cells of the old picture that show something."""
    lost: Mask
    """Cells whose old content is gone."""
    gained: Mask
    """Cells with content that was not there."""


def compare(
    old: Gray, new: Gray, content: Mask | None = None, changed: Mask | None = None
) -> Difference:
    """Which content went and which came. Even shifts of brightness and dimming count as neither.

    `content`: that of `old`, when it is known; `changed`: the cells that differ, or fewer.
    """
    import numpy as np

    content = content_of(old) if content is None else content
    changed = cells_changed(old, new) if changed is None else changed
    lost, gained = np.zeros_like(changed), np.zeros_like(changed)
    if changed.any():
        a, b = (cells(each, changed).astype(np.float32) for each in (old, new))
        moved = np.abs(a - b) > LEVELS
        ink_a, ink_b = _ink(a), _ink(b)
        gone = (ink_a & moved).sum(axis=1) > _LOST_INK * np.maximum(ink_a.sum(axis=1), 1)
        unlike, had = _likeness(a, b) < _SAME_SHAPE, content[changed]
        fresh = (ink_b & moved).mean(axis=1) > CELL_SHARE
        lost[changed] = had & gone & unlike
        gained[changed] = fresh & (unlike | ~had)
    return Difference(content, lost, gained)


def content_of(gray: Gray) -> Mask:
    """Cells that show something."""
    import numpy as np

    a = cells(gray).astype(np.float32)
    found = _ink(a).mean(axis=1) > CELL_SHARE
    found[found] = _figured(a[found])
    result: Mask = found.reshape(ROWS, COLUMNS)
    return result


def _ink(part: Any) -> Any:
    """Pixels that stand out of their cell (from its median); `part`: a row per cell."""
    import numpy as np

    middle = part.shape[1] // 2
    ordered = np.sort(part.astype(np.uint16), axis=1)[:, middle - 1 : middle + 1]
    return np.abs(part - ordered.mean(axis=1, dtype=np.float32, keepdims=True)) > LEVELS


def _figured(a: Any) -> Any:
    """Cells with more than straight edges along the cell: stripes of a marker, frames and rules
    are no content by themselves. `a`: a row per cell."""
    centred = _centred(a)
    rest = _dot(centred, centred)
    for sums in _along(centred):
        rest = rest - _dot(sums, sums)
    return rest > _FIGURED**2 * a.shape[1]


def _likeness(a: Any, b: Any) -> Any:
    """Correlation per cell, also of what is left when stripes are taken away: a marker laid over
    a line of text, or a shadow across it, does not make it another text. 0 where one is even.

    What a mean along one axis takes from a product is the product of the means (Pearson)."""
    import numpy as np

    a, b = _centred(a), _centred(b)
    aa, bb, ab = _dot(a, a), _dot(b, b), _dot(a, b)
    best = _correlation(aa, bb, ab)
    for sa, sb in zip(_along(a), _along(b), strict=True):
        bare = _correlation(aa - _dot(sa, sa), bb - _dot(sb, sb), ab - _dot(sa, sb))
        best = np.maximum(best, bare)
    return best


def _correlation(aa: Any, bb: Any, ab: Any) -> Any:
    """From sums of products; 0 where one side is even."""
    import numpy as np

    norm = np.sqrt(np.maximum(aa * bb, 0.0))
    return np.where(norm > 1.0, ab / np.maximum(norm, 1.0), 0.0)


def _centred(a: Any) -> Any:
    return a - a.mean(axis=1, keepdims=True)


def _dot(a: Any, b: Any) -> Any:
    """The product of each pair of rows."""
    import numpy as np

    return np.einsum("ij,ij->i", a, b)


def _along(a: Any) -> tuple[Any, Any]:
    """Columns and lines of each cell, summed up and so scaled that `_dot` gives what they weigh."""
    import numpy as np

    squares = a.reshape(-1, _HIGH, _WIDE)
    columns, lines = np.einsum("ijk->ik", squares), np.einsum("ijk->ij", squares)
    return columns / math.sqrt(_HIGH), lines / math.sqrt(_WIDE)


@dataclass(slots=True)
class _Activity:
    """How restless each cell is."""

    quiet: Any
    """Samples since each cell changed."""
    since: Any
    """Time at which each cell's latest restlessness began."""
    until: Any
    """Time of each cell's latest change."""
    memory: Any
    """Local changes of each cell, fading with `HALF_LIFE_S`."""
    window: Any
    """The local changes of the latest samples, the newest last."""
    fed: int = 0
    at_s: float = 0.0
    mean: float = 0.0
    """Part of the cells that moves, averaged over about half a minute."""

    _busy: Mask | None = None

    HALF_LIFE_S = 60.0
    WINDOW = 24
    BUSY, NEAR, CAP = 14.0, 4.0, 40.0

    @classmethod
    def begin(cls, t_s: float) -> _Activity:
        import numpy as np

        shape = (ROWS, COLUMNS)
        then = np.full(shape, t_s)
        window = np.zeros((cls.WINDOW, *shape), bool)
        return cls(np.full(shape, SETTLE), then, then, np.zeros(shape), window, at_s=t_s)

    def feed(self, t_s: float, began_s: float, changed: Mask) -> None:
        import numpy as np

        share = float(changed.mean())
        local = changed if share < LOCAL_SHARE else np.zeros_like(changed)
        step_s, self.at_s = t_s - self.at_s, t_s
        self.since = np.where(changed & (self.quiet >= 1), began_s, self.since)
        self.until = np.where(changed, began_s, self.until)
        self.quiet = np.where(changed, 0, self.quiet + 1)
        faded = self.memory * 0.5 ** (step_s / self.HALF_LIFE_S)
        self.memory = np.minimum(faded + local, self.CAP)
        self.mean += (share - self.mean) * min(1.0, step_s / 30.0)
        self.window[:-1] = self.window[1:]
        self.window[-1] = local
        self.fed, self._busy = min(self.fed + 1, self.WINDOW), None

    def began(self, where: Mask) -> float:
        """When most of these cells turned into what they are: a transition counts from its
        beginning, long movement only from its end."""
        import numpy as np

        brief = self.until - self.since <= LONGEST_FADE_S
        return _typical(np.where(brief, self.since, self.until)[where])

    def new_or_quiet(self) -> Mask:
        """Cells that did not change just now, or not for long."""
        result: Mask = (self.quiet >= 1) | (self.until - self.since <= LONGEST_CUT_S)
        return result

    def busy(self) -> Mask:
        """Cells that change again and again, and restless cells beside them."""
        if self._busy is None:
            self._busy = self._find_busy()
        return self._busy

    def _find_busy(self) -> Mask:
        import numpy as np

        strong = self.memory > self.BUSY
        if self.fed >= 4:
            stack = self.window[-self.fed :]
            runs = np.add.reduce(stack[1:] > stack[:-1], axis=0, dtype=np.uint8)
            times = np.add.reduce(stack, axis=0, dtype=np.uint8)
            long_run = np.add.reduce(stack[-6:], axis=0, dtype=np.uint8) >= 5
            strong |= ((times > 0.25 * self.fed) & (runs >= 3)) | long_run
        result: Mask = strong | (_grown(strong) & (self.memory > self.NEAR))
        return result


def _grown(mask: Mask) -> Mask:
    """The cells and their eight neighbours."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    grown = tall.copy()
    grown[:, 1:] |= tall[:, :-1]
    grown[:, :-1] |= tall[:, 1:]
    return grown


@dataclass(slots=True)
class _Allowance:
    """A bucket of key frames: `burst` at once, one more every `every_s` seconds."""

    burst: float
    every_s: float
    _spent: float = 0.0
    _at_s: float = 0.0

    def take(self, t_s: float) -> bool:
        self._spent = max(0.0, self._spent - (t_s - self._at_s) / self.every_s)
        self._at_s = t_s
        if self._spent + 1.0 > self.burst:
            return False
        self._spent += 1.0
        return True


@dataclass(slots=True)
class SlideDetector:
    """Feed samples in time order, about one a second; read what each brought."""

    _last: Gray | None = None
    _shown: Gray | None = None
    """Fullest settled state of the current slide; None until something is shown."""
    _known: Any = None
    """Cells of `_shown` that had settled; the others (a hand, a person passing) are filled in when
    they settle, and are no content that could be lost."""
    _content: Any = None
    _content_for: Any = None
    """The picture that `_content` was counted in."""
    _gone_at: Any = None
    """Since when each cell's content is gone, seconds; NaN where it is there."""
    _shown_at: float = 0.0
    _activity: _Activity | None = None
    _moving: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=4))
    """Time and share of the cells that moved, of the latest samples."""
    _in_camera: bool = False
    _camera_at: float = float("-inf")
    _allowance: _Allowance = field(default_factory=lambda: _Allowance(60.0, 10.0))
    _restless: _Allowance = field(default_factory=lambda: _Allowance(10.0, 45.0))
    """For film, talking heads, games: what moves all the time."""

    def feed(self, t_s: float, gray: Gray, began_s: float | None = None) -> Seen:
        """One sample.

        Args:
            t_s: seconds; greater than the one before.
            gray: uint8 of shape (HEIGHT, WIDTH); must not be changed afterwards.
            began_s: when the picture began to differ from the sample before; None: at `t_s`.
        """
        if self._last is None or self._activity is None:
            self._last, self._activity = gray, _Activity.begin(t_s)
            return self._first(t_s, gray)
        began_s = t_s if began_s is None else began_s
        changed = _nothing() if gray is self._last else cells_changed(self._last, gray)
        self._last = gray
        self._activity.feed(t_s, began_s, changed)
        self._moving.append((began_s, float(changed.mean())))
        if self._shown is None:
            return self._first(began_s, gray)
        film = [at_s for at_s, share in self._moving if share > CAMERA_SHARE]
        if len(film) >= 3:
            self._note_lost(changed & False, t_s)
            return self._camera(t_s, film[0], gray)
        return self._judge(t_s, gray, changed, settle=self._settle())

    def explains(self, gray: Gray) -> bool:
        """Whether `gray` shows nothing that could become a slide, a build or moving pictures.

        False while nothing is shown, in moving pictures, and where too little of the picture is
        at rest to tell.
        """
        if self._shown is None or self._last is None or self._activity is None or self._in_camera:
            return False
        changed = cells_changed(self._shown, gray)
        if not changed.any():
            return True
        clear = ~self._activity.busy() & self._known
        if is_blank(gray) or float(clear.mean()) < _CLEAR_SHARE:
            return False
        if float(cells_changed(self._last, gray).mean()) > CAMERA_SHARE:
            return False
        found = compare(self._shown, gray, self._content_now(), changed & clear)
        return int(((found.lost | found.gained) & clear).sum()) < MIN_CELLS

    def differ(self, one: Gray, other: Gray) -> bool:
        """Whether two pictures differ, be it in a single letter, but for what always moves."""
        import numpy as np

        far = cells(np.maximum(one, other) - np.minimum(one, other)).max(axis=1) > FINE_LEVELS
        changed = far.reshape(ROWS, COLUMNS)
        if self._activity is not None:
            changed &= ~self._activity.busy()
        return bool(changed.any())

    def agree(self, gray: Gray, later: Gray) -> bool:
        """Whether two pictures show the same but for what always moves: nothing that one of them
        shows can become a slide or a build when the other one stays.

        False while nothing is shown, in moving pictures, and where too much of it moves to tell.
        """
        if self._shown is None or self._activity is None or self._in_camera or is_blank(later):
            return False
        changed = cells_changed(gray, later)
        if float(changed.mean()) > LOCAL_SHARE:
            return False
        found = compare(gray, later, None, changed & ~self._activity.busy())
        return int((found.lost | found.gained).sum()) < MIN_CELLS

    def pause(self, until_s: float) -> None:
        """Nothing was looked at until `until_s`: what is known of restless cells does not fade."""
        if self._activity is not None:
            self._activity.at_s = max(self._activity.at_s, until_s)

    def finish(self, t_s: float) -> Seen:
        """No more samples follow: a picture that appeared just now counts as settled."""
        if self._last is None or self._shown is None or self._in_camera:
            return Seen(Change.NONE, t_s, False, 0.0)
        return self._judge(t_s, self._last, None, settle=0)

    def _settle(self) -> int:
        return SETTLE_AFTER_CAMERA if self._in_camera else SETTLE

    def _first(self, t_s: float, gray: Gray) -> Seen:
        if is_blank(gray):
            return Seen(Change.NONE, t_s, False, 0.0)
        self._show(gray, t_s)
        return Seen(Change.FIRST, t_s, True, 0.0)

    def _show(self, gray: Gray, t_s: float, known: Mask | None = None) -> None:
        """From `t_s` on this is the current slide; `known`: its settled cells, `None` all."""
        import numpy as np

        self._shown, self._shown_at = gray, t_s
        self._gone_at = np.full((ROWS, COLUMNS), np.nan)
        self._known = np.ones((ROWS, COLUMNS), bool) if known is None else known

    def _content_now(self) -> Mask:
        """The content of the current slide; counted once."""
        if self._shown is not self._content_for and self._shown is not None:
            self._content, self._content_for = content_of(self._shown), self._shown
        result: Mask = self._content
        return result

    def _note_lost(self, lost: Mask, began_s: float) -> None:
        """Remember since when content is gone; what comes back was only covered."""
        import numpy as np

        since = np.where(np.isnan(self._gone_at), began_s, self._gone_at)
        self._gone_at = np.where(lost, since, np.nan)

    def _learn(self, gray: Gray, settled: Mask) -> None:
        """Fill in cells of the current slide that were moving when it was first shown."""
        import numpy as np

        found = settled & ~self._known
        if found.any() and self._shown is not None:
            where = found.repeat(_HIGH, 0).repeat(_WIDE, 1)
            self._shown = np.where(where, gray, self._shown)
            self._known = self._known | found

    def _judge(self, t_s: float, gray: Gray, changed: Mask | None, settle: int) -> Seen:
        activity = self._activity
        assert activity is not None  # noqa: S101
        moving = 0.0 if changed is None else float(changed.mean())
        settled = activity.quiet >= settle if settle else activity.new_or_quiet()
        self._learn(gray, settled)
        shown = self._shown
        assert shown is not None  # noqa: S101
        other = _nothing() if shown is gray else cells_changed(shown, gray)
        same = not other.any()
        if same and (changed is None or not changed.any()):
            self._note_lost(settled & False, t_s)
            return Seen(Change.NONE, t_s, not self._in_camera, moving)
        busy = activity.busy()
        still = changed is None or not bool((changed & ~busy).any())
        if same:
            self._note_lost(busy & False, t_s)
            return Seen(Change.NONE, t_s, still and not self._in_camera, moving)
        clear = ~busy & self._known
        found = compare(shown, gray, self._content_now(), other & clear)
        lost, gained = found.lost & clear, found.gained & clear
        plain = not self._in_camera and not is_blank(gray)
        self._note_lost(lost & plain, self._moving[-1][0] if self._moving else t_s)
        new, waiting = (lost | gained) & settled, (lost | gained) & ~settled
        better = Seen(Change.NONE, t_s, still and not self._in_camera and not lost.any(), moving)
        if int(new.sum()) < MIN_CELLS or int(waiting.sum()) > int(new.sum()) or is_blank(gray):
            return better
        change = _kind(found.content & clear, lost & settled, gained & settled)
        if self._in_camera and change is not Change.NONE:
            change = Change.SLIDE
        if change is Change.NONE or not self._may(change, t_s):
            return replace(better, keep=False)
        began = self._began(change, new)
        self._show(gray, began, settled)
        self._in_camera = False
        return Seen(change, began, True, moving)

    def _began(self, change: Change, new: Mask) -> float:
        """When a page came; it begins when the one before it goes, not when it is filled."""
        import numpy as np

        assert self._activity is not None  # noqa: S101
        began = self._activity.began(new)
        gone = self._gone_at[~np.isnan(self._gone_at)]
        if change is Change.SLIDE and gone.size:
            began = min(began, _typical(gone))
        return max(began, self._shown_at)

    def _may(self, change: Change, t_s: float) -> bool:
        """Whether this key frame is within what restless pictures are allowed."""
        assert self._activity is not None  # noqa: S101
        if change is Change.BUILD:
            return True
        bucket = self._restless if self._activity.mean > RESTLESS_SHARE else self._allowance
        return bucket.take(t_s)

    def _camera(self, t_s: float, film_s: float, gray: Gray) -> Seen:
        """Moving pictures, since `film_s` at least."""
        assert self._shown is not None  # noqa: S101
        none = Seen(Change.NONE, t_s, False, self._moving[-1][1])
        if is_blank(gray) or (self._in_camera and t_s - self._camera_at < CAMERA_INTERVAL_S):
            return none
        if float(cells_changed(self._shown, gray).mean()) <= CAMERA_SHARE:
            return none
        if not self._restless.take(t_s):
            return none
        began = t_s if self._in_camera else max(film_s, self._shown_at)
        self._show(gray, began)
        self._camera_at, self._in_camera = t_s, True
        return replace(none, change=Change.CAMERA, t_s=began, keep=True)


def _kind(content: Mask, lost: Mask, gained: Mask) -> Change:
    """What the settled differences amount to."""
    had, went, came = int(content.sum()), int(lost.sum()), int(gained.sum())
    if went > max(REPLACED_SHARE * had, 1):
        return Change.SLIDE
    if went < MIN_CELLS:
        return Change.BUILD if came >= MIN_CELLS else Change.NONE
    return Change.REPLACED if came >= MIN_CELLS else Change.NONE


def _typical(times: Any) -> float:
    """The time at which most cells began to change (the earliest of the most frequent)."""
    import numpy as np

    values, counts = np.unique(times, return_counts=True)
    return float(values[int(counts.argmax())])
