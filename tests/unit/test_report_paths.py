"""Where a report goes: safe, stable, and never where another report goes."""

from __future__ import annotations

import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.errors import ConfigError
from gs_video_report.report.paths import (
    DEFAULT_PATTERN,
    MAX_COMPONENT_BYTES,
    href,
    link_at,
    output_paths,
    pattern_of,
    relative_source,
    stem_of,
)


def test_the_tree_of_the_input_is_mirrored() -> None:
    assert output_paths("week01/01 - Introduction.mp4", "t") == ("t/week01", "01 - Introduction")
    assert output_paths("week02/01 - Introduction.mp4", "t") == ("t/week02", "01 - Introduction")


def test_files_that_differ_in_extension_case_or_unicode_form_never_meet() -> None:
    names = ["a.mp4", "a.mkv", "A.MP4", "a.MKV", "a.mkv.mp4", "a.mp4.mp4", "a", "a.txt", "é.mp4"]
    names += [unicodedata.normalize("NFD", "é.mp4"), "index.mp4", "a.mp3", "a.Mp4"]
    stems = [unicodedata.normalize("NFC", stem_of(n)) for n in names]
    assert len(set(stems)) == len(names)
    assert stems[:2] == ["a", "a.mkv"]


_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
_NAME = st.one_of(
    _TEXT,
    st.builds("{}{}".format, _TEXT, st.sampled_from([".mp4", ".mkv", ".MP4", ".mp4.mp4", ""])),
    st.from_regex(r"\A(\.\.|-|~|con|nul|index|a)( |\.|~)*(\.mp4|\.mkv)?\Z"),
).filter(lambda n: "/" not in n and n not in (".", "..", "") and "\0" not in n)


@settings(max_examples=300)
@given(_NAME, _NAME)
def test_two_names_never_give_one_stem(first: str, second: str) -> None:
    same = unicodedata.normalize("NFC", stem_of(first)) == unicodedata.normalize(
        "NFC", stem_of(second)
    )
    assert same == (first == second)


@settings(max_examples=300)
@given(st.lists(_NAME | st.just(".."), min_size=1, max_size=4), st.sampled_from(["", "/"]))
def test_a_report_never_leaves_the_output_folder(parts: list[str], root: str) -> None:
    directory, stem = output_paths(root + "/".join(parts), "t")
    for part in [*PurePosixPath(directory).parts, stem]:
        assert part not in ("", ".", "..", "/")
        assert part[0] not in "-. "
        assert part[-1] not in ". "
        assert len(part.encode()) <= MAX_COMPONENT_BYTES + 20
        assert not any(
            unicodedata.category(c) in ("Cc", "Cs", "Zl") or c in '\\:*?"<>|/' for c in part
        )
    assert not directory.startswith("/")


def test_names_that_are_not_utf8_and_very_long_ones_stay_apart() -> None:
    raw = [
        b"\xff.mp4".decode("utf-8", "surrogateescape"),
        b"\xfe.mp4".decode("utf-8", "surrogateescape"),
    ]
    long = ["é" * 300 + "1.mp4", "é" * 300 + "2.mp4"]
    stems = [stem_of(n) for n in raw + long]
    assert len(set(stems)) == 4
    assert all(len(s.encode()) <= MAX_COMPONENT_BYTES for s in stems)


def test_a_folder_cannot_pass_for_the_pictures_of_a_report() -> None:
    assert output_paths("talk.assets/a.mp4", "t")[0].startswith("t/talk.assets~")


