"""The default compute backend: warm, killable processes on this machine.

Truth: `_workers` holds every process that exists, dying ones included; the limit counts them.
True here: two calls never share a process; waiting calls go by (priority, arrival); when `run()`
has returned or raised, nothing of the call runs any more; processes start when first needed,
keep their models, and are replaced between calls once they grew or served many calls.
Never: blocks the event loop; lets a process outlive the coordinator (guard.py, child.py).
Raises: see `ComputeBackend.run`; also ComputeFailed for errors nobody foresaw, StepCancelled
after `close()`, TypeError for functions or arguments that cannot be sent.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gs_video_report.compute import machine
from gs_video_report.compute.base import ComputeBackend, ComputeStatistics, ProgressCallback
from gs_video_report.compute.death import KillReason
from gs_video_report.compute.frames import function_name
from gs_video_report.compute.guard import GroupGuard
from gs_video_report.compute.spawn import WorkerOptions
from gs_video_report.compute.worker_process import Call, WorkerProcess, encode_call
from gs_video_report.errors import StepCancelled

T = TypeVar("T")

RECYCLE_AFTER_CALLS = 2000
RECYCLE_RSS_BYTES = 1_600_000_000
DEFAULT_NICE = 5
MEMORY_LIMIT_FRACTION = 0.8
"""Of the machine's memory, for one process, unless a limit is given."""
MEMORY_CHECK_S = 0.25
_END_WAIT_S = 5.0
_DATA_LIMIT_FACTOR = 1.25
_DATA_LIMIT_EXTRA_BYTES = 1536 * 1024 * 1024
"""What libraries reserve and never touch: speech recognition and OCR had 1.4 GB of private address
space where 480 MB were resident; with less, a small memory limit would refuse them."""


@dataclass(frozen=True, slots=True)
class ComputeEvent:
    """Something that happened to a process, for logs."""

    kind: str
    """`started`, `ended`, `killed`, `crashed`, `recycled`, `resized`, `output` (a printed line)."""
    pid: int
    """0 when no single process is meant."""
    detail: str = ""


@dataclass(order=True, slots=True)
class _Waiter:
    priority: int
    arrival: int
    function: str = field(compare=False)
    granted: asyncio.Future[WorkerProcess | None] = field(compare=False)
    """An idle process, now reserved; or None: the right to start one."""


