"""One child process, seen from the coordinator: start, call, kill, reap.

Truth: `exited` is done when the process and its whole process group are gone and reaped.
True here: the process has its own session; its output goes to a pipe of which the last 4 KiB
are kept, so nothing it prints reaches the user's terminal; everything runs in the event loop.
Never: decides who is called next; blocks the loop (starting costs the one or two ms of a fork).
Raises: through the future of a call only: what the function raised, or why its process died.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from gs_video_report.compute import machine
from gs_video_report.compute.base import ProgressCallback
from gs_video_report.compute.death import Death, KillReason, explain, signal_name
from gs_video_report.compute.frames import FrameDecoder, encode
from gs_video_report.compute.spawn import WorkerOptions, spawn
from gs_video_report.errors import ComputeCrashed, ComputeFailed, GsvrError, StepCancelled

STDERR_KEPT_BYTES = 4096
START_TIMEOUT_S = 60.0
KILL_GRACE_S = 0.4
_POLL_S = 0.002
_DISCONNECTED_GRACE_S = 5.0
_call_ids = itertools.count(1)


@dataclass(slots=True)
class Call:
    """One call in flight."""

    call_id: int
    function: str
    on_progress: ProgressCallback | None
    outcome: asyncio.Future[Any]
    oom_kills_before: int | None
    last_progress: float
    """Loop time of the start or the last report."""


@dataclass(eq=False)
class WorkerProcess(asyncio.Protocol):
    """A child and the connection to it. Not reusable after `exited`."""

    options: WorkerOptions
    on_exit: Callable[[WorkerProcess], None]
    on_output: Callable[[WorkerProcess, str], None] | None = None
    """Gets each whole line that the process prints; must not raise."""
    served: set[str] = field(default_factory=set)
    """Functions it has run: their models are loaded."""
    calls: int = 0
    rss_bytes: int = 0
    peak_bytes: int = 0
    killed_for: KillReason | None = None
    returncode: int | None = None

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes]
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._decoder = FrameDecoder()
        self._call: Call | None = None
        self._limit = 0.0
        self._kill_at = math.inf
        self._disconnected = False
        self._output = self._unfinished = b""
        self._output_end: int | None = None
        self._reaper: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    # --- life -----------------------------------------------------------------------------------

    async def start(self, on_spawn: Callable[[int], None]) -> None:
        """Start the process, tell `on_spawn` its id at once, and wait until it listens.

        Must be called in the thread that lives as long as the program: the kernel's wish to die
        with the parent is tied to the thread that forked (prctl(2), PR_SET_PDEATHSIG).

        Raises: ComputeCrashed when it does not come up; StepCancelled when it was closed
            meanwhile. Cancellation: the process is killed.
        """
        try:
            self._process, sock, self._output_end = spawn(self.options)
        except OSError as error:
            self.exited.set_result(None)
            raise ComputeCrashed(f"no compute process could be started ({error})") from error
        on_spawn(self.pid)
        self._loop.add_reader(self._output_end, self._read_output)
        try:
            await self._loop.create_unix_connection(lambda: self, sock=sock)
            await asyncio.wait(
                {self._ready, self.exited},
                timeout=START_TIMEOUT_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not self._ready.done() or self.exited.done():
                raise self._start_error()
        except BaseException:
            self.kill(KillReason.CANCEL)
            raise

    def kill(
        self, reason: KillReason, *, limit: float = 0.0, grace_s: float = KILL_GRACE_S
    ) -> None:
        """SIGTERM to the process group now, SIGKILL after `grace_s`. The first reason stays.

        Returns at once; await `exited` for the end.
        """
        if self.exited.done() or self.returncode is not None:
            return
        if self.killed_for is None and not self._disconnected:
            self.killed_for, self._limit = reason, limit
            self._signal_group(signal.SIGTERM)
        self._reap_soon(grace_s)

    def is_usable(self) -> bool:
        """Whether it can take a call."""
        return self._reaper is None and self._ready.done() and not self.exited.done()

    @property
    def is_busy(self) -> bool:
        """Whether a call is in flight."""
        return self._call is not None

    @property
    def pid(self) -> int:
        """Process id, which is also its process group and session."""
        return self._process.pid

    def sample_memory(self) -> int:
        """Resident bytes now; keeps the peak. 0 once it is gone."""
        measured = machine.process_memory(self.pid)
        if measured is None:
            return 0
        self._note_memory(*measured)
        return measured[0]

    # --- calls ----------------------------------------------------------------------------------

    def call(self, function: str, args: bytes, on_progress: ProgressCallback | None) -> Call:
        """Send one call (`args` from `encode_call`); its outcome arrives in the future."""
        self._read_output()
        self._output = b""  # what an earlier call printed explains nothing
        call = Call(
            call_id=next(_call_ids),
            function=function,
            on_progress=on_progress,
            outcome=self._loop.create_future(),
            oom_kills_before=machine.oom_kills(),
            last_progress=self._loop.time(),
        )
        call.outcome.add_done_callback(_retrieve)
        self._call = call
        self.calls += 1
        self.served.add(function)
        self._connected.write(encode(("call", call.call_id, function, args)))
        return call

    @property
    def _connected(self) -> asyncio.Transport:
        if self._transport is None:
            raise RuntimeError("the process was called before it was started")
        return self._transport

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        try:
            for frame in self._decoder.feed(data):
                self._handle(frame)
        except Exception as error:  # a class that does not unpickle here
            self._settle_unreadable(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio: the process is ending, or has closed our descriptor."""
        if self.killed_for is None and not self.exited.done():
            self._disconnected = True
        self._reap_soon(_DISCONNECTED_GRACE_S)

    # --- inside ---------------------------------------------------------------------------------

    def _handle(self, frame: tuple[Any, ...]) -> None:
        kind = frame[0]
        if kind == "ready":
            self._ready.set_result(None)
            return
        call = self._call
        if call is None or frame[1] != call.call_id:
            return
        if kind == "progress":
            self._report(call, frame[2], frame[3])
            return
        self._note_memory(frame[3], frame[4])
        self._call = None
        if call.outcome.done():
            return
        if kind == "result":
            call.outcome.set_result(frame[2])
        else:
            call.outcome.set_exception(frame[2])

    def _report(self, call: Call, done: float, total: float) -> None:
        call.last_progress = self._loop.time()
        if call.on_progress is None or call.outcome.done():
            return
        try:
            call.on_progress(done, total)
        except Exception as error:  # a display that fails must not cost the work
            self._loop.call_exception_handler(
                {"message": "a progress callback failed", "exception": error}
            )

    def _settle_unreadable(self, error: Exception) -> None:
        call, self._call = self._call, None
        if call is not None and not call.outcome.done():
            call.outcome.set_exception(
                ComputeFailed(
                    f"the answer of {call.function} cannot be read: {error}",
                    function=call.function,
                )
            )
        self.kill(KillReason.RECYCLE)

    def _note_memory(self, rss_bytes: int, peak_bytes: int) -> None:
        self.rss_bytes = rss_bytes
        self.peak_bytes = max(self.peak_bytes, peak_bytes)

    def _reap_soon(self, grace_s: float) -> None:
        self._kill_at = min(self._kill_at, self._loop.time() + grace_s)
        if self._reaper is None:
            self._reaper = self._loop.create_task(self._reap(), name="gsvr-reap")

    async def _reap(self) -> None:
        """Wait for the end, then clear the group before the id is given back by reaping."""
        forced = False
        while not self._has_ended():
            if not forced and self._loop.time() >= self._kill_at:
                self._signal_group(signal.SIGKILL)
                forced = True
            await asyncio.sleep(_POLL_S)
        self._signal_group(signal.SIGKILL)
        self.returncode = self._process.wait()
        self._disconnected = self._disconnected and forced
        self._read_output()
        self._close_descriptors()
        self._fail_call()
        self.exited.set_result(None)
        self.on_exit(self)

    def _has_ended(self) -> bool:
        """Whether it is a zombie; looks without reaping, so the process id stays ours."""
        if not hasattr(os, "waitid"):
            return self._process.poll() is not None
        try:
            state = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return state is not None

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _fail_call(self) -> None:
        call, self._call = self._call, None
        if call is None or call.outcome.done():
            return
        call.outcome.set_exception(explain(self._death(call)))

    def _death(self, call: Call) -> Death:
        kills = machine.oom_kills()
        before = call.oom_kills_before
        return Death(
            function=call.function,
            returncode=self.returncode or 0,
            killed_for=self.killed_for,
            limit=self._limit,
            rss_bytes=self.rss_bytes,
            oom_kills=None if kills is None or before is None else kills - before,
            memory_available_bytes=machine.memory_available_bytes(),
            memory_total_bytes=machine.memory_total_bytes(),
            stderr=self.output_tail,
            disconnected=self._disconnected,
        )

    @property
    def output_tail(self) -> str:
        """The last 4 KiB of what it printed."""
        return self._output.decode("utf-8", errors="replace")

    @property
    def death_words(self) -> str:
        """How it ended, for a log line."""
        code = self.returncode or 0
        return signal_name(-code) if code < 0 else f"exit code {code}"

    def _start_error(self) -> GsvrError:
        if self.killed_for is KillReason.CLOSE:
            return StepCancelled("the work was stopped")
        how = f" ({self.death_words})" if self.exited.done() else ""
        return ComputeCrashed(f"a compute process did not start{how}", _stderr=self.output_tail)

    def _read_output(self) -> None:
        """Take what the process printed; never blocks."""
        while self._output_end is not None:
            try:
                data = os.read(self._output_end, 65536)
            except BlockingIOError:
                return
            if not data:
                self._close_output()
                return
            self._output = (self._output + data)[-STDERR_KEPT_BYTES:]
            if self.on_output is not None:
                self._tell_lines(data)

    def _tell_lines(self, data: bytes) -> None:
        """Pass on what was printed, line by line; a line is cut at 4 KiB."""
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        if len(self._unfinished) > STDERR_KEPT_BYTES:
            lines, self._unfinished = [*lines, self._unfinished], b""
        for line in lines:
            text = line.decode("utf-8", errors="replace").strip()
            if text and self.on_output is not None:
                self.on_output(self, text[:STDERR_KEPT_BYTES])

    def _close_output(self) -> None:
        end, self._output_end = self._output_end, None
        if end is not None:
            self._loop.remove_reader(end)
            os.close(end)
            self._tell_lines(b"\n")  # a last line without an end

    def _close_descriptors(self) -> None:
        self._close_output()
        if self._transport is not None:
            self._transport.abort()


def encode_call(args: tuple[Any, ...]) -> bytes:
    """Pickle the arguments of a call. Raises: TypeError when they do not pickle."""
    import pickle

    try:
        return pickle.dumps(args, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise TypeError(f"arguments cannot be sent to another process: {error}") from error


def _retrieve(outcome: asyncio.Future[Any]) -> None:
    """Mark the error as seen: a cancelled caller does not come back for it."""
    if not outcome.cancelled():
        outcome.exception()
