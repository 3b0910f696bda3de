"""Walking a folder: everything is found once, in a stable order, and nothing stops the walk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gs_video_report.batch.data_models import InputProblem, VideoInput
from gs_video_report.batch.inputs.rules import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Globs, WalkRules
from gs_video_report.batch.inputs.walk import natural_key, walk


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def taken(root: Path, rules: WalkRules | None = None) -> list[str]:
    found = walk(str(root), rules or WalkRules())
    return [f.relative_path for f in found if isinstance(f, VideoInput)]


def problems(root: Path, rules: WalkRules | None = None) -> list[InputProblem]:
    return [f for f in walk(str(root), rules or WalkRules()) if isinstance(f, InputProblem)]


def test_every_known_extension_is_taken_in_any_case(tmp_path: Path) -> None:
    suffixes = sorted(VIDEO_SUFFIXES | AUDIO_SUFFIXES)
    assert {"mp4", "mov", "avi", "mkv", "webm", "m4v", "ts", "mts", "flv", "3gp"} <= VIDEO_SUFFIXES
    assert {"mp3", "wav", "m4a", "flac", "ogg", "opus", "wma"} <= AUDIO_SUFFIXES
    names = [f"a.{s}" for s in suffixes] + [f"b.{s.upper()}" for s in suffixes]
    touch(tmp_path, *names, "c.txt", "mp4", "d.mp4.part", "e.crdownload", "f.jpg", "g.")
    assert sorted(taken(tmp_path)) == sorted(names)


def test_files_come_before_folders_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "lecture 10.mp4", "lecture 2.mp4", "A.mp4", "aa/1.mp4", "w10/x.mp4",
          "w9/x.mp4")  # fmt: skip
    assert taken(tmp_path) == [
        "A.mp4", "b.mp4", "lecture 2.mp4", "lecture 10.mp4", "aa/1.mp4", "w9/x.mp4", "w10/x.mp4",
    ]  # fmt: skip


def test_natural_order_is_total_and_counts() -> None:
    names = ["2", "10", "010", "a2b", "a10b", "a", "A", "第2讲", "第10讲"]
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)
    assert natural_key("第2讲") < natural_key("第10讲")


def test_hidden_and_system_folders_and_side_files_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, ".a.mp4", "._b.mp4", ".git/c.mp4", "@eaDir/d.mp4", "$RECYCLE.BIN/e.mp4",
          "ok.mp4")  # fmt: skip
    assert taken(tmp_path) == ["ok.mp4"]
    assert problems(tmp_path) == []


def test_a_file_that_is_still_downloading_is_not_taken(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.mp4.aria2", "b.mp4", "b.mp4.part", "c.mp4")
    assert taken(tmp_path) == ["c.mp4"]
    assert [(p.value, p.reason) for p in problems(tmp_path)] == [
        ("a.mp4", "the file is still being downloaded"),
        ("b.mp4", "the file is still being downloaded"),
    ]


def test_strange_names_survive(tmp_path: Path) -> None:
    names = [
        "-rf.mp4",
        "line\nbreak.mp4",
        "quote\"'.mp4",
        "cafe\u0301.mp4",
        " lead.mp4",
        "a\\b.mp4",
    ]
    touch(tmp_path, *names)
    raw = os.fsencode(tmp_path) + b"/latin-\xe9.mp4"
    with open(raw, "wb"):
        pass
    found = taken(tmp_path)
    assert sorted(found) == sorted([*names, "latin-\udce9.mp4"])
    sources = [f.source for f in walk(str(tmp_path), WalkRules()) if isinstance(f, VideoInput)]
    assert all(os.path.exists(source) for source in sources)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    touch(tmp_path, "in/week/a.mp4")
    (tmp_path / "in/week/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/week/self").symlink_to("self")
    (tmp_path / "in/out").symlink_to(tmp_path)
    assert taken(tmp_path / "in") == ["week/a.mp4"]
    assert sorted(p.code for p in problems(tmp_path / "in")) == ["duplicate", "rejected"]


def test_a_link_to_a_folder_elsewhere_is_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "other/x.mp4", "in/a.mp4")
    (tmp_path / "in/one").symlink_to(tmp_path / "other")
    (tmp_path / "in/two").symlink_to(tmp_path / "other")
    assert taken(tmp_path / "in") == ["a.mp4", "one/x.mp4"]
    assert [(p.value, p.code) for p in problems(tmp_path / "in")] == [("two/", "duplicate")]


def test_a_link_to_a_file_of_the_tree_is_a_duplicate_whatever_comes_first(tmp_path: Path) -> None:
    touch(tmp_path, "m/real.mp4")
    (tmp_path / "a.mp4").symlink_to("m/real.mp4")
    (tmp_path / "z.mp4").symlink_to("m/real.mp4")
    assert taken(tmp_path) == ["m/real.mp4"]
    assert [(p.value, p.code) for p in problems(tmp_path)] == [
        ("a.mp4", "duplicate"),
        ("z.mp4", "duplicate"),
    ]


def test_a_link_is_taken_when_its_target_is_not_scanned(tmp_path: Path) -> None:
    touch(tmp_path, "in/.store/real.mp4", "elsewhere.mp4")
    (tmp_path / "in/a.mp4").symlink_to(".store/real.mp4")
    (tmp_path / "in/b.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    (tmp_path / "in/c.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    assert taken(tmp_path / "in") == ["a.mp4", "b.mp4"]
    assert [p.value for p in problems(tmp_path / "in")] == ["c.mp4"]


def test_a_second_name_of_the_same_file_is_reported_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    os.link(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert taken(tmp_path) == ["a.mp4"]
    assert [(p.value, p.code) for p in problems(tmp_path)] == [("b.mp4", "duplicate")]


def test_broken_links_and_pipes_are_problems(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert taken(tmp_path) == []
    assert [(p.value, p.code) for p in problems(tmp_path)] == [
        ("gone.mp4", "missing"),
        ("pipe.mp4", "unsupported"),
    ]


def test_a_folder_that_cannot_be_read_does_not_end_the_walk(tmp_path: Path) -> None:
    """The inner folder's path is longer than the system allows, which root cannot read either."""
    touch(tmp_path, "a.mp4", "z/b.mp4")
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(20):
            os.mkdir("d" * 240)
            os.chdir("d" * 240)
    finally:
        os.chdir(here)
    try:
        assert taken(tmp_path) == ["a.mp4", "z/b.mp4"]
        found = problems(tmp_path)
        assert [p.code for p in found] == ["unreadable"]
        assert len(found[0].value) <= 200
    finally:
        shutil.rmtree(tmp_path / ("d" * 240))  # by descriptors, so the length does not matter


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_locked_folder_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "locked/a.mp4", "b.mp4")
    (tmp_path / "locked").chmod(0)
    try:
        assert taken(tmp_path) == ["b.mp4"]
        assert [p.code for p in problems(tmp_path)] == ["unreadable"]
    finally:
        (tmp_path / "locked").chmod(0o755)


