"""One batch on a hostile list of hostile recordings, through the command line.

The parts are tested alone in tests/unit (lists, address rules, paths, templates, Markdown, HTML,
subtitles, CSV); here it is shown that no way between them leads around.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import run_gsvr
from tests.support.media_speech import media_file, tones

FORMULA = '=HYPERLINK("http://evil.example","x")'
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
SUBTITLES = (
    "1\n00:00:00,000 --> 00:00:00,400\n" + SCRIPT + " [click](javascript:alert(3))\n\n"
    "2\n00:00:00,450 --> 00:00:00,900\n# Heading\\n```\\n{{ 7919*7907 }} {% for x in y %}\n"
)


class Counting(BaseHTTPRequestHandler):
    """A server in the private network that nobody may ask."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302)
        self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *words: object) -> None:
        """Quiet."""


@pytest.fixture
def private_server() -> Iterator[tuple[str, list[str]]]:
    """(address, paths that were asked for)."""
    asked: list[str] = []
    handler = type("Handler", (Counting,), {"asked": asked})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def hostile_library(folder: Path) -> None:
    """A talk with a hostile title, name, folder and subtitles; a link out of the folder."""
    name = f"{FORMULA[:20].replace('/', '_')} {{{{ 7919*7907 }}}} [x](y).mp4"
    place = folder / "in" / "..week<b>1"
    place.mkdir(parents=True)
    media_file(place / name, sounds=[tones(1)], video_s=0.6, fps=5, metadata={"title": SCRIPT})
    (place / name).with_suffix(".srt").write_text(SUBTITLES, encoding="utf-8")
    shutil.copy(place / name, folder / "outside.mp4")
    (folder / "secret.txt").write_text("root:x:0:0", encoding="utf-8")
    (folder / "in" / "link.mp4").symlink_to(folder / "secret.txt")


def hostile_list(folder: Path, private: str) -> Path:
    """A CSV of the recordings, and of everything that must be refused."""
    (talk,) = (folder / "in").rglob("*x](y).mp4")
    rows = [
        [str(talk.relative_to(folder / "in")), "", FORMULA],
        ["../outside.mp4", "", "../../../escaped"],
        ["../../../../../../etc/passwd", "", ""],
        ["link.mp4", "", ""],
        ["", "file:///etc/passwd", ""],
        ["", f"{private}/talk.mp4", ""],
        ["", "http://169.254.169.254/latest/meta-data/talk.mp4", ""],
        ["", "http://[::ffff:127.0.0.1]/talk.mp4", ""],
        ["x" * 3_000_000, "", ""],
    ]
    target = folder / "in" / "list.csv"
    with target.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["path", "url", "note"], *rows])
    return target


def everything(folder: Path) -> set[str]:
    return {
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder)
        for name in names
    }


def test_a_hostile_list_of_hostile_recordings_writes_asks_and_runs_nothing_it_should_not(
    tmp_path: Path, flags: tuple[str, ...], private_server: tuple[str, list[str]]
) -> None:
    private, asked = private_server
    folder = tmp_path / "place"
    hostile_library(folder)
    given = hostile_list(folder, private)
    before = everything(tmp_path)
    done = run_gsvr(
        "batch", "process", "-f", str(given), "--cache-dir", "cache", "--no-ocr", *flags[-2:],
        "--progress", "plain", "--max-retries", "0", cwd=folder,
    )  # fmt: skip
    assert done.code == 3, done.err
    assert asked == []
    assert "Traceback" not in done.err

    made = everything(tmp_path) - before
    own = ("place/batch_output/", "place/cache/", "place/checkpoints/", "place/batch_tasks.db")
    assert [name for name in sorted(made) if not name.startswith(own)] == []

    output = folder / "batch_output"
    pages = [p for p in output.rglob("*.html") if p.parent != output]
    assert len(pages) == 2, done.err
    (page,) = (p for p in pages if "HYPERLINK" in p.name)
    for html in (*pages, output / "index.html"):
        text = html.read_text(encoding="utf-8")
        assert "<script>alert" not in text
        assert "onerror=alert(2)>" not in text.replace("&gt;", "")
        assert "<img src=x" not in text
    # The front matter holds the title as one quoted string; the rest is text for people.
    body = page.with_suffix(".md").read_text(encoding="utf-8").split("---", 2)[2]
    assert not re.search(r"(?<!\\)<(script|img)", body)
    assert not re.search(r"(?<!\\)\]\(javascript:", body)
    assert re.search(r"7919.{1,2}7907", body), "the name is not shown"
    written = [p for p in output.rglob("*") if p.is_file()]
    assert not [p.name for p in written if b"root:x" in p.read_bytes()]
    assert not [p.name for p in written if b"62615533" in p.read_bytes()], "7919*7907 was evaluated"

    codes = {row["error_code"] for row in exported(folder)}
    assert "E_BLOCKED_ADDRESS" in codes
    told = done.err.replace("\n", " ")
    for row in (4, 6):
        assert f"list.csv:{row}" in told or f"line {row}" in told, done.err


def exported(folder: Path) -> list[dict[str, str]]:
    """Rows of the CSV export; no cell of it is a formula."""
    answer = run_gsvr("batch", "export", "latest", cwd=folder)
    assert answer.code == 0, answer.err
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    cells = [cell for row in rows for cell in row.values()]
    assert [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell] == []
    lines = run_gsvr("batch", "export", "latest", "--format", "json", cwd=folder)
    assert [json.loads(line)["ref"] for line in lines.out.splitlines()] == [r["ref"] for r in rows]
    return rows
