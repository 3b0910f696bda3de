"""Functions that the compute tests run in other processes. Module-level, plain, picklable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gs_video_report import progress
from gs_video_report.errors import CorruptMediaError

kept: dict[str, int] = {}
leaked: list[bytearray] = []


def echo(value: Any) -> Any:
    return value


def pid() -> int:
    return os.getpid()


def count_up(name: str) -> int:
    """How often this process was called: a stand-in for a cached model."""
    kept[name] = kept.get(name, 0) + 1
    return kept[name]


def facts() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "session": os.getsid(0),
        "group": os.getpgid(0),
        "sigint_ignored": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "stdin": os.readlink("/proc/self/fd/0"),
        "environment": dict(os.environ),
        "descriptors": sorted(
            os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
        ),
    }


def wait_for(path: str, result: Any = None) -> Any:
    """Hold the process until a file appears; reports nothing."""
    while not Path(path).exists():
        time.sleep(0.005)
    return result


def hold_alone(folder: str, go: str) -> int:
    """Fail if a second call runs in this process at the same time."""
    mark = Path(folder) / str(os.getpid())
    mark.touch(exist_ok=False)
    wait_for(go)
    mark.unlink()
    return os.getpid()


def append_line(path: str, line: str) -> None:
    with open(path, "a") as file:
        file.write(line + "\n")


def report_until(path: str) -> str:
    """Report every 10 ms until the file appears."""
    done = 0
    while not Path(path).exists():
        done += 1
        progress.report(done, 0)
        time.sleep(0.01)
    return "finished"


def report_many(count: int) -> None:
    for done in range(1, count + 1):
        progress.report(done, count)


def forever() -> None:
    progress.report(0, 1)
    while True:
        time.sleep(60)


def forever_deaf() -> None:
    """Ignores SIGTERM, as some libraries make a process do."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    forever()


def busy_in_c() -> int:
    """One C call of about an hour that never lets another thread or a handler run."""
    progress.report(0, 1)
    return sum(range(10**12))


def with_grandchild(path: str) -> None:
    """Start a program that ignores SIGTERM, write its pid to `path`, and wait for it."""
    script = "import os,signal,sys,time;signal.signal(signal.SIGTERM,signal.SIG_IGN);"
    script += "open(sys.argv[1]+'.new','w').write(str(os.getpid()));"
    script += "os.rename(sys.argv[1]+'.new',sys.argv[1]);time.sleep(3600)"
    subprocess.run([sys.executable, "-S", "-c", script, path], check=False)


def allocate(size_bytes: int, then_wait_for: str) -> int:
    block = bytearray(size_bytes)
    block[::4096] = b"x" * len(block[::4096])
    wait_for(then_wait_for)
    return len(block)


def keep_bytes(size_bytes: int) -> None:
    """A model that stays in memory, or a leak."""
    block = bytearray(size_bytes)
    block[::4096] = b"x" * len(block[::4096])
    leaked.append(block)


def grow(step_bytes: int) -> None:
    """Grow for ever, slowly enough to be watched."""
    blocks = []
    while True:
        block = bytearray(step_bytes)
        block[::4096] = b"x" * len(block[::4096])
        blocks.append(block)
        time.sleep(0.02)


def die_of(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def read_null() -> None:
    import ctypes

    ctypes.string_at(0)


def end_with(code: int) -> None:
    os._exit(code)


def die_once(mark: str) -> str:
    """Dies of SIGKILL unless `mark` tells that it has done so before."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "second try"


def call_exit(code: int) -> None:
    sys.exit(code)


def print_noise(text: str, then_signal: int = 0) -> None:
    print(text)
    sys.stdout.flush()
    os.write(2, text.encode())
    if then_signal:
        os.kill(os.getpid(), then_signal)
        time.sleep(60)


def raise_corrupt() -> None:
    raise CorruptMediaError("x.mp4: nothing decodes", hint="copy it", stage="audio", packets=7)


def raise_value(text: str) -> None:
    raise ValueError(text)


def raise_memory() -> None:
    raise MemoryError


def raise_native_memory() -> None:
    raise RuntimeError("std::bad_alloc")


def raise_disk_full(path: str) -> None:
    raise OSError(28, "No space left on device", path)


def return_lambda() -> Callable[[], None]:
    return lambda: None
