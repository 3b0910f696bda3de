"""The gemini engine with the real SDK against a server that speaks the documented protocol."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gs_video_report.batch.api_limiter import ApiLimiter
from gs_video_report.batch.limiter.models import BucketConfig
from gs_video_report.batch.queue.spending import Spending
from gs_video_report.batch.run.leftovers import take_away
from gs_video_report.batch.run.limits import SharedPurse, UsageLedger, spent_keys
from gs_video_report.batch.task_queue import TaskQueue
from gs_video_report.engines.base import MediaSource
from gs_video_report.engines.gemini import half_price as gemini_batch
from gs_video_report.engines.gemini.errors import next_reset
from gs_video_report.errors import (
    AnswerUnusable,
    AuthenticationError,
    ContentBlocked,
    CorruptMediaError,
    DownloadRefused,
    FatalError,
    GsvrError,
    LimitReached,
    PermanentError,
    RetryableError,
    StepCancelled,
    Unreachable,
)
from gs_video_report.report.model import VideoReport
from tests.fakes.gemini import KEY, FakeGemini
from tests.fakes.gemini_bodies import line_text, lines_between
from tests.support.gemini import Bench, Recording, VirtualTime, bench, recording
from tests.support.purse import MemoryPurse
from tests.support.queue import BATCH

pytest.importorskip("google.genai")
SECOND_KEY = "another-fake-key-9876543210"
LONG_S = 3000.0
"""Three stretches of at most twenty minutes."""


@pytest.fixture
def fake() -> Iterator[FakeGemini]:
    with FakeGemini(keys=(KEY, SECOND_KEY)) as server:
        yield server


@pytest.fixture
async def on(tmp_path: Path, fake: FakeGemini) -> AsyncIterator[Bench]:
    async with bench(tmp_path / "db", fake.url) as made:
        yield made


def reopen(on: Bench, **more: Any) -> AbstractAsyncContextManager[Bench]:
    """A later process on the same database."""
    return bench(on.folder, on.url, **more)


def spoken(talk: Recording) -> list[str]:
    """Every line of the recording, as the fake service hears it."""
    return [line_text(talk.voice, n) for n in lines_between(0, talk.duration_s)]


def texts(report: VideoReport) -> list[str]:
    return [s.text for s in report.segments]


# --- the straight way --------------------------------------------------------------------------


async def test_a_short_recording_takes_one_upload_and_one_answer(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    talk = recording(tmp_path)
    report = await on.analyze(talk)
    assert texts(report) == spoken(talk)
    assert [fake.count(op, ok=True) for op in ("start", "chunk", "generate", "delete")] == [1] * 4
    assert fake.files == {}
    assert report.language == "en"
    assert report.provenance.llm_model == "gemini-3.8-flash"
    assert [s.key for s in report.sections] == [s.key for s in on_template(on).sections]


def on_template(on: Bench) -> Any:
    from gs_video_report.templates.loader import load_template

    return load_template("summary_report")


async def test_every_statement_is_checked_against_what_was_said(on: Bench, tmp_path: Path) -> None:
    report = await on.analyze(recording(tmp_path))
    assert [p.proved for p in report.summary] == [True, False]
    unproved = [n for n in report.notices if n.code == "unproved"]
    assert unproved[0].message.startswith("1 of ")


async def test_a_long_recording_is_asked_for_in_stretches_and_no_line_is_lost_or_doubled(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    talk = recording(tmp_path, LONG_S)
    report = await on.analyze(talk)
    asked = sorted((r.start_s, r.end_s) for r in fake.requests("generate"))
    assert len(asked) == 3
    assert asked[0][1] > asked[1][0], "stretches overlap, so that no sentence is cut by both"
    assert texts(report) == spoken(talk)
    assert [c.start_s for c in report.chapters] == sorted(c.start_s for c in report.chapters)
    assert fake.count("start") == 1


async def test_the_report_says_what_the_service_charged(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    report = await on.analyze(recording(tmp_path, LONG_S))
    usage = report.provenance.usage
    asked = fake.requests("generate")
    assert usage["usd"] == pytest.approx(fake.spent_usd)
    assert usage["requests"] == len(asked)
    assert usage["tokens_in"] == sum(r.tokens_in for r in asked)
    assert usage["tokens_out"] == sum(r.tokens_out for r in asked)


async def test_an_answer_that_does_not_tell_what_it_took_is_not_counted_as_free(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", "no_usage")
    usage = (await on.analyze(recording(tmp_path))).provenance.usage
    assert usage["usd"] > fake.spent_usd > 0


async def test_an_error_of_the_model_is_not_told_as_one_of_the_upload(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", "overloaded")
    with pytest.raises(RetryableError):
        await on.analyze(recording(tmp_path))
    assert on.stages[-1] == ("transcribe", 0, 1)


async def test_an_answered_task_asks_for_nothing_again_and_reports_the_same_totals(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    talk = recording(tmp_path, LONG_S)
    first = await on.analyze(talk)
    before = len(fake.log)
    async with reopen(on) as later:
        assert await later.analyze(talk) == first
    assert len(fake.log) == before


async def test_translations_go_beside_the_spoken_words(on: Bench, tmp_path: Path) -> None:
    talk = recording(tmp_path)
    report = await on.analyze(talk, template="chinese_transcript")
    assert [s.translation for s in report.segments] == [f"译：{t}" for t in spoken(talk)]


async def test_names_outside_of_ascii_are_uploaded_as_they_are(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    report = await on.analyze(recording(tmp_path, name="講義/第一講 “入門”.mkv"))
    sent = fake.requests("start")[0].body["file"]
    assert sent["display_name"] == "第一講 “入門”.mkv"
    assert sent["mime_type"] == "video/x-matroska"
    assert report.segments


async def test_options_reach_the_service(tmp_path: Path, fake: FakeGemini) -> None:
    options = {"fps": 0.5, "media_resolution": "low", "temperature": 0.2, "thinking": "low",
               "max_output_tokens": 9000, "model": "gemini-3.5-flash-lite"}  # fmt: skip
    async with bench(tmp_path / "db", fake.url, **options) as on:
        await on.analyze(recording(tmp_path))
    sent = fake.requests("generate")[0]
    config = sent.body["generationConfig"]
    assert sent.model == "gemini-3.5-flash-lite"
    assert config["temperature"] == 0.2
    assert config["maxOutputTokens"] == 9000
    assert config["mediaResolution"] == "MEDIA_RESOLUTION_LOW"
    assert config["thinkingConfig"] == {"thinking_level": "LOW"}
    assert sent.body["contents"][0]["parts"][0]["videoMetadata"] == {"fps": 0.5}
    assert config["responseJsonSchema"]["properties"]["summary"]["type"] == "array"
    assert sent.body["systemInstruction"]["parts"][0]["text"]


async def test_a_public_youtube_video_is_handed_over_as_it_is(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    context = on.context(recording(tmp_path))
    url = "https://www.youtube.com/watch?v=abc123"
    context.media = MediaSource(url, "youtube", "a talk", {"duration_s": "60"})
    report = await on.engine.analyze(context)
    assert texts(report) == [line_text("abc123", n) for n in range(6)]
    assert fake.count("start") == 0
    part = fake.requests("generate")[0].body["contents"][0]["parts"][0]
    assert part["fileData"] == {"file_uri": url}


async def test_the_length_of_a_youtube_video_is_asked_of_the_service_when_nobody_knows_it(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.duration_s = LONG_S
    context = on.context(recording(tmp_path))
    context.media = MediaSource("https://youtu.be/abc123", "youtube", "a talk")
    report = await on.engine.analyze(context)
    assert fake.count("count") == 1
    assert fake.count("generate") == 3
    assert set(texts(report)) >= {line_text("abc123", n) for n in lines_between(0, LONG_S)}


@pytest.mark.parametrize("known", [{"duration_s": "60"}, {}])
async def test_a_youtube_video_that_is_not_public_stops_nobody_else(
    on: Bench, fake: FakeGemini, tmp_path: Path, known: dict[str, str]
) -> None:
    fake.fail("generate" if known else "count", "forbidden")
    context = on.context(recording(tmp_path))
    context.media = MediaSource("https://youtu.be/abc123", "youtube", "a talk", known)
    with pytest.raises(DownloadRefused, match="may not see this video"):
        await on.engine.analyze(context)


async def test_a_key_that_may_not_do_anything_is_no_fault_of_a_youtube_video(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", "disabled")
    context = on.context(recording(tmp_path))
    context.media = MediaSource("https://youtu.be/abc123", "youtube", "a talk", {"duration_s": "9"})
    with pytest.raises(AuthenticationError, match="does not allow"):
        await on.engine.analyze(context)


# --- uploads -----------------------------------------------------------------------------------

BIG = 20 * 1024 * 1024
"""Three chunks."""


async def test_a_cut_upload_goes_on_from_the_last_byte_received(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("chunk", "ok", "cut")
    talk = recording(tmp_path, size=BIG)
    assert texts(await on.analyze(talk)) == spoken(talk)
    assert fake.count("start") == 1
    assert fake.count("query") == 1
    resumed = fake.requests("chunk")[2]
    assert resumed.size_bytes < BIG - 8 * 1024 * 1024


async def test_a_part_that_was_not_confirmed_is_asked_about(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("chunk", "no_status", "no_status")
    talk = recording(tmp_path, size=BIG)
    assert texts(await on.analyze(talk)) == spoken(talk)
    assert sum(r.size_bytes for r in fake.requests("chunk")) == BIG


async def test_an_upload_that_failed_again_and_again_goes_on_in_the_next_attempt(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("chunk", "ok", "cut")
    fake.fail("query", "cut")
    talk = recording(tmp_path, size=BIG)
    with pytest.raises(RetryableError, match="the connection was cut"):
        await on.analyze(talk)
    async with reopen(on) as later:
        assert texts(await later.analyze(talk)) == spoken(talk)
    assert fake.count("start") == 1


async def test_a_service_that_is_busy_when_asked_for_an_upload_has_not_lost_it(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("chunk", "ok", "cut")
    fake.fail("query", "overloaded", "overloaded")
    talk = recording(tmp_path, size=BIG)
    for _ in range(2):
        with pytest.raises(RetryableError):
            await on.analyze(talk)
    assert texts(await on.analyze(talk)) == spoken(talk)
    assert fake.count("start") == 1
    assert fake.count("query") == 3


async def test_an_upload_whose_last_answer_was_lost_is_found_and_not_repeated(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("chunk", "cut_after")
    talk = recording(tmp_path)
    assert texts(await on.analyze(talk)) == spoken(talk)
    assert fake.count("start") == 1


async def test_an_interrupted_task_finds_its_upload_again(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", "overloaded")
    talk = recording(tmp_path)
    with pytest.raises(RetryableError):
        await on.analyze(talk)
    assert len(fake.files) == 1, "it is kept for the next attempt"
    async with reopen(on) as later:
        assert texts(await later.analyze(talk)) == spoken(talk)
        assert later.engine.uploads.counts.reused == 1
    assert fake.count("start") == 1
    assert fake.files == {}


async def test_an_expired_upload_is_made_again(on: Bench, fake: FakeGemini, tmp_path: Path) -> None:
    fake.fail("generate", "overloaded")
    talk = recording(tmp_path)
    with pytest.raises(RetryableError):
        await on.analyze(talk)
    in_two_days = datetime.now(UTC) + timedelta(hours=48)
    fake.files.clear()
    async with reopen(on, now=lambda: in_two_days) as later:
        assert texts(await later.analyze(talk)) == spoken(talk)
    assert fake.count("start") == 2
    assert fake.count("get") == 6, "an upload known to be expired is not even asked for"


async def test_an_upload_that_vanished_at_the_service_is_made_again_at_once(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    talk = recording(tmp_path)
    fake.before["generate"] = fake.files.clear
    assert texts(await on.analyze(talk)) == spoken(talk)
    assert fake.count("start") == 2
    assert fake.count("generate") == 2


async def test_a_second_template_on_a_kept_upload_sends_nothing_twice(
    tmp_path: Path, fake: FakeGemini
) -> None:
    async with bench(tmp_path / "db", fake.url, keep_uploads=True) as on:
        talk = recording(tmp_path)
        await on.analyze(talk)
        await on.analyze(talk, template="chinese_transcript")
    assert fake.count("start") == 1
    assert fake.count("generate") == 2
    assert fake.count("delete") == 0


async def test_two_tasks_of_one_recording_share_an_upload_until_the_last_is_done(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    talk = recording(tmp_path)
    await asyncio.gather(on.analyze(talk), on.analyze(talk, template="chinese_transcript"))
    assert fake.count("start") == 1
    assert fake.count("generate") == 2
    assert fake.count("delete") == 1
    assert on.engine.uploads.counts.deleted == 1


async def test_a_recording_that_the_service_cannot_process_fails_and_is_taken_away(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.failed_files = True
    with pytest.raises(CorruptMediaError, match="could not be processed"):
        await on.analyze(recording(tmp_path))
    assert fake.files == {}
    assert fake.count("generate") == 0


async def test_an_upload_that_a_killed_process_left_behind_is_taken_away(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("delete", "overloaded")
    talk = recording(tmp_path)
    await on.analyze(talk)
    assert len(fake.files) == 1
    async with reopen(on) as later:
        await later.analyze(talk)
    assert fake.files == {}
    assert fake.count("generate") == 1


async def test_an_upload_that_cannot_be_deleted_does_not_fail_the_report(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("delete", "overloaded")
    report = await on.analyze(recording(tmp_path))
    assert report.segments
    assert on.engine.uploads.counts.delete_failures == 1


async def test_files_that_stay_at_the_service_are_told_about_without_a_flood(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("delete", *["overloaded"] * 12)
    for number in range(12):
        await on.analyze(recording(tmp_path, name=f"{number}.mp4"))
    assert len(fake.files) == 12
    first, tenth = on.engine.remarks
    assert "the uploaded copy of 0.mp4 could not be deleted" in first.text
    assert "503" in first.text
    assert "within 48 hours" in first.text
    assert tenth.text.startswith("gemini: 10 uploaded copies could not")


async def test_a_stop_while_uploading_keeps_what_was_sent(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    talk = recording(tmp_path, size=BIG)
    fake.fail("chunk", "ok", "slow:0.05")
    running = asyncio.create_task(on.analyze(talk))
    await asyncio.to_thread(fake.wait_for, lambda: fake.count("chunk", ok=True) >= 1)
    on.stopping.set()
    with pytest.raises(StepCancelled):
        await running
    async with reopen(on) as later:
        assert texts(await later.analyze(talk)) == spoken(talk)
    assert fake.count("start") == 1
    assert sum(r.size_bytes for r in fake.requests("chunk")) == BIG


# --- answers -----------------------------------------------------------------------------------


async def test_a_truncated_answer_is_continued_from_its_last_line(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", "truncated:900", "truncated:900")
    talk = recording(tmp_path, 600.0)
    report = await on.analyze(talk)
    assert texts(report) == spoken(talk)
    starts = [r.start_s for r in fake.requests("generate")]
    assert starts == sorted(starts)
    assert len(starts) == 3
    assert starts[0] == 0
    assert starts[1] > 100


async def test_an_answer_cut_before_its_first_line_is_asked_for_in_halves(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", "truncated:5")
    talk = recording(tmp_path, 600.0)
    assert texts(await on.analyze(talk)) == spoken(talk)
    assert [(r.start_s, r.end_s) for r in fake.requests("generate")] == [
        (0, 600), (0, 300), (295, 600),
    ]  # fmt: skip


async def test_an_answer_that_never_gets_to_a_line_fails_the_task(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", *["truncated:5"] * 20)
    with pytest.raises(AnswerUnusable, match="ends before its first line"):
        await on.analyze(recording(tmp_path, 100.0))


async def test_a_short_stretch_whose_answer_is_cut_at_once_is_tried_again_with_more_room(
    tmp_path: Path, fake: FakeGemini
) -> None:
    """It failed for good: stretches under a minute cannot be asked for in halves."""
    fake.fail("generate", "truncated:5", "truncated:5")
    talk = recording(tmp_path, 25.0)
    async with bench(tmp_path / "db", fake.url) as on:
        assert texts(await on.analyze(talk)) == spoken(talk)
    limits = [r.body["generationConfig"]["maxOutputTokens"] for r in fake.requests("generate")]
    assert len(limits) == 3
    assert limits[0] < limits[1] < limits[2]


async def test_a_minute_whose_answer_is_cut_at_once_is_asked_for_in_halves(
    tmp_path: Path, fake: FakeGemini
) -> None:
    fake.fail("generate", "truncated:5")
    talk = recording(tmp_path, 50.0)
    async with bench(tmp_path / "db", fake.url, segment_s=60.0) as on:
        assert texts(await on.analyze(talk)) == spoken(talk)
    assert fake.count("generate") == 3


@pytest.mark.parametrize("fault", ["fenced", "relative", "ok"])
async def test_answers_in_odd_forms_are_understood(
    on: Bench, fake: FakeGemini, tmp_path: Path, fault: str
) -> None:
    fake.fail("generate", *[fault] * 3)
    talk = recording(tmp_path, LONG_S)
    report = await on.analyze(talk)
    assert texts(report) == spoken(talk)
    assert [s.start_s for s in report.segments] == [n * 10.0 for n in range(300)]
    assert fake.count("generate") == 3


@pytest.mark.parametrize("fault", ["empty", "malformed"])
async def test_an_unreadable_answer_is_asked_for_again(
    on: Bench, fake: FakeGemini, tmp_path: Path, fault: str
) -> None:
    fake.fail("generate", fault, fault)
    talk = recording(tmp_path)
    report = await on.analyze(talk)
    assert texts(report) == spoken(talk)
    assert report.provenance.usage["requests"] == 3, "unreadable answers cost money, too"
    assert report.provenance.usage["usd"] == pytest.approx(fake.spent_usd)


async def test_a_model_that_writes_poems_fails_the_task_once_and_for_all(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", *["malformed"] * 3)
    talk = recording(tmp_path)
    with pytest.raises(AnswerUnusable, match="3 times"):
        await on.analyze(talk)
    with pytest.raises(AnswerUnusable):
        await on.analyze(talk)
    assert fake.count("generate") == 3, "answers in the journal are not paid for again"
    assert fake.files == {}


@pytest.mark.parametrize("fault", ["blocked", "safety", "recitation"])
async def test_a_recording_that_the_service_refuses_is_told_as_such(
    on: Bench, fake: FakeGemini, tmp_path: Path, fault: str
) -> None:
    fake.fail("generate", fault)
    with pytest.raises(ContentBlocked, match="refuses") as caught:
        await on.analyze(recording(tmp_path))
    assert caught.value.hint
    assert fake.files == {}


async def test_one_refused_stretch_leaves_the_rest_of_the_report(
    tmp_path: Path, fake: FakeGemini
) -> None:
    fake.fail("generate", "safety")
    async with bench(tmp_path / "db", fake.url) as on:
        talk = recording(tmp_path, LONG_S)
        report = await on.analyze(talk)
    notice = next(n for n in report.notices if n.code == "blocked")
    refused = fake.requests("generate")[0]
    assert (notice.start_s, notice.end_s) == (refused.start_s, refused.end_s)
    assert "SAFETY" in notice.message
    assert 190 < len(report.segments) < 250


async def test_a_file_without_speech_gives_an_empty_transcript(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    report = await on.analyze(recording(tmp_path, 0.5))
    assert report.segments == ()
    assert "no_speech" in [n.code for n in report.notices]


# --- errors of the service ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "fault", "kind", "words"),
    [
        ("generate", "internal", Unreachable, "answered 500"),
        ("generate", "overloaded", Unreachable, "answered 503"),
        ("generate", "deadline", Unreachable, "answered 504"),
        ("generate", "bad_gateway", Unreachable, "answered 502"),
        ("generate", "html", RetryableError, "no proper answer"),
        ("generate", "cut", Unreachable, "cut"),
        ("generate", "cut_answer", Unreachable, "cut"),
        ("generate", "bad_request", PermanentError, "invalid argument"),
        ("generate", "too_long", PermanentError, "token count"),
        ("generate", "bad_thinking", FatalError, "refuses the settings for gemini-3.8-flash"),
        ("generate", "no_model", FatalError, "no model 'gemini-3.8-flash'"),
        ("generate", "location", FatalError, "not available here"),
        ("generate", "unauthenticated", AuthenticationError, "refuses the key"),
        ("generate", "disabled", AuthenticationError, "does not allow"),
        ("generate", "not_active", RetryableError, "not ready"),
        ("start", "bad_key", AuthenticationError, "refuses the key"),
        ("start", "overloaded", Unreachable, "answered 503"),
        ("start", "cut", Unreachable, "cut"),
        ("get", "internal", Unreachable, "answered 500"),
    ],
)
async def test_errors_of_the_service_become_ours(
    on: Bench, fake: FakeGemini, tmp_path: Path, op: str, fault: str, kind: type, words: str
) -> None:
    fake.fail(op, fault)
    with pytest.raises(kind, match=words) as caught:
        await on.analyze(recording(tmp_path))
    assert type(caught.value) is kind
    assert fake.count("generate") <= 1, "nothing is retried behind the batch's back"


async def test_a_service_that_is_not_there_is_named_as_a_network_problem(tmp_path: Path) -> None:
    with FakeGemini() as gone:
        url = gone.url
    async with bench(tmp_path / "db", url) as on:
        with pytest.raises(RetryableError, match="cannot be reached"):
            await on.analyze(recording(tmp_path))


async def test_a_late_answer_is_given_up_and_counted_as_paid(
    tmp_path: Path, fake: FakeGemini
) -> None:
    fake.fail("generate", "slow:30")
    limiter = ApiLimiter()
    async with bench(tmp_path / "db", fake.url, timeout_s=0.3, limiter=limiter) as on:
        with pytest.raises(RetryableError, match="in time"):
            await on.analyze(recording(tmp_path))
    assert limiter.snapshot().spent_usd > 0


# --- quotas and money --------------------------------------------------------------------------


async def test_a_refusal_for_rate_is_waited_out_within_reason(
    tmp_path: Path, fake: FakeGemini
) -> None:
    time = VirtualTime()
    fake.retry_delay = "9223372036854775807s"
    fake.fail("generate", "quota_minute", "quota_tokens", "exhausted")
    async with bench(tmp_path / "db", fake.url, limiter=time.limiter()) as on:
        talk = recording(tmp_path)
        report = await on.analyze(talk)
    assert texts(report) == spoken(talk)
    assert fake.count("generate") == 4
    assert max(time.slept) <= 120
    assert report.provenance.usage["requests"] == 1


async def test_a_spent_day_pauses_until_midnight_in_california(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", "quota_day")
    with pytest.raises(LimitReached) as caught:
        await on.analyze(recording(tmp_path))
    assert datetime.fromisoformat(str(caught.value.resume_at)) == next_reset(datetime.now(UTC))
    before = len(fake.log)
    with pytest.raises(LimitReached):
        await on.analyze(recording(tmp_path, name="other.mp4"))
    assert len(fake.log) == before, "nothing more is sent with a key whose day is spent"


async def test_another_key_goes_on_when_the_first_ones_day_is_spent(
    tmp_path: Path, fake: FakeGemini
) -> None:
    async with bench(tmp_path / "db", fake.url, keys=(KEY, SECOND_KEY), segment_s=100.0) as on:
        fake.fail("generate", "ok", "ok", "quota_day")
        talk = recording(tmp_path, 600.0)
        report = await on.analyze(talk)
        assert texts(report) == spoken(talk)
        spent = next(r for r in fake.requests("generate") if r.status == 429)
        for number in range(6):
            await on.analyze(recording(tmp_path, name=f"{number}.mp4"))
    answered = [r.start_s for r in fake.requests("generate", ok=True) if r.voice == talk.voice]
    assert len(answered) == len(set(answered)), "what the first key paid for is used"
    other = SECOND_KEY if spent.key == KEY else KEY
    later = [r.key for r in fake.requests("generate") if r.n > spent.n + 3]
    assert set(later) == {other}
    assert report.provenance.usage["requests"] == len(answered)


async def test_what_another_key_goes_on_with_is_taken_away_from_the_first_ones_project(
    tmp_path: Path, fake: FakeGemini
) -> None:
    async with bench(tmp_path / "db", fake.url, keys=(KEY, SECOND_KEY)) as on:
        fake.fail("generate", "quota_day")
        await on.analyze(recording(tmp_path))
    assert {r.key for r in fake.requests("start")} == {KEY, SECOND_KEY}
    assert fake.files == {}


async def test_the_only_key_keeps_its_upload_for_the_next_day(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("generate", "quota_day")
    with pytest.raises(LimitReached):
        await on.analyze(recording(tmp_path))
    assert len(fake.files) == 1


async def test_recordings_spread_over_the_keys_and_keep_to_theirs(
    tmp_path: Path, fake: FakeGemini
) -> None:
    talks = [recording(tmp_path, name=f"{number}.mp4") for number in range(8)]
    async with bench(tmp_path / "db", fake.url, keys=(KEY, SECOND_KEY)) as on:
        for talk in talks:
            await on.analyze(talk)
        for talk in talks:
            await on.analyze(talk, template="chinese_transcript")
    used: dict[str, set[str]] = {r.voice: set() for r in fake.requests("generate")}
    for request in fake.requests("generate"):
        used[request.voice].add(request.key)
    assert {len(keys) for keys in used.values()} == {1}
    assert set.union(*used.values()) == {KEY, SECOND_KEY}


async def test_a_refused_key_is_set_aside_for_the_next_one_and_told_once(
    tmp_path: Path, fake: FakeGemini
) -> None:
    bad = "not-a-key-at-all-1"
    async with bench(tmp_path / "db", fake.url, keys=(bad, KEY)) as on:
        for number in range(6):
            assert (await on.analyze(recording(tmp_path, name=f"{number}.mp4"))).segments
        (told,) = on.engine.remarks
        assert told.kind == "key_refused"
        assert told.text.startswith(f"gemini: key 1 of 2 (id {on.engine.key_ids[0]}) is set aside")
        assert told.data["bucket"] == on.engine.buckets[0]
    assert bad not in repr(told)
    assert {r.key for r in fake.requests("start")} == {KEY}, "the wrong key cost no upload"


async def test_a_spent_key_is_told_once_by_tasks_that_meet_it_together(
    tmp_path: Path, fake: FakeGemini
) -> None:
    """The service's refusal and the limiter's were told as two."""
    fake.exhausted_keys.add(KEY)
    talks = [recording(tmp_path, name=f"{number}.mp4") for number in range(8)]
    async with bench(tmp_path / "db", fake.url, keys=(KEY, SECOND_KEY)) as on:
        await asyncio.gather(*(on.analyze(talk) for talk in talks))
        assert [told.kind for told in on.engine.remarks] == ["key_spent"]
    assert fake.count("generate", ok=True) == len(talks)


async def test_a_spent_key_costs_a_later_process_nothing_before_its_reset(
    tmp_path: Path, fake: FakeGemini
) -> None:
    fake.exhausted_keys.add(KEY)
    keys = (KEY, SECOND_KEY)
    now = datetime.now(UTC)
    async with bench(tmp_path / "db", fake.url, keys=keys) as on:
        await asyncio.gather(*(on.analyze(recording(tmp_path, name=f"{n}.mp4")) for n in range(8)))
        (told,) = on.engine.remarks
        queue = TaskQueue(on.db)
        await queue.add_event(BATCH, "note", {"kind": told.kind, **told.data})
    seen = len(fake.log)
    async with bench(tmp_path / "db", fake.url, keys=keys) as on:
        spent = await spent_keys(TaskQueue(on.db), now)
        assert spent == {told.data["bucket"]: next_reset(now)}
        on.engine.recall(spent)
        for number in range(8, 16):
            await on.analyze(recording(tmp_path, name=f"{number}.mp4"))
    assert {r.key for r in fake.log[seen:]} - {""} == {SECOND_KEY}


async def test_a_quota_that_a_refusal_names_is_kept_from_then_on(
    tmp_path: Path, fake: FakeGemini
) -> None:
    fake.fail("generate", "quota_minute")
    limiter = VirtualTime().limiter()
    async with bench(tmp_path / "db", fake.url, limiter=limiter) as on:
        await on.analyze(recording(tmp_path))
        (state,) = (b for b in limiter.snapshot().buckets if b.name == on.engine.buckets[0])
    assert state.requests_level is not None
    assert limiter._bucket(state.name).learned()["requests"]["limit"] == 10.0


async def note_remarks(on: Bench) -> None:
    """As the processor does at the end of a run."""
    for told in on.engine.remarks:
        await TaskQueue(on.db).add_event(BATCH, "note", {"kind": told.kind, **told.data})


async def test_an_only_key_that_is_spent_is_not_asked_about_a_recording_that_is_there_already(
    tmp_path: Path, fake: FakeGemini
) -> None:
    """Nor with a question that needs no recording: its limiter knows of the reset."""
    fake.fail("generate", "quota_day")
    talk, now = recording(tmp_path), datetime.now(UTC)
    async with bench(tmp_path / "db", fake.url) as on:
        with pytest.raises(LimitReached):
            await on.analyze(talk)
        assert fake.count("start") == 1
        await note_remarks(on)
    seen = len(fake.log)
    limiter = ApiLimiter()
    async with bench(tmp_path / "db", fake.url, limiter=limiter) as on:
        on.engine.recall(await spent_keys(TaskQueue(on.db), now))
        with pytest.raises(LimitReached) as caught:
            await on.analyze(talk)
        assert caught.value.resume_at is not None
        assert fake.log[seen:] == []
        assert limiter._bucket(on.engine.buckets[0]).exhausted_until == next_reset(now)


async def test_an_only_key_that_is_spent_costs_a_later_process_nothing_before_its_reset(
    tmp_path: Path, fake: FakeGemini
) -> None:
    """Every run uploaded a recording to be told the same again."""
    fake.exhausted_keys.add(KEY)
    done, talk = recording(tmp_path, name="done.mp4"), recording(tmp_path)
    now = datetime.now(UTC)
    async with bench(tmp_path / "db", fake.url) as on:
        fake.exhausted_keys.clear()
        report = await on.analyze(done)
        fake.exhausted_keys.add(KEY)
        with pytest.raises(LimitReached):
            await on.analyze(talk)
        await note_remarks(on)
        assert KEY not in str(on.engine.remarks)
    seen = len(fake.log)
    async with bench(tmp_path / "db", fake.url) as on:
        on.engine.recall(await spent_keys(TaskQueue(on.db), now))
        assert await on.analyze(done) == report, "answers that are there need no key"
        with pytest.raises(LimitReached, match="as it told an earlier run") as caught:
            await on.analyze(talk)
        assert caught.value.resume_at == next_reset(now).strftime("%Y-%m-%dT%H:%M:%SZ")
        await note_remarks(on)
        assert len(fake.log) == seen
        await TaskQueue(on.db).free_keys(on.engine.buckets)
        assert await spent_keys(TaskQueue(on.db), now) == {}
    fake.exhausted_keys.clear()
    async with bench(tmp_path / "db", fake.url) as on:
        on.engine.recall({on.engine.buckets[0]: now - timedelta(seconds=1)})
        assert texts(await on.analyze(talk)) == spoken(talk), "its window has ended"


async def test_a_users_own_limit_on_an_only_key_is_forgotten_with_the_process(
    tmp_path: Path, fake: FakeGemini
) -> None:
    async with bench(tmp_path / "db", fake.url) as on:
        on.limiter = ApiLimiter({on.engine.buckets[0]: BucketConfig(requests_per_day=1)})
        await on.analyze(recording(tmp_path, name="first.mp4"))
        with pytest.raises(LimitReached, match="the daily limit of 1 requests is spent"):
            await on.analyze(recording(tmp_path))
        assert list(on.engine.remarks) == []


async def test_copies_that_nobody_comes_back_for_are_taken_away(
    tmp_path: Path, fake: FakeGemini
) -> None:
    """After a fallback they lay at the service for two days."""
    fake.exhausted_keys.add(KEY)
    talks = [recording(tmp_path, name=f"{number}.mp4") for number in range(3)]
    async with bench(tmp_path / "db", fake.url) as on:
        for talk in talks:
            on.engine._keys[0].limit = None
            with pytest.raises(LimitReached):
                await on.analyze(talk)
        assert len(fake.files) == 3
        await on.finished_elsewhere(talks[:2])
        await on.still_open(talks[2])
        now = datetime.now(UTC)
        fake.fail("delete", "overloaded")
        assert await take_away(TaskQueue(on.db), on.engine, BATCH, now) == 1
        assert [told.kind for told in on.engine.remarks][-1] == "file_left"
        assert await take_away(TaskQueue(on.db), on.engine, BATCH, now) == 1
        assert await take_away(TaskQueue(on.db), on.engine, BATCH, now) == 0
        assert [f.sha256 for f in fake.files.values()] == [talks[2].sha256]
    async with bench(tmp_path / "db", fake.url, keep_uploads=True) as on:
        await on.finished_elsewhere(talks[2:])
        assert await take_away(TaskQueue(on.db), on.engine, BATCH, now) == 0
    assert len(fake.files) == 1


async def test_the_users_own_daily_limit_is_not_taken_for_a_spent_quota_of_the_service(
    tmp_path: Path, fake: FakeGemini
) -> None:
    """A run paused until the provider's midnight, with the service's name on it."""
    async with bench(tmp_path / "db", fake.url) as on:
        queue = TaskQueue(on.db)
        purse = SharedPurse(Spending(on.db, BATCH, "me"), None, 0.3)
        on.limiter = ApiLimiter(ledger=UsageLedger(queue, BATCH), purse=purse)
        caught: list[LimitReached] = []
        for number in range(12):
            try:
                await on.analyze(recording(tmp_path, 1200.0, f"{number}.mp4"))
            except LimitReached as error:
                caught.append(error)
        buckets = on.limiter.snapshot().buckets
    assert len(caught) >= 2
    for error in caught:
        assert error.message.startswith("the next request could pass the daily cost limit of $0.3")
        assert error.is_budget
    assert [b.exhausted_until for b in buckets] == [None] * len(buckets)
    assert 0 < fake.spent_usd <= 0.3


async def test_a_wrong_model_or_key_costs_no_upload(tmp_path: Path, fake: FakeGemini) -> None:
    for options, words in (
        ({"model": "imagined-9"}, "no model 'imagined-9'"),
        ({"model": "gemini-embedding-2"}, "cannot answer questions"),
    ):
        async with bench(tmp_path / words[:8], fake.url, **options) as on:
            with pytest.raises(FatalError, match=words):
                await on.analyze(recording(tmp_path))
    async with bench(tmp_path / "key", fake.url, keys=("not-a-key-at-all-1",)) as on:
        with pytest.raises(AuthenticationError, match="refuses the key"):
            await on.analyze(recording(tmp_path))
    assert {r.op for r in fake.log} == {"model"}


async def test_model_and_key_are_looked_at_once_and_only_when_something_is_sent(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    fake.fail("model", "overloaded")
    talks = [recording(tmp_path, name=f"{number}.mp4") for number in range(4)]
    for talk in talks:
        assert texts(await on.analyze(talk)) == spoken(talk)
    assert fake.count("model") == 2, "a service that is busy for a moment harms nobody"
    async with reopen(on) as later:
        for talk in talks:
            await later.analyze(talk)
    assert fake.count("model") == 2


async def test_the_cost_limit_is_never_passed_at_the_service(
    tmp_path: Path, fake: FakeGemini
) -> None:
    limit = 0.35
    money = MemoryPurse(limit)
    limiter = ApiLimiter(ledger=money, purse=money)
    stopped = 0
    async with bench(tmp_path / "db", fake.url, limiter=limiter, segment_s=300.0) as on:
        for number in range(8):
            with suppress(LimitReached):
                await on.analyze(recording(tmp_path, 900.0, f"{number}.mp4"))
                continue
            stopped += 1
    assert stopped > 0
    assert 0 < fake.spent_usd <= limit
    assert limiter.snapshot().spent_usd == pytest.approx(fake.spent_usd)


# --- keys --------------------------------------------------------------------------------------


async def test_without_a_key_nothing_is_sent(tmp_path: Path, fake: FakeGemini) -> None:
    async with bench(tmp_path / "db", fake.url, keys=()) as on:
        with pytest.raises(AuthenticationError, match="needs a key"):
            await on.engine.prepare(on.context(recording(tmp_path)).compute)
        with pytest.raises(AuthenticationError):
            await on.analyze(recording(tmp_path))
    assert fake.log == []


async def test_a_bad_key_stops_the_batch_and_is_shown_nowhere(
    tmp_path: Path, fake: FakeGemini, caplog: pytest.LogCaptureFixture
) -> None:
    bad = "AIza-this-key-is-very-secret-42"
    caplog.set_level(logging.DEBUG)
    async with bench(tmp_path / "db", fake.url, keys=(bad,)) as on:
        with pytest.raises(AuthenticationError, match="refuses the key") as caught:
            await on.analyze(recording(tmp_path))
    told = "".join(traceback.format_exception(caught.value)) + str(caught.value.to_dict())
    assert_absent(bad, tmp_path, told + caplog.text)


async def test_a_key_that_works_is_written_nowhere(
    tmp_path: Path, fake: FakeGemini, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.fail("generate", "bad_request")
    async with bench(tmp_path / "db", fake.url) as on:
        with pytest.raises(GsvrError) as caught:
            await on.analyze(recording(tmp_path, 100.0, "first.mp4"))
        report = await on.analyze(recording(tmp_path, 100.0))
        told = "".join(traceback.format_exception(caught.value)) + str(report.to_dict())
        assert_absent(KEY, tmp_path, told + caplog.text + repr(on.engine.__dict__))
    assert_absent(KEY, tmp_path, "")


def assert_absent(key: str, folder: Path, told: str) -> None:
    assert key not in told
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert any(p.name == "gsvr.db" for p in files)
    for path in files:
        assert key.encode() not in path.read_bytes(), path


# --- the half-price lane -----------------------------------------------------------------------


async def cheap(folder: Path, fake: FakeGemini, talk: Recording, **more: Any) -> VideoReport:
    async with bench(folder, fake.url, batch=True, **more) as on:
        on.engine.batch_poll_s = 0.01
        return await on.analyze(talk)


async def test_a_batch_job_answers_every_stretch_at_half_the_price(
    tmp_path: Path, fake: FakeGemini
) -> None:
    talk = recording(tmp_path, LONG_S)
    report = await cheap(tmp_path / "cheap", fake, talk)
    assert texts(report) == spoken(talk)
    assert fake.count("batch") == 1
    assert fake.count("generate") == 0
    assert fake.count("batch_item") == 3
    half = fake.spent_usd
    assert report.provenance.usage["usd"] == pytest.approx(half)
    async with bench(tmp_path / "dear", fake.url) as on:
        full = await on.analyze(talk)
    assert full.provenance.usage["usd"] == pytest.approx(2 * half, rel=0.01)


async def test_recordings_of_one_length_have_jobs_of_their_own(
    tmp_path: Path, fake: FakeGemini
) -> None:
    """Their questions are the same: the second one took the first one's job, and its words."""
    talks = [recording(tmp_path, LONG_S, name) for name in ("a.mp4", "b.mp4")]
    for talk in talks:
        assert texts(await cheap(tmp_path / "db", fake, talk)) == spoken(talk)
    assert fake.count("batch") == 2


