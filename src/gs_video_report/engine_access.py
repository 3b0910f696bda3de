"""Which engine a command uses and with which keys: choosing `auto`, reading keys, advising on them.

Keys come from `--api-key-file` (or `-`, standard input), then the environment, the keyring
(if wanted), the key file of `gsvr config set-key` and the configuration, in this order. Several
keys: one a line, or separated by commas in a variable.
Never: writes a key anywhere, puts one into an error.
Raises: ConfigError (damaged key file), UsageError.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gs_video_report.config_values import Secret
from gs_video_report.errors import AuthenticationError, GsvrError, UsageError

if TYPE_CHECKING:
    from gs_video_report.config import Config

REMOTE: tuple[str, ...] = ("gemini", "openai")
MAX_KEY_FILE_BYTES = 64 * 1024


def choose(config: Config, key_file: str | None) -> tuple[str, str]:
    """The engine for the configured word, and why, in words for people.

    `auto`: an engine with a key (or an own server), else the local one.
    """
    wanted = str(config.value("engine"))
    if wanted != "auto":
        return wanted, "asked for"
    for name in REMOTE:
        if name == "openai" and config.engine_options(name).get("base_url"):
            return name, "a server of its kind is configured"
        if config.api_key(name) is not None:
            return name, f"there is a key for it ({_place_of_key(config, name)})"
    if key_file is not None:
        raise UsageError(
            "--api-key-file needs to know whose key it is", hint="add --engine gemini or openai"
        )
    return "local", "no key is configured; nothing leaves this machine"


def _place_of_key(config: Config, engine: str) -> str:
    """Where the key was found, in words for people."""
    from gs_video_report.config_keys import KeyStore

    found = config.find_key(engine)
    if found is None:
        return "not there"
    return {
        KeyStore.ENVIRONMENT: f"environment {found.where}",
        KeyStore.KEYRING: "in the system's keyring",
        KeyStore.KEYS_FILE: "stored with gsvr config set-key",
        KeyStore.CONFIG: f"in {found.where}",
    }[found.store]


def is_missing_key(config: Config, engine: str) -> bool:
    """Whether `engine` cannot work for want of a key; servers of one's own may need none."""
    own_server = engine == "openai" and bool(config.engine_options(engine).get("base_url"))
    return engine in REMOTE and not own_server and config.api_key(engine) is None


def keys_for(config: Config, engine: str, key_file: str | None) -> tuple[Secret, ...]:
    """All keys for `engine`, in the order in which they are used; empty for local ones."""
    if engine not in REMOTE:
        return ()
    if key_file is not None:
        return _split(read_key_file(key_file))
    found = config.api_key(engine)
    return _split(found.reveal()) if found is not None else ()


def advise(config: Config, error: GsvrError, key_files: Mapping[str, str | None]) -> None:
    """Let an error about a key advise on the place that the key in use came from.

    `key_files`: engine -> what `--api-key-file` gave for it. Never names the key.
    """
    engine = str(error.data.get("engine", ""))
    if not isinstance(error, AuthenticationError) or engine not in REMOTE:
        return
    place, remedy = _place_and_remedy(config, engine, key_files.get(engine))
    if not error.data.get("bad_key"):
        error.hint += f"; the key in use is that of {place}" if place else ""
    elif remedy:
        error.hint = remedy


def _place_and_remedy(config: Config, engine: str, key_file: str | None) -> tuple[str, str]:
    """Where the key of `engine` is from, and what to do when it is refused or missing."""
    from gs_video_report.config_keys import KeyStore

    store = f"gsvr config set-key {engine}"
    if key_file is not None:
        place = "standard input" if key_file == "-" else key_file
        return f"{place} (--api-key-file)", f"check the key of {place} (--api-key-file)"
    found = config.find_key(engine)
    if found is None:
        empty = f"; the system's keyring, which is asked, gives none for {engine}"
        variable = f"{engine.upper()}_API_KEY"
        asked = empty if config.value("keyring") else ""
        return "", f"set {variable}, or store a key: {store}{asked}"
    return {
        KeyStore.ENVIRONMENT: (
            f"the variable {found.where}",
            f"check the key in the variable {found.where}; it counts before a stored one",
        ),
        KeyStore.KEYRING: (
            "the system's keyring",
            f"check the key in the system's keyring: {store} --keyring",
        ),
        KeyStore.KEYS_FILE: ("gsvr config set-key", f"check the key: {store}"),
        KeyStore.CONFIG: (
            found.where,
            f"check the key in {found.where}, or store one instead: {store}",
        ),
    }[found.store]


def read_key_file(path: str) -> str:
    """The text of a key file, or of standard input for `-`.

    Raises: UsageError when it is empty or cannot be read, or is a key instead of a path.
    """
    if path == "-":
        text = sys.stdin.read(MAX_KEY_FILE_BYTES)
    else:
        try:
            with Path(path).open("rb") as file:
                text = file.read(MAX_KEY_FILE_BYTES).decode("utf-8-sig", "replace")
        except (OSError, ValueError) as error:
            if looks_like_key(path):
                raise _key_instead_of_file() from None  # the cause would quote it
            raise _unreadable(path, error) from None
    if not text.strip():
        raise UsageError(f"{'standard input' if path == '-' else path}: there is no key in it")
    return text


def looks_like_key(text: str) -> bool:
    """Whether a text that should be a path is rather a key: one long word without a folder."""
    if re.match(r"(AIza|AQ\.|sk-|gsk_|hf_|xai-|Bearer\s)", text):
        return True
    is_word = re.fullmatch(r"[A-Za-z0-9_.=+-]{24,}", text) is not None
    is_file_name = re.search(r"\.[A-Za-z]{1,5}$", text) is not None
    return is_word and not is_file_name and re.search(r"\d", text) is not None


def _key_instead_of_file() -> UsageError:
    return UsageError(
        "--api-key-file takes the name of a file with the key in it; what was given looks like "
        "the key itself",
        hint="store the key with gsvr config set-key ENGINE, or write it into a file. The shell "
        "may have kept what was typed in its history",
    )


def _unreadable(path: str, error: OSError | ValueError) -> UsageError:
    reason = getattr(error, "strerror", None) or "not a file name"
    return UsageError(
        f"--api-key-file {path}: cannot be read ({reason})",
        hint="check the name and the permissions of the file; - reads the key from standard input",
    )


def _split(text: str) -> tuple[Secret, ...]:
    words = [w.strip() for w in text.replace(",", "\n").splitlines()]
    return tuple(Secret(w) for w in words if w and not w.startswith("#"))
