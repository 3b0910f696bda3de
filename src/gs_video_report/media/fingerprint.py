"""The identity of a recording: SHA-256 of its bytes.

Truth: content only; name, place and times do not matter. Memory use is flat.
Never: writes.
Raises: EmptyFileError, NoMediaError (not a regular file), FileMissingError, FileUnreadableError.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from gs_video_report.errors import from_os_error
from gs_video_report.media.container import display_name, read_head
from gs_video_report.progress import report

_BLOCK_BYTES = 1 << 20
_REPORT_S = 0.5


def fingerprint(path: str) -> str:
    """SHA-256 of the whole file as 64 hexadecimal digits. Progress is reported in bytes."""
    read_head(path)
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb", buffering=0) as file:
            total = float(os.fstat(file.fileno()).st_size)
            told = time.monotonic()
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                if time.monotonic() - told > _REPORT_S:
                    told = time.monotonic()
                    report(float(file.tell()), total)
    except OSError as error:
        raise from_os_error(error, display_name(path)) from error
    return digest.hexdigest()
