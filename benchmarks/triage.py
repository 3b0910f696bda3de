"""What triage and the second hearing are worth: `gsvr batch quality`, then `batch retry --quality`.

    python benchmarks/triage.py FOLDER [--seed 7] [--glob 'fleurs-*'] [--keep DIR] [--json FILE]
                                [--kinds clean,noise,music,two,sandwich,turns,whole]

FOLDER holds clips with references (`talk.wav`, `talk.wav.txt`) and a `MANIFEST.tsv` with their
languages; `benchmarks/mixed.py` tells what is joined from them, where the times of each clip are
known. Through the real program, speech only, the language guessed:

1. `gsvr batch process`, then `gsvr batch quality`: the score of each report, units wrong.
2. `gsvr batch retry --quality`: the same again, and the stretches replaced and kept.
3. Once more: processor seconds, and the reports whose files changed (none should).

How well triage points. At reports: those with more than `--bad` (35 %) of units wrong, how many of
them are listed, and the rank correlation (Spearman) of score and errors. At places: of the joined
clips with more than that wrong, how many have a finding within them; of the time that findings
name, how much lies in such clips, and how much would by chance (their share of all clips). A
clip's words are those whose middle lies within it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.mixed import Mixed, clips_of, errors, make

KINDS = "clean,noise,music,two,sandwich,turns,whole"
ALL = 100_000
"""Reports listed; there are fewer."""
Span = tuple[float, float]


@dataclass(frozen=True)
class Place:
    """One joined clip: how much of it is wrong, how much of it findings name."""

    seconds: float
    wrong: int
    units: int
    named_s: float


@dataclass(frozen=True)
class Row:
    """One recording."""

    name: str
    score: float
    listed: bool
    """It has a finding."""
    units: int
    wrong_before: int
    wrong_after: int
    replaced: int
    kept: int
    places: tuple[Place, ...]


# --- the program ----------------------------------------------------------------------------


class Program:
    """`gsvr batch ...` on one database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.common = ["--db", str(folder / "tasks.db")]

    def __call__(self, *words: str) -> Any:
        """The object that it prints; nothing of `process`, which prints lines.

        Raises: SystemExit unless it ends with 0.
        """
        command = [sys.executable, "-m", "gs_video_report", "batch", *words, *self.common, "--json"]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=self.folder)
        if ended.returncode != 0:
            raise SystemExit(f"{words[0]} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
        return json.loads(ended.stdout) if words[0] != "process" else None

    def reports(self) -> dict[str, Any]:
        """Name of a recording -> its report."""
        found = [json.loads(p.read_bytes()) for p in self._files(".json")]
        return {r["media"]["file_name"]: r for r in found if "segments" in r}

    def content(self) -> dict[Path, str]:
        """SHA-256 of every file of the reports."""
        return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in self._files("")}

    def _files(self, suffix: str) -> list[Path]:
        found = (self.folder / "reports").rglob(f"*{suffix}")
        return sorted(p for p in found if p.is_file())


def text_of(report: Any) -> str:
    """Everything that was heard."""
    return " ".join(segment["text"] for segment in report["segments"])


# --- what is known of each recording --------------------------------------------------------


def places(mixed: Mixed, report: Any, spans: Sequence[Span]) -> tuple[Place, ...]:
    """Each clip of a recording by itself."""
    words = [word for segment in report["segments"] for word in segment["words"]]
    found = []
    for part in mixed.parts:
        heard = [
            w["text"] for w in words if part.start_s <= (w["start_s"] + w["end_s"]) / 2 < part.end_s
        ]
        wrong, count = errors(part.text, "".join(_apart(heard)))
        named = sum(max(0.0, min(b, part.end_s) - max(a, part.start_s)) for a, b in spans)
        found.append(Place(part.end_s - part.start_s, wrong, count, named))
    return tuple(found)


def _apart(words: Sequence[str]) -> list[str]:
    """Words carry their own space in front where they are written with spaces."""
    return [word if word.startswith(" ") or not word.isascii() else f" {word}" for word in words]


def spans_of(findings: Sequence[Any]) -> list[Span]:
    """The places that findings name, joined, so that no second counts twice."""
    joined: list[list[float]] = []
    for start, end in sorted(tuple(span) for finding in findings for span in finding["spans"]):
        if joined and start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return [(start, end) for start, end in joined]


