"""Which chunks are heard again, that a decision is made once, and that it counts ever after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

from gs_video_report.engines import jobs
from gs_video_report.engines.base import TaskContext
from gs_video_report.engines.hearing import second_hearing
from gs_video_report.engines.hearing.second_hearing import Hearing, apply, doubtful_parts
from tests.support.lectures import ENGLISH

RATE = 16_000
GOOD, POOR = -0.2, -1.1
MODEL = {"sha256": "m", "path": "models/base"}


def chunk(start_s: float, text: str, logprob: float = GOOD) -> dict[str, Any]:
    """Text of a chunk of 10 s with a word every half second."""
    words = [
        {"start_s": start_s + i / 2, "end_s": start_s + (i + 1) / 2, "text": f" {w}"}
        for i, w in enumerate(text.split())
    ]
    end_s = words[-1]["end_s"] if words else start_s
    segment = {
        "start_s": start_s,
        "end_s": end_s,
        "text": text,
        "avg_logprob": logprob,
        "words": words,
    }
    return {"text": text, "segments": [segment] if words else []}


def spoken(at: int, logprob: float = GOOD) -> dict[str, Any]:
    """The chunk that starts at `at` seconds of a lecture: twenty words."""
    return chunk(at, " ".join(ENGLISH.split()[2 * at : 2 * at + 20]), logprob)


def hearing(*texts: dict[str, Any], probability: float | None = 0.99) -> Hearing:
    plan = [(i * 10 * RATE, (i + 1) * 10 * RATE) for i in range(len(texts))]
    speech = tuple((i * 10.0, i * 10.0 + 9.5) for i in range(len(texts)))
    return Hearing(plan, speech, MODEL, "en", probability, texts)


LOOP = "and so on again " * 5


def outcome(kept: dict[str, Any] | None, way: str, languages: list[str]) -> dict[str, Any]:
    figures = {"logprob": -0.3, "missed_s": 0.0}
    attempts = [{"way": "present", "languages": ["en"], "measure": figures, "cost": 0.9}]
    if way != "none":
        attempts.append({"way": "pieces", "languages": languages, "measure": figures, "cost": 0.3})
    return {"kept": kept, "way": "pieces" if kept else "present", "attempts": attempts}


class Journal:
    """Steps in memory, and what was computed."""

    def __init__(self, answer: Callable[[int, bool], dict[str, Any]]) -> None:
        self.values: dict[int, Any] = {}
        self.computed: list[tuple[int, bool]] = []
        self._answer = answer

    async def step(
        self,
        name: str,
        fn: Callable[[], Awaitable[Any]],
        *,
        part: int = 0,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        if part not in self.values:
            self.values[part] = await fn()
        return self.values[part]

    async def known(self, name: str, params: Mapping[str, Any]) -> dict[int, Any]:
        return dict(self.values)

    async def run(self, fn: Any, *args: Any, **more: Any) -> Any:
        assert fn is jobs.relisten_chunk
        part, only_language = args[2] // (10 * RATE), args[6]
        self.computed.append((part, only_language))
        return self._answer(part, only_language)

    def statistics(self) -> Any:
        return type("Statistics", (), {"processes": 2})()

    def context(self, *, hear_again: bool) -> TaskContext:
        return TaskContext(
            media=cast(Any, None),
            template=cast(Any, None),
            options={},
            step=cast(Any, self.step),
            compute=cast(Any, self),
            limiter=cast(Any, None),
            cache=cast(Any, None),
            work_dir=Path(),
            progress=lambda stage, done, total: None,
            cancelled=asyncio.Event(),
            known=self.known,
            hear_again=hear_again,
        )


async def pcm_path() -> str:
    return "audio.pcm"


def heard(
    journal: Journal, first: Hearing, *, hear_again: bool
) -> tuple[list[Any], tuple[Any, ...]]:
    return asyncio.run(apply(journal.context(hear_again=hear_again), first, pcm_path))


def test_chunks_in_doubt_are_those_that_triage_would_point_at() -> None:
    empty = chunk(30.0, "")
    first = hearing(spoken(0), spoken(10, POOR), chunk(20, LOOP), empty, spoken(40))
    assert doubtful_parts(first) == [1, 2, 3]


def test_only_doubtful_chunks_are_heard_again_and_the_better_text_takes_their_place() -> None:
    better = chunk(10.0, "the right words")
    journal = Journal(lambda part, only: outcome(better if part == 1 else None, "pieces", ["en"]))
    first = hearing(spoken(0), spoken(10, POOR), spoken(20, POOR))
    texts, told = heard(journal, first, hear_again=True)
    assert journal.computed == [(1, False), (2, False)]
    assert texts == [first.texts[0], better, first.texts[2]]
    assert [(t["start_s"], t["end_s"], t["replaced"]) for t in told] == [
        (10.0, 20.0, True),
        (20.0, 30.0, False),
    ]
    assert (told[0]["before"]["cost"], told[0]["after"]["cost"]) == (0.9, 0.3)


def test_a_decision_is_made_once_and_counts_in_runs_that_do_not_listen_again() -> None:
    better = chunk(0.0, "the right words")
    journal = Journal(lambda part, only: outcome(better, "pieces", ["en"]))
    first = hearing(spoken(0, POOR))
    made = heard(journal, first, hear_again=True)
    assert heard(journal, first, hear_again=True) == made
    assert heard(journal, first, hear_again=False) == made
    assert len(journal.computed) == 1


def test_without_being_asked_nothing_is_heard_again() -> None:
    journal = Journal(lambda part, only: outcome(None, "pieces", ["en"]))
    first = hearing(spoken(0, POOR))
    assert heard(journal, first, hear_again=False) == ([first.texts[0]], ())
    assert journal.computed == []


def test_with_a_doubtful_language_every_chunk_is_asked_for_its_language_and_told_as_one() -> None:
    journal = Journal(lambda part, only: outcome(None, "none" if only else "pieces", ["en"]))
    texts = [spoken(at, POOR if at == 30 else GOOD) for at in (0, 10, 20, 30, 40)]
    _, told = heard(journal, hearing(*texts, probability=0.6), hear_again=True)
    assert journal.computed == [(0, True), (1, True), (2, True), (3, False), (4, True)]
    assert [(t["start_s"], t["end_s"], t["tried"]) for t in told] == [
        (0.0, 30.0, 0),
        (30.0, 40.0, 1),
        (40.0, 50.0, 0),
    ]


def test_a_language_that_was_given_is_no_guess() -> None:
    journal = Journal(lambda part, only: outcome(None, "none", ["en"]))
    first = hearing(spoken(0), spoken(10), probability=None)
    heard(journal, first, hear_again=True)
    assert journal.computed == []


def test_model_plan_and_language_are_part_of_the_key() -> None:
    first = hearing(spoken(0))
    other = hearing(spoken(0), spoken(10))
    keys = {repr(first.params), repr(other.params)}
    assert len(keys) == 2
    assert set(first.params) == {"v", "params", "asr", "model", "plan", "language"}
    assert second_hearing.STEP == "relisten"
