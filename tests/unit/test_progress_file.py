"""The file of `--progress-file` replaces earlier ones of its kind and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gs_video_report.batch.data_models import BatchCounts
from gs_video_report.batch.progress.file import ProgressFile, check
from gs_video_report.batch.progress.snapshot import Snapshot
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.errors import ProgressFileRefused
from tests.support.queue import batch


def picture() -> Snapshot:
    return ProgressMonitor(batch(), BatchCounts(pending=2), 1, ref="b1").snapshot()


def read(path: Path) -> dict[str, object]:
    return dict(json.loads(path.read_text("utf-8")))


def test_a_new_an_empty_and_an_earlier_file_are_written(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    for _ in range(2):
        check(path, tmp_path / "q.db", tmp_path / "log")
        assert ProgressFile(path).write(picture()) == ""
        assert read(path)["type"] == "progress"
    path.write_bytes(b"")
    check(path, tmp_path / "q.db", None)
    assert ProgressFile(path).write(picture()) == ""
    assert read(path)["total"] == 2


@pytest.mark.parametrize(
    "content",
    [b"\x00\x00\x00 ftypisom", b"notes", b'{"schema": 1}', b"\n", b'{"type": "progress"}'],
)
def test_anything_else_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "progress.json"
    path.write_bytes(content)
    with pytest.raises(ProgressFileRefused, match="holds something else"):
        check(path, tmp_path / "q.db", None)
    assert "holds something else" in ProgressFile(path).write(picture())
    assert path.read_bytes() == content


def test_databases_folders_devices_and_the_log_are_refused(tmp_path: Path) -> None:
    database, log = tmp_path / "q.db", tmp_path / "run.log"
    for end in ("", "-wal", "-shm"):
        with pytest.raises(ProgressFileRefused, match="is a database"):
            check(tmp_path / f"q.db{end}", database, log)
    for other in (tmp_path, Path("/dev/null")):
        with pytest.raises(ProgressFileRefused, match="is not a file"):
            check(other, database, log)
    with pytest.raises(ProgressFileRefused, match="is the log file"):
        check(tmp_path / "." / "run.log", database, log)


def test_a_report_that_got_the_name_meanwhile_stays_and_that_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    file = ProgressFile(path)
    assert file.write(picture()) == ""
    path.write_text("<!doctype html>")
    assert "holds something else" in file.write(picture())
    assert file.write(picture()) == ""
    assert path.read_text() == "<!doctype html>"
    path.unlink()
    assert file.write(picture()) == ""
    path.write_text("<!doctype html>")
    assert "holds something else" in file.write(picture())
