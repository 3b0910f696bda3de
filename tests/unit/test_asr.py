"""Recognition: deterministic, firm against loops, silent about what is no speech."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gs_video_report import progress
from gs_video_report.errors import FileMissingError, ModelMissing
from gs_video_report.media.audio import extract_audio
from gs_video_report.media.speech import asr, dropouts, whisper
from gs_video_report.media.speech.asr import (
    AsrParams,
    detect_language,
    engine_fingerprint,
    transcribe_chunk,
)
from gs_video_report.media.speech.asr_models import resolve_model
from gs_video_report.media.speech.doubt import Evidence, is_doubtful
from gs_video_report.media.speech.sentences import SpokenWord
from gs_video_report.media.speech.vad import Chunk, plan_speech
from tests.support.media_speech import real_media, write_pcm

SECOND = 16_000


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The default model; joined once per test run."""
    try:
        return resolve_model("auto", tmp_path_factory.mktemp("models")).path
    except ModelMissing:
        pytest.skip("the speech model is not installed")


@pytest.fixture
def jfk(tmp_path: Path) -> str:
    path = tmp_path / "jfk.pcm"
    extract_audio(str(real_media("jfk.wav")), str(path))
    return str(path)


# --- pure rules -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "logprob", "no_speech", "doubtful"),
    [
        ("Ask not what your country can do for you.", -0.12, 0.09, False),
        ("A mumbled sentence in a noisy room", -0.9, 0.6, False),
        ("砸自己的脚。", -0.51, 0.89, False),
        ("Thank you.", -0.25, 0.2, False),
        ("Thank you.", -0.3, 0.5, False),
        ("Thank you.", -0.6, 0.61, True),
        ("you", -0.96, 0.75, True),
        ("I'm really", -1.85, 0.73, True),
        ("试试试试试试试", -0.83, 0.87, True),
        ("music playing", -2.02, 0.55, True),
        ("对对对对", -0.3, 0.1, False),
        ("字幕由 Amara.org 社区提供", -0.5, 0.5, True),
        ("...", -0.1, 0.0, True),
        ("", 0.0, 1.0, True),
    ],
)
def test_what_is_believed_to_be_speech(
    text: str, logprob: float, no_speech: float, doubtful: bool
) -> None:
    assert is_doubtful(Evidence(text, logprob, no_speech)) is doubtful


def test_the_prompt_said_back_is_no_speech() -> None:
    prompt = "以下是普通话的句子。"
    assert is_doubtful(Evidence("以下是普通话的句子", -0.5, 0.5, prompt))
    assert not is_doubtful(Evidence("以下是普通话的句子", -0.5, 0.5))


class Scripted:
    """A model whose answers are given; it records how it was asked."""

    def __init__(self, *answers: tuple[str, float]) -> None:
        self.model = SimpleNamespace(is_multilingual=True)
        self.encode = SimpleNamespace(room_s=None)
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.segments_read = 0

    def transcribe(self, samples: np.ndarray, **options: Any) -> tuple[Any, None]:
        self.asked.append(options)
        text, ratio = self._answers.pop(0)
        return self._segments(text, ratio), None

    def _segments(self, text: str, ratio: float) -> Any:
        facts = {"avg_logprob": -0.2, "no_speech_prob": 0.1, "compression_ratio": ratio}
        for piece in (text, " invented for the silence at the end"):
            self.segments_read += 1
            yield SimpleNamespace(text=piece, words=None, **facts)


def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *answers: tuple[str, float]) -> Any:
    model = Scripted(*answers)
    monkeypatch.setattr(whisper, "load_model", lambda _: model)
    path = str(write_pcm(tmp_path / "a.pcm", np.zeros(10 * SECOND)))  # silence: nothing missed
    return model, transcribe_chunk("m", path, SECOND, 5 * SECOND, "zh")


