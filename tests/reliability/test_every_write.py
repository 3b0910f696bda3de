"""The queue is struck at each of its writes in turn: killed, disk full, I/O error, half a write.

After every stroke the file is sound and holds all that was promised; the next life completes the
rest, and no task is completed twice. (SQLite's own test suite calls this `crash_on_write`.)
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability import shim
from tests.reliability.lives import Lives, held, promised, whole
from tests.reliability.queue_life import ENDS, UNEXPECTED
from tests.reliability.shim import SELF, Fate, Kind

pytestmark = pytest.mark.skipif(bool(shim.missing()), reason=shim.missing() or "the shim works")


@pytest.fixture
def lives(fast: Path) -> Iterator[Lives]:
    made = Lives(fast)
    yield made
    made.close()


FAILING_DISKS = {
    "full": (Fate.ERROR, errno.ENOSPC, Kind.NEEDS_SPACE, {"DiskFullError"}),
    "half": (Fate.SHORT, errno.ENOSPC, Kind.NEEDS_SPACE, {"DiskFullError"}),
    "io": (
        Fate.ERROR, errno.EIO, Kind.ANY & ~Kind.UNLINK,
        {"DatabaseError", "DatabaseReadOnly", "OutputNotWritable"},
    ),
    "read-only": (
        Fate.ERROR, errno.EROFS, Kind.ANY & ~Kind.UNLINK,
        {"DatabaseError", "DatabaseReadOnly", "OutputNotWritable"},
    ),
}  # fmt: skip
"""What fails, how, and as what it may be reported. Temporary files can still be removed: what is
left because nothing can be removed any more, is not ours."""


def killed_at(lives: Lives, number: int) -> None:
    """Kill at the change `number`; nothing promised is lost, and the next life ends well."""
    name = f"kill{number}"
    lives.faults.strike(number, Fate.SIGNAL, signal.SIGKILL, victim=SELF)
    code = lives.live(name)
    assert code == (-signal.SIGKILL if lives.faults.struck else 0)
    assert held(lives.root / name / "q.db", promised(lives.logs / name)) == [], number
    lives.faults.calm()
    assert lives.live(name) == 0, (lives.logs / name).read_text()
    assert whole(lives, name) == [], number


def fails_at(lives: Lives, number: int, disk: str) -> int:
    """From the change `number` on everything fails; then the disk is well, and the work goes on.

    Returns the exit code of the life that met the failure.
    """
    fate, value, kinds, ends = FAILING_DISKS[disk]
    name = f"fail{number}"
    lives.faults.strike(number, fate, value, times=10**9, kinds=kinds)
    code = lives.live(name)
    said = (lives.logs / name).read_text() if (lives.logs / name).exists() else ""
    assert code in {0, *(ENDS[end] for end in ends)}, (number, said)
    lives.faults.calm()
    assert held(lives.root / name / "q.db", promised(lives.logs / name)) == [], number
    assert lives.live(name) == 0, (lives.logs / name).read_text()
    assert whole(lives, name) == [], number
    return code


def test_queue_killed_at_one_write_in_thirty_keeps_every_promise(lives: Lives) -> None:
    changes = lives.changes()
    assert changes > 60
    for number in range(7, changes + 1, 30):
        killed_at(lives, number)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_queue_killed_at_each_of_its_writes_keeps_every_promise(lives: Lives) -> None:
    for number in range(1, lives.changes() + 1):
        killed_at(lives, number)


@pytest.mark.parametrize("disk", ["full", "io"])
def test_disk_that_fails_at_one_write_in_sixty_is_named_and_costs_no_promise(
    lives: Lives, disk: str
) -> None:
    met = {fails_at(lives, number, disk) for number in range(1, lives.changes() + 1, 60)}
    assert UNEXPECTED not in met
    assert met - {0}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("disk", FAILING_DISKS)
def test_disk_that_fails_at_any_write_is_named_and_costs_no_promise(
    lives: Lives, disk: str
) -> None:
    for number in range(1, lives.changes() + 1):
        fails_at(lives, number, disk)
