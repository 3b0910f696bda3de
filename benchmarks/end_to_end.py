"""Whole batches: gsvr beside whisper-ctranslate2 and a bare loop of gsvr's own speech recipe.

    python benchmarks/end_to_end.py FOLDER [--peer /path/to/whisper-ctranslate2] [--rounds 3]
                                    [--slides FOLDER]

FOLDER holds recordings and, beside each, its reference text (`talk.wav`, `talk.wav.txt`). All
contestants get the same files, the same Whisper *base* model, int8, beam 5, and all cores; the
language is detected by each. Each run starts cold (new process, empty journal), the order turns
from round to round, and the medians are printed:

- `gsvr`: `gsvr batch process --no-slides`, with database, journal, checkpoints and all reports.
- `peer`: whisper-ctranslate2 with its defaults otherwise (one process, all threads).
- `bare`: one process per core, one thread each, decode, VAD, recognise; nothing is written. The
  floor: what the recipe itself costs.

With `--slides`, a folder of recordings of slides (made by `benchmarks/slides.py --folder`), the
contestants get lectures made of both (`benchmarks/lectures.py`), and gsvr does more than the rest:
it finds the slides and reads them (OCR).

Wall seconds, CPU seconds of all processes, largest resident memory of one process, and the error
rate over all files (words; characters for Chinese and Japanese) in the normalisation of
`accuracy.py`. A contestant that ends with an exit code other than 0, or leaves a file without a
text, ends the benchmark: who does less is not faster.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.accuracy import edit_distance, ours, units
from benchmarks.lectures import make_lectures
from gs_video_report.media.probe import probe
from gs_video_report.media.speech.asr_models import resolve_model

SAID_CHARACTERS = 2000
"""Of a contestant that failed, the end of what it said."""


@dataclass
class Run:
    """One contestant's figures of one round."""

    wall_s: float
    cpu_s: float
    peak_mb: float


@dataclass
class Contestant:
    """Name, how to run it, where its texts are."""

    name: str
    command: Callable[[Path], list[str]]
    texts: Callable[[Path], dict[str, str]]
    runs: list[Run] = field(default_factory=list)
    errors: str = ""


def run(command: list[str], env: dict[str, str]) -> Run:
    """Run to the end; CPU and memory are those of the process and all its children.

    Raises: SystemExit with the end of what it said, when it fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    with tempfile.NamedTemporaryFile("r") as file, tempfile.TemporaryFile() as said:
        # -q: the exit code of a failure is not written where the memory is read from.
        wrapped = ["/usr/bin/time", "-q", "-f", "%M", "-o", file.name, *command]
        ended = subprocess.run(
            wrapped, check=False, env=os.environ | env, stdout=said, stderr=subprocess.STDOUT
        )
        wall = time.monotonic() - began
        if ended.returncode != 0:
            said.seek(0)
            last = said.read().decode("utf-8", "replace")[-SAID_CHARACTERS:]
            called = " ".join(command[:4])
            raise SystemExit(f"{called} ... ended with {ended.returncode}:\n{last}")
        peak = int(file.read().split()[-1]) / 1024
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, peak)


def gsvr_command(
    folder: Path, model: str, cache: Path, *, slides: bool
) -> Callable[[Path], list[str]]:
    """`gsvr batch process` into a fresh database; the model is there, the journal is empty."""

    def make(work: Path) -> list[str]:
        return [
            sys.executable,
            "-m",
            "gs_video_report",
            "batch",
            "process",
            "-d",
            str(folder),
            "-o",
            str(work / "out"),
            "--db",
            str(work / "tasks.db"),
            "--cache-dir",
            str(cache),
            "--asr-model",
            model,
            *(() if slides else ("--no-slides",)),
            "--subtitles",
            "ignore",
            "--progress",
            "none",
        ]

    return make


def gsvr_texts(work: Path) -> dict[str, str]:
    """File name -> text, from the JSON reports."""
    found = {}
    for path in (work / "out" / "transcript").rglob("*.json"):
        report = json.loads(path.read_bytes())
        found[report["media"]["file_name"]] = " ".join(s["text"] for s in report["segments"])
    return found


def peer_command(files: list[Path], model: str, program: str) -> Callable[[Path], list[str]]:
    """whisper-ctranslate2 with its defaults, except model, device and beam."""

    def make(work: Path) -> list[str]:
        return [
            program,
            *map(str, files),
            "--model_directory",
            model,
            "--device",
            "cpu",
            "--compute_type",
            "int8",
            "--beam_size",
            "5",
            "--output_dir",
            str(work),
            "--output_format",
            "txt",
        ]

    return make


def peer_texts(files: list[Path]) -> Callable[[Path], dict[str, str]]:
    """File name -> text, from the text files."""

    def read(work: Path) -> dict[str, str]:
        return {
            f.name: (work / f"{f.stem}.txt").read_text("utf-8", "replace")
            for f in files
            if (work / f"{f.stem}.txt").exists()
        }

    return read


def bare_one(model: str, path: str, work: str) -> tuple[str, str]:
    """One file through the recipe, in a worker of the bare loop."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        return ours(model, Path(path), None, Path(folder))


