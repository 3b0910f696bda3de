"""The commented configuration file that `gsvr config init` writes, made from the option table."""

from __future__ import annotations

import textwrap

from gs_video_report.config_options import (
    ENGINE_SECTIONS,
    OPTIONS,
    SECTIONS,
    Affects,
    Kind,
    Option,
)
from gs_video_report.config_parse import format_bound, format_value

_HEADINGS = {
    Affects.RESULTS: "What the reports say, and where they go",
    Affects.EXECUTION: "How the work is done",
    Affects.PLACE: "Where things are kept",
    Affects.DISPLAY: "What is shown",
}
_INTRO = """\
# Configuration of gsvr. To change an option, remove the # before its line; the values shown
# are the defaults. A flag or a GSVR_* variable wins over this file. Relative paths are taken
# from this file's folder. To see what is in force and why: gsvr config show --origin
"""
_WIDTH = 96


def config_template() -> str:
    """A configuration file in which every option is commented out."""
    parts = [_INTRO]
    for affects, heading in _HEADINGS.items():
        parts.append(f"\n# --- {heading} ---\n")
        chosen = (o for o in OPTIONS if o.affects is affects and not o.section)
        parts.extend("\n" + _entry(option, "") for option in chosen)
    for section in SECTIONS:
        heading = f"Engine {section}" if section in ENGINE_SECTIONS else section.capitalize()
        parts.append(f"\n# --- {heading} ---\n\n#{section}:\n")
        parts.extend(_entry(option, "  ") for option in OPTIONS if option.section == section)
    return "".join(parts)


def _entry(option: Option, indent: str) -> str:
    lines = textwrap.wrap(option.help, _WIDTH) + textwrap.wrap(_remark(option), _WIDTH)
    comment = "".join(f"# {indent}{line}\n" for line in lines)
    word = option.word.rpartition(".")[2]
    return f"{comment}#{indent}{word}: {_value(option)}\n"


def _remark(option: Option) -> str:
    """Choices or bounds, flag and variable."""
    parts: list[str] = []
    if option.choices:
        parts.append(" | ".join(option.choices))
    elif option.low is not None or option.high is not None:
        parts.append(f"{format_bound(option, option.low)} to {format_bound(option, option.high)}")
    parts.append(", ".join(filter(None, (option.flag_text, option.variable))))
    return "; ".join(parts)


def _value(option: Option) -> str:
    if option.kind is Kind.LIST and option.default is not None:
        return f"[{', '.join(option.default)}]"
    text = format_value(option, option.default)
    return f'"{text}"' if option.kind is Kind.PATTERN else text