class ProcessBackend(ComputeBackend):
    """A pool of child processes. One event loop, the one of the thread that made it.

    Args:
        processes: upper bound; None = one per core as far as memory goes.
        memory_limit_bytes: resident memory at which a call is killed; None = four fifths of the
            machine's memory, 0 = no limit. Looked at four times a second; a single allocation
            far above it is refused by the kernel at once.
        recycle_after_calls, recycle_rss_bytes: a process that served this many calls, or holds
            this much memory after one, is replaced.
        nice: added to the niceness of the children, so that the coordinator and the desktop
            stay responsive.
        on_event: called in the event loop; must not block or raise.
    """

    def __init__(
        self,
        processes: int | None = None,
        *,
        memory_limit_bytes: int | None = None,
        recycle_after_calls: int = RECYCLE_AFTER_CALLS,
        recycle_rss_bytes: int = RECYCLE_RSS_BYTES,
        nice: int = DEFAULT_NICE,
        on_event: Callable[[ComputeEvent], None] | None = None,
    ) -> None:
        if processes is None:
            processes = machine.default_processes(machine.cores(), machine.memory_available_bytes())
        _check_processes(processes)
        self._limit = processes
        self._memory_limit = _memory_limit(memory_limit_bytes)
        self._recycle_after_calls = recycle_after_calls
        self._recycle_rss_bytes = recycle_rss_bytes
        self._options = WorkerOptions(nice=nice, data_limit_bytes=_data_limit(self._memory_limit))
        self._on_event = on_event
        self._workers: set[WorkerProcess] = set()
        self._idle: list[WorkerProcess] = []
        self._permits = 0
        self._waiting: list[_Waiter] = []
        self._arrivals = itertools.count()
        self._guard = GroupGuard()
        self._watcher: asyncio.Task[None] | None = None
        self._closed = False
        self._started = self._recycled = self._crashed = self._peak = 0

    @property
    def processes(self) -> int:
        """The upper bound now."""
        return self._limit

    @property
    def memory_limit_bytes(self) -> int:
        """Resident memory at which a call is killed; 0 = no limit."""
        return self._memory_limit

    async def start(self) -> None:
        """Make ready. Processes start with the first calls. Idempotent.

        Raises: StepCancelled after `close()`.
        """
        self._check_open()
        self._guard.start()
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch_memory(), name="gsvr-memory")

    async def run(
        self,
        fn: Callable[..., T],
        *args: Any,
        timeout_s: float | None = None,
        stall_timeout_s: float | None = None,
        priority: int = 0,
        on_progress: ProgressCallback | None = None,
        on_start: Callable[[], None] | None = None,
    ) -> T:
        """See `ComputeBackend.run`."""
        function = function_name(fn)
        encoded = encode_call(args)
        await self.start()
        worker = await self._usable_worker(function, priority)
        try:
            if on_start is not None:
                on_start()
            call = worker.call(function, encoded, on_progress)
            result: T = await self._outcome(worker, call, timeout_s, stall_timeout_s)
            return result
        finally:
            self._release(worker)

    async def resize(self, processes: int) -> None:
        """Change the upper bound: grow at once, shrink as calls end. Raises: ValueError below 1."""
        _check_processes(processes)
        if processes == self._limit:
            return
        self._emit("resized", 0, f"{self._limit} -> {processes}")
        self._limit = processes
        while self._idle and self._too_many():
            self._retire(self._idle.pop(0))
        self._dispatch()

    def statistics(self) -> ComputeStatistics:
        """A consistent snapshot; measures the memory of every process now."""
        rss = [worker.sample_memory() for worker in self._workers]
        self._note_peaks()
        return ComputeStatistics(
            processes=len(self._workers),
            busy=sum(worker.is_busy for worker in self._workers),
            waiting=sum(not waiter.granted.done() for waiter in self._waiting),
            started=self._started,
            recycled=self._recycled,
            crashed=self._crashed,
            rss_bytes=sum(rss),
            peak_rss_bytes=self._peak,
        )

    async def close(self, grace_s: float = 2.0) -> None:
        """End all: waiting and running calls raise StepCancelled. See `ComputeBackend.close`."""
        self._closed = True
        for waiter in self._waiting:
            if not waiter.granted.done():
                waiter.granted.set_exception(_closed_error())
        self._waiting.clear()
        ending = [worker.exited for worker in self._workers]
        for worker in self._workers:
            worker.kill(KillReason.CLOSE, grace_s=grace_s)
        if ending:
            await asyncio.wait(ending, timeout=grace_s + _END_WAIT_S)
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        self._guard.close()

    async def __aenter__(self) -> ProcessBackend:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- one call -------------------------------------------------------------------------------

    async def _outcome(
        self,
        worker: WorkerProcess,
        call: Call,
        timeout_s: float | None,
        stall_timeout_s: float | None,
    ) -> Any:
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        try:
            while not call.outcome.done():
                wait = _seconds_left(loop.time(), deadline, call.last_progress, stall_timeout_s)
                if wait is not None and wait <= 0:
                    _kill_for_time(worker, loop.time(), deadline, timeout_s, stall_timeout_s)
                    break
                await asyncio.wait({call.outcome}, timeout=wait)
            return await call.outcome
        except asyncio.CancelledError:
            if not call.outcome.done():
                worker.kill(KillReason.CANCEL)
                await asyncio.wait({worker.exited}, timeout=_END_WAIT_S)
            raise

    async def _usable_worker(self, function: str, priority: int) -> WorkerProcess:
        """Also when the granted process died in that very moment: nothing was sent to it."""
        while not (worker := await self._acquire(function, priority)).is_usable():
            self._release(worker)
        return worker

    async def _acquire(self, function: str, priority: int) -> WorkerProcess:
        self._check_open()  # a process that came up during `close()` sends its caller here again
        granted: asyncio.Future[WorkerProcess | None]
        granted = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, _Waiter(priority, next(self._arrivals), function, granted))
        self._dispatch()
        try:
            worker = await granted
        except asyncio.CancelledError:
            self._give_back(granted)
            raise
        return worker if worker is not None else await self._start_worker()

    def _give_back(self, granted: asyncio.Future[WorkerProcess | None]) -> None:
        """The caller was cancelled; pass on what it had been granted in the same moment."""
        if not granted.done() or granted.cancelled() or granted.exception() is not None:
            return
        worker = granted.result()
        if worker is None:
            self._permits -= 1
        else:
            self._release(worker)
        self._dispatch()

    async def _start_worker(self) -> WorkerProcess:
        self._permits -= 1
        self._check_open()
        told = None if self._on_event is None else self._printed
        worker = WorkerProcess(self._options, self._exited, told)
        self._workers.add(worker)
        try:
            await worker.start(self._guard.add)
        except BaseException:
            if worker.exited.done():
                self._workers.discard(worker)
                self._dispatch()
            raise
        self._started += 1
        self._emit("started", worker.pid)
        return worker

    # --- who is next ----------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give idle processes, then rights to start one, to the waiting calls in their order."""
        while self._waiting and not self._closed:
            waiter = self._waiting[0]
            if not waiter.granted.done():
                worker = self._take_idle(waiter.function)
                if worker is None:
                    if len(self._workers) + self._permits >= self._limit:
                        return
                    self._permits += 1
                waiter.granted.set_result(worker)
            heapq.heappop(self._waiting)

    def _take_idle(self, function: str) -> WorkerProcess | None:
        """Prefer one that has run `function`, then the one used last."""
        self._idle = [worker for worker in self._idle if worker.is_usable()]
        for worker in reversed(self._idle):
            if function in worker.served:
                self._idle.remove(worker)
                return worker
        return self._idle.pop() if self._idle else None

    def _release(self, worker: WorkerProcess) -> None:
        if not worker.is_usable():
            return  # `_exited` goes on from there
        if self._too_many():
            self._retire(worker)
        elif self._is_worn(worker):
            self._recycled += 1
            self._emit("recycled", worker.pid, f"{worker.rss_bytes} bytes, {worker.calls} calls")
            self._retire(worker)
        else:
            self._idle.append(worker)
            self._dispatch()

    def _too_many(self) -> bool:
        alive = sum(worker.killed_for is None for worker in self._workers)
        return alive + self._permits > self._limit

    def _is_worn(self, worker: WorkerProcess) -> bool:
        return (
            worker.calls >= self._recycle_after_calls or worker.rss_bytes >= self._recycle_rss_bytes
        )

    def _retire(self, worker: WorkerProcess) -> None:
        worker.kill(KillReason.RECYCLE)

    def _exited(self, worker: WorkerProcess) -> None:
        self._guard.remove(worker.pid)
        self._note_peaks()
        self._workers.discard(worker)
        if worker.killed_for is None:
            self._crashed += 1
            self._emit("crashed", worker.pid, worker.death_words)
        else:
            kind = "ended" if worker.killed_for in _ORDINARY_ENDS else "killed"
            self._emit(kind, worker.pid, worker.killed_for.value)
        self._dispatch()

    # --- watching -------------------------------------------------------------------------------

    async def _watch_memory(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_CHECK_S)
            for worker in list(self._workers):
                if worker.is_busy and self._memory_limit:
                    self._check_memory(worker)

    def _check_memory(self, worker: WorkerProcess) -> None:
        if worker.sample_memory() > self._memory_limit:
            worker.kill(KillReason.MEMORY, limit=self._memory_limit, grace_s=0.0)

    def _note_peaks(self) -> None:
        self._peak = max([self._peak, *(worker.peak_bytes for worker in self._workers)])

    def _check_open(self) -> None:
        if self._closed:
            raise _closed_error()

    def _printed(self, worker: WorkerProcess, line: str) -> None:
        self._emit("output", worker.pid, line)

    def _emit(self, kind: str, pid: int, detail: str = "") -> None:
        if self._on_event is not None:
            self._on_event(ComputeEvent(kind, pid, detail))


