"""Child of `test_money_of_processes.py`: ask a server again and again until the money is spent."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from gs_video_report.batch.data_models import BatchOptions
from gs_video_report.batch.limiter.models import BucketConfig
from gs_video_report.batch.persistence import Database
from gs_video_report.batch.queue.spending import Spending
from gs_video_report.batch.run.limits import make_limiter, purse_of
from gs_video_report.batch.store.process_lock import ProcessLock
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.config_values import Secret
from gs_video_report.engines.llm.prices import ModelPrice, TokenUse, today, with_prices
from gs_video_report.engines.openai.client import ChatClient
from gs_video_report.engines.openai.options import read_options
from gs_video_report.engines.openai.request import Request
from gs_video_report.errors import LimitReached
from tests.fakes.openai import KEY

PRICE_IN, PRICE_OUT = 10.0, 40.0
MAX_TOKENS = 400
BUCKET = "openai/fake/fake-large/k"
AT_ONCE = 4


async def main(db: Path, batch: str, url: str, limit: str, amount: float) -> None:
    """`limit`: the field of BatchOptions that is set to `amount`."""
    price = with_prices(None, "fake-large", PRICE_IN, PRICE_OUT)
    assert price is not None
    options = read_options({"base_url": url, "model": "fake-large"})
    async with await Database.open(db) as database:
        with ProcessLock(db) as lock:
            spending = Spending(database, batch, lock.process_id)
            purse = purse_of(spending, replace(BatchOptions(), **{limit: amount}))
            limiter = make_limiter(TaskQueue(database), batch, BucketConfig(), (BUCKET,), purse)
            client = ChatClient(options, Secret(KEY))
            await asyncio.gather(*(ask(limiter, client, price) for _ in range(AT_ONCE)))
            await limiter.flush()


async def ask(limiter: object, client: ChatClient, price: ModelPrice) -> None:
    """Requests until there is no money for another one."""
    request = Request("fake-large", "Write a report.", (("user", "words " * 40),), MAX_TOKENS)
    most = price.cost(TokenUse(request.tokens_in * 2, MAX_TOKENS), today())
    while True:
        try:
            async with limiter.reserve(BUCKET, usd=most) as quota:  # type: ignore[attr-defined]
                usage = (await client.chat(request, price, today()))["usage"]
                quota.settle(
                    tokens_in=usage["tokens_in"], tokens_out=usage["tokens_out"], usd=usage["usd"]
                )
        except LimitReached:
            return


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5])))
