"""A measurement of a batch as families of Prometheus. Pure.

Names begin with `gsvr_`, units are seconds, bytes and US dollars; every sample carries the batch.
A counter whose labels are known beforehand is there from the first measurement on, with 0:
Prometheus sees no increase in a series that appears with 1, and no alert fires on an absent one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from gs_video_report.batch.data_models import AttemptOutcome, TaskStatus
from gs_video_report.batch.view.metrics import BOUNDS_S, BatchMetrics, Spread
from gs_video_report.terminal.prometheus import Family, Sample, histogram

TIMED = ("completed", "failed", "retrying")
"""Outcomes of attempts whose times are shown as a histogram; others end when a person wants."""
_NEVER = Spread(0, 0.0, 0.0, (0,) * len(BOUNDS_S))
_NO_EVENTS = {f"task.{status}": 0 for status in TaskStatus}


def families(metrics: BatchMetrics) -> list[Family]:
    """All families; those without samples are left out when they are written."""
    batch = {"batch": metrics.batch}

    def gauge(name: str, text: str, values: Iterable[tuple[Mapping[str, str], float]]) -> Family:
        samples = tuple(Sample(value, {**batch, **labels}) for labels, value in values)
        return Family(name, "gauge", text, samples)

    def counter(name: str, text: str, values: Iterable[tuple[Mapping[str, str], float]]) -> Family:
        return Family(name, "counter", text, gauge(name, text, values).samples)

    info = {
        "name": metrics.name,
        "engine": metrics.engine,
        "template": metrics.template,
        "state": metrics.state,
    }
    return [
        gauge("gsvr_batch_info", "Facts about the batch; always 1.", [(info, 1)]),
        gauge("gsvr_batch_live", "1 while a process works on the batch.", [({}, metrics.live)]),
        gauge(
            "gsvr_measured_timestamp_seconds",
            "When this was measured, seconds since 1970.",
            [({}, datetime.fromisoformat(metrics.at).timestamp())],
        ),
        gauge("gsvr_tasks", "Videos by state.", _by("state", metrics.tasks)),
        gauge(
            "gsvr_media_seconds",
            "Length of the recordings: done, and of all whose length is known.",
            [({"part": "done"}, metrics.media_s_done), ({"part": "known"}, metrics.media_s_total)],
        ),
        *_times(metrics, batch),
        counter(
            "gsvr_steps_total",
            "Journaled steps that this batch paid for.",
            [({"step": name}, facts["count"]) for name, facts in metrics.steps.items()],
        ),
        counter(
            "gsvr_step_seconds_total",
            "Seconds spent in those steps.",
            [({"step": name}, facts["seconds"]) for name, facts in metrics.steps.items()],
        ),
        counter("gsvr_events_total", "Events by kind.",
                _by("kind", {**_NO_EVENTS, **metrics.events})),
        *_api(metrics, counter),
        *_limiter(metrics.limiter, gauge),
        counter(
            "gsvr_tuning_changes_total",
            "Changes of the number of compute processes.",
            [({}, metrics.tuning.get("changes", 0))],
        ),
        gauge(
            "gsvr_compute_processes",
            "Compute processes allowed now, or at the end of the last run.",
            [({}, metrics.tuning["processes"])] if metrics.tuning else [],
        ),
        gauge("gsvr_memory_bytes", "Memory of the machine and of the run.", _sizes(metrics.memory)),
        gauge("gsvr_disk_bytes", "The database, and free room where it grows.",
              _sizes(metrics.disk)),
    ]  # fmt: skip


def _times(metrics: BatchMetrics, batch: dict[str, str]) -> list[Family]:
    def spread(spread: Spread, labels: dict[str, str]) -> tuple[Sample, ...]:
        labels = {**batch, **labels}
        return histogram(BOUNDS_S, spread.at_most, spread.count, spread.seconds, labels)

    timed = [
        sample
        for outcome in TIMED
        for sample in spread(metrics.attempts.get(outcome, _NEVER), {"outcome": outcome})
    ]
    counted = [
        Sample(metrics.attempts.get(outcome, _NEVER).count, {**batch, "outcome": outcome})
        for outcome in map(str, AttemptOutcome)
    ]
    return [
        Family(
            "gsvr_attempts_total", "counter", "Ended attempts by their outcome.", tuple(counted)
        ),
        Family("gsvr_attempt_seconds", "histogram", "How long attempts took.", tuple(timed)),
        Family(
            "gsvr_queue_wait_seconds",
            "histogram",
            "From the making of a task to its first claim.",
            spread(metrics.queue_wait, {}),
        ),
    ]


_Make = Callable[[str, str, Iterable[tuple[Mapping[str, str], float]]], Family]


def _api(metrics: BatchMetrics, counter: _Make) -> list[Family]:
    named = [({"provider": use.provider, "model": use.model}, use) for use in metrics.api]
    return [
        counter(
            "gsvr_api_requests_total",
            "Requests to remote services.",
            [(labels, use.requests) for labels, use in named],
        ),
        counter(
            "gsvr_api_tokens_total",
            "Tokens sent (in) and received (out).",
            [
                ({**labels, "direction": direction}, getattr(use, f"tokens_{direction}"))
                for labels, use in named
                for direction in ("in", "out")
            ],
        ),
        counter(
            "gsvr_api_cost_usd_total",
            "What they cost, US dollars.",
            [(labels, use.usd) for labels, use in named],
        ),
    ]


_BUCKET_GAUGES = {
    "in_flight": ("gsvr_limiter_in_flight", "Requests under way, by bucket."),
    "waiting": ("gsvr_limiter_waiting", "Requests that wait for quota."),
    "factor": ("gsvr_limiter_rate_factor", "Share of the configured rate in use."),
    "blocked_s": ("gsvr_limiter_blocked_seconds", "Pause that the service asked for."),
    "day_requests": ("gsvr_limiter_day_requests", "Requests since the service's midnight."),
    "day_tokens": ("gsvr_limiter_day_tokens", "Tokens since the service's midnight."),
}


def _limiter(limiter: Mapping[str, Any], gauge: _Make) -> list[Family]:
    buckets = limiter.get("buckets", [])
    return [
        gauge(name, text, [({"bucket": b["bucket"]}, b[key]) for b in buckets if key in b])
        for key, (name, text) in _BUCKET_GAUGES.items()
    ]


def _by(label: str, values: Mapping[str, float]) -> list[tuple[dict[str, str], float]]:
    return [({label: name}, value) for name, value in values.items()]


def _sizes(values: Mapping[str, int]) -> list[tuple[dict[str, str], float]]:
    return [({"of": name.removesuffix("_bytes")}, value) for name, value in values.items()]
