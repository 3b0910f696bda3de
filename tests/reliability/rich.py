"""Whole batches of mutated recordings with speech and slides: heard, looked at, read, reported.

Truth: `Outcome.problems` is empty when each run ended by itself with exit code 0 or 3, every file
has a report or one explained error, the database is sound, and nothing is left: no process, no
temporary file, no work folder, no traceback on the screen.
Needs: the speech model and OCR of the machine.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from tests.reliability import oracle
from tests.reliability.fuzz import FATAL, Outcome
from tests.reliability.mutate import mutated
from tests.reliability.originals import SAME, SMALL, text_originals
from tests.reliability.scene import FULL, Scene, end

PER_BLOCK = 30
LONGEST_ATTEMPT_S = 120.0
"""Work on six seconds of speech and a few slides; more is a hang. (The machine may be busy.)"""
LIMITS = {"GSVR_MEMORY_LIMIT": "3GB"}
"""For all processes of a run together."""
SIDE_FILE_EVERY = 4
"""One recording in so many has mutated subtitles beside it."""

_FAST = {"preset": "ultrafast", "threads": "1"}
_QUIET_X265 = {"x265-params": "log-level=none:pools=1", "preset": "ultrafast"}
_VP9 = {"deadline": "realtime", "cpu-used": "8", "threads": "1"}
SPOKEN = (
    # name, clip, encoder of the picture, pixels, encoder of the sound, options of the picture
    ("web.webm", "spoken_en_6s", "libvpx-vp9", "yuv420p", "libopus", _VP9),
    ("lossless.mkv", "spoken_zh_5s", "libx265", "yuv420p10le", "flac", _QUIET_X265),
    ("stream.ts", "spoken_en_6s", "libx264", "yuv420p", "aac", _FAST),
    ("old.avi", "spoken_zh_5s", "msmpeg4", "yuv420p", "libmp3lame", {}),
    ("stills.avi", "spoken_en_6s", "mjpeg", "yuvj420p", "adpcm_ms", {}),
    ("flash.flv", "spoken_zh_5s", "flv", "yuv420p", "libmp3lame", {}),
    ("windows.wmv", "spoken_en_6s", "wmv2", "yuv420p", "wmav2", {}),
    ("program.mpg", "spoken_en_6s", "mpeg2video", "yuv420p", "mp2", {}),
    ("voice.mp3", "spoken_en_6s", "", "", "libmp3lame", {}),
    ("voice.ogg", "spoken_zh_5s", "", "", "libopus", {}),
    ("voice.wav", "spoken_en_6s", "", "", "pcm_s16le", {}),
)  # fmt: skip
"""The spoken clips in other containers and codecs."""
SOUND_RATE = 44_100


def spoken_originals(folder: Path) -> list[Path]:
    """The spoken clips of the tests as they are, and once for each line of `SPOKEN`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [Path(shutil.copy(path, folder)) for path in sorted(SMALL.glob("*.mp4"))]
    for name, clip, picture, pixels, sound, options in SPOKEN:
        _transcode(SMALL / f"{clip}.mp4", folder / name, picture, pixels, sound, options)
        made.append(folder / name)
    return made


def _transcode(
    source: Path, path: Path, picture: str, pixels: str, sound: str, options: dict[str, str]
) -> None:
    with av.open(str(source)) as clip, av.open(str(path), "w", options=SAME) as out:
        streams: dict[str, Any] = {}
        if picture:
            streams["video"] = shown = out.add_stream(picture, rate=25)
            old = clip.streams.video[0]
            shown.width, shown.height, shown.pix_fmt = old.width, old.height, pixels
            shown.bit_rate, shown.options = 150_000, {"threads": "1", **options}
        rate = 48_000 if sound == "libopus" else SOUND_RATE
        streams["audio"] = heard = out.add_stream(sound, rate=rate)
        heard.layout, heard.bit_rate = "mono", 64_000
        heard.codec_context.open(strict=False)
        size = heard.codec_context.frame_size or 1024
        resampler = av.AudioResampler(heard.codec_context.format.name, "mono", rate, size)
        packets = []
        if picture:
            packets += _shown(clip, streams["video"], pixels)
            clip.seek(0)
        for frame in [*clip.decode(audio=0), None]:
            for part in resampler.resample(frame):
                packets += heard.encode(part)
        packets += heard.encode(None)
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)):
            out.mux(packet)