async def test_what_a_job_fails_to_answer_is_asked_for_directly(
    tmp_path: Path, fake: FakeGemini
) -> None:
    fake.fail("batch_item", "ok", "internal")
    talk = recording(tmp_path, LONG_S)
    report = await cheap(tmp_path / "db", fake, talk)
    assert texts(report) == spoken(talk)
    assert fake.count("generate") == 1
    assert report.provenance.usage["usd"] == pytest.approx(fake.spent_usd)
    assert "1 of 3 parts" in next(n.message for n in report.notices if n.code == "batch_fallback")


async def test_an_upload_that_is_too_old_for_a_job_is_taken_away_with_its_successor(
    tmp_path: Path, fake: FakeGemini, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini_batch, "FILE_LIFE", timedelta(hours=50))
    await cheap(tmp_path / "db", fake, recording(tmp_path))
    assert fake.count("start") == 2
    assert fake.files == {}


async def test_a_job_is_charged_once_also_when_the_process_ends_among_its_replies(
    tmp_path: Path, fake: FakeGemini
) -> None:
    talk = recording(tmp_path, LONG_S)
    first = VirtualTime().limiter()
    report = await cheap(tmp_path / "db", fake, talk, limiter=first)
    assert first.snapshot().spent_usd == pytest.approx(fake.spent_usd)
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        last = "SELECT max(rowid) FROM steps WHERE name = 'generate'"
        await on.db.write(lambda db: db.execute(f"DELETE FROM steps WHERE rowid = ({last})"))
    second = VirtualTime().limiter()
    assert await cheap(tmp_path / "db", fake, talk, limiter=second) == report
    assert second.snapshot().spent_usd == 0.0


