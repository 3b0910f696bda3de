"""Finding slides in encoded recordings whose truth is known, and the pictures that are written."""

from __future__ import annotations

import hashlib
import io
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gs_video_report import progress
from gs_video_report.errors import CorruptMediaError, NoMediaError
from gs_video_report.media.slides.find import SlideFind, SlideParams, find_slides
from gs_video_report.media.slides.reader import Reader
from tests.support.media_speech import real_media, tone_file
from tests.support.media_video import BY_NAME, STYLES, Style, make_video, score, speaker

ROOT = Path(__file__).resolve().parents[2]
QUICK = (
    "hard_cuts", "fades", "bullet_builds", "same_title", "caption_swaps", "burnt_subtitles",
    "camera_between", "blank_parts", "sparse_frames", "uneven_frames", "rotated", "one_frame",
    "one_pixel", "odd_size", "no_b_frames", "vp9", "mjpeg", "mpeg_ts",
)  # fmt: skip


def find(style: Style, folder: Path) -> SlideFind:
    return find_slides(str(make_video(style, folder)), str(folder / "out"), SlideParams())


def check(style: Style, folder: Path) -> None:
    """Every slide and replacement is found in time, and nothing else beyond what is allowed."""
    found = find(style, folder)
    result = score([*style.slides, *style.replaced], [s.t_s for s in found.slides])
    assert result.hits == result.wanted, [s.t_s for s in found.slides]
    assert result.false <= style.extra, [s.t_s for s in found.slides]
    if style.builds is not None and not style.extra:
        assert sum(s.builds for s in found.slides) == style.builds
    if style.kinds:
        assert tuple(s.kind for s in found.slides) == style.kinds
    assert found.problems == ()
    ends = [s.end_s for s in found.slides]
    assert ends[:-1] == [s.t_s for s in found.slides[1:]]


