"""Options, error bodies and small parts of the openai engine."""

from __future__ import annotations

from typing import Any

import pytest

from gs_video_report.engines.llm.prices import load_prices
from gs_video_report.engines.openai import errors
from gs_video_report.engines.openai.audio import spread, wav_bytes
from gs_video_report.engines.openai.engine import OpenAIEngine
from gs_video_report.engines.openai.errors import Failure
from gs_video_report.engines.openai.options import describe, read_options
from gs_video_report.errors import ConfigError
from gs_video_report.templates.loader import load_template


def test_words_of_the_configuration_file_and_of_the_design_mean_the_same() -> None:
    one = read_options({"max_tokens": 500, "timeout": 30.0, "images": True, "rpm": 5})
    other = read_options({"max_output_tokens": 500, "timeout_s": 30.0, "vision": True})
    assert one == other


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"modle": "x"}, "unknown option; did you mean model"),
        ({"temperature": 3}, "from 0 to 2"),
        ({"headers": {"X Title": "a"}}, "cannot be sent as a header"),
        ({"headers": {"X-Title:": "a"}}, "cannot be sent as a header"),
        ({"headers": {"X-Title": "é"}}, "cannot be sent as a header"),
        ({"temperature": True}, "must be a number"),
        ({"base_url": "ftp://x"}, "begins with http"),
        ({"base_url": "https://ann:pw@x/v1"}, "user name or password"),
        ({"max_tokens": 1.5}, "whole number"),
        ({"transcribe": "cloud"}, "one of local, remote"),
        ({"headers": {"Authorization": "Bearer x"}}, "looks like a key"),
        ({"headers": {"X-Api-Key": "x"}}, "looks like a key"),
        ({"headers": "x"}, "mapping"),
        ({"vision": "yes"}, "true or false"),
        ({"model": "a\nb"}, "must be text"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_options(options)
    assert caught.value.message.startswith("openai.")


def test_openais_own_models_get_no_temperature_unless_asked() -> None:
    assert read_options({}).temperature is None
    assert read_options({"base_url": "https://api.openai.com/v1/"}).temperature is None
    assert read_options({"temperature": 0.5}).temperature == 0.5
    assert read_options({"base_url": "http://localhost:1/v1"}).temperature == 0.2


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:11434/v1", True),
        ("http://127.0.0.1:8080/v1", True),
        ("http://192.168.1.5/v1", True),
        ("http://[::1]:80/v1", True),
        ("http://gpu-box:8000/v1", True),
        ("http://gpu.lan/v1", True),
        ("https://api.deepseek.com", False),
        ("https://8.8.8.8/v1", False),
    ],
)
def test_servers_near_by_cost_nothing(url: str, local: bool) -> None:
    options = read_options({"base_url": url, "model": "deepseek-flash"})
    assert options.is_local is local
    assert (describe(options, load_prices(), "deepseek-flash").price is None) is local


def test_limits_of_a_model_come_from_options_then_server_then_table_then_caution() -> None:
    table, plain = load_prices(), read_options({})
    given = read_options({"context_tokens": 4000, "max_tokens": 3000})
    assert describe(given, table, "gpt-4o", offered_context=9000).context_tokens == 4000
    assert describe(given, table, "gpt-4o").answer_tokens == 2000, "half must stay for the question"
    assert describe(plain, table, "gpt-4o", offered_context=9000).context_tokens == 9000
    assert describe(plain, table, "gpt-4o").context_tokens == 128_000
    assert describe(plain, table, "what").context_tokens == 8192
    assert describe(plain, table, "what").answer_tokens == 2048
    assert describe(plain, table, "gpt-4o").vision
    assert not describe(plain, table, "what").vision
    assert not describe(read_options({"max_images": 0}), table, "gpt-4o").vision


# --- estimates ---------------------------------------------------------------------------------


