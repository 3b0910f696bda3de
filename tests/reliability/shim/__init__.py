"""Build and steer `faults.c`: count a program's changes to files, and strike one of them.

Truth: the control page, a file that every process of the tree maps. A program under the shim runs
unmodified; only where the kernel's answer or a signal arrives is chosen, by number, so that the
same seed gives the same moment.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from enum import IntEnum, IntFlag
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

SOURCE = Path(__file__).with_name("faults.c")


class Kind(IntFlag):
    """What a program does to a file. The numbers are those of faults.c."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    CREATE = 8
    RENAME = 16
    UNLINK = 32
    LINK = 64
    MKDIR = 128
    RMDIR = 256
    ANY = 511
    NEEDS_SPACE = WRITE | CREATE | MKDIR | RENAME | LINK
    """What a full disk refuses. Truncating and removing always work."""


class Fate(IntEnum):
    """What becomes of the event that is struck."""

    NOTHING = 0
    SIGNAL = 1
    ERROR = 2
    SHORT = 3
    """Half of the bytes are written."""


SELF = -1
"""As victim: the process that has the event, which may be a compute process."""
FOREVER = 2**63


class _Page(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_uint64),
        ("first", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("fate", ctypes.c_int32),
        ("value", ctypes.c_int32),
        ("victim", ctypes.c_int32),
        ("kinds", ctypes.c_uint32),
        ("struck", ctypes.c_int32),
        ("wall_ms", ctypes.c_int64),
        ("lock", ctypes.c_int32),
        ("only", ctypes.c_char * 128),
    )


class Faults:
    """One control page, and the environment for the programs that obey it."""

    def __init__(self, folder: Path, root: Path, trace: Path | None = None) -> None:
        """`root`: only changes below it are events. `trace`: write every event down there."""
        self._file = folder / "faults.page"
        self._file.write_bytes(bytes(ctypes.sizeof(_Page)))
        with self._file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._page: _Page | None = _Page.from_buffer(self._map)
        self._root, self._trace = root, trace
        self.page.kinds = Kind.ANY

    @property
    def page(self) -> _Page:
        """The shared page; open until `close()`."""
        assert self._page is not None
        return self._page

    def environment(self) -> dict[str, str]:
        """Variables that put a program and all it starts under the shim."""
        found = {
            "LD_PRELOAD": str(library()),
            "FAULTS_CONTROL": str(self._file),
            "FAULTS_ROOT": str(self._root),
        }
        return found | ({"FAULTS_TRACE": str(self._trace)} if self._trace else {})

    def strike(
        self,
        event: int,
        fate: Fate,
        value: int,
        *,
        times: int = 1,
        victim: int = SELF,
        kinds: Kind = Kind.ANY,
        only: str = "",
    ) -> None:
        """From `event` on (1 is the next one), `times` events meet the fate.

        Args:
            value: the signal, or the errno.
            only: only events on paths that hold this text count.
        """
        page = self.page
        page.fate = Fate.NOTHING
        page.count = page.struck = 0
        page.first, page.end = event, min(event + times, FOREVER)
        page.value, page.victim, page.kinds = value, victim, int(kinds)
        page.only = only.encode()
        page.fate = int(fate)

    def calm(self) -> None:
        """Strike nothing; begin to count anew."""
        self.strike(1, Fate.NOTHING, 0)

    @property
    def count(self) -> int:
        """Events since the last `strike()` or `calm()`."""
        return int(self.page.count)

    @property
    def struck(self) -> int:
        """How many of them met their fate."""
        return int(self.page.struck)

    def close(self) -> None:
        """Let go of the page."""
        self._page = None
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def missing() -> str:
    """Why the shim cannot be used here; empty when it can."""
    if os.uname().sysname != "Linux":
        return "the shim needs Linux"
    return "" if shutil.which("cc") else "the shim needs a C compiler"


@cache
def library() -> Path:
    """The compiled shim; built once per process and source."""
    name = (
        f"reliability-faults-{os.getuid()}-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}"
    )
    target = Path(tempfile.gettempdir()) / f"{name}.so"
    if not target.is_file():
        made = target.with_name(f"{name}-{os.getpid()}.new")
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(made), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        made.rename(target)
    return target


def under(faults: Faults | None, environment: Mapping[str, str]) -> dict[str, str]:
    """`environment`, with the shim if there is one."""
    return {**environment, **(faults.environment() if faults else {})}
