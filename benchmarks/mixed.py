"""Recordings with known mistakes in waiting, joined from a folder of clips with references.

Truth: the same folder and seed give the same samples. A folder holds recordings and, beside each,
what is said in it (`talk.wav`, `talk.wav.txt`); a `MANIFEST.tsv` with the columns `file` and
`language` names the languages (English without it). What is made:

- `clean-xx`: the clips of one language one after another, 0.4 s apart;
- `noise-xx`, `music-xx`: the same under white noise (5 and 0 dB below the speech) and under chords
  of an organ (3 and -2 dB), of the language with most clips;
- `two-xx-yy`: half of it in one language, then half in another; `sandwich-xx-yy`: a language
  in the midst of another; `turns`: one clip of each language in turn;
- `whole-...`: each recording of 40 s and more as it is.

What is compared are words, and single characters where no spaces are written: texts in
several languages have no unit of their own.
"""

from __future__ import annotations

import random
import re
import tempfile
import wave
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import edit_distance, languages_of, units
from gs_video_report.media.audio import SAMPLE_BYTES, SAMPLE_RATE, extract_audio
from gs_video_report.media.probe import probe
from gs_video_report.text.unspaced import simplify

Samples = np.ndarray[Any, np.dtype[np.float32]]

PAUSE_S = 0.4
TURN_S = 0.8
"""Pause between clips of different languages."""
LEAST_S, MOST_S = 2.0, 30.0
"""Length of a clip that is joined."""
WHOLE_S = (40.0, 240.0)
"""Length of a recording that is taken as it is."""
CLIPS = 8
"""At most so many in one recording."""
NOISE_DB = (5.0, 0.0)
MUSIC_DB = (3.0, -2.0)
PEAK = 32_767

_OWN = "\\u3040-\\u30ff\\u3400-\\u9fff\\u0e00-\\u0e7f"
_CHARACTERS = re.compile(f"[{_OWN}]|[^{_OWN}]+")


@dataclass(frozen=True)
class Clip:
    """A recording with its reference."""

    name: str
    path: Path
    language: str
    text: str
    seconds: float


@dataclass(frozen=True)
class Part:
    """A clip within a made recording, [start_s, end_s)."""

    start_s: float
    end_s: float
    language: str
    text: str


@dataclass(frozen=True)
class Mixed:
    """A made recording."""

    name: str
    path: Path
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """Everything that is said."""
        return "\n".join(part.text for part in self.parts)

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.parts[-1].end_s


def mixed_units(text: str) -> list[str]:
    """What is compared of a text in several languages; simplified characters."""
    words = units(simplify(text), "")
    return [piece for word in words for piece in _CHARACTERS.findall(word)]


def errors(reference: str, found: str) -> tuple[int, int]:
    """(wrong, all) units of the reference."""
    wanted = mixed_units(reference)
    return edit_distance(wanted, mixed_units(found)), len(wanted)


def clips_of(folder: Path, pattern: str = "*") -> list[Clip]:
    """All recordings with a reference, by name."""
    languages = languages_of(folder)
    found = []
    for path in sorted(folder.glob(pattern)):
        reference = path.with_name(path.name + ".txt")
        if path.suffix == ".txt" or not reference.is_file() or not probe(str(path)).audio:
            continue
        text = reference.read_text("utf-8").strip()
        seconds = len(samples_of(path)) / SAMPLE_RATE
        found.append(Clip(path.name, path, languages.get(path.name, "en"), text, seconds))
    return found


def samples_of(path: Path) -> Samples:
    """16 kHz mono, -1..1."""
    with tempfile.TemporaryDirectory() as work:
        pcm = Path(work) / "audio.pcm"
        extract_audio(str(path), str(pcm))
        return np.fromfile(pcm, "<i2").astype(np.float32) / PEAK


def make(clips: Sequence[Clip], out: Path, seed: int, kinds: Sequence[str]) -> list[Mixed]:
    """All recordings of the wanted kinds (the first word of their names), written into `out`."""
    maker = _Maker(out, seed)
    groups: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if LEAST_S <= clip.seconds <= MOST_S:
            groups[clip.language].append(clip)
    rich = {code: maker.some(group) for code, group in sorted(groups.items()) if len(group) >= 3}
    if "clean" in kinds:
        for code, group in rich.items():
            maker.join(f"clean-{code}", group, PAUSE_S)
    if rich and {"noise", "music"} & set(kinds):
        most = max(sorted(rich), key=lambda code: len(groups[code]))
        maker.spoil(most, rich[most], kinds)
    maker.languages(rich, groups, kinds)
    if "whole" in kinds:
        for clip in clips:
            if WHOLE_S[0] <= clip.seconds <= WHOLE_S[1]:
                maker.join(f"whole-{Path(clip.name).stem}", [clip], 0.0)
    return maker.made