def test_not_recursive_stays_in_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "sub/b.mp4")
    assert taken(tmp_path, WalkRules(recursive=False)) == ["a.mp4"]


def test_folders_to_skip_are_skipped_but_never_the_root(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "out/b.mp4", "x/out/c.mp4")
    rules = WalkRules(skip_dirs=(str(tmp_path / "out"), str(tmp_path), str(tmp_path.parent)))
    assert taken(tmp_path, rules) == ["a.mp4", "x/out/c.mp4"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (("*.mp4",), (), ["A.MP4", "w1/b.mp4", "w1/draft/c.mp4"]),
        (("w1/*",), (), ["w1/b.mp4", "w1/d.mkv"]),
        (("w1/**",), (), ["w1/b.mp4", "w1/d.mkv", "w1/draft/c.mp4"]),
        (("**/c.mp4",), (), ["w1/draft/c.mp4"]),
        (("**/A.mp4",), (), ["A.MP4"]),
        (("[bc].mp4",), (), ["w1/b.mp4", "w1/draft/c.mp4"]),
        (("?.mkv",), (), ["w1/d.mkv"]),
        ((), ("draft",), ["A.MP4", "w1/b.mp4", "w1/d.mkv"]),
        ((), ("w1/draft/",), ["A.MP4", "w1/b.mp4", "w1/d.mkv"]),
        ((), ("w1/**",), ["A.MP4"]),
        ((), ("*.mkv", "A*"), ["w1/b.mp4", "w1/draft/c.mp4"]),
        (("*.mp4",), ("w1/*",), ["A.MP4"]),
        (("nothing",), (), []),
    ],
)
def test_globs_choose_by_name_and_path(
    tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]
) -> None:
    touch(tmp_path, "A.MP4", "w1/b.mp4", "w1/d.mkv", "w1/draft/c.mp4")
    assert taken(tmp_path, WalkRules(include=Globs(include), exclude=Globs(exclude))) == expected


def test_globs_do_not_care_for_the_unicode_form() -> None:
    assert Globs(("caf\u00e9*",)).match("x/cafe\u0301 1.mp4")


@pytest.mark.parametrize("pattern", ["[", "[]", "[!]", "***", "a[b", "\\", "(", "[z-a]", "[\\]"])
def test_odd_globs_are_patterns_too(pattern: str) -> None:
    Globs((pattern, f"x/{pattern}")).match("x/a.mp4")


def test_size_and_time_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"12345")
    (found,) = walk(str(tmp_path), WalkRules())
    assert isinstance(found, VideoInput)
    assert found.size_bytes == 5
    assert found.mtime_ns == (tmp_path / "a.mp4").stat().st_mtime_ns
    assert found.source == str(tmp_path / "a.mp4")
