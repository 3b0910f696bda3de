"""Figures of a batch: right in the database, and readable by Prometheus' own parser."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gs_video_report.batch.data_models import BatchStatus, TaskStatus, Usage
from gs_video_report.batch.limiter.models import BucketSnapshot, LimiterSnapshot, UsageTotals
from gs_video_report.batch.run.record import RunRecord
from gs_video_report.batch.run.trace import limiter_facts
from gs_video_report.batch.step_journal import StepJournal
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.batch.view.metrics import BOUNDS_S, BatchMetrics, measure, metrics_json
from gs_video_report.batch.view.metrics_families import families
from gs_video_report.terminal.metrics import metrics_lines
from gs_video_report.terminal.prometheus import Family, Sample, exposition, histogram
from tests.support.queue import BATCH, BROKEN, FakeClock, open_queue, result

BUCKET = "gemini/flash/ab12"


def parsed(text: str) -> dict[str, Any]:
    """Families by name, as Prometheus reads them."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(found: dict[str, Any], name: str, sample: str = "", **labels: str) -> float:
    """The one sample of a family with these labels."""
    (match,) = [
        s.value
        for s in found[name].samples
        if s.name == (sample or name) and labels.items() <= s.labels.items()
    ]
    return float(match)


@pytest.fixture
async def worked(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    """Five videos: two done (after 20 s and 90 s), one failed, one running, one waiting."""
    clock = FakeClock()
    queue = await open_queue(tmp_path, clock, 5)
    lock = ProcessLock(queue.db.path).acquire()
    record = RunRecord(queue, BATCH, lock.process_id)
    await record.started(engine="gemini", parallel=2, processes=2)
    await queue.set_batch_status(BATCH, BatchStatus.RUNNING)
    clock.pass_s(7)
    for seconds in (20.0, 90.0, 0.5):
        (task,) = await queue.claim(BATCH, lock.worker_id(1), 1, 600.0)
        clock.pass_s(seconds)
        if seconds == 0.5:
            await queue.fail(task, BROKEN)
        else:
            await queue.complete(task, result())
    (running,) = await queue.claim(BATCH, lock.worker_id(1), 1, 600.0)
    journal = StepJournal(queue.db)
    for part in range(3):
        await journal.put(
            "ab" * 32, "transcribe", part, {}, {}, seconds=2.5, task_id=running.task_id
        )
    await queue.record_usage("gemini", Usage(3, 4000, 500, 0.25), model="flash", batch_id=BATCH)
    await queue.record_usage("gemini", Usage(1, 1000, 50, 0.05), model="flash", batch_id=BATCH)
    await queue.record_usage("gemini", Usage(9, 9, 9, 9.0), model="flash", batch_id="other")
    bucket = BucketSnapshot(BUCKET, 2, 5, 0.5, 12.0, None, None, UsageTotals(4, 5000, 0.3), None)
    record.keep("limiter", limiter_facts(LimiterSnapshot((bucket,), 0.3, 0.1, 0)))
    record.keep("tuning", {"old": 2, "new": 1, "reason": "memory"})
    await record.flush()
    yield queue
    lock.close()
    await queue.db.close()


async def test_the_figures_are_those_of_the_batch(worked: TaskQueue) -> None:
    found = await measure(worked, BATCH)
    assert (found.state, found.live, found.engine) == ("running", True, "auto")
    assert found.tasks == {**dict.fromkeys(map(str, TaskStatus), 0),
                           "completed": 2, "failed": 1, "running": 1, "pending": 1}  # fmt: skip
    completed = found.attempts["completed"]
    assert (completed.count, completed.seconds, completed.longest_s) == (2, 110.0, 90.0)
    counts = dict(zip(BOUNDS_S, completed.at_most, strict=True))
    assert (counts[10], counts[30], counts[60], counts[120]) == (0, 1, 1, 2)
    assert found.attempts["running"].count == 1
    wait = found.queue_wait
    assert wait.count == 4
    assert wait.seconds == pytest.approx(7 + 27 + 117 + 117.5, abs=0.01)
    assert found.steps == {"transcribe": {"count": 3, "seconds": 7.5}}
    (use,) = found.api
    assert (use.requests, use.tokens_in, use.tokens_out, use.usd) == (4, 5000, 550, 0.3)
    assert found.limiter["buckets"][0]["waiting"] == 5
    assert found.tuning == {"changes": 1, "processes": 1}
    assert found.events["task.running"] == 4
    assert found.disk["database_bytes"] > 0
    assert found.memory["total_bytes"] >= found.memory["available_bytes"] > 0


async def test_prometheus_reads_all_of_it(worked: TaskQueue) -> None:
    found = await measure(worked, BATCH)
    text = exposition(families(found))
    read = parsed(text)
    assert value(read, "gsvr_tasks", state="completed", batch=BATCH) == 2
    assert value(read, "gsvr_attempts", "gsvr_attempts_total", outcome="failed") == 1
    seconds = "gsvr_attempt_seconds"
    assert value(read, seconds, f"{seconds}_bucket", outcome="completed", le="30") == 1
    assert value(read, seconds, f"{seconds}_bucket", outcome="completed", le="+Inf") == 2
    assert value(read, seconds, f"{seconds}_sum", outcome="completed") == 110
    assert value(read, "gsvr_api_tokens", "gsvr_api_tokens_total", direction="in") == 5000
    assert value(read, "gsvr_api_cost_usd", "gsvr_api_cost_usd_total", model="flash") == 0.3
    assert value(read, "gsvr_limiter_rate_factor", bucket=BUCKET) == 0.5
    assert value(read, "gsvr_compute_processes") == 1
    assert value(read, "gsvr_batch_live") == 1
    assert all(family.type != "unknown" and family.documentation for family in read.values())
    assert len(read) == text.count("# TYPE ") == text.count("# HELP ")


async def test_a_batch_that_never_ran_has_figures_too(tmp_path: Path) -> None:
    queue = await open_queue(tmp_path, FakeClock(), 0)
    found = await measure(queue, BATCH)
    await queue.db.close()
    assert (found.live, found.tuning, found.api, found.limiter) == (False, {}, (), {})
    read = parsed(exposition(families(found)))
    assert "gsvr_compute_processes" not in read
    assert value(read, "gsvr_queue_wait_seconds", "gsvr_queue_wait_seconds_count") == 0
    assert metrics_lines(metrics_json(found))[0].endswith("lectures   initializing")


async def test_people_get_a_card(worked: TaskQueue) -> None:
    text = "\n".join(metrics_lines(metrics_json(await measure(worked, BATCH))))
    assert "completed       2   0:55 on average, 1:30 at most" in text
    assert "gemini flash: 4 requests, 5,000 tokens sent, 550 received, $0.30" in text
    assert "1 compute worker, 1 change" in text
    assert f"{BUCKET}: 2 under way, 5 waiting, 50 % of the rate" in text


# --- the format ------------------------------------------------------------------------------


@given(text=st.text(max_size=40), number=st.floats(allow_nan=False))
def test_any_name_and_number_survive_the_format(text: str, number: float) -> None:
    family = Family("gsvr_x", "gauge", f"Help {text}", (Sample(number, {"name": text}),))
    written = exposition([family])
    assert written.endswith("\n")
    assert all(part.startswith(("#", "gsvr_x{")) for part in written.removesuffix("\n").split("\n"))
    (sample,) = parsed(written)["gsvr_x"].samples
    assert sample.labels["name"] == text.encode("utf-8", "replace").decode()
    assert sample.value == number


def test_a_name_that_is_no_utf8_and_odd_numbers_are_written() -> None:
    samples = (Sample(math.inf, {"a": "\udce4"}), Sample(math.nan, {"a": "2"}), Sample(2.0))
    text = exposition([Family("gsvr_x", "gauge", "h", samples)])
    assert text.splitlines()[2:] == ['gsvr_x{a="?"} +Inf', 'gsvr_x{a="2"} NaN', "gsvr_x 2"]


def test_a_histogram_counts_up_to_infinity() -> None:
    samples = histogram((0.5, 1), (1, 2), 3, 9.25, {"a": "b"})
    text = exposition([Family("gsvr_x_seconds", "histogram", "h", samples)])
    assert text.splitlines()[2:] == [
        'gsvr_x_seconds_bucket{a="b",le="0.5"} 1',
        'gsvr_x_seconds_bucket{a="b",le="1"} 2',
        'gsvr_x_seconds_bucket{a="b",le="+Inf"} 3',
        'gsvr_x_seconds_sum{a="b"} 9.25',
        'gsvr_x_seconds_count{a="b"} 3',
    ]


def test_every_family_has_a_good_name_and_kind(tmp_path: Path) -> None:
    empty = BatchMetrics(
        at="2026-11-22T14:00:00Z", batch="7f3a", name="n", state="s", engine="e", template="t",
        live=False, tasks={}, media_s_done=0, media_s_total=0, attempts={},
        queue_wait=_no_wait(), steps={}, events={}, api=(), limiter={}, limiter_at=None, tuning={},
        memory={}, disk={},
    )  # fmt: skip
    made = families(empty)
    assert len({family.name for family in made}) == len(made)
    for family in made:
        assert family.name.startswith("gsvr_")
        assert family.name.endswith("_total") is (family.kind == "counter")
        assert family.help.endswith(".")


def _no_wait() -> Any:
    from gs_video_report.batch.view.metrics import Spread

    return Spread(0, 0.0, 0.0, (0,) * len(BOUNDS_S))


async def test_long_figures_are_folded_and_steps_stand_in_columns(worked: TaskQueue) -> None:
    value = metrics_json(await measure(worked, BATCH))
    value["events"] = {f"task.kind{n}": n + 1 for n in range(20)}
    value["steps"] = {
        "probe": {"count": 3, "seconds": 1.0},
        "upload_deleted": {"count": 12, "seconds": 2.0},
    }
    lines = metrics_lines(value, 80)
    assert all(len(line) <= 80 for line in lines)
    events = [n for n, line in enumerate(lines) if line.startswith("  events")]
    assert lines[events[0] + 1].startswith(" " * 13 + "task.") or lines[events[0] + 1][13].isdigit()
    probe, deleted = (line for line in lines if "probe" in line or "upload_deleted" in line)
    assert probe.index("3") == deleted.index("12") + 1
    whole = metrics_lines(value)
    assert sum("task.kind" in line for line in whole) == 1
