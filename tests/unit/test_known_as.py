"""Names of recordings, and of what went wrong with them, as people see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gs_video_report.batch.data_models import InputType, VideoInput
from gs_video_report.batch.input_parser import InputSpec, scan
from gs_video_report.report.batch_report import said


def test_a_file_that_a_list_names_elsewhere_is_known_by_the_path_that_was_written(
    tmp_path: Path,
) -> None:
    """Pins: `outside-ffeae715/intro.mp4`, which nobody had written."""
    for name in ("lists", "videos"):
        (tmp_path / name).mkdir()
    for path in (tmp_path / "lists" / "own.mp4", tmp_path / "videos" / "intro.mp4"):
        path.write_bytes(b"x")
    listed = tmp_path / "lists" / "list.txt"
    listed.write_text(f"{tmp_path / 'videos' / 'intro.mp4'}\nown.mp4\n", "utf-8")
    found = [v for v in scan(InputSpec("list", str(listed))) if isinstance(v, VideoInput)]
    assert [v.known_as for v in found] == [str(tmp_path / "videos" / "intro.mp4"), "own.mp4"]
    assert found[0].relative_path.startswith("outside-")


@pytest.mark.parametrize(
    ("video", "name"),
    [
        (VideoInput("/in/week01/a.mp4", relative_path="week01/a.mp4"), "week01/a.mp4"),
        (VideoInput("/in/a.mp4"), "a.mp4"),
        (
            VideoInput("/in/outside-0a1b2c3d/a.mp4", relative_path="outside-0a1b2c3d/a.mp4"),
            "outside-0a1b2c3d/a.mp4",
        ),
        (VideoInput("https://v.example/a", InputType.URL), "https://v.example/a"),
    ],
)
def test_other_recordings_are_known_by_their_place_below_the_input(
    video: VideoInput, name: str
) -> None:
    assert video.known_as == name


@pytest.mark.parametrize("shown", ["empty.webm", "w/empty.webm", "/in/w/empty.webm"])
def test_a_name_that_is_shown_already_is_not_said_again(shown: str) -> None:
    """Pins: `empty.webm: empty.webm: the file is empty` in the pages of a batch."""
    assert said(f"{shown}: it is empty", "w/empty.webm", "/in/w/empty.webm") == "it is empty"
    assert said("no empty.webm: here", "w/empty.webm") == "no empty.webm: here"
