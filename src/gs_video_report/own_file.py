"""Whether a file that somebody named for our output may be written: a new, empty or own one.

Truth: how the file begins. What a run writes again and again into a file that was named by a slip
must not cost a recording, a report or a database.
Never: opens the database of this process (closing it again would drop the locks that SQLite holds).
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

HEAD_BYTES = 200
NOT_OURS = "holds something else, which stays as it is"


def why_not(path: Path, begins: re.Pattern[bytes], *, appended: bool = False) -> str:
    """Why `path` may not be written, as the end of a sentence; empty when it may.

    Args:
        begins: how a file of ours begins, within its first 200 bytes.
        appended: a pipe or a device will do, too, and that it cannot be read is no hindrance.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return ""
    except OSError as error:
        return _unread(error, appended)
    if not stat.S_ISREG(mode):
        return "" if appended else "is not a file"
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        return _unread(error, appended)
    return "" if not head or begins.search(head) else NOT_OURS


def _unread(error: OSError, appended: bool) -> str:
    """Opening it to append will tell what is wrong, if anything is."""
    return "" if appended else f"cannot be read ({error.strerror})"
