"""What is taken from a site, and how its refusals are told apart; pure, no network."""

from __future__ import annotations

from typing import Any

import pytest

from gs_video_report.errors import (
    DiskFullError,
    DownloadError,
    DownloadRefused,
    GsvrError,
    UnsupportedInputError,
)
from gs_video_report.media.web.settings import DEFAULT_MAX_BYTES, DownloadSettings
from gs_video_report.media.web.site_choice import choose_subtitles, video_of
from gs_video_report.media.web.site_errors import translate

URL = "https://www.youtube.com/watch?v=abcdefghijk"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (("ERROR: [youtube] abcdefghijk: Private video. Sign in if you've been granted access to "
         "this video"), "private"),
        ("[youtube] abcdefghijk: Video unavailable. This video has been removed by the uploader",
         "removed"),
        ("[youtube] x: Video unavailable", "removed"),
        (("[youtube] x: This video is no longer available because the YouTube account associated "
         "with this video has been terminated."), "removed"),
        ("[youtube] x: The uploader has not made this video available in your country", "geo"),
        ("[youtube] x: Video unavailable. This content isn't available in your country.", "geo"),
        ("[youtube] x: Sign in to confirm you're not a bot. Use --cookies-from-browser", "bot"),
        (("[youtube] x: Sign in to confirm your age. This video may be inappropriate for some "
         "users."), "age"),
        ("[youtube] x: Join this channel to get access to members-only content", "members"),
        ("[youtube] x: This live event will begin in 3 hours.", "live"),
        ("[youtube] x: Premieres in 2 days", "live"),
        ("[vimeo] 1: This video is only available for registered users. Use --cookies", "login"),
        ("[crunchyroll] 1: This video is DRM protected", "drm"),
        ("[x] 1: Requested format is not available. Use --list-formats", "format"),
        (("[x] 1: An extractor error has occurred. (caused by KeyError('a')); please report this "
         "issue on https://github.com/..."), "extractor"),
        ("", "extractor"),
    ],
)  # fmt: skip
def test_refusals_of_sites_are_told_apart(message: str, reason: str) -> None:
    error = translate(URL, message)
    assert isinstance(error, DownloadRefused)
    assert error.data["reason"] == reason
    assert error.message.startswith(f"{URL}: ")
    assert "--" not in error.message + error.hint.replace("--failed", "")


@pytest.mark.parametrize(
    ("message", "cause", "status", "kind", "words"),
    [
        ("Unsupported URL: https://x", "UnsupportedError", None, UnsupportedInputError, "no video"),
        ("not in your place", "GeoRestrictedError", None, DownloadRefused, "this country"),
        ("nobody here", "UserNotLive", None, DownloadRefused, "broadcast"),
        ("Unable to download webpage: HTTP Error 404: Not Found", "HTTPError", 404,
         DownloadRefused, "nothing at this address (404)"),
        ("Got error: HTTP Error 503: Service Unavailable. Giving up after 5 retries", "", None,
         DownloadError, "answered 503"),
        ("HTTP Error 429: Too Many Requests", "HTTPError", 429, DownloadError, "too many"),
        (("Unable to download API page: HTTPSConnection(host='x', port=443): Failed to resolve "
         "'www.x.com' ([Errno -2] ...)"), "TransportError", None, DownloadError,
         "the host www.x.com cannot be found"),
        ("The read operation timed out", "TransportError", None, DownloadError, "does not answer"),
        ("12 bytes read, 30 more expected", "", None, DownloadError, "bytes read"),
        ("unable to write data: [Errno 28] No space left on device", "", None, DiskFullError,
         "no space left"),
    ],
)  # fmt: skip
def test_failures_are_classified_by_cause_then_status_then_words(
    message: str, cause: str, status: int | None, kind: type[GsvrError], words: str
) -> None:
    error = translate(URL, message, cause, status)
    assert type(error) is kind
    assert words in error.message


def test_what_is_gone_is_not_to_be_downloaded_by_hand_and_a_sick_server_is_no_network() -> None:
    gone, sick = translate(URL, "x", "HTTPError", 404), translate(URL, "x", "HTTPError", 503)
    assert gone.hint == "check the address, or remove it from the list"
    assert "not your network" in sick.hint


def test_a_wait_that_the_site_asks_for_is_kept_and_one_is_assumed() -> None:
    asked = translate(URL, "x", "HTTPError", 429, {"Retry-After": "30"})
    silent = translate(URL, "x", "HTTPError", 429)
    assert isinstance(asked, DownloadError)
    assert isinstance(silent, DownloadError)
    assert (asked.retry_after_s, silent.retry_after_s) == (30.0, 900.0)


