"""Ask a chat model within the limits, and pay for no answer twice.

Truth: every reply is a step of the journal, stored as it came before anything is read from it, so
that a resume pays for nothing twice and a better reader can read it again. An unusable answer in
the journal is never the last word: a task that is run again asks anew.
Raises: what `ChatClient` raises; PermanentError for a blocked answer.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.llm.prices import TokenUse, today
from gs_video_report.engines.llm.quota import Need, Spent, send_within
from gs_video_report.engines.openai.client import ChatClient
from gs_video_report.engines.openai.errors import blocked
from gs_video_report.engines.openai.options import Model
from gs_video_report.engines.openai.request import Request

STEP_VERSION = 1
MAX_TRIES = 20
"""Answers to one request that are looked at, those of earlier runs included."""


@dataclass(slots=True)
class Conversation:
    """One recording's requests to a model."""

    ctx: TaskContext
    client: ChatClient
    model: Model
    bucket: str
    usages: list[dict[str, Any]] = field(default_factory=list)
    """Of every reply that the report rests on, journaled ones included."""

    async def ask(
        self, name: str, part: int, request: Request, more: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The journaled reply to `request`; sent within the limits if it was never answered.

        Raises: PermanentError when the content filter blocked it, and does so again now.
        """
        reply, _ = await self.reply(name, part, request, more or {})
        return reply

    async def reply(
        self, name: str, part: int, request: Request, more: dict[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        """As `ask`, and whether the reply came just now, not from the journal."""
        for number in range(MAX_TRIES):
            again = {"again": number} if number else {}
            reply, is_new = await self._journaled(name, part, request, more | again)
            if not _is_blocked(reply):
                return reply, is_new
            if is_new:
                break
        raise blocked(self.client.options.host, request.model, reply["refusal"])

    async def _journaled(
        self, name: str, part: int, request: Request, more: dict[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        """One step: the reply as it came, and whether it came just now."""
        params = {
            "v": STEP_VERSION,
            "base_url": self.client.options.base_url,
            "model": request.model,
            "prompt": _digest([request.system, *request.turns]),
            "template": self.ctx.template.sha256,
            "schema": _digest(request.schema),
            "temperature": self.client.options.temperature,
            "max_tokens": request.max_tokens,
            **more,
        }
        is_new = False

        async def send() -> tuple[dict[str, Any], Spent]:
            value = await self.client.chat(request, self.model.price, today())
            usage = value["usage"]
            return value, Spent(usage["tokens_in"], usage["tokens_out"], usage["usd"])

        async def run() -> dict[str, Any]:
            nonlocal is_new
            is_new = True
            told = partial(self.client.hint, request.model)
            return await send_within(self.ctx, self.bucket, self._need(request), send, told)

        reply: dict[str, Any] = await self.ctx.step(name, run, part=part, params=params)
        self.usages.append(reply["usage"])
        return reply, is_new

    def _need(self, request: Request) -> Need:
        use = TokenUse(request.tokens_in, request.max_tokens)
        usd = 0.0 if self.model.price is None else self.model.price.cost(use, today())
        return Need(use.tokens_in + use.tokens_out, usd)


def _is_blocked(reply: dict[str, Any]) -> bool:
    return reply["finish"] == "content_filter" or bool(reply["refusal"] and not reply["text"])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
