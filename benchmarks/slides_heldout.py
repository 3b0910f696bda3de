"""Recordings for the slide benchmark that the detector was not tuned on: first set.

Each function draws one recording of 60 to 180 s. What counts as a new page: what a reader would
turn a leaf for. A build (points, table rows, growing bars, written words, a pop-up, a moving
highlight) is part of its page; so are pictures that move inside a page, an inset that changes its
size, and noise. A view of the speaker in full size, the way back from it to the same page, and text
while it scrolls count neither for nor against. Seeded: the same seed gives the same pictures.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks import slides_film as sf
from benchmarks import slides_pages as sp
from benchmarks.slides_film import Film, Pixels, Speaker, pixels
from benchmarks.slides_pages import Look

Recipe = Callable[[Film, random.Random], None]
SMALL, LARGE = (640, 360), (1280, 720)


@dataclass(frozen=True)
class Style:
    """How one recording is drawn and encoded."""

    draw: Recipe
    size: tuple[int, int]
    fps: int
    gop: int = 250
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    bit_rate: int = 0
    kind: str = "mp4"


def corporate(film: Film, rng: random.Random) -> None:
    """Header, footer and page numbers on a gradient; points appear one by one; cuts."""
    look = Look(sp.gradient((252, 252, 255), (205, 218, 238)), furniture=sp.corporate_bars)
    for number in range(1, 10):
        shown = 1 if number % 2 else 9
        page = sp.bullets(look, film.size, number, number + 1, shown)
        film.turn(page, rng.uniform(3, 6))
        for more in range(shown + 1, 5):
            page = sp.bullets(look, film.size, number, number + 1, more)
            film.hold(page, rng.uniform(1.5, 3.5))
        film.full(page.lines)


def photo_fades(film: Film, rng: random.Random) -> None:
    """White text over photos, another photo for each page; cross-fades of 0.6 to 1.4 s."""
    look = Look(
        sp.dimmed, (255, 255, 255), (255, 220, 120), same_ground=False, seed=rng.randrange(99)
    )
    for number in range(10):
        make = (sp.bullets, sp.heading, sp.quote)[number % 3]
        page = make(look, film.size, number, number * 5 + 3)
        film.turn(page, rng.uniform(5, 9), "fade", rng.uniform(0.6, 1.4))


def code_dark(film: Film, rng: random.Random) -> None:
    """Listings on a dark ground; lines are typed, then a highlight walks; cuts."""
    look = Look(sp.flat((30, 31, 40)), (220, 222, 230), (120, 190, 255))
    for number in range(8):
        rows = len(sp.CODE[number])
        start = 1 if number % 3 == 0 else rows
        film.turn(sp.code(look, film.size, number, number, start), rng.uniform(2.0, 4))
        for more in range(start + 1, rows + 1):
            film.hold(sp.code(look, film.size, number, number, more), rng.uniform(0.7, 1.6))
        page = sp.code(look, film.size, number, number)
        film.full(page.lines)
        for row in range(rng.randint(1, min(4, rows))):
            film.hold(_highlight(page.picture, row), rng.uniform(1.5, 3))


def _highlight(picture: Image.Image, row: int) -> Image.Image:
    w, h = picture.size
    lit = Image.blend(picture, Image.new("RGB", (w, h), (200, 180, 60)), 0.22)
    out = picture.copy()
    y = round(h * (0.13 + 0.085 * row))
    out.paste(lit.crop((0, y, w, y + round(h * 0.08))), (0, y))
    return out


def tables_push(film: Film, rng: random.Random) -> None:
    """Tables that fill row by row and charts whose bars grow; pages pushed in."""
    look = Look(
        sp.flat((250, 250, 247)), accent=(150, 60, 30), face="plain", furniture=sp.thin_footer
    )
    for number in range(9):
        way = ("push", "rise")[number % 2]
        if number % 2:
            film.turn(sp.chart(look, film.size, number, number, 0.0), 0.8, way)
            steps = round(1.8 * film.fps)
            for step in range(steps):
                film.hold(sp.chart(look, film.size, number, number, step / steps), 1 / film.fps)
            page = sp.chart(look, film.size, number, number)
        else:
            film.turn(sp.table(look, film.size, number, number, 0), 1.5, way)
            for row in range(1, 6):
                page = sp.table(look, film.size, number, number, row)
                film.hold(page, rng.uniform(0.8, 1.5))
        film.full(page.lines)
        film.hold(page, rng.uniform(3, 6))


def formulas_wipe(film: Film, rng: random.Random) -> None:
    """Formula pages in serifs on white, one line after another; wipes."""
    look = Look(
        sp.flat((255, 255, 255)), (0, 0, 0), (20, 20, 120), "serif", furniture=sp.thin_footer
    )
    for number in range(8):
        film.turn(sp.formulas(look, film.size, number, number, 1), rng.uniform(3, 5), "wipe")
        film.hold(sp.formulas(look, film.size, number, number, 2), rng.uniform(2, 4))
        film.hold(sp.formulas(look, film.size, number, number, 3), rng.uniform(3, 5))


def zoom_pictures(film: Film, rng: random.Random) -> None:
    """Pictures with captions, pages zoomed in over the one before, then drifting slowly larger."""
    look = Look(sp.gradient((35, 25, 60), (90, 40, 90), 0.9), (245, 240, 250), (255, 170, 90))
    for number in range(8):
        make = (sp.picture_page, sp.bullets)[number % 2]
        page = make(look, film.size, number, number * 3 + 1)
        film.turn(page, 0.4, "zoom", 0.9)
        if number % 2:
            film.hold(page, rng.uniform(6, 8))
        else:
            film.play(rng.uniform(6, 8), _drift(page.picture))


def _drift(picture: Image.Image) -> Callable[[float], Pixels]:
    w, h = picture.size

    def draw(t: float) -> Pixels:
        cut = 0.006 * t
        return pixels(
            picture.resize(
                (w, h), Image.Resampling.BILINEAR, (w * cut, h * cut, w * (1 - cut), h * (1 - cut))
            )
        )

    return draw


def changing_inset(film: Film, rng: random.Random) -> None:
    """The speaker in a corner, larger beside the page, in full size, and back; cuts."""
    w, h = film.size
    look = Look(sp.gradient((240, 246, 240), (215, 232, 222), 0.1), accent=(20, 100, 70), top=0.06)
    seed = rng.randrange(999)
    full = Speaker(w, h, seed)
    sizes = [Speaker(round(w * s), round(h * s), seed) for s in (0.18, 0.3)]
    dresses = [sf.inset(s, w - s.w - 8, h - s.h - 8) for s in sizes]
    for number in range(9):
        film.dress = dresses[number // 3 % 2]
        page = sp.bullets(look, film.size, number, number + 4)
        film.turn(page, rng.uniform(4, 7))
        if number % 3 == 1:
            film.dress = dresses[(number // 3 + 1) % 2]
            film.hold(page, rng.uniform(3, 5))
        if number % 4 == 3:
            film.dress, start = None, film.t
            film.play(rng.uniform(4, 7), full.at)
            film.dress = dresses[number // 3 % 2]
            film.hold(page, 3)
            film.free.append((start, film.t))


def lightboard(film: Film, rng: random.Random) -> None:
    """Neon writing on glass before a moving person in the dark; wiped four times."""
    w, h = film.size
    person = Speaker(w, h, rng.randrange(999))
    person.room = Image.new("RGB", (w, h), (6, 6, 10))
    person.coat, person.skin = (28, 28, 40), (96, 72, 60)
    for board in range(5):
        glow = Image.new("RGB", (w, h))
        if board:
            film.turns.append(sf.Turn(film.t, film.t + 1.5))
        lit = pixels(glow)
        film.play(1.5, lambda t, lit=lit: np.maximum(person.at(film.t), lit))
        tone = rng.choice([(80, 255, 180), (255, 120, 220), (255, 230, 90), (120, 200, 255)])
        for points in writing(rng, w, h, 11, (0.05, 0.1, 0.9, 0.9)):
            pen = ImageDraw.Draw(glow)
            for cut in range(1, len(points), 2):
                pen.line(points[max(0, cut - 2) : cut + 1], fill=tone, width=max(2, h // 110))
                film.frame(np.maximum(person.at(film.t), pixels(glow)))
        lit = pixels(glow)
        film.play(rng.uniform(3, 6), lambda t, lit=lit: np.maximum(person.at(film.t), lit))


def writing(
    rng: random.Random, w: int, h: int, words: int, area: tuple[float, float, float, float]
) -> list[list[tuple[float, float]]]:
    """Words as points, placed in lines within `area` (shares of the frame)."""
    x0, y0, x1, y1 = (area[0] * w, area[1] * h, area[2] * w, area[3] * h)
    x, y, out, tall = x0, y0 + 0.06 * h, [], 0.09 * h
    for _ in range(words):
        wide = rng.uniform(0.1, 0.24) * w
        if x + wide > x1:
            x, y = x0, y + 1.5 * tall
        if y > y1:
            break
        out.append(sf.scribble(rng, x, y, wide, tall))
        x += wide + 0.03 * w
    return out


def paper_notes(film: Film, rng: random.Random) -> None:
    """A hand writes on paper filmed from above; a fresh sheet is slid in four times."""
    w, h = film.size
    noisy = sf.grain(film.size, rng.randrange(999), 3)
    for _ in range(5):
        sheet = sp.paper(w, h, random.Random(rng.randrange(999)))
        film.dress = noisy
        film.turn(sheet, 0.6, "push", 0.9)
        film.dress = None
        for points in writing(rng, w, h, 12, (0.06, 0.06, 0.92, 0.92)):
            pen = ImageDraw.Draw(sheet)
            for cut in range(1, len(points), 2):
                pen.line(
                    points[max(0, cut - 2) : cut + 1], fill=(30, 40, 110), width=max(2, h // 140)
                )
                film.frame(noisy(_hand(sheet, points[cut]), film.t))
        film.dress = noisy
        film.hold(sheet, rng.uniform(2, 5))
        film.dress = None


def _hand(sheet: Image.Image, tip: tuple[float, float]) -> Pixels:
    out = sheet.copy()
    pen, h = ImageDraw.Draw(out), sheet.height
    x, y = tip
    pen.line((x, y, x + 0.1 * h, y + 0.14 * h), fill=(20, 20, 20), width=max(3, h // 60))
    pen.ellipse(sf.box((x + 0.17 * h, y + 0.22 * h), 0.12 * h), fill=(205, 160, 130))
    pen.line((x + 0.2 * h, y + 0.3 * h, x + 0.6 * h, y + 1.2 * h), fill=(60, 70, 90), width=h // 6)
    return pixels(out)


def video_inside(film: Film, rng: random.Random) -> None:
    """Pages of text; three of them hold a playing clip with cuts of its own."""
    w, h = film.size
    look = Look(
        sp.flat((18, 24, 38)),
        (235, 238, 245),
        (90, 200, 220),
        "plain",
        furniture=sp.side_list,
        left=0.2,
    )
    for number in range(9):
        page = sp.bullets(look, film.size, number, number + 8, 2 if number % 3 == 1 else 9)
        if number % 3 != 1:
            film.turn(page, rng.uniform(5, 8), "fade", 0.4)
            continue
        area = (round(w * 0.5), round(h * 0.5), round(w * 0.42), round(h * 0.42))
        clip = _clip(rng, area[2], area[3])
        still = page.picture.copy()
        still.paste(Image.fromarray(clip(0.0)), area[:2])
        film.turn(sp.Page(still, page.lines), 0.5, "fade", 0.4)
        base = pixels(page)

        def draw(
            t: float, base: Pixels = base, clip: Callable = clip, area: tuple = area
        ) -> Pixels:
            out = base.copy()
            x, y, cw, ch = area
            out[y : y + ch, x : x + cw] = clip(t)
            return out

        film.play(rng.uniform(9, 13), draw)


def _clip(rng: random.Random, w: int, h: int) -> Callable[[float], Pixels]:
    """A film of panning views, cut every 2.5 s."""
    views = [sp.landscape(w * 2, h, random.Random(rng.randrange(9999))) for _ in range(4)]

    def draw(t: float) -> Pixels:
        view, left = views[int(t / 2.5) % 4], int((t * 0.13 % 1) * w)
        return pixels(view)[:, left : left + w]

    return draw


def screen_recording(film: Film, rng: random.Random) -> None:
    """Windows of an editor and a browser: scrolling, pop-ups, a pointer, jumps to other files."""
    w, h = film.size
    mouse = {"x": w * 0.5, "y": h * 0.5}
    film.dress = _pointer(mouse, w, h)
    for number in range(8):
        tall = _document(rng, w, h * 3, dark=number % 2 == 0, number=number)
        view = tall.crop((0, 0, w, h))
        if number % 3 == 2:
            film.turn(view, rng.uniform(3, 5))
            film.hold(_popup(view, number), rng.uniform(2, 4))
            film.hold(view, rng.uniform(2, 3))
            continue
        film.turn(view, rng.uniform(3, 5))
        start, far = film.t, round(h * rng.uniform(0.6, 1.6))
        seconds = far / h * 5
        film.play(
            seconds,
            lambda t, tall=tall, far=far, s=seconds: pixels(
                tall.crop((0, round(far * t / s), w, round(far * t / s) + h))
            ),
        )
        film.hold(tall.crop((0, far, w, far + h)), rng.uniform(3, 5))
        film.free.append((start, start + seconds + 2.0))


def _document(rng: random.Random, w: int, h: int, dark: bool, number: int) -> Image.Image:
    ground, ink = ((28, 28, 34), (205, 205, 210)) if dark else ((253, 253, 253), (40, 40, 45))
    page = Image.new("RGB", (w, h), ground)
    pen = ImageDraw.Draw(page)
    face = sp.font("mono" if dark else "serif", w * 0.02)
    title = sp.TOPICS[(number * 5 + 1) % len(sp.TOPICS)][0]
    pen.text((w * 0.06, w * 0.04), title, (220, 120, 60), font=sp.font("sans", w * 0.03))
    y = w * 0.1
    while y < h:
        if rng.random() < 0.85:
            rows = rng.choice(sp.CODE) if dark else rng.choice(sp.TOPICS)[1]
            pen.text((w * (0.06 + 0.03 * rng.randint(0, 2)), y), rng.choice(rows), ink, font=face)
        y += w * 0.031
    return page


def _popup(view: Image.Image, number: int) -> Image.Image:
    out = view.copy()
    w, h = out.size
    pen = ImageDraw.Draw(out)
    pen.rectangle(
        (w * 0.33, h * 0.35, w * 0.67, h * 0.6), fill=(236, 236, 240), outline=(90, 90, 90)
    )
    pen.text(
        (w * 0.36, h * 0.4), "Save changes first?", (20, 20, 20), font=sp.font("sans", h * 0.04)
    )
    pen.rectangle((w * 0.55, h * 0.52, w * 0.64, h * 0.57), fill=(40, 110, 220))
    return out


def _pointer(mouse: dict[str, float], w: int, h: int) -> sf.Dress:
    def dress(picture: Pixels, t: float) -> Pixels:
        if int(t / 4) % 2:  # it rests every other four seconds
            mouse["x"] = w * (0.5 + 0.35 * math.sin(t * 1.1))
            mouse["y"] = h * (0.5 + 0.3 * math.sin(t * 1.7))
        x, y, s = round(mouse["x"]), round(mouse["y"]), max(6, h // 40)
        out = picture.copy()
        out[y : y + s, x : x + s // 2] = (0, 0, 0)
        out[y + 1 : y + s - 1, x + 1 : x + s // 2 - 1] = (255, 255, 255)
        return out

    return dress


def filmed_screen(film: Film, rng: random.Random) -> None:
    """A phone films the projection: tilt, shake, noise, exposure; cuts and short fades."""
    film.dress = sf.phone(film.size, rng.randrange(999))
    look = Look(sp.gradient((250, 250, 252), (226, 232, 245)), accent=(120, 30, 60), face="serif")
    for number in range(9):
        make = (sp.bullets, sp.table, sp.chart)[number % 3]
        how = ("cut", "fade")[number % 2]
        film.turn(make(look, film.size, number, number + 2), rng.uniform(5, 9), how, 0.3)


def plain_deck(film: Film, rng: random.Random) -> None:
    """The commonest deck there is: text on white, tables, charts, pictures; cuts."""
    look = Look(
        sp.flat((255, 255, 255)), (40, 40, 40), (0, 70, 130), "plain", furniture=sp.thin_footer
    )
    for number in range(10):
        make = (sp.bullets, sp.table, sp.picture_page, sp.quote, sp.chart)[number % 5]
        film.turn(make(look, film.size, number, number + 1), rng.uniform(4, 11))


def low_bits(film: Film, rng: random.Random) -> None:
    """Few bits for a page and a lively camera: blocks and smears; cuts."""
    w, h = film.size
    speaker = Speaker(round(w * 0.24), round(h * 0.32), rng.randrange(999), 1.6)
    film.dress = sf.inset(speaker, w - speaker.w, 0)
    look = Look(
        sp.gradient((20, 40, 70), (10, 15, 30), 0.0), (240, 240, 240), (255, 190, 70), top=0.2
    )
    for number in range(9):
        film.turn(sp.bullets(look, film.size, number, number + 6), rng.uniform(5, 10))


def explainer(film: Film, rng: random.Random) -> None:
    """An animated film: shapes that never rest on plain grounds, a new scene every 8 s."""
    w, h = film.size
    for number in range(9):
        ground = tuple(rng.randint(0, 255) for _ in "rgb")
        title, seed = sp.TOPICS[(number * 7 + 3) % len(sp.TOPICS)][0], rng.randrange(999)
        draw = _shapes(w, h, ground, title, seed)
        film.turn(Image.fromarray(draw(0.0)), 0, ("cut", "fade", "wipe")[number % 3], 0.6)
        film.play(rng.uniform(6, 9), draw)


def _shapes(w: int, h: int, ground: sp.Colour, title: str, seed: int) -> Callable[[float], Pixels]:
    rng = random.Random(seed)
    things = [
        (rng.uniform(0.1, 0.9), rng.uniform(0.3, 0.9), rng.uniform(0.03, 0.12), rng.uniform(0.5, 2),
         tuple(rng.randint(0, 255) for _ in "rgb"), rng.random() < 0.5)
        for _ in range(6)
    ]  # fmt: skip
    ink = (255, 255, 255) if sum(ground) < 380 else (0, 0, 0)

    def draw(t: float) -> Pixels:
        page = Image.new("RGB", (w, h), ground)
        pen = ImageDraw.Draw(page)
        pen.text((w / 2, h * 0.12), title, ink, font=sp.font("sans", h * 0.08), anchor="mm")
        for x, y, r, speed, tone, is_round in things:
            spot = (
                w * (x + 0.06 * math.sin(t * speed * 2)),
                h * (y + 0.07 * math.cos(t * speed * 2)),
            )
            shape = pen.ellipse if is_round else pen.rectangle
            shape(sf.box(spot, r * h), fill=tone)
        return pixels(page)

    return draw


def living_ground(film: Film, rng: random.Random) -> None:
    """A template with light spots that drift all the time behind the text; fades."""
    w, h = film.size
    look = Look(sp.flat((0, 0, 0)), (255, 255, 255), (140, 230, 255))
    lights = pixels(sp.soft(sp.landscape(w * 2, h, rng), h / 8)) // 2

    def dress(picture: Pixels, t: float) -> Pixels:
        left = round(w * (0.5 + 0.45 * math.sin(t * 0.35)))
        return np.maximum(lights[:, left : left + w], picture)

    film.dress = dress
    for number in range(8):
        film.turn(sp.bullets(look, film.size, number, number * 2), rng.uniform(6, 9), "fade", 0.5)


def meeting(film: Film, rng: random.Random) -> None:
    """A call: the shared page, a column of three cameras, a frame that moves to who speaks."""
    w, h = film.size
    cameras = [Speaker(round(w * 0.2), round(h * 0.25), rng.randrange(999)) for _ in range(3)]
    look = Look(
        sp.flat((255, 255, 255)), accent=(100, 20, 140), face="plain", furniture=sp.thin_footer
    )
    shared = (round(w * 0.76), round(h * 0.76))

    def dress(picture: Pixels, t: float) -> Pixels:
        out = picture.copy()
        for index, camera in enumerate(cameras):
            x, y = w - camera.w - 8, 12 + index * (camera.h + 10)
            if index == int(t / 3.5) % 3:
                out[y - 4 : y + camera.h + 4, x - 4 : x + camera.w + 4] = (90, 220, 90)
            out[y : y + camera.h, x : x + camera.w] = camera.at(t)
        return out

    film.dress = dress
    for number in range(9):
        make = (sp.bullets, sp.table, sp.formulas)[number % 3]
        page = make(look, shared, number, number + 5)
        canvas = Image.new("RGB", (w, h), (32, 33, 36))
        canvas.paste(page.picture, (10, round(h * 0.12)))
        film.turn(replace(page, picture=canvas), rng.uniform(5, 9))


def chinese_deck(film: Film, rng: random.Random) -> None:
    """Chinese pages on paper and on green, points one by one; iris and blinds."""
    face = "zh" if sp.has_chinese() else "en"
    for number in range(8):
        ground, ink = ((sp.paper, (50, 35, 30)), (sp.board, (240, 245, 235)))[number // 4]
        accent = ((160, 30, 30), (255, 220, 130))[number // 4]
        look = Look(ground, ink, accent, language=face)
        film.turn(sp.bullets(look, film.size, number, number, 2), 3, ("iris", "blinds")[number % 2])
        page = sp.bullets(look, film.size, number, number)
        film.hold(page, rng.uniform(4, 7))
        film.full(page.lines)


X264 = {"preset": "superfast", "crf": "24"}
FIXED = X264 | {"sc_threshold": "0"}

STYLES: dict[str, Style] = {
    "corporate": Style(corporate, LARGE, 25, options=X264),
    "photo_fades": Style(photo_fades, LARGE, 25, options=X264),
    "code_dark": Style(code_dark, SMALL, 25, options=X264),
    "tables_push": Style(tables_push, LARGE, 25, 50, options=FIXED),
    "formulas_wipe": Style(formulas_wipe, SMALL, 24, 48, options=FIXED),
    "zoom_pictures": Style(zoom_pictures, SMALL, 25, options=X264),
    "changing_inset": Style(changing_inset, LARGE, 15, options=X264),
    "lightboard": Style(lightboard, SMALL, 20, options=X264),
    "paper_notes": Style(paper_notes, SMALL, 25, 60, options=FIXED),
    "video_inside": Style(video_inside, LARGE, 25, options=X264),
    "screen_recording": Style(screen_recording, LARGE, 15, options=X264),
    "filmed_screen": Style(filmed_screen, SMALL, 20, options=X264),
    "long_gop": Style(plain_deck, LARGE, 25, 250, options=FIXED),
    "low_bits": Style(low_bits, SMALL, 15, bit_rate=60_000, options={"preset": "superfast"}),
    "explainer": Style(explainer, SMALL, 24, options=X264),
    "living_ground": Style(living_ground, SMALL, 24, options=X264),
    "meeting": Style(meeting, LARGE, 15, 150, options=FIXED),
    "chinese_deck": Style(chinese_deck, LARGE, 25, options=X264),
    "webm_deck": Style(
        plain_deck,
        SMALL,
        25,
        128,
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8"},
        300_000,
        "webm",
    ),
}

# The recording on which the thresholds of others are tuned; it is not scored.
TUNING = Style(plain_deck, SMALL, 25, options=X264)


def make(style: Style, name: str, folder: Path, seed: int) -> Path:
    """Draw and encode one recording with its truth (`NAME.json`) beside it; made ones are kept."""
    target = folder / f"{name}-{seed}.{style.kind}"
    truth = target.with_suffix(".json")
    if target.exists() and truth.exists():
        return target
    film = Film(
        target, style.size, style.fps, style.codec, style.options, style.gop, style.bit_rate
    )
    style.draw(film, random.Random(f"{name} {seed}"))
    film.close()
    known = {"name": name, "seconds": film.t, "size": list(style.size), "free": film.free}
    known["turns"] = [asdict(turn) for turn in film.turns]
    truth.write_text(json.dumps(known, ensure_ascii=False, indent=1))
    return target