async def test_a_job_is_found_behind_hundreds_of_others(tmp_path: Path, fake: FakeGemini) -> None:
    talk = recording(tmp_path)
    for number in range(130):
        fake.batches[f"batches/old{number}"] = {
            "name": f"batches/old{number}", "model": "m", "items": [], "polls": 0, "key": KEY,
            "state": "SUCCEEDED", "inline": True, "display_name": "other", "output": {},
        }  # fmt: skip
    fake.fail("batch", "cut_after")
    with pytest.raises(RetryableError, match="cut"):
        await cheap(tmp_path / "db", fake, talk)
    fake.fail("batch_list", "ok", "overloaded")
    with pytest.raises(RetryableError, match="answered 503"):
        await cheap(tmp_path / "db", fake, talk)
    assert texts(await cheap(tmp_path / "db", fake, talk)) == spoken(talk)
    assert fake.count("batch") == 1


async def test_a_failed_job_is_replaced_by_ordinary_calls(tmp_path: Path, fake: FakeGemini) -> None:
    fake.fail("batch_item", "batch_failed")
    talk = recording(tmp_path, LONG_S)
    assert texts(await cheap(tmp_path / "db", fake, talk)) == spoken(talk)
    assert fake.count("generate") == 3


async def test_a_job_is_found_again_by_the_next_process(tmp_path: Path, fake: FakeGemini) -> None:
    fake.polls = 3
    talk = recording(tmp_path, LONG_S)
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        on.engine.batch_poll_s = 30.0
        running = asyncio.create_task(on.analyze(talk))
        await asyncio.to_thread(fake.wait_for, lambda: fake.count("batch_get", ok=True) >= 1)
        on.stopping.set()
        with pytest.raises(StepCancelled):
            await running
    assert texts(await cheap(tmp_path / "db", fake, talk)) == spoken(talk)
    assert fake.count("batch") == 1
    assert fake.count("start") == 1


