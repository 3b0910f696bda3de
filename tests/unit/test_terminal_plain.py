"""Plain lines: exact text, one event per line."""

from __future__ import annotations

import io
import subprocess
import sys

from gs_video_report.batch.data_models import (
    BatchCounts,
    BatchResult,
    BatchStatus,
    OutputFile,
    TaskError,
    TaskResult,
    Usage,
)
from gs_video_report.batch.limiter.quota_wait import QuotaWait
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.terminal.failures import group_failures
from gs_video_report.terminal.plain import PlainPrinter
from gs_video_report.terminal.printer import TaskLine
from tests.support.terminal_play import NO_MEDIA, VirtualClock, make_batch, make_play, make_task


def make_printer(**options: bool) -> tuple[PlainPrinter, io.StringIO, VirtualClock]:
    stream, clock = io.StringIO(), VirtualClock()
    return PlainPrinter(stream, env={}, now=clock.wall, **options), stream, clock


def make_monitor(clock: VirtualClock, **counts: int) -> ProgressMonitor:
    return ProgressMonitor(make_batch(), BatchCounts(**counts), 4, clock, ref="7f3a")


def test_the_first_line_tells_what_begins() -> None:
    printer, stream, clock = make_printer()
    monitor = make_monitor(clock, pending=48)
    monitor.expect([2331.25] * 48)
    printer.started(monitor.snapshot(), "Scanning ./lectures ...")
    assert stream.getvalue() == (
        "Scanning ./lectures ...\n14:02:11Z batch 7f3a started 48 tasks, 31h05m media, 4 workers\n"
    )


def test_a_continued_batch_says_how_much_is_done() -> None:
    printer, stream, clock = make_printer()
    printer.started(make_monitor(clock, pending=17, completed=30, failed=1).snapshot())
    assert (
        stream.getvalue() == "14:02:11Z batch 7f3a resumed 48 tasks, 30 already done, 4 workers\n"
    )


def test_a_finished_video_is_one_line() -> None:
    printer, stream, clock = make_printer()
    clock.now_s = 292
    result = TaskResult(media_s=1100, usage=Usage(usd=0.04))
    task = make_task(1, "week01/引言.mp4")
    printer.task_done(TaskLine.of_result(task, result, 292, done=1, total=48))
    assert stream.getvalue() == (
        "14:07:03Z done 1/48 week01/引言.mp4 length=18:20 took=4:52 cost=$0.04\n"
    )


def test_a_name_with_a_newline_stays_on_its_line() -> None:
    printer, stream, _ = make_printer()
    task = make_task(1, "a\nb\x1b[31m.mp4")
    printer.task_done(TaskLine.of_result(task, TaskResult(), 1, done=1, total=1))
    assert stream.getvalue() == "14:02:11Z done 1/1 a\\nb.mp4 length=0:00 took=0:01\n"


def test_a_failure_names_the_stage_and_the_fix() -> None:
    printer, stream, _ = make_printer()
    error = TaskError("E_NO_MEDIA", "broken.mp4: no media in file", "copy the file again", "probe")
    printer.task_failed(TaskLine.of_error(make_task(1, "week02/broken.mp4"), error, 1.0))
    assert stream.getvalue() == (
        "14:02:11Z FAILED week02/broken.mp4: no media in file (stage probe)\n"
        "          fix: copy the file again\n"
    )


def test_a_retry_says_when_and_which_try() -> None:
    printer, stream, _ = make_printer()
    error = TaskError("E_TIMEOUT", "no answer within 120 s")
    line = TaskLine.of_error(make_task(1, "a.mp4"), error, None, tries=4, delay_s=12.4)
    printer.task_retry(line)
    assert (
        stream.getvalue() == "14:02:11Z retry a.mp4: no answer within 120 s; try 2 of 4 in 12 s\n"
    )


def test_a_heartbeat_comes_once_a_minute() -> None:
    printer, stream, clock = make_printer()
    monitor = make_monitor(clock, pending=43, running=4, completed=1)
    for _ in range(150):
        clock.now_s += 1
        printer.tick(monitor.snapshot())
    assert stream.getvalue().splitlines() == [
        "14:03:11Z ... 1/48 done, 0 failed, 4 running, media 2 %, left: estimating",
        "14:04:11Z ... 1/48 done, 0 failed, 4 running, media 2 %, left: estimating",
    ]