def bare_loop(model: str, files: list[str], work: Path) -> None:
    """One process per core, files in the order given; texts to `bare.json`."""
    os.environ["OMP_NUM_THREADS"] = "1"
    texts = {}
    cores = len(os.sched_getaffinity(0))
    with concurrent.futures.ProcessPoolExecutor(cores) as pool:
        waiting = {pool.submit(bare_one, model, f, str(work)): f for f in files}
        for done in concurrent.futures.as_completed(waiting):
            texts[Path(waiting[done]).name] = done.result()[0]
    (work / "bare.json").write_text(json.dumps(texts))


def error_rate(texts: dict[str, str], files: list[Path]) -> str:
    """Rate, errors and units over all files. Raises: SystemExit when one has no text."""
    missing = [file.name for file in files if file.name not in texts]
    if missing:
        raise SystemExit(f"no text was left for {', '.join(missing)}")
    errors = total = 0
    for file in files:
        reference = file.with_name(file.name + ".txt").read_text("utf-8").strip()
        language = "zh" if any("\u3040" <= c <= "\u9fff" for c in reference) else "en"
        wanted, found = units(reference, language), units(texts[file.name], language)
        errors += edit_distance(wanted, found)
        total += len(wanted)
    return f"{100 * errors / total:.1f} % ({errors} of {total})"


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--peer", default=shutil.which("whisper-ctranslate2"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slides", type=Path, help="folder of recordings of slides")
    parser.add_argument("--bare-worker", nargs=3, metavar=("MODEL", "LIST", "WORK"))
    options = parser.parse_args()
    if options.bare_worker:
        model, listing, work = options.bare_worker
        bare_loop(model, Path(listing).read_text().splitlines(), Path(work))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))


def compare(options: argparse.Namespace, root: Path) -> None:
    """All contestants, `rounds` times, in turn."""
    spoken = options.folder
    if options.slides:
        spoken = root / "lectures"
        spoken.mkdir()
        make_lectures(options.folder, options.slides, spoken)
    files = sorted(p for p in spoken.iterdir() if p.with_name(p.name + ".txt").exists())
    cache = root / "cache"
    model = resolve_model("auto", cache).path
    inputs, listing = root / "in", root / "files.txt"
    inputs.mkdir()
    for file in files:
        shutil.copy(file, inputs)
    copies = [inputs / f.name for f in files]
    listing.write_text("\n".join(map(str, copies)))
    bare = [sys.executable, __file__, str(options.folder), "--bare-worker", model, str(listing)]
    mine = gsvr_command(inputs, model, cache, slides=bool(options.slides))
    contestants = [
        Contestant("gsvr", mine, gsvr_texts),
        Contestant(
            "bare",
            lambda work: [*bare, str(work)],
            lambda work: json.loads((work / "bare.json").read_text()),
        ),
    ]
    if options.peer:
        contestants.append(
            Contestant("peer", peer_command(copies, model, options.peer), peer_texts(copies))
        )
    for number in range(options.rounds):
        for contestant in contestants[number % 3 :] + contestants[: number % 3]:
            work = root / f"{contestant.name}-{number}"
            work.mkdir()
            contestant.runs.append(run(contestant.command(work), {"HF_HUB_OFFLINE": "1"}))
            contestant.errors = error_rate(contestant.texts(work), files)
    show(contestants, files)


def show(contestants: list[Contestant], files: list[Path]) -> None:
    """Medians, and ratios to the first."""
    media = sum(probe(str(file)).duration_s or 0.0 for file in files)
    cores = len(os.sched_getaffinity(0))
    print(f"{len(files)} files, {media / 60:.1f} minutes, {cores} cores, medians of the rounds")
    print(f"{'':6} {'wall s':>8} {'x':>6} {'cpu s':>8} {'x':>6} {'peak MB':>8}  errors")
    for c in contestants:
        wall = statistics.median(r.wall_s for r in c.runs)
        cpu = statistics.median(r.cpu_s for r in c.runs)
        peak = max(r.peak_mb for r in c.runs)
        speed = f"{wall:8.1f} {media / wall:6.1f} {cpu:8.1f} {media / cpu:6.1f}"
        print(f"{c.name:6} {speed} {peak:8.0f}  {c.errors}")
    first = contestants[0]
    for c in contestants[1:]:
        walls = [b.wall_s / a.wall_s for a, b in zip(first.runs, c.runs, strict=True)]
        cpus = [b.cpu_s / a.cpu_s for a, b in zip(first.runs, c.runs, strict=True)]
        print(
            f"{c.name} / gsvr: wall x{statistics.median(walls):.2f}, "
            f"cpu x{statistics.median(cpus):.2f} (each round: {[round(w, 2) for w in walls]})"
        )


if __name__ == "__main__":
    main()