async def test_a_job_whose_name_was_never_noted_is_found_by_its_questions(
    tmp_path: Path, fake: FakeGemini
) -> None:
    fake.fail("batch", "cut_after")
    talk = recording(tmp_path, LONG_S)
    with pytest.raises(RetryableError, match="cut"):
        await cheap(tmp_path / "db", fake, talk)
    assert texts(await cheap(tmp_path / "db", fake, talk)) == spoken(talk)
    assert fake.count("batch") == 1
    assert fake.count("batch_item") == 3


def money_of(on: Bench, process: str, limit: float | None = 1.0) -> ApiLimiter:
    """The limiter of a process on the bench's database; `limit` is that of the day."""
    purse = SharedPurse(Spending(on.db, BATCH, process), None, limit)
    ledger = UsageLedger(TaskQueue(on.db), BATCH)
    return VirtualTime().limiter(ledger=ledger, purse=None if limit is None else purse)


async def held(on: Bench) -> list[tuple[str, float]]:
    """(process, US dollars) of all that is set aside."""
    rows = await on.db.read("SELECT process_id, usd FROM holds")
    return [(row["process_id"], row["usd"]) for row in rows]


async def stop_while_waiting(on: Bench, fake: FakeGemini, talk: Recording) -> None:
    on.engine.batch_poll_s = 30.0
    running = asyncio.create_task(on.analyze(talk))
    await asyncio.to_thread(fake.wait_for, lambda: fake.count("batch_get", ok=True) >= 1)
    on.stopping.set()
    with pytest.raises(StepCancelled):
        await running
    await on.limiter.flush()


