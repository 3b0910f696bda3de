"""Say which cache entries a live process is using, so that no other process trims them.

Truth: `pins/<random>.pin` lists keys, one a line; it counts while its maker holds the file lock,
which the system drops at death, however it came.
Writes: files in `pins/`; removes those of dead processes.
Never: waits for a lock.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SUFFIX = ".pin"


@contextmanager
def pinned(folder: Path, keys: Iterable[str]) -> Iterator[None]:
    """Hold `keys` while the body runs. Raises: OSError, untranslated."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{secrets.token_hex(8)}{_SUFFIX}"
    # Locked before it has its final name: a reader never takes it for the file of a dead process.
    temp = path.with_suffix(".new")
    descriptor = os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, "".join(f"{key}\n" for key in keys).encode("ascii"))
        temp.rename(path)
        yield
    finally:
        for name in (path, temp):
            with suppress(OSError):
                name.unlink()
        os.close(descriptor)


def live_pins(folder: Path) -> frozenset[str]:
    """All keys held by live processes; files of dead ones are removed on the way."""
    if not folder.is_dir():
        return frozenset()
    keys: set[str] = set()
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):
            keys.update(_keys_or_remove(path))
    return frozenset(keys)


def _keys_or_remove(path: Path) -> list[str]:
    with path.open("r", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return file.read().split()
        path.unlink()
        return []
