"""Subtitles beside and inside recordings, with the mistakes that real files have."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.errors import PermanentError, SubtitleError
from gs_video_report.media.language_tags import to_iso639_1
from gs_video_report.media.subtitles.cues import MAX_START_S
from gs_video_report.media.subtitles.read import (
    Choice,
    Cue,
    choose,
    find_sidecars,
    parse_subtitles,
    read_embedded,
)

MEDIA = Path(
    os.environ.get("GSVR_TEST_MEDIA", Path(__file__).parents[2].parent / "shared" / "media")
)

CHINESE = (
    "1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>你好</i> &amp; 同学们\r\n\r\n"
    "2\r\n00:00:03,000 --> 00:00:05,000\r\n{\\an8}今天讲光合作用\r\n第二行\r\n"
)
CHINESE_CUES = (Cue(1.0, 2.5, "你好 & 同学们"), Cue(3.0, 5.0, "今天讲光合作用 第二行"))

ROLLING = """WEBVTT
Kind: captions
Language: en-US

00:00:00.000 --> 00:00:02.000 align:start position:0%

hello<00:00:00.500><c> and</c><00:00:01.000><c> welcome</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
hello and welcome

00:00:02.010 --> 00:00:04.000 align:start position:0%
hello and welcome
to<00:00:02.500><c> this</c><c> lecture</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
to this lecture

00:00:04.010 --> 00:00:06.000 align:start position:0%
to this lecture
about trees

00:00:06.000 --> 00:00:06.010
about trees
"""


def srt(*cues: tuple[str, str, str]) -> bytes:
    return "\n\n".join(f"{a} --> {b}\n{text}" for a, b, text in cues).encode()


# --- charsets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"]
)
def test_chinese_srt_reads_the_same_in_every_charset(charset: str) -> None:
    found = parse_subtitles(CHINESE.encode(charset), "srt")
    assert found.cues == CHINESE_CUES
    assert found.problems == ()


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("Café déjà vu, ça marche à l'œil", "cp1252"),
        ("Привет, как дела у студентов", "cp1251"),
        ("今天我們來學習機器學習的基本概念", "big5"),
    ],
)
def test_old_charsets_are_recognised(text: str, charset: str) -> None:
    found = parse_subtitles(f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n".encode(charset), "srt")
    assert [c.text for c in found.cues] == [text]


def test_utf8_with_one_broken_byte_is_read_and_named_damaged() -> None:
    data = ("1\n00:00:01,000 --> 00:00:02,000\n" + "光合作用" * 9).encode() + b"\xe5\n"
    found = parse_subtitles(data, "srt")
    assert found.cues[0].text.startswith("光合作用")
    assert found.problems == ("damaged_text",)


# --- SRT ----------------------------------------------------------------------------------------


def test_numbers_hours_dots_and_ends_may_be_missing() -> None:
    data = b"""00:06.5 --> 00:08.0
