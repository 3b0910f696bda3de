"""Plain downloads against a real server on loopback: resume, refuse, bound, never half a file."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from gs_video_report import progress
from gs_video_report.engines.fetch_jobs import fetch_file
from gs_video_report.errors import (
    BlockedAddressError,
    DiskFullError,
    DownloadError,
    DownloadRefused,
    EmptyFileError,
    NoMediaError,
    UnsupportedInputError,
)
from gs_video_report.media.sniff import file_name, sniff
from gs_video_report.media.web import download as module
from gs_video_report.media.web import folder as download_folder
from gs_video_report.media.web.download import Pace, download, look
from gs_video_report.media.web.http_client import retry_after_s, shown
from gs_video_report.media.web.settings import DownloadSettings
from tests.fakes.web import WebServer

SIZE = 700_000
BODY = b"\x00\x00\x00\x18ftypmp42" + random.Random(7).randbytes(SIZE - 12)
HERE = DownloadSettings(allow_private_hosts=("127.0.0.1",))
MODIFIED = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.fixture
def web() -> Any:
    with WebServer() as server:
        yield server


def fetched(web: WebServer, folder: Path, path: str = "/a.mp4", **more: Any) -> bytes:
    """Download and return the bytes."""
    settings = DownloadSettings(allow_private_hosts=("127.0.0.1",), **more)
    return Path(download(web.url(path), folder, settings).path).read_bytes()


def ranges(web: WebServer, path: str = "/a.mp4") -> list[str]:
    """The Range headers of all requests, empty text for none."""
    return [r.headers.get("range", "") for r in web.requests(path)]


# --- a good server ----------------------------------------------------------------------------


def test_a_plain_file_arrives_whole(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY, etag='"v1"')
    done = download(web.url("/a.mp4"), tmp_path, HERE)
    assert Path(done.path).read_bytes() == BODY
    assert (done.size_bytes, done.remote.suffix, done.remote.name) == (SIZE, ".mp4", "a.mp4")
    assert done.remote.version == '"v1"'
    assert sorted(p.name for p in tmp_path.iterdir()) == ["content", "content.json", "lock"]
    (request,) = web.requests("/a.mp4")
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"].startswith("gsvr/")


def test_a_finished_download_asks_the_server_nothing(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY, etag='"v1"')
    assert fetched(web, tmp_path) == fetched(web, tmp_path) == BODY
    assert len(web.log) == 1


@pytest.mark.parametrize("form", [{"chunked": True}, {"lengthless": True}, {"ranges": False}])
def test_servers_without_length_or_ranges_are_served_too(
    web: WebServer, tmp_path: Path, form: dict[str, Any]
) -> None:
    web.add("/a.mp4", BODY, **form)
    assert fetched(web, tmp_path) == BODY


def test_progress_counts_bytes_up_to_the_total(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY)
    told: list[tuple[float, float]] = []
    progress.set_sink(lambda done, total: told.append((done, total)))
    try:
        fetched(web, tmp_path)
    finally:
        progress.set_sink(None)
    assert told == sorted(told)
    assert told[-1] == (SIZE, SIZE)


# --- connections that break -------------------------------------------------------------------


@pytest.mark.parametrize("validator", [{"etag": '"v1"'}, {"last_modified": MODIFIED}])
def test_a_cut_connection_goes_on_where_it_stopped(
    web: WebServer, tmp_path: Path, validator: dict[str, Any]
) -> None:
    web.add("/a.mp4", BODY, cuts=[200_000, 200_000], **validator)
    assert fetched(web, tmp_path) == BODY
    first, *rest = ranges(web)
    assert first == ""
    starts = [int(r.removeprefix("bytes=").rstrip("-")) for r in rest]
    assert starts == sorted(starts)
    assert 100_000 < starts[0] <= 200_000
    assert sum(r.sent for r in web.log) < SIZE + 300_000
    expected = validator.get("etag") or MODIFIED
    assert [r.headers.get("if-range") for r in web.log[1:]] == [expected] * len(rest)


def test_a_weak_tag_is_compared_in_the_answer_and_not_sent(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY, etag='W/"v1"', cuts=[300_000])
    assert fetched(web, tmp_path) == BODY
    assert ranges(web)[1].startswith("bytes=")
    assert "if-range" not in web.log[1].headers


def test_without_a_proof_that_it_is_the_same_it_starts_afresh(
    web: WebServer, tmp_path: Path
) -> None:
    web.add("/a.mp4", BODY, cuts=[300_000])
    assert fetched(web, tmp_path) == BODY
    assert ranges(web) == ["", ""]


def test_a_killed_download_is_continued_by_the_next_call(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY, etag='"v1"')
    begin_part(web, tmp_path, BODY[:250_000], '"v1"')
    assert fetched(web, tmp_path) == BODY
    assert ranges(web) == ["bytes=250000-"]
    assert web.log[0].sent == SIZE - 250_000


@pytest.mark.parametrize("tag", ['"v2"', 'W/"v2"'])
def test_a_file_that_changed_meanwhile_is_fetched_from_the_beginning(
    web: WebServer, tmp_path: Path, tag: str
) -> None:
    newer = BODY[:12] + bytes(reversed(BODY[12:]))
    web.add("/a.mp4", newer, etag=tag)
    begin_part(web, tmp_path, BODY[:250_000], tag.replace("2", "1"))
    assert fetched(web, tmp_path) == newer


def test_a_server_that_answers_another_range_is_not_believed(
    web: WebServer, tmp_path: Path
) -> None:
    web.add("/a.mp4", BODY, etag='"v1"', lie_about_range=True)
    begin_part(web, tmp_path, BODY[:250_000], '"v1"')
    assert fetched(web, tmp_path) == BODY


def test_a_part_that_is_whole_is_only_named(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY, etag='"v1"')
    begin_part(web, tmp_path, BODY, '"v1"')
    assert fetched(web, tmp_path) == BODY
    assert [r.status for r in web.log] == [416]


def test_after_a_restart_of_the_machine_only_synced_bytes_count(
    web: WebServer, tmp_path: Path
) -> None:
    web.add("/a.mp4", BODY, etag='"v1"')
    torn = BODY[:100_000] + bytes(150_000)  # the system lost what was not synced
    begin_part(web, tmp_path, torn, '"v1"', synced=100_000, boot="another start")
    assert fetched(web, tmp_path) == BODY
    assert ranges(web) == ["bytes=100000-"]


@pytest.mark.parametrize("state", ["", "{", '{"v": 9}', '{"v": 1, "remote": {}}', "[]"])
def test_a_damaged_state_file_costs_only_the_part(
    web: WebServer, tmp_path: Path, state: str
) -> None:
    web.add("/a.mp4", BODY, etag='"v1"')
    (tmp_path / "content.part").write_bytes(b"rubbish")
    (tmp_path / "content.json").write_text(state)
    assert fetched(web, tmp_path) == BODY


def test_a_server_that_always_cuts_early_ends_in_an_error_that_may_pass(
    web: WebServer, tmp_path: Path
) -> None:
    web.add("/a.mp4", BODY, etag='"v1"', cuts=[5_000] * 50)
    with pytest.raises(DownloadError) as caught:
        fetched(web, tmp_path)
    assert "the connection" in caught.value.message
    assert len(web.log) <= 2
    assert not (tmp_path / "content").exists()


@pytest.mark.parametrize("declared", [SIZE + 1, SIZE * 3])
def test_a_file_shorter_than_declared_is_never_taken_for_whole(
    web: WebServer, tmp_path: Path, declared: int
) -> None:
    web.add("/a.mp4", BODY, declared=declared, ranges=False)
    with pytest.raises(DownloadError, match=f"cut after {SIZE} of {declared} bytes"):
        fetched(web, tmp_path)
    assert not (tmp_path / "content").exists()


def begin_part(
    web: WebServer, folder: Path, data: bytes, etag: str, synced: int = 0, boot: str = ""
) -> None:
    """What a killed download leaves."""
    remote = {"url": web.url("/a.mp4"), "final_url": "", "kind": "media", "name": "a.mp4",
              "suffix": ".mp4", "total": SIZE, "etag": etag, "last_modified": ""}  # fmt: skip
    state = {"v": 1, "remote": remote, "synced": synced, "boot": boot or download_folder.boot_id()}
    (folder / "content.part").write_bytes(data)
    (folder / "content.json").write_text(json.dumps(state))


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, DownloadRefused, "wants a user name and a password (401)"),
        (403, DownloadRefused, "the server refuses access (403)"),
        (404, DownloadRefused, "there is nothing at this address (404)"),
        (410, DownloadRefused, "has been removed (410)"),
        (418, DownloadRefused, "the server answered 418 (418)"),
        (451, DownloadRefused, "for legal reasons (451)"),
        (408, DownloadError, "the server answered 408"),
        (429, DownloadError, "too many requests"),
        (500, DownloadError, "the server answered 500"),
        (503, DownloadError, "the server answered 503"),
    ],
)
def test_statuses_are_told_apart(
    web: WebServer, tmp_path: Path, status: int, kind: type[Exception], words: str
) -> None:
    web.add("/a.mp4", b"no", status=status, headers={"Retry-After": "7"})
    with pytest.raises(kind) as caught:
        fetched(web, tmp_path)
    assert words in str(caught.value)
    assert len(web.log) == 1
    if isinstance(caught.value, DownloadError):
        assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("body", "content_type", "what"),
    [
        (b"PK\x03\x04" + bytes(100), "video/mp4", "a ZIP archive"),
        (b"%PDF-1.7 ...", "application/octet-stream", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "video/mp4", "a picture"),
        (b"just words, nothing to see", "text/plain", "a text"),
        (b"<!DOCTYPE html><html><title>Log in</title>", "video/mp4", "a web page"),
        (b"#EXTM3U\n#EXT-X-STREAM-INF\nlow.m3u8\n", "video/mp4", "a playlist"),
    ],
)
def test_what_is_no_recording_is_refused_whatever_its_type_says(
    web: WebServer, tmp_path: Path, body: bytes, content_type: str, what: str
) -> None:
    web.add("/a.mp4", body, content_type=content_type)
    with pytest.raises(NoMediaError, match=what):
        fetched(web, tmp_path)
    assert not (tmp_path / "content").exists()


def test_an_empty_file_is_refused(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", b"")
    with pytest.raises(EmptyFileError):
        fetched(web, tmp_path)


def test_a_declared_length_above_the_limit_is_refused_before_it_comes(
    web: WebServer, tmp_path: Path
) -> None:
    web.add("/a.mp4", BODY, declared=10**13)
    with pytest.raises(DownloadRefused, match="more than the limit of 20000000000"):
        fetched(web, tmp_path)


def test_an_undeclared_length_is_stopped_at_the_limit(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY, chunked=True)
    with pytest.raises(DownloadRefused, match="more than the limit of 300000"):
        fetched(web, tmp_path, max_bytes=300_000)
    assert (tmp_path / "content.part").stat().st_size <= 300_000


def test_a_disk_without_room_stops_the_batch_and_not_the_machine(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.add("/a.mp4", BODY)
    monkeypatch.setattr(module, "FREE_RESERVE_BYTES", 10**18)
    with pytest.raises(DiskFullError, match="bytes are to come, and only"):
        fetched(web, tmp_path)


def test_a_compressed_answer_is_not_stored_as_the_file(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY, headers={"Content-Encoding": "br"})
    with pytest.raises(DownloadRefused, match="compresses"):
        fetched(web, tmp_path)


# --- redirects --------------------------------------------------------------------------------


def test_redirects_are_followed_and_name_the_file(web: WebServer, tmp_path: Path) -> None:
    web.redirect("/watch", "/b/talk%20one.mp4?sig=secret", 307)
    web.add("/b/talk%20one.mp4", BODY)
    done = download(web.url("/watch"), tmp_path, HERE)
    assert done.remote.name == "talk one.mp4"
    assert done.remote.url == web.url("/watch")


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/a.mp4", "http://[::1]:1/a.mp4",
     "//192.168.0.1/a.mp4", "http://[::ffff:10.0.0.1]/a.mp4", "http://2130706433/a.mp4",
     "http://0177.0.0.1/a.mp4", "http://127.0.0.2:1/a.mp4"],
)  # fmt: skip
def test_a_redirect_to_a_private_address_is_refused(
    web: WebServer, tmp_path: Path, target: str
) -> None:
    web.redirect("/a.mp4", target)
    with pytest.raises(BlockedAddressError):
        download(web.url("/a.mp4"), tmp_path, DownloadSettings(allow_private_hosts=("127.0.0.1",)))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.mp4", "data:,x"])
def test_a_redirect_to_something_else_than_http_is_refused(
    web: WebServer, tmp_path: Path, target: str
) -> None:
    web.redirect("/a.mp4", target)
    with pytest.raises(UnsupportedInputError):
        fetched(web, tmp_path)


def test_redirects_in_a_circle_end(web: WebServer, tmp_path: Path) -> None:
    web.redirect("/a.mp4", "/a.mp4")
    with pytest.raises(DownloadRefused, match="more than 10 redirects"):
        fetched(web, tmp_path)
    assert len(web.log) == 11


def test_a_private_server_is_refused_without_being_asked(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY)
    with pytest.raises(BlockedAddressError, match=r"127\.0\.0\.1 is not on the public internet"):
        download(web.url("/a.mp4"), tmp_path, DownloadSettings())
    assert web.log == []


def test_a_closed_port_may_be_tried_again(web: WebServer, tmp_path: Path) -> None:
    with WebServer() as other:
        url = other.url("/a.mp4")
    with pytest.raises(DownloadError, match="the connection failed"):
        download(url, tmp_path, HERE)


# --- two at once, pace ------------------------------------------------------------------------


def test_two_downloads_of_one_folder_fetch_once(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_folder, "LOCK_POLL_S", 0.01)
    hold = threading.Event()
    web.add("/a.mp4", BODY, hold=hold, hold_after=100_000)
    found: list[bytes] = []
    both = [threading.Thread(target=lambda: found.append(fetched(web, tmp_path))) for _ in "ab"]
    both[0].start()
    part = tmp_path / "content.part"
    assert web.wait_for(lambda: part.is_file())
    both[1].start()
    hold.set()
    for thread in both:
        thread.join(20)
    assert found == [BODY, BODY]
    assert len(web.log) == 1


def test_the_rate_limit_holds_on_average() -> None:
    pace = Pace(1000, started=50.0)
    assert pace.wait_s(500, now=50.0) == pytest.approx(0.5)
    assert pace.wait_s(500, now=50.5) == pytest.approx(0.5)
    assert pace.wait_s(500, now=60.0) == 0.0
    assert Pace(None, 50.0).wait_s(10**9, 50.0) == 0.0


def test_a_server_that_drips_is_taken_for_stuck_after_a_minute() -> None:
    pace = Pace(None, started=0.0)
    assert not any(pace.is_stuck(10, float(second)) for second in range(1, 60))
    assert pace.is_stuck(10, 60.0)
    healthy = Pace(None, started=0.0)
    assert not any(healthy.is_stuck(5_000, float(second)) for second in range(1, 200))


def test_a_limited_download_is_whole(web: WebServer, tmp_path: Path) -> None:
    web.add("/a.mp4", BODY[:40_000])
    assert fetched(web, tmp_path, limit_rate=200_000) == BODY[:40_000]


# --- looking ----------------------------------------------------------------------------------


def test_looking_reads_the_beginning_only(web: WebServer) -> None:
    hold = threading.Event()
    web.add("/a.mp4", BODY, etag='"v1"', hold=hold, hold_after=50_000)
    found = look(web.url("/a.mp4"), HERE)
    hold.set()
    assert (found.kind, found.total, found.suffix) == ("media", SIZE, ".mp4")


def test_looking_tells_pages_from_files(web: WebServer) -> None:
    web.add("/watch", b"<html><body>a player</body></html>", content_type="text/html")
    web.add("/live.m3u8", b"#EXTM3U\n", content_type="application/x-mpegurl")
    assert look(web.url("/watch"), HERE).kind == "page"
    assert look(web.url("/live.m3u8"), HERE).kind == "playlist"


def test_the_version_changes_with_the_file_and_is_empty_when_nothing_tells(web: WebServer) -> None:
    found = []
    for more in ({"etag": '"a"'}, {"last_modified": MODIFIED}, {}):
        web.add("/a.mp4", BODY, **more)
        found.append(look(web.url("/a.mp4"), HERE).version)
    assert found == ['"a"', f"{MODIFIED} {SIZE}", ""]


@pytest.mark.parametrize(
    ("head", "mime", "kind", "suffix"),
    [
        (b"\x1aE\xdf\xa3....webm", "", "media", ".webm"),
        (b"\x1aE\xdf\xa3....matroska", "", "media", ".mkv"),
        (b"\0\0\0\x14ftypqt  ", "", "media", ".mov"),
        (b"\0\0\0\x14ftypM4A ", "", "media", ".m4a"),
        (b"RIFF\0\0\0\0AVI LIST", "", "media", ".avi"),
        (b"RIFF\0\0\0\0WAVEfmt ", "", "media", ".wav"),
        (b"OggS\0\2", "", "media", ".ogg"),
        ((b"G" + bytes(187)) * 3, "", "media", ".ts"),
        (b"\xff\xfb\x90\x44" + bytes(40), "", "media", ".mp3"),
        (b"\0\x01\x02\x03" * 20, "video/mp4; codecs=x", "media", ".mp4"),
        (b"\0\x01\x02\x03" * 20, "application/octet-stream", "media", ""),
        (b"\0\x01\x02\x03" * 20, "image/heic", "other", ""),
        (b"<?xml version='1.0'?><MPD></MPD>", "application/dash+xml", "playlist", ""),
        (b"\xef\xbb\xbf#EXTM3U", "text/plain", "playlist", ""),
    ],
)
def test_the_first_bytes_tell_what_it_is(head: bytes, mime: str, kind: str, suffix: str) -> None:
    found = sniff(head, mime)
    assert (found.kind, found.suffix) == (kind, suffix)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("", "c d.mp4"),
        ('attachment; filename="talk one.mp4"', "talk one.mp4"),
        ("attachment; filename=talk.mp4; size=3", "talk.mp4"),
        ("attachment; filename=x; filename*=UTF-8''%E8%AE%B2%E5%BA%A7.mp4", "讲座.mp4"),
        ('inline; filename="../../etc/passwd"', "passwd"),
        ('inline; filename="C:\\\\temp\\\\a.mp4"', "a.mp4"),
        ('inline; filename="\xe8\xae\xb2.mp4"', "讲.mp4"),
        ("attachment; filename*=nonsense''%E8.mp4", "c d.mp4"),
    ],
)
def test_names_of_downloads(header: str, name: str) -> None:
    assert file_name("https://x.example/b/c%20d.mp4?e=f", header) == name


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120.0), (" 0 ", 0.0), ("-5", 0.0), ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
     ("nan", None), ("inf", None), ("soon", None), ("", None)],
)  # fmt: skip
def test_retry_after_in_both_forms(text: str, seconds: float | None) -> None:
    assert retry_after_s(text, now=100.0) == seconds


def test_messages_never_hold_passwords_or_signatures() -> None:
    assert shown("https://ann:pw@x.example/a.mp4?sig=secret#f") == "https://x.example/a.mp4"
    assert len(shown("https://x.example/" + "a" * 999)) == 200


def test_the_content_is_what_the_server_has(web: WebServer, tmp_path: Path) -> None:
    """Many random cuts: the SHA-256 is still that of the file."""
    luck = random.Random(11)
    cuts = [luck.randrange(66_000, 200_000) for _ in range(8)]
    web.add("/a.mp4", BODY, etag='"v1"', cuts=cuts)
    assert hashlib.sha256(fetched(web, tmp_path)).digest() == hashlib.sha256(BODY).digest()


# --- several processes in one folder ----------------------------------------------------------


def test_folder_that_is_held_is_not_removed(tmp_path: Path) -> None:
    place = tmp_path / "fetch"
    with download_folder.locked_folder(place):
        (place / "content.part").write_bytes(b"half")
        download_folder.discard_folder(place)
        assert (place / "content.part").read_bytes() == b"half"
    download_folder.discard_folder(place)
    assert not place.exists()
    download_folder.discard_folder(place)
    place.mkdir()
    download_folder.discard_folder(place)
    assert not place.exists()


def test_who_waited_for_a_removed_folder_gets_a_fresh_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It held the lock of a file that was gone, and could write nothing."""
    monkeypatch.setattr(download_folder, "LOCK_POLL_S", 0.01)
    waiting = threading.Event()
    monkeypatch.setattr(download_folder, "report", lambda *_: waiting.set())
    place = tmp_path / "fetch"
    wrote: list[bytes] = []

    def second() -> None:
        with download_folder.locked_folder(place):
            (place / "content").write_bytes(b"fresh")
            wrote.append((place / "content").read_bytes())

    thread = threading.Thread(target=second)
    with download_folder.locked_folder(place):
        thread.start()
        assert waiting.wait(20)
        shutil.rmtree(place)
    thread.join(20)
    assert wrote == [b"fresh"]


def test_file_that_another_process_took_away_before_it_was_stored_is_fetched_again(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes with one cache: the first to end removed the folder under the second."""
    web.add("/a.mp4", BODY, etag='"v1"')
    place, takers = tmp_path / "fetch", [download_folder.discard_folder]

    def download_and_lose(*given: Any) -> Any:
        done = download(*given)
        if takers:
            takers.pop()(place)
        return done

    monkeypatch.setattr(module, "download", download_and_lose)
    options = {"allow_private_hosts": ["127.0.0.1"]}
    value = fetch_file(web.url("/a.mp4"), str(place), str(tmp_path / "cache"), options)
    assert value["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert (value["size_bytes"], len(web.requests("/a.mp4"))) == (SIZE, 2)
