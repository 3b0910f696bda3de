"""The one table of options: name, kind, bounds, default, unit, flag, variable, help.

Everything that knows an option (configuration files, `GSVR_*` variables, `config show`, the
commented template, the reference page) reads this table. Defaults of options that are stored
with a batch are those of `BatchOptions`; a test holds the two equal.
Never: reads files or the environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """How a value is read and shown."""

    TEXT = "text"
    CHOICE = "choice"
    LIST = "list"
    INT = "whole number"
    NUMBER = "number"
    BOOL = "true or false"
    DURATION = "duration"
    SIZE = "size"
    PATH = "path"
    MODEL = "name or path"
    LANGUAGE = "language code"
    PATTERN = "pattern"
    URL = "address"
    HEADERS = "names and values"
    SECRET = "secret"  # noqa: S105 (the word, not a password)


class Affects(StrEnum):
    """What a change of the option changes."""

    RESULTS = "results"
    """What the reports say or where they go: fixed for the life of a batch."""
    EXECUTION = "execution"
    """How the work is done: may change on resume."""
    PLACE = "place"
    """Where this machine keeps things."""
    DISPLAY = "display"


@dataclass(frozen=True, slots=True)
class Option:
    """One option."""

    name: str
    """Field of `BatchOptions` where there is one; `gemini.model` for an engine's option."""
    kind: Kind
    default: Any
    """In the form of the value; paths unexpanded; None when nothing is set."""
    affects: Affects
    help: str
    key: str = ""
    """Word in files, flags and variables; empty when it is the name."""
    flag: str | None = None
    """Long flag; empty for none; None for `--key`."""
    low: float | None = None
    high: float | None = None
    """Inclusive bounds, in the unit of the value (seconds, bytes, ...)."""
    choices: tuple[str, ...] = ()
    optional: bool = False
    """`none` is a value."""
    stored: bool = True
    """A field of `BatchOptions`."""
    aliases: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    """Further environment variables, after `GSVR_*`; the first that is set wins."""

    @property
    def word(self) -> str:
        """The word in files: `timeout` for `timeout_s`."""
        return self.key or self.name

    @property
    def variable(self) -> str:
        """`GSVR_TIMEOUT`."""
        return "GSVR_" + self.word.upper().replace(".", "_")

    @property
    def flag_text(self) -> str:
        """`--timeout`, or empty."""
        if self.flag is not None:
            return self.flag
        return "--" + self.word.replace("_", "-")

    @property
    def section(self) -> str:
        """`gemini` for `gemini.model`; empty for plain options."""
        return self.name.partition(".")[0] if "." in self.name else ""


_R, _E, _P, _D = Affects.RESULTS, Affects.EXECUTION, Affects.PLACE, Affects.DISPLAY
_DAY_S = 86400.0

