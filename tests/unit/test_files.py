"""Atomic writes: the old content or the new one, and nothing left beside it."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gs_video_report import files
from gs_video_report.errors import DiskFullError, FileMissingError, OutputNotWritable


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_write_creates_missing_folders_and_leaves_only_the_file(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "report.md"
    files.write_atomic(target, "第一讲\n")
    assert target.read_bytes() == "第一讲\n".encode()
    assert names(target.parent) == ["report.md"]


def test_a_report_is_as_readable_as_any_other_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("x")
    files.write_atomic(tmp_path / "report", b"x")
    assert (tmp_path / "report").stat().st_mode == plain.stat().st_mode


def test_full_disk_keeps_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.md"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"report\.md: no space left on the disk"):
        files.write_atomic(target, "new")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["report.md"]


def test_real_full_device_is_named_disk_full() -> None:
    """/dev/full refuses at flush, as a full file system does at write."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError) as caught, open("/dev/full", "wb") as file:
        file.write(b"x")
    assert isinstance(files.from_os_error(caught.value, "f", writing=True), DiskFullError)


def test_error_of_the_body_passes_unchanged_and_writes_nothing(tmp_path: Path) -> None:
    def half_a_report() -> None:
        with files.atomic_file(tmp_path / "x") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_a_report()
    assert names(tmp_path) == []


def test_file_in_the_place_of_a_folder_is_a_plain_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputNotWritable, match="cannot be written"):
        files.write_atomic(tmp_path / "out" / "report.md", "x")


def test_symbolic_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "report").symlink_to(tmp_path / "precious")
    files.write_atomic(tmp_path / "report", "new")
    assert (tmp_path / "precious").read_text() == "keep"
    assert (tmp_path / "report").read_text() == "new"


def test_copy_and_hash_agree_over_several_blocks(tmp_path: Path) -> None:
    data = os.urandom(files.COPY_BYTES * 2 + 17)
    (tmp_path / "a").write_bytes(data)
    files.copy_atomic(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == data
    assert files.sha256_file(tmp_path / "b") == hashlib.sha256(data).hexdigest()


def test_missing_source_is_not_called_a_problem_of_the_target(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError):
        files.copy_atomic(tmp_path / "gone", tmp_path / "b")
    assert names(tmp_path) == []


def test_temporary_names_are_recognised(tmp_path: Path) -> None:
    with files.atomic_file(tmp_path / "x"):
        (temp,) = names(tmp_path)
    assert files.is_temp_name(temp)
    assert not files.is_temp_name("report.tmp")


def test_sweep_removes_temps_of_dead_writers_and_leaves_those_of_live_ones(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from gs_video_report.files import temp_name\n"
        "t = temp_name(Path(sys.argv[1])); t.write_text('x'); print(t)"
    )
    made = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    orphan = Path(made.stdout.strip())
    live = files.temp_name(tmp_path)
    live.write_text("being written")
    assert orphan.exists()
    assert files.sweep_temps(tmp_path) == 1
    assert not orphan.exists()
    assert live.exists()


def test_sweep_knows_a_dead_writer_whose_number_another_process_has(tmp_path: Path) -> None:
    """Process ids come round; who started after the last write did not write."""
    old = files.temp_name(tmp_path)
    old.touch()
    os.utime(old, (1_000_000_000, 1_000_000_000))
    assert files.sweep_temps(tmp_path) == 1
    assert not old.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have ids of their own on Linux")
def test_sweep_knows_a_dead_writer_whose_number_a_thread_has(tmp_path: Path) -> None:
    """A signal reaches the thread, so the number looks alive; a writer is always a process."""
    stop, numbers = threading.Event(), []
    thread = threading.Thread(
        target=lambda: (numbers.append(threading.get_native_id()), stop.wait())
    )
    thread.start()
    try:
        while not numbers:
            os.sched_yield()
        mine = files.temp_name(tmp_path)
        old = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{numbers[0]}-"))
        old.touch()
        assert files.sweep_temps(tmp_path) == 1
        assert not old.exists()
    finally:
        stop.set()
        thread.join()
