"""Keep keys and recordings at the server that they were meant for.

True here: HTTP clients follow redirects within the server; one that leads elsewhere is refused
before anything is sent there. The clients themselves only take the header `Authorization` out.
Pure, but for the error. Raises: FatalError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from gs_video_report.errors import FatalError

_PORTS = {"http": 80, "https": 443}


def stay_at(base_url: str, header: str | None = None) -> Callable[[Any], Awaitable[None]]:
    """A hook for the requests of an HTTP client (httpx), called before each is sent.

    Args:
        base_url: a request to the same scheme, host and port passes, and so does one from http to
            https of the same host.
        header: only requests that carry it are looked at; None = all.
    """
    home = urlsplit(base_url)

    async def check(request: Any) -> None:
        if header is not None and header not in request.headers:
            return
        target = urlsplit(str(request.url))
        if not is_same_server(home, target):
            raise FatalError(
                f"{home.hostname} redirects to another server ({target.scheme}://"
                f"{target.hostname}), where the key is not sent",
                hint="check base_url: it must be the address of the service itself",
            )

    return check


def is_same_server(home: SplitResult, target: SplitResult) -> bool:
    """Scheme, host and port are the same, or the same host is asked in a safer way."""
    if home.hostname != target.hostname:
        return False
    safer = (home.scheme, target.scheme) == ("http", "https")
    default = target.port in (None, 443) and home.port in (None, 80)
    return (safer and default) or (home.scheme == target.scheme and _port(home) == _port(target))


def _port(address: SplitResult) -> int | None:
    return address.port or _PORTS.get(address.scheme)
