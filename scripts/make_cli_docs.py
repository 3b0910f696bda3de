"""Make `docs/cli.md` from the commands themselves.

    python scripts/make_cli_docs.py [TARGET]

Everything in the page is what `--help` prints: it is read from the same command objects. A test
makes the page again and compares, and holds it against the help on the screen.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

from gs_video_report.cli import app
from gs_video_report.errors import ExitCode

TARGET = Path(__file__).parents[1] / "docs" / "cli.md"
PANELS = ("Arguments", "Options", "Input", "Output", "Execution", "Limits", "Display")
"""Order in which the groups of options are shown."""
INTRO = """# Commands

<!-- Made by scripts/make_cli_docs.py; do not edit by hand. -->

Every command with every option, as `--help` prints it. Options that are also settings can be
written into a file or an environment variable: see [configuration](configuration.md).
"""
SHELL = """
## Completion

`gsvr --install-completion` completes commands, options and the ids of batches with the Tab key;
`gsvr --show-completion` prints the script instead of installing it.
"""


def commands() -> Iterator[tuple[str, Any]]:
    """(`gsvr batch process`, command) of every command that does something, in help order."""
    yield from _walk("gsvr", typer.main.get_command(app))


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, below in command.commands.items():
        yield from _walk(f"{path} {name}", below)


def page() -> str:
    """The whole page."""
    found = sorted(commands(), key=_place)  # a stable sort: within a group the help's own order
    parts = [INTRO, _overview(found)]
    parts += [_section(path, command) for path, command in found]
    parts += [SHELL, _exit_codes()]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _place(entry: tuple[str, Any]) -> int:
    """Running first, setting up last."""
    groups = ("gsvr video", "gsvr batch", "gsvr doctor", "gsvr templates", "gsvr config")
    return next((i for i, group in enumerate(groups) if entry[0].startswith(group)), len(groups))


def _overview(found: list[tuple[str, Any]]) -> str:
    rows = ["| command | what it does |", "|---|---|"]
    for path, command in found:
        anchor = path.replace(" ", "-")
        rows.append(f"| [`{path}`](#{anchor}) | {_cell(plain(command.help).splitlines()[0])} |")
    return "\n".join(rows)


def _section(path: str, command: Any) -> str:
    lines = [f"## {path}", "", *_prose(command.help)]
    lines += ["", "```text", f"{path} {usage(command)}".rstrip(), "```"]
    for panel, params in _panels(command):
        lines += ["", f"| {panel.lower()} | |", "|---|---|"]
        lines += [f"| {_names(p)} | {_cell(help_of(p))} |" for p in params]
    if command.epilog:
        lines += ["", plain(command.epilog)]
    return "\n".join(lines)


def _prose(text: str) -> list[str]:
    """The help text; its indented examples become one block of commands."""
    out: list[str] = []
    commands = [line.strip() for line in plain(text).splitlines() if line.startswith("  ")]
    for line in plain(text).splitlines():
        if line.startswith("  "):
            if commands:
                out += ["```console", *(f"$ {c}" for c in commands), "```"]
                commands = []
        elif line or (out and out[-1] != ""):
            out.append(re.sub(r"^(Examples?)$", r"\1:", line))
    return [line for i, line in enumerate(out) if line or (i and out[i - 1] != "")]


def usage(command: Any) -> str:
    """`[OPTIONS] FILE`, as the first line of the help shows it."""
    names = [(p.metavar or p.name, p.required) for p in command.params if _is_argument(p)]
    return " ".join(["[OPTIONS]", *(n if needed else f"[{n}]" for n, needed in names)])


def _panels(command: Any) -> list[tuple[str, list[Any]]]:
    found: dict[str, list[Any]] = {}
    for param in command.params:
        default = "Arguments" if _is_argument(param) else "Options"
        found.setdefault(getattr(param, "rich_help_panel", None) or default, []).append(param)
    return sorted(found.items(), key=lambda entry: PANELS.index(entry[0]))


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _names(param: Any) -> str:
    if _is_argument(param):
        return f"`{param.metavar or param.name}`"
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    return f"{names} {param.metavar}" if param.metavar and not param.is_flag else names


def help_of(param: Any) -> str:
    """The help of one option or argument, with its default where the help shows one."""
    text = plain(param.help or "")
    shown = param.show_default and param.default not in (None, False, "")
    return f"{text} [default: {param.default}]" if shown else text


def plain(text: str) -> str:
    """Help text without markup."""
    return re.sub(r"\[/?(bold|dim)\]", "", text).replace("\\[", "[").strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _exit_codes() -> str:
    rows = ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    return "\n".join(rows + [f"| {int(code)} | {_meaning(code)} |" for code in ExitCode])


def _meaning(code: ExitCode) -> str:
    """The text that stands below the code in `errors.py`."""
    import ast
    import inspect

    body = ast.parse(inspect.getsource(ExitCode)).body[0].body  # type: ignore[attr-defined]
    texts = {
        first.targets[0].id: second.value.value
        for first, second in pairwise(body)
        if isinstance(first, ast.Assign) and isinstance(second, ast.Expr)
    }
    return str(texts[code.name])


def main() -> None:
    """Write the page."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
