"""All formats of one report, and their way to the disk."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from gs_video_report import files
from gs_video_report.errors import ConfigError, DiskFullError
from gs_video_report.report.model import Slide, VideoReport
from gs_video_report.report.writer import check_formats, kind_of, render_all, write_report
from gs_video_report.templates.loader import load_template
from tests.support.reports import JPEG, friendly, hostile, silent

ALL = ("md", "html", "srt", "vtt", "json")


def rendered(report: VideoReport, name: str = "chinese_transcript") -> dict[str, bytes]:
    return render_all(report, load_template(name), ALL, "talk", lambda slide: JPEG)


def test_every_format_comes_with_its_name() -> None:
    assert list(rendered(friendly())) == [
        *("talk.md", "talk.html", "talk.srt", "talk.vtt", "talk.zh.srt", "talk.zh.vtt"),
        *("talk.chapters.txt", "talk.json"),
    ]


def test_a_silent_recording_gets_no_empty_subtitle_files() -> None:
    assert list(rendered(silent())) == ["talk.md", "talk.html", "talk.json"]


def test_only_what_was_asked_for_is_made() -> None:
    files = render_all(friendly(), load_template("summary_report"), ["JSON"], "talk")
    assert list(files) == ["talk.json"]


def test_unknown_formats_are_refused_and_aliases_known() -> None:
    assert check_formats(["Markdown", "json", "md"]) == ("md", "json")
    with pytest.raises(ConfigError, match="unknown format 'docx'"):
        check_formats(["md", "docx"])


def test_two_runs_of_equal_work_give_equal_bytes() -> None:
    assert rendered(hostile()) == rendered(hostile())
    first = rendered(friendly())
    run = {"finished_at": "2027-01-01T00:00:00+00:00"}
    good = friendly()
    second = rendered(replace(good, provenance=replace(good.provenance, run=run)))
    assert {n for n in first if first[n] != second[n]} == {"talk.md", "talk.html", "talk.json"}


def test_kinds_follow_the_names() -> None:
    names = ["a.json", "a.md", "a.html", "a.zh.srt", "a.vtt", "a.chapters.txt", "a.assets/s.jpg"]
    assert [kind_of(n) for n in names] == [
        *("json", "markdown", "html", "srt", "vtt", "chapters", "asset")
    ]


def test_written_files_are_reported_with_size_and_hash(tmp_path: Path) -> None:
    outputs = write_report(tmp_path, "t/week01", "talk", rendered(friendly()))
    assert outputs[-1].path == "t/week01/talk.json"
    for output in outputs:
        data = (tmp_path / output.path).read_bytes()
        assert (output.size_bytes, output.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert sorted(p.name for p in (tmp_path / "t/week01").iterdir()) == sorted(
        Path(o.path).name for o in outputs
    )


def test_a_full_disk_leaves_no_json_and_a_second_try_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_made = rendered(friendly())
    count = 0

    def full(*args: object) -> None:
        nonlocal count
        count += 1
        if count > 3:
            raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        with pytest.raises(DiskFullError):
            write_report(tmp_path, "", "talk", files_made)
    assert not (tmp_path / "talk.json").exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    write_report(tmp_path, "", "talk", files_made)
    assert json.loads((tmp_path / "talk.json").read_bytes())["media"]["file_name"] == "talk (1).mp4"


def test_a_picture_that_is_gone_leaves_the_rest_of_the_page() -> None:
    def image(slide: Slide) -> bytes | None:
        return JPEG if slide.t_s < 100 else None

    files = render_all(friendly(), load_template("summary_report"), ["html"], "talk", image)
    page = files["talk.html"].decode()
    assert page.count("data:image/jpeg") == 1
    assert page.count('class="slide"') == 2
