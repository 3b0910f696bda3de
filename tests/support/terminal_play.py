"""A made-up batch played through a printer, in virtual time: no waiting, no media, no database.

Run it by hand to look at a face::

    python -m tests.support.terminal_play --videos 30 --speed 60 --progress live
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gs_video_report.batch.data_models import (
    STAGES,
    BatchCounts,
    BatchOptions,
    BatchResult,
    BatchRow,
    BatchStatus,
    TaskError,
    TaskResult,
    TaskStatus,
    Usage,
    VideoInput,
    VideoTask,
)
from gs_video_report.batch.progress.snapshot import Snapshot
from gs_video_report.batch.progress_monitor import ProgressMonitor
from gs_video_report.terminal.faces import make_printer
from gs_video_report.terminal.failures import group_failures
from gs_video_report.terminal.printer import Printer, TaskLine
from gs_video_report.terminal.summary import KeptWork, stopping_text

START = datetime(2026, 11, 22, 14, 2, 11, tzinfo=UTC)
NAMES = (
    "week01/引言.mp4",
    "week03/第三讲：反向传播.mp4",
    "week03/lecture-07-optimizers.mp4",
    "week04/workshop-2026-recording-of-the-whole-day-final-v3.mkv",
    "week04/intro.mp4",
    "week05/机器学习导论与实践：从线性回归到深度神经网络的完整课程录像（第二版）.mp4",
    "week05/guest [bold red]talk[/] on parsing.mp4",
    "week06/evil\x1b[2J\nname.mp4",
)
NO_MEDIA = TaskError("E_NO_MEDIA", "broken.mp4: no media in file", "copy the file again", "probe")


def make_batch(name: str = "lectures", **options: object) -> BatchRow:
    """A batch row; `options` are fields of BatchOptions."""
    return BatchRow(
        batch_id="7f3a91c2",
        name=name,
        batch_key="key",
        status=BatchStatus.RUNNING,
        options=BatchOptions(**options),  # type: ignore[arg-type]
        input_spec={"kind": "directory", "path": f"./{name}"},
        created_at="2026-11-22T14:02:11Z",
        started_at="2026-11-22T14:02:11Z",
    )


def make_task(
    seq: int, name: str = "", media_s: float | None = None, **fields: object
) -> VideoTask:
    """A running task named `name`."""
    task = VideoTask(
        task_id=seq,
        batch_id="7f3a91c2",
        seq=seq,
        status=TaskStatus.RUNNING,
        priority=50,
        video=VideoInput(source=f"/in/{name}", relative_path=name or f"video-{seq:03d}.mp4"),
        template="chinese_transcript",
        attempt=1,
        media_s=media_s,
    )
    return replace(task, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Video:
    """One made-up video: seconds of recording and of work."""

    task: VideoTask
    media_s: float
    work_s: float
    fails: bool


def make_videos(count: int, seed: int = 7, *, fail_every: int = 11) -> list[Video]:
    """`count` videos with lognormal lengths and noisy costs; each `fail_every`-th fails soon."""
    draw = random.Random(seed)
    videos = []
    for index in range(count):
        media_s = draw.lognormvariate(7.2, 0.8)
        fails = index % fail_every == fail_every - 1
        work_s = 3.0 if fails else media_s * 0.25 * draw.lognormvariate(0, 0.25)
        name = NAMES[index % len(NAMES)]
        stem, dot, ext = name.rpartition(".")
        unique = name if index < len(NAMES) else f"{stem}-{index}{dot}{ext}"
        videos.append(Video(make_task(index + 1, unique), media_s, work_s, fails))
    return videos


class VirtualClock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def wall(self) -> datetime:
        """Time of day that belongs to `now_s`."""
        return START + timedelta(seconds=self.now_s)


@dataclass
class Play:
    """Runs videos over workers and tells monitor and printer what happens."""

    videos: list[Video]
    parallel: int
    clock: VirtualClock
    monitor: ProgressMonitor
    printer: Printer
    tick_s: float = 0.25
    pace: Callable[[], None] = lambda: None
    on_tick: Callable[[Snapshot], None] = lambda snapshot: None
    stop_at: float | None = None

    def run(self) -> BatchResult:
        """Play to the end (or to `stop_at` of the videos) and print the summary."""
        monitor, printer, clock = self.monitor, self.printer, self.clock
        printer.started(monitor.snapshot(), "Scanning ./lectures ... 48 files, local engine")
        waiting = list(reversed(self.videos))
        busy: list[tuple[float, int, float, Video]] = []
        done: list[Video] = []
        while waiting or busy:
            while waiting and len(busy) < self.parallel:
                video = waiting.pop()
                monitor.task_started(replace(video.task, media_s=video.media_s), "host-1/w1")
                entry = (clock() + video.work_s, video.task.task_id, clock(), video)
                heapq.heappush(busy, entry)
            clock.now_s += self.tick_s
            self._advance(busy)
            while busy and busy[0][0] <= clock():
                _, _, started, video = heapq.heappop(busy)
                done.append(video)
                self._end(video, clock() - started, len(done))
            snapshot = monitor.snapshot()
            printer.tick(snapshot)
            self.on_tick(snapshot)
            self.pace()
            if self.stop_at is not None and len(done) >= self.stop_at * len(self.videos):
                return self._interrupt(busy)
        return self._finish(done)

    def _advance(self, busy: list[tuple[float, int, float, Video]]) -> None:
        for end, task_id, started, _ in busy:
            part = (self.clock() - started) / max(1e-9, end - started)
            place = min(len(STAGES) - 1e-6, part * len(STAGES))
            stage = STAGES[int(place)]
            known = 0.0 if stage == "compose" else 1.0
            self.monitor.stage(task_id, stage, place % 1.0, known)

    def _end(self, video: Video, took_s: float, done: int) -> None:
        total = len(self.videos)
        if done % 9 == 5:
            self._tell_retry(video)
        if video.fails:
            self.monitor.task_finished(video.task, NO_MEDIA)
            line = TaskLine.of_error(video.task, NO_MEDIA, took_s, done=done, total=total)
            self.printer.task_failed(line)
            return
        result = TaskResult(media_s=video.media_s, usage=Usage(usd=video.media_s * 4e-5))
        self.monitor.task_finished(video.task, result)
        counts = self.monitor.snapshot().counts
        self.monitor.counts(replace(counts, usd=counts.usd + result.usage.usd))
        self.monitor.resources(71, 1_900_000_000)
        line = TaskLine.of_result(video.task, result, took_s, done=done, total=total)
        self.printer.task_done(line)

    def _tell_retry(self, video: Video) -> None:
        error = TaskError("E_TIMEOUT", "the server did not answer within 120 s", "", "compose")
        self.printer.task_retry(TaskLine.of_error(video.task, error, 120, tries=4, delay_s=30))
        self.printer.note("2 files have the same content as others; their steps are shared")

    def _interrupt(self, busy: list[tuple[float, int, float, Video]]) -> BatchResult:
        self.monitor.stopping()
        self.printer.interrupted(stopping_text(len(busy)))
        for _ in range(8):
            self.clock.now_s += self.tick_s
            self.printer.tick(self.monitor.snapshot())
            self.pace()
        for *_, video in busy:
            self.monitor.task_released(video.task)
        result = self._result(BatchStatus.PAUSED, 130)
        self.printer.finished(result, kept=KeptWork(len(busy), 9 * len(busy)))
        self.printer.close()
        return result

    def _finish(self, done: list[Video]) -> BatchResult:
        failed = [(v.task.video.relative_path, NO_MEDIA) for v in done if v.fails]
        result = self._result(BatchStatus.COMPLETED, 3 if failed else 0)
        self.printer.finished(result, group_failures(failed))
        self.printer.close()
        return result

    def _result(self, status: BatchStatus, code: int) -> BatchResult:
        snapshot = self.monitor.snapshot()
        counts = replace(snapshot.counts, usd=snapshot.usd)
        return BatchResult(
            batch_id="7f3a91c2",
            status=status,
            counts=counts,
            exit_code=code,
            elapsed_s=snapshot.elapsed_s,
            report_index="batch_output/chinese_transcript/index.html",
        )


def make_play(
    count: int, parallel: int, printer: Printer | Callable[[VirtualClock], Printer], **more: object
) -> Play:
    """A play of `count` videos; `printer` may be made from the clock."""
    clock = VirtualClock()
    videos = make_videos(count)
    monitor = ProgressMonitor(make_batch(), BatchCounts(pending=count), parallel, clock)
    monitor.expect(video.media_s for video in videos)
    face = printer(clock) if callable(printer) else printer
    return Play(videos, parallel, clock, monitor, face, **more)  # type: ignore[arg-type]


def main() -> None:
    """Look at a face in a real terminal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=30)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--speed", type=float, default=60.0, help="virtual seconds per second")
    parser.add_argument("--progress", default="auto")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stop-at", type=float)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, lambda *_: None)

    def face(clock: VirtualClock) -> Printer:
        return make_printer(
            options.progress,
            json=options.json,
            stdout=sys.stdout,
            stderr=sys.stderr,
            env=os.environ,
            now=clock.wall,
        )

    play = make_play(options.videos, options.parallel, face, stop_at=options.stop_at)
    play.tick_s = 0.25 * options.speed
    play.pace = lambda: time.sleep(0.25)
    play.run()


if __name__ == "__main__":
    main()
