"""What this machine, or this container, has for us: cores and memory.

Truth: the scheduler's affinity mask, the control group's quota, and psutil, whichever is least.
Of the memory that a control group has charged, file pages that nobody has touched lately are free:
the kernel drops them when memory is needed, and reading videos fills all the room with them.
Source: the "working set" by which Kubernetes evicts pods (cAdvisor, `setMemoryStats`: usage minus
inactive file pages); `docker stats` shows the same.
Never: fails; a file that is not there means "no limit known".
"""

from __future__ import annotations

import os
import re
from pathlib import Path

PROCESS_BYTES = 1_200_000_000
"""What one speech process may need at its peak."""
_CGROUP2 = Path("/sys/fs/cgroup")
_CGROUP1_CPU = Path("/sys/fs/cgroup/cpu")
_CGROUP1_MEMORY = Path("/sys/fs/cgroup/memory")
_UNLIMITED = 1 << 60


def default_processes(cores: int, memory_available_bytes: int) -> int:
    """One process per core, as far as memory goes, and never less than one. Pure."""
    return max(1, min(cores, memory_available_bytes // PROCESS_BYTES))


def cores() -> int:
    """Cores this process may use: affinity mask and control-group quota. At least 1."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        count = os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, count if quota is None else min(count, int(quota + 0.5)))


def memory_available_bytes() -> int:
    """Memory that can still be used without swapping, in this container or machine."""
    import psutil

    available = int(psutil.virtual_memory().available)
    room = _cgroup_memory_room()
    return available if room is None else max(0, min(available, room))


def memory_total_bytes() -> int:
    """Memory of this container or machine."""
    import psutil

    total = int(psutil.virtual_memory().total)
    limit = _first_int(_CGROUP2 / "memory.max", _CGROUP1_MEMORY / "memory.limit_in_bytes")
    return total if limit is None or limit >= _UNLIMITED else min(total, limit)


def oom_kills() -> int | None:
    """Processes the kernel has killed for lack of memory since boot; None where unknown."""
    counts = [
        _counter(Path("/proc/vmstat"), "oom_kill"),
        _counter(_CGROUP2 / "memory.events", "oom_kill"),
        _counter(_CGROUP1_MEMORY / "memory.oom_control", "oom_kill"),
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def process_memory(pid: int) -> tuple[int, int] | None:
    """Resident bytes of a process, now and at its peak; None if it is gone.

    Not getrusage: its maximum survives exec, so a child would report its parent's peak.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return _process_memory_elsewhere(pid)
    now = _kilobytes(text, "VmRSS")
    return None if now is None else (now, _kilobytes(text, "VmHWM") or now)


def _process_memory_elsewhere(pid: int) -> tuple[int, int] | None:
    if Path("/proc/self/status").exists():
        return None
    import psutil

    try:
        rss = int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
    return rss, rss


def _kilobytes(status: str, field: str) -> int | None:
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _cpu_quota() -> float | None:
    words = (_read(_CGROUP2 / "cpu.max") or "").split()
    if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0:
        return int(words[0]) / int(words[1])
    quota = _first_int(_CGROUP1_CPU / "cpu.cfs_quota_us")
    period = _first_int(_CGROUP1_CPU / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _cgroup_memory_room() -> int | None:
    """Bytes below the limit of the control group, its idle page cache counted as free."""
    for folder, limit_name, usage_name, idle_name in (
        (_CGROUP2, "memory.max", "memory.current", "inactive_file"),
        (
            _CGROUP1_MEMORY,
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        limit, usage = _first_int(folder / limit_name), _first_int(folder / usage_name)
        if limit is not None and usage is not None and limit < _UNLIMITED:
            idle = _counter(folder / "memory.stat", idle_name) or 0
            return limit - max(0, usage - idle)
    return None


def _counter(path: Path, name: str) -> int | None:
    found = re.search(rf"^{name} (\d+)$", _read(path) or "", re.MULTILINE)
    return int(found[1]) if found else None


def _first_int(*paths: Path) -> int | None:
    for path in paths:
        text = (_read(path) or "").strip()
        if text.lstrip("-").isdigit():
            return int(text)
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
