"""Kill what is left of the compute processes when the coordinator dies without a word.

A child asks the kernel to die with its parent, but what the child started (ffmpeg, a JavaScript
runtime) does not inherit that wish, and some systems know no such wish. So one tiny shell holds
the read end of a pipe: it keeps the list of process groups, and at end of file kills those left.
After a clean close the list is empty.
Never: signals a group that the coordinator has crossed off.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

_SHELL = "/bin/sh"
_SCRIPT = """
trap '' HUP INT TERM
groups=' '
while read -r sign group; do
  case "$sign" in
    +) groups="$groups$group " ;;
    -) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
"""


class GroupGuard:
    """One guard for one coordinator. Does nothing where there is no /bin/sh."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the shell. Idempotent; quiet when it cannot be started."""
        if self._process is not None:
            return
        with suppress(OSError):
            self._process = subprocess.Popen(  # noqa: S603  (a constant command)
                [_SHELL, "-c", _SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        """Process id of the shell, if it runs."""
        return None if self._process is None else self._process.pid

    def add(self, group: int) -> None:
        """Kill this process group if the coordinator dies."""
        self._tell(f"+ {group}\n")

    def remove(self, group: int) -> None:
        """The group is gone."""
        self._tell(f"- {group}\n")

    def close(self) -> None:
        """End the shell; at most a few milliseconds. Idempotent."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with suppress(OSError):
            process.stdin.close()
        process.kill()
        process.wait()

    def _tell(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with suppress(OSError):  # the shell was killed by somebody: the kernel's wish remains
            os.write(self._process.stdin.fileno(), line.encode("ascii"))