@pytest.mark.parametrize("name", QUICK)
def test_slides_are_found_in_recordings_of_this_style(name: str, tmp_path: Path) -> None:
    check(BY_NAME[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [s.name for s in STYLES if s.name not in QUICK])
def test_slides_are_found_in_recordings_of_this_slower_style(name: str, tmp_path: Path) -> None:
    check(BY_NAME[name], tmp_path)


CUT_AT = {"g": "100", "keyint_min": "100", "sc_threshold": "0"}


def count_packets(patch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the packets that are decoded besides the key frames looked at by themselves."""
    sent: list[int] = []
    decode = Reader.decode

    def counted(self: Reader, packets: Iterable[Any], *, gaps: bool = False) -> Iterator[Any]:
        def noted() -> Iterator[Any]:
            for packet in packets:
                sent.append(packet.size)
                yield packet

        return decode(self, noted(), gaps=gaps)

    patch.setattr(Reader, "decode", counted)
    return sent


def test_page_that_stands_still_is_known_from_its_key_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = replace(BY_NAME["hard_cuts"], duration_s=60.0, slides=(0.0,), options=CUT_AT)
    style = replace(style, picture=lambda _: BY_NAME["hard_cuts"].picture(0.0))
    sent = count_packets(monkeypatch)
    found = find(style, tmp_path)
    assert [s.t_s for s in found.slides] == [0.0]
    assert found.slides[0].end_s == pytest.approx(60.0, abs=0.2)
    assert found.frames_sampled >= 12
    assert len(sent) < 30, "of 600 packets"


def test_page_shown_between_two_key_frames_of_another_one_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (BY_NAME["hard_cuts"].picture(t) for t in (0.0, 6.0))
    style = replace(BY_NAME["hard_cuts"], duration_s=40.0, options=CUT_AT)
    style = replace(style, picture=lambda t: other if 12.3 <= t < 16.7 else one)
    sent = count_packets(monkeypatch)
    found = find(style, tmp_path)
    assert [s.t_s for s in found.slides] == [pytest.approx(t, abs=0.2) for t in (0, 12.3, 16.7)]
    assert len(sent) < 60


def test_beside_a_moving_speaker_pages_are_found_and_the_rest_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style, sent = BY_NAME["webcam"], count_packets(monkeypatch)
    slow = replace(
        style,
        duration_s=80.0,
        picture=lambda t: speaker(
            BY_NAME["hard_cuts"].picture(0.0 if t < 40 else 6.0), t, 510, 230
        ),
        fps=4,
        options={"g": "20", "keyint_min": "20", "sc_threshold": "0"},
    )
    found = find(slow, tmp_path)
    assert [s.t_s for s in found.slides] == [pytest.approx(t, abs=0.3) for t in (0.0, 40.0)]
    assert 0 < len(sent) < 320 / 2


def test_page_that_the_next_key_frame_shows_is_not_watched_until_it_settles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style, sent = BY_NAME["webcam"], count_packets(monkeypatch)
    quick = replace(
        style,
        duration_s=25.0,
        picture=lambda t: speaker(
            BY_NAME["hard_cuts"].picture(0.0 if t < 14 else 6.0), t, 510, 230
        ),
        fps=10,
        options={"g": "120", "keyint_min": "120", "sc_threshold": "0", "bf": "0"},
    )
    found = find(quick, tmp_path)
    assert [s.t_s for s in found.slides] == [pytest.approx(t, abs=0.2) for t in (0.0, 14.0)]
    shown = np.asarray(Image.open(tmp_path / "out" / found.slides[1].file).convert("L"), np.float32)
    wanted = np.asarray(BY_NAME["hard_cuts"].picture(6.0).convert("L"), np.float32)
    assert np.abs(shown - wanted)[:220].mean() < 2.0
    assert len(sent) < 60, "5, 36 and the last 10 of 250"


def test_recording_with_a_single_key_frame_is_read_by_the_packets_that_change_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gs_video_report.media.slides.reader._MAX_PACKETS", 50)
    style = replace(BY_NAME["hard_cuts"], options={"g": "9999", "sc_threshold": "0"})
    sent = count_packets(monkeypatch)
    found = find(style, tmp_path)
    assert score(style.slides, [s.t_s for s in found.slides], 0.4).hits == 8
    assert len(found.slides) == 8
    assert len(sent) < 424 / 2


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", ".ts", {"x264-params": "open-gop=1:keyint=40:bframes=3:scenecut=0"}),
        ("libx264", ".mkv", {"preset": "medium", "g": "80", "bf": "3", "refs": "4"}),
        ("mpeg4", ".mp4", {"g": "12"}),
        pytest.param("libx264", ".mp4", {"tune": "zerolatency", "g": "60"}, marks=pytest.mark.slow),
        pytest.param("libx265", ".mp4", {"x265-params": "log-level=none"}, marks=pytest.mark.slow),
        pytest.param(
            "libvpx",
            ".webm",
            {"deadline": "realtime", "cpu-used": "8", "g": "60"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_slides_are_found_however_the_groups_of_pictures_are_built(
    codec: str, suffix: str, options: dict[str, str], tmp_path: Path
) -> None:
    style = replace(
        BY_NAME["same_title"], codec=codec, suffix=suffix, options=options, duration_s=18.9
    )
    found = find(style, tmp_path)
    assert [s.t_s for s in found.slides] == [pytest.approx(t, abs=0.4) for t in (0.0, 6.3, 12.6)]
    assert found.problems == ()


def test_picture_of_a_built_slide_is_its_fullest_state(tmp_path: Path) -> None:
    style = BY_NAME["bullet_builds"]
    found = find(style, tmp_path)
    for slide in found.slides:
        shown = np.asarray(Image.open(tmp_path / "out" / slide.file).convert("L"), np.float32)
        wanted = np.asarray(style.picture(slide.end_s - 0.5).convert("L"), np.float32)
        before = np.asarray(style.picture(slide.t_s + 0.5).convert("L"), np.float32)
        assert np.abs(shown - wanted).mean() < 2.0
        assert np.abs(shown - before).mean() > 2.0


def test_pictures_taken_in_a_fade_are_settled_ones(tmp_path: Path) -> None:
    style = BY_NAME["fades"]
    for slide in find(style, tmp_path).slides:
        shown = np.asarray(Image.open(tmp_path / "out" / slide.file).convert("L"), np.float32)
        wanted = np.asarray(style.picture(slide.end_s - 0.6).convert("L"), np.float32)
        assert np.abs(shown - wanted).mean() < 2.0


def test_rotated_recording_gives_upright_pictures(tmp_path: Path) -> None:
    found = find(BY_NAME["rotated"], tmp_path)
    assert {(s.width, s.height) for s in found.slides} == {(640, 360)}
    shown = np.asarray(Image.open(tmp_path / "out" / found.slides[0].file).convert("L"), np.float32)
    wanted = np.asarray(BY_NAME["hard_cuts"].picture(0.0).convert("L"), np.float32)
    assert np.abs(shown - wanted).mean() < 3.0


def test_same_recording_gives_the_same_bytes_and_facts_match_the_files(tmp_path: Path) -> None:
    path = str(make_video(BY_NAME["hard_cuts"], tmp_path))
    first = find_slides(path, str(tmp_path / "a"), SlideParams())
    assert find_slides(path, str(tmp_path / "b"), SlideParams()) == first
    assert [s.index for s in first.slides] == list(range(8))
    for slide in first.slides:
        data = (tmp_path / "a" / slide.file).read_bytes()
        assert data == (tmp_path / "b" / slide.file).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (slide.sha256, slide.bytes)
        assert Image.open(io.BytesIO(data)).size == (slide.width, slide.height)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [s.file for s in first.slides]


def test_wide_pictures_are_made_smaller(tmp_path: Path) -> None:
    path = make_video(BY_NAME["one_frame"], tmp_path)
    found = find_slides(str(path), str(tmp_path / "out"), SlideParams(max_width=320))
    assert (found.slides[0].width, found.slides[0].height) == (320, 180)


def test_recording_that_starts_with_sound_only_has_its_first_slide_at_its_real_time(
    tmp_path: Path,
) -> None:
    from fractions import Fraction

    import av

    with av.open(str(tmp_path / "late.mkv"), "w") as out:
        sound = out.add_stream("pcm_s16le", rate=8_000, layout="mono")
        video = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        video.time_base = Fraction(1, 10)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8_000), np.int16), "s16", "mono")
        silence.sample_rate, silence.pts = 8_000, 0
        out.mux(sound.encode(silence))
        for number in range(40, 90):
            frame = av.VideoFrame.from_image(BY_NAME["hard_cuts"].picture(0.0))
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    found = find_slides(str(tmp_path / "late.mkv"), str(tmp_path / "out"), SlideParams())
    assert [(s.t_s, s.end_s) for s in found.slides] == [(4.0, pytest.approx(9.0, abs=0.2))]


def test_last_frame_of_a_sparse_recording_stays_until_the_recording_ends(tmp_path: Path) -> None:
    from fractions import Fraction

    import av

    with av.open(str(tmp_path / "sparse.mkv"), "w") as out:
        video = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=8_000, layout="mono")
        for t_s, number in ((0.0, 0.0), (7.0, 6.0)):
            frame = av.VideoFrame.from_image(BY_NAME["hard_cuts"].picture(number))
            frame.pts, frame.time_base = round(t_s * 10), Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for second in range(30):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8_000), np.int16), "s16", "mono")
            silence.sample_rate, silence.pts = 8_000, second * 8_000
            out.mux(sound.encode(silence))
        out.mux(sound.encode(None))
    found = find_slides(str(tmp_path / "sparse.mkv"), str(tmp_path / "out"), SlideParams())
    assert [(s.t_s, round(s.end_s)) for s in found.slides] == [(0.0, 7), (7.0, 30)]
    assert found.problems == ()


def test_damaged_recording_is_read_to_its_end_and_says_so(tmp_path: Path) -> None:
    style = replace(BY_NAME["hard_cuts"], options={"g": "20"})
    path = make_video(style, tmp_path)
    data = bytearray(path.read_bytes())
    chance = random.Random(1)
    start, end = data.index(b"mdat") + 8, data.index(b"moov")
    for _ in range(60):
        data[chance.randrange(start, end)] ^= 0xFF
    path.write_bytes(data)
    found = find_slides(str(path), str(tmp_path / "out"), SlideParams())
    assert found.frames_sampled >= 40
    assert found.decode_errors > 0
    assert found.problems[0].startswith("The pictures are damaged: ")
    assert score(style.slides, [s.t_s for s in found.slides]).hits >= 6


def test_recording_that_was_cut_off_gives_the_slides_it_has_and_says_so(tmp_path: Path) -> None:
    style = replace(BY_NAME["hard_cuts"], suffix=".mkv", options={"g": "20"})
    path = make_video(style, tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = find_slides(str(path), str(tmp_path / "out"), SlideParams())
    assert 2 <= len(found.slides) < 8
    assert any(p.startswith("The pictures end early: ") for p in found.problems)
    assert found.slides[-1].end_s < 30


def test_raw_stream_without_time_stamps_is_timed_by_its_frames(tmp_path: Path) -> None:
    style = replace(BY_NAME["hard_cuts"], suffix=".h264", fps=25)
    found = find(style, tmp_path)
    assert score(style.slides, [s.t_s for s in found.slides]).hits == 8


def test_progress_is_reported_in_seconds_of_the_recording(tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []
    path = str(make_video(BY_NAME["camera_between"], tmp_path))
    progress.set_sink(lambda done, total: told.append((done, total)))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gs_video_report.media.slides.reader._REPORT_S", 0.0)
            find_slides(path, str(tmp_path / "out"), SlideParams())
    finally:
        progress.set_sink(None)
    assert told[-1] == (pytest.approx(61.0, abs=1.0), pytest.approx(61.0, abs=0.2))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_recording_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoMediaError, match=r"there are no moving pictures in it"):
        find_slides(str(tone_file(tmp_path / "a.m4a", 2)), str(tmp_path / "out"), SlideParams())


def test_recording_in_which_no_picture_decodes_is_corrupt(tmp_path: Path) -> None:
    path = make_video(BY_NAME["hard_cuts"], tmp_path)
    data = bytearray(path.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    with pytest.raises(CorruptMediaError, match="none of its pictures can be decoded"):
        find_slides(str(path), str(tmp_path / "out"), SlideParams())


@pytest.mark.parametrize("name", ["spoken_en_6s.mp4", "spoken_zh_5s.mp4"])
def test_slides_of_the_spoken_clips(name: str, tmp_path: Path) -> None:
    media = ROOT / "tests" / "support" / "media"
    truth = json.loads((media / "truth.json").read_text(encoding="utf-8"))[name]
    found = find_slides(str(media / name), str(tmp_path), SlideParams())
    wanted = [s["t_s"] for s in truth["slides"]]
    assert [s.t_s for s in found.slides] == [pytest.approx(t, abs=0.3) for t in wanted]


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("lecture_slides_eth.mov", [0.0, 1.2]),
        ("幻灯片 两页（测试）.mp4", [0.0, 20.0]),
        ("slides_lorem_1fps.mp4", [0.0, 7.0, 16.0]),
    ],
)
def test_slides_of_real_recordings(name: str, times: list[float], tmp_path: Path) -> None:
    found = find_slides(str(real_media(name)), str(tmp_path), SlideParams())
    assert [s.t_s for s in found.slides] == [pytest.approx(t, abs=1.0) for t in times]


@pytest.mark.media
def test_all_black_recording_has_no_slides(tmp_path: Path) -> None:
    found = find_slides(str(real_media("silent-black-10s.mp4")), str(tmp_path), SlideParams())
    assert found.slides == ()
    assert found.frames_sampled == 10


@pytest.mark.parametrize("matrix", [8, 10, 14])
def test_pictures_in_colours_that_cannot_be_converted_are_shown_in_usual_ones(
    tmp_path: Path, matrix: int
) -> None:
    """Regression: YCgCo, BT.2020 with constant luminance and ICtCp broke off the search."""
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=5, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace = matrix
        for _ in range(10):
            image = np.full((48, 64, 3), 200, dtype=np.uint8)
            image[8:40:8, 4:50] = 20
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.colorspace = matrix
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with av.open(str(path)) as made:
        assert next(made.decode(video=0)).colorspace == matrix
    found = find_slides(str(path), str(tmp_path / "out"), SlideParams())
    assert [slide.t_s for slide in found.slides] == [0.0]
    assert found.problems == ()