@pytest.mark.parametrize("limit", [1.0, None])
@pytest.mark.parametrize("killed", [True, False])
async def test_the_money_of_a_job_is_set_aside_until_its_replies_are_charged(
    tmp_path: Path, fake: FakeGemini, killed: bool, limit: float | None
) -> None:
    fake.polls = 3
    talk = recording(tmp_path, LONG_S)
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        on.limiter = money_of(on, "first")
        await stop_while_waiting(on, fake, talk)
        ((process, usd),) = await held(on)
        assert (process, usd > 0) == ("", True), "nobody waits, and it may be charged"
        other = SharedPurse(Spending(on.db, "other", "p"), None, usd * 1.5)
        with pytest.raises(LimitReached, match="perhaps spent"):
            await other.take("more", usd)
        if killed:
            await on.db.write(lambda db: db.execute("UPDATE holds SET process_id = 'first'"))
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        on.engine.batch_poll_s = 0.01
        on.limiter = money_of(on, "second", None if limit is None else usd * 1.01)
        assert texts(await on.analyze(talk)) == spoken(talk)
        await on.limiter.flush()
        assert await held(on) == []
        (row,) = await on.db.read("SELECT sum(usd) AS usd FROM usage")
        assert row["usd"] == pytest.approx(fake.spent_usd)
    assert fake.count("batch") == 1


