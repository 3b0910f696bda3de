"""Open one http(s) address: redirects one by one, each host checked, the checked address used.

True here: a reply is read only as far as the caller asks; nothing is decoded (`identity` is asked
for); no cookies, no passwords, no proxy. Certificates are checked against the system's.
Never: writes; connects to an address that `net_guard` refuses.
Raises: DownloadError (may pass), DownloadRefused (will not), BlockedAddressError,
UnsupportedInputError (a redirect to something that is not http).
"""

from __future__ import annotations

import email.utils
import http.client
import math
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from gs_video_report import __version__
from gs_video_report.errors import DownloadError, DownloadRefused, GsvrError
from gs_video_report.media.web.net_guard import NetPolicy, Target, check_url, resolve

CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 30.0
MAX_REDIRECTS = 10
USER_AGENT = f"gsvr/{__version__}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_VIDEO_QUERY = re.compile(r"v=[A-Za-z0-9_-]{11}\Z")
_PASSING = frozenset({408, 409, 421, 425, 429})
"""Statuses below 500 after which another try may succeed."""
_REASONS = {
    401: ("login", "the server wants a user name and a password"),
    402: ("payment", "the server wants a payment"),
    403: ("forbidden", "the server refuses access"),
    404: ("removed", "there is nothing at this address"),
    410: ("removed", "what was at this address has been removed"),
    451: ("legal", "the server must not show this for legal reasons"),
}


@dataclass(slots=True)
class Reply:
    """An open answer; close it."""

    url: str
    """The final address, after redirects."""
    status: int
    headers: Mapping[str, str]
    """Names in lower case; of a repeated header the first."""
    _response: http.client.HTTPResponse
    _connection: http.client.HTTPConnection

    def read(self, size: int) -> bytes:
        """Up to `size` bytes as they arrive; empty at the end. Raises: DownloadError."""
        try:
            return self._response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            raise network_error(error, self.url) from error

    def close(self) -> None:
        """Give the connection back. Idempotent."""
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Checked(http.client.HTTPConnection):
    """Connects to the first reachable of the checked addresses."""

    def __init__(self, target: Target, policy: NetPolicy) -> None:
        super().__init__(target.host, target.port, timeout=READ_TIMEOUT_S)
        self._target, self._policy = target, policy

    def connect(self) -> None:
        """Called by http.client."""
        addresses = resolve(self._target.host, self._target.port, self._policy)
        sock = _first_that_answers(addresses)
        sock.settimeout(READ_TIMEOUT_S)
        if self._target.scheme == "https":
            try:
                sock = ssl.create_default_context().wrap_socket(
                    sock, server_hostname=self._target.host
                )
            except BaseException:
                sock.close()
                raise
        self.sock = sock


def _first_that_answers(addresses: list[tuple[int, Any]]) -> socket.socket:
    failure: OSError = OSError("no address")
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_TIMEOUT_S)
        try:
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def open_url(
    url: str, policy: NetPolicy, headers: Mapping[str, str] | None = None, *, accept: str = "*/*"
) -> Reply:
    """GET `url`, following redirects; the reply has status 200, 206, 304 or 416.

    Args:
        headers: further request headers, such as `Range`; sent to every hop.

    Raises:
        DownloadError: network trouble, 429, 5xx; `retry_after_s` as the server said.
        DownloadRefused: any other status, too many redirects, a certificate that is not valid.
        BlockedAddressError, UnsupportedInputError: see `net_guard`.
    """
    sent = {
        "User-Agent": USER_AGENT,
        "Accept": accept,
        "Accept-Encoding": "identity",
        "Connection": "close",
        **(headers or {}),
    }
    for _ in range(MAX_REDIRECTS + 1):
        reply = _request(url, policy, sent)
        if reply.status not in _REDIRECTS:
            return _accepted(reply)
        reply.close()
        location = reply.headers.get("location", "").strip()
        if not location:
            raise DownloadRefused(f"{shown(url)}: the server redirects without saying where")
        url = urljoin(url, location)
    raise DownloadRefused(f"{shown(url)}: more than {MAX_REDIRECTS} redirects", reason="redirects")


def _request(url: str, policy: NetPolicy, headers: Mapping[str, str]) -> Reply:
    target = check_url(url)
    connection = _Checked(target, policy)
    try:
        connection.request("GET", target.path, headers=dict(headers))
        response = connection.getresponse()
    except GsvrError:
        connection.close()
        raise
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        connection.close()
        raise network_error(error, url) from error
    found: dict[str, str] = {}
    for name, value in response.getheaders():
        found.setdefault(name.lower(), value)
    return Reply(url, response.status, found, response, connection)


def _accepted(reply: Reply) -> Reply:
    if reply.status in (200, 206, 304, 416):
        return reply
    reply.close()
    raise status_error(reply.status, reply.url, reply.headers)


# --- errors, pure ------------------------------------------------------------------------------


def status_error(status: int, url: str, headers: Mapping[str, str]) -> GsvrError:
    """Our error for a status that is no success.

    Data `unreachable`: the server did not answer properly (5xx); it may be part of an outage.
    """
    if status in _PASSING or status >= 500:
        what = "too many requests" if status == 429 else f"the server answered {status}"
        data: dict[str, Any] = {"status": status}
        if status >= 500:
            data["unreachable"] = True
        wait_s = retry_after_s(headers.get("retry-after", ""), time.time())
        if wait_s is not None:
            data["retry_after_s"] = wait_s
        hint = (
            "the server has trouble, not your network; it is tried again" if status >= 500 else ""
        )
        return DownloadError(f"{shown(url)}: {what}", hint=hint, **data)
    reason, words = _REASONS.get(status, ("refused", f"the server answered {status}"))
    hint = "check the address, or remove it from the list" if reason == "removed" else ""
    return DownloadRefused(
        f"{shown(url)}: {words} ({status})", hint=hint, status=status, reason=reason
    )


def network_error(error: Exception, url: str) -> GsvrError:
    """Our error for what `http.client`, `ssl` or the system raised."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return DownloadRefused(
            f"{shown(url)}: its certificate is not valid ({error.verify_message})",
            reason="certificate",
        )
    if isinstance(error, TimeoutError):
        return DownloadError(f"{shown(url)}: the server does not answer", unreachable=True)
    if isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError):
        return DownloadError(
            f"{shown(url)}: the connection was cut, or the answer is no HTTP", unreachable=True
        )
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DownloadError(f"{shown(url)}: the connection failed ({words})", unreachable=True)


def retry_after_s(text: str, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for, 0 or more; None when it says nothing usable.

    Args:
        now: seconds since 1970.
    """
    text = text.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def shown(url: str) -> str:
    """An address for messages: without user name, query and fragment, at most 200 characters.

    A query that only names a video (`?v=...`) stays: without it the address tells nothing.
    """
    try:
        parts = urlsplit(url)
        text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        text += f"?{parts.query}" if _VIDEO_QUERY.match(parts.query) else ""
    except ValueError:
        text = "the address"
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 200 else f"{text[:199]}…"
