"""One locked file per process tells who is alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gs_video_report.batch.store.process_lock import (
    ProcessLock,
    is_alive,
    is_held_here,
    new_process_id,
    process_of,
    remove_dead,
    workers_dir,
)
from gs_video_report.errors import DatabaseReadOnly

HOLDER = """
import sys, time
from pathlib import Path
from gs_video_report.batch.store.process_lock import ProcessLock
lock = ProcessLock(Path(sys.argv[1])).acquire()
print(lock.process_id, flush=True)
sys.stdin.read()
"""


def start_holder(db: Path) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(db)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


def test_other_process_is_alive_until_it_is_killed(tmp_path: Path) -> None:
    db = tmp_path / "q.db"
    child, process_id = start_holder(db)
    try:
        assert is_alive(db, process_id)
        assert remove_dead(db) == []
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not is_alive(db, process_id)
        assert remove_dead(db) == [process_id]
        assert list(workers_dir(db).iterdir()) == []
    finally:
        end(child)


def test_stopped_process_still_counts_as_alive(tmp_path: Path) -> None:
    """Starvation is not death: only the kernel's word counts."""
    db = tmp_path / "q.db"
    child, process_id = start_holder(db)
    try:
        child.send_signal(signal.SIGSTOP)
        assert is_alive(db, process_id)
    finally:
        end(child)


def test_lock_of_this_process_is_alive_and_gone_after_close(tmp_path: Path) -> None:
    db = tmp_path / "q.db"
    with ProcessLock(db) as lock:
        assert is_held_here(lock.process_id)
        assert is_alive(db, lock.process_id)
        assert remove_dead(db) == []
        assert lock.worker_id(3) == f"{lock.process_id}/w3"
        assert process_of(lock.worker_id(3)) == lock.process_id
    assert not is_held_here(lock.process_id)
    assert not is_alive(db, lock.process_id)
    assert not workers_dir(db).exists()


def test_closing_twice_and_acquiring_twice_do_no_harm(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "q.db")
    assert lock.acquire() is lock.acquire()
    lock.close()
    lock.close()
    assert not is_held_here(lock.process_id)


def test_process_without_a_file_counts_as_dead(tmp_path: Path) -> None:
    assert not is_alive(tmp_path / "q.db", "elsewhere-1-abc")


def test_forked_child_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    db = tmp_path / "q.db"
    code = """
import os, signal, sys
from pathlib import Path
from gs_video_report.batch.store.process_lock import ProcessLock
lock = ProcessLock(Path(sys.argv[1])).acquire()
child = os.fork()
if child == 0:
    os.close(1)
    os.close(2)
    signal.pause()
print(lock.process_id, child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(db)], capture_output=True, text=True, check=False
    )
    process_id, orphan = run.stdout.split()
    try:
        assert run.returncode == -signal.SIGKILL
        assert not is_alive(db, process_id)
    finally:
        os.kill(int(orphan), signal.SIGKILL)


def test_two_onlookers_do_not_take_each_other_for_the_owner(tmp_path: Path) -> None:
    import fcntl

    db = tmp_path / "q.db"
    workers_dir(db).mkdir()
    path = workers_dir(db) / "dead-1-x.lock"
    path.touch()
    with path.open() as onlooker:
        fcntl.flock(onlooker, fcntl.LOCK_SH)
        assert not is_alive(db, "dead-1-x")


def test_ids_are_unique_and_name_the_process() -> None:
    one, other = new_process_id(), new_process_id()
    assert one != other
    assert f"-{os.getpid()}-" in one
    assert "/" not in one


def test_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    workers_dir(tmp_path / "q.db").write_text("in the way")
    with pytest.raises(DatabaseReadOnly, match="cannot be written"):
        ProcessLock(tmp_path / "q.db").acquire()


def test_a_working_directory_that_was_deleted_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was tried for ever, with a processor at its limit."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(DatabaseReadOnly, match="cannot be written"):
        ProcessLock(Path("q.db")).acquire()
