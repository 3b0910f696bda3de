"""`gsvr batch retry --quality` on reports that a remote engine wrote, with the real recogniser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import MEDIA, Gsvr
from tests.fakes import gemini_bodies
from tests.fakes.gemini import KEY, FakeGemini

pytest.importorskip("google.genai")
pytest.importorskip("faster_whisper")
LOOP = "and so on " * 12
ENV = {"GEMINI_API_KEY": KEY, "NO_PROXY": "127.0.0.1"}


@pytest.fixture
def looping(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGemini]:
    """A service whose model goes in circles, and proves one statement by a word that is said."""
    honest = gemini_bodies.answer

    def answer(*args: Any, **more: Any) -> dict[str, Any]:
        made = honest(*args, **more)
        line = {"start": "00:00:00", "end": "00:00:06", "speaker": "", "text": LOOP.strip()}
        points = [
            {"text": "It goes on.", "at": "00:00:01", "quote": "and so on and so on"},
        ]
        return {**made, "segments": [line], "summary": points}

    monkeypatch.setattr(gemini_bodies, "answer", answer)
    with FakeGemini() as server:
        yield server


def report_in(root: Path) -> dict[str, Any]:
    (path,) = (root / "batch_output").rglob("talk*.json")
    return dict(json.loads(path.read_text("utf-8")))


@pytest.mark.slow
def test_doubtful_words_of_a_remote_engine_are_heard_here_and_what_rests_on_them_is_proved_again(
    gsvr: Gsvr, tmp_path: Path, looping: FakeGemini
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "talk.mp4").write_bytes((MEDIA / "spoken_en_6s.mp4").read_bytes())
    (tmp_path / "gsvr.yaml").write_text(f"gemini:\n  base_url: {looping.url}\n")
    made = gsvr("batch", "process", "-d", "in", "--engine", "gemini", "--cache-dir", "c", env=ENV)
    assert made.code == 0, made.err
    before = report_in(tmp_path)
    assert before["summary"][0]["proved"] is True
    sent = len(looping.log)

    heard = gsvr("batch", "retry", "latest", "--quality", "--json")
    assert heard.code == 0, heard.err
    assert len(looping.log) == sent, "nothing is sent"
    (redone,) = json.loads(heard.out)["reports"]
    assert redone["translations_lost"] == 0
    assert redone["stretches"][0]["assumed"] is True
    after = report_in(tmp_path)
    words = " ".join(s["text"] for s in after["segments"])
    assert "so on" not in words
    assert len(words.split()) > 5
    assert after["summary"][0]["text"] == before["summary"][0]["text"]
    assert after["summary"][0]["proved"] is False
    assert {"heard_again_here", "unproved"} <= {n["code"] for n in after["notices"]}
    assert after["provenance"]["engine"] == "gemini"
    assert after["provenance"]["usage"] == before["provenance"]["usage"]
    (told,) = after["provenance"]["parameters"]["heard_again"]
    assert told["replaced"] is True
    shown = next((tmp_path / "batch_output").rglob("talk*.md")).read_text("utf-8")
    assert LOOP.strip() not in shown

    again = gsvr("batch", "retry", "latest", "--quality")
    assert again.code == 0, again.err
    assert report_in(tmp_path) == after
    next((tmp_path / "batch_output").rglob("talk*.json")).unlink()
    repaired = gsvr("batch", "verify", "latest", "--repair", env=ENV)
    assert len(looping.log) == sent, repaired.out + repaired.err
    assert " ".join(s["text"] for s in report_in(tmp_path)["segments"]) == words
