"""Encode made recordings and note, while drawing, when a reader would say a new page appears.

Truth: `Film.turns` (a new page must be found in each) and `Film.free` (spans in which a find
counts neither for nor against). Everything else is not a new page.
Writes: one video file. Never: looks at what a detector does.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw

from benchmarks.slides_pages import Page, landscape, soft

Pixels = np.ndarray
Dress = Callable[[Pixels, float], Pixels]


@dataclass(frozen=True)
class Turn:
    """A new page: its first pixel comes at `start_s`, it is all there at `end_s`."""

    start_s: float
    end_s: float
    lines: tuple[str, ...] = ()
    language: str = "en"


@dataclass
class Film:
    """A recording in the making. `dress` changes each frame (inset, noise, camera)."""

    path: Path
    size: tuple[int, int]
    fps: int
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    gop: int = 250
    bit_rate: int = 0
    dress: Dress | None = None
    turns: list[Turn] = field(default_factory=list)
    free: list[tuple[float, float]] = field(default_factory=list)
    frames: int = 0
    now: Pixels | None = None

    def __post_init__(self) -> None:
        self._out = av.open(str(self.path), "w")
        stream = self._out.add_stream(self.codec, rate=self.fps)
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = self.gop
        if self.bit_rate:
            stream.bit_rate = self.bit_rate
        stream.options = dict(self.options)
        self._stream = stream
        self._held: tuple[Pixels, av.VideoFrame] | None = None

    @property
    def t(self) -> float:
        """Seconds written so far."""
        return self.frames / self.fps

    def close(self) -> None:
        """Flush the encoder and finish the file."""
        self._out.mux(self._stream.encode())
        self._out.close()

    def frame(self, picture: Pixels) -> None:
        """Write one frame; the same array again is not converted again."""
        shown = picture if self.dress is None else self.dress(picture, self.t)
        if self._held is None or self._held[0] is not shown:
            made = av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), format="rgb24")
            self._held = (shown, made.reformat(format="yuv420p"))
        made = self._held[1]
        made.pts, made.time_base = self.frames, Fraction(1, self.fps)
        made.pict_type = 0
        self._out.mux(self._stream.encode(made))
        self.frames += 1
        self.now = picture

    def hold(self, page: Page | Image.Image | Pixels, seconds: float) -> None:
        """Show a picture for a while: no new page by itself."""
        picture = pixels(page)
        for _ in range(round(seconds * self.fps)):
            self.frame(picture)

    def turn(
        self, page: Page | Image.Image, seconds: float, how: str = "cut", over_s: float = 0.7
    ) -> None:
        """A new page comes by the transition `how` and stays for `seconds` after it."""
        start = self.t
        after = pixels(page)
        if how != "cut" and self.now is not None:
            before, steps = self.now, max(2, round(over_s * self.fps))
            for step in range(1, steps):
                self.frame(TRANSITIONS[how](before, after, step / steps))
        if start > 0:
            lines = page.lines if isinstance(page, Page) else ()
            language = page.language if isinstance(page, Page) else "en"
            self.turns.append(Turn(start, self.t, lines, language))
        self.hold(after, seconds)

    def play(self, seconds: float, draw: Callable[[float], Pixels]) -> None:
        """Show what `draw` paints for the seconds since the call."""
        start = self.frames
        for _ in range(round(seconds * self.fps)):
            self.frame(draw((self.frames - start) / self.fps))

    def full(self, lines: tuple[str, ...]) -> None:
        """The last page grew by builds; these lines are on it in the end."""
        last = self.turns.pop() if self.turns else None
        if last is not None:
            self.turns.append(Turn(last.start_s, last.end_s, lines, last.language))


def pixels(page: Page | Image.Image | Pixels) -> Pixels:
    """RGB bytes (h, w, 3)."""
    if isinstance(page, Page):
        page = page.picture
    return page if isinstance(page, np.ndarray) else np.asarray(page.convert("RGB"))


# --- transitions: before, after, share done -> frame ---------------------------------------


def _fade(a: Pixels, b: Pixels, p: float) -> Pixels:
    return np.asarray(Image.blend(Image.fromarray(a), Image.fromarray(b), p))


def _black(a: Pixels, b: Pixels, p: float) -> Pixels:
    picture, light = (a, 1 - 2 * p) if p < 0.5 else (b, 2 * p - 1)
    return (picture * max(0.0, light)).astype("u1")


def _push(a: Pixels, b: Pixels, p: float) -> Pixels:
    cut = round(a.shape[1] * (1 - (1 - p) ** 2))
    return np.concatenate([a[:, cut:], b[:, :cut]], axis=1)


def _rise(a: Pixels, b: Pixels, p: float) -> Pixels:
    cut = round(a.shape[0] * p)
    return np.concatenate([a[: a.shape[0] - cut], b[:cut]], axis=0)


def _wipe(a: Pixels, b: Pixels, p: float) -> Pixels:
    cut = round(a.shape[1] * p)
    return np.concatenate([b[:, :cut], a[:, cut:]], axis=1)


def _zoom(a: Pixels, b: Pixels, p: float) -> Pixels:
    h, w = a.shape[:2]
    small = Image.fromarray(b).resize((max(2, round(w * p)), max(2, round(h * p))))
    canvas = Image.fromarray(a)
    canvas.paste(small, ((w - small.width) // 2, (h - small.height) // 2))
    return np.asarray(canvas)


def _blinds(a: Pixels, b: Pixels, p: float) -> Pixels:
    strip = a.shape[0] // 9
    mask = (np.arange(a.shape[0]) % strip) < strip * p
    return np.where(mask[:, None, None], b, a)


def _iris(a: Pixels, b: Pixels, p: float) -> Pixels:
    h, w = a.shape[:2]
    y, x = np.ogrid[:h, :w]
    inside = (x - w / 2) ** 2 + (y - h / 2) ** 2 < (p * math.hypot(w, h) / 2) ** 2
    return np.where(inside[..., None], b, a)


TRANSITIONS: dict[str, Callable[[Pixels, Pixels, float], Pixels]] = {
    "fade": _fade, "black": _black, "push": _push, "rise": _rise, "wipe": _wipe, "zoom": _zoom,
    "blinds": _blinds, "iris": _iris,
}  # fmt: skip


# --- moving things -------------------------------------------------------------------------


class Speaker:
    """A person before a camera: sways, nods, moves the arms, with sensor noise."""

    def __init__(self, w: int, h: int, seed: int, lively: float = 1.0) -> None:
        rng = random.Random(seed)
        self.w, self.h, self.lively = w, h, lively
        self.room = soft(landscape(w, h, rng), max(2, h / 60))
        self.skin = rng.choice([(224, 180, 150), (120, 80, 60), (190, 140, 105)])
        self.coat = tuple(rng.randint(20, 160) for _ in "rgb")
        self.phase = rng.uniform(0, 6)
        noise = np.random.default_rng(seed)
        self.noise = [noise.integers(0, 12, (h, w, 1), dtype="u1") for _ in range(5)]

    def at(self, t: float) -> Pixels:
        """The camera picture at `t` seconds, RGB (h, w, 3)."""
        w, h, a = self.w, self.h, self.lively
        picture = self.room.copy()
        pen = ImageDraw.Draw(picture)
        x = w * (0.5 + a * (0.06 * math.sin(t * 0.7 + self.phase) + 0.02 * math.sin(t * 2.3)))
        y = h * (0.36 + a * 0.015 * math.sin(t * 3.1 + self.phase))
        r = h * 0.15
        pen.ellipse((x - 2.1 * r, y + r, x + 2.1 * r, y + 6 * r), fill=self.coat)
        pen.ellipse((x - 0.8 * r, y - r, x + 0.8 * r, y + r), fill=self.skin)
        pen.pieslice((x - 0.85 * r, y - 1.1 * r, x + 0.85 * r, y + 0.3 * r), 180, 360, (40, 28, 20))
        mouth = 0.05 * r + 0.12 * r * abs(math.sin(t * 7))
        spot = (x - 0.25 * r, y + 0.5 * r - mouth, x + 0.25 * r, y + 0.5 * r + mouth)
        pen.ellipse(spot, fill=(120, 40, 40))
        for side in (-1, 1):
            swing = a * math.sin(t * (1.7 + 0.4 * side) + self.phase)
            hand = (x + side * r * (2.4 + 0.6 * swing), y + r * (2.6 - 1.3 * swing))
            pen.line((x + side * 1.6 * r, y + 2 * r, *hand), fill=self.coat, width=round(r * 0.7))
            pen.ellipse(box(hand, r * 0.4), fill=self.skin)
        return np.minimum(picture, 243) + self.noise[int(t * 25) % 5]


def box(middle: tuple[float, float], r: float) -> tuple[float, float, float, float]:
    """The square round a circle."""
    return (middle[0] - r, middle[1] - r, middle[0] + r, middle[1] + r)


def inset(speaker: Speaker, x: int, y: int) -> Dress:
    """Lay the camera picture over each frame at (x, y)."""

    def dress(picture: Pixels, t: float) -> Pixels:
        out = picture.copy()
        out[y : y + speaker.h, x : x + speaker.w] = speaker.at(t)
        return out

    return dress


def grain(size: tuple[int, int], seed: int, strength: float) -> Dress:
    """Sensor noise over each frame."""
    w, h = size
    noise = np.random.default_rng(seed)
    bank = [noise.normal(0, strength, (h, w, 1)).astype("i2") for _ in range(7)]

    def dress(picture: Pixels, t: float) -> Pixels:
        out = picture + bank[int(t * 29) % 7]
        return np.clip(out, 0, 255).astype("u1")

    return dress


def phone(size: tuple[int, int], seed: int) -> Dress:
    """The page is a screen in a dark room, filmed from a seat: tilt, shake, noise, exposure."""
    w, h = size
    rng = random.Random(seed)
    corners = [(0.1, 0.08), (0.93, 0.14), (0.89, 0.86), (0.12, 0.9)]
    corners = [(x + rng.uniform(-0.02, 0.02), y + rng.uniform(-0.02, 0.02)) for x, y in corners]
    noisy = grain(size, seed, 5)

    def dress(picture: Pixels, t: float) -> Pixels:
        dx = 0.004 * math.sin(t * 5.1) + 0.006 * math.sin(t * 1.3)
        dy = 0.004 * math.sin(t * 6.3 + 1) + 0.005 * math.sin(t * 0.9)
        spots = [((x + dx) * w, (y + dy) * h) for x, y in corners]
        seen = Image.fromarray(picture).transform(
            (w, h), Image.Transform.PERSPECTIVE, _coefficients(spots, w, h),
            Image.Resampling.BILINEAR, fillcolor=(22, 20, 24),
        )  # fmt: skip
        light = 0.86 + 0.1 * math.sin(t * 0.25 + seed)
        return noisy((np.asarray(seen) * light).astype("u1"), t)

    return dress


def _coefficients(spots: list[tuple[float, float]], w: int, h: int) -> list[float]:
    """Of the projective map from output to page (eight unknowns, four corners)."""
    rows, right = [], []
    for (x, y), (u, v) in zip(spots, [(0, 0), (w, 0), (w, h), (0, h)], strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return list(np.linalg.solve(np.array(rows, "f8"), np.array(right, "f8")))


def scribble(rng: random.Random, x: float, y: float, w: float, h: float) -> list[tuple]:
    """One handwritten word as points: loops and strokes that no font has."""
    points, steps = [], max(12, int(w / h * 14))
    a, b, c = rng.uniform(0.6, 1.3), rng.uniform(0, 6), rng.uniform(1.6, 2.6)
    for step in range(steps):
        p = step / (steps - 1)
        wave = math.sin(p * w / h * 5 * a + b) + 0.5 * math.sin(p * w / h * 11 * c)
        points.append((x + w * p + h * 0.15 * math.cos(p * 40 * a), y + h * 0.3 * wave))
    return points
