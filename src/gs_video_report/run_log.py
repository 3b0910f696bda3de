"""The log file: one JSON object per line, written by a thread of its own.

True here: `write()` only puts a value into a queue, so the event loop never waits for the disk; a
full queue or a full disk costs lines (their number is told once there is room again, and at the
end), never the batch. Lines are whole: several processes may share one file, and a line cut short
by a full disk is ended before the next one. The file is replaced at `max_bytes`; the last ones are
kept as `FILE.1`, `FILE.2` ... Where the folder does not allow that, the file grows on. A file that
another program moved away is made anew.
Never: writes a key or a password; raises after it was opened; touches the terminal.
Raises: LogNotWritable, on opening only.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gs_video_report.config_values import MASK, spellings
from gs_video_report.errors import LogNotWritable
from gs_video_report.files import is_at
from gs_video_report.own_file import why_not
from gs_video_report.terminal.stream import json_line

LEVELS = ("debug", "info", "warning", "error")
KEPT_FILES = 3
"""Older files beside the one that is written."""
QUEUED_LINES = 20_000
RETRY_S = 5.0
"""Seconds between two tries to write after the disk refused."""
ROTATE_RETRY_S = 60.0
"""Seconds between two tries to begin a new file after that was refused."""
BATCHED = 500
"""Lines written at once, at most."""
CLOSE_S = 5.0
BEGINS = re.compile(rb'\A.{0,24}?\{"time":', re.DOTALL)
"""How a log of ours begins, also when a full disk cut its first line short."""


class RunLog:
    """One open log file. Made by `open()`; `close()` it.

    Args:
        path: the file; its folder must be there.
        max_bytes: size at which a new file is begun.
        redact: takes passwords out of a text, such as those of addresses.
    """

    def __init__(self, path: Path, max_bytes: int, redact: Callable[[str], str]) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._redact = redact
        self._secrets: tuple[str, ...] = ()
        self._facts: dict[str, Any] = {"pid": os.getpid()}
        self._queue: queue.Queue[tuple[float, str, str, dict[str, Any]] | None]
        self._queue = queue.Queue(QUEUED_LINES)
        self._fd: int | None = None
        self._torn = False
        self._lost = 0
        self._retry_at = 0.0
        self._rotate_at = 0.0
        self._growth: str | None = ""
        """That the file grows beyond its size, until it was told; None from then on."""
        self._why = ""
        self._trouble = ""
        self._closed = False
        self._handler = _Handler(self)
        self._thread = threading.Thread(target=self._run, name="gsvr-log", daemon=True)

    @classmethod
    def open(cls, path: Path, max_bytes: int, redact: Callable[[str], str] = str) -> RunLog:
        """Open the file for appending and begin; makes it if it is not there.

        Warnings of libraries go into the log from now on, until `close()`.

        Raises:
            LogNotWritable: it cannot be opened for writing, or holds something else than a log.
        """
        if why := why_not(path, BEGINS, appended=True):
            raise LogNotWritable(f"{path}: the log file cannot be written (it {why})")
        log = cls(path, max_bytes, redact)
        try:
            log._fd = _append(path)
        except OSError as error:
            reason = error.strerror or str(error)
            raise LogNotWritable(f"{path}: the log file cannot be written ({reason})") from error
        log._thread.start()
        logging.captureWarnings(True)
        logging.getLogger().addHandler(log._handler)
        return log

    def hide(self, secrets: Iterable[str]) -> None:
        """Texts that never reach the file, in whatever way they are written."""
        forms: set[str] = set(self._secrets)
        for text in secrets:
            if text:
                forms |= spellings(text)
        self._secrets = tuple(sorted(forms, key=len, reverse=True))

    def bind(self, **facts: Any) -> None:
        """Facts that every following line carries, such as the batch."""
        self._facts = {**self._facts, **facts}

    def write(self, level: str, event: str, **fields: Any) -> None:
        """Hand one line to the writer. Returns at once.

        Args:
            level: debug, info, warning or error.
            event: a stable word, such as `task.completed`.
            fields: JSON-able, or shown as text; must not be changed afterwards.
        """
        if self._closed:
            return
        try:
            self._queue.put_nowait((time.time(), level, event, {**self._facts, **fields}))
        except queue.Full:
            self._lost += 1

    def take_trouble(self) -> str:
        """Why lines are being lost, or why the file grows beyond its size; told once per trouble.
        Empty when all is well."""
        text, self._trouble = self._trouble, ""
        return text or self._take_growth()

    def last_words(self) -> str:
        """After `close()`: what nobody has been told yet; empty when all is well."""
        if self._thread.is_alive():
            return f"the last lines of the log file {self.path} are missing: its disk hangs"
        if not self._lost:
            return self._take_growth()
        noun = "line is" if self._lost == 1 else "lines are"
        return f"the log file {self.path} is not whole: {self._lost} {noun} missing{self._why}"

    def _take_growth(self) -> str:
        text = self._growth
        if text:
            self._growth = None
        return text or ""

    def close(self) -> None:
        """Write what is waiting, for some seconds at most, and close. Idempotent."""
        if self._closed:
            return
        logging.getLogger().removeHandler(self._handler)
        logging.captureWarnings(False)
        self._closed = True
        with suppress(queue.Full):
            self._queue.put(None, timeout=CLOSE_S)
        self._thread.join(CLOSE_S)

    # --- the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            entries = [self._queue.get()]
            with suppress(queue.Empty):
                while len(entries) < BATCHED:
                    entries.append(self._queue.get_nowait())
            going = None not in entries
            self._store([entry for entry in entries if entry is not None], is_last=not going)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _store(
        self, entries: list[tuple[float, str, str, dict[str, Any]]], *, is_last: bool
    ) -> None:
        lost = self._lost
        if not entries and not (lost and is_last):
            return
        if time.monotonic() < self._retry_at and not is_last:
            self._lost += len(entries)
            return
        lines = [self._line(*entry) for entry in entries]
        if lost:
            facts = {**self._facts, "lines": lost}
            lines.insert(0, self._line(time.time(), "warning", "log.lost", facts))
        try:
            self._put("".join(lines).encode("utf-8", "replace"))
            self._lost -= lost
        except OSError as error:
            self._lost += len(entries)
            self._retry_at = time.monotonic() + RETRY_S
            self._why = f" ({error.strerror or error})"
            self._trouble = (
                f"the log file {self.path} cannot be written now ({error.strerror or error}); "
                "the batch goes on without it"
            )

    def _line(self, at: float, level: str, event: str, fields: dict[str, Any]) -> str:
        head = {"time": rfc3339(at), "level": level, "event": event}
        text = json_line(json.loads(json.dumps({**head, **self._plain(fields)}, default=str)))
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text + "\n"

    def _plain(self, value: Any) -> Any:
        """`value` without passwords of addresses, at any depth."""
        if isinstance(value, str):
            return self._redact(value)
        if isinstance(value, Mapping):
            return {str(key): self._plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(item) for item in value]
        return value

    # --- the file -------------------------------------------------------------------------------

    def _put(self, data: bytes) -> None:
        """Append whole lines. Raises: OSError; what was written of them ends torn."""
        fd = self._reopened()
        size = os.fstat(fd).st_size
        if size and size + len(data) > self._max_bytes:
            fd = self._begun_anew(fd)
        if self._torn:
            data = b"\n" + data
        written = os.write(fd, data)
        self._torn = written < len(data) and not data[:written].endswith(b"\n")
        if written < len(data):
            rest = os.write(fd, data[written:])  # tells why, or writes the rest
            self._torn = written + rest < len(data)

    def _reopened(self) -> int:
        """Follow the name: another process or program may have begun a new file."""
        if self._fd is not None and is_at(self._fd, self.path):
            return self._fd
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._fd = _append(self.path)
        return self._fd

    def _begun_anew(self, fd: int) -> int:
        """A new file; or the same, if another process begins one, or the folder does not let us."""
        if time.monotonic() < self._rotate_at or not _is_ours_to_rotate(fd):
            return fd
        if is_at(fd, self.path):  # else another process was quicker
            try:
                self._rotate()
            except OSError as error:
                self._keep(fd, error)
        return self._reopened()

    def _keep(self, fd: int, error: OSError) -> None:
        """Go on with a file that could not be moved; said once, tried again now and then."""
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
        self._rotate_at = time.monotonic() + ROTATE_RETRY_S
        if self._growth == "":
            self._growth = (
                f"the log file {self.path} grows beyond {self._max_bytes} bytes: no new one can be "
                f"begun in its folder ({error.strerror or error})"
            )

    def _rotate(self) -> None:
        """Raises: OSError, and then the file is still where it was."""
        for number in range(KEPT_FILES - 1, 0, -1):
            with suppress(FileNotFoundError):
                _numbered(self.path, number).replace(_numbered(self.path, number + 1))
        self.path.replace(_numbered(self.path, 1))
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        self._torn = False


class _Handler(logging.Handler):
    """Warnings of libraries, as lines of the log."""

    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging, from any thread."""
        try:
            text = record.getMessage()
        except Exception:  # a library's own malformed message
            text = str(record.msg)
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.write(level, "library", logger=record.name, message=text)


def rfc3339(at: float) -> str:
    """Seconds since 1970 as UTC with milliseconds (RFC 3339), such as 2026-11-22T14:02:11.250Z."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _is_ours_to_rotate(fd: int) -> bool:
    """Lock the file until it is closed. False while another process begins a new one: of two that
    did so at once, one would push the oldest file out for nothing."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _append(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return os.open(path, flags | os.O_NONBLOCK, 0o644)  # a FIFO must not hold us up


__all__ = ["LEVELS", "RunLog", "rfc3339"]
