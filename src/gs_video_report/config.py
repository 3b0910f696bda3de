"""The configuration of one run: every option's value and where it came from.

Precedence: flag, `GSVR_*` variable, `--config` file (or `GSVR_CONFIG`; replaces the project
file), project `gsvr.yaml` (found upward), user file, default. An invalid value is refused
wherever it stands, even when a higher rank overrides it; all problems are shown together.
Relative paths in a file are taken from the file's folder, all others from the working directory.
Never: prints, reads the network, shows a secret. Importing is cheap: YAML comes with a file.
Raises: ConfigError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_video_report.config_options import ENGINE_SECTIONS, OPTIONS, Kind, Option, find_option
from gs_video_report.config_parse import format_value, parse_value
from gs_video_report.config_values import Secret, expand_path
from gs_video_report.errors import ConfigError

if TYPE_CHECKING:
    from gs_video_report.batch.data_models import BatchOptions
    from gs_video_report.config_files import FileContent
    from gs_video_report.config_keys import FoundKey

__all__ = [
    "Config",
    "Origin",
    "Rank",
    "Secret",
    "config_template",
    "format_value",
    "load_config",
    "parse_value",
]

_YAML_HINT = (
    "each option is a line `name: value`, and those of a section stand indented below its name; "
    "gsvr config init --help tells how to get a commented file"
)
_NOT_OPTIONS = frozenset({"GSVR_CONFIG", "GSVR_TEST_MEDIA"})


class Rank(StrEnum):
    """Kinds of sources, strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    CONFIG_FILE = "config file"
    PROJECT_FILE = "project file"
    USER_FILE = "user file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    rank: Rank
    where: str = ""
    """`--parallel`, `GSVR_PARALLEL`, `/home/ann/gsvr.yaml:3`; empty for defaults."""

    def __str__(self) -> str:
        return f"{self.rank} {self.where}".strip()


@dataclass(frozen=True, slots=True)
class Config:
    """Values, origins and remarks. Made by `load_config`."""

    _values: dict[str, Any]
    _origins: dict[str, Origin]
    files: tuple[Path, ...] = ()
    """Configuration files that were read, strongest first."""
    warnings: tuple[str, ...] = ()
    """Sentences for the user: keys in files, unknown `GSVR_*` variables."""

    def value(self, name: str) -> Any:
        """The value of an option, by name, word or alias. Raises: KeyError for no option."""
        return self._values[_known(name).name]

    def origin(self, name: str) -> Origin:
        """Where `value(name)` came from. Raises: KeyError for no option."""
        return self._origins[_known(name).name]

    def engine_options(self, engine: str) -> dict[str, Any]:
        """What is set for `engine`, without its key; empty for engines without a section."""
        found = {
            option.name.partition(".")[2]: self._values[option.name]
            for option in OPTIONS
            if option.section == engine and option.kind is not Kind.SECRET
        }
        return {name: value for name, value in found.items() if value is not None}

    def api_key(self, engine: str) -> Secret | None:
        """The key for `engine`, see `find_key`; None without one."""
        found = self.find_key(engine)
        return None if found is None else found.key

    def find_key(self, engine: str) -> FoundKey | None:
        """The key for `engine` and its place: the first of variable, keyring (if wanted), file of
        keys, configuration file.

        Raises: ConfigError when the file of keys is damaged.
        """
        if engine not in ENGINE_SECTIONS:
            return None
        from gs_video_report.config_keys import FoundKey, KeyStore, read_key, read_keyring

        given, origin = self._values[f"{engine}.api_key"], self.origin(f"{engine}.api_key")
        written = given if isinstance(given, Secret) else None
        if written is not None and origin.rank is Rank.ENVIRONMENT:
            return FoundKey(written, KeyStore.ENVIRONMENT, origin.where)
        if self.value("keyring") and (ring := read_keyring(engine)):
            return FoundKey(ring, KeyStore.KEYRING, "")
        path = Path(self.value("keys_file"))
        if stored := read_key(path, engine):
            return FoundKey(stored, KeyStore.KEYS_FILE, str(path))
        return None if written is None else FoundKey(written, KeyStore.CONFIG, origin.where)

    def batch_options(self, engine: str | None = None) -> BatchOptions:
        """The options that are frozen in a batch row; never a key.

        Args:
            engine: the engine chosen for `auto`; None keeps the configured word.
        """
        from gs_video_report.batch.data_models import BatchOptions

        stored = {option.name: self._values[option.name] for option in OPTIONS if option.stored}
        stored["engine"] = engine or stored["engine"]
        return BatchOptions(
            **stored,
            engine_options=self.engine_options(stored["engine"]),
            download=self.download_options(),
        )

    def download_options(self) -> dict[str, Any]:
        """What is set in the section `download`, JSON-able; empty when nothing is."""
        found = {
            option.name.partition(".")[2]: _jsonable(self._values[option.name])
            for option in OPTIONS
            if option.section == "download"
        }
        return {name: value for name, value in found.items() if value is not None}

    def masked(self) -> dict[str, Any]:
        """JSON-able values by name, secrets as `****`."""
        return {n: _jsonable(v) for n, v in self._values.items()}

    def rows(self) -> list[tuple[str, str, str]]:
        """(word, value as text, origin) of every option, for `config show`; secrets masked.

        Options of engines that nobody set are left out.
        """
        return [
            (o.word, format_value(o, self._values[o.name]), str(self._origins[o.name]))
            for o in OPTIONS
            if not o.section or self._values[o.name] is not None
        ]


