"""Slides: gsvr beside PySceneDetect on made recordings that the detector was not tuned on.

    python benchmarks/slides.py [--set first|second|third|all] [--rounds 3] [--seed 11]
                                [--folder DIR] [--json OUT] [--only NAME ...] [--ways NAME ...]

Needs the extra `bench`. The recordings (`slides_heldout`, `slides_heldout2` and, at the pace
of lectures, `slides_lecture`) are drawn and encoded
into `--folder` at the first call. Each contestant runs in a process of its own on one core, all of
them in turn on one recording after another; only its own call is timed (not the imports), wall and
CPU seconds, the median of the rounds. gsvr writes its pictures within that time; PySceneDetect only
detects. Its detectors run at their defaults; `content*` and `adaptive*` have the threshold that did
best on one recording that is not scored.

Scoring: a find counts for a new page from 0.5 s before its first pixel to 2 s after the page is all
there, one find per page; a second one, and any find elsewhere, is invented. Nothing counts within
the first second, nor in the spans that the recording calls free (see `slides_heldout`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0:1] = [str(ROOT)]

from benchmarks import slides_heldout, slides_heldout2, slides_lecture  # noqa: E402

EARLY_S, LATE_S, START_S = 0.5, 2.0, 1.0
WAYS = ("gsvr", "content", "content*", "adaptive", "adaptive*", "hash", "histogram")
CONTENT_TRIES = (20.0, 15.0, 10.0, 7.0, 5.0, 3.0, 2.0, 1.0)
ADAPTIVE_TRIES = (10.0, 7.0, 5.0, 3.0, 2.0, 1.0)
TUNED_ON = "tuning_deck"


@dataclass(frozen=True)
class Score:
    """Found, missed and invented pages of one recording, and how late the found ones were."""

    found: int
    missed: int
    invented: int
    late_s: tuple[float, ...] = ()
    missed_at: tuple[float, ...] = ()
    invented_at: tuple[float, ...] = ()


@dataclass(frozen=True)
class Measured:
    """One contestant on one recording; times are medians of the rounds."""

    name: str
    way: str
    seconds: float
    score: Score
    wall_s: float
    cpu_s: float


def score(finds: Sequence[float], truth: dict[str, Any]) -> Score:
    """Compare finds, in seconds, with the truth of a recording; each page is found once at most."""
    open_turns = list(truth["turns"])
    late, invented = [], []
    for at in sorted(finds):
        if at < START_S:
            continue
        fits = [t for t in open_turns if t["start_s"] - EARLY_S <= at <= t["end_s"] + LATE_S]
        if fits:
            open_turns.remove(fits[0])
            late.append(round(at - fits[0]["end_s"], 2))
        elif not any(start <= at <= end for start, end in truth["free"]):
            invented.append(round(at, 2))
    missed = [round(t["end_s"], 2) for t in open_turns]
    return Score(len(late), len(missed), len(invented), tuple(late), tuple(missed), tuple(invented))


# --- contestants: each runs in a child process, on one core ------------------------------------


def run_gsvr(path: str, _setting: float | None) -> Callable[[], list[float]]:
    """Our detector, pictures and all."""
    from gs_video_report.media.slides.find import SlideParams, find_slides

    def call() -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            return [slide.t_s for slide in find_slides(path, folder, SlideParams()).slides]

    return call


def run_peer(path: str, way: str, setting: float | None) -> Callable[[], list[float]]:
    """A detector of PySceneDetect; `setting` is its threshold, `None` its default."""
    from scenedetect import detect
    from scenedetect import detectors as d

    made: Callable[[], Any] = {
        "content": lambda: d.ContentDetector(**({} if setting is None else {"threshold": setting})),
        "adaptive": lambda: d.AdaptiveDetector(
            **({} if setting is None else {"min_content_val": setting})
        ),
        "hash": d.HashDetector,
        "histogram": d.HistogramDetector,
    }[way]

    def call() -> list[float]:
        return [start.seconds for start, _ in detect(path, made(), start_in_scene=True)][1:]

    return call


def child(way: str, path: str, setting: float | None) -> None:
    """Run one contestant once on one core; print what it found and what it cost."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    kind = way.rstrip("*")
    call = run_gsvr(path, setting) if kind == "gsvr" else run_peer(path, kind, setting)
    wall, cpu = time.perf_counter(), time.process_time()
    finds = call()
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    print(json.dumps({"finds": finds, **spent}))


def contest(way: str, path: Path, setting: float | None) -> dict[str, Any]:
    """One run in a fresh process."""
    command = [sys.executable, __file__, "--child", way, str(path)]
    if setting is not None:
        command.append(str(setting))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} failed on {path.name}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


# --- the measurement ----------------------------------------------------------------------------


def styles(which: str) -> dict[str, slides_heldout.Style]:
    """The recordings of a set, by name."""
    made: dict[str, slides_heldout.Style] = {}
    if which in {"first", "all"}:
        made |= slides_heldout.STYLES
    if which in {"second", "all"}:
        made |= slides_heldout2.STYLES
    if which in {"third", "all"}:
        made |= slides_lecture.STYLES
    return made


