"""Whether files are on the disk as recorded, and how they are recorded."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gs_video_report.batch.data_models import OutputFile, TaskResult
from gs_video_report.batch.mend.outputs import verify_outputs, verify_renderings
from gs_video_report.batch.store.rows import result_to_json


def written(folder: Path, name: str, data: bytes = b"text") -> OutputFile:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return OutputFile(name, "html", len(data), hashlib.sha256(data).hexdigest())


def test_renderings_are_compared_by_their_content_and_told_by_template(tmp_path: Path) -> None:
    files = {name: written(tmp_path, name) for name in ("a/x.html", "b/x.html", "b/y.html")}
    result = TaskResult(
        renderings={"a": (files["a/x.html"],), "b": (files["b/x.html"], files["b/y.html"])}
    )
    assert verify_renderings(result, tmp_path) == {}
    (tmp_path / "b" / "x.html").write_bytes(b"TEXT")
    (tmp_path / "b" / "y.html").unlink()
    assert verify_renderings(result, tmp_path) == {
        "b": ["b/x.html: was altered", "b/y.html: is missing"]
    }
    assert verify_outputs(result, tmp_path) == []


def test_renderings_of_an_older_version_have_to_be_there_and_no_more(tmp_path: Path) -> None:
    written(tmp_path, "a/x.html")
    result = TaskResult.from_json('{"renderings": {"a": ["a/x.html", "a/y.html"]}}')
    assert verify_renderings(result, tmp_path) == {"a": ["a/y.html: is missing"]}


def test_what_was_rendered_comes_back_from_its_row(tmp_path: Path) -> None:
    made = TaskResult(renderings={"a": (written(tmp_path, "a/x.html"),)})
    assert TaskResult.from_json(result_to_json(made)) == made
    assert TaskResult.from_json(made.to_json()) == made
