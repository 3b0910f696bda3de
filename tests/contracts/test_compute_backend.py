"""What every compute backend promises, run against real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from gs_video_report.compute.again import TRIES, again
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.compute.process_pool import ComputeEvent, ProcessBackend
from gs_video_report.errors import (
    ComputeCrashed,
    ComputeFailed,
    ComputeOutOfMemory,
    ComputeStalled,
    ComputeTimeout,
    CorruptMediaError,
    DiskFullError,
    StepCancelled,
)
from tests.support import compute_functions as work

Make = Callable[..., Awaitable[ProcessBackend]]


@pytest_asyncio.fixture
async def make() -> AsyncIterator[Make]:
    """Makes backends and proves at the end that they leave no process."""
    made: list[ProcessBackend] = []

    async def factory(processes: int = 1, **options: object) -> ProcessBackend:
        backend = ProcessBackend(processes, **options)  # type: ignore[arg-type]
        await backend.start()
        made.append(backend)
        return backend

    yield factory
    for backend in made:
        await backend.close(grace_s=0.2)
    assert psutil.Process().children(recursive=True) == []


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def started(backend: ComputeBackend, *call: object, **options: object) -> asyncio.Task[object]:
    return asyncio.ensure_future(backend.run(*call, **options))  # type: ignore[arg-type]


async def running(
    backend: ComputeBackend, *call: object, **options: object
) -> asyncio.Task[object]:
    """A call that a process has begun."""
    begun = asyncio.Event()
    task = started(backend, *call, on_start=begun.set, **options)
    await asyncio.wait_for(begun.wait(), 20)
    return task


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- results -------------------------------------------------------------------------------------


async def test_result_comes_from_another_process(make: Make) -> None:
    backend = await make()
    assert await backend.run(work.echo, {"a": (1, "第一讲")}) == {"a": (1, "第一讲")}
    assert await backend.run(work.pid) != os.getpid()


async def test_large_arguments_and_results_arrive_whole(make: Make) -> None:
    backend = await make()
    data = os.urandom(3_000_000)
    assert await backend.run(work.echo, data) == data


async def test_process_stays_warm_between_calls(make: Make) -> None:
    backend = await make()
    assert [await backend.run(work.count_up, "model") for _ in range(3)] == [1, 2, 3]
    assert backend.statistics().started == 1


async def test_warm_process_is_preferred_for_the_same_function(make: Make, tmp_path: Path) -> None:
    backend = await make(2)
    go = tmp_path / "go"
    first = await running(backend, work.hold_alone, str(tmp_path), str(go))
    other = await backend.run(work.pid)
    go.touch()
    warm_for_hold = await first
    assert warm_for_hold != other
    assert await backend.run(work.pid) == other
    assert await backend.run(work.hold_alone, str(tmp_path), str(go)) == warm_for_hold


async def test_processes_start_only_when_needed(make: Make) -> None:
    backend = await make(4)
    assert backend.statistics().processes == 0
    for _ in range(5):
        await backend.run(work.pid)
    assert backend.statistics().processes == 1


async def test_two_calls_never_share_a_process(make: Make, tmp_path: Path) -> None:
    backend = await make(2)
    go = tmp_path / "go"
    calls = [started(backend, work.hold_alone, str(tmp_path), str(go)) for _ in range(6)]
    await until(lambda: backend.statistics().busy == 2)
    assert backend.statistics().waiting == 4
    go.touch()
    assert len(set(await asyncio.gather(*calls))) == 2


async def test_waiting_calls_go_by_priority_then_arrival(make: Make, tmp_path: Path) -> None:
    backend = await make()
    go, order = tmp_path / "go", tmp_path / "order"
    first = await running(backend, work.wait_for, str(go))
    calls = [
        started(backend, work.append_line, str(order), f"{priority}{name}", priority=priority)
        for priority, name in ((5, "a"), (1, "b"), (5, "c"), (1, "d"))
    ]
    await until(lambda: backend.statistics().waiting == 4)
    go.touch()
    await asyncio.gather(first, *calls)
    assert order.read_text().split() == ["1b", "1d", "5a", "5c"]


async def test_function_must_be_importable(make: Make) -> None:
    backend = await make()
    with pytest.raises(TypeError, match="not an importable module-level function"):
        await backend.run(lambda: 1)
    with pytest.raises(TypeError, match="arguments cannot be sent"):
        await backend.run(work.echo, lambda: 1)


# --- progress ------------------------------------------------------------------------------------


async def test_progress_is_thinned_and_ends_with_the_last_report(make: Make) -> None:
    backend = await make()
    seen: list[tuple[float, float]] = []
    await backend.run(
        work.report_many, 20_000, on_progress=lambda done, total: seen.append((done, total))
    )
    assert seen[0] == (1.0, 20_000.0)
    assert seen[-1] == (20_000.0, 20_000.0)
    assert len(seen) < 100


async def test_failing_display_does_not_cost_the_work(make: Make) -> None:
    backend = await make()
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: problems.append(what))

    def broken(done: float, total: float) -> None:
        raise ZeroDivisionError

    assert await backend.run(work.report_many, 5, on_progress=broken) is None
    assert problems[0]["message"] == "a progress callback failed"


# --- killing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fn", [work.forever, work.forever_deaf, work.busy_in_c])
async def test_call_over_its_time_is_dead_half_a_second_later(
    make: Make, fn: Callable[[], None]
) -> None:
    backend = await make()
    took: list[float] = []
    while not took or (min(took) >= 0.3 + 0.5 + 0.5 and len(took) < 3):  # others may have the cores
        child = await backend.run(work.pid)
        begun = time.monotonic()
        with pytest.raises(ComputeTimeout) as caught:
            await backend.run(fn, timeout_s=0.3)
        took.append(time.monotonic() - begun)
        assert caught.value.message == f"{fn.__name__} took longer than 0.3 s and was stopped"
        assert is_gone(child)
        assert await backend.run(work.echo, "next") == "next"
    assert min(took) < 0.3 + 0.5 + 0.5  # the last half for a busy machine


async def test_waiting_for_a_process_does_not_count_as_time(make: Make, tmp_path: Path) -> None:
    backend = await make()
    go = tmp_path / "go"
    first = await running(backend, work.report_until, str(go))
    second = started(backend, work.echo, "late", timeout_s=0.2)
    await asyncio.sleep(0.4)
    go.touch()
    assert await second == "late"
    await first


async def test_silent_call_is_stopped_and_a_reporting_one_is_not(
    make: Make, tmp_path: Path
) -> None:
    backend = await make(2)
    go = tmp_path / "go"
    reporting = await running(backend, work.report_until, str(go), stall_timeout_s=0.5)
    with pytest.raises(ComputeStalled) as caught:
        await backend.run(work.forever, stall_timeout_s=0.5)
    assert caught.value.message == "forever made no progress for 0.5 s and was stopped"
    assert caught.value.data["function"] == "tests.support.compute_functions:forever"
    go.touch()
    assert await reporting == "finished"


async def test_cancelled_call_is_dead_when_the_caller_goes_on(make: Make, tmp_path: Path) -> None:
    backend = await make(2)
    go = tmp_path / "go"
    child = await backend.run(work.pid)
    cancelled = await running(backend, work.forever)
    neighbour = await running(backend, work.wait_for, str(go), "unharmed")
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert is_gone(child)
    go.touch()
    assert await neighbour == "unharmed"


async def test_what_the_call_started_dies_with_it(make: Make, tmp_path: Path) -> None:
    backend = await make()
    path = tmp_path / "grandchild"
    call = await running(backend, work.with_grandchild, str(path))
    await until(path.exists)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: is_gone(int(path.read_text())), 1.0)


async def test_cancelled_waiting_call_takes_no_capacity(make: Make, tmp_path: Path) -> None:
    backend = await make()
    go = tmp_path / "go"
    first = await running(backend, work.wait_for, str(go))
    waiting = [started(backend, work.echo, n) for n in range(10)]
    await until(lambda: backend.statistics().waiting == 10)
    for call in waiting[::2]:
        call.cancel()
    go.touch()
    results = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert [r for r in results[1:] if not isinstance(r, BaseException)] == [1, 3, 5, 7, 9]
    assert await backend.run(work.echo, "still working") == "still working"


async def test_capacity_survives_cancels_at_every_moment(make: Make) -> None:
    """Cancelled after 0, 1, 2 ... turns of the loop; afterwards all processes can be used."""
    backend = await make(2)
    for turns in range(40):
        call = started(backend, work.echo, turns)
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    results = await asyncio.wait_for(
        asyncio.gather(*(backend.run(work.echo, n) for n in range(20))), 20
    )
    assert results == list(range(20))
    statistics = backend.statistics()
    assert (statistics.busy, statistics.waiting) == (0, 0)
    assert statistics.processes <= 2


# --- errors --------------------------------------------------------------------------------------


async def test_our_errors_come_back_unchanged(make: Make) -> None:
    backend = await make()
    with pytest.raises(CorruptMediaError) as caught:
        await backend.run(work.raise_corrupt)
    error = caught.value
    assert (error.message, error.hint, error.stage) == (
        "x.mp4: nothing decodes",
        "copy it",
        "audio",
    )
    assert error.data["packets"] == 7
    assert "raise_corrupt" in error.data["_traceback"]


async def test_unforeseen_error_is_named_without_a_traceback(make: Make) -> None:
    backend = await make()
    with pytest.raises(ComputeFailed) as caught:
        await backend.run(work.raise_value, "odd rate 7")
    assert caught.value.message == "raise_value failed: ValueError: odd rate 7"
    assert "Traceback" in caught.value.data["_traceback"]
    assert backend.statistics().crashed == 0


async def test_function_cannot_end_a_warm_process_by_exit(make: Make) -> None:
    backend = await make()
    child = await backend.run(work.pid)
    with pytest.raises(ComputeFailed, match="call_exit failed: SystemExit: 3"):
        await backend.run(work.call_exit, 3)
    assert await backend.run(work.pid) == child


async def test_result_that_cannot_be_sent_is_that_calls_error(make: Make) -> None:
    backend = await make()
    with pytest.raises(ComputeFailed, match="return_lambda failed"):
        await backend.run(work.return_lambda)
    assert await backend.run(work.echo, 1) == 1


async def test_full_disk_in_a_process_stops_the_batch(make: Make) -> None:
    backend = await make()
    with pytest.raises(DiskFullError, match="/cache/x: no space left on the disk"):
        await backend.run(work.raise_disk_full, "/cache/x")


@pytest.mark.parametrize("fn", [work.raise_memory, work.raise_native_memory])
async def test_failed_allocation_is_out_of_memory(make: Make, fn: Callable[[], None]) -> None:
    backend = await make()
    with pytest.raises(ComputeOutOfMemory, match="ran out of memory"):
        await backend.run(fn)


async def test_segfault_is_that_calls_error_and_nobody_elses(make: Make, tmp_path: Path) -> None:
    backend = await make(2)
    go = tmp_path / "go"
    neighbour = await running(backend, work.wait_for, str(go), "unharmed")
    with pytest.raises(ComputeCrashed) as caught:
        await backend.run(work.read_null)
    assert caught.value.message == "read_null crashed with SIGSEGV (invalid memory access)"
    assert caught.value.data["signal"] == signal.SIGSEGV
    assert "read_null" in caught.value.data["_stderr"]
    go.touch()
    assert await neighbour == "unharmed"
    assert backend.statistics().crashed == 1


async def test_exit_of_the_process_is_a_crash_with_its_code(make: Make) -> None:
    backend = await make()
    with pytest.raises(ComputeCrashed, match="end_with ended its process with exit code 3"):
        await backend.run(work.end_with, 3)
    assert await backend.run(work.echo, 1) == 1


async def test_a_call_of_no_task_is_begun_again_when_its_process_dies(
    make: Make, tmp_path: Path
) -> None:
    backend = await make()
    mark = tmp_path / "begun"
    assert await again(lambda: backend.run(work.die_once, str(mark))) == "second try"
    with pytest.raises(ComputeCrashed, match="end_with ended its process with exit code 3"):
        await again(lambda: backend.run(work.end_with, 3))
    assert backend.statistics().crashed == 1 + TRIES


async def test_sigkill_by_hand_is_not_called_lack_of_memory(make: Make) -> None:
    if psutil.virtual_memory().percent > 80:
        pytest.skip("memory of this machine is short")
    backend = await make()
    with pytest.raises(ComputeCrashed, match="killed from outside"):
        await backend.run(work.die_of, signal.SIGKILL)


async def test_idle_process_that_was_killed_is_replaced_silently(make: Make) -> None:
    backend = await make()
    child = await backend.run(work.pid)
    os.kill(child, signal.SIGKILL)
    await until(lambda: backend.statistics().processes == 0)
    assert await backend.run(work.pid) != child
    assert backend.statistics().crashed == 1


# --- memory --------------------------------------------------------------------------------------


async def test_call_that_grows_past_the_limit_is_stopped(make: Make) -> None:
    backend = await make(memory_limit_bytes=100_000_000)
    with pytest.raises(ComputeOutOfMemory) as caught:
        await backend.run(work.grow, 5_000_000)
    assert caught.value.message == "grow needed more than 100 MB and was stopped"


async def test_one_huge_allocation_is_refused_at_once(make: Make, tmp_path: Path) -> None:
    """Four times a second is too seldom for this; the kernel's own limit answers."""
    backend = await make(memory_limit_bytes=100_000_000)
    with pytest.raises(ComputeOutOfMemory, match="allocate ran out of memory"):
        await backend.run(work.allocate, 8_000_000_000, str(tmp_path / "never"))


