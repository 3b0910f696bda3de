"""The pages in a real browser, opened as files with the network off.

Truth: the sentences and slides below are put into the report by hand; the recording is one of the
project's examples, of which only its length (over 15 s) matters here.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from gs_video_report.report import library
from gs_video_report.report.library import LibraryInfo, write_library
from gs_video_report.report.library_card import LibraryEntry
from gs_video_report.report.model import Segment, VideoReport
from gs_video_report.report.writer import render_all, write_report
from gs_video_report.templates.loader import load_template
from tests.support.cdp import Browser, Page, chromium, find_chromium
from tests.support.reports import friendly, hostile, silent

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine"),
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "photosynthesis.mp4"
STARTS = [0.5 + i * 1.4 for i in range(12)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # helpers of the browser outlive it for a moment, and may write while the folder is removed
    place = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with place as profile, chromium(Path(profile)) as running:
        yield running


def picture() -> bytes:
    """A small real JPEG."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (64, 36), (20, 90, 160)).save(out, "JPEG")
    return out.getvalue()


def timed(source: str) -> VideoReport:
    """Twelve sentences of 1.3 s, slides at 1 s and 9 s, chapters at 0 s, 6 s and 12 s."""
    good = friendly(source)
    return replace(
        good,
        media=replace(good.media, duration_s=18.5),
        segments=tuple(Segment(s, s + 1.3, f"Sentence number {i}.") for i, s in enumerate(STARTS)),
        slides=tuple(
            replace(s, t_s=t, end_s=t + 8) for s, t in zip(good.slides, (1.0, 9.0), strict=True)
        ),
        chapters=tuple(
            replace(c, start_s=t, end_s=t + 6)
            for c, t in zip(good.chapters, (0.0, 6.0, 12.0), strict=True)
        ),
    )


def write(folder: Path, report: VideoReport, template: str = "summary_report") -> str:
    made = render_all(report, load_template(template), ["html"], "talk", lambda s: picture())
    write_report(folder, "reports", "talk", made)
    return "file://" + quote(str(folder / "reports" / "talk.html"))


def opened(browser: Browser, url: str, *, ready: bool = True) -> Page:
    page = browser.page()
    page.size(1280, 900)
    page.prefer()
    page.open(url)
    if ready:
        page.until("document.getElementById('media').readyState >= 1")
    return page


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Page:
    if not EXAMPLE.exists():
        pytest.skip("the example recordings are not there")
    shutil.copy(EXAMPLE, tmp_path / "talk (1).mp4")
    return opened(browser, write(tmp_path, timed("../talk (1).mp4")))


def position(page: Page) -> float:
    return float(page.run("document.getElementById('media').currentTime"))


LIT = "[...document.querySelectorAll('.s[aria-current]')].map(e => e.id).join()"


def quiet(page: Page) -> None:
    """Nothing was asked of the network, and nothing was complained about."""
    assert page.console == []
    assert {r.split(":")[0] for r in page.requests} <= {"file", "data", "blob"}
    assert page.run("window.hacked === undefined")


def test_a_click_on_sentence_slide_or_chapter_moves_the_player(page: Page) -> None:
    for css, wanted in (
        ("#s7 .x", STARTS[7]),
        ("#slide-2 .pic", 9.0),
        ("#toc li:nth-child(3) a", 12.0),
        ("main .points .pill", 2.5),
        ("#strip a:nth-child(2)", 6.0),
    ):
        page.click(css)
        page.until(f"Math.abs(document.getElementById('media').currentTime - {wanted}) < 0.5")
    quiet(page)


def test_the_lit_sentence_is_the_spoken_one_at_random_times(page: Page) -> None:
    chance = random.Random(7)  # fixed, so that a failure comes back
    for _ in range(20):
        t = round(chance.uniform(STARTS[0], STARTS[-1] + 1.2), 2)
        expected = max(i for i, s in enumerate(STARTS) if s <= t)
        page.run(f"document.getElementById('media').currentTime = {t}")
        page.until(f"({LIT}) === 's{expected}'")
    assert page.run("document.querySelectorAll('#toc [aria-current]').length") == 1
    quiet(page)


def test_playing_lights_sentences_one_after_the_other(page: Page) -> None:
    page.click("#s2 .x")
    page.run("document.getElementById('media').play()")
    page.until(f"['s3', 's4'].includes({LIT})")
    page.run("document.getElementById('media').pause()")
    quiet(page)


def test_following_yields_to_a_reader_who_scrolls(page: Page) -> None:
    page.run("document.getElementById('media').play()")
    page.run("dispatchEvent(new WheelEvent('wheel', {deltaY: 100}))")
    assert page.run("document.getElementById('resume').hidden") is False
    page.click("#resume")
    assert page.run("document.getElementById('resume').hidden") is True
    page.run("document.getElementById('media').pause()")