_ORDINARY_ENDS = frozenset({KillReason.RECYCLE, KillReason.CLOSE})


def _seconds_left(
    now: float, deadline: float | None, last_progress: float, stall_timeout_s: float | None
) -> float | None:
    """Seconds until the nearer of the two limits; None when there is none. Pure."""
    ends = [] if deadline is None else [deadline]
    if stall_timeout_s is not None:
        ends.append(last_progress + stall_timeout_s)
    return min(ends) - now if ends else None


def _kill_for_time(
    worker: WorkerProcess,
    now: float,
    deadline: float | None,
    timeout_s: float | None,
    stall_timeout_s: float | None,
) -> None:
    if deadline is not None and now >= deadline:
        worker.kill(KillReason.TIMEOUT, limit=timeout_s or 0.0)
    else:
        worker.kill(KillReason.STALL, limit=stall_timeout_s or 0.0)


def _closed_error() -> StepCancelled:
    return StepCancelled("the work was stopped")


def _check_processes(processes: int) -> None:
    if processes < 1:
        raise ValueError(f"at least one process is needed, not {processes}")


def _memory_limit(wanted: int | None) -> int:
    if wanted is not None:
        return wanted
    return int(machine.memory_total_bytes() * MEMORY_LIMIT_FRACTION)


def _data_limit(memory_limit: int) -> int:
    if not memory_limit:
        return 0
    return int(memory_limit * _DATA_LIMIT_FACTOR) + _DATA_LIMIT_EXTRA_BYTES