def test_a_heartbeat_says_what_requests_wait_for_and_how_long() -> None:
    printer, stream, clock = make_printer()
    monitor = make_monitor(clock, pending=4)
    wait = QuotaWait("gemini/gemini-x", "tokens", 3, 0, 45.0)
    monitor.quota(wait)
    clock.now_s += 5
    printer.status(monitor.snapshot())
    assert "next request in 40 s: 3 wait for tokens per minute of gemini/gemini-x" in (
        stream.getvalue()
    )


def test_a_paused_batch_has_no_time_left() -> None:
    printer, stream, clock = make_printer()
    monitor = make_monitor(clock, pending=4)
    monitor.paused("daily quota spent", "2026-11-23T09:00:00Z")
    printer.paused("daily quota spent", "2026-11-23T09:00:00Z")
    printer.status(monitor.snapshot())
    assert stream.getvalue().splitlines() == [
        "14:02:11Z paused daily quota spent, resumes 2026-11-23T09:00:00Z",
        "14:02:11Z ... 0/4 done, 0 failed, 0 running, media 0 %, paused until 2026-11-23T09:00:00Z",
    ]


def test_quiet_shows_failures_and_the_summary_only() -> None:
    printer, stream, clock = make_printer(quiet=True)
    printer.started(make_monitor(clock, pending=2).snapshot(), "plan")
    printer.note("something")
    printer.task_done(TaskLine("7f3a:1", "a.mp4", "completed"))
    printer.task_failed(TaskLine.of_error(make_task(2, "b.mp4"), NO_MEDIA, 1.0))
    result = BatchResult("7f3a", BatchStatus.COMPLETED, BatchCounts(completed=1, failed=1), 3, 65)
    printer.finished(result, group_failures([("b.mp4", NO_MEDIA)]))
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == [
        "14:02:11Z",
        "fix:",
        "1",
        "1",
        "fix:",
        "Retry:",
    ]


def test_without_progress_notes_and_summary_stay() -> None:
    printer, stream, clock = make_printer(progress=False)
    printer.started(make_monitor(clock, pending=2).snapshot())
    printer.task_done(TaskLine("7f3a:1", "a.mp4", "completed"))
    printer.note("a note")
    assert stream.getvalue() == "14:02:11Z note a note\n"


def test_verbose_lists_files_and_warnings() -> None:
    printer, stream, _ = make_printer(verbose=True)
    outputs = (OutputFile("t/a.md", "markdown", 10, "00"), OutputFile("t/x.jpg", "asset", 1, "00"))
    result = TaskResult(outputs=outputs, warnings=("audio is damaged from 3:10 on",))
    printer.task_done(TaskLine.of_result(make_task(1, "a.mp4"), result, 1, done=1, total=1))
    assert stream.getvalue().splitlines()[1:] == [
        "          wrote t/a.md",
        "          note  audio is damaged from 3:10 on",
    ]


def test_a_whole_run_holds_no_escape_codes_and_ends_with_the_paths() -> None:
    stream = io.StringIO()
    play = make_play(30, 4, lambda clock: PlainPrinter(stream, env={}, now=clock.wall), tick_s=5.0)
    play.run()
    assert "\x1b" not in stream.getvalue()
    lines = stream.getvalue().splitlines()
    assert len([line for line in lines if "Z done " in line]) == 28
    assert lines[-1] == "Reports  batch_output/chinese_transcript/index.html"


def test_an_ascii_stream_gets_question_marks_instead_of_an_error() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    printer = PlainPrinter(stream, env={})
    printer.note("第三讲")
    assert raw.getvalue().endswith(b"note ???\n")


def test_a_closed_pipe_does_not_stop_the_batch() -> None:
    class Closed(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            raise BrokenPipeError

    stream = Closed()
    play = make_play(12, 2, lambda clock: PlainPrinter(stream, env={}), tick_s=20.0)
    assert play.run().exit_code == 3
    assert stream.writes == 1


def test_plain_and_json_faces_load_no_rich() -> None:
    script = (
        "import io, sys\n"
        "from gs_video_report.batch.output_formatter import make_printer, format_error\n"
        "for json in (False, True):\n"
        "    out = io.StringIO()\n"
        "    p = make_printer('auto', json=json, stdout=out, stderr=out, env={})\n"
        "    p.note('x')\n"
        "format_error(ValueError('x'))\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] == 'rich'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
