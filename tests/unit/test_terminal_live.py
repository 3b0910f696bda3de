"""The live screen, read back from a terminal emulator."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyte
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.batch.data_models import BatchCounts, BatchStatus, TaskError
from gs_video_report.batch.limiter.quota_wait import QuotaWait
from gs_video_report.batch.progress.eta import EtaRange
from gs_video_report.batch.progress.snapshot import FailureLine, MediaProgress, Snapshot, WorkerLine
from gs_video_report.terminal.frame import Screen, frame, row_text
from gs_video_report.terminal.live import LivePrinter
from gs_video_report.terminal.printer import TaskLine
from gs_video_report.terminal.styles import ASCII, UNICODE, width
from tests.support.terminal_play import Play, make_play

NOW = datetime(2026, 11, 22, 15, 26, tzinfo=UTC)
SGR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SGR_COLOUR = re.compile(r"\x1b\[[0-9;]*(?<![0-9])(3[0-7]|9[0-7]|4[0-7])(;[0-9;]*)?m")


class Terminal(io.TextIOBase):
    """A terminal of 80x24 that keeps what was written."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> int:
        self.written.append(text)
        return len(text)

    def isatty(self) -> bool:
        return True

    @property
    def text(self) -> str:
        return "".join(self.written)


class AsciiTerminal(Terminal):
    encoding = "ascii"

    def write(self, text: str) -> int:
        text.encode("ascii")
        return super().write(text)


def read_back(written: str, columns: int = 80, rows: int = 24) -> pyte.HistoryScreen:
    """What a terminal of this size shows after `written`, scrolled-off lines included."""
    screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
    pyte.Stream(screen).feed(written.replace("\n", "\r\n"))
    return screen


def all_lines(screen: pyte.HistoryScreen) -> list[str]:
    past = ["".join(row[x].data for x in range(screen.columns)) for row in screen.history.top]
    return [line.rstrip() for line in [*past, *screen.display]]


def play_live(
    count: int,
    parallel: int = 4,
    terminal: Terminal | None = None,
    env: dict[str, str] | None = None,
    columns: int = 80,
) -> tuple[Play, Terminal]:
    target = terminal or Terminal()
    play = make_play(
        count,
        parallel,
        lambda clock: LivePrinter(target, env=env or {}, now=clock.wall, size=(columns, 24)),
        tick_s=20.0,
    )
    return play, target


def make_snapshot(**fields: object) -> Snapshot:
    snapshot = Snapshot(
        batch_id="7f3a91c2",
        ref="7f3a",
        name="lectures",
        state=BatchStatus.RUNNING,
        reason="",
        resume_at=None,
        stopping=False,
        counts=BatchCounts(pending=11, running=4, completed=31, failed=2),
        media=MediaProgress(76_080, 111_900, 0),
        fraction=0.68,
        elapsed_s=5050,
        parallel=4,
        workers=(
            WorkerLine(1, "7f3a:34", "week03/第三讲：反向传播.mp4", "transcribe", 0.62, 252),
            WorkerLine(2, "7f3a:35", "week03/lecture-07-optimizers.mp4", "compose", 0.88, 171),
            WorkerLine(
                3, "7f3a:36", "week04/workshop-2026-final-v3.mkv", "slides", 0.17, 38, "try 2 of 4"
            ),
            WorkerLine(4, "7f3a:37", "week04/intro.mp4", "compose", None, 22, "rate limit, 22 s"),
        ),
        failures=(FailureLine("7f3a:9", "week02/broken.mp4", "E_NO_MEDIA", "no media in file"),),
        usd=2.91,
        usd_expected=4.30,
        realtime=15.1,
        run_done=31,
        run_media_s=76_080,
        eta=EtaRange(2040, 2400, 2880, rough=False),
        cpu_percent=71,
        memory_bytes=1_900_000_000,
    )
    return replace(snapshot, **fields)  # type: ignore[arg-type]


WAIT = QuotaWait("gemini/gemini-x", "tokens", 3, 0, 40.0, 12.0)


