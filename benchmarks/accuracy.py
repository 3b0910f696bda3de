"""Word and character error rates of gsvr's speech recipe beside the stock faster-whisper call.

    python benchmarks/accuracy.py FOLDER [--model auto] [--glob 'fleurs-*'] [--joined] [--json OUT]

FOLDER holds recordings and, beside each, its reference text: `talk.wav` and `talk.wav.txt`.
`--joined` also measures one recording per language made of several speakers one after another,
0.4 s of silence apart: the case in which a whole-file call loses sentences.

Both sides get the same model, beam 5, int8, one thread, and find the language themselves, unless
`--language` says it. Stock is `WhisperModel.transcribe(path)` with its defaults, plain and with
`vad_filter=True`; its temperature fallback draws random numbers, so its figures vary a little.

What is compared: lower case, Unicode NFKC, punctuation removed, hyphens are spaces, English
numbers below a million written as words. Words for most languages, characters for Chinese,
Japanese, Korean and Thai. Not folded: British and American spelling, contractions, Traditional
characters. These figures are therefore a little higher than with Whisper's own normaliser.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import sys
import tempfile
import time
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gs_video_report.media.audio import SAMPLE_BYTES, SAMPLE_RATE, extract_audio
from gs_video_report.media.probe import probe
from gs_video_report.media.speech.asr import detect_language, transcribe_chunk
from gs_video_report.media.speech.asr_models import resolve_model
from gs_video_report.media.speech.vad import plan_speech

BY_CHARACTER = frozenset({"zh", "ja", "ko", "th", "yue"})
PAUSE_S = 0.4

_ONES = (  # noqa: SIM905
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905


@dataclass(frozen=True)
class Side:
    """What one way of transcribing gave."""

    errors: int
    language: str
    cpu_s: float
    text: str


@dataclass(frozen=True)
class Row:
    """One recording, all ways."""

    name: str
    language: str
    unit: str
    seconds: float
    units: int
    sides: dict[str, Side]


# --- what is compared -----------------------------------------------------------------------


def number_words(value: int) -> str:
    """English words of 0..999,999."""
    if value < 20:
        return _ONES[value]
    if value < 100:
        rest = f" {_ONES[value % 10]}" if value % 10 else ""
        return _TENS[value // 10] + rest
    if value < 1000:
        rest = f" {number_words(value % 100)}" if value % 100 else ""
        return f"{_ONES[value // 100]} hundred{rest}"
    rest = f" {number_words(value % 1000)}" if value % 1000 else ""
    return f"{number_words(value // 1000)} thousand{rest}"


def units(text: str, language: str) -> list[str]:
    """The comparable words (or characters) of a text."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    if language == "en":
        text = re.sub(
            r"\d+",
            lambda m: f" {number_words(int(m[0]))} " if len(m[0]) < 7 else m[0],
            text,
        )
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" or c == "'" else " " for c in text)
    words = [word.strip("'") for word in kept.split()]
    words = [word for word in words if word]
    return list("".join(words)) if language in BY_CHARACTER else words


def edit_distance(reference: Sequence[str], found: Sequence[str]) -> int:
    """Levenshtein distance: substitutions, insertions and deletions cost one each."""
    row = list(range(len(found) + 1))
    for i, wanted in enumerate(reference, start=1):
        before, row[0] = row[0], i
        for j, got in enumerate(found, start=1):
            before, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, before + (wanted != got)),
            )
    return row[-1]


# --- the ways -------------------------------------------------------------------------------


def ours(model_dir: str, path: Path, language: str | None, work: Path) -> tuple[str, str]:
    """(text, language) by gsvr's recipe."""
    pcm = str(work / "audio.pcm")
    extract_audio(str(path), pcm)
    chunks = plan_speech(pcm).chunks
    spoken = language or detect_language(model_dir, pcm, chunks)[0]
    how = {"alone": len(chunks) == 1, "guessed": language is None}
    texts = [transcribe_chunk(model_dir, pcm, c.start, c.end, spoken, **how).text for c in chunks]
    return " ".join(texts), spoken


def stock(model: Any, path: Path, language: str | None, vad: bool) -> tuple[str, str]:
    """(text, language) by one call of faster-whisper."""
    segments, info = model.transcribe(str(path), language=language, vad_filter=vad)
    return " ".join(segment.text for segment in segments), info.language


def measure(
    name: str, path: Path, reference: str, expected: str, models: tuple[str, Any], args: Any
) -> Row:
    """Transcribe one recording in all ways."""
    model_dir, model = models
    sides: dict[str, Side] = {}
    wanted = units(reference, expected)
    with tempfile.TemporaryDirectory() as work:
        ways = {
            "gsvr": lambda: ours(model_dir, path, args.language, Path(work)),
            "stock": lambda: stock(model, path, args.language, vad=False),
            "stock+vad": lambda: stock(model, path, args.language, vad=True),
        }
        for way, run in ways.items():
            if way not in args.ways:
                continue
            began = time.process_time()
            text, language = run()
            spent = time.process_time() - began
            errors = edit_distance(wanted, units(text, expected))
            sides[way] = Side(errors, language, round(spent, 2), text)
    unit = "characters" if expected in BY_CHARACTER else "words"
    return Row(name, expected, unit, duration_s(path), len(wanted), sides)