no number, no hours
3
0:00:09,1 -->
no end
4
1:00:00.250 -> 1:00:01,5
short arrow, no blank line
"""
    found = parse_subtitles(data, "srt")
    assert found.cues == (
        Cue(6.5, 8.0, "no number, no hours"),
        Cue(9.1, 10.1, "no end"),
        Cue(3600.25, 3601.5, "short arrow, no blank line"),
    )
    assert found.problems == ("missing_end",)


def test_a_caption_that_is_a_number_stays() -> None:
    data = b"1\n00:00:01,000 --> 00:00:02,000\n42\n\n2\n00:00:03,000 --> 00:00:04,000\n1984\n"
    assert [c.text for c in parse_subtitles(data, "srt").cues] == ["42", "1984"]


def test_blank_line_inside_a_caption_loses_nothing() -> None:
    data = srt(
        ("00:00:01,000", "00:00:02,000", "first\n\nsecond"), ("00:00:03,000", "00:00:04,000", "x")
    )
    assert [c.text for c in parse_subtitles(data, "srt").cues] == ["first second", "x"]


def test_less_than_signs_that_are_no_tags_stay() -> None:
    data = srt(("00:00:01,000", "00:00:02,000", "a < b and c > d &lt;ok&gt; <b>bold</b>"))
    assert parse_subtitles(data, "srt").cues[0].text == "a < b and c > d <ok> bold"


def test_absurd_times_are_dropped_with_a_problem() -> None:
    data = srt(("00:00:01,000", "00:00:02,000", "good"), ("999:00:00,000", "999:00:01,000", "bad"))
    found = parse_subtitles(data, "srt")
    assert [c.text for c in found.cues] == ["good"]
    assert found.problems == ("absurd_times",)


def test_end_before_start_and_endless_captions_get_an_estimate() -> None:
    data = srt(
        ("00:00:05,000", "00:00:01,000", "backwards"), ("00:00:10,000", "00:59:00,000", "endless")
    )
    found = parse_subtitles(data, "srt")
    assert found.cues == (Cue(5, 6, "backwards"), Cue(10, 11, "endless"))
    assert found.problems == ("missing_end",)


def test_overlaps_are_cut_and_simultaneous_captions_joined() -> None:
    data = srt(
        ("00:00:01,000", "00:00:04,000", "one"),
        ("00:00:03,000", "00:00:05,000", "two"),
        ("00:00:03,000", "00:00:06,000", "three"),
    )
    found = parse_subtitles(data, "srt")
    assert found.cues == (Cue(1, 3, "one"), Cue(3, 6, "two three"))
    assert found.problems == ("overlaps",)


def test_disordered_captions_are_sorted_and_empty_ones_dropped() -> None:
    data = srt(
        ("00:00:03,000", "00:00:04,000", "later"),
        ("00:00:02,000", "00:00:02,500", " <i></i> "),
        ("00:00:01,000", "00:00:02,000", "sooner"),
    )
    assert [c.text for c in parse_subtitles(data, "srt").cues] == ["sooner", "later"]


# --- WebVTT -------------------------------------------------------------------------------------


def test_vtt_voices_names_notes_and_styles() -> None:
    data = b"""WEBVTT - title

NOTE a comment
over two lines

intro
00:01.000 --> 00:02.000 line:0
<v.loud Mary Ann>Hi <b>there</b></v>

STYLE
::cue { color: red }

