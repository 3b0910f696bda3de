"""The dry run: a short table, exact totals, flat memory."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gs_video_report.batch.data_models import InputType, VideoInput
from gs_video_report.batch.dry_run import Known, plan_rows
from gs_video_report.batch.inputs.lengths import FALLBACK_BYTES_PER_S, Lengths
from gs_video_report.engines.base import Estimate
from gs_video_report.terminal.dry_run import PlanInfo, PlanRow, dry_run, dry_run_json
from gs_video_report.terminal.styles import width

ROW = PlanRow("week01/第一讲：导论.mp4", media_s=4360, size_bytes=812_000_000, seconds=1200)
PAID = replace(ROW, usd=0.17, usd_max=0.25, requests=5, tokens=200_000)
SKIPPED = PlanRow("week01/lab.mkv", "skip", "done, same source", 2883, 510_000_000)
REJECTED = PlanRow("week02/broken.mp4", "reject", "no media in file", None, 0)
INFO = PlanInfo(
    engine="openai",
    template="chinese_transcript",
    parallel=4,
    output_dir="./batch_output",
    run_command="gsvr batch process -d ./lectures",
    free_bytes=52_000_000_000,
    prices_of="2026-11-01",
)


def test_the_whole_text() -> None:
    assert list(dry_run([PAID, SKIPPED, REJECTED], INFO).lines()) == [
        "Dry run: nothing is written, no request is sent.",
        "  #  File                      Length    Size  Action        Time   Cost",
        "  1  week01/第一讲：导论.mp4  1:12:40  812 MB  process  10-30 min  $0.17",
        "  2  week01/lab.mkv             48:03  510 MB  skip: done, same source",
        "  3  week02/broken.mp4              -     0 B  reject: no media in file",
        "",
        "3 files: 1 to process, 1 skipped, 1 rejected",
        "Engine  openai, template chinese_transcript",
        "Media   1 h 13 m, 812 MB",
        "Time    10-30 min with 4 workers (from a built-in table, +/- 50 %)",
        "Cost    about $0.17, at most $0.25 (5 requests, 200 k tokens; prices of 2026-11-01)",
        "Output  ./batch_output (52.0 GB free)",
        "Run it: gsvr batch process -d ./lectures",
    ]


def test_a_length_that_was_guessed_from_the_size_is_marked() -> None:
    guessed = replace(ROW, name="talk.mp4", media_guessed=True)
    lines = list(dry_run([ROW, guessed], INFO).lines())
    assert [line.split()[2] for line in lines[2:4]] == ["1:12:40", "≈1:12:40"]
    media = next(line for line in lines if line.startswith("Media"))
    assert media == "Media   ≈2 h 25 m, length of 1 file guessed from the size, 1.6 GB"
    assert "~1:12:40" in "\n".join(dry_run([guessed], INFO, about="~").lines())
    first, second, plan = dry_run_json([ROW, guessed], INFO)
    assert (first["media_guessed"], second["media_guessed"]) == (False, True)
    assert plan["guessed_length"] == 1


def test_an_address_whose_site_tells_only_the_size_has_a_guessed_length() -> None:
    told, silent, measured = (
        VideoInput(f"https://e.org/{name}.mp4", InputType.URL) for name in ("told", "silent", "m")
    )
    lengths = Lengths(sizes={told.source: 6_000_000, measured.source: 6_000_000})
    lengths.measured[measured.source] = 90.0
    found = iter([told, silent, measured])
    rows = list(plan_rows(found, "summary_report", lengths, Known(), lambda s: Estimate(s)))
    assert [(r.media_s, r.media_guessed) for r in rows] == [
        (6_000_000 / FALLBACK_BYTES_PER_S, True),
        (None, False),
        (90.0, False),
    ]


def test_only_the_first_rows_are_shown_but_later_rejects_as_well() -> None:
    rows = [replace(ROW, name=f"{n}.mp4") for n in range(30)] + [REJECTED]
    lines = list(dry_run(rows, INFO).lines())
    assert "     ... 11 more (--all shows every row)" in lines
    assert not any(" 25.mp4" in line for line in lines)
    assert any(line.startswith(" 31  week02/broken.mp4") for line in lines)
    everything = list(dry_run(rows, INFO, show_all=True).lines())
    assert any(" 25.mp4" in line for line in everything)
    assert not any("more (--all" in line for line in everything)


def test_a_local_run_costs_nothing_and_says_so() -> None:
    lines = list(dry_run([ROW], INFO).lines())
    assert "Cost    nothing: no request leaves this machine" in lines


def test_the_time_of_the_batch_respects_workers_and_the_longest_video() -> None:
    run = dry_run([replace(ROW, seconds=s) for s in (100, 100, 100, 1000)], INFO)
    list(run.lines())
    assert run.totals.wall_s(4) == (1000, 325 + 750)
    assert run.totals.wall_s(1) == (1300, 1300)


def test_nothing_to_process_shows_no_command() -> None:
    lines = list(dry_run([SKIPPED], INFO).lines())
    assert not any(line.startswith("Run it") for line in lines)
    assert "1 file: 0 to process, 1 skipped" in lines


def test_limits_that_will_be_hit_are_told_before() -> None:
    info = replace(INFO, cost_limit_usd=0.10, free_bytes=10, output_bytes=lambda totals: 1000)
    text = "\n".join(dry_run([PAID], info).lines())
    assert "Limit   $0.10 (--cost-limit)" in text
    assert "will pause at the cost limit" in text
    assert "disk is too small" in text


def test_hostile_and_long_names_stay_on_their_line() -> None:
    rows = [
        replace(ROW, name="a\x1b[2J\n" + "第" * 90 + ".mp4"),
        replace(REJECTED, reason="x" * 300),
    ]
    lines = list(dry_run(rows, INFO).lines())
    assert all(width(line) <= 100 for line in lines)
    assert "\x1b" not in "".join(lines)
    assert lines[2].split()[1].endswith(".mp4")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_hundred_thousand_files_stream_through(as_json: bool) -> None:
    def rows() -> Iterator[PlanRow]:
        for n in range(100_000):
            yield PlanRow(f"folder/video-{n}.mp4", media_s=600.0, size_bytes=1000, seconds=60.0)

    held = Held()
    stream = (
        dry_run_json(held.watch(rows()), INFO)
        if as_json
        else dry_run(held.watch(rows()), INFO).lines()
    )
    last = deque(stream, maxlen=1).pop()
    assert held.most <= 40
    assert "gsvr batch process" in json.dumps(last)


class Held:
    """Counts how many rows are alive at once, at most."""

    def __init__(self) -> None:
        self.alive = 0
        self.most = 0

    def watch(self, rows: Iterator[PlanRow]) -> Iterator[PlanRow]:
        for row in rows:
            watched = Watched(**{name: getattr(row, name) for name in PlanRow.__slots__})
            watched.enter(self)
            yield watched
            del watched


class Watched(PlanRow):
    """A row that tells when it goes."""

    def enter(self, held: Held) -> None:
        object.__setattr__(self, "_held", held)
        held.alive += 1
        held.most = max(held.most, held.alive)

    def __del__(self) -> None:
        self._held.alive -= 1  # type: ignore[attr-defined]


def test_json_twin_ends_with_the_totals() -> None:
    values = list(dry_run_json([PAID, SKIPPED, REJECTED], INFO))
    assert [value["type"] for value in values] == ["plan_row"] * 3 + ["plan"]
    last = values[-1]
    assert (last["files"], last["process"], last["skip"], last["reject"]) == (3, 1, 1, 1)
    assert last["reasons"] == {"done, same source": 1, "no media in file": 1}
    assert (last["wall_s"], last["exit_code"]) == ([600, 1800], 0)
    assert list(dry_run_json([], INFO))[-1]["exit_code"] == 5
