"""Real `gsvr` processes on one database, one output folder and one cache, and what they left.

`small_library` makes recordings that cost little: a second long, with subtitles beside them or
with a tone that holds no speech, so that no speech model is loaded. Several of them share one
content or one base name on purpose.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability import shim

ROOT = Path(__file__).parents[2]
HOOK = Path(__file__).with_name("hook")
SLOWEST_RUN_S = 600.0
CHEAP = ("--no-ocr", "--formats", "md,json,srt", "--parallel", "3")
"""Flags for runs in which the speech and the letters do not matter."""

FULL = ("--formats", "md,json,html,srt,vtt", "--parallel", "2")
"""Flags for runs in which speech is heard, slides are read, and every kind of report is written."""


@dataclass
class Scene:
    """One place of work. `root` is made; `inputs` is shared between scenes."""

    root: Path
    inputs: Path
    extra: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    faults: shim.Faults | None = None

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    @property
    def output(self) -> Path:
        return self.root / "out"

    @property
    def database(self) -> Path:
        return self.root / "tasks.db"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs.txt"

    def command(self, *extra: str) -> list[str]:
        """The command that starts the batch, and goes on with it."""
        return [
            sys.executable, "-m", "gs_video_report", "batch", "process",
            "--input-dir", str(self.inputs), "--output", str(self.output),
            "--db", str(self.database), "--cache-dir", str(self.cache), "--progress", "none",
            *self.extra, *extra,
        ]  # fmt: skip

    def variables(self) -> dict[str, str]:
        """The environment of its processes."""
        base = {k: v for k, v in os.environ.items() if not k.startswith("GSVR_")}
        paths = [str(HOOK), str(ROOT), os.environ.get("PYTHONPATH", "")]
        own = {
            "HF_HUB_OFFLINE": "1",
            "JOBS_LOG": str(self.jobs),
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        }
        return shim.under(self.faults, base | own | self.environment)

    def start(self, *extra: str) -> subprocess.Popen[bytes]:
        """Start the batch in a session of its own; what it says goes to the log."""
        return self._popen(self.command(*extra))

    def finish(self, *extra: str) -> int:
        """Run to the end, undisturbed; the exit code."""
        return self.start(*extra).wait(timeout=SLOWEST_RUN_S)

    def gsvr(self, *words: str) -> int:
        """Another command on the same database; the exit code."""
        return self.command_on(*words).wait(timeout=SLOWEST_RUN_S)

    def command_on(self, *words: str, on_database: bool = True) -> subprocess.Popen[bytes]:
        """Start another command, on the same database if it takes one."""
        where = ("--db", str(self.database)) if on_database else ()
        return self._popen([sys.executable, "-m", "gs_video_report", *words, *where])

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self.variables(),
            )

    def said(self) -> str:
        """All that its processes have printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def jobs_run(self) -> Counter[tuple[str, str]]:
        """(job, path below the inputs or key of a picture) -> how often it was started."""
        lines = (
            self.jobs.read_text(errors="surrogateescape").splitlines() if self.jobs.exists() else []
        )
        pairs = (line.partition(" ")[::2] for line in lines)
        return Counter((name, Path(path).name) for name, path in pairs)


def end(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
    """Signal the whole process group and wait for its leader."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    process.wait(timeout=SLOWEST_RUN_S)


def fast_folder() -> Path | None:
    """Where files cost no disk: memory, if the machine has such a place; None is anywhere."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and os.access(memory, os.W_OK) else None


def fake_model(folder: Path) -> Path:
    """A folder that passes for a speech model until somebody speaks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(b"no weights")
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def small_library(folder: Path, talks: int = 6) -> Path:
    """`talks` recordings of a second, one of them silent in three, and one file that is none."""
    from tests.support.media_speech import media_file, tones

    weeks = ("week1", "week2")
    for number in range(talks):
        place = folder / weeks[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{number // 2:02} talk.mp4"
        media_file(
            path, sounds=[tones(1)], video_s=0.8, fps=5, metadata={"title": f"Talk {number}"}
        )
        if number % 3:
            path.with_suffix(".srt").write_text(_subtitles(number), encoding="utf-8")
    shutil.copy(folder / "week1" / "00 talk.mp4", folder / "again.mp4")
    (folder / "broken.mp4").write_bytes(b"not a video at all")
    return folder


def spoken_library(folder: Path) -> Path:
    """Two recordings with a voice and slides, of some seconds: English, Chinese."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("spoken_en_6s.mp4", "spoken_zh_5s.mp4"):
        shutil.copy(ROOT / "tests" / "support" / "media" / name, folder)
    return folder


def _subtitles(number: int) -> str:
    words = ("rivers", "planets", "engines", "letters", "bridges")
    cues = (
        f"{n + 1}\n00:00:00,{n * 180:03} --> 00:00:00,{n * 180 + 150:03}\n"
        f"Talk {number} has a sentence about {word}.\n"
        for n, word in enumerate(words)
    )
    return "\n".join(cues)


# --- outputs -----------------------------------------------------------------------------------

_RUN_HTML = re.compile(
    rb'<time data-run[^>]*>.*?</time>|"run":\s*\{[^{}]*(\{[^{}]*\})?[^{}]*\}', re.S
)
_CREATED = re.compile(rb"(?m)^created: .*$")


def outputs(scene: Scene) -> dict[str, bytes]:
    """Every file of a report without its run-time fields, by name below the output folder.

    The pages of a batch at the top are left out: they carry the batch's id and times.
    """
    return {
        path.relative_to(scene.output).as_posix(): without_run(path, scene)
        for path in sorted(scene.output.rglob("*"))
        if path.is_file() and path.parent != scene.output and not path.name.startswith(".gsvr-")
    }


def without_run(path: Path, scene: Scene) -> bytes:
    """The content with everything that may differ between two runs taken out."""
    data = path.read_bytes()
    way = os.path.relpath(scene.inputs, path.parent)
    for place, word in ((way, b"INPUTS"), (str(scene.root), b"ROOT")):
        data = data.replace(place.encode(), word)
    if path.suffix == ".json":
        value = json.loads(data)
        value.get("provenance", {}).pop("run", None)
        return json.dumps(value, sort_keys=True).encode()
    if path.suffix == ".md":
        return _CREATED.sub(b"", data)
    return _RUN_HTML.sub(b"", data) if path.suffix == ".html" else data
