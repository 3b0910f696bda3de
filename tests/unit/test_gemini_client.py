"""What is read from an answer of the Gemini SDK."""

from __future__ import annotations

from datetime import date

import pytest

from gs_video_report.engines.gemini.client import read_reply
from gs_video_report.engines.gemini.engine import GeminiEngine
from gs_video_report.engines.llm.prices import TokenUse, load_prices
from gs_video_report.templates.loader import load_template

types = pytest.importorskip("google.genai.types")
HOUR_S = 3600.0


def test_sound_is_told_apart_because_some_models_charge_more_for_it() -> None:
    details = [
        {"modality": "VIDEO", "tokenCount": 2580},
        {"modality": "AUDIO", "tokenCount": 320},
        {"modality": "TEXT", "tokenCount": 400},
    ]
    usage = {"promptTokenCount": 3300, "promptTokensDetails": details, "candidatesTokenCount": 12}
    answer = types.GenerateContentResponse.model_validate({"usageMetadata": usage})
    reply = read_reply(answer)
    assert (reply.tokens_in, reply.audio_in, reply.tokens_out) == (3300, 320, 12)


def test_an_answer_without_details_has_no_sound() -> None:
    assert read_reply(types.GenerateContentResponse()).audio_in == 0


def test_an_estimate_is_not_below_the_price_of_the_sound() -> None:
    engine = GeminiEngine(options={"model": "gemini-2.5-flash"})
    price = load_prices().find("gemini-2.5-flash")
    assert price is not None
    sound, pictures = round(HOUR_S * 32), round(HOUR_S * 258)
    least = price.cost(TokenUse(sound + pictures, audio_in=sound), date(2026, 11, 22))
    assert engine.estimate(HOUR_S, load_template("summary_report")).usd > least
