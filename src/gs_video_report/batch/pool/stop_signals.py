"""Ctrl-C and SIGTERM: the first asks for a graceful stop, the second stops now, the third exits.

The handlers run in the event loop (`loop.add_signal_handler`), so they may touch the pool.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gs_video_report.errors import ExitCode

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class StopSignals:
    """Counts stop requests. `first` is the signal that came first, None before."""

    on_first: Callable[[signal.Signals], None]
    on_second: Callable[[], None]
    first: signal.Signals | None = None
    count: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first signal, for what must not outlast it."""

    def received(self, number: signal.Signals) -> None:
        """One signal arrived."""
        self.count += 1
        self.asked.set()
        if self.count == 1:
            self.first = number
            self.on_first(number)
        elif self.count == 2:
            self.on_second()
        else:
            os._exit(int(self.exit_code))

    @property
    def exit_code(self) -> ExitCode:
        """130 for Ctrl-C, 143 for SIGTERM and hang-up."""
        return ExitCode.SIGINT if self.first == signal.SIGINT else ExitCode.SIGTERM

    @contextmanager
    def installed(self, on_usr1: Callable[[], None] | None = None) -> Iterator[None]:
        """Handle the stop signals while the block runs; afterwards the old ways are back.

        A handler that the event loop had for a signal is gone then: what is left to do after a
        batch is closing, which nothing needs to interrupt.

        Args:
            on_usr1: called on SIGUSR1, which asks for one line of status.
        """
        loop = asyncio.get_running_loop()
        if on_usr1 is not None:
            loop.add_signal_handler(signal.SIGUSR1, on_usr1)
        before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        for number in STOP_SIGNALS:
            if before[number] is signal.SIG_IGN and number == signal.SIGHUP:
                continue  # nohup
            loop.add_signal_handler(number, self.received, number)
        try:
            yield
        finally:
            if on_usr1 is not None:
                loop.remove_signal_handler(signal.SIGUSR1)
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)
                if before[number] is not None:
                    signal.signal(number, before[number])
