"""Every command that a page prints is run, as it is printed, in a small prepared course.

The course: three recordings with subtitles beside them (so nothing has to listen) and one file
that was broken when its batch ran and is whole now; lists, keys, a template; a keyring in memory;
and the servers of `tests/fakes` in the place of Gemini, OpenAI and the web. Names in the pages that
stand for something else (`7f3a`, `/tmp/fake`) are replaced by what they stand for here.
What cannot be run is in `NOT_RUN`, with its reason; of it at least the names are checked.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from gs_video_report import config_options
from gs_video_report.cli import app
from tests.fakes.gemini import KEY as GEMINI_KEY
from tests.fakes.gemini import FakeGemini
from tests.fakes.openai import KEY as OPENAI_KEY
from tests.fakes.openai import FakeOpenAI
from tests.fakes.web import WebServer
from tests.reliability.scene import fast_folder

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CLIP = ROOT / "tests" / "support" / "media" / "spoken_en_6s.mp4"
SUBTITLES = """1
00:00:00,500 --> 00:00:03,000
The moon goes round the earth in a month.

2
00:00:03,200 --> 00:00:06,000
The sea holds salt water and waves.
"""

# --- what the pages print ----------------------------------------------------------------------


def commands_of(text: str) -> Iterator[str]:
    """Commands of the fenced blocks: in `console` the lines after `$ `, in `bash` every line."""
    for kind, block in re.findall(r"^```(console|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if kind == "bash" or line.startswith("$ "):
                bare = shlex.join(shlex.split(line.removeprefix("$ "), comments=True))
                yield from (part for part in re.split(r" '?&&'? ", bare) if part)


def printed() -> list[str]:
    """Each command once, without comments."""
    return sorted({c for path in PAGES for c in commands_of(path.read_text("utf-8"))})


NOT_RUN = {
    "python3 -m venv": "makes a fresh environment; .ci/run does it",
    ". .venv/bin/activate": "changes the shell it runs in; .ci/run does it",
    "python3 -m pip install": "needs a package index; .ci/run does it",
    "pip install": "needs a package index; the extras are checked here",
    "python3 -m pytest": "is what runs this",
    "pytest": "is what runs this; options and files are checked here",
    "ruff": ".ci/run runs it",
    "mypy": ".ci/run runs it",
    "python3 scripts/": "writes into docs/; tests/cli/test_docs.py compares what it would write",
    "python benchmarks/": "takes minutes; its options are checked here",
    "python -m benchmarks.": "takes minutes; its options are checked here",
    "python -m tests.reliability": "takes minutes; its options are checked here",
    "gsvr batch process -d lectures --webhook": "tells an address that is not ours; "
    "tests/integration/test_webhook.py sends to one that is",
}
"""How a command begins -> why no test runs it."""


def reason_not_to_run(command: str) -> str | None:
    return next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


def gsvr_commands() -> list[str]:
    """Those to run; of commands that differ in a figure, a `./` or spaces only, one."""
    alike: dict[str, str] = {}
    for command in printed():
        if command.startswith("gsvr ") and not reason_not_to_run(command):
            alike.setdefault(re.sub(r"\./|[\d.]+$", "", command), command)
    return list(alike.values())


GSVR = gsvr_commands()
FAKES = [c for c in printed() if c.startswith("python -m tests.fakes.")]
EXPORTS = [c for c in printed() if c.startswith("export ")]


def test_every_command_is_run_or_has_a_reason_not_to() -> None:
    left = {c for c in printed() if not c.startswith("gsvr ")} - set(FAKES) - set(EXPORTS)
    assert [c for c in left | set(inline()) if not reason_not_to_run(c)] == []
    assert len(GSVR) > 40


@pytest.mark.parametrize("start", NOT_RUN)
def test_reason_not_to_run_is_of_a_command_that_is_printed(start: str) -> None:
    """In a block, or in a sentence or a table. Else it says of nothing that it is checked."""
    assert [c for c in (*printed(), *inline()) if c.startswith(start)]


def test_long_programs_and_runs_of_tests_are_found_to_be_checked() -> None:
    assert len(LONG) > 5
    kinds = {" ".join(shlex.split(command)[:3]) for command in inline()}
    assert {"pytest", "pytest -m slow", "python -m tests.reliability"} <= kinds


# --- gsvr --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Course:
    """The prepared folder, a copy of it, and what its commands are told."""

    folder: Path
    kept: Path
    batch: str
    environment: dict[str, str]


def invoke(words: list[str], typed: str | None = None) -> tuple[int, str]:
    """Exit code and both streams of a command in this process."""
    answer = CliRunner().invoke(app, words, input=typed)
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.exit_code, answer.output


def lay_out(folder: Path) -> None:
    """Recordings, lists, keys and a template, as the pages take them for granted."""
    for name in ("lectures/二分查找.mp4", "examples/talk.mp4", "lecture.mp4", "week01/intro.mp4",
                 "week01/lab.mkv"):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CLIP, path)
        path.with_suffix(".srt").write_text(SUBTITLES, encoding="utf-8")
    (folder / "lectures" / "broken.mp4").write_text("no video")
    (folder / "keys.txt").write_text(f"# ours\n{GEMINI_KEY}\n")
    pages = ROOT / "docs"
    rows = re.findall(
        r"^```csv\n(.*?)^```", (pages / "quickstart.md").read_text("utf-8"), re.M | re.S
    )
    (folder / "course.csv").write_text(rows[0], encoding="utf-8")
    notes = re.findall(
        r"^```yaml\n(.*?)^```", (pages / "templates.md").read_text("utf-8"), re.M | re.S
    )
    for place in ("my-templates", "xdg/gsvr/templates"):
        (folder / place).mkdir(parents=True)
        (folder / place / "seminar_notes.yaml").write_text(notes[0], encoding="utf-8")


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, str]]:
    """The servers, as the variables that lead to them."""
    with (
        FakeGemini(duration_s=7.0, polls=0) as gemini,
        FakeOpenAI(model_names=["gpt-5.4-mini", "fake-large"]) as openai,
        WebServer() as web,
    ):
        web.add("/talk.mp4", CLIP.read_bytes())
        yield {
            "GSVR_GEMINI_BASE_URL": gemini.url,
            "OPENAI_BASE_URL": openai.url,
            "ADDRESS": web.url("/talk.mp4"),
        }


SETTINGS = {
    "GSVR_SLIDES": "false",
    "GSVR_COMPUTE_PROCESSES": "1",
    "GSVR_DOWNLOAD_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
    "GSVR_OUTAGE_LIMIT": "1s",
    "NO_COLOR": "1",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory, where there is one: thirty batches wait for no disk."""
    if fast_folder() is None:
        yield tmp_path_factory.mktemp("course")
        return
    with tempfile.TemporaryDirectory(prefix="gsvr-pages-", dir=fast_folder()) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def course(services: dict[str, str], place: Path) -> Course:
    """A finished batch with one failed file, which is mended afterwards."""
    pytest.importorskip("av")
    folder = place / "work"
    lay_out(folder)
    for name in ("lectures.txt", "addresses.txt"):
        (folder / name).write_text(services["ADDRESS"] + "\n")
    environment = SETTINGS | services | {
        "XDG_CONFIG_HOME": str(folder / "xdg"), "XDG_CACHE_HOME": str(folder / "cache"),
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        code, said = invoke(["batch", "process", "-d", "./lectures", "--engine", "local"])
        assert code == 3, said
    found = re.search(r"gsvr batch retry (\w+) --failed", said)
    assert found is not None, said
    shutil.copy(CLIP, folder / "lectures" / "broken.mp4")
    (folder / "lectures" / "broken.srt").write_text(SUBTITLES, encoding="utf-8")
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    return Course(folder, kept, found[1], environment)


@pytest.fixture
def at_work(course: Course, monkeypatch: pytest.MonkeyPatch) -> Course:
    """The course as it was at first, as the working directory."""
    shutil.rmtree(course.folder)
    shutil.copytree(course.kept, course.folder)
    for name, value in course.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(course.folder)
    return course


@pytest.fixture
def ring() -> Iterator[None]:
    """A keyring in memory in the place of the system's."""
    keyring = pytest.importorskip("keyring")
    from tests.unit.test_keyring import MemoryRing

    before = keyring.get_keyring()
    keyring.set_keyring(MemoryRing())
    yield
    keyring.set_keyring(before)


STANDS_FOR = {
    "/tmp/fake": "fake",
    "/var/lib/node_exporter/": "./",
    "https://example.org/talk.mp4": "lecture.mp4",  # nothing is asked of the network
}
"""Places of the pages -> places in the course."""

EXIT_CODES = {
    "gsvr batch watch": (3,),
    "gsvr batch watch 7f3a --json": (3,),
    "gsvr batch resume latest": (3,),
    "gsvr batch process --resume-from latest": (3,),
    "gsvr doctor": (0, 1),  # 1 where something is missing, such as room on the disk
}
"""Those that do not end with 0: the batch has a failed file until it is told to retry."""


def keys_for(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment, as the page had them exported or stored before."""
    if "--engine gemini" in command and "--api-key-file" not in command:
        monkeypatch.setenv("GEMINI_API_KEY", GEMINI_KEY)
    if "openai" in command:
        monkeypatch.setenv("OPENAI_API_KEY", OPENAI_KEY)
    if "--model" not in command and "--engine openai" in command:
        monkeypatch.setenv("GSVR_OPENAI_MODEL", "fake-large")


def engine_is_chosen(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An own server would be taken by `auto`; the pages without --engine mean this machine."""
    if "--engine" not in command and re.match(r"gsvr (video|batch process)", command):
        monkeypatch.setenv("GSVR_ENGINE", "local")
    if "--resume-from" in command:
        monkeypatch.delenv("GSVR_ENGINE")


def sparing(commands: list[str]) -> list[Any]:
    """Every sixth of the whole batches runs by default, the others in the long form (`-m slow`)."""
    whole = [c for c in commands if re.match(r"gsvr (batch process|video) ", c)]
    late = {c for number, c in enumerate(whole) if number % 6}
    return [pytest.param(c, marks=pytest.mark.slow) if c in late else c for c in commands]


@pytest.mark.parametrize("command", sparing(GSVR))
def test_printed_commands_do_what_the_pages_say(
    command: str, at_work: Course, ring: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys_for(command, monkeypatch)
    engine_is_chosen(command, monkeypatch)
    here = command.replace("7f3a:3", "7f3a:2").replace("7f3a", at_work.batch)
    for place, other in STANDS_FOR.items():
        here = here.replace(place, other)
    before = contents(at_work.folder)
    code, said = invoke(shlex.split(here)[1:], typed="a-key-0123456789\n")
    assert code in EXIT_CODES.get(command, (0,)), said
    assert "Traceback" not in said
    made = {name for name, state in contents(at_work.folder).items() if before.get(name) != state}
    for start, end in promised(here):
        assert any(name.startswith(start) and name.endswith(end) for name in made), (said, made)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with the time of its change and its size."""
    files = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix(): (s.st_mtime_ns, s.st_size) for p, s in files}


def promised(command: str) -> list[tuple[str, str]]:
    """(beginning, end) of names of files that a command must write, by what it says itself."""
    files = []
    output = re.search(r" (?:-o|--output) (?:\./)?(\S+)", command)
    if re.match(r"gsvr (video|batch process)", command) and "--dry-run" not in command:
        if "--resume-from" not in command:  # nothing is left to do
            files.append((output[1] if output else "batch_output", ".json"))
    elif output:
        files.append((output[1], ""))
    named = re.search(r" --log-file (\S+)", command)
    return [*files, (named[1], "")] if named else files


# --- others ------------------------------------------------------------------------------------


def knock(address: str) -> int:
    """The status that a server answers with."""
    try:
        with urlopen(address, timeout=20) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


@pytest.mark.parametrize("command", FAKES)
def test_printed_servers_answer(command: str) -> None:
    words = re.sub(r"--port \d+", "--port 0", command).split()
    process = subprocess.Popen(
        [sys.executable, "-u", *words[1:]], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+[^\s]*", first)
        assert address is not None, first
        page = "/log" if "fakes.gemini" in command else ""
        assert knock(address[0] + page) in (200, 404)  # the base of an API is no page
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.mark.parametrize("command", EXPORTS)
def test_exported_variables_mean_something(command: str) -> None:
    name = command.removeprefix("export ").partition("=")[0]
    known = {v for o in config_options.OPTIONS for v in (o.variable, *o.variables)}
    assert name in known | {"GSVR_WEBHOOK_SECRET", "LANG"}


def _source_of(command: str) -> str:
    """The text of the program that a command starts."""
    words = command.split()
    at = ROOT / words[1]
    if words[1] == "-m":
        at = ROOT.joinpath(*words[2].split("."))
        at = at / "__main__.py" if at.is_dir() else at.with_suffix(".py")
    return at.read_text(encoding="utf-8")


LONG = [c for c in printed() if re.match(r"python (benchmarks/|-m (benchmarks\.|tests\.reli))", c)]


@pytest.mark.parametrize("command", LONG)
def test_options_of_the_long_programs_exist(command: str) -> None:
    source = _source_of(command)
    for option in re.findall(r" (--[a-z-]+)", command):
        assert f'"{option}"' in source, option


def test_extras_that_are_installed_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    text = "\n".join(path.read_text("utf-8") for path in PAGES)
    extras = {e for found in re.findall(r"(?:gs-video-report|\.)\[([a-z,]+)\]", text)
              for e in found.split(",")}  # fmt: skip
    assert {"local", "dev", "gemini", "openai", "download"} <= extras
    for extra in extras:
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


def inline() -> list[str]:
    """Runs of tests and of long programs that stand within the text or in a table."""
    text = "\n".join(path.read_text("utf-8") for path in PAGES)
    found = re.findall(r"`((?:pytest|python -m (?:tests|benchmarks)\.?)\b[^`\n]*)`", text)
    return sorted(set(found))


@pytest.mark.parametrize("command", inline())
def test_runs_of_tests_within_the_text_name_real_files_marks_and_options(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "python":
        source = _source_of(command)
        for option in re.findall(r" (--[a-z-]+)", command):
            assert f'"{option}"' in source, option
        return
    if "-m" in words:
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert f'"{words[words.index("-m") + 1]}:' in project
    for word in words:
        if word.startswith("tests/"):
            path, _, name = word.partition("::")
            assert (ROOT / path).exists(), word
            assert not name or f"def {name}(" in (ROOT / path).read_text("utf-8"), word
