"""The half-price lane: the first questions about a recording go as one job of the Batch API.

Truth: the journaled step `batch_job` (the job's name), the service for its state, and the step
`generate` for each reply, as always.
True here: a job's display name follows from the recording's content and the questions (which are
the same for recordings of one length), and is looked for before one is made: a job that was
created just before a kill is found and not paid for twice, and no other recording's job is taken.
That a job is about to be asked for is noted first (`batch_asked`), and that it was clearly refused
afterwards (`batch_refused`). Between the two nobody knows: a kill, a cut connection or an answer of
5xx may have left a job. Then another one is made only after the service has shown none for a while.
The replies of a job that is there are fetched whatever the cost limit is: they are owed already.
The upload must live longer than a job may take. What a job does not answer is asked for directly,
at the full price. The money set aside for a job is named after the job: a later process finds it
with the job, and while a job may be charged it stays set aside, whatever ends the waiting.
Never: makes a second job for the same questions while the first one may still answer.
Raises: StepCancelled, LimitReached, what the connection raises.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gs_video_report.engines.gemini.client import FILE_TIMEOUT_S, RemoteFile, read_reply
from gs_video_report.engines.gemini.errors import ServiceError, classify
from gs_video_report.engines.gemini.files import journaled
from gs_video_report.engines.gemini.options import bucket_name
from gs_video_report.engines.gemini.parts import Reading
from gs_video_report.engines.gemini.request import Question
from gs_video_report.engines.llm.quota import Need, granted
from gs_video_report.errors import (
    GsvrError,
    PermanentError,
    Refused,
    RetryableError,
    StepCancelled,
)
from gs_video_report.report.model import Notice

STEP_VERSION = 2
TIER = "batch"
JOB_LIFE = timedelta(hours=24)
"""The service gives up on a job after that; so do we, an hour later."""
FILE_LIFE = JOB_LIFE + timedelta(hours=2)
POLL_S = 30.0
MAX_POLL_S = 300.0
PAGE_SIZE = 100
MAX_PAGES = 200
"""Of the list of jobs; the service keeps them for weeks."""
SETTLE_S = 120.0
"""How long a job that may have been made is looked for before another one is."""
LOOK_S = 15.0
"""Between two of those looks."""
MAX_ASKED = 64
"""Tries to make one job over the life of a database."""
SUCCEEDED = frozenset({"JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED"})
ENDED = SUCCEEDED | {"JOB_STATE_FAILED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}


def question_key(question: Question) -> str:
    """Names a question in a job: 16 digits."""
    text = json.dumps(question.params(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(slots=True)
class BatchLane:
    """One recording's job. Called with a question, it gives the reply, or None if it has none.

    Args:
        questions: all that go into the job.
        poll_s: first pause between looks; grows to `MAX_POLL_S`.
        settle_s: see `SETTLE_S`.
    """

    reading: Reading
    questions: Sequence[Question]
    poll_s: float = POLL_S
    settle_s: float = SETTLE_S
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _replies: dict[str, dict[str, Any]] | None = None
    _failed: GsvrError | None = None

    async def __call__(self, question: Question) -> dict[str, Any] | None:
        """The reply of the job to `question`, priced; None: ask directly."""
        key = question_key(question)
        if key not in {question_key(q) for q in self.questions}:
            return None
        async with self._lock:
            if self._failed is not None:
                raise self._failed  # the other questions of this try would meet the same
            if self._replies is None:
                self._replies = await self._all()
                self._tell(len(self._replies))
        return self._replies.get(key)

    async def _all(self) -> dict[str, dict[str, Any]]:
        """All replies, journaled as one: a job is paid for once also in the ledger."""
        try:
            found: dict[str, dict[str, Any]] = await self.reading.ctx.step(
                "batch_replies", self._run, params=self._params()
            )
        except GsvrError as error:
            self._failed = error
            raise
        return found

    @property
    def _what(self) -> str:
        return f"batch job for {self.reading.ctx.media.display_name}"

    def _digest(self) -> str:
        keys = [question_key(q) for q in self.questions]
        text = ",".join([self.reading.ctx.fingerprint, *keys])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    async def _run(self) -> dict[str, dict[str, Any]]:
        """Replies by the key of their question."""
        reading = self.reading
        bucket = bucket_name(f"{reading.options.model}:batch", reading.link.key_id)
        try:
            name = await self._there()
            owed = name is not None
            async with granted(reading.ctx, bucket, self._need(), self._hold(), owed) as quota:
                quota.keep_hold(owed)
                replies = await self._job(quota)
                quota.settle(
                    tokens_in=sum(r["tokens_in"] for r in replies.values()),
                    tokens_out=sum(r["tokens_out"] for r in replies.values()),
                    usd=sum(r["usd"] for r in replies.values()),
                )
        except Refused as error:
            reading.ctx.limiter.penalize(bucket, error.retry_after_s)
            raise
        return replies

    def _hold(self) -> str:
        """Name of the money that is set aside for the job; a job belongs to one key."""
        return f"gemini-job/{self.reading.link.key_id}/{self._digest()}"

    def _need(self) -> Need:
        needs = [self.reading.need(q, TIER) for q in self.questions]
        return Need(sum(n.tokens for n in needs), sum(n.usd for n in needs))

    def _tell(self, answered: int) -> None:
        missing = len(self.questions) - answered
        if missing:
            message = (
                f"{missing} of {len(self.questions)} parts were asked for directly, at the full "
                "price, because the half-price job did not answer them."
            )
            self.reading.notices.append(Notice("batch_fallback", message))

    # --- the job --------------------------------------------------------------------------------

    def _params(self) -> dict[str, Any]:
        return {"v": STEP_VERSION, "key": self.reading.link.key_id, "job": self._digest()}

    async def _there(self) -> str | None:
        """Name of a job that was made before; None when there is none, as far as can be known."""
        name = await journaled(self.reading.ctx, "batch_job", self._params())
        if name is not None:
            return str(name)
        found = await self._find()
        if found is None and await self._is_in_doubt():
            found = await self._shows_up()
        if found is None:
            return None

        async def adopt() -> str:
            return found

        return str(await self.reading.ctx.step("batch_job", adopt, params=self._params()))

    async def _is_in_doubt(self) -> bool:
        """Whether a job was asked for, and nobody knows whether it was made."""
        asked = await self._asked()
        if asked == 0:
            return False
        ctx, params = self.reading.ctx, self._params()
        return await journaled(ctx, "batch_refused", params, part=asked - 1) is None

    async def _asked(self) -> int:
        """How many times the job was asked for."""
        for part in range(MAX_ASKED):
            noted = await journaled(self.reading.ctx, "batch_asked", self._params(), part=part)
            if noted is None:
                return part
        raise PermanentError(f"{self._what}: asked for {MAX_ASKED} times; giving up")

    async def _shows_up(self) -> str | None:
        """A job that may have been made: looked for until it would surely show."""
        until = self.now() + timedelta(seconds=self.settle_s)
        while self.now() < until:
            await self._pause(min(LOOK_S, self.settle_s / 4))
            found = await self._find()
            if found is not None:
                return found
        return None

    async def _job(self, quota: Any) -> dict[str, dict[str, Any]]:
        async def create() -> str:
            return await self._create(quota)

        name = str(await self.reading.ctx.step("batch_job", create, params=self._params()))
        quota.keep_hold()
        job = await self._ended(name)
        if job is None or _state(job) not in SUCCEEDED:
            return {}
        return self._read(job)

    async def _create(self, quota: Any) -> str:
        """Make a job with these questions; its name."""
        file = await self._file()
        source = [
            {
                "contents": q.contents(file),
                "config": q.config(),
                "metadata": {"key": question_key(q)},
            }
            for q in self.questions
        ]
        part = await self._asked()
        await self._note("batch_asked", part)
        quota.keep_hold()
        try:
            return await self._send(source)
        except GsvrError as error:
            if not _may_be_made(error):
                quota.keep_hold(False)
                await self._note("batch_refused", part)
            raise

    async def _note(self, name: str, part: int) -> None:
        """Durable before what follows is done."""

        async def at() -> str:
            return self.now().isoformat()

        await self.reading.ctx.step(name, at, part=part, params=self._params())

    async def _send(self, source: list[dict[str, Any]]) -> str:
        """Make the job; its name."""
        link = self.reading.link
        work = link.batches.create(
            model=link.options.model, src=source, config={"display_name": self._display_name()}
        )
        job = await link.call(work, self._what, link.options.timeout_s, link.options.model)
        if not job.name:
            raise RetryableError(
                f"{self._what}: the service sent something that is no proper answer", in_doubt=True
            )
        return str(job.name)

    def _display_name(self) -> str:
        return f"gsvr-{self._digest()}"

    async def _find(self) -> str | None:
        """A job of ours that an earlier process made and could not note."""
        link = self.reading.link
        pager = await link.call(
            link.batches.list(config={"page_size": PAGE_SIZE}), self._what, FILE_TIMEOUT_S
        )
        for _ in range(MAX_PAGES):
            for job in pager.page:
                usable = _state(job) not in ENDED or _state(job) in SUCCEEDED
                if job.display_name == self._display_name() and usable:
                    return str(job.name)
            if not pager.config.get("page_token"):
                break
            await link.call(pager.next_page(), self._what, FILE_TIMEOUT_S)
        return None

    async def _file(self) -> RemoteFile:
        """The recording, at the service for as long as the job may take."""
        file = await self.reading.fetch()
        try:
            lives = datetime.fromisoformat(file.expires_at) - self.now() > FILE_LIFE
        except ValueError:
            return file  # not an upload, or its end is not known
        if not lives:
            self.reading.lost(file)
            file = await self.reading.fetch()
        return file

    async def _ended(self, name: str) -> Any:
        """The job once it has ended; None when it is gone or takes too long."""
        link, pause = self.reading.link, self.poll_s
        until = self.now() + JOB_LIFE + timedelta(hours=1)
        while self.now() < until:
            try:
                job = await link.call(link.batches.get(name=name), self._what, FILE_TIMEOUT_S)
            except PermanentError:
                return None
            if _state(job) in ENDED:
                return job
            await self._pause(pause)
            pause = min(pause * 1.5, MAX_POLL_S)
        return None

    async def _pause(self, seconds: float) -> None:
        """Raises: StepCancelled when the task is to stop; the job goes on at the service."""
        idle = self.reading.ctx.idle
        if idle is not None:
            idle(True)
        try:
            async with asyncio.timeout(seconds):
                await self.reading.ctx.cancelled.wait()
        except TimeoutError:
            return
        finally:
            if idle is not None:
                idle(False)
        raise StepCancelled("stopped while waiting for a batch job", stage="transcribe")

    def _read(self, job: Any) -> dict[str, dict[str, Any]]:
        """Replies of a job; questions that it answered with an error are not among them."""
        found: dict[str, dict[str, Any]] = {}
        answers = getattr(job.dest, "inlined_responses", None) or []
        keys = [question_key(q) for q in self.questions]
        for place, answer in enumerate(answers):
            key = (answer.metadata or {}).get("key")
            if key is None and len(answers) == len(keys):
                key = keys[place]  # the service keeps the order
            if answer.response is not None and key in keys:
                found[str(key)] = self.reading.priced(read_reply(answer.response), TIER)
            elif answer.error is not None:
                self._check(answer.error)
        return found

    def _check(self, error: Any) -> None:
        """An error of one item is asked again directly; a bad key is not."""
        told = ServiceError(int(error.code or 0), message=str(error.message or ""))
        if told.is_bad_key:
            raise classify(told, self._what)


def _state(job: Any) -> str:
    return str(getattr(job.state, "value", job.state) or "")


def _may_be_made(error: GsvrError) -> bool:
    """Whether there may be a job although making it failed: no answer, or none that is clear."""
    status = error.data.get("status")
    unclear = isinstance(status, int) and (status == 408 or status >= 500)
    return unclear or bool(error.data.get("in_doubt"))