@pytest.mark.parametrize(
    ("seconds", "odds", "guessed", "heard_in"),
    [
        (14, ("es", 0.97), True, "es"),
        (14, ("es", 0.9), True, "zh"),  # not sure enough
        (14, ("es", 0.97), False, "zh"),  # the user said zh
        (8, ("es", 0.97), True, "zh"),  # too short to be sure
    ],
)
def test_stretch_that_is_surely_in_another_language_is_heard_in_it(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    seconds: int,
    odds: tuple[str, float],
    guessed: bool,
    heard_in: str,
) -> None:
    model = Scripted(("Buenos días a todos", 1.0))
    monkeypatch.setattr(whisper, "load_model", lambda _: model)
    monkeypatch.setattr(asr, "load_model", lambda _: model)
    monkeypatch.setattr(asr, "language_odds", lambda *_: (odds,))
    path = str(write_pcm(tmp_path / "a.pcm", np.zeros(20 * SECOND)))
    found = transcribe_chunk("m", path, 0, seconds * SECOND, "zh", guessed=guessed)
    assert [asked["language"] for asked in model.asked] == [heard_in]
    assert found.text == "Buenos días a todos"


def test_a_looping_answer_is_asked_again_more_firmly_in_a_fixed_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, found = answer(monkeypatch, tmp_path, ("la la", 9.0), ("la lo", 3.0), ("fine", 1.0))
    assert (found.text, found.retries) == ("fine", 2)
    assert [ask.get("no_repeat_ngram_size") for ask in model.asked] == [None, 4, 3]
    assert model.asked[2]["repetition_penalty"] == 1.2
    assert {ask["temperature"] for ask in model.asked} == {0.0}


def test_when_everything_loops_the_least_looping_answer_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, found = answer(monkeypatch, tmp_path, ("la la", 9.0), ("la lo", 3.0), ("lo lo", 5.0))
    assert (found.text, found.retries) == ("la lo", 2)


