"""Addresses as inputs: real queue, real processes, real yt-dlp, a server on loopback."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.commands import retry
from gs_video_report.batch.data_models import BatchOptions, TaskStatus
from gs_video_report.batch.mend.repair import Mender
from gs_video_report.batch.planner import merge_options
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.fetch import safe_stem, url_fingerprint
from gs_video_report.errors import BlockedAddressError, DownloadError, DownloadRefused
from gs_video_report.media.probe import probe
from gs_video_report.media.web import site_session, site_video
from gs_video_report.media.web.settings import DownloadSettings
from gs_video_report.report.model import VideoReport
from tests.fakes.web import WebServer
from tests.support.fetching import (
    MANIFEST,
    PAGE,
    PLAYLIST,
    SAMPLE,
    VTT,
    Bench,
    LookingEngine,
    bench,
    only,
)

BODY = SAMPLE.read_bytes()
HERE: dict[str, Any] = {"allow_private_hosts": ["127.0.0.1"]}
LOCAL = DownloadSettings(allow_private_hosts=("127.0.0.1",))
DONE = TaskStatus.COMPLETED
needs_ytdlp = pytest.mark.skipif(not site_video.available(), reason="yt-dlp is not installed")


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        server.add("/v/talk.mp4", BODY, etag='"v1"')
        server.add("/v/talk.vtt", VTT, content_type="text/vtt")
        server.add("/watch", PAGE.encode(), content_type="text/html")
        yield server


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as ready:
        yield ready


def media_sent(web: WebServer) -> int:
    """Bytes of media that left the server."""
    return sum(r.sent for r in web.log if r.path.endswith((".mp4", ".ts")))


# --- plain files in a batch -------------------------------------------------------------------


async def test_a_plain_address_becomes_a_report_that_links_to_it(
    web: WebServer, made: Bench
) -> None:
    url = web.url("/v/talk.mp4")
    assert await made.run([url], download=HERE) == {1: DONE}
    (report,) = made.reports()
    assert report["media"]["source"] == url
    assert report["media"]["file_name"] == "talk.mp4"
    assert report["media"]["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert made.leftovers() == []
    assert made.stages[0][1] == "fetch"
    assert (1, "fetch", len(BODY), len(BODY)) in made.stages


async def test_a_second_batch_fetches_again_only_what_has_changed(
    web: WebServer, made: Bench
) -> None:
    url = web.url("/v/talk.mp4")
    await made.run([url], "aaaa0001", download=HERE)
    before = media_sent(web)
    await made.run([url], "aaaa0002", download=HERE)
    looked = media_sent(web) - before
    assert len(web.requests("/v/talk.mp4")) == 3  # look and fetch, then only a look
    web.add("/v/talk.mp4", BODY + bytes(1000), etag='"v2"')
    await made.run([url], "aaaa0003", download=HERE)
    assert len(web.requests("/v/talk.mp4")) == 5
    assert looked <= len(BODY)
    assert {r["media"]["size_bytes"] for r in made.reports()} >= {len(BODY) + 1000}


async def test_a_retried_task_asks_the_server_nothing(web: WebServer, made: Bench) -> None:
    class Failing(LookingEngine):
        async def analyze(self, ctx: Any) -> Any:
            await super().analyze(ctx)
            if len(self.seen) == 1:
                raise DownloadRefused("the model is tired")
            return await LookingEngine.analyze(self, ctx)

    url = web.url("/v/talk.mp4")
    made.engine = Failing()
    assert await made.run([url], download=HERE) == {1: TaskStatus.FAILED}
    asked = len(web.log)
    await retry(TaskQueue(made.db), "ab12cd34", failed=True)
    assert await made.run([url], download=HERE) == {1: DONE}
    assert len(web.log) == asked
    assert made.leftovers() == []


async def test_a_lost_artifact_is_fetched_again(web: WebServer, made: Bench) -> None:
    url = web.url("/v/talk.mp4")
    await made.run([url], "aaaa0001", download=HERE)
    made.cache.clear()
    assert await made.run([url], "aaaa0002", download=HERE) == {1: DONE}


class RememberingEngine(LookingEngine):
    """Looks once at a recording; the journal knows it from then on."""

    async def analyze(self, ctx: TaskContext) -> VideoReport:
        async def look() -> Any:
            return (await super(RememberingEngine, self).analyze(ctx)).to_dict()

        return VideoReport.from_dict(await ctx.step("look", look, params={}))


async def test_a_lost_report_of_an_address_is_made_again_without_the_line_or_the_recording(
    web: WebServer, made: Bench
) -> None:
    """Pins: the journal was not asked for addresses: the recording was downloaded again."""
    made.engine = RememberingEngine()
    assert await made.run([web.url("/v/talk.mp4")], download=HERE) == {1: DONE}
    (before,) = made.reports()
    (path,) = (made.folder / "out").rglob("*.json")
    path.unlink()
    for stored in [p for p in made.cache.root.rglob("*") if p.is_file()]:
        stored.unlink()
    asked = len(web.log)
    queue = TaskQueue(made.db)
    row = await queue.get_batch("ab12cd34")
    (task,) = [task async for task in queue.iter_tasks(row.batch_id)]
    mender = Mender(queue, row, made.compute, made.cache, lambda name: made.engine)
    done = await mender.mend_all([task])
    assert (done.mended, done.left) == ([task.ref], [])
    assert len(web.log) == asked
    (after,) = made.reports()
    assert after["media"] == before["media"]
    assert made.leftovers() == []


async def test_one_refused_address_fails_alone_with_its_reason(web: WebServer, made: Bench) -> None:
    web.add("/zip.mp4", b"PK\x03\x04" + bytes(60))
    web.redirect("/leak.mp4", "http://169.254.169.254/latest/meta-data/")
    urls = [web.url(p) for p in ("/v/talk.mp4", "/gone.mp4", "/zip.mp4", "/leak.mp4")]
    states = await made.run(urls, download=HERE)
    assert states == {1: DONE, 2: TaskStatus.FAILED, 3: TaskStatus.FAILED, 4: TaskStatus.FAILED}
    codes = sorted(error.code for error in made.errors)
    assert codes == ["E_BLOCKED_ADDRESS", "E_DOWNLOAD_REFUSED", "E_NO_MEDIA"]
    assert {error.stage for error in made.errors} == {"fetch"}


async def test_private_addresses_are_refused_unless_allowed(web: WebServer, made: Bench) -> None:
    assert await made.run([web.url("/v/talk.mp4")]) == {1: TaskStatus.FAILED}
    assert isinstance(made.errors[0], BlockedAddressError)
    assert web.log == []


def test_a_host_that_is_allowed_later_counts_in_the_same_batch() -> None:
    frozen = BatchOptions(timeout_s=9.0)
    wanted = BatchOptions(timeout_s=1800.0, download=HERE)
    merged, notes = merge_options(frozen, wanted, frozenset())
    assert (merged.timeout_s, merged.download) == (9.0, HERE)
    assert notes == ["download none -> allow_private_hosts=127.0.0.1"]


async def test_an_engine_that_takes_addresses_gets_them_untouched(
    web: WebServer, made: Bench
) -> None:
    made.engine = LookingEngine(accepts=frozenset({"file", "youtube"}))
    url = "https://www.youtube.com/watch?v=abcdefghijk"
    assert await made.run([url]) == {1: DONE}
    assert made.engine.seen == [{"source": url, "kind": "youtube"}]
    (report,) = made.reports()
    assert report["media"]["sha256"] == url_fingerprint(url)


@pytest.mark.parametrize("accepts", [frozenset({"file"}), frozenset({"file", "youtube"})])
async def test_a_playlist_is_refused_before_anything_is_asked(
    made: Bench, accepts: frozenset[str]
) -> None:
    made.engine = LookingEngine(accepts=accepts)
    url = "https://www.youtube.com/playlist?list=PL0123456789"
    assert await made.run([url]) == {1: TaskStatus.FAILED}
    assert made.errors[0].message == f"{url}: this is a list of videos, not one video"
    assert made.engine.seen == []


def test_a_killed_batch_goes_on_with_the_part_it_had(web: WebServer, tmp_path: Path) -> None:
    """SIGKILL in the middle of a download; the next run asks for the rest only."""
    import threading

    hold = threading.Event()
    body = BODY + bytes(3_000_000)
    web.add("/v/big.mp4", body, etag='"v1"', hold=hold, hold_after=1_000_000)
    command = [sys.executable, "-m", "tests.support.fetching", str(tmp_path)]
    command += [web.url("/v/big.mp4"), "127.0.0.1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    root = Path(__file__).parents[2]
    killed = subprocess.Popen(command, env=environment, cwd=root)
    try:
        assert web.wait_for(lambda: _part_bytes(tmp_path) >= 900_000, 60)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    hold.set()
    kept = _part_bytes(tmp_path)
    asked = len(web.requests("/v/big.mp4"))
    subprocess.run(command, env=environment, cwd=root, check=True, timeout=60)
    later = web.requests("/v/big.mp4")[asked:]
    assert [r.headers.get("range") for r in later] == [f"bytes={kept}-"]
    assert [r.status for r in later] == [206]
    (report,) = (tmp_path / "out").rglob("*.json")
    assert hashlib.sha256(body).hexdigest() in report.read_text("utf-8")


def _part_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.glob("cache/work/fetch-*/content.part"))


# --- pages, through yt-dlp --------------------------------------------------------------------


@needs_ytdlp
async def test_a_page_gives_its_video_its_title_and_its_subtitles(
    web: WebServer, made: Bench
) -> None:
    assert await made.run([web.url("/watch")], download=HERE) == {1: DONE}
    (report,) = made.reports()
    assert report["media"]["title"] == "Talk about roots"
    assert report["media"]["source"] == web.url("/watch")
    assert report["media"]["sha256"] == hashlib.sha256(BODY).hexdigest()
    (seen,) = made.engine.seen
    assert seen["name"] == "Talk about roots.mp4"
    assert seen["beside"] == ["Talk about roots.en.vtt"]
    assert made.leftovers() == []


@needs_ytdlp
async def test_subtitles_are_left_alone_when_they_are_not_wanted(
    web: WebServer, made: Bench
) -> None:
    await made.run([web.url("/watch")], download=HERE, subtitles="ignore")
    assert made.engine.seen[0]["beside"] == []
    assert web.requests("/v/talk.vtt") == []


@needs_ytdlp
def test_pictures_and_sound_that_are_apart_are_joined(web: WebServer, tmp_path: Path) -> None:
    web.add("/d/talk.mpd", MANIFEST.encode(), content_type="application/dash+xml")
    web.add("/d/p.mp4", only("video", "mp4"), cuts=[15_000])
    web.add("/d/s.mp4", only("audio", "mp4"), content_type="audio/mp4")
    done = site_video.fetch(web.url("/d/talk.mpd"), tmp_path, LOCAL)
    found = probe(done.path)
    assert (done.suffix, found.container) == (".mkv", "matroska")
    assert found.video is not None
    assert len(found.audio) == 1
    assert found.duration_s == pytest.approx(probe(str(SAMPLE)).duration_s, abs=0.1)
    pictures = [r.headers.get("range") for r in web.requests("/d/p.mp4")]
    assert pictures[0] is None
    assert str(pictures[1]).startswith("bytes=")
    asked = len(web.log)
    assert site_video.fetch(web.url("/d/talk.mpd"), tmp_path, LOCAL) == done
    assert len(web.log) == asked


@needs_ytdlp
def test_only_the_sound_comes_when_no_slides_are_wanted(web: WebServer, tmp_path: Path) -> None:
    web.add("/d/talk.mpd", MANIFEST.encode(), content_type="application/dash+xml")
    web.add("/d/s.mp4", only("audio", "mp4"), content_type="audio/mp4")
    done = site_video.fetch(web.url("/d/talk.mpd"), tmp_path, LOCAL, pictures=False)
    assert probe(done.path).video is None
    assert web.requests("/d/p.mp4") == []


@needs_ytdlp
def test_a_stream_in_segments_is_fetched_without_ffmpeg(web: WebServer, tmp_path: Path) -> None:
    web.add("/h/talk.m3u8", PLAYLIST.encode(), content_type="application/vnd.apple.mpegurl")
    web.add("/h/part0.ts", only("both", "mpegts"), content_type="video/mp2t")
    done = site_video.fetch(web.url("/h/talk.m3u8"), tmp_path, LOCAL)
    found = probe(done.path)
    assert found.video is not None
    assert len(found.audio) == 1


@needs_ytdlp
def test_describing_downloads_nothing(web: WebServer) -> None:
    found = site_video.describe(web.url("/watch"), LOCAL)
    assert (found.title, found.duration_s) == ("Talk about roots", None)
    assert media_sent(web) == 0


@needs_ytdlp
@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        (b"<html><body>words only</body></html>", 200, Exception, "no video was found"),
        (b"<html><video src='/a.mp4'></video><video src='/b.mp4'></video></html>", 200,
         DownloadRefused, "a list of videos"),
        (b"no", 403, DownloadRefused, "refuses access"),
        (b"no", 404, DownloadRefused, "nothing at this address"),
        (b"no", 429, DownloadError, "too many requests"),
        (b"no", 503, DownloadError, "answered 503"),
    ],
)  # fmt: skip
def test_pages_without_a_video_say_why(
    web: WebServer, body: bytes, status: int, kind: type[Exception], words: str
) -> None:
    web.add("/page", body, status=status, content_type="text/html")
    with pytest.raises(kind, match=words):
        site_video.describe(web.url("/page"), LOCAL)


@needs_ytdlp
@pytest.mark.parametrize(
    "where",
    ["<video src='http://10.0.0.1/a.mp4'></video>", "<video src='/hop.mp4'></video>",
     "<video src='http://2130706433:9/a.mp4'></video>"],
)  # fmt: skip
def test_a_page_cannot_lead_into_a_private_network(
    web: WebServer, tmp_path: Path, where: str
) -> None:
    web.redirect("/hop.mp4", "http://169.254.169.254/latest/meta-data/")
    web.add("/page", f"<html><body>{where}</body></html>".encode(), content_type="text/html")
    allowed = DownloadSettings(allow_private_hosts=("127.0.0.1:0", "127.0.0.1/32"))
    if "2130706433" in where:
        allowed = DownloadSettings(allow_private_hosts=("127.0.0.1",))
    with pytest.raises((BlockedAddressError, DownloadError, DownloadRefused)) as caught:
        site_video.fetch(web.url("/page"), tmp_path, allowed)
    if "2130706433" not in where:
        assert isinstance(caught.value, BlockedAddressError)


@needs_ytdlp
def test_a_page_that_does_not_end_is_cut_off(web: WebServer, monkeypatch: Any) -> None:
    """One filled the memory of the machine."""
    monkeypatch.setattr(site_session, "MAX_PAGE_BYTES", 1 << 20)
    page = b"<html><body>" + b"<a href=x>hello</a>" * 500_000
    web.add("/page", page, content_type="text/html", lengthless=True)
    with pytest.raises(DownloadRefused, match="the page is longer than 1 MB") as caught:
        site_video.describe(web.url("/page"), LOCAL)
    assert caught.value.data["reason"] == "too_large"
    assert web.requests("/page")[-1].sent < len(page)


@needs_ytdlp
def test_a_page_is_not_asked_when_its_host_is_private(web: WebServer) -> None:
    with pytest.raises(BlockedAddressError):
        site_video.describe(web.url("/watch"), DownloadSettings())
    assert web.log == []


@needs_ytdlp
def test_a_video_above_the_limit_is_refused(web: WebServer, tmp_path: Path) -> None:
    small = DownloadSettings(allow_private_hosts=("127.0.0.1",), max_bytes=20_000)
    with pytest.raises(DownloadRefused, match="larger than the limit of 20000 bytes"):
        site_video.fetch(web.url("/watch"), tmp_path, small)


def test_without_yt_dlp_the_error_says_what_to_install(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gs_video_report.media.web import site_session

    monkeypatch.setattr(site_session, "available", lambda: False)
    with pytest.raises(Exception, match="a package that is not installed") as caught:
        site_video.describe(web.url("/watch"), LOCAL)
    assert "pip install 'gs-video-report[download]'" in getattr(caught.value, "hint", "")


@pytest.mark.parametrize(
    ("name", "stem"),
    [("talk.mp4", "talk"), ("../../etc/passwd", ".._.._etc_passwd".strip(" .")), ("", "video"),
     ("a: b?.mkv", "a_ b_"), ("讲" * 80 + ".mp4", "讲" * 33), ("v1.0 notes", "v1.0 notes")],
)  # fmt: skip
def test_names_for_links_are_safe(name: str, stem: str) -> None:
    assert safe_stem(name) == stem


async def test_two_templates_of_one_address_fetch_once(web: WebServer, made: Bench) -> None:
    templates = ("summary_report", "chinese_transcript")
    states = await made.run([web.url("/v/talk.mp4")], templates=templates, download=HERE)
    assert states == {1: DONE, 2: DONE}
    assert len(web.requests("/v/talk.mp4")) == 2  # one look, one fetch
    assert len({seen["path"] for seen in made.engine.seen}) == 2
    assert made.leftovers() == []


# --- the plan ---------------------------------------------------------------------------------


@needs_ytdlp
def test_a_dry_run_asks_for_titles_and_lengths_and_downloads_nothing(
    web: WebServer, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(
        "\n".join([web.url("/watch"), web.url("/v/talk.mp4"), web.url("/gone.mp4")])
    )
    hidden = {"GSVR_DOWNLOAD_ALLOW_PRIVATE_HOSTS": "127.0.0.1", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-m", "gs_video_report", "batch", "process", "--url-list", "list.txt",
         "--engine", "local", "--dry-run"],
        cwd=tmp_path, env={**os.environ, **hidden}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == ("Dry run: nothing is written, sites are only asked for titles and lengths.")
    assert "Talk about roots" in lines[2]
    assert " 59 kB  process" in lines[3]
    assert "reject: there is nothing at this address (404)" in lines[4]
    assert media_sent(web) <= len(BODY) + 100  # one look, answered faster than it was closed
    assert [p.name for p in tmp_path.iterdir()] == ["list.txt"]
