"""What a person may set for downloads: the `download` section of the configuration."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gs_video_report.errors import UsageError
from gs_video_report.media.web.net_guard import NetPolicy

DEFAULT_MAX_BYTES = 20_000_000_000
"""A declared or received length above this is refused unless the configuration says otherwise."""
DEFAULT_FORMAT = (
    "bv*[height<=720][vcodec!^=av01]+ba[abr<=160]/bv*[height<=720]+ba/"
    "b[height<=720]/bv*+ba/b/bv*/ba"
)
"""yt-dlp's format language: at most 720 lines are enough to read slides. AV1 is decoded slowly."""
AUDIO_FORMAT = "ba[abr<=160]/ba/b[height<=480]/b/bv*+ba"
"""When no slides are wanted."""
FORMAT_SORT = ("res:720", "+size", "+tbr")
"""At the wished height the smaller one is preferred."""


def check_cookies(path: str) -> None:
    """Look whether a file of cookies may be used: there, and readable by nobody else.

    Raises: UsageError. The content is never shown.
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise UsageError(
            f"{path}: the file of cookies cannot be read ({error.strerror})"
        ) from error
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path}: the file of cookies is not a file")
    if os.name == "posix" and mode & 0o077:
        raise UsageError(
            f"{path}: other users of this machine can read the file of cookies",
            hint=f"cookies are as good as a password: chmod 600 {path}",
        )


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """See the module's header."""

    limit_rate: int | None = None
    """Bytes per second and download; None for no limit."""
    max_bytes: int = DEFAULT_MAX_BYTES
    """Of one video."""
    allow_private_hosts: tuple[str, ...] = ()
    """See `NetPolicy.allowed`."""
    cookies: str = ""
    """File of cookies for videos of sites that want a login; empty for none."""
    format: str = ""
    """Format selection of yt-dlp; empty for ours."""

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """From the stored options of a batch; missing and None values take the default."""
        return cls(
            limit_rate=int(options["limit_rate"]) if options.get("limit_rate") else None,
            max_bytes=int(options.get("max_bytes") or DEFAULT_MAX_BYTES),
            allow_private_hosts=tuple(options.get("allow_private_hosts") or ()),
            cookies=str(options.get("cookies") or ""),
            format=str(options.get("format") or ""),
        )

    @property
    def policy(self) -> NetPolicy:
        """Which addresses may be reached."""
        return NetPolicy(self.allow_private_hosts)

    def format_for(self, pictures: bool) -> str:
        """The format selection: the person's, else ours."""
        return self.format or (DEFAULT_FORMAT if pictures else AUDIO_FORMAT)
