"""The queue against a small model in memory: random work, kills, zombies, clock jumps, and a lost
database that is rebuilt from the newest checkpoint.

After every step each task's state, attempt, failures and kills must be the model's, and the
counters of the batch must be what counting gives.
"""

from __future__ import annotations

import asyncio
import copy
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gs_video_report.batch.checkpoint_manager import CheckpointManager
from gs_video_report.batch.data_models import (
    PROCESS_DEATH_LIMIT,
    BatchStatus,
    TaskStatus,
    VideoTask,
)
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.retry import FAR_MS
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.errors import LeaseLost
from tests.support.queue import BATCH, BROKEN, FakeClock, open_queue, result, task

LEASE_S = 60.0
OUTCOMES = {
    "complete": "completed", "fail": "failed", "retry": "retrying", "wait": "retrying",
    "release": "released", "cancelled": "cancelled", "skip": "skipped",
}  # fmt: skip
ENDED = {"completed", "failed", "cancelled", "skipped"}


@dataclass
class Expected:
    """What the model knows of one task."""

    priority: int
    status: str = "pending"
    attempt: int = 0
    failures: int = 0
    kills: int = 0
    owner: str | None = None
    lease_until: int = 0
    due: int = 0
    cancel: bool = False

    def restore(self) -> None:
        """What a checkpoint makes of it: nobody works on it any more."""
        if self.status == "running":
            self.leave("cancelled" if self.cancel else "pending")

    def leave(self, status: str) -> None:
        if self.cancel and status in {"pending", "retrying"}:
            status = "cancelled"
        self.status, self.owner, self.cancel = status, None, False


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.model: dict[int, Expected] = {}
        self.claims: list[VideoTask] = []  # every claim ever made: the zombies' too
        self.locks: dict[str, ProcessLock] = {}
        self.queues: dict[str, TaskQueue] = {}
        self.born = 0
        self.saved: dict[int, Expected] | None = None  # the model as the newest checkpoint has it

    def run(self, awaitable):  # type: ignore[no-untyped-def]
        return self.runner.run(awaitable)

    @initialize()
    def begin(self) -> None:
        self.queue = self.run(open_queue(Path(self.folder.name), self.clock))
        self.start_process()
        self.add(3, 50)

    def teardown(self) -> None:
        for lock in self.locks.values():
            lock.close()
        if hasattr(self, "queue"):
            self.run(self.queue.db.close())
        self.runner.close()
        self.folder.cleanup()

    # --- rules ----------------------------------------------------------------------------------

    @precondition(lambda self: len(self.locks) < 3)
    @rule()
    def start_process(self) -> None:
        self.born += 1
        name = f"host-{self.born}-x"
        self.locks[name] = ProcessLock(self.queue.db.path, name).acquire()
        self.queues[name] = TaskQueue(self.queue.db, clock=self.clock)

    @precondition(lambda self: self.locks)
    @rule(pick=st.integers(0, 9))
    def kill_process(self, pick: int) -> None:
        """What SIGKILL does to the lock. The claims stay behind as zombies."""
        name = sorted(self.locks)[pick % len(self.locks)]
        self.locks.pop(name).close()
        del self.queues[name]

    @rule(count=st.integers(1, 3), priority=st.sampled_from([0, 50, 100]))
    def add(self, count: int, priority: int) -> None:
        first = len(self.model) + 1
        new = [task(n, priority) for n in range(first, first + count)]
        assert self.run(self.queue.add_tasks(BATCH, new)) == count
        self.model |= {n: Expected(priority) for n in range(first, first + count)}

    @precondition(lambda self: self.locks)
    @rule(pick=st.integers(0, 9), limit=st.integers(1, 3))
    def claim(self, pick: int, limit: int) -> None:
        name = sorted(self.locks)[pick % len(self.locks)]
        got = self.run(self.queues[name].claim(BATCH, f"{name}/w1", limit, LEASE_S))
        now = self.clock.wall
        due = [
            (e.priority, n)
            for n, e in self.model.items()
            if e.status == "pending" or (e.status == "retrying" and not now < e.due <= now + FAR_MS)
        ]
        assert [t.task_id for t in got] == [n for _, n in sorted(due)[:limit]]
        for claimed in got:
            expected = self.model[claimed.task_id]
            expected.status, expected.owner = "running", name
            expected.attempt += 1
            expected.lease_until = self.clock.boot + round(LEASE_S * 1000)
        self.claims += got

    @precondition(lambda self: self.locks)
    @rule(pick=st.integers(0, 9))
    def heartbeat(self, pick: int) -> None:
        name = sorted(self.locks)[pick % len(self.locks)]
        beat = self.run(self.queues[name].heartbeat([f"{name}/w1"], LEASE_S))
        mine = {n: e for n, e in self.model.items() if e.owner == name}
        assert beat.cancel == {n for n, e in mine.items() if e.cancel}
        assert not beat.lost & set(mine)
        for expected in mine.values():
            expected.lease_until = self.clock.boot + round(LEASE_S * 1000)

    @precondition(lambda self: self.claims)
    @rule(
        pick=st.integers(0, 99),
        way=st.sampled_from(["complete", "fail", "retry", "wait", "release", "cancelled", "skip"]),
    )
    def leave(self, pick: int, way: str) -> None:
        """Any worker that ever had a claim tries to end it; only the owner may."""
        claimed = self.claims[pick % len(self.claims)]
        expected = self.model[claimed.task_id]
        owns = expected.status == "running" and expected.attempt == claimed.attempt
        before = self.run(self.queue.attempts(claimed.task_id))[claimed.attempt - 1]["outcome"]
        try:
            self.run(self._leave(claimed, way))
            assert owns or before in {OUTCOMES[way], "cancelled"}  # a repeated call is harmless
        except LeaseLost:
            assert not owns
        if owns:
            expected.failures += way in {"fail", "retry"}
            states = OUTCOMES | {"release": "pending"}
            expected.due = self.clock.wall + 5_000
            expected.leave(states[way])

    async def _leave(self, claimed: VideoTask, way: str) -> None:
        queue = self.queues.get((claimed.worker_id or "").partition("/")[0], self.queue)
        if way == "complete":
            await queue.complete(claimed, result())
        elif way == "fail":
            await queue.fail(claimed, BROKEN)
        elif way in {"retry", "wait"}:
            await queue.retry_later(claimed, BROKEN, 5.0, counts=way == "retry")
        elif way == "release":
            await queue.release(claimed)
        elif way == "cancelled":
            await queue.cancelled(claimed)
        else:
            await queue.skip(claimed, "there")

    @rule()
    def recover(self) -> None:
        found = self.run(self.queue.recover())
        lost = {
            n: e
            for n, e in self.model.items()
            if e.status == "running"
            and (e.owner not in self.locks or e.lease_until < self.clock.boot)
        }
        assert set(found.returned) | set(found.poisoned) == set(lost)
        for number, expected in lost.items():
            expected.kills += 1
            poisoned = expected.kills >= PROCESS_DEATH_LIMIT and not expected.cancel
            assert (number in found.poisoned) == poisoned
            expected.leave("failed" if poisoned else "pending")

    @rule(pick=st.integers(1, 99))
    def request_cancel(self, pick: int) -> None:
        number = (pick - 1) % len(self.model) + 1
        expected = self.model[number]
        asked = self.run(self.queue.request_cancel(f"{BATCH}:{number}"))
        assert asked == (expected.status not in ENDED)
        if expected.status == "running":
            expected.cancel = True
        elif expected.status not in ENDED:
            expected.leave("cancelled")

    @rule(old=st.sampled_from(["completed", "failed", "cancelled", "skipped", "retrying"]))
    def requeue(self, old: str) -> None:
        moved = self.run(self.queue.requeue(BATCH, statuses=[TaskStatus(old)], reason="test"))
        these = [e for e in self.model.values() if e.status == old]
        assert moved == len(these)
        for expected in these:
            expected.status, expected.failures, expected.kills = "pending", 0, 0

    @rule(seconds=st.sampled_from([1, 5, 30, 61]))
    def pass_time(self, seconds: int) -> None:
        self.clock.pass_s(seconds)

    @rule(seconds=st.sampled_from([-86400, -3600, 3600]))
    def set_wall_clock(self, seconds: int) -> None:
        self.clock.jump_s(seconds)

    @rule()
    def write_checkpoint(self) -> None:
        self.run(CheckpointManager(self.queue).write(BATCH, "interval"))
        self.saved = copy.deepcopy(self.model)

    @rule(is_fresh=st.booleans())
    def lose_the_database(self, is_fresh: bool) -> None:
        """It is gone, and everybody who worked with it; what the newest checkpoint has is back."""
        if is_fresh or self.saved is None:
            self.write_checkpoint()
        for lock in self.locks.values():
            lock.close()
        self.locks, self.queues, self.claims = {}, {}, []
        path = self.queue.db.path
        self.run(self.queue.db.close())
        for file in path.parent.glob(f"{path.name}*"):
            if file.is_file():
                file.unlink()
        self.queue = TaskQueue(self.run(Database.open(path)), clock=self.clock)
        manager = CheckpointManager(self.queue)
        row = self.run(manager.restore(manager.load("latest"), self.queue))
        assert row.status is BatchStatus.PAUSED  # nothing is claimed until somebody goes on
        self.run(self.queue.set_batch_status(BATCH, BatchStatus.RUNNING))
        assert self.saved is not None
        self.model = copy.deepcopy(self.saved)
        for expected in self.model.values():
            expected.restore()

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def file_equals_model(self) -> None:
        if not self.model:
            return

        async def look() -> tuple[list[VideoTask], object]:
            return [t async for t in self.queue.iter_tasks(BATCH)], await self.queue.counts(BATCH)

        found, counts = self.run(look())
        assert {
            t.task_id: (t.status.value, t.attempt, t.failures, t.kills, t.cancel_requested)
            for t in found
        } == {
            n: (e.status, e.attempt, e.failures, e.kills, e.cancel) for n, e in self.model.items()
        }
        really = Counter(e.status for e in self.model.values())
        assert {
            s.value: getattr(counts, s.value) for s in TaskStatus if getattr(counts, s.value)
        } == really


TestQueueModel = QueueMachine.TestCase
TestQueueModel.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
