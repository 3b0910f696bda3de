"""Whether a process can do its work in the memory it gets, and what is said when it cannot."""

from __future__ import annotations

import pytest

from gs_video_report.engines.memory_need import process_bytes, shortage

MB = 1_000_000
BASE = 145 * MB


def test_a_larger_model_and_reading_slides_need_more() -> None:
    listening = process_bytes(BASE, ocr=False)
    assert 440 * MB < listening < 480 * MB
    assert process_bytes(BASE, ocr=True) > listening + 200 * MB
    assert process_bytes(3_000 * MB, ocr=False) > 3_000 * MB


@pytest.mark.parametrize("allowed", [0, 620 * MB, 900 * MB])
def test_no_limit_and_a_sufficient_one_are_passed_over(allowed: int) -> None:
    assert shortage(620 * MB, allowed, 0.8, 2_000 * MB) is None


def test_a_limit_of_the_user_that_is_too_low_is_named_with_one_that_would_do() -> None:
    short = shortage(620 * MB, 400 * MB, 0.8, 500 * MB)
    assert short is not None
    assert short.message == (
        "memory_limit: 500 MB is too little for this batch: "
        "a process needs up to 620 MB and gets 400"
    )
    assert short.hint.startswith("set it to at least 780MB")
    assert shortage(620 * MB, int(0.8 * 780 * MB), 0.8, 780 * MB) is None


def test_a_small_machine_is_told_what_would_do() -> None:
    short = shortage(460 * MB, 410 * MB, 0.8, None)
    assert short is not None
    assert short.message.startswith("this machine has little memory")
    assert short.hint.startswith("580 MB in all would do")
