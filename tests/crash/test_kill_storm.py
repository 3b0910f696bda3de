"""The short form of the kill storm: real processes, real speech and slides, SIGKILL."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.crash.storm import Scene, check, storm

MEDIA = Path(__file__).parents[1] / "support" / "media"

pytest.importorskip("faster_whisper")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    for week, name in (("a", "spoken_en_6s.mp4"), ("b", "spoken_zh_5s.mp4")):
        (folder / week).mkdir(parents=True)
        shutil.copy(MEDIA / name, folder / week / "talk.mp4")
    (folder / "broken.mp4").write_bytes(b"not a video at all")
    return folder


@pytest.mark.timeout(280)
def test_a_batch_killed_again_and_again_ends_as_if_nothing_had_happened(
    tmp_path: Path, recordings: Path
) -> None:
    reference, scene = Scene(tmp_path / "ref", recordings), Scene(tmp_path / "storm", recordings)
    reference.root.mkdir()
    scene.root.mkdir()
    assert reference.finish() == 3, (reference.root / "log.txt").read_text()
    hit = storm(scene, kills=4, seed=5, longest_s=6.0)
    assert scene.finish() == 3, (scene.root / "log.txt").read_text()
    assert check(scene, reference) == []
    assert hit > 0
