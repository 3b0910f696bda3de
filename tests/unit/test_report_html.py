"""The page: one file, nothing from outside, nothing from the recording runs."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from gs_video_report.report.html import to_html
from gs_video_report.report.model import Segment, VideoReport
from gs_video_report.report.page import ASSETS, asset, island, policy
from gs_video_report.templates.loader import load_template
from tests.support.reports import HOSTILE, JPEG, friendly, hostile, silent


class Reader(HTMLParser):
    """Tags with attributes, and the text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._script = tag == "script"

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts.append(data)
            self._script = False


def page(report: VideoReport, name: str = "summary_report") -> str:
    return to_html(report, load_template(name), lambda slide: JPEG).decode("utf-8")


def run_free(text: str) -> tuple[str, dict[str, object]]:
    """The page without its run-time element, and the data island without the run."""
    data = json.loads(Reader(text).scripts[0])
    del data["provenance"]["run"]
    text = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    return re.sub(r"<time data-run.*?</time>", "", text), data


@pytest.mark.parametrize(
    "name", ["chinese_transcript", "comprehensive_lesson", "summary_report", "transcript"]
)
def test_hostile_text_adds_no_element_attribute_or_script(name: str) -> None:
    good, bad = (
        Reader(page(friendly(), name)),
        Reader(page(hostile("../lectures/talk (1).mp4"), name)),
    )
    assert {t for t, _ in bad.tags} == {t for t, _ in good.tags}
    assert {a for _, attrs in bad.tags for a in attrs} <= {
        a for _, attrs in good.tags for a in attrs
    }
    assert len(bad.scripts) == len(good.scripts) == 2
    assert not [a for _, attrs in bad.tags for a in attrs if a.startswith("on")]
    assert json.loads(bad.scripts[0])["provenance"]["engine"] == HOSTILE.encode().decode()


def test_nothing_is_loaded_from_anywhere() -> None:
    found = Reader(page(friendly()))
    sources = [v for _, attrs in found.tags for k, v in attrs.items() if k in ("src", "srcset")]
    assert sorted({str(s)[:11] for s in sources}) == ["../lectures", "data:image/"]
    assert [a.get("href") for t, a in found.tags if t == "link"] == ["data:,"]
    text = asset("report.js") + asset("library.js") + asset("base.css") + asset("report.css")
    assert not re.search(r"https?://|url\(|@import|eval\(|fetch\(|XMLHttp", text)


def test_the_policy_names_exactly_the_inlined_script_and_style() -> None:
    text = page(friendly())
    csp = str(next(a["content"] for t, a in Reader(text).tags if a.get("http-equiv")))
    css = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert css is not None
    assert csp == policy(css.group(1), [Reader(text).scripts[1]])
    assert csp.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in csp
    assert "http" not in csp


def test_own_scripts_stay_small() -> None:
    for name in ("report.js", "library.js"):
        assert len((ASSETS / name).read_bytes()) < 15 * 1024


def test_text_of_every_kind_is_there_with_its_language() -> None:
    text = page(friendly(), "chinese_transcript")
    assert '<html lang="zh">' in text
    assert '<span class="tr" lang="zh">' in text
    assert '<h1 lang="en">Hash tables: an introduction</h1>' in text
    assert ">1:02:03</a>" in text
    assert "course" in text
    assert "CS 101" in text


def test_a_language_code_cannot_break_out_of_its_attribute() -> None:
    assert "onload" not in {a for _, attrs in Reader(page(hostile())).tags for a in attrs}


def test_web_sources_hide_the_player_and_link_to_the_moment() -> None:
    text = page(friendly("https://www.youtube.com/watch?v=abc"))
    found = Reader(text)
    video = next(a for t, a in found.tags if t == "video")
    assert "src" not in video
    lost = next(a for t, a in found.tags if a.get("id") == "lost")
    assert "hidden" not in lost
    assert 'href="https://www.youtube.com/watch?v=abc&amp;t=3723" target="_blank"' in text


def test_a_source_with_a_scheme_in_its_name_is_a_file() -> None:
    video = next(a for t, a in Reader(page(friendly("javascript:alert(1)"))).tags if t == "video")
    assert video["src"] == "javascript%3Aalert%281%29"


def test_sound_alone_gets_an_audio_player() -> None:
    tags = [t for t, _ in Reader(page(silent("talk.mp3"))).tags]
    assert "audio" in tags
    assert "video" not in tags


def test_run_time_fields_are_only_in_their_two_places() -> None:
    good = friendly()
    later = replace(good.provenance, run={"finished_at": "2027-05-06T07:08:09+00:00", "x": 1})
    first, second = page(good), page(replace(good, provenance=later))
    assert first != second
    assert second.count("2027-05-06") == 3  # attribute and text of one element, and the island
    assert run_free(first) == run_free(second)


def test_uncertain_speech_is_marked() -> None:
    assert page(friendly()).count('class="x unsure"') == 1


def test_the_island_cannot_be_left() -> None:
    text = str(island({"a": "</script><!--\u2028&"}))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--\u2028&"}


def test_ten_thousand_segments_are_cut_into_runs_that_a_browser_can_skip() -> None:
    many = tuple(Segment(i * 3.0, i * 3.0 + 2.5, f"Sentence number {i}.") for i in range(10_000))
    start = time.process_time()
    text = page(replace(silent(), segments=many))
    assert time.process_time() - start < 10
    assert text.count('<div class="run">') == 200
    assert text.count('class="s"') == 10_000


def _luminance(colour: str) -> float:
    full = colour if len(colour) == 7 else "#" + "".join(c * 2 for c in colour[1:])
    parts = [int(full[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [r":root\{", r":root\[data-theme=dark\]\{"])
def test_text_has_a_contrast_of_at_least_four_and_a_half(scheme: str) -> None:
    """WCAG 2.2, 1.4.3: every text colour on every background it is used on."""
    block = re.search(scheme + r"(.*?)\}", asset("base.css"), re.DOTALL)
    assert block is not None
    colours = dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})\b", block.group(1)))
    pairs = [(t, b) for t in ("ink", "mute", "accent") for b in ("bg", "card", "soft", "lit")]
    pairs += [("warn", "warnbg"), ("ink", "warnbg"), ("info", "infobg"), ("bad", "badbg")]
    pairs += [("bad", "card"), ("ok", "card"), ("ink", "hit"), ("on", "accent"), ("warn", "card")]
    for text, back in pairs:
        high, low = sorted((_luminance(colours[text]), _luminance(colours[back])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, back)


def test_both_ways_to_dark_are_the_same_colours() -> None:
    css = asset("base.css")
    chosen = re.search(r":root\[data-theme=dark\]\{(.*?)\}", css)
    asked = re.search(r"dark\)\{:root:not\(\[data-theme=light\]\)\{(.*?)\}", css)
    assert chosen is not None
    assert asked is not None
    assert chosen.group(1) == asked.group(1)
