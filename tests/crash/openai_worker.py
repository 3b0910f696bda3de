"""Child of `test_openai_kill.py`: make one report with the openai engine, print it as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from gs_video_report.config_values import Secret
from gs_video_report.engines.openai.engine import OpenAIEngine
from tests.fakes.openai import KEY
from tests.support.llm import Bench


async def main(folder: Path, path: Path, url: str) -> None:
    options = {
        "base_url": url, "model": "fake-large", "transcribe": "remote", "context_tokens": 5000,
        "max_output_tokens": 1000, "price_in": 1.0, "price_out": 4.0,
    }  # fmt: skip
    bench = await Bench.open(folder)
    engine = OpenAIEngine({"engine_options": options}, Secret(KEY))
    await engine.prepare(bench.compute)  # type: ignore[arg-type]
    report = await engine.analyze(bench.context(path, "chinese_transcript"))
    await bench.close()
    print(json.dumps(report.to_dict()))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
