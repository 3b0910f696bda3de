"""Slide videos with known truth, drawn with Pillow and encoded with PyAV on the spot.

A `Style` is a picture for every moment plus the moments at which a reader would say that a new
slide appears. The fonts are those inside Pillow, the words and the noise are seeded: the same
pictures everywhere. Nothing here needs the network.
"""

from __future__ import annotations

import bisect
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = (640, 360)
FPS = 10
_WORDS = (  # noqa: SIM905
    "memory signal river theory market energy planet window garden method copper silver number "
    "music engine forest letter mirror pocket bridge summer winter carbon oxygen matrix vector "
    "tensor kernel buffer thread socket packet cursor border canvas marble museum temple valley"
).split()  # fmt: skip

Picture = Callable[[float], Image.Image]


@dataclass(frozen=True)
class Style:
    """One kind of recording."""

    name: str
    duration_s: float
    picture: Picture
    slides: tuple[float, ...]
    """Times at which a new slide (or a camera scene after one) appears."""
    replaced: tuple[float, ...] = ()
    """Times at which a small part of a slide gives way to something else."""
    builds: int | None = 0
    """Additions that belong to the slide they are made to; None: cannot be counted."""
    extra: int = 0
    """Key frames that are harmless: in film every choice is arbitrary, but they are bounded."""
    kinds: tuple[str, ...] = ()
    """Expected kinds in order, where that is part of the truth."""
    size: tuple[int, int] = SIZE
    fps: int = FPS
    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    suffix: str = ".mp4"
    rotation: int = 0
    """Degrees counterclockwise by which players turn the stored picture."""
    times: tuple[float, ...] = ()
    """Times of the frames, for variable frame rates; empty: every 1/fps."""
    options: Mapping[str, str] = field(default_factory=dict)


