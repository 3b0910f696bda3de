"""Reading slides: order, rows, bullets, noise and titles as pure logic, then the real models."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from gs_video_report.errors import CorruptMediaError, FileMissingError
from gs_video_report.media.ocr import TextLine, arrange, find_title, read_slide
from gs_video_report.media.slides.find import SlideParams, find_slides
from tests.support.media_video import font, phrase, slide

ROOT = Path(__file__).resolve().parents[2]


def box(text: str, x: int, y: int, w: int = 200, h: int = 30, confidence: float = 0.98) -> TextLine:
    return TextLine(text, confidence, x, y, w, h)


def texts(*boxes: TextLine, hint: str = "") -> list[str]:
    return arrange(boxes, 1280, 720, hint).text.splitlines()


def test_boxes_of_one_row_are_read_from_left_to_right() -> None:
    assert texts(box("right", 700, 103), box("left", 100, 100)) == ["left right"]


def test_rows_are_read_from_top_to_bottom() -> None:
    assert texts(box("two", 100, 200), box("one", 100, 100)) == ["one", "two"]


def test_columns_under_a_title_are_read_one_after_the_other() -> None:
    left = [box(f"left {n}", 100, 200 + 60 * n, 350) for n in range(3)]
    right = [box(f"right {n}", 700, 202 + 60 * n, 350) for n in range(3)]
    title = box("Title over both columns", 100, 60, 900, 60)
    rows = [r for pair in zip(left, right, strict=True) for r in pair]
    assert texts(title, *rows) == [
        "Title over both columns", "left 0", "left 1", "left 2", "right 0", "right 1", "right 2",
    ]  # fmt: skip


def test_ideographs_side_by_side_are_joined_without_a_space() -> None:
    assert texts(box("二分", 100, 100, 60), box("查找", 162, 100, 60)) == ["二分查找"]
    assert texts(box("binary", 100, 100, 60), box("search", 162, 100, 60)) == ["binary search"]


def test_bullets_are_dropped() -> None:
    rows = [box("●", 60, 100, 20), box("• first", 100, 100), box("●second", 100, 160)]
    rows += [box("- third", 100, 220), box("-5 degrees", 100, 280)]
    assert texts(*rows) == ["first", "second", "third", "-5 degrees"]


def test_writing_that_cannot_be_trusted_is_counted_and_specks_are_not() -> None:
    poor = [box("smudged line", 100, 60 * n, confidence=0.4) for n in range(2, 5)]
    specks = [box("~~", 300, 300), box("o", 500, 500, 20, confidence=0.5)]
    specks.append(box("tiny", 9, 9, 40, 5, confidence=0.5))
    found = arrange([box("real text", 100, 60), *poor, *specks], 1280, 720, "en")
    assert (found.text, found.unread_lines) == ("real text", 3)
    assert arrange([], 1280, 720).unread_lines == 0


def test_noise_is_dropped() -> None:
    rows = [box("real text", 100, 100), box("~~", 300, 300), box("o", 500, 500, confidence=0.6)]
    rows.append(box("xq9", 500, 600, confidence=0.4))
    assert texts(*rows) == ["real text"]


def test_doubtful_ideograph_in_an_english_recording_is_taken_for_a_drawing() -> None:
    doubtful = box("口", 500, 300, 40, 40, confidence=0.85)
    assert texts(box("Title", 100, 100), doubtful, hint="en") == ["Title"]
    assert texts(box("Title", 100, 100), doubtful, hint="zh") == ["Title", "口"]


def test_control_characters_become_spaces() -> None:
    assert texts(box("a\u0007b\tc", 100, 100)) == ["a b c"]


def test_title_is_the_largest_text_near_the_top() -> None:
    lines = [
        box("Course 101", 100, 20, h=20),
        box("Sorting", 100, 60, h=60),
        box("first point", 100, 200, h=34),
        box("second point", 100, 260, h=34),
        box("BIG FOOTER", 100, 600, h=90),
    ]
    assert find_title(lines, 720) == "Sorting"


def test_title_of_two_rows_is_joined() -> None:
    lines = [
        box("A long title that", 100, 60, h=58),
        box("goes on", 100, 125, h=58),
        box("point", 100, 300, h=34),
        box("point", 100, 360, h=34),
        box("point", 100, 420, h=34),
    ]
    assert find_title(lines, 720) == "A long title that goes on"


def test_nothing_to_read_has_no_title() -> None:
    assert find_title([], 720) == ""
    assert find_title([box("footer", 100, 690)], 720) == ""


# --- with the models -------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("no_network")
def test_slide_is_read_word_for_word_without_network_or_talk(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    slide(3, 4, size=(1280, 720)).save(tmp_path / "slide.png")
    found = read_slide(str(tmp_path / "slide.png"), "en")
    wanted = [phrase("title 3", 2).title(), *(phrase(f"bullet 3 {n}", 4) for n in range(4))]
    assert found.text.splitlines() == wanted
    assert found.title == wanted[0]
    assert capfd.readouterr() == ("", "")


def test_boxes_are_in_pixels_of_the_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (800, 450), "white")
    ImageDraw.Draw(image).text((300, 200), "somewhere", "black", font(40))
    image.save(tmp_path / "a.jpg", quality=85)
    (line,) = read_slide(str(tmp_path / "a.jpg")).lines
    assert line.text == "somewhere"
    assert line.confidence > 0.9
    assert abs(line.x - 300) < 15
    assert abs(line.y + line.h / 2 - 225) < 15


def test_picture_without_text_gives_none(tmp_path: Path) -> None:
    Image.new("RGB", (640, 360), "#335577").save(tmp_path / "blank.png")
    Image.new("L", (1, 1), 0).save(tmp_path / "tiny.png")
    assert read_slide(str(tmp_path / "blank.png")).text == ""
    assert read_slide(str(tmp_path / "tiny.png")).lines == ()


def test_unreadable_pictures(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r"gone\.jpg"):
        read_slide(str(tmp_path / "gone.jpg"))
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(CorruptMediaError, match="not a picture"):
        read_slide(str(tmp_path / "text.jpg"))
    slide(1).save(tmp_path / "cut.jpg")
    data = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptMediaError, match="damaged"):
        read_slide(str(tmp_path / "cut.jpg"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "hint"), [("spoken_en_6s.mp4", "en"), ("spoken_zh_5s.mp4", "zh")])
def test_slides_of_the_spoken_clips_are_read(name: str, hint: str, tmp_path: Path) -> None:
    media = ROOT / "tests" / "support" / "media"
    truth = json.loads((media / "truth.json").read_text(encoding="utf-8"))[name]
    found = find_slides(str(media / name), str(tmp_path), SlideParams())
    for shown, wanted in zip(found.slides, truth["slides"], strict=True):
        read = read_slide(str(tmp_path / shown.file), hint)
        assert read.title == wanted["title"]
        assert read.text.splitlines()[: len(wanted["lines"])] == wanted["lines"]
