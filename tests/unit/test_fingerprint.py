"""The identity of a recording is its content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from gs_video_report import progress
from gs_video_report.errors import EmptyFileError, FileMissingError, NoMediaError
from gs_video_report.media import fingerprint as module
from gs_video_report.media.fingerprint import fingerprint


def test_it_is_the_sha256_of_all_bytes(tmp_path: Path) -> None:
    data = os.urandom(3 * 1024 * 1024 + 17)
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    assert fingerprint(str(path)) == hashlib.sha256(data).hexdigest()


def test_name_and_time_do_not_matter_but_the_last_byte_does(tmp_path: Path) -> None:
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    one.write_bytes(b"x" * 5_000)
    two.write_bytes(b"x" * 5_000)
    os.utime(two, (1, 1))
    three.write_bytes(b"x" * 4_999 + b"y")
    assert fingerprint(str(one)) == fingerprint(str(two))
    assert fingerprint(str(one)) != fingerprint(str(three))


def test_progress_is_told_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(b"x" * (2 << 20))
    monkeypatch.setattr(module, "_REPORT_S", -1.0)
    told: list[tuple[float, float]] = []
    progress.set_sink(lambda done, total: told.append((done, total)))
    try:
        fingerprint(str(path))
    finally:
        progress.set_sink(None)
    assert told == [(float(1 << 20), float(2 << 20)), (float(2 << 20), float(2 << 20))]


def test_files_that_have_no_identity(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EmptyFileError):
        fingerprint(str(tmp_path / "empty"))
    with pytest.raises(FileMissingError):
        fingerprint(str(tmp_path / "gone"))
    with pytest.raises(NoMediaError):
        fingerprint(str(tmp_path / "pipe"))