@pytest.mark.parametrize(("fault", "kept"), [("cut_after", 1), ("bad_request", 0)])
async def test_only_a_job_that_may_exist_keeps_its_money(
    tmp_path: Path, fake: FakeGemini, fault: str, kept: int
) -> None:
    fake.fail("batch", fault)
    talk = recording(tmp_path)
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        on.engine.batch_poll_s = 0.01
        on.limiter = money_of(on, "first")
        with pytest.raises(GsvrError):
            await on.analyze(talk)
        await on.limiter.flush()
        assert len(await held(on)) == kept
        assert texts(await on.analyze(talk)) == spoken(talk)
        await on.limiter.flush()
        assert await held(on) == []


@pytest.mark.parametrize("shape", ["internal", "overloaded", "deadline", ""])
@pytest.mark.parametrize("lists_late", [0, 3])
async def test_a_job_whose_making_was_answered_unclearly_is_not_made_again(
    tmp_path: Path, fake: FakeGemini, shape: str, lists_late: int
) -> None:
    """An answer of 5xx was taken for "no job was made", and the same job was paid for twice."""
    fake.fail("batch", f"made:{shape}")
    talk = recording(tmp_path, LONG_S)
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        on.engine.batch_poll_s, on.engine.batch_settle_s = 0.01, 0.4
        on.limiter = money_of(on, "first")
        with pytest.raises(RetryableError):
            await on.analyze(talk)
        await on.limiter.flush()
        assert [process for process, _ in await held(on)] == [""]
        fake.lists_late = lists_late
        assert texts(await on.analyze(talk)) == spoken(talk)
        await on.limiter.flush()
        assert await held(on) == []
    assert fake.count("batch") == 1
    assert fake.count("batch_item") == 3
    assert fake.count("generate") == 0


