"""Store and read the keys of remote engines.

Truth: one JSON file, `{"gemini": "..."}`, readable by its owner only (mode 0600); or the system's
keyring, under the service `gsvr` and the name of the engine.
Never: shows a key; takes one from a command line.
Raises: ConfigError when the file is damaged, OutputNotWritable, DiskFullError; for the keyring
DependencyMissing and KeyringError.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gs_video_report.config_values import Secret
from gs_video_report.errors import ConfigError, DependencyMissing, KeyringError, from_os_error

_SERVICE = "gsvr"


class KeyStore(StrEnum):
    """Kinds of places where a key may be, strongest first."""

    ENVIRONMENT = "environment"
    KEYRING = "keyring"
    KEYS_FILE = "keys file"
    CONFIG = "configuration"


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key and where it was found."""

    key: Secret
    store: KeyStore
    where: str
    """Name of the variable, or the file (`gsvr.yaml:3`); empty for the keyring."""


_MAX_BYTES = 1 << 20
_OTHERS = 0o077


def read_key(path: Path, engine: str) -> Secret | None:
    """The stored key of `engine`; None when there is none, or no file.

    Raises: ConfigError when the file cannot be read or understood.
    """
    text = _load(path).get(engine)
    return Secret(text) if text else None


def save_key(path: Path, engine: str, key: Secret | None) -> None:
    """Store the key of `engine`; None forgets it. The file is replaced atomically.

    Raises: ConfigError, OutputNotWritable, DiskFullError; the file is then as it was.
    """
    keys = _load(path)
    if key is None:
        keys.pop(engine, None)
    else:
        keys[engine] = key.reveal()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_private(temporary, json.dumps(keys, indent=2, sort_keys=True) + "\n")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise from_os_error(error, str(path), writing=True) from error


def read_keyring(engine: str) -> Secret | None:
    """The key that the system's keyring holds for `gsvr` and `engine`; None without one.

    The package `keyring` is optional; a keyring that is locked or broken counts as empty.
    """
    try:
        import keyring
    except ImportError:
        return None
    try:
        text = keyring.get_password(_SERVICE, engine)
    except Exception:  # backends raise what they like
        return None
    return Secret(text) if text else None


def save_keyring(engine: str, key: Secret | None) -> str:
    """Store the key of `engine` in the system's keyring; None forgets it.

    Returns: the name of the keyring, for people.
    Raises: DependencyMissing without the package `keyring`; KeyringError when there is no keyring,
        or it is locked or refuses.
    """
    try:
        import keyring
        from keyring.errors import PasswordDeleteError
    except ImportError as error:
        raise DependencyMissing(
            "the system's keyring needs a package that is not installed: keyring",
            hint="pip install 'gs-video-report[keyring]', or store the key without --keyring",
        ) from error
    try:
        if key is not None:
            keyring.set_password(_SERVICE, engine, key.reveal())
        else:
            with suppress(PasswordDeleteError):  # there was none
                keyring.delete_password(_SERVICE, engine)
        return str(keyring.get_keyring().name)
    except Exception as error:  # backends raise what they like; their words may hold the key
        raise KeyringError(
            f"the system's keyring cannot be used ({type(error).__name__})"
        ) from None


def is_exposed(path: Path) -> bool:
    """True when other users of the machine may read the file."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def _load(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MAX_BYTES).decode("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError:
        value = None  # the cause would quote the content, so it is not kept
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ConfigError(
            f"{path}: the file of keys is damaged",
            hint="delete it, then store the keys again: gsvr config set-key ENGINE",
        )
    return value


def _write_private(path: Path, text: str) -> None:
    # created with its mode, so that the key is never readable by others, not even briefly
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
