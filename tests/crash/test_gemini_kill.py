"""SIGKILL of a process that talks to Gemini: nothing that was paid for is paid for again.

The oracle is the service's own log. A request may be repeated only if its answer was on its way
at the moment of a kill: everything answered longer before that was in the journal.
"""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from gs_video_report.batch.data_models import BatchOptions, NewTask, VideoInput
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.store.clock import SystemClock
from gs_video_report.batch.task_queue import TaskQueue
from tests.fakes.gemini import FakeGemini
from tests.fakes.gemini_handler import Request
from tests.support.gemini import recording
from tests.support.queue import BATCH, batch

pytest.importorskip("google.genai")
ROOT = Path(__file__).parents[2]
IN_FLIGHT_S = 0.75
"""An answer that was sent longer than this before a kill had time to reach the journal; and a
request of a killed process may be read from its socket this much later."""
UPLOAD_BYTES = 9 * 1024 * 1024
"""Two chunks."""


async def prepare(folder: Path, count: int) -> None:
    queue = TaskQueue(await Database.open(folder / "gsvr.db"), clock=SystemClock())
    await queue.create_batch(batch(options=BatchOptions(engine="gemini")))
    talks = [recording(folder, name=f"{n}.mp4", size=UPLOAD_BYTES) for n in range(count)]
    await queue.add_tasks(
        BATCH,
        [
            NewTask(VideoInput(str(t.path), size_bytes=UPLOAD_BYTES), "summary_report")
            for t in talks
        ],
    )
    await queue.db.close()


def start(folder: Path, fake: FakeGemini) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.crash.gemini_worker", str(folder), fake.url],
        cwd=ROOT, stderr=subprocess.PIPE,
    )  # fmt: skip


def storm(folder: Path, fake: FakeGemini, kills: int, seed: int) -> list[float]:
    """Kill and restart at random moments of the log; returns when, on the service's clock."""
    chance, when = random.Random(seed), []
    child = start(folder, fake)
    for _ in range(kills):
        aim = len(fake.log) + chance.randrange(4, 24)
        fake.wait_for(lambda aim=aim: len(fake.log) >= aim, 60.0)  # type: ignore[misc]
        time.sleep(chance.random() * 0.05)  # moments between two requests count, too
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.communicate()
        when.append(fake.clock() - fake.started)
        child = start(folder, fake)
    assert child.communicate(timeout=110)[1] == b""
    assert child.returncode == 0
    return when


def repeated(requests: list[Request], when: list[float]) -> list[Request]:
    """Requests that were sent again although no kill came between them and their answer's arrival.

    (An answer to a process that was killed meanwhile goes into the void; nobody can help that.)
    """
    seen: dict[tuple[str, float, float], list[Request]] = defaultdict(list)
    for request in requests:
        seen[request.voice, request.start_s, request.end_s].append(request)
    wrong = []
    for same in seen.values():
        for answered in same[:-1]:
            first, last = answered.at - IN_FLIGHT_S, answered.sent_at + IN_FLIGHT_S
            lost = any(first <= at < last for at in when)
            if answered.status == 200 and not lost:
                wrong.append(answered)
    return wrong


async def check(folder: Path, fake: FakeGemini, when: list[float], count: int) -> None:
    asked = fake.requests("generate", ok=True)
    assert repeated(asked, when) == []
    assert len(fake.requests("delete", ok=True)) == count, "nothing was uploaded twice"
    assert fake.files == {}, "and everything is taken away"
    sent = sum(r.size_bytes for r in fake.requests("chunk", ok=True))
    assert 0 < sent <= count * UPLOAD_BYTES, "no part that the service confirmed was sent twice"
    async with await Database.open(folder / "gsvr.db") as db:
        counts = await TaskQueue(db).counts(BATCH)
        assert counts.completed == count
        rows = await db.read("SELECT value ->> 'usd' AS usd FROM steps WHERE name = 'generate'")
        assert len(rows) == count * 3
        journaled = sum(float(row["usd"]) for row in rows)
    fewest = {(r.voice, r.start_s): r.usd for r in asked}
    assert journaled == pytest.approx(sum(fewest.values())), "as if nobody had been killed"


@pytest.mark.timeout(180)
def test_kills_at_random_moments_repeat_no_answered_call_and_no_finished_upload(
    tmp_path: Path,
) -> None:
    with FakeGemini(latency_s=0.05) as fake:
        asyncio.run(prepare(tmp_path, 8))
        when = storm(tmp_path, fake, kills=3, seed=7)
        asyncio.run(check(tmp_path, fake, when, 8))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_thirty_kills_in_a_batch_of_forty_recordings(tmp_path: Path) -> None:
    with FakeGemini(latency_s=0.1) as fake:
        asyncio.run(prepare(tmp_path, 40))
        when = storm(tmp_path, fake, kills=30, seed=30)
        assert len(when) >= 20
        asyncio.run(check(tmp_path, fake, when, 40))
