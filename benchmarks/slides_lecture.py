"""Recordings for the slide benchmark at the pace of lectures: third set, pages of 20 to 90 s.

The convention and the way to make them are those of `slides_heldout`; the looks are others again.
The two other sets turn a page every 5 to 10 s, which shows how well a detector sees; this one shows
what a lecture costs. Written before the detector was run on it; nothing was mended on it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from benchmarks import slides_film as sf
from benchmarks import slides_pages as sp
from benchmarks.slides_film import Film, Pixels, Speaker, pixels
from benchmarks.slides_heldout import FIXED, LARGE, SMALL, X264, Style, writing
from benchmarks.slides_pages import Look


def _stay(rng: random.Random) -> float:
    """Seconds that a page is talked about: 20 to 90, half of them below 40."""
    return 20 + 70 * rng.random() ** 1.8


def seminar(film: Film, rng: random.Random) -> None:
    """Pages of text, tables, charts and quotes on warm paper; now and then a point comes later."""
    look = Look(
        sp.gradient((255, 252, 244), (246, 236, 220)),
        (45, 40, 35),
        (140, 40, 20),
        "serif",
        furniture=sp.corporate_bars,
    )
    for number in range(5):
        make = (sp.bullets, sp.table, sp.quote, sp.chart)[number % 4]
        stay = _stay(rng)
        if make is not sp.bullets:
            film.turn(make(look, film.size, number, number + 6), stay)
            continue
        film.turn(sp.bullets(look, film.size, number, number + 6, 2), stay / 2)
        page = sp.bullets(look, film.size, number, number + 6, 9)
        film.hold(page, stay / 2)
        film.full(page.lines)


def camera_inset(film: Film, rng: random.Random) -> None:
    """The speaker in the upper right corner, all the time."""
    w, h = film.size
    camera = Speaker(round(w * 0.2), round(h * 0.24), rng.randrange(999))
    film.dress = sf.inset(camera, w - camera.w, 0)
    look = Look(sp.gradient((250, 250, 255), (228, 232, 246)), accent=(70, 30, 110), top=0.26)
    for number in range(5):
        make = (sp.bullets, sp.code)[number % 2]
        film.turn(make(look, film.size, number, number + 2), _stay(rng))


def walking_speaker(film: Film, rng: random.Random) -> None:
    """A cut-out speaker before the page, who walks over to the other side every half minute."""
    w, h = film.size
    person = Speaker(round(w * 0.26), round(h * 0.6), rng.randrange(999), 1.2)
    person.room = Image.new("RGB", (person.w, person.h), (0, 255, 0))
    look = Look(sp.gradient((30, 34, 52), (52, 56, 88)), (240, 242, 250), (255, 200, 90))

    def dress(picture: Pixels, t: float) -> Pixels:
        view = person.at(t)
        green = (view[..., 1] > 200) & (view[..., 0] < 60)
        side = 0.5 + 0.5 * math.tanh(4 * math.sin(2 * math.pi * t / 60))
        left = round((w - person.w) * (0.45 + 0.55 * side))
        out = picture.copy()
        spot = out[h - person.h :, left : left + person.w]
        spot[:] = np.where(green[..., None], spot, view)
        return out

    film.dress = dress
    for number in range(5):
        make = (sp.bullets, sp.chart, sp.quote)[number % 3]
        film.turn(make(look, film.size, number, number + 9), _stay(rng), "fade", 0.5)


def clips_inside(film: Film, rng: random.Random) -> None:
    """Two of the pages hold a clip that plays for a while and then stands still."""
    w, h = film.size
    look = Look(
        sp.flat((255, 255, 255)), (30, 30, 30), (0, 120, 90), "plain", furniture=sp.thin_footer
    )
    for number in range(5):
        page = sp.bullets(look, film.size, number, number + 11, 2 if number % 3 == 1 else 9)
        stay = _stay(rng)
        if number % 3 != 1:
            film.turn(page, stay)
            continue
        x, y, cw, ch = round(w * 0.4), round(h * 0.52), round(w * 0.5), round(h * 0.42)
        view = sp.landscape(cw * 3, ch, random.Random(rng.randrange(999)))
        draw = _clip(pixels(page), pixels(view), (x, y, cw, ch))
        film.turn(Image.fromarray(draw(0.0)), 2)
        film.play(15, draw)
        film.hold(Image.fromarray(draw(15.0)), max(3.0, stay - 17))


def _clip(base: Pixels, wide: Pixels, area: tuple[int, int, int, int]) -> Callable[[float], Pixels]:
    x, y, w, h = area

    def draw(t: float) -> Pixels:
        out = base.copy()
        left = round(w * (1 - math.cos(t * 0.4)))
        out[y : y + h, x : x + w] = wide[:, left : left + w]
        return out

    return draw


def animated(film: Film, rng: random.Random) -> None:
    """Charts that grow when they come, pages zoomed in or risen, one ground that breathes."""
    look = Look(
        sp.gradient((20, 60, 70), (10, 30, 45)), (235, 245, 245), (120, 255, 200), face="narrow"
    )
    for number in range(5):
        way = ("rise", "zoom", "iris")[number % 3]
        if number % 2:
            film.turn(sp.chart(look, film.size, number, number + 3, 0.0), 0.4, way)
            steps = round(2.5 * film.fps)
            for step in range(steps):
                page = sp.chart(look, film.size, number, number + 3, step / steps)
                film.hold(page, 1 / film.fps)
            film.hold(sp.chart(look, film.size, number, number + 3), _stay(rng))
        else:
            film.turn(sp.bullets(look, film.size, number, number + 3), _stay(rng), way)


def recorder(film: Film, rng: random.Random) -> None:
    """What recorders of calls write: key frames every ten seconds only, a pointer now and then."""
    w, h = film.size
    look = Look(
        sp.flat((248, 249, 250)), (32, 33, 36), (26, 115, 232), "sans", furniture=sp.thin_footer
    )

    def dress(picture: Pixels, t: float) -> Pixels:
        if t % 40 > 6:
            return picture
        x, y = round(w * (0.5 + 0.3 * math.sin(t * 1.9))), round(h * (0.5 + 0.3 * math.cos(t)))
        out = picture.copy()
        out[y : y + h // 36, x : x + h // 60] = (10, 10, 10)
        return out

    film.dress = dress
    for number in range(5):
        make = (sp.bullets, sp.formulas, sp.table, sp.code)[number % 4]
        film.turn(make(look, film.size, number, number + 4), _stay(rng))


def thin_line(film: Film, rng: random.Random) -> None:
    """70 kbit/s for a page, a camera that never rests, and the rate control that goes with it."""
    w, h = film.size
    camera = Speaker(round(w * 0.22), round(h * 0.28), rng.randrange(999), 1.4)
    film.dress = sf.inset(camera, 0, h - camera.h)
    look = Look(
        sp.gradient((244, 240, 252), (226, 220, 244)), accent=(90, 20, 90), face="narrow", left=0.25
    )
    for number in range(5):
        film.turn(sp.bullets(look, film.size, number, number + 12), _stay(rng))


def whiteboard(film: Film, rng: random.Random) -> None:
    """Ink on a white board, word by word with pauses of thought; wiped twice."""
    w, h = film.size
    for _ in range(3):
        board = Image.new("RGB", (w, h), (250, 250, 248))
        film.turn(board, 1.5)
        for index, points in enumerate(writing(rng, w, h, 16, (0.06, 0.08, 0.92, 0.9))):
            pen = ImageDraw.Draw(board)
            tone = (20, 40, 140) if index % 5 else (190, 30, 30)
            for cut in range(1, len(points), 2):
                pen.line(points[max(0, cut - 2) : cut + 1], fill=tone, width=max(2, h // 120))
                film.hold(board, 1 / film.fps)
            film.hold(board, rng.uniform(0.5, 4))
        film.hold(board, rng.uniform(8, 20))


def hall(film: Film, rng: random.Random) -> None:
    """Pages, and between them the speaker in full size for a quarter of a minute."""
    w, h = film.size
    look = Look(
        sp.gradient((12, 12, 16), (40, 36, 48)), (248, 248, 248), (250, 120, 80), "serif", marks="-"
    )
    full = Speaker(w, h, rng.randrange(999))
    for number in range(5):
        page = sp.bullets(look, film.size, number, number + 14)
        film.turn(page, _stay(rng))
        if number % 3 == 2:
            start = film.t
            film.play(15, full.at)
            film.hold(page, 4)
            film.free.append((start, film.t))


STYLES: dict[str, Style] = {
    "seminar": Style(seminar, LARGE, 20, options=X264),
    "camera_inset": Style(camera_inset, LARGE, 20, options=X264),
    "walking_speaker": Style(walking_speaker, SMALL, 25, options=X264),
    "clips_inside": Style(clips_inside, LARGE, 20, options=X264),
    "animated": Style(animated, LARGE, 20, options=X264),
    "recorder": Style(recorder, LARGE, 20, 250, options=FIXED),
    "thin_line": Style(thin_line, SMALL, 15, bit_rate=70_000, options={"preset": "superfast"}),
    "whiteboard": Style(whiteboard, LARGE, 20, options=X264),
    "hall": Style(hall, SMALL, 25, options=X264),
    "web_seminar": Style(
        recorder,
        LARGE,
        20,
        160,
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8"},
        500_000,
        "webm",
    ),
}
