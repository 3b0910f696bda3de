"""What must hold after a storm: as if nothing had happened.

Every task has one completion, or one explained failure; no journaled step was run again; the
reports equal those of an undisturbed run apart from run-time fields; no temporary file, lease,
lock file or process is left; the database is sound and its counters are what counting gives.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from gs_video_report.batch.store.process_lock import workers_dir
from tests.reliability.scene import Scene, outputs

STEP_OF_JOB = {
    "probe": "probe",
    "read_subtitles": "subtitles",
    "find_slides": "slides",
    "read_slide": "read",
    "hear_only_chunk": "language",
}
"""Jobs that leave a step. Decoding sound is not among them: samples are made again on purpose."""
CHUNK_STEP_OF_JOB = {"transcribe_chunk": "transcribe", "relisten_chunk": "relisten"}
"""Jobs that leave a step for each chunk of speech; told apart by its first sample."""
ENDED = {"completed", "failed", "skipped"}


def check(scene: Scene, reference: Scene) -> list[str]:
    """What is wrong after the storm; empty means: as if nothing had happened."""
    return [
        *database_problems(scene.database),
        *output_problems(scene, reference),
        *left_behind(scene),
    ]


def output_problems(scene: Scene, reference: Scene) -> list[str]:
    """Files that an undisturbed run has not, has, or has otherwise."""
    mine, theirs = outputs(scene), outputs(reference)
    problems = [
        f"{name}: only {'after' if name in mine else 'without'} the storm"
        for name in sorted(mine.keys() ^ theirs.keys())
    ]
    both = sorted(mine.keys() & theirs.keys())
    return problems + [f"{name}: differs" for name in both if mine[name] != theirs[name]]


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """All rows, read as any SQLite browser would."""
    with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=30)) as db:
        return db.execute(statement).fetchall()


def database_problems(path: Path) -> list[str]:
    """Completions, journal, leases and integrity, read from the tables themselves."""
    problems = []
    states = dict(rows(path, "SELECT status, count(*) FROM tasks GROUP BY status"))
    if set(states) - ENDED:
        problems.append(f"unfinished tasks: {states}")
    twice = rows(
        path,
        "SELECT task_id, count(*) FROM events WHERE kind = 'task.completed' "
        "GROUP BY task_id HAVING count(*) <> 1",
    )
    problems += [f"task {task_id} completed {n} times" for task_id, n in twice]
    for table, word in (("events WHERE kind = 'task.completed'", "no event"),
                        ("attempts WHERE outcome = 'completed'", "no attempt")):  # fmt: skip
        untold = rows(path, "SELECT task_id FROM tasks WHERE status = 'completed' AND task_id NOT "
                            f"IN (SELECT task_id FROM {table})")  # fmt: skip
        problems += [f"{word} completed task {task_id}" for (task_id,) in untold]
    dead_wrong = rows(path, "SELECT task_id, error_code FROM tasks WHERE error_code = 'E_POISON'")
    problems += [f"task {task_id} failed as {code}" for task_id, code in dead_wrong]
    steps, events = (
        rows(path, "SELECT count(*) FROM steps")[0][0],
        rows(path, "SELECT count(*) FROM events WHERE kind = 'step'")[0][0],
    )
    if steps != events or steps == 0:
        problems.append(f"{steps} steps in the journal, {events} times a step was journaled")
    problems += _attempt_problems(path)
    problems += [f"integrity: {t}" for (t,) in rows(path, "PRAGMA integrity_check") if t != "ok"]
    problems += [f"foreign key: {row}" for row in rows(path, "PRAGMA foreign_key_check")]
    return problems


def _attempt_problems(path: Path) -> list[str]:
    problems = [
        f"attempt {attempt} of task {task_id} never ended"
        for task_id, attempt in rows(
            path, "SELECT task_id, attempt FROM attempts WHERE outcome IS NULL"
        )
    ]
    won = Counter(
        t for (t,) in rows(path, "SELECT task_id FROM attempts WHERE outcome='completed'")
    )
    problems += [f"task {t} was completed by {n} attempts" for t, n in won.items() if n != 1]
    columns = ("pending", "running", "retrying", "completed", "failed", "cancelled", "skipped")
    for column in columns:
        wrong = rows(
            path,
            f"SELECT batch_id, {column} FROM batches WHERE {column} <> (SELECT count(*) FROM tasks "
            f"WHERE tasks.batch_id = batches.batch_id AND status = '{column}')",
        )
        problems += [f"batch {batch}: counts {n} {column}" for batch, n in wrong]
    return problems


def journaled(path: Path) -> set[tuple[str, str]]:
    """(step, fingerprint) of everything in the journal; none before there is a database.

    A chunk of speech is there by its first sample as well, as `transcribe#16000`.
    """
    if not path.exists() or not rows(path, "SELECT 1 FROM sqlite_master WHERE name = 'steps'"):
        return set()
    plans = rows(path, "SELECT fingerprint, value FROM steps WHERE name = 'vad'")
    chunks = {content: json.loads(value)["chunks"] for content, value in plans}
    steps = rows(path, "SELECT name, fingerprint, part FROM steps")
    return {(name, content) for name, content, _ in steps} | {
        (f"{name}#{chunks[content][part][0]}", content)
        for name, content, part in steps
        if name in CHUNK_STEP_OF_JOB.values() and content in chunks
    }


def run_again(
    scene: Scene, before: set[tuple[str, str]], seen: Counter[tuple[str, str]]
) -> list[str]:
    """Jobs that a run started although their step was journaled before it.

    Args:
        before: `journaled()` when the run began. seen: `jobs_run()` then.
    """
    content = dict(_fingerprints(scene)) | _of_task_folders(scene.database)
    return [
        f"{job} of {name} was run although it was journaled"
        for job, name in scene.jobs_run() - seen
        if (_step_of(job, name), content.get(name.partition("#")[0], "")) in before
    ]


def _step_of(job: str, name: str) -> str:
    """The step that a job leaves; of a chunk, with its first sample."""
    if job in CHUNK_STEP_OF_JOB:
        return f"{CHUNK_STEP_OF_JOB[job]}#{name.rpartition('#')[2]}"
    return STEP_OF_JOB.get(job, "")


def _of_task_folders(path: Path) -> dict[str, str]:
    """Name of a task's work folder -> SHA-256 of its content."""
    if not path.exists() or not rows(path, "SELECT 1 FROM sqlite_master WHERE name = 'tasks'"):
        return {}
    statement = "SELECT batch_id, seq, fingerprint FROM tasks WHERE fingerprint IS NOT NULL"
    return {f"task-{batch}-{seq}": content for batch, seq, content in rows(path, statement)}