async def test_process_that_grew_is_recycled_after_its_call(make: Make, tmp_path: Path) -> None:
    events: list[ComputeEvent] = []
    backend = await make(recycle_rss_bytes=60_000_000, on_event=events.append)
    go = tmp_path / "go"
    call = await running(backend, work.report_until, str(go))
    assert backend.statistics().recycled == 0
    go.touch()
    await call
    assert backend.statistics().recycled == 0
    kept = await backend.run(work.pid)
    await backend.run(work.keep_bytes, 80_000_000)
    assert backend.statistics().recycled == 1
    assert await backend.run(work.pid) != kept
    assert [event.kind for event in events][:3] == ["started", "recycled", "ended"]


async def test_process_is_recycled_after_its_share_of_calls(make: Make) -> None:
    backend = await make(recycle_after_calls=3)
    children = [await backend.run(work.pid) for _ in range(7)]
    assert [children.count(child) for child in dict.fromkeys(children)] == [3, 3, 1]
    assert backend.statistics().recycled == 2


async def test_statistics_measure_memory_now(make: Make, tmp_path: Path) -> None:
    backend = await make()
    go = tmp_path / "go"
    await backend.run(work.pid)
    before = backend.statistics().rss_bytes
    call = await running(backend, work.allocate, 50_000_000, str(go))
    await until(lambda: backend.statistics().rss_bytes > before + 50_000_000)
    go.touch()
    await call
    assert backend.statistics().peak_rss_bytes > before + 50_000_000


