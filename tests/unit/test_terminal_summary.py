"""The last words of a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from gs_video_report.batch.data_models import BatchCounts, BatchResult, BatchStatus, TaskError
from gs_video_report.batch.progress.snapshot import Snapshot
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.media.web.net_guard import blocked
from gs_video_report.terminal.failures import failure_lines, group_failures
from gs_video_report.terminal.styles import width
from gs_video_report.terminal.summary import (
    KeptWork,
    stop_now_text,
    stopping_text,
    summary_json,
    summary_lines,
)
from tests.support.terminal_play import NO_MEDIA, VirtualClock, make_batch

BLOCKED = TaskError(
    "E_BLOCKED",
    "week05/guest.mp4: blocked by provider",
    "use --engine local for it:  gsvr batch retry latest --failed --engine local",
    "compose",
)


def make_result(exit_code: int = 0, status: str = "completed", **counts: float) -> BatchResult:
    values = {"completed": 46, "usd": 4.22, **counts}
    return BatchResult("7f3a91c2", BatchStatus(status), BatchCounts(**values), exit_code, 7440)  # type: ignore[arg-type]


def make_snapshot(**fields: object) -> Snapshot:
    clock = VirtualClock()
    monitor = ProgressMonitor(make_batch(), BatchCounts(pending=1), 4, clock, ref="7f3a")
    return replace(monitor.snapshot(), **fields)  # type: ignore[arg-type]


def test_failures_are_grouped_by_cause_with_their_fix_and_the_worst_last() -> None:
    groups = group_failures(
        [("week02/broken.mp4", NO_MEDIA), ("week05/guest.mp4", BLOCKED), ("w/empty.mp4", NO_MEDIA)]
    )
    snapshot = make_snapshot(run_done=46, run_media_s=111_600.0, elapsed_s=7440.0)
    assert summary_lines(make_result(3, failed=3), groups, ["errors.md"], snapshot=snapshot) == [
        "46 of 49 done in 2 h 04 m (15.0x realtime, $4.22). 3 failed:",
        "  1  blocked by provider  week05/guest.mp4",
        "     fix: use --engine local for it:  gsvr batch retry 7f3a --failed --engine local",
        "  2  no media in file     week02/broken.mp4, w/empty.mp4",
        "     fix: copy the file again",
        "Retry:   gsvr batch retry 7f3a --failed",
        "Reports  errors.md",
    ]


def test_a_clean_run_has_no_next_step() -> None:
    lines = summary_lines(replace(make_result(), report_index="out/index.html", elapsed_s=22))
    assert lines == ["46 of 46 done in 22 s ($4.22).", "Reports  out/index.html"]


def test_a_run_that_found_everything_done_says_so() -> None:
    result = make_result(completed=40, skipped=8, usd=0.0)
    assert summary_lines(result, snapshot=make_snapshot()) == [
        "Nothing to do: 48 videos already done."
    ]


def test_an_interrupted_run_says_what_is_kept_and_how_to_go_on() -> None:
    result = make_result(130, "paused", completed=31, failed=2, pending=15)
    lines = summary_lines(replace(result, elapsed_s=5052), kept=KeptWork(4, 37))
    assert lines == [
        "Interrupted after 1:24:12. 31 of 48 done, 2 failed, 15 left (4 of them keep 37",
        "finished steps).",
        "Resume:  gsvr batch resume 7f3a91c2        (or the same command again)",
    ]


def test_sigterm_and_limits_and_fatal_errors_have_their_own_words() -> None:
    terminated = summary_lines(make_result(143, "paused", pending=2))
    assert terminated[0].startswith("Terminated after 2:04:00. 46 of 48 done, 2 left")
    limit = replace(make_result(4, "paused", pending=2), resume_at="2041-11-23T09:00:00Z")
    local = datetime(2041, 11, 23, 9, tzinfo=UTC).astimezone()
    assert summary_lines(limit, message="daily quota spent") == [
        "Paused: daily quota spent. 46 of 48 done, 2 left.",
        (
            "Resume:  gsvr batch resume 7f3a91c2        "
            f"(from {local:%Y-%m-%d %H:%M} on, or the same command again)"
        ),
    ]
    fatal = summary_lines(make_result(1, "paused", pending=2), message="out: no space left")
    assert fatal[0] == "Stopped: out: no space left. 46 of 48 done, 2 left."
    cancelled = summary_lines(make_result(3, "cancelled", cancelled=2))
    assert cancelled == [
        "Cancelled. 46 of 48 done, 2 cancelled.",
        "Retry:   gsvr batch retry 7f3a91c2        (takes up what was cancelled)",
    ]


def test_many_names_are_cut_to_the_width_and_counted() -> None:
    failed = [
        (f"week{n}/第{n}讲：一个很长的文件名字，比屏幕还要宽.mp4", NO_MEDIA) for n in range(40)
    ]
    lines = failure_lines(group_failures(failed), "7f3a", columns=80)
    assert lines[0].endswith(" more")
    assert all(width(line) <= 80 for line in lines)
    assert "40" in lines[0].split()[0]


def test_groups_are_bounded_however_many_different_messages_come() -> None:
    failed = ((f"{n}.mp4", TaskError("E_ODD", f"odd thing {n}")) for n in range(10_000))
    groups = group_failures(failed)
    assert len(groups) <= 51
    assert sum(group.count for group in groups) == 10_000
    assert max(len(group.names) for group in groups) <= 3


def test_hostile_names_and_messages_are_escaped() -> None:
    groups = group_failures([("a\x1b[2J\n.mp4", TaskError("E_X", "bad\nthing", "do\x07 this"))])
    assert failure_lines(groups, "7f3a") == ["  1  bad\\nthing  a\\n.mp4", "     fix: do\\x07 this"]


def test_what_ctrl_c_says_at_once() -> None:
    assert stopping_text(4) == (
        "Stopping: 4 videos finish the step in flight (at most 5 s). "
        "Ctrl-C again stops now; nothing finished is lost."
    )
    assert stopping_text(1).startswith("Stopping: 1 video finishes ")
    assert "again" not in stopping_text(0)
    assert stop_now_text() == "Stopping now. Finished steps are kept."


@pytest.mark.parametrize(
    ("exit_code", "status", "counts", "expected"),
    [
        (0, "completed", {}, None),
        (3, "completed", {"failed": 1}, "gsvr batch retry 7f3a91c2 --failed"),
        (130, "paused", {"pending": 1}, "gsvr batch resume 7f3a91c2"),
        (3, "cancelled", {"cancelled": 1}, "gsvr batch retry 7f3a91c2"),
    ],
)
def test_the_json_twin_carries_exit_code_and_next_command(
    exit_code: int, status: str, counts: dict[str, int], expected: str | None
) -> None:
    value = summary_json(make_result(exit_code, status, **counts))
    assert (value["type"], value["exit_code"], value["next"]) == ("summary", exit_code, expected)


def test_colour_changes_no_text() -> None:
    groups = group_failures([("a.mp4", NO_MEDIA)])
    plain = summary_lines(make_result(3, failed=1), groups)
    coloured = summary_lines(make_result(3, failed=1), groups, colour=True)
    stripped = [
        line.replace("\x1b[0m", "").replace("\x1b[1m", "").replace("\x1b[31m", "")
        for line in coloured
    ]
    assert stripped == plain
    assert coloured != plain


def test_following_commands_name_the_database_that_was_given() -> None:
    """Pins: after `--db x.db` the printed command looked into the default database."""
    failed = replace(make_result(3, failed=1), command_tail=" --db 'my x.db'")
    groups = group_failures([("week05/guest.mp4", BLOCKED)])
    lines = summary_lines(failed, groups, snapshot=make_snapshot())
    assert "Retry:   gsvr batch retry 7f3a --db 'my x.db' --failed" in lines
    assert any("gsvr batch retry 7f3a --db 'my x.db' --failed --engine local" in x for x in lines)
    stopped = replace(make_result(130, "paused", pending=2), command_tail=" --db x.db")
    assert summary_json(stopped)["next"] == "gsvr batch resume 7f3a91c2 --db x.db"


def test_a_stop_tells_its_advice_money_in_doubt_and_remarks_to_people_and_scripts() -> None:
    result = replace(
        make_result(1, "paused", pending=2),
        hint="see: gsvr batch show latest",
        usd_in_doubt=0.038,
        usd_held=0.5,
        remarks=("gemini: key 1 of 2 is set aside",),
    )
    text = "\n".join(summary_lines(result, message="the key is refused", columns=400))
    assert "Advice:  see: gsvr batch show 7f3a91c2\n" in text
    assert "requests that got no answer" in text
    assert "may have been spent by a run that was killed or stopped (see: gsvr quota)" in text
    assert "Service  gemini: key 1 of 2 is set aside" in text
    value = summary_json(result, message="the key is refused")
    assert value["hint"] == "see: gsvr batch show 7f3a91c2"
    assert (value["usd_in_doubt"], value["usd_held"]) == (0.038, 0.5)
    assert value["remarks"] == ["gemini: key 1 of 2 is set aside"]


def test_the_fix_of_private_addresses_names_every_host_and_only_those_that_can_be_allowed() -> None:
    """Pins: the hint of the first one stood for all, also for those that nothing allows."""
    addresses = ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "0.0.0.0", "10.0.0.7"]
    errors = [(f"http://{a}/a.mp4", blocked(a, ip_address(a))) for a in addresses]
    never, offered = group_failures(errors)
    assert (never.count, offered.count) == (2, 4)
    assert "allow_private_hosts" not in never.hint
    assert "download: {allow_private_hosts: [127.0.0.1, 10.0.0.7, '::1']}" in offered.hint