def test_search_marks_all_matches_counts_and_steps(page: Page) -> None:
    page.key("/")
    assert page.run("document.activeElement.id") == "q"
    page.run("const q = document.getElementById('q'); q.value = 'sentence NUMBER';"
             "q.dispatchEvent(new Event('input'))")  # fmt: skip
    page.until("document.getElementById('count').textContent === '1 of 12'")
    assert page.run("CSS.highlights.get('found').size") == 12
    page.key("Enter", "\r")
    page.until("document.getElementById('count').textContent === '2 of 12'")
    page.run("document.getElementById('q').value = 'zzz (.*';"
             "document.getElementById('q').dispatchEvent(new Event('input'))")  # fmt: skip
    page.until("document.getElementById('count').textContent === 'No match'")
    quiet(page)


def test_keys_play_seek_and_help(page: Page) -> None:
    page.click("#s3 .x")
    page.until(f"({LIT}) === 's3'")
    page.key("j")
    page.until(f"({LIT}) === 's4'")
    page.key(" ")
    page.until("!document.getElementById('media').paused")
    page.key(" ")
    page.until("document.getElementById('media').paused")
    before = position(page)
    page.key("ArrowRight")
    page.until(f"document.getElementById('media').currentTime > {before + 4}")
    page.key(">")
    assert page.run("document.getElementById('media').playbackRate") == 1.25
    page.key("?")
    page.until("document.getElementById('keys').open")
    page.click("#keys button")
    page.until("!document.getElementById('keys').open")
    quiet(page)


def test_captions_come_from_the_page_itself(page: Page) -> None:
    page.click("#cc")
    page.until("document.getElementById('media').textTracks[0].cues?.length > 0")
    assert page.run("document.getElementById('media').textTracks[0].mode") == "showing"
    assert "Sentence number 0." in page.run(
        "[...document.getElementById('media').textTracks[0].cues].map(c => c.text).join(' ')"
    )
    quiet(page)


def test_a_deep_link_opens_at_its_moment_and_copies_back(browser: Browser, page: Page) -> None:
    url = page.run("location.href.split('#')[0]")
    linked = opened(browser, url + "#t=10.4")
    linked.until("Math.abs(document.getElementById('media').currentTime - 10.4) < 0.5")
    linked.until(f"({LIT}) === 's7'")
    box = linked.run("document.getElementById('s7').getBoundingClientRect().top")
    assert 0 < box < 900
    linked.run("document.getElementById('s2').dispatchEvent("
               "new MouseEvent('mouseover', {bubbles: true}))")  # fmt: skip
    linked.click("#s2 .link")
    linked.until("location.hash === '#t=3.3'")
    quiet(linked)


def test_a_time_in_the_summary_keeps_the_readers_place(page: Page) -> None:
    page.run("scrollTo(0, 0)")
    page.click("main .points .pill")
    page.until("Math.abs(document.getElementById('media').currentTime - 2.5) < 0.5")
    page.until(f"({LIT}) === 's1'")
    box = page.run("document.querySelector('main .points .pill').getBoundingClientRect().top")
    assert 0 < box < 900
    page.click("#resume")
    assert 0 < page.run("document.getElementById('s1').getBoundingClientRect().top") < 900


def test_slides_open_large_and_turn(page: Page) -> None:
    page.run("document.querySelector('#slide-1 .big').click()")
    page.until("document.getElementById('light').open")
    page.key("ArrowRight")
    page.until("document.querySelector('#light p').textContent.startsWith('2 / 2')")
    page.click("#lc")
    page.until("!document.getElementById('light').open")
    quiet(page)


def test_dark_light_and_print(page: Page) -> None:
    background = "getComputedStyle(document.body.parentNode).backgroundColor"
    page.prefer(scheme="dark")
    assert page.run(background) == "rgb(15, 18, 22)"
    page.click("#theme")
    assert page.run(background) == "rgb(246, 246, 243)"
    page.click("#theme")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    page.prefer(scheme="dark", media="print")
    assert page.run(background) == "rgb(255, 255, 255)"
    assert page.run("getComputedStyle(document.getElementById('player')).display") == "none"
    assert page.pdf().startswith(b"%PDF")
    page.run("localStorage.clear()")


def test_a_moved_recording_hides_the_player_until_a_file_is_chosen(
    browser: Browser, tmp_path: Path
) -> None:
    page = opened(browser, write(tmp_path, timed("gone.mp4")), ready=False)
    page.until("!document.getElementById('lost').hidden")
    assert page.run("document.getElementById('screen').hidden") is True
    page.click("#s5 .x")
    page.until(f"({LIT}) === 's5' && location.hash === '#t=7.5'")
    page.click("#slide-1 .pic")
    page.until("document.getElementById('light').open")
    page.run("document.getElementById('light').close()")
    if EXAMPLE.exists():
        page.call("DOM.enable")
        root = page.call("DOM.getDocument")["root"]["nodeId"]
        node = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        page.call("DOM.setFileInputFiles", nodeId=node, files=[str(EXAMPLE)])
        page.until("!document.getElementById('screen').hidden")
        page.until("Math.abs(document.getElementById('media').currentTime - 7.5) < 0.5")