second name
00:02.000 --> 00:03.000
<c.yellow>fine</c>, thanks
"""
    assert parse_subtitles(data, ".vtt").cues == (
        Cue(1, 2, "Hi there", "Mary Ann"),
        Cue(2, 3, "fine, thanks"),
    )


def test_rolling_captions_are_said_once_with_their_times() -> None:
    found = parse_subtitles(ROLLING.encode(), "vtt")
    assert found.cues == (
        Cue(0, 2.01, "hello and welcome"),
        Cue(2.01, 4.01, "to this lecture"),
        Cue(4.01, 6.01, "about trees"),
    )
    assert found.problems == ("rolling_captions",)
    assert found.language == "en"


def test_captions_typed_word_by_word_become_one() -> None:
    words = ["the", "cell", "divides", "every", "single", "day"]
    data = srt(
        *((f"00:00:0{i},000", f"00:00:0{i + 1},000", " ".join(words[: i + 1])) for i in range(6))
    )
    assert parse_subtitles(data, "srt").cues == (Cue(0, 6, " ".join(words)),)


def test_refrain_repeated_after_a_pause_stays() -> None:
    data = srt(*((f"00:00:0{i},000", f"00:00:0{i + 1},000", "again") for i in (1, 5)))
    assert len(parse_subtitles(data, "srt").cues) == 2


# --- ASS ----------------------------------------------------------------------------------------

ASS = r"""[Script Info]
Title: x
[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not shown
Dialogue: 0,0:00:01.00,0:00:03.50,Default,Anna,0,0,0,,{\i1}Hello,\Nwide world{\i0}
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\p1}m 0 0 l 1 1{\p0}
Dialogue: broken
"""


@pytest.mark.parametrize("hint", ["ass", "ssa", "", "srt"])
def test_ass_gives_text_only(hint: str) -> None:
    assert parse_subtitles(ASS.encode(), hint).cues == (Cue(1, 3.5, "Hello, wide world", "Anna"),)


def test_srt_under_the_name_of_ass_is_still_read() -> None:
    assert parse_subtitles(CHINESE.encode(), "ass").cues == CHINESE_CUES


# --- anything -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"\x00" * 50, b"just some text", b"WEBVTT\n\n", b"\xff\xfe"])
def test_nothing_usable_is_a_plain_permanent_error(data: bytes) -> None:
    with pytest.raises(SubtitleError) as caught:
        parse_subtitles(data, "srt")
    assert isinstance(caught.value, PermanentError)
    assert caught.value.message == "the subtitle file holds no line with text and a time"
    assert caught.value.hint


PIECES = st.sampled_from([
    b"00:00:01,000 --> 00:00:02,000\n", b"99999:99:99.9 --> 1:2\n", b"1\n", b"\n\n", b"hello\n",
    "光合\n".encode(), "光合\n".encode("gb18030"), b"\xff\xfe", b"\x00", b"<v X>", b"{\\p1}",
    b"-->",
    b"Dialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,hi\n", b"[Events]\n", b"Format: a,Start,End,T\n",
    b"WEBVTT\n", b"NOTE ", b"&#x110000;", b"00:00:01 --> 00:00:01\n",
])  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=14).map(b"".join)),
    st.sampled_from(["srt", ".vtt", "ass", "", "xyz"]),
)
def test_any_bytes_give_sane_cues_or_the_plain_error(data: bytes, hint: str) -> None:
    try:
        found = parse_subtitles(data, hint)
    except SubtitleError:
        return
    assert found.cues
    assert all(c.text.strip() and 0 <= c.start_s < c.end_s for c in found.cues)
    assert all(c.start_s < MAX_START_S for c in found.cues)
    assert all(a.end_s <= b.start_s for a, b in pairwise(found.cues))


# --- files beside a recording -------------------------------------------------------------------


def test_sidecars_carry_the_name_of_the_recording(tmp_path: Path) -> None:
    for name in (
        "Talk.mp4", "talk.srt", "Talk.EN.VTT", "talk.zh-Hans.ass", "talk.mp4.vtt",
        "talk.en.sdh.srt", "talk.fr.forced.srt", "talk.hi.srt",
        "talk2.srt", "talk.part2.srt", "talk.txt", "other.srt", "talk.en.de.srt",
    ):  # fmt: skip
        (tmp_path / name).write_text("x")
    (tmp_path / "talk.de.srt").mkdir()
    found = [
        (Path(s.path).name, s.language, s.format) for s in find_sidecars(tmp_path / "Talk.mp4")
    ]
    assert found == [
        ("talk.srt", "", "srt"),
        ("talk.mp4.vtt", "", "vtt"),
        ("talk.en.sdh.srt", "en", "srt"),
        ("talk.hi.srt", "hi", "srt"),
        ("Talk.EN.VTT", "en", "vtt"),
        ("talk.zh-Hans.ass", "zh", "ass"),
        ("talk.fr.forced.srt", "fr", "srt"),
    ]


def test_name_with_brackets_and_composed_letters_has_its_sidecar(tmp_path: Path) -> None:
    (tmp_path / "Cafe\u0301 [1].srt").write_text("x")
    assert len(find_sidecars(tmp_path / "Caf\u00e9 [1].mkv")) == 1


def test_missing_folder_has_no_sidecars(tmp_path: Path) -> None:
    assert find_sidecars(tmp_path / "gone" / "talk.mp4") == []


def stream(
    index: int, language: str, title: str = "", *, is_text: bool = True
) -> dict[str, object]:
    return {"index": index, "language": language, "title": title, "is_text": is_text, "codec": "x"}


def test_wanted_language_decides_and_other_languages_are_never_taken(tmp_path: Path) -> None:
    for name in ("t.de.srt", "t.en.srt"):
        (tmp_path / name).write_text("x")
    sidecars = find_sidecars(tmp_path / "t.mp4")
    tracks = [stream(2, "fra"), stream(3, "chi")]
    assert choose(sidecars, tracks, "en-GB") == Choice(
        "sidecar", str(tmp_path / "t.en.srt"), -1, "en"
    )
    assert choose(sidecars, tracks, "zh") == Choice("embedded", "", 3, "zh")
    assert choose(sidecars, tracks, "ja") is None


def test_untagged_file_is_taken_for_any_language_after_a_tagged_one(tmp_path: Path) -> None:
    for name in ("t.srt", "t.en.srt"):
        (tmp_path / name).write_text("x")
    sidecars = find_sidecars(tmp_path / "t.mp4")
    for wanted, name in (("", "t.srt"), ("ja", "t.srt"), ("en", "t.en.srt")):
        choice = choose(sidecars, [], wanted)
        assert choice is not None
        assert Path(choice.path).name == name


def test_pictures_forced_and_commentary_tracks_are_left_out() -> None:
    tracks = [
        stream(2, "eng", is_text=False),
        stream(3, "eng", "Forced"),
        stream(4, "eng", "Director's commentary"),
        stream(5, "eng", "SDH"),
    ]
    assert choose([], tracks, "") == Choice("embedded", "", 5, "en")
    assert choose([], tracks[:3], "") is None


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("eng", "en"), ("en-US", "en"), ("ENGLISH", "en"), ("zh_Hans", "zh"), ("chs", "zh"),
        ("ger", "de"), ("fre", "fr"), ("und", ""), ("", ""), ("klingon", ""), ("pt-BR", "pt"),
    ],
)  # fmt: skip
def test_language_tags_become_two_letters(tag: str, code: str) -> None:
    assert to_iso639_1(tag) == code


# --- tracks inside a recording ------------------------------------------------------------------


def recording(name: str) -> Path:
    path = MEDIA / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path


@pytest.mark.media
def test_srt_track_of_matroska() -> None:
    found = read_embedded(recording("sample_with_srt.mkv"), 2)
    assert found.cues == (Cue(0, 1.234, "This is the first subtitle."),)
    assert found.language == "en"


@pytest.mark.media
def test_mov_text_track_without_its_empty_cues() -> None:
    found = read_embedded(recording("mov_text.mp4"), 2)
    assert [c.text for c in found.cues][:2] == ["oop", "boop"]
    assert found.cues[0].start_s == pytest.approx(0.523)
    assert found.language == ""


@pytest.mark.media
def test_second_track_of_two() -> None:
    found = read_embedded(recording("nasa_webb_2video_2audio_2subs.mp4"), 5)
    assert [c.text for c in found.cues][1:3] == [
        "space telescope in one of the largest cleanrooms in the world",
        "at NASA’s Goddard Space Flight Center in Greenbelt, Maryland.",
    ]


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "index"), [("popeye T00 pgs.mkv", 1), ("sample_with_srt.mkv", 0), ("mov_text.mp4", 9)]
)
def test_pictures_and_other_streams_are_no_text_track(name: str, index: int) -> None:
    with pytest.raises(SubtitleError):
        read_embedded(recording(name), index)


@pytest.mark.parametrize("codec", ["webvtt", "ass", "srt"])
def test_written_track_reads_back(codec: str, tmp_path: Path) -> None:
    """A Matroska file with one text track, written here: two cues, the second styled."""
    path = tmp_path / "t.mkv"
    write_matroska(path, codec)
    found = read_embedded(path, 1)
    assert [(c.start_s, c.end_s, c.text) for c in found.cues] == [
        (1.0, 2.5, "first line"),
        (3.0, 4.0, "second, bold"),
    ]


def write_matroska(path: Path, codec: str) -> None:
    """ffmpeg makes the file: one second of grey picture (stream 0) and the track (stream 1)."""
    import shutil
    import subprocess

    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed")
    source = path.with_suffix(".srt")
    source.write_text(
        "1\n00:00:01,000 --> 00:00:02,500\nfirst line\n\n"
        "2\n00:00:03,000 --> 00:00:04,000\nsecond, <b>bold</b>\n"
    )
    picture = ["-f", "lavfi", "-i", "color=gray:s=64x64:d=5:r=5"]
    codecs = ["-c:v", "mpeg4", "-c:s", codec]
    subprocess.run(
        [ffmpeg, "-v", "error", *picture, "-i", str(source), *codecs, str(path)],
        check=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"00:00:01,000 --> 00:00:02,000\n{" + b"\\" * 300_000,
        b"00:00:01,000 --> 00:00:02,000\n" + b"<v " * 100_000,
        b"00:00:01,000 --> 00:00:02,000\n<v" + b" " * 300_000 + b"x",
        b"".join(b"00:00:01,000 --> 00:00:00,000\nx%d\n" % i for i in range(5_000)),
    ],
    ids=["backslashes", "voices", "spaces", "same instant"],
)
def test_hostile_files_take_no_time(body: bytes) -> None:
    """Patterns that backtrack, or loops over equal starts, took minutes on such files."""
    before = time.process_time()
    assert len(parse_subtitles(body, "srt").cues) == 1
    assert time.process_time() - before < 2.0
