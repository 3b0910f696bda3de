"""Cores and memory as the container allows them, not as the hardware has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gs_video_report.compute import machine


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty control group instead of this machine's."""
    monkeypatch.setattr(machine, "_CGROUP2", tmp_path)
    monkeypatch.setattr(machine, "_CGROUP1_CPU", tmp_path / "cpu")
    monkeypatch.setattr(machine, "_CGROUP1_MEMORY", tmp_path / "memory")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    for name in ("cpu", "memory"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("", 64)],
)
def test_quota_of_the_container_bounds_the_cores(group: Path, quota: str, cores: int) -> None:
    (group / "cpu.max").write_text(quota)
    assert machine.cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("400000", 4), ("-1", 64)])
def test_quota_of_the_older_control_groups(group: Path, quota: str, cores: int) -> None:
    (group / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (group / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert machine.cores() == cores


def test_limit_of_the_container_bounds_the_memory(group: Path) -> None:
    free = machine.memory_available_bytes()
    assert free > 50_000_000
    (group / "memory.max").write_text("80000000\n")
    (group / "memory.current").write_text("50000000\n")
    assert machine.memory_available_bytes() == 30_000_000
    assert machine.memory_total_bytes() == 80_000_000


def test_pages_of_files_that_were_read_are_free_memory(group: Path) -> None:
    """Pins: reading videos filled the page cache, and then there seemed to be no memory left."""
    (group / "memory.max").write_text("80000000\n")
    (group / "memory.current").write_text("79000000\n")
    (group / "memory.stat").write_text(
        "anon 25000000\nfile 54000000\ninactive_file 50000000\nactive_file 4000000\n"
    )
    assert machine.memory_available_bytes() == 51_000_000


def test_pages_of_files_are_free_in_the_older_control_groups(group: Path) -> None:
    (group / "memory" / "memory.limit_in_bytes").write_text("80000000\n")
    (group / "memory" / "memory.usage_in_bytes").write_text("79000000\n")
    (group / "memory" / "memory.stat").write_text(
        "inactive_file 1\ntotal_cache 54000000\ntotal_inactive_file 50000000\n"
    )
    assert machine.memory_available_bytes() == 51_000_000


def test_more_idle_pages_than_memory_in_use_give_no_more_than_the_limit(group: Path) -> None:
    """The two files are read one after the other, while the numbers change."""
    (group / "memory.max").write_text("80000000\n")
    (group / "memory.current").write_text("1000000\n")
    (group / "memory.stat").write_text("inactive_file 2000000\n")
    assert machine.memory_available_bytes() == 80_000_000


def test_no_limit_means_the_machine(group: Path) -> None:
    unlimited = machine.memory_total_bytes()
    (group / "memory.max").write_text("max\n")
    (group / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    (group / "memory" / "memory.usage_in_bytes").write_text("1\n")
    assert machine.memory_total_bytes() == unlimited


def test_kills_are_counted_in_the_container_too(group: Path) -> None:
    before = machine.oom_kills() or 0
    (group / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert machine.oom_kills() == before + 2


def test_memory_of_a_process() -> None:
    measured = machine.process_memory(os.getpid())
    assert measured is not None
    now, peak = measured
    assert 5_000_000 < now <= peak
    assert machine.process_memory(2**22 + 1) is None
