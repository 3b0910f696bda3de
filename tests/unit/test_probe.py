"""What `probe` says about good, odd and hostile files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from gs_video_report.errors import (
    CorruptMediaError,
    EmptyFileError,
    FileMissingError,
    FileUnreadableError,
    NoMediaError,
)
from gs_video_report.media.boxes import has_vbr_header, is_cut_short
from gs_video_report.media.durations import scan_duration
from gs_video_report.media.probe import clean_tags, probe
from tests.support.media_speech import RATE, media_file, real_media, tone_file, tones


def test_streams_duration_and_tags_of_a_plain_recording(tmp_path: Path) -> None:
    path = tone_file(tmp_path / "talk.mp4", 3, video_s=3, metadata={"title": "On tones"})
    found = probe(str(path))
    assert found.container == "mov"
    assert found.duration_s == pytest.approx(3.0, abs=0.05)
    assert found.size_bytes == path.stat().st_size
    assert found.video is not None
    assert (found.video.codec, found.video.width, found.video.height) == ("mpeg4", 64, 48)
    assert found.video.fps == 10.0
    assert [(s.codec, s.sample_rate, s.channels) for s in found.audio] == [("aac", RATE, 1)]
    assert found.tags["title"] == "On tones"
    assert found.problems == ()


@pytest.mark.parametrize(("rotation", "shown"), [(90, (48, 64)), (180, (64, 48)), (0, (64, 48))])
def test_size_is_given_as_shown_after_rotation(
    tmp_path: Path, rotation: int, shown: tuple[int, int]
) -> None:
    found = probe(str(media_file(tmp_path / "phone.mp4", video_s=1, rotation=rotation)))
    assert found.video is not None
    assert (found.video.width, found.video.height) == shown
    assert found.video.rotation == rotation
    assert found.audio == ()


def test_all_sound_tracks_are_listed_with_language_and_default(tmp_path: Path) -> None:
    path = media_file(
        tmp_path / "two.mkv", sounds=[tones(1), tones(1)], languages=["eng", "ger"], default=1
    )
    assert [(s.language, s.default) for s in probe(str(path)).audio] == [
        ("eng", False),
        ("ger", True),
    ]


def test_recording_without_sound_is_fine(tmp_path: Path) -> None:
    found = probe(str(media_file(tmp_path / "silent.mp4", video_s=1)))
    assert found.audio == ()
    assert found.problems == ()


def test_sound_that_starts_late_is_not_called_undecodable(tmp_path: Path) -> None:
    path = tone_file(tmp_path / "late.mkv", 1, video_s=12, start_s=10.0)
    found = probe(str(path))
    assert len(found.audio) == 1
    assert found.problems == ()


def test_file_cut_short_is_reported_as_truncated(tmp_path: Path) -> None:
    whole = tone_file(tmp_path / "whole.mp4", 6, options={"movflags": "+faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    found = probe(str(cut))
    assert found.problems == ("truncated",)
    assert found.duration_s == pytest.approx(6.0, abs=0.1)
    assert probe(str(whole)).problems == ()


@pytest.mark.parametrize("name", ["talk.mkv", "talk.avi", "talk.wav"])
def test_other_containers_cut_short_are_noticed(tmp_path: Path, name: str) -> None:
    codec = "pcm_s16le" if name.endswith("wav") else "mp2"
    sound = tones(4)
    if codec == "pcm_s16le":
        whole = _wav(tmp_path / name, sound)
    else:
        whole = media_file(tmp_path / name, video_s=4)
    assert not is_cut_short(whole)
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert is_cut_short(cut)


def test_bytes_appended_to_a_file_are_not_a_truncation(tmp_path: Path) -> None:
    path = tone_file(tmp_path / "talk.mp4", 2)
    path.write_bytes(path.read_bytes() + os.urandom(64) + b"\0" * 100)
    assert probe(str(path)).problems == ()


def test_duration_of_a_raw_stream_is_measured_from_its_packets(tmp_path: Path) -> None:
    path = tone_file(tmp_path / "raw.aac", 5)
    found = probe(str(path))
    assert found.container == "aac"
    assert found.duration_s == pytest.approx(5.0, abs=0.1)


def test_duration_of_a_recording_that_was_never_finished_is_measured(tmp_path: Path) -> None:
    path = tone_file(tmp_path / "live.mkv", 5, options={"live": "1"})
    found = probe(str(path))
    assert found.duration_s == pytest.approx(5.0, abs=0.1)
    assert scan_duration(str(path)) == pytest.approx(5.0, abs=0.1)
    assert found.problems == ()


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    with pytest.raises(EmptyFileError, match=r"^empty.mp4: the file is empty \(0 bytes\)$"):
        probe(str(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match=r"^gone.mp4: "):
        probe(str(tmp_path / "gone.mp4"))


def test_folder_with_a_media_name(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(NoMediaError, match="folder or a device"):
        probe(str(tmp_path / "folder.mp4"))


def test_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(NoMediaError, match="folder or a device"):
        probe(str(tmp_path / "pipe.mp4"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_read_permission(tmp_path: Path) -> None:
    path = tone_file(tmp_path / "locked.mp4", 1)
    path.chmod(0)
    with pytest.raises(FileUnreadableError, match="no permission"):
        probe(str(path))


@pytest.mark.parametrize("name", ["notes.mp4", "notes.mp3", "notes.mkv", "notes.ts"])
def test_text_under_a_media_name_is_called_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("Dear all,\nplease find the recording attached.\n" * 40)
    with pytest.raises(NoMediaError, match="this is a text file, not audio or video"):
        probe(str(path))


def test_random_bytes_are_no_media(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(7).bytes(50_000))
    with pytest.raises((NoMediaError, CorruptMediaError), match=r"^noise.mp4: "):
        probe(str(path))


def test_header_only_is_no_media(tmp_path: Path) -> None:
    whole = tone_file(tmp_path / "whole.mp4", 2)
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[:1000])  # the index is at the end, and gone
    with pytest.raises(NoMediaError, match="its header cannot be read"):
        probe(str(path))


def test_header_without_any_data_is_corrupt(tmp_path: Path) -> None:
    whole = tone_file(tmp_path / "whole.mp4", 4, options={"movflags": "+faststart"})
    data = whole.read_bytes()
    path = tmp_path / "headless.mp4"
    path.write_bytes(data[: data.index(b"mdat") + 4])
    with pytest.raises(CorruptMediaError, match="nothing in the file can be decoded"):
        probe(str(path))


def test_still_picture_is_no_media(tmp_path: Path) -> None:
    import av

    path = tmp_path / "photo.mp4"
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "rgb24"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with pytest.raises(NoMediaError):
        probe(str(path))


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n",
    "hls, with a blank line first": "\n#EXTM3U\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\nduration 4\n",
    "dash": "<?xml version='1.0'?>\n<MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>\n",
    "remote": "#EXTM3U\n#EXTINF:4,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n",
    "pls": "[playlist]\nFile1={target}\n",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ts"])
def test_playlist_never_opens_what_it_points_to(tmp_path: Path, kind: str, name: str) -> None:
    """The target is a perfect recording: if it were read, probing would succeed."""
    target = tone_file(tmp_path / "target.ts", 2, codec="mp2")
    path = tmp_path / name
    path.write_text(PLAYLISTS[kind].format(target=target))
    with pytest.raises(NoMediaError, match="playlist that points to other files"):
        probe(str(path))


def test_playlist_behind_a_long_preamble_is_refused_too(tmp_path: Path) -> None:
    """Not recognised by its first bytes: the whitelist of formats still holds."""
    target = tone_file(tmp_path / "target.ts", 2, codec="mp2")
    path = tmp_path / "list.m3u8"
    path.write_text("# comment\n" * 600 + f"#EXTM3U\n#EXTINF:4,\n{target}\n")
    with pytest.raises(NoMediaError):
        probe(str(path))


def test_odd_file_names_are_opened_as_files(tmp_path: Path) -> None:
    for name in ("-dash.mp4", "http:x.mp4", "concat:a|b.mp4", "50% off %d.mp4", "试 讲.mp4"):
        path = tone_file(tmp_path / "plain.mp4", 1)
        odd = path.rename(tmp_path / name)
        assert len(probe(str(odd)).audio) == 1


def test_file_name_that_is_no_utf8(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    tone_file(tmp_path / "plain.mp4", 1).rename(os.fsdecode(raw))
    assert len(probe(os.fsdecode(raw)).audio) == 1
    Path(os.fsdecode(raw)).write_bytes(b"")
    with pytest.raises(EmptyFileError) as caught:
        probe(os.fsdecode(raw))
    caught.value.message.encode("utf-8")


def test_tags_that_are_no_utf8_do_not_stop_the_probe(tmp_path: Path) -> None:
    path = tone_file(tmp_path / "talk.mp4", 1, metadata={"title": "Cafe XX au lait"})
    data = path.read_bytes()
    assert b"Cafe XX" in data
    path.write_bytes(data.replace(b"Cafe XX", b"Caf\xe9 \x01\xff"))
    title = probe(str(path)).tags["title"]
    assert title.startswith("Caf")
    assert title.isprintable()


def test_clean_tags_drop_control_characters_and_bound_the_length() -> None:
    assert clean_tags({"Title": "a\x00b\x1b[31m", "Empty": " \x00 ", "long": "x" * 9_000}) == {
        "title": "a b [31m",
        "long": "x" * 2_000,
    }


def test_vbr_header_is_found_behind_an_id3_tag(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x02\x00" + b"Xing" * 64 + b"\xff\xfb" + b"\0" * 400)
    assert not has_vbr_header(path)
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x02\x00" + b"\0" * 256 + b"\xff\xfb\0\0Xing")
    assert has_vbr_header(path)


def _wav(path: Path, sound: np.ndarray) -> Path:
    import wave

    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes((sound * 32767).astype("<i2").tobytes())
    return path


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("WrongFile.mp4", NoMediaError),
        ("broken.mp4", NoMediaError),
        ("nostreams.mp4", NoMediaError),
        ("sample_fragmented_clearkey.mp4", NoMediaError),
        ("moov_without_mdat.mp4", CorruptMediaError),
        ("zero_empty_stsc.mp4", CorruptMediaError),
        ("invalid_vp9_bitstream-bug_1416.webm", CorruptMediaError),
        ("large_stbl_truncated_after_moov.m4b", CorruptMediaError),
        ("chapters_truncated_2h.mkv", CorruptMediaError),
    ],
)
def test_broken_real_files_are_told_apart(name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        probe(str(real_media(name)))


@pytest.mark.media
def test_track_without_a_sample_description_is_left_out() -> None:
    found = probe(str(real_media("sample_missing_stsd.mp4")))
    assert found.audio == ()
    assert found.video is not None
    assert found.problems == ("audio_undecodable",)


@pytest.mark.media
def test_cover_picture_is_not_the_video() -> None:
    found = probe(str(real_media("cover_art_stream.mp4")))
    assert found.video is not None
    assert found.video.codec == "h264"


@pytest.mark.media
def test_subtitle_tracks_are_told_apart_by_kind() -> None:
    texts = probe(str(real_media("sample_with_srt.mkv"))).subtitles
    pictures = probe(str(real_media("popeye T00 pgs.mkv"))).subtitles
    assert [(s.codec, s.is_text) for s in texts] == [("subrip", True)]
    assert [(s.codec, s.is_text) for s in pictures] == [("hdmv_pgs_subtitle", False)]


@pytest.mark.media
def test_real_phone_rotation() -> None:
    found = probe(str(real_media("portrait.MOV")))
    assert found.video is not None
    assert (found.video.width, found.video.height, found.video.rotation) == (320, 568, 270)


def test_sound_that_a_decoder_gives_at_the_end_is_not_taken_for_the_picture(
    tmp_path: Path,
) -> None:
    """Regression: the last, empty packet names no stream; a silent picture track got its frame."""
    import av

    path = tmp_path / "a.wmv"
    with av.open(str(path), "w") as out:
        picture = out.add_stream("wmv1", rate=5)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("wmav1", rate=RATE, layout="mono")
        sound.bit_rate = 64_000
        sound.codec_context.open()
        for at in range(0, 20 * 2048, 2048):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 2048), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = RATE, at
            out.mux(sound.encode(frame))
    found = probe(str(path))
    assert found.video is None
    assert [track.codec for track in found.audio] == ["wmav1"]
    assert found.problems == ("video_undecodable",)
