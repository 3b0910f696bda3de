"""The power goes at random points: nothing that was promised is lost, nothing is half there.

The negative control, a disk that ignores syncs, must break the same promises.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.reliability import shim
from tests.reliability.power import long_form, queue_cuts, queue_trace, run_cuts, run_trace
from tests.reliability.scene import Scene

pytestmark = pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "the shim works")


def test_power_cuts_lose_no_promise_of_the_queue_and_a_lying_disk_does(fast: Path) -> None:
    trace = queue_trace(fast)
    assert queue_cuts(trace, 120, random.Random(2)) == []
    assert len(queue_cuts(trace, 40, random.Random(2), honest=False)) > 5


def test_power_cuts_leave_reports_whole_and_completed_tasks_with_their_files(
    fast: Path, library: Path, flags: tuple[str, ...]
) -> None:
    scene = Scene(fast / "scene", library, flags)
    trace = run_trace(fast, scene)
    assert run_cuts(trace, scene, 60, random.Random(4)) == []
    assert run_cuts(trace, scene, 40, random.Random(4), honest=False) != []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_thousand_power_cuts_lose_nothing(fast: Path) -> None:
    text, wrong = long_form(fast, 2000, 9)
    assert not wrong, text
