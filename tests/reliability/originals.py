"""Small recordings of many containers and codecs, with subtitles, chapters, covers and odd clocks.

Truth: `RECORDINGS` and the side files of `small_originals`; the page on reliability lists them.
Every byte follows from this file and the encoders inside PyAV: nothing is drawn at random, encoders
run in one thread. What an encoder writes may change with its version.
Never: touches the network, needs a model.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SMALL = Path(__file__).parents[1] / "support" / "media"
QUIET_X265 = {"x265-params": "log-level=none:pools=1"}
_ASS = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name
Style: Default

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,Rivers carry {\\i1}sand{\\i0}.
Dialogue: 0,0:00:01.00,0:00:02.00,Default,Anna,0,0,0,,Bridges bear loads.
"""
_SRT = """1
00:00:00,000 --> 00:00:01,000
Rivers carry <i>sand</i>.

2
00:00:01,000 --> 00:00:02,500
%s

3
00:00:02,000 --> 00:00:01,000
Bridges bear loads.
"""
_VTT = b"""WEBVTT
Language: en

STYLE
::cue { color: red }

one
00:00.000 --> 00:01.000 align:start
<v Anna>Rivers carry <b>sand</b>.

00:00:01.000 --> 00:00:02.500
- Planets circle the sun.
"""
_TEXT_FILES = {
    "subrip": ("srt", (_SRT % "Planets").encode()),
    "webvtt": ("webvtt", _VTT),
    "ass": ("ass", _ASS),
}
"""Codec of a text track -> (demuxer, file) that the settings of the codec are taken from."""
LINES = ("Rivers carry sand.", "Planets circle the sun; 河流带走沙子。", "Bridges bear loads.")


@dataclass(frozen=True)
class Original:
    """One recording to be made. The suffix of `name` is that of the file."""

    name: str
    picture: str = ""
    """Encoder of the picture; empty = sound only."""
    sound: str = ""
    """Encoder of the sound; empty = none."""
    pixels: str = "yuv420p"
    size: tuple[int, int] = (64, 48)
    rate: int = 48_000
    layout: str = "mono"
    bit_rate: int = 64_000
    seconds: float = 1.0
    fps: int = 5
    format: str | None = None
    """Container, where the suffix does not say it."""
    options: dict[str, str] = field(default_factory=dict)
    """Of the picture's encoder."""
    muxer: dict[str, str] = field(default_factory=dict)
    subtitles: str = ""
    """Codec of a text track."""
    chapters: bool = False
    cover: bool = False
    """A still picture as players show it beside music."""
    rotation: int = 0
    uneven: bool = False
    """Frames at uneven times."""


_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
SAME = {"fflags": "+bitexact"}
"""No random numbers of tracks, no times of writing."""
_PAGES = {"page_duration": "100000"}
_FAST = {"preset": "ultrafast", "bf": "2"}
_VP9 = {"deadline": "realtime", "cpu-used": "8"}