@pytest.mark.parametrize(("fault", "looks"), [("cut", True), ("bad_request", False)])
async def test_a_job_is_made_again_once_it_is_surely_absent(
    tmp_path: Path, fake: FakeGemini, fault: str, looks: bool
) -> None:
    """A clear refusal is sure at once; otherwise the service has to show none for a while."""
    fake.fail("batch", fault)
    talk = recording(tmp_path)
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        on.engine.batch_poll_s, on.engine.batch_settle_s = 0.01, 0.2
        with pytest.raises(GsvrError):
            await on.analyze(talk)
        before = fake.count("batch_list")
        assert texts(await on.analyze(talk)) == spoken(talk)
        assert (fake.count("batch_list") - before > 1) is looks
    assert fake.count("batch") == 2
    assert len(fake.batches) == 1


@pytest.mark.parametrize("noted", [True, False])
async def test_a_cost_limit_below_what_a_job_may_cost_does_not_keep_its_replies_back(
    tmp_path: Path, fake: FakeGemini, noted: bool
) -> None:
    """The batch was paused, although the service would charge the job in any case."""
    fake.polls = 3
    talk, other = recording(tmp_path, LONG_S), recording(tmp_path, LONG_S, "other.mp4")
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        on.limiter = money_of(on, "first")
        if noted:
            await stop_while_waiting(on, fake, talk)
        else:
            fake.fail("batch", "cut_after")
            with pytest.raises(RetryableError):
                await on.analyze(talk)
            await on.limiter.flush()
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        on.engine.batch_poll_s = 0.01
        on.limiter = money_of(on, "second", 1e-6)
        with pytest.raises(LimitReached, match="could pass the daily cost limit"):
            await on.analyze(other)
        assert texts(await on.analyze(talk)) == spoken(talk)
        await on.limiter.flush()
        assert await held(on) == []
    assert fake.count("batch") == 1


