"""What a batch paid and what it used again, as commands tell it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Gsvr
from tests.fakes.openai import KEY, FakeOpenAI
from tests.support.llm import sentences, write_lecture

pytest.importorskip("openai")


def test_answers_that_were_paid_before_are_told_apart_and_count_towards_no_limit(
    gsvr: Gsvr, tmp_path: Path
) -> None:
    """The second batch gets its answers from the journal: its limit would not pay for one."""
    write_lecture(tmp_path / "in", sentences(20))
    with FakeOpenAI() as fake:
        (tmp_path / "gsvr.yaml").write_text(
            f"openai:\n  base_url: {fake.url}\n  model: fake-large\n"
            "  price_in: 1.0\n  price_out: 4.0\n"
        )
        env = {"OPENAI_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}
        words = ("batch", "process", "-d", "in", "--engine", "openai", "--cache-dir", "c", "--json")
        first = gsvr(*words, env=env)
        assert first.code == 0, first.err
        paid = first.lines()[-1]
        asked = len(fake.of("chat"))
        again = gsvr(*words, "--new", "--output", "out2", "--cost-limit", "0.0001", env=env)
        assert again.code == 0, again.err
        reused = again.lines()[-1]
        assert len(fake.of("chat")) == asked > 0
    assert paid["usd"] > 0.0001
    assert paid["usd_reused"] == 0
    assert (reused["usd"], reused["usd_reused"]) == (0, paid["usd"])
    (path,) = (p for p in (tmp_path / "out2").rglob("lecture*.json"))
    made = json.loads(path.read_text())["provenance"]
    assert made["usage"]["usd"] == pytest.approx(paid["usd"])
    assert made["run"]["paid"]["usd"] == 0
    assert made["run"]["reused"]["usd"] == pytest.approx(paid["usd"])


def test_dry_run_counts_with_the_prices_of_the_user(gsvr: Gsvr, tmp_path: Path) -> None:
    write_lecture(tmp_path / "in", sentences(20))
    (tmp_path / "own.yaml").write_text(
        "as_of: 2031-05-06\nmodels:\n  my-model:\n    prices:\n      - {in: 1000.0, out: 1000.0}\n"
    )
    settings = "prices_file: own.yaml\nopenai:\n  base_url: http://host.invalid/v1\n"
    (tmp_path / "gsvr.yaml").write_text(settings + "  model: my-model\n")
    planned = gsvr("batch", "process", "-d", "in", "--engine", "openai", "--dry-run")
    assert planned.code == 0, planned.err
    assert "prices of 2031-05-06" in planned.out
    told = re.search(r"about \$([\d.]+)", planned.out)
    assert told is not None
    assert float(told[1]) > 1.0