def drawn(snapshot: Snapshot, columns: int = 80, rows: int = 24) -> list[str]:
    return [
        row_text(row).rstrip() for row in frame(snapshot, Screen(columns, rows, UNICODE, now=NOW))
    ]


def test_a_wait_for_quota_has_a_row_of_its_own_on_every_screen() -> None:
    words = "next request in 40 s: 3 wait for tokens per minute of gemini/gemini-x"
    waiting = make_snapshot(quota_wait=WAIT)
    assert words in drawn(waiting)
    assert len(drawn(waiting)) == len(drawn(make_snapshot())) + 1
    narrow = drawn(waiting, 40, 12)
    assert any(line.startswith("next request in 40 s: 3 wait") for line in narrow)
    assert "Ctrl-C stops" in narrow[-1]
    assert all(width(line) <= 40 for line in narrow)


def test_without_colour_the_bar_still_shows_how_far_it_is() -> None:
    """Full and empty cells were the same sign."""
    for env, empty in (({"NO_COLOR": "1"}, "─"), ({}, "━")):
        terminal = Terminal()
        printer = LivePrinter(terminal, env={"TERM": "xterm-256color", **env}, size=(80, 24))
        printer.started(make_snapshot(fraction=0.5))
        printer.close()
        bar = next(line for line in SGR.sub("", terminal.text).splitlines() if "━━" in line)
        assert bar.count(empty) > 25
        assert bar.startswith("━" * 25)


# --- the picture -----------------------------------------------------------------------------


def test_the_picture_at_eighty_columns() -> None:
    assert drawn(make_snapshot()) == [
        "",
        "Batch 7f3a lectures  31/48 done · 2 failed · 4 running · 11 pending      1:24:10",
        "━" * 43 + "╸" + "━" * 20 + "  68 % of 31h05m",
        " 1 week03/第三讲：反向传播.mp4        transcribe  62 %    4:12",
        " 2 week03/lecture-07-optimizers.mp4   compose     88 %    2:51",
        " 3 week04/workshop-2026-final-v3.mkv  slides      17 %    0:38  try 2 of 4",
        " 4 week04/intro.mp4                   compose        -    0:22  rate limit, 22 s",
        "21h08m media · 15.1x realtime · $2.91 of ~$4.30 · left 34-48 min (about 16:06)",
        "✗ failed week02/broken.mp4: no media in file",
        "cpu 71 % · mem 1.9 GB · Ctrl-C stops, resumable",
    ]


def test_at_most_eight_workers_are_listed() -> None:
    many = tuple(WorkerLine(n, f"7f3a:{n}", f"{n}.mp4", "audio", 0.5, 5) for n in range(1, 13))
    lines = drawn(make_snapshot(workers=many))
    assert " 8 8.mp4" in "\n".join(lines)
    assert " 9 9.mp4" not in "\n".join(lines)
    assert "   + 4 more" in lines


def test_a_pause_shows_its_end_instead_of_a_countdown() -> None:
    paused = make_snapshot(
        state=BatchStatus.PAUSED,
        reason="daily quota spent",
        resume_at="2026-11-22T17:00:00Z",
        eta=None,
    )
    text = "\n".join(drawn(paused))
    assert "paused until 17:00 (daily quota spent)" in text
    assert "left" not in text


def test_before_three_videos_the_time_left_is_estimating() -> None:
    assert "left: estimating" in "\n".join(drawn(make_snapshot(eta=None)))


def test_the_time_of_day_appears_only_beyond_ten_minutes() -> None:
    soon = make_snapshot(eta=EtaRange(300, 400, 500, rough=False))
    assert "left 5-8 min" in drawn(soon)[7]
    assert "about" not in drawn(soon)[7]


def test_unknown_lengths_are_marked() -> None:
    lines = drawn(make_snapshot(media=MediaProgress(3600, 7200, 3)))
    assert lines[2].endswith("68 % of ~2h00m")


def test_large_batches_show_tenths_of_a_percent() -> None:
    big = make_snapshot(counts=BatchCounts(pending=9_000, completed=34), fraction=0.00378)
    assert "  0.3 % of" in drawn(big)[2]