def _fingerprints(scene: Scene) -> list[tuple[str, str]]:
    """File name -> SHA-256, for names that only one content has."""
    import hashlib

    found: dict[str, set[str]] = {}
    for path in scene.inputs.rglob("*.mp4"):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.setdefault(path.name, set()).add(digest)
    return [(name, next(iter(each))) for name, each in found.items() if len(each) == 1]


def left_behind(scene: Scene) -> list[str]:
    """Temporary files, work folders, lock files, and processes that still have the scene's root."""
    problems = [f"{p.relative_to(scene.root)}: left behind" for p in scene.output.rglob(".gsvr-*")]
    work = scene.cache / "work"
    problems += [f"{p.relative_to(scene.root)}: left behind" for p in work.glob("*")]
    locks = workers_dir(scene.database)
    problems += [f"{p.name}: lock of a dead process" for p in locks.glob("*.lock")]
    return problems + [f"process {pid} still runs" for pid in processes_of(scene)]


def processes_of(scene: Scene) -> list[int]:
    """Processes that were started for this scene (its path is in their environment)."""
    mark = f"JOBS_LOG={scene.jobs}".encode()
    found = []
    for process in psutil.process_iter():
        try:
            variables = Path(f"/proc/{process.pid}/environ").read_bytes()
        except OSError:
            continue
        if mark in variables and process.pid != os.getpid():
            found.append(process.pid)
    return found
