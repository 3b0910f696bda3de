"""Read the text on a slide image.

Truth: what RapidOCR (PP-OCR models inside its wheel) recognises with confidence, in the order in
which people read: columns from left to right, rows from top to bottom.
Never: reaches the network, uses more than one thread, logs.
Raises: FileMissingError, FileUnreadableError, CorruptMediaError for an image that cannot be
decoded; DependencyMissing without the local extra.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from gs_video_report.errors import CorruptMediaError, DependencyMissing, from_os_error
from gs_video_report.media.container import display_name

MIN_CONFIDENCE = 0.6
MIN_HEIGHT = 0.012
"""Of the picture's height: smaller writing cannot be read reliably."""
_BULLETS = "●•·∙▪■□◦○►▶▸◆◇–—-*❖➢✓"
_LEADING_BULLET = re.compile(rf"^[{re.escape(_BULLETS)}]+(?=\s|[^\W\d_])\s*")
_TITLE_ZONE = 0.45


@dataclass(frozen=True, slots=True)
class TextLine:
    """One line of text and where it stands, in pixels of the image."""

    text: str
    confidence: float
    """0 to 1."""
    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class SlideText:
    """The text of one image."""

    text: str
    """Rows in reading order, separated by newlines; empty when there is none."""
    lines: tuple[TextLine, ...]
    title: str
    """Largest text near the top; empty when nothing stands out as such."""
    unread_lines: int = 0
    """Boxes that look like writing of a readable size, but whose reading is not to be trusted."""


def read_slide(image_path: str, language_hint: str = "") -> SlideText:
    """Read the image at `image_path`. About 0.5 s for a slide of 1280 x 720.

    Args:
        language_hint: ISO 639-1 code of the speech, empty when unknown. The models read Chinese,
            Japanese and Latin scripts at once; in a recording in another language than those two,
            a doubtful ideograph is taken for a drawing.
    """
    pixels = _load(image_path)
    found = _engine()(pixels)
    if found.txts is None or found.boxes is None:
        return SlideText("", (), "")
    height, width = int(pixels.shape[0]), int(pixels.shape[1])
    boxes = [_line(*item) for item in zip(found.boxes, found.txts, found.scores, strict=True)]
    return arrange(boxes, width, height, language_hint)


def arrange(
    boxes: Sequence[TextLine], width: int, height: int, language_hint: str = ""
) -> SlideText:
    """Drop noise and bullets, bring boxes into reading order, join them to rows, find the title."""
    wide = language_hint.lower()[:2] in ("", "zh", "ja", "yu", "ko")
    cleaned = [_cleaned(box) for box in boxes]
    kept = [box for box in cleaned if _is_text(box, height, wide)]
    unread = sum(_is_unread(box, height) for box in cleaned if box not in kept)
    lines = tuple(_joined(row) for row in reading_order(kept, width))
    text = "\n".join(line.text for line in lines)
    return SlideText(text, lines, find_title(lines, height), unread)


# --- reading order ---------------------------------------------------------------------------


def reading_order(boxes: Sequence[TextLine], width: int) -> list[list[TextLine]]:
    """Rows of boxes in reading order.

    The page is cut along white space, across first and then down (recursive X-Y cut, Nagy and
    Seth 1984), so that columns are read one after the other.
    """
    return [row for block in _blocks(list(boxes), width, deep=0) for row in _rows(block)]


def _blocks(boxes: list[TextLine], width: int, deep: int) -> list[list[TextLine]]:
    if len(boxes) < 4 or deep > 6:
        return [boxes] if boxes else []
    columns = _cut(boxes, gap=0.03 * width)
    if len(columns) > 1 and all(len(c) >= 2 for c in columns):
        return [b for column in columns for b in _blocks(column, width, deep + 1)]
    for position in _headings(boxes):
        head, body = boxes_split(boxes, position)
        if head and body and len(_cut(body, 0.03 * width)) > 1:
            return _blocks(head, width, deep + 1) + _blocks(body, width, deep + 1)
    return [boxes]


def boxes_split(boxes: list[TextLine], y: float) -> tuple[list[TextLine], list[TextLine]]:
    """Boxes whose middle is above `y`, and the others."""
    above = [b for b in boxes if b.y + b.h / 2 < y]
    return above, [b for b in boxes if b.y + b.h / 2 >= y]


def _headings(boxes: list[TextLine]) -> list[float]:
    """Heights of white space between rows, from the top."""
    rows = _rows(boxes)
    return [
        (max(b.y + b.h for b in upper) + min(b.y for b in lower)) / 2
        for upper, lower in pairwise(rows)
    ]


def _cut(boxes: list[TextLine], gap: float) -> list[list[TextLine]]:
    """Columns: groups of boxes with white space of at least `gap` pixels between them."""
    columns: list[list[TextLine]] = []
    right = float("-inf")
    for box in sorted(boxes, key=lambda b: (b.x, b.y)):
        if box.x - right >= gap or not columns:
            columns.append([])
        columns[-1].append(box)
        right = max(right, box.x + box.w)
    return columns


