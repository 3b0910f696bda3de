"""Shell completion of batch references, straight from the database, without heavy imports."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing


def batch_refs(prefix: str) -> list[str]:
    """Ids of the newest batches that start with `prefix`, and `latest`. Never raises."""
    path = os.environ.get("GSVR_DB", "batch_tasks.db")
    found = ["latest"]
    try:
        from gs_video_report.batch.batch_store import recent_batch_ids

        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)) as connection:
            found += recent_batch_ids(connection)
    except (sqlite3.Error, OSError, ImportError):
        return [r for r in found if r.startswith(prefix)]
    return [r for r in found if r.startswith(prefix)]
