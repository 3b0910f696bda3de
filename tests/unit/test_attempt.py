"""One attempt of a task: which error ends it, when a crash is poison, who may finish at a limit."""

from __future__ import annotations

import asyncio

import pytest

from gs_video_report.batch.attempt.control import TaskControl
from gs_video_report.batch.attempt.errors import decisive, guarded
from gs_video_report.batch.data_models import (
    BatchCounts,
    TaskResult,
    TaskStatus,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.pool.attempt_end import blame
from gs_video_report.batch.pool.in_flight import Attempt, AttemptsInFlight
from gs_video_report.batch.pool.outcome import PoolOutcome, StopReason, judge, really
from gs_video_report.batch.pool.stop_signals import StopSignals
from gs_video_report.errors import (
    ComputeCrashed,
    ComputeTimeout,
    DiskFullError,
    ExitCode,
    GsvrError,
    NoMediaError,
    PermanentError,
    PoisonTaskError,
    StepCancelled,
)


def a_task(number: int) -> VideoTask:
    video = VideoInput(f"/talks/{number}.mp4")
    return VideoTask(number, "7f3a91c2", number, TaskStatus.RUNNING, 50, video, "transcript")


async def raised_by(error: BaseException) -> BaseException:
    """What `guarded` makes of it."""

    async def runner(task: VideoTask, control: TaskControl) -> TaskResult:
        raise error

    with pytest.raises(BaseException) as caught:
        await guarded(runner, a_task(1), TaskControl(asyncio.Event(), 0.0))
    return caught.value


async def test_a_fault_of_ours_fails_one_task_and_names_its_type() -> None:
    told = await raised_by(ZeroDivisionError("division by zero"))
    assert isinstance(told, PermanentError)
    assert told.message == "unexpected ZeroDivisionError: division by zero"
    assert "report it" in told.hint


async def test_our_own_errors_and_cancellation_pass_as_they_are() -> None:
    own = NoMediaError("a.mp4: no media")
    assert await raised_by(own) is own
    assert isinstance(await raised_by(asyncio.CancelledError()), asyncio.CancelledError)


async def test_of_errors_that_come_together_a_known_one_decides_and_a_stop_never() -> None:
    stop, own, fault = StepCancelled("stopped"), NoMediaError("no media"), KeyError("x")
    assert decisive(BaseExceptionGroup("", [stop, own])) is own
    assert decisive(BaseExceptionGroup("", [fault, BaseExceptionGroup("", [stop, own])])) is own
    assert await raised_by(ExceptionGroup("", [stop, own])) is own
    told = await raised_by(ExceptionGroup("", [stop, fault]))
    assert isinstance(told, PermanentError)
    assert "KeyError" in told.message


def test_only_the_third_crash_of_a_process_is_poison() -> None:
    crash = ComputeCrashed("the process was killed by signal 11", stage="audio", signal=11)
    crashed, other = {"code": ComputeCrashed.code}, {"code": "E_DOWNLOAD"}
    assert blame(crash, [crashed, other, None]) is crash
    poison = blame(crash, [crashed, None, crashed])
    assert isinstance(poison, PoisonTaskError)
    assert poison.message == "the process was killed by signal 11, 3 times"
    assert (poison.stage, poison.data) == ("audio", {"crashes": 3, "signal": 11})


class Bench:
    """Attempts that run until they are cancelled."""

    def __init__(self, numbers: range) -> None:
        self.flight = AttemptsInFlight()
        self.attempts: dict[int, Attempt] = {}
        for number in numbers:
            control = TaskControl(asyncio.Event(), started=0.0)
            control.handle = asyncio.ensure_future(asyncio.Event().wait())  # type: ignore[assignment]
            self.attempts[number] = Attempt(a_task(number), control, number)
            self.flight.add(self.attempts[number])

    def cancelled(self) -> dict[int, GsvrError]:
        found = {n: a.control.outcome for n, a in self.attempts.items()}
        return {number: why for number, why in found.items() if why is not None}

    async def close(self) -> None:
        handles = [a.control.handle for a in self.attempts.values() if a.control.handle]
        for handle in handles:
            handle.cancel()
        await asyncio.gather(*handles, return_exceptions=True)


def test_an_attempt_that_ends_late_leaves_the_next_one_of_its_task_in_flight() -> None:
    """It took the new attempt out of the list, which then heard of no stop any more."""
    flight = AttemptsInFlight()
    old, new = (Attempt(a_task(1), TaskControl(asyncio.Event(), 0.0), slot) for slot in (1, 2))
    flight.add(old)
    flight.add(new)
    flight.remove(old)
    assert list(flight) == [new]
    flight.remove(new)
    assert list(flight) == []


async def test_at_a_limit_only_tasks_with_answers_paid_or_owed_go_on() -> None:
    bench = Bench(range(1, 6))
    bench.attempts[2].control.has_answers = True
    bench.attempts[3].control.has_answers = True
    bench.attempts[3].control.quota_waits = 1
    finishing = bench.flight.close_purse(refused=1, owed={4})
    assert finishing == 2
    assert set(bench.cancelled()) == {3, 5}
    with pytest.raises(StepCancelled):
        bench.attempts[2].control.asks()
    bench.attempts[1].control.asks()
    await bench.close()


async def test_the_first_reason_for_a_cancellation_counts() -> None:
    bench = Bench(range(1, 3))
    bench.attempts[2].control.waiting(0.0, True)
    bench.flight.stop_overdue(now=61.0, timeout_s=60.0)
    assert {n: type(why) for n, why in bench.cancelled().items()} == {1: ComputeTimeout}
    bench.flight.stop_all()
    found = {n: type(why) for n, why in bench.cancelled().items()}
    assert found == {1: ComputeTimeout, 2: StepCancelled}
    bench.flight.remove(bench.attempts[1])
    assert len(bench.flight) == 1
    await bench.close()


def test_exit_codes_of_ends_without_a_signal() -> None:
    quiet = StopSignals(on_first=lambda number: None, on_second=lambda: None)
    full = PoolOutcome(StopReason.FATAL, DiskFullError("no space left"))
    some = BatchCounts(completed=1, failed=1)
    assert judge(full, some, quiet) == ("paused", DiskFullError.exit_code)
    assert judge(PoolOutcome(StopReason.LIMIT), some, quiet) == ("paused", ExitCode.PAUSED)
    assert judge(PoolOutcome(StopReason.CANCELLED), some, quiet) == ("cancelled", ExitCode.PARTIAL)
    assert judge(PoolOutcome(StopReason.DRAINED), some, quiet) == ("completed", ExitCode.PARTIAL)
    all_well = BatchCounts(completed=2)
    assert judge(PoolOutcome(StopReason.DRAINED), all_well, quiet) == ("completed", ExitCode.OK)
    late = really(PoolOutcome(StopReason.PAUSED), all_well)
    assert late.reason is StopReason.DRAINED
    assert really(full, all_well) is full
