"""The advice about a bad or missing key names where the key in use came from, never the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from gs_video_report.config import load_config
from gs_video_report.config_keys import save_key
from gs_video_report.config_values import Secret
from gs_video_report.engine_access import advise
from gs_video_report.engines.gemini.client import no_key
from gs_video_report.engines.gemini.errors import ServiceError, classify
from gs_video_report.engines.openai.errors import Failure
from gs_video_report.engines.openai.errors import classify as classify_openai
from gs_video_report.errors import DiskFullError, GsvrError

KEY = "AIzaSy-a-key-that-nobody-may-see"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused() -> GsvrError:
    return classify(ServiceError(400, "INVALID_ARGUMENT", "API key not valid"), "question")


def advice(error: GsvrError, env: dict[str, str] | None = None, file: str | None = None) -> str:
    home = Path.cwd()
    fixed = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "xdg")}
    config = load_config({}, env={**fixed, **(env or {})}, cwd=home)
    advise(config, error, {"gemini": file, "openai": None})
    assert KEY not in error.hint + error.message
    return error.hint


def test_a_refused_key_of_the_environment_is_to_be_checked_there() -> None:
    expected = "check the key in the variable GEMINI_API_KEY; it counts before a stored one"
    assert advice(refused(), {"GEMINI_API_KEY": KEY}) == expected


def test_a_refused_key_of_a_file_names_the_file(home: Path) -> None:
    assert advice(refused(), {"GEMINI_API_KEY": KEY}, "keys.txt") == (
        "check the key of keys.txt (--api-key-file)"
    )
    assert "of standard input" in advice(refused(), file="-")


def test_a_refused_key_of_the_configuration_names_the_line(home: Path) -> None:
    (home / "gsvr.yaml").write_text(f"gemini:\n  api_key: {KEY}\n")
    told = advice(refused())
    assert "gsvr.yaml:2" in told
    assert told.endswith("or store one instead: gsvr config set-key gemini")
    save_key(home / "xdg/gsvr/keys.json", "gemini", Secret("another-" + KEY))
    assert advice(refused()) == "check the key: gsvr config set-key gemini"  # it counts before


def test_a_refused_key_of_the_keyring_is_to_be_set_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gs_video_report.config_keys.read_keyring", lambda engine: Secret(KEY))
    assert advice(refused(), {"GSVR_KEYRING": "true"}) == (
        "check the key in the system's keyring: gsvr config set-key gemini --keyring"
    )


def test_a_missing_key_tells_that_the_keyring_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gs_video_report.config_keys.read_keyring", lambda engine: None)
    plain = "set GEMINI_API_KEY, or store a key: gsvr config set-key gemini"
    assert advice(no_key()) == plain
    assert advice(no_key(), {"GSVR_KEYRING": "true"}) == (
        f"{plain}; the system's keyring, which is asked, gives none for gemini"
    )


def test_a_server_that_wants_a_key_where_none_is_given_is_told_so() -> None:
    error = classify_openai(Failure(401, "", "no key"), "http://localhost:8000/v1", "m")
    assert advice(error) == "set OPENAI_API_KEY, or store a key: gsvr config set-key openai"


def test_a_key_without_quota_keeps_its_own_advice_and_names_the_place() -> None:
    error = classify(ServiceError(403, "PERMISSION_DENIED", "blocked"), "question")
    before = error.hint
    assert advice(error, {"GEMINI_API_KEY": KEY}) == (
        f"{before}; the key in use is that of the variable GEMINI_API_KEY"
    )


def test_an_error_about_something_else_keeps_its_hint() -> None:
    error = DiskFullError("no space", hint="free some")
    assert advice(error, {"GEMINI_API_KEY": KEY}) == "free some"