# --- surroundings --------------------------------------------------------------------------------


async def test_child_is_shut_off_from_terminal_keys_and_descriptors(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "secret")
    with (tmp_path / "database").open("wb") as open_file:
        os.set_inheritable(open_file.fileno(), True)
        backend = await make()
        facts = await backend.run(work.facts)
    environment = facts["environment"]
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["ORT_DISABLE_TELEMETRY"] == "1"
    assert environment["PYTHONHASHSEED"] == "0"
    assert "GEMINI_API_KEY" not in environment
    assert facts["session"] == facts["group"] == facts["pid"]
    assert facts["sigint_ignored"] is True
    assert facts["stdin"] == "/dev/null"
    assert [name for name in facts["descriptors"] if str(tmp_path) in name] == []


async def test_nothing_a_child_prints_reaches_the_terminal(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = await make()
    await backend.run(work.print_noise, "deprecated pixel format\n")
    with pytest.raises(ComputeCrashed) as caught:
        await backend.run(work.print_noise, "0123456789" * 2000, signal.SIGTERM)
    assert capfd.readouterr() == ("", "")
    assert caught.value.message == "print_noise was ended from outside (SIGTERM)"
    assert caught.value.data["_stderr"] == ("0123456789" * 2000)[-4096:]


async def test_chatty_child_does_not_fill_its_pipe_and_hang(make: Make) -> None:
    backend = await make()
    for _ in range(20):
        await backend.run(work.print_noise, "x" * 50_000, timeout_s=20)


# --- size and end --------------------------------------------------------------------------------


async def test_shrinking_waits_for_calls_and_growing_is_at_once(make: Make, tmp_path: Path) -> None:
    backend = await make(2)
    go = tmp_path / "go"
    calls = [started(backend, work.wait_for, str(go)) for _ in range(5)]
    await until(lambda: backend.statistics().busy == 2)
    await backend.resize(3)
    await until(lambda: backend.statistics().busy == 3)
    await backend.resize(1)
    assert backend.statistics().busy == 3
    go.touch()
    await asyncio.gather(*calls)
    await until(lambda: backend.statistics().processes == 1)
    with pytest.raises(ValueError, match="at least one process is needed"):
        await backend.resize(0)


async def test_idle_processes_end_when_the_pool_shrinks(make: Make, tmp_path: Path) -> None:
    backend = await make(3)
    go = tmp_path / "go"
    calls = [started(backend, work.wait_for, str(go)) for _ in range(3)]
    await until(lambda: backend.statistics().busy == 3)
    go.touch()
    await asyncio.gather(*calls)
    await backend.resize(1)
    await until(lambda: backend.statistics().processes == 1)
    assert await backend.run(work.echo, "left") == "left"


async def test_close_ends_running_and_waiting_calls_and_every_process(make: Make) -> None:
    backend = await make()
    running_call = await running(backend, work.forever_deaf)
    waiting_call = started(backend, work.echo, 1)
    await until(lambda: backend.statistics().waiting == 1)
    await backend.close(grace_s=0.1)
    await backend.close()
    with pytest.raises(StepCancelled):
        await running_call
    with pytest.raises(StepCancelled):
        await waiting_call
    assert backend.statistics().processes == 0
    assert psutil.Process().children(recursive=True) == []
    with pytest.raises(StepCancelled):
        await backend.run(work.echo, 1)


@pytest.mark.parametrize("turns", range(5))
async def test_close_while_a_process_is_starting_leaves_nothing(make: Make, turns: int) -> None:
    backend = await make(2)
    calls = [started(backend, work.echo, n) for n in range(2)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await backend.close(grace_s=0.1)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, StepCancelled) for result in results)


async def test_a_caller_whose_process_came_up_during_close_does_not_wait_for_another(
    make: Make,
) -> None:
    """Pins: it stood in a line that nobody serves after the end, for ever."""
    backend = await make(1)
    usable = backend._acquire

    async def closed_meanwhile(function: str, priority: int) -> object:
        worker = await usable(function, priority)
        if not backend._closed:
            await backend.close(grace_s=0.1)
        return worker

    backend._acquire = closed_meanwhile  # type: ignore[method-assign]
    with pytest.raises(StepCancelled):
        await asyncio.wait_for(backend.run(work.echo, 1), 20)


async def test_event_loop_goes_on_while_processes_work(make: Make) -> None:
    backend = await make(2)
    loop = asyncio.get_running_loop()
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_later(0.01, turn)

    turn()
    with pytest.raises(ComputeTimeout):
        await backend.run(work.busy_in_c, timeout_s=0.5)
    assert turns > 10


def test_default_size_follows_cores_and_memory() -> None:
    backend = ProcessBackend()
    assert 1 <= backend.processes <= len(os.sched_getaffinity(0))
