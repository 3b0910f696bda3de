"""The price table: dates, lengths, tiers, the user's own figures."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gs_video_report.engines.llm.prices import (
    TokenUse,
    load_prices,
    parse_prices,
    with_prices,
)
from gs_video_report.errors import ConfigError

NOW = date(2026, 11, 22)
MILLION = TokenUse(1_000_000, 1_000_000)


def usd(model: str, use: TokenUse, on: date = NOW, tier: str = "standard") -> float:
    price = load_prices().find(model)
    assert price is not None
    return round(price.cost(use, on, tier=tier), 6)


def test_price_changes_on_the_day_the_table_names() -> None:
    assert usd("gemini-3.8-flash", MILLION, date(2026, 12, 31)) == 4.5
    assert usd("gemini-3.8-flash", MILLION, date(2027, 1, 1)) == 9.0


def test_cached_and_audio_tokens_have_their_own_price() -> None:
    assert usd("gemini-2.5-flash", TokenUse(1_000_000, audio_in=400_000)) == 0.58
    assert usd("gemini-2.5-flash", TokenUse(1_000_000, cached_in=1_000_000)) == 0.03
    use = TokenUse(1_000_000, cached_in=700_000, audio_in=400_000)
    assert usd("gemini-2.5-flash", use) == round(0.7 * 0.03 + 0.3 * 1.0, 6)


def test_long_requests_cost_more_as_a_whole() -> None:
    assert usd("gemini-2.5-pro", TokenUse(200_000, 1000)) == 0.26
    assert usd("gemini-2.5-pro", TokenUse(200_001, 1000)) == round(0.2000010 * 2.5 + 0.015, 6)


def test_half_price_lane() -> None:
    assert usd("gemini-3.8-flash", MILLION, tier="batch") == 2.25
    assert usd("gemini-3.8-flash", MILLION, tier="unheard-of") == 4.5


def test_sound_is_paid_by_the_second() -> None:
    assert usd("gpt-transcribe", TokenUse(audio_s=3600.0)) == 0.27


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("gpt-5.4", "gpt-5.4"),
        ("GPT-5.4-2026-03-05", "gpt-5.4"),
        ("gpt-5.4-mini", "gpt-5.4-mini"),
        ("openai/gpt-5.4", "gpt-5.4"),
        ("models/gemini-3.7-flash", "gemini-3.8-flash"),
        ("gpt-5.4-quantum", None),
        ("llama3", None),
    ],
)
def test_names_are_found_in_the_spellings_servers_use(name: str, known: str | None) -> None:
    found = load_prices().find(name)
    assert (found.model if found else None) == known


def test_every_entry_ends_open_and_costs_something() -> None:
    table = load_prices()
    assert len(table.models) > 30
    for price in table.models.values():
        assert price.periods[-1].until is None
        days = [p.until for p in price.periods[:-1]]
        assert days == sorted(days, key=str)
        rates = price.rates(NOW)
        assert rates.tokens_in > 0 or rates.per_second > 0
        assert rates.cached is None or rates.cached < rates.tokens_in


def test_users_table_wins_model_by_model(tmp_path: Path) -> None:
    own = tmp_path / "prices.yaml"
    own.write_text("as_of: 2027-02-01\nmodels:\n  gpt-5.4:\n    prices: [{in: 1, out: 2}]\n")
    table = load_prices(own)
    found = table.find("gpt-5.4")
    assert found is not None
    assert found.cost(MILLION, NOW) == 3.0
    assert table.find("gpt-5.5") == load_prices().find("gpt-5.5")
    assert table.as_of == date(2027, 2, 1)
    assert load_prices(tmp_path / "missing.yaml") is load_prices()


def test_configured_prices_win_over_the_table_and_keep_the_limits() -> None:
    known = load_prices().find("gpt-5.4")
    own = with_prices(known, "gpt-5.4", 1.0, None)
    assert own is not None
    assert own.cost(MILLION, NOW) == 1.0
    assert own.context_tokens == 1_050_000
    assert with_prices(known, "gpt-5.4", None, None) is known
    assert with_prices(None, "x", None, None) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: [", "not valid"),
        ("as_of: 2026-01-01\nmodels: {x: {prices: []}}", "'prices' is empty"),
        ("as_of: 2026-01-01\nmodels: {x: {prices: [{inn: 1}]}}", "unknown key 'inn'"),
        ("as_of: 2026-01-01\nmodels: {x: {prices: [{in: -1}]}}", "-1 is not a price"),
        ("as_of: soon\nmodels: {}", "not valid"),
        ("models: {}", "not valid"),
        ("as_of: 2026-01-01\nmodels: {x: {context: many, prices: [{in: 1}]}}", "number of tokens"),
    ],
)
def test_wrong_tables_are_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parse_prices(text.encode(), "mine.yaml")
    assert caught.value.message.startswith("mine.yaml")
