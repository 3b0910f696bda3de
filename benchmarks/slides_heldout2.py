"""Recordings for the slide benchmark that the detector was not tuned on: second set, other styles.

The convention and the way to make them are those of `slides_heldout`. Written before the detector
was mended on what the first set showed; nothing was mended on this one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from benchmarks import slides_film as sf
from benchmarks import slides_pages as sp
from benchmarks.slides_film import Film, Pixels, Speaker, pixels
from benchmarks.slides_heldout import FIXED, LARGE, SMALL, X264, Style, writing
from benchmarks.slides_pages import Look


def sectioned(film: Film, rng: random.Random) -> None:
    """A list of sections at the left; two pages each share a title and differ in their points."""
    look = Look(
        sp.flat((250, 250, 252)),
        accent=(44, 62, 102),
        face="serif",
        furniture=sp.side_list,
        left=0.2,
    )
    for number in range(10):
        page = sp.bullets(look, film.size, number, number + 3, 9)
        if number % 2:
            page = _other_points(look, film.size, number)
        film.turn(page, rng.uniform(5, 9))


def _other_points(look: Look, size: tuple[int, int], number: int) -> sp.Page:
    w, h = size
    title, points = sp.TOPICS[number + 2][0], sp.TOPICS[(number + 9) % len(sp.TOPICS)][1]
    page = look.blank(size, number - 1)
    pen = ImageDraw.Draw(page)
    pen.text((w * look.left, h * look.top), title, look.accent, font=sp.font(look.face, h * 0.085))
    for index, point in enumerate(points):
        spot = (w * (look.left + 0.02), h * (0.34 + 0.12 * index))
        pen.text(spot, point, look.ink, font=sp.font(look.face, h * 0.055))
    return sp.Page(page, (title, *points))


def person_in_front(film: Film, rng: random.Random) -> None:
    """The speaker is cut out and stands before the page, without a frame of their own."""
    w, h = film.size
    speaker = Speaker(round(w * 0.32), round(h * 0.62), rng.randrange(999))
    speaker.room = Image.new("RGB", (speaker.w, speaker.h), (0, 255, 0))
    look = Look(sp.gradient((235, 240, 250), (200, 210, 235)), accent=(60, 40, 120))

    def dress(picture: Pixels, t: float) -> Pixels:
        view = speaker.at(t)
        green = (view[..., 1] > 200) & (view[..., 0] < 60)
        out = picture.copy()
        spot = out[h - speaker.h :, w - speaker.w :]
        spot[:] = np.where(green[..., None], spot, view)
        return out

    film.dress = dress
    for number in range(9):
        make = (sp.bullets, sp.code, sp.quote)[number % 3]
        chosen = replace(look, accent=(20, 90, 90)) if number % 2 else look
        film.turn(make(chosen, film.size, number, number + 7), rng.uniform(5, 9))


def captions(film: Film, rng: random.Random) -> None:
    """Subtitles burnt into the pages: a new line every two to four seconds."""
    w, h = film.size
    look = Look(sp.gradient((248, 244, 236), (236, 226, 206)), accent=(150, 70, 0), face="plain")
    lines = [point for _, points in sp.TOPICS for point in points]
    changes, at = [], 0.0
    while at < 150:
        changes.append(at)
        at += rng.uniform(2, 4)

    def dress(picture: Pixels, t: float) -> Pixels:
        index = int(np.searchsorted(changes, t, "right"))
        page = Image.fromarray(picture)
        pen = ImageDraw.Draw(page)
        face = sp.font("sans", h * 0.045)
        text = lines[index % len(lines)].lower()
        half = pen.textlength(text, font=face) / 2 + 8
        pen.rectangle((w / 2 - half, h * 0.885, w / 2 + half, h * 0.95), fill=(0, 0, 0))
        pen.text((w / 2, h * 0.917), text, (255, 255, 255), font=face, anchor="mm")
        return pixels(page)

    film.dress = dress
    for number in range(9):
        make = (sp.bullets, sp.chart, sp.picture_page)[number % 3]
        film.turn(make(look, film.size, number, number + 10), rng.uniform(6, 9), "fade", 0.4)


def news_frame(film: Film, rng: random.Random) -> None:
    """A ticker that runs and a clock that counts, round pages that slide up."""
    w, h = film.size
    look = Look(sp.gradient((10, 20, 60), (40, 60, 120)), (240, 244, 255), (255, 210, 60), top=0.06)
    band = Image.new("RGB", (w * 4, h // 11), (160, 10, 20))
    text = "   +++   ".join(points[0] for _, points in sp.TOPICS)
    ImageDraw.Draw(band).text((8, h // 70), text, (255, 255, 255), font=sp.font("sans", h * 0.045))
    strip = pixels(band)

    def dress(picture: Pixels, t: float) -> Pixels:
        out = picture.copy()
        left = int(t * w * 0.12) % (w * 3)
        out[h - strip.shape[0] :] = strip[:, left : left + w]
        clock = Image.fromarray(out)
        stamp = f"{12 + int(t) // 60:02d}:{int(t) % 60:02d}"
        ImageDraw.Draw(clock).text(
            (w * 0.88, h * 0.02), stamp, (255, 255, 255), font=sp.font("mono", h * 0.05)
        )
        return pixels(clock)

    film.dress = dress
    for number in range(9):
        make = (sp.bullets, sp.heading)[number % 2]
        film.turn(make(look, film.size, number, number * 5), rng.uniform(5, 9), "rise", 0.8)


def canvas_flight(film: Film, rng: random.Random) -> None:
    """One large canvas; the view flies from region to region and rests there."""
    w, h = film.size
    look = Look(sp.gradient((255, 250, 240), (250, 225, 200)), accent=(0, 110, 120))
    canvas = Image.new("RGB", (w * 3, h * 3), (240, 225, 205))
    for number in range(9):
        make = (sp.bullets, sp.table, sp.picture_page)[number % 3]
        page = make(look, (round(w * 0.9), round(h * 0.9)), number, number + 2)
        canvas.paste(page.picture, (w * (number % 3) + w // 20, h * (number // 3) + h // 20))
    order = rng.sample(range(9), 9)
    for step, number in enumerate(order):
        here = (w * (number % 3), h * (number // 3))
        if step:
            last = order[step - 1]
            _fly(film, canvas, (w * (last % 3), h * (last // 3)), here)
        film.hold(canvas.crop((*here, here[0] + w, here[1] + h)), rng.uniform(5, 8))


def _fly(film: Film, canvas: Image.Image, a: tuple[int, int], b: tuple[int, int]) -> None:
    w, h = film.size
    start, steps = film.t, round(1.2 * film.fps)
    for step in range(1, steps):
        p = (1 - math.cos(math.pi * step / steps)) / 2
        out = 1 + 0.8 * math.sin(math.pi * p)
        x, y = a[0] + (b[0] - a[0]) * p + w / 2, a[1] + (b[1] - a[1]) * p + h / 2
        part = (x - w * out / 2, y - h * out / 2, x + w * out / 2, y + h * out / 2)
        film.frame(pixels(canvas.crop(tuple(map(round, part))).resize((w, h))))
    film.turns.append(sf.Turn(start, film.t))


def old_tape(film: Film, rng: random.Random) -> None:
    """Pages of 4:3 between black bars, soft, with the grain of tape."""
    w, h = film.size
    look = Look(sp.flat((20, 20, 150)), (255, 255, 255), (255, 255, 0), "sans", marks="-")
    film.dress = sf.grain(film.size, rng.randrange(999), 6)
    inner = (h * 4 // 3, h)
    for number in range(9):
        page = sp.bullets(look, inner, number, number + 5)
        canvas = Image.new("RGB", (w, h))
        canvas.paste(sp.soft(page.picture, h / 500), ((w - inner[0]) // 2, 0))
        film.turn(
            replace(page, picture=canvas), rng.uniform(5, 9), ("cut", "fade")[number % 2], 0.5
        )


def spreadsheet(film: Film, rng: random.Random) -> None:
    """A grid whose cells are typed one by one; other sheets are opened."""
    w, h = film.size
    for number in range(8):
        page = Image.new("RGB", (w, h), (255, 255, 255))
        pen = ImageDraw.Draw(page)
        pen.rectangle((0, 0, w, h * 0.1), fill=(33, 115, 70))
        pen.text(
            (w * 0.02, h * 0.025),
            f"budget-{2014 + number}",
            (255, 255, 255),
            font=sp.font("plain", h * 0.045),
        )
        for row in range(1, 16):
            y = h * (0.1 + 0.058 * row)
            pen.line((0, y, w, y), fill=(215, 215, 215))
        for column in range(1, 9):
            pen.line((w * column / 8, h * 0.1, w * column / 8, h), fill=(215, 215, 215))
        for row in range(rng.randint(6, 13)):
            for column in range(rng.randint(3, 7)):
                _cell(pen, w, h, row, column, str(rng.randint(1, 99999)))
        film.turn(page, 2.5)
        for _ in range(rng.randint(2, 5)):
            page = page.copy()
            _cell(ImageDraw.Draw(page), w, h, rng.randint(10, 14), rng.randint(0, 7), "total")
            film.hold(page, rng.uniform(0.8, 1.6))
        film.hold(page, rng.uniform(2, 4))


def _cell(pen: ImageDraw.ImageDraw, w: int, h: int, row: int, column: int, text: str) -> None:
    spot = (w * (column / 8 + 0.01), h * (0.107 + 0.058 * row))
    pen.text(spot, text, (30, 30, 30), font=sp.font("plain", h * 0.038))


def film_between(film: Film, rng: random.Random) -> None:
    """Pages, and between them a film in full size with camera moves and cuts."""
    w, h = film.size
    look = Look(
        sp.flat((245, 245, 245)), (20, 20, 20), (190, 30, 45), "narrow", furniture=sp.thin_footer
    )
    for number in range(9):
        film.turn(sp.bullets(look, film.size, number, number + 11), rng.uniform(4, 8))
        if number % 4 == 2:
            views = [
                pixels(sp.landscape(w * 2, h, random.Random(rng.randrange(999)))) for _ in "abc"
            ]
            start = film.t
            film.play(9, lambda t, v=views: v[int(t / 3) % 3][:, int(t % 3 / 3 * w) :][:, :w])
            film.free.append((start, film.t))


def stage(film: Film, rng: random.Random) -> None:
    """A wide view of a stage: the projection is behind a person who walks to and fro."""
    w, h = film.size
    look = Look(sp.flat((244, 244, 238)), accent=(30, 60, 120))
    room = np.full((h, w, 3), (24, 20, 22), "u1")
    room[round(h * 0.86) :] = (66, 46, 30)
    screen = (round(w * 0.56), round(h * 0.56))
    noisy = sf.grain(film.size, rng.randrange(999), 3)

    def dress(picture: Pixels, t: float) -> Pixels:
        page = Image.fromarray(picture)
        pen = ImageDraw.Draw(page)
        x, y = w * (0.5 + 0.33 * math.sin(t * 0.31)), h * 0.56
        r = h * 0.035
        pen.rectangle((x - 1.3 * r, y + r, x + 1.3 * r, y + 5 * r), fill=(50, 50, 70))
        pen.rectangle((x - r, y + 5 * r, x + r, h * 0.9), fill=(28, 28, 36))
        pen.ellipse(sf.box((x, y), r), fill=(214, 170, 140))
        pen.line(
            (x + r, y + 2 * r, x + 3 * r, y + (2 + 1.5 * math.sin(t * 2.2)) * r),
            fill=(50, 50, 70),
            width=max(2, h // 60),
        )
        return noisy(pixels(page), t)

    film.dress = dress
    for number in range(9):
        make = (sp.bullets, sp.chart, sp.picture_page)[number % 3]
        page = make(look, screen, number, number + 1)
        view = Image.fromarray(room)
        view.paste(page.picture, (round(w * 0.22), round(h * 0.1)))
        film.turn(view, rng.uniform(6, 9))


def gallery(film: Film, rng: random.Random) -> None:
    """Pictures that fill the frame, with small captions; cuts, fades, some drift slowly."""
    w, h = film.size
    for number in range(9):
        photo = sp.landscape(w, h, random.Random(rng.randrange(9999)))
        text = sp.TOPICS[number][1][0]
        spot = (w * 0.04, h * 0.9)
        ImageDraw.Draw(photo).text(spot, text, (255, 255, 255), font=sp.font("italic", h * 0.045))
        film.turn(photo, 0.2, ("fade", "cut", "black")[number % 3], 0.9)
        film.play(rng.uniform(6, 9), _slide(photo, 0.008 if number % 2 else 0.0))


def _slide(photo: Image.Image, speed: float) -> Callable[[float], Pixels]:
    still, (w, h) = pixels(photo), photo.size
    if not speed:
        return lambda _t: still
    return lambda t: pixels(
        photo.resize((w, h), Image.Resampling.BILINEAR, (w * speed * t, 0, w, h * (1 - speed * t)))
    )


def quiz(film: Film, rng: random.Random) -> None:
    """A question, then the right answer is marked; the next one soon after."""
    w, h = film.size
    look = Look(sp.gradient((70, 20, 110), (120, 40, 150)), (255, 255, 255), (255, 235, 120))
    for number in range(12):
        page = sp.bullets(look, film.size, number, number + 2)
        film.turn(page, rng.uniform(2.5, 4))
        marked = page.picture.copy()
        y = h * (look.top + 0.19 + 0.13 * (number % 4))
        ImageDraw.Draw(marked).rectangle(
            (w * 0.05, y, w * 0.9, y + h * 0.09), outline=(90, 255, 120), width=4
        )
        film.hold(marked, rng.uniform(2, 3))


def tablet(film: Film, rng: random.Random) -> None:
    """White and coloured ink on a black tablet, no hand; a new sheet is swiped up."""
    w, h = film.size
    for _ in range(5):
        sheet = Image.new("RGB", (w, h), (16, 16, 18))
        film.turn(sheet, 0.8, "rise", 0.5)
        for index, points in enumerate(writing(rng, w, h, 14, (0.06, 0.08, 0.92, 0.9))):
            pen = ImageDraw.Draw(sheet)
            tone = (250, 250, 250) if index % 4 else (120, 200, 255)
            for cut in range(1, len(points), 3):
                pen.line(points[max(0, cut - 3) : cut + 1], fill=tone, width=max(2, h // 130))
                film.hold(sheet, 1 / film.fps)
            film.hold(sheet, rng.uniform(0.2, 0.6))
        film.hold(sheet, rng.uniform(2, 4))


STYLES: dict[str, Style] = {
    "sectioned": Style(sectioned, LARGE, 25, options=X264),
    "person_in_front": Style(person_in_front, SMALL, 20, options=X264),
    "captions": Style(captions, SMALL, 20, options=X264),
    "news_frame": Style(news_frame, SMALL, 25, 100, options=FIXED),
    "canvas_flight": Style(canvas_flight, LARGE, 20, options=X264),
    "old_tape": Style(old_tape, SMALL, 25, 12, "mpeg4", {}, 900_000),
    "spreadsheet": Style(spreadsheet, LARGE, 15, options=X264),
    "film_between": Style(film_between, SMALL, 24, options=X264),
    "stage": Style(stage, LARGE, 10, 100, options=FIXED),
    "gallery": Style(gallery, SMALL, 24, options=X264),
    "quiz": Style(quiz, SMALL, 25, 250, options=FIXED),
    "tablet": Style(tablet, SMALL, 15, 150, options=FIXED),
}