def _rows(boxes: list[TextLine]) -> list[list[TextLine]]:
    """Boxes whose middles lie within half a height of each other, left to right."""
    rows: list[list[TextLine]] = []
    for box in sorted(boxes, key=lambda b: (b.y + b.h / 2, b.x)):
        middle = box.y + box.h / 2
        if rows:
            first = rows[-1][0]
            if abs(first.y + first.h / 2 - middle) < 0.5 * min(first.h, box.h):
                rows[-1].append(box)
                continue
        rows.append([box])
    return [sorted(row, key=lambda b: b.x) for row in rows]


def _joined(row: list[TextLine]) -> TextLine:
    text = row[0].text
    for before, box in pairwise(row):
        near = box.x - before.x - before.w < 0.3 * before.h
        tight = near and (_is_wide(text[-1:]) or _is_wide(box.text[:1]))
        text += ("" if tight else " ") + box.text
    x, y = min(b.x for b in row), min(b.y for b in row)
    return TextLine(
        text=text,
        confidence=round(min(b.confidence for b in row), 4),
        x=x,
        y=y,
        w=max(b.x + b.w for b in row) - x,
        h=max(b.y + b.h for b in row) - y,
    )


def _is_wide(character: str) -> bool:
    """Written without spaces: Chinese, Japanese."""
    return unicodedata.east_asian_width(character) in ("W", "F") if character else False


# --- title -----------------------------------------------------------------------------------


def find_title(lines: Sequence[TextLine], height: int) -> str:
    """The largest writing in the upper part; rows of the same size below it belong to it."""
    upper = [n for n, line in enumerate(lines) if line.y + line.h / 2 < _TITLE_ZONE * height]
    if not upper:
        upper = [n for n, line in enumerate(lines) if line.y < 0.6 * height]
    if not upper:
        return ""
    largest = max(lines[n].h for n in upper)
    first = next(n for n in upper if lines[n].h >= 0.85 * largest)
    words = [lines[first].text]
    if len(lines) > 3:
        for line, before in zip(lines[first + 1 : first + 3], lines[first:], strict=False):
            typical = sorted(each.h for each in lines)[len(lines) // 2]
            if line.h < 0.85 * largest or largest < 1.2 * typical:
                break
            if line.y - before.y - before.h > 0.8 * largest:
                break
            words.append(line.text)
    return " ".join(words)


# --- boxes -----------------------------------------------------------------------------------


def _line(box: Any, text: str, score: float) -> TextLine:
    xs, ys = [float(p[0]) for p in box], [float(p[1]) for p in box]
    x, y = round(min(xs)), round(min(ys))
    return TextLine(text, round(float(score), 4), x, y, round(max(xs)) - x, round(max(ys)) - y)


def _cleaned(line: TextLine) -> TextLine:
    text = "".join(c if c.isprintable() else " " for c in line.text)
    text = _LEADING_BULLET.sub("", " ".join(text.split()))
    return TextLine(text, line.confidence, line.x, line.y, line.w, line.h)


def _is_text(line: TextLine, height: int, wide_expected: bool) -> bool:
    letters = [c for c in line.text if c.isalnum()]
    if not letters:
        return False
    least = MIN_CONFIDENCE if len(letters) > 1 else 0.8
    if line.h < MIN_HEIGHT * height:
        least = 0.9
    if not wide_expected and any(map(_is_wide, letters)):
        least = 0.95
    return line.confidence >= least


def _is_unread(line: TextLine, height: int) -> bool:
    """Dropped for doubt, although it is as large as writing and has several letters."""
    letters = sum(c.isalnum() for c in line.text)
    return letters > 2 and line.h >= MIN_HEIGHT * height and line.w > line.h


# --- engine ----------------------------------------------------------------------------------


def _load(image_path: str) -> Any:
    """Pixels as uint8 of shape (height, width, 3), blue first, as RapidOCR wants them."""
    name = display_name(image_path)
    try:
        import numpy as np
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise _missing() from error
    try:
        with Path(image_path).open("rb") as file, Image.open(file) as picture:
            rgb = np.asarray(picture.convert("RGB"))
    except UnidentifiedImageError as error:
        raise CorruptMediaError(f"{name}: this is not a picture that can be read") from error
    except OSError as error:
        if error.errno is None:  # Pillow's own: cut short
            raise CorruptMediaError(f"{name}: the picture is damaged") from error
        raise from_os_error(error, name) from error
    return np.ascontiguousarray(rgb[:, :, ::-1])


@lru_cache(maxsize=1)
def _engine() -> Any:
    """The loaded models, one per process (0.3 s, about 250 MB)."""
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    try:
        import cv2
        from rapidocr import RapidOCR
    except ImportError as error:
        raise _missing() from error
    cv2.setNumThreads(1)
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.use_cls": False,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _missing() -> DependencyMissing:
    return DependencyMissing(
        "reading slides needs RapidOCR, which is not installed",
        hint="pip install 'gs-video-report[local]'",
    )
