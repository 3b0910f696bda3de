"""Configuration: one table, five ranks, every wrong value told, no secret shown."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import re
import stat
import subprocess
import sys
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gs_video_report.batch.data_models import BatchOptions
from gs_video_report.batch.planner import RESULT_OPTIONS
from gs_video_report.config import Config, Rank, Secret, config_template, load_config
from gs_video_report.config_keys import is_exposed, read_key, save_key
from gs_video_report.config_options import OPTIONS, Affects, Kind, find_option
from gs_video_report.config_parse import format_value, parse_value
from gs_video_report.config_values import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)
from gs_video_report.errors import ConfigError, ExitCode
from gs_video_report.media.web.net_guard import blocked


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "work/deep").mkdir(parents=True)
    (tmp_path / "xdg/gsvr").mkdir(parents=True)
    return tmp_path


def load(
    home: Path,
    flags: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    config_file: str | None = None,
    cwd: str = "work",
) -> Config:
    environment = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "xdg"), **(env or {})}
    return load_config(flags or {}, env=environment, cwd=home / cwd, config_file=config_file)


def problems(home: Path, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(home, **options)
    assert caught.value.exit_code == ExitCode.USAGE
    found = caught.value.data["problems"]
    assert all(problem in caught.value.message for problem in found)
    return list(found)


# --- the table -----------------------------------------------------------------------


def test_the_table_and_the_stored_options_are_the_same() -> None:
    stored = {o.name for o in OPTIONS if o.stored}
    assert stored | {"engine_options", "download"} == {f.name for f in fields(BatchOptions)}


def test_defaults_of_the_table_are_those_of_the_stored_options(home: Path) -> None:
    made = load(home).batch_options()
    default = BatchOptions(
        output_dir=str(home / "work/batch_output"),
        cache_dir=str(home / ".cache/gsvr"),
        template_dir=str(home / "xdg/gsvr/templates"),
    )
    assert made == default


def test_what_changes_results_is_what_a_resume_refuses() -> None:
    ours = {o.name for o in OPTIONS if o.stored and o.affects is Affects.RESULTS}
    assert ours | {"engine_options"} == set(RESULT_OPTIONS)


def test_every_option_is_found_by_each_of_its_names_and_names_are_unique() -> None:
    words = [w for o in OPTIONS for w in {o.name, o.word, *o.aliases}]
    assert len(words) == len(set(words))
    variables = [o.variable for o in OPTIONS]
    assert len(variables) == len(set(variables))
    assert find_option("max-retries") is find_option("MAX_RETRIES") is find_option("retries")
    assert find_option("nope") is None


def test_defaults_pass_their_own_checks(home: Path) -> None:
    for option in OPTIONS:
        if option.default is not None:
            text = format_value(option, option.default)
            again = parse_value(option, text, home, {"HOME": str(home)})
            if option.kind is not Kind.PATH:
                assert again == option.default, option.name


# --- ranks ---------------------------------------------------------------------------


def test_flag_beats_environment_beats_project_beats_user_beats_default(home: Path) -> None:
    user, project = home / "xdg/gsvr/config.yaml", home / "work/gsvr.yaml"

    def state() -> tuple[int, str]:
        config = load(home, flags, env, cwd="work/deep")
        return config.value("parallel"), str(config.origin("parallel"))

    flags: dict[str, Any] = {}
    env: dict[str, str] = {}
    assert state() == (4, "default")
    user.write_text("parallel: 5\n", encoding="utf-8")
    assert state() == (5, f"user file {user}:1")
    project.write_text("# found upward\nparallel: 6\n", encoding="utf-8")
    assert state() == (6, f"project file {project}:2")
    env["GSVR_PARALLEL"] = "7"
    assert state() == (7, "environment GSVR_PARALLEL")
    flags["parallel"] = 8
    assert state() == (8, "flag --parallel")
    flags["parallel"] = None
    env["GSVR_PARALLEL"] = ""
    assert state() == (6, f"project file {project}:2")


def test_a_named_file_replaces_the_project_file_but_not_the_users(home: Path) -> None:
    (home / "xdg/gsvr/config.yaml").write_text("ocr: no\n", encoding="utf-8")
    (home / "work/gsvr.yaml").write_text("parallel: 6\nslides: no\n", encoding="utf-8")
    (home / "work/other.yaml").write_text("parallel: 9\n", encoding="utf-8")
    for options in ({"config_file": "other.yaml"}, {"env": {"GSVR_CONFIG": "other.yaml"}}):
        config = load(home, **options)  # type: ignore[arg-type]
        assert config.value("parallel") == 9
        assert config.origin("parallel").rank is Rank.CONFIG_FILE
        assert config.value("slides") is True
        assert config.value("ocr") is False
    assert [p.name for p in config.files] == ["other.yaml", "config.yaml"]


def test_a_named_file_that_is_not_there_is_refused(home: Path) -> None:
    (problem,) = problems(home, config_file="none.yaml")
    assert problem == f"{home}/work/none.yaml: cannot be read (No such file or directory)"


def test_paths_are_taken_from_where_they_are_written(home: Path) -> None:
    (home / "work/gsvr.yaml").write_text("output: ./reports\ncache_dir: ~/c\n", encoding="utf-8")
    config = load(home, {"db": "../x.db"}, cwd="work/deep")
    assert config.value("output_dir") == str(home / "work/reports")
    assert config.value("cache_dir") == str(home / "c")
    assert config.value("db") == str(home / "work/x.db")


def test_an_unknown_name_is_a_programming_error(home: Path) -> None:
    with pytest.raises(KeyError):
        load(home).value("nope")


# --- values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172800),
     ("1H 30M", 5400), ("500ms", 0.5), ("10min", 600), ("1800.0", 1800)],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "x", "1:30", "-5", "1h30", "3m10", "h", "1..5s", "30m1h", "nan", "5 x"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("20GB", 20 * 10**9), ("20 gb", 20 * 10**9), ("1GiB", 1 << 30), ("1.5M", 1_500_000),
     ("1048576", 1 << 20), ("100b", 100)],
)  # fmt: skip
def test_sizes_are_read_as_people_write_them(text: str, count: int) -> None:
    assert parse_size(text) == count


@given(st.integers(0, 10**7))
def test_durations_and_sizes_survive_their_text(number: int) -> None:
    assert parse_duration(format_duration(float(number))) == number
    assert parse_size(format_size(number)) == number


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ({"parallel": 0}, "--parallel: must be 1 to 64, not 0"),
        ({"parallel": "many"}, "--parallel: must be a whole number"),
        ({"parallel": "4.5"}, "--parallel: must be a whole number"),
        ({"parallel": [1]}, "--parallel: must be a single value"),
        ({"timeout_s": "0"}, "--timeout: must be 1s to 7d, not 0s"),
        ({"engine": "gemni"}, "did you mean gemini?"),
        ({"formats": "md,pdf"}, "--formats: holds an unknown format 'pdf'"),
        ({"formats": ","}, "--formats: needs at least one of md"),
        ({"language": "chinese!"}, "--language: must be auto or a language code"),
        ({"output_pattern": "fixed"}, "--output-pattern: is not usable"),
        ({"output_pattern": "{nope}"}, "--output-pattern: is not usable"),
        ({"template": " "}, "--template: must not be empty"),
        ({"output_dir": ""}, "--output: must be a path"),
        ({"max_cost": "nan"}, "--cost-limit: must be a finite number"),
        ({"max_cost": "-1"}, "--cost-limit: must be 0 to 1000000, not -1"),
        ({"parralel": 3}, "unknown option parralel"),
    ],
)
def test_a_wrong_flag_is_refused_in_one_sentence(
    home: Path, flags: dict[str, Any], part: str
) -> None:
    (problem,) = problems(home, flags=flags)
    assert part in problem


def test_all_problems_of_all_sources_are_told_together(home: Path) -> None:
    (home / "work/gsvr.yaml").write_text(
        "paralel: 3\nparallel: 900\ntimeout: soon\ngemini:\n  modle: x\n  fps: fast\n", "utf-8"
    )
    env = {"GSVR_OCR": "maybe", "GSVR_PARALLEL": "5"}
    found = problems(home, flags={"engine": "x"}, env=env)
    where = f"{home}/work/gsvr.yaml"
    assert [f.split("; known")[0] for f in found] == [
        "--engine: must be one of auto, local, gemini, openai; not x",
        "GSVR_OCR: ocr must be true or false",
        f"{where}:1: unknown option paralel; did you mean parallel?",
        f"{where}:5: unknown option gemini.modle; did you mean model?",
        f"{where}:2: parallel must be 1 to 64, not 900",
        f"{where}:3: timeout must be a duration such as 90s, 30m or 1h30m",
        f"{where}:6: gemini.fps must be a number",
    ]


def test_none_is_a_value_where_nothing_is_meant(home: Path) -> None:
    assert load(home, {"max_cost": "$4.50"}).value("cost_limit_usd") == 4.5
    assert load(home, {"max_cost": 0}).value("cost_limit_usd") == 0.0
    assert load(home, {"max_cost": "none"}).value("cost_limit_usd") is None
    assert load(home, env={"GSVR_COST_LIMIT": "None"}).origin("max_cost").rank is Rank.ENVIRONMENT


def test_a_flag_may_be_a_python_value(home: Path) -> None:
    config = load(
        home, {"ocr": False, "timeout_s": 90.5, "formats": ["json", "md"], "slides": True}
    )
    assert config.value("ocr") is False
    assert config.value("timeout") == 90.5
    assert config.value("formats") == ("md", "json")


def test_a_model_is_a_name_or_a_path(home: Path) -> None:
    assert load(home, {"asr_model": "base"}).value("asr_model") == "base"
    assert load(home, {"asr_model": "./m"}).value("asr_model") == str(home / "work/m")
    assert load(home, {"asr_model": "Systran/small"}).value("asr_model") == "Systran/small"


def test_a_misspelt_variable_is_told_and_others_are_left_alone(home: Path) -> None:
    config = load(home, env={"GSVR_PARALEL": "3", "GSVR_SOMETHING_ELSE": "1"})
    assert config.warnings == (
        "the variable GSVR_PARALEL is not used; did you mean GSVR_PARALLEL?",
    )


# --- files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"parallel: [\n", ":2: not valid YAML"),
        (b"a: b: c\n", ":1: not valid YAML"),
        (b"ok: \x80\xff\n", ":1: not UTF-8 text"),
        (b"parallel: 3\nocr: \xff\n", ":2: not UTF-8 text"),
        (b"- parallel\n", "must be a list of `name: value` lines"),
        (b"just text\n", "must be a list of `name: value` lines"),
        (b"parallel: 3\nparallel: 4\n", ":2: parallel is set twice (line 1)"),
        (b"timeout: 3m\ntimeout_s: 4m\n", ":2: timeout_s is the same as"),
        (b"parallel: {a: 1}\n", ":1: parallel must be a single value, not a section"),
        (b"parallel: [1, 2]\n", ":1: parallel must be a single value, not a list"),
        (b"formats: [[md]]\n", ":1: formats must be a list of plain words"),
        (b"template: !!python/object/apply:os.system ['x']\n", "without a YAML tag"),
        (b"template: !secret x\n", "without a YAML tag"),
        (b"gemini: fast\n", ":1: gemini must be a section"),
        (b"gemini.model: x\n", ":1: unknown option gemini.model"),
        (b"? [a]\n: b\n", "the name of an option must be a word"),
        (b"a: *nowhere\n", "not valid YAML"),
        (b"\x00", "not valid YAML"),
        (b"x" * (1 << 20) + b"yy", "larger than 1 MB"),
        (b"[" * 5000, "nested too deeply"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(
    home: Path, content: bytes, part: str
) -> None:
    (home / "work/gsvr.yaml").write_bytes(content)
    assert part in "\n".join(problems(home))


@pytest.mark.parametrize(
    "content", [b"", b"# nothing\n", b"null\n", b"\xef\xbb\xbf# mark\n", b"{}\n"]
)
def test_an_empty_file_changes_nothing(home: Path, content: bytes) -> None:
    (home / "work/gsvr.yaml").write_bytes(content)
    config = load(home)
    assert {config.origin(o.name).rank for o in OPTIONS} == {Rank.DEFAULT}
    assert config.files == (home / "work/gsvr.yaml",)


def test_a_file_that_is_no_yaml_is_told_with_the_way_to_write_it(home: Path) -> None:
    (home / "work/gsvr.yaml").write_text("download: allow_private_hosts: [127.0.0.1]\n", "utf-8")
    with pytest.raises(ConfigError, match=":1: not valid YAML") as caught:
        load(home)
    assert caught.value.hint.startswith("each option is a line `name: value`")


def test_what_the_hint_about_private_addresses_offers_is_read(home: Path) -> None:
    line = blocked("127.0.0.1", ip_address("127.0.0.1")).hint
    line = line.partition("configuration: ")[2].partition(" and then: ")[0]
    (home / "work/gsvr.yaml").write_text(line + "\n", "utf-8")
    config = load(home)
    assert config.download_options() == {"allow_private_hosts": ["127.0.0.1"]}


def test_a_scalar_means_what_is_written_not_what_yaml_makes_of_it(home: Path) -> None:
    text = "language: no\nocr: off\nslides: 'yes'\nmax-cost:\nparallel:\ntimeout: 30m\n"
    text += "formats: md, json\n"
    (home / "work/gsvr.yaml").write_text(text, encoding="utf-8")
    config = load(home)
    assert config.value("language") == "no"
    assert config.value("ocr") is False
    assert config.value("slides") is True
    assert config.value("max_cost") is None
    assert config.origin("parallel").rank is Rank.DEFAULT
    assert config.value("timeout") == 1800.0
    assert config.value("formats") == ("md", "json")


@given(st.binary(max_size=120))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_as_a_file_load_or_are_refused(home: Path, data: bytes) -> None:
    (home / "work/gsvr.yaml").write_bytes(data)
    with contextlib.suppress(ConfigError):
        assert isinstance(load(home), Config)


# --- the written template ------------------------------------------------------------


def test_the_template_changes_nothing_until_a_line_is_freed(home: Path) -> None:
    path = home / "work/gsvr.yaml"
    path.write_text(config_template(), encoding="utf-8")
    config = load(home)
    assert {config.origin(o.name).rank for o in OPTIONS} == {Rank.DEFAULT}


def test_every_line_of_the_template_can_be_freed(home: Path) -> None:
    text = re.sub(r"^#((?:  )?[a-z_]+:.*)$", r"\1", config_template(), flags=re.MULTILINE)
    (home / "work/gsvr.yaml").write_text(text, encoding="utf-8")
    config, default = load(home), load(home, cwd=".")
    for option in OPTIONS:
        if option.kind is not Kind.PATH:
            assert config.value(option.name) == default.value(option.name)
        assert config.origin(option.name).rank is Rank.PROJECT_FILE, option.name
    assert config.warnings == ()


def test_the_template_names_each_option_with_its_variable() -> None:
    text = config_template()
    for option in OPTIONS:
        assert option.variable in text
        assert f"{option.word.rpartition('.')[2]}: " in text


# --- engines and secrets -------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "openai:\n  headers:\n    X-Course: math\n    X-Year: 2026\n",
        "openai:\n  headers: {X-Course: math, X-Year: 2026}\n",
        "openai:\n  headers: ['X-Course: math', 'X-Year: 2026']\n",
    ],
)
def test_headers_are_written_as_a_mapping(home: Path, text: str) -> None:
    """The mapping that the table of options asks for was refused."""
    (home / "work/gsvr.yaml").write_text(text)
    assert load(home).value("openai.headers") == {"X-Course": "math", "X-Year": "2026"}


def test_headers_that_are_no_plain_names_and_values_are_refused(home: Path) -> None:
    (home / "work/gsvr.yaml").write_text("openai:\n  headers: {X-Course: {a: b}}\n")
    (problem,) = problems(home)
    assert problem.endswith("gsvr.yaml:2: openai.headers must be plain names and values")
    (home / "work/gsvr.yaml").write_text("openai:\n  model: {a: b}\n")
    (problem,) = problems(home)
    assert problem.endswith("openai.model must be a single value, not a section")


def test_engine_sections_reach_the_stored_options_without_the_key(home: Path) -> None:
    (home / "work/gsvr.yaml").write_text(
        "engine: gemini\ngemini:\n  model: flash\n  fps: 0.5\n  api_key: abc123\n", "utf-8"
    )
    config = load(home, env={"GSVR_OPENAI_BASE_URL": "http://localhost:8000/v1"})
    assert config.batch_options().engine_options == {"model": "flash", "fps": 0.5}
    assert config.batch_options("openai").engine_options == {"base_url": "http://localhost:8000/v1"}
    assert config.batch_options("local").engine_options == {}
    assert "abc123" not in config.batch_options().to_json()


def test_download_options_are_stored_beside_those_of_the_engine(home: Path) -> None:
    (home / "work/gsvr.yaml").write_text(
        "download:\n  limit_rate: 2MB\n  allow_private_hosts: [NAS.local, 10.0.0.0/8]\n", "utf-8"
    )
    stored = load(home, env={"GSVR_DOWNLOAD_MAX_BYTES": "1 GB"}).batch_options()
    assert stored.download == {
        "limit_rate": 2_000_000,
        "max_bytes": 1_000_000_000,
        "allow_private_hosts": ["nas.local", "10.0.0.0/8"],
    }
    assert type(stored).from_json(stored.to_json()) == stored
    assert stored.engine_options == {}


def test_engine_flags_are_for_the_engine_of_the_run(home: Path) -> None:
    config = load(home, {"engine": "openai", "engine_options": {"model": "m", "timeout": "2m"}})
    assert config.engine_options("openai") == {"model": "m", "timeout": 120.0}
    (problem,) = problems(home, flags={"engine_options": {"model": "m"}})
    assert problem == "unknown option auto.model"


def test_a_key_in_a_file_works_with_a_warning_and_is_never_shown(home: Path) -> None:
    (home / "work/gsvr.yaml").write_text("openai:\n  api_key: sk-geheim\n", encoding="utf-8")
    config = load(home)
    key = config.api_key("openai")
    assert key is not None
    assert key.reveal() == "sk-geheim"
    assert "gsvr config set-key openai" in config.warnings[0]
    shown = [repr(config), str(config.masked()), json.dumps(config.masked()), str(config.rows())]
    assert all("geheim" not in text for text in shown)
    assert config.masked()["openai.api_key"] == "****"


def test_a_bad_key_is_refused_without_showing_it(home: Path) -> None:
    (home / "work/gsvr.yaml").write_text("openai:\n  api_key: sk geheim\n", encoding="utf-8")
    (problem,) = problems(home)
    assert "geheim" not in problem


def test_the_variables_of_other_programs_give_the_key_and_cannot_stop_us(home: Path) -> None:
    config = load(home, env={"GEMINI_API_KEY": "g1", "OPENAI_API_KEY": "two words"})
    gemini = config.api_key("gemini")
    assert gemini is not None
    assert gemini.reveal() == "g1"
    assert config.origin("gemini.api_key").where == "GEMINI_API_KEY"
    assert config.api_key("openai") is None
    assert len(config.warnings) == 1
    assert "two words" not in config.warnings[0]
    both = load(
        home, env={"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b", "GSVR_GEMINI_API_KEY": "c"}
    )
    found = both.api_key("gemini")
    assert found is not None
    assert found.reveal() == "c"


@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_API_KEY"])
def test_each_usual_name_of_a_gemini_key_is_known(home: Path, name: str) -> None:
    found = load(home, env={name: "g1"}).api_key("gemini")
    assert found is not None
    assert found.reveal() == "g1"


def test_a_secret_cannot_be_shown_or_written() -> None:
    key = Secret("geheim")
    assert (str(key), repr(key), f"{key}", str([key])) == ("****", "****", "****", "[****]")
    assert copy.deepcopy(key) is key
    assert key == Secret("geheim")
    assert key != Secret("other")
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_stored_keys_are_private_and_found(home: Path) -> None:
    path = home / "xdg/gsvr/keys.json"
    save_key(path, "gemini", Secret("g"))
    save_key(path, "openai", Secret("o"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not is_exposed(path)
    key = load(home).api_key("gemini")
    assert key is not None
    assert key.reveal() == "g"
    save_key(path, "gemini", None)
    assert read_key(path, "gemini") is None
    assert read_key(path, "openai") == Secret("o")
    assert [p.name for p in path.parent.iterdir()] == ["keys.json"]
    path.chmod(0o644)
    assert is_exposed(path)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"gemini": 3}', b"\xff", b'{"a": "geheim"'])
def test_a_damaged_file_of_keys_is_told_without_its_content(home: Path, content: bytes) -> None:
    path = home / "xdg/gsvr/keys.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(home).api_key("gemini")
    assert "geheim" not in str(caught.value.to_dict())
    assert caught.value.__cause__ is None


# --- cost ----------------------------------------------------------------------------


def test_importing_the_configuration_loads_nothing_heavy() -> None:
    code = "import gs_video_report.config, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "gs_video_report.config" in loaded
    assert not loaded & {"yaml", "rich", "typer", "json", "sqlite3", "asyncio", "difflib",
                         "gs_video_report.batch.data_models"}  # fmt: skip


def test_without_a_file_yaml_is_not_loaded(home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gs_video_report.config import load_config;"
        f"load_config({{}}, env={{'HOME': {str(home)!r}}}, cwd=Path({str(home)!r}));"
        "print('yaml' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- the command line ---------------------------------------------------------------------------


def test_every_flag_of_the_table_is_on_the_command_line() -> None:
    from typer.main import get_command

    from gs_video_report.cli import app

    flags: set[str] = set()
    waiting = [get_command(app)]
    while waiting:
        command = waiting.pop()
        waiting.extend(getattr(command, "commands", {}).values())
        flags.update(word for parameter in command.params for word in parameter.opts)
    assert {o.flag_text for o in OPTIONS if o.flag_text} <= flags