def prepare(wanted: dict[str, slides_heldout.Style], folder: Path, seed: int) -> dict[str, Path]:
    """Draw what is not there yet, two recordings at a time."""
    from concurrent.futures import ProcessPoolExecutor

    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(max_workers=2) as pool:
        jobs = {
            name: pool.submit(slides_heldout.make, style, name, folder, seed)
            for name, style in wanted.items()
        }
        return {name: job.result() for name, job in jobs.items()}


def truth_of(path: Path) -> dict[str, Any]:
    """The truth beside a recording."""
    return json.loads(path.with_suffix(".json").read_text())  # type: ignore[no-any-return]


def tuned(path: Path) -> dict[str, float]:
    """The thresholds that do best on the one recording that is not scored."""
    truth = truth_of(path)
    best = {}
    for way, tries in (("content", CONTENT_TRIES), ("adaptive", ADAPTIVE_TRIES)):
        tried = {s: f1(score(contest(way, path, s)["finds"], truth)) for s in tries}
        best[way + "*"] = max(tries, key=lambda s: (tried[s], s))
    return best


def f1(*scores: Score) -> float:
    """Of all scores together; 0 when nothing was found."""
    found = sum(s.found for s in scores)
    wrong = sum(s.missed + s.invented for s in scores)
    return 2 * found / max(1, 2 * found + wrong)


def measure(
    files: dict[str, Path], ways: Sequence[str], settings: dict[str, float], rounds: int
) -> list[Measured]:
    """All contestants in turn on each recording, `rounds` times over."""
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for turn in range(rounds):
        for name, path in files.items():
            for way in ways:
                made = contest(way, path, settings.get(way))
                runs.setdefault((name, way), []).append(made)
            print(f"... round {turn + 1}: {name}", file=sys.stderr, flush=True)
    return [_measured(name, way, files[name], made) for (name, way), made in runs.items()]


def _measured(name: str, way: str, path: Path, runs: list[dict[str, Any]]) -> Measured:
    truth = truth_of(path)
    wall = statistics.median(run["wall_s"] for run in runs)
    cpu = statistics.median(run["cpu_s"] for run in runs)
    return Measured(name, way, truth["seconds"], score(runs[0]["finds"], truth), wall, cpu)


def summary(rows: Sequence[Measured], way: str) -> dict[str, float]:
    """Recall, precision, F1 and speeds of one contestant over all recordings."""
    mine = [row for row in rows if row.way == way]
    found = sum(row.score.found for row in mine)
    seconds = sum(row.seconds for row in mine)
    return {
        "recall": found / max(1, found + sum(row.score.missed for row in mine)),
        "precision": found / max(1, found + sum(row.score.invented for row in mine)),
        "f1": f1(*(row.score for row in mine)),
        "x_wall": seconds / max(1e-9, sum(row.wall_s for row in mine)),
        "x_cpu": seconds / max(1e-9, sum(row.cpu_s for row in mine)),
    }


def print_tables(rows: Sequence[Measured], ways: Sequence[str]) -> None:
    """Per recording: found/all +invented; then the summary."""
    print(f"{'recording':18}" + "".join(f"{way:>13}" for way in ways))
    for name in dict.fromkeys(row.name for row in rows):
        cells = {row.way: row.score for row in rows if row.name == name}
        texts = [f"{s.found}/{s.found + s.missed} +{s.invented}" for s in cells.values()]
        print(f"{name:18}" + "".join(f"{text:>13}" for text in texts))
    print(f"\n{'':12}{'recall':>9}{'precision':>11}{'F1':>8}{'x wall':>9}{'x CPU':>9}")
    for way in ways:
        s = summary(rows, way)
        print(
            f"{way:12}{s['recall']:9.3f}{s['precision']:11.3f}{s['f1']:8.3f}"
            f"{s['x_wall']:9.1f}{s['x_cpu']:9.1f}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=("first", "second", "third", "all"), default="all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "gsvr-slides")
    parser.add_argument("--only", nargs="+", default=None, help="names of recordings")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args(argv)
    wanted = {n: s for n, s in styles(args.set).items() if args.only is None or n in args.only}
    files = prepare(wanted, args.folder, args.seed)
    settings: dict[str, float] = {}
    if any(way.endswith("*") for way in args.ways):
        deck = prepare({TUNED_ON: slides_heldout.TUNING}, args.folder, args.seed)
        settings = tuned(deck[TUNED_ON])
        print(f"tuned on one recording: {settings}")
    rows = measure(files, args.ways, settings, args.rounds)
    print_tables(rows, args.ways)
    if args.json is not None:
        totals = {way: summary(rows, way) for way in args.ways}
        made = {"settings": settings, "totals": totals, "rows": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(made, ensure_ascii=False, indent=1))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], float(sys.argv[4]) if len(sys.argv) > 4 else None)
        raise SystemExit(0)
    raise SystemExit(main())