def test_patterns_fill_their_fields_and_stay_unique() -> None:
    call = {"seq": 7, "batch": "7f3a"}
    assert output_paths("w/a.mkv", "t", "{batch}/{dir}/{stem}-{ext}", **call) == ("7f3a/w", "a-mkv")
    assert output_paths("w/a.mkv", "t", "{seq}", **call) == ("", "7")
    flat = {output_paths(f"{w}/a.mp4", "t", "{name}")[1] for w in "xyz"}
    assert len(flat) == 3
    bare = {output_paths(n, "t", "{dir}/{stem}")[1] for n in ("a.mp4", "a.mkv")}
    assert len(bare) == 2


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{title}/{name}", "unknown field {title}"),
        ("{dir}", "same name"),
        ("{name", "braces do not match"),
        ("{name.__class__}", "unknown field"),
        ("{name!r}", "unknown field"),
        ("{name:>99999999}", "unknown field"),
        ("{}", "unknown field"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        output_paths("a.mp4", "t", pattern)
    assert message in caught.value.message


def test_a_template_name_cannot_climb_out() -> None:
    directory, _ = output_paths("a.mp4", "../../t", "{template}/{name}")
    assert ".." not in PurePosixPath(directory).parts


@pytest.mark.parametrize(
    "pattern", ["../{name}", "{template}/../../{name}", "/tmp/{name}", "~/{name}"]
)
def test_a_pattern_that_leads_out_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigError, match="leads out of the output folder"):
        output_paths("a.mp4", "t", pattern)


def test_the_users_own_name_is_used_and_made_safe() -> None:
    assert output_paths("w/a.mkv", "t", output_name="Lesson 1") == ("t/w", "Lesson 1")
    assert output_paths("a.mkv", "t", output_name="../x")[1].startswith("_.")


def test_links_are_encoded_and_carry_the_moment() -> None:
    assert href("../a b/#1 100%.mp4") == "../a%20b/%231%20100%25.mp4"
    assert href("javascript:alert(1)") == "javascript%3Aalert%281%29"
    assert href("/data/a.mp4") == "file:///data/a.mp4"
    assert link_at("a(1).mp4", 3723.5) == "a%281%29.mp4#t=3723.5"
    assert link_at("https://youtu.be/x", 754.9) == "https://youtu.be/x?t=754"
    assert link_at("https://www.youtube.com/watch?v=x", 754) == (
        "https://www.youtube.com/watch?v=x&t=754"
    )
    assert link_at("https://notyoutube.com/x.mp4", 5) == "https://notyoutube.com/x.mp4#t=5"


def test_the_source_is_named_relative_to_the_report(tmp_path: Path) -> None:
    assert relative_source(str(tmp_path / "in/a.mp4"), tmp_path / "out/t") == "../../in/a.mp4"
    assert relative_source("https://x.example/a.mp4", tmp_path) == "https://x.example/a.mp4"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://www.youtube.com/watch?v=abcdefghijk", None),
        ("https://a.example/get?id=0123456789abcdef0123456789abcdef&t=12", None),
        ("https://a.example/a.mp4?lang=en#t=5", None),
        ("https://a.example/a.mp4?sig=SECRET", "https://a.example/a.mp4"),
        ("https://a.example/get?id=5&token=SECRET&lang=en", "https://a.example/get?id=5&lang=en"),
        ("https://a.example/a?X-Amz-Date=1&X-Amz-Signature=SECRET&v=2", "https://a.example/a?v=2"),
        ("https://a.example/a?h=Secret0Secret1Secret2Secret3Secret4", "https://a.example/a"),
        ("https://a.example/a?Policy=x&Signature=SECRET&Key-Pair-Id=K", "https://a.example/a"),
        ("https://a.example/a#access_token=SECRET", "https://a.example/a"),
    ],
)
def test_a_report_does_not_hand_on_what_gives_access_to_an_address(
    url: str, shown: str | None, tmp_path: Path
) -> None:
    assert relative_source(url, tmp_path) == (shown or url)


def test_a_recording_under_two_templates_gets_two_names() -> None:
    """Pins: with the pattern `{name}` the second report was written over the first."""
    assert pattern_of("{name}", "plain", "plain") == "{name}"
    own = pattern_of("{name}", "brief", "plain")
    assert output_paths("a.mp4", "brief", own) == ("", "a-brief")
    assert pattern_of(DEFAULT_PATTERN, "brief", "plain") == DEFAULT_PATTERN
    assert pattern_of("{seq}", "brief", "plain") == "{seq}"
