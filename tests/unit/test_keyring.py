"""Keys in the system's keyring: the real `keyring` package with a keyring of the test's own."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gs_video_report import app_setup
from gs_video_report.config import Config, load_config
from gs_video_report.config_keys import read_keyring, save_keyring
from gs_video_report.config_values import Secret
from gs_video_report.errors import DependencyMissing, KeyringError

keyring = pytest.importorskip("keyring")
backend = pytest.importorskip("keyring.backend")
KEY = "a-key-that-nobody-may-see-123"


class MemoryRing(backend.KeyringBackend):  # type: ignore[misc,name-defined]
    """A keyring in memory."""

    priority = 1

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.locked = False

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise RuntimeError(f"locked; cannot store {password}")
        self.held[service, username] = password

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def delete_password(self, service: str, username: str) -> None:
        from keyring.errors import PasswordDeleteError

        if (service, username) not in self.held:
            raise PasswordDeleteError("not there")
        del self.held[service, username]


@pytest.fixture
def ring() -> Iterator[MemoryRing]:
    before, made = keyring.get_keyring(), MemoryRing()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GSVR_GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def config(**env: str) -> Config:
    import os

    return load_config({}, env={**os.environ, **env})


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_set_key_stores_in_the_keyring_and_nowhere_else(
    ring: MemoryRing, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    typed(monkeypatch, f"{KEY}\n")
    assert app_setup.config_set_key(None, "gemini", False, in_keyring=True) == 0
    assert ring.held == {("gsvr", "gemini"): KEY}
    assert KEY not in "".join(capsys.readouterr())
    assert not (home / "xdg/gsvr/keys.json").exists()


def test_the_key_is_found_only_when_the_configuration_asks_the_keyring(ring: MemoryRing) -> None:
    save_keyring("gemini", Secret(KEY))
    assert config().api_key("gemini") is None
    found = config(GSVR_KEYRING="true").api_key("gemini")
    assert found is not None
    assert found.reveal() == KEY


def test_forgetting_twice_is_no_error(ring: MemoryRing) -> None:
    save_keyring("gemini", Secret(KEY))
    for _ in range(2):
        app_setup.config_set_key(None, "gemini", True, in_keyring=True)
        assert read_keyring("gemini") is None


def test_a_locked_keyring_is_told_without_the_key(ring: MemoryRing) -> None:
    ring.locked = True
    with pytest.raises(KeyringError, match=r"cannot be used \(RuntimeError\)") as caught:
        save_keyring("gemini", Secret(KEY))
    assert KEY not in str(caught.value.to_dict())
    assert caught.value.__cause__ is None


def test_a_machine_without_a_keyring_says_what_to_do_instead() -> None:
    from keyring.backends import fail

    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())
    try:
        with pytest.raises(KeyringError) as caught:
            save_keyring("gemini", Secret(KEY))
    finally:
        keyring.set_keyring(before)
    assert "without --keyring" in caught.value.hint


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(DependencyMissing) as caught:
        save_keyring("gemini", Secret(KEY))
    assert "gs-video-report[keyring]" in caught.value.hint