class _Maker:
    """Joins, spoils and writes."""

    def __init__(self, out: Path, seed: int) -> None:
        self.out, self.made = out, []  # type: Path, list[Mixed]
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)

    def some(self, group: list[Clip]) -> list[Clip]:
        """At most `CLIPS` of them, in an order of their own."""
        return self.random.sample(group, min(CLIPS, len(group)))

    def languages(
        self, rich: dict[str, list[Clip]], groups: dict[str, list[Clip]], kinds: Sequence[str]
    ) -> None:
        """Two languages one after another, one within another, all in turn."""
        codes = self.random.sample(sorted(rich), len(rich))
        pairs = list(zip(codes, codes[1:] + codes[:1], strict=True)) if len(codes) > 1 else []
        for one, other in pairs if "two" in kinds else []:
            self.join(f"two-{one}-{other}", rich[one][:5] + rich[other][:5], TURN_S)
        for one, other in pairs if "sandwich" in kinds else []:
            bread = rich[one]
            middle = len(bread) // 2
            self.join(
                f"sandwich-{one}-{other}", bread[:middle] + rich[other][:3] + bread[middle:], TURN_S
            )
        if "turns" in kinds and len(groups) > 2:
            first = [self.random.choice(group) for _, group in sorted(groups.items())]
            self.random.shuffle(first)
            self.join("turns", first[:CLIPS], TURN_S)

    def spoil(self, code: str, group: list[Clip], kinds: Sequence[str]) -> None:
        """The same speech under noise and under music."""
        for db in NOISE_DB if "noise" in kinds else ():
            self.join(f"noise-{code}-{db:g}dB", group, PAUSE_S, lambda n: self._noise(n), db)
        for db in MUSIC_DB if "music" in kinds else ():
            self.join(f"music-{code}-{db:g}dB", group, PAUSE_S, lambda n: self._chords(n), db)

    def join(
        self, name: str, group: Sequence[Clip], pause_s: float, cover: Any = None, db: float = 0.0
    ) -> None:
        """Write a recording; `cover(samples)` is put over it, `db` below the speech."""
        sounds, parts, at = [], [], 0
        for clip in group:
            sound = samples_of(clip.path)
            end = at + len(sound)
            parts.append(Part(at / SAMPLE_RATE, end / SAMPLE_RATE, clip.language, clip.text))
            sounds += [sound, np.zeros(round(pause_s * SAMPLE_RATE), np.float32)]
            at = end + len(sounds[-1])
        whole = np.concatenate(sounds)
        if cover is not None:
            over = cover(len(whole))
            speech = float(np.mean(whole[np.abs(whole) > 0.01] ** 2))
            whole = whole + over * np.sqrt(speech / np.mean(over**2) / 10 ** (db / 10))
        path = self.out / f"{name}.wav"
        _write(path, whole)
        self.made.append(Mixed(name, path, tuple(parts)))

    def _noise(self, count: int) -> Samples:
        return self.numbers.normal(0, 1, count).astype(np.float32)

    def _chords(self, count: int) -> Samples:
        """Three notes at a time, six partials each, for half a second to a second and a half."""
        out = np.zeros(count, np.float32)
        at = 0
        while at < count:
            length = min(count - at, round(self.random.uniform(0.5, 1.5) * SAMPLE_RATE))
            t = np.arange(length, dtype=np.float32) / SAMPLE_RATE
            root = 110 * 2 ** (self.random.choice((0, 2, 4, 5, 7, 9, 11)) / 12)
            for ratio in (1, 1.26, 1.5):
                for partial in range(1, 7):
                    out[at : at + length] += (
                        np.sin(2 * np.pi * root * ratio * partial * t) / partial
                    )
            out[at : at + length] *= np.exp(-1.5 * t)
            at += length
        return out


def _write(path: Path, sound: Samples) -> None:
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(SAMPLE_BYTES)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes((np.clip(sound, -1, 1) * PEAK).astype("<i2").tobytes())
