"""The openai engine with a real language model, where one is being served.

    GSVR_TEST_LLM_URL=http://127.0.0.1:8080/v1 pytest -m slow tests/integration/test_openai_real_model.py

Holds for any model, however small: its own words are in the report, and what it quotes is judged.
"""  # noqa: E501

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gs_video_report.config_values import Secret
from gs_video_report.engines.openai_compatible import OpenAIEngine
from tests.support.llm import SENTENCES, Bench, write_lecture

URL = os.environ.get("GSVR_TEST_LLM_URL", "")  # read now: tests run without GSVR_ variables
KEY = os.environ.get("GSVR_TEST_LLM_KEY", "")
MODEL = os.environ.get("GSVR_TEST_LLM_MODEL", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not URL, reason="set GSVR_TEST_LLM_URL to a server with a model"),
]


async def test_report_with_the_words_of_a_real_model_is_paid_for_once(tmp_path: Path) -> None:
    lines = [(n * 5.0, n * 5.0 + 4, text) for n, text in enumerate(SENTENCES)]
    path = write_lecture(tmp_path / "in", lines)
    options = {"base_url": URL, "model": MODEL, "transcribe": "remote", "max_output_tokens": 600}
    reports, ran = [], []
    for _ in range(2):
        bench = await Bench.open(tmp_path)
        engine = OpenAIEngine({"engine_options": options}, Secret(KEY) if KEY else None)
        await engine.prepare(bench.compute)  # type: ignore[arg-type]
        reports.append(await engine.analyze(bench.context(path)))
        assert bench.steps is not None
        ran.append(bench.steps.ran)
        replies = await bench.db.read("SELECT value FROM steps WHERE name = 'compose'", ())
        await bench.close()
    first, second = reports
    assert ran[0] > 0
    assert ran[1] == 0
    assert first == second
    assert first.provenance.usage["tokens_out"] > 0
    words = " ".join(str(row["value"]) for row in replies)
    written = [p.text for p in first.summary if p.proved is not None]
    assert written
    assert all(text[:30].split()[0] in words for text in written)
