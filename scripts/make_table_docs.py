"""Fill the tables of `configuration.md`, `engines.md` and `templates.md` from the program itself.

    python scripts/make_table_docs.py

A table stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`; everything else in the
pages is written by hand and stays. A test makes the tables again and compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from gs_video_report.config_options import (
    ENGINE_SECTIONS,
    OPTIONS,
    SECTIONS,
    Affects,
    Kind,
    Option,
)
from gs_video_report.config_parse import format_bound, format_value
from gs_video_report.config_text import _HEADINGS
from gs_video_report.engines.llm.prices import ModelPrice, Period, load_prices
from gs_video_report.engines.registry import ENGINES
from gs_video_report.templates.loader import (
    LAYOUT_VARIABLES,
    PROMPT_VARIABLES,
    list_templates,
)

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("configuration.md", "engines.md", "templates.md")


# --- options -----------------------------------------------------------------------------------


def options() -> str:
    """Every option that this version can use, grouped by what a change of it changes."""
    parts = []
    for affects in Affects:
        chosen = [o for o in OPTIONS if o.affects is affects and not o.section and _used(o)]
        parts.append(f"### {_HEADINGS[affects]}\n\n{_options_table(chosen)}")
    for section in SECTIONS:
        if section in ENGINE_SECTIONS and section not in ENGINES:
            continue
        heading = f"Engine {section}" if section in ENGINE_SECTIONS else section.capitalize()
        chosen = [o for o in OPTIONS if o.section == section]
        parts.append(f"### {heading}\n\nBelow `{section}:` in a file.\n\n{_options_table(chosen)}")
    return "\n\n".join(parts)


def _options_table(chosen: Iterable[Option]) -> str:
    rows = ["| option | default | value | flag, variable |", "|---|---|---|---|"]
    for option in chosen:
        cells = (
            f"`{option.word.rpartition('.')[2]}`",
            _default(option),
            _cell(option.help) + _value(option),
            _ways(option),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _used(option: Option) -> bool:
    """Keys are for remote engines only."""
    return option.name != "keys_file" or any(s in ENGINES for s in ENGINE_SECTIONS)


def _default(option: Option) -> str:
    return "not set" if option.default is None else f"`{format_value(option, option.default)}`"


def _value(option: Option) -> str:
    """Choices or bounds, in italics after the help."""
    choices = _choices(option)
    if choices:
        return f" *One of {', '.join(choices)}.*" if option.kind is Kind.CHOICE else ""
    if option.low is None and option.high is None:
        return ""
    return f" *{format_bound(option, option.low)} to {format_bound(option, option.high)}.*"


def _choices(option: Option) -> tuple[str, ...]:
    """Without engines that this version does not have."""
    if option.name != "engine":
        return option.choices
    return tuple(c for c in option.choices if c == "auto" or c in ENGINES)


def _ways(option: Option) -> str:
    flag = option.flag_text
    no = f"--no-{flag.removeprefix('--')}" if flag and option.kind is Kind.BOOL else ""
    names = (flag, no, option.variable, *option.variables)
    return "<br>".join(f"`{name}`" for name in names if name)


# --- templates ---------------------------------------------------------------------------------


def shipped() -> str:
    """The templates that come with the program."""
    rows = ["| name | language | for |", "|---|---|---|"]
    rows += [f"| `{t.name}` | {t.language} | {_cell(t.description)} |" for t in list_templates()]
    return "\n".join(rows)


def prompt_variables() -> str:
    """What a prompt may use."""
    return _variables(PROMPT_VARIABLES)


def layout_variables() -> str:
    """What a layout may use."""
    return _variables(LAYOUT_VARIABLES)


def _variables(known: dict[str, str]) -> str:
    rows = ["| variable | holds |", "|---|---|"]
    return "\n".join(rows + [f"| `{name}` | {_cell(text)} |" for name, text in known.items()])


# --- prices ------------------------------------------------------------------------------------


def prices() -> str:
    """The shipped table of prices, one row a model and period."""
    table = load_prices()
    rows = [
        f"As of {table.as_of}; US dollars per million tokens.",
        "",
        "| model | input | output | remarks |",
        "|---|---|---|---|",
    ]
    known: dict[str, ModelPrice] = {price.model: price for price in table.models.values()}
    for name, price in known.items():
        also = [n for n, p in table.models.items() if p is price and n != name]
        rows += [_price_row(price, period, also) for period in price.periods]
    return "\n".join(rows)


def _price_row(price: ModelPrice, period: Period, also: list[str]) -> str:
    rates = period.rates
    remarks = [f"also {', '.join(f'`{n}`' for n in also)}"] if also else []
    if period.until is not None:
        remarks.append(f"until {period.until}")
    elif len(price.periods) > 1:
        remarks.append("afterwards")
    if rates.per_second:
        remarks.append(f"${rates.per_second * 60:.4g} a minute of sound")
        return f"| `{price.model}` | - | - | {'; '.join(remarks)} |"
    if rates.audio is not None:
        remarks.append(f"sound {rates.audio:.2f}")
    if period.above is not None and period.long is not None:
        long = f"{period.long.tokens_in:.2f} and {period.long.tokens_out:.2f}"
        remarks.append(f"{long} for requests above {period.above:,} tokens")
    cells = (f"`{price.model}`", f"{rates.tokens_in:.2f}", f"{rates.tokens_out:.2f}")
    return f"| {' | '.join(cells)} | {'; '.join(remarks)} |"


# --- pages -------------------------------------------------------------------------------------

TABLES: dict[str, Callable[[], str]] = {
    "options": options,
    "templates": shipped,
    "prompt variables": prompt_variables,
    "layout variables": layout_variables,
    "prices": prices,
}
_PLACE = re.compile(r"(<!-- begin: ([a-z ]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def filled(text: str) -> str:
    """The page with its tables made anew. Raises: KeyError for a table that does not exist."""
    return _PLACE.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n\n{m[3]}", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").strip()


def main() -> None:
    """Fill every page."""
    for name in PAGES:
        path = DOCS / name
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
