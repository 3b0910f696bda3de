"""Option types shared by the commands: flag, help and panel of each, once.

Every default is None: "not given". Defaults, bounds and meaning live in config.py's option table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

INPUT, OUTPUT, EXECUTION, LIMITS, DISPLAY = "Input", "Output", "Execution", "Limits", "Display"


def _opt(*names: str, help: str, panel: str, metavar: str | None = None) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        *names,
        help=help.replace("[", "\\["),
        rich_help_panel=panel,
        metavar=metavar,
        show_default=False,
    )
    return option


InputDir = Annotated[
    Path | None,
    _opt("--input-dir", "-d", help="Folder of recordings.", panel=INPUT, metavar="DIR"),
]
FileList = Annotated[
    Path | None,
    _opt("--file-list", "-f", help="List of files: TXT, CSV or XLSX.", panel=INPUT, metavar="FILE"),
]
UrlList = Annotated[
    Path | None,
    _opt("--url-list", "-u", help="List of URLs, one a line.", panel=INPUT, metavar="FILE"),
]
Recursive = Annotated[
    bool | None,
    _opt("--recursive/--no-recursive", help="Look into sub-folders (default: yes).", panel=INPUT),
]
Include = Annotated[
    list[str] | None,
    _opt("--include", help="Only files that match; may be repeated.", panel=INPUT, metavar="GLOB"),
]
Exclude = Annotated[
    list[str] | None,
    _opt("--exclude", help="Not files that match; may be repeated.", panel=INPUT, metavar="GLOB"),
]
Limit = Annotated[
    int | None, _opt("--limit", help="At most this many inputs.", panel=INPUT, metavar="N")
]
TemplateColumn = Annotated[
    str | None,
    _opt(
        "--template-column",
        help="Column of the list that names the template.",
        panel=INPUT,
        metavar="NAME",
    ),
]
Template = Annotated[
    str | None,
    _opt(
        "--template",
        "-t",
        help="Report template (default: transcript).",
        panel=OUTPUT,
        metavar="NAME",
    ),
]
OtherTemplate = Annotated[
    str | None,
    _opt(
        "--template",
        "-t",
        help="Report template (default: that of each report).",
        panel=OUTPUT,
        metavar="NAME",
    ),
]
Output = Annotated[
    str | None,
    _opt(
        "--output",
        "-o",
        help="Folder for the reports (default: ./batch_output).",
        panel=OUTPUT,
        metavar="DIR",
    ),
]
OutputPattern = Annotated[
    str | None,
    _opt(
        "--output-pattern",
        help="Where a report goes: {template} {dir} {name} {stem} {ext} {seq} {batch} "
        "(default: {template}/{dir}/{name}).",
        panel=OUTPUT,
        metavar="TEXT",
    ),
]
Formats = Annotated[
    str | None,
    _opt("--formats", help="Of md,html,srt,vtt,json (default: all).", panel=OUTPUT, metavar="LIST"),
]
SkipExisting = Annotated[
    bool | None,
    _opt(
        "--skip-existing/--no-skip-existing",
        help="Skip videos whose report is there and matches source and template.",
        panel=OUTPUT,
    ),
]
TemplateDir = Annotated[
    str | None,
    _opt("--template-dir", help="Folder of your own templates.", panel=OUTPUT, metavar="DIR"),
]
Engine = Annotated[
    str | None,
    _opt(
        "--engine",
        help="auto, local, gemini or openai (default: auto).",
        panel=EXECUTION,
        metavar="NAME",
    ),
]
Model = Annotated[
    str | None,
    _opt(
        "--model",
        help="Model of the engine, such as gemini-flash-latest.",
        panel=EXECUTION,
        metavar="NAME",
    ),
]
GeminiBatch = Annotated[
    bool | None,
    _opt(
        "--gemini-batch/--no-gemini-batch",
        help="Half-price lane of Gemini: answers within a day.",
        panel=EXECUTION,
    ),
]
ApiKeyFile = Annotated[
    str | None,
    _opt(
        "--api-key-file",
        help="File with the key (one a line for several), or - for standard input.",
        panel=EXECUTION,
        metavar="FILE",
    ),
]
Fallback = Annotated[
    str | None,
    _opt(
        "--fallback",
        help="Engines to go on with when a quota or budget is spent: openai,local.",
        panel=EXECUTION,
        metavar="LIST",
    ),
]
CostLimit = Annotated[
    float | None,
    _opt(
        "--cost-limit", help="Pause before more US dollars are spent.", panel=LIMITS, metavar="USD"
    ),
]
DailyCostLimit = Annotated[
    float | None,
    _opt(
        "--daily-cost-limit",
        help="Pause until midnight before more US dollars are spent in a day.",
        panel=LIMITS,
        metavar="USD",
    ),
]
Cookies = Annotated[
    str | None,
    _opt(
        "--cookies",
        help="Cookies of your browser (cookies.txt) for sites that want a login.",
        panel=EXECUTION,
        metavar="FILE",
    ),
]
Webhook = Annotated[
    str | None,
    _opt(
        "--webhook",
        help="Tell this address when the batch ends or pauses.",
        panel=EXECUTION,
        metavar="URL",
    ),
]
AsrModel = Annotated[
    str | None,
    _opt(
        "--asr-model",
        help="Speech model: a name, a folder, or an installed model package (default: auto).",
        panel=EXECUTION,
        metavar="NAME",
    ),
]
Language = Annotated[
    str | None,
    _opt(
        "--language",
        help="Spoken language, such as en or zh (default: detected).",
        panel=EXECUTION,
        metavar="CODE",
    ),
]
Subtitles = Annotated[
    str | None,
    _opt(
        "--subtitles",
        help="prefer: existing subtitles instead of speech recognition; ignore (default: prefer).",
        panel=EXECUTION,
        metavar="HOW",
    ),
]
Slides = Annotated[
    bool | None,
    _opt("--slides/--no-slides", help="Find slides (default: yes).", panel=EXECUTION),
]
Ocr = Annotated[
    bool | None, _opt("--ocr/--no-ocr", help="Read the slides (default: yes).", panel=EXECUTION)
]
Parallel = Annotated[
    int | None,
    _opt("--parallel", "-p", help="Videos in flight (default: 4).", panel=EXECUTION, metavar="N"),
]
Priority = Annotated[
    int | None,
    _opt("--priority", help="0 (first) to 100 (default: 50).", panel=EXECUTION, metavar="N"),
]
New = Annotated[
    bool, _opt("--new", help="Start a new batch even if the same one is there.", panel=EXECUTION)
]
ResumeFrom = Annotated[
    str | None,
    _opt(
        "--resume-from",
        help="Go on: latest, a batch id, a checkpoint id or a checkpoint file.",
        panel=EXECUTION,
        metavar="REF",
    ),
]
DryRun = Annotated[
    bool, _opt("--dry-run", "-n", help="Show work, time and cost; write nothing.", panel=EXECUTION)
]
ShowAll = Annotated[bool, _opt("--all", help="With --dry-run: show every file.", panel=DISPLAY)]
MaxRetries = Annotated[
    int | None,
    _opt("--max-retries", help="Tries after the first (default: 3).", panel=LIMITS, metavar="N"),
]
Timeout = Annotated[
    str | None,
    _opt(
        "--timeout",
        help="Working time per video and try (default: 1800s).",
        panel=LIMITS,
        metavar="TIME",
    ),
]
StallTimeout = Annotated[
    str | None,
    _opt(
        "--stall-timeout",
        help="Longest time without progress (default: 300s).",
        panel=LIMITS,
        metavar="TIME",
    ),
]
ConfigFile = Annotated[
    Path | None,
    _opt(
        "--config",
        "-c",
        help="Configuration file instead of gsvr.yaml.",
        panel=EXECUTION,
        metavar="FILE",
    ),
]
Db = Annotated[
    str | None,
    _opt("--db", help="Database (default: ./batch_tasks.db).", panel=EXECUTION, metavar="FILE"),
]
CacheDir = Annotated[
    str | None, _opt("--cache-dir", help="Folder of the cache.", panel=EXECUTION, metavar="DIR")
]
ProgressFile = Annotated[
    Path | None,
    _opt(
        "--progress-file",
        help="Keep the progress in this JSON file.",
        panel=DISPLAY,
        metavar="FILE",
    ),
]
LogFile = Annotated[
    str | None,
    _opt(
        "--log-file",
        help="Append a JSON line for everything that happens to this file.",
        panel=DISPLAY,
        metavar="FILE",
    ),
]
Progress = Annotated[
    str | None,
    _opt(
        "--progress",
        help="auto, live, plain or none (default: auto).",
        panel=DISPLAY,
        metavar="HOW",
    ),
]
Json = Annotated[bool, _opt("--json", help="Machine-readable output on stdout.", panel=DISPLAY)]
Verbose = Annotated[
    bool, _opt("--verbose", "-v", help="More detail, and tracebacks of errors.", panel=DISPLAY)
]
Quiet = Annotated[bool, _opt("--quiet", "-q", help="Only failures and the summary.", panel=DISPLAY)]
Yes = Annotated[bool, _opt("--yes", "-y", help="Do not ask.", panel=EXECUTION)]
