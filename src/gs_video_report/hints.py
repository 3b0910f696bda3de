"""Make the commands that a hint names find the database that this command used.

Pure. A database named by flag (or by a configuration file named by flag) must be named again in
the next command; one that a variable or a found file names is found again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gs_video_report.errors import DatabaseCorrupt

if TYPE_CHECKING:
    from gs_video_report.config import Config


def place_tail(config: Config) -> str:
    """What a following command must add, such as ` --db x.db`; empty for the usual places."""
    from gs_video_report.config import Rank

    rank = config.origin("db").rank
    if rank is Rank.FLAG:
        return f" --db {shlex.quote(str(config.value('db')))}"
    if rank is Rank.CONFIG_FILE and config.files:
        return f" --config {shlex.quote(str(config.files[0]))}"
    return ""


@contextmanager
def place_told(config: Config) -> Iterator[None]:
    """Errors that advise to rebuild the database name it, if it is not in the usual place."""
    try:
        yield
    except DatabaseCorrupt as error:
        tail = place_tail(config)
        if tail and not error.hint.endswith(tail):
            error.hint += tail
        raise
