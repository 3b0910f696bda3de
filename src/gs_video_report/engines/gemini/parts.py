"""Ask the model about every stretch of one recording and join what it says.

Truth: the journaled step `generate`: reply, finish reason, usage and cost are on disk before
anything is read from the reply; a resumed task finds its replies there and pays for none again,
whichever key paid for them. The recording is uploaded only when a reply is really missing.
Never: holds a key, decodes media.
Raises: ContentBlocked, AnswerUnusable, LimitReached, what the connection raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.bounded import bounded
from gs_video_report.engines.gemini import segments as seg
from gs_video_report.engines.gemini.client import Connection, RemoteFile, Reply
from gs_video_report.engines.gemini.errors import hidden_video, next_reset
from gs_video_report.engines.gemini.options import GeminiOptions, bucket_name
from gs_video_report.engines.gemini.request import Asker, Question
from gs_video_report.engines.gemini.seams import join_answers
from gs_video_report.engines.gemini.segments import Window
from gs_video_report.engines.llm import prompts, selection
from gs_video_report.engines.llm.answer import Answer
from gs_video_report.engines.llm.prices import STANDARD, ModelPrice, TokenUse
from gs_video_report.engines.llm.quota import MAX_REFUSALS, Need, QuotaHint, granted, pass_on
from gs_video_report.engines.llm.tokens import estimate_tokens
from gs_video_report.errors import (
    AnswerUnusable,
    AuthenticationError,
    ContentBlocked,
    LimitReached,
    PermanentError,
    Refused,
    RetryableError,
    UploadGone,
)
from gs_video_report.report.model import Notice
from gs_video_report.report.timefmt import clock
from gs_video_report.templates.loader import Template

MAX_ROUNDS = 12
"""Answers about one stretch: the first one and its continuations."""
MAX_UNREADABLE = 3
"""Unreadable answers in a row to one question."""
CUT_AT_ONCE = "the model's answer ends before its first line"
CUT_HINT = "raise max_tokens of the gemini engine, or lower its thinking level"
MAX_UPLOADS_LOST = 3
PARTS_AT_ONCE = 3
SELECT_TOKENS = 200_000

Fetch = Callable[[], Awaitable[RemoteFile]]
Lane = Callable[[Question], Awaitable[dict[str, Any] | None]]
"""Another way to a reply (the half-price lane); None: it has none, ask directly."""


@dataclass(slots=True)
class Totals:
    """Sums over the replies a report is made of, journaled ones included."""

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    models: set[str] = field(default_factory=set)

    def add(self, value: dict[str, Any]) -> None:
        """Count one journaled reply."""
        self.requests += 1
        self.tokens_in += int(value["tokens_in"])
        self.tokens_out += int(value["tokens_out"])
        self.usd += float(value["usd"])
        if value["model"]:
            self.models.add(str(value["model"]))

    def to_dict(self) -> dict[str, float]:
        """For `Provenance.usage`."""
        return {
            "requests": self.requests,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "usd": round(self.usd, 8),
        }


@dataclass(slots=True)
class Reading:
    """One task read with one key. `fetch` gives the recording at the service."""

    ctx: TaskContext
    link: Connection
    asker: Asker
    template: Template
    options: GeminiOptions
    price: ModelPrice | None
    fetch: Fetch
    lost: Callable[[RemoteFile], None]
    totals: Totals = field(default_factory=Totals)
    notices: list[Notice] = field(default_factory=list)
    lane: Lane | None = None
    _done: int = 0
    _of: int = 1

    async def all(self, windows: tuple[Window, ...]) -> Answer:
        """Everything about the recording, merged.

        Raises: ContentBlocked when the service refuses every stretch.
        """
        self._of = len(windows)
        self._tell_progress()

        async def one(window: Window) -> Answer | None:
            answer = await self._window(window)
            self._done += 1
            self._tell_progress()
            return answer

        found = await bounded((one(w) for w in windows), limit=PARTS_AT_ONCE)
        merged = _joined(windows, found)
        if merged is None:
            reasons = ", ".join(sorted({n.message for n in self.notices if n.code == "blocked"}))
            raise ContentBlocked(f"the Gemini service refuses this recording: {reasons}")
        return await self._thinned(merged)

    def _tell_progress(self) -> None:
        self.ctx.progress("transcribe", self._done, self._of)

    # --- one stretch ----------------------------------------------------------------------------

    async def _window(self, window: Window) -> Answer | None:
        """The whole answer about a stretch; None when it is blocked."""
        expected = seg.answer_tokens(window.length_s)
        collected: Answer | None = None
        rest = window
        for _ in range(MAX_ROUNDS):
            verdict = await self._read(rest, collected, expected)
            if verdict.kind == seg.BLOCKED:
                return self._blocked(rest, verdict, collected)
            answer = verdict.answer
            collected = _continued(collected, answer, rest)
            if verdict.kind == seg.DONE:
                return collected
            at, halves = seg.goes_on_at(answer, rest), rest.halves()
            if at is None and halves is not None:
                return await self._halved(rest, halves, collected)
            rest = rest.rest(rest.start_s if at is None else at)
        self._cut_notice(rest)
        return collected

    def first_question(self, window: Window) -> Question:
        """What is asked first about a stretch."""
        return self.asker.about(window, expected=seg.answer_tokens(window.length_s))

    async def _read(self, window: Window, done: Answer | None, expected: int) -> seg.Verdict:
        """A readable answer about `window`. Raises: AnswerUnusable after several others.

        One that was cut before its first line is of no more use, where the stretch cannot be
        asked for in halves: then the next try may write longer.
        """
        reason = ""
        for attempt in range(MAX_UNREADABLE):
            room = expected * 2**attempt if reason == CUT_AT_ONCE else expected
            question = self.asker.about(window, done=done, again=attempt > 0, expected=room)
            value = await self._reply(question, window.number - 1, attempt)
            verdict = seg.judge(_reply_of(value), self.template, window)
            if verdict.kind == seg.CUT and seg.goes_on_at(verdict.answer, window) is None:
                if window.halves() is not None:
                    return verdict
                reason = CUT_AT_ONCE
            elif verdict.kind != seg.UNUSABLE:
                return verdict
            else:
                reason = verdict.reason
        hint = CUT_HINT if reason == CUT_AT_ONCE else ""
        raise AnswerUnusable(
            f"{self.ctx.media.display_name}: {reason}, {MAX_UNREADABLE} times "
            f"(from {clock(window.start_s)} to {clock(window.end_s)})",
            hint=hint,
        )

    async def _halved(
        self, window: Window, halves: tuple[Window, Window], collected: Answer
    ) -> Answer | None:
        """The answer was cut before its first line: ask about half as much at a time."""
        found = [await self._window(half) for half in halves]
        return _joined((window, *halves), [collected, *found])

    def _blocked(
        self, window: Window, verdict: seg.Verdict, collected: Answer | None
    ) -> Answer | None:
        start, end = clock(window.start_s), clock(window.end_s)
        message = f"The service refuses to answer about {start} to {end} ({verdict.reason})."
        notice = Notice("blocked", message, "warning", window.start_s, window.end_s)
        self.notices.append(notice)
        told = _continued(collected, verdict.answer, window)
        return None if told.is_empty else told

    def _cut_notice(self, window: Window) -> None:
        start, end = clock(window.start_s), clock(window.end_s)
        message = f"The model stopped again and again; {start} to {end} may be missing."
        self.notices.append(Notice("cut", message, "warning", window.start_s, window.end_s))

    # --- lists that became too long ---------------------------------------------------------------

    async def _thinned(self, merged: Answer) -> Answer:
        """Statements of many parts, thinned out by the model; all of them if that fails."""
        kept: dict[str, tuple[int, ...]] = {}
        choices = selection.choices(merged, self.template)
        for part, group in enumerate(selection.bundles(choices, SELECT_TOKENS)):
            lists = [(c.key, c.description, c.texts) for c in group]
            text = prompts.selection_user(self.asker.title, lists)
            question = self.asker.text_only(
                text, prompts.selection_system(), selection.SCHEMA, selection.ANSWER_TOKENS
            )
            try:
                value = await self._reply(question, part, 0)
            except PermanentError:
                continue
            kept |= selection.parse(str(value["text"]), group)
        return selection.apply(merged, kept)

    # --- one question ---------------------------------------------------------------------------

    async def _reply(self, question: Question, part: int, attempt: int) -> dict[str, Any]:
        """The journaled reply, asked for only if it is not there."""

        async def run() -> dict[str, Any]:
            if self.lane is not None and attempt == 0:
                value = await self.lane(question)
                if value is not None:
                    return value
            return await self._ask(question)

        params = {**question.params(), "attempt": attempt}
        value: dict[str, Any] = await self.ctx.step("generate", run, part=part, params=params)
        self.totals.add(value)
        return value

    async def _ask(self, question: Question) -> dict[str, Any]:
        """Send it, with the recording uploaded anew if the service lost it."""
        for left in reversed(range(MAX_UPLOADS_LOST)):
            file = await self.fetch() if question.window is not None else None
            self._tell_progress()  # from here on it is no matter of the upload
            try:
                return await self._send(question, file)
            except AuthenticationError as error:
                if file is None or file.name:
                    raise
                raise hidden_video(error, self.ctx.media.display_name) or error from None
            except UploadGone:
                if file is None or left == 0:
                    raise
                self.lost(file)
        raise AssertionError("unreachable")

    async def _send(self, question: Question, file: RemoteFile | None) -> dict[str, Any]:
        """Inside the quota; again after a refusal for rate."""
        bucket = bucket_name(self.options.model, self.link.key_id)
        refused = RetryableError("no answer")
        for _ in range(MAX_REFUSALS):
            try:
                async with granted(self.ctx, bucket, self.need(question)) as quota:
                    return await self._send_once(question, file, quota)
            except Refused as error:
                refused = error
                self.ctx.limiter.penalize(bucket, error.retry_after_s)
                pass_on(self.ctx, bucket, QuotaHint(**error.data.get("per_minute", {})))
            except LimitReached as error:
                if error.resume_at is not None and not error.is_budget:
                    self.ctx.limiter.exhaust(bucket, next_reset(datetime.now(UTC)))
                raise
        raise refused

    async def _send_once(
        self, question: Question, file: RemoteFile | None, quota: Any
    ) -> dict[str, Any]:
        what = f"answer about {self.ctx.media.display_name}"
        try:
            reply = await self.link.generate(question.contents(file), question.config(), what)
        except (RetryableError, asyncio.CancelledError) as error:
            if not isinstance(error, RetryableError) or error.data.get("in_doubt"):
                quota.settle(
                    in_doubt=True
                )  # it may have been answered and charged: count it in full
            raise
        if not reply.tokens_in:  # it does not tell what it took: rather too much than nothing
            written = estimate_tokens(reply.text)
            reply = replace(reply, tokens_in=question.tokens_in, tokens_out=written)
        value = self.priced(reply)
        quota.settle(
            tokens_in=reply.tokens_in, tokens_out=reply.tokens_out, usd=float(value["usd"])
        )
        return value

    # --- money ----------------------------------------------------------------------------------

    def need(self, question: Question, tier: str = STANDARD) -> Need:
        """The most that a question can take."""
        use = TokenUse(question.tokens_in, question.max_output_tokens, audio_in=question.audio_in)
        return Need(question.tokens_in, self._cost(use, tier))

    def priced(self, reply: Reply, tier: str = STANDARD) -> dict[str, Any]:
        """The value that is journaled for a reply."""
        use = TokenUse(reply.tokens_in, reply.tokens_out, reply.cached_in, reply.audio_in)
        return {**reply.to_dict(), "usd": round(self._cost(use, tier), 8)}

    def _cost(self, use: TokenUse, tier: str) -> float:
        if self.price is None:
            return 0.0
        return self.price.cost(use, datetime.now(UTC).date(), tier=tier)


def _joined(windows: Sequence[Window], found: Sequence[Answer | None]) -> Answer | None:
    """One answer of those there are, in their order; None when there is none."""
    whole: Answer | None = None
    end_s = 0.0
    for window, answer in zip(windows, found, strict=True):
        if answer is None:
            continue
        whole = answer if whole is None else join_answers(whole, answer, window.start_s, end_s)
        end_s = window.end_s
    return whole


def _continued(done: Answer | None, more: Answer, window: Window) -> Answer:
    """A cut answer and its continuation about `window`, which begins with its last line."""
    if done is None:
        return more
    end_s = max((s.end_s for s in done.segments), default=window.start_s)
    return replace(join_answers(done, more, window.start_s, end_s), complete=more.complete)


def _reply_of(value: dict[str, Any]) -> Reply:
    return Reply(**{k: v for k, v in value.items() if k != "usd"})
