"""Reports that are on the disk already: whose they are, and what of them is replaced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gs_video_report.batch.data_models import OutputFile
from gs_video_report.cache import ArtifactStore
from gs_video_report.report.existing import find_existing, report_at
from gs_video_report.report.model import VideoReport
from gs_video_report.report.publish import publish
from gs_video_report.report.rerender import rerender
from gs_video_report.report.writer import FORMATS
from gs_video_report.templates.loader import load_template
from tests.support.reports import JPEG, friendly, silent

TEMPLATE = load_template("chinese_transcript")
ALL = list(FORMATS)


def write(
    root: Path, source: Path, sha256: str, report: VideoReport | None = None, **changed: Any
) -> list[str]:
    """Publish a report of `source` as `talk` into `root/out`; paths of its files."""
    (root / "slide.jpg").write_bytes(JPEG)
    key = ArtifactStore(root / "cache").put_file(root / "slide.jpg", ".jpg")
    report = report or friendly()
    report = replace(
        report,
        media=replace(report.media, source=str(source), sha256=sha256),
        slides=tuple(replace(s, image="", image_sha256=key) for s in report.slides),
        provenance=replace(
            report.provenance,
            template=changed.get("template", TEMPLATE.name),
            template_version=str(TEMPLATE.version),
        ),
    )
    outputs: tuple[OutputFile, ...] = publish(
        report.to_dict(), TEMPLATE, ALL, str(root / "out"), "", "talk", str(root / "cache")
    )
    return [o.path for o in outputs]


def recording(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_a_report_never_replaces_the_report_of_another_recording(tmp_path: Path) -> None:
    """Two courses with an `intro.mp4` each, written into one folder: both reports stay."""
    first = write(tmp_path, recording(tmp_path / "a" / "talk.mp4"), "1" * 64)
    second = write(tmp_path, recording(tmp_path / "b" / "talk.mp4"), "2" * 64)
    assert not set(first) & set(second)
    assert all((tmp_path / "out" / name).is_file() for name in [*first, *second])
    kept = report_at(tmp_path / "out", "talk")
    assert kept is not None
    assert kept.media.sha256 == "1" * 64


def test_the_same_recording_keeps_its_names_on_every_run(tmp_path: Path) -> None:
    write(tmp_path, recording(tmp_path / "a" / "talk.mp4"), "1" * 64)
    other = recording(tmp_path / "b" / "talk.mp4")
    assert write(tmp_path, other, "2" * 64) == write(tmp_path, other, "2" * 64)


def test_a_name_that_is_not_utf_8_keeps_its_report_on_every_run(tmp_path: Path) -> None:
    source = recording(tmp_path / "a" / "caf\udce9.mp4")
    assert write(tmp_path, source, "1" * 64) == write(tmp_path, source, "3" * 64)


def test_a_moved_recording_takes_its_old_report_s_place(tmp_path: Path) -> None:
    before = recording(tmp_path / "a" / "talk.mp4")
    first = write(tmp_path, before, "1" * 64)
    (tmp_path / "b").mkdir()
    moved = before.rename(tmp_path / "b" / "renamed.mp4")
    assert write(tmp_path, moved, "1" * 64) == first


def test_another_template_does_not_replace_the_report(tmp_path: Path) -> None:
    source = recording(tmp_path / "a" / "talk.mp4")
    first = write(tmp_path, source, "1" * 64)
    second = write(tmp_path, source, "1" * 64, template="summary_report")
    assert not set(first) & set(second)


def test_files_of_the_earlier_content_do_not_outlive_it(tmp_path: Path) -> None:
    """The recording was replaced by a silent one: no subtitles, no slides of before may stay."""
    source = recording(tmp_path / "a" / "talk.mp4")
    write(tmp_path, source, "1" * 64)
    strange = tmp_path / "out" / "talk.mkv.md"
    strange.touch()
    left = set(write(tmp_path, source, "2" * 64, silent()))
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert {name for name in found if not name.endswith(".assets")} == left | {strange.name}


def look(root: Path, source: Path, formats: list[str]) -> list[str] | None:
    found = find_existing(
        root / "out",
        "",
        "talk",
        source=str(source),
        fingerprint="1" * 64,
        template=TEMPLATE,
        formats=formats,
    )
    return None if found is None else sorted(o.path for o in found.outputs)


def test_an_existing_report_is_all_its_files_and_nobody_else_s(tmp_path: Path) -> None:
    source = recording(tmp_path / "a" / "talk.mp4")
    written = write(tmp_path, source, "1" * 64)
    (tmp_path / "out" / "talk.mkv.json").write_text("{}")
    assert look(tmp_path, source, ALL) == sorted(written)


def test_a_report_without_an_asked_format_is_made_again(tmp_path: Path) -> None:
    source = recording(tmp_path / "a" / "talk.mp4")
    write(tmp_path, source, "1" * 64)
    (tmp_path / "out" / "talk.html").unlink()
    assert look(tmp_path, source, ALL) is None
    assert look(tmp_path, source, ["md", "json"]) is not None


def test_an_existing_report_is_found_under_its_tagged_name(tmp_path: Path) -> None:
    write(tmp_path, recording(tmp_path / "b" / "talk.mp4"), "2" * 64)
    source = recording(tmp_path / "a" / "talk.mp4")
    assert look(tmp_path, source, ALL) is None
    assert look(tmp_path, source, ALL) != (written := sorted(write(tmp_path, source, "1" * 64)))
    assert look(tmp_path, source, ALL) == written


def test_rendering_anew_never_replaces_the_report_of_another_recording(tmp_path: Path) -> None:
    """Pins: `gsvr batch render` wrote a tagged report over the one it had made way for."""
    write(tmp_path, recording(tmp_path / "a" / "talk.mp4"), "1" * 64)
    second = write(tmp_path, recording(tmp_path / "b" / "talk.mp4"), "2" * 64)
    path = tmp_path / "out" / next(name for name in second if name.endswith(".json"))

    def again(template: str) -> list[str]:
        made = rerender(str(path), load_template(template), ALL, str(tmp_path / "out"), "", "talk")
        return [o.path for o in made]

    assert again(TEMPLATE.name) == second
    other = again("summary_report")
    assert not {name for name in other if name.startswith("talk.")}
    kept = report_at(tmp_path / "out", "talk")
    assert kept is not None
    assert kept.media.sha256 == "1" * 64
