"""What a chat model will take for a recording, before anything was sent. Pure."""

from __future__ import annotations

import math

from gs_video_report.engines.base import Estimate
from gs_video_report.engines.llm import translate
from gs_video_report.engines.llm.prices import TokenUse, today
from gs_video_report.engines.llm.tokens import slide_tokens, transcript_tokens
from gs_video_report.engines.openai.options import Model
from gs_video_report.templates.loader import Template

SECONDS_PER_REQUEST = 15.0
"""Of a hosted model."""
PROMPT_TOKENS = 1800
ANSWER_TOKENS = 1500
TOKENS_PER_SECTION = 350


def estimate_of(
    duration_s: float, template: Template, model: Model, sound_usd: float, seconds_here: float
) -> Estimate:
    """What `duration_s` seconds of recording will take; `usd_max` with translation.

    Args:
        sound_usd: of a service that listens.
        seconds_here: of work on this machine.
    """
    heard = transcript_tokens(duration_s)
    read = heard + slide_tokens(duration_s)
    room = max(500, model.context_tokens - model.answer_tokens - PROMPT_TOKENS)
    parts = max(1, math.ceil(read / room))
    answer = ANSWER_TOKENS + TOKENS_PER_SECTION * len(template.sections)
    plain = TokenUse(read + parts * PROMPT_TOKENS, parts * min(answer, model.answer_tokens))
    requests = parts + (1 if parts > 1 else 0)
    batches, lines = 0, TokenUse()
    if template.language != "source":
        batches = math.ceil(heard * translate.GROWTH / _translated_at_once(model))
        lines = TokenUse(heard + batches * 300, round(heard * translate.GROWTH))
    usd, usd_lines = _usd(model, plain, parts), _usd(model, lines, max(1, batches))
    usd_most = _usd(model, TokenUse(plain.tokens_in * 2, parts * model.answer_tokens), parts)
    return Estimate(
        seconds=seconds_here + (requests + batches) * SECONDS_PER_REQUEST / 2,
        requests=requests + batches,
        tokens=plain.tokens_in + plain.tokens_out + lines.tokens_in + lines.tokens_out,
        usd=round(usd + sound_usd + usd_lines, 6),
        usd_max=round(max(usd, usd_most) + sound_usd + usd_lines * 2, 6),
    )


def _translated_at_once(model: Model) -> int:
    return max(200, min(int(model.answer_tokens * 0.8), 2400))


def _usd(model: Model, use: TokenUse, requests: int) -> float:
    """Cost of `use` spread evenly over so many requests."""
    if model.price is None:
        return 0.0
    one = TokenUse(use.tokens_in // requests, use.tokens_out // requests)
    return model.price.cost(one, today()) * requests