# --- drawing ---------------------------------------------------------------------------------


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font inside Pillow."""
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


def phrase(seed: object, words: int) -> str:
    """Words that depend on `seed` alone."""
    return " ".join(random.Random(str(seed)).sample(_WORDS, words))


def slide(
    number: int,
    bullets: int = 4,
    *,
    dark: bool = False,
    dimmed: int = 0,
    caption: str = "",
    size: tuple[int, int] = SIZE,
) -> Image.Image:
    """Slide `number` with its first `bullets` bullets, the first `dimmed` of them grayed."""
    ground, ink, soft = (
        ("#10141c", "#e8edf5", "#5a6472") if dark else ("#fdfdfb", "#20262e", "#a9afb5")
    )
    image = Image.new("RGB", size, ground)
    draw = ImageDraw.Draw(image)
    unit = size[1] / 360
    title = phrase(f"title {number}", 2).title()
    draw.text((36 * unit, 24 * unit), title, "#3f7fbf", font(round(30 * unit)))
    for row in range(bullets):
        y = (92 + 48 * row) * unit
        colour = soft if row < dimmed else ink
        draw.ellipse((38 * unit, y + 7 * unit, 46 * unit, y + 15 * unit), colour)
        text = phrase(f"bullet {number} {row}", 4)
        draw.text((60 * unit, y), text, colour, font(round(19 * unit)))
    if caption:
        draw.text((120 * unit, 320 * unit), caption, ink, font(round(19 * unit)))
    return image


def speaker(image: Image.Image, t_s: float, left: int, top: int, size: int = 110) -> Image.Image:
    """A copy with a camera inset in which someone sways and talks."""
    out = image.copy()
    draw = ImageDraw.Draw(out)
    draw.rectangle((left, top, left + size, top + size), "#46586a")
    x = left + size / 2 + size * 0.12 * math.sin(t_s * 1.7) + size * 0.05 * math.sin(t_s * 5.1)
    y = top + size * 0.42 + size * 0.05 * math.sin(t_s * 2.9)
    r = size * 0.2
    draw.ellipse((x - 1.6 * r, y + 0.9 * r, x + 1.6 * r, top + size), "#7b5ea7")
    draw.ellipse((x - r, y - r, x + r, y + r), "#f0c9a4")
    mouth = r * (0.1 + 0.3 * abs(math.sin(t_s * 9)))
    draw.ellipse((x - r / 3, y + r / 2 - mouth, x + r / 3, y + r / 2 + mouth), "#8d2f2a")
    return out


def grain(image: Image.Image, t_s: float, sigma: float) -> Image.Image:
    """A copy with noise that differs from frame to frame."""
    noise = np.random.default_rng(round(t_s * 1000)).normal(
        0, sigma, (image.height, image.width, 1)
    )
    values = np.asarray(image, dtype=np.float32) + noise
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def scene(t_s: float, seed: int, size: tuple[int, int] = SIZE, speed: float = 60.0) -> Image.Image:
    """Moving pictures: shapes that drift over a coloured ground."""
    chance = random.Random(seed)
    image = Image.new("RGB", size, tuple(chance.randrange(40, 200) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(26):
        x, y = chance.uniform(0, size[0]), chance.uniform(0, size[1])
        dx, dy = chance.uniform(-1, 1) * speed, chance.uniform(-1, 1) * speed
        r = chance.uniform(0.04, 0.16) * size[0]
        colour = tuple(chance.randrange(256) for _ in range(3))
        cx, cy = (x + dx * t_s) % size[0], (y + dy * t_s) % size[1]
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), colour)
    return image


def shots(parts: Iterable[tuple[float, Image.Image]], fade_s: float = 0.0) -> Picture:
    """Pictures from given times on, faded into each other."""
    times, images = zip(*parts, strict=True)

    def at(t_s: float) -> Image.Image:
        now = max(0, bisect.bisect_right(times, t_s + 1e-9) - 1)
        age = t_s - times[now]
        if now and age < fade_s:
            return Image.blend(images[now - 1], images[now], age / fade_s)
        picture: Image.Image = images[now]
        return picture

    return at


# --- styles ----------------------------------------------------------------------------------


def _deck(
    count: int, each_s: float, fade_s: float = 0.0, **look: bool
) -> tuple[Picture, tuple[float, ...]]:
    times = tuple(round(n * each_s, 3) for n in range(count))
    return shots([(t, slide(n, **look)) for n, t in enumerate(times)], fade_s), times  # type: ignore[arg-type]


def hard_cuts() -> Style:
    """Slides that replace each other at once."""
    picture, times = _deck(8, 5.3)
    return Style("hard_cuts", 42.4, picture, times)


def quick() -> Style:
    """3.6 s per slide."""
    picture, times = _deck(10, 3.6, 0.36)
    return Style("quick", 36.0, picture, times)


def fades() -> Style:
    """A second of cross-fade between slides."""
    picture, times = _deck(6, 7.3, 1.0)
    return Style("fades", 43.8, picture, times)


def bullet_builds() -> Style:
    """Bullets that appear one by one."""
    times = [(12.2 * n + 3.0 * row, n, row + 1) for n in range(3) for row in range(4)]
    picture = shots([(t, slide(n, bullets)) for t, n, bullets in times])
    return Style("bullet_builds", 36.6, picture, (0.0, 12.2, 24.4), builds=9)


def dimmed_builds() -> Style:
    """Bullets that appear one by one while the earlier ones turn gray."""
    times = [(12.2 * n + 3.0 * row, n, row) for n in range(3) for row in range(4)]
    picture = shots([(t, slide(n, row + 1, dimmed=row)) for t, n, row in times])
    return Style("dimmed_builds", 36.6, picture, (0.0, 12.2, 24.4), builds=9)


def same_title() -> Style:
    """Slides of one section: the title and the layout stay, the bullets change."""
    title = slide(0, 0).crop((0, 0, 640, 80))

    def page(number: int) -> Image.Image:
        image = slide(number)
        image.paste(title, (0, 0))
        return image

    times = tuple(6.3 * n for n in range(6))
    return Style("same_title", 37.8, shots([(t, page(n)) for n, t in enumerate(times)]), times)


def webcam() -> Style:
    """A camera inset that moves all the time."""
    base, times = _deck(5, 11.3)
    return Style("webcam", 56.5, lambda t: speaker(base(t), t, 510, 230), times)


def webcam_pauses() -> Style:
    """A camera inset in which someone now and then keeps still for half a minute."""
    base, times = _deck(4, 40.3)

    def at(t_s: float) -> Image.Image:
        moving = t_s if t_s % 60 < 30 else 30 + 60 * (t_s // 60)
        return speaker(base(t_s), moving, 510, 230)

    return Style("webcam_pauses", 161.2, at, times, fps=4)


def webcam_jumps() -> Style:
    """A camera inset that changes its corner with each slide and is gone at last."""
    base, times = _deck(4, 12.3)
    corners = [(510, 230), (10, 240), (510, 10)]

    def at(t_s: float) -> Image.Image:
        now = int(t_s // 12.3)
        return base(t_s) if now > 2 else speaker(base(t_s), t_s, *corners[now])

    return Style("webcam_jumps", 49.2, at, times)


def cursor() -> Style:
    """A mouse pointer that wanders and rests."""
    base, times = _deck(5, 9.3)

    def at(t_s: float) -> Image.Image:
        step = min(t_s % 6, 3.0) + 3 * (t_s // 6)
        x, y = 320 + 260 * math.sin(step * 0.9), 190 + 130 * math.sin(step * 1.3)
        out = base(t_s).copy()
        ImageDraw.Draw(out).polygon(
            [(x, y), (x, y + 17), (x + 4, y + 13), (x + 11, y + 12)], "#000", "#fff"
        )
        return out

    return Style("cursor", 46.5, at, times)


def dark_grain() -> Style:
    """A dark deck filmed with noise, short fades, key frames every 10 s."""
    base, times = _deck(7, 5.6, 0.36, dark=True)
    return Style(
        "dark_grain",
        39.2,
        lambda t: grain(base(t), t, 9.0),
        times,
        options={"g": "100", "keyint_min": "100", "sc_threshold": "0"},
    )


def fixed_gop() -> Style:
    """Key frames every 10 s only, none at the cuts."""
    picture, times = _deck(8, 4.7)
    options = {"g": "100", "keyint_min": "100", "sc_threshold": "0"}
    return Style("fixed_gop", 37.6, picture, times, options=options)


def handwriting() -> Style:
    """Strokes that appear one by one on a page; a second page after 30 s."""

    def at(t_s: float) -> Image.Image:
        page, age = int(t_s // 30.4), t_s % 30.4
        image = Image.new("RGB", SIZE, "#ffffff")
        draw = ImageDraw.Draw(image)
        chance = random.Random(page)
        for stroke in range(12):
            x, y = 60 + 130 * (stroke % 4), 60 + 90 * (stroke // 4)
            points = [
                (x + 18 * k + chance.uniform(-4, 4), y + chance.uniform(-26, 26)) for k in range(6)
            ]
            drawn = min(1.0, max(0.0, (age - 2.0 * stroke) / 1.4))
            if drawn > 0:
                draw.line(points[: max(2, round(6 * drawn))], "#1b2d8f", 3)
        return image

    return Style("handwriting", 60.8, at, (0.2, 30.6), builds=None)


def caption_swaps() -> Style:
    """One line at the foot of a slide gives way to another every 9 s."""
    times = [9.2 * n for n in range(6)]
    lines = [(t, slide(n // 3, 3, caption=phrase(f"caption {n}", 4))) for n, t in enumerate(times)]
    swaps = tuple(t for n, t in enumerate(times) if n % 3)
    return Style("caption_swaps", 55.2, shots(lines), (0.0, 27.6), replaced=swaps)


def burnt_subtitles() -> Style:
    """Subtitles inside the picture that change every 2.5 s."""
    times = [2.5 * n for n in range(48)]
    lines = [(t, slide(n // 12, 4, caption=phrase(f"said {n}", 5))) for n, t in enumerate(times)]
    return Style("burnt_subtitles", 120.0, shots(lines), (0.0, 30.0, 60.0, 90.0), extra=6, fps=4)


def video_inside() -> Style:
    """A film plays inside a slide."""
    times = (0.0, 14.3, 28.6)

    def at(t_s: float) -> Image.Image:
        number = bisect.bisect_right(times, t_s) - 1
        image = slide(number, 4).copy()
        image.paste(scene(t_s, 5, (230, 170), 40.0), (390, 90))
        return image

    return Style("video_inside", 42.9, at, times, fps=5)


def camera_between() -> Style:
    """Slides, and in between the camera shows the hall for a while."""
    base = shots([(0.0, slide(0)), (10.2, slide(1)), (40.4, slide(2)), (50.6, slide(3))])

    def at(t_s: float) -> Image.Image:
        return scene(t_s, 3) if 20.3 <= t_s < 40.4 else base(t_s)

    return Style(
        "camera_between",
        61.0,
        at,
        (0.0, 10.2, 20.3, 40.4, 50.6),
        kinds=("slide", "slide", "camera", "slide", "slide"),
    )


def talking_head() -> Style:
    """Someone talks to the camera for three minutes, without any slide."""
    ground = Image.new("RGB", SIZE, "#8a9aa5")
    ImageDraw.Draw(ground).rectangle((40, 40, 200, 300), "#5d4a3a")
    return Style(
        "talking_head",
        180.0,
        lambda t: grain(speaker(ground, t, 170, 0, 360), t, 3.0),
        (0.0,),
        extra=3,
        fps=4,
    )


def film() -> Style:
    """Moving shots of 2.7 s each for five minutes."""
    return Style("film", 300.0, lambda t: scene(t, int(t // 2.7)), (0.0,), extra=16, fps=4)


def cut_interview() -> Style:
    """Two people in front of still grounds, cut every 6 s for ten minutes."""
    grounds = [Image.new("RGB", SIZE, c) for c in ("#8a9aa5", "#5d4a3a", "#2f4f3f", "#b5a58a")]
    for number, ground in enumerate(grounds):
        draw = ImageDraw.Draw(ground)
        draw.rectangle((40 + 60 * number, 30, 160 + 60 * number, 330), "#222222")

    def at(t_s: float) -> Image.Image:
        now = int(t_s // 6)
        return speaker(grounds[now * 7 % 4], t_s, 60 + 90 * (now % 3), 30, 330)

    return Style("cut_interview", 600.0, at, (0.0,), extra=30, fps=2)


def blank_parts() -> Style:
    """Black before the first slide, between slides and at the end."""
    black = Image.new("RGB", SIZE, "#000000")
    times = (0.0, 3.2, 10.3, 13.4, 21.5, 28.1)
    pages = (black, slide(0), black, slide(1), slide(2), black)
    picture = shots(zip(times, pages, strict=True))
    return Style("blank_parts", 31.0, picture, (3.2, 13.4, 21.5))


def sparse_frames() -> Style:
    """A screen recording with a frame only where something changes."""
    times = (0.0, 6.4, 15.1, 15.4, 31.7, 44.2, 58.0)
    pages = (0, 1, 2, 2, 3, 4, 4)
    picture = shots([(t, slide(n)) for t, n in zip(times, pages, strict=True)])
    return Style("sparse_frames", 58.1, picture, (0.0, 6.4, 15.1, 31.7, 44.2), times=times)


def uneven_frames() -> Style:
    """Frames at uneven times, two to thirty a second."""
    picture, slides = _deck(6, 6.1)
    chance = random.Random(4)
    times, t_s = [], 0.0
    while t_s < 36.6:
        times.append(round(t_s, 3))
        t_s += chance.choice((0.033, 0.1, 0.5))
    return Style("uneven_frames", 36.6, picture, slides, times=tuple(times))


def rotated() -> Style:
    """Stored lying on its side, to be turned by the player."""
    base, times = _deck(4, 6.2)
    return Style(
        "rotated",
        24.8,
        lambda t: base(t).transpose(Image.Transpose.ROTATE_270),
        times,
        size=(360, 640),
        rotation=90,
    )


_QUIET_X265 = {"x265-params": "log-level=none"}
_FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}


def _other(name: str, **changes: object) -> Style:
    picture, times = _deck(4, 6.2)
    return replace(Style(name, 24.8, picture, times), **changes)  # type: ignore[arg-type]


def mixed(seed: int, *, size: tuple[int, int] = SIZE, fps: int = 5) -> Style:
    """A lecture of three minutes: any length, builds, inset, pointer, noise, fades."""
    chance = random.Random(seed)
    dark, inset, pointer = chance.random() < 0.5, chance.random() < 0.6, chance.random() < 0.6
    sigma, fade_s = chance.choice((0.0, 3.0, 7.0)), chance.choice((0.0, 0.4, 0.8))
    parts, starts, builds, t_s, number = [], [], 0, 0.0, 1000 * seed
    while t_s < 170:
        starts.append(round(t_s, 2))
        last = chance.randint(2, 5)
        first = chance.randint(1, last) if chance.random() < 0.5 else last
        for bullets in range(first, last + 1):
            parts.append((round(t_s, 2), slide(number, bullets, dark=dark, size=size)))
            t_s += chance.uniform(3.6, 9.0)
        builds += last - first
        number += 1
    base, unit = shots(parts, fade_s), size[1] / 360

    def at(at_s: float) -> Image.Image:
        image = base(at_s)
        if inset:
            image = speaker(image, at_s, round(505 * unit), round(225 * unit), round(120 * unit))
        if pointer:
            step = min(at_s % 9, 4.0) + 4 * (at_s // 9)
            x, y = unit * (300 + 200 * math.sin(step * 0.7)), unit * (190 + 120 * math.sin(step))
            image = image if inset else image.copy()
            ImageDraw.Draw(image).ellipse((x - 4, y - 4, x + 4, y + 4), "#d02020")
        return grain(image, at_s, sigma) if sigma else image

    name = f"mixed_{seed}" if size == SIZE else f"mixed_{seed}_{size[1]}p"
    return Style(name, round(t_s, 1), at, tuple(starts), builds=builds, size=size, fps=fps)


def one_frame() -> Style:
    """A single frame."""
    return Style("one_frame", 0.1, lambda _: slide(0), (0.0,))


def one_pixel() -> Style:
    """Pictures of one pixel that change their colour."""
    colours = ("#000000", "#ffffff", "#ff0000")
    return Style(
        "one_pixel",
        18.0,
        lambda t: Image.new("RGB", (1, 1), colours[int(t // 6) % 3]),
        (),
        size=(1, 1),
        codec="ffv1",
        pix_fmt="bgr0",
        suffix=".mkv",
    )


def odd_size() -> Style:
    """A width and height that nothing divides."""
    times = tuple(6.2 * n for n in range(4))
    parts = [(t, slide(n, size=(641, 353))) for n, t in enumerate(times)]
    return Style("odd_size", 24.8, shots(parts), times, size=(641, 353), pix_fmt="yuv444p")


STYLES: tuple[Style, ...] = (
    hard_cuts(), quick(), fades(), bullet_builds(), dimmed_builds(), same_title(), webcam(),
    webcam_pauses(), webcam_jumps(), cursor(), dark_grain(), fixed_gop(), handwriting(),
    caption_swaps(), burnt_subtitles(), video_inside(), camera_between(), talking_head(), film(),
    cut_interview(), blank_parts(), sparse_frames(), uneven_frames(), rotated(), one_frame(),
    one_pixel(), odd_size(), mixed(1), mixed(2), mixed(3), mixed(4),
    _other("no_b_frames", options={"bf": "0"}),
    _other("ten_bit", codec="libx265", pix_fmt="yuv420p10le", options=_QUIET_X265),
    _other("vp9", codec="libvpx-vp9", suffix=".webm", options=_FAST_VP9),
    _other("mjpeg", codec="mjpeg", pix_fmt="yuvj420p", suffix=".avi"),
    _other("mpeg_ts", suffix=".ts"),
)  # fmt: skip
BY_NAME = {style.name: style for style in STYLES}


# --- encoding --------------------------------------------------------------------------------


def make_video(style: Style, folder: Path) -> Path:
    """Encode `style` into `folder`; returns the file."""
    path = folder / f"{style.name}{style.suffix}"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(style.codec, rate=style.fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = style.size
        stream.pix_fmt = style.pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if style.suffix == ".avi":
            stream.time_base = stream.codec_context.time_base = Fraction(1, style.fps)
        stream.options = {"preset": "ultrafast", "bf": "2", "threads": "1", **style.options}
        if style.codec in ("mjpeg", "ffv1", "libvpx-vp9"):
            stream.options = {"threads": "1", **style.options}
        if style.rotation:
            stream.set_display_rotation(style.rotation)
        for frame in _frames(style, stream.codec_context.time_base):
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _frames(style: Style, base: Fraction) -> Iterator[av.VideoFrame]:
    times = style.times or [n / style.fps for n in range(round(style.duration_s * style.fps))]
    last, frame = None, None
    for t_s in times:
        image = style.picture(t_s)
        if frame is None or image is not last:
            frame, last = av.VideoFrame.from_image(image).reformat(format=style.pix_fmt), image
        frame.pts = round(t_s / base)
        frame.time_base = base
        yield frame


# --- judging ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """How well the times that were found fit the truth."""

    wanted: int
    found: int
    hits: int
    late_s: tuple[float, ...]
    """Found minus true time, of the hits."""

    @property
    def false(self) -> int:
        """Found without being wanted."""
        return self.found - self.hits


def score(wanted: Iterable[float], found: Iterable[float], tolerance_s: float = 1.2) -> Score:
    """Pair each wanted time with the nearest found one within the tolerance, each used once."""
    left, late, total = sorted(found), [], sorted(wanted)
    count = len(left)
    for t_s in total:
        near = [f for f in left if abs(f - t_s) <= tolerance_s]
        if near:
            best = min(near, key=lambda f: abs(f - t_s))
            left.remove(best)
            late.append(round(best - t_s, 3))
    return Score(len(total), count, len(late), tuple(late))
