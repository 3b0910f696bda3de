"""From a spec to inputs: what is named is found, what is not taken is told, nothing collides."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gs_video_report.batch.data_models import InputProblem, InputType, VideoInput
from gs_video_report.batch.input_parser import Found, InputSpec, scan
from gs_video_report.errors import ExitCode, InputListError, InputPathError, UsageError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def inputs(found: Iterator[Found]) -> list[VideoInput]:
    return [f for f in found if isinstance(f, VideoInput)]


def told(found: Iterator[Found]) -> list[tuple[str, str, str]]:
    return [(f.origin, f.value, f.code) for f in found if isinstance(f, InputProblem)]


def a_list(
    tmp_path: Path, text: str | bytes, name: str = "list.txt", **options: object
) -> InputSpec:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return InputSpec("list", str(path), **options)  # type: ignore[arg-type]


# --- the spec ----------------------------------------------------------------------------------


def test_a_spec_survives_the_batch_row() -> None:
    spec = InputSpec(
        "list", "/x/\udce9.csv", recursive=False, include=("*.mp4",), exclude=("a/**", "b"),
        limit=3, template_column="模板", sheet="S", skip_dirs=("/out",),
    )  # fmt: skip
    assert InputSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown or missing"):
        InputSpec.from_dict({"kind": "dir", "path": "x", "colour": 1})
    with pytest.raises(ValueError, match="unknown or missing"):
        InputSpec.from_dict({"kind": "dir"})


@pytest.mark.parametrize(
    "fields",
    [{"kind": "zip", "path": "x"}, {"kind": "dir", "path": ""}, {"kind": "dir", "path": "a\0b"},
     {"kind": "dir", "path": "x", "limit": 0}],
)  # fmt: skip
def test_a_senseless_spec_is_a_usage_error(fields: dict[str, object]) -> None:
    with pytest.raises(UsageError) as caught:
        InputSpec(**fields)  # type: ignore[arg-type]
    assert caught.value.exit_code == ExitCode.USAGE


def test_absolute_does_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = InputSpec("dir", "in", skip_dirs=("in/out",)).absolute()
    assert spec.path == str(tmp_path / "in")
    assert spec.skip_dirs == (str(tmp_path / "in/out"),)
    assert InputSpec("file", "https://e.org/a.mp4").absolute().path == "https://e.org/a.mp4"


@pytest.mark.parametrize("kind", ["dir", "list", "urls", "file"])
def test_a_missing_path_is_a_usage_error_at_once(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputPathError) as caught:
        scan(InputSpec(kind, str(tmp_path / "none")))
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_path_of_the_wrong_kind_is_a_usage_error(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    for kind, path in (("dir", "a.mp4"), ("list", "."), ("urls", "."), ("file", ".")):
        with pytest.raises(InputPathError):
            scan(InputSpec(kind, str(tmp_path / path)))


# --- folders and single files --------------------------------------------------------------------


def test_a_folder_gives_its_recordings_and_the_output_below_it_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "b.mp4", "out/x.mp4", "w/a.mp3")
    spec = InputSpec("dir", str(tmp_path), skip_dirs=(str(tmp_path / "out"),))
    assert [v.relative_path for v in inputs(scan(spec))] == ["b.mp4", "w/a.mp3"]


def test_an_empty_folder_gives_nothing_and_no_error(tmp_path: Path) -> None:
    assert list(scan(InputSpec("dir", str(tmp_path)))) == []


def test_the_limit_counts_inputs_not_problems(tmp_path: Path) -> None:
    spec = a_list(tmp_path, "x.mp4\na.mp4\ny.mp4\nb.mp4\nc.mp4\n", limit=2)
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    assert [v.relative_path for v in inputs(scan(spec))] == ["a.mp4", "b.mp4"]
    assert [origin for origin, _, _ in told(scan(spec))] == ["list.txt:1", "list.txt:3"]


def test_a_single_file_or_address(tmp_path: Path) -> None:
    touch(tmp_path, "sub/a.mp4", "n.txt", "m.mp4.part")
    (one,) = inputs(scan(InputSpec("file", str(tmp_path / "sub/a.mp4"))))
    assert (one.source, one.relative_path) == (str(tmp_path / "sub/a.mp4"), "a.mp4")
    (two,) = inputs(scan(InputSpec("file", "https://youtu.be/dQw4w9WgXcQ")))
    assert two.input_type is InputType.YOUTUBE
    for name in ("n.txt", "m.mp4.part"):
        assert [c for _, _, c in told(scan(InputSpec("file", str(tmp_path / name))))] == [
            "unsupported"
        ]


# --- lists ---------------------------------------------------------------------------------------


def test_list_paths_are_taken_from_the_lists_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "in/a.mp4", "in/w/b.mp4")
    monkeypatch.chdir("/")
    found = inputs(scan(a_list(tmp_path / "in", "a.mp4\n./w//b.mp4\n")))
    assert [(v.source, v.relative_path) for v in found] == [
        (str(tmp_path / "in/a.mp4"), "a.mp4"),
        (str(tmp_path / "in/w/b.mp4"), "w/b.mp4"),
    ]


def test_equal_names_outside_the_lists_folder_never_collide(tmp_path: Path) -> None:
    touch(tmp_path, "x/01.mp4", "y/01.mp4", "in/01.mp4")
    found = inputs(scan(a_list(tmp_path / "in", f"../x/01.mp4\n{tmp_path}/y/01.mp4\n01.mp4\n")))
    places = [v.relative_path for v in found]
    assert len(set(places)) == 3
    assert all(".." not in p.split("/") and not p.startswith("/") for p in places)
    assert found[0].source == str(tmp_path / "x/01.mp4")
    assert places[2] == "01.mp4"


def test_dots_behind_a_link_mean_what_the_system_means(tmp_path: Path) -> None:
    touch(tmp_path, "far/v/a.mp4", "far/b.mp4", "in/b.mp4")
    (tmp_path / "in/link").symlink_to(tmp_path / "far/v")
    (found,) = inputs(scan(a_list(tmp_path / "in", "link/../b.mp4\n")))
    assert found.source == str(tmp_path / "far/b.mp4")


def test_a_tilde_is_home_only_in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    touch(tmp_path, "home/h.mp4", "in/~draft.mp4", "in/a/~/b.mp4")
    found = inputs(scan(a_list(tmp_path / "in", "~/h.mp4\n~draft.mp4\na/~/b.mp4\n")))
    assert [Path(v.source).name for v in found] == ["h.mp4", "~draft.mp4", "b.mp4"]


def test_names_in_another_unicode_form_or_encoding_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "cafe\u0301.mp4")
    (found,) = inputs(scan(a_list(tmp_path, "caf\u00e9.mp4\n")))
    assert Path(found.source).name == "cafe\u0301.mp4"
    raw = "第一讲.mp4".encode("gb18030")
    with open(os.fsencode(tmp_path) + b"/" + raw, "wb"):
        pass
    (found,) = inputs(scan(a_list(tmp_path, raw + b"\n")))
    assert os.fsencode(found.source).endswith(raw)


def test_every_line_that_is_not_taken_is_told_once_with_its_place(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "notes.txt", "noending", "half.mp4.crdownload")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dead.mp4").symlink_to("nowhere")
    spec = a_list(
        tmp_path,
        "a.mp4\nmissing.mp4\nnotes.txt\nnoending\nhalf.mp4.crdownload\n./a.mp4\nempty\ndead.mp4\n"
        "C:\\v\\a.mp4\nfile:///x/a.mp4\nftp://e.org/a.mp4\n/\n",
    )
    assert told(scan(spec)) == [
        ("list.txt:2", "missing.mp4", "missing"),
        ("list.txt:3", "notes.txt", "unsupported"),
        ("list.txt:4", "noending", "unsupported"),
        ("list.txt:5", "half.mp4.crdownload", "unsupported"),
        ("list.txt:6", str(tmp_path / "a.mp4"), "duplicate"),
        ("list.txt:7", "empty", "rejected"),
        ("list.txt:8", "dead.mp4", "missing"),
        ("list.txt:9", "C:\\v\\a.mp4", "missing"),
        ("list.txt:10", "file:///x/a.mp4", "rejected"),
        ("list.txt:11", "ftp://e.org/a.mp4", "rejected"),
        ("list.txt:12", "/", "rejected"),
    ]


def test_a_folder_in_a_list_is_expanded_with_its_rows_wishes(tmp_path: Path) -> None:
    touch(tmp_path, "w1/b.mp4", "w1/x/a.mp4", "w2/c.mp4")
    spec = a_list(
        tmp_path, "path,template,priority,teacher\nw1,t,7,Ann\nw1/b.mp4,t,,\n", "list.csv"
    )
    found = inputs(scan(spec))
    assert [(v.relative_path, v.template, v.priority, v.origin) for v in found] == [
        ("w1/b.mp4", "t", 7, "list.csv:2"),
        ("w1/x/a.mp4", "t", 7, "list.csv:2"),
    ]
    assert found[0].metadata == {"teacher": "Ann"}
    assert told(scan(spec)) == [("list.csv:3", str(tmp_path / "w1/b.mp4"), "duplicate")]


def test_a_file_met_twice_within_one_folder_line_is_one_input(tmp_path: Path) -> None:
    touch(tmp_path, "w/a.mp4")
    found = list(scan(a_list(tmp_path, "w\nw/\n")))
    assert [type(f).__name__ for f in found] == ["VideoInput", "InputProblem"]


def test_one_file_with_two_templates_is_two_inputs(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    spec = a_list(tmp_path, "path,template\na.mp4,t1\na.mp4,t2\na.mp4,t1\n", "list.csv")
    assert [v.template for v in inputs(scan(spec))] == ["t1", "t2"]
    assert [o for o, _, _ in told(scan(spec))] == ["list.csv:4"]


def test_the_template_column_chooses_the_template(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    spec = a_list(tmp_path, "path,kind\na.mp4,t9\n", "list.csv", template_column="Kind")
    assert [v.template for v in inputs(scan(spec))] == ["t9"]


def test_an_output_name_serves_one_file_only(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "w/c.mp4")
    text = "path,output_name\na.mp4,one\nb.mp4,one\nw,two\nw/c.mp4,one\n"
    spec = a_list(tmp_path, text, "list.csv")
    assert [v.relative_path for v in inputs(scan(spec))] == ["a.mp4", "w/c.mp4"]
    assert [(o, c) for o, _, c in told(scan(spec))] == [
        ("list.csv:3", "rejected"),
        ("list.csv:4", "rejected"),
    ]


def test_an_output_name_that_another_file_has_by_itself_is_refused(tmp_path: Path) -> None:
    """Pins: `b.mp4` called `a` and `a.mp4` wrote one report over the other."""
    touch(tmp_path, "a.mp4", "b.mp4")
    spec = a_list(tmp_path, "path,output_name\na.mp4,\nb.mp4,a\n", "list.csv")
    assert [f.reason for f in scan(spec) if isinstance(f, InputProblem)] == [
        "the output name a is used by list.csv:2 already"
    ]
    spec = a_list(tmp_path, "path,output_name\nb.mp4,a\na.mp4,\n", "list.csv")
    assert [f.reason for f in scan(spec) if isinstance(f, InputProblem)] == [
        "its report would be called a, the output name of list.csv:2"
    ]


def test_include_and_exclude_hold_for_lists(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mkv", "w/c.mp4", "w/d.mkv")
    spec = a_list(tmp_path, "a.mp4\nb.mkv\nw\n", exclude=("*.mkv",))
    assert [v.relative_path for v in inputs(scan(spec))] == ["a.mp4", "w/c.mp4"]


def test_addresses_in_a_list_are_canonical_and_found_twice_only_once(tmp_path: Path) -> None:
    spec = a_list(
        tmp_path,
        "https://youtu.be/dQw4w9WgXcQ\nhttps://www.youtube.com/watch?v=dQw4w9WgXcQ&t=3\n"
        "https://E.org:443/a.mp4\nhttps://e.org/a.mp4#x\n",
    )
    assert [(v.source, v.input_type) for v in inputs(scan(spec))] == [
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ", InputType.YOUTUBE),
        ("https://e.org/a.mp4", InputType.URL),
    ]
    assert [(o, c) for o, _, c in told(scan(spec))] == [
        ("list.txt:2", "duplicate"),
        ("list.txt:4", "duplicate"),
    ]


def test_a_password_in_an_address_never_leaves_the_parser(tmp_path: Path) -> None:
    spec = a_list(tmp_path, "https://ann:geheim@e.org/a.mp4\nhttps://ann:ge/heim@e.org/a.mp4\n")
    found = list(scan(spec))
    assert "heim" not in repr(found)
    assert inputs(iter(found)) == []
    assert [c for _, _, c in told(iter(found))] == ["rejected", "rejected"]


def test_a_single_address_with_a_password_is_refused_before_anything_is_stored() -> None:
    with pytest.raises(UsageError, match="holds a user name or password") as caught:
        InputSpec("file", "https://ann:geheim@e.org/a.mp4")
    assert caught.value.message.startswith("https://***@e.org/a.mp4: ")
    assert "geheim" not in caught.value.message


def test_an_address_list_takes_nothing_but_addresses(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    path = tmp_path / "urls.txt"
    path.write_text("a.mp4\n/etc/passwd\nhttps://e.org/a.mp4\n", encoding="utf-8")
    spec = InputSpec("urls", str(path))
    assert [v.source for v in inputs(scan(spec))] == ["https://e.org/a.mp4"]
    assert [c for _, _, c in told(scan(spec))] == ["rejected", "rejected"]


def test_long_values_are_shortened(tmp_path: Path) -> None:
    ((_, value, _),) = told(scan(a_list(tmp_path, "x" * 5000 + ".mp4\n")))
    assert len(value) == 200


@given(data=st.binary(max_size=300), name=st.sampled_from(["l.txt", "l.csv", "l.xlsx"]))
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_as_a_list_end_in_inputs_problems_or_a_list_error(
    tmp_path: Path, data: bytes, name: str
) -> None:
    folder = tmp_path / "only" / "this"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("list", "urls"):
        (folder / name).write_bytes(data)
        with contextlib.suppress(InputListError):
            for found in scan(InputSpec(kind, str(folder / name))):
                assert isinstance(found, VideoInput | InputProblem)


@given(lines=st.lists(st.text(max_size=30), max_size=6))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_text_line_disappears(tmp_path: Path, lines: list[str]) -> None:
    """Every line that is neither blank nor a comment is an input or is told, with its number."""
    folder = tmp_path / "only" / "this"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "l.txt"
    text = "\n".join(lines).replace("\0", "").replace("\r", "")
    path.write_text(text, encoding="utf-8", errors="ignore", newline="\n")
    kept = path.read_text(encoding="utf-8").split("\n")
    kept[0] = kept[0].removeprefix("\ufeff")
    wanted = [i for i, t in enumerate(kept, 1) if t.strip() and not t.strip().startswith("#")]
    found = {int(f.origin.rpartition(":")[2]) for f in scan(InputSpec("list", str(path)))}
    assert found >= set(wanted)


@pytest.mark.slow
def test_a_hundred_thousand_files_are_scanned_in_seconds_with_flat_memory(tmp_path: Path) -> None:
    for week in range(100):
        (tmp_path / f"w{week}").mkdir()
        for number in range(1000):
            os.close(os.open(tmp_path / f"w{week}/lecture {number}.mp4", os.O_CREAT | os.O_WRONLY))
    code = textwrap.dedent("""
        import resource, sys, time
        from gs_video_report.batch.input_parser import InputSpec, scan
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        count = sum(1 for _ in scan(InputSpec("dir", sys.argv[1])))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(count, time.perf_counter() - start, grown)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    count, seconds, grown_kib = done.stdout.split()
    assert int(count) == 100_000
    assert float(seconds) < 3.0
    assert int(grown_kib) < 8 * 1024
