"""The storm on real speech and slides: whole runs, SIGKILL, no shortcuts."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from gs_video_report.media.speech.asr_models import resolve_model
from tests.reliability import shim
from tests.reliability.scene import Scene
from tests.reliability.storm import Storm

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


@pytest.mark.slow
@pytest.mark.timeout(280)
@pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "the shim works")
def test_a_batch_killed_again_and_again_ends_as_if_nothing_had_happened(
    tmp_path: Path, recordings: Path
) -> None:
    model = resolve_model("auto", tmp_path / "models").path
    reference = Scene(tmp_path / "reference", recordings, ("--asr-model", model))
    assert reference.finish() == 3, reference.said()
    assert reference.said().count("FAILED") == 1, reference.said()
    storm = Storm(
        tmp_path, reference, random.Random(5), processes=1, spread=300, kinds={"kill": 1}, tell=str
    )
    tally = storm.run(4)
    assert tally.problems == []
    assert tally.kills == 4
