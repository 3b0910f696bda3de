"""Decoding to PCM: every second of sound ends up at its own time, damage or not."""

from __future__ import annotations

import hashlib
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from gs_video_report import progress
from gs_video_report.errors import NoMediaError, OutputNotWritable
from gs_video_report.media import audio as module
from gs_video_report.media.audio import extract_audio
from gs_video_report.media.probe import probe
from tests.support.media_speech import (
    RATE,
    heard_seconds,
    media_file,
    read_pcm,
    real_media,
    tone_file,
    tones,
)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.pcm"


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "aac"),
        ("a.mkv", "libopus"),
        ("a.ts", "mp2"),
        ("a.flac", "flac"),
        ("a.mp3", "libmp3lame"),
        ("a.aac", "aac"),
    ],
)
def test_every_second_is_where_it_was(tmp_path: Path, out: Path, name: str, codec: str) -> None:
    track = extract_audio(str(tone_file(tmp_path / name, 5, codec=codec)), str(out))
    assert heard_seconds(read_pcm(out), 5) == [0, 1, 2, 3, 4]
    assert track.samples == pytest.approx(5 * 16_000, abs=1_600)
    assert track.decoded_s == pytest.approx(5.0, abs=0.1)
    assert (track.gaps, track.bad_packets, track.truncated) == ((), 0, False)
    assert track.sha256 == hashlib.sha256(out.read_bytes()).hexdigest()


def test_the_same_file_gives_the_same_samples(tmp_path: Path, out: Path) -> None:
    path = tone_file(tmp_path / "a.mp4", 2)
    assert extract_audio(str(path), str(out)) == extract_audio(str(path), str(out))


def test_sound_that_starts_after_the_picture_keeps_its_time(tmp_path: Path, out: Path) -> None:
    path = tone_file(tmp_path / "late.mkv", 3, video_s=5, start_s=2.0)
    track = extract_audio(str(path), str(out))
    assert heard_seconds(read_pcm(out), 5) == [None, None, 0, 1, 2]
    assert track.gaps == ()
    assert not track.truncated


def test_time_counts_from_the_start_of_the_container(tmp_path: Path, out: Path) -> None:
    """MPEG-TS clocks do not start at zero: players show 0:00 there, and so do we."""
    path = tone_file(
        tmp_path / "tv.ts", 3, codec="mp2", start_s=0.0, options={"output_ts_offset": "5000"}
    )
    track = extract_audio(str(path), str(out))
    assert heard_seconds(read_pcm(out), 3) == [0, 1, 2]
    assert track.samples == pytest.approx(48_000, abs=1_600)


def test_missing_packets_become_silence_of_the_same_length(tmp_path: Path, out: Path) -> None:
    path = tone_file(
        tmp_path / "hole.mkv", 6, codec="libopus", keep_packet=lambda _, t: not 2.0 <= t < 4.0
    )
    track = extract_audio(str(path), str(out))
    assert heard_seconds(read_pcm(out), 6) == [0, 1, None, None, 4, 5]
    assert len(track.gaps) == 1
    assert track.gaps[0] == pytest.approx((2.0, 4.0), abs=0.1)
    assert track.decoded_s == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv"])
