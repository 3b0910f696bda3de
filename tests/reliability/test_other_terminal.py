"""Commands from another terminal while a batch is worked on, and two of a kind at once.

None of them may harm the batch: afterwards every report is as in an undisturbed run, or the command
was refused in one sentence with the exit code for "locked".
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gs_video_report.batch.store import file_lock
from gs_video_report.batch.store.batch_lock import rewriting, working_on
from gs_video_report.batch.store.place_lock import PlaceLock
from gs_video_report.batch.store.process_lock import workers_dir
from gs_video_report.errors import BatchInUse, ExitCode
from tests.reliability import oracle
from tests.reliability.scene import Scene, end
from tests.reliability.test_faults import GOOD, last_words, running, wait_until

HANGING = json.dumps({"talk": "hang", "again": "hang"})


@pytest.fixture
def interrupted(scene: Scene) -> Scene:
    """A scene whose first run was killed at its first tasks."""
    scene.environment["JOBS_RUINED"] = HANGING
    process = scene.start()
    wait_until(lambda: len(running(scene)) == 3)
    end(process)
    del scene.environment["JOBS_RUINED"]
    return scene


def batch_id(scene: Scene) -> str:
    return str(oracle.rows(scene.database, "SELECT batch_id FROM batches")[0][0])


# --- runs --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_resumes_of_one_batch_share_it_and_both_end_well(
    interrupted: Scene, reference: Scene
) -> None:
    words = ("batch", "resume", "latest", "--progress", "none")
    both = [interrupted.command_on(*words) for _ in range(2)]
    assert [process.wait(120) for process in both] == [GOOD, GOOD], last_words(interrupted)
    assert oracle.check(interrupted, reference) == []


@pytest.mark.slow
def test_cancel_and_retry_during_a_run_leave_whole_reports_and_no_lease(
    scene: Scene, reference: Scene
) -> None:
    """The run stops by itself; what was cancelled is taken up by the retry of another process."""
    scene.environment["JOBS_RUINED"] = HANGING
    process = scene.start()
    wait_until(lambda: len(running(scene)) == 3)
    assert scene.gsvr("batch", "cancel", "latest", "--yes") == 0, last_words(scene)
    assert process.wait(60) == ExitCode.PARTIAL, last_words(scene)
    assert running(scene) == []
    states = oracle.rows(scene.database, "SELECT DISTINCT status FROM tasks")
    assert ("cancelled",) in states
    assert not {("pending",), ("retrying",)} & set(states)
    del scene.environment["JOBS_RUINED"]
    again = [
        scene.command_on("batch", "retry", "latest", "--progress", "none"),
        scene.command_on("batch", "resume", "latest", "--progress", "none"),
    ]
    assert {p.wait(120) for p in again} <= {0, GOOD}, last_words(scene)
    assert scene.finish() == GOOD
    assert oracle.check(scene, reference) == []


@pytest.mark.slow
def test_the_cache_cleared_again_and_again_during_a_run_costs_repeated_steps_only(
    scene: Scene, reference: Scene
) -> None:
    process = scene.start()
    times = 0
    while process.poll() is None:
        clear = ("cache", "clear", "--yes", "--cache-dir", str(scene.cache))
        assert scene.command_on(*clear, on_database=False).wait(60) == 0, last_words(scene)
        times += 1
    assert times > 1
    assert process.returncode == GOOD, last_words(scene)
    assert oracle.output_problems(scene, reference) == []
    assert oracle.left_behind(scene) == []


# --- reports written anew ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("retry", "latest", "--quality"),
        pytest.param(("render", "latest"), marks=pytest.mark.slow),
    ],
)
def test_reports_are_not_written_anew_while_a_run_may_write_them(
    scene: Scene, words: tuple[str, ...]
) -> None:
    scene.environment["JOBS_RUINED"] = HANGING
    process = scene.start()
    try:
        wait_until(lambda: len(running(scene)) == 3)
        assert scene.gsvr("batch", *words) == ExitCode.LOCKED, last_words(scene)
        assert "a process works on batch" in " ".join(scene.said().split())
    finally:
        end(process)


@pytest.mark.slow
async def test_no_run_begins_while_reports_are_written_anew(interrupted: Scene) -> None:
    async with rewriting(interrupted.database, batch_id(interrupted)):
        assert interrupted.gsvr("batch", "resume", "latest") == ExitCode.LOCKED
        assert "are being written anew" in " ".join(interrupted.said().split())
    assert interrupted.gsvr("batch", "resume", "latest", "--progress", "none") == GOOD


# --- a damaged database ------------------------------------------------------------------------


def damaged(scene: Scene) -> None:
    assert scene.finish() == GOOD, last_words(scene)
    content = bytearray(scene.database.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    scene.database.write_bytes(content)


@pytest.mark.slow
def test_of_two_commands_that_rebuild_a_damaged_database_none_moves_the_others_away(
    scene: Scene, reference: Scene
) -> None:
    damaged(scene)
    words = ("batch", "process", "--resume-from", "latest", "--progress", "none")
    codes = [p.wait(120) for p in [scene.command_on(*words), scene.command_on(*words)]]
    assert GOOD in codes, last_words(scene)
    assert set(codes) <= {GOOD, int(ExitCode.LOCKED)}, last_words(scene)
    kept = [p for p in scene.root.glob("tasks.db.damaged-*") if p.suffix not in ("-wal", "-shm")]
    assert len(kept) == 1
    assert oracle.output_problems(scene, reference) == []
    assert scene.gsvr("batch", "verify", "latest") == 0, last_words(scene)


@pytest.mark.slow
async def test_a_database_that_another_process_has_open_is_not_moved_aside(scene: Scene) -> None:
    damaged(scene)
    before = scene.database.read_bytes()
    place = await PlaceLock.take(scene.database, 1.0)
    code = scene.gsvr("batch", "process", "--resume-from", "latest", "--progress", "none")
    place.close()
    assert code == ExitCode.LOCKED, last_words(scene)
    assert scene.database.read_bytes() == before
    assert not list(scene.root.glob("tasks.db.damaged-*"))


# --- the lock itself ---------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_lock, "TRIES", 2)
    monkeypatch.setattr(file_lock, "PAUSE_S", 0.0)


async def test_runs_share_a_batch_and_a_rewriting_command_has_it_alone(
    tmp_path: Path, impatient: None
) -> None:
    db = tmp_path / "q.db"
    async with working_on(db, "b1"), working_on(db, "b1"):
        with pytest.raises(BatchInUse, match="may still change"):
            async with rewriting(db, "b1"):
                pass
        async with rewriting(db, "b2"):
            pass
    async with rewriting(db, "b1"):
        with pytest.raises(BatchInUse, match="written anew"):
            async with working_on(db, "b1"):
                pass
    assert not workers_dir(db).exists()
