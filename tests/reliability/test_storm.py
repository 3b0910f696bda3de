"""Real processes are struck at chosen changes of their files; the oracle finds nothing."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.reliability import oracle, shim
from tests.reliability.scene import FULL, Scene, spoken_library
from tests.reliability.storm import Storm

pytestmark = pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "the shim works")


@pytest.mark.timeout(240)
def test_processes_struck_while_they_change_files_lose_nothing_and_do_nothing_twice(
    fast: Path, reference: Scene
) -> None:
    storm = Storm(fast, reference, random.Random(3), processes=2, spread=250, tell=str)
    tally = storm.run(6)
    assert tally.problems == []
    assert tally.strokes.total() >= 6
    assert tally.kills > 0


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", [101, 102, 103, 104])
def test_long_storm_loses_nothing_and_does_nothing_twice(
    fast: Path, reference: Scene, seed: int
) -> None:
    tally = Storm(fast, reference, random.Random(seed), spread=400, tell=str).run(250)
    assert tally.problems == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_storm_on_speech_slides_and_all_formats_repeats_no_chunk_and_no_slide(
    fast: Path, tmp_path: Path
) -> None:
    pytest.importorskip("faster_whisper")
    reference = Scene(tmp_path / "reference", spoken_library(tmp_path / "in"), FULL)
    code = reference.finish()
    if "E_MODEL" in reference.said() or "speech model" in reference.said():
        pytest.skip("there is no speech model on this machine")
    assert code == 0, reference.said()
    suffixes = {path.suffix for path in reference.output.glob("*/*")}
    assert {".md", ".json", ".html", ".srt", ".vtt"} <= suffixes
    jobs = {job for job, _ in reference.jobs_run()}
    assert {"hear_only_chunk", "read_slide"} <= jobs
    kinds = {"kill": 6, "term": 1, "stop": 1}
    rand = random.Random(5)
    storm = Storm(fast, reference, rand, processes=2, spread=400, kinds=kinds, tell=str)
    tally = storm.run(8)
    assert tally.problems == []
    assert tally.kills > 0


def test_the_oracle_sees_a_report_that_differs_and_one_that_is_missing(
    reference: Scene,
) -> None:
    """Guards the guard: an oracle that finds nothing must be able to find something."""
    copy = Scene(reference.root.with_name("copy"), reference.inputs, reference.extra)
    shutil.copytree(reference.root, copy.root, dirs_exist_ok=True)
    assert oracle.output_problems(copy, reference) == []
    reports = sorted(copy.output.glob("*/**/*.md"))
    reports[0].write_text("altered", encoding="utf-8")
    reports[1].unlink()
    (copy.output / "transcript" / "stranger.md").write_text("x", encoding="utf-8")
    (copy.output / ".gsvr-1-2-3.tmp").touch()
    words = [problem.rpartition(": ")[2] for problem in oracle.output_problems(copy, reference)]
    assert sorted(words) == ["differs", "only after the storm", "only without the storm"]
    assert [p for p in oracle.left_behind(copy) if ".gsvr-" in p]


def test_the_oracle_sees_a_second_completion_and_an_open_attempt(
    reference: Scene, tmp_path: Path
) -> None:
    path = tmp_path / "tasks.db"
    shutil.copy(reference.database, path)
    assert oracle.database_problems(path) == []
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            "INSERT INTO events(at, batch_id, task_id, kind, data) "
            "SELECT at, batch_id, task_id, kind, data FROM events "
            "WHERE kind = 'task.completed' LIMIT 1"
        )
        db.execute("UPDATE attempts SET outcome = NULL, ended_at = NULL WHERE outcome = 'failed'")
        db.execute("UPDATE batches SET completed = completed + 1")
        ((first,), (second,)) = db.execute(
            "SELECT task_id FROM tasks WHERE status = 'completed' ORDER BY task_id DESC LIMIT 2"
        )
        db.execute("DELETE FROM events WHERE kind = 'task.completed' AND task_id = ?", (first,))
        db.execute("DELETE FROM attempts WHERE task_id = ?", (second,))
    found = " ".join(oracle.database_problems(path))
    assert f"no event completed task {first}" in found
    assert f"no attempt completed task {second}" in found
    assert "completed 2 times" in found
    assert "never ended" in found
    assert "counts" in found


def test_the_oracle_sees_a_chunk_of_speech_that_was_heard_again(
    reference: Scene, tmp_path: Path
) -> None:
    scene = Scene(tmp_path / "scene", reference.inputs)
    shutil.copy(reference.database, scene.database)
    with closing(sqlite3.connect(scene.database, isolation_level=None)) as db:
        batch, number, content = db.execute(
            "SELECT batch_id, seq, fingerprint FROM tasks WHERE status = 'completed' LIMIT 1"
        ).fetchone()
        insert = (
            "INSERT INTO steps(step_key, fingerprint, name, part, params, value, seconds, "
            "created_at) VALUES (?, ?, ?, ?, '{}', ?, 0, '')"
        )
        db.execute("DELETE FROM steps WHERE name = 'vad'")
        plan = '{"chunks": [[0, 800], [900, 1600]], "speech": []}'
        db.execute(insert, ("a", content, "vad", 0, plan))
        db.execute(insert, ("b", content, "transcribe", 1, "{}"))
    before = oracle.journaled(scene.database)
    folder = f"task-{batch}-{number}"
    lines = [f"transcribe_chunk {folder}#{start}" for start in (0, 900)]
    scene.jobs.write_text("\n".join([*lines, f"relisten_chunk {folder}#900"]) + "\n")
    assert oracle.run_again(scene, before, Counter()) == [
        f"transcribe_chunk of {folder}#900 was run although it was journaled"
    ]
    assert oracle.run_again(scene, before, scene.jobs_run()) == []
