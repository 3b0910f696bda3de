"""Events in, snapshot out."""

from __future__ import annotations

import gc
import json
import statistics
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.batch.data_models import BatchCounts, BatchStatus, TaskResult
from gs_video_report.batch.limiter.quota_wait import QuotaWait
from gs_video_report.batch.progress.snapshot import Snapshot
from gs_video_report.batch.progress_monitor import ProgressMonitor, progress_file
from gs_video_report.errors import NoMediaError
from tests.support.terminal_play import Play, VirtualClock, make_batch, make_task, make_videos


def make_monitor(
    pending: int = 10, parallel: int = 2, **options: Any
) -> tuple[ProgressMonitor, VirtualClock]:
    clock = VirtualClock()
    monitor = ProgressMonitor(make_batch(**options), BatchCounts(pending=pending), parallel, clock)
    return monitor, clock


def finish(monitor: ProgressMonitor, clock: VirtualClock, seq: int, media_s: float, took_s: float):
    task = make_task(seq, media_s=media_s)
    monitor.task_started(task, "h-1/w1")
    clock.now_s += took_s
    monitor.task_finished(task, TaskResult(media_s=media_s))


class SilentPrinter:
    """Takes everything, shows nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


# --- counting --------------------------------------------------------------------------------


def test_a_started_task_moves_from_pending_to_running_and_ends_completed() -> None:
    monitor, clock = make_monitor(pending=3)
    finish(monitor, clock, 1, 600, 60)
    monitor.task_started(make_task(2), "h-1/w1")
    counts = monitor.snapshot().counts
    assert (counts.pending, counts.running, counts.completed) == (1, 1, 1)
    assert counts.media_s_done == 600


def test_the_database_has_the_last_word_on_counts() -> None:
    monitor, clock = make_monitor(pending=3)
    finish(monitor, clock, 1, 600, 60)
    monitor.counts(BatchCounts(pending=7, completed=9, usd=0.25))
    snapshot = monitor.snapshot()
    assert (snapshot.counts.pending, snapshot.counts.completed, snapshot.usd) == (7, 9, 0.25)


def test_a_finish_that_comes_twice_or_late_changes_nothing() -> None:
    monitor, clock = make_monitor(pending=3)
    finish(monitor, clock, 1, 600, 60)
    before = monitor.snapshot()
    monitor.task_finished(make_task(1), TaskResult(media_s=600))
    monitor.task_released(make_task(99))
    monitor.task_skipped(make_task(99))
    monitor.stage(99, "audio", 1, 2)
    assert monitor.snapshot() == before


def test_a_skipped_task_counts_as_done_but_not_as_measured() -> None:
    monitor, _ = make_monitor(pending=2)
    monitor.task_started(make_task(1, media_s=500), "w")
    monitor.task_skipped(make_task(1, media_s=500))
    snapshot = monitor.snapshot()
    assert (snapshot.counts.skipped, snapshot.media.done_s, snapshot.run_done) == (1, 500, 0)


def test_a_released_task_waits_again() -> None:
    monitor, _ = make_monitor(pending=1)
    task = make_task(1)
    monitor.task_started(task, "w")
    monitor.task_released(task)
    snapshot = monitor.snapshot()
    assert (snapshot.counts.pending, snapshot.counts.running, snapshot.workers) == (1, 0, ())


# --- worker lines ----------------------------------------------------------------------------


def test_a_free_slot_is_used_again_and_the_others_keep_theirs() -> None:
    monitor, _ = make_monitor(parallel=3)
    for seq in (1, 2, 3):
        monitor.task_started(make_task(seq, f"{seq}.mp4"), "w")
    monitor.task_finished(make_task(2), NoMediaError("2.mp4: no media"))
    monitor.task_started(make_task(4, "4.mp4"), "w")
    lines = monitor.snapshot().workers
    assert [(line.slot, line.name) for line in lines] == [(1, "1.mp4"), (2, "4.mp4"), (3, "3.mp4")]


def test_a_worker_line_tells_stage_part_and_time() -> None:
    monitor, clock = make_monitor()
    monitor.task_started(make_task(1, "a.mp4"), "w")
    monitor.stage(1, "transcribe", 31, 50)
    clock.now_s += 252
    (line,) = monitor.snapshot().workers
    assert (line.stage, line.fraction, line.elapsed_s, line.note) == ("transcribe", 0.62, 252, "")


def test_an_unknown_total_gives_no_fraction() -> None:
    monitor, _ = make_monitor()
    monitor.task_started(make_task(1), "w")
    monitor.stage(1, "compose", 5, 0)
    assert monitor.snapshot().workers[0].fraction is None


def test_videos_that_a_quota_holds_back_say_so_once_it_lasts() -> None:
    monitor, clock = make_monitor()
    for number in (1, 2):
        monitor.task_started(make_task(number), "w")
        monitor.stage(number, "transcribe", 0, 2)
    wait = QuotaWait("gemini/gemini-x", "tokens", 1, 1, 40.0)
    monitor.quota(wait, {2})
    assert [line.note for line in monitor.snapshot().workers] == ["", ""]
    clock.now_s += 5
    monitor.quota(wait, {2})
    lines = monitor.snapshot().workers
    assert [(line.note, line.fraction) for line in lines] == [("", 0.0), ("wait: tokens", None)]
    monitor.quota(wait, {1})
    assert [line.note for line in monitor.snapshot().workers] == ["wait: tokens", ""]


def test_a_second_try_is_noted() -> None:
    monitor, _ = make_monitor(max_retries=3)
    monitor.task_started(make_task(1, failures=1), "w")
    assert monitor.snapshot().workers[0].note == "try 2 of 4"


def test_only_the_last_two_failures_are_kept() -> None:
    monitor, _ = make_monitor()
    for seq in (1, 2, 3):
        monitor.task_started(make_task(seq, f"{seq}.mp4"), "w")
        monitor.task_finished(make_task(seq, f"{seq}.mp4"), NoMediaError("no media in file"))
    assert [line.name for line in monitor.snapshot().failures] == ["2.mp4", "3.mp4"]


# --- media, speed, time left -----------------------------------------------------------------


def test_unknown_lengths_count_as_typical_ones_and_are_told() -> None:
    monitor, _ = make_monitor(pending=4)
    monitor.expect([600.0, 600.0, None, None])
    media = monitor.snapshot().media
    assert (media.done_s, media.total_s, media.unknown) == (0, 2400, 2)
    monitor.media_known(3, 1200.0)
    media = monitor.snapshot().media
    assert (media.total_s, media.unknown) == (600 + 600 + 1200 + 800, 1)


def test_the_bar_moves_with_work_in_flight_and_ends_at_one() -> None:
    monitor, clock = make_monitor(pending=4, parallel=1)
    monitor.expect([600.0] * 4)
    for seq in (1, 2, 3):
        finish(monitor, clock, seq, 600, 60)
    assert monitor.snapshot().fraction == pytest.approx(0.75)
    monitor.task_started(make_task(4, media_s=600), "w")
    clock.now_s += 30
    assert monitor.snapshot().fraction == pytest.approx(0.875)
    monitor.task_finished(make_task(4), TaskResult(media_s=600))
    assert monitor.snapshot().fraction == 1


def test_time_left_appears_with_the_third_finished_video() -> None:
    monitor, clock = make_monitor(pending=30, parallel=1)
    monitor.expect([600.0] * 30)
    for seq in (1, 2):
        finish(monitor, clock, seq, 600, 60)
    assert monitor.snapshot().eta is None
    finish(monitor, clock, 3, 600, 60)
    eta = monitor.snapshot().eta
    assert eta is not None
    assert (eta.mid_s, eta.rough) == (pytest.approx(27 * 60), False)


def test_failures_do_not_count_as_measured_videos() -> None:
    monitor, _ = make_monitor(pending=30)
    for seq in range(1, 6):
        monitor.task_started(make_task(seq, media_s=600), "w")
        monitor.task_finished(make_task(seq), NoMediaError("no media"))
    assert monitor.snapshot().eta is None


def test_no_time_left_while_paused_or_stopping() -> None:
    monitor, clock = make_monitor(pending=30)
    for seq in (1, 2, 3):
        finish(monitor, clock, seq, 600, 60)
    monitor.paused("daily quota spent", "2026-11-23T09:00:00Z")
    snapshot = monitor.snapshot()
    assert (snapshot.eta, snapshot.state, snapshot.reason) == (
        None,
        BatchStatus.PAUSED,
        "daily quota spent",
    )
    monitor.resumed()
    assert monitor.snapshot().eta is not None
    monitor.stopping()
    assert monitor.snapshot().eta is None


def test_the_time_of_a_pause_does_not_slow_the_speed() -> None:
    monitor, clock = make_monitor(pending=9, parallel=1)
    finish(monitor, clock, 1, 600, 60)
    monitor.paused("quota")
    clock.now_s += 9000
    monitor.resumed()
    finish(monitor, clock, 2, 600, 60)
    snapshot = monitor.snapshot()
    assert snapshot.realtime == pytest.approx(10.0)
    assert snapshot.elapsed_s == 9120


def test_speed_follows_the_recent_window() -> None:
    monitor, clock = make_monitor(pending=400, parallel=1)
    for seq in range(100):
        finish(monitor, clock, seq, 600, 600)
    for seq in range(100, 170):
        finish(monitor, clock, seq, 600, 60)
    assert monitor.snapshot().realtime == pytest.approx(10.0, rel=0.02)


def test_cost_of_the_whole_batch_is_projected_from_the_part_done() -> None:
    monitor, clock = make_monitor(pending=8, parallel=1)
    monitor.expect([600.0] * 8)
    for seq in range(1, 5):
        finish(monitor, clock, seq, 600, 60)
        monitor.counts(replace(monitor.snapshot().counts, usd=0.5 * seq))
    assert monitor.snapshot().usd_expected == pytest.approx(4.0)


def test_another_process_on_the_same_batch_shortens_the_time_left() -> None:
    alone, clock = make_monitor(pending=40, parallel=2)
    for seq in range(1, 5):
        finish(alone, clock, seq, 600, 60)
    first = alone.snapshot().eta
    alone.counts(BatchCounts(pending=34, running=2, completed=4, media_s_done=2400))
    second = alone.snapshot().eta
    assert first is not None
    assert second is not None
    assert second.mid_s < 0.65 * first.mid_s


def errors_of_a_run(seed: int, count: int) -> list[float]:
    """Relative errors of the time left at 25, 40, 55 and 70 % of one simulated run."""
    videos = make_videos(count, seed, fail_every=10_000)
    clock = VirtualClock()
    monitor = ProgressMonitor(make_batch(), BatchCounts(pending=count), 4, clock)
    monitor.expect(video.media_s for video in videos)
    looks: list[tuple[float, float | None]] = []

    def look(snapshot: Snapshot) -> None:
        looks.append((clock(), snapshot.eta.mid_s if snapshot.eta else None))

    Play(videos, 4, clock, monitor, SilentPrinter(), tick_s=20.0, on_tick=look).run()
    end = clock()
    errors = []
    for part in (0.25, 0.40, 0.55, 0.70):
        at, left = next(entry for entry in looks if entry[0] >= part * end)
        assert left is not None
        errors.append(abs(left / (end - at) - 1))
    return errors


@pytest.mark.parametrize("count", [24, 60])
def test_time_left_is_right_within_a_fifth_from_a_quarter_of_the_run_on(count: int) -> None:
    errors = [error for seed in range(20) for error in errors_of_a_run(seed, count)]
    assert statistics.median(errors) <= 0.20


@pytest.mark.slow
def test_memory_stays_flat_with_ten_thousand_tasks() -> None:
    monitor, clock = make_monitor(pending=11_000, parallel=2)
    monitor.expect(600.0 + seq % 977 for seq in range(11_000))

    def run(first: int, count: int) -> int:
        for seq in range(first, first + count):
            finish(monitor, clock, seq, 600.0 + seq % 977, 60)
        monitor.snapshot()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = run(0, 1_000)
        after = run(1_000, 10_000)
    finally:
        tracemalloc.stop()
    assert after - before < 50_000


# --- robustness ------------------------------------------------------------------------------

EVENTS = st.tuples(
    st.sampled_from(
        ["start", "stage", "wait", "media", "done", "fail", "retry", "release", "pause"]
    ),
    st.integers(1, 6),
    st.floats(0, 5000),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(EVENTS, max_size=60))
def test_any_order_of_events_gives_a_sane_snapshot(events: list[tuple[str, int, float]]) -> None:
    monitor, clock = make_monitor(pending=6, parallel=3)
    monitor.expect([100.0, None, 300.0, None, 500.0, 600.0])
    for kind, seq, value in events:
        clock.now_s += value
        task = make_task(seq, media_s=value or None)
        calls = {
            "start": lambda task=task: monitor.task_started(task, "w"),
            "stage": lambda seq=seq, value=value: monitor.stage(seq, "audio", value, 1000),
            "wait": lambda seq=seq, value=value: monitor.quota(
                QuotaWait("gemini/x", "tokens", 1, 1, value), {seq}
            ),
            "media": lambda seq=seq, value=value: monitor.media_known(seq, value),
            "done": lambda task=task, value=value: monitor.task_finished(
                task, TaskResult(media_s=value)
            ),
            "fail": lambda task=task: monitor.task_finished(task, NoMediaError("x")),
            "retry": lambda task=task: monitor.retrying(task, NoMediaError("x"), 5),
            "release": lambda task=task: monitor.task_released(task),
            "pause": monitor.resumed if seq % 2 else (lambda: monitor.paused("quota")),
        }
        calls[kind]()
        check(monitor.snapshot())


def check(snapshot: Snapshot) -> None:
    counts = snapshot.counts
    assert min(counts.pending, counts.running, counts.retrying, counts.completed) >= 0
    assert 0 <= snapshot.fraction <= 1
    assert snapshot.media.done_s <= snapshot.media.total_s + 1e-6
    slots = [line.slot for line in snapshot.workers]
    assert slots == sorted(set(slots))
    if snapshot.eta is not None:
        assert 0 <= snapshot.eta.low_s <= snapshot.eta.mid_s <= snapshot.eta.high_s
    json.dumps(progress_file(snapshot), allow_nan=False)


def test_progress_file_holds_the_whole_picture() -> None:
    monitor, clock = make_monitor(pending=4)
    monitor.task_started(make_task(1, "a.mp4"), "w")
    monitor.stage(1, "audio", 1, 4)
    clock.now_s += 10
    value = progress_file(monitor.snapshot(), "2026-11-22T14:02:21Z")
    assert list(value)[:3] == ["v", "type", "at"]
    assert value["state"] == "running"
    assert value["pending"] == 3
    assert value["eta_s"] is None
    assert value["workers"] == [
        {
            "slot": 1,
            "ref": "7f3a91c2:1",
            "name": "a.mp4",
            "stage": "audio",
            "fraction": 0.25,
            "elapsed_s": 10,
            "note": "",
        }
    ]
