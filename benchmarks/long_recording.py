"""Memory of one long recording: the largest that the coordinating and a compute process ever were.

    python benchmarks/long_recording.py [--minutes 120] [--rounds 1] [--keep FILE] [--json FILE]

The recording is made here: the three English example lectures (720p, 25 frames a second, sound),
one after another and again until it is so long, their packets copied, not encoded anew. Then
`gsvr batch process` runs on it as always: speech, slides, their text, all report files; a process
per core, nothing in the cache. 20 times a second the kernel is asked how large each process was
at most (`VmHWM`, shared pages included in each). Printed beside: the same for a recording of a
twelfth of the length, in the same run (`--short 0` leaves it out): what does not grow with the
length is level.

Linux only. The speech model is that of the extra `local`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import psutil

LECTURES = ("photosynthesis.mp4", "week01/intro.mp4", "week02/intro.mp4")
EXAMPLES = Path(__file__).parents[1] / "examples"
GAP_S = 0.2
"""Between two lectures: a stream's first packets are decoded before its time begins."""
LOOK_S = 0.05
KB = 1024
MB = 1_000_000


@dataclass(frozen=True)
class Figures:
    """What one recording took."""

    minutes: float
    wall_s: float
    coordinator_mb: float
    compute_mb: float
    """The largest of all compute processes."""
    together_mb: float
    """The largest sum seen at one look, pages that processes share counted in each."""
    slides: int
    words: int


# --- the recording --------------------------------------------------------------------------


def make_recording(path: Path, minutes: float) -> float:
    """Join the lectures until `minutes` are full; returns the minutes there are."""
    with av.open(str(path), "w") as out:
        with av.open(str(EXAMPLES / LECTURES[0])) as first:
            kinds = {s.type: out.add_stream_from_template(s) for s in first.streams}
        at_s = 0.0
        for name in _in_turn():
            at_s += _append(EXAMPLES / name, out, kinds, at_s)
            if at_s >= minutes * 60:
                return at_s / 60
    raise AssertionError("the lectures come in turn without end")


def _in_turn() -> Iterator[str]:
    while True:
        yield from LECTURES


def _append(
    path: Path, out: av.container.OutputContainer, kinds: dict[str, av.stream.Stream], at_s: float
) -> float:
    """All packets of a file, later by `at_s`; returns its seconds."""
    with av.open(str(path)) as source:
        for packet in source.demux():
            if packet.dts is None:
                continue
            later = round(at_s / packet.time_base)
            packet.pts, packet.dts = packet.pts + later, packet.dts + later
            packet.stream = kinds[packet.stream.type]
            out.mux(packet)
        return float(source.duration / av.time_base) + GAP_S


# --- the run --------------------------------------------------------------------------------


def largest(process: psutil.Process) -> int:
    """The most memory it ever had, bytes; 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KB
    return 0


def watch(child: subprocess.Popen[bytes]) -> tuple[int, int, int]:
    """Until it ends: bytes of the coordinator, of the largest compute process, of all at once."""
    root = psutil.Process(child.pid)
    own = compute = together = 0
    while child.poll() is None:
        now = 0
        with suppress(psutil.Error):
            own = max(own, largest(root))
            below = root.children(recursive=True)
            compute = max([compute, *map(largest, below)])
            now = sum(p.memory_info().rss for p in (root, *below))
        together = max(together, now)
        time.sleep(LOOK_S)
    return own, compute, together


def process(recording: Path, minutes: float) -> Figures:
    """One cold run. Raises: SystemExit when it fails."""
    with tempfile.TemporaryDirectory(dir=recording.parents[1]) as folder:
        place = Path(folder)
        command = [
            *(sys.executable, "-m", "gs_video_report", "batch", "process"),
            *("-d", str(recording.parent)),
            *("--engine", "local", "--db", str(place / "tasks.db"), "-o", str(place / "reports")),
            *("--cache-dir", str(place / "cache"), "--progress", "none"),
        ]
        began = time.monotonic()
        with (place / "said").open("wb") as said:
            child = subprocess.Popen(command, cwd=place, stdout=said, stderr=said)
            own, compute, together = watch(child)
        wall_s = time.monotonic() - began
        if child.returncode != 0:
            told = (place / "said").read_text("utf-8", "replace")
            raise SystemExit(f"gsvr ended with {child.returncode}:\n{told}")
        slides, words = found(place / "reports")
    return Figures(
        round(minutes, 1), round(wall_s, 1), own / MB, compute / MB, together / MB, slides, words
    )


def found(reports: Path) -> tuple[int, int]:
    """Slides and words of the report, so that nobody is small by doing nothing."""
    texts = [json.loads(p.read_bytes()) for p in reports.rglob("*.json")]
    report = next(t for t in texts if "segments" in t)
    words = sum(len(s["text"].split()) for s in report["segments"])
    return len(report["slides"]), words


def show(figures: Figures) -> None:
    """One line."""
    print(
        f"{figures.minutes:6.1f} min in {figures.wall_s:.0f} s: coordinator "
        f"{figures.coordinator_mb:.0f} MB, largest compute process {figures.compute_mb:.0f} MB, "
        f"all together {figures.together_mb:.0f} MB; {figures.slides} slides, "
        f"{figures.words} words",
        flush=True,
    )


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--short", type=float, default=1 / 12, help="share of the length; 0: none")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="write the long recording here, too")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    lengths = [given.minutes * given.short] if given.short else []
    every: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in [*lengths, given.minutes]:
            recording = Path(folder) / "recordings" / "lecture.mp4"
            recording.parent.mkdir(exist_ok=True)
            made = make_recording(recording, minutes)
            for _ in range(given.rounds):
                every.append(process(recording, made))
                show(every[-1])
        if given.keep:
            given.keep.write_bytes(recording.read_bytes())
    print(f"load at the end {os.getloadavg()[0]:.1f}")
    if given.json:
        given.json.write_text(json.dumps([asdict(f) for f in every], indent=1), "utf-8")


if __name__ == "__main__":
    main()
