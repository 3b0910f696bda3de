"""Whole runs against a machine that fails: disk, database, checkpoint, decoder, another program.

Each is resumed with the same command once the fault is gone, and must end as if nothing had been.
"""

from __future__ import annotations

import errno
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gs_video_report.batch.checkpoint import files as checkpoint_files
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.task_queue import TaskQueue
from tests.reliability import oracle, shim
from tests.reliability.scene import Scene, end
from tests.reliability.shim import FOREVER, Fate, Faults, Kind
from tests.support.queue import BATCH, batch, task

GOOD = 3
"""Exit code of a batch in which only the file that is no recording has failed."""


def wait_until(condition: Callable[[], object], within_s: float = 60.0) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.005)


def running(scene: Scene) -> list[tuple[int, str]]:
    """(task, worker) of the running tasks; none before there is a queue."""
    tables = "SELECT 1 FROM sqlite_master WHERE name = 'tasks'"
    if not scene.database.exists() or not oracle.rows(scene.database, tables):
        return []
    return oracle.rows(
        scene.database, "SELECT task_id, worker_id FROM tasks WHERE status = 'running'"
    )


def last_words(scene: Scene) -> str:
    return scene.said()[-1500:]


# --- the disk ----------------------------------------------------------------------------------


def fails_and_goes_on(
    scene: Scene, faults: Faults, at: int, number: int, kinds: Kind, only: str
) -> str:
    """From the change `at` on the disk fails; then it is well again. Returns what was said."""
    faults.strike(at, Fate.ERROR, number, times=FOREVER, kinds=kinds, only=only)
    code = scene.finish("--max-retries", "0")
    said = scene.said()
    assert faults.struck > 0, "the fault was never met"
    assert code == 1, (code, said[-1500:])
    assert "Traceback" not in said
    faults.calm()
    assert scene.finish() == GOOD, last_words(scene)
    return said


def test_a_full_disk_stops_the_batch_in_plain_words_and_it_goes_on_when_there_is_space(
    scene: Scene, faults: Faults, reference: Scene
) -> None:
    said = fails_and_goes_on(scene, faults, 300, errno.ENOSPC, Kind.NEEDS_SPACE, "")
    assert "no space left" in said
    assert oracle.check(scene, reference) == []


@pytest.mark.slow
def test_an_output_folder_that_turns_read_only_stops_the_batch_and_fails_no_recording(
    scene: Scene, faults: Faults, reference: Scene
) -> None:
    said = fails_and_goes_on(scene, faults, 9, errno.EACCES, Kind.ANY, "/out/")
    assert "cannot be written" in " ".join(said.split())
    assert oracle.check(scene, reference) == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_at_any_moment_costs_nothing(
    fast: Path, library: Path, flags: tuple[str, ...], reference: Scene, number: int
) -> None:
    if shim.missing():
        pytest.skip(shim.missing())
    met = 0
    for at in range(1, 600, 23):
        scene = Scene(fast / f"at{at}", library, flags)
        with Faults(scene.root.parent, scene.root) as faults:
            scene.faults = faults
            kinds = Kind.NEEDS_SPACE if number == errno.ENOSPC else Kind.ANY & ~Kind.UNLINK
            faults.strike(at, Fate.ERROR, number, times=FOREVER, kinds=kinds)
            code = scene.finish("--max-retries", "0")
            assert code in (0, 1, GOOD), (at, last_words(scene))
            assert "Traceback" not in scene.said(), at
            assert (faults.struck > 0) is (faults.count >= at), at
            met += faults.struck > 0
            faults.calm()
            assert scene.finish() == GOOD, (at, last_words(scene))
            assert oracle.check(scene, reference) == [], at
    assert met > 10, "a run makes fewer changes than the moments are apart"


# --- the database ------------------------------------------------------------------------------


