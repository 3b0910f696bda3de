"""What the doctor looks at, one thing at a time: packages, folders, versions, memory.

Packages are imported in a child process: one that crashes on import is an answer, not the end.
Writes: nothing that stays.
Raises: nothing on purpose.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

LOW_SPACE_BYTES = 5 * 10**9
NO_SPACE_BYTES = 200 * 10**6
LOW_MEMORY_BYTES = 1_500_000_000
IMPORT_TIMEOUT_S = 120.0
WAL_RESET_FIXED = (3, 51, 3)
"""SQLite 3.7.0 to 3.51.2 has the WAL-reset bug (https://sqlite.org/wal.html)."""


class Status(StrEnum):
    """What a check found."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    """Stable word for scripts: `python`, `sqlite`, `decoder`, ..."""
    status: Status
    message: str
    """What was found, one plain sentence."""
    fix: str = ""
    """What to do; never empty when the status is `fail`."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; a warning is `ok`, since everything works."""
        return {
            "name": self.name,
            "ok": self.status is not Status.FAIL,
            "status": str(self.status),
            "detail": self.message,
            "hint": self.fix,
        }


def sqlite_check(version: tuple[int, ...]) -> Check:
    """Judge a version of SQLite. Pure."""
    shown = f"SQLite {'.'.join(map(str, version))}"
    if version >= WAL_RESET_FIXED:
        return Check("sqlite", Status.OK, shown)
    return Check(
        "sqlite",
        Status.WARN,
        f"{shown} can, very rarely, damage a database that two programs write at the same "
        "moment (mended in 3.51.3); gsvr's processes take turns to keep clear of it",
        "do not write to the database with other programs while a batch runs; "
        "a Python that brings SQLite 3.51.3 or newer ends the danger",
    )


_PROBE = """
import importlib, importlib.metadata as meta, sys
module = importlib.import_module(sys.argv[1])
if len(sys.argv) > 2:
    print(getattr(module, sys.argv[2], ""))
else:
    names = meta.packages_distributions().get(sys.argv[1]) or [sys.argv[1]]
    print(getattr(module, "__version__", "") or meta.version(names[0]))
"""


def import_in_child(module: str, attribute: str | None = None) -> tuple[str | None, str]:
    """Import a module in another process.

    Returns: (version, or the attribute as text; None when the import fails, reason).
    """
    arguments = [module] if attribute is None else [module, attribute]
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter, fixed code)
            [sys.executable, "-c", _PROBE, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=IMPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"importing {module} took more than {IMPORT_TIMEOUT_S:.0f} s"
    except OSError as error:
        return None, f"Python cannot be started ({error.strerror or error})"
    if done.returncode == 0:
        return (done.stdout.strip().splitlines() or [""])[-1], ""
    if done.returncode < 0:
        return None, f"importing {module} ends the program (signal {-done.returncode})"
    last = (done.stderr.strip().splitlines() or ["unknown error"])[-1]
    return None, last[:200]


def folder_check(name: str, folder: Path, flag: str) -> Check:
    """Can files be written to the folder, which need not exist yet, and is there room?"""
    existing = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    if not existing.is_dir():
        return Check(name, Status.FAIL, f"{name}: {existing} is a file, not a folder",
                     f"choose another folder with {flag}")  # fmt: skip
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"\0")
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return Check(name, Status.FAIL, f"{name}: {existing} cannot be written ({error.strerror})",
                     f"choose another folder with {flag}, or change its permissions")  # fmt: skip
    return space_check(name, folder, free)


def space_check(name: str, folder: Path, free_bytes: int) -> Check:
    """Judge the room on the disk of a writable folder. Pure."""
    message = f"{name} {folder} writable, {gigabytes(free_bytes)} free"
    if free_bytes < NO_SPACE_BYTES:
        return Check(name, Status.FAIL, message, "free some space on this disk")
    if free_bytes < LOW_SPACE_BYTES:
        return Check(name, Status.WARN, message, "free some space before a large batch")
    return Check(name, Status.OK, message)


def gigabytes(count: int) -> str:
    """`52 GB`, `1.5 GB`, `240 MB`."""
    if count >= 10 * 10**9:
        return f"{count / 10**9:.0f} GB"
    return f"{count / 10**9:.1f} GB" if count >= 10**9 else f"{count / 10**6:.0f} MB"


def machine_check(cores: int, memory_bytes: int) -> Check:
    """Judge cores and available memory. Pure."""
    shown = f"{cores} {'core' if cores == 1 else 'cores'}, {gigabytes(memory_bytes)} memory free"
    if memory_bytes < LOW_MEMORY_BYTES:
        return Check("machine", Status.WARN, shown, "close other programs, or use --parallel 1")
    return Check("machine", Status.OK, shown)
