"""A second hearing (`gsvr batch retry --quality`) that is killed: the better text of both stays.

The recording is the test sentence in English and the one in Chinese with `--language en`, so that
its second half is in doubt and a second hearing mends it.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gs_video_report.media.speech.asr_models import resolve_model
from tests.cli.test_quality import write_two_languages
from tests.reliability import oracle, shim
from tests.reliability.scene import Scene, outputs
from tests.reliability.shim import SELF, Fate, Faults

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "the shim works"),
]
pytest.importorskip("faster_whisper")
RETRY = ("batch", "retry", "latest", "--quality")
STROKES = 8


class Doubtful:
    """A finished batch with a doubtful report, which can be put back to how it was at first."""

    def __init__(self, folder: Path) -> None:
        inputs = folder / "in"
        inputs.mkdir()
        write_two_languages(inputs / "two.wav")
        model = resolve_model("auto", folder / "models").path
        flags = ("--language", "en", "--formats", "md,json,srt", "--asr-model", str(model))
        self.scene = Scene(folder / "scene", inputs, flags)
        assert self.scene.finish() == 0, self.scene.said()
        self.first = outputs(self.scene)
        shutil.copytree(self.scene.root, folder / "kept")
        self._kept = folder / "kept"

    def as_at_first(self) -> None:
        shutil.rmtree(self.scene.root)
        shutil.copytree(self._kept, self.scene.root)

    def heard(self) -> int:
        """How often a stretch was heard again since the start."""
        return sum(n for (job, _), n in self.scene.jobs_run().items() if job == "relisten_chunk")

    def decided(self) -> int:
        """Decisions in the journal."""
        statement = "SELECT count(*) FROM steps WHERE name = 'relisten'"
        return int(oracle.rows(self.scene.database, statement)[0][0])


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory) -> Doubtful:
    return Doubtful(tmp_path_factory.mktemp("doubtful"))


@pytest.fixture
def faults(tmp_path: Path, doubtful: Doubtful) -> Iterator[Faults]:
    doubtful.as_at_first()
    with Faults(tmp_path, doubtful.scene.root) as made:
        doubtful.scene.faults = made
        yield made
    doubtful.scene.faults = None


def transcript(reports: dict[str, bytes]) -> str:
    (content,) = [data for name, data in reports.items() if name.endswith(".json")]
    return " ".join(s["text"] for s in json.loads(content)["segments"])


def test_a_second_hearing_killed_at_any_change_of_a_file_ends_as_an_undisturbed_one(
    doubtful: Doubtful, faults: Faults
) -> None:
    """After each kill the report is the first or the better one, whole; a repeat mends the rest,
    and hears nothing again that was decided."""
    scene = doubtful.scene
    faults.calm()
    assert scene.gsvr(*RETRY) == 0, scene.said()
    changes, better = faults.count, outputs(scene)
    assert transcript(better) != transcript(doubtful.first)
    assert doubtful.decided() > 0
    for number in range(1, changes + 1, max(1, changes // STROKES)):
        doubtful.as_at_first()
        faults.strike(number, Fate.SIGNAL, signal.SIGKILL, victim=SELF)
        scene.gsvr(*RETRY)
        assert faults.struck, number
        faults.calm()
        now = outputs(scene)
        assert transcript(now) in (transcript(doubtful.first), transcript(better)), number
        decided, heard = doubtful.decided(), doubtful.heard()
        assert scene.gsvr(*RETRY) == 0, (number, scene.said()[-1000:])
        if decided:
            assert doubtful.heard() == heard, number
        assert outputs(scene) == better, number
        assert scene.gsvr("batch", "verify", "latest") == 0, (number, scene.said()[-1000:])
        assert oracle.database_problems(scene.database) == [], number
        assert oracle.left_behind(scene) == [], number
