"""The words of the Python enums are the words that SQL accepts, and nothing else."""

from __future__ import annotations

import re
from enum import StrEnum

import pytest

from gs_video_report.batch import sql
from gs_video_report.batch.data_models import (
    BATCH_TRANSITIONS,
    TASK_ENDED,
    TASK_TRANSITIONS,
    AttemptOutcome,
    BatchStatus,
    TaskStatus,
)


def words(table: str, column: str) -> list[str]:
    """The words of `CHECK(column = ... OR ...)` or `IN (...)` in the definition of a table."""
    body = re.search(rf"CREATE TABLE {table}\((.*?)\n\)", sql.schema(), re.DOTALL)
    assert body is not None
    check = re.search(rf"^  {column} .*?CHECK\((\s*{column} .*?)\),?$", body[1], re.DOTALL | re.M)
    assert check is not None
    return re.findall(r"'(\w+)'", check[1])


@pytest.mark.parametrize(
    ("table", "column", "enum"),
    [
        ("tasks", "status", TaskStatus),
        ("batches", "status", BatchStatus),
        ("attempts", "outcome", AttemptOutcome),
    ],
)
def test_check_accepts_exactly_the_words_of_the_enum(
    table: str, column: str, enum: type[StrEnum]
) -> None:
    assert words(table, column) == [member.value for member in enum]


def test_ended_states_in_sql_are_those_of_python() -> None:
    check = re.search(r"CHECK\(\(([^()]*)\)\s*= \(finished_at", sql.schema())
    assert check is not None
    assert set(re.findall(r"'(\w+)'", check[1])) == {s.value for s in TASK_ENDED}


def test_every_state_has_a_counter_column_and_a_row_in_the_transition_table() -> None:
    batches = sql.schema().partition("CREATE TABLE tasks")[0]
    counters = re.findall(r"^  (\w+)\s+INTEGER NOT NULL DEFAULT 0 CHECK\(\1 >= 0\)", batches, re.M)
    assert counters == [status.value for status in TaskStatus]
    assert set(TASK_TRANSITIONS) == set(TaskStatus)
    assert set(BATCH_TRANSITIONS) == set(BatchStatus)