async def test_a_wait_that_the_network_ends_keeps_the_money_of_the_job(
    tmp_path: Path, fake: FakeGemini
) -> None:
    fake.polls = 2
    fake.fail("batch_get", "ok", "cut")
    talk = recording(tmp_path)
    async with bench(tmp_path / "db", fake.url, batch=True) as on:
        on.engine.batch_poll_s = 0.01
        on.limiter = money_of(on, "first")
        with pytest.raises(RetryableError):
            await on.analyze(talk)
        await on.limiter.flush()
        assert [process for process, _ in await held(on)] == [""]
        assert texts(await on.analyze(talk)) == spoken(talk)
        await on.limiter.flush()
        assert await held(on) == []


async def test_names_that_move_with_the_models_use_the_version_that_knows_them(
    tmp_path: Path, fake: FakeGemini
) -> None:
    async with bench(tmp_path / "db", fake.url, model="gemini-flash-latest") as on:
        report = await on.analyze(recording(tmp_path))
    assert {r.version for r in fake.log if r.op in ("generate", "start", "get")} == {"v1beta"}
    assert report.provenance.usage["requests"] == 1


# --- what a file is called -------------------------------------------------------------------


async def test_a_renamed_and_moved_file_is_not_paid_for_again(
    on: Bench, fake: FakeGemini, tmp_path: Path
) -> None:
    talk = recording(tmp_path, LONG_S)
    for template in ("summary_report", "comprehensive_lesson", "chinese_transcript"):
        report = await on.analyze(talk, template=template)
        assert report.media.title == "talk"
    paid, uploads = fake.count("generate"), fake.count("start")
    moved = Recording(tmp_path / "elsewhere" / "Week 7 - Roots of equations.mp4", LONG_S)
    moved.path.parent.mkdir()
    talk.path.rename(moved.path)
    for template in ("summary_report", "comprehensive_lesson", "chinese_transcript"):
        again = await on.analyze(moved, template=template)
        assert again.media.title == "Week 7 - Roots of equations"
        assert len(again.segments) == len(spoken(moved))
    assert (fake.count("generate"), fake.count("start")) == (paid, uploads)


# --- other servers -----------------------------------------------------------------------------


class Redirector(BaseHTTPRequestHandler):
    """Sends every request on to `target`, and remembers nothing."""

    target = ""

    def _go(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(307)
        self.send_header("Location", self.target + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = _go

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


async def test_a_redirect_to_another_server_gets_neither_key_nor_recording(
    tmp_path: Path, fake: FakeGemini
) -> None:
    handler = type("To", (Redirector,), {"target": fake.url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            async with bench(tmp_path / "db", url) as on:
                with pytest.raises(FatalError, match="redirects to another server") as caught:
                    await on.analyze(recording(tmp_path))
        finally:
            server.shutdown()
    assert "base_url" in caught.value.hint
    assert fake.log == []
