"""Web addresses: one canonical form per recording, everything else refused with a reason."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.batch.data_models import InputType
from gs_video_report.batch.inputs.url_rules import (
    UrlRejected,
    looks_like_url,
    parse_url,
    redact,
    safe_component,
)

WATCH = "https://www.youtube.com/watch?v=dQw4w9WgXcQ"


@pytest.mark.parametrize(
    "written",
    [
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "http://youtube.com/watch?v=dQw4w9WgXcQ&t=42s&list=PLabc123",
        "https://youtu.be/dQw4w9WgXcQ?si=tracking",
        "https://m.youtube.com/watch?app=desktop&v=dQw4w9WgXcQ#t=1",
        "https://music.youtube.com/watch?v=dQw4w9WgXcQ",
        "https://www.youtube.com/shorts/dQw4w9WgXcQ",
        "https://www.youtube.com/live/dQw4w9WgXcQ?feature=share",
        "https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ",
        "HTTPS://YOUTU.BE/dQw4w9WgXcQ",
        "  https://youtu.be/dQw4w9WgXcQ  ",
    ],
)
def test_every_form_of_a_youtube_video_becomes_one_address(written: str) -> None:
    found = parse_url(written)
    assert (found.url, found.input_type) == (WATCH, InputType.YOUTUBE)
    assert found.relative_path == "youtube/dQw4w9WgXcQ"


def test_a_playlist_keeps_its_list_and_nothing_else() -> None:
    found = parse_url("https://www.youtube.com/playlist?list=PL_a-1&si=x&index=3")
    assert found.url == "https://www.youtube.com/playlist?list=PL_a-1"
    assert found.input_type is InputType.YOUTUBE


@pytest.mark.parametrize(
    ("written", "code", "part"),
    [
        ("https://www.youtube.com/watch?v=short", "rejected", "video id"),
        ("https://youtu.be/", "rejected", "neither a video nor a playlist"),
        ("https://www.youtube.com/feed/trending", "rejected", "neither a video nor a playlist"),
        ("file:///etc/passwd", "rejected", "file:// addresses are not taken"),
        ("ftp://example.com/a.mp4", "rejected", "ftp: addresses are not taken"),
        ("javascript:alert(1)", "rejected", "javascript: addresses are not taken"),
        ("data:video/mp4;base64,AAAA", "rejected", "data: addresses are not taken"),
        ("example.com/a.mp4", "rejected", "not a web address"),
        ("", "rejected", "empty"),
        ("https://", "rejected", "no host"),
        ("https:///a.mp4", "rejected", "no host"),
        ("https://exa mple.com/a", "rejected", "valid name"),
        ("https://example.com:99999/a", "rejected", "malformed"),
        ("https://example.com:0/a", "rejected", "malformed"),
        ("https://[::1/a", "rejected", "malformed"),
        ("https://-bad-.com/", "rejected", "valid name"),
        ("https://example.com/a\tb", "rejected", "control character"),
        ("https://example.com\\@evil.com/", "rejected", "backslash"),
        ("https://e.com/" + "a" * 9000, "rejected", "longer than"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_reason(
    written: str, code: str, part: str
) -> None:
    with pytest.raises(UrlRejected) as caught:
        parse_url(written)
    assert caught.value.code == code
    assert part in caught.value.reason


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("HTTP://Example.COM:80/A.mp4#t=3", "http://example.com/A.mp4"),
        ("https://example.com:443", "https://example.com/"),
        ("https://example.com:8443/a b.mp4", "https://example.com:8443/a%20b.mp4"),
        ("https://例え.jp/第三讲.mp4", "https://xn--r8jz45g.jp/%E7%AC%AC%E4%B8%89%E8%AE%B2.mp4"),
        ("https://h.org/a%2fb?x=1&sig=a%3d", "https://h.org/a%2Fb?x=1&sig=a%3D"),
        ("http://[::1]:80/a.mp4", "http://[::1]/a.mp4"),
        ("http://127.0.0.1:8000/a.mp4", "http://127.0.0.1:8000/a.mp4"),
    ],
)
def test_other_addresses_are_written_in_one_way(written: str, canonical: str) -> None:
    found = parse_url(written)
    assert (found.url, found.input_type) == (canonical, InputType.URL)
    assert parse_url(canonical).url == canonical


@pytest.mark.parametrize(
    "text",
    [
        "https://ann:s3cret@example.com/a.mp4",
        "https://s3cret@example.com/a.mp4",
        "https://ann:s3cret@www.youtube.com/watch?v=abcdefghijk",
    ],
)
def test_an_address_with_a_password_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UrlRejected, match="holds a user name or password") as caught:
        parse_url(text)
    assert "s3cret" not in caught.value.reason


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://ann:pw@example.com/a", "https://***@example.com/a"),
        ("https://ann:p/w@example.com/a", "https://***@example.com/a"),
        ("https://ann:p@w@example.com/a", "https://***@example.com/a"),
        ("https://example.com/@someone", "https://example.com/@someone"),
        ("a@b.mp4", "a@b.mp4"),
        ("https://ann:/pw@example.com/a", "https://***@example.com/a"),
        ("https://ann:p//w@example.com/a", "https://***@example.com/a"),
        ("http://[::1]/@someone", "http://[::1]/@someone"),
        ("https://example.com/a//b@c.mp4", "https://example.com/a//b@c.mp4"),
        (
            "moved from https://a.com/x to https://ann:pw@b.com/y",
            "moved from https://a.com/x to https://***@b.com/y",
        ),
        (
            "https://ann:pw@a.com/x, //bob:pw@b.com and (ftp://eve:pw@c.com:21/@me)",
            "https://***@a.com/x, //***@b.com and (ftp://***@c.com:21/@me)",
        ),
        ("https://a.com https://ann:pw@b.com", "https://a.com https://***@b.com"),
        ("https://a.com/?to=https://ann:pw@b.com", "https://a.com/?to=https://***@b.com"),
        (r'{"to": "https:\/\/ann:pw@b.com\/y"}', r'{"to": "https:\/\/***@b.com\/y"}'),
        ("https://a.com\nann@b.com", "https://a.com\nann@b.com"),
    ],
)
def test_shown_text_never_holds_a_password(written: str, shown: str) -> None:
    assert redact(written) == shown


WORDS = st.text("abc xyz.,()<>'=", max_size=12)
SIGNS = st.text("az09/:?#@&=%-_. ", max_size=6)
PASSWORDS = st.builds("{}SECRET{}".format, SIGNS, SIGNS).filter(
    lambda word: not re.match("[0-9]+[/?#]|.*@.*[/?#]", word)  # a port; a host and its path
)
ADDRESSES = st.builds(
    "{}ann:{}@b.com{}".format,
    st.sampled_from(["https://", "ftp://", "//", "<http://"]),
    PASSWORDS,
    st.sampled_from(["", "/y", "/@me", ":8443/a//b?c#d", "/https://c.com/x"]),
)
CLEAN = st.sampled_from(["https://a.com/x", "http://[::1]:80/y", "//a.com", "https://a.com:8443"])


@given(st.lists(st.tuples(WORDS, CLEAN | ADDRESSES), max_size=4), WORDS)
def test_no_password_of_any_address_in_a_text_is_shown(
    parts: list[tuple[str, str]], tail: str
) -> None:
    text = "".join(f"{words} {address}" for words, address in parts) + " " + tail
    shown = redact(text)
    assert "SECRET" not in shown
    assert redact(shown) == shown
    if "@" not in text:
        assert shown == text


def test_equal_names_at_different_addresses_get_different_places() -> None:
    one = parse_url("https://example.com/week1/intro.mp4").relative_path
    two = parse_url("https://example.com/week2/intro.mp4").relative_path
    assert one != two
    assert one.startswith("example.com/")
    assert one.endswith("/intro.mp4")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://x", True),
        ("file:///x", True),
        ("javascript:x", True),
        ("Lecture 1: intro.mp4", False),
        ("a:b.mp4", False),
        ("C:\\videos\\a.mp4", False),
        ("week//a.mp4", False),
    ],
)
def test_addresses_are_told_from_file_names(text: str, expected: bool) -> None:
    assert looks_like_url(text) is expected


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_components_are_safe_whatever_the_name(name: str) -> None:
    made = safe_component(name)
    assert made
    assert made not in (".", "..")
    assert not set(made) & set('/\\\0\n<>:"|?*')
    assert not made.startswith(".")
    assert len(made.encode()) <= 120


@given(st.one_of(st.text(max_size=80), st.text(max_size=60).map("https://".__add__)))
@settings(max_examples=300, deadline=None)
def test_any_text_is_accepted_or_refused_and_the_canonical_form_is_stable(text: str) -> None:
    try:
        found = parse_url(text)
    except UrlRejected:
        return
    assert found.url.isascii()
    assert found.url.startswith(("http://", "https://"))
    assert parse_url(found.url).url == found.url
    assert ".." not in found.relative_path.split("/")
    assert not found.relative_path.startswith("/")
