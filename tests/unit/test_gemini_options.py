"""Options of the gemini engine, and what a recording will cost."""

from __future__ import annotations

import pytest

from gs_video_report.config_options import ENGINE_OPTIONS
from gs_video_report.config_values import Secret
from gs_video_report.engines import registry
from gs_video_report.engines.gemini.engine import GeminiEngine
from gs_video_report.engines.gemini.options import (
    DEFAULT_MODEL,
    GeminiOptions,
    bucket_name,
    key_id,
    parse_options,
)
from gs_video_report.engines.gemini.segments import segment_length_s
from gs_video_report.errors import ConfigError
from gs_video_report.templates.loader import load_template


def test_every_option_of_the_table_is_understood() -> None:
    given = {"model": "m", "base_url": "http://x", "temperature": 0.1, "max_tokens": 5,
             "timeout": 60.0, "rpm": 1, "tpm": 1, "rpd": 1, "price_in": 1.0, "price_out": 2.0,
             "fps": 1.0, "media_resolution": "low", "thinking_level": "high",
             "segment_s": 900.0, "keep_uploads": True, "batch": True}  # fmt: skip
    table = {
        o.name.partition(".")[2]
        for o in ENGINE_OPTIONS
        if o.section == "gemini" and not o.name.endswith("api_key")
    }
    assert table == set(given)
    options = parse_options(given)
    assert options.max_output_tokens == 5
    assert options.timeout_s == 60.0
    assert options.thinking == "high"


def test_nothing_given_means_the_defaults() -> None:
    assert parse_options({}) == GeminiOptions()
    assert parse_options({"model": None, "fps": None}) == GeminiOptions()
    assert parse_options({"model": "models/gemini-4-argon"}).model == "gemini-4-argon"
    assert parse_options({"base_url": "http://127.0.0.1:8080/"}).base_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fps", 30), ("fps", 0), ("fps", "fast"), ("temperature", 3), ("media_resolution", "ultra"),
        ("thinking", "hard"), ("segment_s", 5), ("timeout_s", 0), ("keep_uploads", "yes"),
        ("max_output_tokens", 0), ("price_in", -1), ("fps", True), ("fps", float("nan")),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"gemini.{name}: "):
        parse_options({name: value})


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gemini\.colour"):
        parse_options({"colour": "red"})


def test_the_name_of_a_key_gives_nothing_away() -> None:
    key = "AIza-0123456789-abcdef"
    name = key_id(key)
    assert len(name) == 8
    assert name == key_id(key) != key_id(key + "x")
    assert name not in key
    assert bucket_name("gemini-3.8-flash", name) == f"gemini/gemini-3.8-flash/{name}"


def test_the_engine_is_made_by_name_with_one_key_or_several() -> None:
    options = {"engine_options": {"model": "gemini-3.5-flash"}}
    one = registry.make("gemini", options, key=Secret("a" * 20))
    two = registry.make("gemini", options, key=[Secret("a" * 20), Secret("b" * 20)])
    none = registry.make("gemini", options)
    counts = []
    for engine in (one, two, none):
        assert isinstance(engine, GeminiEngine)
        assert engine.options.model == "gemini-3.5-flash"
        counts.append(len(engine.key_ids))
    assert counts == [1, 2, 0]


@pytest.mark.parametrize(
    ("options", "per_s"),
    [
        (GeminiOptions(), 102),
        (GeminiOptions(media_resolution="high"), 312),
        (GeminiOptions(fps=0.5), 67),
        (GeminiOptions(model="gemini-2.5-flash"), 290),
        (GeminiOptions(model="gemini-2.5-flash", media_resolution="low"), 98),
    ],
)
def test_tokens_of_a_second_follow_the_providers_table(options: GeminiOptions, per_s: int) -> None:
    assert options.tokens_per_s == per_s
    assert options.media_tokens(10.5) == -(-per_s * 105 // 10)


def test_an_hour_is_estimated_from_stretches_and_prices() -> None:
    engine = GeminiEngine(options={})
    made = engine.estimate(3600.0, load_template("summary_report"))
    assert made.requests == 4
    assert 367_200 < made.tokens < 500_000
    assert 0.27 < made.usd < 0.5
    assert made.usd < made.usd_max
    half = GeminiEngine(options={"batch": True}).estimate(3600.0, load_template("summary_report"))
    assert half.usd == pytest.approx(made.usd / 2, rel=0.01)


def test_a_model_without_a_price_costs_nothing_known() -> None:
    engine = GeminiEngine(options={"model": "gemini-99-new"})
    assert engine.price is None
    assert engine.estimate(3600.0, load_template("summary_report")).usd == 0.0
    own = GeminiEngine(options={"model": "gemini-99-new", "price_in": 1.0, "price_out": 1.0})
    assert own.estimate(3600.0, load_template("summary_report")).usd > 0.3


def test_the_default_model_is_one_of_the_table() -> None:
    assert GeminiEngine(options={}).price is not None
    assert segment_length_s(parse_options({"model": DEFAULT_MODEL})) == 1200.0
