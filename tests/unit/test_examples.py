"""The committed videos are what their truth.json says: other tests measure against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "examples", ROOT / "tests" / "support" / "media")
ALL = [
    pytest.param(folder / name, truth, id=name)
    for folder in FOLDERS
    for name, truth in json.loads((folder / "truth.json").read_text(encoding="utf-8")).items()
]


@pytest.mark.parametrize(("video", "truth"), ALL)
def test_video_is_as_long_as_its_truth_says_and_has_picture_and_sound(
    video: Path, truth: dict[str, Any]
) -> None:
    with av.open(str(video)) as container:
        seconds = float(container.duration or 0) / 1_000_000
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert (picture.codec_context.width, picture.codec_context.height) == (1280, 720)
        assert sound.codec_context.layout.name == "mono"
        assert container.metadata["title"] == truth["title"]
    assert seconds == pytest.approx(truth["duration_s"], abs=0.15)


@pytest.mark.parametrize(("video", "truth"), ALL)
def test_true_slides_follow_each_other_without_gaps_and_hold_the_narration(
    video: Path, truth: dict[str, Any]
) -> None:
    slides = truth["slides"]
    starts = [slide["t_s"] for slide in slides]
    ends = [slide["end_s"] for slide in slides]
    assert starts == [0.0, *ends[:-1]]
    assert ends[-1] == truth["duration_s"]
    assert all(slide["t_s"] < t < slide["end_s"] for slide in slides for t in slide["builds_s"])
    times = [t for cue in truth["narration"] for t in (cue["start_s"], cue["end_s"])]
    assert times == sorted(times)
    assert times[-1] < truth["duration_s"]


def test_no_video_lacks_truth_and_the_media_stay_small() -> None:
    for folder, limit_mb in zip(FOLDERS, (5.0, 0.3), strict=True):
        files = {p.relative_to(folder).as_posix() for p in folder.rglob("*.mp4")}
        known = set(json.loads((folder / "truth.json").read_text(encoding="utf-8")))
        assert files == known
        assert sum((folder / name).stat().st_size for name in files) < limit_mb * 1e6


def test_sidecar_subtitles_hold_the_true_narration() -> None:
    truth = json.loads((FOLDERS[0] / "truth.json").read_text(encoding="utf-8"))
    spoken = [cue["text"] for cue in truth["photosynthesis.mp4"]["narration"]]
    subtitles = (FOLDERS[0] / "photosynthesis.srt").read_text(encoding="utf-8")
    assert [block.split("\n")[2] for block in subtitles.strip().split("\n\n")] == spoken