def measure(mixed: Sequence[Mixed], folder: Path) -> tuple[list[Row], float, int]:
    """All rows, worst score first; processor seconds and changed files of the second retry."""
    gsvr = Program(folder)
    gsvr("process", "-d", str(folder / "recordings"), "-o", str(folder / "reports"), "--engine",
         "local", "--no-slides", "--subtitles", "ignore", "--cache-dir", str(folder / "cache"),
         "--asr-model", "base")  # fmt: skip
    judged = {r["name"]: r for r in gsvr("quality", "--limit", str(ALL))["reports"]}
    before = gsvr.reports()
    heard = {r["name"]: r["stretches"] for r in gsvr("retry", "latest", "--quality")["reports"]}
    after, content = gsvr.reports(), gsvr.content()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    gsvr("retry", "latest", "--quality")
    again = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = again.ru_utime + again.ru_stime - spent.ru_utime - spent.ru_stime
    now = gsvr.content()
    changed = sum(content.get(path) != now.get(path) for path in content.keys() | now.keys())
    rows = []
    for one in mixed:
        name = one.path.name
        findings, stretches = judged[name]["findings"], heard.get(name, [])
        wrong, count = errors(one.text, text_of(before[name]))
        rows.append(Row(
            one.name, judged[name]["score"], bool(findings), count, wrong,
            errors(one.text, text_of(after[name]))[0], sum(s["replaced"] for s in stretches),
            sum(not s["replaced"] for s in stretches),
            places(one, before[name], spans_of(findings)),
        ))  # fmt: skip
    return sorted(rows, key=lambda row: row.score), cpu_s, changed


# --- what is printed ------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """A line for each recording, and all."""
    lines = [
        "| recording | score before | error before | error after | outcome |",
        "|---" * 5 + "|",
    ]
    for row in rows:
        outcome = f"{row.replaced} replaced, {row.kept} kept" if row.replaced + row.kept else "-"
        lines.append(
            f"| {row.name} | {row.score:.0f} | {_rate(row.wrong_before, row.units)} | "
            f"{_rate(row.wrong_after, row.units)} | {outcome} |"
        )
    units, worse = sum(r.units for r in rows), sum(r.wrong_after > r.wrong_before for r in rows)
    lines.append(
        f"| all | | {_rate(sum(r.wrong_before for r in rows), units)} | "
        f"{_rate(sum(r.wrong_after for r in rows), units)} | "
        f"{sum(r.replaced for r in rows)} of {sum(r.replaced + r.kept for r in rows)} stretches "
        f"replaced, {worse} reports got worse |"
    )
    return "\n".join(lines)


def pointing(rows: Sequence[Row], bad: float) -> list[str]:
    """How well the list and the findings point at what is wrong."""
    poor = [row for row in rows if row.wrong_before > bad * row.units]
    listed = [row for row in rows if row.listed]
    found = sum(row.listed for row in poor)
    lines = [(
        f"reports with over {bad:.0%} wrong: {len(poor)}, {found} of them among the "
        f"{len(listed)} that are listed"
    )]  # fmt: skip
    if len({row.score for row in rows}) > 1:
        ranks = ([r.score for r in rows], [-r.wrong_before / r.units for r in rows])
        lines.append(f"rank correlation of score and errors: {spearman(*ranks):.2f}")
    every = [place for row in rows for place in row.places if place.units]
    wrong = [place for place in every if place.wrong > bad * place.units]
    named = sum(place.named_s for place in every)
    share = sum(place.seconds for place in wrong) / sum(place.seconds for place in every)
    lines.append(
        f"clips with over {bad:.0%} wrong: {len(wrong)} of {len(every)}, "
        f"{sum(place.named_s > 0 for place in wrong)} of them with a finding within"
    )
    if named:
        right = sum(place.named_s for place in wrong) / named
        lines.append(f"time named by findings: {right:.0%} in such clips; by chance {share:.0%}")
    return lines


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Correlation of ranks; equal values share the mean of theirs."""
    return statistics.correlation(_ranks(one), _ranks(other))


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def _rate(wrong: int, units: int) -> str:
    return f"{100 * wrong / max(1, units):.1f} %"


def main() -> None:
    """Make, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kinds", default=KINDS)
    parser.add_argument("--glob", default="*")
    parser.add_argument("--bad", type=float, default=0.35, help="share of units wrong")
    parser.add_argument("--keep", type=Path, help="work in this empty folder and leave it")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    clips = clips_of(given.folder, given.glob)
    if not clips:
        raise SystemExit("no recording with a reference text was found")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        (folder / "recordings").mkdir(parents=True)
        mixed = make(clips, folder / "recordings", given.seed, given.kinds.split(","))
        minutes = sum(one.seconds for one in mixed) / 60
        print(f"{len(mixed)} recordings, {minutes:.1f} minutes, from {len(clips)}", flush=True)
        rows, cpu_s, changed = measure(mixed, folder)
    print(table(rows), *pointing(rows, given.bad), sep="\n")
    print(f"second retry: {cpu_s:.1f} s of processor time, {changed} files changed")
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    if given.json:
        facts = {"seed": given.seed, "rows": [asdict(row) for row in rows]}
        given.json.write_text(json.dumps(facts, indent=1, ensure_ascii=False), "utf-8")


if __name__ == "__main__":
    main()
