"""Name why a compute process died. Pure: facts in, an error out.

A death that we caused carries our reason and nothing else counts. A SIGKILL that we did not
send is the kernel's memory killer if its counter moved; if the counter cannot be read, or memory
is short (user-space killers do not count), it most likely was; else somebody killed it by hand.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from enum import StrEnum

from gs_video_report.errors import (
    ComputeCrashed,
    ComputeOutOfMemory,
    ComputeStalled,
    ComputeTimeout,
    GsvrError,
    StepCancelled,
)

LOW_MEMORY_FRACTION = 0.1
LARGE_PROCESS_FRACTION = 0.5
_OUT_OF_MEMORY_TEXT = re.compile(
    r"bad_?alloc|cannot allocate memory|failed to allocate|unable to allocate"
    r"|out of memory|allocation failed|arenaallocation|mmap failed",
    re.IGNORECASE,
)
_ALLOCATING_ERRORS = frozenset(
    {"RuntimeError", "OSError", "RuntimeException", "Fail", "error", "ArrayMemoryError"}
)
_SIGNAL_MEANINGS = {
    signal.SIGSEGV: "invalid memory access",
    signal.SIGABRT: "a library gave up",
    signal.SIGBUS: "a mapped file was cut short, or the disk is full",
    signal.SIGILL: "this processor lacks an instruction that a library uses",
    signal.SIGFPE: "arithmetic error in a library",
    signal.SIGSYS: "a system call is not allowed here",
    signal.SIGXCPU: "the limit of processor time",
    signal.SIGXFSZ: "the limit of file size",
}


class KillReason(StrEnum):
    """Why the coordinator itself ended a process."""

    TIMEOUT = "timeout"
    STALL = "stall"
    CANCEL = "cancel"
    MEMORY = "memory"
    CLOSE = "close"
    RECYCLE = "recycle"


@dataclass(frozen=True, slots=True)
class Death:
    """What is known about a process that ended during a call."""

    function: str
    """`module:qualname` of the call."""
    returncode: int
    """As subprocess gives it: minus the signal, or the exit code."""
    killed_for: KillReason | None = None
    limit: float = 0.0
    """Seconds of the timeout or stall limit, or bytes of the memory limit, of `killed_for`."""
    rss_bytes: int = 0
    """Last resident memory seen."""
    oom_kills: int | None = None
    """Kernel memory kills since the call began; None where they cannot be counted."""
    memory_available_bytes: int | None = None
    """Just after the death, with the memory of the dead process already free."""
    memory_total_bytes: int | None = None
    stderr: str = ""
    """Last output of the process."""
    disconnected: bool = False
    """It lived on after its connection was gone, and had to be killed for that."""


def explain(death: Death) -> GsvrError:
    """The error of the call that was running; `data` holds function, signal or exit code.

    The last output is in `data["_stderr"]`, shown with --verbose only.
    """
    error = _ours(death) if death.killed_for is not None else _foreign(death)
    error.data.setdefault("function", death.function)
    if death.killed_for is None:
        error.data["exit_code" if death.returncode >= 0 else "signal"] = abs(death.returncode)
    if death.stderr.strip():
        error.data["_stderr"] = death.stderr
    return error


def reads_as_out_of_memory(kind: str, text: str) -> bool:
    """Whether an exception of a native library is about memory, by class name and message."""
    return kind in _ALLOCATING_ERRORS and _OUT_OF_MEMORY_TEXT.search(text) is not None


def signal_name(number: int) -> str:
    """`SIGSEGV` for 11; `signal 77` for numbers without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _ours(death: Death) -> GsvrError:
    name = _short(death.function)
    match death.killed_for:
        case KillReason.TIMEOUT:
            return ComputeTimeout(f"{name} took longer than {death.limit:g} s and was stopped")
        case KillReason.STALL:
            return ComputeStalled(f"{name} made no progress for {death.limit:g} s and was stopped")
        case KillReason.MEMORY:
            megabytes = round(death.limit / 1e6)
            return ComputeOutOfMemory(f"{name} needed more than {megabytes} MB and was stopped")
        case _:
            return StepCancelled(f"{name} was stopped")


def _foreign(death: Death) -> GsvrError:
    name = _short(death.function)
    if death.disconnected:
        return ComputeCrashed(f"{name} closed the connection to the program")
    if death.returncode >= 0:
        return ComputeCrashed(f"{name} ended its process with exit code {death.returncode}")
    number = -death.returncode
    if number == signal.SIGKILL:
        return _killed(death, name)
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        return ComputeCrashed(f"{name} was ended from outside ({signal_name(number)})")
    if _OUT_OF_MEMORY_TEXT.search(death.stderr):
        return ComputeOutOfMemory(f"{name} ran out of memory ({signal_name(number)})")
    meaning = _SIGNAL_MEANINGS.get(signal.Signals(number)) if _is_named(number) else None
    return ComputeCrashed(
        f"{name} crashed with {signal_name(number)}" + (f" ({meaning})" if meaning else "")
    )


def _killed(death: Death, name: str) -> GsvrError:
    if death.oom_kills:
        return ComputeOutOfMemory(f"{name} was killed (signal 9) by the system for lack of memory")
    if death.oom_kills is None or _memory_was_short(death):
        return ComputeOutOfMemory(
            f"{name} was killed (signal 9), most likely by the system for lack of memory"
        )
    return ComputeCrashed(f"{name} was killed from outside (signal 9); memory was not short")


def _memory_was_short(death: Death) -> bool:
    available, total = death.memory_available_bytes, death.memory_total_bytes
    if available is None or not total:
        return True
    left_before = available - death.rss_bytes
    return (
        left_before < LOW_MEMORY_FRACTION * total
        or death.rss_bytes > LARGE_PROCESS_FRACTION * total
    )


def _is_named(number: int) -> bool:
    return any(number == known.value for known in signal.Signals)


def _short(function: str) -> str:
    return function.rpartition(":")[2] or "the step"
