"""The openai engine end to end: the real `openai` package against a loopback server.

Real: package, HTTP, journal, limiter, probe, subtitles. Pretended: the model.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gs_video_report.batch.limiter.models import BucketConfig
from gs_video_report.config_values import Secret
from gs_video_report.engines import registry
from gs_video_report.engines.openai.client import ChatClient
from gs_video_report.engines.openai.engine import OpenAIEngine
from gs_video_report.engines.openai.options import read_options
from gs_video_report.engines.openai.request import Request, usage_of
from gs_video_report.errors import (
    AuthenticationError,
    ConfigError,
    FatalError,
    LimitReached,
    PermanentError,
    RetryableError,
    StepCancelled,
)
from gs_video_report.report.model import Slide, VideoReport
from tests.fakes.openai import KEY, FakeOpenAI
from tests.support.llm import Bench, VirtualTime, sentences, write_lecture, write_wav
from tests.support.purse import MemoryPurse

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = await Bench.open(tmp_path, VirtualTime().limiter())
    yield made
    await made.close()


async def engine_for(url: str, key: str | None = KEY, **options: Any) -> OpenAIEngine:
    """Prepared; transcribe remote, so that no speech model is looked for."""
    more = {"base_url": url, "model": "fake-large", "transcribe": "remote", "context_tokens": 16000}
    made = registry.make("openai", {"engine_options": more | options}, key and Secret(key))
    assert isinstance(made, OpenAIEngine)
    await made.prepare(Bench)  # type: ignore[arg-type]
    return made


@pytest.fixture
def lecture(tmp_path: Path) -> Path:
    return write_lecture(tmp_path / "in", sentences(24))


async def report_of(
    bench: Bench, fake: FakeOpenAI, path: Path, template: str = "summary_report", **options: Any
) -> VideoReport:
    engine = await engine_for(fake.url, **options)
    return await engine.analyze(bench.context(path, template))


def codes(report: VideoReport) -> list[str]:
    return [notice.code for notice in report.notices]


# --- a whole report ----------------------------------------------------------------------------


async def test_report_holds_the_words_of_the_model_proved_against_the_transcript(
    fake: FakeOpenAI, bench: Bench, lecture: Path
) -> None:
    report = await report_of(bench, fake, lecture)
    assert len(report.segments) == 24
    assert report.summary[0].text.startswith("It is said that Plants turn light into sugar")
    assert [p.proved for p in report.summary] == [True] * len(report.summary)
    assert {s.key for s in report.sections} == {"purpose", "findings", "conclusions", "questions"}
    assert all(p.proved for s in report.sections for p in s.items)
    assert report.chapters[0].start_s == 0.0
    assert report.chapters[-1].end_s == report.media.duration_s
    assert report.provenance.engine == "openai"
    assert report.provenance.llm_model == "fake-large"
    assert "written_by_model" in codes(report)


async def test_usage_is_what_the_server_counted(
    fake: FakeOpenAI, bench: Bench, lecture: Path
) -> None:
    report = await report_of(bench, fake, lecture, price_in=2.0, price_out=10.0)
    (call,) = fake.chats()
    assert report.provenance.usage == {
        "requests": 1,
        "tokens_in": call.tokens_in,
        "tokens_out": call.tokens_out,
        "usd": round((call.tokens_in * 2 + call.tokens_out * 10) / 1e6, 6),
    }
    assert bench.limiter.snapshot().spent_usd == pytest.approx(report.provenance.usage["usd"])


async def test_second_run_pays_nothing_and_tells_the_same_totals(
    fake: FakeOpenAI, bench: Bench, lecture: Path
) -> None:
    first = await report_of(bench, fake, lecture, "chinese_transcript", price_in=1, price_out=1)
    sent = len(fake.of("chat"))
    again = await report_of(bench, fake, lecture, "chinese_transcript", price_in=1, price_out=1)
    assert len(fake.of("chat")) == sent
    assert again == first
    assert bench.steps is not None
    assert bench.steps.ran == 0


async def test_a_renamed_file_is_not_paid_for_again(
    fake: FakeOpenAI, bench: Bench, tmp_path: Path
) -> None:
    first = await report_of(
        bench, fake, write_lecture(tmp_path / "a", sentences(24)), "chinese_transcript"
    )
    sent = len(fake.of("chat"))
    renamed = write_lecture(tmp_path / "b", sentences(24), "第七讲 Roots and a much longer name")
    again = await report_of(bench, fake, renamed, "chinese_transcript")
    assert len(fake.of("chat")) == sent
    assert again.media.title == "第七讲 Roots and a much longer name"
    assert again.summary == first.summary


async def test_reply_is_in_the_journal_before_it_is_read(
    fake: FakeOpenAI, bench: Bench, lecture: Path
) -> None:
    fake.fail("prose", "prose")
    with pytest.raises(PermanentError, match="twice"):
        await report_of(bench, fake, lecture)
    rows = await bench.db.read("SELECT value FROM steps WHERE name = 'compose'", ())
    assert [json.loads(r["value"])["text"] for r in rows] == ["The video is about many things."] * 2


async def test_every_line_is_translated_once(
    fake: FakeOpenAI, bench: Bench, tmp_path: Path
) -> None:
    path = write_lecture(tmp_path / "in", sentences(150))
    report = await report_of(bench, fake, path, "chinese_transcript")
    assert [s.translation for s in report.segments] == [f"译：{s.text}" for s in report.segments]
    asked = [c for c in fake.chats() if "<lines>" in c.text]
    assert len(asked) >= 3
    assert "translated" in codes(report)


async def test_lines_the_model_skipped_are_asked_for_again(bench: Bench, lecture: Path) -> None:
    """A model that leaves out every third line of a first answer loses none in the end."""
    from tests.fakes.openai_bodies import answer_to

    def forgetful(body: dict[str, Any]) -> str:
        answer = answer_to(body["messages"], None)
        if len(answer.get("lines", ())) > 10:
            answer["lines"] = [line for line in answer["lines"] if line["n"] % 3]
            answer["lines"].append({"n": 1, "text": "a double"})
        return json.dumps(answer)

    with FakeOpenAI(writes=forgetful) as fake:
        report = await report_of(bench, fake, lecture, "chinese_transcript")
    assert [s.translation for s in report.segments] == [f"译：{s.text}" for s in report.segments]


async def test_line_that_never_comes_back_is_told(bench: Bench, lecture: Path) -> None:
    from tests.fakes.openai_bodies import answer_to

    def stubborn(body: dict[str, Any]) -> str:
        answer = answer_to(body["messages"], None)
        answer["lines"] = [line for line in answer.get("lines", ()) if line["n"] != 5]
        return json.dumps(answer)

    with FakeOpenAI(writes=stubborn) as fake:
        report = await report_of(bench, fake, lecture, "chinese_transcript")
    assert [n for n, s in enumerate(report.segments, 1) if s.translation is None] == [5]
    (notice,) = [n for n in report.notices if n.code == "not_translated"]
    assert notice.message == "1 of 24 lines were not translated into Simplified Chinese."


async def test_speech_in_the_language_of_the_template_is_not_translated(
    fake: FakeOpenAI, bench: Bench, tmp_path: Path
) -> None:
    lines = [(n * 4.0, n * 4.0 + 3, f"植物把阳光变成糖，这是第{n}句话。") for n in range(12)]
    path = write_lecture(tmp_path / "in", lines)
    report = await report_of(bench, fake, path, "chinese_transcript")
    assert report.language == "zh"
    assert all(s.translation is None for s in report.segments)
    assert len(fake.chats()) == 1
    assert all(p.proved for p in report.summary)


async def test_long_recording_goes_in_parts_and_is_thinned_out_by_number(
    fake: FakeOpenAI, bench: Bench, tmp_path: Path
) -> None:
    path = write_lecture(tmp_path / "in", sentences(400))
    report = await report_of(bench, fake, path, context_tokens=5000, max_output_tokens=1000)
    asked = [c for c in fake.chats() if "<transcript>" in c.text]
    assert len(asked) >= 4
    seen = "\n".join(c.text.split("(this part)")[-1] for c in asked)
    assert all(seen.count(s.text) == 1 for s in report.segments)
    assert len([c for c in fake.chats() if "<list key=" in c.text]) == 1
    assert len(report.summary) == -(-4 * len(asked) // 2)
    assert all(p.proved for p in report.summary)
    starts = [c.start_s for c in report.chapters]
    assert starts == sorted(starts)
    assert f"in {len(asked)} parts" in "".join(n.message for n in report.notices)


async def test_silent_recording_needs_no_request(
    fake: FakeOpenAI, bench: Bench, tmp_path: Path
) -> None:
    write_wav(tmp_path / "silence.wav", 3.0, 16_000)
    report = await report_of(bench, fake, tmp_path / "silence.wav")
    assert fake.of("chat") == []
    assert report.provenance.usage["requests"] == 0
    assert "nothing_to_write" in codes(report)


# --- answers that are not as they should be ----------------------------------------------------


@pytest.mark.parametrize("fault", ["fenced", "chatty"])
async def test_wrapped_answers_are_read(
    fake: FakeOpenAI, bench: Bench, lecture: Path, fault: str
) -> None:
    fake.fail(fault)
    report = await report_of(bench, fake, lecture)
    assert len(fake.chats()) == 1
    assert len(report.summary) == 4


@pytest.mark.parametrize("fault", ["prose", "blank"])
async def test_unreadable_answer_is_asked_for_once_more(
    fake: FakeOpenAI, bench: Bench, lecture: Path, fault: str
) -> None:
    fake.fail(fault)
    report = await report_of(bench, fake, lecture)
    assert len(report.summary) == 4
    assert report.provenance.usage["requests"] == 2


async def test_truncated_answer_is_continued_without_doubles(
    fake: FakeOpenAI, bench: Bench, lecture: Path
) -> None:
    fake.fail("length")
    report = await report_of(bench, fake, lecture)
    assert len(fake.chats()) == 2
    assert "Your answer was cut off" in fake.chats()[1].text
    texts = [p.text for p in report.summary]
    assert len(texts) == len(set(texts)) == 4
    assert {s.key for s in report.sections} == {"purpose", "findings", "conclusions", "questions"}
    assert "answer_cut" not in codes(report)


async def test_answer_that_stays_cut_is_told(fake: FakeOpenAI, bench: Bench, lecture: Path) -> None:
    fake.fail("length", "length", "length", "length", "length")
    report = await report_of(bench, fake, lecture)
    assert report.summary
    assert "answer_cut" in codes(report)


async def test_statements_nobody_made_are_marked(bench: Bench, lecture: Path) -> None:
    point = {"text": "The moon is cheese", "at": "0:00:05", "quote": "the moon is made of cheese"}
    late = [{"title": "Later", "start": "9:00:00"}, {"title": "", "start": "0:00:00"}]
    value = {"summary": [point], "chapters": late, "key_terms": ["light"], "sections": []}
    with FakeOpenAI(writes=lambda _: json.dumps(value)) as fake:
        report = await report_of(bench, fake, lecture)
    assert [p.proved for p in report.summary] == [False]
    (notice,) = [n for n in report.notices if n.code == "unproved"]
    assert notice.severity == "warning"
    assert report.chapters, "chapters of the model that cannot be used come from the words"
    messages = {n.code: n.message for n in report.notices}
    assert messages["not_written"].startswith("fake-large gave no usable chapters; ")
    who = messages["written_by_model"]
    assert who.endswith("from the transcript: summary, key terms."), "there are no slides"


@pytest.mark.parametrize("fault", ["blocked", "refusal", "filter", "dashscope_filter"])
async def test_blocked_content_fails_the_task_in_plain_words(
    fake: FakeOpenAI, bench: Bench, lecture: Path, fault: str
) -> None:
    fake.fail(fault)
    with pytest.raises(PermanentError, match=r"content filter .* blocked"):
        await report_of(bench, fake, lecture)
    assert len(fake.of("chat")) == 1


async def test_task_that_is_run_again_asks_anew_after_unreadable_answers(
    fake: FakeOpenAI, bench: Bench, lecture: Path
) -> None:
    """A bad minute of the server stood in the journal for good: `batch retry` asked nothing."""
    fake.fail("prose", "blank")
    with pytest.raises(PermanentError, match="twice"):
        await report_of(bench, fake, lecture)
    fake.fail("prose")
    with pytest.raises(PermanentError, match="3 times"):
        await report_of(bench, fake, lecture)
    assert len(fake.of("chat")) == 3, "one more per run"
    report = await report_of(bench, fake, lecture)
    assert report.summary[0].text.startswith("It is said that")
    assert report.provenance.usage["requests"] == 4, "what was paid for in vain counts as well"
    sent = len(fake.of("chat"))
    assert await report_of(bench, fake, lecture) == report
    assert len(fake.of("chat")) == sent


@pytest.mark.parametrize("fault", ["blocked", "refusal"])
async def test_blocked_answer_is_asked_for_again_when_the_task_is_run_again(
    fake: FakeOpenAI, bench: Bench, lecture: Path, fault: str
) -> None:
    fake.fail(fault)
    with pytest.raises(PermanentError, match="blocked"):
        await report_of(bench, fake, lecture)
    report = await report_of(bench, fake, lecture)
    assert report.summary
    assert len(fake.of("chat")) == 2


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "response_format"])
async def test_refusals_of_a_parameter_that_come_together_fail_no_request(name: str) -> None:
    """Of four first requests in flight three failed for good: the first had changed the dialect."""
    with FakeOpenAI(refuses=frozenset({name}), delay_s=0.2) as fake:
        client = ChatClient(read_options({"base_url": fake.url, "model": "m"}), Secret(KEY))
        asked = Request("fake-large", "s", (("user", "hello"),), 100, {"type": "object"})
        replies = await asyncio.gather(*(client.chat(asked, None, None) for _ in range(4)))
    assert [bool(r["text"]) for r in replies] == [True] * 4


@pytest.mark.parametrize("choices", [[None], {"a": 1}, ["hello"]])
async def test_answer_of_an_odd_shape_is_tried_again(choices: Any) -> None:
    completion = SimpleNamespace(choices=choices)
    client = ChatClient(read_options({"base_url": "http://127.0.0.1:9/v1"}), None)
    with pytest.raises(RetryableError, match="did not answer as"):
        client._answer(completion, Request("m", "", (("user", "x"),), 10), None, None)


def test_counts_that_cannot_be_true_are_estimated() -> None:
    """A negative one gave quota back; one beyond 64 bits ended the program."""
    asked = Request("m", "", (("user", "four words of text"),), 10)
    for odd in (-5, 10**30, True):
        told = SimpleNamespace(usage=SimpleNamespace(prompt_tokens=odd, completion_tokens=odd))
        usage = usage_of(told, asked, "abc", None, None)
        assert usage["tokens_in"] == asked.tokens_in
        assert 0 < usage["tokens_out"] < 100


async def test_key_that_a_server_repeats_is_not_in_the_chain_of_errors(fake: FakeOpenAI) -> None:
    key = "a-key/without+a-known=form"
    with pytest.raises(AuthenticationError) as caught:
        await engine_for(fake.url, key)
    assert key not in "".join(traceback.format_exception(caught.value))


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("bad_key", AuthenticationError, "refused the key"),
        ("llama_bad_key", AuthenticationError, "refused the key"),
        ("gemini_bad_key", AuthenticationError, "refused the key"),
        ("forbidden", FatalError, "does not serve the country"),
        ("moderation", PermanentError, "content filter of .* blocked this recording"),
        ("no_access", AuthenticationError, "refused the key .HTTP 403."),
        ("no_credit", LimitReached, "no credit left"),
        ("quota_spent", LimitReached, "no credit left"),
        ("no_model", FatalError, "does not know the model"),
        ("ollama_missing", FatalError, "does not know the model"),
        ("page_404", FatalError, "does not know the model"),
        ("server", RetryableError, "HTTP 500: The server had an error"),
        ("overloaded", RetryableError, "HTTP 503"),
        ("page_502", RetryableError, "HTTP 502"),
        ("page_200", RetryableError, "did not answer as an OpenAI-compatible server"),
        ("empty_200", RetryableError, "no answer from http"),
        ("no_choices", RetryableError, "did not answer as an OpenAI-compatible server"),
        ("error_200", RetryableError, "did not answer as an OpenAI-compatible server"),
        ("cut", RetryableError, "no answer from http://127.0.0.1"),
        ("half", RetryableError, "no answer from http://127.0.0.1"),
        ("unprocessable", PermanentError, "HTTP 422"),
    ],
)
async def test_each_error_says_what_the_batch_should_do(
    fake: FakeOpenAI, bench: Bench, lecture: Path, fault: str, kind: type[Exception], words: str
) -> None:
    fake.fail(fault)
    with pytest.raises(kind, match=words) as caught:
        await report_of(bench, fake, lecture)
    assert type(caught.value).__mro__.index(kind) <= 1
    assert len(fake.of("chat")) == 1, "the package itself must not try again"
    rows = await bench.db.read("SELECT count(*) AS n FROM steps WHERE name = 'compose'", ())
    assert rows[0]["n"] == 0
    report = await report_of(bench, fake, lecture)
    assert len(report.summary) == 4


async def test_slow_answer_ends_at_the_timeout(
    fake: FakeOpenAI, bench: Bench, lecture: Path
) -> None:
    fake.fail("slow")
    engine = await engine_for(fake.url, timeout_s=1)
    with pytest.raises(RetryableError, match="did not answer within 1 seconds"):
        await engine.analyze(bench.context(lecture))


async def test_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(RetryableError, match=f"no answer from http://127.0.0.1:{port}/v1"):
        await engine_for(f"http://127.0.0.1:{port}/v1")


async def test_refusals_for_rate_slow_down_and_cost_no_try(
    fake: FakeOpenAI, tmp_path: Path, lecture: Path
) -> None:
    time = VirtualTime()
    bench = await Bench.open(tmp_path, time.limiter())
    fake.fail("rate", "rate_absurd", "rate")
    report = await report_of(bench, fake, lecture)
    await bench.close()
    assert len(report.summary) == 4
    assert [round(s) for s in time.slept] == [1, 120, 1]
    assert report.provenance.usage["requests"] == 1


async def test_server_that_never_stops_refusing_gives_the_task_back(
    fake: FakeOpenAI, bench: Bench, lecture: Path
) -> None:
    fake.fail(*["rate"] * 20)
    with pytest.raises(RetryableError, match="asks to slow down") as caught:
        await report_of(bench, fake, lecture)
    assert caught.value.retry_after_s == 1.0
    assert len(fake.of("chat")) == 8


async def test_cost_limit_holds_before_the_request_is_sent(
    fake: FakeOpenAI, tmp_path: Path, lecture: Path
) -> None:
    money = MemoryPurse(0.01)
    bench = await Bench.open(tmp_path, VirtualTime().limiter(ledger=money, purse=money))
    with pytest.raises(LimitReached, match="cost limit"):
        await report_of(bench, fake, lecture, price_in=5.0, price_out=50.0)
    await bench.close()
    assert fake.of("chat") == []


async def test_stop_ends_the_waiting_for_quota_at_once(
    fake: FakeOpenAI, tmp_path: Path, lecture: Path
) -> None:
    engine = await engine_for(fake.url)
    from gs_video_report.batch.api_limiter import ApiLimiter

    limiter = ApiLimiter({engine.bucket: BucketConfig(requests_per_minute=0.01)})
    bench = await Bench.open(tmp_path, limiter)
    async with limiter.reserve(engine.bucket):
        pass
    work = asyncio.ensure_future(engine.analyze(bench.context(lecture)))
    while not any(b.waiting for b in limiter.snapshot().buckets):
        await asyncio.sleep(0)
    bench.stopping.set()
    with pytest.raises(StepCancelled, match="waiting for quota"):
        await work
    await bench.close()
    assert fake.of("chat") == []
    assert all(b.waiting == b.in_flight == 0 for b in limiter.snapshot().buckets)


# --- servers differ ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refuses",
    [
        {"json_schema"},
        {"response_format"},
        {"temperature"},
        {"max_tokens"},
        {"json_schema", "json_object", "temperature", "max_tokens"},
    ],
)
async def test_parameters_the_server_refuses_are_left_out_from_then_on(
    bench: Bench, lecture: Path, tmp_path: Path, refuses: set[str]
) -> None:
    other = write_lecture(tmp_path / "in", sentences(10), "other")
    with FakeOpenAI(refuses=frozenset(refuses)) as fake:
        engine = await engine_for(fake.url)
        await engine.analyze(bench.context(lecture))
        learning = len(fake.of("chat")) - 1
        await engine.analyze(bench.context(other))
    assert 1 <= learning <= len(refuses) + 1
    assert len(fake.of("chat")) == learning + 2
    assert len(fake.chats()) == 2


async def test_context_that_is_smaller_than_thought_is_learned(
    bench: Bench, tmp_path: Path
) -> None:
    path = write_lecture(tmp_path / "in", sentences(200))
    with FakeOpenAI(context=4000, key=None) as fake:
        engine = await engine_for(fake.url, key=None, context_tokens=30_000)
        report = await engine.analyze(bench.context(path))
    assert engine.model.context_tokens == 4000
    assert len(report.segments) == 200
    assert all(p.proved for p in report.summary)


async def test_server_that_does_not_count_gets_an_estimate(bench: Bench, lecture: Path) -> None:
    with FakeOpenAI(counts=False) as fake:
        report = await report_of(bench, fake, lecture)
    (call,) = fake.chats()
    assert report.provenance.usage["tokens_in"] >= call.tokens_in * 0.8


async def test_only_model_of_a_server_is_taken(bench: Bench, lecture: Path) -> None:
    with FakeOpenAI(model_names=["qwen"], context=9000, tells_context=True, key=None) as fake:
        engine = await engine_for(fake.url, None, model="", context_tokens=None)
        report = await engine.analyze(bench.context(lecture))
    assert report.provenance.llm_model == "qwen"
    assert engine.model.context_tokens == 9000


async def test_model_that_is_not_offered_is_refused_before_the_start(fake: FakeOpenAI) -> None:
    with pytest.raises(ConfigError, match="does not offer the model 'nope'") as caught:
        await engine_for(fake.url, model="nope")
    assert "fake-large, fake-small" in caught.value.hint


async def test_server_without_a_list_of_models_works(bench: Bench, lecture: Path) -> None:
    with FakeOpenAI(has_models=False) as fake:
        report = await report_of(bench, fake, lecture)
    assert len(report.summary) == 4


async def test_wrong_key_is_found_before_the_start(fake: FakeOpenAI) -> None:
    with pytest.raises(AuthenticationError):
        await engine_for(fake.url, "sk-wrong-key-000000000000")


async def test_openai_itself_needs_a_key() -> None:
    with pytest.raises(AuthenticationError, match="needs a key"):
        await engine_for("https://api.openai.com/v1", None)


async def test_cost_limit_with_an_unknown_price_is_refused(
    fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gs_video_report.engines.openai import options as openai_options

    monkeypatch.setattr(openai_options, "_is_private", lambda host: False)
    options = {"base_url": fake.url, "model": "fake-large", "transcribe": "remote"}
    engine = OpenAIEngine({"engine_options": options, "cost_limit_usd": 1.0}, Secret(KEY))
    with pytest.raises(ConfigError, match="price of fake-large is not known"):
        await engine.prepare(Bench)  # type: ignore[arg-type]


# --- pictures and sound ------------------------------------------------------------------------


async def test_seeing_model_gets_key_frames_within_bounds(
    fake: FakeOpenAI, bench: Bench, lecture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gs_video_report.engines.openai import engine as openai_engine

    files = []
    for n in range(10):
        path = bench.folder / f"{n}.jpg"
        path.write_bytes(b"\xff\xd8" + bytes([n]) * 50 + b"\xff\xd9")
        files.append(bench.cache.put_file(path, ".jpg"))
    made = tuple(
        Slide(n * 10.0, n * 10.0 + 10, "", 2, 2, text=f"Slide {n}", image_sha256=key)
        for n, key in enumerate(files)
    )

    async def slides(*_: Any) -> Any:
        return made, []

    monkeypatch.setattr(openai_engine, "slides_of", slides)
    report = await report_of(bench, fake, lecture, vision=True, max_images=4)
    (call,) = fake.chats()
    assert len(call.images) == 4
    assert all(url.startswith("data:image/jpeg;base64,/9g") for url in call.images)
    assert "[0:00:10] Slide 1" in call.text
    assert "4 pictures" in "".join(n.message for n in report.notices)


async def test_blind_model_gets_no_pictures(fake: FakeOpenAI, bench: Bench, lecture: Path) -> None:
    await report_of(bench, fake, lecture)
    assert fake.chats()[0].images == []


async def test_speech_can_be_heard_by_the_server(
    fake: FakeOpenAI, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gs_video_report.engines.openai import audio as openai_audio

    write_wav(tmp_path / "talk.wav", 20.0, 16_000)

    async def plan(*_: Any) -> tuple[list[tuple[int, int]], tuple[tuple[float, float], ...]]:
        return [(16_000, 80_000), (96_000, 240_000)], ((1.0, 5.0), (6.0, 15.0))

    monkeypatch.setattr(openai_audio, "plan_chunks", plan)
    report = await report_of(bench, fake, tmp_path / "talk.wav", transcribe_model="gpt-transcribe")
    assert [c.file_bytes for c in sorted(fake.of("hear"), key=lambda c: c.file_bytes)] == [
        128_044,
        288_044,
    ]
    assert [s.text for s in report.segments][:2] == [
        "Chunk of 128044 bytes.",
        "It lasts 4.0 seconds.",
    ]
    assert report.segments[0].start_s == 1.0
    assert report.segments[1].end_s == 5.0
    assert report.segments[-1].end_s == 15.0
    assert report.provenance.asr_model == "gpt-transcribe"
    assert report.provenance.usage["requests"] == 3
    await report_of(bench, fake, tmp_path / "talk.wav", transcribe_model="gpt-transcribe")
    assert len(fake.of("hear")) == 2


# --- secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["ok", "bad_key", "server", "cut", "filter"])
async def test_key_appears_nowhere(
    fake: FakeOpenAI, bench: Bench, lecture: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    fake.fail(fault)
    engine = await engine_for(fake.url)
    seen = [repr(engine), str(vars(engine)), engine.bucket]
    try:
        seen.append(json.dumps((await engine.analyze(bench.context(lecture))).to_dict()))
    except Exception as error:  # every error there is
        while error is not None:
            seen += [str(error), repr(error), str(getattr(error, "to_dict", dict)())]
            error = error.__cause__ if hasattr(error, "to_dict") else None  # type: ignore[assignment]
    await bench.db.close()
    seen.append(caplog.text)
    for file in bench.folder.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file
    assert not [text for text in seen if KEY in text]
    assert all(c.headers["authorization"] == f"Bearer {KEY}" for c in fake.log)


# --- several keys --------------------------------------------------------------------------------


async def two_keys(url: str) -> OpenAIEngine:
    options = {"base_url": url, "model": "fake-large", "transcribe": "remote"}
    keys = [Secret("sk-first-key-0123456789"), Secret("sk-other-key-0123456789")]
    made = registry.make("openai", {"engine_options": options}, keys)
    assert isinstance(made, OpenAIEngine)
    await made.prepare(Bench)  # type: ignore[arg-type]
    return made


async def test_another_key_goes_on_where_a_spent_one_stopped(tmp_path: Path, lecture: Path) -> None:
    with FakeOpenAI(key=None) as fake:
        engine = await two_keys(fake.url)
        assert len(set(engine.buckets)) == 2
        bench = await Bench.open(tmp_path / "db")
        fake.fail("quota_spent")
        report = await engine.analyze(bench.context(lecture))
        await bench.close()
    used = [call.headers["authorization"] for call in fake.of("chat")]
    assert len(used) == len(set(used)) == 2
    assert report.summary


async def test_all_keys_spent_pauses_the_batch(tmp_path: Path, lecture: Path) -> None:
    with FakeOpenAI(key=None) as fake:
        engine = await two_keys(fake.url)
        bench = await Bench.open(tmp_path / "db")
        fake.fail("quota_spent", "no_credit")
        with pytest.raises(LimitReached, match="no credit left"):
            await engine.analyze(bench.context(lecture))
        await bench.close()
    assert len({call.headers["authorization"] for call in fake.of("chat")}) == 2


async def test_a_redirect_to_another_server_gets_neither_key_nor_transcript() -> None:
    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(307)
            self.send_header("Location", fake.url + "/models")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with FakeOpenAI() as fake, ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        made = registry.make("openai", {"engine_options": {"base_url": url}}, [Secret(KEY)])
        try:
            with pytest.raises(FatalError, match="redirects to another server"):
                await made.prepare(Bench)  # type: ignore[arg-type]
        finally:
            server.shutdown()
    assert fake.log == []


@pytest.mark.parametrize(
    ("told", "limits"),
    [
        ({"requests": "500", "tokens": "30000"}, {"requests": 500.0, "tokens": 30000.0}),
        ({"requests": "0", "tokens": "-1"}, {}),
        ({"requests": "9" * 400, "tokens": "<b>"}, {}),
    ],
)
async def test_quotas_in_the_headers_of_answers_are_learned(
    bench: Bench, fake: FakeOpenAI, lecture: Path, told: dict[str, str], limits: dict[str, float]
) -> None:
    names = {f"x-ratelimit-limit-{what}": value for what, value in told.items()}
    fake.behaviour.headers = {**names, "x-ratelimit-reset-requests": "12ms"}
    engine = await engine_for(fake.url)
    await engine.analyze(bench.context(lecture))
    learned = bench.limiter._bucket(engine.buckets[0]).learned()
    assert {name: one["limit"] for name, one in learned.items()} == limits
    assert KEY not in str(bench.limiter.snapshot())