def _shown(clip: Any, stream: Any, pixels: str) -> list[av.Packet]:
    """The pictures at 25 a second, each as often as its time asks."""
    packets, number = [], 0
    for frame in clip.decode(video=0):
        picture = frame.reformat(format=pixels)
        while number <= round(frame.time * 25):
            picture.pts, picture.time_base = number, Fraction(1, 25)
            packets += stream.encode(picture)
            number += 1
    return packets + list(stream.encode(None))


def blocks(
    folder: Path, numbers: range, *extra: str, tell: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Batches of at most `PER_BLOCK` mutations, one after the other."""
    whole = Outcome()
    originals = spoken_originals(folder / "originals")
    for first in range(numbers.start, numbers.stop, PER_BLOCK):
        place = folder / f"block{first}"
        part = block(originals, range(first, min(first + PER_BLOCK, numbers.stop)), place, *extra)
        shutil.rmtree(place)
        whole.add(part)
        tell(whole.text())
    return whole


def block(originals: list[Path], numbers: range, place: Path, *extra: str) -> Outcome:
    """One batch of the mutations `numbers`, through the command line; what was wrong."""
    inputs = place / "in"
    inputs.mkdir(parents=True)
    beside = text_originals(place / "beside")
    for number in numbers:
        name, content = mutated(originals, number)
        (inputs / name).write_bytes(content)
        if number % SIDE_FILE_EVERY == 0:
            words, subtitles = mutated(beside, number // SIDE_FILE_EVERY)
            (inputs / name).with_suffix(Path(words).suffix).write_bytes(subtitles)
    scene = Scene(place / "scene", inputs, (*FULL, *extra), environment=LIMITS)
    began = time.monotonic()
    process = scene.start()
    outcome = Outcome(files=len(numbers))
    try:
        code = process.wait(timeout=LONGEST_ATTEMPT_S * len(numbers))
    except subprocess.TimeoutExpired:
        end(process)
        outcome.problems.append(f"the run did not end within {time.monotonic() - began:.0f} s")
        return outcome
    outcome.problems += _judged(scene, code, outcome)
    return outcome


def _judged(scene: Scene, code: int, outcome: Outcome) -> list[str]:
    """What is wrong with the run; counts codes and times into `outcome`."""
    problems = [] if code in (0, 3) else [f"exit code {code}: {scene.said()[-2000:]}"]
    if "Traceback" in scene.said():
        problems.append(f"a traceback: {scene.said()[-2000:]}")
    if not scene.database.exists():
        return [*problems, "there is no database"]
    statement = "SELECT source, status, error FROM tasks"
    for source, status, text in oracle.rows(scene.database, statement):
        error = json.loads(text) if text else {}
        outcome.met["ok" if status == "completed" else error.get("code", status)] += 1
        problems += _unexplained(Path(source).name, status, error)
    attempts = "SELECT a.seconds, t.source FROM attempts a JOIN tasks t USING (task_id)"
    for seconds, source in oracle.rows(scene.database, attempts):
        outcome.slowest = max(outcome.slowest, (seconds or 0.0, Path(source).name))
    if outcome.slowest[0] > LONGEST_ATTEMPT_S:
        problems.append(f"{outcome.slowest[1]} took {outcome.slowest[0]:.0f} s")
    return problems + oracle.database_problems(scene.database) + oracle.left_behind(scene)


def _unexplained(name: str, status: str, error: dict[str, Any]) -> list[str]:
    if status == "completed":
        return []
    if status != "failed":
        return [f"{name}: {status}"]
    if error.get("code") in FATAL | {"E_COMPUTE_FAILED", "E_INTERNAL", "E_POISON"}:
        return [f"{name}: {error}"]
    explained = error.get("message") and error.get("hint")
    return [] if explained else [f"{name}: explains nothing: {error}"]
