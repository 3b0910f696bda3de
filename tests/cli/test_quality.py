"""`gsvr batch quality` and `retry --quality` on a real recording in two languages.

The recording is the test sentence in English and the one in Chinese, one after the other, with
`--language en`: the Chinese is heard as English and in doubt, and a second hearing mends it.
"""

from __future__ import annotations

import json
import shutil
import wave
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.app import ProcessCommand
from gs_video_report.app_quality import retry_quality
from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.task_runner import BatchTaskRunner
from gs_video_report.batch.data_models import BatchOptions, TaskResult, VideoTask
from gs_video_report.batch.mend import rewrite
from gs_video_report.boundary import Faces
from gs_video_report.errors import PermanentError
from gs_video_report.media.audio import extract_audio
from tests.cli.conftest import MEDIA, Gsvr, run_gsvr, run_killed

PAUSE_S = 2


def write_two_languages(path: Path) -> None:
    samples = b""
    for name in ("spoken_en_6s.mp4", "spoken_zh_5s.mp4"):
        raw = path.with_suffix(".pcm")
        extract_audio(str(MEDIA / name), str(raw))
        samples += raw.read_bytes() + bytes(2 * 16_000 * PAUSE_S)
        raw.unlink()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples)


@pytest.fixture(scope="module")
def finished_batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished batch, and a copy of it beside."""
    pytest.importorskip("faster_whisper")
    root = tmp_path_factory.mktemp("doubtful")
    (root / "in").mkdir()
    write_two_languages(root / "in" / "two.wav")
    args = ("-d", "in", "--language", "en", "--cache-dir", "cache", "-t", "summary_report")
    answer = run_gsvr("batch", "process", *args, cwd=root)
    assert answer.code == 0, answer.err
    shutil.copytree(root, root.with_name("kept"))
    return root


@pytest.fixture
def doubtful(finished_batch: Path) -> Path:
    """The finished batch, as it was at first, at the place that its database knows."""
    shutil.rmtree(finished_batch)
    shutil.copytree(finished_batch.with_name("kept"), finished_batch)
    return finished_batch


@pytest.fixture
def gsvr(doubtful: Path) -> Gsvr:
    """Run a command in the folder of the batch."""
    return lambda *args, env=None: run_gsvr(*args, cwd=doubtful, env=env)


def report_in(root: Path) -> dict[str, Any]:
    (path,) = (root / "batch_output").rglob("two*.json")
    return dict(json.loads(path.read_text("utf-8")))


def text_of(report: dict[str, Any]) -> str:
    return " ".join(s["text"] for s in report["segments"])


def test_triage_names_the_second_and_the_next_command(doubtful: Path, gsvr: Gsvr) -> None:
    answer = gsvr("batch", "quality")
    assert answer.code == 0, answer.err
    assert "two.wav" in answer.out
    assert "0:09" in answer.out
    assert "the recogniser was not sure of" in answer.out
    assert "1 report, 0 without any finding" in answer.out
    assert "--quality" in answer.out.splitlines()[-1]
    told = json.loads(gsvr("batch", "quality", "--json").out)
    (row,) = told["reports"]
    assert (told["v"], told["type"], row["name"]) == (1, "quality", "two.wav")
    assert row["findings"][0]["kind"] == "unsure"
    assert row["findings"][0]["spans"][0][0] > 9
    assert 0 < row["score"] < 100
    page = (doubtful / "batch_output" / "index.html").read_text("utf-8")
    assert '["unsure",' in page


def test_a_second_hearing_mends_the_doubtful_part_only_and_only_once(
    doubtful: Path, gsvr: Gsvr
) -> None:
    before = report_in(doubtful)
    retried = gsvr(
        "batch", "retry", "latest", "--quality", "--log-file", "log.jsonl", "--parallel", "1"
    )
    assert retried.code == 0, retried.err
    told = [json.loads(line) for line in (doubtful / "log.jsonl").read_text("utf-8").splitlines()]
    assert ("report.heard_again", 1) in [(line["event"], line.get("replaced")) for line in told]
    assert "replaced (heard in its own language)" in retried.out
    after = report_in(doubtful)
    assert "今天天气很好" in text_of(after)
    assert "今天天气很好" not in text_of(before)
    assert [s for s in after["segments"] if s["start_s"] < 9] == [
        s for s in before["segments"] if s["start_s"] < 9
    ]
    (heard,) = after["provenance"]["parameters"]["heard_again"]
    assert (heard["replaced"], heard["way"], heard["languages"]) == (True, "language", ["en", "zh"])
    assert gsvr("batch", "verify").code == 0
    assert '["unsure",' not in (doubtful / "batch_output" / "index.html").read_text("utf-8")

    (path,) = (doubtful / "batch_output").rglob("two*.json")
    written = path.stat().st_mtime_ns
    again = gsvr("batch", "retry", "latest", "--quality", "--json")
    value = json.loads(again.out)
    assert (again.code, value["replaced"], value["kept"], value["reports"]) == (0, 0, 0, [])
    assert path.stat().st_mtime_ns == written

    # Every later run of the same recording has the better text, too: it is in the journal.
    path.unlink()
    assert gsvr("batch", "verify", "--repair").code == 0
    assert text_of(report_in(doubtful)) == text_of(after)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"),
    [
        pytest.param("replace_result", 1, marks=pytest.mark.slow),
        ("replace_result", 2),
        pytest.param("write", 1, marks=pytest.mark.slow),
        pytest.param("pages_written", 1, marks=pytest.mark.slow),
    ],
)
def test_a_second_hearing_that_was_killed_is_ended_by_the_next_one(
    doubtful: Path, gsvr: Gsvr, name: str, count: int
) -> None:
    """Pins: killed between the files and their row, the report was judged as settled for good and
    never agreed with the database again; killed after it, page and checkpoint stayed old."""
    run_killed(name, count, "batch", "retry", "latest", "--quality", cwd=doubtful)
    if count == 2:
        found = gsvr("batch", "verify")
        assert (found.code, " bytes instead of " in found.out) == (3, True)
        (doubtful / "in" / "two.wav").unlink()  # the JSON on disk is whole: nothing is heard
    again = gsvr("batch", "retry", "latest", "--quality")
    assert again.code == 0, again.err + again.out
    assert "今天天气很好" in text_of(report_in(doubtful))
    assert gsvr("batch", "verify").code == 0
    assert '["unsure",' not in (doubtful / "batch_output" / "index.html").read_text("utf-8")
    (newest, *_) = json.loads(gsvr("batch", "checkpoints", "--json").out)["checkpoints"]
    assert newest["reason"] == "quality"


def test_a_report_whose_recording_is_gone_stays_as_it_was(doubtful: Path, gsvr: Gsvr) -> None:
    before = report_in(doubtful)
    (doubtful / "in" / "two.wav").unlink()
    answer = gsvr("batch", "retry", "latest", "--quality", "--json")
    value = json.loads(answer.out)
    assert (answer.code, value["exit_code"], value["replaced"]) == (3, 3, 0)
    assert value["problems"][0]["code"] == "E_FILE_MISSING"
    assert report_in(doubtful) == before
    assert "1 done" in gsvr("batch", "status").out


@pytest.mark.slow
def test_a_report_that_cannot_be_written_ends_the_run_in_its_own_words(
    doubtful: Path, gsvr: Gsvr
) -> None:
    """A full disk was told as "unexpected error: ExceptionGroup"."""
    (page,) = (doubtful / "batch_output").rglob("two*.html")
    page.unlink()
    (page / "in the way").mkdir(parents=True)
    before = report_in(doubtful)
    answer = gsvr("batch", "retry", "latest", "--quality")
    assert answer.code == 1
    assert "unexpected" not in answer.err
    assert page.name in answer.err
    assert report_in(doubtful) == before


@pytest.mark.parametrize("ruin", [None, pytest.param("{garbage", marks=pytest.mark.slow)])
def test_reports_that_cannot_be_read_are_named_and_not_passed_as_sound(
    doubtful: Path, gsvr: Gsvr, ruin: str | None
) -> None:
    """Pins: "0 reports, 0 without any finding" and "nothing to hear again", both with success."""
    (path,) = (doubtful / "batch_output").rglob("two*.json")
    path.unlink()
    if ruin is not None:
        path.write_text(ruin)
    judged = gsvr("batch", "quality")
    assert judged.code == 3
    assert "1 report not judged:" in judged.out
    assert judged.out.splitlines()[-1].endswith(" --repair")
    retried = gsvr("batch", "retry", "latest", "--quality")
    assert retried.code == 3
    assert "nothing to hear again" not in retried.out
    assert retried.out.splitlines()[-1].endswith(" --repair")
    (problem,) = json.loads(gsvr("batch", "retry", "latest", "--quality", "--json").out)["problems"]
    assert problem["code"] == "E_REPORT_DAMAGED"


async def test_a_second_hearing_takes_the_limits_that_it_is_given(
    doubtful: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pins: --timeout and its like were taken and not looked at."""
    seen: list[BatchOptions] = []

    class Noting(BatchTaskRunner):
        async def __call__(self, task: VideoTask, control: TaskControl) -> TaskResult:
            seen.append(self.options)
            raise PermanentError("seen enough")

    monkeypatch.setattr(rewrite, "BatchTaskRunner", Noting)
    monkeypatch.chdir(doubtful)
    flags = {"timeout_s": "7m", "stall_timeout_s": "8s", "parallel": 3}
    command = ProcessCommand(flags=flags)
    assert await retry_quality(command, Faces(json=True), "latest", None, alone=True) == 3
    assert "seen enough" in capsys.readouterr().out
    [options] = seen
    assert (options.timeout_s, options.stall_timeout_s, options.parallel) == (420, 8, 3)


def test_below_takes_only_reports_that_score_less(doubtful: Path, gsvr: Gsvr) -> None:
    before = report_in(doubtful)
    answer = gsvr("batch", "retry", "latest", "--quality", "--below", "5")
    assert (answer.code, answer.out) == (0, "nothing to hear again\n")
    assert report_in(doubtful) == before


def test_flags_about_failed_videos_do_not_go_with_quality(gsvr: Gsvr) -> None:
    answer = gsvr("batch", "retry", "latest", "--quality", "--failed")
    assert answer.code == 2
    assert "--quality is about finished reports" in answer.err
    answer = gsvr("batch", "retry", "latest", "--quality", "--max-retries", "2")
    assert answer.code == 2
    assert "goes without --failed, --no-run and --max-retries" in " ".join(answer.err.split())
    answer = gsvr("batch", "retry", "latest", "--quality", "--below", "0")
    assert answer.code == 2
    assert "--below is a score above 0 and up to 100, not 0" in answer.err
