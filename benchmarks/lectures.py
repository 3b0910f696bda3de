"""Lectures with a known text: recordings of people talking, under recordings of slides.

Truth: the same folders give the same lectures. Each recording of slides (those of
`benchmarks/slides.py`) keeps its pictures, packet by packet, and gets the English clips of a folder
as its sound, one after another, 0.4 s apart, each lecture beginning with another clip; when the
next one does not fit, the rest is silent. What is said lies beside it, as in the folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from benchmarks.mixed import PAUSE_S, PEAK, Clip, clips_of, samples_of
from gs_video_report.media.audio import SAMPLE_RATE

MOST_S = 60.0
"""Longer recordings are left out: they would fill a lecture alone."""
ENDINGS = (".mp4", ".webm", ".mkv")


def make_lectures(spoken: Path, slides: Path, out: Path) -> list[Path]:
    """Write `<slides>.mkv` and `<slides>.mkv.txt` for each recording of slides.

    Raises: SystemExit when there are no clips or no slides.
    """
    clips = [c for c in clips_of(spoken) if c.language == "en" and c.seconds <= MOST_S]
    films = sorted(path for path in slides.iterdir() if path.suffix in ENDINGS)
    if not clips or not films:
        raise SystemExit(f"no English clips in {spoken}, or no recordings in {slides}")
    return [
        make_lecture(clips, number * 5, film, out / f"{film.stem}.mkv")
        for number, film in enumerate(films)
    ]


def make_lecture(clips: Sequence[Clip], first: int, film: Path, path: Path) -> Path:
    """One lecture; `first`: which clip it begins with."""
    with av.open(str(film)) as source, av.open(str(path), "w", format="matroska") as out:
        seconds = float(source.duration / av.time_base)
        said, samples = _speech(clips, first, seconds)
        pictures = out.add_stream_from_template(source.streams.video[0])
        sound = out.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for start in range(0, len(samples), SAMPLE_RATE):
            second = samples[None, start : start + SAMPLE_RATE]
            frame = av.AudioFrame.from_ndarray(second, format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE, start
            out.mux(sound.encode(frame))
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                out.mux(packet)
    path.with_name(path.name + ".txt").write_text("\n".join(said), "utf-8")
    return path


def _speech(
    clips: Sequence[Clip], first: int, seconds: float
) -> tuple[list[str], np.ndarray[tuple[int], np.dtype[np.int16]]]:
    """What is said, and `seconds` of 16 kHz samples."""
    samples = np.zeros(int(seconds * SAMPLE_RATE), np.int16)
    said, at_s = [], PAUSE_S
    for number in itertools.count(first):
        clip = clips[number % len(clips)]
        start, end = int(at_s * SAMPLE_RATE), int((at_s + clip.seconds) * SAMPLE_RATE)
        if end >= len(samples):
            break
        spoken = (samples_of(clip.path) * PEAK).astype(np.int16)
        samples[start : start + len(spoken)] = spoken
        said.append(clip.text)
        at_s += clip.seconds + PAUSE_S
    return said, samples