# --- subtitles --------------------------------------------------------------------------------


def track(*formats: str) -> list[dict[str, str]]:
    return [{"ext": f, "url": f"https://x.example/{f}"} for f in formats]


def chosen(info: dict[str, Any], wanted: str = "") -> tuple[str, bool, str] | None:
    found = choose_subtitles(info, wanted)
    return None if found is None else (found.language, found.automatic, found.suffix)


def test_people_come_before_machines() -> None:
    info = {
        "language": "en",
        "subtitles": {"en": track("vtt"), "de": track("vtt")},
        "automatic_captions": {"en": track("vtt"), "en-orig": track("srt")},
    }
    assert chosen(info) == ("en", False, "vtt")
    del info["subtitles"]
    assert chosen(info) == ("en", True, "srt")


def test_a_translation_is_never_taken_for_speech() -> None:
    info = {
        "language": "ja",
        "subtitles": {"en": track("vtt"), "zh-Hans": track("srt")},
        "automatic_captions": {"en": track("vtt"), "ja": track("json3", "ttml")},
    }
    assert chosen(info) is None
    assert chosen(info, "zh") == ("zh", False, "srt")


def test_the_language_a_machine_heard_tells_the_spoken_one() -> None:
    info = {
        "subtitles": {"fr": track("vtt")},
        "automatic_captions": {"de-orig": track("vtt"), "en": track("vtt"), "fr": track("vtt")},
    }
    assert chosen(info) == ("de", True, "vtt")


def test_a_single_manual_track_is_taken_when_nothing_else_tells() -> None:
    assert chosen({"subtitles": {"en-GB": track("vtt")}}) == ("en", False, "vtt")
    assert chosen({"subtitles": {"en": track("vtt"), "fr": track("vtt")}}) is None
    assert chosen({"subtitles": {"live_chat": track("json")}}) is None
    assert chosen({}) is None


def test_srt_is_preferred_because_captions_in_vtt_repeat_lines() -> None:
    info = {"language": "en", "automatic_captions": {"en": track("json3", "vtt", "srt")}}
    assert chosen(info) == ("en", True, "srt")


def test_text_without_an_address_is_taken_from_the_page() -> None:
    info = {"language": "en", "subtitles": {"en": [{"ext": "vtt", "data": "WEBVTT"}]}}
    assert chosen(info) == ("en", False, "vtt")
    assert chosen({"language": "en", "subtitles": {"en": [{"ext": "vtt"}]}}) is None


# --- facts ------------------------------------------------------------------------------------


def test_odd_values_of_a_site_become_empty() -> None:
    found = video_of(
        {"id": 7, "title": "a\x1b[31m\nb", "duration": "long", "upload_date": "soon",
         "chapters": [{"start_time": 5, "end_time": 1}, {}], "language": "xx"}
    )  # fmt: skip
    assert (found.video_id, found.title, found.duration_s) == ("7", "a [31m b", None)
    assert (found.upload_date, found.chapters, found.language) == ("", (), "")
    assert not found.is_live


def test_facts_of_a_site() -> None:
    found = video_of({
        "id": "abc", "extractor_key": "Youtube", "title": "根", "duration": 61.5, "channel": "Ann",
        "upload_date": "20260131", "language": "zh-CN", "live_status": "was_live",
        "chapters": [{"start_time": 0, "end_time": 9.5, "title": "one"}],
    })  # fmt: skip
    assert (found.title, found.duration_s, found.uploader) == ("根", 61.5, "Ann")
    assert (found.upload_date, found.language) == ("2026-01-31", "zh")
    assert found.chapters == ((0.0, 9.5, "one"),)
    assert found.version == "Youtube:abc"
    assert not found.is_live


@pytest.mark.parametrize("status", ["is_live", "is_upcoming", "post_live"])
def test_broadcasts_that_are_not_over(status: str) -> None:
    assert video_of({"live_status": status}).is_live


def test_settings_from_stored_options() -> None:
    assert DownloadSettings.from_options({}) == DownloadSettings(None, DEFAULT_MAX_BYTES, (), "")
    stored = {"limit_rate": 2_000_000, "max_bytes": None, "allow_private_hosts": ["nas.local"]}
    found = DownloadSettings.from_options(stored)
    assert (found.limit_rate, found.max_bytes) == (2_000_000, DEFAULT_MAX_BYTES)
    assert found.policy.allowed == ("nas.local",)
    assert DownloadSettings(format="18").format_for(pictures=False) == "18"