def killed_midway(scene: Scene) -> None:
    """Leave the scene as a SIGKILL with some finished steps leaves it, with a WAL."""
    process = scene.start()
    wait_until(lambda: running(scene) and oracle.journaled(scene.database))
    end(process)


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["cut", "garbage", "gone"])
def test_a_harmed_wal_costs_the_last_commits_and_nothing_else(
    scene: Scene, reference: Scene, harm: str
) -> None:
    """SQLite's checksums end the WAL where it is harmed; what is older is there."""
    killed_midway(scene)
    wal = scene.database.with_name(scene.database.name + "-wal")
    content = wal.read_bytes()
    assert len(content) > 10_000
    third = len(content) // 3
    harmed = {
        "cut": content[: 2 * third + 17],
        "garbage": content[: 2 * third] + bytes(range(256)) * (third // 256),
        "gone": b"",
    }
    wal.write_bytes(harmed[harm])
    assert scene.finish() == GOOD, last_words(scene)
    problems = oracle.check(scene, reference)
    if harm == "gone":  # the batch itself was in the WAL; its work folders are swept after a day
        problems = [p for p in problems if not p.startswith("cache/work/")]
    assert problems == []


def test_damaged_pages_are_named_and_the_newest_sound_checkpoint_rebuilds_the_batch(
    scene: Scene, reference: Scene
) -> None:
    """The newest checkpoint is altered, too, so an older one must serve; reports stay."""
    assert scene.finish() == GOOD, last_words(scene)
    times = {p: p.stat().st_mtime_ns for p in scene.output.glob("*/**/*.json")}
    content = bytearray(scene.database.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    scene.database.write_bytes(content)
    newest = max((scene.root / "checkpoints").glob("*.ckpt"), key=checkpoint_files.order)
    altered = bytearray(newest.read_bytes())
    altered[len(altered) // 2] ^= 0xFF
    newest.write_bytes(altered)
    assert scene.finish() == 1
    assert "--resume-from latest" in last_words(scene)
    again = ("batch", "process", "--resume-from", "latest", "--progress", "none")
    assert scene.gsvr(*again) == GOOD, last_words(scene)
    assert oracle.output_problems(scene, reference) == []
    assert list(scene.root.glob("tasks.db.damaged-*"))
    assert times.keys() == set(scene.output.glob("*/**/*.json"))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_database_that_another_program_holds_for_a_minute_is_waited_for(
    scene: Scene, reference: Scene
) -> None:
    hold_lock(scene, 62.0)
    assert oracle.check(scene, reference) == []


def hold_lock(scene: Scene, seconds: float) -> None:
    """Hold the write lock while a run is under way; the run must end well."""
    process = scene.start()
    wait_until(lambda: running(scene))
    with closing(sqlite3.connect(scene.database, isolation_level=None, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(seconds)
        other.execute("COMMIT")
    assert process.wait(120) == GOOD, last_words(scene)


async def test_a_backup_taken_during_writes_holds_every_promise_before_it(tmp_path: Path) -> None:
    import asyncio

    async with await Database.open(tmp_path / "gsvr.db") as db:
        queue = TaskQueue(db)
        await queue.create_batch(batch())
        await queue.add_tasks(BATCH, [task(n) for n in range(1, 201)])

        async def more() -> None:
            for n in range(201, 500, 3):
                await queue.add_tasks(BATCH, [task(n), task(n + 1), task(n + 2)])

        writing = asyncio.create_task(more())
        copy = tmp_path / "copy.db"
        await asyncio.to_thread(back_up, db.path, copy)
        assert not writing.done(), "the copy was made while others wrote"
        await writing
    with closing(sqlite3.connect(copy)) as db2:
        assert db2.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = [seq for (seq,) in db2.execute("SELECT seq FROM tasks ORDER BY seq")]
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) >= 200


def back_up(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as a, closing(sqlite3.connect(target)) as b:
        a.backup(b)


async def test_a_pinned_reader_stops_no_write_and_the_wal_stops_growing_after_him(
    tmp_path: Path,
) -> None:
    """While he reads, the WAL cannot be reused; afterwards it is, and is gone at the end."""
    path = tmp_path / "gsvr.db"
    async with await Database.open(path) as db:
        queue = TaskQueue(db)
        await queue.create_batch(batch())
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM tasks").fetchone()
            for start in range(1, 4001, 500):
                await queue.add_tasks(BATCH, [task(n) for n in range(start, start + 500)])
            assert reader.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
            pinned = path.with_name("gsvr.db-wal").stat().st_size
            reader.execute("COMMIT")
        assert pinned > 1_000_000
        for n in range(4001, 4201):
            await queue.add_tasks(BATCH, [task(n)])
        settled = path.with_name("gsvr.db-wal").stat().st_size
        for n in range(4201, 4401):
            await queue.add_tasks(BATCH, [task(n)])
        assert path.with_name("gsvr.db-wal").stat().st_size == settled
        assert (await queue.counts(BATCH)).total == 4400
    assert not path.with_name("gsvr.db-wal").exists()


# --- processes ---------------------------------------------------------------------------------


def test_decoders_that_crash_hang_or_eat_memory_cost_their_own_recording_only(
    scene: Scene, reference: Scene
) -> None:
    """One after another: `again` has a twin, and would not be decoded if that one came first."""
    names = {"01 talk": "segfault", "again": "hang", "week2/00 talk": "hog"}
    scene.environment["JOBS_RUINED"] = json.dumps(names)
    code = scene.finish("--max-retries", "0", "--stall-timeout", "4", "--parallel", "1")
    assert code == GOOD, last_words(scene)
    errors = dict(
        oracle.rows(
            scene.database,
            "SELECT json_extract(video, '$.relative_path'), error_code FROM tasks "
            "WHERE status = 'failed'",
        )
    )
    assert errors == {
        "broken.mp4": "E_NO_MEDIA",
        "again.mp4": "E_STALLED",
        "week1/01 talk.mp4": "E_COMPUTE_CRASHED",
        "week2/00 talk.mp4": "E_OUT_OF_MEMORY",
    }
    assert oracle.processes_of(scene) == []
    del scene.environment["JOBS_RUINED"]
    assert scene.gsvr("batch", "retry", "latest", "--failed", "--progress", "none") == GOOD
    assert oracle.output_problems(scene, reference) == []


def test_tasks_of_a_killed_process_are_in_other_hands_within_a_second(
    scene: Scene, reference: Scene
) -> None:
    """The dead one held a lease of a minute; nobody waits for it."""
    scene.environment["JOBS_RUINED"] = json.dumps({"talk": "hang", "again": "hang"})
    stuck = scene.start()
    wait_until(lambda: len(running(scene)) == 3)
    held = {task_id for task_id, _ in running(scene)}
    del scene.environment["JOBS_RUINED"]
    other = scene.start()
    wait_until(lambda: count(scene, "pending") == 0 and len(running(scene)) == len(held))
    end(stuck)
    killed = time.monotonic()
    wait_until(lambda: not any(f"-{stuck.pid}-" in worker for _, worker in running(scene)))
    assert time.monotonic() - killed < 1.5  # a second, and a slow machine
    assert other.wait(60) == GOOD, last_words(scene)
    assert oracle.check(scene, reference) == []


def count(scene: Scene, status: str) -> int:
    found = oracle.rows(scene.database, f"SELECT count(*) FROM tasks WHERE status = '{status}'")
    return int(found[0][0])


@pytest.mark.slow
def test_sigterm_hands_everything_back_and_a_second_one_is_immediate(
    scene: Scene, reference: Scene
) -> None:
    scene.environment["JOBS_RUINED"] = json.dumps({"talk": "hang", "again": "hang"})
    process = scene.start()
    wait_until(lambda: len(running(scene)) == 3)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: "Stopping" in scene.said())
    process.send_signal(signal.SIGTERM)
    second = time.monotonic()
    assert process.wait(30) == 143, last_words(scene)
    assert time.monotonic() - second < 3.0
    assert oracle.rows(scene.database, "SELECT count(*) FROM attempts WHERE outcome='failed'")[
        0
    ] <= (1,)
    assert running(scene) == []
    assert oracle.processes_of(scene) == []
    del scene.environment["JOBS_RUINED"]
    assert scene.finish() == GOOD
    assert oracle.check(scene, reference) == []


def failed(scene: Scene) -> dict[str, dict[str, str]]:
    """Path -> stored error of the failed tasks."""
    rows = oracle.rows(
        scene.database,
        "SELECT json_extract(video, '$.relative_path'), error FROM tasks WHERE status = 'failed'",
    )
    return {path: json.loads(error) for path, error in rows}


def explained_as_poison(scene: Scene, path: str) -> None:
    """One explained error for the file, in the database and on the error page; all else is done."""
    errors = failed(scene)
    assert {name: error["code"] for name, error in errors.items()} == {
        "broken.mp4": "E_NO_MEDIA",
        path: "E_POISON",
    }
    assert errors[path]["message"]
    assert errors[path]["hint"]
    (page,) = scene.output.glob("errors-*.md")
    assert page.read_text("utf-8").count(Path(path).name) >= 1
    assert count(scene, "completed") == 3
    assert running(scene) == []
    assert oracle.processes_of(scene) == []


def test_a_recording_that_kills_its_process_every_time_fails_as_poison_and_the_others_finish(
    scene: Scene,
) -> None:
    """Three crashes, although five more tries were allowed."""
    scene.environment["JOBS_RUINED"] = json.dumps({"01 talk": "segfault"})
    assert scene.finish("--max-retries", "8") == GOOD, last_words(scene)
    explained_as_poison(scene, "week1/01 talk.mp4")
    outcomes = oracle.rows(
        scene.database,
        "SELECT count(*) FROM attempts JOIN tasks USING(task_id) WHERE error_code = 'E_POISON'",
    )
    assert outcomes == [(3,)]
