"""Playlists and feeds among the inputs: the real yt-dlp against a server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.data_models import InputProblem, InputType, VideoInput
from gs_video_report.batch.input_parser import Found, InputSpec, scan
from gs_video_report.batch.inputs.expand import expanded
from gs_video_report.batch.inputs.url_rules import parse_url
from gs_video_report.errors import BlockedAddressError, UsageError
from gs_video_report.media.web import site_video
from gs_video_report.media.web.settings import DownloadSettings
from gs_video_report.media.web.site_list import is_list, may_be_list, videos_of
from tests.fakes.web import WebServer

HERE: dict[str, Any] = {"allow_private_hosts": ["127.0.0.1"]}
needs_ytdlp = pytest.mark.skipif(not site_video.available(), reason="yt-dlp is not installed")


def feed(web: WebServer, count: int) -> bytes:
    items = "".join(
        f'<item><title>Talk {n}</title><enclosure url="{web.url(f"/v/{n}.mp4")}" '
        f'type="video/mp4" length="1"/></item>'
        for n in range(count)
    )
    text = (
        f'<?xml version="1.0"?><rss version="2.0"><channel><title>C</title>{items}</channel></rss>'
    )
    return text.encode()


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        server.add("/talks.rss", feed(server, 5), content_type="application/rss+xml")
        server.add("/empty.rss", feed(server, 0), content_type="application/rss+xml")
        yield server


def taken(found: list[Found]) -> list[str]:
    return [v.source for v in found if isinstance(v, VideoInput)]


def told(found: list[Found]) -> list[tuple[str, str]]:
    return [(p.origin, p.code) for p in found if isinstance(p, InputProblem)]


def listed(folder: Path, *lines: str, **more: Any) -> InputSpec:
    path = folder / "urls.csv"
    path.write_text("url,template\n" + "\n".join(f"{line},summary_report" for line in lines))
    return InputSpec("list", str(path), **more)


@needs_ytdlp
def test_a_feed_becomes_its_videos_each_once_and_nothing_is_downloaded(
    web: WebServer, tmp_path: Path
) -> None:
    """What cannot be read is a problem of its line."""
    lines = ["/v/2.mp4", "/talks.rss", "/gone.rss", "/empty.rss", "/v/9.mp4"]
    spec = listed(tmp_path, *map(web.url, lines))
    found = list(expanded(scan(spec), HERE))
    order = [2, 0, 1, 3, 4, 9]
    assert taken(found) == [web.url(f"/v/{n}.mp4") for n in order]
    assert told(found) == [
        ("urls.csv:3", "duplicate"), ("urls.csv:4", "unreadable"), ("urls.csv:5", "unreadable"),
    ]  # fmt: skip
    videos = [v for v in found if isinstance(v, VideoInput)]
    assert {v.template for v in videos} == {"summary_report"}
    assert {v.input_type for v in videos} == {InputType.URL}
    assert len({v.relative_path for v in videos}) == 6
    assert not [r for r in web.log if r.path.endswith(".mp4")]


@needs_ytdlp
def test_a_long_list_is_cut_and_told_and_the_limit_counts_its_videos(
    web: WebServer, tmp_path: Path
) -> None:
    spec = listed(tmp_path, web.url("/talks.rss"))
    found = list(expanded(scan(spec), HERE, max_videos=3))
    assert len(taken(found)) == 3
    assert told(found) == [("urls.csv:2", "shortened")]
    cut = found[-1]
    assert isinstance(cut, InputProblem)
    assert cut.reason == "only the first 3 videos of this list are taken"


def test_the_limit_of_inputs_ends_the_stream() -> None:
    videos = [VideoInput(f"/v/{n}.mp4") for n in range(5)]
    assert taken(list(expanded(iter(videos), {}, limit=2))) == ["/v/0.mp4", "/v/1.mp4"]


@needs_ytdlp
def test_a_list_on_a_private_host_is_not_read(web: WebServer) -> None:
    with pytest.raises(BlockedAddressError, match="not on the public internet"):
        videos_of(web.url("/talks.rss"), DownloadSettings())
    assert web.log == []


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("https://youtube.com/@Some.Name", "https://www.youtube.com/@Some.Name/videos"),
        ("https://www.youtube.com/@n/streams?x=1", "https://www.youtube.com/@n/videos"),
        ("https://youtube.com/channel/UCabc", "https://www.youtube.com/channel/UCabc/videos"),
        ("https://youtube.com/playlist?list=PLab", "https://www.youtube.com/playlist?list=PLab"),
    ],
)
def test_youtube_lists_have_one_address_and_are_known_as_lists(
    written: str, canonical: str
) -> None:
    address = parse_url(written)
    assert (address.url, address.input_type) == (canonical, InputType.YOUTUBE)
    assert may_be_list(canonical)
    assert is_list(canonical)


@needs_ytdlp
@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://vimeo.com/channels/staffpicks", True),
        ("https://vimeo.com/76979871", False),
        ("https://www.youtube.com/watch?v=abcdefghijk", False),
        ("https://e.org/some/page", False),
        ("https://e.org/feed.rss", True),
    ],
)
def test_what_is_a_list_is_known_without_asking(url: str, answer: bool) -> None:
    assert is_list(url) is answer


def test_files_are_never_held_up_by_yt_dlp() -> None:
    assert not may_be_list("https://e.org/v/talk.mp4")
    assert not may_be_list("https://www.youtube.com/watch?v=abcdefghijk")


# --- pages of unknown sites --------------------------------------------------------------------


def page(web: WebServer, path: str, *players: str) -> str:
    text = f"<html><head><title>Course</title></head><body>{''.join(players)}</body></html>"
    web.add(path, text.encode(), content_type="text/html; charset=utf-8")
    return web.url(path)


def player(number: int) -> str:
    return f'<video controls><source src="/v/{number}.mp4" type="video/mp4"></video>'


@needs_ytdlp
def test_a_page_with_several_videos_becomes_them_with_one_request_each(
    web: WebServer, tmp_path: Path
) -> None:
    """Every other page stays one input; what is wrong with it is told when it is fetched."""
    youtube = [f'<iframe src="https://www.youtube.com/embed/abcdefghij{n}"></iframe>' for n in "01"]
    vimeo = [f'<iframe src="https://player.vimeo.com/video/7697987{n}"></iframe>' for n in "01"]
    several = [
        page(web, "/course", player(0), player(1), player(0)),
        page(web, "/embedded.aspx", *youtube, *vimeo),
    ]
    others = [
        page(web, "/single", player(7)),
        page(web, "/empty", "<p>no video here</p>"),
        web.url("/gone"),
        "http://127.0.0.2:9/private",
    ]
    found = list(expanded(scan(listed(tmp_path, *several, *others)), HERE))
    assert taken(found) == [
        web.url("/v/0.mp4"),
        web.url("/v/1.mp4"),
        "https://www.youtube.com/watch?v=abcdefghij0",
        "https://www.youtube.com/watch?v=abcdefghij1",
        "https://player.vimeo.com/video/76979870",
        "https://player.vimeo.com/video/76979871",
        *others,
    ]
    assert told(found) == []
    pages = ["/course", "/embedded.aspx", "/empty", "/gone", "/single"]
    assert sorted(r.path for r in web.log) == pages


@needs_ytdlp
def test_a_page_on_a_private_host_is_not_asked(web: WebServer, tmp_path: Path) -> None:
    url = page(web, "/course", player(0), player(1))
    assert taken(list(expanded(scan(listed(tmp_path, url)), {}))) == [url]
    assert web.log == []


@needs_ytdlp
def test_many_addresses_are_asked_by_several_and_stay_in_their_order(
    web: WebServer, tmp_path: Path
) -> None:
    lines = [page(web, f"/p{n}", player(2 * n), player(2 * n + 1)) for n in range(7)]
    found = list(expanded(scan(listed(tmp_path, *lines)), HERE))
    assert taken(found) == [web.url(f"/v/{n}.mp4") for n in range(14)]


# --- cookies -----------------------------------------------------------------------------------


def cookies(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "cookies.txt"
    path.write_text(
        "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tgeheim-123\n"
    )
    path.chmod(mode)
    return path


@needs_ytdlp
def test_cookies_are_sent_and_the_file_stays_as_it_is(web: WebServer, tmp_path: Path) -> None:
    path = cookies(tmp_path)
    before = path.read_bytes()
    settings = DownloadSettings(allow_private_hosts=("127.0.0.1",), cookies=str(path))
    assert len(videos_of(web.url("/talks.rss"), settings).urls) == 5
    assert web.requests("/talks.rss")[0].headers["cookie"] == "session=geheim-123"
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_cookies_that_others_can_read_are_refused(tmp_path: Path, mode: int) -> None:
    options = {"cookies": str(cookies(tmp_path, mode))}
    with pytest.raises(UsageError, match="other users of this machine can read") as caught:
        list(expanded(iter(()), options))
    assert "geheim" not in str(caught.value.to_dict())
    assert caught.value.hint.endswith(f"chmod 600 {options['cookies']}")


def test_a_missing_file_of_cookies_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(expanded(iter(()), {"cookies": str(tmp_path / "no.txt")}))
