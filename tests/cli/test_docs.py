"""The documentation is true: pages made from the program are up to date, commands in it work,
names in it exist, examples in it give what is printed there.

After a change of commands, options or template variables::

    python scripts/make_cli_docs.py && python scripts/make_table_docs.py
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import importlib.util
import json
import re
import shlex
import shutil
import struct
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner

from gs_video_report import errors, webhook
from gs_video_report.batch.data_models import (
    BATCH_TRANSITIONS,
    STAGES,
    TASK_TRANSITIONS,
    BatchCounts,
    BatchResult,
    BatchStatus,
)
from gs_video_report.batch.run.webhook import message_of
from gs_video_report.batch.sql import schema
from gs_video_report.cli import app
from gs_video_report.config import load_config
from gs_video_report.engines import registry
from gs_video_report.errors import ExitCode
from gs_video_report.media.web.net_guard import NetPolicy
from gs_video_report.templates import loader

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "gs_video_report"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MEDIA = ROOT / "tests" / "support" / "media"
NOT_YET: set[Path] = set()
"""Pages that are linked before they are written."""


def script(name: str) -> ModuleType:
    """A file of `scripts/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, kind: str) -> list[str]:
    """Fenced blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


# --- commands ----------------------------------------------------------------------------------


def test_the_page_of_commands_is_the_help_of_the_program() -> None:
    made = script("make_cli_docs").page()
    assert page("docs/cli.md") == made, "run scripts/make_cli_docs.py"


def live_commands() -> list[Any]:
    return list(script("make_cli_docs").commands())


def screen_help(path: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `--help` shows on a wide screen."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERMINAL_WIDTH", "400")
    answer = CliRunner().invoke(app, [*path.split()[1:], "--help"])
    assert answer.exit_code == 0
    return answer.output


@pytest.mark.parametrize("path", [path for path, _ in live_commands()])
def test_every_option_of_the_page_is_in_the_help_on_the_screen(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = script("make_cli_docs")
    command = dict(docs.commands())[path]
    screen = _flat(screen_help(path, monkeypatch))
    assert _flat(f"Usage: {path} {docs.usage(command)}") in screen
    for param in command.params:
        for name in (*getattr(param, "opts", ()), *getattr(param, "secondary_opts", ())):
            assert name in screen, f"{path} {name}"
        assert _flat(docs.help_of(param)) in screen, f"{path} {param.name}"


def _flat(text: str) -> str:
    """Words only: no frames, no line breaks, no braces, no defaults."""
    text = re.sub(r"\s*\[default: [^]]*\]", "", text)
    words = " ".join(re.sub(r"[│╭╮╰╯─{}\[\]]", " ", text).split())
    return words.replace(" .", ".")


def test_defaults_can_be_read_in_the_help_on_the_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes `[default: 4]` in a help text for markup and leaves it out."""
    assert "(default: 4)" in screen_help("gsvr batch process", monkeypatch)


def printed_commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every `gsvr` command in a block of commands, comments left out."""
    found = []
    for path in PAGES:
        for block in blocks(path.read_text(encoding="utf-8"), "(?:console|bash)"):
            for line in block.splitlines():
                for part in line.removeprefix("$ ").split(" && "):
                    words = shlex.split(part, comments=True)
                    if words[:1] == ["gsvr"]:
                        found.append((path.name, words[1:]))
    return found


def test_commands_are_found_in_the_pages() -> None:
    pages = {name for name, _ in printed_commands()}
    assert {"README.md", "README.zh-CN.md", "quickstart.md", "cli.md", "templates.md"} <= pages
    assert len(printed_commands()) > 30


@pytest.mark.parametrize(
    "words", sorted({tuple(words) for _, words in printed_commands()}), ids=" ".join
)
def test_every_printed_command_can_be_parsed(words: tuple[str, ...]) -> None:
    command, rest = typer.main.get_command(app), list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        command = command.commands[rest.pop(0)]
    with contextlib.suppress(typer.Exit):  # --help, --version
        command.make_context("gsvr", rest)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages take for granted: recordings, a list, a template, a database."""
    folder = tmp_path / "work"
    (folder / "lectures").mkdir(parents=True)
    shutil.copy(MEDIA / "spoken_en_6s.mp4", folder / "lectures" / "lecture.mp4")
    (folder / "examples").symlink_to(ROOT / "examples")
    shutil.copy(ROOT / "batch_tasks.db.example", folder / "batch_tasks.db")
    (folder / "my-templates").mkdir()
    (folder / "my-templates" / "seminar_notes.yaml").write_text(
        blocks(page("docs/templates.md"), "yaml")[0], encoding="utf-8"
    )
    (folder / "course.csv").write_text(blocks(page("docs/quickstart.md"), "csv")[0])
    for name in ("week01/intro.mp4", "week01/lab.mkv"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(MEDIA / "spoken_en_6s.mp4", folder / name)
    monkeypatch.chdir(folder)
    return folder


def test_the_list_of_the_quickstart_is_read(workplace: Path) -> None:
    answer = CliRunner().invoke(app, ["batch", "process", "-f", "course.csv", "--dry-run"])
    assert answer.exit_code == 0, answer.output
    assert "not taken" not in answer.output
    assert "week01/lab.mkv" in answer.output


def test_both_front_pages_start_with_the_same_two_commands() -> None:
    make = "gsvr batch process --input-dir examples --output reports"
    expected = [
        f'python3 -m pip install ".[local]" && {make}\n',
        'python3 -m pip install -e ".[dev]" && python3 -m pytest\n',
    ]
    assert blocks(page("README.md"), "bash")[:2] == expected
    assert blocks(page("README.zh-CN.md"), "bash")[:2] == expected


@pytest.mark.parametrize("name", ["docs/quickstart.md", "docs/cli.md"])
def test_every_exit_code_is_told(name: str) -> None:
    table = page(name).partition("| code | meaning |")[2]
    first = [row.split("|")[1] for row in table.splitlines() if row.startswith("| ")]
    assert {int(code) for cell in first for code in cell.split(",")} == set(ExitCode)


# --- options and templates ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["configuration.md", "engines.md", "templates.md"])
def test_tables_are_those_of_the_program(name: str) -> None:
    text = page(f"docs/{name}")
    assert "<!-- begin: " in text
    assert text == script("make_table_docs").filled(text), "run scripts/make_table_docs.py"


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    text = blocks(page("docs/configuration.md"), "yaml")[0]
    (tmp_path / "gsvr.yaml").write_text(text)
    config = load_config({}, cwd=tmp_path)
    for line in text.splitlines():
        assert config.origin(line.partition(":")[0]).rank == "project file"


@pytest.mark.parametrize("number", range(len(blocks(page("docs/engines.md"), "yaml"))))
def test_the_examples_of_engines_are_valid(number: int, tmp_path: Path) -> None:
    text = blocks(page("docs/engines.md"), "yaml")[number]
    (tmp_path / "gsvr.yaml").write_text(text)
    config = load_config({}, env={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert config.files == (tmp_path / "gsvr.yaml",)
    for engine in ("gemini", "openai"):
        registry.make(engine, {"engine_options": config.engine_options(engine)})
    NetPolicy(tuple(config.download_options().get("allow_private_hosts", ())))


def test_the_example_of_a_webhook_takes_our_signature_and_no_other() -> None:
    space: dict[str, Any] = {}
    exec(blocks(page("docs/engines.md"), "python")[0], space)
    body, is_genuine = '{"name": "第一讲"}'.encode(), space["is_genuine"]
    assert is_genuine(body, webhook.signature(body, "s3cret"), "s3cret")
    assert not is_genuine(body + b" ", webhook.signature(body, "s3cret"), "s3cret")
    assert not is_genuine(body, webhook.signature(body, "other"), "s3cret")
    assert not is_genuine(body, "", "s3cret")


def test_the_message_of_a_webhook_is_told_field_by_field() -> None:
    told = json.loads(blocks(page("docs/engines.md"), "json")[0])
    result = BatchResult("7f3a91c2", BatchStatus.COMPLETED, BatchCounts(), 0, 1.0)
    sent = message_of(result, "lectures", None)
    assert list(told) == list(sent)
    assert set(told["counts"]) == {f.name for f in dataclasses.fields(BatchCounts)}


def test_the_ranks_of_the_configuration_are_told_in_their_order() -> None:
    text = page("docs/configuration.md")
    told = ["**flag**", "**environment variable**", "`--config FILE`", "**project file**"]
    places = [text.index(word) for word in (*told, "**user file**", "6. the default")]
    assert places == sorted(places)


def test_the_example_template_gives_the_printed_note() -> None:
    from gs_video_report.report.markdown import to_markdown
    from tests.support.reports import friendly

    text = page("docs/templates.md")
    data = blocks(text, "yaml")[0].encode()
    template = loader.parse_template(data, "seminar_notes.yaml", "seminar_notes")
    assert to_markdown(friendly(), template) == blocks(text, "markdown")[0]
    assert loader.render_prompt(template, {}) == ""


def test_every_key_of_a_template_is_told() -> None:
    table = page("docs/templates.md").partition("## Keys of the file")[2].partition("##")[0]
    keys = re.findall(r"^\| `(\w+)` \| (yes|no) \|", table, re.MULTILINE)
    assert {key for key, _ in keys} == set(loader._KEYS)
    assert {key for key, needed in keys if needed == "yes"} == {"version", "title"}
    for key in loader._SECTION_KEYS:
        assert f"`{key}`" in table


def test_the_filters_of_a_template_are_told() -> None:
    from gs_video_report.templates.sandbox import _KEPT_FILTERS

    told = re.search(r"the filters `([a-z\s]+)`", page("docs/templates.md"))
    assert told is not None
    assert set(told[1].split()) == set(_KEPT_FILTERS) - {"d"}  # `d` is `default`


# --- errors ------------------------------------------------------------------------------------

SECTIONS: dict[str, type[errors.GsvrError]] = {
    "Tried again by itself": errors.RetryableError,
    "The video fails, the others go on": errors.PermanentError,
    "The batch stops, and can be resumed": errors.FatalError,
    "Paused by a limit": errors.LimitReached,
    "The command was wrong": errors.UsageError,
}
"""All others stand under "Faults"."""


def test_every_error_code_has_its_entry_in_the_right_place() -> None:
    text = page("docs/troubleshooting.md").partition("## Error codes")[2]
    told: dict[str, str] = {}
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title = section.splitlines()[0]
        for code, cells in re.findall(r"^\| `(E_\w+)` \|(.*)\|$", section, re.MULTILINE):
            assert code not in told, f"{code} is there twice"
            assert len([c for c in cells.split("|") if c.strip()]) == 3, f"{code}: an empty cell"
            told[code] = title
    kinds = all_kinds_of_errors()
    assert told.keys() - kinds.keys() == set(), "there are no such codes"
    assert kinds.keys() - told.keys() == set(), "give these codes an entry in the page"
    for code, title in told.items():
        assert title == _section_of(kinds[code]), f"{code} stands in the wrong place"


def all_kinds_of_errors() -> dict[str, type[errors.GsvrError]]:
    """By code; also those that stand beside the code that raises them."""
    for path in SRC.rglob("*.py"):
        if re.search(r'^    code = "E_', path.read_text(encoding="utf-8"), re.MULTILINE):
            parts = path.relative_to(SRC.parent).with_suffix("").parts
            importlib.import_module(".".join(parts))
    return errors._by_code()


def _section_of(kind: type[errors.GsvrError]) -> str:
    return next((title for title, family in SECTIONS.items() if issubclass(kind, family)), "Faults")


# --- architecture ------------------------------------------------------------------------------


def _drawn(index: int) -> dict[str, set[str]]:
    """Transitions of a state diagram: old -> new states."""
    diagrams = [b for b in blocks(page("docs/architecture.md"), "mermaid") if "stateDiagram" in b]
    found: dict[str, set[str]] = {}
    for old, new in re.findall(r"^\s+(\w+) --> (\w+)$", diagrams[index], re.MULTILINE):
        found.setdefault(old, set()).add(new)
    return found


def test_the_drawn_states_are_the_tables_of_transitions() -> None:
    assert _drawn(0) == {str(o): {str(n) for n in news} for o, news in TASK_TRANSITIONS.items()}
    assert _drawn(1) == {str(o): {str(n) for n in news} for o, news in BATCH_TRANSITIONS.items()}


def test_every_move_of_a_task_is_explained() -> None:
    table = page("docs/architecture.md").partition("| move | when |")[2].partition("\n\n")[0]
    told = set()
    for row in table.splitlines()[2:]:
        olds: list[str] = []
        for part in row.split("|")[1].split(","):
            old, arrow, new = (word.strip() for word in part.partition("→"))
            olds.append(old)
            if arrow:
                told |= {(state, new) for state in olds}
                olds = []
    assert told == {(str(o), str(n)) for o, news in TASK_TRANSITIONS.items() for n in news}


def test_every_table_of_the_database_is_told() -> None:
    section = page("docs/architecture.md").partition("## The database")[2].partition("\n## ")[0]
    told = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(told) == sorted(re.findall(r"CREATE TABLE (\w+)", schema()))


def test_stages_steps_and_modules_are_those_of_the_code() -> None:
    from gs_video_report.engines.steps import STEP_VERSIONS

    text = page("docs/architecture.md")
    assert ", ".join(f"`{stage}`" for stage in STAGES) in text
    steps = text.partition("## The step journal")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", steps, re.MULTILINE)) == set(STEP_VERSIONS)
    inside = text.partition("### Inside `batch/`")[2].partition("\n## ")[0]
    told = set(re.findall(r"`(?:\w+/)?(\w+)/?`", inside)) | {"data_models", "__init__"}
    assert {p.stem for p in (SRC / "batch").rglob("*.py")} <= told, "name the new modules there"


PURE_OF_BATCH = {"data_models", "progress.snapshot", "progress.eta", "limiter.models"}
"""Values and arithmetic that other packages may use."""


def _imports(path: Path, *, top: bool) -> Iterator[str]:
    """Modules that a file imports; with `top`, only those imported when it is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(tree.body) if top else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_point_one_way() -> None:
    for package in ("compute", "media", "text", "templates", "engines", "report", "terminal"):
        allowed = PURE_OF_BATCH if package in ("report", "terminal", "engines") else set()
        for path in (SRC / package).rglob("*.py"):
            for module in _imports(path, top=False):
                inside = module.removeprefix("gs_video_report.batch.")
                used = inside == module or any(f"{inside}.".startswith(f"{a}.") for a in allowed)
                assert used, f"{path.name} imports {module}"


def _room(module: str, package: str) -> str | None:
    """The folder of `package` in which a module lies, or the module's own name."""
    inside = module.removeprefix(f"gs_video_report.{package}.")
    return None if inside == module else inside.split(".")[0]


@pytest.mark.parametrize("package", ["batch", "media", "engines"])
def test_folders_within_a_package_import_one_way(package: str) -> None:
    uses: dict[str, set[str]] = {}
    for path in (SRC / package).rglob("*.py"):
        room = path.relative_to(SRC / package).parts[0].removesuffix(".py")
        found = {_room(module, package) for module in _imports(path, top=False)}
        uses.setdefault(room, set()).update(found - {None, room})  # type: ignore[arg-type]
    assert sum(map(len, uses.values())) > 10
    list(TopologicalSorter(uses).static_order())  # raises CycleError


def test_heavy_packages_are_imported_inside_functions() -> None:
    heavy = {"av", "numpy", "cv2", "faster_whisper", "onnxruntime", "rapidocr", "openpyxl",
             "jinja2"}  # fmt: skip
    for path in SRC.rglob("*.py"):
        for module in _imports(path, top=True):
            assert module.partition(".")[0] not in heavy, f"{path.name} imports {module}"


# --- names, links, pictures --------------------------------------------------------------------


def test_every_test_that_a_page_names_exists() -> None:
    named = [
        (path.name, found)
        for path in PAGES
        for found in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", path.read_text("utf-8"))
    ]
    assert len(named) > 60
    for where, (file, test) in named:
        assert (ROOT / file).is_file(), f"{where}: {file}"
        if test:
            names = {
                node.name
                for node in ast.walk(ast.parse(page(file)))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            assert test in names, f"{where}: {file}::{test}"


def test_every_link_leads_somewhere() -> None:
    for path in PAGES:
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            found = (path.parent / file).resolve() if file else path
            assert found.exists() or found in NOT_YET, f"{path.name}: {target}"
            if anchor:
                assert anchor in _anchors(found), f"{path.name}: {target}"


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def test_files_that_the_pages_name_exist() -> None:
    for path in PAGES:
        for name in re.findall(r"`(scripts/\w+\.py|\.ci/run)`", path.read_text("utf-8")):
            assert (ROOT / name).is_file(), f"{path.name}: {name}"


def test_the_terminal_picture_is_drawn_by_the_program_and_needs_no_network() -> None:
    drawing = script("make_terminal_picture")
    rows = drawing.screen_of(drawing.Film().play())
    assert rows[0].plain.startswith("$ gsvr batch process")
    assert all(row.cell_len <= drawing.COLUMNS for row in rows)
    committed = page("docs/images/terminal.svg")
    ElementTree.fromstring(committed)
    assert re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?https?:", committed) == []
    shown = re.sub(r"<[^>]+>", "", committed)
    for word in ("week03/02-optimisers.mp4", "第二讲：梯度下降", "Ctrl-C"):
        assert word in shown


@pytest.mark.parametrize("name", ["report.png", "report.zh-CN.png"])
def test_the_pictures_of_a_report_are_small_and_whole(name: str) -> None:
    data = (ROOT / "docs" / "images" / name).read_bytes()
    assert len(data) < 400_000
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1400, 900)
    assert data[-8:-4] == b"IEND"