RECORDINGS: tuple[Original, ...] = (
    # ISO files
    Original("h264.mp4", "libx264", "aac", options=_FAST, layout="stereo", rate=44_100),
    Original("chapters.mp4", "libx264", "aac", options=_FAST, subtitles="mov_text", chapters=True),
    Original("turned.mp4", "libx264", "aac", options=_FAST, rotation=90),
    Original("fragments.mp4", "libx264", "aac", options=_FAST, muxer=_FRAGMENTS),
    Original("faststart.mp4", "mpeg4", "aac", muxer={"movflags": "faststart"}),
    Original("h265.mp4", "libx265", "ac3", options=QUIET_X265),
    Original("av1.mp4", "libsvtav1", "libopus", options={"preset": "12"}),
    Original("tiny.m4v", "mpeg4", "aac"),
    Original("phone.3gp", "h263", "libopencore_amrnb", size=(128, 96), rate=8_000,
             bit_rate=12_200),
    Original("prores.mov", "prores_ks", "pcm_s16be", pixels="yuv422p10le"),
    Original("animation.mov", "qtrle", "adpcm_ima_qt", pixels="rgb24"),
    Original("alac.m4a", sound="alac"),
    Original("cover.m4a", sound="aac", cover=True, chapters=True, format="mp4"),
    # Matroska
    Original("subrip.mkv", "libx264", "aac", options=_FAST, subtitles="subrip", chapters=True),
    Original("ass.mkv", "libx265", "eac3", options=QUIET_X265, subtitles="ass"),
    Original("lossless.mkv", "ffv1", "flac", pixels="bgr0"),
    Original("ten_bit.mkv", "libx264", "pcm_s24le", pixels="yuv420p10le", options=_FAST),
    Original("uneven.mkv", "libx264", "libmp3lame", options=_FAST, uneven=True),
    Original("stills.mkv", "mjpeg", "pcm_f32le", pixels="yuvj420p", cover=True),
    Original("vp8.webm", "libvpx", "libopus", options=_VP9),
    Original("vp9.webm", "libvpx-vp9", "libopus", options=_VP9, subtitles="webvtt"),
    Original("av1.webm", "libsvtav1", "libopus", options={"preset": "12"}, uneven=True),
    # transport and program streams
    Original("h264.ts", "libx264", "aac", options=_FAST),
    Original("mpeg2.ts", "mpeg2video", "mp2", fps=25),
    Original("hevc.m2ts", "libx265", "ac3", options=QUIET_X265, format="mpegts",
             muxer={"mpegts_m2ts_mode": "1"}),
    Original("mpeg1.mpg", "mpeg1video", "mp2", fps=25),
    Original("dvd.mpeg", "mpeg2video", "ac3", fps=25, format="vob"),
    # AVI, ASF, FLV
    Original("mjpeg.avi", "mjpeg", "pcm_u8", pixels="yuvj420p"),
    Original("divx.avi", "msmpeg4", "libmp3lame"),
    Original("huffyuv.avi", "huffyuv", "adpcm_ms", pixels="yuv422p"),
    Original("raw.avi", "rawvideo", "pcm_s16le", pixels="yuv420p"),
    Original("wmv2.wmv", "wmv2", "wmav2"),
    Original("wmv1.wmv", "wmv1", "wmav1", chapters=True),
    Original("sound.wma", sound="wmav2"),
    Original("sorenson.flv", "flv", "libmp3lame", rate=44_100),
    Original("h264.flv", "libx264", "aac", options=_FAST),
    # Ogg
    Original("vp8.ogv", "libvpx", "libopus", options=_VP9, format="ogg", muxer=_PAGES),
    Original("vorbis.ogg", sound="vorbis", layout="stereo", muxer=_PAGES),
    Original("flac.ogg", sound="flac", muxer=_PAGES),
    Original("opus.opus", sound="libopus", muxer=_PAGES),
    # sound alone
    Original("mpeg.mp3", sound="libmp3lame"),
    Original("cover.mp3", sound="libmp3lame", cover=True),
    Original("flac.flac", sound="flac"),
    Original("cover.flac", sound="flac", cover=True),
    Original("adts.aac", sound="aac"),
    *(
        Original(f"{codec}.wav", sound=codec, rate=rate)
        for codec, rate in (
            ("pcm_s16le", 48_000), ("pcm_u8", 8_000), ("pcm_s24le", 96_000), ("pcm_s32le", 11_025),
            ("pcm_f32le", 44_100), ("pcm_f64le", 22_050), ("pcm_alaw", 8_000),
            ("pcm_mulaw", 8_000), ("adpcm_ima_wav", 22_050),
        )
    ),
    # other names for what is inside
    Original("gif.mp4", "gif", pixels="rgb8", format="gif"),
    Original("mjpeg.mpg", "mjpeg", pixels="yuvj420p", format="mjpeg"),
    Original("picture.mkv", "libx264", options=_FAST),
)  # fmt: skip


