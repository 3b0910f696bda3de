"""Recordings with known truth, made on the spot by PyAV, and the optional real ones.

`tone_file` writes one sine per second: second n sounds at `tone_hz(n)`, so a test can tell which
second of the original ended up where. Nothing here needs a model or the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

RATE = 48_000
_MEDIA = Path(
    os.environ.get("GSVR_TEST_MEDIA") or Path(__file__).resolve().parents[3] / "shared" / "media"
)


def real_media(name: str) -> Path:
    """A real recording beside the project; skips the test where it is absent."""
    path = _MEDIA / name
    if not path.is_file():
        pytest.skip(f"recording {name} is not here")
    return path


def tone_hz(second: int) -> float:
    """The sine of this second of a `tone_file`."""
    return 300.0 + 50.0 * second


def tones(seconds: int, rate: int = RATE) -> np.ndarray:
    """One sine per second at half scale, float32."""
    t = np.arange(rate, dtype=np.float64) / rate
    parts = [np.sin(2 * np.pi * tone_hz(n) * t) for n in range(seconds)]
    return (0.5 * np.concatenate(parts)).astype(np.float32) if parts else np.zeros(0, np.float32)


def heard_hz(pcm: np.ndarray, second: int) -> float | None:
    """The strongest frequency in the middle of a second of 16 kHz samples; None for silence."""
    part = pcm[second * 16_000 + 4_000 : second * 16_000 + 12_000].astype(np.float64)
    if len(part) < 8_000 or np.abs(part).max() < 300:
        return None
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(np.argmax(spectrum) * 16_000 / len(part))


def heard_seconds(pcm: np.ndarray, upto: int) -> list[int | None]:
    """For each second of `pcm`, which second of a `tone_file` it is; None for silence."""
    found = [heard_hz(pcm, n) for n in range(upto)]
    return [None if hz is None else round((hz - 300.0) / 50.0) for hz in found]


def read_pcm(path: Path) -> np.ndarray:
    """Samples of a raw s16le file."""
    return np.fromfile(path, dtype="<i2")


def write_pcm(path: Path, samples: np.ndarray) -> Path:
    """Write float samples (-1..1) as raw s16le."""
    np.clip(samples * 32767, -32768, 32767).astype("<i2").tofile(path)
    return path


def media_file(
    path: Path,
    *,
    sounds: Sequence[np.ndarray] = (),
    codec: str = "aac",
    languages: Sequence[str] = (),
    default: int | None = None,
    video_s: float = 0.0,
    fps: int = 10,
    size: tuple[int, int] = (64, 48),
    rotation: int = 0,
    start_s: float = 0.0,
    metadata: dict[str, str] | None = None,
    keep_packet: Callable[[int, float], bool] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a recording.

    Args:
        sounds: one mono float array at 48 kHz per sound track.
        start_s: when the sound begins; the picture begins at 0.
        keep_packet: (number, time in s) of a sound packet -> False leaves it out: a hole.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        picture = _add_picture(container, fps, size, rotation) if video_s else None
        tracks = [_add_track(container, codec) for _ in sounds]
        for index, language in enumerate(languages):
            tracks[index].metadata["language"] = language
        if default is not None:
            for index, track in enumerate(tracks):
                track.disposition = 1 if index == default else 0
        packets = []
        for track, sound in zip(tracks, sounds, strict=True):
            encoded = _encode(track, sound, start_s)
            if keep_packet is not None:
                encoded = [
                    packet
                    for number, packet in enumerate(encoded)
                    if keep_packet(number, float((packet.pts or 0) * packet.time_base))
                ]
            packets += encoded
        if picture is not None:
            packets += _draw(picture, round(video_s * fps), size)
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)):
            container.mux(packet)
    return path


def tone_file(path: Path, seconds: int = 6, **more: object) -> Path:
    """A recording with one tone per second."""
    return media_file(path, sounds=[tones(seconds)], **more)  # type: ignore[arg-type]


def _add_track(container: av.container.OutputContainer, codec: str) -> av.AudioStream:
    track = container.add_stream(codec, rate=RATE, layout="mono")
    assert isinstance(track, av.AudioStream)
    return track


def _add_picture(
    container: av.container.OutputContainer, fps: int, size: tuple[int, int], rotation: int
) -> av.VideoStream:
    picture = container.add_stream("mpeg4", rate=fps)
    assert isinstance(picture, av.VideoStream)
    picture.width, picture.height = size
    picture.pix_fmt = "yuv420p"
    if rotation:
        picture.set_display_rotation(rotation)
    return picture


def _encode(track: av.AudioStream, sound: np.ndarray, start_s: float) -> list[av.Packet]:
    frames = []
    first = round(start_s * RATE)
    for at in range(0, len(sound), 1024):
        data = sound[at : at + 1024]
        frame = av.AudioFrame.from_ndarray(data.reshape(1, -1), format="fltp", layout="mono")
        frame.sample_rate = RATE
        frame.pts = first + at
        frame.time_base = Fraction(1, RATE)
        frames.append(frame)
    packets = [packet for frame in frames for packet in track.encode(frame)]
    return packets + list(track.encode(None))


def _draw(picture: av.VideoStream, count: int, size: tuple[int, int]) -> list[av.Packet]:
    packets = []
    for number in range(count):
        image = np.full((size[1], size[0], 3), (number * 7) % 255, dtype=np.uint8)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = number
        packets += picture.encode(frame)
    return packets + list(picture.encode(None))