def _known(name: str) -> Option:
    option = find_option(name)
    if option is None:
        raise KeyError(f"no option is called {name}")
    return option


def _jsonable(value: Any) -> Any:
    if isinstance(value, Secret):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


# --- all values --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Loader:
    """Collects values by rank, problems and warnings."""

    env: Mapping[str, str]
    cwd: Path
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def offer(self, option: Option, raw: Any, origin: Origin, base: Path) -> Any:
        """Check a value; keep it unless a stronger rank has set the option. Returns the value."""
        try:
            value = parse_value(option, raw, base, self.env)
        except ValueError as error:
            named = "" if option.flag_text == origin.where else f" {option.word}"
            self.problems.append(f"{origin.where}:{named} {error}")
            return None
        if option.name not in self.values:
            self.values[option.name] = value
            self.origins[option.name] = origin
        return value

    def flags(self, flags: Mapping[str, Any]) -> None:
        rest = dict(flags)
        extra = rest.pop("engine_options", None) or {}
        for word, raw in rest.items():
            self.flag(word, raw)
        if extra:
            engine = self._engine_of_flags(rest)
            for word, raw in extra.items():
                self.flag(f"{engine}.{word}", raw)

    def flag(self, word: str, raw: Any) -> None:
        if raw is None or raw == () or raw == []:
            return
        option = find_option(word)
        if option is None:
            self.problems.append(f"unknown option {word}")
            return
        where = option.flag_text or f"--{option.word.rpartition('.')[2].replace('_', '-')}"
        self.offer(option, raw, Origin(Rank.FLAG, where), self.cwd)

    def _engine_of_flags(self, flags: Mapping[str, Any]) -> str:
        """The engine that engine flags are for: the one this run will use."""
        return str(flags.get("engine") or self.env.get("GSVR_ENGINE") or "auto").lower()

    def environment(self) -> None:
        for option in OPTIONS:
            raw = self.env.get(option.variable, "")
            if raw.strip():
                self.offer(option, raw, Origin(Rank.ENVIRONMENT, option.variable), self.cwd)
            elif option.variables:
                self._foreign_variable(option)
        known = tuple(option.variable for option in OPTIONS)
        for name in sorted(self.env):
            if name.startswith("GSVR_") and name not in known and name not in _NOT_OPTIONS:
                self._unknown_variable(name, known)

    def _foreign_variable(self, option: Option) -> None:
        """A variable of another program, such as OPENAI_API_KEY: a bad value is only told."""
        name = next((n for n in option.variables if self.env.get(n, "").strip()), None)
        if name is None:
            return
        before = len(self.problems)
        self.offer(option, self.env[name], Origin(Rank.ENVIRONMENT, name), self.cwd)
        self.warnings.extend(f"ignored: {problem}" for problem in self.problems[before:])
        del self.problems[before:]

    def _unknown_variable(self, name: str, known: tuple[str, ...]) -> None:
        import difflib

        near = difflib.get_close_matches(name, known, 1, 0.8)
        if near:
            self.warnings.append(f"the variable {name} is not used; did you mean {near[0]}?")

    def file(self, content: FileContent, rank: Rank) -> None:
        self.problems.extend(content.problems)
        for setting in content.settings:
            if setting.raw is None and not setting.option.optional:
                continue  # `name:` with nothing behind it keeps the default
            origin = Origin(rank, setting.where)
            value = self.offer(setting.option, setting.raw, origin, setting.base)
            if isinstance(value, Secret):
                self.warnings.append(
                    f"{setting.where}: a key stands in this file; do not share the file, "
                    f"or use: gsvr config set-key {setting.option.section}"
                )

    def defaults(self) -> None:
        for option in OPTIONS:
            if option.name in self.values:
                continue
            value = option.default
            if option.kind is Kind.PATH and value is not None:
                value = expand_path(value, self.cwd, self.env)
            self.values[option.name] = value
            self.origins[option.name] = Origin(Rank.DEFAULT)


