"""Make `docs/images/terminal.svg`: the live screen in the middle of a batch.

    python scripts/make_terminal_picture.py [TARGET]

The screen is drawn by the program's own live printer. Only the batch is made up: its videos are
the table below, played in virtual time. Needs pyte, which reads the screen back like a terminal.
"""

from __future__ import annotations

import html
import io
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyte
from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from gs_video_report.batch.data_models import BatchCounts, TaskError, TaskResult, VideoTask
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.terminal.live import LivePrinter
from gs_video_report.terminal.printer import TaskLine

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "images" / "terminal.svg"
COLUMNS, ROWS = 100, 24
PARALLEL = 4
TICK_S = 0.25
"""Step of the virtual time; the screen is drawn every `DRAW_S`."""
DRAW_S = 5.0
STOP_AFTER = 10
"""The picture is taken some seconds after so many videos have ended."""
LATER_S = 47.0
SPEED = 7.0
"""Seconds of recording that one worker handles in a second."""
COMMAND = "gsvr batch process -d ./lectures -o ./reports"

VIDEOS = (
    *(("week01/01-welcome.mp4", 9.5), ("week01/02-what-is-learning.mp4", 41.0)),
    *(("week01/03-linear-models.mp4", 52.3), ("week01/lab-notebooks.mkv", 28.7)),
    *(("week02/01-gradient-descent.mp4", 47.9), ("week02/02-regularisation.mp4", 44.1)),
    *(("week02/第二讲：梯度下降.mp4", 50.6), ("week02/office-hours.mp4", 0.0)),
    *(("week02/guest-talk-medical-imaging.mov", 61.4), ("week03/01-backpropagation.mp4", 49.2)),
    *(("week03/第三讲：反向传播.mp4", 53.8), ("week03/02-optimisers.mp4", 38.6)),
    *(("week03/03-initialisation.mp4", 33.5), ("week03/lab-training-tricks.mkv", 36.2)),
    *(("week04/01-convolutions.mp4", 51.7), ("week04/第四讲：卷积神经网络.mp4", 55.1)),
    *(("week04/02-image-classification.mp4", 46.8), ("week04/lab-transfer-learning.mkv", 40.4)),
    *((f"week{5 + n // 4:02d}/{n % 4 + 1:02d}-lecture.mp4", 35.0 + n * 7 % 23) for n in range(30)),
)
"""Name and minutes of recording; 0 is a file without media."""
STAGES = (
    *(("probe", 0.01), ("audio", 0.06), ("transcribe", 0.72), ("slides", 0.93)),
    *(("read", 0.985), ("compose", 0.995), ("write", 1.0)),
)
"""Stage and the part of the work at which it ends."""
NO_MEDIA = TaskError(
    "E_NO_MEDIA", "office-hours.mp4: not audio or video, or its header cannot be read", "", "probe"
)
_RED, _GREEN, _YELLOW = (240, 113, 120), (127, 200, 140), (229, 192, 123)
_BLUE, _MAGENTA, _CYAN = (110, 160, 240), (198, 146, 233), (102, 204, 216)
_COLOURS = (_RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN)
THEME = TerminalTheme(
    (24, 26, 33),
    (219, 222, 231),
    [(60, 64, 76), *_COLOURS, (219, 222, 231)],
    [(128, 134, 150), *_COLOURS, (255, 255, 255)],
)


@dataclass(slots=True)
class Work:
    """One video being worked on."""

    task: VideoTask
    started: float
    ends: float


