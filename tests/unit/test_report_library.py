"""The library page: streamed, sharded when large, with failures and relative links."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.report import library
from gs_video_report.report.library import LibraryInfo, write_library
from gs_video_report.report.library_card import LibraryEntry, entry_of_report
from tests.support.reports import HOSTILE, JPEG, friendly

INFO = LibraryInfo("lectures", "7f3a", "source", "gsvr batch retry 7f3a --failed")


def island(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))


def entry(number: int, **changes: Any) -> LibraryEntry:
    values: dict[str, Any] = {
        "ref": f"7f3a:{number}",
        "status": "completed",
        "title": f"Lecture {number}",
        "name": f"w/{number}.mp4",
        "links": {"html": f"t/w/{number}.html"},
        "duration_s": 60.0,
        "language": "en",
        "lines": ((0.0, "hello"), (3.25, "world")),
    }
    return LibraryEntry(**(values | changes))


def test_a_small_library_is_one_file(tmp_path: Path) -> None:
    written = write_library(tmp_path, [entry(1), entry(2, language="zh", thumb=JPEG)], INFO)
    assert [p.name for p in written] == ["index.html"]
    text = written[0].read_text(encoding="utf-8")
    data = island(text)
    assert [c["t"] for c in data["cards"]] == ["Lecture 1", "Lecture 2"]
    assert data["texts"][0] == ["7f3a:1", [0, 3250], "hello\nworld"]
    assert data["cards"][1]["i"].startswith("data:image/jpeg;base64,")
    assert data["names"] == {"en": "English", "zh": "中文"}
    assert "2 recordings" in text
    assert "2:00 in total" in text


def test_failures_are_grouped_with_their_remedy_and_a_command(tmp_path: Path) -> None:
    bad = {
        "status": "failed",
        "links": {},
        "error_code": "E_NO_MEDIA",
        "error_message": "x.mp4: not a video",
        "error_hint": "copy it again",
    }
    entries = [entry(1), *(entry(n, **bad) for n in (2, 3))]
    text = write_library(tmp_path, entries, INFO)[0].read_text(encoding="utf-8")
    assert '<span class="num">2</span> × <span>The file is not audio or video' in text
    assert "copy it again" in text
    assert '<code id="cmd">gsvr batch retry 7f3a --failed</code><button id="copy">Copy<' in text


def test_hostile_entries_add_no_markup(tmp_path: Path) -> None:
    values = dict.fromkeys(("title", "name", "summary", "language", "error_hint"), HOSTILE)
    hostile = entry(
        1, **values, status="failed", terms=(HOSTILE,), lines=((0.0, HOSTILE),),
        error_message=HOSTILE, error_code="<b>", links={"html": "javascript:alert(1)"},
        thumb_path="javascript:x",
    )  # fmt: skip
    text = write_library(tmp_path, [hostile], INFO)[0].read_text(encoding="utf-8")
    assert text.count("<script") == 2
    assert "<img" not in text
    card = island(text)["cards"][0]
    assert card["h"] == {"html": "javascript%3Aalert%281%29"}
    assert card["i"] == "javascript%3Ax"


def test_the_page_speaks_the_templates_language_and_is_whole_when_empty(tmp_path: Path) -> None:
    page = write_library(tmp_path, [], LibraryInfo("", language="zh"))[0]
    text = page.read_text(encoding="utf-8")
    assert '<html lang="zh">' in text
    assert "<h1>资料库</h1>" in text
    assert "还没有报告" in text


def shards(folder: Path, kind: str) -> list[Any]:
    rows = []
    for path in sorted(folder.glob(f"index-{kind}-*.js"), key=lambda p: int(p.stem.split("-")[2])):
        match = re.fullmatch(r'gsvrShard\("(\w+)",(\d+),(\[.*\])\);\n', path.read_text("utf-8"))
        assert match is not None
        assert path.name == f"index-{match[1]}-{match[2]}.js"
        rows += json.loads(match[3])
    return rows


def test_a_large_library_is_sharded_in_order_and_shrinks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "INLINE_BYTES", 2000)
    monkeypatch.setattr(library, "SHARD_BYTES", 1500)
    written = write_library(tmp_path, (entry(n) for n in range(1, 101)), INFO)
    assert written[-1].name == "index.html"
    assert [c["r"] for c in shards(tmp_path, "data")] == [f"7f3a:{n}" for n in range(1, 101)]
    assert [t[0] for t in shards(tmp_path, "text")] == [f"7f3a:{n}" for n in range(1, 101)]
    data = island(written[-1].read_text(encoding="utf-8"))
    assert data["cards"] is None
    assert data["shards"] == len(list(tmp_path.glob("index-data-*.js")))
    (tmp_path / "index-other.js").write_text("mine")
    write_library(tmp_path, [entry(1)], INFO)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index-other.js", "index.html"]


def test_memory_does_not_grow_with_the_number_of_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "INLINE_BYTES", 100_000)
    monkeypatch.setattr(library, "SHARD_BYTES", 100_000)

    def many(count: int) -> Iterator[LibraryEntry]:
        for n in range(count):
            yield entry(n, lines=tuple((float(i), f"sentence {i} of {n}") for i in range(50)))

    def peak(count: int) -> int:
        tracemalloc.start()
        write_library(tmp_path / str(count), many(count), INFO)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    small, large = peak(600), peak(1800)
    assert large < small * 1.3


def test_a_report_gives_its_own_card() -> None:
    links = {"html": "t/w/talk.html", "json": "t/w/talk.json"}
    card = entry_of_report(friendly(), "7f3a:1", "w/talk (1).mp4", links)
    assert card.thumb_path == "t/w/talk.assets/slide-001.jpg"
    assert card.summary == "A map has keys. It is fast."
    assert card.warnings == 1
    assert [t for t, _ in card.lines] == sorted(t for t, _ in card.lines)
    assert (5.0, "清楚吗?") in [(t, s.replace("\uff1f", "?")) for t, s in card.lines]
    assert (1.0, "Keys\nand values") in card.lines


def test_the_same_report_by_other_templates_is_linked_on_its_card(tmp_path: Path) -> None:
    others = {"summary report": {"html": "s/w/1 a.html", "srt": ""}, "empty": {}}
    text = write_library(tmp_path, [entry(1, others=others), entry(2)], INFO)[0].read_text("utf-8")
    first, second = island(text)["cards"]
    assert first["o"] == [["summary report", {"html": "s/w/1%20a.html"}]]
    assert "o" not in second
    assert '<a href="s/w/1%20a.html">Lecture 1 (summary report)</a>' in text
    assert "2 recordings" in text