def load_config(
    flags: Mapping[str, Any],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    config_file: str | Path | None = None,
) -> Config:
    """Gather the configuration of one run.

    Args:
        flags: option (name, word or alias) -> value; None means "not given". `engine_options`
            may hold a mapping of options for the chosen engine.
        env: variables; None for those of the process. An empty variable counts as not set.
        cwd: working directory, absolute; None for that of the process.
        config_file: `--config`; replaces the project file.

    Raises:
        ConfigError: one or more values or files are wrong; `data["problems"]` lists them all.
    """
    import os

    env = os.environ if env is None else env
    loader = _Loader(env, Path.cwd() if cwd is None else cwd)
    loader.flags(flags)
    loader.environment()
    files = _files(loader, config_file)
    loader.defaults()
    if loader.problems:
        raise _error(loader.problems)
    return Config(loader.values, loader.origins, tuple(files), tuple(loader.warnings))


def _files(loader: _Loader, config_file: str | Path | None) -> list[Path]:
    """Read the files that apply, strongest first; returns their paths."""
    from gs_video_report.config_files import find_project_file, read_file, user_file

    found: list[tuple[Path, Rank]] = []
    named = config_file or loader.env.get("GSVR_CONFIG")
    project = None if named else find_project_file(loader.cwd)
    if named:
        path = Path(expand_path(str(named), loader.cwd, loader.env))
        found.append((path, Rank.CONFIG_FILE))
    elif project is not None:
        found.append((project, Rank.PROJECT_FILE))
    user = user_file(loader.env)
    if user.is_file():
        found.append((user, Rank.USER_FILE))
    for path, rank in found:
        loader.file(read_file(path), rank)
    return [path for path, _ in found]


def _error(problems: list[str]) -> ConfigError:
    from gs_video_report.config_files import NOT_YAML

    hint = _YAML_HINT if any(NOT_YAML in problem for problem in problems) else ""
    if len(problems) == 1:
        return ConfigError(problems[0], hint=hint, problems=problems)
    lines = "".join(f"\n  {problem}" for problem in problems)
    text = f"{len(problems)} problems in the configuration:{lines}"
    return ConfigError(text, hint=hint, problems=problems)


def config_template() -> str:
    """The text that `gsvr config init` writes: every option, commented out, with its help."""
    from gs_video_report.config_text import config_template as make

    return make()
