"""Answers that do not end, or that are small only while they are packed, do not fill the memory."""

from __future__ import annotations

import tracemalloc

import pytest

from gs_video_report.config_values import Secret
from gs_video_report.engines.gemini import client as gemini_client
from gs_video_report.engines.gemini.client import Connection
from gs_video_report.engines.gemini.options import parse_options
from gs_video_report.engines.openai.client import ChatClient
from gs_video_report.engines.openai.options import read_options
from gs_video_report.engines.openai.request import Request
from gs_video_report.errors import AnswerTooLarge
from tests.fakes.gemini import KEY as GEMINI_KEY
from tests.fakes.gemini import FakeGemini
from tests.fakes.openai import KEY, FakeOpenAI

ASKED = Request("fake-large", "s", (("user", "hello"),), 100)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def client_of(fake: FakeOpenAI) -> ChatClient:
    options = {"base_url": fake.url, "transcribe": "remote", "transcribe_model": "fake-large"}
    return ChatClient(read_options(options), Secret(KEY))


@pytest.mark.parametrize("fault", ["endless", "bomb"])
async def test_chat_answer_without_an_end_is_cut_off(fault: str) -> None:
    pytest.importorskip("openai")
    with FakeOpenAI() as fake:
        client = client_of(fake)
        await client.chat(ASKED, None, None)
        fake.fail(fault)
        tracemalloc.start()
        try:
            with pytest.raises(AnswerTooLarge, match="longer than 32 MB"):
                await client.chat(ASKED, None, None)
            assert tracemalloc.get_traced_memory()[1] < 80_000_000
        finally:
            tracemalloc.stop()


async def test_transcription_without_an_end_is_cut_off() -> None:
    pytest.importorskip("openai")
    with FakeOpenAI() as fake:
        fake.fail("endless")
        with pytest.raises(AnswerTooLarge):
            await client_of(fake).transcribe(b"sound", "a.wav", "en", 1.0, None, None)


async def test_answers_of_gemini_have_a_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("google.genai")
    monkeypatch.setattr(gemini_client, "MAX_FILE_BYTES", 100)
    with FakeGemini() as fake:
        options = parse_options({"base_url": fake.url, "model": "gemini-2.5-flash"})
        async with Connection(Secret(GEMINI_KEY), options) as link:
            with pytest.raises(AnswerTooLarge, match="the Gemini service"):
                await link.generate("hello", {}, "question")