def test_a_web_source_loads_nothing_and_keeps_everything_else(
    browser: Browser, tmp_path: Path
) -> None:
    url = write(tmp_path, timed("https://video.example/watch?v=1"))
    page = opened(browser, url, ready=False)
    assert page.run("document.getElementById('lost').hidden") is False
    page.run("document.getElementById('s1').click()")
    page.until(f"({LIT}) === 's1'")
    quiet(page)


@pytest.mark.parametrize("template", ["chinese_transcript", "comprehensive_lesson"])
def test_a_hostile_recording_runs_nothing(browser: Browser, tmp_path: Path, template: str) -> None:
    page = opened(browser, write(tmp_path, hostile("gone.mp4"), template), ready=False)
    page.until("!document.getElementById('lost').hidden")
    assert page.run("document.querySelectorAll('script').length") == 2
    assert page.run("window.hacked === undefined && document.images.length > 0") is True
    assert {r.split(":")[0] for r in page.requests} <= {"file", "data"}


@pytest.mark.parametrize("width", [320, 390, 820])
def test_no_page_is_wider_than_a_small_screen(browser: Browser, tmp_path: Path, width: int) -> None:
    page = opened(browser, write(tmp_path, hostile("gone.mp4")), ready=False)
    page.size(width, 800, mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= width


def test_ten_thousand_sentences_stay_smooth(browser: Browser, tmp_path: Path) -> None:
    many = tuple(Segment(i * 3.0, i * 3.0 + 2.9, f"Sentence number {i}.") for i in range(10_000))
    page = opened(browser, write(tmp_path, replace(silent("x.mp4"), segments=many)), ready=False)
    page.until("!document.getElementById('lost').hidden")
    spent = page.run(
        "(async () => { const t = performance.now();"
        "for (let i = 0; i < 10; i++) { location.hash = '#t=' + (2997 * i);"
        "await new Promise(r => setTimeout(r)); document.body.offsetHeight; }"
        "return performance.now() - t; })()"
    )
    assert spent < 5000
    page.until(f"({LIT}) === 's8991'")
    box = page.run("document.getElementById('s8991').getBoundingClientRect().top")
    assert 0 < box < 900


def entries(count: int) -> Iterator[LibraryEntry]:
    for n in range(count):
        yield LibraryEntry(
            *(f"b:{n}", "failed" if n == 3 else "completed", f"Lecture {n}", f"w/{n}.mp4"),
            links={"html": f"w/{n}.html", "markdown": f"w/{n}.md"},
            others={"notes": {"markdown": f"notes/{n}.md"}} if n == 149 else {},
            duration_s=float(n),
            language="en" if n % 2 else "zh",
            error_message="not a video" if n == 3 else "",
            lines=((4.5, f"the word zebra{n} is said"), (9.0, "and nothing else")),
        )


@pytest.mark.parametrize("inline_bytes", [3_000_000, 1000], ids=["inlined", "sharded"])
def test_the_library_filters_sorts_and_searches_from_a_file(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline_bytes: int
) -> None:
    monkeypatch.setattr(library, "INLINE_BYTES", inline_bytes)
    monkeypatch.setattr(library, "SHARD_BYTES", 4000)
    write_library(tmp_path, entries(150), LibraryInfo("lectures", "7f3a"))
    page = browser.page()
    page.size(1280, 900)
    page.open("file://" + quote(str(tmp_path / "index.html")))
    page.until("document.querySelectorAll('.item').length >= 60")
    choose = (
        (
            "(id, v) => {{ const e = document.getElementById(id); e.value = v;"
            "e.dispatchEvent(new Event(id === 'q' ? 'input' : 'change')); }}"
        )
        .replace("{{", "{")
        .replace("}}", "}")
    )
    page.run(f"({choose})('q', 'ZEBRA149 word')")
    page.until("document.getElementById('count').textContent === '1 recordings, 1 matches'")
    assert page.run("document.querySelector('.hits a').getAttribute('href')") == "w/149.html#t=4.5"
    assert page.run("document.querySelector('.hits mark').textContent") == "word"
    # text that is shown: the card is laid out a moment after it was made
    page.until("document.querySelector('.also').innerText.split(/\\s+/).join() === 'notes,md'")
    assert page.run("document.querySelector('.also a').getAttribute('href')") == "notes/149.md"
    page.run(f"({choose})('q', '')")
    page.run(f"({choose})('language', 'en')")
    page.until("document.getElementById('count').textContent === '75 of 150'")
    page.run(f"({choose})('sort', '-d')")
    page.until("document.querySelector('.item h2').textContent === 'Lecture 149'")
    page.run(f"({choose})('status', 'failed')")
    page.until("document.querySelectorAll('.item').length === 1")
    assert "not a video" in page.run("document.querySelector('.item').textContent")
    quiet(page)