def test_estimate_grows_with_length_and_translation_and_is_free_near_by() -> None:
    engine = OpenAIEngine({"engine_options": {"model": "gpt-5.4-mini"}})
    lesson, chinese = load_template("comprehensive_lesson"), load_template("chinese_transcript")
    hour, three = engine.estimate(3600, lesson), engine.estimate(3 * 3600, lesson)
    assert 0.005 < hour.usd < 0.10
    assert hour.usd < three.usd < 4 * hour.usd
    assert hour.usd <= hour.usd_max
    assert engine.estimate(3600, chinese).usd > hour.usd
    assert engine.estimate(3600, chinese).requests > hour.requests == 1
    near = OpenAIEngine({"engine_options": {"base_url": "http://localhost:1/v1", "model": "m"}})
    assert (near.estimate(3600, lesson).usd, near.estimate(3600, lesson).usd_max) == (0, 0)
    assert near.estimate(3600, lesson).requests > 1, "a small context needs parts"
    assert OpenAIEngine({}).estimate(0.0, lesson).requests == 1


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail", "size"),
    [
        (Failure(400, "exceed_context_size_error", "x", body={"n_ctx": 2048}), 2048),
        (Failure(400, "", "This model's maximum context length is 8192 tokens. However"), 8192),
        (Failure(400, "context_length_exceeded", "too much"), None),
    ],
)
def test_servers_that_name_their_context_are_believed(fail: Failure, size: int | None) -> None:
    assert errors.is_too_long(fail)
    assert errors.context_of(fail) == size
    assert errors.classify(fail, "h", "m").data["context_tokens"] == size


@pytest.mark.parametrize(
    ("fail", "name"),
    [
        (Failure(400, "", "Unsupported parameter: 'max_tokens'", "max_tokens"), "max_tokens"),
        (Failure(400, "", "'temperature' does not support 0.2"), "temperature"),
        (Failure(422, "", "response_format: unknown type json_schema"), "response_format"),
        (Failure(400, "", "failed to parse grammar"), "response_format"),
        (Failure(400, "", "messages must not be empty"), ""),
        (Failure(500, "", "temperature too hot in the server room"), ""),
    ],
)
def test_parameter_that_is_refused_is_recognised(fail: Failure, name: str) -> None:
    assert errors.unwanted_parameter(fail) == name


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert errors.retry_after(headers) == seconds


@pytest.mark.parametrize(
    "words",
    [
        "Incorrect API key provided",
        "key management is not available here",
        "Bearer authentication is required",
        "a key-value store is needed",
        "the key_identifier is unknown",
    ],
)
def test_plain_words_of_servers_are_not_taken_for_keys(words: str) -> None:
    assert errors.shown(words) == words


@pytest.mark.parametrize(
    "key",
    [
        "sk-abcdefghijkl",
        "sk-proj-AbC*****xyz9",
        "AIzaSyA0123456789",
        "key-a1b2c3d4e5",
        "gsk_abcdefgh",
    ],
)
def test_keys_of_known_forms_are_blotted_out_of_texts_of_servers(key: str) -> None:
    assert errors.shown(f"Incorrect key: {key}.") == "Incorrect key: ****."
    assert errors.shown(f"Authorization: Bearer {key}1") == "Authorization: ****"


def test_texts_of_servers_are_shown_short_and_without_keys() -> None:
    text = errors.shown("bad key my-own-key and sk-abcdefghijkl123 \n" + "x" * 900, "my-own-key")
    assert text.startswith("bad key **** and **** xxx")
    assert len(text) == errors.MAX_SHOWN


# --- sound -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("One two. Three four five.", ["One two.", "Three four five."]),
        ("植物把阳光变成糖。这是光合作用。", ["植物把阳光变成糖。", "这是光合作用。"]),
        ("", []),
    ],
)
def test_text_without_times_is_spread_over_its_chunk(text: str, lines: list[str]) -> None:
    made = spread(text, 10.0, 20.0)
    assert [s.text for s in made] == lines
    if made:
        assert (made[0].start_s, made[-1].end_s) == (10.0, 20.0)
        assert made[0].end_s == made[1].start_s


def test_chunk_becomes_a_wav_file_of_exactly_its_samples(tmp_path: Any) -> None:
    import io
    import wave

    path = tmp_path / "a.pcm"
    path.write_bytes(bytes(range(200)))
    with wave.open(io.BytesIO(wav_bytes(str(path), 10, 40))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16_000, 1, 2)
        assert sound.readframes(100) == bytes(range(20, 80))
