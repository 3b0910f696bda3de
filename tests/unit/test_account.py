"""What was paid now and what was used again."""

from __future__ import annotations

import pytest

from gs_video_report.batch.data_models import TaskResult, Usage
from gs_video_report.batch.limiter.account import Account, cost_of
from gs_video_report.batch.store.rows import result_to_json

ANSWER = {"text": "x", "usage": {"requests": 1, "tokens_in": 10, "tokens_out": 2, "usd": 0.5}}


def test_step_that_this_attempt_ran_is_not_reused_when_it_is_asked_for_again() -> None:
    account = Account()
    account.pay(1, 10, 2, 0.5)
    account.ran("k1")
    account.found("k1", ANSWER)
    account.found("k2", ANSWER)
    account.found("k2", ANSWER)
    assert account.paid == account.reused == Usage(1, 10, 2, 0.5)


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        (ANSWER, Usage(1, 10, 2, 0.5)),
        ({"text": "x", "tokens_in": 3, "tokens_out": 1, "usd": 0.25}, Usage(1, 3, 1, 0.25)),
        ({"duration_s": 4.0}, Usage()),
        ([1, 2], Usage()),
        ("batches/7", Usage()),
        (None, Usage()),
    ],
)
def test_answers_of_all_engines_tell_what_they_cost(value: object, usage: Usage) -> None:
    assert cost_of(value) == usage


def test_results_keep_what_was_reused_and_old_ones_have_none() -> None:
    result = TaskResult(usage=Usage(1, 1, 1, 0.1), reused=Usage(2, 3, 4, 0.5))
    assert TaskResult.from_json(result_to_json(result)) == result
    plain = TaskResult(usage=Usage(1, 1, 1, 0.1))
    assert '"reused"' not in result_to_json(plain)
    assert TaskResult.from_json(result_to_json(plain)) == plain
