"""Mutated recordings: every one ends soon, in a report or in one explained error; nothing leaks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

import psutil
import pytest

from gs_video_report.compute.process_pool import ProcessBackend
from gs_video_report.engines import jobs
from gs_video_report.errors import ComputeFailed, GsvrError
from tests.reliability import oracle
from tests.reliability.mutate import mutated, originals
from tests.reliability.scene import CHEAP, Scene

LONGEST_CALL_S = 30.0
"""A call on a two-second recording that takes longer hangs. (The machine may be busy.)"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return originals(tmp_path_factory.mktemp("originals"))


async def decode(backend: ProcessBackend, path: Path, place: Path) -> list[str]:
    """Probe, hear and look, as the local engine does; the codes of the errors."""
    codes = []
    pictures = place / "pictures"
    pictures.mkdir(exist_ok=True)
    calls = (
        (jobs.probe, (str(path),)),
        (jobs.extract_audio, (str(path), str(place / "pcm"), None)),
        (jobs.find_slides, (str(path), str(pictures), str(place / "cache"))),
    )
    for function, arguments in calls:
        error = await error_of(backend.run(function, *arguments, timeout_s=LONGEST_CALL_S))  # type: ignore[arg-type]
        if error is None:
            continue
        assert not isinstance(error, ComputeFailed), f"{path.name}: {error.message} {error.data}"
        assert error.message, path.name
        assert error.hint, f"{path.name}: {error.message}"
        codes.append(error.code)
        if function is jobs.probe:
            break
    return codes


async def error_of(call: Awaitable[object]) -> GsvrError | None:
    """The error with which the call ends, if it does."""
    try:
        await call
    except GsvrError as error:
        return error
    return None


async def decode_all(recordings: list[Path], seeds: range, place: Path) -> Counter[str]:
    """Decode mutations one after the other; how often each error code came."""
    met: Counter[str] = Counter()
    async with ProcessBackend(1) as backend:
        for seed in seeds:
            name, content = mutated(recordings, seed)
            path = place / name
            path.write_bytes(content)
            met.update(await decode(backend, path, place) or ["ok"])
            path.unlink()
        assert not list(place.glob("*.tmp"))
        used = backend.statistics()
    assert (
        used.started - used.recycled
        <= 1 + met["E_COMPUTE_CRASHED"] + met["E_TIMEOUT"] + met["E_OUT_OF_MEMORY"]
    )
    return met


async def test_mutated_recordings_are_decoded_or_refused_with_a_reason(
    recordings: list[Path], fast: Path
) -> None:
    before = set(psutil.Process().children(recursive=True))  # of tests in the same process
    met = await decode_all(recordings, range(60), fast)
    assert met["ok"] > 10
    assert met["E_NO_MEDIA"] > 5
    assert not {"E_TIMEOUT", "E_COMPUTE_CRASHED"} & met.keys(), met
    assert not set(psutil.Process().children(recursive=True)) - before


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("block", range(8))
async def test_a_thousand_mutations_of_each_recording_end_well(
    recordings: list[Path], fast: Path, block: int
) -> None:
    met = await decode_all(recordings, range(1000 * (block + 1), 1000 * (block + 2)), fast)
    assert not {"E_TIMEOUT", "E_COMPUTE_CRASHED"} & met.keys(), met


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_batch_of_mutated_recordings_ends_with_a_report_or_a_reason_for_each(
    recordings: list[Path], fast: Path, flags: tuple[str, ...]
) -> None:
    inputs = fast / "in"
    inputs.mkdir()
    for seed in range(100, 140):
        name, content = mutated(recordings, seed)
        (inputs / name).write_bytes(content)
    scene = Scene(fast / "scene", inputs, (*CHEAP, "--slides", *flags[-2:]))
    began = time.monotonic()
    assert scene.finish("--subtitles", "prefer") in (0, 3), scene.said()
    assert time.monotonic() - began < 300
    rows = oracle.rows(scene.database, "SELECT status, error FROM tasks")
    assert {status for status, _ in rows} <= {"completed", "failed"}
    assert all(error and '"hint": ""' not in error for status, error in rows if status == "failed")
    assert not oracle.left_behind(scene)
