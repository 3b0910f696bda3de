"""The alert rules of docs/monitoring.md: each series they name is there from the first measurement
on, and, where Prometheus' own `promtool` is installed, they fire when they should and only then.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from gs_video_report.batch.data_models import AttemptOutcome, TaskStatus
from gs_video_report.batch.view.metrics import BOUNDS_S, ApiUse, BatchMetrics, Spread
from gs_video_report.batch.view.metrics_families import families

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
NONE = Spread(0, 0.0, 0.0, (0,) * len(BOUNDS_S))
FRESH = BatchMetrics(
    at="1970-01-01T00:00:00Z", batch="7f3a0011", name="lectures", state="running", engine="local",
    template="plain", live=True, tasks=dict.fromkeys(map(str, TaskStatus), 0), media_s_done=0,
    media_s_total=0, attempts={}, queue_wait=NONE, steps={}, events={}, api=(), limiter={},
    limiter_at=None, tuning={}, memory={},
    disk={"database_bytes": 1, "wal_bytes": 0, "database_free_bytes": 10**10,
          "output_free_bytes": 10**10},
)  # fmt: skip
"""Measured at once after the start; nothing has happened yet."""
SCRAPED = {"instance": "lab3:9100", "job": "node"}
"""Labels that Prometheus adds to everything it reads from one node_exporter."""
SELECTOR = re.compile(r"\b(gsvr_\w+)(?:\{(.*?)\})?")
MATCHER = re.compile(r'(\w+)(=~?)"([^"]*)"')
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert of the page."""

    name: str
    expr: str


def rules_text() -> str:
    found = re.search(r"```yaml\n(groups:\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def rules() -> list[Rule]:
    (group,) = yaml.safe_load(rules_text())["groups"]
    return [Rule(rule["alert"], rule["expr"]) for rule in group["rules"]]


def series(metrics: BatchMetrics) -> Series:
    """Every series of a measurement, as Prometheus stores it."""
    return {
        (f.name + s.suffix, tuple(sorted({**s.labels, **SCRAPED}.items()))): s.value
        for f in families(metrics)
        for s in f.samples
    }


def matches(labels: Mapping[str, str], matchers: str) -> bool:
    return all(
        re.fullmatch(want if how == "=~" else re.escape(want), labels.get(name, ""))
        for name, how, want in MATCHER.findall(matchers)
    )


def test_page_has_alerts() -> None:
    assert len(rules()) >= 5


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_alert_asks_for_series_that_are_there_before_anything_happened(rule: Rule) -> None:
    """An alert on a series that is absent until the first success never fires when it should."""
    use = ApiUse("gemini", "flash", 1, 10, 10, 0.1)  # its labels are known with the first request
    there = series(replace(FRESH, api=(use,), state="interrupted"))
    asked = SELECTOR.findall(rule.expr)
    assert asked
    for name, matchers in asked:
        assert [1 for found, labels in there if found == name and matches(dict(labels), matchers)]


def test_outcomes_and_moves_of_tasks_are_counted_from_0_on() -> None:
    there = series(FRESH)
    for name, label, words in (
        ("gsvr_attempts_total", "outcome", list(map(str, AttemptOutcome))),
        ("gsvr_attempt_seconds_count", "outcome", ["completed", "failed", "retrying"]),
        ("gsvr_events_total", "kind", [f"task.{status}" for status in TaskStatus]),
    ):
        shown = {dict(labels)[label]: n for (found, labels), n in there.items() if found == name}
        assert shown == dict.fromkeys(words, 0)
    assert (
        "gsvr_tuning_changes_total",
        tuple(sorted({"batch": FRESH.batch, **SCRAPED}.items())),
    ) in there


# --- with promtool -------------------------------------------------------------------------------

DEAD = replace(FRESH, state="interrupted", live=False)
FAILED = replace(FRESH, tasks={**FRESH.tasks, "failed": 2})
DEAR = replace(FRESH, api=(ApiUse("gemini", "flash", 1, 1, 1, 15.0),
                           ApiUse("gemini", "pro", 1, 1, 1, 6.0)))  # fmt: skip
FULL = replace(FRESH, disk={**FRESH.disk, "output_free_bytes": 10**9})
ENDED = replace(FRESH, state="completed", live=False)
STUCK = "GsvrNothingFinishedForAnHour"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool of Prometheus is not there")
@pytest.mark.parametrize(
    ("metrics", "grow", "at", "fires"),
    [
        (FRESH, "", "40m", set()),
        (FRESH, "", "65m", {STUCK}),
        (FRESH, "gsvr_attempts_total", "65m", set()),
        (ENDED, "", "65m", set()),
        (DEAD, "", "5m", {"GsvrProcessDied"}),
        (FAILED, "", "5m", {"GsvrVideosFail"}),
        (DEAR, "", "5m", {"GsvrMoney"}),
        (FULL, "", "5m", {"GsvrDiskFillsUp"}),
    ],
    ids=["young", "stuck", "busy", "ended", "dead", "failed", "dear", "full"],
)
def test_alerts_fire_when_they_should_and_only_then(
    tmp_path: Path, metrics: BatchMetrics, grow: str, at: str, fires: set[str]
) -> None:
    (tmp_path / "rules.yml").write_text(rules_text())
    values = {key: _values(key, value, grow) for key, value in series(metrics).items()}
    assert _fired(tmp_path, values, at) == fires


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool of Prometheus is not there")
def test_file_that_is_not_written_any_more_is_told(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rules_text())
    values = {key: f"{value:.0f}+0x100" for key, value in series(ENDED).items()}
    assert _fired(tmp_path, values, "5m") == set()
    assert _fired(tmp_path, values, "15m") == {"GsvrNotMeasured"}


def _values(key: tuple[str, Any], value: float, grow: str) -> str:
    """A minute apart, in promtool's notation; `grow` names counters that rise every 5 minutes."""
    name, labels = key
    if name == "gsvr_measured_timestamp_seconds":
        return "0+60x100"
    if name == grow and ("outcome", "completed") in labels:
        return " ".join(str(minute // 5) for minute in range(100))
    return f"{value:.0f}+0x100"


def _fired(folder: Path, values: Mapping[tuple[str, Any], str], at: str) -> set[str]:
    """Names of the alerts that fire at that time; promtool is asked for each of them."""
    inputs = [
        {"series": name + "{" + ",".join(f'{k}="{v}"' for k, v in labels) + "}", "values": text}
        for (name, labels), text in values.items()
    ]
    return {rule.name for rule in rules() if not _is_silent(folder, inputs, rule.name, at)}


def _is_silent(folder: Path, inputs: list[dict[str, str]], alert: str, at: str) -> bool:
    expected = {"eval_time": at, "alertname": alert, "exp_alerts": []}
    tests = [{"interval": "1m", "input_series": inputs, "alert_rule_test": [expected]}]
    plan = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "plan.yml").write_text(yaml.safe_dump(plan))
    done = subprocess.run(
        ["promtool", "test", "rules", "plan.yml"], cwd=folder, capture_output=True, text=True
    )
    if done.returncode == 0:
        return True
    assert f"alertname: {alert}" in done.stdout + done.stderr, done.stderr
    return False
