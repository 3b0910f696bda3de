"""`batch_tasks.db.example` is what the code of today would write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from gs_video_report.batch.persistence import Database

EXAMPLE = Path(__file__).parents[2] / "batch_tasks.db.example"


def _schema(path: Path) -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql NOT NULL")
        found = {(kind, name, " ".join(sql.split())) for kind, name, sql in rows}
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    return found | {("pragma", "user_version", str(version))}


async def test_example_database_has_the_schema_of_the_code(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.db"
    await (await Database.open(fresh)).close()
    assert _schema(EXAMPLE) == _schema(fresh)


def test_example_database_shows_every_interesting_state() -> None:
    with closing(sqlite3.connect(f"file:{EXAMPLE}?mode=ro&immutable=1", uri=True)) as connection:
        states = {s for (s,) in connection.execute("SELECT status FROM tasks")}
        counts = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("batches", "tasks", "attempts", "steps", "events")
        }
    assert states == {"completed", "failed", "retrying", "pending"}
    assert counts["tasks"] == 4
    assert all(counts.values())
