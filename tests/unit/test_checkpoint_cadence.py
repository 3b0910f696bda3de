"""Checkpoints follow the work, and never take more than their share of the time."""

from __future__ import annotations

from gs_video_report.batch.checkpoint.cadence import COST_SHARE, TASKS, Cadence


def begun(interval_s: float = 60.0, cost_s: float = 0.1) -> Cadence:
    """A cadence whose first checkpoint ended at 100 s."""
    cadence = Cadence(interval_s)
    cadence.taken(100.0 - cost_s, 100.0)
    return cadence


def test_a_checkpoint_is_due_after_the_interval_whatever_has_finished() -> None:
    cadence = begun()
    assert cadence.due(159.9, 10) is None
    assert cadence.due(160.0, 10) == "interval"


def test_a_small_batch_is_saved_after_every_25_tasks() -> None:
    cadence = begun()
    cadence.finished(TASKS - 1)
    assert cadence.due(110.0, 100) is None
    cadence.finished()
    assert cadence.due(110.0, 100) == "tasks"
    cadence.taken(110.0, 110.1)
    assert cadence.due(120.0, 100) is None


def test_a_large_batch_is_saved_after_a_hundredth_of_its_tasks() -> None:
    cadence = begun()
    cadence.finished(999)
    assert cadence.due(110.0, 100_000) is None
    cadence.finished()
    assert cadence.due(110.0, 100_000) == "tasks"


def test_tasks_that_finish_while_a_checkpoint_is_taken_count_for_the_next() -> None:
    cadence = begun()
    cadence.finished(TASKS)
    assert cadence.due(110.0, 100) == "tasks"
    cadence.finished(TASKS)
    cadence.taken(110.0, 110.1)
    assert cadence.due(120.0, 100) == "tasks"


def test_dear_checkpoints_take_only_their_share_of_an_hour_of_quick_tasks() -> None:
    cost_s, cadence, spent_s, now = 1.4, begun(cost_s=1.4), 0.0, 100.0
    while now < 3700.0:
        cadence.finished(500)
        if cadence.due(now, 100_000) is not None:
            cadence.taken(now, now + cost_s)
            now, spent_s = now + cost_s, spent_s + cost_s
        now += 0.5
    assert 0.5 * COST_SHARE * 3600 < spent_s <= COST_SHARE * 3600