PLAIN_OPTIONS: tuple[Option, ...] = (
    Option(
        "template", Kind.TEXT, "transcript", _R,
        "Template of the reports; see: gsvr templates list.",
    ),
    Option(
        "engine", Kind.CHOICE, "auto", _R,
        "What makes the report. local needs no network and no key; auto chooses.",
        choices=("auto", "local", "gemini", "openai"),
    ),
    Option(
        "output_dir", Kind.PATH, "./batch_output", _R, "Folder of the reports.",
        key="output",
    ),
    Option(
        "output_pattern", Kind.PATTERN, "{template}/{dir}/{name}", _R,
        "Where a report goes below the output folder. "
        "Fields: template, dir, name, stem, ext, seq, batch.",
    ),
    Option(
        "formats", Kind.LIST, ("md", "html", "srt", "vtt", "json"), _R,
        "Files to write for each video.",
        aliases=("format",), choices=("md", "html", "srt", "vtt", "json", "chapters"),
    ),
    Option(
        "language", Kind.LANGUAGE, "auto", _R,
        "Spoken language (zh, en, ...), or auto to detect it.",
        aliases=("lang",),
    ),
    Option(
        "asr_model", Kind.MODEL, "auto", _R,
        "Speech model: a name, a folder with model.bin, or auto; see: gsvr models list.",
    ),
    Option(
        "subtitles", Kind.CHOICE, "prefer", _R,
        "prefer takes existing subtitles instead of listening; ignore always listens.",
        choices=("prefer", "ignore"),
    ),
    Option("slides", Kind.BOOL, True, _R, "Find slides and put their pictures into the report."),
    Option("ocr", Kind.BOOL, True, _R, "Read the text on the slides."),
    Option("parallel", Kind.INT, 4, _E, "Videos in work at the same time.", low=1, high=64),
    Option(
        "compute_processes", Kind.INT, 0, _E,
        "Processes for speech and pictures; 0 takes as many as cores and memory allow.",
        low=0, high=256, flag="",
    ),
    Option(
        "tuning", Kind.BOOL, True, _E,
        "Let the number of processes follow the memory; false keeps it as it began.",
        stored=False, flag="",
    ),
    Option(
        "memory_limit_bytes", Kind.SIZE, None, _E,
        "Memory that gsvr and its processes may use in all; unset: what the machine has.",
        key="memory_limit", low=500_000_000, high=1e15, stored=False, optional=True, flag="",
    ),
    Option(
        "max_retries", Kind.INT, 3, _E, "Tries after the first one that failed.",
        low=0, high=20, aliases=("retries",),
    ),
    Option(
        "timeout_s", Kind.DURATION, 1800.0, _E,
        "Longest time for one try of one video; waiting for a quota does not count.",
        key="timeout", low=1.0, high=7 * _DAY_S,
    ),
    Option(
        "stall_timeout_s", Kind.DURATION, 300.0, _E,
        "A step that makes no progress for so long is stopped.",
        key="stall_timeout", low=1.0, high=_DAY_S,
    ),
    Option(
        "outage_limit_s", Kind.DURATION, 1800.0, _E,
        "The batch is paused when the network or a service was away for so long.",
        key="outage_limit", low=1.0, high=7 * _DAY_S, flag="",
    ),
    Option(
        "skip_existing", Kind.BOOL, False, _E,
        "Skip videos whose report exists and matches source and template.",
    ),
    Option(
        "fallback", Kind.LIST, (), _E,
        "Engines to go on with when the quota or budget of the one before is spent.",
        choices=("local", "gemini", "openai"),
    ),
    Option(
        "cost_limit_usd", Kind.NUMBER, None, _E,
        "Pause the batch before it spends more than so many US dollars; none for no limit.",
        key="cost_limit", low=0.0, high=1e6, optional=True, aliases=("max_cost",),
    ),
    Option(
        "daily_cost_limit_usd", Kind.NUMBER, None, _E,
        "Pause until midnight before all batches of the database spend more in a day.",
        key="daily_cost_limit", low=0.0, high=1e6, optional=True,
    ),
    Option(
        "webhook", Kind.TEXT, None, _D,
        "Address that is told when a batch completes, pauses or fails.",
        stored=False, optional=True,
    ),
    Option(
        "checkpoint_interval_s", Kind.DURATION, 60.0, _E, "Time between checkpoints.",
        key="checkpoint_interval", low=1.0, high=_DAY_S, flag="",
    ),
    Option(
        "db", Kind.PATH, "./batch_tasks.db", _P, "Database file of the batches.",
        stored=False, aliases=("database",),
    ),
    Option("cache_dir", Kind.PATH, "$XDG_CACHE_HOME/gsvr", _P, "Folder of intermediate results."),
    Option(
        "cache_limit_bytes", Kind.SIZE, 20_000_000_000, _P,
        "The cache is trimmed to this size, the least recently used first.",
        key="cache_limit", low=100_000_000, high=1e15, stored=False, flag="",
    ),
    Option(
        "template_dir", Kind.PATH, "$XDG_CONFIG_HOME/gsvr/templates", _P,
        "Folder of your own templates.",
    ),
    Option(
        "keyring", Kind.BOOL, False, _P,
        "Look for keys in the system's keyring, too (needs the package keyring).",
        stored=False, flag="",
    ),
    Option(
        "prices_file", Kind.PATH, None, _P,
        "Your own table of prices, in the form of the shipped one; wins over it.",
        stored=False, optional=True, flag="",
    ),
    Option(
        "keys_file", Kind.PATH, "$XDG_CONFIG_HOME/gsvr/keys.json", _P,
        "File of the keys stored with: gsvr config set-key.", stored=False, flag="",
    ),
    Option(
        "log_file", Kind.PATH, None, _D,
        "File that gets a JSON line for everything that happens.",
        stored=False, optional=True,
    ),
    Option(
        "log_size_bytes", Kind.SIZE, 50_000_000, _D,
        "The log file is begun anew at this size; three older ones are kept.",
        key="log_size", low=10_000, high=1e12, stored=False, flag="",
    ),
    Option(
        "progress", Kind.CHOICE, "auto", _D,
        "How progress is shown; auto is live on a terminal and plain elsewhere.",
        choices=("auto", "live", "plain", "none"), stored=False,
    ),
)  # fmt: skip


def _of_engine(name: str, kind: Kind, affects: Affects, text: str, **more: Any) -> Option:
    """An option of an engine's section: no flag, unset by default, not stored by itself."""
    return Option(name, kind, None, affects, text, flag="", optional=True, stored=False, **more)


def _shared(section: str, url_variable: str, *key_variables: str) -> tuple[Option, ...]:
    """Options that every remote engine has."""

    def option(name: str, kind: Kind, affects: Affects, text: str, **more: Any) -> Option:
        return _of_engine(f"{section}.{name}", kind, affects, text, **more)

    return (
        option("model", Kind.TEXT, _R, "Name of the model."),
        option(
            "base_url", Kind.URL, _R, "Address of the service, to use another server.",
            variables=(url_variable,),
        ),
        option(
            "api_key", Kind.SECRET, _P,
            f"Key. Better kept out of this file: gsvr config set-key {section}",
            variables=key_variables,
        ),
        option("temperature", Kind.NUMBER, _R, "Randomness of the answers.", low=0.0, high=2.0),
        option("max_tokens", Kind.INT, _R, "Longest answer, tokens.", low=1, high=10**7),
        option("timeout", Kind.DURATION, _E, "Longest time for one request.", low=1.0, high=_DAY_S),
        option("rpm", Kind.INT, _E, "Requests per minute allowed.", low=1, high=10**6),
        option("tpm", Kind.INT, _E, "Tokens per minute allowed.", low=1, high=10**12),
        option("rpd", Kind.INT, _E, "Requests per day allowed.", low=1, high=10**9),
        option(
            "price_in", Kind.NUMBER, _E, "US dollars per million tokens sent.", low=0.0, high=1e5
        ),
        option(
            "price_out", Kind.NUMBER, _E, "US dollars per million tokens received.",
            low=0.0, high=1e5,
        ),
    )  # fmt: skip


