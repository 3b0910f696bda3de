"""Summary and error report of a batch: grouped by cause, worst last, with the next command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from markdown_it import MarkdownIt

from gs_video_report.report.batch_pages import build_pages
from gs_video_report.report.batch_report import (
    EXAMPLES_SHOWN,
    BatchFacts,
    Failure,
    cause_of,
    engines_text,
    error_files,
    group_failures,
    realtime_factor,
    summary_files,
)
from tests.support.reports import HOSTILE

FACTS = BatchFacts(
    *("7f3a", "lectures", "chinese_transcript", "local"),
    completed=46, failed=3, media_s=111_900.0, elapsed_s=7440.0, usd=4.22, index="index.html",
)  # fmt: skip
FAILURES = [
    Failure("7f3a:9", "week02/guest.mp4", "E_TIMEOUT", "took too long", "raise --timeout"),
    Failure("7f3a:1", "week02/a.mp4", "E_NO_MEDIA", "not a video", "copy it again", "probe"),
    Failure("7f3a:3", "week03/b.mp4", "E_NO_MEDIA", "not a video", "copy it again", "probe"),
]


def test_failures_are_grouped_by_cause_and_the_most_frequent_stands_last() -> None:
    groups = group_failures(FAILURES)
    assert [(g.code, g.count) for g in groups] == [("E_TIMEOUT", 1), ("E_NO_MEDIA", 2)]
    assert [f.ref for f in groups[1].failures] == ["7f3a:1", "7f3a:3"]
    assert group_failures([*FAILURES[1:], FAILURES[0]]) == groups


def test_causes_come_from_the_errors_own_words() -> None:
    assert cause_of("E_EMPTY_FILE") == "The file has no bytes."
    assert cause_of("E_FROM_A_NEWER_VERSION") == "The work failed."


def test_the_summary_says_how_much_and_how_fast_and_what_next() -> None:
    made = summary_files(FACTS, group_failures(FAILURES), "-7f3a")
    text = made["summary-7f3a.md"].decode()
    assert "**46 of 49 done** (in 2:04:00, 15.04x realtime, $4.22)." in text
    assert "| Length of recordings | 31:05:00 |" in text
    assert (
        "- 2 × The file is not audio or video, or its header cannot be read. `E_NO_MEDIA`" in text
    )
    assert "```sh\ngsvr batch retry 7f3a --failed\n```" in text
    assert "(errors-7f3a.md)" in text
    value = json.loads(made["summary-7f3a.json"])
    assert (value["total"], value["retry"]) == (49, "gsvr batch retry 7f3a --failed")
    assert value["failures"][-1] == {"code": "E_NO_MEDIA", "hint": "copy it again", "count": 2}


def test_the_summary_names_the_engines_that_made_the_reports(tmp_path: Path) -> None:
    """After a fallback it said "Engine openai" of reports by the local engine."""
    row = {"ref": "b:1", "name": "a.mp4", "template": "t", "media_s": 1.0, "error": None}
    row |= {"outputs": [], "language": "en", "seconds": 1.0, "attempt": 1, "current": True}
    made = ("openai", "local", "local", "")
    tasks = [row | {"status": "completed" if name else "failed", "engine": name} for name in made]
    tasks.append(row | {"status": "completed", "engine": "gemini", "current": False})
    listing = tmp_path / "tasks.jsonl"
    listing.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    batch = {"batch_id": "7f3a", "name": "x", "template": "t", "engine": "openai", "language": "en"}
    batch |= {"created_at": "", "tool_version": "1", "elapsed_s": 1.0}
    states = ("pending", "running", "retrying", "completed", "failed", "cancelled", "skipped")
    counts = dict.fromkeys(states, 0) | {"completed": 3, "failed": 1, "media_s_done": 3, "usd": 0}
    found = build_pages(batch, counts, str(listing), str(tmp_path))
    text = Path(str(found["summary"])).read_text()
    assert "| Engine | openai (1), local (2) |" in text
    value = json.loads(Path(str(found["summary"])).with_suffix(".json").read_text())
    assert (value["engine"], value["engines"]) == ("openai", {"openai": 1, "local": 2})


def test_a_damaged_report_does_not_cost_the_library_page(tmp_path: Path) -> None:
    """A report with other JSON in it, or edited by hand, ended the pages of the whole batch."""
    row = {"template": "t", "media_s": 7.0, "error": None, "language": "en", "seconds": 1.0}
    row |= {"attempt": 1, "current": True, "status": "completed", "engine": "local"}
    damages = (b"[]", b"null", b'{"media": {"title": 5}, "provenance": []}', b"[" * 100_000)
    for number, damage in enumerate(damages):
        (tmp_path / f"{number}.json").write_bytes(damage)
    tasks = [
        row | {"ref": f"b:{n}", "name": f"talk {n}.mp4", "outputs": [f"{n}.json"]}
        for n in range(len(damages))
    ]
    listing = tmp_path / "tasks.jsonl"
    listing.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    batch = {"batch_id": "7f3a", "name": "x", "template": "t", "engine": "local", "language": "en"}
    batch |= {"created_at": "", "tool_version": "1", "elapsed_s": 1.0}
    states = ("pending", "running", "retrying", "completed", "failed", "cancelled", "skipped")
    counts = dict.fromkeys(states, 0) | {"completed": 4, "media_s_done": 28, "usd": 0}
    page = Path(str(build_pages(batch, counts, str(listing), str(tmp_path))["index"])).read_text()
    assert all(f"talk {n}.mp4" in page for n in range(len(damages)))


def test_a_batch_of_one_engine_names_it_and_one_without_reports_the_engine_asked_for() -> None:
    assert engines_text(replace(FACTS, engines={"gemini": 46})) == "gemini"
    assert engines_text(FACTS) == "local"


def test_a_clean_batch_has_no_error_report_and_nothing_to_retry() -> None:
    assert error_files(FACTS, ()) == {}
    made = summary_files(BatchFacts("7f3a", "x", "t", "local", completed=2), ())
    assert json.loads(made["summary.json"])["retry"] is None
    assert "retry" not in made["summary.md"].decode()
    assert realtime_factor(BatchFacts("7f3a", "x", "t", "local")) is None


def test_the_error_report_lists_all_in_json_and_enough_in_text() -> None:
    many = [Failure(f"b:{n}", f"{n}.mp4", "E_EMPTY_FILE", "is empty", "copy") for n in range(80)]
    made = error_files(FACTS, group_failures(many))
    text = made["errors.md"].decode()
    assert text.startswith("# 80 recordings failed in lectures\n")
    assert text.count("\n- **") == EXAMPLES_SHOWN
    assert "- and 30 more" in text
    value = json.loads(made["errors.json"])
    assert len(value["groups"][0]["failures"]) == 80


def test_the_table_is_a_table_and_names_cannot_add_markup() -> None:
    facts = BatchFacts("7f3a", HOSTILE, HOSTILE, HOSTILE, failed=1, status="a|b")
    failure = Failure("b:1", HOSTILE, "E_`X`", HOSTILE, HOSTILE, HOSTILE)
    groups = group_failures([failure])
    for data in (*summary_files(facts, groups).values(), *error_files(facts, groups).values()):
        if data.startswith(b"#"):
            tokens = MarkdownIt("commonmark").enable("table").parse(data.decode())
            found = {t.type for t in tokens} | {c.type for t in tokens for c in t.children or ()}
            assert not found & {"html_block", "html_inline", "image"}
            fences = [t.content for t in tokens if t.type == "fence"]
            assert fences == ["gsvr batch retry 7f3a --failed\n"]
    table = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(summary_files(facts, groups)["summary.md"].decode())
    )
    assert table.count("<td>") == 2 * (table.count("<tr>") - 1)
