"""Mutated files: every one ends soon, in a report or in one explained error; nothing leaks."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.reliability import rich
from tests.reliability.fuzz import LISTS, SUBTITLES, decode_all, read_all
from tests.reliability.originals import (
    all_originals,
    list_originals,
    small_originals,
    text_originals,
)
from tests.reliability.scene import CHEAP

SHORT = 220
"""Files in the short form: every original two or three times."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return all_originals(tmp_path_factory.mktemp("originals"))


async def test_mutated_recordings_are_decoded_or_refused_with_a_reason(
    originals: list[Path], fast: Path
) -> None:
    before = set(psutil.Process().children(recursive=True))  # of tests in the same process
    outcome = await decode_all(originals, range(SHORT), fast)
    assert outcome.problems == []
    assert outcome.met["ok"] > SHORT // 4
    assert outcome.met["E_NO_MEDIA"] > 5
    assert not outcome.met["E_OUT_OF_MEMORY"]
    assert not set(psutil.Process().children(recursive=True)) - before


async def test_mutated_lists_and_subtitles_are_read_or_refused_with_a_reason(
    tmp_path: Path, fast: Path
) -> None:
    originals = [*text_originals(tmp_path), *list_originals(tmp_path)]
    outcome = await decode_all(originals, range(16 * len(originals)), fast)
    assert outcome.problems == []
    assert outcome.met["ok"] > 50
    assert outcome.met["E_INPUT_LIST"] > 5
    assert outcome.met["E_SUBTITLES"] > 5
    assert outcome.met["row"] > 5


async def test_every_original_can_be_read_except_those_that_are_no_recordings(
    originals: list[Path], fast: Path
) -> None:
    """Guards the guard: mutations of files that nobody can read would show nothing."""
    media = [path for path in originals if path.suffix not in LISTS]
    refused = {name: codes for name, codes in (await read_all(media, fast)).items() if codes}
    assert refused == {"gif.mp4": ["E_NO_MEDIA"], "mjpeg.mpg": ["E_NO_MEDIA"]}


def test_the_originals_are_the_same_bytes_every_time(originals: list[Path], tmp_path: Path) -> None:
    """Else the number of a mutation would not find it again."""
    again = [*small_originals(tmp_path), *list_originals(tmp_path)]
    first = {path.name: path.read_bytes() for path in originals}
    assert [path.name for path in again if path.read_bytes() != first[path.name]] == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("block", range(4))
async def test_a_thousand_mutations_of_each_original_end_well(
    originals: list[Path], fast: Path, block: int
) -> None:
    each = 250 * len(originals)
    outcome = await decode_all(originals, range(each * (block + 1), each * (block + 2)), fast)
    assert outcome.problems == []
    assert outcome.met["E_OUT_OF_MEMORY"] <= outcome.files // 5000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_batch_of_mutated_recordings_ends_with_a_report_or_a_reason_for_each(
    originals: list[Path], fast: Path
) -> None:
    """With the real model: noise of damaged samples is now and then taken for a voice."""
    pytest.importorskip("faster_whisper")
    media = [path for path in originals if path.suffix not in LISTS | SUBTITLES]
    outcome = rich.block(media, range(100, 220), fast, *CHEAP)
    assert outcome.problems == []
    assert outcome.met["ok"] > 30


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_three_hundred_mutated_recordings_are_heard_looked_at_and_read(fast: Path) -> None:
    pytest.importorskip("faster_whisper")
    outcome = rich.blocks(fast, range(300))
    assert outcome.problems == []
    assert outcome.met["ok"] > 150
