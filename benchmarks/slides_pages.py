"""Pages of made-up talks, drawn with Pillow: what the slide and OCR benchmarks show and read.

Truth: every page knows the lines that are on it, in reading order. Same seed, same pages.
Never: reads a file other than fonts, uses the network, knows a detector.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]

FONTS = {
    "sans": "dejavu/DejaVuSans.ttf",
    "serif": "dejavu/DejaVuSerif.ttf",
    "mono": "dejavu/DejaVuSansMono.ttf",
    "math": "dejavu/DejaVuMathTeXGyre.ttf",
    "plain": "liberation/LiberationSans-Regular.ttf",
    "narrow": "liberation/LiberationSansNarrow-Regular.ttf",
    "italic": "liberation/LiberationSerif-Italic.ttf",
    "zh": "../opentype/noto/NotoSansCJK-Regular.ttc",
}
FONT_ROOT = Path("/usr/share/fonts/truetype")

TOPICS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Photosynthesis in brief",
        (
            "Light reactions store energy in ATP",
            "Carbon is fixed in the stroma",
            "Rubisco is slow but abundant",
            "Shade leaves are thin and wide",
        ),
    ),
    (
        "The causes of inflation",
        (
            "Demand grows faster than supply",
            "Wages follow prices with a delay",
            "Central banks raise interest rates",
            "Expectations can feed on themselves",
        ),
    ),
    (
        "Bridges and their loads",
        (
            "Dead load comes from the structure",
            "Traffic is a moving load",
            "Wind matters for long spans",
            "Cables carry tension only",
        ),
    ),
    (
        "Sorting in practice",
        (
            "Insertion sort wins on short lists",
            "Merge sort is stable",
            "Quick sort needs a good pivot",
            "Radix sort never compares keys",
        ),
    ),
    (
        "Cells and their walls",
        (
            "Plants build walls of cellulose",
            "Fungi prefer chitin",
            "Bacteria use a mesh of sugars",
            "Animal cells have none at all",
        ),
    ),
    (
        "How vaccines are tested",
        (
            "Phase one looks for harm",
            "Phase two finds the dose",
            "Phase three compares with placebo",
            "Monitoring goes on for years",
        ),
    ),
    (
        "A history of paper",
        (
            "Bark and rags were boiled together",
            "Mills spread along the rivers",
            "Wood pulp made it cheap",
            "Acid makes old pages brittle",
        ),
    ),
    (
        "Rivers shape the land",
        (
            "Fast water carries gravel",
            "Meanders move downstream",
            "Deltas form where flow slows",
            "Floods renew the fertile plain",
        ),
    ),
    (
        "What a contract needs",
        (
            "An offer that is clear",
            "Acceptance without changes",
            "Something of value on each side",
            "People who may sign it",
        ),
    ),
    (
        "Stars and their colours",
        (
            "Blue stars burn hot and fast",
            "Red dwarfs live very long",
            "Our sun is a yellow dwarf",
            "Dust makes distant light redder",
        ),
    ),
    (
        "Memory and forgetting",
        (
            "Recall is stronger than rereading",
            "Sleep fixes what was learned",
            "Spacing beats cramming",
            "Old cues bring back old facts",
        ),
    ),
    (
        "Electric motors today",
        (
            "Magnets turn inside a coil",
            "Copper loss grows with current",
            "Cooling limits the peak power",
            "Control needs rotor position",
        ),
    ),
    (
        "Public transport planning",
        (
            "Frequency matters more than speed",
            "Transfers should be short",
            "Buses need their own lanes",
            "Fares must be easy to grasp",
        ),
    ),
    (
        "Reading a balance sheet",
        (
            "Assets equal debts plus equity",
            "Stock is valued at cost",
            "Goodwill is tested each year",
            "Cash is harder to dress up",
        ),
    ),
    (
        "Sound in large rooms",
        (
            "Echoes blur the consonants",
            "Curtains absorb high notes",
            "Bass needs thick material",
            "Seats change the sound when full",
        ),
    ),
    (
        "The carbon cycle",
        (
            "Oceans take up a quarter",
            "Forests store it for decades",
            "Soils hold more than air",
            "Rocks bind it for ages",
        ),
    ),
    (
        "Bread and its chemistry",
        (
            "Gluten forms a stretchy net",
            "Yeast eats simple sugars",
            "Salt slows the dough down",
            "Crust browns above 140 degrees",
        ),
    ),
    (
        "Maps and projections",
        (
            "No flat map keeps everything",
            "Mercator keeps the angles",
            "Equal area maps bend shapes",
            "Choose by what you compare",
        ),
    ),
)

TOPICS_ZH: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "光合作用简介",
        (
            "光反应把能量储存起来",
            "叶绿体位于叶肉细胞中",
            "二氧化碳在基质中被固定",
            "温度影响酶的活性",
        ),
    ),
    (
        "通货膨胀的原因",
        ("需求增长快于供给", "工资随物价缓慢上升", "中央银行提高利率", "预期会自我实现"),
    ),
    (
        "河流与地貌",
        ("急流能够搬运砾石", "河曲不断向下游移动", "三角洲形成于河口", "洪水带来肥沃的土壤"),
    ),
    (
        "排序算法",
        ("插入排序适合短列表", "归并排序是稳定的", "快速排序依赖基准选择", "基数排序不比较元素"),
    ),
    ("恒星的颜色", ("蓝色恒星温度很高", "红矮星寿命很长", "太阳是一颗黄矮星", "尘埃使星光变红")),
    (
        "学习与记忆",
        ("主动回忆胜过反复阅读", "睡眠巩固学到的知识", "间隔复习效果更好", "线索可以唤起旧的记忆"),
    ),
    (
        "电动机原理",
        ("磁铁在线圈中转动", "电流越大损耗越多", "散热限制了最大功率", "控制需要转子位置"),
    ),
    (
        "公共交通规划",
        ("班次比速度更重要", "换乘距离应当尽量短", "公交车需要专用车道", "票价应当简单易懂"),
    ),
)

CODE = (
    (
        "def mean(values):",
        "    total = sum(values)",
        "    return total / len(values)",
        "",
        "print(mean([3, 5, 9]))",
    ),
    (
        "class Stack:",
        "    def __init__(self):",
        "        self.items = []",
        "",
        "    def push(self, item):",
        "        self.items.append(item)",
    ),
    (
        "for row in table:",
        "    if row.price > limit:",
        "        continue",
        "    basket.add(row.name)",
        "    limit -= row.price",
    ),
    (
        "import json",
        "",
        "with open('plan.json') as f:",
        "    plan = json.load(f)",
        "for step in plan['steps']:",
        "    print(step['title'])",
    ),
    (
        "SELECT city, avg(rent)",
        "FROM homes",
        "WHERE rooms >= 2",
        "GROUP BY city",
        "ORDER BY avg(rent) DESC;",
    ),
    (
        "fn area(w: f64, h: f64) -> f64 {",
        "    w * h",
        "}",
        "",
        "fn main() {",
        "    let a = area(2.0, 3.5);",
        "    dbg!(a);",
        "}",
    ),
    (
        "while queue:",
        "    node = queue.popleft()",
        "    for other in graph[node]:",
        "        if other not in seen:",
        "            queue.append(other)",
    ),
    (
        "const rows = await load(url)",
        "rows.sort(byDate)",
        "render(rows.slice(0, 20))",
        "status.textContent = 'done'",
    ),
)

FORMULAS = (
    ("∫ f(x) dx = F(b) − F(a)", "F′(x) = f(x)", "∑ aₙ xⁿ = 1 / (1 − x)"),
    ("∂u/∂t = α ∂²u/∂x²", "u(0, t) = u(L, t) = 0", "uₙ = sin(nπx / L)"),
    ("det(A − λI) = 0", "A v = λ v", "tr A = λ₁ + λ₂"),
    ("P(A|B) = P(B|A) P(A) / P(B)", "E[X] = ∑ x p(x)", "Var X = E[X²] − E[X]²"),
    ("∇ · E = ρ / ε₀", "∇ × B = μ₀ J", "F = q (E + v × B)"),
    ("eⁱᵗ = cos t + i sin t", "z = r eⁱᵗ", "|z|² = z z*"),
    ("S = k log W", "dU = T dS − p dV", "η = 1 − T₁ / T₂"),
    ("xₙ₊₁ = xₙ − f(xₙ) / f′(xₙ)", "|eₙ₊₁| ≤ C |eₙ|²", "f(x) = x² − 2"),
)


@dataclass(frozen=True)
class Page:
    """A drawn page: the picture as RGB and the lines on it, top to bottom."""

    picture: Image.Image
    lines: tuple[str, ...] = ()
    language: str = "en"


@dataclass(frozen=True)
class Look:
    """How a deck looks; `furniture` draws header, footer, logo with the page number."""

    ground: Callable[[int, int, random.Random], Image.Image]
    ink: Colour = (25, 28, 35)
    accent: Colour = (30, 90, 170)
    face: str = "sans"
    language: str = "en"
    furniture: Callable[[Image.Image, int, Look], None] | None = None
    left: float = 0.07
    top: float = 0.12
    same_ground: bool = True
    seed: int = 0
    marks: str = "•"
    _cache: dict[tuple[int, int], Image.Image] = field(default_factory=dict, compare=False)

    def blank(self, size: tuple[int, int], number: int) -> Image.Image:
        """The empty page `number` of the deck."""
        if self.same_ground and size in self._cache:
            page = self._cache[size].copy()
        else:
            rng = random.Random(self.seed * 1000 + (0 if self.same_ground else number))
            page = self.ground(*size, rng).convert("RGB")
            self._cache[size] = page.copy()
        if self.furniture is not None:
            self.furniture(page, number, self)
        return page


def font(face: str, size: float) -> ImageFont.FreeTypeFont:
    """A font of at least 8 pixels; Chinese falls back to nothing: see `has_chinese`."""
    index = 2 if face == "zh" else 0
    return ImageFont.truetype(str(FONT_ROOT / FONTS[face]), max(8, round(size)), index=index)


def has_chinese() -> bool:
    """Whether a font with Chinese characters is installed where we look."""
    return (FONT_ROOT / FONTS["zh"]).exists()


# --- grounds ------------------------------------------------------------------------------


def flat(colour: Colour) -> Callable[[int, int, random.Random], Image.Image]:
    """One colour."""
    return lambda w, h, _rng: Image.new("RGB", (w, h), colour)


def gradient(first: Colour, last: Colour, slope: float = 0.4):
    """A straight gradient from the upper left to the lower right."""

    def paint(w: int, h: int, _rng: random.Random) -> Image.Image:
        y, x = np.mgrid[0:h, 0:w]
        part = np.clip(x / w * slope + y / h * (1 - slope), 0, 1)[..., None]
        return Image.fromarray((np.array(first) * (1 - part) + np.array(last) * part).astype("u1"))

    return paint


def clouds(w: int, h: int, rng: random.Random) -> np.ndarray:
    """Value noise of five octaves, 0 to 1, float32 (h, w)."""
    noise = np.random.default_rng(rng.randrange(1 << 30))
    total = np.zeros((h, w), "f4")
    for octave in range(1, 6):
        grid = noise.random((2**octave + 1, 2**octave + 1)).astype("f4")
        layer = Image.fromarray(grid).resize((w, h), Image.Resampling.BICUBIC)
        total += np.asarray(layer) / 2**octave
    return (total - total.min()) / max(1e-6, float(np.ptp(total)))


def landscape(w: int, h: int, rng: random.Random) -> Image.Image:
    """A picture in the manner of a photo: sky, clouds, ridges, grain."""
    hue = [rng.randint(90, 200), rng.randint(110, 190), rng.randint(150, 240)]
    base = np.array(hue, "f4") * (0.55 + 0.6 * clouds(w, h, rng)[..., None])
    x = np.arange(w)
    for ridge in range(4):
        wave = sum(
            np.sin(x / w * rng.uniform(3, 25) + rng.uniform(0, 6)) / (k + 1) for k in range(4)
        )
        top = h * (0.4 + 0.14 * ridge + 0.05 * wave)
        shade = np.array([rng.randint(20, 110) for _ in "rgb"], "f4") * (1 - 0.15 * ridge)
        mask = np.arange(h)[:, None] > top[None, :]
        base[mask] = (shade * (0.7 + 0.6 * clouds(w, h, rng)[..., None]))[mask]
    grain = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 5, (h, w, 1))
    return Image.fromarray(np.clip(base + grain, 0, 255).astype("u1"))


def dimmed(w: int, h: int, rng: random.Random) -> Image.Image:
    """A photo darkened for text over it."""
    return Image.blend(landscape(w, h, rng), Image.new("RGB", (w, h), (8, 10, 22)), 0.55)


def paper(w: int, h: int, rng: random.Random) -> Image.Image:
    """Warm paper with fibres."""
    tone = np.array([246, 238, 220], "f4") - 14 * clouds(w, h, rng)[..., None]
    return Image.fromarray(tone.astype("u1"))


def board(w: int, h: int, rng: random.Random) -> Image.Image:
    """A green board with wiped chalk."""
    tone = np.array([38, 78, 60], "f4") + 22 * clouds(w, h, rng)[..., None]
    return Image.fromarray(tone.astype("u1"))


# --- furniture ----------------------------------------------------------------------------


def corporate_bars(page: Image.Image, number: int, look: Look) -> None:
    """A header bar, a logo, a footer with the page number."""
    w, h = page.size
    pen = ImageDraw.Draw(page)
    pen.rectangle((0, 0, w, h * 0.07), fill=look.accent)
    pen.ellipse((w * 0.93, h * 0.012, w * 0.955, h * 0.058), fill=(255, 200, 60))
    pen.rectangle((0, h * 0.94, w, h), fill=(225, 228, 235))
    small = font("plain", h * 0.028)
    pen.text((w * 0.02, h * 0.95), "Northwind Institute | spring term", (90, 95, 105), font=small)
    pen.text((w * 0.95, h * 0.95), str(number), (90, 95, 105), font=small)


def side_list(page: Image.Image, number: int, look: Look) -> None:
    """A list of sections at the left; the current one is marked."""
    w, h = page.size
    pen = ImageDraw.Draw(page)
    pen.rectangle((0, 0, w * 0.16, h), fill=look.accent)
    small = font("narrow", h * 0.032)
    for index, name in enumerate(("Start", "Method", "Data", "Results", "Outlook")):
        on = index == number // 2 % 5
        tone = (255, 255, 255) if on else (140, 160, 190)
        pen.text((w * 0.02, h * (0.15 + 0.12 * index)), name, tone, font=small)


def thin_footer(page: Image.Image, number: int, look: Look) -> None:
    """A line and a page number."""
    w, h = page.size
    pen = ImageDraw.Draw(page)
    pen.line((w * 0.06, h * 0.93, w * 0.94, h * 0.93), fill=look.accent, width=2)
    pen.text((w * 0.9, h * 0.94), f"{number} / 40", look.ink, font=font("plain", h * 0.03))


# --- kinds of pages -----------------------------------------------------------------------


def bullets(look: Look, size: tuple[int, int], number: int, topic: int, shown: int = 9) -> Page:
    """A title and up to four points; `shown` of them (a build shows fewer)."""
    w, h = size
    chinese = look.language == "zh"
    title, points = TOPICS_ZH[topic % len(TOPICS_ZH)] if chinese else TOPICS[topic % len(TOPICS)]
    page = look.blank(size, number)
    pen = ImageDraw.Draw(page)
    face = "zh" if chinese else look.face
    pen.text((w * look.left, h * look.top), title, look.accent, font=font(face, h * 0.085))
    lines = [title]
    for index, point in enumerate(points[:shown]):
        y = h * (look.top + 0.2 + 0.13 * index)
        pen.text((w * look.left, y), look.marks, look.accent, font=font("sans", h * 0.055))
        pen.text((w * (look.left + 0.04), y), point, look.ink, font=font(face, h * 0.055))
        lines.append(point)
    return Page(page, tuple(lines), look.language)


def heading(look: Look, size: tuple[int, int], number: int, topic: int) -> Page:
    """A section page: one large line in the middle."""
    w, h = size
    page = look.blank(size, number)
    text = TOPICS[topic % len(TOPICS)][0]
    pen = ImageDraw.Draw(page)
    pen.text((w / 2, h / 2), text, look.accent, font=font(look.face, h * 0.1), anchor="mm")
    return Page(page, (text,))


TOKENS = (
    "def",
    "class",
    "for",
    "if",
    "in",
    "return",
    "while",
    "import",
    "with",
    "fn",
    "let",
    "const",
)


def code(look: Look, size: tuple[int, int], number: int, which: int, shown: int = 99) -> Page:
    """A listing with line numbers and coloured words."""
    w, h = size
    page = look.blank(size, number)
    pen = ImageDraw.Draw(page)
    face = font("mono", h * 0.05)
    rows = CODE[which % len(CODE)][:shown]
    for index, row in enumerate(rows):
        y = h * (0.14 + 0.085 * index)
        pen.text((w * 0.03, y), str(index + 1), (110, 115, 130), font=face)
        x = w * 0.09
        for word in row.replace("    ", "\t").split(" "):
            word = word.replace("\t", "    ")
            bare = word.strip().rstrip(":")
            tone = (255, 120, 160) if bare in TOKENS else look.ink
            if any(mark in word for mark in "'0123456789"):
                tone = (160, 220, 120)
            pen.text((x, y), word, tone, font=face)
            x += pen.textlength(word + " ", font=face)
    return Page(page, tuple(row for row in rows if row))


def table(look: Look, size: tuple[int, int], number: int, which: int, shown: int = 9) -> Page:
    """A table of five rows and four columns; `shown` rows of it."""
    w, h = size
    rng = random.Random(which * 77 + look.seed)
    page = look.blank(size, number)
    pen = ImageDraw.Draw(page)
    title = TOPICS[which % len(TOPICS)][0]
    pen.text((w * look.left, h * look.top), title, look.accent, font=font(look.face, h * 0.075))
    names = rng.sample(["Oslo", "Lima", "Kyoto", "Accra", "Turin", "Quito", "Perth", "Malmö"], 5)
    years = [str(2000 + rng.randint(1, 24)) for _ in range(3)]
    rows = [["City", *years]] + [[n] + [str(rng.randint(10, 9999)) for _ in "abc"] for n in names]
    face = font(look.face, h * 0.05)
    for r, row in enumerate(rows[: shown + 1]):
        y = h * (look.top + 0.16 + 0.1 * r)
        tint = (205, 215, 230) if r == 0 else ((240, 243, 248) if r % 2 else (252, 252, 252))
        pen.rectangle((w * 0.07, y, w * 0.93, y + h * 0.095), fill=tint, outline=(170, 175, 185))
        for c, cell in enumerate(row):
            pen.text((w * (0.09 + 0.22 * c), y + h * 0.018), cell, (30, 32, 40), font=face)
    return Page(page, (title, *(" ".join(row) for row in rows[: shown + 1])))


def chart(look: Look, size: tuple[int, int], number: int, which: int, grown: float = 1.0) -> Page:
    """A bar chart whose bars have grown to the share `grown`."""
    w, h = size
    rng = random.Random(which * 131 + look.seed)
    page = look.blank(size, number)
    pen = ImageDraw.Draw(page)
    title = TOPICS[which % len(TOPICS)][0]
    pen.text((w * look.left, h * look.top), title, look.accent, font=font(look.face, h * 0.075))
    pen.line((w * 0.1, h * 0.86, w * 0.92, h * 0.86), fill=look.ink, width=2)
    count = rng.randint(4, 8)
    for index in range(count):
        tall = h * 0.5 * rng.uniform(0.2, 1.0) * min(1.0, max(0.0, grown * 1.6 - index * 0.08))
        x = w * (0.12 + 0.8 * index / count)
        tone = tuple(rng.randint(40, 220) for _ in "rgb")
        pen.rectangle((x, h * 0.86 - tall, x + w * 0.5 / count, h * 0.86), fill=tone)
    return Page(page, (title,))


def formulas(look: Look, size: tuple[int, int], number: int, which: int, shown: int = 9) -> Page:
    """A title and up to three display formulas."""
    w, h = size
    page = look.blank(size, number)
    pen = ImageDraw.Draw(page)
    title = TOPICS[(which * 5 + 2) % len(TOPICS)][0]
    pen.text((w * look.left, h * look.top), title, look.accent, font=font("italic", h * 0.08))
    for index, row in enumerate(FORMULAS[which % len(FORMULAS)][:shown]):
        y = h * (0.38 + 0.17 * index)
        pen.text((w / 2, y), row, look.ink, font=font("math", h * 0.075), anchor="mm")
    return Page(page)


def picture_page(look: Look, size: tuple[int, int], number: int, which: int) -> Page:
    """A picture with a caption under it."""
    w, h = size
    page = look.blank(size, number)
    photo = landscape(int(w * 0.6), int(h * 0.6), random.Random(which * 13 + look.seed))
    page.paste(photo, (int(w * 0.2), int(h * 0.12)))
    caption = TOPICS[which % len(TOPICS)][1][which % 4]
    pen = ImageDraw.Draw(page)
    pen.text((w / 2, h * 0.82), caption, look.ink, font=font(look.face, h * 0.05), anchor="mm")
    return Page(page, (caption,))


def quote(look: Look, size: tuple[int, int], number: int, topic: int) -> Page:
    """Two sentences in italics, a thick rule at the left."""
    w, h = size
    page = look.blank(size, number)
    pen = ImageDraw.Draw(page)
    rows = TOPICS[topic % len(TOPICS)][1][:2]
    pen.rectangle((w * 0.1, h * 0.3, w * 0.107, h * 0.7), fill=look.accent)
    for index, row in enumerate(rows):
        spot = (w * 0.13, h * (0.36 + 0.14 * index))
        pen.text(spot, row, look.ink, font=font("italic", h * 0.07))
    return Page(page, tuple(rows))


def soft(picture: Image.Image, radius: float) -> Image.Image:
    """A blurred copy."""
    return picture.filter(ImageFilter.GaussianBlur(radius))