def test_damaged_bytes_cost_only_their_own_place(tmp_path: Path, out: Path, name: str) -> None:
    codec = {"a.mp4": "aac", "a.ts": "mp2", "a.mkv": "libopus"}[name]
    path = tone_file(tmp_path / name, 10, codec=codec)
    data = bytearray(path.read_bytes())
    begin, end = (len(data) * part // 10 for part in (3, 5))
    rng = np.random.default_rng(3)
    for at in rng.integers(begin, end, 200):
        data[at] = rng.integers(256)
    path.write_bytes(data)
    track = extract_audio(str(path), str(out))
    heard = heard_seconds(read_pcm(out), 10)
    assert heard[:2] == [0, 1]
    assert heard[6:9] == [6, 7, 8]
    assert track.samples == pytest.approx(160_000, abs=3_200)


def test_truncated_file_gives_what_is_there_and_says_so(tmp_path: Path, out: Path) -> None:
    path = tone_file(tmp_path / "cut.mp4", 10, options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    track = extract_audio(str(path), str(out))
    assert track.truncated
    assert track.declared_s == pytest.approx(10.0, abs=0.1)
    assert 3.0 < track.decoded_s < 6.0
    assert heard_seconds(read_pcm(out), 3) == [0, 1, 2]


def test_sound_shorter_than_the_picture_is_not_called_truncated(tmp_path: Path, out: Path) -> None:
    path = tone_file(tmp_path / "short.mkv", 2, video_s=9)
    assert not extract_audio(str(path), str(out)).truncated


def jumping_file(path: Path, jump_s: int) -> Path:
    """Four seconds of tones; the clock jumps ahead by `jump_s` after two of them."""
    import av

    sound = (tones(4) * 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for number in range(4):
            part = sound[None, number * RATE : (number + 1) * RATE]
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.sample_rate = RATE
            frame.pts = (number + (jump_s if number > 1 else 0)) * RATE
            for packet in stream.encode(frame):
                container.mux(packet)
    return path


def test_absurd_time_stamps_lay_no_endless_silence(tmp_path: Path, out: Path) -> None:
    """The container then declares 240 days, which a file of this size cannot hold."""
    path = jumping_file(tmp_path / "absurd.mkv", 20_000_000)
    track = extract_audio(str(path), str(out))
    assert heard_seconds(read_pcm(out), 4) == [0, 1, 2, 3]
    assert track.samples == 64_000
    assert track.declared_s == 0.0
    assert probe(str(path)).duration_s == pytest.approx(4.0, abs=0.1)
    assert probe(str(path)).problems == ("duration_implausible",)


def test_a_sound_of_an_impossible_rate_is_damage_and_takes_no_memory(
    tmp_path: Path, out: Path
) -> None:
    """Regression: a header with 1.9 GHz made the resampler take 1.5 GB."""
    path = media_file(tmp_path / "a.wav", sounds=[tones(1)], codec="pcm_u8")
    data = bytearray(path.read_bytes())
    at = data.index(b"fmt ") + 12
    assert int.from_bytes(data[at : at + 4], "little") == RATE
    data[at : at + 4] = (0x72001F40).to_bytes(4, "little")
    path.write_bytes(data)
    pid = os.fork()
    if pid == 0:
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        track = extract_audio(str(path), str(out))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used
        os._exit(0 if grown < 100_000 and track.samples == 0 and track.bad_packets else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_plausible_jump_of_the_clock_is_kept_as_silence(tmp_path: Path, out: Path) -> None:
    track = extract_audio(str(jumping_file(tmp_path / "pause.mkv", 60)), str(out))
    assert heard_seconds(read_pcm(out)[60 * 16_000 :], 4) == [None, None, 2, 3]
    assert track.gaps == ((2.0, 62.0),)


def test_default_track_is_taken_and_others_are_counted(tmp_path: Path, out: Path) -> None:
    low, high = tones(2), tones(4)[2 * RATE :]
    path = media_file(tmp_path / "two.mkv", sounds=[low, high], default=1)
    track = extract_audio(str(path), str(out))
    assert (track.track_index, track.tracks) == (1, 2)
    assert heard_seconds(read_pcm(out), 2) == [2, 3]


def test_a_track_can_be_chosen(tmp_path: Path, out: Path) -> None:
    low, high = tones(2), tones(4)[2 * RATE :]
    path = media_file(tmp_path / "two.mkv", sounds=[low, high], default=1)
    assert extract_audio(str(path), str(out), track=0).track_index == 0
    assert heard_seconds(read_pcm(out), 2) == [0, 1]
    with pytest.raises(NoMediaError, match=r"no sound track 7 \(there are: 0, 1\)"):
        extract_audio(str(path), str(out), track=7)


def test_video_without_sound_says_so(tmp_path: Path, out: Path) -> None:
    path = media_file(tmp_path / "mute.mp4", video_s=1)
    with pytest.raises(NoMediaError, match="no sound track"):
        extract_audio(str(path), str(out))
    assert not out.exists()


def test_nothing_is_left_behind_when_the_output_cannot_be_written(tmp_path: Path) -> None:
    path = tone_file(tmp_path / "a.mp4", 1)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputNotWritable):
        extract_audio(str(path), str(tmp_path / "file" / "out.pcm"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "file"]


def test_a_failed_run_keeps_the_old_output(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tone_file(tmp_path / "a.mp4", 1)
    out.write_bytes(b"old")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module._Decoder, "_tell", stop)
    with pytest.raises(KeyboardInterrupt):
        extract_audio(str(path), str(out))
    assert out.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "out.pcm"]


def test_progress_is_told_in_seconds(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tone_file(tmp_path / "a.mp4", 2)
    monkeypatch.setattr(module, "_REPORT_S", -1.0)
    told: list[tuple[float, float]] = []
    progress.set_sink(lambda done, total: told.append((done, total)))
    try:
        extract_audio(str(path), str(out))
    finally:
        progress.set_sink(None)
    assert told[-1] == pytest.approx((2.0, 2.0), abs=0.1)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.slow
def test_memory_stays_flat_over_hours(tmp_path: Path, out: Path) -> None:
    """Runs in a child: the peak counts for a whole process."""
    path = media_file(tmp_path / "long.flac", sounds=[np.tile(tones(10), 360)], codec="flac")
    pid = os.fork()
    if pid == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        extract_audio(str(path), str(out))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os._exit(0 if grown < 100_000 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "track", "seconds"),
    [
        ("nasa_webb_2video_2audio_2subs.mp4", 1, 13.06),
        ("columbia_address_2003.wma", 0, 198.76),
        ("grid_bbaf2n.mpg", 1, 2.98),
        ("sample_fragmented.mp4", 1, 1.07),
    ],
)
def test_real_recordings(name: str, track: int, seconds: float, out: Path) -> None:
    found = extract_audio(str(real_media(name)), str(out))
    assert found.track_index == track
    assert found.decoded_s == pytest.approx(seconds, abs=0.05)