def small_originals(folder: Path) -> list[Path]:
    """Every recording of `RECORDINGS`, and the spoken clips of the tests."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("SVT_LOG", "0")  # the AV1 encoder prints otherwise
    return [*(make(original, folder) for original in RECORDINGS), *sorted(SMALL.glob("*.mp4"))]


SUBTITLE_FILES: dict[str, bytes] = {
    "utf8.srt": (_SRT % "Planets circle the sun; 河流带走沙子。").encode("utf-8-sig"),
    "utf16.srt": (_SRT % "Planets circle the sun; 河流带走沙子。").encode("utf-16"),
    "gb18030.srt": (_SRT % "河流带走沙子。行星围绕太阳运行。" * 4).encode("gb18030"),
    "shift_jis.srt": (_SRT % "川は砂を運びます。").encode("shift_jis"),
    "windows.srt": (_SRT % "Flüsse tragen Sand – überall.").replace("\n", "\r\n").encode("cp1252"),
    "web.vtt": _VTT,
    "styled.ass": _ASS,
    "old.ssa": _ASS.replace(b"V4+", b"V4").replace(b"Layer", b"Marked"),
}
"""Subtitles as they lie beside recordings."""
_ROWS = (
    ("path", "title", "template", "priority", "speaker"),
    ("week 1/rivers.mp4", 'Rivers, "long" ones', "lecture", "5", "Anna"),
    ("week 2/河流.mp4", "Bridges\nand roads", "", "", "Bob"),
    ("https://example.org/a.mp4?x=1", "Far", "meeting", "-3", ""),
)
LIST_FILES: dict[str, bytes] = {
    "paths.txt": "".join(f"{row[0]}\n" for row in _ROWS).encode(),
    "utf16.txt": "".join(f"{row[0]}\r\n" for row in _ROWS).encode("utf-16"),
    "comma.csv": "".join(
        ",".join('"' + c.replace('"', '""') + '"' for c in r) + "\n" for r in _ROWS
    ).encode(),
    "semicolon.csv": "sep=;\npath;title\nrivers.mp4;Flüsse\n".encode("cp1252"),
    "tabs.tsv": b"path\ttitle\nrivers.mp4\tRivers\n",
}
"""Lists of recordings; a workbook of the same rows comes with them."""


def all_originals(folder: Path) -> list[Path]:
    """Recordings, subtitles and lists."""
    return [*small_originals(folder), *text_originals(folder), *list_originals(folder)]


def text_originals(folder: Path) -> list[Path]:
    """Subtitle files in several charsets."""
    return _written(folder, SUBTITLE_FILES)


def list_originals(folder: Path) -> list[Path]:
    """Lists: text, CSV, and a workbook whose times of change are fixed."""
    book = folder / "book.xlsx"
    made = _written(folder, LIST_FILES)
    _write_workbook(book)
    return [*made, book]


def _written(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def _write_workbook(path: Path) -> None:
    """The times in it are fixed: the same bytes every time."""
    import zipfile

    import openpyxl

    book = openpyxl.Workbook()
    for row in _ROWS:
        book.active.append(row)
    packed = io.BytesIO()
    book.save(packed)
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "docProps/core.xml":
                content = re.sub(rb"20\d\d-[^<]*Z", b"2020-01-01T00:00:00Z", content)
            new.writestr(zipfile.ZipInfo(name), content)


def make(original: Original, folder: Path) -> Path:
    """Write one recording; returns the file."""
    path = folder / original.name
    with av.open(str(path), "w", format=original.format, options=SAME | original.muxer) as out:
        out.metadata.update({"title": f"Rivers {original.name}", "artist": "Nobody"})
        if original.subtitles == "ass":
            out.add_attachment("letters.ttf", "font/ttf", bytes(range(256)))
        if original.chapters:
            out.set_chapters([_chapter(n, original.seconds / 2) for n in range(2)])
        picture = _picture(out, original) if original.picture else None
        sound = _sound_stream(out, original) if original.sound else None
        words = _words_stream(out, original.subtitles) if original.subtitles else None
        cover = _cover_stream(out) if original.cover else None
        packets = [] if cover is None else [_cover(cover)]
        if picture is not None:
            packets += _drawn(picture, original)
        if sound is not None:
            packets += _sounding(sound, original)
        if words is not None:
            packets += _worded(words, original)
        for packet in sorted(packets, key=_time):
            out.mux(packet)
    return path


def _time(packet: av.Packet) -> float:
    when = packet.dts if packet.dts is not None else packet.pts
    return float((when or 0) * (packet.time_base or 1))


def _chapter(number: int, length_s: float) -> Any:
    base = Fraction(1, 1000)
    start, end = round(1000 * number * length_s), round(1000 * (number + 1) * length_s)
    title = {"title": f"Part {number}"}
    return {"id": number, "start": start, "end": end, "time_base": base, "metadata": title}


def _picture(out: Any, original: Original) -> Any:
    stream = out.add_stream(original.picture, rate=original.fps)
    stream.width, stream.height = original.size
    stream.pix_fmt = original.pixels
    stream.options = {"threads": "1", **original.options}
    if original.uneven:
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
    if original.rotation:
        stream.set_display_rotation(original.rotation)
    return stream


def _sound_stream(out: Any, original: Original) -> Any:
    stream = out.add_stream(original.sound, rate=original.rate)
    stream.layout = original.layout
    stream.bit_rate = original.bit_rate
    stream.options = {"strict": "experimental"}  # Vorbis
    return stream


def _drawn(stream: Any, original: Original) -> list[av.Packet]:
    """A slide that gives way to another in the middle."""
    packets = []
    for number, t_ms in enumerate(_moments(original)):
        frame = av.VideoFrame.from_ndarray(_image(original, number), format="rgb24")
        frame = frame.reformat(format=original.pixels)
        frame.pts = t_ms if original.uneven else number
        frame.time_base = Fraction(1, 1000) if original.uneven else Fraction(1, original.fps)
        packets += stream.encode(frame)
    return packets + list(stream.encode(None))


def _moments(original: Original) -> Iterator[int]:
    """Times of the frames in ms."""
    t_ms = 0
    while t_ms < 1000 * original.seconds:
        yield t_ms
        t_ms += (33, 400, 210, 1)[t_ms % 4] if original.uneven else 1000 // original.fps


def _image(original: Original, number: int) -> np.ndarray:
    width, height = original.size
    late = number >= original.fps * original.seconds / 2
    image = np.full((height, width, 3), 40 if late else 230, dtype=np.uint8)
    image[8:16, 4 : 4 + width // (2 if late else 3)] = (200, 30, 90)
    image[24:28, number : number + 20] = (10, 160, 40)
    return image


def _sounding(stream: Any, original: Original) -> list[av.Packet]:
    """A sine, in frames as the encoder wants them."""
    context = stream.codec_context
    count = round(original.rate * original.seconds)
    t = np.arange(count, dtype=np.float64) / original.rate
    wave = (0.4 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    channels = 2 if original.layout == "stereo" else 1
    data = np.ascontiguousarray(np.tile(wave, (channels, 1)))
    frame = av.AudioFrame.from_ndarray(data, format="fltp", layout=original.layout)
    frame.sample_rate, frame.pts = original.rate, 0
    context.open(strict=False)
    frames = av.AudioResampler(
        context.format.name, original.layout, original.rate, context.frame_size or 1024
    )
    packets = [p for part in (frame, None) for f in frames.resample(part) for p in stream.encode(f)]
    return packets + list(stream.encode(None))


def _words_stream(out: Any, codec: str) -> Any:
    """A track of text; the settings of its codec come from a text file."""
    if codec == "mov_text":
        return out.add_mux_stream(codec)
    name, text = _TEXT_FILES[codec]
    with av.open(io.BytesIO(text), format=name) as source:
        return out.add_stream_from_template(source.streams.subtitles[0])


def _cover_stream(out: Any) -> Any:
    stream = out.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
    stream.disposition = 0x400  # attached picture
    return stream


def _cover(stream: Any) -> av.Packet:
    image = np.full((32, 32, 3), 128, dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    (packet,) = [*stream.encode(frame), *stream.encode(None)]
    return packet


def _worded(stream: Any, original: Original) -> list[av.Packet]:
    """A line for each third of the time."""
    length_ms = round(1000 * original.seconds / len(LINES))
    packets = []
    for number, line in enumerate(LINES):
        packet = av.Packet(_cue(original.subtitles, number, line))
        packet.stream = stream
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = number * length_ms
        packet.duration = length_ms
        packets.append(packet)
    return packets


def _cue(codec: str, number: int, line: str) -> bytes:
    text = line.encode()
    if codec == "mov_text":
        return len(text).to_bytes(2, "big") + text
    return b"%d,0,Default,,0,0,0,," % number + text if codec == "ass" else text
