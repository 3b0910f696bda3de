"""The process that does the work: `python -m gs_video_report.compute.child FD PARENT NICE DATA`.

True here: SIGINT is ignored and the process is its own session, so Ctrl-C reaches only the
coordinator; SIGTERM keeps its default action, so it works in the middle of C code; the process
ends with its parent, whatever it is doing (Linux: PR_SET_PDEATHSIG; everywhere: end of file on
the socket). Models stay in module globals between calls. One call at a time.
Writes: frames to the socket; everything printed goes to the pipe the coordinator captures.
Never: imports a heavy package by itself, sees keys (the environment is filtered), asks the network
for models.
"""

from __future__ import annotations

import errno
import faulthandler
import importlib
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from gs_video_report import progress
from gs_video_report.compute.death import reads_as_out_of_memory
from gs_video_report.compute.frames import FrameDecoder, encode
from gs_video_report.compute.machine import process_memory
from gs_video_report.errors import (
    ComputeFailed,
    ComputeOutOfMemory,
    GsvrError,
    from_os_error,
)

PROGRESS_INTERVAL_S = 0.1
_READ_BYTES = 65536
_PR_SET_PDEATHSIG = 1
_ORPHANED = 1
_OOM_SCORE_ADJ = 500


class Link:
    """Frames over the socket; sending is safe from any thread of the function."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._decoder = FrameDecoder()
        self._frames: list[tuple[Any, ...]] = []
        self._lock = threading.Lock()

    def receive(self) -> tuple[Any, ...] | None:
        """The next frame; None when the coordinator is gone."""
        while not self._frames:
            data = self._sock.recv(_READ_BYTES)
            if not data:
                return None
            self._frames.extend(self._decoder.feed(data))
        return self._frames.pop(0)

    def send(self, data: bytes) -> None:
        """Send one encoded frame, or end the process if nobody listens any more."""
        try:
            with self._lock:
                self._sock.sendall(data)
        except OSError:
            os._exit(_ORPHANED)


class ProgressSink:
    """Sends the progress of one call, about ten times a second and at completion."""

    def __init__(self, link: Link, call_id: int) -> None:
        self._link = link
        self._call_id = call_id
        self._next_at = 0.0
        self._completed = False

    def __call__(self, done: float, total: float) -> None:
        now = time.monotonic()
        completes = not self._completed and done >= total > 0
        if now < self._next_at and not completes:
            return
        self._completed = self._completed or completes
        self._next_at = now + PROGRESS_INTERVAL_S
        self._link.send(encode(("progress", self._call_id, float(done), float(total))))


def end_with_parent(parent_pid: int) -> None:
    """Ask the kernel for SIGKILL when the parent dies; end now if that has happened already."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(_ORPHANED)


def be_killed_first() -> None:
    """When memory runs out, the kernel shall take this process and not the coordinator."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE_ADJ), encoding="ascii")


def limit_data(limit_bytes: int) -> None:
    """Make an allocation far above the memory limit a MemoryError instead of a kill.

    RLIMIT_DATA, not RLIMIT_AS: address space also counts mapped libraries and model files.
    """
    if limit_bytes <= 0 or sys.platform != "linux":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit_bytes < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard))


def resolve(name: str) -> Callable[..., Any]:
    """The function behind `module:qualname`. Raises: ImportError, AttributeError, TypeError."""
    module_name, _, qualname = name.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in qualname.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{name} is not a function")
    return found  # type: ignore[no-any-return]


def translate(error: BaseException, name: str) -> GsvrError:
    """Our form of whatever a function raised; ours stay what they are."""
    remote = "".join(traceback.format_exception(error))
    translated = error if isinstance(error, GsvrError) else _translate_foreign(error, name)
    translated.data.setdefault("_traceback", remote)
    return translated


def _translate_foreign(error: BaseException, name: str) -> GsvrError:
    kind, text = type(error).__name__, str(error)
    function = name.rpartition(":")[2]
    if isinstance(error, MemoryError) or reads_as_out_of_memory(kind, text):
        return ComputeOutOfMemory(f"{function} ran out of memory", function=name)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return from_os_error(error, str(error.filename or function), writing=True)
    message = f"{function} failed: {kind}" + (f": {text}" if text else "")
    return ComputeFailed(message, type=kind, function=name)


def serve(link: Link) -> None:
    """Do calls until the coordinator closes the socket."""
    link.send(encode(("ready",)))
    while (frame := link.receive()) is not None:
        _, call_id, name, pickled_args = frame
        progress.set_sink(ProgressSink(link, call_id))
        try:
            answer = _answer(call_id, name, pickled_args)
        finally:
            progress.set_sink(None)
        link.send(answer)


def _answer(call_id: int, name: str, pickled_args: bytes) -> bytes:
    try:
        value = resolve(name)(*pickle.loads(pickled_args))  # noqa: S301  (see frames.py)
        return encode(("result", call_id, value, *_memory()))
    except BaseException as error:  # also SystemExit: a function cannot end a warm process
        return _error_frame(call_id, translate(error, name))


def _error_frame(call_id: int, error: GsvrError) -> bytes:
    try:
        return encode(("error", call_id, error, *_memory()))
    except Exception:  # data that does not pickle: keep its text
        error.data = {key: str(value) for key, value in error.data.items()}
        return encode(("error", call_id, error, *_memory()))


def _memory() -> tuple[int, int]:
    return process_memory(os.getpid()) or (0, 0)


def main(argv: list[str]) -> int:
    """Entry of the child. Arguments: descriptor, parent's pid, niceness, data limit in bytes."""
    descriptor, parent_pid, niceness, data_limit = (int(word) for word in argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent_pid)
    faulthandler.enable()
    os.set_inheritable(descriptor, False)
    if niceness:
        os.nice(niceness)
    be_killed_first()
    limit_data(data_limit)
    with socket.socket(fileno=descriptor) as sock:
        try:
            serve(Link(sock))
        except ConnectionError:
            return _ORPHANED
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # no finalisers of native libraries: they have crashed at exit before