def test_only_the_first_window_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Regression: reading on made the model invent words for the pause after the last word."""
    model, found = answer(monkeypatch, tmp_path, ("你好。", 1.0))
    assert found.text == "你好。"
    assert model.segments_read == 1


def test_without_word_times_segments_still_have_times(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, found = answer(monkeypatch, tmp_path, ("你好。 再见。", 1.0))
    assert [s.text for s in found.segments] == ["你好。", "再见。"]
    assert found.segments[0].start_s == 1.0
    assert found.segments[0].end_s == found.segments[1].start_s == pytest.approx(2.71, abs=0.01)
    assert found.segments[-1].end_s == 5.0


def test_speech_without_words_is_found_and_cut_at_a_pause() -> None:
    """10 s of speech, a short pause, 10 s of speech; the words only cover the second half."""
    speech = [0.95] * 310 + [0.02] * 12 + [0.95] * 310
    words = [SpokenWord(10.3 + n * 0.5, 10.8 + n * 0.5, " w") for n in range(20)]
    missed = dropouts.missed_speech(words, speech)
    assert missed is not None
    assert missed[0] == 0
    assert 300 <= missed[1] <= 315
    cut = dropouts.cut_window(missed, speech)
    assert cut is not None
    assert 310 <= cut < 322
    assert dropouts.could_be_missing(words, 20.2)


def test_a_word_stretched_over_what_was_left_out_covers_only_a_word() -> None:
    speech = [0.95] * 300
    words = [SpokenWord(0.0, 0.5, "a"), SpokenWord(0.5, 9.0, " b"), SpokenWord(9.0, 9.6, " c")]
    assert dropouts.missed_speech(words, speech) is not None


def test_pauses_without_words_are_no_dropouts() -> None:
    speech = [0.9] * 60 + [0.05] * 150 + [0.9] * 60
    words = [SpokenWord(0.0, 1.8, "a b c"), SpokenWord(0.9, 1.9, " d"), SpokenWord(6.8, 7.8, " e")]
    words += [SpokenWord(7.6, 8.6, " f")]
    assert dropouts.missed_speech(words, speech) is None


def test_speech_too_short_to_cut_stays_whole() -> None:
    assert dropouts.cut_window((0, 40), [0.9] * 40) is None


def test_chinese_is_asked_for_in_simplified_characters(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, _ = answer(monkeypatch, tmp_path, ("你好。", 1.0))
    assert model.asked[0]["initial_prompt"] == "以下是普通话的句子。"


def test_language_is_looked_for_in_several_places_from_the_middle_on() -> None:
    spans = [(n * 40 * SECOND, (n * 40 + 20) * SECOND) for n in range(100)]
    starts = [start // SECOND // 40 for start, _ in asr._spots(spans)]
    assert starts[0] == 50
    assert set(starts) == {0, 25, 50, 74, 99}


def test_short_chunks_are_heard_together_for_the_language() -> None:
    spans = [(n * 10 * SECOND, (n * 10 + 9) * SECOND) for n in range(3)]
    assert asr._spots(spans)[1] == (0, 29 * SECOND)


def test_fingerprint_names_versions_and_processor() -> None:
    assert engine_fingerprint() == engine_fingerprint()
    pattern = r"faster-whisper \S+; ctranslate2 \S+; int8; cpu [0-9a-f]{8}"
    assert re.fullmatch(pattern, engine_fingerprint())


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = str(write_pcm(tmp_path / "a.pcm", np.zeros(SECOND)))
    with pytest.raises(ModelMissing, match=r"model\.bin is missing"):
        transcribe_chunk(str(tmp_path), path, 0, SECOND, "en")


# --- with the real model --------------------------------------------------------------------


def test_missing_pcm_is_our_error(model_dir: str, tmp_path: Path) -> None:
    with pytest.raises(FileMissingError):
        transcribe_chunk(model_dir, str(tmp_path / "gone.pcm"), 0, SECOND, "en")


def test_no_speech_has_no_language(model_dir: str, tmp_path: Path) -> None:
    path = str(write_pcm(tmp_path / "a.pcm", np.zeros(SECOND)))
    assert detect_language(model_dir, path, ()) == ("", 0.0)


@pytest.mark.parametrize(
    ("kind", "language"), [("silence", "en"), ("noise", "en"), ("noise", "zh"), ("clicks", "zh")]
)
def test_nothing_is_invented_for_what_is_no_speech(
    model_dir: str, tmp_path: Path, kind: str, language: str
) -> None:
    sound = np.zeros(4 * SECOND)
    if kind == "noise":
        sound = np.random.default_rng(0).normal(0, 0.2, 4 * SECOND)
    elif kind == "clicks":
        sound[:: SECOND // 2] = 0.9
    path = str(write_pcm(tmp_path / "a.pcm", sound))
    found = transcribe_chunk(model_dir, path, 0, 4 * SECOND, language)
    assert (found.text, found.segments) == ("", ())
    assert found.dropped  # the model did say something


@pytest.mark.media
def test_words_and_times_of_real_speech(model_dir: str, jfk: str) -> None:
    (chunk,) = plan_speech(jfk).chunks
    told: list[tuple[float, float]] = []
    progress.set_sink(lambda done, total: told.append((done, total)))
    try:
        found = transcribe_chunk(model_dir, jfk, chunk.start, chunk.end, "en")
    finally:
        progress.set_sink(None)
    assert found.text == (
        "And so my fellow Americans, ask not what your country can do for you, "
        "ask what you can do for your country."
    )
    assert " ".join(s.text for s in found.segments) == found.text
    words = [word for segment in found.segments for word in segment.words]
    assert len(words) == 22
    assert all(0 <= w.start_s <= w.end_s <= 11.0 for w in words)
    assert [w.start_s for w in words] == sorted(w.start_s for w in words)
    assert told[-1] == (11.0, 11.0)
    json.dumps(asdict(found))


@pytest.mark.slow
@pytest.mark.media
def test_times_count_from_the_start_of_the_recording(
    model_dir: str, jfk: str, tmp_path: Path
) -> None:
    later = tmp_path / "later.pcm"
    later.write_bytes(bytes(2 * 100 * SECOND) + Path(jfk).read_bytes())
    shifted = transcribe_chunk(model_dir, str(later), 100 * SECOND, 111 * SECOND, "en")
    plain = transcribe_chunk(model_dir, jfk, 0, 11 * SECOND, "en")
    assert shifted.segments[0].start_s == pytest.approx(plain.segments[0].start_s + 100)
    assert shifted.text == plain.text


@pytest.mark.slow
@pytest.mark.media
def test_the_same_chunk_gives_the_same_text_in_any_process(model_dir: str, jfk: str) -> None:
    here = asdict(transcribe_chunk(model_dir, jfk, 0, 11 * SECOND, "en"))
    assert here == asdict(transcribe_chunk(model_dir, jfk, 0, 11 * SECOND, "en"))
    code = (
        "import json, sys; from dataclasses import asdict\n"
        "from gs_video_report.media.speech.asr import transcribe_chunk\n"
        "print(json.dumps(asdict(transcribe_chunk(sys.argv[1], sys.argv[2], 0, 176000, 'en'))))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, model_dir, jfk], check=True, capture_output=True, text=True
    )
    assert json.loads(there.stdout) == json.loads(json.dumps(here))


@pytest.mark.slow
@pytest.mark.media
def test_without_word_times_the_text_is_the_same(model_dir: str, jfk: str) -> None:
    plain = transcribe_chunk(model_dir, jfk, 0, 11 * SECOND, "en")
    spread = transcribe_chunk(model_dir, jfk, 0, 11 * SECOND, "en", AsrParams(word_times=False))
    assert spread.text == plain.text


@pytest.mark.slow
@pytest.mark.media
def test_chinese_comes_out_simplified_and_in_sentences(model_dir: str, tmp_path: Path) -> None:
    path = tmp_path / "zh.pcm"
    extract_audio(str(real_media("fleurs_zh_1883.wav")), str(path))
    chunks = plan_speech(str(path)).chunks
    assert detect_language(model_dir, str(path), chunks)[0] == "zh"
    texts = [transcribe_chunk(model_dir, str(path), c.start, c.end, "zh").text for c in chunks]
    assert "该项目于2011年8月完工" in "".join(texts)


@pytest.mark.slow
@pytest.mark.media
def test_an_introduction_in_another_language_does_not_decide(
    model_dir: str, tmp_path: Path
) -> None:
    out = tmp_path / "mixed.pcm"
    data = b""
    for name in ("jfk.wav", "fleurs_zh_1883.wav", "thchs30_D4_750.wav", "fleurs_zh_1883.wav"):
        extract_audio(str(real_media(name)), str(out))
        data += out.read_bytes() + bytes(2 * 3 * SECOND)
    out.write_bytes(data)
    chunks = plan_speech(str(out)).chunks
    assert len(chunks) >= 4
    language, probability = detect_language(model_dir, str(out), chunks)
    assert language == "zh"
    assert probability > 0.6
    spans = [(chunk.start, chunk.end) for chunk in chunks]
    assert detect_language(model_dir, str(out), spans) == (language, probability)


@pytest.mark.slow
@pytest.mark.media
def test_several_speakers_in_a_row_lose_no_sentence(model_dir: str, tmp_path: Path) -> None:
    """Given to Whisper in one piece, ten speakers in a row cost it half of the words."""
    out = tmp_path / "row.pcm"
    data, wanted = b"", []
    for number in range(5):
        path = real_media(f"fleurs-en-00{number}.ogg")
        extract_audio(str(path), str(out))
        data += out.read_bytes() + bytes(2 * SECOND * 4 // 10)
        wanted += path.with_name(path.name + ".txt").read_text("utf-8").lower().split()
    out.write_bytes(data)
    chunks = plan_speech(str(out)).chunks
    text = " ".join(
        transcribe_chunk(model_dir, str(out), c.start, c.end, "en").text for c in chunks
    )
    heard = set("".join(c if c.isalnum() else " " for c in text.lower()).split())
    missed = [word for word in wanted if word not in heard]
    assert len(missed) <= len(wanted) * 0.15, missed


def test_chunks_can_be_given_as_pairs_triples_or_chunks() -> None:
    assert asr._span(Chunk(3, 10, 20)) == asr._span((10, 20)) == asr._span([3, 10, 20]) == (10, 20)
