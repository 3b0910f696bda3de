"""Two choices of the recogniser: silence for its encoder, and stretches in other languages.

    python benchmarks/hearing.py FOLDER [--what room,language] [--seed 7] [--glob 'fleurs-*']

FOLDER holds clips with references (`talk.wav`, `talk.wav.txt`) and a `MANIFEST.tsv` with their
languages; see `benchmarks/mixed.py` for what is joined from them and what is compared.

1. `room`: units wrong of single clips, and of clips of one language joined, when the encoder gets
   its whole window of 30 s, the sound and 6 s, or the sound and 2 s. `short 30`: clips under 12 s
   that stand alone keep the whole window, which is what gsvr does (with 6 s).
2. `language`: units wrong of recordings in several languages, with stretches heard in their own
   language where it is sure (as gsvr does), and all heard in that of the recording; and of the
   recordings in one language, where nothing should change.

The first hearing only (`gsvr batch retry --quality` is measured by `benchmarks/triage.py`). One
process, one thread, so processor seconds are comparable; the texts are the same every time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.mixed import Clip, Mixed, Part, clips_of, errors, make
from gs_video_report.media.audio import extract_audio
from gs_video_report.media.speech import asr, whisper
from gs_video_report.media.speech.asr_models import resolve_model
from gs_video_report.media.speech.encoder import ROOM_S, SHORT_S, WHOLE_ROOM_S, room_of
from gs_video_report.media.speech.vad import plan_speech

NEVER = 2.0
"""No probability is as high: every stretch is heard in the language of the recording."""
LITTLE_S = 2


@dataclass(frozen=True)
class Way:
    """One choice."""

    name: str
    room_s: int = ROOM_S
    short: bool = True
    """Short clips that stand alone get the whole window."""
    other_language: float = whisper.AsrParams().other_language


ROOMS = (
    Way("30 s", WHOLE_ROOM_S),
    Way("6 s, short 30", ROOM_S),
    Way("6 s always", ROOM_S, short=False),
    Way("2 s, short 30", LITTLE_S),
    Way("2 s always", LITTLE_S, short=False),
)
LANGUAGES = (Way("own language"), Way("one language", other_language=NEVER))


@dataclass
class Sum:
    """Wrong units, all units, processor seconds."""

    wrong: int = 0
    units: int = 0
    cpu_s: float = 0.0

    def add(self, wrong: int, units: int, cpu_s: float) -> None:
        """One more recording."""
        self.wrong, self.units, self.cpu_s = (
            self.wrong + wrong,
            self.units + units,
            self.cpu_s + cpu_s,
        )

    def __str__(self) -> str:
        return f"{100 * self.wrong / max(1, self.units):5.1f} % {self.cpu_s:6.0f}s"


@dataclass
class Sums:
    """Of each way, by group."""

    groups: dict[str, dict[str, Sum]] = field(default_factory=dict)

    def at(self, group: str, way: Way) -> Sum:
        """The sum to add to."""
        return self.groups.setdefault(group, {}).setdefault(way.name, Sum())

    def show(self, ways: Sequence[Way]) -> None:
        """Units wrong in percent, and processor seconds."""
        print(f"\n{'':34}" + "".join(f"{way.name:>18}" for way in ways))
        for group, sums in self.groups.items():
            print(f"{group:34}" + "".join(f"{sums[way.name]!s:>18}" for way in ways))


@contextmanager
def rooms(way: Way) -> Iterator[None]:
    """The rule of short clips as this way has it."""

    def rule(sound_s: float) -> int:
        return WHOLE_ROOM_S if way.short and sound_s < SHORT_S else way.room_s

    asr.room_of = whisper.room_of = rule  # type: ignore[attr-defined]
    try:
        yield
    finally:
        asr.room_of = whisper.room_of = room_of  # type: ignore[attr-defined]


def hear(model: str, path: Path, way: Way) -> str:
    """The whole text by gsvr's recipe with this choice."""
    whisper.load_model(model).encode._kept.clear()  # what another way has encoded
    params = whisper.AsrParams(room_s=way.room_s, other_language=way.other_language)
    with tempfile.TemporaryDirectory() as work, rooms(way):
        pcm = str(Path(work) / "audio.pcm")
        extract_audio(str(path), pcm)
        chunks = plan_speech(pcm).chunks
        language = asr.detect_language(model, pcm, chunks)[0]
        alone = len(chunks) == 1
        found = [
            asr.transcribe_chunk(
                model, pcm, c.start, c.end, language, params, alone=alone, guessed=True
            )
            for c in chunks
        ]
    return " ".join(part.text for part in found)


def measure(group: str, mixed: Mixed, model: str, ways: Sequence[Way], sums: Sums) -> None:
    """All ways of one recording; a line for it."""
    said = []
    for way in ways:
        began = time.process_time()
        text = hear(model, mixed.path, way)
        spent = time.process_time() - began
        wrong, count = errors(mixed.text, text)
        sums.at(group, way).add(wrong, count, spent)
        said.append(f"{way.name} {wrong}")
    print(f"{mixed.name[:44]:44} of {count:4}: {', '.join(said)}", flush=True)


def choose_rooms(clips: Sequence[Clip], model: str, work: Path, seed: int) -> None:
    """The first table."""
    sums = Sums()
    for clip in clips:
        part = Part(0.0, clip.seconds, clip.language, clip.text)
        measure("single", Mixed(clip.name, clip.path, (part,)), model, ROOMS, sums)
    for mixed in make(clips, work, seed, ("clean",)):
        measure("joined, one language", mixed, model, ROOMS, sums)
    sums.show(ROOMS)


def choose_language(clips: Sequence[Clip], model: str, work: Path, seed: int) -> None:
    """The second table."""
    sums = Sums()
    for mixed in make(clips, work, seed, ("clean", "two", "sandwich", "turns")):
        kind = mixed.name.partition("-")[0]
        group = "one language" if kind == "clean" else f"several languages: {kind}"
        measure(group, mixed, model, LANGUAGES, sums)
    sums.show(LANGUAGES)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--what", default="room,language")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--glob", default="*")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "gsvr-models")
    given = parser.parse_args()
    clips = clips_of(given.folder, given.glob)
    if not clips:
        raise SystemExit("no recording with a reference text was found")
    found = resolve_model(given.model, given.cache)
    print(
        f"{len(clips)} recordings, {sum(c.seconds for c in clips) / 60:.1f} minutes; {found.name}"
    )
    for what, choose in {"room": choose_rooms, "language": choose_language}.items():
        if what in given.what.split(","):
            with tempfile.TemporaryDirectory() as work:
                choose(clips, found.path, Path(work), given.seed)


if __name__ == "__main__":
    main()
