"""Two processes on one database: together they never spend more than the limit."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gs_video_report.batch.data_models import BatchOptions, BatchRow, BatchStatus
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.task_queue import TaskQueue
from tests.crash.money_worker import PRICE_IN, PRICE_OUT
from tests.fakes.openai import FakeOpenAI

pytest.importorskip("openai")
ROOT = Path(__file__).parents[2]
LIMIT_USD = 0.15


def start(db: Path, batch: str, url: str, limit: str) -> subprocess.Popen[bytes]:
    words = ["-m", "tests.crash.money_worker", str(db), batch, url, limit, str(LIMIT_USD)]
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def make_batches(db: Path, names: set[str]) -> None:
    async with await Database.open(db) as database:
        for name in names:
            row = BatchRow(name, name, name, BatchStatus.INITIALIZING, BatchOptions(), {})
            await TaskQueue(database).create_batch(row)


def finish(child: subprocess.Popen[bytes]) -> None:
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors.decode()


def spent_usd(fake: FakeOpenAI) -> float:
    """By the server's own log."""
    calls = fake.of("chat")
    return sum(c.tokens_in * PRICE_IN + c.tokens_out * PRICE_OUT for c in calls) / 1e6


def ledger(db: Path) -> tuple[float, float]:
    """(recorded, set aside) in US dollars."""
    with sqlite3.connect(db) as connection:
        (usd,) = connection.execute("SELECT sum(usd) FROM usage").fetchone()
        (held,) = connection.execute("SELECT coalesce(sum(usd), 0) FROM holds").fetchone()
    connection.close()
    return float(usd), float(held)


@pytest.mark.parametrize(
    ("batches", "limit"),
    [(("b1", "b2"), "daily_cost_limit_usd"), (("b1", "b1"), "cost_limit_usd")],
)
def test_two_processes_together_never_pass_the_limit(
    tmp_path: Path, batches: tuple[str, str], limit: str
) -> None:
    db = tmp_path / "t.db"
    asyncio.run(make_batches(db, set(batches)))
    with FakeOpenAI(delay_s=0.02) as fake:
        children = [start(db, batch, fake.url, limit) for batch in batches]
        for child in children:
            finish(child)
    assert LIMIT_USD * 0.8 < spent_usd(fake) <= LIMIT_USD
    assert ledger(db) == (pytest.approx(spent_usd(fake)), 0.0)


@pytest.mark.slow
def test_killed_process_and_its_successors_never_pass_the_limit(tmp_path: Path) -> None:
    db = tmp_path / "t.db"
    with FakeOpenAI(delay_s=0.05) as fake:
        killed = start(db, "b1", fake.url, "daily_cost_limit_usd")
        other = start(db, "b2", fake.url, "daily_cost_limit_usd")
        deadline = time.monotonic() + 30
        while len(fake.of("chat")) < 8 and killed.poll() is None:
            assert time.monotonic() < deadline
        killed.kill()
        killed.communicate()
        finish(other)
        finish(start(db, "b1", fake.url, "daily_cost_limit_usd"))
    recorded, held = ledger(db)
    assert recorded <= spent_usd(fake) <= recorded + held <= LIMIT_USD