def test_a_stop_in_progress_is_told_in_words() -> None:
    lines = drawn(make_snapshot(stopping=True))
    assert "stopping" in lines[1]
    assert "finishing the steps in flight" in lines[7]
    assert lines[-1].endswith("Ctrl-C again stops now")


NAMES = st.text(alphabet="ab/. -第三讲：[red]é\x1b\n\u202e👩‍🔬", max_size=90)


@settings(max_examples=120, deadline=None)
@given(
    st.integers(20, 160),
    st.integers(4, 50),
    st.lists(NAMES, min_size=1, max_size=12),
    st.integers(0, 2_000_000),
    st.sampled_from([UNICODE, ASCII]),
)
def test_no_row_is_ever_wider_or_taller_than_the_screen(
    columns: int, rows: int, names: list[str], pending: int, glyphs: object
) -> None:
    snapshot = make_snapshot(
        name=names[0],
        counts=BatchCounts(pending=pending, running=len(names), completed=pending // 3, failed=7),
        workers=tuple(
            WorkerLine(i + 1, f"7f3a:{i}", name, "transcribe", 0.5, 99_999.0, name)
            for i, name in enumerate(names)
        ),
        failures=(
            FailureLine("r", names[0], "E", names[-1]),
            FailureLine("r", names[-1], "E", "x"),
        ),
    )
    encoding = "utf-8" if glyphs is UNICODE else "ascii"
    picture = frame(snapshot, Screen(columns, rows, glyphs, encoding, NOW))  # type: ignore[arg-type]
    assert len(picture) < max(rows, 2)
    for row in picture:
        assert width(row_text(row)) <= columns
        assert "\x1b" not in row_text(row)
    assert width(row_text(picture[-1])) <= columns - 4 or len(picture) < 7


# --- the terminal ----------------------------------------------------------------------------


def test_a_whole_run_never_wraps_a_line_at_eighty_columns() -> None:
    """A terminal that is wider than what is drawn shows the same lines: nothing was wrapped."""
    play, terminal = play_live(24)
    play.tick_s = 60.0
    play.run()
    assert all_lines(read_back(terminal.text, 80)) == all_lines(read_back(terminal.text, 200))


def test_finished_videos_scroll_above_as_single_lines_and_the_picture_goes() -> None:
    play, terminal = play_live(22)
    play.run()
    lines = [line for line in all_lines(read_back(terminal.text)) if line]
    assert len([line for line in lines if line.startswith("✓ done")]) == 20
    failed = [line for line in lines if line.startswith("✗ failed")]
    assert len(failed) == 2
    assert not [line for line in lines if line.startswith("Batch ")]
    assert lines[-5].startswith("20 of 22 done in ")
    assert lines[-2] == "Retry:   gsvr batch retry 7f3a91c2 --failed"


def test_the_picture_stands_at_the_bottom_while_it_runs() -> None:
    play, terminal = play_live(24)
    play.tick_s = 60.0
    seen: list[list[str]] = []

    def look(snapshot: Snapshot) -> None:
        if snapshot.run_done >= 11 and not seen:
            seen.append(read_back(terminal.text).display)

    play.on_tick = look
    play.run()
    display = [line.rstrip() for line in seen[0]]
    head = next(i for i, line in enumerate(display) if line.startswith("Batch 7f3a91c2 lectures"))
    assert display[head + 1].split()[-3:-1] == ["%", "of"]
    assert any("✗ failed" in line for line in display[head:])
    assert [line for line in display if line][-1].endswith("Ctrl-C stops, resumable")


def test_the_cursor_is_hidden_while_drawing_and_given_back() -> None:
    play, terminal = play_live(12)
    play.tick_s = 60.0
    hidden: list[bool] = []

    def look(snapshot: Snapshot) -> None:
        if snapshot.run_done >= 6 and not hidden:
            hidden.append(read_back(terminal.text).cursor.hidden)

    play.on_tick = look
    play.run()
    assert hidden == [True]
    assert not read_back(terminal.text).cursor.hidden
    play.printer.close()
    assert not read_back(terminal.text).cursor.hidden


def test_hostile_names_are_printed_and_not_obeyed() -> None:
    play, terminal = play_live(8, columns=160)
    play.run()
    text = "\n".join(all_lines(read_back(terminal.text, 200)))
    assert "guest [bold red]talk[/] on parsing.mp4" in text
    assert "evil\\nname.mp4" in text
    assert "\x1b[2J" not in terminal.text


def test_no_color_leaves_words_and_no_colour() -> None:
    play, terminal = play_live(12, env={"NO_COLOR": "1"})
    play.run()
    assert not SGR_COLOUR.search(terminal.text)
    assert "✗ failed" in terminal.text
    coloured_play, coloured = play_live(12, env={"TERM": "xterm-256color"})
    coloured_play.run()
    assert SGR_COLOUR.search(coloured.text)


def test_an_ascii_terminal_gets_ascii_only() -> None:
    play, terminal = play_live(12, terminal=AsciiTerminal())
    play.run()
    assert "+ done" in terminal.text
    assert "week03/????????.mp4" in terminal.text


def test_it_draws_at_most_four_times_a_second() -> None:
    terminal = Terminal()
    printer = LivePrinter(terminal, env={}, size=(80, 24))
    printer.started(make_snapshot(elapsed_s=0.0))
    before = terminal.text.count("Batch")
    for step in range(1, 101):
        printer.tick(make_snapshot(elapsed_s=step / 100))
    assert terminal.text.count("Batch") - before == 4
    printer.close()


def test_a_stop_is_told_above_the_picture_and_how_to_resume_below() -> None:
    play, terminal = play_live(20)
    play.stop_at = 0.5
    play.run()
    lines = [line for line in all_lines(read_back(terminal.text)) if line]
    stop = next(i for i, line in enumerate(lines) if line.startswith("Stopping: "))
    assert lines[stop].startswith("Stopping: ")
    assert lines[-4].startswith("Interrupted after ")
    assert lines[-2].startswith("Resume:  gsvr batch resume 7f3a91c2")


def test_retries_notes_and_pauses_are_single_lines_above() -> None:
    terminal = Terminal()
    printer = LivePrinter(terminal, env={}, size=(80, 24))
    printer.started(make_snapshot())
    error = TaskError("E_TIMEOUT", "a.mp4: the server did not answer", "", "compose")
    printer.task_retry(
        TaskLine("7f3a:1", "week01/a.mp4", "retrying", error=error, delay_s=30, attempt=1, tries=4)
    )
    printer.note("2 files have the same content as others")
    printer.paused("daily quota spent", "2041-11-23T09:00:00Z")
    local = datetime(2041, 11, 23, 9, tzinfo=UTC).astimezone()
    printer.close()
    assert [line for line in all_lines(read_back(terminal.text)) if line] == [
        "↻ retry  week01/a.mp4: the server did not answer; try 2 of 4 in 30 s",
        "note   2 files have the same content as others",
        f"Paused: daily quota spent, goes on {local:%Y-%m-%d %H:%M}",
    ]


def test_a_vanished_terminal_does_not_stop_the_batch() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            if len(self.written) > 20:
                raise OSError(5, "Input/output error")
            return super().write(text)

    play, terminal = play_live(12, terminal=Gone())
    assert play.run().exit_code == 3
    assert len(terminal.written) == 21


def test_sigterm_gives_the_cursor_back_even_without_close(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        from tests.support.terminal_play import make_play
        from gs_video_report.terminal.live import LivePrinter
        def stop(*_): raise SystemExit(143)
        signal.signal(signal.SIGTERM, stop)
        play = make_play(30, 4, lambda clock: LivePrinter(sys.stderr, env={}, size=(80, 24)))
        play.pace = lambda: os.kill(os.getpid(), signal.SIGTERM)
        play.run()
        """
    )
    parent, child = pty.openpty()
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=child, stdout=child, cwd=root, close_fds=True
    )
    os.close(child)
    written = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:
            break
        if not part:
            break
        written += part
    os.close(parent)
    assert process.wait(10) == 143
    assert b"\x1b[?25l" in written
    assert written.rfind(b"\x1b[?25h") > written.rfind(b"\x1b[?25l")