def duration_s(path: Path) -> float:
    """Seconds of sound, by decoding."""
    with tempfile.TemporaryDirectory() as work:
        track = extract_audio(str(path), str(Path(work) / "audio.pcm"))
    return round(track.samples / SAMPLE_RATE, 2)


# --- recordings -----------------------------------------------------------------------------


def languages_of(folder: Path) -> dict[str, str]:
    """File name -> language, from a MANIFEST.tsv if there is one."""
    manifest = folder / "MANIFEST.tsv"
    if not manifest.is_file():
        return {}
    rows = [line.split("\t") for line in manifest.read_text("utf-8").splitlines()]
    at = rows[0].index("language")
    return {row[0]: row[at].split(",")[0] for row in rows[1:] if len(row) > at}


def join(paths: Sequence[Path], out: Path) -> None:
    """Put recordings one after another into a WAV file, with pauses between them."""
    import wave

    pause = bytes(round(PAUSE_S * SAMPLE_RATE) * SAMPLE_BYTES)
    with tempfile.TemporaryDirectory() as work, wave.open(str(out), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(SAMPLE_BYTES)
        wav.setframerate(SAMPLE_RATE)
        for path in paths:
            pcm = Path(work) / "audio.pcm"
            extract_audio(str(path), str(pcm))
            wav.writeframes(pcm.read_bytes() + pause)


def recordings(args: Any, work: Path) -> list[tuple[str, Path, str, str]]:
    """(name, path, reference, language) of everything that has a reference."""
    languages = languages_of(args.folder)
    found = []
    for path in sorted(args.folder.glob(args.glob)):
        reference = path.with_name(path.name + ".txt")
        if path.suffix == ".txt" or not reference.is_file() or not probe(str(path)).audio:
            continue
        language = args.language or languages.get(path.name, "en")
        found.append((path.name, path, reference.read_text("utf-8").strip(), language))
    if not args.joined:
        return found
    groups = defaultdict(list)
    for item in found:
        groups[item[3]].append(item)
    for language, items in sorted(groups.items()):
        short = [item for item in items if duration_s(item[1]) <= args.longest_part]
        if len(short) >= 3:
            out = work / f"joined-{language}.wav"
            join([item[1] for item in short], out)
            text = "\n".join(item[2] for item in short)
            found.append((f"joined-{language} ({len(short)} clips)", out, text, language))
    return found if not args.only_joined else [i for i in found if i[0].startswith("joined-")]


def print_table(rows: list[Row], ways: Sequence[str]) -> None:
    """One line per recording, one per language, one for each unit."""
    print(
        f"{'recording':44} {'lang':5} {'s':>7} {'units':>6}  " + "".join(f"{w:>12}" for w in ways)
    )
    totals: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        rates = "".join(f"{100 * row.sides[w].errors / max(1, row.units):11.1f}%" for w in ways)
        wrong = [w for w in ways if row.sides[w].language != row.language]
        note = f"  language: {', '.join(f'{w}={row.sides[w].language}' for w in wrong)}"
        print(
            f"{row.name[:44]:44} {row.language:5} {row.seconds:7.1f} {row.units:6}  {rates}"
            + (note if wrong else "")
        )
        joined = "joined" if row.name.startswith("joined-") else "single"
        totals[f"{joined} {row.language}"].append(row)
        totals[f"{joined} all, {row.unit}"].append(row)
    for name, group in sorted(totals.items()):
        count = sum(row.units for row in group)
        rates = "".join(
            f"{100 * sum(row.sides[w].errors for row in group) / max(1, count):11.1f}%"
            for w in ways
        )
        seconds = sum(row.seconds for row in group)
        speed = ", ".join(
            f"{w} {seconds / sum(row.sides[w].cpu_s for row in group):.1f}x" for w in ways
        )
        print(f"= {name:42} {'':5} {seconds:7.1f} {count:6}  {rates}  media s per CPU s: {speed}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 when nothing was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "gsvr-models")
    parser.add_argument("--glob", default="*")
    parser.add_argument("--language", default=None)
    parser.add_argument("--joined", action="store_true")
    parser.add_argument("--only-joined", action="store_true")
    parser.add_argument("--longest-part", type=float, default=30.0, help="seconds of a joined clip")
    parser.add_argument("--ways", nargs="+", default=["gsvr", "stock", "stock+vad"])
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args(argv)
    os.environ["HF_HUB_OFFLINE"] = "1"

    from faster_whisper import WhisperModel

    found = resolve_model(args.model, args.cache)
    model = WhisperModel(found.path, device="cpu", compute_type="int8", cpu_threads=1)
    rows = []
    with tempfile.TemporaryDirectory() as work:
        for name, path, reference, language in recordings(args, Path(work)):
            rows.append(measure(name, path, reference, language, (found.path, model), args))
            print(f"... {name}", file=sys.stderr, flush=True)
    if not rows:
        print("no recording with a reference text was found", file=sys.stderr)
        return 1
    print_table(rows, args.ways)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {peak // 1024} MB, model {found.name} {found.sha256[:12]}")
    if args.json is not None:
        args.json.write_text(
            json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