class Film:
    """Plays the batch until the moment of the picture."""

    def __init__(self) -> None:
        from tests.support.terminal_play import VirtualClock, make_batch, make_task

        self.clock = VirtualClock()
        self.stream = _Terminal()
        self.tasks = [make_task(i + 1, n, m * 60 or None) for i, (n, m) in enumerate(VIDEOS)]
        counts = BatchCounts(pending=len(self.tasks))
        self.monitor = ProgressMonitor(make_batch(), counts, PARALLEL, self.clock)
        self.monitor.expect(task.media_s or 60.0 for task in self.tasks)
        self.printer = LivePrinter(
            self.stream, env={"TERM": "xterm-256color"}, now=self.clock.wall, size=(COLUMNS, ROWS)
        )
        self.busy: list[Work] = []
        self.ended = self.failed = 0

    def play(self) -> str:
        """What the printer has written to its terminal when the picture is taken."""
        self.stream.write(f"\x1b[1m$ {COMMAND}\x1b[0m\r\n")
        self.printer.started(self.monitor.snapshot())
        waiting = list(reversed(self.tasks))
        until = float("inf")
        while self.clock() < until:
            while len(self.busy) < PARALLEL:
                self._start(waiting.pop())
            self.clock.now_s += TICK_S
            self._advance()
            if self.ended >= STOP_AFTER:
                until = min(until, self.clock() + LATER_S)
            if self.clock() % DRAW_S == 0 or self.clock() >= until:
                self.printer.tick(self.monitor.snapshot())
        return self.stream.getvalue()

    def _start(self, task: VideoTask) -> None:
        pace = 1 + 0.16 * ((task.seq * 5) % 7 - 3) / 3  # not every video is equally hard
        work_s = (task.media_s or 0.0) / SPEED * pace if task.media_s else 1.5
        self.busy.append(Work(task, self.clock(), self.clock() + work_s))
        self.monitor.task_started(task, f"host-1/w{len(self.busy)}")

    def _advance(self) -> None:
        for work in list(self.busy):
            part = (self.clock() - work.started) / (work.ends - work.started)
            if part >= 1:
                self.busy.remove(work)
                self._end(work)
                continue
            begin = 0.0
            for stage, end in STAGES:
                if part < end:
                    self.monitor.stage(work.task.task_id, stage, part - begin, end - begin)
                    break
                begin = end

    def _end(self, work: Work) -> None:
        task, took_s = work.task, self.clock() - work.started
        self.ended += 1
        self.monitor.resources(88, 1_720_000_000)
        place = {"done": self.ended - self.failed, "total": len(self.tasks)}
        if not task.media_s:
            self.failed += 1
            self.monitor.task_finished(task, NO_MEDIA)
            self.printer.task_failed(TaskLine.of_error(task, NO_MEDIA, took_s, **place))
            return
        result = TaskResult(media_s=task.media_s)
        self.monitor.task_finished(task, result)
        self.printer.task_done(TaskLine.of_result(task, result, took_s, **place))


class _Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


# --- from a terminal's bytes to a picture ------------------------------------------------------


def screen_of(output: str) -> list[Text]:
    """The rows of the screen after `output`, with their styles."""
    screen = pyte.Screen(COLUMNS, ROWS)
    output = output.replace("\x1b[2m", "\x1b[90m")  # pyte does not know dim
    pyte.Stream(screen).feed(output.replace("\r\n", "\n").replace("\n", "\r\n"))
    rows = [_row(screen.buffer[y]) for y in range(ROWS)]
    while rows and not rows[-1].plain.strip():
        rows.pop()
    return rows


def _row(cells: Any) -> Text:
    text = Text(no_wrap=True, end="")
    for x in range(COLUMNS):
        cell = cells[x]
        if cell.data:  # the second half of a wide character is empty
            text.append(cell.data, _style(cell))
    text.rstrip()
    return text


def _style(cell: Any) -> str:
    colour = {"brown": "yellow", "brightblack": "bright_black"}.get(cell.fg, cell.fg)
    words = ["bold"] if cell.bold else []
    return " ".join(words + ([] if colour == "default" else [colour]))


def svg(rows: list[Text]) -> str:
    """The rows as a picture that needs nothing from the network."""
    console = Console(
        record=True, width=COLUMNS, height=len(rows), file=io.StringIO(), force_terminal=True
    )
    for row in rows:
        console.print(row, no_wrap=True, crop=True)
    made = console.export_svg(title="gsvr", theme=THEME, unique_id="gsvr")
    made = re.sub(r"@font-face \{.*?\}\s*", "", made, flags=re.DOTALL)
    fonts = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
    return _TEXT.sub(_by_width, made.replace("Fira Code, monospace", fonts))


_TEXT = re.compile(
    r'<text class="(gsvr-r\d+)" x="([\d.]+)" y="([\d.]+)" textLength="[\d.]+" ([^>]*)>(.*?)</text>'
)
_RUN = re.compile(r"[\u1100-\uffef]+|[^\u1100-\uffef]+")
_CELL = 12.2
"""Width of one cell in rich's picture."""


def _by_width(found: re.Match[str]) -> str:
    """A row's text in runs of narrow and of wide characters, each exactly as wide as its cells."""
    kind, x, y, rest, content = found.groups()
    parts, place = [], float(x)
    for run in _RUN.findall(html.unescape(content)):
        length = cell_len(run) * _CELL
        shown = html.escape(run, quote=False).replace(" ", "&#160;")
        if run.strip("\xa0 "):
            parts.append(
                f'<text class="{kind}" x="{place:.1f}" y="{y}" textLength="{length:.1f}" '
                f"{rest}>{shown}</text>"
            )
        place += length
    return "".join(parts)


def main() -> None:
    """Play, draw, write."""
    os.environ["TZ"] = "UTC"
    time.tzset()  # the time of day at the end is shown in the zone of the reader
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.write_text(svg(screen_of(Film().play())), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
