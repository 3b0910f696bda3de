"""Draw the slides of the examples with Pillow.

Fonts: DejaVu Sans for English, Noto Sans CJK for Chinese (Debian: fonts-dejavu-core,
fonts-noto-cjk). They are needed only to make the videos again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from lectures import Lecture, Slide
from PIL import Image, ImageDraw, ImageFont

SIZE = (1280, 720)
FONTS = {
    ("en", False): "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    ("en", True): "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
    ("zh", False): "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    ("zh", True): "/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc",
}
SIMPLIFIED = 2
"""Face number of "Noto Sans CJK SC" in the collection."""


@dataclass(frozen=True)
class Theme:
    """Colours of a deck."""

    ground: str
    text: str
    title: str
    accent: str
    soft: str


THEMES = {
    "paper": Theme("#fbfaf6", "#22313f", "#0b5d66", "#d9822b", "#dfe7e4"),
    "ink": Theme("#ffffff", "#1d1d2b", "#37318f", "#c2375b", "#e6e5f4"),
    "night": Theme("#161c28", "#e8edf5", "#7fc8ff", "#ffb454", "#2a3446"),
}


@cache
def font(language: str, size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The deck's font at `size` pixels."""
    index = SIMPLIFIED if language == "zh" else 0
    return ImageFont.truetype(FONTS[language, bold], size, index=index)


def draw_slide(lecture: Lecture, slide: Slide, bullets: int, number: int) -> Image.Image:
    """The slide with its first `bullets` bullets; `number` counts from 1."""
    theme = THEMES[lecture.theme]
    image = Image.new("RGB", SIZE, theme.ground)
    draw = ImageDraw.Draw(image)
    lines = [step.bullet for step in slide.steps if step.bullet][:bullets]
    if slide.subtitle:
        _title_page(draw, theme, lecture.language, slide)
    else:
        _heading(draw, theme, lecture.language, slide.title)
    if slide.drawing:
        {"curve": _curve, "buckets": _buckets, "halving": _halving, "leaf": _leaf}[slide.drawing](
            draw, theme
        )
    for row, line in enumerate(lines):
        _bullet(draw, theme, lecture.language, 210 + 110 * row, line)
    label = f"{number} / {len(lecture.slides)}"
    draw.text((1180, 668), label, theme.title, font("en", 22))
    return image


def _title_page(draw: ImageDraw.ImageDraw, theme: Theme, language: str, slide: Slide) -> None:
    draw.rectangle((0, 250, 24, 470), theme.accent)
    draw.text((90, 262), slide.title, theme.title, font(language, 66, bold=True))
    draw.text((90, 390), slide.subtitle, theme.text, font(language, 38))


def _heading(draw: ImageDraw.ImageDraw, theme: Theme, language: str, title: str) -> None:
    draw.text((80, 58), title, theme.title, font(language, 54, bold=True))
    draw.rectangle((80, 140, 1200, 145), theme.accent)


def _bullet(draw: ImageDraw.ImageDraw, theme: Theme, language: str, y: int, line: str) -> None:
    draw.ellipse((84, y + 14, 102, y + 32), theme.accent)
    draw.text((128, y), line, theme.text, font(language, 36))


def _curve(draw: ImageDraw.ImageDraw, theme: Theme) -> None:
    left, top, width, height = 780, 230, 400, 320
    draw.line((left, top, left, top + height, left + width, top + height), theme.text, 4)
    points = [
        (left + x, top + 20 + (height - 60) * (1 - math.exp(-x / 70))) for x in range(0, width, 4)
    ]
    draw.line(points, theme.accent, 7, joint="curve")


def _buckets(draw: ImageDraw.ImageDraw, theme: Theme) -> None:
    for row in range(5):
        y = 200 + 72 * row
        draw.rounded_rectangle((860, y, 1180, y + 56), 10, theme.soft, theme.title, 3)
        draw.text((876, y + 12), str(row), theme.title, font("en", 26, bold=True))
    draw.line((770, 300, 850, 372), theme.accent, 6)
    draw.polygon(((850, 380), (830, 372), (846, 354)), theme.accent)


def _halving(draw: ImageDraw.ImageDraw, theme: Theme) -> None:
    for row, (start, stop) in enumerate(((0, 16), (8, 16), (8, 12), (10, 12))):
        for cell in range(16):
            x, y = 760 + 27 * cell, 220 + 80 * row
            inside = start <= cell < stop
            draw.rectangle((x, y, x + 22, y + 44), theme.accent if inside else theme.soft)


def _leaf(draw: ImageDraw.ImageDraw, theme: Theme) -> None:
    draw.ellipse((1090, 180, 1180, 270), "#f2b632")
    tip, base = (1090, 330), (800, 590)
    upper = _arc(base, tip, bulge=0.34)
    lower = _arc(tip, base, bulge=0.34)
    draw.polygon([*upper, *lower], "#5fb06a")
    draw.line((760, 626, *base, 1060, 357), "#2f6d3b", 7)


def _arc(start: tuple[int, int], end: tuple[int, int], bulge: float) -> list[tuple[float, float]]:
    """Points of a bow from `start` to `end` that leaves the chord by `bulge` of its length."""
    (x0, y0), (x1, y1) = start, end
    points = []
    for step in range(41):
        part = step / 40
        lift = bulge * 4 * part * (1 - part)
        x = x0 + (x1 - x0) * part + (y1 - y0) * lift
        y = y0 + (y1 - y0) * part - (x1 - x0) * lift
        points.append((x, y))
    return points


def draw_speaker(image: Image.Image, loudness: float, t_s: float) -> Image.Image:
    """A copy of `image` with the speaker inset: sways with time, mouth open by 0..1 loudness."""
    out = image.copy()
    draw = ImageDraw.Draw(out)
    left, top = 1040, 505
    draw.rectangle((left, top, left + 220, top + 150), "#3b4a5a")
    x = left + 110 + round(9 * math.sin(t_s * 1.7))
    y = top + 64 + round(4 * math.sin(t_s * 2.9))
    draw.ellipse((x - 75, y + 40, x + 75, y + 180), "#7b5ea7")
    draw.rectangle((left, top + 150, left + 220, top + 240), THEMES["ink"].ground)
    draw.ellipse((x - 38, y - 48, x + 38, y + 48), "#f0c9a4")
    draw.chord((x - 40, y - 54, x + 40, y + 26), 180, 360, "#4a3326")
    for eye in (x - 15, x + 15):
        draw.ellipse((eye - 4, y - 10, eye + 4, y - 2), "#2b2b2b")
    mouth = 2 + round(13 * min(1.0, loudness))
    draw.ellipse((x - 12, y + 20 - mouth // 2, x + 12, y + 20 + mouth), "#99372f")
    return out