ENGINE_SECTIONS: tuple[str, ...] = ("gemini", "openai")
ENGINE_OPTIONS: tuple[Option, ...] = (
    *_shared(
        "gemini", "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_API_KEY",
    ),
    _of_engine(
        "gemini.fps", Kind.NUMBER, _R, "Pictures per second that the model looks at.",
        low=0.01, high=24.0,
    ),
    _of_engine(
        "gemini.media_resolution", Kind.CHOICE, _R, "Detail of the pictures.",
        choices=("low", "medium", "high"),
    ),
    _of_engine(
        "gemini.thinking_level", Kind.CHOICE, _R, "How long the model thinks.",
        choices=("minimal", "low", "medium", "high", "xhigh"),
    ),
    _of_engine(
        "gemini.segment_s", Kind.DURATION, _R,
        "Longest part of a recording that one request is about.", low=60.0, high=4 * 3600.0,
    ),
    _of_engine(
        "gemini.keep_uploads", Kind.BOOL, _E,
        "Leave uploaded files to the service's own expiry (48 hours) instead of deleting them.",
    ),
    _of_engine(
        "gemini.batch", Kind.BOOL, _R,
        "Send the questions through the Batch API: half the price, an answer within a day.",
    ),
    *_shared("openai", "OPENAI_BASE_URL", "OPENAI_API_KEY"),
    _of_engine(
        "openai.headers", Kind.HEADERS, _E, "Further HTTP headers, as a mapping; not for keys."
    ),
    _of_engine(
        "openai.context_tokens", Kind.INT, _R, "Longest input and answer together, tokens.",
        low=1024, high=10**8,
    ),
    _of_engine(
        "openai.transcribe", Kind.CHOICE, _R,
        "Who recognises the speech: this machine (local) or the server (remote).",
        choices=("local", "remote"),
    ),
    _of_engine(
        "openai.transcribe_model", Kind.MODEL, _R, "Model for remote speech recognition."
    ),
    _of_engine(
        "openai.structured", Kind.CHOICE, _R,
        "How the form of the answer is asked for; auto takes what the server accepts.",
        choices=("auto", "json_schema", "json_object"),
    ),
    _of_engine("openai.images", Kind.BOOL, _R, "Send the pictures of the slides as well."),
    _of_engine(
        "openai.max_images", Kind.INT, _R, "At most so many pictures per request.",
        low=0, high=10_000,
    ),
)  # fmt: skip
DOWNLOAD_OPTIONS: tuple[Option, ...] = (
    _of_engine(
        "download.limit_rate", Kind.SIZE, _E, "Bytes per second of one download, such as 2MB.",
        low=1000, high=1e12,
    ),
    _of_engine(
        "download.max_bytes", Kind.SIZE, _E, "Larger videos are not downloaded; 20 GB when unset.",
        low=1000, high=1e15,
    ),
    _of_engine(
        "download.allow_private_hosts", Kind.LIST, _E,
        "Hosts of private networks that downloads may reach: names, addresses, networks such as "
        "10.0.0.0/8, .domain for all below it, or * for every private address.",
    ),
    Option(
        "download.cookies", Kind.PATH, None, _E,
        "Cookies of your browser (cookies.txt) for sites that want a login; readable by you only.",
        flag="--cookies", optional=True, stored=False,
    ),
    _of_engine(
        "download.format", Kind.TEXT, _E,
        "Format selection in yt-dlp's language; unset takes small ones of at most 720 lines.",
    ),
)  # fmt: skip
SECTIONS: tuple[str, ...] = (*ENGINE_SECTIONS, "download")
"""Words in files below which options stand."""
OPTIONS: tuple[Option, ...] = PLAIN_OPTIONS + ENGINE_OPTIONS + DOWNLOAD_OPTIONS

BY_WORD: dict[str, Option] = {
    word: option for option in OPTIONS for word in (option.name, option.word, *option.aliases)
}
"""Name, word and aliases -> option."""


def find_option(word: str) -> Option | None:
    """The option called `word` in any of its spellings (`-` and `_` are the same)."""
    return BY_WORD.get(word.strip().lower().replace("-", "_"))


def nearest(word: str, candidates: tuple[str, ...]) -> str:
    """`; did you mean parallel?`, or empty when nothing is near."""
    import difflib

    found = difflib.get_close_matches(word.lower().replace("-", "_"), candidates, 1, 0.6)
    return f"; did you mean {found[0]}?" if found else ""
